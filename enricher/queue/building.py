"""Builds the indexes of the leads beside the work.

On a collection of millions that takes minutes, in which new leads come. They are admitted and worked on
all the same: until the indexes stand, claims go by what the stream tells (`queue/heard.py`), and whoever
counts, sweeps or calls leads back waits. What only a search can find waits as well: leads that were
`pending` or in work before.

Whoever comes second joins: the server builds an index once, and answers all who ask for it. It also goes
on when the one who asked is killed, or begins anew after its own restart.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

from loguru import logger

from enricher.mongo import DatabaseTrouble
from enricher.mongo.outage import Outage, pause
from enricher.queue.bell import Bell
from enricher.queue.indexes import Indexes
from enricher.queue.leads import Leads
from enricher.telemetry import metrics

_FIRST_LINE_SECONDS = 1.0
_LINE_EVERY_SECONDS = 30.0
_LOOK_EVERY_SECONDS = 5.0


@dataclass(slots=True)
class Building:
    """Of one leads collection."""

    indexes: Indexes
    leads: Leads
    bell: Bell
    outage: Outage = field(default_factory=lambda: Outage("indexes"))
    waits_for_collection: bool = False
    """It was dropped, and is not made by us."""
    _is_wanted: asyncio.Event = field(default_factory=asyncio.Event)
    _since: float | None = None

    async def begin(self) -> None:
        """What must be there before work begins: everything, where that takes no time. Raises DatabaseTrouble."""
        if await self.indexes.are_soon_made():
            await self.indexes.ensure()
        else:
            await self.indexes.ensure_by_id()
            await self.indexes.look()
            self._is_wanted.set()
        self._pass_on()

    def want(self) -> None:
        """Another collection may stand there now."""
        self.waits_for_collection, self.indexes.are_coming = False, True
        self._pass_on()
        self._is_wanted.set()

    @property
    def seconds(self) -> float | None:
        """For how long it has been going on; `None` when nothing is being built."""
        return None if self._since is None else time.monotonic() - self._since

    async def run(self, stop: asyncio.Event) -> None:
        """Until told to stop, or cancelled: what the server builds it builds to its end."""
        while not stop.is_set():
            await self._until_wanted()
            self._is_wanted.clear()
            try:
                await self._build()
            except DatabaseTrouble as error:
                self._is_wanted.set()
                await pause(stop, self.outage.failed(error))
            else:
                self.outage.succeeded()

    async def _until_wanted(self) -> None:
        """A collection may come back unnoticed: in the moment in which it was found to be away."""
        if self.waits_for_collection:
            await pause(self._is_wanted, _LOOK_EVERY_SECONDS)
        else:
            await self._is_wanted.wait()

    async def _build(self) -> None:
        if not await self.indexes.collection_exists():
            self.waits_for_collection, self.indexes.are_coming = True, False
            self._pass_on()
            return
        self.waits_for_collection = False
        await self.indexes.ensure_by_id()
        await self.indexes.look()
        self._pass_on()
        telling = asyncio.create_task(self._tell(), name="indexes-telling")
        try:
            are_there = await self.indexes.ensure()
        finally:
            telling.cancel()
            await asyncio.wait([telling])
            metrics.PREPARING.labels("indexes").set(0)
        self._end(are_there=are_there)

    async def _tell(self) -> None:
        """Nothing of a build that is over at once. The server does not let us see how far it is."""
        self._since = self._since or time.monotonic()
        await asyncio.sleep(_FIRST_LINE_SECONDS)
        metrics.PREPARING.labels("indexes").set(1)
        while True:
            logger.bind(seconds=round(self.seconds or 0.0)).info("indexes.building")
            await asyncio.sleep(_LINE_EVERY_SECONDS)

    def _end(self, *, are_there: bool) -> None:
        seconds, self._since = self.seconds or 0.0, None
        if are_there and seconds >= _FIRST_LINE_SECONDS:
            logger.bind(seconds=round(seconds, 1)).info("indexes.built")
        self._pass_on()
        self.bell.ring()

    def _pass_on(self) -> None:
        self.leads.by_id = self.indexes.by_id
        self.leads.go_by_what_is_heard(self.indexes.are_coming)
