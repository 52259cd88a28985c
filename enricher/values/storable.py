"""PURE Which values say something, and how MongoDB can hold them.

Everything that a provider said passes through here before it reaches a lead. One string that cannot be
encoded, one key with a dot or one object of a type that BSON does not know would make the whole write
fail, and lose a result that was paid for.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any

# Which characters of a vendor's text are to be read, and which only manipulate its display.
#
# Control characters move a terminal's cursor (U+009B begins a sequence as ESC [ does), Unicode line
# separators forge lines, overrides and isolates reverse what follows, and invisible characters make
# identical-looking names differ. None of them is part of a name. Joiners are, in Persian, in Indic
# scripts and in emoji, but not between ASCII letters.

_BREAKS = "\n\x0b\x0c\r\x85\u2028\u2029"
_CONTROLS = "\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff"
_DIRECTIONS = "\u202a-\u202e\u2066-\u2069"
"""Embeddings, overrides and isolates. The marks (U+200E, U+200F, U+061C) reverse nothing."""
_INVISIBLE = "\u00ad\u180e\u200b\u2060-\u2065\u206a-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e007f"
_JOINER = "[\u200c\u200d]"
_SPOKEN = r"[^\x00-\x7f\s]"

_UNREADABLE = re.compile(f"[{_CONTROLS}{_DIRECTIONS}{_INVISIBLE}]")
_STRAY_JOINER = re.compile(f"(?<!{_SPOKEN}){_JOINER}+|{_JOINER}+(?!{_SPOKEN}|{_JOINER})")
_LINE_BREAK = re.compile(f"\r\n|[{_BREAKS}]")
_GAP = re.compile(f"[ \t]*[\t{_BREAKS}][ \t{_BREAKS}]*")


def one_line(text: str) -> str:
    """Clean a name, title or place: line breaks become spaces."""
    if text.isprintable():  # nearly every text is as it should be
        return text.strip()
    return _GAP.sub(" ", readable(text)).strip()


def many_lines(text: str) -> str:
    """Clean a description: any line break becomes a newline; tabs stay."""
    return _LINE_BREAK.sub("\n", readable(text)).strip()


def readable(text: str) -> str:
    """Remove unreadable characters, none of which is printable; breaks and spaces stay as they are."""
    if text.isprintable():
        return text
    return _STRAY_JOINER.sub("", _UNREADABLE.sub("", text))


PLACEHOLDERS = frozenset(
    {"", "-", "--", "?", "\u2013", "\u2014", "none", "null", "nil", "undefined", "unknown"}
) | {"n/a", "n.a.", "#n/a", "not available", "not applicable", "not provided"}
"""What vendors write for "we do not know", in any case. Not "na": that is Namibia."""

_TOO_LONG = max(map(len, PLACEHOLDERS)) + 1
"""So many characters are no placeholder, and in lower case they are no fewer."""

MAX_DEPTH = 20
"""Nesting of a stored value; MongoDB refuses a document beyond 100 levels."""
MAX_INTEGER = 2**63
"""BSON has no integers from here on: such a number is stored as a float."""
MAX_WEIGHT = 16_384
"""Approximate limit, in bytes, for one value of a field without a type of its own."""
LONGEST_NAME = 128

_LARGEST_FLOAT = 10**300
_MANY = (list, tuple, set, frozenset)
_MAPPINGS = (dict, Mapping)
"""The usual type first: checking for a `Mapping` takes ten times as long."""
_SIZED = (*_MAPPINGS, *_MANY)


def is_blank(value: object) -> bool:
    """Tell whether the value says nothing in any field."""
    match value:
        case str():
            return value.strip()[:_TOO_LONG].casefold() in PLACEHOLDERS
        case float():
            return not math.isfinite(value)
        case int():
            return False
    return value is None or (not value and isinstance(value, _SIZED))


def line_of(value: object, longest: int = sys.maxsize) -> str | None:
    """Return the text on one clean line; `None` for what is no text, says nothing, or is longer than `longest`
    characters when clean."""
    if not isinstance(value, str):
        return None
    line = one_line(value)
    says_nothing = line[:_TOO_LONG].casefold() in PLACEHOLDERS
    return None if says_nothing or len(line) > longest else line


def mapping(value: object) -> dict[str, Any]:
    """Return what is stored there if it is a mapping, else {}: others may have written a string or a list."""
    return dict(value) if value and isinstance(value, _MAPPINGS) else {}


def within(document: Mapping[str, Any], path: str) -> Any:
    """Return what stands at this dotted path; `None` for nothing."""
    *parents, last = path.split(".")
    for parent in parents:
        document = mapping(document.get(parent))
    return document.get(last)


def safe_name(name: object) -> str:
    """Make a key safe: a dot or leading dollar would be a path or an operator; NUL ends a name in BSON."""
    text = str(name)[:LONGEST_NAME]
    return _made_safe(text)


@lru_cache(1024)
def _made_safe(text: str) -> str:
    return re.sub(r"^\$", "_", one_line(plain(text)).replace(".", "_"))


def plain(text: str) -> str:
    """Replace what UTF-8 cannot hold: JSON may have lone surrogates."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def storable(value: object) -> Any:
    """Return the value as BSON can hold it; `None` if it cannot, or if the value is too large to keep."""
    return None if weight(value) > MAX_WEIGHT else _storable(value, MAX_DEPTH)


def weight(value: object) -> int:
    """Return the approximate size in bytes. Stops soon after `MAX_WEIGHT`, so no size and no cycle hurts."""
    total, left = 0, [value]
    while left and total <= MAX_WEIGHT:
        one = left.pop()
        total += 8
        if isinstance(one, str | bytes):
            total += len(one)
        elif isinstance(one, (Mapping, *_MANY)) and len(one) <= MAX_WEIGHT:
            left.extend(_inside(one))
        elif isinstance(one, (Mapping, *_MANY)):
            total += len(one)
    return total


def _inside(value: Iterable[Any]) -> Iterable[Any]:
    return [*value, *value.values()] if isinstance(value, Mapping) else value


def _storable(value: object, depth: int) -> Any:
    match value:
        case None | bool() | bytes() | datetime():
            return value
        case str():
            return readable(plain(value))
        case float():
            return float(value) if math.isfinite(value) else None
        case int():
            return _number(value)
        case Mapping():
            inner = {safe_name(key): item for key, item in value.items()} if depth else {}
            return {key: _storable(item, depth - 1) for key, item in inner.items() if key}
        case list() | tuple():
            return [_storable(item, depth - 1) for item in value] if depth else []
        case set() | frozenset():  # sets are unordered, and merging twice must change nothing
            return _storable(sorted(value, key=repr), depth)
    return None


def _number(value: int) -> int | float | None:
    if abs(value) < MAX_INTEGER:
        return int(value)
    return float(value) if abs(value) < _LARGEST_FLOAT else None
