"""A hostile writer: whatever a client of the database may do to its own leads, drawn by a seed.

    hostile = Hostile(rig.leads, seed, honest)
    await hostile.act()     # one more deed

The leads of others are left alone, but for the collection as a whole: it is put in place of itself
(`$out`), renamed away and back. Which deeds follow one another depends on the seed alone; what they
meet is up to the machine.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from itertools import count
from random import Random
from typing import Any, TypeAlias

import bson
from bson.errors import BSONError
from pymongo import InsertOne, ReplaceOne, UpdateOne
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import PyMongoError

from enricher.lead import Document
from tests.chaos.honest import Honest
from tests.chaos.hostile_leads import (
    BOOK,
    OURS,
    READ,
    STATUSES,
    draw,
    echo,
    odd_values,
    person,
    place,
)

STALE = "somebody else"
"""`about` whom a lead is whose inputs changed and that nobody asked to be enriched again."""
_KNOWN = 3000
_LARGEST_ID = 2000
_LARGE = 1_000_000
_LARGE_SECONDS = 15.0
"""A lead of megabytes is taken away after so long: a small server is not to be judged by its cache."""
_BURST = 60
_HELD_SECONDS = (2.0, 10.0, 25.0)

Deed: TypeAlias = Callable[["Hostile"], Awaitable[None]]


@dataclass(slots=True)
class Hostile:
    """Its dice, and the leads that it knows to be its own."""

    leads: AsyncCollection[Document]
    seed: int
    honest: Honest
    ports: list[int] = field(default_factory=list)
    """Where daemons listen."""
    done: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    """What the server would not take."""
    _ids: deque[Any] = field(default_factory=lambda: deque(maxlen=_KNOWN))
    _numbers: Any = field(default_factory=lambda: count(1))
    _under_way: set[asyncio.Task[None]] = field(default_factory=set)
    dice: Random = field(init=False)

    def __post_init__(self) -> None:
        self.dice = Random(self.seed)

    async def act(self) -> None:
        """One deed; whatever the server says to it is not our concern."""
        (deed,) = self.dice.choices([*_DEEDS], [*_DEEDS.values()])
        await self.do(deed)

    async def do(self, deed: Deed) -> None:
        name = deed.__name__
        self.done[name] += 1
        try:
            await deed(self)
        except (PyMongoError, BSONError, OverflowError) as error:
            self.refused[f"{name}: {type(error).__name__}"] += 1

    async def rest(self) -> None:
        """Wait for what goes on behind its back."""
        if self._under_way:
            await asyncio.wait(self._under_way)

    # -- new leads -------------------------------------------------------------------------

    async def insert(self) -> None:
        await self._insert(draw(self.dice, next(self._numbers)))

    async def insert_many(self) -> None:
        several = [draw(self.dice, next(self._numbers)) for _ in range(self.dice.choice((2, 9)))]
        for lead in several:
            await self._insert(lead)

    async def burst(self) -> None:
        """Many at once: of one company, or all of them hot."""
        word, number = self.dice.choice(("hostile", "hostile", "unknown")), next(self._numbers)
        alike: Document = {"company_domain": place(word, number), "temperature": "hot"}
        await self.leads.insert_many([dict(alike) for _ in range(_BURST)], ordered=False)

    async def repeat_an_honest_one(self) -> None:
        if email := self.honest.any_address(self.dice):
            await self._insert(echo(self.dice, email))

    async def _insert(self, lead: Any) -> None:
        """A lead of raw bytes is sent as it is."""
        if isinstance(lead, dict):
            lead.setdefault("_id", bson.ObjectId())
        await self.leads.insert_one(lead)
        with suppress(BSONError):
            id_ = lead["_id"]
            if len(bson.encode(lead)) > _LARGE:
                self._behind(self._take_away(id_))
            if len(bson.encode({"": id_})) < _LARGEST_ID:
                self._ids.append(id_)

    async def _take_away(self, id_: Any) -> None:
        await asyncio.sleep(_LARGE_SECONDS)
        with suppress(PyMongoError):
            await self.leads.delete_one({"_id": {"$eq": id_}})

    # -- what stands there -------------------------------------------------------------------

    def _one(self) -> Document:
        """A filter for one of its own."""
        if not self._ids:
            return {"_id": "nobody"}
        return {"_id": {"$eq": self.dice.choice(self._ids)}}

    async def set_pending(self) -> None:
        await self.leads.update_one(self._one(), {"$set": {"enrichment_status": "pending"}})

    async def set_a_status(self) -> None:
        status = self.dice.choice(STATUSES)
        await self.leads.update_one(self._one(), {"$set": {"enrichment_status": status}})

    async def set_fields(self) -> None:
        """Any of ours and theirs, to anything."""
        fields = self.dice.sample((*READ, *OURS), self.dice.choice((1, 3)))
        values = {each: self.dice.choice(odd_values()) for each in fields}
        await self.leads.update_one(self._one(), {"$set": {**values, "about": STALE}})

    async def set_the_book(self) -> None:
        """Single fields of the daemon's own book-keeping, mostly of a lead in work."""
        name = f"enrichment.{self.dice.choice(BOOK)}"
        value = self.dice.choice(odd_values())
        await self.leads.update_one(self._one(), {"$set": {name: value}})

    async def unset(self) -> None:
        name = self.dice.choice((*OURS, "email", *(f"enrichment.{each}" for each in BOOK)))
        await self.leads.update_one(self._one(), {"$unset": {name: ""}, "$set": {"about": STALE}})

    async def change_the_subject(self) -> None:
        """Somebody else's address, and perhaps a run for it."""
        again = self.dice.random() < 0.7
        email = person("hostile", next(self._numbers))
        change: Document = {"$set": {"email": email, "about": STALE}}
        if again:
            change = {
                "$set": {"email": email, "enrichment_status": "pending"},
                "$unset": {"about": ""},
            }
        await self.leads.update_one(self._one(), change)

    async def replace(self) -> None:
        """As an ODM saves a stale copy: with some of our fields, for somebody else."""
        chosen = self._one()
        old = await self.leads.find_one(chosen) or {}
        kept = {name: old[name] for name in OURS if name in old and self.dice.random() < 0.6}
        new = {**kept, "email": person("hostile", next(self._numbers))}
        await self.leads.replace_one(chosen, {**new, "enrichment_status": "pending"})

    async def put_back(self) -> None:
        """What was read as JSON comes back as text."""
        chosen = self._one()
        old = await self.leads.find_one(chosen)
        if old is None:
            return
        texts = {
            name: value.isoformat() if isinstance(value, datetime) else value
            for name, value in (old.get("enrichment") or {}).items()
        } if isinstance(old.get("enrichment"), dict) else {}  # fmt: skip
        await self.leads.update_one(chosen, {"$set": {"enrichment": texts, "about": STALE}})

    async def delete(self) -> None:
        await self.leads.delete_one(self._one())

    async def delete_many(self) -> None:
        ids = [self.dice.choice(self._ids) for _ in range(20)] if self._ids else []
        await self.leads.delete_many({"_id": {"$in": ids}})

    async def write_in_bulk(self) -> None:
        new = {"_id": bson.ObjectId(), "email": person("hostile", next(self._numbers))}
        await self.leads.bulk_write(
            [
                InsertOne(new),
                UpdateOne({"_id": new["_id"]}, {"$set": {"enrichment": {"token": 5}}}),
                ReplaceOne({"_id": new["_id"]}, {**new, "enrichment_status": "processing"}),
                UpdateOne(self._one(), {"$inc": {"enrichment.token": 1}}),
                UpdateOne(self._one(), {"$currentDate": {"enrichment.due_at": True}}),
            ],
            ordered=False,
        )

    async def sweep_over_all(self) -> None:
        """One command over many leads of its own."""
        some = {"about": {"$exists": False}, "email": {"$regex": f"-{self.dice.randrange(100)}\\."}}
        hostile = {"$and": [some, {"email": {"$regex": "^eve"}}]}
        await self.leads.update_many(hostile, {"$set": {"enrichment_status": "pending"}})

    # -- sessions ------------------------------------------------------------------------------

    async def insert_in_a_transaction(self) -> None:
        """Seen by others when it is over, or never."""
        lead = draw(self.dice, next(self._numbers))
        ends_well = self.dice.random() < 0.5
        async with self.leads.database.client.start_session() as session:
            await session.start_transaction()
            await self.leads.insert_one(lead, session=session)
            await asyncio.sleep(0.2)
            await (session.commit_transaction() if ends_well else session.abort_transaction())

    async def lock_in_a_transaction(self) -> None:
        """Leads of its own stay locked for seconds, in work, due or new."""
        held, chosen = self.dice.choice(_HELD_SECONDS), [self._one() for _ in range(5)]
        self._behind(self._lock(chosen, held))

    async def _lock(self, chosen: list[Document], seconds: float) -> None:
        with suppress(PyMongoError):
            async with self.leads.database.client.start_session() as session:
                await session.start_transaction()
                for one in chosen:
                    await self.leads.update_one(one, {"$set": {"locked": 1}}, session=session)
                await asyncio.sleep(seconds)
                await session.commit_transaction()

    # -- the collection as a whole ---------------------------------------------------------------

    async def put_in_place_of_itself(self) -> None:
        """A copy of the collection, made elsewhere and put in its place, with a few leads more."""
        staging = self.leads.database["staging"]
        async with self.honest.at_rest():
            await self.leads.aggregate([{"$out": staging.name}])
            await staging.insert_many(
                [{"email": person("hostile", next(self._numbers))} for _ in range(5)]
            )
            await staging.aggregate([{"$out": self.leads.name}])

    async def rename_there_and_back(self) -> None:
        async with self.honest.at_rest():
            await self.leads.rename("elsewhere", dropTarget=True)
            await asyncio.sleep(self.dice.choice((0, 0.2, 1)))
            away = self.leads.database["elsewhere"]
            await away.rename(self.leads.name, dropTarget=True)

    # -- the daemon's own port ---------------------------------------------------------------------

    async def knock(self) -> None:
        """No HTTP, half of it, or too much of it."""
        if self.ports:
            self._behind(_knock_at(self.dice.choice(self.ports), self.dice.choice(_KNOCKS)))

    def _behind(self, work: Coroutine[Any, Any, None]) -> None:
        """Go on meanwhile."""
        task = asyncio.create_task(work, name="hostile")
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)


async def _knock_at(port: int, words: bytes) -> None:
    with suppress(OSError, TimeoutError):
        async with asyncio.timeout(20):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(words)
                while await reader.read(1000):
                    pass
            finally:
                writer.close()
                await writer.wait_closed()


_KNOCKS = (
    b"\x00\xff\xfe",
    b"GET /livez HTTP/1.1\r\nHost: evil.example\r\n\r\n",
    b"GET / HTTP/9.9\r\n\r\n",
    b"GET /status.json HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
    b"POST /livez HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n",
    b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 8000,
    b"GET /%00%ff/../../etc/passwd HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
)

_DEEDS: Mapping[Deed, int] = {
    Hostile.insert: 300,
    Hostile.insert_many: 40,
    Hostile.burst: 4,
    Hostile.repeat_an_honest_one: 60,
    Hostile.set_pending: 30,
    Hostile.set_a_status: 30,
    Hostile.set_fields: 40,
    Hostile.set_the_book: 40,
    Hostile.unset: 30,
    Hostile.replace: 40,
    Hostile.change_the_subject: 20,
    Hostile.put_back: 20,
    Hostile.delete: 40,
    Hostile.delete_many: 5,
    Hostile.write_in_bulk: 20,
    Hostile.sweep_over_all: 5,
    Hostile.insert_in_a_transaction: 10,
    Hostile.lock_in_a_transaction: 5,
    Hostile.knock: 20,
    Hostile.put_in_place_of_itself: 1,
    Hostile.rename_there_and_back: 1,
}
EVERY_DEED = tuple(_DEEDS)
