"""PURE MongoDB filters as operators write them: extended JSON, in a command's argument or a source's `only`."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

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
        raise ValueError(f"not extended JSON: {_first_line(error)}") from error
    if not isinstance(parsed, dict):
        raise ValueError(  # noqa: TRY004 - the text is wrong, not the call
            'a MongoDB filter is an object, as in \'{"source": "web"}\''
        )
    if found := sorted(set(banned) & set(_names(parsed))):
        raise ValueError(f"{', '.join(found)} cannot be used here")
    return parsed


def _names(value: Any) -> Iterator[str]:
    """Yield every key, at any depth."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield name
            yield from _names(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _names(inner)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
