"""No image of this process on a disk: vendors' keys, the database's password and addresses are in its memory.

A crash, and systemd's watchdog, would leave one where cores are allowed; and where `core_pattern` is a
pipe, the limit alone does not count. So the process is not dumpable at all (Linux). Then only root can
attach a debugger to it or read its memory; with `py-spy` that is `sudo py-spy`.
"""

from __future__ import annotations

import ctypes
import resource
import sys
from contextlib import suppress

_PR_SET_DUMPABLE = 4


def forbid() -> None:
    """Of this process; what it starts may still be dumpable, but writes no core either."""
    with suppress(OSError, ValueError):  # a sandbox forbids it: the rest still holds
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
