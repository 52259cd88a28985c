"""When this process began. Loaded before all else, because the rest takes most of a start."""

from __future__ import annotations

import os
import time

_LONGEST_SECONDS = 1.0
"""Between the process and the first of our code, on a busy machine. A script that ends in `exec enricher` began
long before: what it did until then, such as an import of old leads, is not ours."""
_TICKS_AT = 19
"""The start of the process among the fields behind its name, in proc_pid_stat(5)."""


def _began() -> float:
    """By `time.monotonic()`. Where the kernel does not tell, it is now."""
    now = time.monotonic()
    try:
        with open("/proc/self/stat", "rb") as file:  # noqa: PTH123 - before `pathlib` is loaded
            ticks = int(file.read().rpartition(b")")[2].split()[_TICKS_AT]) + 1
        age = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, AttributeError, ValueError, IndexError):
        return now
    return now - min(max(age, 0.0), _LONGEST_SECONDS)


BEGAN = _began()
