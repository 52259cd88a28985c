"""What the tests of the queue begin with: leads in any state, and claims on them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, TypeAlias

import bson
import pymongo
from bson.raw_bson import RawBSONDocument
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.monitoring import (
    CommandFailedEvent,
    CommandListener,
    CommandStartedEvent,
    CommandSucceededEvent,
)

from enricher.lead import Document, LeadId, Lease
from enricher.queue import book
from enricher.queue.apart import Apart
from enricher.queue.beside import Beside, Facts
from enricher.queue.leads import Leads

Meanwhile: TypeAlias = Callable[[], Awaitable[None]]

LEASE = timedelta(seconds=60)
HOUR = timedelta(hours=1)
PAST = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - HOUR
"""The same in each worker, for it stands in the names of tests."""
FUTURE = PAST + 100 * HOUR
UNHURRIED_SECONDS = 90.0
PATIENT_SECONDS = 4.0
"""A write that takes longer is held up by somebody."""


def unhurried() -> AbstractContextManager[None]:
    """For documents of 16 MB: a busy machine takes longer over one than an operation of ours may last."""
    return pymongo.timeout(UNHURRIED_SECONDS)


def queue(
    collection: AsyncCollection[Document],
    lease: timedelta = LEASE,
    field: str = "temperature",
    order: tuple[str, ...] = ("hot", "warm", "cold"),
    holder: str = "a-process",
    seed: int = 7,
    **how: Any,
) -> Leads:
    """The queue of one process, which takes no lead for one that is held because the machine is busy. `how`
    its leads are read."""
    read = {"rank": book.priority(field, list(order)), **how}
    return Leads(collection, holder, lease, random=Random(seed), apart=patient(), **read)


def patient() -> Apart:
    return Apart(PATIENT_SECONDS)


@dataclass(frozen=True)
class InterruptedBeside(Beside):
    """Leads to which something can happen just before they are read for their results, or just after."""

    before: list[Meanwhile] = field(default_factory=list)
    after: list[Meanwhile] = field(default_factory=list)

    async def facts(self, ids: Iterable[LeadId]) -> dict[bytes, Facts]:
        await _have_happen(self.before)
        known = await super().facts(ids)
        await _have_happen(self.after)
        return known


async def _have_happen(events: list[Meanwhile]) -> None:
    while events:
        await events.pop()()


@contextmanager
def once(events: list[Meanwhile], event: Meanwhile) -> Iterator[None]:
    """Have this happen at that moment, or not at all if nothing gets that far."""
    events.append(event)
    try:
        yield
    finally:
        events.clear()


async def insert(collection: AsyncCollection[Document], id_: LeadId = 1, **fields: Any) -> LeadId:
    """A writer's insert."""
    await collection.insert_one({"_id": id_, "email": "ada@quokka-freight.com", **fields})
    return id_


async def read(collection: AsyncCollection[Document], id_: LeadId = 1) -> Document:
    """The lead as it stands."""
    document = await collection.find_one({"_id": id_})
    assert document is not None, f"lead {id_!r} is gone"
    return document


async def claim_one(leads: Leads) -> Lease:
    """Claim the only lead that is work."""
    claimed = await leads.claim(10)
    assert len(claimed.leases) == 1, f"{len(claimed.leases)} leads were work, not one"
    return claimed.leases[0]


async def claim_new(collection: AsyncCollection[Document], **fields: Any) -> Lease:
    """Insert one lead, admit it and claim it."""
    leads = queue(collection)
    await leads.admit([await insert(collection, **fields)])
    return await claim_one(leads)


async def server_time(collection: AsyncCollection[Document]) -> datetime:
    """What `$$NOW` is."""
    hello = await collection.database.client.admin.command("hello")
    now: datetime = hello["localTime"].replace(tzinfo=UTC)
    return now


def with_invalid_utf8(document: Document, marker: str) -> RawBSONDocument:
    """The document with two bytes that are no UTF-8 where `marker` begins."""
    raw, mark = bson.encode(document), marker.encode()
    assert mark in raw
    return RawBSONDocument(raw.replace(mark, b"\xff\xfe" + mark[2:]))


class Commands(CommandListener):
    """Every command that a client sent, oldest first."""

    def __init__(self) -> None:
        self.sent: list[Document] = []

    def names(self) -> list[str]:
        return [next(iter(command)) for command in self.sent]

    def started(self, event: CommandStartedEvent) -> None:
        self.sent.append(dict(event.command))

    def succeeded(self, event: CommandSucceededEvent) -> None: ...

    def failed(self, event: CommandFailedEvent) -> None: ...


class CancelsTheFirst(Commands):
    """Cancels a task as its first command of a name has gone out: before 3.12 the driver swallows that."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def started(self, event: CommandStartedEvent) -> None:
        task = asyncio.current_task()
        if task and event.command_name == self.name not in self.names():
            asyncio.get_running_loop().call_soon(self._in_the_next_turn, task.cancel)
        super().started(event)

    def _in_the_next_turn(self, cancel: Callable[[], object]) -> None:
        asyncio.get_running_loop().call_soon(cancel)
