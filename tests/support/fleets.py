"""Several daemons on one database, and what the vendors' journal says of them together."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

from enricher.lead import Document
from enricher.simulator.journal import Entry
from tests.support.processes import Daemon
from tests.support.rig import Rig, address, domain
from tests.support.waiting import end, eventually

_AT_ONCE = 5_000
_GLANCE = 0.02
_STALL = 0.2
"""Seconds. Less is within what a limiter allows for the way to the vendor."""


@asynccontextmanager
async def fleet(
    rig: Rig, size: int, *vendors: str, **settings: object
) -> AsyncIterator[list[Daemon]]:
    """So many daemons, all of them watching."""
    async with AsyncExitStack() as stack:
        new = (rig.daemon(*vendors, **settings) for _ in range(size))
        daemons = [await stack.enter_async_context(daemon) for daemon in new]
        async with asyncio.TaskGroup() as group:
            for daemon in daemons:
                group.create_task(is_watching(daemon))
        yield daemons


async def is_watching(daemon: Daemon) -> None:
    """From now on leads that are inserted are seen as new."""

    async def is_ready() -> bool:
        return (await daemon.get("/readyz")).is_success

    await daemon.wait_for_event("daemon.started", within=60)
    await eventually(is_ready, within=60)


def people(count: int, **fields: object) -> Iterator[Document]:
    """Leads that every vendor is asked about, each at a company of its own."""
    return ({"email": address(), **fields} for _ in range(count))


def companies(count: int, **fields: object) -> Iterator[Document]:
    """Leads that say no more than a company."""
    return ({"company_domain": domain(), **fields} for _ in range(count))


async def insert(rig: Rig, leads: Sequence[Document]) -> None:
    """A backlog, in few commands."""
    for first in range(0, len(leads), _AT_ONCE):
        await rig.leads.insert_many(leads[first : first + _AT_ONCE])


def calls(rig: Rig, vendor: str, after: float = 0.0, before: float = float("inf")) -> list[Entry]:
    """Those that arrived in between (monotonic seconds), in order."""
    return [
        each for each in rig.simulator.journal.calls(vendor=vendor) if after < each.arrived < before
    ]


def over_limit(rig: Rig) -> int:
    """Calls that a vendor refused because one of its windows was full."""
    return sum(each.over_limit for each in rig.simulator.journal)


@dataclass(slots=True)
class Judge:
    """The simulator's own loop: after it stood still, all that had arrived meanwhile bears one time."""

    stalls: list[tuple[float, float]] = field(default_factory=list)
    """(when it was over, seconds)"""

    async def watch(self) -> None:
        """Until cancelled."""
        while True:
            began = time.monotonic()
            await asyncio.sleep(_GLANCE)
            now = time.monotonic()
            if now - began > _GLANCE + _STALL:
                self.stalls.append((now, now - began))

    def beyond(self, rig: Rig) -> list[Entry]:
        """Calls over a limit that no stall of the judge explains."""
        over = (entry for entry in rig.simulator.journal if entry.over_limit)
        return [entry for entry in over if not self._was_stalled(entry.arrived)]

    def _was_stalled(self, at: float) -> bool:
        return any(over - seconds < at < over + 1 for over, seconds in self.stalls)

    @property
    def longest(self) -> float:
        return max((seconds for _, seconds in self.stalls), default=0.0)

    def __str__(self) -> str:
        return f"{len(self.stalls)} stalls of the judge, the longest {self.longest:.2f} s"


@asynccontextmanager
async def judge() -> AsyncIterator[Judge]:
    """Watches itself while it judges."""
    judging = Judge()
    task = asyncio.create_task(judging.watch(), name="judge")
    try:
        yield judging
    finally:
        await end(task)
