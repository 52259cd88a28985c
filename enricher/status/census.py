"""Counts the backlog, and what is left of the budgets, every few seconds for the gauges.

No counter of this process sees what waits in the database: a daemon that takes nothing looks healthy to
itself. So each daemon asks, and the whole fleet reports the same figures.

The census must never be in the way: it rests at least twenty times as long as a count took, has one
connection at a time, gives up after a moment, and an expensive count makes no daemon unready. The age of
the oldest lead keeps rising while MongoDB does not answer.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random

from enricher.calls.ledger import BudgetLeft
from enricher.lead import Status
from enricher.mongo import DatabaseTrouble
from enricher.mongo.outage import Outage, pause
from enricher.queue.backlog import Backlog, EndedCounts, Lane, RecheckCounts
from enricher.telemetry import metrics

_SHARE = 20
"""At most a twentieth of all time is spent counting."""


@dataclass(slots=True)
class Census:
    """The loop of the census.

    `look` and `ended` ask as in `queue/backlog.py`, `budgets` as in `calls/ledger.py`, `oplog_seconds` as
    in `mongo/server.py`.
    """

    look: Callable[[], Awaitable[Backlog]]
    ended: Callable[[], Awaitable[EndedCounts | None]]
    budgets: Callable[[], Awaitable[Sequence[BudgetLeft]]]
    oplog_seconds: Callable[[], Awaitable[float | None]]
    unmoved: Callable[[], Awaitable[Mapping[str, int] | None]]
    """Reason -> leads that nothing moves; `None` when that cannot be told."""
    waits_for: Mapping[str, Callable[[], str]] = field(default_factory=dict)
    """Provider -> what keeps it from asking now."""
    every_seconds: float = 10.0
    rare_seconds: float = 60.0
    rechecks: Callable[[], Awaitable[RecheckCounts | None]] | None = None
    """Counts the leads to be looked at again; `None` where there are none."""
    can_count: Callable[[], bool] = lambda: True
    """False while the indexes are being built: each count would read every lead."""
    outage: Outage = field(default_factory=lambda: Outage("census"))
    random: Random = field(default_factory=Random)
    _ended_at: float = float("-inf")
    _ended_took: float = 0.0
    _may_not_see_the_oplog: bool = False
    _has_counted: bool = False

    async def run(self, stop: asyncio.Event) -> None:
        """Run until told to stop, without waiting for a count under way at that moment."""
        async with asyncio.TaskGroup() as group:
            counting = group.create_task(self._keep_counting(stop), name="census-counting")
            await stop.wait()
            counting.cancel()

    async def _keep_counting(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            began = time.monotonic()
            wait = await self._count()
            took = time.monotonic() - began
            every = self.every_seconds * (0.9 + 0.2 * self.random.random())
            await pause(stop, max(every, wait, _SHARE * took))

    async def _count(self) -> float:
        """Count and show everything. Returns the seconds to wait because of an error, else 0."""
        try:
            if not self.can_count():
                _show_nothing(self.waits_for)
                _show_budgets(await self.budgets())
                return 0.0
            backlog = await self.look()
            self._has_counted = True
            _show(backlog)
            self._show_parked(backlog)
            _show_budgets(await self.budgets())
            await self._ask_rarely(backlog)
        except DatabaseTrouble as error:
            if getattr(error, "timeout", False) or not self._has_counted:
                _show_nothing(self.waits_for)
            return self.outage.failed(error)
        self.outage.succeeded()
        return 0.0

    def _show_parked(self, backlog: Backlog) -> None:
        for provider, leads in backlog.parked.items():
            now = self.waits_for[provider]()
            for reason in metrics.WAITS_FOR:
                metrics.PARKED.labels(provider, reason).set(leads if reason == now else 0)

    async def _ask_rarely(self, backlog: Backlog) -> None:
        began = time.monotonic()
        rest = max(self.rare_seconds, 5 * _SHARE * self._ended_took)
        if began - self._ended_at >= rest:
            _show_ended(await self.ended(), backlog)
            _show_unmoved(await self.unmoved())
            await self._show_rechecks()
            metrics.OPLOG_WINDOW.set(await self._ask_for_the_oplog())
            self._ended_at = time.monotonic()
            self._ended_took = self._ended_at - began

    async def _show_rechecks(self) -> None:
        if self.rechecks is not None:
            counted = await self.rechecks()
            metrics.RECHECKS_DUE.set(math.nan if counted is None else counted.due)

    async def _ask_for_the_oplog(self) -> float:
        if not self._may_not_see_the_oplog:
            seconds = await self.oplog_seconds()
            self._may_not_see_the_oplog = seconds is None
            return seconds or 0.0
        return 0.0


def _show_unmoved(unmoved: Mapping[str, int] | None) -> None:
    for reason in metrics.UNMOVED_IN_THE_DATABASE:
        metrics.UNMOVED.labels(reason).set(math.nan if unmoved is None else unmoved[reason])


def _show(backlog: Backlog) -> None:
    for lane, queue in backlog.lanes.items():
        metrics.PENDING.labels(lane.value).set(queue.leads)
        since = queue.since.timestamp() if queue.since else 0.0
        metrics.OLDEST_PENDING.labels(lane.value).set(since)
        _show_age(lane, backlog.age_seconds(lane) if queue.since else None)
    _set(Status.PENDING, backlog.pending)
    _set(Status.PROCESSING, backlog.processing)
    _set(Status.RETRYING, backlog.retrying)
    metrics.CENSUS.set_to_current_time()


def _show_nothing(providers: Iterable[str]) -> None:
    """Show NaN where counting takes too long: 0 would say that all is done, an old figure that nothing moves.

    The age of the oldest lead keeps rising.
    """
    for lane in Lane:
        metrics.PENDING.labels(lane.value).set(math.nan)
    for status in Status:
        _set(status, math.nan)
    for provider in providers:
        for reason in metrics.WAITS_FOR:
            metrics.PARKED.labels(provider, reason).set(math.nan)


def _show_age(lane: Lane, seconds: float | None) -> None:
    """Show the age by the server's clock when it was asked, carried on by ours from then on."""
    asked_at = time.monotonic()

    def age() -> float:
        return 0.0 if seconds is None else seconds + time.monotonic() - asked_at

    metrics.OLDEST_PENDING_AGE.labels(lane.value).set_function(age)


def _show_budgets(budgets: Sequence[BudgetLeft]) -> None:
    for each in budgets:
        metrics.BUDGET_LIMIT.labels(each.vendor, each.period).set(each.limit)
        metrics.BUDGET_LEFT.labels(each.vendor, each.period).set(each.left)


def _show_ended(ended: EndedCounts | None, backlog: Backlog) -> None:
    """Show NaN where there are too many to count in time: an old figure would look true."""
    _set(Status.FAILED, ended.failed if ended else math.nan)
    _set(Status.SKIPPED, ended.skipped if ended else math.nan)
    completed = ended.completed(backlog) if ended else None
    _set(Status.COMPLETED, math.nan if completed is None else completed)


def _set(status: Status, leads: float) -> None:
    metrics.LEADS.labels(status.value).set(leads)
