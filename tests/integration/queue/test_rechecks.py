"""What a planned recheck is in the book-keeping: who may plan one, what ends it, and that it destroys nothing."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from pymongo.asynchronous.collection import AsyncCollection

from enricher.lead import (
    Completed,
    Document,
    Lease,
    NextRecheck,
    Outcome,
    Recheck,
    Rechecked,
    Retrying,
    Subject,
)
from enricher.queue import backlog
from enricher.queue.backlog import Answered
from enricher.queue.leads import Leads
from enricher.queue.settle import Settled, Settler
from tests.support.queueing import HOUR, PAST, claim_new, claim_one, queue, read, server_time
from tests.support.scripted import KEYRING

SUBJECT = Subject("a-mailbox", "a-company")
DATA = {"company_data": None, "enrichment_metadata": {"completeness_score": 10}}
ANSWERED = {"hunter_company": "not_found", "local": "found"}
IN_FOUR_HOURS = NextRecheck(4 * HOUR)
THIN = Completed(DATA, ANSWERED, next_recheck=IN_FOUR_HOURS)
NOTHING = Rechecked(ANSWERED, 1, NextRecheck(72 * HOUR), "nothing")
REFRESH = 90 * 24 * HOUR


def settler(leads: AsyncCollection[Document], refresh: timedelta | None = REFRESH) -> Settler:
    return Settler(leads, lambda: refresh, keyring=KEYRING)


def waiting(collection: AsyncCollection[Document]) -> Leads:
    leads = queue(collection)
    leads.keyring = KEYRING
    return leads


async def due(collection: AsyncCollection[Document], **fields: object) -> None:
    """Let the lead's time come, with whatever a writer made of it meanwhile."""
    changed = {"enrichment.due_at": PAST, **fields}
    assert (await collection.update_one({"_id": 1}, {"$set": changed})).matched_count


async def claim_due(collection: AsyncCollection[Document], **fields: object) -> Lease:
    await due(collection, **fields)
    return await claim_one(waiting(collection))


async def thin(collection: AsyncCollection[Document], outcome: Outcome = THIN) -> Document:
    """A lead that completed, and waits for its first recheck."""
    lease = await claim_new(collection)
    assert await settler(collection).settle(lease, outcome, SUBJECT) is Settled.WRITTEN
    return await read(collection)


def since_of(lease: Lease) -> datetime | None:
    return lease.lead.recheck.since if lease.lead.recheck else None


async def test_a_thin_lead_is_completed_and_comes_back_with_what_its_providers_said(
    ours: AsyncCollection[Document],
) -> None:
    lead, now = await thin(ours), await server_time(ours)
    assert lead["enrichment_status"] == "completed"
    assert abs(lead["enrichment"]["due_at"] - now - 4 * HOUR) < timedelta(minutes=1)
    lease = await claim_due(ours)
    assert lease.lead.answered == ANSWERED
    assert since_of(lease) == lead["enrichment"]["recheck_since"] >= lead["enriched_at"]


async def test_a_recheck_is_one_still_when_its_process_died(
    ours: AsyncCollection[Document],
) -> None:
    await thin(ours)
    first = await claim_due(ours)
    again = await claim_due(ours)
    assert again.token > first.token
    assert again.lead.recheck == first.lead.recheck
    assert again.lead.answered == ANSWERED


async def test_a_recheck_that_brings_nothing_changes_nothing_that_readers_see(
    ours: AsyncCollection[Document],
) -> None:
    before = await thin(ours)
    assert await settler(ours).settle(await claim_due(ours), NOTHING) is Settled.WRITTEN
    after, now = await read(ours), await server_time(ours)
    book = after.pop("enrichment")
    assert after == {name: value for name, value in before.items() if name != "enrichment"}
    assert abs(book["due_at"] - now - 72 * HOUR) < timedelta(minutes=1)
    assert (book["rechecks"], book["answered"], book["attempts"]) == (1, ANSWERED, 0)
    assert book["recheck_since"] > before["enrichment"]["recheck_since"]


async def test_a_recheck_does_not_ask_for_a_new_qualification_unless_it_found_something(
    ours: AsyncCollection[Document],
) -> None:
    await thin(ours)
    lease = await claim_due(ours, qualification_score=7, qualification_status="done")
    await settler(ours).settle(lease, NOTHING)
    assert (await read(ours))["qualification_status"] == "done"
    found = Completed({**DATA, "company_data": {"name": "Quokka"}}, ANSWERED, rechecks=2)
    await settler(ours).settle(await claim_due(ours), found, SUBJECT)
    assert (await read(ours))["qualification_status"] == "pending"


async def test_a_recheck_that_is_put_off_goes_by_the_same_moment_as_before(
    ours: AsyncCollection[Document],
) -> None:
    since = (await thin(ours))["enrichment"]["recheck_since"]
    put_off = replace(NOTHING, rechecks=0, next_recheck=NextRecheck(HOUR, since), why="put_off")
    await settler(ours).settle(await claim_due(ours), put_off)
    lease = await claim_due(ours)
    assert since_of(lease) == since
    assert lease.lead.rechecks == 0


@pytest.mark.parametrize("age", [0, 30, 89, 200])
async def test_the_last_recheck_leaves_the_refresh_when_it_would_have_come(
    ours: AsyncCollection[Document], age: int
) -> None:
    await thin(ours)
    last = Rechecked(ANSWERED, 3, None, "nothing", timedelta(days=age))
    await settler(ours).settle(await claim_due(ours), last)
    book, now = (await read(ours))["enrichment"], await server_time(ours)
    assert abs(book["due_at"] - now - timedelta(days=max(0, 90 - age))) < timedelta(minutes=1)
    assert "recheck_since" not in book
    assert "recheck_mark" not in book
    assert (await claim_due(ours)).lead.recheck is None


async def test_a_refresh_that_comes_first_takes_the_place_of_a_recheck(
    ours: AsyncCollection[Document],
) -> None:
    lease = await claim_new(ours)
    await settler(ours, HOUR).settle(lease, THIN, SUBJECT)
    book = (await read(ours))["enrichment"]
    assert "recheck_since" not in book
    assert book["answered"] == {}


async def test_without_a_refresh_there_are_rechecks_all_the_same(
    ours: AsyncCollection[Document],
) -> None:
    await settler(ours, None).settle(await claim_new(ours), THIN, SUBJECT)
    assert since_of(await claim_due(ours))


async def test_whoever_asks_for_the_lead_begins_the_series_anew(
    ours: AsyncCollection[Document],
) -> None:
    await thin(ours, replace(THIN, rechecks=2))
    lease = await claim_due(ours, enrichment_status="pending")
    assert (lease.lead.recheck, lease.lead.rechecks, lease.lead.answered) == (None, 0, {})


async def test_a_refresh_that_has_to_be_tried_again_does_not_begin_the_series_anew(
    ours: AsyncCollection[Document],
) -> None:
    await thin(ours, Completed(DATA, ANSWERED, rechecks=3))
    later = Retrying({}, {}, "hunter: did not answer.", HOUR)
    await settler(ours).settle(await claim_due(ours), later, SUBJECT)
    lease = await claim_due(ours)
    assert (lease.lead.recheck, lease.lead.rechecks) == (None, 3)


async def test_only_the_moment_that_a_settle_noted_makes_old_answers_void(
    ours: AsyncCollection[Document],
) -> None:
    since = (await thin(ours))["enrichment"]["recheck_since"]
    forged = await claim_due(ours, **{"enrichment.recheck_since": since + HOUR})
    assert forged.lead.recheck == Recheck(None)


async def test_a_plan_counts_on_its_own_lead_alone(ours: AsyncCollection[Document]) -> None:
    other = {**await thin(ours), "_id": 2}
    other["enrichment"] |= {"due_at": PAST}
    await ours.insert_one(other)
    lease = await claim_one(waiting(ours))
    assert (lease.lead_id, lease.lead.recheck) == (2, Recheck(None))


@pytest.mark.parametrize("garbage", ["soon", 7, {"x": 1}, [PAST], datetime(1960, 1, 1, tzinfo=UTC)])
async def test_garbage_in_its_place_is_no_recheck(
    ours: AsyncCollection[Document], garbage: object
) -> None:
    await thin(ours)
    lease = await claim_due(
        ours, **{"enrichment.recheck_since": garbage, "enrichment.rechecks": garbage}
    )
    assert lease.lead.recheck is None


async def test_those_that_are_due_are_counted_with_whom_they_ask(
    ours: AsyncCollection[Document],
) -> None:
    await thin(ours)
    counted = await backlog.rechecks(ours)
    assert counted is not None
    assert (counted.due, counted.coming, counted.answers) == (0, 1, {})
    await due(ours)
    counted = await backlog.rechecks(ours)
    assert counted is not None
    assert (counted.due, counted.coming) == (1, 1)
    assert counted.answers == {
        ("hunter_company", "not_found", True, 0): 1,
        ("local", "found", True, 0): 1,
    }
    assert counted.spent == {0: 1}
    again = backlog.join_rechecks([counted, counted])
    assert again is not None
    assert (again.due, again.answers[Answered("local", "found", True)]) == (2, 2)
