"""Who is a lead at all, and who may be asked about as a person: MongoDB filters of the operator's.

    only          the server's own judgement, in the filter of whatever we read, count or write of a lead
                  (`mongo/expressions.py`, `within`). A document that it excludes is never written, not even to
                  say why; and neither is a lead from the moment that it leaves, whatever state it is in.
                  It stays as it stands: in work it runs out of its lease, waiting it is passed over, and back in
                  the condition it is work again where it was
    person_only   whether providers of persons may be asked about a lead. Companies are asked about by their
                  domains, and addresses are verified, all the same

A claim judges once. The work on a lead may take minutes, so right before each call that may be paid for the lead
is looked at again (`Look`); calls at the same time share one read.

Where there is a condition, `pending` alone is not enough for a claim: somebody may have written it on a document
that was no lead then, thousands of times. The stream tells of it, and admission, which judges, makes it work.

A filter must be able to stand where ours stand: in an update and in a `$match`. What cannot is refused when the
settings are read (code, operators that order their own results), or by the server at the start.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import OperationFailure

from enricher.errors import SettingsError
from enricher.lead import Document, Eligibility, LeadId
from enricher.mongo import DatabaseTrouble
from enricher.mongo.batch import Coalescer
from enricher.mongo.expressions import condition_of, id_key, within
from enricher.mongo.outage import Outage, is_refusal
from enricher.settings.sources import Source

_MOST_AT_ONCE = 200


def leads_of(database: AsyncDatabase[Document], source: Source) -> AsyncCollection[Document]:
    """Return the collection of a source as if it held only what may be a lead."""
    return within(database[source.collection], dict(source.only))


def queue_of(database: AsyncDatabase[Document], source: Source) -> AsyncCollection[Document]:
    """Return the collection that is the source's queue: of its leads, or of the results beside them, in which no
    field of a condition stands."""
    return database[source.results] if source.is_beside else leads_of(database, source)


async def leads_among(
    leads: AsyncCollection[Document], found: Sequence[Document], read: Document | None = None
) -> list[Document]:
    """Return those of these documents that meet the condition, in their order, and of each what `read` says.

    For documents that were found by a user's query, which compares as the collection does. The condition compares
    byte by byte, as in a claim: no one read can do both.
    """
    if not found:
        return []
    these = {"_id": {"$in": [each["_id"] for each in found]}}
    met = {id_key(each["_id"]): each for each in await leads.find(these, read).to_list()}
    return [met[key] for key in (id_key(each["_id"]) for each in found) if key in met]


async def unmet(leads: AsyncCollection[Document], only: Document, id_: LeadId) -> list[Document]:
    """Return the parts of a condition that this document does not meet, by the server's own judgement; empty where it
    meets them all, or is gone. `leads` is to be seen without the condition."""
    found = [part for part in _parts(only) if await _is_unmet(leads, part, id_)]
    return found or ([only] if only and await _is_unmet(leads, only, id_) else [])


def _parts(only: Document) -> list[Document]:
    """Return what must each be met. A part without a field's name, such as `$or`, is one."""
    parts = [{name: value} for name, value in only.items() if name != "$and"]
    return [*parts, *(part for inner in only.get("$and", ()) for part in _parts(inner))]


async def _is_unmet(leads: AsyncCollection[Document], part: Document, id_: LeadId) -> bool:
    these = {"$and": [{"_id": {"$eq": id_}}, {"$nor": [part]}]}
    return await leads.find_one(these, {"_id": 1}) is not None


# Whether the server takes a condition

_NO_LEAD: Document = {"_id": {"$in": []}}
_CONDITIONS = ("only", "person_only")


async def require(database: AsyncDatabase[Document], source: Source) -> None:
    """Raise SettingsError for a condition that the server does not take wherever ours stand."""
    leads, queue = database[source.collection], database[source.results]
    conditions = {name: dict(getattr(source, name)) for name in _CONDITIONS}
    refused = {name: await try_out(leads, only, queue) for name, only in conditions.items()}
    lines = [f"{source.collection}, {name}: {why}" for name, why in refused.items() if why]
    if lines:
        raise SettingsError(lines)


async def try_out(
    leads: AsyncCollection[Document],
    only: Document,
    updated: AsyncCollection[Document] | None = None,
) -> str | None:
    """Return why the server refuses this filter, as a phrase; `None` if it takes it in an update and in a match. Reads
    one document and writes none. `updated` stands in for leads that may only be read. Raises DatabaseTrouble."""
    if not only:
        return None
    one: list[Document] = [{"$match": {"$nor": [only]}}, {"$limit": 1}, {"$project": {"_id": 1}}]
    try:
        to_update = leads if updated is None else updated
        await to_update.update_many({"$and": [_NO_LEAD, only]}, {"$unset": {"enrichment": 1}})
        await (await leads.aggregate(one)).to_list()
    except OperationFailure as error:
        if not is_refusal(error):
            raise
        return f"MongoDB refuses this filter (code {error.code})"
    return None


# Whether a lead meets its conditions now


@dataclass(slots=True)
class Look:
    """Looks at leads by the condition under which their collection is seen, and by the one for persons."""

    leads: AsyncCollection[Document]
    person_only: Document = field(default_factory=dict)
    outage: Outage = field(default_factory=lambda: Outage("conditions"))
    _coalescer: Coalescer[LeadId, Eligibility] = field(init=False)

    def __post_init__(self) -> None:
        self._coalescer = Coalescer("look", self._flush, _MOST_AT_ONCE)

    @property
    def is_needed(self) -> bool:
        """False where there is no condition: then nothing is ever looked at."""
        return bool(condition_of(self.leads) or self.person_only)

    async def at(self, id_: LeadId) -> Eligibility:
        """Return how the lead stands now, however long MongoDB is away."""
        return await self._coalescer.submit(id_)

    async def _flush(self, ids: Sequence[LeadId]) -> Sequence[Eligibility]:
        while True:
            try:
                standing = await self._read(ids)
            except DatabaseTrouble as error:
                await asyncio.sleep(self.outage.failed(error))
            else:
                self.outage.succeeded()
                return [standing[id_key(id_)] for id_ in ids]

    async def _read(self, ids: Sequence[LeadId]) -> Mapping[bytes, Eligibility]:
        these: Document = {"_id": {"$in": list(ids)}}
        stages: list[Document] = [{"$match": these}, {"$project": {"_id": 1}}]
        open_ = [
            {"$match": {"$and": [these, self.person_only]}},
            {"$project": {"is_open": {"$literal": True}}},
        ]
        if self.person_only:
            stages.append({"$unionWith": {"coll": self.leads.name, "pipeline": open_}})
        cursor = await self.leads.aggregate(stages, batchSize=2 * _MOST_AT_ONCE + 1)
        found = await cursor.to_list()
        are_leads = {id_key(each["_id"]) for each in found if "is_open" not in each}
        are_open = {id_key(each["_id"]) for each in found if "is_open" in each}
        return {
            key: Eligibility(key in are_leads, not self.person_only or key in are_open)
            for key in map(id_key, ids)
        }
