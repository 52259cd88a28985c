"""Leads that cannot be claimed, and would otherwise block the head of the queue.

Set aside for ten minutes when the database refuses them, for a moment when a writer's transaction holds them.
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
"""Claims in a row: another lead may really have the `_id` that a broken one shows to us."""


@dataclass(slots=True)
class Aside:
    """Leads set aside, by their keys (`book.id_key`): a lead that cannot be written cannot be marked either."""

    is_shown: bool = False
    """Whether the gauge of unwritable leads shows this one's: in a daemon that is the queue's, and no other's."""
    until: dict[bytes, float] = field(default_factory=dict)
    """Key -> when (monotonic) the lead may be tried again."""
    _held: dict[bytes, float] = field(default_factory=dict)
    """Like `until`."""
    _unreadable: set[bytes] = field(default_factory=set)
    _lost: dict[tuple[bytes, str], int] = field(default_factory=dict)
    """Lead and state -> how many consecutive claims lost it in that state."""

    def __contains__(self, key: object) -> bool:
        return key in self.until or key in self._held

    def __len__(self) -> int:
        return len(self.until) + len(self._held)

    def put_off(self, ids: Collection[LeadId]) -> None:
        """Set leads aside for a moment, because an open transaction holds them."""
        self._held |= dict.fromkeys(map(expressions.id_key, ids), time.monotonic() + _HELD_SECONDS)

    def put(self, id_: LeadId, code: int | None, step: str) -> None:
        """Set aside a lead that the database refused, with its code and our step. Only the first time is logged."""
        key = expressions.id_key(id_)
        is_news = key not in self.until
        self.until[key] = time.monotonic() + SECONDS
        if is_news:
            self.tell(id_, code, step)

    def put_for_good(self, key: bytes) -> None:
        """Set a lead aside until `take_back`. Does not log it."""
        self.until[key] = math.inf
        self._show()

    def is_for_good(self, key: bytes) -> bool:
        """Return whether the lead is written no more."""
        return self.until.get(key) == math.inf

    def take_back(self, key: bytes) -> None:
        """Let the lead be tried again."""
        self.until.pop(key, None)
        self._show()

    def tell(self, id_: LeadId, code: int | None, step: str) -> None:
        """Log and count a lead that cannot be written."""
        self._show()
        metrics.UNWRITABLE.inc()
        logger.bind(lead=label(id_), code=code, step=step).error("lead.unwritable")

    @property
    def leads(self) -> int:
        """How many unwritable leads are known now."""
        return len(self.until) + len(self._unreadable)

    async def put_unreadable(
        self, leads: AsyncCollection[Document], ids: Collection[LeadId]
    ) -> None:
        """Note for good the leads whose `_id` is not valid UTF-8: it reaches us as another one, which no lead
        has. They are in nothing's way, but each is logged once."""
        broken = {key: id_ for id_ in ids if _BROKEN in (key := expressions.id_key(id_))}
        if not broken:
            return
        found = await leads.find({"_id": {"$in": [*broken.values()]}}, {"_id": 1}).to_list()
        there = {expressions.id_key(each["_id"]) for each in found} | self._unreadable
        for key in [*(broken.keys() - there)][: _MOST_UNREADABLE - len(self._unreadable)]:
            self._unreadable.add(key)
            self.tell(broken[key], None, "admit")

    def tell_too_long(self, leads: int, step: str) -> None:
        """Log and count leads whose `_id` is too long, and so is not even shown."""
        if leads:
            metrics.UNWRITABLE.inc(leads)
            logger.bind(lead=f"{leads} with too long an _id", code=None, step=step).error(
                "lead.unwritable"
            )

    def _show(self) -> None:
        if self.is_shown:
            metrics.UNMOVED.labels("unwritable").set(self.leads)

    def end(self) -> None:
        """Forget the leads whose time aside is over."""
        now = time.monotonic()
        for key in [key for key, until in self.until.items() if until <= now]:
            del self.until[key]
            self._show()
        for key in [key for key, until in self._held.items() if until <= now]:
            del self._held[key]

    async def give_up_on_stuck(
        self, leads: AsyncCollection[Document], lost: Sequence[Document]
    ) -> None:
        """Set aside candidates that claims keep losing. A candidate that others took has changed by the next
        claim, unless a writer put it back as it was. One that is lost again unchanged and cannot be found by
        its `_id` can never be won: the `_id` is not valid UTF-8, say, and reaches us as another one."""
        as_it_was = {(expressions.id_key(c["_id"]), f"{c['token']} {c['status']}"): c for c in lost}
        self._lost = {key: self._lost.get(key, 0) + 1 for key in as_it_was}
        again = [key for key, times in self._lost.items() if times > 1]
        there = await _known(leads, [as_it_was[key]["_id"] for key in again])
        for key in again:
            if key[0] not in there or self._lost[key] >= _MOST_LOST:
                self.put(as_it_was[key]["_id"], None, "claim")


async def _known(leads: AsyncCollection[Document], ids: Sequence[LeadId]) -> set[bytes]:
    """Return the keys of the leads that exist; of all if the read fails, so that none is set aside for that."""
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
    """Return every name as often as it occurs."""
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
"""True for a document with which a pipeline would kill the server."""

DOUBLED_NAMES: Expression = {"$cond": [DOUBLED, _OURS, "$$REMOVE"]}
"""Our names in such a document, each as often as it occurs; missing for any other document."""

ONCE: Document = {"$expr": {"$not": [DOUBLED]}}
"""The filter of every write by a pipeline."""

_DATA = ("", ".company_data", ".person_data", ".email_verification", ".enrichment_metadata")
ERASABLE: Document = {
    "$expr": {"$not": [{"$or": [DOUBLED, *(_doubles_within(f"$enriched_data{p}") for p in _DATA)]}]}
}
"""The same, for a write that rewrites the data in place."""


async def find_doubled(
    leads: AsyncCollection[Document], ids: Collection[LeadId], only: Document
) -> list[Document]:
    """Return those of these leads that hold a field twice, as `{_id, names}`."""
    named = [id_ for id_ in ids if not next(iter(mapping(id_)), "").startswith("$")]  # no operator
    these = {"$and": [{"_id": {"$in": named}}, only, {"$expr": DOUBLED}]}
    return await leads.find(these, {"names": _OURS}).to_list()


@dataclass(slots=True)
class Doubles:
    """Finds leads that hold a field twice, and fails them or sets them aside."""

    leads: AsyncCollection[Document]
    aside: Aside
    _unsure: dict[bytes, LeadId] = field(default_factory=dict)
    """Leads that an admission passed over: another daemon admitted them, or they must not be touched."""
    _looked_at: float = -math.inf

    async def look(self, ids: Collection[LeadId] = ()) -> None:
        """Check these leads, and those not checked yet. At most once a second, or else with the next claim:
        in a fleet each lead is passed over by all daemons but one."""
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
        """Return the candidates that may be written."""
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
        """Mark the lead as failed, unless the fields for that are there twice themselves; return whether it was."""
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
    """PURE Return whether a field occurs twice in the data at any depth: reading keeps only one of them."""
    if not data:
        return False
    try:
        return len(bson.encode(data)) < size
    except (BSONError, ValueError, OverflowError, RecursionError):
        return False
