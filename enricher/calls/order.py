"""In which order providers are asked where `ENRICHER_PROVIDER_ORDER=auto`: one document, the same for the whole fleet.

    _id        "order"
    places     names of paid providers, first to ask first; kinds need not stand together
    explored   providers of which too few answers are known: a small share of the leads asks them first
    changes    [{at, ahead, behind, why}]: the last swaps of neighbours, latest first
    proposals  what the latest look found, one document for each kind, for people
    looked_at  when the answers were last looked at
    next_at    when they are to be looked at again
    turn       the id of the latest look, and began_at when it began

Each daemon reads it about once a minute. Whoever finds `next_at` in the past takes the turn, which only one can;
a look that does not come to an end (its process died) is made again after `TURN`. A change is one write that
only the holder of the turn can make, so two daemons never both change the order, and it survives restarts.

**Exploring.** What was never asked is unknown: a provider that is always asked last is only seen with what all
others missed. So one question in `EXPLORING` is put first to a provider that is explored. Which questions these
are is a matter of the question alone. All leads of one company thus ask the same provider, and so does each
attempt: nothing is paid twice. Exploring changes who is asked first, never how many may be asked.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import blake2b
from typing import Any

from pymongo import ReturnDocument
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import DuplicateKeyError

from enricher.calls.ledger import COLLECTION
from enricher.lead import Document
from enricher.values.storable import mapping

EXPLORING = 20
"""One question in so many asks an explored provider first."""
MOST_CHANGES = 20
TURN = timedelta(minutes=10)
_ID = "order"


@dataclass(frozen=True, slots=True)
class OrderChange:
    """A swap of two neighbours."""

    at: datetime
    ahead: str
    """The provider that has been asked earlier since then."""
    behind: str
    why: str

    @property
    def sentence(self) -> str:
        """The change, for people."""
        return f"since {self.at:%Y-%m-%d %H:%M} UTC {self.ahead} comes before {self.behind}: {self.why}"


@dataclass(frozen=True, slots=True)
class Order:
    """The order as the fleet has it. Without places, it is that of the settings."""

    places: tuple[str, ...] = ()
    explored: tuple[str, ...] = ()
    changes: tuple[OrderChange, ...] = ()
    proposals: tuple[Document, ...] = ()
    looked_at: datetime | None = None
    next_at: datetime | None = None

    def arrange(self, names: Sequence[str]) -> list[str]:
        """PURE Return the providers of one kind in this order. One that has no place keeps the one it has."""
        ranks = {name: rank for rank, name in enumerate(self.places)}
        placed = iter(sorted((name for name in names if name in ranks), key=ranks.__getitem__))
        return [next(placed) if name in ranks else name for name in names]

    def explore(self, names: Sequence[str], question: str | None) -> str | None:
        """PURE Return which of these providers this question is put to first, to learn what it knows; else `None`."""
        explored = [name for name in names if name in self.explored]
        if question is None or not explored or not is_exploring(question):
            return None
        return max(explored, key=lambda name: _draw(name, question))


def is_exploring(question: str) -> bool:
    """PURE Return whether a question may be put to an explored provider first."""
    return _draw("", question) % EXPLORING == 0


def _draw(name: str, question: str) -> int:
    text = f"{name}/{question}".encode("utf-8", "surrogatepass")
    return int.from_bytes(blake2b(text, digest_size=8).digest())


@dataclass(frozen=True, slots=True)
class Turn:
    """The right to change the order, until somebody else has it."""

    id: str
    at: datetime
    """When it began, by the server's clock."""


@dataclass(frozen=True, slots=True)
class Orders:
    """Reads and changes the fleet's order."""

    database: AsyncDatabase[Document]

    async def read(self) -> Order:
        """Return the order as it is now. Raises DatabaseTrouble."""
        return _order(await self.database[COLLECTION].find_one({"_id": _ID}))

    async def take_turn(self) -> Turn | None:
        """Return the turn to look at the answers if that is due and no other daemon has begun it.

        Raises DatabaseTrouble.
        """
        turn = uuid.uuid4().hex
        is_due = {"$lte": [{"$ifNull": ["$next_at", "$$NOW"]}, "$$NOW"]}
        taken = {"turn": turn, "began_at": "$$NOW", "next_at": _in(TURN)}
        wanted = {name: {"$cond": [is_due, new, f"${name}"]} for name, new in taken.items()}
        try:
            found = await self.database[COLLECTION].find_one_and_update(
                {"_id": _ID}, [{"$set": wanted}], upsert=True, return_document=ReturnDocument.AFTER
            )
        except DuplicateKeyError:  # another daemon has just made the document
            return None
        if found is None or found["turn"] != turn:
            return None
        return Turn(turn, found["began_at"])

    async def end_turn(
        self,
        turn: Turn,
        every: timedelta,
        *,
        places: Sequence[str],
        explored: Sequence[str],
        proposals: Sequence[Document],
        change: OrderChange | None = None,
    ) -> bool:
        """Write what a look found; False if another daemon has the turn by now. Raises DatabaseTrouble."""
        wanted: dict[str, Any] = {
            "places": {"$literal": list(places)},
            "explored": {"$literal": list(explored)},
            "proposals": {"$literal": list(proposals)},
            "looked_at": "$$NOW",
            "next_at": _in(every),
        }
        if change is not None:
            new = {"$literal": [_written(change)]}
            both = {"$concatArrays": [new, {"$ifNull": ["$changes", []]}]}
            wanted["changes"] = {"$slice": [both, MOST_CHANGES]}
        done = await self.database[COLLECTION].update_one(
            {"_id": _ID, "turn": turn.id}, [{"$set": wanted}]
        )
        return bool(done.matched_count)


def _in(after: timedelta) -> Document:
    return {"$add": ["$$NOW", round(after.total_seconds() * 1000)]}


def _written(change: OrderChange) -> Document:
    return {
        "at": change.at,
        "ahead": change.ahead,
        "behind": change.behind,
        "why": change.why,
    }


# Reading: others may have written there


def _order(document: object) -> Order:
    found = mapping(document)
    return Order(
        places=_names(found.get("places")),
        explored=_names(found.get("explored")),
        changes=tuple(change for each in _list(found.get("changes")) if (change := _change(each))),
        proposals=tuple(dict(mapping(each)) for each in _list(found.get("proposals"))),
        looked_at=_date(found.get("looked_at")),
        next_at=_date(found.get("next_at")),
    )


def _names(value: object) -> tuple[str, ...]:
    return tuple(dict.fromkeys(each for each in _list(value) if isinstance(each, str)))


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _change(value: object) -> OrderChange | None:
    known = mapping(value)
    at = _date(known.get("at"))
    words = [known.get(name) for name in ("ahead", "behind", "why")]
    return OrderChange(at, *map(str, words)) if at is not None else None


def _date(value: object) -> datetime | None:
    return value if isinstance(value, datetime) else None


@dataclass(slots=True)
class FleetOrder:
    """The order that this process knows of. Its loop brings it up to date; the work only looks."""

    order: Order = field(default_factory=Order)
