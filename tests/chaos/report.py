"""The table at the end of a run: what was done to the daemons, and what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from tests.support.waiting import business

HEADINGS = (
    "scenario", "faults", "leads", "lost", "failed", "settled twice", "stale writes", "leases starved",
    "paid twice", "recovery p50", "max", "required",
)  # fmt: skip


_ROOM = 3
"""A busy machine may take so many times as long, and one that is busier yet as much as it is busy."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """One scenario, as an observer saw it who takes no daemon's word for anything."""

    scenario: str
    faults: int
    leads: int
    lost: int
    settled_twice: int
    stale_writes: int
    paid_twice: int
    """Calls for a question beyond the first."""
    in_flight: int
    """Calls whose answer nobody had written down when a fault took it away (see `account.py`):
    these alone may be made again."""
    recoveries: tuple[float, ...]
    """Seconds from a fault, or from its end, until work flowed again."""
    required: float | None = None
    """How many seconds that may take on a machine that is not busy."""
    unprovoked: int = 0
    """Leases that ran out although nothing was done to their holder: the machine was too busy."""
    failed: int = 0
    """Leads that were given up. No breach by itself: some are meant to be."""
    in_vain: int = 0
    """Questions that were paid for more often than their own calls in flight allow."""

    @property
    def holds(self) -> bool:
        broken = self.lost + self.settled_twice + self.stale_writes + self.in_vain
        return broken == 0 and self.paid_twice <= self.in_flight and self.is_soon_enough

    @property
    def is_soon_enough(self) -> bool:
        if self.required is None or not self.recoveries:
            return True
        return max(self.recoveries) <= max(_ROOM, business()) * self.required

    def cells(self) -> tuple[str, ...]:
        leads = (self.leads, self.lost, self.failed)
        counts = (self.faults, *leads, self.settled_twice, self.stale_writes, self.unprovoked)
        paid = f"{self.paid_twice} of {self.in_flight}"
        times = self.recoveries
        seconds = (f"{median(times):.1f} s", f"{max(times):.1f} s") if times else ("-", "-")
        required = "-" if self.required is None else f"{self.required:.0f} s"
        return (self.scenario, *map(str, counts), paid, *seconds, required)


VERDICTS: list[Verdict] = []
"""Of this run, in the order of the tests."""


def table(verdicts: Sequence[Verdict]) -> list[str]:
    """Lines of equal width, figures to the right."""
    rows = [HEADINGS, *(verdict.cells() for verdict in verdicts)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if place == 0 else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
