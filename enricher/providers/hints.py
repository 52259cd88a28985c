"""PURE How long a vendor asks us to wait, from its headers.

Vendors have five encodings for it: seconds, an HTTP date, epoch seconds, an ISO time, and nothing
at all; and each of them has been seen empty or garbled. Every function here answers seconds from
`now`, or `None` when the header says nothing usable; a moment that is past, or now, says nothing
about how long to wait. `now` is best the vendor's own clock (`answered_at`), so a skewed clock on
our side neither shortens nor stretches a delay.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache

LONGEST_DELAY_SECONDS = 86_400.0
"""No hint is believed beyond a day: a garbled one must not park a provider for a year."""

_REMAINING = "x-ratelimit-remaining"
_MINUTE, _MINUTE_SECONDS = "minute", 60.0
_WINDOW_SECONDS = {"second": 1.0, "minute": 60.0, "hour": 3600.0, "day": 86_400.0}
"""Without a reset: a window that has just been used up is over after its own length at the latest.
A month is not waited out: the refusal that names it says until when."""
_EPOCH_FROM = 1e9
"""From here on (2001 as epoch seconds, 31 years as a delay) a number is a moment, not a delay."""
_EPOCH_MILLISECONDS_FROM = 1e12
_BETWEEN_VALUES = re.compile(r",(?!\s*[0-9]{1,2}[ -][A-Za-z])", re.ASCII)
_CLEAN_NUMBER = re.compile(r"[0-9]{1,15}(\.[0-9]{1,9})?", re.ASCII)


def answered_at(headers: Mapping[str, str]) -> datetime | None:
    """The moment of the reply by the vendor's clock (its `Date` header)."""
    return _http_date(headers.get("date", ""))


def retry_after(headers: Mapping[str, str], now: datetime | None) -> float | None:
    """`Retry-After`: seconds, or an HTTP date (RFC 9110, 10.2.3); or, as some have it, a moment."""
    return _longest(_after_one(value, now) for value in _values(headers.get("retry-after", "")))


def reset_after(
    headers: Mapping[str, str], now: datetime | None, name: str = "x-ratelimit-reset"
) -> float | None:
    """When a rate window opens again: epoch or relative seconds, or an ISO time.

    Clearbit's own hosts send epoch seconds, an old issue of its client shows 3300: both are read.
    """
    return _longest(_after_one(value, now) for value in _values(headers.get(name, "")))


def _values(header: str) -> list[str]:
    """A header that came several times, or holds a list. The comma within a date parts nothing."""
    return [each.partition(";")[0].strip() for each in _BETWEEN_VALUES.split(header)]


def _longest(delays: Iterator[float | None]) -> float | None:
    """Whoever asks for less may be only the one in between; too long a wait is the lesser evil."""
    return max((delay for delay in delays if delay is not None), default=None)


def _after_one(value: str, now: datetime | None) -> float | None:
    if not _CLEAN_NUMBER.fullmatch(value):
        until_moment = seconds_until(value, now)
        return _until(_http_date(value), now) if until_moment is None else until_moment
    figure = float(value)
    if figure < _EPOCH_FROM:
        return _delay(figure)
    epoch = figure
    while epoch >= _EPOCH_MILLISECONDS_FROM:  # milliseconds, microseconds
        epoch /= 1000
    return None if now is None else _delay(epoch - now.timestamp())


def spent(
    headers: Mapping[str, str], now: datetime | None, left: Mapping[str, str] | None = None
) -> float | None:
    """How long nobody may call, because with this answer the last call of a window was used.

    It comes with answers of any kind, so that the refusal that would be next need not be provoked.
    Somebody else may use the key, and then the vendor's count is lower than ours. `left` are
    headers of the vendor's own naming -> window.
    """
    used_up = [window for window, count in _left(headers, left or {}) if count <= 0]
    if not used_up:
        return None
    until_reset = reset_after(headers, now)
    return until_reset or max(_WINDOW_SECONDS.get(window, _MINUTE_SECONDS) for window in used_up)


def calls_left(headers: Mapping[str, str], left: Mapping[str, str]) -> dict[str, float]:
    """Window -> calls left in it, for the windows that we have a name for; of several the fewest."""
    told = sorted(_left(headers, left), key=lambda each: -each[1])
    return {name: calls for name, calls in told if name in _WINDOW_SECONDS}


def number(value: str) -> float | None:
    """`None` for what is no plain number; of several the smallest."""
    return min(_number(value), default=None)


def _left(headers: Mapping[str, str], own_names: Mapping[str, str]) -> Iterator[tuple[str, float]]:
    """(window, calls left) as vendors write it; what says nothing (empty: no limit) is passed over.

    One number, an object of windows, or one header for each; or names of the vendor's own.
    """
    for name, value in headers.items():
        if name == _REMAINING:
            yield from _of_object(value) or ((_MINUTE, value_left) for value_left in _number(value))
        elif name.startswith(f"{_REMAINING}."):
            yield from ((name.partition(".")[2], left) for left in _number(value))
        elif name in own_names:
            yield from ((own_names[name], left) for left in _number(value))


def _of_object(value: str) -> list[tuple[str, float]]:
    """Of one object, or of several when the header came several times."""
    try:
        objects = [each for each in json.loads(f"[{value}]") if isinstance(each, dict)]
    except (ValueError, RecursionError):
        return []
    named = (each for windows in objects for each in windows.items())
    return [(name, left) for name, each in named for left in _number(str(each))]


def _number(value: str) -> list[float]:
    return [float(each) for each in _values(value) if _CLEAN_NUMBER.fullmatch(each)]


def seconds_until(
    moment: str | None, now: datetime | None, longest: float = LONGEST_DELAY_SECONDS
) -> float | None:
    """Seconds until an ISO 8601 date or time; without a zone it is UTC."""
    try:
        parsed = datetime.fromisoformat(moment or "")
    except ValueError:
        return None
    return _until(parsed, now, longest)


@lru_cache(64)  # all answers of one second have the same
def _http_date(value: str) -> datetime | None:
    try:
        return _in_utc(parsedate_to_datetime(value))
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def _in_utc(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _until(
    moment: datetime | None, now: datetime | None, longest: float = LONGEST_DELAY_SECONDS
) -> float | None:
    if moment is None or now is None:
        return None
    return _delay((_in_utc(moment) - _in_utc(now)).total_seconds(), longest)


def _delay(seconds: float, longest: float = LONGEST_DELAY_SECONDS) -> float | None:
    return min(seconds, longest) if seconds > 0 else None
