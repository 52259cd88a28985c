"""Which leads are next, and in what order.

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

Each lane reads keys of leads that are work, and of no more than it may take. While the indexes are
being built there is one lane, of the leads that were heard of (`Heard`).
"""

from __future__ import annotations

import math
import random
from collections.abc import Collection, Container, Iterable, Iterator, Sized
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

from pymongo.asynchronous.collection import AsyncCollection

from enricher.lead import Document, LeadId, Status
from enricher.mongo import expressions
from enricher.mongo.expressions import id_key
from enricher.queue import book
from enricher.queue.aside import DOUBLED_NAMES

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

_DUE_NOW: Document = {
    # The lower bound excludes a missing field, which sorts below every date.
    "enrichment.due_at": {"$gt": book.EPOCH},
    "$expr": {"$lte": ["$enrichment.due_at", "$$NOW"]},
}
_PENDING: Document = {"enrichment_status": Status.PENDING}
_FRESH: Document = {**_PENDING, **book.FRESH}
_DUE: Document = {
    "enrichment_status": {
        "$in": [Status.PROCESSING, Status.RETRYING, Status.FAILED, Status.SKIPPED]
    },
    **_DUE_NOW,
}
_REFRESH: Document = {"enrichment_status": Status.COMPLETED, **_DUE_NOW}
_TO_COME: Document = {
    "enrichment_status": {"$in": [Status.PENDING, Status.PROCESSING, Status.RETRYING]}
}
CLAIMABLE: Document = {"$or": [_PENDING, _DUE, _REFRESH]}
"""A lead that is work, by the server's clock: every lane reads some of these, and a claim requires it."""

_BY_PRIORITY = {"enrichment.priority": -1, "enrichment.queued_at": 1}
_BY_AGE = {"enrichment.queued_at": 1}
_BY_TIME = {"enrichment.due_at": 1}

_Lane = list[Document]
"""The stages that read one lane."""


class SetAside(Container[bytes], Sized, Protocol):
    """Keys (`book.id_key`) of leads that cannot be claimed."""


@dataclass(slots=True)
class Lanes:
    """The order of one process's claims. Remembers contention, and whose turn it is."""

    collection: AsyncCollection[Document]
    random: random.Random
    suspect_after: int = 3
    """Consecutive process deaths after which a lead is worked on alone."""
    claims: int = 0
    width: int = 1
    """Factor of the slots: how far to read when other daemons take the head of the queue."""
    undisturbed: int = 0
    """Consecutive claims that lost (nearly) nothing."""
    waiting_suspects: int = 0
    """Suspects that the last read saw and left out; the next one reads past them."""
    too_long: int = 0
    """Leads with too long an `_id` that the last read saw; the next one reads past them."""
    ahead: int = 0
    """Leads taken under pressure since the oldest last had a turn."""
    heard: Heard | None = None
    """Replaces the indexes while they are being built."""

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
            found = self._few_suspects(await self._read(self._all(window), aside), suspects)
            return self._pick(found, slots)
        turns = min(self.ahead // (_OLDEST_FIRST_EVERY - 1), 1 + slots // _OLDEST_FIRST_EVERY)
        lanes = _urgent(above, window) + (_oldest(turns + len(aside)) if turns else [])
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

    async def _read(self, lanes: list[_Lane], aside: SetAside) -> list[Document]:
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
            lane = _lane("pending", {**these, **CLAIMABLE}, _BY_PRIORITY, window)
            read = await self._read([lane], aside)
            found += [each for each in read if above is None or rank_of(each) > above]
            if len(found) >= window:
                break
            open_ = await self.collection.find({**these, **_TO_COME}, {"_id": 1}).to_list()
            heard.keep(ids, {expressions.id_key(each["_id"]) for each in [*read, *open_]})
        found.sort(key=rank_of, reverse=True)
        return found[:window]

    # -- in ordinary times -----------------------------------------------------------------

    @property
    def _is_for_the_oldest(self) -> bool:
        return self.claims % _OLDEST_FIRST_EVERY == 0

    def _all(self, window: int) -> list[_Lane]:
        lanes = [
            _lane("pending", _PENDING, _BY_PRIORITY, window),
            _lane("due", _DUE, _BY_TIME, window),
            _lane("refresh", _REFRESH, _BY_TIME, window),
        ]
        if self._is_for_the_oldest:
            lanes.insert(0, _lane(OLDEST, _FRESH, _BY_AGE, window))
        return lanes

    def _pick(self, found: list[Document], slots: int) -> list[Document]:
        """Pick interrupted and retried work for up to half of the slots, then pending work, then the rest."""
        oldest, pending, due, refresh = (
            self._in_order([c for c in found if c["lane"] == name])
            for name in (OLDEST, "pending", "due", "refresh")
        )
        waited_for = [c for c in due if rank_of(c) > book.BEHIND]
        behind = [c for c in due if rank_of(c) <= book.BEHIND]
        # An odd slot goes to each side in turn, or a lone slot would never go to pending leads.
        promised = (slots + self.claims % 2) // 2
        first, later = waited_for[:promised], waited_for[promised:]
        queue = oldest + [c for c in pending if rank_of(c) > book.BEHIND]
        backfilled = [c for c in pending if rank_of(c) <= book.BEHIND]
        # Half of them to those begun before, here as well: a gap may have put a million leads behind.
        begun, others = behind[:promised], behind[promised:]
        return _each_once(first + queue + later + begun + backfilled + others + refresh)[:slots]

    def _in_order(self, candidates: list[Document]) -> list[Document]:
        """Keep the order as read; under contention, shuffle within equal priority, or across priorities
        when it is the oldest leads' turn."""
        if self.width > 1:
            self.random.shuffle(candidates)
            if not self._is_for_the_oldest:
                candidates.sort(key=rank_of, reverse=True)
        return candidates

    # -- under pressure --------------------------------------------------------------------

    def _pick_urgent(self, found: list[Document], slots: int, turns: int) -> list[Document]:
        by_age = sorted((c for c in found if c["lane"] == OLDEST), key=_since)
        oldest = [c for c in by_age if rank_of(c) > book.BEHIND][:turns]
        urgent = self._in_order([c for c in found if c["lane"] != OLDEST])
        urgent.sort(key=rank_of, reverse=True)
        picked = _each_once(urgent[: slots - len(oldest)] + oldest)
        self.ahead = 0 if turns else self.ahead
        self.ahead += sum(c["lane"] != OLDEST for c in picked)
        return picked


def _urgent(above: float, window: int) -> list[_Lane]:
    pending = {**_PENDING, "enrichment.priority": {"$gt": above}}
    due = _lane("due", _DUE, _BY_TIME, max(window, _DUE_AT_A_GLANCE))
    return [
        _lane("pending", pending, _BY_PRIORITY, window),
        [*due, {"$match": {"priority": {"$gt": above}}}],
    ]


def _oldest(window: int) -> list[_Lane]:
    return [
        _lane(OLDEST, _DUE, _BY_TIME, window),
        _lane(OLDEST, _FRESH, _BY_AGE, window),
    ]


def _lane(name: str, match: Document, sort: Document, window: int) -> _Lane:
    since = f"${next(reversed(sort))}"
    project = {
        **book.ID_OR_WHY_NOT,
        "since": {"$convert": {"input": since, "to": "long", "onError": 0, "onNull": 0}},
        "token": book.TOKEN,
        "status": "$enrichment_status",
        "priority": book.PRIORITY,
        "interruptions": book.INTERRUPTIONS,
        "lane": {"$literal": name},
        "names": DOUBLED_NAMES,
        "bytes": book.DATA_BYTES,
    }
    return [{"$match": match}, {"$sort": sort}, {"$limit": window}, {"$project": project}]


def rank_of(read: Document) -> float:
    """Return the priority of a lead that was read with `book.PRIORITY`, ordered as the index orders it."""
    rank: float = read["priority"]
    return -math.inf if math.isnan(rank) else rank


def _since(candidate: Document) -> int:
    since: int = candidate["since"]
    return since


def _each_once(candidates: list[Document]) -> list[Document]:
    firsts: dict[bytes, Document] = {}
    for each in candidates:
        firsts.setdefault(expressions.id_key(each["_id"]), each)
    return list(firsts.values())
