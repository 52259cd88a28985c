"""Build everything and run it: the only wiring besides `wiring`.

Nested task groups are the shutdown order. The inner one finds and does the work; the outer one
renews the leases and outlives it, so leads that finish during a drain keep theirs. The clients are
closed last, when nothing uses them any more.

    http server
      heartbeat, flights, ledger, presence   <- until the last call has ended
        watcher, worker, releases, census, sweep, plans      <- told to stop by the first signal
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from random import Random

from bson import Timestamp
from loguru import logger
from pymongo import AsyncMongoClient

from enricher import __version__, privileges, wiring
from enricher.calls.question import Books
from enricher.calls.releases import Plans, Releases
from enricher.enrichment.attempt import Enrichment, Waterfall
from enricher.fields import NAMES
from enricher.http import Check, HttpServer
from enricher.identity.identify import identify
from enricher.intake.changes import Changes, fingerprint
from enricher.intake.checkpoints import Checkpoints
from enricher.intake.history import History
from enricher.intake.sweep import Sweep
from enricher.intake.watcher import Watcher
from enricher.lead import Document, Inputs
from enricher.mongo import server
from enricher.mongo.outage import FailOver, refresh_delay
from enricher.process import shortage, signals
from enricher.process.systemd import supervised
from enricher.providers.base import Provider, Registered
from enricher.queue import backlog, book, unmoved
from enricher.queue.holds import bring_back
from enricher.queue.indexes import Indexes
from enricher.queue.leads import Leads
from enricher.queue.settle import Settler
from enricher.queue.worker import Bell, Heartbeat, Worker
from enricher.settings.load import Settings
from enricher.status.census import Census
from enricher.status.daemons import Daemons, Teller
from enricher.status.overview import Overview, Shared
from enricher.status.throughput import Activity, report
from enricher.telemetry import log, metrics

_POOL = 16
_PREPARING = "preparing the collections"
CLOSING_SECONDS = 5.0
"""How long a stop may take beyond the grace period; when MongoDB answers it takes a second."""
_GARBAGE = (20_000, 20, 20)
"""New objects before a collection, some 4 MB; and every how many collections one goes a generation further."""
_STREAM_POOL = 2
"""The stream has a client of its own: in a small shared pool its waiting reads would delay every other call."""


@dataclass(slots=True)
class Daemon:
    """The loops of one process."""

    watcher: Watcher
    worker: Worker
    waterfall: Waterfall
    heartbeat: Heartbeat
    books: Books
    releases: Releases
    census: Census
    sweep: Sweep
    plans: Plans
    teller: Teller
    overview: Overview
    introduction: Mapping[str, str] = field(default_factory=dict)
    """What it runs on, for the log line of the start."""
    stop: asyncio.Event = field(default_factory=asyncio.Event)

    async def prepare(
        self,
        reopening: wiring.Reopening,
        providers: Sequence[Provider],
        found: server.Server,
        began: float | None,
    ) -> None:
        """Prepare what must be in the database before work begins; may be repeated. Raises DatabaseTrouble."""
        await self.watcher.begin(began, found)
        await self.worker.leads.look_for_fatal()
        await self.books.cache.ensure()
        await self.books.usage.ensure()
        self.releases.call_back(await reopening.run(providers))

    async def run(self) -> None:
        """Run until `stop` is set, and then until everything is drained."""
        drained = asyncio.Event()
        async with asyncio.TaskGroup() as keeping:
            keeping.create_task(self.heartbeat.run(drained), name="heartbeat")
            keeping.create_task(self.books.cache.run(drained), name="flights")
            keeping.create_task(self.books.usage.run(drained), name="ledger")
            keeping.create_task(self.teller.run(drained, self.stop), name="presence")
            try:
                async with asyncio.TaskGroup() as working:
                    working.create_task(self.watcher.run(self.stop), name="watcher")
                    working.create_task(self.worker.run(self.stop), name="worker")
                    working.create_task(self.releases.run(self.stop), name="releases")
                    working.create_task(self.census.run(self.stop), name="census")
                    working.create_task(self.sweep.run(self.stop), name="sweep")
                    working.create_task(self.plans.run(self.stop), name="plans")
                    await self._until_stopped()
                await self.waterfall.close(self.worker.last_calls_seconds)
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
        loops = (
            self.watcher.reading,
            self.watcher.admitter.outage,
            self.watcher.search.outage,
            self.worker.outage,
            self.worker.settler.outage,
            self.heartbeat.outage,
            self.books.outage,
            self.books.cache.outage,
            self.books.usage.outage,
            self.releases.outage,
        )
        waiting = [outage.loop for outage in loops if not outage.is_over]
        return Check(not waiting, f"waiting: {', '.join(waiting)}" if waiting else "")

    def is_watching(self) -> Check:
        """Readiness: leads inserted from now on are seen as new."""
        return Check(self.watcher.is_watching, "" if self.watcher.is_watching else "not yet")

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
        shared = Shared(daemon.overview.status)
        web = HttpServer(settings.http, metrics.REGISTRY, checks, shared.json)
        await stack.enter_async_context(web)
        logger.bind(host=settings.http.host, port=web.port).info("http.listening")
        logger.bind(**daemon.introduction).info("daemon.started")
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
        client = await stack.enter_async_context(server.connect(uri, _POOL))
        streaming = await stack.enter_async_context(server.connect(uri, _STREAM_POOL))
        found = await _usable(settings, client, fail_over)
        providers = await stack.enter_async_context(wiring.vendors(settings))
        metrics.initialise(__version__, [each.name for each in providers.providers])
        database, holder = client[settings.mongo.database], _holder()
        log.name_instance(holder)
        opening = partial(wiring.open_books, settings, database, holder)
        books = await fail_over.outlast(_PREPARING, opening)
        log.label_with(books.keyring.key)
        enrichment = wiring.enrichment(settings, database, books, providers)
        overview = Overview(settings, database, providers)
        daemon = _wire(overview, streaming, enrichment, books, holder, found.after)
        reopening = wiring.Reopening(database, books.usage)
        preparing = partial(daemon.prepare, reopening, providers.providers, found, began)
        await fail_over.outlast(_PREPARING, preparing)
        identify(Inputs(email="warm@up.com"))  # loads the word lists, which takes some 50 ms
        daemon.introduction = _introduction(found, providers)
        yield daemon


async def _usable(
    settings: Settings, client: AsyncMongoClient[Document], fail_over: FailOver
) -> server.Server:
    """Return the server if it answers and grants the privileges that the work requires."""
    asked = client, settings.mongo.database, settings.mongo.collection
    found = await fail_over.outlast("looking at the server", partial(server.inspect, *asked))
    await fail_over.outlast("asking for the privileges", partial(privileges.require, *asked))
    return found


def _wire(
    overview: Overview,
    streaming: AsyncMongoClient[Document],
    enrichment: Enrichment,
    books: Books,
    holder: str,
    origin: Timestamp | None,
) -> Daemon:
    settings, database = overview.settings, overview.database
    collection, bell = database[settings.mongo.collection], Bell()
    daemons = Daemons(database, collection.name)
    lease = timedelta(seconds=settings.work.lease_seconds)
    rank = book.priority(settings.priority.field, list(settings.priority.order))
    leads = Leads(
        collection,
        holder,
        lease,
        rank,
        account=book.account(settings.quota.account_field),
        plan=book.plan(settings.quota.plan_field),
        keyring=books.keyring,
        suspect_after=max(1, settings.work.max_attempts),
    )
    heartbeat = Heartbeat(leads)
    refresh_after = partial(refresh_delay, settings.work.refresh_days, Random())
    settler = Settler(collection, refresh_after, apart=leads.apart)
    activity = Activity(daemons.clock.now)
    worker = Worker(
        leads,
        settler,
        enrichment.work_on,
        partial(report, activity),
        heartbeat,
        bell,
        settings.work,
        pressure=enrichment.waterfall.pressure,
    )
    watcher = Watcher(
        leads=leads,
        changes=Changes(streaming[database.name][collection.name]),
        checkpoints=Checkpoints(database, collection.name, fingerprint(NAMES), origin),
        history=History(collection),
        indexes=Indexes(collection),
        bell=bell,
        settings=settings.work,
    )
    releases = Releases(
        enrichment.waterfall.paid,
        partial(bring_back, collection, apart=leads.apart),
        settings.work.lead_timeout_seconds,
        can_search=lambda: not watcher.indexes.are_coming,
    )
    paid = enrichment.waterfall.paid
    waits_for = {gate.name: gate.waits_for for gate in paid}
    census = Census(
        partial(backlog.look, collection, list(waits_for)),
        partial(backlog.ended, collection),
        books.usage.budgets,
        partial(server.window_seconds, database.client),
        partial(unmoved.count, collection),
        waits_for,
        can_count=lambda: not watcher.indexes.are_coming,
    )
    teller = Teller(
        daemons,
        holder,
        activity,
        paid,
        lambda: watcher.lag_seconds,
        leads.aside,
        watcher.groundwork,
    )
    plans = Plans([gate.provider for gate in paid])
    sweep = Sweep.beside(watcher, settings.work)
    return Daemon(
        watcher,
        worker,
        enrichment.waterfall,
        heartbeat,
        books,
        releases,
        census,
        sweep,
        plans,
        teller,
        overview,
    )


def _holder() -> str:
    """Return a holder's name for people: unique even where host names and pids repeat."""
    return f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"


def _introduction(found: server.Server, providers: Registered) -> dict[str, str]:
    return {
        "mongodb": found.version,
        "replica_set": found.replica_set or "none",
        "providers": ", ".join(each.name for each in providers.providers),
        "without_key": ", ".join(providers.without_key),
    }


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
