"""Every status and dialect of every vendor, through the whole daemon: lead, journal and bill.

The table is `tests/support/statuses.py`. Each provider has a daemon of its own with no other provider in it, so
that a lead tells what that one said; and so has each answer that stops a vendor. They are the real
daemon (`app.build`) over a real MongoDB, all in this process: fifty programs would take minutes to start.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby, zip_longest

import pytest
import pytest_asyncio

from enricher.calls.breaker import OPENS_AFTER
from enricher.lead import Document
from enricher.simulator.faults import KINDS, SPELLED
from enricher.simulator.journal import Entry
from tests.support.bodies import book_of, route_of
from tests.support.rig import Rig
from tests.support.statuses import ALWAYS, FOUND, PROVIDERS, Case, cases, subject
from tests.support.waiting import eventually
from tests.support.within import open_world

pytestmark = pytest.mark.timeout(240)

CASES = {case.id: case for case in cases()}
CONFIG = """
[[source]]
collection = "leads"

[source.read]
email = "email"
company = "company"
cnpj = "cnpj"
"""
AT_ONCE = 8
"""Daemons; more only wait for each other."""
FEW = OPENS_AFTER - 1
"""Questions without an answer."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What came of one case."""

    lead: Document
    asked: list[Entry]
    looks: list[Entry]


# -- playing the table -------------------------------------------------------------------------


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def played(
    request: pytest.FixtureRequest, mongodb_uri: str, tmp_path_factory: pytest.TempPathFactory
) -> Mapping[str, Seen]:
    """Case -> what was seen, of all that are to be run. One that came to no end is missing."""
    config = tmp_path_factory.mktemp("config") / "crm.toml"
    config.write_text(CONFIG)
    wanted = [case for case in CASES.values() if _is_wanted(request.session, case)]
    seen: dict[str, Seen] = {}
    turns = asyncio.Semaphore(AT_ONCE)

    async def play(group: list[Case]) -> None:
        one = group[0]
        given = {**ALWAYS.get(one.provider, {}), **one.settings, "ENRICHER_CONFIG": config}
        world = open_world(mongodb_uri, [one.provider], given, **one.world)
        async with turns, world as rig:
            seen.update([each async for each in _played(rig, group)])

    async with asyncio.TaskGroup() as tasks:
        for group in _groups(wanted):
            tasks.create_task(play(group))
    return seen


def _is_wanted(session: pytest.Session, case: Case) -> bool:
    return any(f"[{case.id}]" in item.name for item in session.items)


def _groups(wanted: Iterable[Case]) -> list[list[Case]]:
    """The cases that can share a daemon."""

    def world(case: Case) -> str:
        return repr((case.provider, case.settings, case.world, case.stops and case.name))

    return [list(group) for _, group in groupby(sorted(wanted, key=world), world)]


async def _played(rig: Rig, group: list[Case]) -> AsyncIterator[tuple[str, Seen]]:
    for together in _rounds(group):
        questions = {case.id: await _inserted(rig, case) for case in together}
        for case in together:
            await rig.witness.settle_of(case.id, within=100)
            yield case.id, await _seen(rig, case, questions[case.id])


def _rounds(group: list[Case]) -> Iterator[list[Case]]:
    """All at once, but for those that let nobody call for a moment, which come one after another, and for those
    whose calls fail.

    Of these there are too few at a time for the circuit to open, and after them somebody is answered: how long
    failures last, and so whether it would open, is up to the machine.
    """
    pausing = [case for case in group if case.pauses]
    failing = [case for case in group if case.calls > 1 and not case.pauses]
    calm = [case for case in group if case.calls == 1 and not case.pauses]
    few = [*_few_at_a_time(failing)]
    answered = [case for case in calm if case.ends == FOUND][: len(few)]
    assert len(few) <= len(answered) + 1
    yield [case for case in calm if case not in answered]
    for together, one in zip_longest(few, answered):
        yield together
        yield [] if one is None else [one]
    yield from ([case] for case in pausing)


def _few_at_a_time(failing: list[Case]) -> Iterator[list[Case]]:
    for _, alike in groupby(sorted(failing, key=_apart), _apart):
        these = [*alike]
        yield from (these[first : first + FEW] for first in range(0, len(these), FEW))


def _apart(case: Case) -> str:
    return case.apart


async def _inserted(rig: Rig, case: Case) -> str:
    lead, asked = subject(case)
    for fault in filter(None, (case.fault, case.then)):
        rig.simulator.inject(**fault, question=f"*{asked}")
    await rig.leads.insert_one({"_id": case.id, **lead})
    return asked


async def _seen(rig: Rig, case: Case, about: str) -> Seen:
    await eventually(lambda: all(entry.status is not None for entry in rig.simulator.journal))
    calls = rig.simulator.journal
    asked = [entry for entry in calls if entry.question.endswith(about)]
    looks = [entry for entry in calls if entry.route in ("account", "balance")]
    return Seen(await rig.lead(case.id), asked, looks)


# -- what is to be seen ------------------------------------------------------------------------


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("id_", CASES)
async def test_an_answer_becomes_what_it_means_on_the_lead_and_on_the_bill(
    played: Mapping[str, Seen], id_: str
) -> None:
    case, seen = CASES[id_], played[id_]
    lead, ends = seen.lead, case.ends
    metadata = lead["enriched_data"]["enrichment_metadata"]
    assert lead["enrichment_status"] == ends.status, lead["enrichment_error"]
    assert _is_said(lead["enrichment_error"], ends.error), lead["enrichment_error"]
    assert [place for place in PLACES if case.provider in metadata[place]] == [ends.place]
    costs = len(seen.asked), sum(entry.charged for entry in seen.asked)
    assert costs == (case.calls, case.charged)
    assert len(seen.looks) == case.looks
    assert not [entry for entry in seen.asked if entry.key_in_url or entry.key != case.key]
    section = PROVIDERS[case.provider].kind.section
    assert _has_values(lead, section, case) == (ends.place == "sources_used")
    if case.verdict is not None:
        assert lead["enriched_data"][section]["status"] == case.verdict


PLACES = ("sources_used", "sources_not_found", "sources_failed", "sources_skipped")


def _is_said(error: str | None, expected: str | None) -> bool:
    if expected is None or error is None:
        return error is expected
    return error.startswith(expected) if expected.endswith(" ") else error == expected


def _has_values(lead: Document, section: str, case: Case) -> bool:
    """Whether the provider's own values stand on the lead."""
    origins = lead["enriched_data"]["enrichment_metadata"]["provenance"].get(section, {})
    return case.provider in origins.values()


# -- completeness ------------------------------------------------------------------------------


@pytest.mark.parametrize("provider", PROVIDERS)
def test_whatever_the_simulated_vendor_can_say_is_a_line_of_the_table(provider: str) -> None:
    named = {case.spelling for case in CASES.values() if case.provider == provider}
    assert sorted(_can_say(provider) - named) == []
    assert named <= _can_say(provider) | {"ordinary"}


def _can_say(provider: str) -> set[str]:
    """The words of its code book, and all that can happen at any vendor."""
    kind = PROVIDERS[provider]
    route, book = route_of(kind), book_of(kind)
    doubles = {
        word
        for word in book
        if any(book[word] is book[other] for other in book if f"{word}:" in other)
    }
    return (book.keys() - route.spares - doubles) | (KINDS - SPELLED)
