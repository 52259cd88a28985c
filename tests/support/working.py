"""A worker with its heartbeat over a real collection, and providers of the test's own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from random import Random
from typing import Any

from pymongo.asynchronous.collection import AsyncCollection

from enricher.calls.question import Gate, Retries
from enricher.enrichment.attempt import Enrichment, Subjects, Waterfall
from enricher.enrichment.conclude import AttemptPolicy
from enricher.lead import Document, Pressure
from enricher.queue import book
from enricher.queue.leads import Leads
from enricher.queue.settle import Settler
from enricher.queue.worker import Bell, Heartbeat, Slots, Worker
from enricher.settings.load import WorkSettings
from enricher.status.throughput import Activity, report
from tests.support.scripted import KEYRING, Scripted
from tests.support.waiting import patience

MINUTE = timedelta(minutes=1)


def queue(collection: AsyncCollection[Document], lease: timedelta = MINUTE) -> Leads:
    """One daemon's view of the leads."""
    return Leads(collection, "a test", lease, book.priority("temperature", ["hot"]))


@dataclass
class Working:
    """One process, as far as work goes."""

    worker: Worker
    heartbeat: Heartbeat
    bell: Bell
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)

    def start(self) -> None:
        self._ended = asyncio.Event()
        self._tasks = [
            asyncio.create_task(self.worker.run(self.stop), name="worker"),
            asyncio.create_task(self.heartbeat.run(self._ended), name="heartbeat"),
        ]

    async def drained(self, within: float = 10) -> None:
        """Stop, and wait until all is drained."""
        self.stop.set()
        async with patience(within):
            await self._tasks[0]

    async def killed(self) -> None:
        """As when another loop of the process fails."""
        self._tasks[0].cancel()
        await asyncio.gather(self._tasks[0], return_exceptions=True)

    async def end(self) -> None:
        self.stop.set()
        self._ended.set()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@asynccontextmanager
async def working(
    collection: AsyncCollection[Document],
    *providers: Scripted,
    lease: timedelta = MINUTE,
    pressure: Callable[[], Pressure] = Pressure,
    slots: Slots | None = None,
    **settings: Any,
) -> AsyncIterator[Working]:
    """A worker at work; it ends with the block, without grace unless the test asks for some."""
    leads, bell = queue(collection, lease), Bell()
    heartbeat = Heartbeat(leads)
    gates = [Gate(each, Retries(tries=1), Random(1)) for each in providers]
    its = WorkSettings(
        **{"concurrency": 8, "poll_seconds": 0.05, "shutdown_grace_seconds": 0} | settings
    )
    worker = Worker(
        settler=Settler(collection, lambda: None),
        work=Enrichment(Waterfall(gates, {}), Subjects(KEYRING), AttemptPolicy()).work_on,
        on_settled=partial(report, Activity()),
        heartbeat=heartbeat,
        bell=bell,
        settings=its,
        slots=slots or Slots(its.concurrency, pressure=pressure),
    )
    made = Working(worker, heartbeat, bell)
    made.start()
    try:
        yield made
    finally:
        await made.end()
