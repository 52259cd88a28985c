"""PURE Whether a record still has the shape that its vendor documents.

A vendor renames a field, and nothing fails: leads are just poorer from then on. So a provider names, in
`sends`, some keys that its vendor's records always have, null where nothing is known, and what stands
there when something is. A record drifts when most of these keys are gone, or when one of them holds
something else, which the readers then drop. A few missing keys are no sign: vendors leave some out.

    sends = {"name": str, "metrics.employees": int, "tags": list}
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import TypeAlias

from enricher.providers import reading

Sends: TypeAlias = Mapping[str, type]
"""Path of keys, with dots between them -> str, int, bool, list or dict."""


@dataclass(frozen=True, slots=True)
class Drift:
    """Paths as the provider names them; nothing that the vendor wrote."""

    missing: tuple[str, ...] = ()
    wrong: tuple[str, ...] = ()


def within(parent: str, sends: Sends) -> Sends:
    """The same keys, one envelope further in."""
    return {f"{parent}.{path}": kind for path, kind in sends.items()}


def drift(record: reading.Record, sends: Sends) -> Drift | None:
    """How the record differs from what the vendor documents; `None` when it does not, or hardly."""
    states = {path: _state(record, _keys(path), kind) for path, kind in sends.items()}
    missing = tuple(path for path, state in states.items() if state == _MISSING)
    wrong = tuple(path for path, state in states.items() if state == _WRONG)
    are_most_gone = 2 * len(missing) > len(sends)
    return Drift(missing, wrong) if wrong or are_most_gone else None


_FINE, _MISSING, _WRONG = "fine", "missing", "wrong"


@cache  # there are as many as providers name
def _keys(path: str) -> list[str]:
    return path.split(".")


def _state(record: object, path: list[str], kind: type) -> str:
    """Null says nothing, whatever was to stand below it, and so does an empty object."""
    value = record
    for key in path:
        if value is None or value == {}:
            return _FINE
        if not isinstance(value, (dict, Mapping)):
            return _WRONG
        if key not in value:
            return _MISSING
        value = value[key]
    return _FINE if value is None or _is(value, kind) else _WRONG


def _is(value: object, kind: type) -> bool:
    """A number may be text, as for the readers; a flag is never a number."""
    if kind is int:
        return reading.number({"": value}, "") is not None
    return isinstance(value, kind)
