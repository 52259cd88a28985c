"""What a loop does while MongoDB is away: wait with jitter, log it rarely, and go on afterwards.

A loop never ends because the database is away, and floods neither the log nor the database: one line when
the outage begins, one for every ten seconds that it lasts, one when it is over.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random
from typing import TypeVar

from loguru import logger
from pymongo.errors import (
    AutoReconnect,
    BulkWriteError,
    DocumentTooLarge,
    OperationFailure,
    PyMongoError,
    WriteError,
)

from enricher.errors import DatabaseUnreachable, NoPrimary
from enricher.mongo import DatabaseTrouble
from enricher.process import signals
from enricher.telemetry import metrics

T = TypeVar("T")

# When something is due next. Every delay has jitter, so that what began together spreads out.

_RETRY_JITTER = 0.05
_HOLD_JITTER = 0.2
_MOST_HOLD_JITTER = timedelta(hours=1)
_REFRESH_JITTER = 0.1
_SHORTEST_HOLD = timedelta(seconds=1)
_LONGEST_HOLD_SECONDS = 31 * 86_400.0
"""Quotas are renewed every month at the latest."""
_LONGEST_PAUSE = 10.0
_LOST_RACE_PAUSE = 0.02
_RACES_AT_FULL_SPEED = 3


def retry_delay(attempt: int, base: timedelta, random: Random) -> timedelta:
    """Return the delay after attempt 1, 2, 3: `base`, twice, four times; up to 5 % later, never sooner."""
    return base * 2.0 ** min(attempt - 1, 20) * (1 + _RETRY_JITTER * random.random())


def hold_delay(seconds: float, random: Random) -> timedelta:
    """Return up to a fifth more than the hold, at most an hour more: held leads come back spread out."""
    delay = max(_SHORTEST_HOLD, vendors_delay(seconds))
    return delay + min(delay * _HOLD_JITTER, _MOST_HOLD_JITTER) * random.random()


def vendors_delay(seconds: float) -> timedelta:
    """Return the delay a provider asks for, within what a date can hold and a lead should wait."""
    return timedelta(seconds=min(max(0.0, seconds), _LONGEST_HOLD_SECONDS))


def refresh_delay(days: float, random: Random) -> timedelta | None:
    """Return `days` plus or minus a tenth, so that one day's import is not all refreshed on one day."""
    if not days:
        return None
    return timedelta(days=days * (1 + _REFRESH_JITTER * (2 * random.random() - 1)))


def outage_pause(failures: int, random: Random) -> float:
    """Return the seconds to wait after `failures` failures in a row: doubling from 0.1 to 10, half of it jitter."""
    longest = min(_LONGEST_PAUSE, 0.1 * 2.0 ** min(failures - 1, 20))
    return longest * (0.5 + 0.5 * random.random())


def lost_race_pause(losses: int, longest: float, random: Random) -> float:
    """Return the seconds to wait after `losses` claims in a row that won nothing.

    A few are contention, and a moment is enough; many mean that the leads cannot be claimed.
    """
    doublings = min(max(0, losses - _RACES_AT_FULL_SPEED), 20)
    return min(longest, _LOST_RACE_PAUSE * 2.0**doublings) * random.random()


_LINE_EVERY_SECONDS = 10.0


async def pause(stop: asyncio.Event, seconds: float) -> None:
    """Sleep, but wake at once when `stop` is set; a cancellation that the driver swallowed ends it too."""
    signals.end_if_cancelled()
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return


@dataclass(slots=True)
class Outage:
    """One loop's view of the database. `is_over` feeds the readiness check.

    Where several operations share one, `who` tells them apart: the outage is over once each operation
    that failed has succeeded or been given up. One operation's success proves nothing about the others.
    """

    loop: str
    random: Random = field(default_factory=Random)
    failures: int = 0
    _began: float = 0.0
    _said: float = 0.0
    _is_told: bool = False
    """The log has its beginning, and not yet its end."""
    _failing: Counter[Hashable] = field(default_factory=Counter)
    """How often each operation failed in a row: its pause grows by its own failures."""

    @property
    def is_over(self) -> bool:
        """True while the last round trip succeeded."""
        return self.failures == 0

    def failed(self, error: Exception, who: Hashable = None) -> float:
        """Note one more failure; return the seconds to wait before the next try.

        Raises the cancellation that the driver may have answered with this failure: a loop ends by it.
        """
        signals.end_if_cancelled()
        now = time.monotonic()
        self._failing[who] += 1
        self.failures += 1
        metrics.DATABASE_ERRORS.labels(self.loop).inc()
        if self.failures == 1:
            self._began = now
        is_news = self.failures == 1 and not self._is_told
        if is_news or now - self._said >= _LINE_EVERY_SECONDS:
            self._said, self._is_told = now, True
            fields = {"loop": self.loop, "failures": self.failures, "error": describe(error)}
            logger.bind(**fields).warning("database.unavailable")
        return outage_pause(self._failing[who], self.random)

    def forget(self, who: Hashable = None) -> None:
        """Drop an operation that no longer needs the database, so nothing waits for it."""
        self._failing.pop(who, None)
        if not self._failing:
            self.failures = 0

    def succeeded(self, who: Hashable = None) -> None:
        """Note that the database answered."""
        if not self.failures and not self._is_told:
            return  # nearly always
        self._failing.pop(who, None)
        if self._failing:
            return
        if self._is_told:
            seconds = round(time.monotonic() - self._began, 1)
            logger.bind(loop=self.loop, failures=self.failures, seconds=seconds).info(
                "database.available"
            )
        self.failures, self._is_told = 0, False


def describe(error: Exception) -> str:
    """Return type and code of a driver's error: its text may quote a document."""
    code = getattr(error, "code", None)
    return type(error).__name__ + (f" {code}" if code else "")


# Whose fault it is that a write failed: the document's, or the state the database is in.
#
# A document that the server will never accept must not be tried for ever, and a result that was paid
# for must not be given up because a primary stepped down in the middle of a batch. Both arrive as
# errors of single updates within a `BulkWriteError`. So the codes that speak of the server, the
# network, the time allowed or our privileges are listed here; every other one is about the document.

UNAUTHORIZED = 13
_PRIVILEGES = frozenset({11, UNAUTHORIZED, 18, 391, 8000})
_STEP_DOWN = frozenset({91, 189, 10107, 11600, 11602, 13435, 13436})
"""A primary that steps down, or a server that shuts down."""
_STATE_OF_THE_DATABASE = frozenset(
    {
        *(6, 7, 89, 279, 384, 9001),  # the network
        *(*_STEP_DOWN, 216, 11601),  # elections, shutdown
        *(24, 46, 50, 112, 117, 175, 202, 217, 262, 462, 16500),  # time limits, conflicts, overload
        *(63, 64, 79, 100, 133, 134, 150, 13388, 14031),  # shards, write concern, a full disk
        *_PRIVILEGES,
    }
)
_UNREADABLE = frozenset({2, 9, 14, 15, 16, 22, 10334})
"""With these the server rejects a whole command because it cannot read one document in it."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """One update that the server will never carry out."""

    position: int
    code: int


def refusals(error: BulkWriteError) -> list[Refusal]:
    """Return the updates that were refused. Raises `error` when the database is to blame for any of them."""
    found = [Refusal(entry["index"], entry["code"]) for entry in error.details["writeErrors"]]
    is_outage = any(refusal.code in _STATE_OF_THE_DATABASE for refusal in found)
    if is_outage or not found or error.details["writeConcernErrors"]:
        raise error
    return found


def is_refusal(error: OperationFailure) -> bool:
    """True when a single write failed because of its document."""
    return error.code is not None and error.code not in _STATE_OF_THE_DATABASE


def is_unreadable(error: OperationFailure) -> bool:
    """True when the server could not read one of the documents in a command."""
    return error.code in _UNREADABLE


def is_denied(error: Exception) -> bool:
    """True when the user may not do this (any more): nothing was written."""
    return isinstance(error, OperationFailure) and error.code in _PRIVILEGES


def may_do_one_by_one(error: AutoReconnect | DocumentTooLarge | WriteError) -> bool:
    """True unless the database is at fault, or did not answer in time: another try would wait as long again."""
    match error:
        case AutoReconnect():
            return not error.timeout
        case WriteError():
            return is_refusal(error)
    return True


def is_step_down(error: Exception) -> bool:
    """True when the server steps down or shuts down. It may say so of the write concern alone, which the driver
    takes for an answer and not for a reason to try again."""
    return isinstance(error, OperationFailure) and error.code in _STEP_DOWN


def is_fail_over(error: Exception) -> bool:
    """True for what a command meets while the primary changes: a broken connection, a server that gives up its
    office, no primary, or no answer in time."""
    if isinstance(error, AutoReconnect | NoPrimary) or is_step_down(error):
        return True
    return isinstance(error, PyMongoError) and error.timeout


# A start while the primary changes: it waits for the next one, though not for long.
#
# All other trouble ends a start at once, in one line: only a running daemon waits for a database that is away.

_FAIL_OVER_SECONDS = 30.0
"""With MongoDB's own settings a new primary is there after 12 s."""


@dataclass(slots=True)
class FailOver:
    """Patience with the fail-over that a start meets."""

    seconds: float = _FAIL_OVER_SECONDS
    outage: Outage = field(default_factory=lambda: Outage("start"))

    async def outlast(self, doing: str, step: Callable[[], Awaitable[T]]) -> T:
        """Take a step that may be repeated, again and again while a fail-over lasts. Raises
        DatabaseUnreachable."""
        ends: float | None = None
        while True:
            try:
                done = await step()
            except (NoPrimary, *DatabaseTrouble) as error:
                signals.end_if_cancelled()
                ends = time.monotonic() + self.seconds if ends is None else ends
                if not is_fail_over(error) or time.monotonic() >= ends:
                    raise _ending(error, doing) from error
                await asyncio.sleep(self.outage.failed(error))
            else:
                self.outage.succeeded()
                return done


def _ending(error: Exception, doing: str) -> DatabaseUnreachable:
    if isinstance(error, NoPrimary):
        return error
    return DatabaseUnreachable(f"MongoDB failed while {doing}: {describe(error)}")


# Documents of ours that are not as we wrote them: an operator's hand, a restore, another version.
#
# No document may end a daemon. What cannot be read is the database's trouble, which every loop waits out
# and tells of, until somebody puts the document right.

_NOT_AS_WRITTEN = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError)


class UnreadableDocument(PyMongoError):
    """A document lacks what we always write, or has it in another type."""


@contextmanager
def reading(collection: str) -> Iterator[None]:
    """Wrap code that only takes a document apart. Raises UnreadableDocument; its text names no value."""
    try:
        yield
    except _NOT_AS_WRITTEN as error:
        raise UnreadableDocument(f"a document in {collection} cannot be read") from error


def whole_number(stored: object) -> int:
    """Return the count, or 0 for anything else."""
    return int(stored) if isinstance(stored, int | float) and math.isfinite(stored) else 0


def date_or_none(stored: object) -> datetime | None:
    """Return the value if it is a date within Python's range, else `None`."""
    return stored if isinstance(stored, datetime) else None
