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


def _began() -> float:
    """Return the start by `time.monotonic()`; now, if the kernel does not tell."""
    now = time.monotonic()
    try:
        with open("/proc/self/stat", "rb") as file:  # noqa: PTH123 - before `pathlib` is loaded
            ticks = int(file.read().rpartition(b")")[2].split()[_TICKS_AT]) + 1
        age = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, AttributeError, ValueError, IndexError):
        return now
    return now - min(max(age, 0.0), _LONGEST_SECONDS)


BEGAN = _began()
