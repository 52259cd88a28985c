"""Build what stands between a lead and its vendors. With `app` the only wiring.

Everything that the fleet shares is attached to the database here: kept answers, the ledger, the limits
and holds of each vendor, the suppression list. A start asks each held vendor again, because an operator
who has fixed the cause restarts the daemon; the leads that wait for it, or for a budget that was raised,
come back spread out.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial

from pydantic import SecretStr
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.database import AsyncDatabase

from enricher import __version__
from enricher.calls.breaker import Objecting
from enricher.calls.ceiling import ceiling_of
from enricher.calls.flights import Cache
from enricher.calls.ledger import RECHECKS, Budget, Usage
from enricher.calls.order import FleetOrder, Orders
from enricher.calls.question import Books, Gate, Lifetimes
from enricher.calls.releases import pace
from enricher.enrichment.attempt import Enrichment, Scope, Subjects, Waterfall
from enricher.enrichment.conclude import AttemptPolicy
from enricher.enrichment.rechecks import NEVER, Rechecks, rules_of
from enricher.identity.identify import OwnWords, own_words
from enricher.intake.history import History, HistoryBeside
from enricher.lead import Document
from enricher.limits.bucket import ORDINARY_PAUSE, Bucket
from enricher.limits.limiter import Limiter
from enricher.mongo.expressions import Expression
from enricher.mongo.outage import Outage
from enricher.mongo.secret import Keyring, keyring
from enricher.mongo.server import ServerClock
from enricher.privacy.forgetting import Erasure, Forgetting
from enricher.privacy.suppression import Objections, Permission, Suppressed, key_of
from enricher.providers import registry, transport
from enricher.providers.base import Access, Provider, Registered
from enricher.providers.cnpj import Cnpj
from enricher.queue import inputs
from enricher.queue.beside import Beside, noted_rank
from enricher.queue.conditions import Look, leads_of
from enricher.queue.leads import Leads
from enricher.queue.outbox import Outbox, forget
from enricher.queue.requests import Requests
from enricher.settings.load import Settings, WebsiteSettings
from enricher.settings.sources import Source
from enricher.status.ordering import Following, Price, Proposing
from enricher.status.reporting import Reporting
from enricher.status.samples import Sampled, Sampler
from enricher.telemetry import metrics
from enricher.webhook.deliveries import Deliveries
from enricher.webhook.sending import Webhook, open_receiver

_OWN_NAME = f"enricher/{__version__}"
"""How we introduce ourselves."""


@asynccontextmanager
async def vendors(settings: Settings) -> AsyncIterator[Registered]:
    """Yield the providers, those of vendors over one shared client."""
    async with transport.open_client(_OWN_NAME) as client:
        with _website(settings.website) as website:
            own = (website, _register(settings, client))
            yield registry.build(
                client,
                _accesses(settings),
                _per_minute(settings),
                settings.providers,
                mx_lookup=settings.identity.mx_lookup,
                own=[each for each in own if each is not None],
                finds_domain=settings.identity.finds_domain,
            )


@contextmanager
def _website(wanted: WebsiteSettings) -> Iterator[Provider | None]:
    """Yield the provider that reads companies' own sites; `None` where the operator has not turned it on."""
    if not wanted.is_on:
        yield None
        return
    from enricher.providers.website import fetch, provider, visit  # noqa: PLC0415 - 120 ms of a start

    network, pause = fetch.internet(), visit.PAUSE_SECONDS
    if wanted.loopback is not None:
        network, pause = fetch.loopback(wanted.loopback), 0.0
    visitor = visit.Visitor(network, wanted.user_agent or _OWN_NAME, visit.Manners(pause))
    try:
        yield provider.Website(visitor)
    finally:
        visitor.close()


def _register(settings: Settings, client: transport.Client) -> Provider | None:
    """Return the provider that asks the Brazilian register; `None` where the operator has not turned it on."""
    wanted = settings.cnpj
    access = Access(SecretStr(""), wanted.base_url, settings.work.provider_timeout_seconds)
    return Cnpj(client, access, wanted.per_minute) if wanted.is_on else None


def _accesses(settings: Settings) -> dict[str, Access]:
    seconds = settings.work.provider_timeout_seconds
    return {
        name: Access(vendor.key, vendor.base_url, seconds)
        for name, vendor in settings.vendors.items()
        if vendor.key is not None
    }


def _per_minute(settings: Settings) -> dict[str, int]:
    limits = {name: vendor.per_minute for name, vendor in settings.vendors.items()}
    return {name: limit for name, limit in limits.items() if limit is not None}


def open_usage(settings: Settings, database: AsyncDatabase[Document]) -> Usage:
    """Return the ledger with the configured budgets and quotas."""
    budgets = {
        name: Budget(vendor.daily_budget, vendor.monthly_budget)
        for name, vendor in settings.vendors.items()
    }
    if settings.rechecks.after:
        budgets[RECHECKS] = Budget(daily=settings.rechecks.per_day)
    return Usage(database, budgets, settings.quota.plans)


async def open_books(settings: Settings, database: AsyncDatabase[Document], holder: str) -> Books:
    """Open the kept answers and the ledger. Creates the fleet's secret at the first start."""
    ring = await keyring(database, settings.privacy.hash_key)
    suppressed, objections = Suppressed(database), Objections(database)

    async def note_objection(vendor: str, email_key: str, answers: int) -> Objecting:
        return await objections.note(vendor, key_of(ring, email_key), answers)

    return Books(
        cache=Cache(database, holder, settings.work.lease_seconds),
        usage=open_usage(settings, database),
        keyring=ring,
        lifetimes=Lifetimes(
            timedelta(days=settings.cache.days), timedelta(days=settings.cache.negative_days)
        ),
        is_suppressed=partial(suppressed.knows, ring),
        note_objection=note_objection,
    )


def beside(settings: Settings, leads: AsyncCollection[Document], source: Source) -> Beside | None:
    """Return the leads of a source whose results stand beside them; `None` where they stand on the leads."""
    if not source.is_beside:
        return None
    return Beside(
        leads,
        leads.database[source.results],
        inputs.rank(source, settings.priority.order),
        inputs.account(source),
        inputs.plan(source),
        source.names,
        inputs.mapping_of(source),
    )


def rank(settings: Settings, source: Source) -> Expression:
    """Return how urgent a lead is, as it is read where the queue stands."""
    if source.is_beside:
        return noted_rank(source.names)
    return inputs.rank(source, settings.priority.order)


def requests(settings: Settings, leads: AsyncCollection[Document], source: Source) -> Requests:
    """Return what asks for enrichment of these leads of a source."""
    apart = beside(settings, leads, source)
    queue = leads if apart is None else apart.results
    return Requests(queue, rank(settings, source), source.names, apart)


def history(settings: Settings, leads: AsyncCollection[Document], source: Source) -> History:
    """Return the record of a source's leads from before the first start."""
    apart = beside(settings, leads, source)
    return History(leads, names=source.names) if apart is None else HistoryBeside(apart)


def erasure(settings: Settings, leads: AsyncCollection[Document], source: Source) -> Erasure:
    """Return what erases persons from the results of a source."""
    apart, mapped = beside(settings, leads, source), inputs.mapping_of(source)
    queue = leads if apart is None else apart.results
    return Erasure(queue, names=source.names, mapped=mapped, beside=apart)


@asynccontextmanager
async def webhook(
    settings: Settings, database: AsyncDatabase[Document]
) -> AsyncIterator[Webhook | None]:
    """Yield what delivers events to the operator's address; `None` without one."""
    events = settings.events
    if events.url is None:
        yield None
        return
    async with open_receiver(events.url.get_secret_value(), events.keys, _OWN_NAME) as receiver:
        grace = settings.work.shutdown_grace_seconds
        yield Webhook(receiver, Deliveries(database), grace_seconds=grace)


def outbox(
    settings: Settings, leads: Leads, clock: ServerClock, receiver: Webhook | None
) -> Outbox | None:
    """Return where the events of these leads are published; `None` where they are off."""
    if not settings.events.are_on:
        return None
    kept = timedelta(days=settings.events.days)
    return Outbox(leads, clock.now, kept, receiver.ring if receiver else None)


def words_of(settings: Settings) -> OwnWords:
    """Return the operator's own words about names, for all code that identifies leads."""
    own = settings.identity
    return own_words(
        own.internal_domains,
        own.role_names,
        own.platform_domains,
        asks_register=settings.cnpj.is_on,
        finds_domain=own.finds_domain,
    )


@dataclass(frozen=True, slots=True)
class Workshop:
    """What the leads of all sources are worked on with: each vendor is asked in one place."""

    settings: Settings
    database: AsyncDatabase[Document]
    books: Books
    waterfall: Waterfall
    forgetting: Forgetting
    rechecks: Rechecks = NEVER
    following: Following | None = None
    """Follows the proposed order; `None` where the operator sets it."""

    def enrichment(self, source: Source) -> Enrichment:
        """Return everything that the work on one lead of this source needs."""
        work = self.settings.work
        delay = timedelta(seconds=work.retry_delay_seconds)
        forget = partial(self.forgetting.run, spared_in=source.collection)
        return Enrichment(
            waterfall=self.waterfall,
            subjects=Subjects(self.books.keyring, self.forgetting.words),
            policy=AttemptPolicy(work.max_attempts, delay, work.lead_timeout_seconds),
            permission=Permission(self.books, self.forgetting.suppressed, forget),
            scope=_scope(self.settings, source, self.database),
            rechecks=self.rechecks,
        )


def open_workshop(
    settings: Settings, database: AsyncDatabase[Document], books: Books, registered: Registered
) -> Workshop:
    """Build what all sources share. Who objects at a vendor is forgotten in each of them."""
    providers, suppressed, words = registered.providers, Suppressed(database), words_of(settings)
    erasures = [erasure(settings, database[each.collection], each) for each in settings.sources]
    strike = partial(forget, database) if settings.events.are_on else None
    following = _following(settings, database, registered, books.keyring)
    standing = following.standing if following else None
    return Workshop(
        settings,
        database,
        books,
        Waterfall(_gates(settings, providers, database, books), registered.without_key, standing),
        Forgetting(suppressed, erasures, books.cache, books.keyring, providers, words, strike),
        rules_of(settings.rechecks, settings.vendors, providers),
        following,
    )


def proposing(
    settings: Settings,
    database: AsyncDatabase[Document],
    registered: Registered,
    ring: Keyring | None,
) -> Proposing:
    """Return what proposes an order, from what is known of all sources' leads."""
    sampled = [
        Sampled(each.results, each.collection, each.names, inputs.mapping_of(each), each.kinds)
        for each in settings.sources
    ]
    prices = {
        name: Price(vendor.credit_price, vendor.daily_budget, vendor.monthly_budget)
        for name, vendor in settings.vendors.items()
    }
    words = words_of(settings)
    return Proposing(Sampler(database, sampled, registered.providers, words, ring), prices)


def reporting(
    settings: Settings,
    database: AsyncDatabase[Document],
    registered: Registered,
    ring: Keyring | None,
) -> Reporting:
    """Return what reads how much each provider was worth."""
    return Reporting(
        settings, database, registered, proposing(settings, database, registered, ring)
    )


def _following(
    settings: Settings, database: AsyncDatabase[Document], registered: Registered, ring: Keyring
) -> Following | None:
    if not settings.providers.is_auto:
        return None
    every = timedelta(hours=settings.providers.order_hours)
    made = proposing(settings, database, registered, ring)
    return Following(Orders(database), made, FleetOrder(), every)


def _scope(settings: Settings, source: Source, database: AsyncDatabase[Document]) -> Scope:
    look = Look(leads_of(database, source), dict(source.person_only))
    # Whoever has a result beside a lead in work would not notice that the lead is deleted.
    is_needed = look.is_needed or source.is_beside
    return Scope(
        source.kinds,
        look.at if is_needed else None,
        bool(source.person_only),
        ceiling=ceiling_of(settings),
    )


def _gates(
    settings: Settings,
    providers: Sequence[Provider],
    database: AsyncDatabase[Document],
    books: Books,
) -> list[Gate]:
    most = ceiling_of(settings)
    limiters: dict[str, Limiter] = {}
    outage = Outage("limits")
    gates = []
    for provider in providers:
        if provider.is_free and not provider.windows:
            gates.append(Gate(provider, books=books if provider.is_kept else None))
            continue
        name = provider.bucket
        metrics.LIMIT.labels(provider.name, name).set(pace(provider))
        vendor = settings.vendors.get(provider.vendor)
        if vendor is not None and vendor.credit_price is not None:
            metrics.CREDIT_PRICE.labels(provider.name).set(vendor.credit_price)
        if name not in limiters:
            bucket = Bucket(database, name, provider.windows)
            limiters[name] = Limiter(provider.windows, bucket, outage)
        cost = 0 if most is None else most.cost_of(provider)
        gates.append(Gate(provider, shared_limiter=limiters[name], books=books, cost=cost))
    return gates


@dataclass(frozen=True, slots=True)
class Reopening:
    """Ends holds at a start, which is a new chance for held providers. May be run again after an error."""

    database: AsyncDatabase[Document]
    usage: Usage
    _begun: set[str] = field(init=False, default_factory=set)
    """Buckets whose hold is being ended, or has been."""

    async def run(self, providers: Sequence[Provider]) -> list[str]:
        """End holds learnt earlier. Return the providers whose leads no longer have a reason to wait."""
        asked = [provider for provider in providers if not provider.is_rule]
        buckets = {provider.bucket: provider for provider in asked}
        released = {name for name, one in buckets.items() if await self._released(one)}
        with_room = await self.usage.with_room()
        return [
            provider.name
            for provider in asked
            if provider.bucket in released or provider.vendor in with_room
        ]

    async def _released(self, provider: Provider) -> bool:
        bucket = Bucket(self.database, provider.bucket, provider.windows)
        found = await bucket.reserve(0)
        is_long = found.paused_until > time.monotonic() + ORDINARY_PAUSE
        if found.held or found.stopped or is_long:
            self._begun.add(provider.bucket)
        if provider.bucket not in self._begun:
            return False
        await bucket.release()
        return True
