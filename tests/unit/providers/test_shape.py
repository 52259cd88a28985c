"""A vendor whose records have changed: what counts, what is said of it, and what is no sign."""

from __future__ import annotations

import copy
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from enricher.answer import Query
from enricher.providers.apollo import ApolloCompany
from enricher.providers.base import Access
from enricher.providers.clearbit import ClearbitCompany
from enricher.providers.http import HttpProvider
from enricher.providers.reading import Drift, drift
from enricher.providers.registry import built_in
from enricher.providers.transport import open_client
from enricher.simulator.server import Simulator
from tests.support.mock_client import mock_client
from tests.support.observing import counted, events, logged
from tests.unit.providers.test_clearbit_record import RECORD

SENDS = {"name": str, "metrics.employees": int, "tags": list, "is_ours": bool}
FULL: dict[str, Any] = {"name": "Acme", "metrics": {"employees": 7}, "tags": [], "is_ours": False}
QUERY = Query(email="pat@lemur.com", email_key="pat@lemur.com", company_domain="lemur.com")
each_provider = pytest.mark.parametrize("kind", built_in(), ids=lambda each: each.name)


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"name": None},
        {"metrics": None},
        {"metrics": {}},
        {"metrics": {"employees": "7"}},
        {"more": "of everything"},
        dict.fromkeys(FULL),
    ],
)
def test_a_record_as_it_is_documented_has_not_drifted(change: dict[str, Any]) -> None:
    assert drift(FULL | change, SENDS) is None


@pytest.mark.parametrize("gone", [("name",), ("name", "tags")])
def test_a_few_keys_that_are_left_out_are_no_sign(gone: tuple[str, ...]) -> None:
    assert drift({key: value for key, value in FULL.items() if key not in gone}, SENDS) is None


def test_most_keys_gone_is_a_sign() -> None:
    found = drift({"title": "Acme", "metrics": {"head_count": 7}, "is_ours": True}, SENDS)
    assert found == Drift(missing=("name", "metrics.employees", "tags"))


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"name": {"legal": "Acme"}}, "name"),
        ({"name": True}, "name"),
        ({"metrics": [7]}, "metrics.employees"),
        ({"metrics": {"employees": True}}, "metrics.employees"),
        ({"metrics": {"employees": "seven"}}, "metrics.employees"),
        ({"tags": "B2B"}, "tags"),
        ({"is_ours": 0}, "is_ours"),
    ],
)
def test_another_type_in_one_key_is_a_sign(change: dict[str, Any], path: str) -> None:
    assert drift(FULL | change, SENDS) == Drift(wrong=(path,))


def drifted(kind: type[HttpProvider]) -> float:
    return counted("enricher_schema_drift_total", provider=kind.name)


async def ask(kind: type[HttpProvider], *replies: httpx.Response, query: Query = QUERY) -> float:
    """By how much the counter rose."""
    before, coming = drifted(kind), iter(replies)
    http = mock_client(lambda _: next(coming))
    provider = kind(http, Access(SecretStr("k"), kind.host))
    for _ in replies:
        await provider.exchange(query)
    return drifted(kind) - before


async def test_each_changed_answer_counts_and_is_told_once_by_its_keys_alone() -> None:
    changed = copy.deepcopy(RECORD) | {"name": {"secret": "Quokka"}, "tags": "also secret"}
    with logged() as lines:
        rise = await ask(ClearbitCompany, *[httpx.Response(200, json=changed) for _ in range(3)])
    assert rise == 3
    [line] = events(lines, "provider.schema_drift")
    assert line.fields == {"provider": "clearbit", "wrong": "name, tags", "missing": ""}


@pytest.mark.parametrize(
    "reply",
    [
        httpx.Response(200, json=RECORD),
        httpx.Response(404, json={"error": {"type": "unknown_record"}}),
        httpx.Response(200, content=b"<html>"),
        httpx.Response(200, content=b""),
        httpx.Response(500, json={"renamed": 1}),
    ],
)
async def test_what_is_no_record_of_another_shape_does_not_count(reply: httpx.Response) -> None:
    assert await ask(ClearbitCompany, reply) == 0


@pytest.mark.parametrize("nobody", [{}, {"organization": None}, {"organization": {}}])
async def test_nothing_found_is_no_drift(nobody: object) -> None:
    assert await ask(ApolloCompany, httpx.Response(200, json=nobody)) == 0


@each_provider
async def test_a_record_without_any_known_key_counts(kind: type[HttpProvider]) -> None:
    assert await ask(kind, httpx.Response(200, json={"result_v2": {"title": "x"}})) == 1


@each_provider
async def test_what_the_vendors_send_today_has_not_drifted(kind: type[HttpProvider]) -> None:
    before = drifted(kind)
    async with Simulator(seed=1) as simulator, open_client() as http:
        provider = kind(http, Access(SecretStr("k"), simulator.base_urls[kind.vendor]))
        for number in range(8):
            domain = f"lemur{number}.com"
            address = f"pat.ray@{domain}"
            await provider.exchange(Query(address, address, domain))
        assert {entry.status for entry in simulator.journal} >= {200}
    assert drifted(kind) == before
    assert len(kind.sends) >= 7
