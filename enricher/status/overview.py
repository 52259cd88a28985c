"""Reads the whole picture of the fleet from MongoDB: what `enricher status` and the status page show.

The parts are read separately and concurrently; one that the user may not read, or that fails, is left out
and named. Only when the server itself does not answer does the error reach the caller.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TypeVar

from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.database import AsyncDatabase

from enricher.calls.breaker import Circuit
from enricher.calls.ledger import DayOfProvider, Usage
from enricher.intake.checkpoints import saved_at
from enricher.lead import Document
from enricher.limits.bucket import Stopped, stopped
from enricher.mongo import DatabaseTrouble
from enricher.mongo.outage import describe, is_denied
from enricher.providers.base import Provider, Registered
from enricher.queue import backlog, unmoved
from enricher.settings.load import Settings
from enricher.settings.vendors import VendorSettings
from enricher.status.daemons import DaemonRecord, Daemons, Presence
from enricher.status.picture import (
    Allowance,
    BacklogStatus,
    Bill,
    BudgetStatus,
    DaemonStatus,
    FleetStatus,
    Hold,
    LaneStatus,
    Limit,
    ProviderStatus,
    Stream,
    as_json,
    minute_status,
)
from enricher.status.throughput import hour, latest
from enricher.telemetry.log import redact

Result = TypeVar("Result")

_DAYS = 31
_SHARE = 50
"""Of a viewer's time, at most a fiftieth is spent counting how leads ended."""
_MINUTE_SECONDS = 60.0
_SEVERITY = (Circuit.CLOSED, Circuit.HALF_OPEN, Circuit.OPEN)
KEPT_SECONDS = 2.0
"""However many view the page, the database is asked once in this many seconds."""
LONGEST_SECONDS = 5.0
"""A viewer is told that MongoDB does not answer rather than kept waiting for longer."""


@dataclass(slots=True)
class Overview:
    """Reads the status of one leads collection, by the settings of its daemons."""

    settings: Settings
    database: AsyncDatabase[Document]
    registered: Registered
    _ended: backlog.EndedCounts | None = None
    _unmoved: Mapping[str, int] | None = None
    _ended_next_at: float = 0.0

    async def status(self) -> FleetStatus:
        """Return the status as it is now. Raises DatabaseTrouble."""
        hello = await self.database.client.admin.command("hello")
        now = hello["localTime"].replace(tzinfo=UTC)
        parts = _Parts()
        leads = self.database[self.settings.mongo.collection]
        buckets = [provider.bucket for provider in self._paid]
        seen = await parts.read("daemons", Daemons(self.database, leads.name).seen(), [])
        daemons = [_daemon(each, now) for each in seen]
        alive = [each for each, shown in zip(seen, daemons, strict=True) if _is_alive(shown)]
        waiting, stops, days, position = await asyncio.gather(
            self._counted(parts, leads, alive),
            parts.read("holds", stopped(self.database, buckets, now), {}),
            parts.read("calls", Usage(self.database, {}, {}).days(_DAYS), []),
            parts.read("stream", saved_at(self.database, leads.name), None),
        )
        this_month = [day for day in days if (day.day.year, day.day.month) == (now.year, now.month)]
        return FleetStatus(
            at=now,
            leads=f"{self.database.name}.{leads.name}",
            backlog=_with_set_aside(waiting, alive),
            stream=_stream(alive, position),
            daemons=daemons,
            providers=[self._provider(each, alive, stops, this_month, now) for each in self._paid],
            without_key=self.registered.without_key,
            budgets=_budgets(self.settings.vendors, this_month, now),
            hour=[minute_status(at, minute) for at, minute in hour((d.minutes for d in seen), now)],
            last=latest(each.last for each in seen),
            unknown=parts.unknown,
        )

    async def _counted(
        self, parts: _Parts, leads: AsyncCollection[Document], alive: Sequence[DaemonRecord]
    ) -> BacklogStatus | None:
        """Count the backlog, unless its indexes are missing: each count would read every lead and time out."""
        if any(each.report.groundwork.are_indexes_coming for each in alive):
            parts.unknown["backlog"] = "the indexes are being built"
            return None
        return await parts.read("backlog", self._backlog(leads), None)

    async def _backlog(self, leads: AsyncCollection[Document]) -> BacklogStatus:
        """Count the backlog; how leads ended only rarely, because that is expensive where there are many."""
        if (began := time.monotonic()) >= self._ended_next_at:
            self._ended = await backlog.ended(leads)
            self._unmoved = await unmoved.count(leads)
            self._ended_next_at = began + _SHARE * (time.monotonic() - began)
        found = await backlog.look(leads, [provider.name for provider in self._paid])
        return _backlog(found, self._ended, self._unmoved or {})

    @property
    def _paid(self) -> Sequence[Provider]:
        return [each for each in self.registered.providers if not each.is_free]

    def _provider(
        self,
        provider: Provider,
        alive: Sequence[DaemonRecord],
        stops: Mapping[str, Stopped],
        days: Sequence[DayOfProvider],
        now: datetime,
    ) -> ProviderStatus:
        gates = [gate for each in alive for gate in each.report.gates]
        own = [gate for gate in gates if gate.provider == provider.name]
        stop = stops.get(provider.bucket, Stopped()).of(provider.name)
        sharing = [each.name for each in self._paid if each.bucket == provider.bucket]
        calls = sum(gate.calls for gate in gates if gate.provider in sharing)
        of_provider = [day for day in days if day.provider == provider.name]
        return ProviderStatus(
            name=provider.name,
            vendor=provider.vendor,
            kind=provider.kind.value,
            circuit=max(
                (gate.circuit for gate in own), key=_SEVERITY.index, default=Circuit.CLOSED
            ),
            hold=Hold(redact(stop.reason), stop.held_until) if stop.held_until else None,
            paused_until=stop.paused_until,
            is_held=any(gate.is_held for gate in own),
            waiting=sum(gate.waiting for gate in own),
            limit=_limit(provider, calls, sharing),
            today=_bill([day for day in of_provider if day.day == now.date()]),
            month=_bill(of_provider),
        )


@dataclass(slots=True)
class _Parts:
    """Remembers what could not be read, and why."""

    unknown: dict[str, str] = field(default_factory=dict)

    async def read(self, name: str, reading: Awaitable[Result], otherwise: Result) -> Result:
        try:
            return await reading
        except DatabaseTrouble as error:
            denied = "a privilege is missing (deploy/mongodb/role.js grants it)"
            self.unknown[name] = denied if is_denied(error) else describe(error)
            return otherwise


# What is made of each part


def _with_set_aside(
    found: BacklogStatus | None, alive: Sequence[DaemonRecord]
) -> BacklogStatus | None:
    leads = max((each.report.set_aside for each in alive), default=0)
    if found is None or not leads:
        return found
    return replace(found, unmoved={**found.unmoved, "unwritable": leads})


def _backlog(
    found: backlog.Backlog, ended: backlog.EndedCounts | None, unmoved_: Mapping[str, int]
) -> BacklogStatus:
    lanes = {
        lane.value: LaneStatus(queue.leads, found.age_seconds(lane) if queue.leads else None)
        for lane, queue in found.lanes.items()
    }
    return BacklogStatus(
        due=found.work,
        oldest_pending_seconds=lanes[backlog.Lane.FRESH].oldest_seconds,
        lanes=lanes,
        statuses={
            "pending": found.pending,
            "processing": found.processing,
            "retrying": found.retrying,
            **_ended(found, ended),
        },
        unmoved={reason: leads for reason, leads in unmoved_.items() if leads},
        parked={name: leads for name, leads in found.parked.items() if leads},
        most=found.most,
    )


def _ended(found: backlog.Backlog, ended: backlog.EndedCounts | None) -> dict[str, int | None]:
    names = ("completed", "failed", "skipped", "without status")
    if ended is None:
        return dict.fromkeys(names)
    counts = (ended.completed(found), ended.failed, ended.skipped, ended.without_status)
    return dict(zip(names, counts, strict=True))


def _daemon(daemon: DaemonRecord, now: datetime) -> DaemonStatus:
    report = daemon.report
    return DaemonStatus(
        holder=daemon.holder,
        version=report.version,
        presence=daemon.presence(now),
        started_at=daemon.started_at,
        seen_at=daemon.seen_at,
        in_work=report.in_work,
        concurrency=report.concurrency,
        is_stream_open=report.is_stream_open,
        stream_lag_seconds=report.stream_lag_seconds,
    )


def _is_alive(daemon: DaemonStatus) -> bool:
    return daemon.presence in (Presence.WORKING, Presence.STOPPING)


def _stream(alive: Sequence[DaemonRecord], position: datetime | None) -> Stream:
    lags = [
        each.report.stream_lag_seconds
        for each in alive
        if each.report.is_stream_open and each.report.stream_lag_seconds is not None
    ]
    return Stream(
        open=sum(each.report.is_stream_open for each in alive),
        lag_seconds=max(lags, default=None),
        position_saved_at=position,
        building_seconds=max(
            (s for each in alive if (s := each.report.groundwork.building_seconds) is not None),
            default=None,
        ),
        on_record=max(
            (n for each in alive if (n := each.report.groundwork.on_record) is not None),
            default=None,
        ),
    )


def _limit(provider: Provider, calls: int, sharing: Sequence[str]) -> Limit | None:
    """Show the window closest to a minute: longer ones bind later, shorter ones for a moment."""
    if not provider.windows:
        return None
    window = min(provider.windows, key=lambda each: abs(each.seconds - _MINUTE_SECONDS))
    used = calls * window.seconds / _MINUTE_SECONDS
    others = tuple(name for name in sharing if name != provider.name)
    return Limit(window.calls, window.seconds, round(used, 1), others)


def _bill(days: Sequence[DayOfProvider]) -> Bill:
    return Bill(
        calls=sum(day.begun for day in days),
        charged=sum(day.charged for day in days),
        saved=sum(day.saved_by_cache + day.saved_by_coalescing for day in days),
        ambiguous=sum(day.ambiguous for day in days),
    )


def _budgets(
    vendors: Mapping[str, VendorSettings], days: Sequence[DayOfProvider], now: datetime
) -> list[BudgetStatus]:
    today: defaultdict[str, int] = defaultdict(int)
    month: defaultdict[str, int] = defaultdict(int)
    for day in days:
        month[day.vendor] += day.spent
        today[day.vendor] += day.spent if day.day == now.date() else 0
    found = [
        BudgetStatus(
            name,
            _allowance(vendor.daily_budget, today[name]),
            _allowance(vendor.monthly_budget, month[name]),
        )
        for name, vendor in vendors.items()
    ]
    return [each for each in found if each.daily or each.monthly]


def _allowance(calls: int | None, used: int) -> Allowance | None:
    return None if calls is None else Allowance(calls, used, max(0, calls - used))


# For many viewers at once


@dataclass(slots=True)
class Shared:
    """The status as JSON, read at most once in `KEPT_SECONDS` however many ask, and only when asked."""

    read: Callable[[], Awaitable[FleetStatus]]
    clock: Callable[[], float] = time.monotonic
    _text: str = ""
    _read_at: float = float("-inf")
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def json(self) -> str | None:
        """Return the JSON; `None` while MongoDB does not answer."""
        async with self._lock:
            if self.clock() - self._read_at >= KEPT_SECONDS:
                self._text = await self._fresh()
                self._read_at = self.clock()
            return self._text or None

    async def _fresh(self) -> str:
        try:
            async with asyncio.timeout(LONGEST_SECONDS):
                return as_json(await self.read())
        except (*DatabaseTrouble, TimeoutError):
            return ""
