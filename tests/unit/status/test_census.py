"""The backlog reaches the gauges, rarely enough to be in nobody's way."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from pymongo.errors import AutoReconnect, NetworkTimeout, PyMongoError

from enricher.calls.ledger import BudgetLeft
from enricher.queue.backlog import Backlog, EndedCounts, Lane, Queue, RecheckCounts
from enricher.status.census import Census
from enricher.telemetry.metrics import REGISTRY
from tests.support.observing import counted
from tests.support.waiting import eventually, patience

NOW = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
NOTHING = dict.fromkeys(Lane, Queue())
WORK = Backlog(
    NOW,
    {**NOTHING, Lane.FRESH: Queue(7, NOW - timedelta(seconds=90)), Lane.BACKFILL: Queue(2)},
    processing=3,
    retrying=5,
    parked={"hunter": 4},
)


@dataclass
class Database:
    """Stands in for MongoDB: what it answers, and how often it was asked."""

    work: Backlog = WORK
    settled: EndedCounts | None = field(default_factory=lambda: EndedCounts(100, 10, 20, 30))
    left_lying: dict[str, int] | None = field(
        default_factory=lambda: {"foreign": 3, "no_text": 0, "unset": 1, "stray": 2}
    )
    to_recheck: RecheckCounts | None = field(default_factory=RecheckCounts)
    errors: int = 0
    error: PyMongoError = field(default_factory=AutoReconnect)
    takes: float = 0.0
    asked_at: list[float] = field(default_factory=list)
    counts: int = 0
    window: float | None = 3600.0
    oplog_looks: int = 0

    @property
    def looks(self) -> int:
        return len(self.asked_at)

    async def backlog(self) -> Backlog:
        self.asked_at.append(time.monotonic())
        await asyncio.sleep(self.takes)
        if self.errors:
            self.errors -= 1
            raise self.error
        return self.work

    async def rechecks(self) -> RecheckCounts | None:
        return self.to_recheck

    async def unmoved(self) -> dict[str, int] | None:
        return self.left_lying

    async def budgets(self) -> list[BudgetLeft]:
        return [BudgetLeft("hunter", "day", 50, 12)]

    async def oplog_seconds(self) -> float | None:
        self.oplog_looks += 1
        return self.window

    async def ended(self) -> EndedCounts | None:
        self.counts += 1
        return self.settled


@asynccontextmanager
async def counting(
    database: Database, every: float = 0.01, rarely: float = 60
) -> AsyncIterator[Census]:
    stop = asyncio.Event()
    census = Census(
        database,
        {"hunter": lambda: "budget"},
        every,
        rarely,
    )
    running = asyncio.create_task(census.run(stop))
    try:
        yield census
    finally:
        stop.set()
        async with patience(2):
            await running


async def test_leads_that_nothing_moves_reach_the_gauges() -> None:
    async with counting(Database()):
        await eventually(lambda: counted("enricher_leads_unmoved", reason="foreign") == 3)
        assert counted("enricher_leads_unmoved", reason="stray") == 2


async def test_leads_that_cannot_be_counted_are_no_number() -> None:
    async with counting(Database(left_lying=None)):
        await eventually(lambda: math.isnan(counted("enricher_leads_unmoved", reason="foreign")))


async def test_the_backlog_reaches_the_gauges() -> None:
    database = Database()
    async with counting(database):
        await eventually(lambda: database.looks >= 2)
    assert counted("enricher_pending_leads", lane="fresh") == 7
    assert counted("enricher_oldest_pending_timestamp_seconds", lane="fresh") == (
        NOW.timestamp() - 90
    )
    assert counted("enricher_leads_parked", provider="hunter", reason="budget") == 4
    assert counted("enricher_leads_parked", provider="hunter", reason="limit") == 0
    statuses = ("pending", "processing", "retrying", "failed", "skipped", "completed")
    assert [counted("enricher_leads", status=each) for each in statuses] == [9, 3, 5, 10, 20, 23]


async def test_the_age_of_the_oldest_goes_on_rising_while_nobody_answers() -> None:
    database = Database()
    async with counting(database, every=60):
        await eventually(lambda: database.counts)
        first = counted("enricher_oldest_pending_age_seconds", lane="fresh")
        await eventually(
            lambda: counted("enricher_oldest_pending_age_seconds", lane="fresh") > first
        )
    assert first >= 90
    assert counted("enricher_oldest_pending_age_seconds", lane="retry") == 0


async def test_a_lane_that_is_empty_again_has_no_oldest_lead() -> None:
    database = Database()
    async with counting(database):
        await eventually(lambda: database.looks >= 2)
        database.work = Backlog(NOW, NOTHING)
        await eventually(lambda: counted("enricher_pending_leads", lane="fresh") == 0)
    assert counted("enricher_oldest_pending_age_seconds", lane="fresh") == 0
    assert counted("enricher_oldest_pending_timestamp_seconds", lane="fresh") == 0


async def test_an_error_of_the_database_is_waited_out_and_counted() -> None:
    before = counted("enricher_database_errors_total", loop="census")
    database = Database(errors=1)
    async with counting(database) as census:
        await eventually(lambda: database.counts)
        assert census.outage.is_over
    assert counted("enricher_database_errors_total", loop="census") == before + 1


async def test_settled_leads_are_counted_more_rarely_than_the_backlog() -> None:
    database = Database()
    async with counting(database):
        await eventually(lambda: database.looks >= 5)
    assert database.counts == 1


async def test_what_cannot_be_counted_in_time_is_not_a_number() -> None:
    async with counting(Database(settled=None)):
        await eventually(lambda: math.isnan(counted("enricher_leads", status="completed")))


async def test_a_question_that_takes_long_is_asked_rarely() -> None:
    database = Database(takes=0.02)
    async with counting(database):
        await eventually(lambda: len(database.asked_at) >= 2)
    first, second = database.asked_at[:2]
    assert second - first >= 21 * 0.02


async def test_a_stop_does_not_wait_for_an_answer() -> None:
    database = Database(takes=60)
    async with counting(database):
        await eventually(lambda: database.looks)


async def test_the_budgets_and_the_window_of_the_oplog_reach_the_gauges() -> None:
    database = Database()
    async with counting(database):
        await eventually(lambda: database.looks >= 2)
    assert counted("enricher_budget_limit_calls", vendor="hunter", period="day") == 50
    assert counted("enricher_budget_left_calls", vendor="hunter", period="day") == 12
    assert counted("enricher_oplog_window_seconds") == 3600


async def test_who_may_not_read_the_oplog_is_not_asked_again() -> None:
    database = Database(window=None)
    async with counting(database, rarely=0.01):
        await eventually(lambda: database.counts >= 3)
    assert database.oplog_looks == 1
    assert counted("enricher_oplog_window_seconds") == 0


FIGURES = [
    ("enricher_pending_leads", {"lane": "fresh"}),
    ("enricher_leads", {"status": "pending"}),
    ("enricher_leads", {"status": "completed"}),
    ("enricher_leads_parked", {"provider": "hunter", "reason": "budget"}),
]


def _figures() -> list[float]:
    return [
        counted(series, **labels) if _is_number(series, labels) else math.nan
        for series, labels in FIGURES
    ]


def _is_number(series: str, labels: dict[str, str]) -> bool:
    return not math.isnan(REGISTRY.get_sample_value(series, labels) or 0.0)


async def test_what_takes_too_long_to_count_is_not_a_number_and_neither_0_nor_old() -> None:
    async with counting(Database()) as census:
        await eventually(lambda: _figures() == [7, 9, 23, 4])
        database = Database(errors=10**6, error=NetworkTimeout("timed out"))
        census.counts = database
        await eventually(lambda: all(math.isnan(each) for each in _figures()))
        census.counts = Database()
        await eventually(lambda: not math.isnan(_figures()[0]), within=15)


async def test_what_was_never_counted_is_not_a_number_whatever_the_reason() -> None:
    async with counting(Database(errors=10**6)):
        await eventually(lambda: all(math.isnan(each) for each in _figures()))


async def test_what_was_counted_stays_while_mongodb_is_away() -> None:
    async with counting(Database()) as census:
        await eventually(lambda: _figures() == [7, 9, 23, 4])
        away = Database(errors=10**6)
        census.counts = away
        await eventually(lambda: away.looks)
        assert _figures()[0] == 7


async def test_more_than_is_counted_is_shown_as_one_more_and_what_hangs_on_it_as_unknown() -> None:
    most = 100
    lanes = {**NOTHING, Lane.FRESH: Queue(most + 1, NOW)}
    async with counting(Database(Backlog(NOW, lanes, most=most))):
        await eventually(lambda: counted("enricher_pending_leads", lane="fresh") == 101)
        await eventually(lambda: not _is_number("enricher_leads", {"status": "completed"}))


async def test_while_the_indexes_are_built_nothing_is_counted_and_the_figures_are_no_numbers() -> (
    None
):
    database = Database()
    stop, can_count = asyncio.Event(), asyncio.Event()
    census = Census(
        database,
        {"hunter": lambda: "budget"},
        every_seconds=0.01,
        can_count=can_count.is_set,
    )
    task = asyncio.create_task(census.run(stop))
    await eventually(lambda: math.isnan(counted("enricher_pending_leads", lane="fresh")))
    assert database.looks == 0
    can_count.set()
    await eventually(lambda: counted("enricher_pending_leads", lane="fresh") == 7)
    stop.set()
    await task
