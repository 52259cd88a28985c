"""Files and sockets that this process may have open at a time.

Running out of them is our own trouble: no vendor failed, and no lead may pay for it with an attempt. Most
of them are calls to vendors, so these stop while there is still a reserve for what has to go on: the
database, the probes, the log.
"""

from __future__ import annotations

import ctypes
import errno
import math
import os
import resource
import sys
import time
from contextlib import suppress

from loguru import logger

from enricher.telemetry import metrics

MOST = 1_048_576
"""Some systems set no limit, and a process that closes every descriptor it might have would be busy for minutes."""
RESERVE, _RESERVE_SHARE = 128, 4
"""The reserve is a quarter of the limit when that is less than 128."""
_LINE_EVERY_SECONDS = 60.0
_SHORTAGES = frozenset({errno.EMFILE, errno.ENFILE})

_said_at = -math.inf


def raise_limit() -> None:
    """Raise the soft limit as far as allowed: it is often 1,024, for programs that use select()."""
    try:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        most = MOST if hard == resource.RLIM_INFINITY else min(hard, MOST)
        if soft != resource.RLIM_INFINITY and soft < most:
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    except (OSError, ValueError):
        return  # a sandbox forbids it: the current limit has to do


def are_short() -> bool:
    """True when only the reserve is left. The lowest free descriptor shows that, in two system calls."""
    limit = _limit()
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
    global _said_at  # noqa: PLW0603 - the limit is the process's
    metrics.DESCRIPTOR_SHORTAGES.inc()
    if time.monotonic() - _said_at >= _LINE_EVERY_SECONDS:
        _said_at = time.monotonic()
        logger.bind(limit=_limit()).warning("process.no_descriptors")


def _limit() -> int:
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


def forbid() -> None:
    """Forbid core dumps of this process; its children may still be dumpable, but write no core either."""
    with suppress(OSError, ValueError):  # a sandbox forbids it: the rest still holds
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
