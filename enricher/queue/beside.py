"""Results that stand beside the leads, in a collection of ours: the user's documents are only read.

    leads      enricher_results_<leads>
    {_id, …}   {_id, enrichment_status, enriched_data, enrichment, …}     one for each lead that we know, same `_id`

The results are the queue: what is said of a lead in `leads.py` is true of its result here, and the same code admits,
claims, renews and settles it. Three things stand in the user's document and not in the result:

    rank       is copied into the book-keeping when a lead is entered, since the queue is ordered by it
    inputs     are read after the claim, for all that were won, and are no part of any result
    unchanged  cannot be part of a write's filter. Inputs are compared before a settle, and once more after it:
               what changed in between begins anew

**Entering** is one aggregation over the leads, merged into the results by `_id`: it may be repeated, and by any number
of daemons at once. A lead that is gone is not entered. A lead **without a result** is new, or history.

A lead that was **deleted** takes its result along. Whoever has it in work is fenced out, as when a lead is deleted that
holds its own result.

The **condition** for being a lead (`conditions.py`) is that under which the leads are seen here. No field of it stands
in a result, so a claim may win the result of a document that is no lead any more: its facts are missing then. Such a
result ends as `skipped`, says why, and notes the token at which that was. It becomes work when the document is a lead
again, which the stream on the leads tells (`intake/late.py`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import DuplicateKeyError, OperationFailure

from enricher.fields import NAMES, Names, named
from enricher.lead import Document, Inputs, LeadId, Status
from enricher.mongo.expressions import SIMPLE, Expression, Pipeline, id_key, is_type, whole
from enricher.queue import book
from enricher.queue.inputs import CONTRACT, LeadMapping, read_inputs

_ASKED_ABOUT = ("email", "other_emails", "company_domain", "website", "cnpj")
_DUPLICATE = 11000
_TRIES = 3
_NOTHING: Document = {"$literal": None}
RANK = "rank"
"""Field of the book-keeping."""
_LEFT = "left"
"""Field of the book-keeping: the token of the claim at which the document was no lead any more."""
NO_LEAD = "The document does not meet the condition for being a lead (only)."


def noted_rank(names: Names) -> Expression:
    """Return the rank of a lead as its result notes it; garbage counts as 0."""
    rank = book.noted(names, RANK)
    number = {"$convert": {"input": rank, "to": "double", "onError": 0, "onNull": 0}}
    return {"$cond": [is_type(rank, "string"), 0, number]}


def without_result(results: str) -> list[Document]:
    """Return the stages that keep the leads without a result."""
    lookup = {"from": results, "localField": "_id", "foreignField": "_id", "as": "result"}
    return [{"$project": {"_id": 1}}, {"$lookup": lookup}, {"$match": {"result": []}}]


async def reads_all(leads: AsyncCollection[Document]) -> bool:
    """Return whether the server reads every lead to find one by a text `_id`. Where the collection has a collation of
    its own, so has the index on `_id`, which then is of no use to a command that compares byte by byte. Another index
    is for the collection's owner to make: we only read there."""
    find = {"find": leads.name, "filter": {"_id": {"$in": ["a", "b"]}}, "collation": SIMPLE}
    found = await leads.database.command("explain", find, verbosity="queryPlanner")
    return "COLLSCAN" in str(found["queryPlanner"]["winningPlan"])


def has_left(names: Names) -> Expression:
    """Return whether a skipped result is that of a document which was no lead any more."""
    return {"$eq": [book.noted(names, _LEFT), book.token(names)]}


def _leaving(names: Names) -> Pipeline:
    values = {"holder": None, "released": False, "attempts": 0, _LEFT: book.token(names)}
    ended = {
        names.enrichment_status: Status.SKIPPED.value,
        names.enrichment_error: NO_LEAD,
        names.updated_at: "$$NOW",
        names.enrichment: book.book_with(names, values),
    }
    gone = ("due_at", "inputs", "held_by")
    return [{"$set": named(ended)}, {"$unset": [names.of_book(each) for each in gone]}]


@dataclass(frozen=True, slots=True, repr=False)
class Facts:
    """What a lead's writers say, as it is read for its result."""

    inputs: Document
    account: object = None
    plan: str | None = None
    job_title: str | None = None
    is_scored: bool = False
    asks_by_name: bool = False
    """Vendors are asked by the company's name, too."""

    def are_as(self, inputs: Inputs) -> bool:
        """Return whether vendors would be asked about the same as with these inputs."""
        now = read_inputs(self.inputs)
        asked = (*_ASKED_ABOUT, "company") if self.asks_by_name else _ASKED_ABOUT
        return all(_asked(now, name) == _asked(inputs, name) for name in asked)


def _asked(inputs: Inputs, name: str) -> tuple[object, str | None]:
    """Return an input, and why it is unusable. What is wrong with a name is no reason to ask again."""
    return getattr(inputs, name), inputs.malformed.get(name)


def _made_of(values: Document) -> Document:
    """Return the stage that makes results of leads. Not a projection: a path into what stands on the lead would go into
    each element of an array there."""
    made: Document = {"_id": "$_id"}
    for path, value in values.items():
        *parents, name = path.split(".")
        inner = made
        for parent in parents:
            inner = inner.setdefault(parent, {})
        inner[name] = value
    return {"$replaceWith": made}


@dataclass(frozen=True, slots=True)
class Beside:
    """The leads whose results stand in another collection."""

    leads: AsyncCollection[Document]
    """The user's: only read. As if it held only what may be a lead."""
    results: AsyncCollection[Document]
    rank: Expression = field(default_factory={"$literal": 0}.copy)
    """How urgent a lead is, by what stands on it."""
    account: Expression = field(default_factory=_NOTHING.copy)
    plan: Expression = field(default_factory=_NOTHING.copy)
    names: Names = NAMES
    mapped: LeadMapping = CONTRACT
    """How the leads are read."""

    async def enter(self, ids: Collection[LeadId]) -> None:
        """Make a result for each of these leads that has none, and note how urgent each is."""
        rank = self.names.of_book(RANK)
        await self.make(ids, {rank: self.rank}, noting=rank)

    async def make(
        self, ids: Collection[LeadId], of_leads: Document, noting: str | None = None
    ) -> None:
        """Make a result for each of these leads that has none, of path -> expression; where there is one, it gets this
        one path of it, if any."""
        merge = {
            "into": self.results.name,
            "on": "_id",
            "whenMatched": [{"$set": {noting: f"$$new.{noting}"}}] if noting else "keepExisting",
            "whenNotMatched": "insert",
        }
        these: Document = {"$match": {"_id": {"$in": [each for each in ids if each is not None]}}}
        stages: list[Document] = [these, _made_of(of_leads), {"$merge": merge}]
        for tries in range(_TRIES):
            try:
                await (await self.leads.aggregate(stages)).to_list()
            except OperationFailure as error:  # another daemon has entered one of them this moment
                if error.code != _DUPLICATE or tries == _TRIES - 1:
                    raise
            else:
                break
        if any(each is None for each in ids):
            await self._make_null(of_leads, noting)

    async def _make_null(self, of_leads: Document, noting: str | None) -> None:
        """Do the same for the lead whose `_id` is null: `$merge` takes that for none, and refuses all others with it."""
        noted = {"noted": f"${noting}"} if noting else {}
        stages: list[Document] = [
            {"$match": {"_id": {"$eq": None}}},
            _made_of(of_leads),
            {"$project": {"_id": 0, "result": "$$ROOT", **noted}},
        ]
        for each in await (await self.leads.aggregate(stages)).to_list():
            try:
                await self.results.insert_one(each["result"])
            except DuplicateKeyError:
                if noting:
                    note = {"$set": {noting: each["noted"]}}
                    await self.results.update_one({"_id": {"$eq": None}}, note)

    async def facts(self, ids: Iterable[LeadId]) -> dict[bytes, Facts]:
        """Return what is known of the leads that are still there, by the keys of their ids."""
        read: Document = {
            "inputs": self.mapped.inputs,
            "account": self.account,
            "plan": self.plan,
            "job_title": self.mapped.job_title,
            "is_scored": book.is_scored(self.names),
        }
        found = await self.leads.find({"_id": {"$in": list(ids)}}, read).to_list()
        by_name = self.mapped.asks_by_name
        return {id_key(each.pop("_id")): Facts(**each, asks_by_name=by_name) for each in found}

    async def drop(self, ids: Collection[LeadId]) -> int:
        """Delete the results of leads that were deleted; return how many there were."""
        if not ids:
            return 0
        return (await self.results.delete_many({"_id": {"$in": list(ids)}})).deleted_count

    async def end(self, ids: Collection[LeadId], claim_ids: Collection[str]) -> set[bytes]:
        """End the work on documents that are no leads any more, under these claims: drop the results of those that are
        gone, and return their keys; skip the others."""
        keys = await self.drop_gone(ids)
        if left := [each for each in ids if id_key(each) not in keys]:
            await self._leave(left, claim_ids)
        return keys

    async def drop_gone(self, ids: Collection[LeadId]) -> set[bytes]:
        """Drop the results of those that are no documents any more; return their keys."""
        gone = await self.gone(ids) if ids else []
        await self.drop(gone)
        return {id_key(each) for each in gone}

    async def _leave(self, ids: Sequence[LeadId], claim_ids: Collection[str]) -> None:
        """Skip, and begin anew with those that are leads again by now: what told of that came too early."""
        status, claimed_by = self.names.enrichment_status, self.names.of_book("claim_id")
        ours: Document = {"_id": {"$in": list(ids)}, claimed_by: {"$in": list(claim_ids)}}
        await self.results.update_many({**ours, status: Status.PROCESSING}, _leaving(self.names))
        if back := await self.facts(ids):
            ours["_id"] = {"$in": [each for each in ids if id_key(each) in back]}
            skipped = {**ours, status: Status.SKIPPED, "$expr": has_left(self.names)}
            anew = book.requeueing(self.names, released=False)
            await self.results.update_many(skipped, anew)

    async def gone(self, ids: Iterable[LeadId]) -> list[LeadId]:
        """Return those of the ids that no lead has."""
        wanted = list(ids)
        found = await whole(self.leads).find({"_id": {"$in": wanted}}, {"_id": 1}).to_list()
        there = {id_key(each["_id"]) for each in found}
        return [id_ for id_ in wanted if id_key(id_) not in there]
