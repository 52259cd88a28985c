"""Take up again the leads that a writer's save left unmoved: once a minute, in every daemon.

Leads that are `processing` or `retrying` without a holder become work again, and completed leads get
their refresh date back, or lose it once it has come where refreshes are off. Each write is guarded by what was found, so when several daemons sweep at once,
one changes a lead and the others nothing. A sweep is followed by a rest of twenty times its duration.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import timedelta
from random import Random

from loguru import logger

from enricher.intake.checkpoints import Checkpoints
from enricher.intake.history import History
from enricher.intake.watcher import Watcher
from enricher.lead import Status
from enricher.mongo import DatabaseTrouble, expressions
from enricher.mongo.outage import Outage, pause
from enricher.queue import unmoved
from enricher.queue.leads import Leads
from enricher.queue.worker import Bell
from enricher.settings.load import WorkSettings
from enricher.telemetry import metrics

_EVERY_SECONDS = 60.0
_FIRST_WITHIN_SECONDS = 5.0
_SHARE = 20
_LEASES = 2
"""Leases of ours to allow: another daemon of the fleet may have a different setting."""
_LONGEST_LEASE = timedelta(hours=1)


@dataclass(slots=True)
class Sweep:
    """The loop of one daemon."""

    leads: Leads
    history: History
    checkpoints: Checkpoints
    bell: Bell
    may_begin: Callable[[], bool]
    """False until the history is known, since any lead may be history, and without indexes, since all would be read."""
    refresh_period: timedelta
    """Zero disables the refresh."""
    every_seconds: float = _EVERY_SECONDS
    outage: Outage = field(init=False, default_factory=lambda: Outage("sweep"))
    random: Random = field(init=False, default_factory=Random)
    _late: dict[tuple[bytes, str, str], float] = field(init=False, default_factory=dict)
    """Leases that end later than any could have been given for, with the time they were first seen."""

    @classmethod
    def beside(cls, watcher: Watcher, settings: WorkSettings) -> Sweep:
        """Build the sweep of the leads that the watcher admits."""
        return cls(
            watcher.leads,
            watcher.history,
            watcher.checkpoints,
            watcher.bell,
            lambda: watcher.is_history_known and not watcher.building.indexes.are_coming,
            timedelta(days=settings.refresh_days),
            min(_EVERY_SECONDS, settings.lease_seconds),
        )

    async def run(self, stop: asyncio.Event) -> None:
        """Sweep until told to stop."""
        rest = min(_FIRST_WITHIN_SECONDS, self.every_seconds) * self.random.random()
        while not stop.is_set():
            await pause(stop, rest)
            if not stop.is_set():
                rest = await self._sweep(stop)

    async def _sweep(self, stop: asyncio.Event) -> float:
        """Sweep once; return the seconds to rest."""
        if not self.may_begin():
            return min(1.0, self.every_seconds)
        began = time.monotonic()
        try:
            await self.leads.look_for_fatal()
            await self._take_up_strays(stop)
            await self._take_up_late()
            await (self._date_anew(stop) if self.refresh_period else self._undate(stop))
        except DatabaseTrouble as error:
            self._late.clear()  # meanwhile no lease could be renewed, or no renewal was seen
            return max(self.outage.failed(error), self.every_seconds / _SHARE)
        self.outage.succeeded()
        every = self.every_seconds * (0.8 + 0.2 * self.random.random())
        return max(every, _SHARE * (time.monotonic() - began))

    async def _take_up_strays(self, stop: asyncio.Event) -> None:
        longest = max(_LONGEST_LEASE, _LEASES * self.leads.lease)
        taken_up = 0
        async with aclosing(self.history.strays(longest)) as batches:
            async for ids, only in batches:
                taken_up += await self.leads.take_up(ids, only)
                if stop.is_set():
                    break
        self._tell("stray", taken_up)
        if taken_up:
            self.bell.ring()

    async def _take_up_late(self) -> None:
        """Take up leads whose leases end too late because the server's clock was set back. A living daemon
        renews its lease, which shows: a lease unchanged for two of our leases is over. A daemon whose lease
        is more than six times ours may lose its own that way."""
        leads = self.leads
        now, longest = time.monotonic(), (_LEASES * self.leads.lease).total_seconds()
        seen = {
            (expressions.id_key(each["_id"]), str(each.get("claim_id")), str(each["due_at"])): each
            for each in await unmoved.late_leases(leads.collection, leads.lease, leads.names)
        }
        self._late = {mark: self._late.get(mark, now) for mark in seen}
        over = [seen[mark] for mark, since in self._late.items() if now - since > longest]
        if not over:
            return
        as_seen = {leads.names.of_book("due_at"): {"$in": [each["due_at"] for each in over]}}
        only = {leads.names.enrichment_status: Status.PROCESSING, **as_seen}
        self._tell("stray", await self.leads.take_up([each["_id"] for each in over], only))
        self.bell.ring()

    async def _date_anew(self, stop: asyncio.Event) -> None:
        since = await self.checkpoints.started_at()
        if since is None:
            return
        names = self.leads.names
        dated, how = 0, unmoved.dating(names, self.refresh_period)
        while not stop.is_set():
            ids = await unmoved.find(self.leads.collection, since, names)
            more = await self.leads.take_up(ids, unmoved.lost(names), how)
            if not more:
                break
            dated += more
        self._tell("undated", dated)

    async def _undate(self, stop: asyncio.Event) -> None:
        leads = self.leads
        while not stop.is_set():
            ids, overdue = await unmoved.find_overdue(leads.collection, leads.names)
            if not await leads.take_up(ids, overdue, unmoved.undating(leads.names)):
                break

    def _tell(self, reason: str, leads: int) -> None:
        if leads:
            metrics.TAKEN_UP.labels(reason).inc(leads)
            logger.bind(reason=reason, leads=leads).warning("sweep.taken_up")
