"""PURE How long a vendor asks us to wait, from its headers.

Vendors have five encodings for it: seconds, an HTTP date, epoch seconds, an ISO time, and nothing
at all; and each of them has been seen empty or garbled. Every function here answers seconds from
`now`, or `None` when the header says nothing usable; a moment that is past, or now, says nothing
about how long to wait. `now` is best the vendor's own clock (`answered_at`), so a skewed clock on
our side neither shortens nor stretches a delay.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

LONGEST_DELAY_SECONDS = 86_400.0
"""No hint is believed beyond a day: a garbled one must not park a provider for a year."""

_EPOCH_FROM = 1e9
"""From here on (2001 as epoch seconds, 31 years as a delay) a number is a moment, not a delay."""
_EPOCH_MILLISECONDS_FROM = 1e12
_CLEAN_NUMBER = re.compile(r"[0-9]{1,15}(\.[0-9]{1,9})?", re.ASCII)


def answered_at(headers: Mapping[str, str]) -> datetime | None:
    """The moment of the reply by the vendor's clock (its `Date` header)."""
    return _http_date(headers.get("date", ""))


def retry_after(headers: Mapping[str, str], now: datetime | None) -> float | None:
    """`Retry-After`: seconds, or an HTTP date (RFC 9110, 10.2.3)."""
    value = headers.get("retry-after", "").strip()
    if _CLEAN_NUMBER.fullmatch(value):
        return _delay(float(value))
    return _until(_http_date(value), now)


def reset_after(
    headers: Mapping[str, str], now: datetime | None, name: str = "x-ratelimit-reset"
) -> float | None:
    """When a rate window opens again: epoch or relative seconds, or an ISO time.

    Clearbit's own hosts send epoch seconds, an old issue of its client shows 3300: both are read.
    """
    value = headers.get(name, "").strip()
    if not _CLEAN_NUMBER.fullmatch(value):
        return seconds_until(value, now)
    figure = float(value)
    if figure < _EPOCH_FROM:
        return _delay(figure)
    epoch = figure / 1000 if figure >= _EPOCH_MILLISECONDS_FROM else figure
    return None if now is None else _delay(epoch - now.timestamp())


def seconds_until(
    moment: str | None, now: datetime | None, longest: float = LONGEST_DELAY_SECONDS
) -> float | None:
    """Seconds until an ISO 8601 date or time; without a zone it is UTC."""
    try:
        parsed = datetime.fromisoformat(moment or "")
    except ValueError:
        return None
    return _until(parsed, now, longest)


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
