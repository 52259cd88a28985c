"""What an operator typed, as MongoDB takes it. Whatever cannot be used raises SettingsError."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

import bson
from bson import ObjectId, json_util
from bson.errors import BSONError

from enricher.errors import SettingsError
from enricher.identity.identify import identify
from enricher.lead import Document, Inputs, LeadId

_NOT_JSON = (BSONError, ValueError, TypeError, KeyError, OverflowError, RecursionError)
_OPTIONS = json_util.JSONOptions(tz_aware=True)

BANNED = frozenset({"$where", "$function", "$accumulator", "$near", "$nearSphere", "$text"})
"""Code, and what orders its results by itself: the leads are read in the order of their ids, and
each is compared with the filter once more when it is written."""


def query(text: str) -> Document:
    """`--query`: a MongoDB filter in extended JSON."""
    try:
        parsed = json_util.loads(text, json_options=_OPTIONS)
        if isinstance(parsed, dict):
            bson.encode(parsed)
    except _NOT_JSON as error:
        raise SettingsError([f"--query: not extended JSON: {_first_line(error)}"]) from error
    if not isinstance(parsed, dict):
        raise SettingsError(['--query: a MongoDB filter is an object, as in \'{"source": "web"}\''])
    if banned := sorted(BANNED & set(_names(parsed))):
        raise SettingsError([f"--query: {', '.join(banned)} cannot be used here"])
    return parsed


def ids(text: str) -> list[tuple[str, LeadId]]:
    """`--id`: what it can mean, in the order in which it is tried: (kind, `_id`).

    A text of 24 hexadecimal digits is an ObjectId; else what is extended JSON (`5`, `"5"`,
    `{"$uuid": "..."}`) is that; and any text can be the id itself.
    """
    meanings: list[tuple[str, LeadId]] = []
    if ObjectId.is_valid(text):
        meanings.append(("an ObjectId", ObjectId(text)))
    with suppress(*_NOT_JSON):
        parsed = json_util.loads(text, json_options=_OPTIONS)
        bson.encode({"": parsed})
        meanings.append(("extended JSON", parsed))
    return [*meanings, ("a text", text)]


def spellings(email: str) -> list[str]:
    """Of an address: those that are found without reading every lead."""
    identity = identify(Inputs(email=email))
    normal = (identity.email, identity.email_key)
    found = [email, email.strip(), email.strip().lower(), *(one for one in normal if one)]
    return list(dict.fromkeys(found))


def _names(value: Any) -> Iterator[str]:
    """Every key, at any depth."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield name
            yield from _names(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _names(inner)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
