"""What a daemon has MongoDB do for its leads: counts, so that no clock and no load changes them much."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bson import Timestamp
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.database import AsyncDatabase

from enricher.lead import Document

_ROOM = 64 * 1024 * 1024
_SLIM: list[Document] = [{"$project": {"operationType": 1, "documentKey": 1}}]


@dataclass(frozen=True, slots=True)
class Examined:
    """What the search for leads to claim looked at."""

    keys: int
    documents: int


async def profile(database: AsyncDatabase[Document]) -> None:
    """From now on the server notes what daemons read in this database, and how."""
    await database.create_collection("system.profile", capped=True, size=_ROOM)
    reads = {"appName": "enricher", "op": "command"}
    await database.command("profile", 1, filter=reads)


async def examined(leads: AsyncCollection[Document]) -> Examined:
    """Since `profile`, by the reads that look for candidates.

    Not by those that count the backlog: they do so by the clock, however many leads are claimed.
    """
    reads = {
        "ns": f"{leads.database.name}.{leads.name}",
        "command.aggregate": leads.name,
        "planSummary": {"$not": {"$regex": "^COUNT_SCAN"}},
    }
    total = {"keys": {"$sum": "$keysExamined"}, "documents": {"$sum": "$docsExamined"}}
    stages: list[Document] = [{"$match": reads}, {"$group": {"_id": None, **total}}]
    notes = leads.database["system.profile"]
    (found,) = await (await notes.aggregate(stages)).to_list()
    return Examined(found["keys"], found["documents"])


async def moment(database: AsyncDatabase[Document]) -> Timestamp:
    """Where a change stream begins that sees all that comes next."""
    now: Timestamp = (await database.client.admin.command("hello"))["operationTime"]
    return Timestamp(now.time, now.inc + 1)


async def updates_since(leads: AsyncCollection[Any], since: Timestamp) -> int:
    """Change events of leads that were written to, up to this moment."""
    end = (await leads.insert_one({"enrichment_status": "skipped"})).inserted_id
    count = 0
    async with await leads.watch(_SLIM, start_at_operation_time=since) as changes:
        async for change in changes:
            if change["documentKey"]["_id"] == end:
                break
            count += change["operationType"] in ("update", "replace")
    return count
