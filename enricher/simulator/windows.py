"""Strict windows: a vendor's limit kept as a log of arrivals, judged over every sliding window.

Real vendors mostly count in fixed windows and forgive a burst across their edge. The simulator does
not: a client that passes here passes everywhere. A call is judged by when it arrived, before any
simulated latency, so a slow answer can hide nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from enricher.catalogue import PROVIDERS, VENDORS, ProviderListing, Window


def scope_of(listing: ProviderListing) -> str:
    """Routes of one scope share their windows. Of Clearbit's two hosts each has its own."""
    shared = listing.bucket.removeprefix(f"{listing.vendor}_")
    return f"{listing.vendor}/{shared or listing.route}"


def _documented() -> Iterator[tuple[str, tuple[Window, ...]]]:
    """By plan, where the vendor has a free one: a key that begins with "free" is on it."""
    for listing in PROVIDERS.values():
        scope, paid = scope_of(listing), VENDORS[listing.vendor].paid_per_minute
        if paid is None:
            yield scope, listing.windows
        else:
            yield scope, (Window(paid, 60),)
            yield f"{scope}/free", listing.windows


VENDOR_WINDOWS: Mapping[str, tuple[Window, ...]] = dict(_documented())
"""What the vendors document, by scope."""


@dataclass(frozen=True, slots=True)
class Admission:
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

    def __init__(self, windows: Iterable[Window]) -> None:
        self.windows = tuple(windows)
        self._logs: tuple[deque[float], ...] = tuple(deque() for _ in self.windows)

    def judge(self, now: float) -> Admission | None:
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

    def _verdict(self, tightest: int, now: float, *, admitted: bool) -> Admission:
        window, log = self.windows[tightest], self._logs[tightest]
        oldest = log[0] if log else now
        left = tuple(
            (each, each.calls - len(calls))
            for each, calls in zip(self.windows, self._logs, strict=True)
        )
        return Admission(
            admitted, window.calls, window.calls - len(log), oldest + window.seconds - now, left
        )
