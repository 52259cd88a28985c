"""PURE Forgiving readers of JSON that a vendor wrote: a value of the right type, or `None`.

A vendor's record is untrusted: parents may be null or a list, PDL sends `true` where a value would
cost money, numbers arrive as text, and "unknown" comes in a dozen spellings. Every reader takes
the record and a path into it, and never raises. A vendor's key never becomes a key of a lead (keys with
`.` or `$` would break the document).

    record = parse_object(reply.body)
    employees = whole_number(record, "metrics", "employees", least=1)
    kind = text(record, "error", "type")

Only what a decision depends on is cleaned here. What goes to a field is picked as the vendor wrote it, and `found`
makes the answer: each value is read once, as its field's type (`values/types.py`), whichever provider it is from.

    found(Kind.COMPANY, {**written(record, {"city": ("geo", "city")}), "employee_count": employees})

Besides null and any wrong type, these count as no value: the placeholders of `values/storable.py`, an
empty list, a number outside its range. A bool is never a number. Text counts as a number only when it is clean
ASCII digits ("6907"; not "1,200", "~50" or "51-250": those need a judgement, not a conversion).

This module also tells whether a record still has the shape that its vendor documents. When a vendor
renames a field, nothing fails: leads are just poorer from then on. So a provider lists, in `sends`, some
keys that its vendor's records always have (null where nothing is known) and the type of their values. A
record has drifted when most of these keys are missing, or when one holds another type, which the readers
then drop. A few missing keys prove nothing: vendors leave some out.

    sends = {"name": str, "metrics.employees": int, "tags": list}
"""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any, TypeAlias

from enricher.answer import Answer, Found, Kind, NotFound, Query
from enricher.identity.address import read
from enricher.identity.identify import stated_host
from enricher.values.storable import is_blank, line_of, many_lines
from enricher.values.types import LONGEST_ITEM, LONGEST_PROSE, LONGEST_TEXT, MOST_ITEMS, typed

Record: TypeAlias = Mapping[str, Any]
"""A parsed JSON object, of any content."""

EMPTY = "the record is empty"
SAY_NOTHING_ALONE = frozenset({"domain", "clearbit_id", "apollo_id", "pdl_id"})
"""What was asked about, and the vendors' own numbers for it."""
_INT64 = 2**63
_MOST_DIGITS = len(str(-_INT64))
_CLEAN_INTEGER = re.compile(r"-?[0-9]{1,19}", re.ASCII)
_CLEAN_NUMBER = re.compile(r"-?[0-9]{1,19}(\.[0-9]{1,19})?", re.ASCII)


@lru_cache(1)
def parse_object(body: bytes) -> Record | None:
    """Return the JSON object in `body`, or `None` for anything else that can arrive with a 200.

    NaN and Infinity read as null, and so do integers of over 20 digits (Python refuses to convert
    the longest, which would cost the whole record). A body that is not UTF-8 (or -16, -32) is no
    answer: a guessed charset would put wrong names on leads.

    Several callers read the same body in turn, so the last one is cached.
    """
    try:
        parsed = _DECODER.decode(body.decode(json.detect_encoding(body), "surrogatepass"))
    except (ValueError, RecursionError):
        return None
    return parsed if isinstance(parsed, dict) else None


def short_integer(digits: str) -> int | None:
    """Return the number; `None` for one of more than 20 digits."""
    return int(digits) if len(digits) <= _MOST_DIGITS else None


_DECODER = json.JSONDecoder(parse_int=short_integer, parse_constant=lambda _: None)
"""Made once: `json.loads` makes a decoder on each call with non-default options."""


def at(record: object, *path: str) -> Any:
    """Return the value at `path`; `None` as soon as a parent is missing or not an object."""
    value: Any = record
    try:
        for key in path:
            value = value[key]
    except (LookupError, TypeError):
        return None
    return value


def written(record: object, paths: Mapping[str, Sequence[str]]) -> dict[str, object]:
    """Return field -> the text at its path, as the vendor wrote it; what is no text is left out."""
    values = {name: at(record, *path) for name, path in paths.items()}
    return {name: value for name, value in values.items() if isinstance(value, str)}


def text(record: object, *path: str) -> str | None:
    """Read one line of text: a name, a handle, a place."""
    return line_of(at(record, *path), LONGEST_TEXT)


def prose(record: object, *path: str) -> str | None:
    """Read text for people, cut at `LONGEST_PROSE` characters."""
    value = at(record, *path)
    clean = many_lines(value[:LONGEST_PROSE]) if isinstance(value, str) else None
    return None if is_blank(clean) else clean


def texts(record: object, *path: str) -> list[str] | None:
    """Read a list of short texts, without duplicates, in the vendor's order; `None` if none is left."""
    value = at(record, *path)
    if not isinstance(value, list):
        return None
    lines = [line_of(item, LONGEST_ITEM) for item in value]
    return list(dict.fromkeys([each for each in lines if each]))[:MOST_ITEMS] or None


def choice(record: object, *path: str, among: Collection[str]) -> str | None:
    """Read a word of a closed vocabulary, in lower case. The vocabulary may include "unknown"."""
    value = at(record, *path)
    word = value.strip().lower() if isinstance(value, str) else None
    return word if word in among else None


def domain(record: object, *path: str) -> str | None:
    """Read the host of a web site without its "www", in A-labels."""
    host = stated_host(text(record, *path))
    return host if host and "." in host else None


def flag(record: object, *path: str) -> bool | None:
    """Read a JSON true or false; 0, 1 and "true" are not flags."""
    value = at(record, *path)
    return value if value is True or value is False else None


def whole_number(record: object, *path: str, least: int = 0, most: int = _INT64 - 1) -> int | None:
    """Read an integer from `least` to `most`. Pass `least=1` where vendors write 0 for "unknown"."""
    match at(record, *path):
        case bool():
            return None
        case int(value):
            whole = value
        case str(value) if _CLEAN_INTEGER.fullmatch(value.strip()):
            whole = int(value)
        case float(value) if value.is_integer():
            whole = int(value)
        case _:
            return None
    return whole if least <= whole <= most and -_INT64 <= whole < _INT64 else None


def number(
    record: object, *path: str, least: float = -math.inf, most: float = math.inf
) -> float | None:
    """Read a finite number from `least` to `most`."""
    match at(record, *path):
        case bool():
            return None
        case int(value) | float(value):
            pass
        case str(text) if _CLEAN_NUMBER.fullmatch(text.strip()):
            value = float(text)
        case _:
            return None
    is_finite = abs(value) <= sys.float_info.max  # math.isfinite raises for the longest integers
    return float(value) if is_finite and least <= value <= most else None


def found(
    kind: Kind,
    values: Mapping[str, object],
    employers: Iterable[str | None] = (),
    beside: AbstractSet[str] = SAY_NOTHING_ALONE,
) -> Answer:
    """Make the answer from what a record has for the fields of a kind, each read as its field's type; `NotFound` if
    there is nothing besides the fields of `beside`."""
    said = typed(kind.section, values)
    if said.keys() <= beside:
        return NotFound(EMPTY)
    answer = Found({kind.section: said}, employers=tuple(filter(None, employers)))
    answer.read[kind.section] = said
    return answer


Sends: TypeAlias = Mapping[str, type]
"""Path of keys, joined by dots -> str, int, bool, list or dict."""


@dataclass(frozen=True, slots=True)
class Drift:
    """How a record differs: paths as the provider names them, and nothing that the vendor wrote."""

    missing: tuple[str, ...] = ()
    wrong: tuple[str, ...] = ()


def within(parent: str, sends: Sends) -> Sends:
    """Return the same keys, one level deeper, under `parent`."""
    return {f"{parent}.{path}": kind for path, kind in sends.items()}


def drift(record: Record, sends: Sends) -> Drift | None:
    """Return how the record differs from what the vendor documents; `None` for little or no difference."""
    states = {path: _state(record, _keys(path), kind) for path, kind in sends.items()}
    missing = [path for path, state in states.items() if state == _MISSING]
    wrong = [path for path, state in states.items() if state == _WRONG]
    are_most_gone = 2 * len(missing) > len(sends)
    return Drift(tuple(missing), tuple(wrong)) if wrong or are_most_gone else None


_FINE, _MISSING, _WRONG = "fine", "missing", "wrong"


@cache  # as many entries as the providers list paths
def _keys(path: str) -> list[str]:
    return path.split(".")


def _state(record: object, path: list[str], kind: type) -> str:
    """Judge one path. A null or an empty object on the way is fine, whatever should stand below it. As for
    the readers, a number may be text; a flag is never a number."""
    value: Any = record
    try:
        for key in path:
            if value is None or value == {}:
                return _FINE
            value = value[key]
    except KeyError:
        return _MISSING
    except (LookupError, TypeError):
        return _WRONG
    is_right = number(value) is not None if kind is int else isinstance(value, kind)
    return _FINE if value is None or is_right else _WRONG


# What providers of persons share: who may be asked about, whether the record is theirs, and a
# person in Clearbit's shape.
#
# Only a personal address is asked about. A desk (info@) is nobody, so whatever a vendor said would be
# about somebody else. A free-mail address is a private person's: vendors rarely know one, and the law
# is strictest there, so a look-up is neither worth its money nor ours to make.
#
# An address is given to a successor, and a vendor takes one person for another: a record that names
# addresses, and not the one that was asked about, is somebody else's and is not written. Where the person
# works stands in the answer (`employers`); what follows from it is decided for all providers at once
# (`values/merge.py`). Company data is never taken from a person's record.
#
# Hunter has copied Clearbit's shape of a person: its own additions (phone, activeAt) are not read.

SOMEBODY_ELSE = "the record is about somebody else"

_TEXTS = {
    "first_name": ("name", "givenName"),
    "last_name": ("name", "familyName"),
    "job_title": ("employment", "title"),
    "role": ("employment", "role"),
    "seniority": ("employment", "seniority"),
    "location": ("location",),
    "timezone": ("timeZone",),
    "linkedin_handle": ("linkedin", "handle"),
    "twitter_handle": ("twitter", "handle"),
    "github_handle": ("github", "handle"),
    "bio": ("bio",),
    "avatar_url": ("avatar",),
}
SENDS: Sends = dict.fromkeys(
    (
        *("name.fullName", "name.givenName", "name.familyName", "email", "location", "timeZone"),
        *("employment.title", "employment.domain", "linkedin.handle"),
    ),
    str,
)
RECORD_KEYS = frozenset({"id", "name", "email"})
"""A person's record has at least one of these; anything without them is no record."""


def unfit_for_person(query: Query) -> str | None:
    """Return why nobody may be asked who this is; `None` when a vendor may be asked."""
    if not query.email:
        return "no e-mail address"
    if query.is_role:
        return "role address"
    if query.is_disposable:
        return "disposable address"
    return "free-mail address" if query.is_free_mail else None


def vetted(found: Found, query: Query, addresses: Iterable[str]) -> Answer:
    """Return the answer, or `NotFound` if the record names addresses and none is the one asked about. A record
    that names none is taken at the vendor's word: it was asked for that one address."""
    keys = _mailbox_keys(addresses)
    is_theirs = not keys or not keys.isdisjoint(
        _mailbox_keys([query.email_key or query.email or ""])
    )
    return found if is_theirs else NotFound(SOMEBODY_ELSE)


def of_record(record: Record) -> Answer:
    """Make the answer from a person's record in Clearbit's shape."""
    full = text(record, "name", "fullName") or _joined(record)
    values = {"full_name": full, **written(record, _TEXTS)}
    return found(Kind.PERSON, values, [text(record, "employment", "domain")])


def _joined(record: Record) -> str | None:
    """Join both names if both are known: half a name is not a full one."""
    first, last = text(record, "name", "givenName"), text(record, "name", "familyName")
    return f"{first} {last}" if first and last else None


def _mailbox_keys(addresses: Iterable[str]) -> set[str]:
    """Return the mailbox keys, which are the same for every spelling of a mailbox."""
    return {each.address.key for each in map(read, addresses) if each.address}
