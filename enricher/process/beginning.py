"""When this process began. Loaded before everything else, because other imports take most of a start."""

from __future__ import annotations

import os
import time

_LONGEST_SECONDS = 1.0
"""From the process's start to our first code, on a busy machine.

The process of a script that ends in `exec enricher` is much older: what it did until then, such as an
import of old leads, is not ours.
"""
_TICKS_AT = 19
"""Index of the start time among the fields after the process name, in proc_pid_stat(5)."""
_WAITED_AT = 1
"""Index of the nanoseconds spent waiting for a processor, in schedstat."""
_LOOKS = 3
"""Of which the least disturbed counts."""


def _began() -> float:
    """Return the start by `time.monotonic()`, or a little later; now, if the kernel does not tell."""
    return min(_latest_start() for _ in range(_LOOKS))


def _latest_start() -> float:
    """The clock is read last: a pause before that makes the start later, never earlier than it was."""
    try:
        age = max(_age_in_ticks(), time.process_time() + _waited())
    except (OSError, AttributeError, ValueError, IndexError):
        age = 0.0
    return time.monotonic() - min(max(age, 0.0), _LONGEST_SECONDS)


def _age_in_ticks() -> float:
    """Return the least age by a clock of 10 ms, in which hundreds of leads may be inserted."""
    with open("/proc/self/stat", "rb") as file:  # noqa: PTH123 - before `pathlib` is loaded
        ticks = int(file.read().rpartition(b")")[2].split()[_TICKS_AT]) + 1
    return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")


def _waited() -> float:
    """Return how long this process could have run and did not; with its CPU time, all of its age but sleep."""
    try:
        with open("/proc/self/schedstat", "rb") as file:  # noqa: PTH123 - as above
            return int(file.read().split()[_WAITED_AT]) / 1e9
    except (OSError, ValueError, IndexError):  # a kernel without these counters
        return 0.0


BEGAN = _began()
