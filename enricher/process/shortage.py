"""What this process itself lacks at a moment: time, memory, files and sockets; and no core dumps of it.

That is our own trouble: no vendor failed, and no lead may pay for it with an attempt.

**Time.** A process that is stopped, swapped out, or busy with one long computation reads no answers meanwhile.
When it resumes, every time limit has run out at once, and what the vendors sent is unread in the sockets. So
time that others are given is measured by `awake()`, the seconds in which the loop was running. It stands
still while the loop does; without `watched()` it is the monotonic clock.

    lateness   how much later than due a timer of ours fired; the sum is how long the loop stood still

Leases do not use this: other processes count them by a clock that keeps running.

**Files and sockets.** Most of them are calls to vendors, so these stop while there is still a reserve for
what has to go on: the database, the probes, the log.

**Core dumps.** What this process knows is not to be left on a disk: none is written.
"""

from __future__ import annotations

import asyncio
import ctypes
import errno
import math
import os
import resource
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress

from loguru import logger

from enricher.telemetry import metrics

_TICK_SECONDS = 0.05
_WORTH_COUNTING_SECONDS = 0.5
"""A busy loop may take anything less to come round."""
_LINE_EVERY_SECONDS = 60.0
_OURS_SHARE = 0.2
"""Share of a call's time limit: a call that a stall cost this much did not fail by itself."""


class _Pulse:
    """A timer that fires continually, and measures how late it was."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._late = 0.0
        self._due = self._loop.time() + _TICK_SECONDS
        self._timer = self._loop.call_at(self._due, self._tick)

    @property
    def late(self) -> float:
        """Seconds late since the start, including a stall that still lasts."""
        return self._late + max(0.0, self._loop.time() - self._due)

    def _tick(self) -> None:
        now = self._loop.time()
        stalled = max(0.0, now - self._due)
        self._late += stalled
        self._due = now + _TICK_SECONDS
        self._timer = self._loop.call_at(self._due, self._tick)
        if stalled >= _WORTH_COUNTING_SECONDS:
            _note_stall(stalled)

    def end(self) -> float:
        self._timer.cancel()
        return self.late


_pulse: _Pulse | None = None
_late_before = 0.0
"""Seconds late by pulses that have ended."""
_said_at = {"process.stalled": -math.inf, "process.no_memory": -math.inf}


@contextmanager
def watched() -> Iterator[None]:
    """Measure the lateness of the running loop, the only one of this process."""
    global _pulse, _late_before  # noqa: PLW0603 - the time is the process's
    _pulse = pulse = _Pulse()
    try:
        yield
    finally:
        _late_before += pulse.end()
        _pulse = None


def stood_still() -> float:
    """Return the total seconds for which the loop stood still."""
    return _late_before + (_pulse.late if _pulse else 0.0)


def awake() -> float:
    """Return monotonic seconds without those in which the loop stood still."""
    return time.monotonic() - _late_before - (_pulse.late if _pulse else 0.0)


class Clock:
    """The clock of one time limit."""

    def __init__(self) -> None:
        self._stood = 0.0
        self._stands_since: float | None = None

    @property
    def stood(self) -> float:
        """Awake seconds that do not count towards the limit."""
        return self._stood + (0.0 if self._stands_since is None else awake() - self._stands_since)

    @contextmanager
    def standing_still(self) -> Iterator[None]:
        """Stop the clock while we wait for something of our own."""
        self._stands_since = awake()
        try:
            yield
        finally:
            self._stood, self._stands_since = self.stood, None


@asynccontextmanager
async def timeout(seconds: float) -> AsyncIterator[Clock]:
    """Limit what others do, like `asyncio.timeout` but in awake time. An infinite limit costs no timer."""
    clock = Clock()
    if seconds == math.inf:
        yield clock
        return
    loop, ends = asyncio.get_running_loop(), awake() + seconds
    async with asyncio.timeout(None) as limit:
        timers: list[asyncio.TimerHandle] = []

        def look() -> None:
            left = ends + clock.stood - awake()
            if left > 0:
                timers[:] = [loop.call_later(max(left, 0.001), look)]
            else:
                limit.reschedule(loop.time())

        timers.append(loop.call_later(max(0.0, seconds), look))
        try:
            yield clock
        finally:
            timers[0].cancel()


def is_to_blame(stood_before: float, seconds: float) -> bool:
    """True when a stall took so much of the `seconds` allowed that the failure is ours."""
    return stood_still() - stood_before >= _OURS_SHARE * seconds


def note_no_memory() -> None:
    """Count the shortage, and log it once a minute at most."""
    metrics.MEMORY_SHORTAGES.inc()
    if _is_worth_a_line("process.no_memory"):
        logger.warning("process.no_memory")


def _note_stall(seconds: float) -> None:
    metrics.STALLED_SECONDS.inc(seconds)
    if _is_worth_a_line("process.stalled"):
        logger.bind(seconds=round(seconds, 3)).warning("process.stalled")


def _is_worth_a_line(event: str) -> bool:
    now = time.monotonic()
    if now - _said_at[event] < _LINE_EVERY_SECONDS:
        return False
    _said_at[event] = now
    return True


# Files and sockets that this process may have open at a time.

MOST = 1_048_576
"""Some systems set no limit, and a process that closes every descriptor it might have would be busy for minutes."""
RESERVE, _RESERVE_SHARE = 128, 4
"""The reserve is a quarter of the limit when that is less than 128."""
_SHORTAGES = frozenset({errno.EMFILE, errno.ENFILE})

_descriptors_said_at = -math.inf


def raise_descriptor_limit() -> None:
    """Raise the soft limit as far as allowed: it is often 1,024, for programs that use select()."""
    try:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        most = MOST if hard == resource.RLIM_INFINITY else min(hard, MOST)
        if soft != resource.RLIM_INFINITY and soft < most:
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    except (OSError, ValueError):
        return  # a sandbox forbids it: the current limit has to do


def are_descriptors_short() -> bool:
    """True when only the reserve is left. The lowest free descriptor shows that, in two system calls."""
    limit = _descriptor_limit()
    try:
        lowest = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        return error.errno in _SHORTAGES
    os.close(lowest)
    return lowest >= limit - min(RESERVE, limit // _RESERVE_SHARE)


def is_shortage(error: BaseException) -> bool:
    """True for an error caused by this process's limit, or the whole machine's."""
    return getattr(error, "errno", None) in _SHORTAGES


def note_shortage() -> None:
    """Count the shortage, and log it once a minute at most."""
    global _descriptors_said_at  # noqa: PLW0603 - the limit is the process's
    metrics.DESCRIPTOR_SHORTAGES.inc()
    if time.monotonic() - _descriptors_said_at >= _LINE_EVERY_SECONDS:
        _descriptors_said_at = time.monotonic()
        logger.bind(limit=_descriptor_limit()).warning("process.no_descriptors")


def _descriptor_limit() -> int:
    try:
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    except OSError:
        return MOST
    return MOST if soft == resource.RLIM_INFINITY else soft


# No core dump of this process: vendors' keys, the database's password and addresses are in its memory.
#
# A crash, or systemd's watchdog, would leave one where cores are allowed; and where `core_pattern` is a
# pipe, the limit alone has no effect. So the process is not dumpable at all (Linux). Then only root can
# attach a debugger to it or read its memory; for `py-spy` that means `sudo py-spy`.

_PR_SET_DUMPABLE = 4


def forbid_core_dumps() -> None:
    """Forbid core dumps of this process; its children may still be dumpable, but write no core either."""
    with suppress(OSError, ValueError):  # a sandbox forbids it: the rest still holds
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
