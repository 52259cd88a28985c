"""PURE What the model expects of single values: dates from the server's clock, numbers, inputs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from enricher.lead import Document

RANKS = {"hot": 3, "warm": 2, "cold": 1}

_LONGEST_INPUT_BYTES = 1024
_BSON_TYPES = {int: "int", list: "array", dict: "object"}
_ENOUGH = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class FromNow:
    """A date that the server set in this step."""

    delay: timedelta = timedelta()

    def accepts(self, actual: Any, before: Any) -> bool:
        if not isinstance(actual, datetime) or actual == before:
            return False
        return abs(actual - datetime.now(UTC) - self.delay) < _ENOUGH


@dataclass(frozen=True, slots=True)
class MillisecondsSince:
    """How long something took until now."""

    at: datetime

    def accepts(self, actual: Any, _before: Any) -> bool:
        took = datetime.now(UTC) - self.at
        return isinstance(actual, int) and abs(timedelta(milliseconds=actual) - took) < _ENOUGH


@dataclass(frozen=True, slots=True)
class WrittenNow:
    """A moment as text, from a worker's clock in this step."""

    def accepts(self, actual: Any, before: Any) -> bool:
        if not isinstance(actual, str) or actual == before:
            return False
        return abs(datetime.fromisoformat(actual) - datetime.now(UTC)) < _ENOUGH


NOW = FromNow()


def filled_in(expected: Any, actual: Any, seen: Any) -> Any:
    """`expected`, with what stands in `actual` where that is as good as any."""
    match expected:
        case FromNow() | MillisecondsSince() | WrittenNow():
            return actual if expected.accepts(actual, seen) else expected
        case dict():
            return {
                key: filled_in(value, _part(actual, key), _part(seen, key))
                for key, value in expected.items()
            }
    return expected


def flat(document: Document) -> Document:
    """The document, and its parts of ours by name: a difference is to be seen at once."""
    book = document.get("enrichment")
    parts = {f"enrichment.{k}": v for k, v in book.items()} if isinstance(book, dict) else {}
    return document | parts


def _part(value: Any, key: str) -> Any:
    return value.get(key) if isinstance(value, dict) else None


def count(value: Any) -> int | None:
    """A number that can be counted on from; `None` for garbage."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return int(value) if is_number and 0 <= value < 2**53 else None


def rank(value: Any) -> Any:
    """The priority that belongs to a value of the priority field."""
    if isinstance(value, int):
        return min(value, 3 - 1e-6 / (1 + max(0, value - 3)))
    return RANKS.get(value.lower(), 0) if isinstance(value, str) else 0


def behind(place: float) -> float:
    """The same priority for a lead that nobody waits for."""
    return place - 1e15


def number(value: Any) -> float:
    """A priority as workers see it."""
    return float(value) if isinstance(value, int | float) else 0.0


def usable(value: Any) -> Any:
    """An input as it is noted at the claim."""
    if value is None:
        return None
    if isinstance(value, str):
        return value if len(value.encode()) <= _LONGEST_INPUT_BYTES else {"malformed": "too long"}
    return {"malformed": _BSON_TYPES[type(value)]}
