"""The Brazilian register: what its records become, whom they must not betray, and what its refusals mean."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from enricher.answer import Answer, Found, NotFound, Query, Reply, Throttled, Unavailable
from enricher.catalogue import Window
from enricher.providers.base import Access
from enricher.providers.cnpj import (
    NAMELESS,
    NO_RECORD,
    OTHER_FIRM,
    WRONG_ROUTE,
    Cnpj,
    recased,
    without_persons,
)
from enricher.providers.http import REFUSED_QUESTION
from enricher.providers.transport import open_client
from enricher.settings.load import load
from enricher.simulator.register import ANSWERS, PARTNER
from enricher.simulator.server import Simulator
from tests.support.bodies import cnpj_of
from tests.support.mock_client import mock_client
from tests.support.vendor_case import interpret, provider

NUMBER = "19131243000197"
QUERY = Query(cnpj=NUMBER)
RECORD: dict[str, Any] = {
    "cnpj": NUMBER,
    "razao_social": "ACME COMERCIO DE PAES LTDA",
    "nome_fantasia": "PÃES DA ACME",
    "descricao_situacao_cadastral": "ATIVA",
    "data_inicio_atividade": "2013-10-03",
    "natureza_juridica": "Sociedade Empresária Limitada",
    "codigo_natureza_juridica": 2062,
    "porte": "DEMAIS",
    "capital_social": 100000,
    "cnae_fiscal": 6201501,
    "cnae_fiscal_descricao": "Padaria e confeitaria",
    "logradouro": "RUA EXEMPLO",
    "municipio": "RIO DE JANEIRO",
    "uf": "RJ",
    "ddd_telefone_1": "2133330000",
    "email": "contador@escritorio.com.br",
    "opcao_pelo_mei": False,
    "qsa": [{"nome_socio": "FULANA DE TAL", "cnpj_cpf_do_socio": "***220050**"}],
}
PLACE = {
    "city": "Rio de Janeiro",
    "state": "Rio de Janeiro",
    "country": "Brazil",
    "country_code": "BR",
    "location": "Rio de Janeiro, Rio de Janeiro, Brazil",
}
OF_A_PERSON = {
    "industry": "Padaria e confeitaria",
    "founded_year": 2013,
    "legal_status": "active",
    **PLACE,
}
MEI = {**RECORD, "razao_social": "19.131.243 FULANA DE TAL", "opcao_pelo_mei": True}


def values(record: Mapping[str, Any]) -> Mapping[str, Any]:
    answer = interpret(Cnpj, 200, dict(record))
    assert isinstance(answer, Found)
    return answer.sections["company_data"]


def test_a_record_becomes_a_company() -> None:
    assert values(RECORD) == {
        **OF_A_PERSON,
        "name": "Pães da Acme",
        "legal_name": "Acme Comercio de Paes Ltda",
        "company_type": "Sociedade Empresária Limitada",
        "phone": "+552133330000",
    }


@pytest.mark.parametrize(
    ("change", "field", "value"),
    [
        ({"nome_fantasia": ""}, "name", "Acme Comercio de Paes Ltda"),
        ({"nome_fantasia": None, "razao_social": None}, "name", None),
        ({"descricao_situacao_cadastral": "BAIXADA"}, "legal_status", "closed"),
        ({"descricao_situacao_cadastral": "INAPTA"}, "legal_status", "unfit"),
        ({"descricao_situacao_cadastral": "SUSPENSA"}, "legal_status", "suspended"),
        ({"descricao_situacao_cadastral": "NULA"}, "legal_status", "void"),
        ({"descricao_situacao_cadastral": "?"}, "legal_status", None),
        ({"ddd_telefone_1": ""}, "phone", None),
        ({"ddd_telefone_1": "33330000"}, "phone", None),
        ({"ddd_telefone_1": "11 98888-7777"}, "phone", "+5511988887777"),
        ({"uf": "EX", "municipio": None}, "country", None),
        ({"data_inicio_atividade": None}, "founded_year", None),
    ],
)
def test_what_is_not_known_is_left_out(
    change: dict[str, object], field: str, value: object
) -> None:
    assert values(RECORD | change).get(field) == value


@pytest.mark.parametrize(
    "change",
    [
        {"opcao_pelo_mei": True},
        {"codigo_natureza_juridica": 2135},
        {"codigo_natureza_juridica": "2135"},
        {"codigo_natureza_juridica": 4120},
        {"razao_social": "19.131.243 FULANA DE TAL", "codigo_natureza_juridica": None},
        {"razao_social": "FULANA DE TAL 12345678909", "opcao_pelo_mei": None},
    ],
)
async def test_of_the_firm_of_one_person_nothing_is_read_or_kept_that_is_personal(
    change: dict[str, object],
) -> None:
    record = MEI | {"opcao_pelo_mei": False, "razao_social": "FULANA DE TAL"} | change
    asked = provider(Cnpj, lambda _: httpx.Response(200, json=record))
    tried = await asked.exchange(QUERY)
    assert tried.answer == Found({"company_data": OF_A_PERSON})
    assert tried.reply is not None
    assert asked.recall(tried.reply, QUERY) == tried.answer
    for personal in ("FULANA", "ACME", "3333", "EXEMPLO", "contador", "220050"):
        assert personal not in tried.reply.body.decode()


async def test_no_partner_and_no_e_mail_address_is_kept_of_a_company() -> None:
    asked = provider(Cnpj, lambda _: httpx.Response(200, json=RECORD))
    tried = await asked.exchange(QUERY)
    assert tried.reply is not None
    assert asked.recall(tried.reply, QUERY) == tried.answer
    assert tried.is_charged is False
    for personal in ("FULANA", "contador", "220050", "EXEMPLO", "qsa"):
        assert personal not in tried.reply.body.decode()


def error(status: int, message: str) -> tuple[int, dict[str, str]]:
    return status, {"message": message, "type": "error", "name": "Error"}


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        (error(400, "CNPJ 123 inválido."), NotFound(REFUSED_QUESTION)),
        ((400, b"<html>"), Unavailable("400")),
        (error(401, "UnauthorizedError"), Unavailable("401", is_final=True)),
        ((403, b"<html>Checkpoint</html>"), Unavailable("403", is_final=True)),
        (error(404, "CNPJ 00 não encontrado."), NotFound()),
        (error(404, "Page not found."), Unavailable(WRONG_ROUTE, is_final=True)),
        ((404, b"<html>"), Unavailable("404")),
        ((418, b""), Unavailable("418", is_final=True)),
        ((429, b"Too Many Requests\n\niad1::abc"), Throttled(60.0)),
        (error(500, "connect ECONNREFUSED"), Unavailable("500")),
        ((504, b""), Unavailable("504")),
        ((200, b"<html>"), Unavailable(NO_RECORD)),
        ((200, {"status": "ERROR", "message": "x"}), Unavailable(NO_RECORD)),
        ((200, {"cnpj": NUMBER}), NotFound("the record is empty")),
    ],
)
def test_each_refusal_has_its_own_meaning(said: tuple[int, object], answer: Answer) -> None:
    assert interpret(Cnpj, *said) == answer


async def test_a_miss_is_kept_without_the_number_and_read_again() -> None:
    asked = provider(Cnpj, lambda _: httpx.Response(404, json=error(404, f"CNPJ {NUMBER}")[1]))
    tried = await asked.exchange(QUERY)
    assert tried.reply is not None
    assert NUMBER not in tried.reply.body.decode()
    assert asked.recall(tried.reply, QUERY) == NotFound()
    assert Cnpj.longest_miss_seconds == 3600


async def test_a_record_of_another_number_is_not_written() -> None:
    asked = provider(
        Cnpj, lambda _: httpx.Response(200, json=RECORD | {"cnpj": cnpj_of("1" * 11 + "2")})
    )
    assert await asked.ask(QUERY) == NotFound("the record is about somebody else")


async def test_the_number_goes_to_the_operators_own_copy_without_a_key() -> None:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json=RECORD)

    own = Cnpj(mock_client(answer), Access(SecretStr(""), "http://minhareceita:8000"), 6000)
    assert isinstance(await own.ask(QUERY), Found)
    assert str(seen[0].url) == f"http://minhareceita:8000/{NUMBER}"
    assert "authorization" not in seen[0].headers
    assert own.windows == (Window(6000, 60),)
    assert own.question(QUERY) == provider(Cnpj).question(QUERY)


def test_only_a_lead_with_a_number_is_fit() -> None:
    assert provider(Cnpj).unfit(QUERY) is None
    assert provider(Cnpj).unfit(Query(company_domain="acme.com.br")) == "no CNPJ"


def test_the_register_is_not_asked_unless_that_is_turned_on() -> None:
    assert not load({}, None).cnpj.is_on
    given = {"ENRICHER_CNPJ": "true", "CNPJ_BASE_URL": "http://minhareceita:8000"}
    wanted = load(given, None).cnpj
    assert (wanted.is_on, wanted.base_url, wanted.per_minute) == (True, given["CNPJ_BASE_URL"], 30)


@pytest.mark.parametrize(
    ("text", "better"),
    [
        ("BANCO DO BRASIL SA", "Banco do Brasil SA"),
        ("DA SILVA E FILHOS LTDA - ME", "Da Silva e Filhos Ltda - ME"),
        ("SÃO JOÃO D'OESTE", "São João D'oeste"),
        ("BEM-TE-VI S/A", "Bem-Te-Vi S/A"),
        ("iFood", "iFood"),
    ],
)
def test_capitals_become_what_people_write(text: str, better: str) -> None:
    assert recased(text) == better


# -- the simulated register --------------------------------------------------------------------


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with Simulator(seed=1, windows={"cnpj": ()}, stories=False) as made:
        yield made


@pytest.mark.parametrize("kind", ANSWERS)
async def test_each_refusal_of_the_simulated_register_is_understood(
    simulator: Simulator, kind: str
) -> None:
    simulator.inject(kind, vendor="cnpj")
    async with open_client() as http:
        asked = Cnpj(http, Access(SecretStr(""), simulator.register_url))
        answer = await asked.ask(QUERY)
    said = ANSWERS[kind]
    assert not isinstance(answer, Found)
    assert answer == provider(Cnpj).interpret(said(None))  # type: ignore[arg-type]


async def test_the_simulated_register_has_firms_of_every_kind_and_betrays_nobody(
    simulator: Simulator,
) -> None:
    seen: set[str] = set()
    async with open_client() as http:
        asked = Cnpj(http, Access(SecretStr(""), simulator.register_url))
        for number in range(60):
            cnpj = cnpj_of(f"{number:08}0001")
            tried = await asked.exchange(Query(cnpj=cnpj))
            assert isinstance(tried.answer, Found | NotFound)
            assert isinstance(tried.reply, Reply)
            assert PARTNER not in tried.reply.body.decode() + str(tried.answer)
            found = isinstance(tried.answer, Found) and tried.answer.sections["company_data"]
            seen |= {str(found["legal_status"]), str("name" in found)} if found else {"nobody"}
    assert seen == {"active", "closed", "True", "False", "nobody"}
    assert not any(entry.charged for entry in simulator.journal)


@pytest.mark.parametrize(
    ("status", "body", "problem"),
    [
        (200, {**RECORD, "cnpj": "00000000000191"}, None),
        (200, RECORD, NO_RECORD),
        (200, {"hello": "world"}, NO_RECORD),
        (404, {"message": "CNPJ 00.000.000/0001-91 não encontrado."}, None),
        (404, {"message": "Page not found."}, "the address is wrong (404)"),
        (404, [], "the address is wrong (404)"),
        (429, {}, "it is asked too often; try again in a minute"),
        (500, {"message": "no"}, "unexpected answer (500)"),
    ],
)
async def test_check_asks_about_a_public_bank_and_says_whether_the_register_answers(
    status: int, body: object, problem: str | None
) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        assert request.url.path.endswith("/00000000000191")
        return httpx.Response(status, json=body)

    assert await provider(Cnpj, answer).probe() == problem


@pytest.mark.parametrize(
    ("record", "domain", "name", "reason"),
    [
        (RECORD, "acme.com.br", "Any", None),
        (RECORD, "padoca.com.br", "Pães da Acme", None),
        (RECORD, "padoca.com.br", "ACME Comércio de Pães S.A.", None),
        (RECORD, "wombat.com.br", "Wombat", OTHER_FIRM),
        (MEI, "acme.com.br", "Acme", NAMELESS),
    ],
)
def test_under_a_sites_number_only_the_sites_own_firm_is_found_also_when_it_is_kept(
    record: dict[str, Any], domain: str, name: str, reason: str | None
) -> None:
    query = Query(cnpj=NUMBER, cnpj_of=name, company_domain=domain)
    sent = Reply(200, {}, json.dumps(record).encode())
    for reply in (sent, without_persons(sent)):
        answer = provider(Cnpj).recall(reply, query)
        assert isinstance(answer, Found) if reason is None else answer == NotFound(reason)
