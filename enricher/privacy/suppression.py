"""People who asked not to be processed: `enricher forget` writes them down, every daemon asks.

No address stands here: an entry's `_id` is the keyed hash of the normalised address, so it answers
"is this one of them?" and nothing else. It has no end: what was inserted again years later is
skipped too.

    {_id: keyed hash, at: date, why: str}

Beside the entries stands the fingerprint of the secret that they were made with (`mongo/secret.py`).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import DuplicateKeyError

from enricher.lead import Document
from enricher.mongo.coalesce import Coalescer
from enricher.mongo.secret import ENTRIES, FINGERPRINT, Keyring

COLLECTION = ENTRIES
_LARGEST_BATCH = 1000


def key_of(keyring: Keyring, email_key: str) -> str:
    """The entry that stands for a mailbox; `email_key` is `Identity.email_key`."""
    return keyring.key("suppressed", email_key)


@dataclass(frozen=True, slots=True)
class SuppressionEntry:
    """Somebody who is not to be asked about."""

    key: str
    at: datetime | None
    why: str


class Suppressed:
    """The entries of one database; every leads collection in it heeds them."""

    def __init__(self, database: AsyncDatabase[Document]) -> None:
        self._collection: AsyncCollection[Document] = database[COLLECTION]
        self._coalescer = Coalescer("suppressed", self._look_up, _LARGEST_BATCH)

    async def add(self, keys: Collection[str], why: str) -> int:
        """Returns how many are new; one that is there already keeps its date and reason."""
        added = 0
        for key in keys:
            entry = {
                "$set": {"at": {"$ifNull": ["$at", "$$NOW"]}, "why": {"$ifNull": ["$why", why]}}
            }
            with suppress(DuplicateKeyError):  # somebody else wrote it in this moment
                written = await self._collection.update_one({"_id": key}, [entry], upsert=True)
                added += written.upserted_id is not None
        return added

    async def has(self, key: str) -> bool:
        """Concurrent calls share one round trip."""
        return await self._coalescer.submit(key)

    async def remove(self, key: str) -> bool:
        """True when there was such an entry."""
        return (await self._collection.delete_one({"_id": key})).deleted_count > 0

    async def entries(self) -> AsyncIterator[SuppressionEntry]:
        """All of them, oldest first."""
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
