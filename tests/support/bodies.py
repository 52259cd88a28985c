"""Bodies that no vendor would send on purpose: its real ones, mutated at random depths.

The same (provider, seed) is always the same reply. It begins with what the simulated vendor says, so that
most of a body is still good, and a reader that only looks at the first thing wrong is not enough.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from random import Random
from typing import Any

import httpx
from aiohttp.test_utils import make_mocked_request
from pydantic import SecretStr

from enricher.answer import Query, Reply
from enricher.identity.cnpj import read_cnpj
from enricher.providers.base import Access
from enricher.providers.http import HttpProvider
from enricher.simulator.faults import Faults
from enricher.simulator.journal import Journal
from enricher.simulator.register import Register
from enricher.simulator.server import VENDORS
from enricher.simulator.vendor import Answer, Route, Terms, Vendor
from tests.support.mock_client import mock_client

KNOWN = 12
"""So many different good bodies are mutated."""
STATUSES = (
    202,
    204,
    222,
    249,
    302,
    400,
    401,
    402,
    403,
    404,
    405,
    409,
    410,
    422,
    429,
    451,
    500,
    503,
    599,
)
_SERVED: tuple[type[Vendor], ...] = (*VENDORS, Register)
_VENDORS = {vendor.name: vendor for vendor in _SERVED}


def _deep(levels: int) -> Any:
    value: Any = "bottom"
    for _ in range(levels):
        value = [value] if levels % 2 else {"deeper": value}
    return value


ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 7.5, -0.0, 1e308, float("nan"), float("inf"), float("-inf"),
    2**31, 2**63 - 1, 2**63, -(2**63), 10**30, 10**400, "", " ", "N/A", "unknown", "-", "null", "true",
    "\x00", "a\x00b", "\ud800", "\udfff\ud800", "\u202e", "\u200b", "a" * 300, "é" * 3_000, "x" * 12_000,
    "51-250", "250-51", "10K-50K", "$10M", "$1,5M", "1e5", "9" * 30, "-5", "٣٤", "\uff11\uff12", "²", "½", "1_000",
    "$where", "$$ROOT", "a.b", "{'$gt': ''}", "https://[", "//[", "http://", "https://a b.c", "ftp://a.b/c",
    "javascript:alert(1)", "http://a.b:99999999/", "http://user:pw@a.b/", "https://linkedin.com/", "xn--",
    "xn--a.com", "İ.com", "ß.de", "..", "a" * 64 + ".com", "linkedin.com/company/../../x", "twitter.com/@",
    "DE", "XX", "Deutschland", "2024-99-99", "ada@quokka.com, eve@quokka.com", [], {}, [None], [[]], [{}],
    {"": 1}, {"$set": {"a": 1}}, {"a.b": 1}, {"\x00": 1}, {"name": "x", "value": [1]}, ["a", 1, None, ["b"]],
    ["same"] * 500, ["x" * 250, "ok"], _deep(40), _deep(121), [True, "x", 2.5], {"type": ["not_found"]},
)  # fmt: skip


def provider_of(kind: type[HttpProvider]) -> HttpProvider:
    """One that is only to interpret: it has nobody to ask."""
    return kind(mock_client(), Access(SecretStr("key"), kind.host))


def query_of(number: int) -> Query:
    company = f"quokka-lantern-{number}.com"
    address = f"ada.lovelace@{company}"
    cnpj = cnpj_of(f"19131{number:07}")
    sought = f"Quokka Lantern {number}"
    return Query(email=address, email_key=address, company_domain=company, cnpj=cnpj, sought=sought)


def cnpj_of(first: str) -> str:
    """The number of the Brazilian register that begins with these twelve characters."""
    return next(each for n in range(100) if (each := read_cnpj(f"{first}{n:02}")))


def _vendor_of(kind: type[HttpProvider]) -> Vendor:
    return _VENDORS[kind.vendor](Terms(), Journal(), Faults(stories=False))


def route_of(kind: type[HttpProvider]) -> Route:
    """The route of the simulated vendor that this provider asks."""
    vendor = _vendor_of(kind)
    if isinstance(vendor, Register):
        return vendor.route
    return vendor.routes[provider_of(kind).request(Query()).path]


def book_of(kind: type[HttpProvider]) -> Mapping[str, Answer]:
    """The code book of the simulated vendor."""
    return _vendor_of(kind).answers


@lru_cache(maxsize=256)
def good_body(kind: type[HttpProvider], number: int) -> bytes:
    """What the simulated vendor says; an empty object for a vendor that is not simulated."""
    if kind.vendor not in _VENDORS:
        return b"{}"
    vendor, provider = _vendor_of(kind), provider_of(kind)
    asked = provider.request(query_of(number))
    query = httpx.QueryParams({**asked.params, **provider.credentials(), "min_likelihood": "0"})
    url = f"/{vendor.name}{asked.path}?{query}"
    request = make_mocked_request(asked.method, url, headers=provider.headers())
    return vendor.judge(vendor.arrive(request)).body


def replies(kind: type[HttpProvider], count: int, first: int = 0) -> Iterator[tuple[int, Reply]]:
    """(seed, reply), as many as are wanted."""
    for seed in range(first, first + count):
        yield seed, reply(kind, seed)


def reply(kind: type[HttpProvider], seed: int) -> Reply:
    """Mostly a 200; one in five a refusal with such a body, and headers that mean nothing."""
    chance = Random(f"{kind.name} {seed}")
    body = body_of(kind, chance, seed)
    status = 200 if chance.random() < 0.8 else chance.choice(STATUSES)
    return Reply(status, _headers(chance), body)


def body_of(kind: type[HttpProvider], chance: Random, seed: int) -> bytes:
    """A good body with one to eight things wrong with it, and perhaps its bytes as well."""
    record = json.loads(good_body(kind, seed % KNOWN))
    for _ in range(chance.choice((1, 1, 2, 3, 5, 8))):
        record = chance.choice(_MUTATIONS)(record, chance)
    body = json.dumps(record, ensure_ascii=chance.random() < 0.5).encode("utf-8", "surrogatepass")
    return chance.choice(_OF_BYTES)(body, chance) if chance.random() < 0.15 else body


# -- what is wrong with the record -------------------------------------------------------------


def _places(value: Any) -> list[tuple[Any, Any]]:
    """(container, key) of everything inside."""
    found, left = [], [value]
    while left:
        one = left.pop()
        keys = list(one) if isinstance(one, dict) else range(len(one))
        for key in keys:
            found.append((one, key))
            if isinstance(one[key], dict | list):
                left.append(one[key])
    return found


def _anywhere(change: Callable[[Any, Any, Random], None]) -> Callable[[Any, Random], Any]:
    """The change, made at one random place of any depth."""

    def mutate(record: Any, chance: Random) -> Any:
        places = _places(record) if isinstance(record, dict | list) else []
        if places:
            change(*chance.choice(places), chance)
        return record

    return mutate


def _odd(chance: Random) -> Any:
    return copy.deepcopy(chance.choice(ODD))


def _replace(holder: Any, key: Any, chance: Random) -> None:
    holder[key] = _odd(chance)


def _drop(holder: Any, key: Any, chance: Random) -> None:
    del holder[key]


def _wrap(holder: Any, key: Any, chance: Random) -> None:
    value = holder[key]
    holder[key] = chance.choice(([value], {"value": value}, [[value]], {"0": value}, [value] * 40))


def _rename(holder: Any, key: Any, chance: Random) -> None:
    if isinstance(holder, dict):
        holder[chance.choice(("a.b", "$set", "", "\x00", "name", "id", "data"))] = holder.pop(key)


def _add(holder: Any, key: Any, chance: Random) -> None:
    if isinstance(holder, list):
        holder.insert(0, _odd(chance))
    else:
        holder[chance.choice(("$x", "a.b.c", "\ud800", "likelihood", "status", "error"))] = _odd(
            chance
        )


def _flatten(holder: Any, key: Any, chance: Random) -> None:
    """What belongs one level deeper stands here."""
    value = holder[key]
    if isinstance(holder, dict) and isinstance(value, dict):
        del holder[key]
        holder.update(value)


def _elsewhere(record: Any, chance: Random) -> Any:
    """One part of the record in the place of another."""
    places = _places(record) if isinstance(record, dict | list) else []
    if len(places) > 1:
        (one, key), (other, where) = chance.sample(places, 2)
        if key in one if isinstance(one, dict) else key < len(one):
            other[where] = copy.deepcopy(one[key])
    return record


def _whole(record: Any, chance: Random) -> Any:
    """Another envelope, or none."""
    return chance.choice(
        ([record], {"data": record}, {"data": [record]}, _odd(chance), {"organization": record})
    )


_MUTATIONS: tuple[Callable[[Any, Random], Any], ...] = (
    *[_anywhere(_replace)] * 12,
    *(_anywhere(each) for each in (_drop, _wrap, _wrap, _rename, _add, _flatten)),
    *(_elsewhere, _elsewhere),
    lambda record, chance: _whole(record, chance) if chance.random() < 0.3 else record,
)


# -- what is wrong with its bytes --------------------------------------------------------------


def _cut(body: bytes, chance: Random) -> bytes:
    return body[: chance.randrange(len(body) + 1)]


def _flip(body: bytes, chance: Random) -> bytes:
    spoilt = bytearray(body)
    for _ in range(chance.choice((1, 1, 3, 20))):
        spoilt[chance.randrange(len(spoilt))] = chance.randrange(256)
    return bytes(spoilt)


def _not_utf8(body: bytes, chance: Random) -> bytes:
    at = chance.randrange(len(body))
    return (
        body[:at] + chance.choice((b"\xff", b"\xc3\x28", b"\xed\xa0\x80", b"caf\xe9")) + body[at:]
    )


_OF_BYTES: tuple[Callable[[bytes, Random], bytes], ...] = (
    *(_cut, _flip, _not_utf8),
    lambda _body, chance: chance.choice(
        (b"", b" ", b"null", b"NaN", b'""', b"[]", b"0", b"<html>")
    ),
    lambda body, _chance: b"\xef\xbb\xbf" + body,
    lambda body, _chance: body.decode("utf-8", "replace").encode("utf-16"),
    lambda body, _chance: body + body,
    lambda body, _chance: b"[" * 3_000 + body,
    lambda body, _chance: body.replace(b":", b": \n\t", 50),
    lambda body, _chance: b'{"name": "first", ' + body.lstrip(b"{"),
    lambda _body, chance: chance.randbytes(200),
)


def _headers(chance: Random) -> dict[str, str]:
    """Among them always a readable date, as the client sees to it."""
    said = chance.choice(
        ("", "0", "-1", "soon", "1e9", "9" * 40, "NaN", "{}", '{"minute": null}', "٣")
    )
    names = ("retry-after", "x-ratelimit-reset", "x-ratelimit-remaining", "x-minute-requests-left")
    date = {"date": "Sat, 28 Nov 2026 12:00:00 GMT"}
    return date | ({chance.choice(names): said} if chance.random() < 0.5 else {})
