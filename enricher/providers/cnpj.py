"""The Brazilian register of companies, by its number (CNPJ): without a key, and for nothing.

The number is the lead's, or else the one that the company's own site states. Such a number may be anybody's, so what
the register has under it counts only if a name of the firm is the site's, or fits its domain.

BrasilAPI serves it to everybody. One's own Minha Receita has the same records (`CNPJ_BASE_URL`), and is the place
for many: BrasilAPI asks not to be used in bulk. What surprises:

- A 404 may mean that the register's copy has trouble: it has lasted for hours with firms that exist. So a miss is
  kept for an hour only (`longest_miss_seconds`).
- 429 and 403 come from the network's edge, as text or a page, without a `Retry-After`. Who is refused with a 403
  is refused for longer: it is not asked again in this run of the lead.
- Any trouble behind it is a 500.
- Unknown is null in some fields and "" in others; codes are numbers, or text in other copies of the register.
- `porte` is a class of revenue, not of people; `capital_social` is no revenue. Neither is read.

**Nothing personal is kept.** A record names partners and officers (`qsa`) and has an e-mail address that is often the
accountant's. And the firm of one person (an MEI, an *empresário individual*, a farmer) is that person: its name,
telephone and street are theirs. So a record is cut down to what may be used before it is kept, and of such
a firm remain industry, place, year and legal status.

Codes and shapes: the code of BrasilAPI and Minha Receita.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace

from enricher.answer import Answer, Found, Kind, NotFound, Query, Reply, Throttled, Unavailable
from enricher.catalogue import CNPJ
from enricher.identity.cnpj import read_cnpj
from enricher.identity.common_names import own_words
from enricher.identity.names import agree, is_same_name, is_spelt_in, label_of
from enricher.providers import reading
from enricher.providers.base import Request, Tried
from enricher.providers.http import REFUSED_QUESTION, HttpProvider, complaint, message_of
from enricher.providers.reading import SOMEBODY_ELSE, Record, Sends

NO_NUMBER = "no CNPJ"
NAMELESS = "the site's number is one person's"
OTHER_FIRM = "the site's number is another firm's"
NO_RECORD = "the body is not a record of the register"
WRONG_ROUTE = "unknown route (404)"
THROTTLED_SECONDS = 60.0
_OK, _NOT_FOUND, _TOO_MANY = 200, 404, 429
_KNOWN = "00000000000191"
"""Banco do Brasil's."""
_NOTHING = b'{"message": "nothing known"}'
"""What is kept of a refusal, whose own words repeat the number."""
_ONE_PERSON = frozenset({"2135"})
_NATURAL_PERSONS = "4"
"""How the codes of natural persons begin."""
_STATUSES = {
    "ativa": "active",
    "suspensa": "suspended",
    "inapta": "unfit",
    "baixada": "closed",
    "nula": "void",
}
_STATES = dict(
    each.split(" ", 1)
    for each in (
        *("AC Acre", "AL Alagoas", "AM Amazonas", "AP Amapá", "BA Bahia", "CE Ceará"),
        *("DF Distrito Federal", "ES Espírito Santo", "GO Goiás", "MA Maranhão"),
        *("MG Minas Gerais", "MS Mato Grosso do Sul", "MT Mato Grosso", "PA Pará"),
        *("PB Paraíba", "PE Pernambuco", "PI Piauí", "PR Paraná", "RJ Rio de Janeiro"),
        *("RN Rio Grande do Norte", "RO Rondônia", "RR Roraima", "RS Rio Grande do Sul"),
        *("SC Santa Catarina", "SE Sergipe", "SP São Paulo", "TO Tocantins"),
    )
)
_SENDS: Sends = {
    **dict.fromkeys(("cnpj", "razao_social", "nome_fantasia", "natureza_juridica"), str),
    **dict.fromkeys(("cnae_fiscal_descricao", "data_inicio_atividade", "municipio", "uf"), str),
    "descricao_situacao_cadastral": str,
}
_OF_ALL = (
    *("cnpj", "descricao_situacao_cadastral", "data_inicio_atividade", "cnae_fiscal_descricao"),
    *("municipio", "uf", "opcao_pelo_mei", "codigo_natureza_juridica"),
)
_OF_COMPANIES = ("razao_social", "nome_fantasia", "natureza_juridica", "ddd_telefone_1")
"""Fields of a record that are a person's where the firm is one."""
_TELEPHONE = re.compile(r"[1-9][0-9]{9,10}", re.ASCII)
_PERSONS_NAME = re.compile(r"\A[0-9.\-/ ]{8,}|[0-9]{11}\Z", re.ASCII)
"""The register writes the root of the number before, or the person's own number after, a person's name."""
_SMALL_WORDS = frozenset("a as da das de do dos e em na nas no nos para".split())
_AS_THEY_ARE = frozenset("S.A. S/A SA ME EPP TI".split())


class Cnpj(HttpProvider, listing=CNPJ):
    """`/{number}` below `CNPJ_BASE_URL`."""

    is_free = True
    is_kept = True
    longest_miss_seconds = 3600.0
    sends = _SENDS

    async def probe(self) -> str | None:
        """Ask about the number of a public bank, which every copy of the register has."""
        reply = await self._fetch(Request(f"/{_KNOWN}", {}))
        if isinstance(reply, Unavailable):
            return reply.reason
        record = reading.parse_object(reply.body)
        if reply.status == _OK:
            return None if _number(record) == _KNOWN else NO_RECORD
        is_no_route = self._judge(reply) == Unavailable(WRONG_ROUTE)
        if reply.status == _NOT_FOUND and record is not None and not is_no_route:
            return None  # its copy has trouble with this firm, but it answers
        if reply.status == _TOO_MANY:
            return "it is asked too often; try again in a minute"
        return complaint(reply, self._judge(reply))

    def headers(self) -> dict[str, str]:
        return {}

    def unfit(self, query: Query) -> str | None:
        return None if query.cnpj else NO_NUMBER

    def request(self, query: Query) -> Request:
        return Request(f"/{query.cnpj or ''}", {})

    def is_charged(self, reply: Reply) -> bool:  # noqa: ARG002 - nothing ever is
        return False

    def vetted(self, found: Found, reply: Reply, query: Query) -> Answer:
        record = reading.parse_object(reply.body)
        if record is None or _number(record) != query.cnpj:
            return NotFound(SOMEBODY_ELSE)
        return found if query.cnpj_of is None else _agreed(found, record, query)

    def _tried(self, reply: Reply | Unavailable, answer: Answer | None = None) -> Tried:
        """Keep no more of a record than what may be used."""
        tried = replace(super()._tried(reply, answer), is_charged=False)
        return replace(tried, reply=None if tried.reply is None else without_persons(tried.reply))

    def interpret(self, reply: Reply) -> Answer:
        match reply.status:
            case 200:
                return _company(reply)
            case 400 if message_of(reply):
                return NotFound(REFUSED_QUESTION)
            case 404 if "page not found" in message_of(reply):
                return Unavailable(WRONG_ROUTE, is_final=True)
            case 404 if message_of(reply):
                return NotFound()
            case 401 | 403 | 405 | 418:
                return Unavailable(str(reply.status), is_final=True)
            case 429:
                return Throttled(THROTTLED_SECONDS)
        return Unavailable(str(reply.status))


def without_persons(reply: Reply) -> Reply:
    """Return the reply with what may be kept of its record, and nothing else."""
    record = reading.parse_object(reply.body)
    if reply.status != _OK or record is None:
        return replace(reply, body=_NOTHING)
    names = _OF_ALL if is_a_person(record) else (*_OF_ALL, *_OF_COMPANIES)
    kept = {name: record[name] for name in names if isinstance(record.get(name), str | int | float)}
    return replace(reply, body=json.dumps(kept).encode())


def is_a_person(record: Record) -> bool:
    """Tell whether the firm is one person, or may be: whose record does not say so is taken by the name."""
    form = str(record.get("codigo_natureza_juridica") or "").strip()
    if record.get("opcao_pelo_mei") is True or form in _ONE_PERSON:
        return True
    name = reading.text(record, "razao_social") or ""
    return form.startswith(_NATURAL_PERSONS) or _PERSONS_NAME.search(name) is not None


def _agreed(found: Found, record: Record, query: Query) -> Answer:
    """Return what the register has under a number that was read off a site, if it is the site's firm. That of one
    person has no name of its own to tell it by."""
    if is_a_person(record):
        return NotFound(NAMELESS)
    label, site = label_of(query.company_domain or ""), query.cnpj_of or ""
    names = (reading.text(record, key) for key in ("nome_fantasia", "razao_social"))
    is_its = any(name and _is_of(name, label, site) for name in names)
    return found if is_its else NotFound(OTHER_FIRM)


def _is_of(name: str, label: str, site: str) -> bool:
    """Tell whether a firm's name is that of the site's domain, by more than its trade, or that of its title."""
    return is_spelt_in(name, label) or agree(own_words(name), label) or is_same_name(name, site)


def _number(record: Record | None) -> str | None:
    value = reading.at(record, "cnpj")
    return read_cnpj(str(value)) if isinstance(value, str | int) else None


def _company(reply: Reply) -> Answer:
    record = reading.parse_object(reply.body)
    if record is None or _number(record) is None:
        return Unavailable(NO_RECORD)
    of_a_company = {} if is_a_person(record) else _of_a_company(record)
    return reading.found(Kind.COMPANY, {**_of_all(record), **of_a_company})


def _of_all(record: Record) -> Mapping[str, object]:
    city, uf = reading.text(record, "municipio"), (reading.text(record, "uf") or "").upper()
    city, state = city and recased(city), _STATES.get(uf)
    parts = [part for part in (city, state) if part]
    year = reading.text(record, "data_inicio_atividade")
    return {
        "industry": reading.text(record, "cnae_fiscal_descricao"),
        "founded_year": year[:4] if year else None,
        "city": city,
        "state": state,
        "country": "Brazil" if parts else None,
        "country_code": "BR" if parts else None,
        "location": ", ".join([*parts, "Brazil"]) if parts else None,
        "legal_status": _legal_status(record),
    }


def _of_a_company(record: Record) -> Mapping[str, object]:
    legal = reading.text(record, "razao_social")
    name = reading.text(record, "nome_fantasia") or legal
    telephone = reading.text(record, "ddd_telefone_1") or ""
    digits = re.sub(r"\D", "", telephone)
    return {
        "name": name and recased(name),
        "legal_name": legal and recased(legal),
        "company_type": reading.text(record, "natureza_juridica"),
        "phone": f"+55{digits}" if _TELEPHONE.fullmatch(digits) else None,
    }


def _legal_status(record: Record) -> str | None:
    word = reading.choice(record, "descricao_situacao_cadastral", among=_STATUSES)
    return None if word is None else _STATUSES[word]


def recased(text: str) -> str:
    """Return a text that the register has in capitals as people write it; any other as it is."""
    if text != text.upper():
        return text
    words = text.split()
    return " ".join(_word(word, is_first=number == 0) for number, word in enumerate(words))


def _word(word: str, *, is_first: bool) -> str:
    if word in _AS_THEY_ARE:
        return word
    small = word.lower()
    if small in _SMALL_WORDS and not is_first:
        return small
    return "-".join(part.capitalize() for part in small.split("-"))
