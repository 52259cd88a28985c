"""PURE MongoDB filters as operators write them: extended JSON, in a command's argument or a source's `only`."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from enricher.settings.types import either, first_line

BANNED = frozenset({"$where", "$function", "$accumulator", "$near", "$nearSphere", "$text"})
"""Code, and operators that order their own results: the leads are read in the order of their ids, and each
is compared with the filter once more when it is written."""


def parse(text: str, banned: Collection[str] = BANNED) -> dict[str, Any]:
    """Return the filter. Raises ValueError, whose text says what is wrong."""
    import bson  # noqa: PLC0415 - a quarter of a start that needs no MongoDB
    from bson import json_util  # noqa: PLC0415 - likewise
    from bson.errors import BSONError  # noqa: PLC0415 - likewise

    options = json_util.JSONOptions(tz_aware=True)
    try:
        parsed = json_util.loads(text, json_options=options)
        if isinstance(parsed, dict):
            bson.encode(parsed)
    except (BSONError, ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
        raise ValueError(f"expected extended JSON: {_why(text, error)}") from error
    if not isinstance(parsed, dict):
        raise ValueError(  # noqa: TRY004 - the text is wrong, not the call
            'expected an object, as in \'{"source": "web"}\''
        )
    if found := sorted(set(banned) & set(_names(parsed))):
        raise ValueError(f"expected a filter without {', '.join(found)}")
    return parsed


def _why(text: str, error: Exception) -> str:
    """Say what is wrong without the values: only what JSON's own reader says quotes none."""
    try:
        raw = json.loads(text)
    except (ValueError, RecursionError) as refused:
        return first_line(refused)
    typed = sorted({name for name in _names(raw) if name.startswith("$") and name not in _LOGICAL})
    if isinstance(error, RecursionError) or not typed:
        return f"it cannot be stored ({type(error).__name__})"
    return f"the value of {either(typed)} is not what that takes"


_LOGICAL = frozenset({"$and", "$or", "$nor"})


def paths(parsed: Mapping[str, Any]) -> frozenset[str] | None:
    """Return the paths of the fields that a filter reads; `None` where that may be any field."""
    found: set[str] = set()
    for name, value in parsed.items():
        within = [paths(each) for each in value] if name in _LOGICAL else []
        if None in within or (name.startswith("$") and name not in {*_LOGICAL, "$comment"}):
            return None
        found.update(*(each or () for each in within))
        if not name.startswith("$"):
            found.add(name)
    return frozenset(found)


def fields_of(parsed: Mapping[str, Any]) -> frozenset[str] | None:
    """Return the top-level fields that a filter reads; `None` where that may be any field."""
    found = paths(parsed)
    return None if found is None else frozenset(each.partition(".")[0] for each in found)


def _names(value: Any) -> Iterator[str]:
    """Yield every key, at any depth."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield name
            yield from _names(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _names(inner)
