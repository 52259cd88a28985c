"""Build everything and run it: the only wiring besides `wiring`.

Nested task groups are the shutdown order. The inner one finds and does the work; the outer one
renews the leases and outlives it, so leads that finish during a drain keep theirs. The clients are
closed last, when nothing uses them any more.

    http server
      heartbeat, flights, ledger, presence   <- until the last call has ended
        watcher, worker, releases, census, sweep, plans      <- told to stop by the first signal

Each source of leads has a heartbeat, watcher, worker, releases and sweep of its own (`Loops`), and knows nothing of
the others: a collection that is dropped, or that the user may no longer write, holds up its own loops alone. All the
rest is there once: what the fleet shares, and the slots of the process.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import uuid
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import (
    AbstractContextManager,
    AsyncExitStack,
    asynccontextmanager,
    contextmanager,
    nullcontext,
)
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from random import Random

from bson import Timestamp
from loguru import logger
from pymongo import AsyncMongoClient
from pymongo.asynchronous.database import AsyncDatabase

from enricher import __version__, privileges, wiring
from enricher.answer import Kind
from enricher.calls.ceiling import ceiling_of
from enricher.calls.question import Books
from enricher.calls.releases import Plans, Releases
from enricher.enrichment.attempt import Enrichment
from enricher.http import Check, HttpServer
from enricher.identity.identify import identify
from enricher.intake.changes import Changes, fingerprint
from enricher.intake.checkpoints import Checkpoints, LeadRules
from enricher.intake.late import Late
from enricher.intake.sweep import Sweep
from enricher.intake.watcher import Watcher
from enricher.lead import Document, Inputs
from enricher.mongo import server
from enricher.mongo.outage import FailOver, refresh_delay
from enricher.process import shortage, signals
from enricher.process.systemd import supervised
from enricher.providers.base import Registered
from enricher.queue import inputs
from enricher.queue.conditions import leads_of, queue_of, require
from enricher.queue.copying import Copying
from enricher.queue.holds import bring_back
from enricher.queue.indexes import Building, Indexes
from enricher.queue.leads import Leads
from enricher.queue.outbox import Outbox
from enricher.queue.settle import Settler
from enricher.queue.worker import Bell, Heartbeat, Slots, Worker
from enricher.settings.load import Settings
from enricher.settings.sources import Source
from enricher.status.census import Census, CountsOfSources
from enricher.status.daemons import Daemons, SourceState, Teller
from enricher.status.ordering import Following
from enricher.status.overview import Overview, Shared
from enricher.status.reporting import KEPT_SECONDS, LONGEST_SECONDS, Reporting
from enricher.status.throughput import Activity, report
from enricher.telemetry import log, metrics
from enricher.telemetry.metrics import SourceGauges, share_gauges
from enricher.webhook.sending import Webhook

_POOL = 16
_POOL_OF_A_SOURCE = 8
"""Connections more for each source beyond the first: as many leads are written one by one at a time (`AT_ONCE`)."""
_PREPARING = "preparing the collections"
CLOSING_SECONDS = 5.0
"""How long a stop may take beyond the grace period; when MongoDB answers it takes a second."""
_GARBAGE = (20_000, 20, 20)
"""New objects before a collection, some 4 MB; and every how many collections one goes a generation further."""
_STREAM_POOL = 2
"""The stream has a client of its own: in a small shared pool its waiting reads would delay every other call."""


@dataclass(slots=True)
class Loops:
    """The loops of one source."""

    collection: str
    watcher: Watcher
    worker: Worker
    releases: Releases
    sweep: Sweep
    is_alone: bool
    """The daemon has no other source, so no line of the log need say which it is about."""

    @property
    def heartbeat(self) -> Heartbeat:
        """Keeps the leases of what the worker has in work."""
        return self.worker.heartbeat

    @property
    def outbox(self) -> Outbox | None:
        """Where the settles of the source are published; `None` where events are off."""
        return self.worker.settler.outbox

    async def prepare(self, found: server.Server, began: float | None) -> None:
        """Prepare what must be in the database before work begins; may be repeated. Raises DatabaseTrouble."""
        with self._named():
            await self.watcher.begin(began, found)
            await self.worker.leads.look_for_fatal()
            if self.outbox is not None:
                await self.outbox.ensure()

    def keep(self, group: asyncio.TaskGroup, drained: asyncio.Event) -> None:
        """Start what goes on until the last call has ended."""
        with self._named():
            group.create_task(self.heartbeat.run(drained), name="heartbeat")

    def work(self, group: asyncio.TaskGroup, stop: asyncio.Event) -> None:
        """Start what finds and does the work."""
        with self._named():
            group.create_task(self.watcher.run(stop), name="watcher")
            group.create_task(self.worker.run(stop), name="worker")
            group.create_task(self.releases.run(stop), name="releases")
            group.create_task(self.sweep.run(stop), name="sweep")
            if self.outbox is not None:
                group.create_task(self.outbox.run(stop), name="outbox")

    def _named(self) -> AbstractContextManager[None]:
        """Return a context whose tasks name the collection in what they log."""
        return (
            nullcontext()
            if self.is_alone
            else logger.contextualize(**{log.COLLECTION: self.collection})
        )

    def waiting(self) -> Iterator[str]:
        """Yield the loops whose last round trip failed."""
        outages = (
            self.watcher.reading,
            self.watcher.admitter.outage,
            self.watcher.search.outage,
            self.worker.outage,
            self.worker.settler.outage,
            self.heartbeat.outage,
            self.releases.outage,
        )
        of = "" if self.is_alone else f" of {self.collection}"
        return (f"{each.loop}{of}" for each in outages if not each.is_over)

    @property
    def are_indexes_coming(self) -> bool:
        """True while the claim's indexes are being built: a search would read every lead."""
        return self.watcher.building.indexes.are_coming

    def state(self) -> SourceState:
        """Return how the source stands."""
        is_open = self.watcher.is_streaming
        return SourceState(
            collection=self.collection,
            in_work=self.heartbeat.in_work,
            is_stream_open=is_open,
            stream_lag_seconds=round(self.watcher.lag_seconds, 3) if is_open else None,
            set_aside=self.worker.leads.aside.leads,
            groundwork=self.watcher.groundwork(),
        )


@dataclass(slots=True)
class Daemon:
    """The loops of one process."""

    mongodb: server.Server
    """What it runs on."""
    sources: Sequence[Loops]
    workshop: wiring.Workshop
    census: Census
    teller: Teller
    overview: Overview
    webhook: Webhook | None = None
    stop: asyncio.Event = field(init=False, default_factory=asyncio.Event)

    @property
    def books(self) -> Books:
        """The kept answers and the ledger."""
        return self.workshop.books

    @property
    def following(self) -> Following | None:
        """Follows the proposed order; `None` where the operator sets it."""
        return self.workshop.following

    @property
    def reporting(self) -> Reporting:
        """Reads what each provider was worth."""
        seen = self.overview
        return wiring.reporting(seen.settings, seen.database, seen.registered, self.books.keyring)

    @property
    def introduction(self) -> dict[str, str]:
        """What it runs on, for the log line of the start."""
        registered = self.overview.registered
        return {
            "mongodb": self.mongodb.version,
            "replica_set": self.mongodb.replica_set or "none",
            "providers": ", ".join(each.name for each in registered.providers),
            "without_key": ", ".join(registered.without_key),
        }

    async def prepare(self, reopening: wiring.Reopening, began: float | None) -> None:
        """Prepare what must be in the database before work begins; may be repeated. Raises DatabaseTrouble."""
        for source in self.sources:
            await source.prepare(self.mongodb, began)
        await self.books.cache.ensure()
        await self.books.usage.ensure()
        if self.webhook is not None:
            await self.webhook.deliveries.ensure()
        if self.following is not None:
            await self.following.read()
        reopened = await reopening.run(self.overview.registered.providers)
        for source in self.sources:
            source.releases.call_back([*reopened, *source.releases.gone])

    async def run(self) -> None:
        """Run until `stop` is set, and then until everything is drained."""
        drained, paid = asyncio.Event(), self.workshop.waterfall.paid
        plans = Plans([gate.provider for gate in paid])
        async with asyncio.TaskGroup() as keeping:
            for source in self.sources:
                source.keep(keeping, drained)
            keeping.create_task(self.books.cache.run(drained), name="flights")
            keeping.create_task(self.books.usage.run(drained), name="ledger")
            keeping.create_task(self.teller.run(drained, self.stop), name="presence")
            try:
                async with asyncio.TaskGroup() as working:
                    for source in self.sources:
                        source.work(working, self.stop)
                    working.create_task(self.census.run(self.stop), name="census")
                    working.create_task(plans.run(self.stop), name="plans")
                    if self.webhook is not None:
                        working.create_task(self.webhook.run(self.stop), name="webhook")
                    if self.following is not None:
                        working.create_task(self.following.run(self.stop), name="order")
                    await self._until_stopped()
                await self.workshop.waterfall.close(self.sources[0].worker.last_calls_seconds)
            finally:
                drained.set()

    async def _until_stopped(self) -> None:
        """Wait for `stop`, and set it however that ends: the driver may swallow a loop's cancellation."""
        try:
            await self.stop.wait()
        finally:
            self.stop.set()

    def is_database_available(self) -> Check:
        """Readiness: every loop's last round trip succeeded."""
        shared = (self.books.outage, self.books.cache.outage, self.books.usage.outage)
        waiting = [loop for source in self.sources for loop in source.waiting()]
        waiting += [outage.loop for outage in shared if not outage.is_over]
        return Check(not waiting, f"waiting: {', '.join(waiting)}" if waiting else "")

    def is_watching(self) -> Check:
        """Readiness: leads inserted from now on are seen as new."""
        blind = [source.collection for source in self.sources if not source.watcher.is_watching]
        if len(blind) < len(self.sources):
            return Check(not blind, f"not yet: {', '.join(blind)}" if blind else "")
        return Check(False, "not yet")

    def is_taking_work(self) -> Check:
        """Readiness: the daemon has not been told to stop."""
        return Check(not self.stop.is_set(), "stopping" if self.stop.is_set() else "")


async def run(settings: Settings, uri: str, began: float | None = None) -> None:
    """Run the daemon for its whole life; `began` is the process's beginning by `time.monotonic()`. Raises
    DatabaseError when it cannot begin."""
    shortage.raise_descriptor_limit()
    async with AsyncExitStack() as stack:
        daemon = await stack.enter_async_context(build(settings, uri, began))
        longest = settings.work.shutdown_grace_seconds + CLOSING_SECONDS
        stack.enter_context(_stopped_by_signals(daemon.stop, longest))
        await _end_if_told_while_starting()
        checks = {
            "database": daemon.is_database_available,
            "watching": daemon.is_watching,
            "work": daemon.is_taking_work,
        }
        status = Shared(daemon.overview.json)
        report = Shared(daemon.reporting.json, KEPT_SECONDS, LONGEST_SECONDS)
        web = HttpServer(settings.http, metrics.REGISTRY, checks, status.json, report.json)
        await stack.enter_async_context(web)
        logger.bind(host=settings.http.host, port=web.port).info("http.listening")
        logger.bind(**daemon.introduction).info("daemon.started")
        _tell_of_websites(settings, daemon.overview.registered)
        await stack.enter_async_context(supervised(daemon.stop))
        _collect_less_garbage()
        stack.enter_context(shortage.watched())
        await daemon.run()
    logger.info("daemon.stopped")


async def _end_if_told_while_starting() -> None:
    """End if a signal came during the start: it cancels the start, but the driver may have swallowed that,
    or the cancellation of a signal that came at the last moment is still to come."""
    await asyncio.sleep(0)
    signals.end_if_cancelled()


def _collect_less_garbage() -> None:
    """Freeze what exists now, and collect rarely: nearly all that leads leave behind is freed without a
    collection. Collecting again and again took a quarter of a lead's CPU."""
    gc.freeze()
    gc.set_threshold(*_GARBAGE)


@asynccontextmanager
async def build(
    settings: Settings, uri: str, began: float | None = None, fail_over: FailOver | None = None
) -> AsyncIterator[Daemon]:
    """Yield the daemon with everything connected and nothing running yet. Leads inserted since the process
    `began` count as new, even at a first start."""
    fail_over = fail_over or FailOver()
    async with AsyncExitStack() as stack:
        more = len(settings.sources) - 1
        client = await stack.enter_async_context(
            server.connect(uri, _POOL + more * _POOL_OF_A_SOURCE)
        )
        streaming = await stack.enter_async_context(server.connect(uri, _STREAM_POOL + more))
        found = await _usable(settings, client, fail_over)
        providers = await stack.enter_async_context(wiring.vendors(settings))
        metrics.initialise(__version__, [each.name for each in providers.providers])
        database, holder = client[settings.mongo.database], _holder()
        for source in settings.sources:
            await fail_over.outlast("trying the conditions", partial(require, database, source))
        log.name_instance(holder)
        opening = partial(wiring.open_books, settings, database, holder)
        books = await fail_over.outlast(_PREPARING, opening)
        log.label_with(books.keyring.key)
        workshop = wiring.open_workshop(settings, database, books, providers)
        overview = Overview(settings, database, providers)
        webhook = await stack.enter_async_context(wiring.webhook(settings, database))
        daemon = _wire(overview, streaming, workshop, holder, found, webhook)
        reopening = wiring.Reopening(database, books.usage)
        preparing = partial(daemon.prepare, reopening, began)
        await fail_over.outlast(_PREPARING, preparing)
        identify(Inputs(email="warm@up.com"))  # loads the word lists, which takes some 50 ms
        yield daemon


async def _usable(
    settings: Settings, client: AsyncMongoClient[Document], fail_over: FailOver
) -> server.Server:
    """Return the server if it answers and grants the privileges that the work requires."""
    found = []
    for source in settings.sources:
        of = client, settings.mongo.database, source.collection
        inspecting = partial(server.inspect, *of, source.results)
        found.append(await fail_over.outlast("looking at the server", inspecting))
        requiring = partial(
            privileges.require,
            *of,
            is_beside=source.is_beside,
            has_events=settings.events.are_on,
        )
        await fail_over.outlast("asking for the privileges", requiring)
    return found[0]


def _wire(
    overview: Overview,
    streaming: AsyncMongoClient[Document],
    workshop: wiring.Workshop,
    holder: str,
    found: server.Server,
    webhook: Webhook | None,
) -> Daemon:
    settings, database = overview.settings, overview.database
    daemons = Daemons(database, *(source.collection for source in settings.sources))
    activity = Activity(daemons.clock.now)
    sources = Wiring(
        workshop, streaming[database.name], holder, found.after, activity, webhook, daemons.clock
    ).wire()
    teller = Teller(
        daemons,
        holder,
        activity,
        workshop.waterfall.asked,
        lambda: [source.state() for source in sources],
    )
    census = _census(sources, workshop)
    return Daemon(found, sources, workshop, census, teller, overview, webhook)


def _census(sources: Sequence[Loops], workshop: wiring.Workshop) -> Census:
    waits_for = {gate.name: gate.waits_for for gate in workshop.waterfall.asked}
    leads = [source.worker.leads for source in sources]
    counts = CountsOfSources(
        [(each.collection, each.names) for each in leads],
        workshop.books.usage,
        list(waits_for),
        has_rechecks=bool(workshop.settings.rechecks.after),
    )
    return Census(
        counts,
        waits_for,
        can_count=lambda: not any(source.are_indexes_coming for source in sources),
    )


@dataclass(frozen=True, slots=True)
class Wiring:
    """What the loops of every source are made with."""

    workshop: wiring.Workshop
    streaming: AsyncDatabase[Document]
    """The workshop's database, over a client of its own."""
    holder: str
    origin: Timestamp | None
    """Where the oplog ended when the process connected."""
    activity: Activity
    webhook: Webhook | None
    clock: server.ServerClock

    @property
    def settings(self) -> Settings:
        return self.workshop.settings

    @property
    def database(self) -> AsyncDatabase[Document]:
        return self.workshop.database

    def wire(self) -> list[Loops]:
        """Return the loops of each source."""
        sources, slots = self.settings.sources, self._slots()
        shown = share_gauges(len(sources))
        return [self._wire(*each, slots) for each in zip(sources, shown, strict=True)]

    def _slots(self) -> Slots:
        pressure = self.workshop.waterfall.pressure
        return Slots(self.settings.work.concurrency, pressure=pressure)

    def _wire(self, source: Source, gauges: SourceGauges, slots: Slots) -> Loops:
        leads, bell = self._leads(source, gauges), Bell()
        enrichment = self.workshop.enrichment(source)
        subjects = enrichment.subjects
        late = Late(leads, subjects.whose, source.rerun_on_change, subjects.is_named_only)
        watcher = self._watcher(source, leads, bell, late)
        worker = self._worker(source, leads, enrichment, bell, slots)
        return Loops(
            source.collection,
            watcher,
            worker,
            self._releases(leads, watcher.building.indexes),
            Sweep.beside(watcher, self.settings.work),
            is_alone=self._is_alone,
        )

    @property
    def _is_alone(self) -> bool:
        return len(self.settings.sources) == 1

    def _leads(self, source: Source, gauges: SourceGauges) -> Leads:
        work = self.settings.work
        leads = leads_of(self.database, source)
        return Leads(
            queue_of(self.database, source),
            self.holder,
            timedelta(seconds=work.lease_seconds),
            wiring.rank(self.settings, source),
            account=inputs.account(source),
            plan=inputs.plan(source),
            beside=wiring.beside(self.settings, leads, source),
            keyring=self.workshop.books.keyring,
            suspect_after=max(1, work.max_attempts),
            gauges=gauges,
            names=source.names,
            mapped=inputs.mapping_of(source),
            refreshes=work.refresh_days > 0,
            counts_costs=ceiling_of(self.settings) is not None,
        )

    def _worker(
        self,
        source: Source,
        leads: Leads,
        enrichment: Enrichment,
        bell: Bell,
        slots: Slots,
    ) -> Worker:
        refresh_after = partial(refresh_delay, self.settings.work.refresh_days, Random())
        named = "" if self._is_alone else source.collection
        return Worker(
            Settler(
                leads.collection,
                refresh_after,
                apart=leads.apart,
                names=leads.names,
                mapped=leads.mapped,
                beside=leads.beside,
                keyring=leads.keyring,
                copying=Copying.of(source),
                outbox=wiring.outbox(self.settings, leads, self.clock, self.webhook),
            ),
            enrichment.work_on,
            partial(report, self.activity, collection=named),
            Heartbeat(leads),
            bell,
            self.settings.work,
            slots=slots,
        )

    def _watcher(self, source: Source, leads: Leads, bell: Bell, late: Late) -> Watcher:
        name, names, listened_to = source.collection, leads.names, source.listened_to
        is_beside, rules = source.is_beside, LeadRules(dict(source.only), source.reading)
        pipeline = fingerprint(names, listened_to, is_beside=is_beside)
        return Watcher(
            Building(Indexes(leads.collection, names), leads, bell),
            changes=Changes(
                self.streaming[name], names=names, fields=listened_to, is_beside=is_beside
            ),
            checkpoints=Checkpoints(
                self.database, name, pipeline, self.origin, names, rules, is_beside=is_beside
            ),
            history=wiring.history(self.settings, leads_of(self.database, source), source),
            settings=self.settings.work,
            late=late,
        )

    def _releases(self, leads: Leads, indexes: Indexes) -> Releases:
        return Releases(
            self.workshop.waterfall.asked,
            partial(bring_back, leads.collection, apart=leads.apart, names=leads.names),
            self.settings.work.lead_timeout_seconds,
            can_search=lambda: not indexes.are_coming,
            gone=self.workshop.waterfall.gone,
            sharing=len(self.settings.sources),
        )


def _holder() -> str:
    """Return a holder's name for people: unique even where host names and pids repeat."""
    return f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"


def _tell_of_websites(settings: Settings, registered: Registered) -> None:
    """Say what a newcomer may not know: companies cost no key; and what must not go unnoticed."""
    if all(each.kind is not Kind.COMPANY for each in registered.providers):
        logger.bind(setting="ENRICHER_WEBSITE").info("website.off")
    if settings.website.is_on and settings.website.loopback is not None:
        logger.bind(port=settings.website.loopback).warning("website.loopback")


@contextmanager
def _stopped_by_signals(stop: asyncio.Event, longest: float) -> Iterator[None]:
    """Drain at the first signal; at the second, end the process at once, by that signal.

    The same happens `longest` seconds after the first: a silent database would hold up each step of
    the drain. What was in work is done again when its lease expires.
    """
    loop = asyncio.get_running_loop()
    timers: list[asyncio.TimerHandle] = []

    def drain(number: signal.Signals) -> None:
        logger.bind(signal=number.name).info("daemon.stopping")
        stop.set()
        timers.append(loop.call_later(longest, cut_short, number))

    def cut_short(number: signal.Signals) -> None:
        logger.bind(seconds=longest).warning("drain.cut_short")
        signals.end_by(number)

    try:
        with signals.heeding(drain):
            yield
    finally:
        for timer in timers:
            timer.cancel()
