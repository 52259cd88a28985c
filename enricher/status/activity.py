"""What this daemon did within the last hour, kept in memory for whoever looks at the fleet.

A claim that ends costs a few additions here. Minutes are the server's, so that those of all daemons
lie on top of each other.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TypeAlias

from enricher.lead import Lease, Status
from enricher.status.throughput import LAST, MINUTES, Ended, Minute, number_of
from enricher.telemetry.labels import label
from enricher.telemetry.log import redact

_LONGEST_WHY = 240
_Noted: TypeAlias = tuple[datetime, str, str, int, float, Mapping[str, object]]


@dataclass(slots=True)
class Activity:
    """Counts by minute, and the last claims that ended."""

    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    minutes: dict[int, Minute] = field(default_factory=dict)
    last: deque[_Noted] = field(default_factory=lambda: deque(maxlen=LAST))
    endings: int = 0
    """Claims that ended since the start: tells whether `last` is another one than before."""
    _touched: set[int] = field(default_factory=set)

    def note(
        self, lease: Lease, outcome: str, seconds: float, details: Mapping[str, object]
    ) -> None:
        """A claim has ended, and its outcome stands in the database. `details` are those of the log."""
        now, waited = self.clock(), lease.lead.waited_seconds
        minute = self._minute(now)
        minute.outcomes[outcome] += 1
        if waited is not None:
            minute.waited.add(waited)
        if outcome != Status.RETRYING:
            minute.took.add((waited or 0.0) + seconds)
        lead = lease.lead
        self.last.append((now, label(lead.id), outcome, lead.attempt, seconds, details))
        self.endings += 1

    def told(self) -> list[Ended]:
        """The last claims that ended, as anybody may read them."""
        return [_ended(*each) for each in self.last]

    def _minute(self, now: datetime) -> Minute:
        number = number_of(now)
        self._touched.add(number)
        if number not in self.minutes:
            self.minutes[number] = Minute()
        return self.minutes[number]

    def changed(self) -> dict[int, Minute]:
        """The minutes in which something ended since the last call."""
        touched, self._touched = self._touched, set()
        return {number: self.minutes[number] for number in touched if number in self.minutes}

    def touch_all(self) -> None:
        """Nobody knows of any of it: the next `changed` is everything."""
        self._touched = set(self.minutes)
        self.endings += 1

    def forget_old(self) -> list[int]:
        """Drop the minutes that are older than an hour; returns them."""
        oldest = number_of(self.clock()) - MINUTES
        old = [number for number in self.minutes if number < oldest]
        for number in old:
            del self.minutes[number]
        return old


def _ended(
    at: datetime,
    lead: str,
    outcome: str,
    attempt: int,
    seconds: float,
    details: Mapping[str, object],
) -> Ended:
    """Without anything about a person."""
    score = details.get("score")
    return Ended(
        at=at,
        lead=lead,
        outcome=outcome,
        attempt=attempt,
        seconds=round(seconds, 3),
        score=score if isinstance(score, int) else None,
        why=_cut(redact(str(details.get("reason") or details.get("error") or ""))),
    )


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_WHY else f"{text[: _LONGEST_WHY - 1]}…"
