"""An honest writer: a good lead every few tenths of a second, and how long each takes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random

from bson import ObjectId
from pymongo.asynchronous.collection import AsyncCollection

from enricher.lead import Document
from tests.support.rig import domain

WORD = "honest"
_EVERY = (0.2, 0.5)
_GLANCE = 0.1


@dataclass(slots=True)
class Good:
    """One lead of its own."""

    id_: ObjectId
    domain: str
    inserted: float
    written: float = 0.0
    """Seconds that the insert took: the server alone."""
    took: float | None = None
    """Seconds from the insert to `completed`."""
    disturbed: bool = False
    """The collection was put in place of itself meanwhile: what a daemon had just written is gone."""
    status: object = None

    @property
    def email(self) -> str:
        return f"ada.lovelace@{self.domain}"


@dataclass(slots=True)
class Honest:
    """Writes, and looks at what becomes of it."""

    leads: AsyncCollection[Document]
    dice: Random
    good: list[Good] = field(default_factory=list)
    _open: dict[ObjectId, Good] = field(default_factory=dict)
    _writes: asyncio.Lock = field(default_factory=asyncio.Lock)
    _looks: asyncio.Lock = field(default_factory=asyncio.Lock)

    def any_address(self, dice: Random) -> str | None:
        """Of one that was written lately."""
        return dice.choice(self.good[-50:]).email if self.good else None

    @asynccontextmanager
    async def at_rest(self) -> AsyncIterator[None]:
        """Nothing is written, and what is under way is disturbed. Nor is it looked at: what comes to its end
        meanwhile may be put back to what it was, and has to come to its end once more."""
        async with self._writes, self._looks:
            try:
                yield
            finally:
                for one in self._open.values():
                    one.disturbed = True

    async def write(self, stop: asyncio.Event) -> None:
        """Until told to stop."""
        while not stop.is_set():
            one = Good(ObjectId(), domain(WORD), time.monotonic())
            async with self._writes:
                one.inserted = time.monotonic()
                await self.leads.insert_one({"_id": one.id_, "email": one.email})
                one.written = time.monotonic() - one.inserted
                self._open[one.id_] = one
            self.good.append(one)
            await asyncio.sleep(self.dice.uniform(*_EVERY))

    async def look(self) -> None:
        """Until cancelled."""
        while True:
            async with self._looks:
                await self._look_once()
            await asyncio.sleep(_GLANCE)

    async def _look_once(self) -> None:
        ids = list(self._open)
        found = self.leads.find({"_id": {"$in": ids}}, {"enrichment_status": 1})
        async for lead in found:
            one = self._open[lead["_id"]]
            one.status = lead.get("enrichment_status")
            if one.status == "completed":
                one.took = time.monotonic() - one.inserted
                del self._open[one.id_]

    @property
    def unfinished(self) -> list[Good]:
        return list(self._open.values())

    @property
    def seconds(self) -> list[float]:
        """How long each took, in order; those that were disturbed are not to be judged by it."""
        return sorted(each.took for each in self.good if each.took and not each.disturbed)

    @property
    def inserts(self) -> list[float]:
        """How long each insert took, in order: what the machine and the server allow."""
        return sorted(each.written for each in self.good)

    def by_time(self, seconds: float) -> list[float]:
        """The longest of each so many seconds, by when they were written, of those that were not disturbed."""
        longest: dict[int, float] = {}
        for each in self.good:
            if each.disturbed:
                continue
            place = int((each.inserted - self.good[0].inserted) / seconds)
            longest[place] = max(longest.get(place, 0.0), each.took or float("inf"))
        return [round(longest[place], 1) for place in sorted(longest)]
