"""PURE How much work was done, minute by minute, and the last claims that ended: of one daemon, or of all.

Sums and maxima only, so that minutes of several daemons add up to the minute of the fleet.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

MINUTES = 60
LAST = 50
"""Claims that ended, of which we tell."""
_SECONDS = 60


@dataclass(slots=True)
class Times:
    """Some durations in seconds: enough for the mean and the longest of any number of them."""

    count: int = 0
    total: float = 0.0
    longest: float = 0.0

    def add(self, seconds: float) -> None:
        self.count += 1
        self.total += seconds
        self.longest = max(self.longest, seconds)

    def join(self, other: Times) -> None:
        self.count += other.count
        self.total += other.total
        self.longest = max(self.longest, other.longest)

    @property
    def mean(self) -> float | None:
        """`None` when there are none."""
        return self.total / self.count if self.count else None


@dataclass(slots=True)
class Minute:
    """What ended within one minute."""

    outcomes: Counter[str] = field(default_factory=Counter)
    """Status that was written -> claims."""
    waited: Times = field(default_factory=Times)
    """From the moment a lead is work to its claim; planned delays not included."""
    took: Times = field(default_factory=Times)
    """From the moment a lead is work to its completed, failed or skipped."""

    def join(self, other: Minute) -> None:
        self.outcomes.update(other.outcomes)
        self.waited.join(other.waited)
        self.took.join(other.took)


@dataclass(frozen=True, slots=True)
class Ended:
    """One claim that ended. Nothing in it is about a person: `lead` is an id, or the hash of one."""

    at: datetime
    lead: str
    outcome: str
    attempt: int
    seconds: float
    """From the claim to the settle."""
    score: int | None = None
    why: str = ""


def number_of(moment: datetime) -> int:
    """The minute's number, counted from 1970."""
    return int(moment.timestamp()) // _SECONDS


def hour(
    of_daemons: Iterable[Mapping[int, Minute]], now: datetime
) -> list[tuple[datetime, Minute]]:
    """The last 60 minutes of all daemons together, the oldest first; where nothing ended it is empty."""
    joined: defaultdict[int, Minute] = defaultdict(Minute)
    for minutes in of_daemons:
        for number, minute in minutes.items():
            joined[number].join(minute)
    last, begins = number_of(now), now.replace(second=0, microsecond=0)
    return [
        (begins - timedelta(minutes=last - number), joined[number])
        for number in range(last - MINUTES + 1, last + 1)
    ]


def latest(of_daemons: Iterable[Iterable[Ended]]) -> list[Ended]:
    """The last claims that ended at any daemon, the latest first."""
    every = [ended for several in of_daemons for ended in several]
    return sorted(every, key=lambda ended: ended.at, reverse=True)[:LAST]
