"""One update of a ledger's document: adds what was noted, grants what was asked for. PURE.

The pipeline is carried out by the server, so it decides on what stands in the document and by its
own clock. `calls/ledger.py` says what the document holds and what must stay true.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, Literal, TypeAlias

from enricher.lead import Document

PREFIX = "ledger/"
_MOST_WRITERS = 100
"""Processes of which the last posting is known; far more than ask one vendor in the time of an outage."""

Count: TypeAlias = Literal[
    "begun", "settled", "charged", "unknown", "saved_by_cache", "saved_by_coalescing", "spent"
]
"""`spent` is what budgets are about; the rest is for people."""

Counts: TypeAlias = dict[date, dict[str, Counter[Count]]]
"""Day -> provider -> what is to be added."""


@dataclass(frozen=True, slots=True)
class Budget:
    """Calls that a vendor may charge, by all of its providers and all processes; `None`: any number."""

    daily: int | None = None
    monthly: int | None = None


@dataclass(frozen=True, slots=True)
class Posting:
    """One update of one month's document."""

    number: int
    day: date
    """The month is its month, and what is asked for is for this day."""
    counts: Counts
    asked: tuple[str, ...] = ()
    """A provider for each call, in the order of asking."""


def document_id(vendor: str, day: date) -> str:
    """Ids begin with the month, so the ledgers of some months are one range of them."""
    return f"{PREFIX}{month_of(day)}/{vendor}"


def months_between(first: date, last: date) -> Document:
    """The filter for the ledgers of all vendors."""
    return {"_id": {"$gte": f"{PREFIX}{month_of(first)}/", "$lt": f"{PREFIX}{month_of(last)}0"}}


def month_of(day: date) -> str:
    return f"{day:%Y-%m}"


def pipeline(posting: Posting, writer: str, budget: Budget) -> list[Document]:
    """Names that begin with an underscore are for the time of the posting only."""
    return [
        {"$set": {"_own": _last_posting_of(writer)}},
        {"$set": {"_is_new": {"$lt": [{"$ifNull": ["$_own.number", 0]}, posting.number]}}},
        {"$set": _added(posting.counts)},
        {"$set": {"_granted": _granted(posting, budget)}},
        {"$set": _begun(posting)},
        {"$set": _signed(posting, writer, budget)},
        {"$unset": ["_own", "_is_new", "_granted"]},
    ]


def _last_posting_of(writer: str) -> Document:
    mine = {"$eq": ["$$this.id", writer]}
    found = {"$filter": {"input": {"$ifNull": ["$writers", []]}, "cond": mine}}
    return {"$ifNull": [{"$arrayElemAt": [found, 0]}, {}]}


def _added(counts: Mapping[date, Mapping[str, Mapping[Count, int]]]) -> Document:
    """Of each count noted. `spent` comes three times: by provider, by day and by month."""
    sums: Counter[str] = Counter()
    for day, providers in counts.items():
        for provider, noted in providers.items():
            for name, number in noted.items():
                sums[f"{_path(day, provider)}.{name}"] += number
            spent = noted.get("spent", 0)
            sums[f"days.{day:%d}.spent"] += spent
            sums["spent"] += spent
    always = {"spent": _plus("spent", 0)}
    return always | {path: _plus(path, _if_new(number)) for path, number in sums.items()}


def _path(day: date, provider: str) -> str:
    """Some provider of somebody's may be called `acme.com`."""
    return f"days.{day:%d}.providers.{provider.replace('.', '_').replace('$', '_')}"


def _plus(path: str, expression: Any) -> Document:
    return {"$add": [{"$ifNull": [f"${path}", 0]}, expression]}


def _if_new(number: int) -> Document:
    return {"$cond": ["$_is_new", number, 0]}


def _granted(posting: Posting, budget: Budget) -> Document:
    """How many of the asked. Of a posting that is carried out again: nothing more."""
    spent = (f"days.{posting.day:%d}.spent", "spent")
    room = [
        {"$subtract": [most, {"$ifNull": [f"${path}", 0]}]}
        for most, path in zip((budget.daily, budget.monthly), spent, strict=True)
        if most is not None
    ]
    today = {"$dateToString": {"date": "$$NOW", "format": "%Y-%m-%d"}}
    may = {"$and": ["$_is_new", {"$eq": [today, posting.day.isoformat()]}]}
    granted = {"$max": [0, {"$min": [len(posting.asked), *room]}]}
    return {"$cond": [may, granted, 0]}


def _begun(posting: Posting) -> Document:
    """The first so many of the asked, each for its provider."""
    if not posting.asked:
        return {"spent": "$spent"}
    places: dict[str, list[int]] = defaultdict(list)
    for place, provider in enumerate(posting.asked):
        places[provider].append(place)
    paths: Document = {"spent": "$_granted", f"days.{posting.day:%d}.spent": "$_granted"}
    for provider, own in places.items():
        is_granted = {"$lt": ["$$this", "$_granted"]}
        number = {"$size": {"$filter": {"input": own, "cond": is_granted}}}
        paths[f"{_path(posting.day, provider)}.begun"] = number
        paths[f"{_path(posting.day, provider)}.spent"] = number
    return {path: _plus(path, expression) for path, expression in paths.items()}


def _signed(posting: Posting, writer: str, budget: Budget) -> Document:
    others = {
        "$filter": {
            "input": {"$ifNull": ["$writers", []]},
            "cond": {"$ne": ["$$this.id", writer]},
        }
    }
    this = {"id": writer, "number": posting.number, "granted": "$_granted", "at": "$$NOW"}
    own = {"$cond": ["$_is_new", this, "$_own"]}
    return {
        "writers": {"$concatArrays": [{"$slice": [others, 1 - _MOST_WRITERS]}, [own]]},
        "budget": {"daily": budget.daily, "monthly": budget.monthly},
        "granted_at": {"$cond": [{"$gt": ["$_granted", 0]}, "$$NOW", "$granted_at"]},
        "at": "$$NOW",
    }
