"""Reads the whole picture of the fleet from MongoDB: what `enricher status` and the status page show.

The parts are read separately and concurrently; one that the user may not read, or that fails, is left out
and named. Only when the server itself does not answer does the error reach the caller.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TypeVar

from pymongo.asynchronous.database import AsyncDatabase

from enricher.calls.breaker import Circuit
from enricher.calls.ceiling import MILLION, Ceiling, ceiling_of
from enricher.calls.ledger import DayOfProvider, Usage
from enricher.calls.order import Order, Orders
from enricher.enrichment.rechecks import Rechecks, rules_of
from enricher.intake.checkpoints import saved_at
from enricher.lead import Document
from enricher.limits.bucket import Stopped, stopped
from enricher.mongo import DatabaseTrouble
from enricher.mongo.outage import describe, is_denied
from enricher.providers.base import Provider, Registered
from enricher.queue import backlog, unmoved
from enricher.queue.conditions import queue_of
from enricher.settings.load import Settings
from enricher.settings.sources import Source
from enricher.settings.vendors import VendorSettings
from enricher.status.daemons import DaemonRecord, Daemons, Presence, SourceState
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
    OrderStatus,
    ProviderStatus,
    RecheckCost,
    RecheckStatus,
    SourceStatus,
    Stream,
    WebhookStatus,
    as_json,
    join_backlogs,
    minute_status,
)
from enricher.status.throughput import hour, latest
from enricher.telemetry.log import redact
from enricher.webhook.deliveries import Deliveries, Waiting

Result = TypeVar("Result")
Number = TypeVar("Number", int, float)

_DAYS = 31
_SHARE = 50
"""Of a viewer's time, at most a fiftieth is spent counting how leads ended."""
_MINUTE_SECONDS = 60.0
_SEVERITY = (Circuit.CLOSED, Circuit.HALF_OPEN, Circuit.OPEN)
_AGAIN_SECONDS = 30.0
"""What could not be read is read again after this time at the latest."""
KEPT_SECONDS = 2.0
"""However many view the page, the database is asked once in this many seconds."""
LONGEST_SECONDS = 5.0
"""A viewer is told that MongoDB does not answer rather than kept waiting for longer."""


@dataclass(slots=True)
class Overview:
    """Reads the status of all sources of leads, by the settings of their daemons."""

    settings: Settings
    database: AsyncDatabase[Document]
    registered: Registered
    _rare: dict[str, _Rare] = field(default_factory=dict)
    """Collection -> what was last counted there."""
    _rechecks_counted: backlog.RecheckCounts | None = None
    _rechecks_at: float = float("-inf")

    async def json(self) -> str:
        """Return the status as one object. Raises DatabaseTrouble."""
        return as_json(await self.status())

    async def status(self) -> FleetStatus:
        """Return the status as it is now. Raises DatabaseTrouble."""
        hello = await self.database.client.admin.command("hello")
        now = hello["localTime"].replace(tzinfo=UTC)
        parts = _Parts()
        buckets = [provider.bucket for provider in self._asked]
        seen = await parts.read("daemons", Daemons(self.database, *self._collections).seen(), [])
        daemons = [_daemon(each, now) for each in seen]
        alive = [each for each, shown in zip(seen, daemons, strict=True) if _is_alive(shown)]
        sources, stops, days, order = await asyncio.gather(
            asyncio.gather(*(self._source(parts, each, alive) for each in self.settings.sources)),
            parts.read("holds", stopped(self.database, buckets, now), {}),
            parts.read("calls", Usage(self.database, {}, {}).days(_DAYS), []),
            self._order(parts),
        )
        this_month = [day for day in days if (day.day.year, day.day.month) == (now.year, now.month)]
        return FleetStatus(
            at=now,
            leads=", ".join(f"{self.database.name}.{name}" for name in self._collections),
            backlog=join_backlogs([each.backlog for each in sources if each.backlog]),
            stream=_join_streams(sources, alive),
            daemons=daemons,
            providers=[self._provider(each, alive, stops, this_month, now) for each in self._asked],
            without_key=self.registered.without_key,
            budgets=_budgets(self.settings.vendors, this_month, now),
            hour=[minute_status(at, minute) for at, minute in hour((d.minutes for d in seen), now)],
            last=latest(each.last for each in seen),
            order=order,
            sources=sources,
            rechecks=await self._rechecks(parts),
            webhook=await self._webhook(parts),
            unknown=parts.unknown,
        )

    async def _webhook(self, parts: _Parts) -> WebhookStatus | None:
        if self.settings.events.url is None:
            return None
        found = await parts.read("webhook", Deliveries(self.database).waiting(), None)
        return None if found is None else webhook_status(found, self.settings.events.shown_url)

    async def _order(self, parts: _Parts) -> OrderStatus | None:
        if not self.settings.providers.is_auto:
            return None
        order = await parts.read("order", Orders(self.database).read(), Order())
        return OrderStatus(
            kinds=order.proposals,
            explored=order.explored,
            changes=[each.sentence for each in order.changes],
            looked_at=order.looked_at,
            next_at=order.next_at,
        )

    @property
    def _collections(self) -> list[str]:
        return [source.collection for source in self.settings.sources]

    async def _source(
        self, parts: _Parts, source: Source, alive: Sequence[DaemonRecord]
    ) -> SourceStatus:
        collection = source.collection
        of = f" of {collection}" if len(self._collections) > 1 else ""
        states = [state for each in alive if (state := each.state_of(collection))]
        waiting, position = await asyncio.gather(
            self._counted(parts, f"backlog{of}", source, states),
            parts.read(f"stream{of}", saved_at(self.database, collection), None),
        )
        return SourceStatus(
            collection=collection,
            backlog=_with_set_aside(waiting, states),
            stream=_stream(states, position),
            in_work=sum(each.in_work for each in states),
        )

    async def _rechecks(self, parts: _Parts) -> RecheckStatus | None:
        """Count the leads to be looked at again, and what that costs at most."""
        if not self.settings.rechecks.after:
            return None
        counted = await parts.read("rechecks", self._recheck_counts(), None)
        usage = Usage(self.database, {}, {})
        made = await parts.read("calls of rechecks", usage.rechecked(), 0)
        if counted is None:
            parts.unknown.setdefault("rechecks", "counting them takes too long")
            return None
        rules = rules_of(self.settings.rechecks, self.settings.vendors, self._paid)
        most = ceiling_of(self.settings)
        costs = {each.name: self._recheck_cost(each, rules, counted, most) for each in self._paid}
        return RecheckStatus(
            counted.due,
            counted.coming,
            made,
            self.settings.rechecks.per_day,
            {name: cost for name, cost in costs.items() if cost.calls},
            None if most is None else _left_below(most, counted.spent),
        )

    async def _recheck_counts(self) -> backlog.RecheckCounts | None:
        """Return the counts of all sources, counted rarely."""
        if (began := time.monotonic()) >= self._rechecks_at:
            queues = [(queue_of(self.database, each), each.names) for each in self.settings.sources]
            counts = [await backlog.rechecks(*each) for each in queues]
            self._rechecks_counted = backlog.join_rechecks(counts)
            self._rechecks_at = began + _SHARE * (time.monotonic() - began)
        return self._rechecks_counted

    def _recheck_cost(
        self,
        provider: Provider,
        rules: Rechecks,
        counted: backlog.RecheckCounts,
        most: Ceiling | None,
    ) -> RecheckCost:
        calls = sum(
            leads
            for (name, said, is_unknown, spent), leads in counted.answers.items()
            if name == provider.name
            and rules.may_ask(name, provider.kind, said, is_unknown_verdict=is_unknown)
            and (most is None or spent + most.cost_of(provider) <= most.most)
        )
        vendor = self.settings.vendors.get(provider.vendor)
        price = vendor.credit_price if vendor else None
        credits_ = calls * provider.credits
        return RecheckCost(calls, credits_, None if price is None else credits_ * price)

    async def _counted(
        self,
        parts: _Parts,
        name: str,
        source: Source,
        states: Sequence[SourceState],
    ) -> BacklogStatus | None:
        """Count the backlog, unless its indexes are missing: each count would read every lead and time out."""
        if any(each.groundwork.are_indexes_coming for each in states):
            parts.unknown[name] = "the indexes are being built"
            return None
        return await parts.read(name, self._backlog(source), None)

    async def _backlog(self, source: Source) -> BacklogStatus:
        """Count the backlog; how leads ended only rarely, because that is expensive where there are many."""
        names, asked = source.names, [each.name for each in self._asked]
        leads = queue_of(self.database, source)
        rare = self._rare.setdefault(leads.name, _Rare())
        if (began := time.monotonic()) >= rare.next_at:
            rare.ended = await backlog.ended(leads, names)
            rare.unmoved = await unmoved.count(leads, names)
            rare.next_at = began + _SHARE * (time.monotonic() - began)
        found = await backlog.look(leads, asked, names=names)
        return _backlog(found, rare.ended, rare.unmoved or {})

    @property
    def _paid(self) -> Sequence[Provider]:
        return [each for each in self.registered.providers if not each.is_free]

    @property
    def _asked(self) -> Sequence[Provider]:
        return [each for each in self.registered.providers if not each.is_rule]

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
        sharing = [each.name for each in self._asked if each.bucket == provider.bucket]
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
            is_free=provider.is_free,
            today=_bill([day for day in of_provider if day.day == now.date()]),
            month=_bill(of_provider),
        )


@dataclass(slots=True)
class _Rare:
    """What of one collection is counted only now and then."""

    ended: backlog.EndedCounts | None = None
    unmoved: Mapping[str, int] | None = None
    next_at: float = 0.0


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


def _left_below(most: Ceiling, spent: Mapping[int, int]) -> float:
    """Return what leads may cost yet together. `spent`: what one has cost so far -> leads."""
    left = (leads * max(0, most.most - cost) for cost, leads in spent.items())
    return sum(left) / MILLION


def _with_set_aside(
    found: BacklogStatus | None, states: Sequence[SourceState]
) -> BacklogStatus | None:
    leads = max((each.set_aside for each in states), default=0)
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


def webhook_status(found: Waiting, to: str | None) -> WebhookStatus:
    return WebhookStatus(
        waiting=found.events,
        oldest_seconds=found.oldest_seconds,
        given_up=found.given_up,
        error=found.error,
        to=to,
        delivered_at=found.delivered_at,
        failing_since=found.failing_since,
    )


def _is_alive(daemon: DaemonStatus) -> bool:
    return daemon.presence in (Presence.WORKING, Presence.STOPPING)


def _stream(states: Sequence[SourceState], position: datetime | None) -> Stream:
    return Stream(
        open=sum(each.is_stream_open for each in states),
        lag_seconds=_most(each.stream_lag_seconds for each in states if each.is_stream_open),
        position_saved_at=position,
        building_seconds=_most(each.groundwork.building_seconds for each in states),
        on_record=_most(each.groundwork.on_record for each in states),
    )


def _join_streams(sources: Sequence[SourceStatus], alive: Sequence[DaemonRecord]) -> Stream:
    """Return how all new leads are seen: the stream of a daemon is open while that of each source is."""
    streams = [source.stream for source in sources]
    if len(streams) == 1:
        return streams[0]
    saved = [each.position_saved_at for each in streams if each.position_saved_at]
    on_record = [each.on_record for each in streams if each.on_record is not None]
    return Stream(
        open=sum(each.report.is_stream_open for each in alive),
        lag_seconds=_most(each.lag_seconds for each in streams),
        position_saved_at=min(saved, default=None),
        building_seconds=_most(each.building_seconds for each in streams),
        on_record=sum(on_record) if on_record else None,
    )


def _most(values: Iterable[Number | None]) -> Number | None:
    return max((value for value in values if value is not None), default=None)


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
    """JSON that is read at most once in `kept_seconds` however many ask, and only when asked."""

    read: Callable[[], Awaitable[str]]
    kept_seconds: float = KEPT_SECONDS
    longest_seconds: float = LONGEST_SECONDS
    clock: Callable[[], float] = time.monotonic
    _text: str = ""
    _read_at: float = float("-inf")
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def json(self) -> str | None:
        """Return the JSON; `None` while MongoDB does not answer."""
        async with self._lock:
            kept = self.kept_seconds if self._text else min(self.kept_seconds, _AGAIN_SECONDS)
            if self.clock() - self._read_at >= kept:
                self._text = await self._fresh()
                self._read_at = self.clock()
            return self._text or None

    async def _fresh(self) -> str:
        try:
            async with asyncio.timeout(self.longest_seconds):
                return await self.read()
        except (*DatabaseTrouble, TimeoutError):
            return ""
