"""One vendor's limits for the whole fleet: slots for calls, given out by the server's clock.

**A slot** is a moment at which one call may be made. Each window of the vendor is a leaky bucket
(the generic cell rate algorithm): `burst` calls at once, and one more every `gap`. What the
database keeps of it is one number, the *theoretical arrival time* `tat`:

    slot = max(now, paused_until, tat - (burst - 1) * gap)   of the window where that is latest
    tat  = max(tat, slot) + gap                              in every window

Any n slots lie at least (n - burst) gaps apart, in whatever order they were given out, and
`Pace` below says why no window is exceeded then. Half of the slack that it allows for (`LIFE`)
is ours: a slot that could not be used so soon after its time is void, never made up for. The other
half is for the way from there to the vendor.

**Slots lie at most half a second ahead** of the server's clock (on slow connections, and a round
trip of up to a second). This bounds what a process that
dies takes with it, and gives the latest value that a `tat` can have. A later one (the clock was
set back, or somebody wrote it) counts as that; one that is gone, or no number, counts as that too,
because slots given out before may still be under way. So does one that is earlier than a process
saw it last: a document that somebody puts back, or that another daemon has begun anew, must not look
emptier than the calls that were made, and nobody knows what other processes took meanwhile. When a process sees the server's clock jump
ahead (an election, a clock that is set), the slots of that reply are void and every window starts
at that latest value as well: a bucket must not look empty because the time was wrong.
Only a document that is new, to a process that never saw it, starts with a slot at once, and then
without a burst.

Times in the document are milliseconds since 1970, all of them multiples of 1/2048, so that sums of
doubles are exact until the year 2109.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeAlias

from pymongo import ReturnDocument
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import DuplicateKeyError

from enricher.answer import Held
from enricher.catalogue import Window
from enricher.lead import Document
from enricher.mongo.outage import reading
from enricher.mongo.server import ServerOffset
from enricher.values.storable import mapping

# How fast calls may follow one another so that no sliding window of a vendor is ever exceeded.
#
# Each window is a leaky bucket: `burst` calls at once, and one more every `gap`. Then any n calls
# leave us at least (n - burst) gaps apart. The vendor judges by its own clock at arrival, and each
# call arrives differently late; as long as that differs by less than the slack, a window of
# `seconds` sees only calls that left within less than `seconds + slack`. One call too many would
# need `calls + 1 - burst` gaps, so
#
#     one gap is (seconds + slack) / (calls + 1 - burst)
#
# keeps the window for certain.
#
# **The share lost** is slack / (seconds + slack) + (burst - 1) / calls. With half a second of slack
# for slots of the fleet, and 0.1 % for clocks that do not run equally fast, that is 0.8 % + 1 % +
# 0.1 % of a minute: 98.1 % of it is used. A window of a second loses a third; it never binds beside
# a minute that asks for less than two thirds of its pace.

SLACK = 0.5
"""Seconds by which the delays of two calls, from their slot to their arrival, may differ."""
_CALLS_PER_BURST = 100
"""One call of burst per hundred of the limit.

It lets a few leads that arrive together through at once, and costs one percent of the limit.
"""


@dataclass(frozen=True, slots=True)
class Pace:
    """One window as a leaky bucket."""

    window: Window
    burst: int

    @property
    def gap(self) -> float:
        """The seconds between calls that keep the window."""
        return (self.window.seconds + SLACK) / (self.window.calls + 1 - self.burst)


def paces(windows: tuple[Window, ...]) -> tuple[Pace, ...]:
    """Return the paces, longest window first. Of several windows of one length, the strictest counts."""
    strictest: dict[float, Window] = {}
    for window in sorted(windows, key=lambda window: (-window.seconds, -window.calls)):
        strictest[window.seconds] = window
    sustained = min((1 / _pace(window).gap for window in strictest.values()), default=0.0)
    return tuple(_pace(window, sustained) for window in strictest.values())


def _pace(window: Window, sustained: float = math.inf) -> Pace:
    """Return a window's pace. Unless it is the tightest, it need not refill fast and can allow a larger burst."""
    burst = 1 + window.calls // _CALLS_PER_BURST
    needed = sustained * (window.seconds + SLACK)
    spare = math.floor(window.calls + 1 - needed) if math.isfinite(needed) else 0
    return Pace(window, min(window.calls, max(burst, spare)))


# Stops of single providers within a bucket that several share: what the vendor says of one applies to it
# alone.
#
#     stops    provider -> {reason, until, by_hand}    until as in `hold`: milliseconds since 1970
#
# They are part of the bucket's document, which every reservation returns: so the whole fleet learns of them
# without asking, and a start that ends a hold ends them as well. One that an operator made (`by_hand`) stands
# until its time is up or an operator ends it: no start does, and no shorter stop takes its place.

Expression: TypeAlias = Any

FIELD = "stops"
_STOPS: Expression = {"$cond": [{"$eq": [{"$type": f"${FIELD}"}, "object"]}, f"${FIELD}", {}]}


def stopping(provider: str, reason: str, seconds: float, *, by_hand: bool = False) -> Document:
    """Return the field with one more stop, counted from the document's `now`; 0 seconds end it."""
    until = {"$add": ["$now", math.ceil(1000 * min(max(0.0, seconds), LONGEST_HOLD))]}
    stop = {"reason": {"$literal": reason}, "until": until}
    if by_hand:
        stop["by_hand"] = True
    ours = {"$arrayToObject": [[{"k": {"$literal": provider}, "v": stop}]]}
    longer = [] if by_hand else [_by_hand(until)]
    return {FIELD: {"$mergeObjects": [_STOPS, ours, *longer]}}


def _by_hand(after: Expression) -> Expression:
    """Return the stops that an operator made, and that last longer than `after`."""
    is_longer = {"$and": [{"$eq": ["$$this.v.by_hand", True]}, {"$gt": ["$$this.v.until", after]}]}
    kept = {"$filter": {"input": {"$objectToArray": _STOPS}, "cond": is_longer}}
    return {"$arrayToObject": kept}


def standing(document: Mapping[str, Any], now: float) -> dict[str, Held]:
    """Return provider -> its stop with the time left; `now` in milliseconds."""
    stops = mapping(document.get(FIELD))
    read = {str(provider): _held(stop, now) for provider, stop in stops.items()}
    return {provider: held for provider, held in read.items() if held is not None}


def none() -> Document:
    """Return the field without any stops but those that an operator made."""
    return {FIELD: _by_hand("$now")}


COLLECTION = "enricher_limits"

LIFE = SLACK / 2
"""Seconds after its time in which a slot may be handed to a caller."""
HORIZON = 0.5
"""Seconds that a slot may lie ahead."""
MOST_SLOTS = 100
"""Per reservation: enough for 200 calls a second, and the pipeline stays quick."""

_DRIFT = 1.001
"""Clocks do not run equally fast."""
_LONGEST_LEAD = 1.0
_QUICK = 0.1
"""Seconds. On slower connections slots lie ahead by a round trip, or they would be void on arrival."""
LAST_CALL_SECONDS = HORIZON + _LONGEST_LEAD + 2 * LIFE
"""From any moment until the last call with a slot that was given out before it, wherever that is."""
_LARGEST_ERROR = LIFE / 4
"""Seconds. A larger error cuts into the slack for the way to the vendor; otherwise no call would ever be made."""
LONGEST_PAUSE = 86_400.0
"""Seconds. No single answer may silence a provider for longer than a day."""
ORDINARY_PAUSE = 60.0
LONGEST_HOLD = 31 * 86_400.0
"""Seconds. Until then at most a vendor is not asked, whoever said so."""
_PARTS = 2048


class _Cell:
    """One window in the document's terms: milliseconds."""

    def __init__(self, pace: Pace) -> None:
        self.gap = math.ceil(1000 * _DRIFT * pace.gap * _PARTS) / _PARTS
        self.tau = (pace.burst - 1) * self.gap
        """How much earlier than its `tat` a call may be made."""
        self.furthest = 1000 * (HORIZON + _LONGEST_LEAD) + self.tau + self.gap
        """The most that `tat` can lie ahead of the server's clock."""
        self.name = "w" + f"{pace.window.seconds:.9g}".replace(".", "_")
        """The field that keeps its `tat`: daemons with other windows do not mix them up."""


@dataclass(frozen=True, slots=True)
class Reserved:
    """The result of one reservation. Times are on this process's monotonic clock."""

    slots: tuple[float, ...] = ()
    """In order, none before its time by the server's clock; possibly fewer than were asked for."""
    life: float = LIFE
    """Seconds in which each may be used, less the uncertainty about the server's clock."""
    next_at: float = 0.0
    """When the slot after these would be."""
    paused_until: float = 0.0
    """No call is allowed before this; the slots lie after it. 0 where nobody asked for a pause."""
    held: Held | None = None
    """The standing hold: no slots are given out under it."""
    stopped: Mapping[str, Held] = field(default_factory=dict)
    """Provider -> why it alone is not asked."""


class Bucket:
    """The limits of one bucket. All of it raises `DatabaseTrouble`, and is safe to repeat."""

    def __init__(
        self,
        database: AsyncDatabase[Document],
        name: str,
        windows: tuple[Window, ...],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self.windows = windows
        self._collection: AsyncCollection[Document] = database[COLLECTION]
        self._cells = [_Cell(pace) for pace in paces(windows)]
        self._usual = _stages(self._cells, _when_first_seen)
        self._again = _stages(self._cells, _no_earlier_than_seen)
        self._afresh = _stages(self._cells, _furthest)
        self._clock = clock
        self._server = ServerOffset()
        self._lead = 0.0
        self._tats: Mapping[str, float] = {}
        """As of the last reply, by `_Cell.name`."""

    async def reserve(self, slots: int) -> Reserved:
        """Return as many slots as lie within the horizon, up to `slots`; 0 only looks."""
        document, has_jumped = await self._exchange(slots, afresh=False)
        while has_jumped:
            document, has_jumped = await self._exchange(slots, afresh=True)
        return self._read(document)

    async def pause(self, seconds: float) -> None:
        """Stop the fleet's calls for the next `seconds`, except with slots already given out."""
        until = _after(min(seconds, LONGEST_PAUSE))
        await self._update({"paused_until": {"$max": [_PAUSED_UNTIL, until]}})

    async def hold(self, reason: str, seconds: float) -> None:
        """Stop the fleet's calls until the hold is over or released; of two holds the longer counts."""
        until = _after(min(seconds, LONGEST_HOLD))
        ours = {"reason": {"$literal": reason}, "until": until}
        longer = {"$gt": [_HELD_UNTIL, until]}
        await self._update({"hold": {"$cond": [longer, "$hold", ours]}})

    async def stop(
        self, provider: str, reason: str, seconds: float, *, by_hand: bool = False
    ) -> None:
        """Stop one provider of the bucket until the stop is over or released; 0 seconds end it.

        `by_hand`: an operator says so, and what the daemons decide by themselves does not change it.
        """
        await self._update(stopping(provider, reason, seconds, by_hand=by_hand))

    async def release(self) -> None:
        """End the hold and the stops that no operator made, and cut a pause to `ORDINARY_PAUSE`, as long as vendors' usual windows."""
        pause = {"$min": [_PAUSED_UNTIL, _after(ORDINARY_PAUSE)]}
        await self._update({"hold": None, "paused_until": pause, **none()})

    async def _exchange(self, slots: int, *, afresh: bool) -> tuple[Document, bool]:
        """Make one reservation; also return whether the server's clock has jumped ahead."""
        wanted = min(max(0, slots), MOST_SLOTS)
        asked = {"slots": wanted, "ahead": math.ceil(1000 * self._lead), "seen": self._tats}
        begin = {"$set": {"now": _NOW, "asked": {"$literal": asked}}}
        sent = self._clock()
        document = await self._apply([begin, *(self._afresh if afresh else self._usual)])
        received = self._clock()
        self._usual = self._again
        taken = received - sent
        self._lead = min(taken, _LONGEST_LEAD) if taken > _QUICK else 0.0
        with reading(COLLECTION):
            now = document["now"] / 1000
            self._tats = {cell.name: float(document["tats"][cell.name]) for cell in self._cells}
        return document, self._server.note(sent, received, now)

    async def _update(self, fields: Mapping[str, Expression]) -> None:
        await self._apply([{"$set": {"now": _NOW}}, {"$set": fields}])

    async def _apply(self, stages: list[Document]) -> Document:
        """Update the document, and return it as it is then."""
        update = partial(
            self._collection.find_one_and_update,
            {"_id": self.name},
            stages,
            upsert=True,
            return_document=ReturnDocument.AFTER,
        )
        try:
            return await update() or {}
        except DuplicateKeyError:  # another daemon has just created it
            return await update() or {}

    def _read(self, document: Document) -> Reserved:
        now, late = document["now"], min(self._server.error, _LARGEST_ERROR)
        with reading(COLLECTION):
            shift = self._server.local(late)
            return Reserved(
                slots=tuple([slot / 1000 + shift for slot in document["slots"]]),
                life=LIFE - 2 * late,
                next_at=self._server.local(document["next"] / 1000),
                paused_until=max(0.0, self._server.local(document["paused_until"] / 1000)),
                held=_held(document.get("hold"), now),
                stopped=standing(document, now),
            )


# -- expressions -----------------------------------------------------------------------------
#
# They are made once. What changes from one reservation to the next stands in the document meanwhile:
#
#     asked.slots     how many at most
#     asked.ahead     milliseconds by which the first of them lies ahead
#     asked.seen      `tats` as this process last saw them

_NOW: Expression = {"$toDouble": {"$toLong": "$$NOW"}}
_OBJECT_OF_TATS: Expression = {"$cond": [{"$eq": [{"$type": "$tats"}, "object"]}, "$tats", {}]}


def _after(seconds: float) -> Expression:
    return {"$add": ["$now", math.ceil(1000 * max(0.0, seconds))]}


def _number(path: str, most: Expression, otherwise: Expression) -> Expression:
    """A positive number of at most `most`; anything else found there (NaN, text) becomes `otherwise`."""
    is_positive = {"$and": [{"$isNumber": path}, {"$gt": [path, 0]}]}
    return {"$cond": [is_positive, {"$toDouble": {"$min": [path, most]}}, otherwise]}


_PAUSED_UNTIL = _number("$paused_until", _after(LONGEST_PAUSE), 0.0)
_HELD_UNTIL = _number("$hold.until", _after(LONGEST_HOLD), 0.0)


def _furthest(cell: _Cell) -> Expression:
    return {"$add": ["$now", cell.furthest]}


def _when_new(cell: _Cell) -> Expression:
    """A slot at once, but no burst, if this window was never kept; otherwise as when it is lost."""
    is_new = {
        "$and": [
            {"$in": [{"$type": "$tats"}, ["missing", "object"]]},
            {"$eq": [{"$type": f"$tats.{cell.name}"}, "missing"]},
        ]
    }
    return {"$cond": [is_new, {"$add": ["$now", cell.tau]}, _furthest(cell)]}


def _when_first_seen(cell: _Cell) -> Expression:
    """Return the `tat` for a process that has not seen the document before."""
    return _number(f"$tats.{cell.name}", _furthest(cell), _when_new(cell))


def _no_earlier_than_seen(cell: _Cell) -> Expression:
    """Return the `tat` for a process that has: one that is earlier than it last saw counts as lost."""
    kept = _number(f"$tats.{cell.name}", _furthest(cell), _furthest(cell))
    return {"$cond": [{"$lt": [kept, f"$asked.seen.{cell.name}"]}, _furthest(cell), kept]}


def _stages(cells: Sequence[_Cell], tat: Callable[[_Cell], Expression]) -> list[Document]:
    """Return the pipeline: clean what is there, give out slots, keep the outcome."""
    earliest = {"$add": ["$now", "$asked.ahead"]}
    latest = {"$add": ["$now", "$asked.ahead", 1000 * HORIZON]}
    wanted = {"$cond": [{"$gt": [_HELD_UNTIL, "$now"]}, 0, "$asked.slots"]}
    tats = [{"$arrayElemAt": ["$given.tats", index]} for index in range(len(cells))]
    kept = {cell.name: each for cell, each in zip(cells, tats, strict=True)}
    return [
        {"$set": {"paused_until": _PAUSED_UNTIL, "earliest": earliest}},
        {"$set": {"earliest": {"$max": ["$earliest", "$paused_until"]}}},
        {"$set": {"given": _given(cells, wanted, [tat(cell) for cell in cells], latest)}},
        {
            "$set": {
                "slots": "$given.slots",
                "next": _slot(cells, tats),
                "tats": {"$mergeObjects": [_OBJECT_OF_TATS, kept]},
            }
        },
        {"$unset": ["asked", "given", "earliest"]},
    ]


def _slot(cells: Sequence[_Cell], tats: list[Expression]) -> Expression:
    room = [{"$subtract": [tat, cell.tau]} for cell, tat in zip(cells, tats, strict=True)]
    return {"$max": ["$earliest", *room]}


def _given(
    cells: Sequence[_Cell], wanted: Expression, tats: list[Expression], latest: Expression
) -> Expression:
    """`{slots, tats}` after up to `wanted` slots, one after the other, none after `latest`."""
    before = [{"$arrayElemAt": ["$$value.tats", index]} for index in range(len(cells))]
    after = [
        {"$add": [{"$max": [tat, "$$slot"]}, cell.gap]}
        for cell, tat in zip(cells, before, strict=True)
    ]
    one_more = {"slots": {"$concatArrays": ["$$value.slots", ["$$slot"]]}, "tats": after}
    is_near = {"$lte": ["$$slot", latest]}
    return {
        "$reduce": {
            "input": {"$range": [0, wanted]},
            "initialValue": {"slots": [], "tats": tats},
            "in": {
                "$let": {
                    "vars": {"slot": _slot(cells, before)},
                    "in": {"$cond": [is_near, one_more, "$$value"]},
                }
            },
        }
    }


def _seconds(until: object, now: float) -> float:
    return max(0.0, until - now) / 1000 if isinstance(until, int | float) else 0.0


def _held(hold: object, now: float) -> Held | None:
    seconds = _seconds(hold.get("until"), now) if isinstance(hold, dict) else 0.0
    if not isinstance(hold, dict) or not seconds:
        return None
    reason = hold.get("reason")
    return Held(reason if isinstance(reason, str) else "held", min(seconds, LONGEST_HOLD))


# What stops the fleet from asking a vendor, read from the buckets for people. Changes nothing.

_LATEST = datetime(9999, 1, 1, tzinfo=UTC).timestamp()


@dataclass(frozen=True, slots=True)
class Stopped:
    """What stops one bucket; whatever is over by now is `None`."""

    reason: str = ""
    held_until: datetime | None = None
    paused_until: datetime | None = None
    providers: Mapping[str, Stopped] = field(default_factory=dict)
    """The bucket's providers that are stopped alone."""

    def of(self, provider: str) -> Stopped:
        """Return what stops this provider of the bucket."""
        alone = self.providers.get(provider)
        return replace(alone, paused_until=self.paused_until) if alone else self


async def stopped(
    database: AsyncDatabase[Document], buckets: Sequence[str], now: datetime
) -> Mapping[str, Stopped]:
    """Return the buckets that were ever used, by name. Raises DatabaseTrouble."""
    view = {"hold": 1, "paused_until": 1, FIELD: 1}
    found = database[COLLECTION].find({"_id": {"$in": list(buckets)}}, view)
    return {str(each["_id"]): _read(each, now) for each in await found.to_list()}


def _read(document: Document, now: datetime) -> Stopped:
    stops = mapping(document.get(FIELD))
    alone = {str(name): _hold(mapping(stop), now) for name, stop in stops.items()}
    return replace(
        _hold(mapping(document.get("hold")), now),
        paused_until=_later(document.get("paused_until"), now),
        providers={name: stop for name, stop in alone.items() if stop.held_until},
    )


def _hold(hold: Mapping[str, Any], now: datetime) -> Stopped:
    held_until, reason = _later(hold.get("until"), now), hold.get("reason")
    return Stopped(reason if held_until and isinstance(reason, str) else "", held_until)


def _later(milliseconds: Any, now: datetime) -> datetime | None:
    """Return the moment if it is still to come; anything else found there gives `None`."""
    if not isinstance(milliseconds, int | float) or not milliseconds / 1000 > now.timestamp():
        return None
    return datetime.fromtimestamp(min(milliseconds / 1000, _LATEST), UTC)
