"""PURE How the fleet stands: one frozen value for `enricher status`, `/status.json` and the page.

Everything in it comes from the database, so it is available to anyone who can read that, whether or not a
daemon runs. Nothing in it is about a person. What could not be read is `None` or empty, and named in
`unknown` with the reason: a missing part must not hide the others.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from enricher.calls.breaker import Circuit
from enricher.status.daemons import Presence
from enricher.status.throughput import Ended, Minute

LATE_SECONDS = 60.0
"""A lead that has been work for longer than this is waiting for something."""
PATIENCE_SECONDS = 10.0
"""Same as the limiter's: leads do not sit out a longer pause."""
_ROUND_ABOVE_SECONDS = 10.0
STANDSTILL_MINUTES = 3
"""With work there and nothing ended in this many minutes, the current one included, nothing is moving."""


class State(StrEnum):
    """In one word: is work getting done?"""

    DOWN = "down"
    STUCK = "stuck"
    LIMITED = "limited"
    WORKING = "working"
    IDLE = "idle"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The word, and a sentence that says why."""

    state: State
    sentence: str


@dataclass(frozen=True, slots=True)
class LaneStatus:
    """The leads of one lane that are work now, and for how long the oldest of them has been."""

    leads: int
    oldest_seconds: float | None


@dataclass(frozen=True, slots=True)
class BacklogStatus:
    """What is work, what will be, and how all other leads ended."""

    due: int
    """Leads that are work now."""
    oldest_pending_seconds: float | None
    """Seconds since the oldest pending lead of the fresh lane became work."""
    lanes: Mapping[str, LaneStatus]
    statuses: Mapping[str, int | None]
    """`None` where there are too many to be counted in time."""
    parked: Mapping[str, int] = field(default_factory=dict)
    """Provider -> retrying leads that wait until it may be asked again."""
    most: int = 1_000_000
    """Counting stops beyond this: a higher figure means that many or more."""
    unmoved: Mapping[str, int] = field(default_factory=dict)
    """Why -> leads that nothing moves, as far as any are known."""

    @property
    def due_figure(self) -> str:
        """The leads due in all lanes together, for people."""
        is_more = any(lane.leads > self.most for lane in self.lanes.values())
        return f"over {self.due - 1:,}" if is_more else f"{self.due:,}"

    def figure(self, leads: int | None) -> str:
        """Return one count for people."""
        if leads is None:
            return "many"
        return f"over {self.most:,}" if leads > self.most else f"{leads:,}"


@dataclass(frozen=True, slots=True)
class Stream:
    """How new leads are seen: by how many living daemons, and when the position was last saved."""

    open: int
    lag_seconds: float | None
    """Lag of the daemon that is furthest behind; `None` when no stream is open."""
    position_saved_at: datetime | None
    building_seconds: float | None = None
    """How long the leads' indexes have been building; `None` when they are not."""
    on_record: int | None = None
    """History leads recorded so far; `None` while none are being recorded."""


@dataclass(frozen=True, slots=True)
class SourceStatus:
    """One collection of leads: what is work there, and how its new leads are seen."""

    collection: str
    backlog: BacklogStatus | None
    stream: Stream
    in_work: int
    """Leads that living daemons have in work."""


@dataclass(frozen=True, slots=True)
class DaemonStatus:
    """One daemon that was seen within the last hour."""

    holder: str
    version: str
    presence: Presence
    started_at: datetime
    seen_at: datetime
    in_work: int
    concurrency: int
    is_stream_open: bool
    stream_lag_seconds: float | None


@dataclass(frozen=True, slots=True)
class Bill:
    """Calls of one provider in a day or a month (UTC)."""

    calls: int = 0
    charged: int = 0
    saved: int = 0
    """Answers that needed no call."""
    ambiguous: int = 0
    """Calls not known to be charged or free; some are just under way."""


@dataclass(frozen=True, slots=True)
class Limit:
    """What one provider may be asked, and how much of it was used in the last minute.

    Providers that share a limit each show the use of all of them.
    """

    calls: int
    seconds: float
    used: float
    """Calls of the last minute, scaled to the window."""
    shared_with: Sequence[str] = ()
    """The other providers whose calls are included."""


@dataclass(frozen=True, slots=True)
class Hold:
    """No daemon asks the provider until then."""

    reason: str
    until: datetime


@dataclass(frozen=True, slots=True)
class ProviderStatus:
    """One provider that is asked, with what all daemons report of it."""

    name: str
    vendor: str
    kind: str
    circuit: Circuit = Circuit.CLOSED
    """The worst state at any living daemon."""
    hold: Hold | None = None
    paused_until: datetime | None = None
    """The vendor asked to wait."""
    is_held: bool = False
    """Held at one or more living daemons: by a hold, or because the budget is used up."""
    waiting: int = 0
    limit: Limit | None = None
    is_free: bool = False
    """It has no key and costs nothing, so nobody counts its calls."""
    today: Bill = field(default_factory=Bill)
    month: Bill = field(default_factory=Bill)

    @property
    def is_asked(self) -> bool:
        return self.circuit is Circuit.CLOSED and not self.is_held and self.hold is None

    def is_silent(self, now: datetime) -> bool:
        """True when the vendor asked for a longer wait than a lead in work sits out."""
        until = self.paused_until
        return until is not None and (until - now).total_seconds() > PATIENCE_SECONDS


@dataclass(frozen=True, slots=True)
class Allowance:
    """What a vendor may charge in a period, and what counts against it."""

    calls: int
    used: int
    left: int


@dataclass(frozen=True, slots=True)
class BudgetStatus:
    """One vendor's budgets; `None` where there is none."""

    vendor: str
    daily: Allowance | None
    monthly: Allowance | None


@dataclass(frozen=True, slots=True)
class RecheckCost:
    """What rechecks that are due cost at one provider, at most."""

    calls: int
    credits: float
    """In the vendor's own unit, if every answer is charged that can be."""
    cost: float | None
    """In the operator's currency; `None` where no price is set."""


@dataclass(frozen=True, slots=True)
class RecheckStatus:
    """The thin leads that are to be looked at again."""

    due: int
    coming: int
    """Due within a day, the ones that are due now included."""
    calls_today: int
    calls_per_day: int
    at_most: Mapping[str, RecheckCost]
    """Provider -> what the ones that are due now cost."""
    ceiling: float | None = None
    """What they cost together at most, by what each lead has left of its ceiling (credits, or money where prices are
    set); `None` without one."""


@dataclass(frozen=True, slots=True)
class WebhookStatus:
    """What the webhook is yet to get."""

    waiting: int
    """Events; at most 10,000."""
    oldest_seconds: float | None
    given_up: int
    """Events that it never got, as far as they are kept."""
    error: str | None
    """Why nothing is delivered, or else why the one that is next was not so far."""
    to: str | None = None
    """Scheme and host alone: the rest of the address may be a secret."""
    delivered_at: datetime | None = None
    """The last success, as far as events are kept."""
    failing_since: datetime | None = None
    """The first failure since then; `None` while all goes well."""


@dataclass(frozen=True, slots=True)
class OrderStatus:
    """The order that the fleet follows by itself (`ENRICHER_PROVIDER_ORDER=auto`)."""

    kinds: Sequence[Mapping[str, Any]]
    """Of each kind with a choice, as `ordering.written` has it: the order, and what another would cost and fill."""
    explored: Sequence[str]
    """Providers of which too little is known: a small share of the leads asks them first."""
    changes: Sequence[str]
    """When and why the order changed, latest first."""
    looked_at: datetime | None
    next_at: datetime | None


@dataclass(frozen=True, slots=True)
class MinuteStatus:
    """What ended in one minute, at all daemons together."""

    at: datetime
    completed: int = 0
    retrying: int = 0
    failed: int = 0
    skipped: int = 0
    waited_mean_seconds: float | None = None
    waited_longest_seconds: float = 0.0
    took_mean_seconds: float | None = None
    took_longest_seconds: float = 0.0

    @property
    def ended(self) -> int:
        return self.completed + self.retrying + self.failed + self.skipped


@dataclass(frozen=True, slots=True)
class FleetStatus:
    """The whole picture, at one moment of the server's clock."""

    at: datetime
    leads: str
    backlog: BacklogStatus | None
    stream: Stream
    daemons: Sequence[DaemonStatus]
    providers: Sequence[ProviderStatus]
    without_key: Mapping[str, str]
    budgets: Sequence[BudgetStatus]
    hour: Sequence[MinuteStatus]
    last: Sequence[Ended]
    order: OrderStatus | None = None
    """`None` where the operator sets the order."""
    sources: Sequence[SourceStatus] = ()
    """Each collection by itself; what stands above is about all of them together."""
    rechecks: RecheckStatus | None = None
    """`None` where thin leads are not looked at again."""
    webhook: WebhookStatus | None = None
    """`None` where there is none."""
    unknown: Mapping[str, str] = field(default_factory=dict)
    """Part -> why it could not be read."""

    @property
    def alive(self) -> list[DaemonStatus]:
        gone = (Presence.STOPPED, Presence.SILENT)
        return [daemon for daemon in self.daemons if daemon.presence not in gone]

    @property
    def verdict(self) -> Verdict:
        """The first that is true: no daemon runs, nothing moves, something is held; else all is well."""
        return _down(self) or _stuck(self) or _limited(self) or _well(self)


def join_backlogs(parts: Sequence[BacklogStatus]) -> BacklogStatus | None:
    """Return what is work in several collections together; `None` without any."""
    if len(parts) < 2:  # noqa: PLR2004 - one alone is the whole
        return parts[0] if parts else None
    oldest = (each.oldest_pending_seconds for each in parts)
    return BacklogStatus(
        due=sum(each.due for each in parts),
        oldest_pending_seconds=max((age for age in oldest if age is not None), default=None),
        lanes={name: _join_lanes([each.lanes[name] for each in parts]) for name in parts[0].lanes},
        statuses={
            name: _sum([each.statuses[name] for each in parts]) for name in parts[0].statuses
        },
        parked=_sums([each.parked for each in parts]),
        most=min(each.most for each in parts),
        unmoved=_sums([each.unmoved for each in parts]),
    )


def _join_lanes(lanes: Sequence[LaneStatus]) -> LaneStatus:
    oldest = [lane.oldest_seconds for lane in lanes if lane.oldest_seconds is not None]
    return LaneStatus(sum(lane.leads for lane in lanes), max(oldest, default=None))


def _sum(counts: Sequence[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else None


def _sums(several: Sequence[Mapping[str, int]]) -> dict[str, int]:
    return dict(sum((Counter(each) for each in several), Counter()))


def minute_status(at: datetime, minute: Minute) -> MinuteStatus:
    return MinuteStatus(
        at=at,
        **{name: minute.outcomes[name] for name in ("completed", "retrying", "failed", "skipped")},
        waited_mean_seconds=minute.waited.mean,
        waited_longest_seconds=minute.waited.longest,
        took_mean_seconds=minute.took.mean,
        took_longest_seconds=minute.took.longest,
    )


def as_json(status: FleetStatus) -> str:
    """Return one object; dates are ISO 8601 in UTC, durations are seconds."""
    verdict = asdict(status.verdict)
    return json.dumps({"verdict": verdict, **asdict(status)}, default=_plain)


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value)


# The verdict


def _down(status: FleetStatus) -> Verdict | None:
    if status.alive or "daemons" in status.unknown:
        return None
    if not status.daemons:
        return Verdict(State.DOWN, "No daemon was seen within the last hour.")
    latest = max(daemon.seen_at for daemon in status.daemons)
    seconds = duration((status.at - latest).total_seconds())
    return Verdict(State.DOWN, f"No daemon is running; the last one was seen {seconds} ago.")


def _stuck(status: FleetStatus) -> Verdict | None:
    """Return the verdict; while every daemon is young, they are given time to settle something."""
    lanes = status.backlog.lanes.values() if status.backlog else ()
    oldest = max((lane.oldest_seconds or 0.0 for lane in lanes), default=0.0)
    just_now = status.at - timedelta(minutes=STANDSTILL_MINUTES)
    is_young = all(daemon.started_at > just_now for daemon in status.alive)
    if oldest < LATE_SECONDS or is_young or _lately(status):
        return None
    return Verdict(
        State.STUCK,
        f"Leads are due, the oldest for {duration(oldest)}, and none was settled lately.",
    )


def _limited(status: FleetStatus) -> Verdict | None:
    held = [
        provider.name
        for provider in status.providers
        if not provider.is_asked or provider.is_silent(status.at)
    ]
    if held:
        verb = "is" if len(held) == 1 else "are"
        names = ", ".join(held)
        return Verdict(State.LIMITED, f"{names} {verb} not asked for now; {_settled(status)}.")
    oldest = status.backlog and status.backlog.oldest_pending_seconds
    if oldest and oldest >= LATE_SECONDS:
        return Verdict(
            State.LIMITED,
            f"The oldest pending lead waits for {duration(oldest)}; {_settled(status)}.",
        )
    return None


def _well(status: FleetStatus) -> Verdict:
    in_work = sum(daemon.in_work for daemon in status.alive)
    due = status.backlog.due if status.backlog else 0
    if in_work or due or _lately(status):
        return Verdict(State.WORKING, f"Work is getting done: {_settled(status)}.")
    if status.backlog is None:
        return Verdict(State.LIMITED, f"What is due could not be counted; {_settled(status)}.")
    return Verdict(State.IDLE, "Nothing is due, and new leads are being watched for.")


def _lately(status: FleetStatus) -> int:
    return sum(minute.ended for minute in status.hour[-STANDSTILL_MINUTES:])


def _settled(status: FleetStatus) -> str:
    return f"{_lately(status):,} settled in {STANDSTILL_MINUTES} minutes"


def duration(seconds: float | None) -> str:
    """Return roughly how long, in the unit that people would use; an empty string for `None`."""
    if seconds is None:
        return ""
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    if seconds >= 1:
        return f"{seconds:.1f} s" if seconds < _ROUND_ABOVE_SECONDS else f"{seconds:.0f} s"
    return f"{1000 * max(0.0, seconds):.0f} ms"
