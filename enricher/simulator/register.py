"""The Brazilian register as BrasilAPI serves it: `/cnpj/{number}`, without a key.

A number with good check digits has a firm, always the same one. Its eighth digit tells what is odd about it: 0 is a
person's (an MEI), 1 is closed, 2 is not known. "unknown_record" is the 404 that existing firms get while the
register's copy has trouble; refusals of the network's edge are no JSON.
"""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import NamedTuple

from aiohttp import web

from enricher.answer import Reply
from enricher.catalogue import CNPJ, Window
from enricher.identity.cnpj import read_cnpj
from enricher.simulator.faults import Faults
from enricher.simulator.journal import Journal
from enricher.simulator.records import Record, encode
from enricher.simulator.vendor import JSON_TYPE, Answer, Call, Route, Terms, Vendor

ROUTE = "cnpj"
PARTNER = "FULANA SOCIA DE TAL"
"""The name of every firm's partner, and of every person: it must turn up nowhere."""
_OK = 200
_PLAIN = "text/plain; charset=utf-8"
_TRADES = (
    ("Comércio varejista de artigos do vestuário e acessórios", 4781400, "Modas"),
    ("Desenvolvimento de programas de computador sob encomenda", 6201501, "Sistemas"),
    ("Transporte rodoviário de carga", 4930202, "Transportes"),
    ("Padaria e confeitaria com predominância de revenda", 4721102, "Pães"),
)
_BIRDS = ("Sabiá", "Bem-Te-Vi", "Tucano", "Jabuti", "Quati", "Sagui", "Capivara", "Tatu")
_CITIES = (("RECIFE", "PE", "81"), ("SAO PAULO", "SP", "11"), ("CURITIBA", "PR", "41"))
_WITHOUT_A_NAME = 0.3
_TELLS = 7
_MEI, _CLOSED, _UNKNOWN = "0", "1", "2"


def _error(status: int, kind: str, message: str) -> Answer:
    body = encode({"message": message, "type": kind, "name": "Error"})
    reply = Reply(status, {"Content-Type": JSON_TYPE}, body)
    return lambda _call: reply


def _edge(status: int, body: bytes, content_type: str) -> Answer:
    headers = {"Content-Type": content_type, "X-Vercel-Mitigated": "deny"}
    reply = Reply(status, headers, body)
    return lambda _call: reply


ANSWERS: Mapping[str, Answer] = {
    "throttled": _edge(429, b"Too Many Requests\n\niad1::abc", _PLAIN),
    "forbidden": _edge(403, b"<html><title>Vercel Security Checkpoint</title></html>", "text/html"),
    "unauthorized": _error(401, "unauthorized", "UnauthorizedError"),
    "unknown_record": _error(404, "not_found", "CNPJ 00.000.000/0000-00 não encontrado."),
    "unknown_route": _error(404, "not_found", "Page not found."),
    "wrong_params": _error(400, "bad_request", "CNPJ 123 inválido."),
    "api_error": _error(500, "internal_error", "Request failed with status code 502"),
}


class Register(Vendor):
    """`/cnpj/{number}`."""

    name = "cnpj"
    charges_again = True

    def __init__(self, terms: Terms, journal: Journal, faults: Faults) -> None:
        super().__init__(terms, journal, faults)
        self.route = Route(ROUTE, self._record, scope=self.name)
        self.routes = {}
        self.answers = ANSWERS

    def arrive(self, request: web.Request) -> Call:
        """The question is the path."""
        number = request.path[len(self.name) + 2 :]
        entry = self.journal.open(self.name, ROUTE, number.lower())
        entry.key = "ok"
        is_route = request.method == "GET" and "/" not in number
        return Call(request, entry, self.route if is_route else None)

    def _windows_of(self, scope: str) -> tuple[Window, ...]:
        told = self.terms.windows.get(scope)
        if told is None:
            return CNPJ.windows
        return tuple(Window(int(calls), float(seconds)) for calls, seconds in told)

    def unknown_route(self, call: Call) -> Reply:
        return self.answers["unknown_route"](call)

    def refuse_key(self, call: Call) -> Reply | None:  # noqa: ARG002 - nobody has one
        return None

    def refuse_parameters(self, call: Call) -> Reply | None:
        is_number = read_cnpj(call.entry.question) is not None
        return None if is_number else self.answers["wrong_params"](call)

    def is_billable(self, call: Call, reply: Reply) -> bool:  # noqa: ARG002 - nothing costs anything
        return False

    def _record(self, call: Call) -> Reply:
        number = read_cnpj(call.entry.question) or ""
        kind = number[_TELLS]
        if kind == _UNKNOWN:
            return self.answers["unknown_record"](call)
        return Reply(
            _OK, {"Content-Type": JSON_TYPE}, encode(record(self.terms.seed, number, kind))
        )


class Firm(NamedTuple):
    """What the register's firm and its web site have in common."""

    name: str
    trade: str
    code: int
    city: str
    uf: str
    area: str


def firm_of(seed: int, number: str) -> Firm:
    """Make up the firm that has this number."""
    return _firm(Random(f"{seed} firm {number}"))


def _firm(chance: Random) -> Firm:
    trade, code, what = chance.choice(_TRADES)
    city, uf, area = chance.choice(_CITIES)
    return Firm(f"{chance.choice(_BIRDS)} {what}", trade, code, city, uf, area)


def record(seed: int, number: str, kind: str) -> Record:
    """Return a record in the register's spelling."""
    chance = Random(f"{seed} firm {number}")
    name, trade, code, city, uf, area = _firm(chance)
    is_mei, firm = kind == _MEI, f"{name} Ltda".upper()
    return {
        "cnpj": number,
        "razao_social": f"{number[:8]} {PARTNER}" if is_mei else firm,
        "nome_fantasia": "" if chance.random() < _WITHOUT_A_NAME else name.upper(),
        "identificador_matriz_filial": 1,
        "situacao_cadastral": 8 if kind == _CLOSED else 2,
        "descricao_situacao_cadastral": "BAIXADA" if kind == _CLOSED else "ATIVA",
        "data_inicio_atividade": f"{chance.randint(1968, 2025)}-0{chance.randint(1, 9)}-15",
        "natureza_juridica": "Empresário (Individual)"
        if is_mei
        else "Sociedade Empresária Limitada",
        "codigo_natureza_juridica": 2135 if is_mei else 2062,
        "porte": "MICRO EMPRESA",
        "codigo_porte": 1,
        "capital_social": 0,
        "cnae_fiscal": code,
        "cnae_fiscal_descricao": trade,
        "cnaes_secundarios": [],
        "logradouro": "EXEMPLO",
        "numero": "37",
        "bairro": "CENTRO",
        "cep": "50030000",
        "municipio": city,
        "uf": uf,
        "pais": None,
        "ddd_telefone_1": f"{area}33330000",
        "ddd_telefone_2": "",
        "email": f"{PARTNER.split(maxsplit=1)[0].lower()}@contador.com.br",
        "opcao_pelo_simples": True,
        "opcao_pelo_mei": is_mei,
        "qsa": [] if is_mei else [{"nome_socio": PARTNER, "cnpj_cpf_do_socio": "***220050**"}],
    }
