"""What must be true of `enriched_data`, whatever went into it: types, names, figures, and BSON.

The types are written down here once more, by hand: a table that is checked against itself shows nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

import bson

from enricher.values.merge import completeness
from enricher.values.types import TYPES, type_of

SECTIONS = ("company_data", "person_data", "email_verification")


def _text(value: object) -> bool:
    return isinstance(value, str) and value == value.strip() != "" and "\x00" not in value


def _count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value < 2**63


def _texts(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(_text(item) for item in value)


def _flag(value: object) -> bool:
    return isinstance(value, bool)


def _score(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 100


def _url(value: object) -> bool:
    return isinstance(value, str) and urlsplit(value).scheme in ("http", "https")


_COUNTS = {"employee_count", "annual_revenue", "raised", "alexa_rank", "twitter_followers"}
_FLAGS = {"is_disposable", "is_webmail", "is_gibberish", "mx_records", "smtp_check", "accept_all"}


def _expected(name: str) -> Callable[[object], bool]:
    if name in _COUNTS:
        return _count
    if name == "founded_year":
        return lambda value: _count(value) and isinstance(value, int) and 500 <= value <= 2100
    if name in _FLAGS:
        return _flag
    by_name = {"tags": _texts, "tech_stack": _texts, "score": _score}
    return by_name.get(name, _url if name.endswith("_url") else _text)


def faults_in(data: Mapping[str, Any]) -> list[str]:
    """All that is wrong with it, in words; a lead's data must have none."""
    found = [*_of_values(data), *_of_names(data), *_of_profiles(data.get("social_profiles"))]
    score, missing = completeness(data)
    if not 0 <= score <= 100 or (score == 100) == bool(missing):
        found.append(f"a score of {score}")
    try:
        bson.encode(data)
    except (bson.errors.BSONError, OverflowError, ValueError, TypeError, RecursionError) as error:
        found.append(f"no BSON: {error}")
    return found


def _of_values(data: Mapping[str, Any]) -> Iterator[str]:
    for section in SECTIONS:
        for name, value in (data.get(section) or {}).items():
            if not _expected(name)(value):
                yield f"{section}.{name} is {value!r}"
            if name in TYPES[section] and type_of(section, name).read(value) != value:
                yield f"{section}.{name} reads {value!r} as {type_of(section, name).read(value)!r}"


def _of_names(value: object, path: str = "") -> Iterator[str]:
    """Names that MongoDB would take for a path or an operator."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            if not name or "." in name or name.startswith("$") or "\x00" in name:
                yield f"the name {name!r} in {path or 'the data'}"
            yield from _of_names(inner, f"{path}/{name}")
    elif isinstance(value, list):
        for inner in value:
            yield from _of_names(inner, path)


def _of_profiles(profiles: Mapping[str, Mapping[str, object]] | None) -> Iterator[str]:
    for kind, urls in (profiles or {}).items():
        yield from (f"the profile {url!r} of {kind}" for url in urls.values() if not _url(url))
