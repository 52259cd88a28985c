"""The table at the end of a run: what was done to the daemons, and what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

HEADINGS = (
    "scenario", "faults", "leads", "lost", "settled twice", "stale writes", "paid twice",
    "recovery p50", "max",
)  # fmt: skip


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
    """Calls whose answer nobody had written down when their daemon was killed or lost its lease:
    these alone may be asked again."""
    recoveries: tuple[float, ...]
    """Seconds from a fault, or from its end, until work flowed again."""

    @property
    def holds(self) -> bool:
        broken = self.lost + self.settled_twice + self.stale_writes
        return broken == 0 and self.paid_twice <= self.in_flight

    def cells(self) -> tuple[str, ...]:
        counts = (self.faults, self.leads, self.lost, self.settled_twice, self.stale_writes)
        paid = f"{self.paid_twice} of {self.in_flight}"
        times = self.recoveries
        seconds = (f"{median(times):.1f} s", f"{max(times):.1f} s") if times else ("-", "-")
        return (self.scenario, *map(str, counts), paid, *seconds)


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
