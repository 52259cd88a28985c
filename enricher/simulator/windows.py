"""Strict windows: a vendor's limit kept as a log of arrivals, judged over every sliding window.

Real vendors mostly count in fixed windows and forgive a burst across their edge. The simulator does
not: a client that passes here passes everywhere. A call is judged by when it arrived, before any
simulated latency, so a slow answer can hide nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple


class Window(NamedTuple):
    """At most `calls` arrivals in any span of `seconds` (half-open: the far edge is out again)."""

    calls: int
    seconds: float


_APOLLO_FREE = (Window(50, 60.0), Window(200, 3600.0), Window(600, 86_400.0))
VENDOR_WINDOWS: Mapping[str, tuple[Window, ...]] = {
    # One limit for each API host of the vendor.
    "clearbit/company": (Window(600, 60.0),),
    "clearbit/person": (Window(600, 60.0),),
    "hunter/email-verifier": (Window(10, 1.0), Window(300, 60.0)),
    "hunter/enrichment": (Window(15, 1.0), Window(500, 60.0)),
    # By plan: a key that begins with "free" is on the free one.
    "pdl/company/enrich": (Window(1_000, 60.0),),
    "pdl/company/enrich/free": (Window(10, 60.0),),
    "pdl/person/enrich": (Window(1_000, 60.0),),
    "pdl/person/enrich/free": (Window(100, 60.0),),
    "apollo/organizations/enrich": (Window(1_000, 60.0),),
    "apollo/organizations/enrich/free": _APOLLO_FREE,
    "apollo/people/match": (Window(1_000, 60.0),),
    "apollo/people/match/free": _APOLLO_FREE,
}
"""What the vendors document, by scope: routes of one scope share its windows."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a call was let in, and what the vendor may tell about it in headers."""

    admitted: bool
    limit: int
    remaining: int
    reset_in: float
    """Seconds until the tightest window has room for one more call than it has now."""
    left: tuple[tuple[Window, int], ...] = ()
    """Every window, and the calls left in it."""


class SlidingLog:
    """All windows of one scope. Refused calls take no room, or a hammering client never recovers."""

    def __init__(self, windows: Iterable[Sequence[float]]) -> None:
        self.windows = tuple(Window(int(calls), float(seconds)) for calls, seconds in windows)
        self._logs: tuple[deque[float], ...] = tuple(deque() for _ in self.windows)

    def judge(self, now: float) -> Verdict | None:
        """Let the arrival in or refuse it; `None` when there is no limit. `now` is monotonic."""
        if not self.windows:
            return None
        self._forget(now)
        free = [
            window.calls - len(log) for window, log in zip(self.windows, self._logs, strict=True)
        ]
        admitted = min(free) > 0
        if admitted:
            for log in self._logs:
                log.append(now)
        return self._verdict(free.index(min(free)), now, admitted=admitted)

    def _forget(self, now: float) -> None:
        for window, log in zip(self.windows, self._logs, strict=True):
            while log and log[0] <= now - window.seconds:
                log.popleft()

    def _verdict(self, tightest: int, now: float, *, admitted: bool) -> Verdict:
        window, log = self.windows[tightest], self._logs[tightest]
        oldest = log[0] if log else now
        left = tuple(
            (each, each.calls - len(calls))
            for each, calls in zip(self.windows, self._logs, strict=True)
        )
        return Verdict(
            admitted, window.calls, window.calls - len(log), oldest + window.seconds - now, left
        )
