"""When leads were claimed and settled, by a change stream of its own: nothing the daemon says is believed."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.benchmarks.rig import Document, Leads

# The server logs a large update of a small document as a replacement.
_STAGES: list[Document] = [
    {"$match": {"operationType": {"$in": ["update", "replace"]}}},
    {
        "$project": {
            "documentKey": 1,
            "status": {
                "$ifNull": [
                    "$updateDescription.updatedFields.enrichment_status",
                    "$fullDocument.enrichment_status",
                ]
            },
        }
    },
]


def _moments() -> defaultdict[str, dict[Any, float]]:
    return defaultdict(dict)


@dataclass(slots=True)
class Observer:
    """For each status, when each lead was first seen to take it (`perf_counter` seconds)."""

    leads: Leads
    seen: defaultdict[str, dict[Any, float]] = field(default_factory=_moments)
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    async def watch(self, watching: asyncio.Event) -> None:
        """Until cancelled."""
        async with await self.leads.watch(_STAGES) as stream:
            watching.set()
            async for change in stream:
                moments = self.seen[change.get("status", "")]
                moments.setdefault(change["documentKey"]["_id"], time.perf_counter())
                self._news.set()

    async def first(self, status: str, within: float = 60.0) -> float:
        """When any lead took this status."""
        async with asyncio.timeout(within):
            while not self.seen[status]:
                await self._next()
        return min(self.seen[status].values())

    async def completed(self, ids: Sequence[Any], within: float = 120.0) -> list[float]:
        """When each of them was; all of them have to be."""
        moments = self.seen["completed"]
        async with asyncio.timeout(within):
            for id_ in ids:
                while id_ not in moments:
                    await self._next()
        return [moments[id_] for id_ in ids]

    async def _next(self) -> None:
        self._news.clear()
        await self._news.wait()


@asynccontextmanager
async def observed(leads: Leads) -> AsyncIterator[Observer]:
    """An observer that is watching."""
    observer, watching = Observer(leads), asyncio.Event()
    task = asyncio.create_task(observer.watch(watching), name="observer")
    await asyncio.wait(
        {task, asyncio.create_task(watching.wait())}, return_when=asyncio.FIRST_COMPLETED
    )
    assert watching.is_set(), task
    try:
        yield observer
    finally:
        task.cancel()
        await asyncio.wait([task])
