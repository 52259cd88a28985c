"""Our routes of People Data Labs and Apollo, asking the simulated vendors over real sockets."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import SecretStr

from enricher.answer import (
    Answer,
    Found,
    Held,
    NotFound,
    Query,
    Throttled,
    Unavailable,
)
from enricher.providers.apollo import ApolloCompany, ApolloPerson
from enricher.providers.base import Access
from enricher.providers.http import HttpProvider
from enricher.providers.pdl import PdlCompany, PdlPerson
from enricher.providers.transport import open_client
from enricher.simulator.server import Simulator
from enricher.values.merge import owners

pytestmark = pytest.mark.slow

ROUTES: tuple[type[HttpProvider], ...] = (PdlCompany, PdlPerson, ApolloCompany, ApolloPerson)
PERSONS: tuple[type[HttpProvider], ...] = (PdlPerson, ApolloPerson)
each_route = pytest.mark.parametrize("kind", ROUTES, ids=[kind.name for kind in ROUTES])
each_person = pytest.mark.parametrize("kind", PERSONS, ids=[kind.name for kind in PERSONS])


async def answers(
    simulator: Simulator,
    kind: type[HttpProvider],
    *words: str,
    key: str = "good",
    probe: bool = False,
) -> list[Any]:
    """What our own route says to these words in domain and address, over the daemon's transport."""
    async with open_client() as http:
        access = Access(SecretStr(key), simulator.base_urls[kind.vendor], timeout=5)
        route = kind(http, access)
        if probe:
            return [await route.probe()]
        return [await route.ask(query_about(word)) for word in words]


def query_about(word: str) -> Query:
    domain = f"{word}-lemur.com"
    return Query(email=f"pat@{domain}", email_key=f"pat@{domain}", company_domain=domain)


def words_of(answer: Answer) -> dict[str, Any]:
    assert isinstance(answer, Found)
    [values] = answer.sections.values()
    return dict(values)


@each_route
async def test_a_route_finds_what_its_vendor_knows(kind: type[HttpProvider]) -> None:
    words = [f"brisk{number}" for number in range(20)]
    async with Simulator(seed=1) as simulator:
        found = [
            answer for answer in await answers(simulator, kind, *words) if isinstance(answer, Found)
        ]
        assert simulator.journal.billing[kind.vendor].charged == len(found)
        assert len(simulator.journal) == 20
        assert not simulator.journal.calls(over_limit=True)
    assert len(found) > 10
    wanted = "name" if kind in (PdlCompany, ApolloCompany) else "full_name"
    assert all(wanted in words_of(answer) for answer in found)


@each_route
async def test_the_same_seed_gives_the_same_answer(kind: type[HttpProvider]) -> None:
    async with Simulator(seed=3) as one, Simulator(seed=3) as other:
        words = ("brisk", "quick", "quiet")
        assert await answers(one, kind, *words) == await answers(other, kind, *words)


@each_route
async def test_an_unknown_one_is_not_found(kind: type[HttpProvider]) -> None:
    async with Simulator() as simulator:
        words = [f"unknown{number}" for number in range(4)]
        assert await answers(simulator, kind, *words) == [NotFound()] * 4
        is_billed = kind is ApolloCompany
        assert bool(simulator.journal.calls(charged=True)) == is_billed


@each_route
@pytest.mark.parametrize(
    ("fault", "answer"),
    [
        ("unauthorized", Held("the key is refused")),
        ("quota_spent", Held("the quota is used up")),
        ("server_error", Unavailable("503")),
        ("unknown_route", Unavailable("404")),
        ("truncated", Unavailable("the body is no record")),
        ("html", Unavailable("the body is no record")),
        ("empty_list", Unavailable("the body is no record")),
        ("wrong_charset", Unavailable("the body is no record")),
        ("reset", Unavailable("the connection failed (reset)")),
        ("all_nulls", NotFound("the record is empty")),
        ("throttled", Throttled()),
    ],
)
async def test_every_fault_has_its_answer(
    kind: type[HttpProvider], fault: str, answer: Answer
) -> None:
    async with Simulator(seed=1) as simulator:
        simulator.inject(fault, vendor=kind.vendor)
        [said] = await answers(simulator, kind, "brisk0")
        [entry] = simulator.journal
    if isinstance(said, Throttled):
        assert said.retry_after is not None
        assert 0 < said.retry_after <= 3
        said = Throttled()
    if isinstance(said, Unavailable) and "body" in said.reason:
        said = answer
    if isinstance(said, Unavailable) and said.reason == "unknown route (404)":
        said = Unavailable("404")
    assert said == answer
    assert entry.fault == fault
    assert entry.charged == (entry.status in (0, 200)), "a vendor bills what it has done"


async def test_a_key_without_the_scope_holds_apollo() -> None:
    async with Simulator() as simulator:
        assert await answers(simulator, ApolloPerson, "brisk", key="scoped") == [
            Held("the key may not use this route")
        ]


@each_person
async def test_a_stranger_is_not_written(kind: type[HttpProvider]) -> None:
    words = [f"stranger{number}" for number in range(12)]
    async with Simulator(seed=1) as simulator:
        said = await answers(simulator, kind, *words)
    assert NotFound("the record is about somebody else") in said
    assert not [answer for answer in said if isinstance(answer, Found)]


@each_person
async def test_of_somebody_who_moved_the_new_employer_is_named(kind: type[HttpProvider]) -> None:
    words = [f"moved{number}" for number in range(12)]
    async with Simulator(seed=1) as simulator:
        said = await answers(simulator, kind, *words)
    found = [answer for answer in said if isinstance(answer, Found)]
    assert found
    for answer in found:
        assert [owner.startswith("other-moved") for owner in owners(answer.employers)] == [True]


async def test_on_a_free_plan_a_person_is_known_without_contacts() -> None:
    words = [f"brisk{number}" for number in range(8)]
    async with Simulator(seed=1) as simulator:
        free = await answers(simulator, PdlPerson, *words, key="free")
        paid = await answers(simulator, PdlPerson, *words)
    assert free == paid
    assert any(isinstance(answer, Found) for answer in free)


@each_route
async def test_the_probe_costs_nothing_and_knows_a_wrong_key(kind: type[HttpProvider]) -> None:
    async with Simulator() as simulator:
        assert await answers(simulator, kind, probe=True) == [None]
        assert await answers(simulator, kind, probe=True, key="wrong") == ["the key is refused"]
        assert not simulator.journal.calls(charged=True)


@each_route
async def test_our_windows_are_the_vendors_on_a_free_plan(kind: type[HttpProvider]) -> None:
    async with Simulator() as simulator, open_client() as http:
        access = Access(SecretStr("free"), simulator.base_urls[kind.vendor])
        minute = next(each.calls for each in kind(http, access).windows if each.seconds == 60)
        said = await answers(
            simulator, kind, *[f"brisk{number}" for number in range(minute + 1)], key="free"
        )
        assert [entry.over_limit for entry in simulator.journal] == [False] * minute + [True]
    assert isinstance(said[-1], Throttled)
    assert said[-1].retry_after is not None
    assert 50 < said[-1].retry_after <= 62
