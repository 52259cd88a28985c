"""The daemons of the model test, as far as the store knows them, and a loop to run them in.

A state machine is not asynchronous, so it has a loop of its own. Each step runs to its end in it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Coroutine, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from random import Random
from typing import Any, TypeVar

from pymongo import WriteConcern
from pymongo.asynchronous.collection import AsyncCollection

from enricher.fields import NAMES
from enricher.lead import Document, LeadId, Lease
from enricher.mongo import server
from enricher.queue import book
from enricher.queue.beside import noted_rank
from enricher.queue.indexes import Indexes
from enricher.queue.leads import Claimed, Leads
from enricher.queue.settle import Keeper, Settler
from tests.chaos.model import LEASE, REFRESH
from tests.chaos.model_cases import REFUSED
from tests.chaos.model_values import RANKS
from tests.support.databases import BESIDE
from tests.support.queueing import InterruptedBeside, Meanwhile, patient
from tests.support.rig import Write

Result = TypeVar("Result")

_PATIENCE_SECONDS = 20


class InterruptedLeads(Leads):
    """A queue in which something can happen between reading the candidates and taking them."""

    meanwhile: Meanwhile | None = None

    async def claim(
        self, slots: int, above: float | None = None, suspects: int = 1, data_in_work: int = 0
    ) -> Claimed:
        """After ten minutes: leads here are put back just as they were, again and again, until they
        look like ones that can never be taken and are set aside."""
        self.aside.until.clear()
        return await super().claim(slots, above, max(suspects, slots), data_in_work)

    async def _take(
        self, ids: Sequence[LeadId], claim_id: str, sent: float
    ) -> tuple[bool, list[Lease]]:
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile:
            await meanwhile()
        return await super()._take(ids, claim_id, sent)


@dataclass(frozen=True, slots=True)
class SimulatedDaemon:
    """What one process has of the store."""

    holder: str
    leads: InterruptedLeads
    settler: Settler
    keeper: Keeper
    beside: InterruptedBeside | None


@dataclass(slots=True)
class Store:
    """The collection that is the queue, and a loop to speak to it."""

    runner: asyncio.Runner
    collection: AsyncCollection[Document]
    leads: AsyncCollection[Document]
    """That of the writers: the same, unless results stand beside the leads."""

    @property
    def is_beside(self) -> bool:
        return self.leads.name != self.collection.name

    def do(self, step: Coroutine[Any, Any, Result]) -> Result:
        """Run one step to its end. A settle that goes on for ever is a failure."""

        async def within_patience() -> Result:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                return await step

        return self.runner.run(within_patience())

    def daemon(self, number: int) -> SimulatedDaemon:
        holder, rank = f"daemon-{number}", book.priority("temperature", list(RANKS))
        beside = InterruptedBeside(self.leads, self.collection, rank) if self.is_beside else None
        rank = rank if beside is None else noted_rank(NAMES)
        of_queue = (self.collection, holder, LEASE, rank, Random(number))
        return SimulatedDaemon(
            holder,
            InterruptedLeads(*of_queue, apart=patient(), beside=beside),
            Settler(self.collection, lambda: REFRESH, beside=beside),
            Keeper(self.collection, patient(), is_beside=self.is_beside),
            beside,
        )

    async def empty(self) -> None:
        """Begin anew."""
        for each in (self.leads, self.collection):
            await each.delete_many({})

    async def all(self) -> list[Document]:
        """Every lead as it stands, or its result."""
        return await self.collection.find().to_list()

    async def of_writers(self) -> list[Document]:
        """Every lead as its writers have it."""
        return await self.leads.find().to_list()


@contextmanager
def open_store(uri: str, database: str, write: Write = "lead") -> Iterator[Store]:
    """An empty collection with the daemon's own kind of client, its indexes and a validator."""
    with asyncio.Runner() as runner:
        connection = server.connect(uri, pool=8)
        client = runner.run(connection.__aenter__())
        # Nobody fails over here, and a step that waits for a disk takes twice as long.
        concern = WriteConcern(w=1)
        leads = client[database].get_collection("leads", write_concern=concern)
        results = client[database].get_collection(BESIDE, write_concern=concern)
        store = Store(runner, leads if write == "lead" else results, leads)
        try:
            store.do(_prepare(store.collection))
            yield store
        finally:
            store.do(client.drop_database(database))
            runner.run(connection.__aexit__(None, None, None))


async def _prepare(collection: AsyncCollection[Document]) -> None:
    await collection.database.create_collection(collection.name, validator=REFUSED)
    await Indexes(collection).ensure()


async def together(steps: Iterable[Awaitable[Result]]) -> list[Result]:
    """All at once, as the coalescers and the database see it."""
    return await asyncio.gather(*steps)
