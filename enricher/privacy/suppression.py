"""People who asked not to be processed (`enricher forget` writes them down, every daemon asks), and who objected.

No address stands here: an entry's `_id` is the keyed hash of the normalised address, so it answers
"is this one of them?" and nothing else. It has no end: what was inserted again years later is
skipped too.

    {_id: keyed hash, at: date, why: str}

Beside the entries stands the fingerprint of the secret that they were made with (`mongo/secret.py`).

`Permission` decides whether a lead may be paid for: not for a suppressed person, and not beyond an account's
quota. It is asked once per attempt, before any provider; free calls need none. When a vendor says that the
person objected (451), the effect is that of `enricher forget`: the person is suppressed until told otherwise,
and what was kept about them is erased.
"""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any

from pymongo import ReturnDocument
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import DuplicateKeyError

from enricher.calls.breaker import WINDOW_SECONDS, Objecting
from enricher.calls.question import Books
from enricher.identity.identify import Identity
from enricher.lead import Document, Lead, Reason, Subject
from enricher.limits import bucket
from enricher.mongo.batch import Coalescer
from enricher.mongo.expressions import id_key
from enricher.mongo.secret import ENTRIES, FINGERPRINT, Keyring
from enricher.values.storable import mapping

COLLECTION = ENTRIES
_LARGEST_BATCH = 1000


def key_of(keyring: Keyring, email_key: str) -> str:
    """Return the entry's key for a mailbox; `email_key` is `Identity.email_key`."""
    return keyring.key("suppressed", email_key)


@dataclass(frozen=True, slots=True)
class SuppressionEntry:
    """A person who must not be asked about."""

    key: str
    at: datetime | None
    why: str


class Suppressed:
    """The entries of one database, which apply to every leads collection in it."""

    def __init__(self, database: AsyncDatabase[Document]) -> None:
        self._collection: AsyncCollection[Document] = database[COLLECTION]
        self._coalescer = Coalescer("suppressed", self._look_up, _LARGEST_BATCH)

    async def add(self, keys: Collection[str], why: str) -> int:
        """Add entries; return how many are new. An existing entry keeps its date and reason."""
        added = 0
        for key in keys:
            entry = {
                "$set": {"at": {"$ifNull": ["$at", "$$NOW"]}, "why": {"$ifNull": ["$why", why]}}
            }
            with suppress(DuplicateKeyError):  # another process has just inserted it
                written = await self._collection.update_one({"_id": key}, [entry], upsert=True)
                added += written.upserted_id is not None
        return added

    async def has(self, key: str) -> bool:
        """Return whether there is such an entry. Concurrent calls share one round trip."""
        return await self._coalescer.submit(key)

    async def knows(self, keyring: Keyring, email_key: str) -> bool:
        """Return whether the owner of this mailbox must not be asked about."""
        return await self.has(key_of(keyring, email_key))

    async def remove(self, key: str) -> bool:
        """Remove an entry; return True when there was one."""
        return (await self._collection.delete_one({"_id": key})).deleted_count > 0

    async def entries(self) -> AsyncIterator[SuppressionEntry]:
        """Yield all entries, oldest first."""
        found = self._collection.find({"_id": {"$ne": FINGERPRINT}}, sort=[("at", 1), ("_id", 1)])
        async for entry in found:
            yield SuppressionEntry(str(entry["_id"]), _date(entry.get("at")), str(entry.get("why")))

    async def _look_up(self, keys: Sequence[str]) -> Sequence[bool]:
        wanted = {"_id": {"$in": list(set(keys))}}
        found = {
            entry["_id"] for entry in await self._collection.find(wanted, {"_id": 1}).to_list()
        }
        return [key in found for key in keys]


def _date(value: object) -> datetime | None:
    return value if isinstance(value, datetime) else None


# How many persons objected at one vendor lately, counted by the whole fleet.
#
#     _id       "objections:<vendor>", in `enricher_limits`
#     persons   [{entry, at, by, answers}]   of the last ten minutes, in the order of their first objection
#
# `entry` is a part of the keyed hash of the address. `answers` is what the process `by` has had from the provider
# in that time: the fleet's answers are the sum over the processes that met an objection. Those that met none
# are left out, so that the share of objections comes out too large rather than too small.

_MOST_PERSONS = 200
_ENTRY_DIGITS = 16

Expression = Any


@dataclass(slots=True)
class Objections:
    """The objections at all vendors. Raises DatabaseTrouble, and is safe to repeat."""

    database: AsyncDatabase[Document]
    _by: str = field(default_factory=lambda: uuid.uuid4().hex)

    async def note(self, vendor: str, entry: str, answers: int) -> Objecting:
        """Note one person's objection; `answers` is how many this process lately had from the provider."""
        entry = entry[:_ENTRY_DIGITS]
        document = await self._apply(f"objections:{vendor}", self._noting(entry, answers))
        persons = [mapping(each) for each in document.get("persons") or ()]
        entries = [each.get("entry") for each in persons]
        place = entries.index(entry) + 1 if entry in entries else len(entries) + 1
        return Objecting(place, max(len(entries), place), _answers(persons))

    def _noting(self, entry: str, answers: int) -> list[Document]:
        person = {"entry": entry, "at": "$$NOW", "by": self._by, "answers": answers}
        known = {"$in": [entry, "$persons.entry"]}
        return [
            {"$set": {"persons": _LATELY}},
            {
                "$set": {
                    "persons": {
                        "$cond": [known, "$persons", {"$concatArrays": ["$persons", [person]]}]
                    }
                }
            },
            {"$set": {"persons": {"$slice": ["$persons", _MOST_PERSONS]}}},
        ]

    async def _apply(self, id_: str, stages: list[Document]) -> Document:
        try:
            return await self._find_and_update(id_, stages)
        except DuplicateKeyError:  # another daemon has just inserted it
            return await self._find_and_update(id_, stages)

    async def _find_and_update(self, id_: str, stages: list[Document]) -> Document:
        collection: AsyncCollection[Document] = self.database[bucket.COLLECTION]
        document = await collection.find_one_and_update(
            {"_id": id_}, stages, upsert=True, return_document=ReturnDocument.AFTER
        )
        return document or {}


_LATELY: Expression = {
    "$filter": {
        "input": {"$cond": [{"$isArray": "$persons"}, "$persons", []]},
        "cond": {
            "$and": [
                {"$eq": [{"$type": "$$this.at"}, "date"]},
                {
                    "$gt": [
                        "$$this.at",
                        {"$subtract": ["$$NOW", round(1000 * WINDOW_SECONDS)]},
                    ]
                },
            ]
        },
    }
}


def _answers(persons: Sequence[Mapping[str, Any]]) -> int:
    latest = {each.get("by"): each.get("answers") for each in persons}
    return sum(each for each in latest.values() if isinstance(each, int))


# Whether a lead may be paid for.

_OBJECTED = "the person objected at a vendor"


@dataclass(frozen=True, slots=True)
class Permission:
    """The suppression list and the plans' quotas, as one question."""

    books: Books
    suppressed: Suppressed
    forget: Callable[[Identity, str, bytes], Awaitable[object]]
    """Forgets a person, for a reason, but for the lead with that key: see `Forgetting.run`."""

    async def refusal(self, lead: Lead, identity: Identity, about: Subject) -> Reason | None:
        """Return why nothing may be paid for this lead; `None` when it may."""
        if await self.has_objected(identity):
            return Reason.SUPPRESSED
        if not self.books.usage.has_quotas:
            return None
        count = partial(self.books.usage.admit, lead.account, lead.plan, lead.id, about)
        if not await self.books.surely(count):
            return Reason.OVER_QUOTA
        return None

    async def has_objected(self, identity: Identity) -> bool:
        """Return whether a person behind one of the lead's addresses asked not to be processed."""
        for email_key in identity.email_keys:
            is_known = partial(self.suppressed.knows, self.books.keyring, email_key)
            if await self.books.surely(is_known):
                return True
        return False

    async def withdraw(self, lead: Lead, identity: Identity) -> None:
        """Forget the person behind the lead's address, who objected at a vendor."""
        spared = id_key(lead.id)  # its own worker settles it
        await self.books.surely(partial(self.forget, identity, _OBJECTED, spared))
