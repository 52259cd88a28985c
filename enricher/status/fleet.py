"""PURE A daemon as it tells of itself to whoever looks at the fleet.

Daemons need not know of each other, and nothing of this takes part in their work: who reads it can
tell who was there, what they did, and how they stand with the vendors. Nobody is taken for dead
because of it; that is the leases' business.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from enricher.calls.breaker import Circuit
from enricher.status.throughput import Ended, Minute

SILENT_AFTER = timedelta(seconds=30)
"""Without a sign of life. They come every three seconds, and an outage of MongoDB delays them."""


class Presence(StrEnum):
    """How a daemon stands, as its last sign of life has it."""

    WORKING = "working"
    STOPPING = "stopping"
    STOPPED = "stopped"
    SILENT = "silent"


@dataclass(frozen=True, slots=True)
class GateState:
    """One paid provider, as one daemon has it."""

    provider: str
    circuit: Circuit = Circuit.CLOSED
    is_held: bool = False
    waiting: int = 0
    """Leads that wait for a slot in its limit."""
    calls: int = 0
    """Tries within the last minute."""


@dataclass(frozen=True, slots=True)
class Report:
    """What a daemon says of itself at one moment."""

    version: str
    uptime_seconds: float
    presence: Presence
    in_work: int
    concurrency: int
    is_stream_open: bool
    stream_lag_seconds: float | None
    gates: Sequence[GateState] = ()
    set_aside: int = 0
    """Leads that it cannot write."""
    building_seconds: float | None = None
    are_indexes_coming: bool = False
    on_record: int | None = None
    """As `Preparing`."""


@dataclass(frozen=True, slots=True)
class Daemon:
    """One daemon, with what it did in the last hour."""

    holder: str
    seen_at: datetime
    report: Report
    minutes: Mapping[int, Minute] = field(default_factory=dict)
    last: Sequence[Ended] = ()

    @property
    def started_at(self) -> datetime:
        return self.seen_at - timedelta(seconds=self.report.uptime_seconds)

    def presence(self, now: datetime) -> Presence:
        """As it said itself, unless it fell silent without a word."""
        said = self.report.presence
        is_late = now - self.seen_at > SILENT_AFTER
        return Presence.SILENT if is_late and said is not Presence.STOPPED else said
