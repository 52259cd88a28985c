"""Leads that cannot be taken: they would hold the head of the queue for ever.

For ten minutes, where the database refuses them; for a moment, where a writer's transaction holds them.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import bson
from bson.errors import BSONError
from loguru import logger
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import PyMongoError

from enricher.lead import Document, LeadId, Status
from enricher.mongo import expressions
from enricher.mongo.expressions import Expression, id_key, is_type
from enricher.queue.unmoved import UNADMITTED
from enricher.telemetry import metrics
from enricher.telemetry.labels import label
from enricher.values.storable import mapping

SECONDS = 600.0
_HELD_SECONDS = 3.0
_BROKEN = "\ufffd".encode()
_MOST_UNREADABLE = 10_000
_MOST_LOST = 10
"""Another lead may have the `_id` as which it reaches us."""


@dataclass(slots=True)
class Aside:
    """By their keys (`book.id_key`). One that cannot be written cannot even be marked."""

    until: dict[bytes, float] = field(default_factory=dict)
    """Monotonic times."""
    _held: dict[bytes, float] = field(default_factory=dict)
    """As `until`."""
    _unreadable: set[bytes] = field(default_factory=set)
    _lost: dict[tuple[bytes, str], int] = field(default_factory=dict)
    """How many claims in a row lost it, as it was."""

    def __contains__(self, key: object) -> bool:
        return key in self.until or key in self._held

    def __len__(self) -> int:
        return len(self.until) + len(self._held)

    def put_off(self, ids: Collection[LeadId]) -> None:
        """A transaction that has not ended holds them."""
        self._held |= dict.fromkeys(map(expressions.id_key, ids), time.monotonic() + _HELD_SECONDS)

    def put(self, id_: LeadId, code: int | None, step: str) -> None:
        """The database refused it, with this code, at this step. Each search meets it again: no news then."""
        key = expressions.id_key(id_)
        is_news = key not in self.until
        self.until[key] = time.monotonic() + SECONDS
        if is_news:
            self.tell(id_, code, step)

    def put_for_good(self, key: bytes) -> None:
        """Until `take_back`. It is told elsewhere."""
        self.until[key] = math.inf
        self._show()

    def is_for_good(self, key: bytes) -> bool:
        """Nobody writes it any more."""
        return self.until.get(key) == math.inf

    def take_back(self, key: bytes) -> None:
        """It may be tried again."""
        self.until.pop(key, None)
        self._show()

    def tell(self, id_: LeadId, code: int | None, step: str) -> None:
        """Of one that cannot be written."""
        self._show()
        metrics.UNWRITABLE.inc()
        logger.bind(lead=label(id_), code=code, step=step).error("lead.unwritable")

    @property
    def leads(self) -> int:
        """How many there are now."""
        return len(self.until) + len(self._unreadable)

    async def put_unreadable(
        self, leads: AsyncCollection[Document], ids: Collection[LeadId]
    ) -> None:
        """Those whose `_id` is not valid UTF-8: it reaches us as another one, which no lead has. For good,
        since they are in nobody's way; but each is told once."""
        broken = {key: id_ for id_ in ids if _BROKEN in (key := expressions.id_key(id_))}
        if not broken:
            return
        found = await leads.find({"_id": {"$in": [*broken.values()]}}, {"_id": 1}).to_list()
        there = {expressions.id_key(each["_id"]) for each in found} | self._unreadable
        for key in [*(broken.keys() - there)][: _MOST_UNREADABLE - len(self._unreadable)]:
            self._unreadable.add(key)
            self.tell(broken[key], None, "admit")

    def tell_too_long(self, leads: int, step: str) -> None:
        """Of so many whose `_id` is too long, and so is not even shown."""
        if leads:
            metrics.UNWRITABLE.inc(leads)
            logger.bind(lead=f"{leads} with too long an _id", code=None, step=step).error(
                "lead.unwritable"
            )

    def _show(self) -> None:
        metrics.UNMOVED.labels("unwritable").set(self.leads)

    def end(self) -> None:
        """Of those whose time is over."""
        now = time.monotonic()
        for key in [key for key, until in self.until.items() if until <= now]:
            del self.until[key]
            self._show()
        for key in [key for key, until in self._held.items() if until <= now]:
            del self._held[key]

    async def give_up_on_stuck(
        self, leads: AsyncCollection[Document], lost: Sequence[Document]
    ) -> None:
        """Of the candidates that a claim did not win. One that others took has changed by the next claim, unless
        a writer put it back as it was. One that is lost again as it was and that nobody finds by its `_id` can
        never be won: the `_id` is not valid UTF-8, say, and reaches us as another one."""
        as_it_was = {(expressions.id_key(c["_id"]), f"{c['token']} {c['status']}"): c for c in lost}
        self._lost = {key: self._lost.get(key, 0) + 1 for key in as_it_was}
        again = [key for key, times in self._lost.items() if times > 1]
        there = await _known(leads, [as_it_was[key]["_id"] for key in again])
        for key in again:
            if key[0] not in there or self._lost[key] >= _MOST_LOST:
                self.put(as_it_was[key]["_id"], None, "claim")


async def _known(leads: AsyncCollection[Document], ids: Sequence[LeadId]) -> set[bytes]:
    """Keys of those that there are; of all when it cannot be said: what was won must not be lost for that."""
    if not ids:
        return set()
    try:
        found = await leads.find({"_id": {"$in": ids}}, {"_id": 1}).to_list()
    except PyMongoError:
        return {expressions.id_key(id_) for id_ in ids}
    return {expressions.id_key(each["_id"]) for each in found}


# Documents that hold one of our fields twice, and so cannot be written.
#
# BSON allows it, and a Go, C or Scala driver sends it. MongoDB 6.0 stores such a document, and ends (a failed
# invariant in `document_diff_serialization.cpp`) when an update by a pipeline changes a field that stands
# there twice, at the top, in our book-keeping or in the data: it compares before and after by name. It
# ends again after each restart, and so does the next primary, for the driver repeats the write.
#
# So no pipeline of ours reaches such a document. It costs an expression of 4 us a lead at admission and
# another where candidates are read (a document of 15 fields, MongoDB 6.0; 0.6 ms with an array of 10,000
# documents in it), and once more at each later write, for the lead may have been replaced meanwhile. Updates by plain operators are safe as long as the fields they name stand there
# once: they say on the lead that it `failed`, and why. Where even the status stands there twice, it is
# put aside.

WHY_DOUBLED = "The document holds the field {name} more than once."
_LOOK_EVERY_SECONDS = 1.0
_MOST_UNSURE = 10_000
_AT_ONCE = 1000
_STATUS, _ERROR, _UPDATED, _BOOK = (
    "enrichment_status", "enrichment_error", "updated_at", "enrichment",
)  # fmt: skip
_TOP = (
    *(_STATUS, _ERROR, _UPDATED, _BOOK, "enriched_data", "enriched_at"),
    *("qualification_status", "qualification_requested_at"),
)
_WITHIN = ("enrichment", "enrichment.answered", "enrichment.inputs", "enrichment.subject")


def _names(of: str) -> Expression:
    """Each name as often as it stands there."""
    return {"$map": {"input": {"$objectToArray": of}, "as": "each", "in": "$$each.k"}}


_OURS: Expression = {
    "$filter": {"input": _names("$$ROOT"), "as": "name", "cond": {"$in": ["$$name", list(_TOP)]}}
}


def _has_doubles(names: Expression) -> Expression:
    distinct = {"$size": {"$setUnion": ["$$names", []]}}
    return {"$let": {"vars": {"names": names}, "in": {"$ne": [{"$size": "$$names"}, distinct]}}}


def _doubles_within(path: str) -> Expression:
    return {"$cond": [is_type(path, "object"), _has_doubles(_names(path)), False]}


DOUBLED: Expression = {"$or": [_has_doubles(_OURS), *(_doubles_within(f"${p}") for p in _WITHIN)]}
"""True of a document that a pipeline would kill its server with."""

DOUBLED_NAMES: Expression = {"$cond": [DOUBLED, _OURS, "$$REMOVE"]}
"""Our names in such a document, each as often as it stands there; missing in any other."""

ONCE: Document = {"$expr": {"$not": [DOUBLED]}}
"""The filter of a first write."""

_DATA = ("", ".company_data", ".person_data", ".email_verification", ".enrichment_metadata")
ERASABLE: Document = {
    "$expr": {"$not": [{"$or": [DOUBLED, *(_doubles_within(f"$enriched_data{p}") for p in _DATA)]}]}
}
"""The same for what rewrites the data where it stands."""


async def find_doubled(
    leads: AsyncCollection[Document], ids: Collection[LeadId], only: Document
) -> list[Document]:
    """Those of these leads that are such documents, as `{_id, names}`."""
    named = [id_ for id_ in ids if not next(iter(mapping(id_)), "").startswith("$")]  # no operator
    these = {"$and": [{"_id": {"$in": named}}, only, {"$expr": DOUBLED}]}
    return await leads.find(these, {"names": _OURS}).to_list()


@dataclass(slots=True)
class Doubles:
    """Sets such leads aside."""

    leads: AsyncCollection[Document]
    aside: Aside
    _unsure: dict[bytes, LeadId] = field(default_factory=dict)
    """Leads that an admission passed over: others were quicker, or it may not touch them."""
    _looked_at: float = -math.inf

    async def look(self, ids: Collection[LeadId] = ()) -> None:
        """Which of these, and of those asked about before, are such documents. At most once a second, and
        else with the next claim: in a fleet each lead is passed over by all daemons but one."""
        for id_ in ids:
            if len(self._unsure) < _MOST_UNSURE:
                self._unsure[id_key(id_)] = id_
        if not self._unsure or time.monotonic() - self._looked_at < _LOOK_EVERY_SECONDS:
            return
        self._looked_at, unsure = time.monotonic(), [*self._unsure.values()]
        found: list[Document] = []
        for first in range(0, len(unsure), _AT_ONCE):
            found += await find_doubled(self.leads, unsure[first : first + _AT_ONCE], UNADMITTED)
        self._unsure.clear()
        await self._set_aside(found, "admit")

    async def without(self, candidates: Sequence[Document]) -> list[Document]:
        """The candidates that may be written."""
        await self.look()
        bad = [each for each in candidates if "names" in each]
        await self._set_aside(bad, "claim")
        return [each for each in candidates if "names" not in each]

    async def _set_aside(self, found: Sequence[Document], step: str) -> None:
        for each in found:
            if self.aside.is_for_good(id_key(each["_id"])):
                continue
            if await self._fail(each["_id"], each["names"]) and step == "admit":
                self.aside.tell(each["_id"], None, step)
            else:
                self.aside.put(each["_id"], None, step)

    async def _fail(self, id_: LeadId, names: Collection[str]) -> bool:
        """Say it on the lead, unless the fields for that stand there twice themselves."""
        twice = [name for name, times in Counter(names).items() if times > 1]
        if _STATUS in twice or _ERROR in twice:
            return False
        why = WHY_DOUBLED.format(name=(twice or [_BOOK])[0])
        update: dict[str, Any] = {"$set": {_STATUS: Status.FAILED, _ERROR: why}}
        if _UPDATED not in twice:
            update["$currentDate"] = {_UPDATED: True}
        still = {"_id": {"$eq": id_}, "$expr": DOUBLED, _STATUS: {"$ne": Status.FAILED}}
        await self.leads.update_one(still, update)
        return True


def is_doubled(data: Mapping[str, Any], size: int) -> bool:
    """PURE Whether something stands twice in what was read, at any depth: reading leaves one of them."""
    if not data:
        return False
    try:
        return len(bson.encode(data)) < size
    except (BSONError, ValueError, OverflowError, RecursionError):
        return False
