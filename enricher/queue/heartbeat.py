"""Keeps the leases of all leads in work, and stops the work on those that are lost.

Two things take a lease away. The database says that somebody else has it, or that a user asked for
a fresh run: then the work is stopped at the next beat. Or no renewal got through until the local
deadline: then somebody else may have it already, and calls must not go on being paid for. A
beat that fails proves neither, so the work goes on. Deadlines are watched apart from the beats: one
that hangs on a silent network must not hide that time is up.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

from loguru import logger

from enricher.lead import Lease
from enricher.mongo import DatabaseTrouble
from enricher.mongo.outage import Outage, pause
from enricher.queue.leads import Leads
from enricher.telemetry import metrics
from enricher.telemetry.labels import label

_BEATS_PER_LEASE = 3
_CHECKS_PER_LEASE = 12


@dataclass(slots=True)
class Heartbeat:
    """The leads in work, and the loop that renews their leases."""

    leads: Leads
    outage: Outage = field(default_factory=lambda: Outage("heartbeat"))
    _held: dict[Lease, asyncio.Task[None]] = field(default_factory=dict)

    def hold(self, lease: Lease, work: asyncio.Task[None]) -> None:
        """Keep this lease until `let_go`; `work` is cancelled when it is lost."""
        self._held[lease] = work
        metrics.IN_WORK.set(len(self._held))

    def let_go(self, lease: Lease) -> None:
        """The work on it is over, or only its settle is left: that one is safe without a lease."""
        self._held.pop(lease, None)
        metrics.IN_WORK.set(len(self._held))

    async def run(self, stop: asyncio.Event) -> None:
        """Beat until told to stop, which is after the last lead has been given up."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep_beating(stop), name="heartbeat-beats")
            group.create_task(self._watch_deadlines(stop), name="heartbeat-deadlines")

    async def _keep_beating(self, stop: asyncio.Event) -> None:
        lease = self.leads.lease.total_seconds()
        while not stop.is_set():
            # From the beginning of this beat, so a slow round trip does not stretch the period.
            next_at = time.monotonic() + lease / _BEATS_PER_LEASE
            if await self._beat():
                await pause(stop, next_at - time.monotonic())
            else:
                await pause(stop, lease / _CHECKS_PER_LEASE)

    async def _watch_deadlines(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            self._stop_overdue()
            await pause(stop, self.leads.lease.total_seconds() / _CHECKS_PER_LEASE)

    async def _beat(self) -> bool:
        """False when it is to be repeated soon."""
        if not self._held:
            self.outage.forget()  # nothing waits for the database here any more
            return True
        beating = list(self._held)
        try:
            lost = await self.leads.renew(beating)
        except DatabaseTrouble as error:
            self.outage.failed(error)
            return False
        self.outage.succeeded()
        self._lose(lost, "heartbeat")
        return not self.leads.is_held_up(beating)

    def _stop_overdue(self) -> None:
        now = time.monotonic()
        self._lose([lease for lease in self._held if lease.deadline <= now], "deadline")

    def _lose(self, leases: Iterable[Lease], found_by: str) -> None:
        for lease in leases:
            work = self._held.get(lease)
            self.let_go(lease)
            if work is not None:
                work.cancel()
                metrics.LEASES_LOST.labels(found_by).inc()
                logger.bind(
                    lead=label(lease.lead_id), token=lease.token, found_by=found_by
                ).warning("lease.lost")
