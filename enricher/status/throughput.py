"""PURE How much work was done, minute by minute, and the last claims that ended: of one daemon, or of all.

Sums and maxima only, so that minutes of several daemons add up to the fleet's minute.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

from loguru import logger

from enricher.enrichment.attempt import note_ended
from enricher.lead import (
    Completed,
    End,
    Failed,
    Lease,
    Outcome,
    Rechecked,
    Retrying,
    Skipped,
    Status,
    Withdrawn,
)
from enricher.queue.settle import Settled
from enricher.telemetry import metrics
from enricher.telemetry.log import label, redact
from enricher.telemetry.metrics import child

MINUTES = 60
LAST = 50
"""How many of the last claims that ended are reported."""
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
        """The mean in seconds; `None` without durations."""
        return self.total / self.count if self.count else None


@dataclass(slots=True)
class Minute:
    """What ended within one minute."""

    outcomes: Counter[str] = field(default_factory=Counter)
    """Status that was written -> claims."""
    waited: Times = field(default_factory=Times)
    """From the moment a lead is work to its claim; planned delays not included."""
    took: Times = field(default_factory=Times)
    """From the moment a lead is work to its final status: completed, failed or skipped."""

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
    collection: str = ""
    """The one that the lead is in, where its daemon has several sources."""


def number_of(moment: datetime) -> int:
    """Return the minute's number, counted from 1970."""
    return int(moment.timestamp()) // _SECONDS


def hour(
    of_daemons: Iterable[Mapping[int, Minute]], now: datetime
) -> list[tuple[datetime, Minute]]:
    """Return the last 60 minutes of all daemons together, oldest first; a minute without endings is empty."""
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
    """Return the last claims that ended at any daemon, latest first."""
    every = [ended for several in of_daemons for ended in several]
    return sorted(every, key=lambda ended: ended.at, reverse=True)[:LAST]


# What this daemon did within the last hour, kept in memory for the status.
#
# A claim that ends costs a few additions here. Minutes are the server's, so that those of all daemons
# coincide.

_LONGEST_WHY = 240
_Noted: TypeAlias = tuple[datetime, str, str, int, float, Mapping[str, object], str]


@dataclass(slots=True)
class Activity:
    """Counts by minute, and the last claims that ended."""

    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    minutes: dict[int, Minute] = field(default_factory=dict)
    last: deque[_Noted] = field(default_factory=lambda: deque(maxlen=LAST))
    endings: int = 0
    """Claims that ended since the start: shows whether `last` has changed."""
    _touched: set[int] = field(default_factory=set)

    def note(
        self,
        lease: Lease,
        outcome: str,
        seconds: float,
        details: Mapping[str, object],
        collection: str = "",
    ) -> None:
        """Note a claim that has ended, its outcome written. `details` are those of the log."""
        now, waited = self.clock(), lease.lead.waited_seconds
        minute = self._minute(now)
        minute.outcomes[outcome] += 1
        if waited is not None:
            minute.waited.add(waited)
        if outcome != Status.RETRYING:
            minute.took.add((waited or 0.0) + seconds)
        lead = lease.lead
        noted = (now, label(lead.id), outcome, lead.attempt, seconds, details, collection)
        self.last.append(noted)
        self.endings += 1

    def told(self) -> list[Ended]:
        """Return the last claims that ended, in a form anybody may read."""
        return [_ended(*each) for each in self.last]

    def _minute(self, now: datetime) -> Minute:
        number = number_of(now)
        self._touched.add(number)
        if number not in self.minutes:
            self.minutes[number] = Minute()
        return self.minutes[number]

    def changed(self) -> dict[int, Minute]:
        """Return the minutes in which something ended since the last call."""
        touched, self._touched = self._touched, set()
        return {number: self.minutes[number] for number in touched if number in self.minutes}

    def touch_all(self) -> None:
        """Make the next `changed` return everything, because readers may know none of it."""
        self._touched = set(self.minutes)
        self.endings += 1

    def forget_old(self) -> list[int]:
        """Drop the minutes older than an hour; return their numbers."""
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
    collection: str,
) -> Ended:
    """Return the claim without anything about a person."""
    score = details.get("score")
    return Ended(
        at=at,
        lead=lead,
        outcome=outcome,
        attempt=attempt,
        seconds=round(seconds, 3),
        score=score if isinstance(score, int) else None,
        why=_cut(redact(str(details.get("reason") or details.get("error") or ""))),
        collection=collection,
    )


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_WHY else f"{text[: _LONGEST_WHY - 1]}…"


# What became of a lead in work: for the metrics, the log and the status page.

_REFUSED = "The result could not be written to this document."
_NOTHING_NEW = "a recheck that brought nothing new"
_WHAT_RECHECKS_BRING: Mapping[type[Outcome], str] = {
    Completed: "found",
    Failed: "failed",
    Skipped: "void",
    Retrying: "put_off",
}


def report(
    to: Activity,
    lease: Lease,
    outcome: End,
    settled: Settled,
    seconds: float,
    *,
    collection: str = "",
) -> None:
    """Report the result of a settle; `seconds` since the claim, and `collection` as in `Ended`."""
    if settled is not Settled.WRITTEN:
        _report_dropped(lease, settled)
    if settled is Settled.REFUSED:
        outcome = Failed({}, _REFUSED)
    elif settled is not Settled.WRITTEN or isinstance(outcome, Withdrawn):
        return
    if isinstance(outcome, Rechecked):
        _report_recheck(to, lease, outcome, seconds, collection)
        return
    if lease.lead.recheck is not None:
        _count_recheck(lease, outcome)
    kind = type(outcome).__name__.lower()
    child(metrics.SETTLED, kind).inc()
    metrics.LAST_SETTLED.set_to_current_time()
    metrics.WORK.observe(seconds)
    _observe(lease, outcome, seconds)
    details = _details(outcome)
    to.note(lease, kind, seconds, details, collection)
    logger.bind(
        lead=label(lease.lead_id),
        token=lease.token,
        outcome=kind,
        attempt=lease.lead.attempt,
        seconds=round(seconds, 3),
        **details,
    ).info("lead.settled")


def _report_recheck(
    to: Activity, lease: Lease, outcome: Rechecked, seconds: float, collection: str
) -> None:
    """Report a recheck that brought nothing new: no lead has ended, it has only been looked at."""
    metrics.LAST_SETTLED.set_to_current_time()
    _count_recheck(lease, outcome)
    to.note(lease, Status.COMPLETED, seconds, {"reason": _NOTHING_NEW}, collection)


def _count_recheck(lease: Lease, outcome: Outcome) -> None:
    result = outcome.why if isinstance(outcome, Rechecked) else _WHAT_RECHECKS_BRING[type(outcome)]
    coming = getattr(outcome, "next_recheck", None)
    due_in = {"due_in_seconds": round(coming.due_in.total_seconds(), 1)} if coming else {}
    metrics.RECHECKS.labels(result).inc()
    logger.bind(
        lead=label(lease.lead_id), number=lease.lead.rechecks + 1, result=result, **due_in
    ).info("lead.rechecked")


def _report_dropped(lease: Lease, settled: Settled) -> None:
    metrics.NOT_WRITTEN.labels(settled.value).inc()
    if settled is Settled.LEASE_LOST:
        metrics.LEASES_LOST.labels("settle").inc()
    logger.bind(lead=label(lease.lead_id), token=lease.token, why=settled.value).warning(
        "lead.not_written"
    )


def _observe(lease: Lease, outcome: Outcome, seconds: float) -> None:
    waited = lease.lead.waited_seconds
    if waited is not None:
        metrics.QUEUE_WAIT.observe(waited)
    if not isinstance(outcome, Retrying):
        metrics.END_TO_END.observe((waited or 0.0) + seconds)
    note_ended(lease.lead, outcome)
    if isinstance(outcome, Completed):
        score = outcome.data["enrichment_metadata"]["completeness_score"]
        metrics.COMPLETENESS.observe(score / 100)
    if isinstance(outcome, Skipped):
        metrics.SKIPPED.labels(outcome.reason.value).inc()


def _details(outcome: Outcome) -> dict[str, object]:
    match outcome:
        case Completed(data=data):
            return {"score": data["enrichment_metadata"]["completeness_score"]}
        case Retrying(error=error, due_in=due_in, attempt_spent=spent):
            seconds = round(due_in.total_seconds(), 1)
            return {"due_in_seconds": seconds, "attempt_spent": spent, "error": error}
        case Failed(error=error):
            return {"error": error}
        case Skipped(reason=reason):
            return {"reason": reason.value}
        case Rechecked(why=why):
            return {"reason": why}
