"""PURE Numbers and ranges as vendors write them: "51-250", "10K-50K", "$10M", "1,200", "10001+".

The vendors' vocabularies do not align (one says "51-250" where another says "51-200"), so ranges
are compared as intervals and never as labels.
"""

from __future__ import annotations

import math
import re
from typing import TypeAlias

Interval: TypeAlias = tuple[float, float]
"""Both ends belong to it; the upper one may be infinite."""

LONGEST = 64
"""Characters. Nothing longer is an amount, and it is not even looked at."""

_UNITS = {
    "": 1,
    **dict.fromkeys(("k", "thousand"), 10**3),
    **dict.fromkeys(("m", "mm", "mn", "mio", "million"), 10**6),
    **dict.fromkeys(("b", "bn", "billion"), 10**9),
    **dict.fromkeys(("t", "tn", "trillion"), 10**12),
}
_UNIT = "|".join(sorted((re.escape(unit) for unit in _UNITS), key=len, reverse=True))
_ONE = rf"(\d{{1,3}}(?:,\d{{3}})+|\d{{1,18}})(\.\d{{1,6}})?({_UNIT})"
_EXACT = re.compile(_ONE, re.ASCII)
_RANGE = re.compile(rf"{_ONE}(?:-|to|\.\.)+{_ONE}", re.ASCII)
_AT_LEAST = re.compile(rf"(?:(?:>=?|over|morethan|atleast){_ONE}\+?|{_ONE}(?:\+|ormore))", re.ASCII)
_AT_MOST = re.compile(rf"(?:<=?|under|lessthan|upto|below){_ONE}", re.ASCII)
_NOISE = re.compile(r"[\s$\u20ac\u00a3\u00a5]+|\b(?:us\$?|usd|eur|gbp)\b|employees|people|staff")
_DASHES = str.maketrans("\u2010\u2011\u2012\u2013\u2014\u2212", "------")


def interval(value: object) -> Interval | None:
    """From "51-250", 120 or "$10M+"; `None` for what names no amount."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    if isinstance(value, str):
        return _read(value)
    is_usable = abs(value) < 10**18 and value >= 0  # false for NaN as well
    return (float(value), float(value)) if is_usable else None


def exact(value: object) -> int | None:
    """The amount where exactly one whole one is named: 1200, "1,200", "$10M"; never of a range."""
    if isinstance(value, int) and not isinstance(value, bool):
        return int(value) if 0 <= value < 2**63 else None
    ends = interval(value)
    return int(ends[0]) if ends and ends[0] == ends[1] and ends[0].is_integer() else None


def is_range(value: object) -> bool:
    """True for what names more than one amount."""
    ends = interval(value)
    return ends is not None and ends[0] != ends[1]


def _read(text: str) -> Interval | None:
    if len(text) > LONGEST:
        return None
    bare = _NOISE.sub("", text.lower().translate(_DASHES))
    if found := _EXACT.fullmatch(bare):
        return _amount(found.groups()), _amount(found.groups())
    if found := _RANGE.fullmatch(bare):
        low, high = _amount(found.groups()[:3]), _amount(found.groups()[3:])
        return (low, high) if low <= high else None
    if found := _AT_LEAST.fullmatch(bare):
        said = found.groups()[:3] if found.group(1) else found.groups()[3:]
        return _amount(said), math.inf
    found = _AT_MOST.fullmatch(bare)
    return (0.0, _amount(found.groups())) if found else None


def _amount(parts: tuple[str | None, ...]) -> float:
    whole, fraction, unit = parts
    return float(
        round(float(f"{(whole or '').replace(',', '')}{fraction or ''}") * _UNITS[unit or ""], 6)
    )
