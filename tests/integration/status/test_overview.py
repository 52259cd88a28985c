"""The whole picture, put together from what daemons, ledger, buckets and leads have in MongoDB."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from pymongo import AsyncMongoClient
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.database import AsyncDatabase

from enricher import wiring
from enricher.calls.breaker import Circuit
from enricher.calls.ledger import Begun, Usage
from enricher.intake.checkpoints import Checkpoints
from enricher.lead import Document
from enricher.limits.bucket import Bucket
from enricher.queue.indexes import Indexes
from enricher.settings.load import Settings, load
from enricher.status.daemons import COLLECTION as DAEMONS
from enricher.status.daemons import Daemons, GateState, Presence, Report
from enricher.status.overview import Overview, Shared
from enricher.status.picture import RecheckCost, as_json
from enricher.status.throughput import Ended, Minute, Times, number_of
from tests.support.faults import Faults

KEYS = {
    "CLEARBIT_API_KEY": "clearbit-key",
    "HUNTER_API_KEY": "hunter-key",
    "CLEARBIT_DAILY_BUDGET": "10",
    "CLEARBIT_MONTHLY_BUDGET": "100",
    "HUNTER_RATE_LIMIT": "300",
    "ENRICHER_PROVIDERS_OFF": '["clearbit_person"]',
}
REPORT = Report("1.0", 90.0, Presence.WORKING, 3, 64, True, 0.25)
NOW = datetime.now(UTC)


@pytest.fixture
def settings() -> Settings:
    return load(KEYS, env_file=None)


@pytest.fixture
async def overview(
    database: AsyncDatabase[Document], settings: Settings
) -> AsyncIterator[Overview]:
    async with wiring.vendors(settings) as registered:
        yield Overview(settings, database, registered)


def _gates(**circuits: Circuit) -> list[GateState]:
    return [
        GateState("clearbit", circuits.get("clearbit", Circuit.CLOSED), waiting=2, calls=30),
        GateState("hunter", circuits.get("hunter", Circuit.CLOSED), calls=60),
        GateState("hunter_company", calls=100),
        GateState("hunter_person", calls=50),
    ]


async def test_of_an_empty_database_there_is_a_whole_picture_all_the_same(
    overview: Overview, database: AsyncDatabase[Document]
) -> None:
    status = await overview.status()
    assert status.unknown == {}
    assert status.backlog is not None
    assert (status.backlog.due, status.backlog.oldest_pending_seconds) == (0, None)
    assert [each.name for each in status.providers] == [
        *("clearbit", "hunter_company", "hunter_person", "hunter")
    ]
    assert status.without_key["pdl_company"] == "no key"
    assert (status.daemons, status.last, status.stream.position_saved_at) == ([], [], None)
    assert sum(minute.ended for minute in status.hour) == 0
    assert status.verdict.state == "down"
    assert await database.list_collection_names() == [], "who looks leaves nothing behind"


async def test_rechecks_are_counted_with_what_those_that_are_due_cost_at_most(
    database: AsyncDatabase[Document],
) -> None:
    wanted = {"ENRICHER_RECHECKS": "true", "HUNTER_CREDIT_PRICE": "0.1"}
    settings = load({**KEYS, **wanted}, env_file=None)
    answered = {"clearbit": "not_found", "hunter_company": "not_found", "hunter": "found"}
    told = {"answered": answered, "recheck_since": NOW - timedelta(hours=5)}
    due = {"due_at": NOW - timedelta(hours=1), **told}
    await database["leads"].insert_many(
        [
            {"enrichment_status": "completed", "enrichment": each}
            for each in (due, due, {**due, "due_at": NOW + timedelta(hours=2)})
        ]
    )
    async with wiring.vendors(settings) as registered:
        overview = Overview(settings, database, registered)
        status = await overview.status()
    assert status.rechecks is not None
    assert (status.rechecks.due, status.rechecks.coming) == (2, 3)
    assert (status.rechecks.calls_today, status.rechecks.calls_per_day) == (0, 1000)
    # Clearbit charges for misses, and its price is not known: it is not asked.
    assert status.rechecks.at_most == {
        "hunter_company": RecheckCost(2, 2.0, 0.2),
        "hunter": RecheckCost(2, 1.0, 0.1),
    }
    assert json.loads(as_json(status))["rechecks"]["due"] == 2
    assert status.rechecks.ceiling is None


async def test_what_rechecks_cost_knows_the_ceiling_of_each_lead(
    database: AsyncDatabase[Document],
) -> None:
    prices = {"HUNTER_CREDIT_PRICE": "0.1", "CLEARBIT_CREDIT_PRICE": "0.4"}
    wanted = {"ENRICHER_RECHECKS": "true", "ENRICHER_MAX_CREDITS_PER_LEAD": "0.3", **prices}
    answered = {"clearbit": "not_found", "hunter_company": "not_found"}
    told = {"answered": answered, "recheck_since": NOW, "due_at": NOW - timedelta(hours=1)}
    await database["leads"].insert_many(
        {"enrichment_status": "completed", "enrichment": told} for _ in range(3)
    )
    settings = load({**KEYS, **wanted}, env_file=None)
    async with wiring.vendors(settings) as registered:
        status = await Overview(settings, database, registered).status()
    assert status.rechecks is not None
    assert list(status.rechecks.at_most) == ["hunter_company"], "a call of Clearbit's is beyond it"
    assert status.rechecks.ceiling == pytest.approx(0.9)


async def test_what_rechecks_cost_knows_what_each_lead_has_left_of_its_ceiling(
    database: AsyncDatabase[Document],
) -> None:
    wanted = {"ENRICHER_RECHECKS": "true", "ENRICHER_MAX_CREDITS_PER_LEAD": "2"}
    prices = {"HUNTER_CREDIT_PRICE": "1", "CLEARBIT_CREDIT_PRICE": "1"}
    answered = {"clearbit": "not_found", "hunter": "found"}
    told = {"answered": answered, "recheck_since": NOW, "due_at": NOW - timedelta(hours=1)}
    spent = (0, 500_000, 1_000_000, 1_250_000, 1_500_000, 2_000_000, 9_000_000, float("nan"), "x")
    await database["leads"].insert_many(
        {"enrichment_status": "completed", "enrichment": {**told, "spent": each}} for each in spent
    )
    settings = load({**KEYS, **wanted, **prices}, env_file=None)
    async with wiring.vendors(settings) as registered:
        status = await Overview(settings, database, registered).status()
    assert status.rechecks is not None
    assert status.rechecks.at_most == {
        "clearbit": RecheckCost(5, 5.0, 5.0),  # a credit: whoever has cost 1 or less
        "hunter": RecheckCost(7, 3.5, 3.5),
    }
    assert status.rechecks.ceiling == pytest.approx(2 + 1.5 + 1 + 0.75 + 0.5 + 0 + 0 + 2 + 2)
    assert status.rechecks.due == len(spent)


async def test_daemons_add_up(overview: Overview, database: AsyncDatabase[Document]) -> None:
    daemons, number = Daemons(database, "leads"), number_of(datetime.now(UTC))
    for holder, lag, circuit in (("a", 0.25, Circuit.CLOSED), ("b", 2.0, Circuit.OPEN)):
        ended = Ended(NOW, holder, "completed", 1, 1.0, 80)
        minute = Minute(Counter(completed=2), Times(2, 3.0, 2.0), Times(2, 5.0, 4.0))
        report = replace(REPORT, stream_lag_seconds=lag, gates=_gates(clearbit=circuit))
        await daemons.tell(holder, report, {number: minute}, last=[ended])
    status = await overview.status()
    assert (status.stream.open, status.stream.lag_seconds) == (2, 2.0)
    assert sum(minute.completed for minute in status.hour) == 4
    [busy] = [each for each in status.hour if each.ended]
    assert (busy.waited_mean_seconds, busy.waited_longest_seconds) == (1.5, 2.0)
    assert {each.lead for each in status.last} == {"a", "b"}
    clearbit = next(each for each in status.providers if each.name == "clearbit")
    assert (clearbit.circuit, clearbit.waiting) == (Circuit.OPEN, 4)
    assert clearbit.limit is not None
    assert (clearbit.limit.calls, clearbit.limit.used) == (600, 60)
    shared = next(each for each in status.providers if each.name == "hunter_person")
    assert shared.limit is not None
    assert (shared.limit.calls, shared.limit.used) == (500, 300), "two providers share this limit"
    assert (shared.limit.shared_with, clearbit.limit.shared_with) == (("hunter_company",), ())


async def test_what_a_daemon_said_before_it_went_silent_holds_for_nobody_now(
    overview: Overview, database: AsyncDatabase[Document]
) -> None:
    """But what it did in the last hour was done."""
    minute = {number_of(datetime.now(UTC)): Minute(Counter(completed=2))}
    report = replace(REPORT, gates=_gates(clearbit=Circuit.OPEN))
    await Daemons(database, "leads").tell("a", report, minute)
    silent = {"$set": {"seen_at": datetime.now(UTC) - timedelta(minutes=2)}}
    await database[DAEMONS].update_one({"_id": "a"}, silent)
    status = await overview.status()
    assert [each.presence for each in status.daemons] == [Presence.SILENT]
    assert (status.stream.open, status.stream.lag_seconds) == (0, None)
    assert {each.circuit for each in status.providers} == {Circuit.CLOSED}
    assert sum(minute.completed for minute in status.hour) == 2


async def test_calls_and_budgets_are_those_of_the_ledger(
    overview: Overview, database: AsyncDatabase[Document]
) -> None:
    usage, stop = Usage(database, {}, {}), asyncio.Event()
    for charged in (True, True, False, None):
        begun = await usage.begin("clearbit", "clearbit")
        assert isinstance(begun, Begun)
        usage.end(begun, charged=charged)
    usage.saved("clearbit", "clearbit", by="cache", calls=5)
    usage.saved("clearbit", "clearbit", by="coalescing", calls=2)
    stop.set()
    await usage.run(stop)
    status = await overview.status()
    clearbit = status.providers[0]
    assert (clearbit.today.calls, clearbit.today.charged, clearbit.today.saved) == (4, 2, 7)
    assert clearbit.today.ambiguous == 1
    assert clearbit.month == clearbit.today
    [budget] = status.budgets
    assert budget.vendor == "clearbit"
    assert budget.daily is not None
    assert budget.monthly is not None
    assert (budget.daily.calls, budget.daily.used, budget.daily.left) == (10, 3, 7)
    assert (budget.monthly.used, budget.monthly.left) == (3, 97)


async def test_a_hold_and_a_pause_are_told_until_they_are_over(
    overview: Overview, database: AsyncDatabase[Document]
) -> None:
    held, paused = (
        next(each for each in overview.registered.providers if each.name == name)
        for name in ("hunter", "clearbit")
    )
    await Bucket(database, held.bucket, held.windows).hold("The key is refused.", 3600)
    await Bucket(database, paused.bucket, paused.windows).pause(60)
    status = await overview.status()
    found = {each.name: each for each in status.providers}
    assert found["hunter"].hold is not None
    assert found["hunter"].hold.reason == "The key is refused."
    left = found["hunter"].hold.until - status.at
    assert timedelta(minutes=59) < left <= timedelta(hours=1)
    assert found["clearbit"].paused_until is not None
    assert found["hunter_company"].hold is None
    await Bucket(database, held.bucket, held.windows).release()
    assert (await overview.status()).providers[-1].hold is None


async def test_the_reason_of_a_hold_shows_no_address_whatever_a_vendor_said(
    overview: Overview, database: AsyncDatabase[Document]
) -> None:
    held = overview.registered.providers[-1]
    reason = "The account of ada@quokka-freight.com has no credits left."
    await Bucket(database, held.bucket, held.windows).hold(reason, 3600)
    hold = (await overview.status()).providers[-1].hold
    assert hold is not None
    assert hold.reason == "The account of [e-mail] has no credits left."


async def test_the_backlog_is_by_lane_and_by_status(
    overview: Overview, database: AsyncDatabase[Document]
) -> None:
    leads = database["leads"]
    await Indexes(leads).ensure()
    ago = datetime.now(UTC) - timedelta(minutes=5)
    await leads.insert_many(
        [
            {"enrichment_status": "pending", "enrichment": {"queued_at": ago, "priority": 1}},
            {"enrichment_status": "retrying", "enrichment": {"due_at": ago, "held_by": ["hunter"]}},
            {"enrichment_status": "completed"},
            {"enrichment_status": "failed"},
            {"name": "history"},
        ]
    )
    backlog = (await overview.status()).backlog
    assert backlog is not None
    assert {name: lane.leads for name, lane in backlog.lanes.items() if lane.leads} == {
        "fresh": 1,
        "retry": 1,
    }
    assert backlog.due == 2
    assert backlog.oldest_pending_seconds is not None
    assert 300 <= backlog.oldest_pending_seconds < 360
    counts = {"pending": 1, "processing": 0, "retrying": 1, "completed": 1, "failed": 1}
    assert backlog.statuses == {**counts, "skipped": 0, "without status": 1}
    assert backlog.parked == {"hunter": 1}


async def test_the_position_of_the_stream_is_told_with_its_time(
    overview: Overview, database: AsyncDatabase[Document]
) -> None:
    await Checkpoints(database, "leads", "pipeline").save({"_data": "82"})
    status = await overview.status()
    assert status.stream.position_saved_at is not None
    assert abs(status.at - status.stream.position_saved_at) < timedelta(seconds=30)


async def test_a_part_that_cannot_be_read_is_named_and_hides_no_other(
    faults: Faults, settings: Settings
) -> None:
    leads: AsyncCollection[Document] = faults.leads
    await faults.plain.insert_one({"enrichment_status": "failed"})
    async with wiring.vendors(settings) as registered:
        overview = Overview(settings, leads.database, registered)
        async with faults.fail("find", errorCode=13):
            status = await overview.status()
    assert set(status.unknown) == {"daemons", "holds", "calls", "stream"}
    assert "a privilege is missing" in status.unknown["daemons"]
    assert status.backlog is not None
    assert status.verdict.state != "down", "nobody knows"


# -- shared by all who look ----------------------------------------------------------------


class _Counting:
    """Reads, and counts how often."""

    def __init__(self, overview: Overview) -> None:
        self.overview = overview
        self.times = 0

    async def read(self) -> str:
        self.times += 1
        return await self.overview.json()


async def test_many_who_look_cost_the_database_one_look(overview: Overview) -> None:
    counting = _Counting(overview)
    shared = Shared(counting.read)
    texts = await asyncio.gather(*(shared.json() for _ in range(50)))
    assert counting.times == 1
    assert len(set(texts)) == 1
    assert json.loads(texts[0] or "")["leads"].endswith(".leads")


async def test_who_looks_later_sees_it_anew(overview: Overview) -> None:
    counting = _Counting(overview)
    now = 100.0
    shared = Shared(counting.read, clock=lambda: now)
    await shared.json()
    now = 101.9
    await shared.json()
    assert counting.times == 1
    now = 102.1
    await shared.json()
    assert counting.times == 2


async def test_there_is_none_while_mongodb_is_away_and_there_is_one_afterwards(
    overview: Overview,
) -> None:
    nobody: AsyncMongoClient[Document] = AsyncMongoClient(
        "mongodb://127.0.0.1:1/", serverSelectionTimeoutMS=50
    )
    away = Overview(overview.settings, nobody["crm"], overview.registered)
    asked, now = away, 0.0
    shared = Shared(lambda: asked.json(), clock=lambda: now)  # noqa: PLW0108 - asked changes
    async with nobody:
        assert await shared.json() is None
        asked = overview
        assert await shared.json() is None, "nor is it asked again at once"
        now = 10.0
        assert await shared.json() is not None
