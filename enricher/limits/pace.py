"""How fast calls may follow one another so that no sliding window of a vendor is ever exceeded.

Each window is a leaky bucket: `burst` calls at once, and one more every `gap`. Then any n calls
leave us at least (n - burst) gaps apart. The vendor judges by its own clock at arrival, and each
call arrives differently late; as long as that differs by less than the slack, a window of
`seconds` sees only calls that left within less than `seconds + slack`. One call too many would
need `calls + 1 - burst` gaps, so

    gap = (seconds + slack) / (calls + 1 - burst)

keeps the window for certain.

**The share lost** is slack / (seconds + slack) + (burst - 1) / calls. With half a second of slack
for slots of the fleet, and 0.1 % for clocks that do not run equally fast, that is 0.8 % + 1 % +
0.1 % of a minute: 98.1 % of it is used. A window of a second loses a third; it never binds beside
a minute that asks for less than two thirds of its pace.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from enricher.catalogue import Window

SLACK = 0.5
"""Seconds by which the delays of two calls, from their slot to their arrival, may differ."""
_CALLS_PER_BURST = 100
"""One call of burst for each hundred of the limit: lets a few leads that arrive together through
at once. It costs one percent of the limit."""


@dataclass(frozen=True, slots=True)
class Pace:
    """One window as a leaky bucket."""

    window: Window
    burst: int

    @property
    def gap(self) -> float:
        """Seconds from call to call that keep the window."""
        return (self.window.seconds + SLACK) / (self.window.calls + 1 - self.burst)


def paces(windows: tuple[Window, ...]) -> tuple[Pace, ...]:
    """Longest first. Of several windows of one length, the strictest."""
    strictest: dict[float, Window] = {}
    for window in sorted(windows, key=lambda window: (-window.seconds, -window.calls)):
        strictest[window.seconds] = window
    sustained = min((1 / _pace(window).gap for window in strictest.values()), default=0.0)
    return tuple(_pace(window, sustained) for window in strictest.values())


def _pace(window: Window, sustained: float = math.inf) -> Pace:
    """A window that is not the tightest need not refill fast, and can let more through at once."""
    burst = 1 + window.calls // _CALLS_PER_BURST
    needed = sustained * (window.seconds + SLACK)
    spare = math.floor(window.calls + 1 - needed) if math.isfinite(needed) else 0
    return Pace(window, min(window.calls, max(burst, spare)))
