"""Plan quotas: how many leads of an account may be enriched in a calendar month (UTC).

One document for each account that has leads of a plan with a quota:

    _id       "quota/" and a hash of the account
    month     "2026-08", by the server's clock
    leads     hashes of what was counted in that month: a lead's id and its subject
    expires_at  when it is deleted (TTL index): a month after its own, because an older version that reuses
              the document for the next month does not move this date

A lead is counted by its id and its subject, so it counts once however often it is asked for, even if the
process died before the answer, and again for each other person or company that is written into it.
Nothing readable is stored: accounts and ids may be addresses.

Older versions counted the id alone. The next subject of such a lead takes over its place.

Leads that name no account share one, so omitting the account does not evade a quota. The number 7 is the
same account whichever driver wrote it, as it is for MongoDB. A plan without a quota is unlimited, and so
is a lead without a plan.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import bson
from pymongo import UpdateOne
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import BulkWriteError

from enricher.lead import Document, LeadId, Subject
from enricher.mongo.batch import Coalescer
from enricher.settings.types import plan_key

PREFIX = "quota/"
_LARGEST_BATCH = 500
_HASH_BYTES = 12
_DUPLICATE_KEY = 11000
_MONTH = "%Y-%m"
_IS_TEXT = {"$eq": [{"$type": "$month"}, "string"]}


@dataclass(frozen=True, slots=True)
class _Asked:
    account: str
    """The `_id` of the account's document."""
    lead: bytes
    older: bytes
    """The hash that older versions counted."""
    most: int


class Quotas:
    """Counts leads of accounts, together with all other processes."""

    def __init__(self, collection: AsyncCollection[Document], quotas: Mapping[str, int]) -> None:
        self._collection = collection
        self._quotas = {plan_key(plan): most for plan, most in quotas.items()}
        self._coalescer = Coalescer("quotas", self._admit, _LARGEST_BATCH)

    async def admit(
        self,
        account: object,
        plan: str | None,
        lead_id: LeadId,
        subject: Subject = Subject(),  # noqa: B008 - frozen
    ) -> bool:
        """Count this lead and subject; False when others have used up the account's quota for this month.

        Concurrent calls share two round trips. Raises DatabaseTrouble; asking again is harmless.
        """
        most = self._quotas.get(plan_key(plan)) if plan is not None else None
        if most is None:
            return True
        lead = _hash([lead_id, subject.mailbox, subject.company], b"lead and subject")
        asked = _Asked(_account_key(account), lead, _hash(lead_id), most)
        return await self._coalescer.submit(asked)

    async def give_ends(self) -> bool:
        """Add `expires_at` to a batch of documents by an older version; False if none was left.

        Raises DatabaseTrouble.
        """
        endless = {"_id": {"$gte": PREFIX, "$lt": f"{PREFIX}~"}, "expires_at": None}
        found = await self._collection.find(endless, {"_id": 1}).limit(_LARGEST_BATCH).to_list()
        if found:
            these = {"_id": {"$in": [each["_id"] for each in found]}, "expires_at": None}
            await self._collection.update_many(these, [{"$set": {"expires_at": _ENDS}}])
        return bool(found)

    async def _admit(self, asked: Sequence[_Asked]) -> Sequence[bool]:
        verdicts: dict[_Asked, bool] = {}
        while unsure := [each for each in asked if each not in verdicts]:
            await self._count(unsure)
            verdicts |= await self._read_back(unsure)
        return [verdicts[each] for each in asked]

    async def _count(self, asked: Sequence[_Asked]) -> None:
        together: dict[tuple[str, int], list[_Asked]] = defaultdict(list)
        for each in dict.fromkeys(asked):
            together[each.account, each.most].append(each)
        updates = [
            UpdateOne({"_id": account}, _pipeline(these, most), upsert=True)
            for (account, most), these in together.items()
        ]
        try:
            await self._collection.bulk_write(updates, ordered=False)
        except BulkWriteError as error:
            codes = {entry["code"] for entry in error.details["writeErrors"]}
            if codes != {_DUPLICATE_KEY}:
                raise
            # Another process has just created the account's document: `_read_back` misses what was not
            # counted.

    async def _read_back(self, asked: Sequence[_Asked]) -> dict[_Asked, bool]:
        """Return the verdicts that are certain. At the moment a month begins, some may not be."""
        leads = list({each.lead for each in asked})
        fields = {
            "counted": {"$setIntersection": ["$leads", leads]},
            "number": {"$size": "$leads"},
        }
        found = self._collection.find({"_id": {"$in": list({e.account for e in asked})}}, fields)
        documents = {document["_id"]: document for document in await found.to_list()}
        verdicts: dict[_Asked, bool] = {}
        for each in asked:
            document = documents.get(each.account, {"counted": [], "number": -1})
            if each.lead in document["counted"]:
                verdicts[each] = True
            elif document["number"] >= each.most:
                verdicts[each] = False
        return verdicts


def _pipeline(asked: Sequence[_Asked], most: int) -> list[Document]:
    """Return the update that adds the leads not counted yet, as far as there is room."""
    leads = [each.lead for each in asked]
    soon = {"$add": ["$$NOW", 3_600_000]}
    months = [{"$dateToString": {"date": at, "format": _MONTH}} for at in ("$$NOW", soon)]
    # A month that has begun stays, even if the next primary's clock is slightly behind.
    month = {"$cond": [{"$in": ["$month", months]}, "$month", months[0]]}
    counted = {"$cond": [{"$eq": ["$month", "$_month"]}, {"$ifNull": ["$leads", []]}, []]}
    room = {"$subtract": [most, {"$size": "$leads"}]}
    fresh = {"$setDifference": [leads, "$leads"]}
    return [
        {"$set": {"_month": month}},
        {"$set": {"leads": counted, "month": "$_month"}},
        *_taking_over(asked),
        {"$set": {"_room": room, "_fresh": fresh}},
        {"$set": {"leads": {"$cond": [{"$gt": ["$_room", 0]}, _joined(), "$leads"]}}},
        {"$unset": ["_month", "_room", "_fresh"]},
        {"$set": {"expires_at": _ENDS}},
    ]


_BEGAN = {
    "$dateFromString": {
        "dateString": {"$concat": [{"$cond": [_IS_TEXT, "$month", ""]}, "-01"]},
        "format": "%Y-%m-%d",
        "onError": "$$NOW",
        "onNull": "$$NOW",
    }
}
_ENDS = {"$dateAdd": {"startDate": _BEGAN, "unit": "month", "amount": 2}}


def _taking_over(asked: Sequence[_Asked]) -> list[Document]:
    """Replace leads that were counted by id alone; of several subjects, one takes over the place."""
    first = {each.older: each.lead for each in reversed(asked)}
    pairs = [{"older": older, "lead": lead} for older, lead in first.items()]
    is_heir = {"$and": [{"$in": ["$$this.older", "$_older"]}, {"$in": ["$$this.lead", "$_fresh"]}]}
    leaving = {"$setDifference": ["$leads", "$_heirs.older"]}
    return [
        {
            "$set": {
                "_older": {"$setIntersection": [list(first), "$leads"]},
                "_fresh": {"$setDifference": [list(first.values()), "$leads"]},
            }
        },
        {"$set": {"_heirs": {"$filter": {"input": pairs, "as": "this", "cond": is_heir}}}},
        {"$set": {"leads": {"$concatArrays": [leaving, "$_heirs.lead"]}}},
        {"$unset": ["_older", "_heirs"]},
    ]


def _joined() -> Document:
    return {"$concatArrays": ["$leads", {"$slice": ["$_fresh", "$_room"]}]}


def _account_key(account: object) -> str:
    return PREFIX + _hash(_plain(account)).hex()


def _plain(account: object) -> Any:
    """Remove differences that only show which driver wrote the account."""
    if isinstance(account, bool) or not isinstance(account, int | float):
        return account
    return int(account) if float(account).is_integer() and abs(account) < 2**63 else float(account)


def _hash(value: object, of: bytes = b"") -> bytes:
    return hashlib.sha256(of + bson.encode({"": value})).digest()[:_HASH_BYTES]
