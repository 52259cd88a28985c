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
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Protocol

from pymongo.asynchronous.collection import AsyncCollection

from enricher.calls.ledger import BudgetLeft, Usage
from enricher.fields import Names
from enricher.lead import Document, Status
from enricher.mongo import DatabaseTrouble
from enricher.mongo.outage import Outage, pause
from enricher.mongo.server import window_seconds
from enricher.queue import backlog, unmoved
from enricher.queue.backlog import Backlog, EndedCounts, Lane, RecheckCounts
from enricher.telemetry import metrics

_SHARE = 20
"""At most a twentieth of all time is spent counting."""


class Counts(Protocol):
    """What the census asks. Every method raises DatabaseTrouble; `None` stands for what takes too long to count, or may
    not be looked at."""

    async def backlog(self) -> Backlog:
        """Count the leads that are work."""
        ...

    async def ended(self) -> EndedCounts | None:
        """Count the leads that are not."""
        ...

    async def unmoved(self) -> Mapping[str, int] | None:
        """Return reason -> leads that nothing moves."""
        ...

    async def rechecks(self) -> RecheckCounts | None:
        """Count the leads to be looked at again; zero where there are no rechecks."""
        ...

    async def oplog_seconds(self) -> float | None:
        """Return how much time the oplog covers."""
        ...

    async def budgets(self) -> Sequence[BudgetLeft]:
        """Return what is left of each budget."""
        ...


@dataclass(frozen=True, slots=True)
class CountsOfSources:
    """Counts in one collection after the other, and joins what was counted."""

    queues: Sequence[tuple[AsyncCollection[Document], Names]]
    """Where the book-keeping of each source stands, with the names of our fields there."""
    usage: Usage
    providers: Sequence[str]
    """Those that leads may wait for."""
    has_rechecks: bool

    async def backlog(self) -> Backlog:
        names = list(self.providers)
        return backlog.join([await backlog.look(of, names, names=its) for of, its in self.queues])

    async def ended(self) -> EndedCounts | None:
        return backlog.join_ended([await backlog.ended(*each) for each in self.queues])

    async def unmoved(self) -> Mapping[str, int] | None:
        return unmoved.join([await unmoved.count(*each) for each in self.queues])

    async def rechecks(self) -> RecheckCounts | None:
        if not self.has_rechecks:
            return RecheckCounts()
        return backlog.join_rechecks([await backlog.rechecks(*each) for each in self.queues])

    async def oplog_seconds(self) -> float | None:
        queue, _ = self.queues[0]
        return await window_seconds(queue.database.client)

    async def budgets(self) -> Sequence[BudgetLeft]:
        return await self.usage.budgets()


@dataclass(slots=True)
class Census:
    """The loop of the census."""

    counts: Counts
    waits_for: Mapping[str, Callable[[], str]] = field(default_factory=dict)
    """Provider -> what keeps it from asking now."""
    every_seconds: float = 10.0
    rare_seconds: float = 60.0
    can_count: Callable[[], bool] = lambda: True
    """False while the indexes are being built: each count would read every lead."""
    outage: Outage = field(default_factory=lambda: Outage("census"))
    random: Random = field(default_factory=Random)
    _ended_at: float = field(init=False, default=float("-inf"))
    _ended_took: float = field(init=False, default=0.0)
    _may_not_see_the_oplog: bool = field(init=False, default=False)
    _has_counted: bool = field(init=False, default=False)

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
                _show_budgets(await self.counts.budgets())
                return 0.0
            counted = await self.counts.backlog()
            self._has_counted = True
            _show(counted)
            self._show_parked(counted)
            _show_budgets(await self.counts.budgets())
            await self._ask_rarely(counted)
        except DatabaseTrouble as error:
            if getattr(error, "timeout", False) or not self._has_counted:
                _show_nothing(self.waits_for)
            return self.outage.failed(error)
        self.outage.succeeded()
        return 0.0

    def _show_parked(self, counted: Backlog) -> None:
        for provider, leads in counted.parked.items():
            now = self.waits_for[provider]()
            for reason in metrics.WAITS_FOR:
                metrics.PARKED.labels(provider, reason).set(leads if reason == now else 0)

    async def _ask_rarely(self, counted: Backlog) -> None:
        began = time.monotonic()
        rest = max(self.rare_seconds, 5 * _SHARE * self._ended_took)
        if began - self._ended_at >= rest:
            _show_ended(await self.counts.ended(), counted)
            _show_unmoved(await self.counts.unmoved())
            _show_rechecks(await self.counts.rechecks())
            metrics.OPLOG_WINDOW.set(await self._ask_for_the_oplog())
            self._ended_at = time.monotonic()
            self._ended_took = self._ended_at - began

    async def _ask_for_the_oplog(self) -> float:
        if not self._may_not_see_the_oplog:
            seconds = await self.counts.oplog_seconds()
            self._may_not_see_the_oplog = seconds is None
            return seconds or 0.0
        return 0.0


def _show_unmoved(unmoved: Mapping[str, int] | None) -> None:
    for reason in metrics.UNMOVED_IN_THE_DATABASE:
        metrics.UNMOVED.labels(reason).set(math.nan if unmoved is None else unmoved[reason])


def _show_rechecks(counted: RecheckCounts | None) -> None:
    metrics.RECHECKS_DUE.set(math.nan if counted is None else counted.due)


def _show(counted: Backlog) -> None:
    for lane, queue in counted.lanes.items():
        metrics.PENDING.labels(lane.value).set(queue.leads)
        since = queue.since.timestamp() if queue.since else 0.0
        metrics.OLDEST_PENDING.labels(lane.value).set(since)
        _show_age(lane, counted.age_seconds(lane) if queue.since else None)
    _set(Status.PENDING, counted.pending)
    _set(Status.PROCESSING, counted.processing)
    _set(Status.RETRYING, counted.retrying)
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


def _show_ended(ended: EndedCounts | None, counted: Backlog) -> None:
    """Show NaN where there are too many to count in time: an old figure would look true."""
    _set(Status.FAILED, ended.failed if ended else math.nan)
    _set(Status.SKIPPED, ended.skipped if ended else math.nan)
    completed = ended.completed(counted) if ended else None
    _set(Status.COMPLETED, math.nan if completed is None else completed)


def _set(status: Status, leads: float) -> None:
    metrics.LEADS.labels(status.value).set(leads)
