"""Which leads are next, in what order, and which are set aside meanwhile.

    due        retries and leases that ran out: up to half of the slots
    pending    by priority, the oldest among equals
    behind     what nobody is waiting for: a backfill's retries, and the refresh

A backfilled lead that is pending stands in the second lane, with a priority below all others (see
`book.behind`), so that it comes after every fresh one whatever its own priority is. Every tenth
claim takes the oldest fresh leads first, or a cold one would never come while warm ones do.

**Under pressure** (leads in work already wait for a provider's limit) only those are taken that are
more urgent than who waits: the others would stand in one queue instead of another, with a lease on
them. For each nine leads that go ahead that way, the oldest is taken as well.

**A lead that may kill its process** is worked on one at a time: the others that were in work with it
each time would else use up their attempts for its sake.

**A lead that cannot be claimed** would block the head of its lane, so it is set aside: for ten minutes when the
database refuses it, for a moment when a writer's transaction holds it.

Each lane reads keys of leads that are work, and of no more than it may take. While the indexes are
being built there is one lane, of the leads that were heard of (`Heard`).
"""

from __future__ import annotations

import math
import random
import time
from collections import Counter
from collections.abc import Collection, Container, Iterable, Iterator, Sequence, Sized
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import islice
from typing import Any, Protocol

from loguru import logger
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import PyMongoError

from enricher.fields import NAMES, Names, named
from enricher.lead import Document, LeadId, Status
from enricher.mongo import expressions
from enricher.mongo.expressions import Expression, Pipeline, id_key, is_type
from enricher.queue import book
from enricher.queue.unmoved import unadmitted
from enricher.telemetry import metrics
from enricher.telemetry.log import label
from enricher.telemetry.metrics import Show
from enricher.values.storable import mapping

# Leads that cannot be claimed, and would otherwise block the head of the queue.

SECONDS = 600.0
_HELD_SECONDS = 3.0
_BROKEN = "\ufffd".encode()
_MOST_UNREADABLE = 10_000
_MOST_LOST = 10
"""Claims in a row: another lead may really have the `_id` that a broken one shows to us."""


@dataclass(slots=True)
class Aside:
    """Leads set aside, by their keys (`book.id_key`): a lead that cannot be written cannot be marked either."""

    show: Show | None = None
    """Shows how many unwritable leads there are: in a daemon that is the queue's, and no other's."""
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

    def put(self, id_: LeadId, code: int | None, step: str, why: str | None = None) -> None:
        """Set aside a lead that cannot be written, with the database's code or why, and our step. Only the first
        time is logged."""
        key = expressions.id_key(id_)
        is_news = key not in self.until
        self.until[key] = time.monotonic() + SECONDS
        if is_news:
            self.tell(id_, code, step, why)

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

    def tell(self, id_: LeadId, code: int | None, step: str, why: str | None = None) -> None:
        """Log and count a lead that cannot be written."""
        self._show()
        metrics.UNWRITABLE.inc()
        reason = {"why": why} if why else {}
        logger.bind(lead=label(id_), code=code, step=step, **reason).error("lead.unwritable")

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
        if self.show is not None:
            self.show(self.leads)

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
#
# Where our fields stand within an object of the user's, a pipeline writes that object too: in place of a text
# or a number that stands there, and into each element of an array. So it reaches no such document either. On
# the lead that cannot be said: it is put aside, and the log says why.

WHY_DOUBLED = "The document holds the field {name} more than once."
_WHY_TWICE = "The document holds a field of ours more than once."
WHY_NO_PARENT = "The field {name} is no object, so nothing of ours can stand in it."
_LOOK_EVERY_SECONDS = 1.0
_MOST_UNSURE = 10_000
_AT_ONCE = 1000


def _within(names: Names) -> list[str]:
    """Return the paths of the objects that our pipelines write in."""
    of_book = map(names.of_book, ("answered", "event", "inputs", "subject"))
    return [*names.parents, names.enrichment, *of_book]


def _names(of: str) -> Expression:
    """Return every name as often as it occurs."""
    return {"$map": {"input": {"$objectToArray": of}, "as": "each", "in": "$$each.k"}}


def _ours(names: Names) -> Expression:
    is_ours = {"$in": ["$$name", names.roots]}
    return {"$filter": {"input": _names("$$ROOT"), "as": "name", "cond": is_ours}}


def _has_doubles(names: Expression) -> Expression:
    distinct = {"$size": {"$setUnion": ["$$names", []]}}
    return {"$let": {"vars": {"names": names}, "in": {"$ne": [{"$size": "$$names"}, distinct]}}}


def _doubles_within(path: str) -> Expression:
    return {"$cond": [is_type(path, "object"), _has_doubles(_names(path)), False]}


@cache
def doubled(names: Names) -> Expression:
    """Return true for a document with which a pipeline would kill the server."""
    within = (_doubles_within(f"${path}") for path in _within(names))
    return {"$or": [_has_doubles(_ours(names)), *within]}


def _passed_over(names: Names) -> Document:
    """Match leads that an admission should have changed; a path into an array may match nothing at all."""
    if not names.parents:
        return unadmitted(names)
    is_unfit = {"$expr": {"$or": list(map(_is_no_parent, names.parents))}}
    return {"$or": [unadmitted(names), is_unfit]}


def _is_no_parent(path: str) -> Expression:
    return {"$not": [{"$in": [{"$type": f"${path}"}, ["missing", "null", "undefined", "object"]]}]}


def _unfit_parent(names: Names) -> Expression:
    """Return the path of the first of our parents that is no object; missing where none is."""
    cases = [{"case": _is_no_parent(each), "then": {"$literal": each}} for each in names.parents]
    return {"$switch": {"branches": cases, "default": "$$REMOVE"}}


@cache
def refusal(names: Names) -> Expression:
    """Return in words why no pipeline may write a document; missing where one may."""
    parents = [
        {"case": _is_no_parent(each), "then": {"$literal": WHY_NO_PARENT.format(name=each)}}
        for each in names.parents
    ]
    twice = {"case": doubled(names), "then": {"$literal": _WHY_TWICE}}
    return {"$switch": {"branches": [*parents, twice], "default": "$$REMOVE"}}


@cache
def unwritable(names: Names) -> Expression:
    """Return true for a document that no pipeline may write."""
    if not names.parents:
        return doubled(names)
    return {"$or": [doubled(names), *map(_is_no_parent, names.parents)]}


@cache
def why_unwritable(names: Names) -> Document:
    """Return what is read of such a document, and of no other: our names at the top, each as often as it occurs,
    and which parent is no object."""
    read = {"names": {"$cond": [unwritable(names), _ours(names), "$$REMOVE"]}}
    return {**read, "parent": _unfit_parent(names)} if names.parents else read


@cache
def once(names: Names) -> Document:
    """Return the filter of every write by a pipeline."""
    return {"$expr": {"$not": [unwritable(names)]}}


_DATA = ("", ".company_data", ".person_data", ".email_verification", ".enrichment_metadata")


@cache
def erasable(names: Names) -> Document:
    """Return the same, for a write that rewrites the data in place."""
    within = (_doubles_within(f"${names.enriched_data}{path}") for path in _DATA)
    return {"$expr": {"$not": [{"$or": [unwritable(names), *within]}]}}


def _seen(names: Names) -> Document:
    read = {"names": _ours(names)}
    return {**read, "parent": _unfit_parent(names)} if names.parents else read


async def find_unwritable(
    leads: AsyncCollection[Document],
    ids: Collection[LeadId],
    only: Document,
    names: Names = NAMES,
) -> list[Document]:
    """Return those of these leads that no pipeline may write, as `{_id, names, parent}`."""
    plain = [id_ for id_ in ids if not next(iter(mapping(id_)), "").startswith("$")]  # no operator
    these = {"$and": [{"_id": {"$in": plain}}, only, {"$expr": unwritable(names)}]}
    return await leads.find(these, _seen(names)).to_list()


@dataclass(slots=True)
class Doubles:
    """Finds leads that no pipeline may write, and fails them or sets them aside."""

    leads: AsyncCollection[Document]
    aside: Aside
    names: Names = NAMES
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
            some, only = unsure[first : first + _AT_ONCE], _passed_over(self.names)
            found += await find_unwritable(self.leads, some, only, self.names)
        self._unsure.clear()
        await self._set_aside(found, "admit")

    async def without(self, candidates: Sequence[Document]) -> list[Document]:
        """Return the candidates that may be written."""
        await self.look()
        bad = [each for each in candidates if "names" in each]
        if bad:
            await self._set_aside(bad, "claim")
        return [each for each in candidates if "names" not in each]

    async def _set_aside(self, found: Sequence[Document], step: str) -> None:
        for each in found:
            if self.aside.is_for_good(id_key(each["_id"])):
                continue
            if await self._fail(each["_id"], each["names"]) and step == "admit":
                self.aside.tell(each["_id"], None, step)
            else:
                self.aside.put(each["_id"], None, step, _why(each))

    async def _fail(self, id_: LeadId, names: Collection[str]) -> bool:
        """Mark the lead as failed, unless the fields for that are there twice themselves; return whether it was."""
        if self.names.parents:
            return False
        twice = [name for name, times in Counter(names).items() if times > 1]
        status, error = self.names.enrichment_status, self.names.enrichment_error
        if status in twice or error in twice:
            return False
        why = WHY_DOUBLED.format(name=(twice or [self.names.enrichment])[0])
        update: dict[str, Any] = {"$set": named({status: Status.FAILED, error: why})}
        if self.names.updated_at and self.names.updated_at not in twice:
            update["$currentDate"] = {self.names.updated_at: True}
        is_doubled_still = {"$expr": doubled(self.names), status: {"$ne": Status.FAILED}}
        await self.leads.update_one({"_id": {"$eq": id_}, **is_doubled_still}, update)
        return True


def _why(unwritable: Document) -> str | None:
    parent = unwritable.get("parent")
    return WHY_NO_PARENT.format(name=parent) if parent else None


# Leads that this process has heard of, while no index tells which leads are work.
#
# To build the indexes of a large collection takes minutes, and whoever looked for work meanwhile would read
# every lead each time. What is inserted in these minutes is told by the stream, so its ids stand here until
# the leads have ended: by them a claim finds new leads, and those that fell due again or were given back.
# What does not find room waits for the indexes, as does work that nobody told of.

_MOST = 50_000
_LONGEST_ID = 200
"""Bytes: 50,000 ids of that length are 10 MB."""
_GLANCE = 2000
_GLANCES = 5
"""Per look: 10,000 ids cost the server 50 ms."""


class Heard:
    """Ids, in the order in which to look at them next."""

    def __init__(self, most: int = _MOST) -> None:
        self._most = most
        self._ids: dict[bytes, LeadId] = {}

    def __len__(self) -> int:
        return len(self._ids)

    def add(self, ids: Iterable[LeadId]) -> None:
        """Add ids as far as there is room."""
        for id_ in ids:
            key = id_key(id_)
            if len(self._ids) < self._most and len(key) <= _LONGEST_ID:
                self._ids.setdefault(key, id_)

    def glances(self) -> Iterator[list[LeadId]]:
        """Yield the ids in batches, each id once, up to the limit of one look. The next look begins with
        those whose turn is due."""
        left = len(self._ids)
        for _ in range(_GLANCES):
            if left <= 0:
                return
            ids = list(islice(self._ids.values(), min(_GLANCE, left)))
            left -= len(ids)
            for id_ in ids:
                key = id_key(id_)
                self._ids[key] = self._ids.pop(key)
            yield ids

    def keep(self, glance: Iterable[LeadId], among: Collection[bytes]) -> None:
        """Drop the ids just looked at, except those `among` these keys."""
        for id_ in glance:
            if (key := id_key(id_)) not in among:
                self._ids.pop(key, None)


OLDEST = "oldest"
"""The lane of a lead that is taken for its age, ahead of more urgent leads."""

_OLDEST_FIRST_EVERY = 10
_WIDEST = 32
_WIDEST_WITH_MANY_SLOTS = 8
_FAR_ENOUGH = 256
"""Leads: a wider window costs the server more than the claims lost without it."""
_NARROW_AFTER = 16
"""Consecutive claims without losses: one claim that met no other daemon does not mean they are gone."""
_ONE_BATCH = 10_000
"""More than all lanes return: with the driver's default of 101 there would be two round trips."""
_MOST_SUSPECTS = 1000
_DUE_AT_A_GLANCE = 200
"""Due leads read to find urgent ones among them: they are read in order of time, not of urgency."""


def _due_now(names: Names) -> Document:
    due_at = names.of_book("due_at")
    return {
        # The lower bound excludes a missing field, which sorts below every date.
        due_at: {"$gt": book.EPOCH},
        "$expr": {"$lte": [f"${due_at}", "$$NOW"]},
    }


def _pending(names: Names) -> Document:
    return {names.enrichment_status: Status.PENDING}


def _fresh(names: Names) -> Document:
    return {**_pending(names), **book.fresh(names)}


_MAY_FALL_DUE = (Status.PROCESSING, Status.RETRYING, Status.FAILED, Status.SKIPPED)


def _due(names: Names) -> Document:
    return {names.enrichment_status: {"$in": list(_MAY_FALL_DUE)}, **_due_now(names)}


def _refresh(names: Names, *, refreshes: bool) -> Document:
    """Without refreshes only rechecks are left: what was dated while they were on is to cost nothing."""
    due = {names.enrichment_status: Status.COMPLETED, **_due_now(names)}
    return due if refreshes else {**due, names.of_book("recheck_since"): {"$gt": book.EPOCH}}


def _to_come(names: Names) -> Document:
    open_ = [Status.PENDING, Status.PROCESSING, Status.RETRYING]
    return {names.enrichment_status: {"$in": open_}}


@cache
def claimable(names: Names, *, refreshes: bool = True) -> Document:
    """Match a lead that is work, by the server's clock: every lane reads some of these, and a claim requires it."""
    return {"$or": [_pending(names), _due(names), _refresh(names, refreshes=refreshes)]}


@cache
def admitted(names: Names) -> Document:
    """Match what is not merely inserted as `pending`: it may have been no lead then, so nobody has let it be work."""
    return {
        "$or": [
            {names.enrichment_status: {"$ne": Status.PENDING}},
            {names.of_book("queued_at"): {"$type": "date"}},
        ]
    }


@dataclass(frozen=True, slots=True)
class _Lane:
    """Which leads stand in it, in what order, and what is read of each."""

    match: Document
    sort: Document
    read: Document

    def first(self, window: int) -> Pipeline:
        """Return the stages that read its head."""
        order = [{"$match": self.match}, {"$sort": self.sort}]
        return [*order, {"$limit": window}, {"$project": self.read}]


def _lane(names: Names, name: str, match: Document, sort: Document) -> _Lane:
    since = f"${next(reversed(sort))}"
    read = {
        **book.ID_OR_WHY_NOT,
        "since": {"$convert": {"input": since, "to": "long", "onError": 0, "onNull": 0}},
        "token": book.token(names),
        "status": f"${names.enrichment_status}",
        "priority": book.priority_noted(names),
        "interruptions": book.interruptions(names),
        "lane": {"$literal": name},
        **why_unwritable(names),
        "bytes": book.data_bytes(names),
    }
    return _Lane(match, sort, read)


class _EachLane:
    """The lanes of a collection."""

    def __init__(self, names: Names, *, refreshes: bool) -> None:
        due_at, queued_at = names.of_book("due_at"), names.of_book("queued_at")
        by_priority = {names.of_book("priority"): -1, queued_at: 1}
        self.pending = _lane(names, "pending", _pending(names), by_priority)
        self.due = _lane(names, "due", _due(names), {due_at: 1})
        self.refresh = _lane(names, "refresh", _refresh(names, refreshes=refreshes), {due_at: 1})
        self.oldest = _lane(names, OLDEST, _fresh(names), {queued_at: 1})
        self.oldest_due = _lane(names, OLDEST, _due(names), {due_at: 1})


class SetAside(Container[bytes], Sized, Protocol):
    """Keys (`book.id_key`) of leads that cannot be claimed."""


@dataclass(slots=True)
class Lanes:
    """The order of one process's claims. Remembers contention, and whose turn it is."""

    collection: AsyncCollection[Document]
    random: random.Random
    suspect_after: int = 3
    """Consecutive process deaths after which a lead is worked on alone."""
    claims: int = field(init=False, default=0)
    width: int = field(init=False, default=1)
    """Factor of the slots: how far to read when other daemons take the head of the queue."""
    undisturbed: int = field(init=False, default=0)
    """Consecutive claims that lost (nearly) nothing."""
    waiting_suspects: int = field(init=False, default=0)
    """Suspects that the last read saw and left out; the next one reads past them."""
    too_long: int = field(init=False, default=0)
    """Leads with too long an `_id` that the last read saw; the next one reads past them."""
    ahead: int = field(init=False, default=0)
    """Leads taken under pressure since the oldest last had a turn."""
    heard: Heard | None = field(init=False, default=None)
    """Replaces the indexes while they are being built."""
    must_be_admitted: bool = field(init=False, default=False)
    """Whether `pending` alone makes no lead work: where there is, or was, a condition for being a lead."""
    names: Names = NAMES
    refreshes: bool = True
    _each: _EachLane = field(init=False)

    def __post_init__(self) -> None:
        self._each = _EachLane(self.names, refreshes=self.refreshes)

    @property
    def claimable(self) -> Document:
        """What a claim requires of a lead."""
        work = claimable(self.names, refreshes=self.refreshes)
        return {"$and": [work, admitted(self.names)]} if self.must_be_admitted else work

    async def next(
        self, slots: int, above: float | None, aside: SetAside, suspects: int = 1
    ) -> list[Document]:
        """Return up to `slots` candidates in one round trip, the most deserving first.

        `above`: under pressure, the urgency of the leads that wait. At most `suspects` of the candidates
        are leads that were in work `suspect_after` times in a row when their process died.
        """
        # Doubled, so that a few reads get past any number of them.
        window = self._window(slots) + len(aside) + 2 * (self.waiting_suspects + self.too_long)
        if self.heard is not None:
            found = await self._read_heard(self.heard, window, above, aside)
            return self._in_order(self._few_suspects(found, suspects))[:slots]
        if above is None:
            self.claims += 1
            read = await self._read([each.first(window) for each in self._ordinary], aside)
            return self._pick(self._few_suspects(read, suspects), slots)
        turns = min(self.ahead // (_OLDEST_FIRST_EVERY - 1), 1 + slots // _OLDEST_FIRST_EVERY)
        oldest = self._oldest(turns + len(aside)) if turns else []
        lanes = self._urgent(above, window) + oldest
        found = self._few_suspects(await self._read(lanes, aside), suspects)
        return self._pick_urgent(found, slots, turns)

    def _few_suspects(self, found: list[Document], most: int) -> list[Document]:
        """Leave out all but `most` suspects: they may be forged, and must take no place from other leads."""
        suspected = [each for each in found if each["interruptions"] >= self.suspect_after]
        keys = list(dict.fromkeys(expressions.id_key(each["_id"]) for each in suspected))
        self.waiting_suspects = min(_MOST_SUSPECTS, len(keys[most:]))
        left_out = set(keys[most:])
        return [each for each in found if expressions.id_key(each["_id"]) not in left_out]

    def _window(self, slots: int) -> int:
        return min(slots * self.width, max(slots * _WIDEST_WITH_MANY_SLOTS, _FAR_ENOUGH))

    def contended(self, lost: int, candidates: int) -> None:
        """Widen or narrow the window by how many candidates were lost to other daemons. A lone candidate
        counts as no contention: there is nothing beyond it to read."""
        if candidates > 1 and lost * 10 > candidates:
            self.width, self.undisturbed = min(_WIDEST, self.width * 2), 0
            return
        self.undisturbed += 1
        if self.undisturbed >= _NARROW_AFTER:
            self.width, self.undisturbed = max(1, self.width // 2), 0

    async def _read(self, lanes: list[Pipeline], aside: SetAside) -> list[Document]:
        if self.must_be_admitted:
            lanes = [[{"$match": admitted(self.names)}, *lane] for lane in lanes]
        first, *others = lanes
        name = self.collection.name
        unions = [{"$unionWith": {"coll": name, "pipeline": lane}} for lane in others]
        cursor = await self.collection.aggregate([*first, *unions], batchSize=_ONE_BATCH)
        found: list[Document] = await cursor.to_list()
        fitting = [each for each in found if "too_long" not in each]
        self.too_long = len(found) - len(fitting)
        return [each for each in fitting if expressions.id_key(each["_id"]) not in aside]

    async def _read_heard(
        self, heard: Heard, window: int, above: float | None, aside: SetAside
    ) -> list[Document]:
        found: list[Document] = []
        for ids in heard.glances():
            these: Document = {"_id": {"$in": ids}}
            work = {**these, **claimable(self.names, refreshes=self.refreshes)}
            lane = replace(self._each.pending, match=work)
            read = await self._read([lane.first(window)], aside)
            found += [each for each in read if above is None or book.rank_of(each) > above]
            if len(found) >= window:
                break
            to_come = {**these, **_to_come(self.names)}
            open_ = await self.collection.find(to_come, {"_id": 1}).to_list()
            heard.keep(ids, {expressions.id_key(each["_id"]) for each in [*read, *open_]})
        found.sort(key=book.rank_of, reverse=True)
        return found[:window]

    # -- in ordinary times -----------------------------------------------------------------

    @property
    def _is_for_the_oldest(self) -> bool:
        return self.claims % _OLDEST_FIRST_EVERY == 0

    @property
    def _ordinary(self) -> list[_Lane]:
        lanes = [self._each.pending, self._each.due, self._each.refresh]
        return [self._each.oldest, *lanes] if self._is_for_the_oldest else lanes

    def _pick(self, found: list[Document], slots: int) -> list[Document]:
        """Pick interrupted and retried work for up to half of the slots, then pending work, then the rest."""
        oldest, pending, due, refresh = (
            self._in_order([c for c in found if c["lane"] == name])
            for name in (OLDEST, "pending", "due", "refresh")
        )
        waited_for = [c for c in due if book.rank_of(c) > book.BEHIND]
        behind = [c for c in due if book.rank_of(c) <= book.BEHIND]
        # An odd slot goes to each side in turn, or a lone slot would never go to pending leads.
        promised = (slots + self.claims % 2) // 2
        first, later = waited_for[:promised], waited_for[promised:]
        queue = oldest + [c for c in pending if book.rank_of(c) > book.BEHIND]
        backfilled = [c for c in pending if book.rank_of(c) <= book.BEHIND]
        # Half of them to those begun before, here as well: a gap may have put a million leads behind.
        begun, others = behind[:promised], behind[promised:]
        return _each_once(first + queue + later + begun + backfilled + others + refresh)[:slots]

    def _in_order(self, candidates: list[Document]) -> list[Document]:
        """Keep the order as read; under contention, shuffle within equal priority, or across priorities
        when it is the oldest leads' turn."""
        if self.width > 1:
            self.random.shuffle(candidates)
            if not self._is_for_the_oldest:
                candidates.sort(key=book.rank_of, reverse=True)
        return candidates

    # -- under pressure --------------------------------------------------------------------

    def _pick_urgent(self, found: list[Document], slots: int, turns: int) -> list[Document]:
        by_age = sorted((c for c in found if c["lane"] == OLDEST), key=_since)
        oldest = [c for c in by_age if book.rank_of(c) > book.BEHIND][:turns]
        urgent = self._in_order([c for c in found if c["lane"] != OLDEST])
        urgent.sort(key=book.rank_of, reverse=True)
        picked = _each_once(urgent[: slots - len(oldest)] + oldest)
        self.ahead = 0 if turns else self.ahead
        self.ahead += sum(c["lane"] != OLDEST for c in picked)
        return picked

    def _urgent(self, above: float, window: int) -> list[Pipeline]:
        more_urgent, pending = {"$gt": above}, self._each.pending
        among = {**pending.match, self.names.of_book("priority"): more_urgent}
        due = self._each.due.first(max(window, _DUE_AT_A_GLANCE))
        return [
            replace(pending, match=among).first(window),
            [*due, {"$match": {"priority": more_urgent}}],
        ]

    def _oldest(self, window: int) -> list[Pipeline]:
        return [self._each.oldest_due.first(window), self._each.oldest.first(window)]


def _since(candidate: Document) -> int:
    since: int = candidate["since"]
    return since


def _each_once(candidates: list[Document]) -> list[Document]:
    firsts: dict[bytes, Document] = {}
    for each in candidates:
        firsts.setdefault(expressions.id_key(each["_id"]), each)
    return list(firsts.values())
