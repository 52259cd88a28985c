"""Backfills: old leads are requested page by page, a bounded number at a time, resumable at any moment.

The pages go through the collection in the order of `_id`, so the position is the last `_id` that was
requested. It is saved after its page was written. A page that was written but not saved is read again;
the id of the run, stored on every lead that it requested, keeps a lead from being requested twice. The
checkpoint holds that id, and of the query only its hash:

    {_id: "backfill:<leads>:<hash>", run: str, began_at: date, after: {of: _id}, asked: n, finished_at: date}

A backfill selects leads without a status, which is what history is. For others, name `enrichment_status` in
the query; even then leads that are in work are left alone.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import pymongo
from bson import json_util
from pymongo import ReturnDocument
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.database import AsyncDatabase

from enricher.calls import answers
from enricher.intake import checkpoints
from enricher.intake.history import texts_in
from enricher.lead import Document, LeadId, Status
from enricher.mongo import expressions
from enricher.mongo.outage import whole_number
from enricher.queue import book
from enricher.queue.lease import INPUTS
from enricher.queue.requests import SCAN_SECONDS
from enricher.values.storable import mapping

_STATUS = "enrichment_status"
_IN_WORK = (Status.PENDING, Status.PROCESSING, Status.RETRYING)
_BY_ID = [("_id", 1)]


def names_status(query: object) -> bool:
    """PURE Return True when the query itself says which states it wants."""
    if isinstance(query, Mapping):
        return any(name == _STATUS or names_status(value) for name, value in query.items())
    return isinstance(query, list) and any(names_status(part) for part in query)


def eligible(query: Document) -> Document:
    """PURE Return the query, restricted by a backfill to old leads that nobody is working on."""
    state: Document = {_STATUS: {"$nin": list(_IN_WORK)} if names_status(query) else None}
    return {"$and": [query, state]}


@dataclass(frozen=True, slots=True)
class Run:
    """One backfill from beginning to end, over any number of processes."""

    id: str
    after: Document | None = None
    """`{"of": _id}` of the last lead that was requested; the `_id` itself may be null."""
    asked: int = 0


@dataclass(frozen=True, slots=True)
class GoingOn:
    """Backfilled leads that are not settled yet."""

    in_work: int = 0
    """Leads of any run, pending or in work."""
    unended: int = 0
    """Leads of this run, including those that will be retried."""
    held_by: frozenset[str] = frozenset()
    """Providers that leads of this run wait for because they may not be asked now."""


class Backfills:
    """The run of one query over one leads collection."""

    def __init__(self, leads: AsyncCollection[Document], query: Document) -> None:
        self._leads = leads
        self._runs: AsyncCollection[Document] = leads.database[checkpoints.COLLECTION]
        self._key = f"backfill:{leads.name}:{_fingerprint(query)}"
        self.match = eligible(query)

    # -- the run ---------------------------------------------------------------------------

    async def unfinished(self) -> Run | None:
        """Return the interrupted run of this query, if there is one. Changes nothing."""
        found = await self._runs.find_one({"_id": self._key, "finished_at": None})
        return _run(found) if found else None

    async def begin(self) -> Run:
        """Return the interrupted run, or start a new one."""
        is_over = {"$or": [{"$not": ["$run"]}, {"$gt": ["$finished_at", None]}]}
        fresh = {
            "run": {"$literal": uuid.uuid4().hex},
            "began_at": "$$NOW",
            "after": None,
            "asked": 0,
            "finished_at": None,
        }
        started = {name: {"$cond": [is_over, value, f"${name}"]} for name, value in fresh.items()}
        document = await self._runs.find_one_and_update(
            {"_id": self._key},
            [{"$set": started}],
            upsert=True,
            return_document=ReturnDocument.AFTER,
        )
        return _run(document or {})

    async def save(self, run: Run) -> None:
        """Save the position: everything up to `run.after` has been requested."""
        position = {"after": run.after, "asked": run.asked}
        await self._runs.update_one({"_id": self._key, "run": run.id}, {"$set": position})

    async def finish(self, run: Run) -> None:
        """End the run; the same query starts anew next time."""
        ours = {"_id": self._key, "run": run.id}
        await self._runs.update_one(ours, [{"$set": {"finished_at": "$$NOW", "after": None}}])

    # -- what it would cost -----------------------------------------------------------------

    async def answered(self, questions: Collection[str]) -> set[str]:
        """Return those of the questions whose answers are stored, so that no vendor will be asked."""
        stored = {"_id": {"$in": list(questions)}, "$expr": answers.ANSWERED}
        found = await self._leads.database[answers.COLLECTION].find(stored, {"_id": 1}).to_list()
        return {answer["_id"] for answer in found}

    # -- its leads -------------------------------------------------------------------------

    async def page(self, run: Run | None, size: int) -> list[Document]:
        """Return `{_id, inputs}` of the next leads; empty at the end.

        Reads by the index on `_id` from the position on. Uses `min` and not `$gt`, which would end with
        the last `_id` of the same type.
        """
        after = run.after if run else None
        match = {"$and": [self.match, {"enrichment.backfilled_by": {"$ne": run and run.id}}]}
        with pymongo.timeout(SCAN_SECONDS):
            cursor = self._leads.find(match if run else self.match, _SEEN, collation=None)
            cursor = cursor.hint(_BY_ID)
            if after is not None:
                cursor = cursor.min([("_id", after["of"])])
            found = await cursor.limit(size + 1).to_list()
        if after is not None and found and _same(found[0]["_id"], after["of"]):
            del found[0]
        return found[:size]

    async def going_on(self, run: Run, providers: Collection[str] = ()) -> GoingOn:
        """Count, up to a few thousand leads of each state. `providers` are those whose holds are reported."""
        lanes: list[list[Document]] = [
            [{"$match": {**state, "enrichment.backfill": True}}, {"$limit": _COUNT_AT_MOST}]
            for state in _STATES
        ]
        first, *others = lanes
        unions = [{"$unionWith": {"coll": self._leads.name, "pipeline": each}} for each in others]
        held_by = {
            "$cond": [
                {"$and": [{"$isArray": "$enrichment.held_by"}, _is(Status.RETRYING)]},
                {"$setIntersection": ["$enrichment.held_by", {"$literal": list(providers)}]},
                [],
            ]
        }
        alike = {
            "retries": _is(Status.RETRYING),
            "ours": {"$eq": ["$enrichment.backfilled_by", {"$literal": run.id}]},
            "held_by": held_by,
        }
        counted = {"$group": {"_id": alike, "leads": {"$sum": 1}}}
        stages: list[Document] = [*first, *unions, counted]
        with pymongo.timeout(SCAN_SECONDS):
            found = await (await self._leads.aggregate(stages)).to_list()
        ours = [each for each in found if each["_id"]["ours"]]
        return GoingOn(
            in_work=sum(each["leads"] for each in found if not each["_id"]["retries"]),
            unended=sum(each["leads"] for each in ours),
            held_by=frozenset(name for each in ours for name in each["_id"]["held_by"]),
        )

    async def standing(self, run: Run) -> dict[str, int]:
        """Return status -> number of leads of the run."""
        stages: list[Document] = [
            {"$match": {"enrichment.backfilled_by": run.id}},
            {"$group": {"_id": f"${_STATUS}", "leads": {"$sum": 1}}},
        ]
        with pymongo.timeout(SCAN_SECONDS):
            found = await (await self._leads.aggregate(stages)).to_list()
        return {str(each["_id"]): int(each["leads"]) for each in found}


async def forget_positions(
    database: AsyncDatabase[Document], is_named: Callable[[list[str]], bool]
) -> None:
    """Restart runs whose position is an id with such texts. They still leave out the leads that they have
    requested already."""
    runs = database[checkpoints.COLLECTION]
    standing = {"_id": {"$regex": "^backfill:"}, "after.of": {"$exists": True}}
    async for run in runs.find(standing, {"after": 1}):
        if is_named(list(texts_in(run["after"]["of"]))):
            await runs.update_one({"_id": run["_id"]}, {"$set": {"after": None}})


def _is(status: Status) -> Document:
    return {"$eq": [f"${_STATUS}", status.value]}


_COUNT_AT_MOST = 5000
_LONGEST_WAIT_MS = 40 * 86_400_000
"""Covers a wait for next month's budget, and some days to spare; leads due later are not waited for."""
_COMES: Document = {
    "enrichment.due_at": {"$gt": book.EPOCH},
    "$expr": {"$lt": ["$enrichment.due_at", {"$add": ["$$NOW", _LONGEST_WAIT_MS]}]},
}
_STATES: tuple[Document, ...] = (
    {_STATUS: Status.PENDING, "enrichment.priority": {"$lte": book.BEHIND}},
    {_STATUS: Status.PROCESSING, **_COMES},
    {_STATUS: Status.RETRYING, **_COMES},
)
_SEEN: Document = {"inputs": INPUTS}


def _fingerprint(query: Document) -> str:
    text = json_util.dumps(query, json_options=json_util.CANONICAL_JSON_OPTIONS)
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:24]


def _run(document: Mapping[str, Any]) -> Run:
    after = mapping(document.get("after"))
    asked = whole_number(document.get("asked"))
    return Run(str(document.get("run")), after if "of" in after else None, asked)


def _same(one: LeadId, other: LeadId) -> bool:
    return expressions.id_key(one) == expressions.id_key(other)
