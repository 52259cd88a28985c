"""`enricher backfill`: old leads are enriched after an operator has seen the cost and agreed.

First comes the plan, which changes nothing: how many leads, which questions, and which of them are answered
already. Then the leads are requested page by page, at most a thousand at a time, behind all other work; daemons
do the rest. While a provider that they need is held, no more are requested: they would only wait, and all come
back at once. After an interruption at any moment, the same command goes on where it stopped.

The pages go through the collection in the order of `_id`, so the position is the last `_id` that was
requested. It is saved after its page was written. A page that was written but not saved is read again;
the id of the run, stored on every lead that it requested, keeps a lead from being requested twice. The
checkpoint holds that id, and of the query only its hash:

    {_id: "backfill:<leads>:<hash>", run: str, began_at: date, after: {of: _id}, asked: n, finished_at: date}

A backfill selects leads without a status, which is what history is. For others, name `enrichment_status` in
the query; even then leads that are in work are left alone.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import time
import uuid
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC
from functools import partial
from typing import Any

import pymongo
from bson import json_util
from pydantic import SecretStr
from pymongo import ReturnDocument
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.database import AsyncDatabase
from rich.console import Console
from rich.table import Table

from enricher import wiring
from enricher.answer import Query
from enricher.calls import flights
from enricher.calls.ceiling import Ceiling, ceiling_of, promise
from enricher.calls.ledger import Usage
from enricher.commands.database import (
    Meter,
    explained,
    filtering,
    only_one,
    opened,
    patiently,
)
from enricher.enrichment.finding import knowing
from enricher.enrichment.rechecks import NEVER, Rechecks, rules_of
from enricher.errors import DatabaseError, ExitCode, SettingsError
from enricher.fields import NAMES, Names
from enricher.identity.identify import Identity, OwnWords, identify
from enricher.intake import checkpoints
from enricher.intake.history import texts_in
from enricher.lead import Document, LeadId, Reason, Status
from enricher.limits.bucket import Stopped, stopped
from enricher.mongo import expressions
from enricher.mongo.outage import whole_number
from enricher.mongo.secret import Keyring, keyring_if_made
from enricher.privacy.suppression import Suppressed
from enricher.process import signals
from enricher.process.signals import end_if_cancelled
from enricher.providers.base import Provider
from enricher.providers.http import question_of, unfit
from enricher.queue import book
from enricher.queue.beside import Beside
from enricher.queue.conditions import leads_among, leads_of
from enricher.queue.inputs import CONTRACT, LeadMapping, mapping_of, read_inputs
from enricher.queue.requests import SCAN_SECONDS, Asked, Requests
from enricher.settings.load import Settings
from enricher.settings.sources import Source
from enricher.telemetry.log import redact
from enricher.values.storable import mapping

# How far a backfill has come, and which leads come next.

_IN_WORK = (Status.PENDING, Status.PROCESSING, Status.RETRYING)
_BY_ID = [("_id", 1)]


def names_status(query: object, names: Names = NAMES) -> bool:
    """PURE Return True when the query itself says which states it wants."""
    if isinstance(query, Mapping):
        return any(
            name == names.enrichment_status or names_status(value, names)
            for name, value in query.items()
        )
    return isinstance(query, list) and any(names_status(part, names) for part in query)


def eligible(query: Document, names: Names = NAMES) -> Document:
    """PURE Return the query, restricted by a backfill to old leads that nobody is working on."""
    others = {"$nin": list(_IN_WORK)} if names_status(query, names) else None
    return {"$and": [query, {names.enrichment_status: others}]}


@dataclass(frozen=True, slots=True)
class Run:
    """One backfill from beginning to end, over any number of processes."""

    id: str
    after: Document | None = None
    """`{"of": _id}` of the last lead that was requested; the `_id` itself may be null."""
    asked: int = 0


@dataclass(frozen=True, slots=True)
class GoingOn:
    """Backfilled leads that are not settled yet."""

    in_work: int = 0
    """Leads of any run, pending or in work."""
    unended: int = 0
    """Leads of this run, including those that will be retried."""
    held_by: frozenset[str] = frozenset()
    """Providers that leads of this run wait for because they may not be asked now."""


class Backfills:
    """The run of one query over one leads collection."""

    def __init__(
        self,
        leads: AsyncCollection[Document],
        query: Document,
        names: Names = NAMES,
        mapped: LeadMapping = CONTRACT,
        beside: Beside | None = None,
    ) -> None:
        self._mapped = mapped
        self._leads = leads
        self._names = names
        self._runs: AsyncCollection[Document] = leads.database[checkpoints.COLLECTION]
        self._key = f"backfill:{leads.name}:{_fingerprint(query)}"
        self._beside = beside
        self._results = leads if beside is None else beside.results
        self.match = eligible(query, names) if beside is None else query
        self.state: Document = {} if beside is None else {names.enrichment_status: None}

    # -- the run ---------------------------------------------------------------------------

    async def unfinished(self) -> Run | None:
        """Return the interrupted run of this query, if there is one. Changes nothing."""
        found = await self._runs.find_one({"_id": self._key, "finished_at": None})
        return _run(found) if found else None

    async def begin(self) -> Run:
        """Return the interrupted run, or start a new one."""
        is_over = {"$or": [{"$not": ["$run"]}, {"$gt": ["$finished_at", None]}]}
        fresh = {
            "run": {"$literal": uuid.uuid4().hex},
            "began_at": "$$NOW",
            "after": None,
            "asked": 0,
            "finished_at": None,
        }
        started = {name: {"$cond": [is_over, value, f"${name}"]} for name, value in fresh.items()}
        document = await self._runs.find_one_and_update(
            {"_id": self._key},
            [{"$set": started}],
            upsert=True,
            return_document=ReturnDocument.AFTER,
        )
        return _run(document or {})

    async def save(self, run: Run) -> None:
        """Save the position: everything up to `run.after` has been requested."""
        position = {"after": run.after, "asked": run.asked}
        await self._runs.update_one({"_id": self._key, "run": run.id}, {"$set": position})

    async def finish(self, run: Run) -> None:
        """End the run; the same query starts anew next time."""
        ours = {"_id": self._key, "run": run.id}
        await self._runs.update_one(ours, [{"$set": {"finished_at": "$$NOW", "after": None}}])

    # -- what it would cost -----------------------------------------------------------------

    async def answered(self, questions: Collection[str]) -> set[str]:
        """Return those of the questions whose answers are stored, so that no vendor will be asked."""
        stored = {"_id": {"$in": list(questions)}, "$expr": flights.ANSWERED}
        found = await self._leads.database[flights.COLLECTION].find(stored, {"_id": 1}).to_list()
        return {answer["_id"] for answer in found}

    # -- its leads -------------------------------------------------------------------------

    async def page(self, run: Run | None, size: int) -> list[Document]:
        """Return `{_id, inputs}` of the next leads; empty at the end.

        Reads by the index on `_id` from the position on. Uses `min` and not `$gt`, which would end with
        the last `_id` of the same type.
        """
        if self._beside is not None:
            return await self._page_beside(self._beside, run, size)
        after = run.after if run else None
        by = self._names.of_book("backfilled_by")
        match = {"$and": [self.match, {by: {"$ne": run and run.id}}]}
        return await self._read_page(match if run else self.match, after, size)

    async def _page_beside(self, beside: Beside, run: Run | None, size: int) -> list[Document]:
        """Leave out the leads that have a result: only the others are history."""
        after = run.after if run else None
        while page := await self._read_page(self.match, after, size):
            ids = {"_id": {"$in": [lead["_id"] for lead in page]}}
            known = await beside.results.find(ids, {"_id": 1}).to_list()
            keys = {expressions.id_key(each["_id"]) for each in known}
            if new := [each for each in page if expressions.id_key(each["_id"]) not in keys]:
                return new
            after = {"of": page[-1]["_id"]}
        return []

    async def _read_page(
        self, match: Document, after: Document | None, size: int
    ) -> list[Document]:
        inputs = {"inputs": self._mapped.inputs}
        if not expressions.condition_of(self._leads):
            return await self._read_some(match, inputs, after, size)
        while some := await self._read_some(match, {"_id": 1}, after, size):
            if page := await leads_among(self._leads, some, inputs):
                return page
            after = {"of": some[-1]["_id"]}
        return []

    async def _read_some(
        self, match: Document, read: Document, after: Document | None, size: int
    ) -> list[Document]:
        """Read the documents that the query finds, whether they meet the condition or not."""
        leads = expressions.whole(self._leads)
        with pymongo.timeout(SCAN_SECONDS):
            cursor = leads.find(match, read, collation=None)
            cursor = cursor.hint(_BY_ID)
            if after is not None:
                cursor = cursor.min([("_id", after["of"])])
            found = await cursor.limit(size + 1).to_list()
        if after is not None and found and _same(found[0]["_id"], after["of"]):
            del found[0]
        return found[:size]

    async def going_on(self, run: Run, providers: Collection[str] = ()) -> GoingOn:
        """Count, up to a few thousand leads of each state. `providers` are those whose holds are reported."""
        names, held = self._names, book.noted(self._names, "held_by")
        lanes: list[list[Document]] = [
            [{"$match": {**state, names.of_book("backfill"): True}}, {"$limit": _COUNT_AT_MOST}]
            for state in _states(names)
        ]
        is_retrying = {"$eq": [f"${names.enrichment_status}", Status.RETRYING.value]}
        first, *others = lanes
        unions = [{"$unionWith": {"coll": self._results.name, "pipeline": each}} for each in others]
        held_by = {
            "$cond": [
                {"$and": [{"$isArray": held}, is_retrying]},
                {"$setIntersection": [held, {"$literal": list(providers)}]},
                [],
            ]
        }
        alike = {
            "retries": is_retrying,
            "ours": {"$eq": [book.noted(names, "backfilled_by"), {"$literal": run.id}]},
            "held_by": held_by,
        }
        counted = {"$group": {"_id": alike, "leads": {"$sum": 1}}}
        stages: list[Document] = [*first, *unions, counted]
        with pymongo.timeout(SCAN_SECONDS):
            found = await (await self._results.aggregate(stages)).to_list()
        ours = [each for each in found if each["_id"]["ours"]]
        return GoingOn(
            in_work=sum(each["leads"] for each in found if not each["_id"]["retries"]),
            unended=sum(each["leads"] for each in ours),
            held_by=frozenset(name for each in ours for name in each["_id"]["held_by"]),
        )

    async def standing(self, run: Run) -> dict[str, int]:
        """Return status -> number of leads of the run."""
        stages: list[Document] = [
            {"$match": {self._names.of_book("backfilled_by"): run.id}},
            {"$group": {"_id": f"${self._names.enrichment_status}", "leads": {"$sum": 1}}},
        ]
        with pymongo.timeout(SCAN_SECONDS):
            found = await (await self._results.aggregate(stages)).to_list()
        return {str(each["_id"]): int(each["leads"]) for each in found}


async def forget_positions(
    database: AsyncDatabase[Document], is_named: Callable[[list[str]], bool]
) -> None:
    """Restart runs whose position is an id with such texts. They still leave out the leads that they have
    requested already."""
    runs = database[checkpoints.COLLECTION]
    standing = {"_id": {"$regex": "^backfill:"}, "after.of": {"$exists": True}}
    async for run in runs.find(standing, {"after": 1}):
        if is_named(list(texts_in(run["after"]["of"]))):
            await runs.update_one({"_id": run["_id"]}, {"$set": {"after": None}})


_COUNT_AT_MOST = 5000
_LONGEST_WAIT_MS = 40 * 86_400_000
"""Covers a wait for next month's budget, and some days to spare; leads due later are not waited for."""


def _states(names: Names) -> list[Document]:
    """Match the leads of a backfill that are not settled, by state."""
    status, due_at = names.enrichment_status, names.of_book("due_at")
    comes: Document = {
        due_at: {"$gt": book.EPOCH},
        "$expr": {"$lt": [f"${due_at}", {"$add": ["$$NOW", _LONGEST_WAIT_MS]}]},
    }
    return [
        {status: Status.PENDING, names.of_book("priority"): {"$lte": book.BEHIND}},
        {status: Status.PROCESSING, **comes},
        {status: Status.RETRYING, **comes},
    ]


def _fingerprint(query: Document) -> str:
    text = json_util.dumps(query, json_options=json_util.CANONICAL_JSON_OPTIONS)
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:24]


def _run(document: Mapping[str, Any]) -> Run:
    after = mapping(document.get("after"))
    asked = whole_number(document.get("asked"))
    return Run(str(document.get("run")), after if "of" in after else None, asked)


def _same(one: LeadId, other: LeadId) -> bool:
    return expressions.id_key(one) == expressions.id_key(other)


# What a backfill would cost, before anybody is asked: nothing is changed here.
#
# Each question counts once, however many leads lead to it, and not at all when its answer is stored.
# A provider further down a waterfall is asked only for what those before it did not know, and one
# that fails is asked again, so the figures are what the questions come to, no promise.

_COUNTED_AT_ONCE = 1000
_KEY_BYTES = 32


@dataclass(slots=True)
class ProviderEstimate:
    """The questions for one provider."""

    credits_each: float = 1.0
    rechecks: int = 0
    """How often a question may be asked again where nothing was known."""
    charges_misses: bool = False
    questions: set[bytes] = field(default_factory=set)
    stored: int = 0

    @property
    def calls(self) -> int:
        return len(self.questions) - self.stored

    @property
    def credits(self) -> float:
        """The cost in the vendor's own unit, if every call is charged."""
        return self.calls * self.credits_each

    @property
    def recheck_calls(self) -> int:
        """What thin leads may add later."""
        return len(self.questions) * self.rechecks

    @property
    def recheck_credits(self) -> float:
        """Their cost where knowing nothing is charged. Else an answer is charged once, and is counted already."""
        return self.recheck_calls * self.credits_each if self.charges_misses else 0.0


@dataclass(slots=True)
class Estimate:
    """The result of the count."""

    leads: int = 0
    without_call: Counter[Reason] = field(default_factory=Counter)
    """Why no paid call is worth making or allowed -> number of leads."""
    providers: dict[str, ProviderEstimate] = field(default_factory=dict)

    @property
    def with_calls(self) -> int:
        """Leads about which something may be asked."""
        return self.leads - self.without_call.total()


class Estimator:
    """Counts questions page by page."""

    def __init__(
        self,
        database: AsyncDatabase[Document],
        backfills: Backfills,
        providers: Sequence[Provider],
        words: OwnWords,
        hash_key: SecretStr | None = None,
        rechecks: Rechecks = NEVER,
    ) -> None:
        self._rechecks = rechecks
        self._database = database
        self._backfills = backfills
        self._paid = [provider for provider in providers if not provider.is_free]
        self._words = words
        self._suppressed = Suppressed(database)
        self._hash_key = hash_key
        self._keyring: Keyring | None = None
        self._keys = Keyring(secrets.token_bytes(_KEY_BYTES))
        """A throw-away secret until a daemon has made one: nothing is stored under a secret before that."""

    async def count(self, run: Run | None, meter: Meter) -> Estimate:
        """Count everything from the run's position on."""
        self._keyring = await keyring_if_made(self._database, self._hash_key)
        self._keys = self._keyring or self._keys
        found = Estimate(
            providers={each.name: self._nothing_yet(each) for each in self._paid},
        )
        page = Run(run.id if run else "", run.after if run else None)
        while leads := await self._backfills.page(page, _COUNTED_AT_ONCE):
            await self._add(found, leads)
            page = Run(page.id, {"of": leads[-1]["_id"]})
            meter.at(found.leads)
        return found

    def _nothing_yet(self, provider: Provider) -> ProviderEstimate:
        again = len(self._rechecks.after) if provider.name in self._rechecks.priced else 0
        return ProviderEstimate(provider.credits, again, provider.charges_misses)

    async def _add(self, found: Estimate, leads: list[Document]) -> None:
        found.leads += len(leads)
        identities = [identify(read_inputs(lead["inputs"]), self._words) for lead in leads]
        objected = await asyncio.gather(*(self._has_objected(each) for each in identities))
        reasons = [
            Reason.SUPPRESSED if each_objected else each.reason
            for each, each_objected in zip(identities, objected, strict=True)
        ]
        found.without_call.update(reason for reason in reasons if reason is not None)
        asked = [
            each.query for each, reason in zip(identities, reasons, strict=True) if reason is None
        ]
        for provider in self._paid:
            await self._add_calls(found.providers[provider.name], provider, asked)

    async def _add_calls(
        self, calls: ProviderEstimate, provider: Provider, asked: list[Query]
    ) -> None:
        as_asked = asked if provider.finds_domain else list(map(_as_found, asked))
        fit = (each for each in as_asked if unfit(provider, each) is None)
        questions = (question_of(provider, each) for each in fit)
        keys = {self._keys.key(provider.name, question) for question in questions if question}
        fresh = {key for key in keys if bytes.fromhex(key) not in calls.questions}
        calls.questions.update(map(bytes.fromhex, fresh))
        if fresh and self._keyring is not None:
            calls.stored += len(await self._backfills.answered(fresh))

    async def _has_objected(self, identity: Identity) -> bool:
        if self._keyring is None:
            return False
        ring = self._keyring
        return any([await self._suppressed.knows(ring, key) for key in identity.email_keys])


def _as_found(query: Query) -> Query:
    """Return a query as it would be once the domain was found by the company's name: the estimate is what all of it
    may come to."""
    return knowing(query, f"{query.sought}.invalid") if query.sought else query


# What a backfill needs from vendors, and whether it is available now.

_USED_UP = "the budget is used up"


@dataclass(frozen=True, slots=True)
class Headroom:
    """What is available now."""

    held: Mapping[str, str] = field(default_factory=dict)
    """Provider that may not be asked -> why."""
    calls: int | None = None
    """Calls left in the smallest budget; `None` without one."""


@dataclass(frozen=True, slots=True)
class Needs:
    """The providers that are still to be asked, with the budgets of their vendors."""

    database: AsyncDatabase[Document]
    providers: Sequence[Provider]
    usage: Usage

    async def headroom(self) -> Headroom:
        """Return what is available. Raises DatabaseTrouble. Changes nothing."""
        if not self.providers:
            return Headroom()
        hello = await self.database.client.admin.command("hello")
        now = hello["localTime"].replace(tzinfo=UTC)
        buckets = await stopped(self.database, [each.bucket for each in self.providers], now)
        stops = {each: buckets.get(each.bucket, Stopped()).of(each.name) for each in self.providers}
        held = {each.name: redact(stop.reason) for each, stop in stops.items() if stop.held_until}
        vendors = {each.vendor for each in self.providers}
        budgets = [each for each in await self.usage.budgets() if each.vendor in vendors]
        spent = {each.vendor for each in budgets if not each.left}
        used_up = {each.name: _USED_UP for each in self.providers if each.vendor in spent}
        return Headroom(used_up | held, min((each.left for each in budgets), default=None))


MOST_PENDING = 1000
_PAGE = 250
_LOOK_EVERY_SECONDS = 0.5
_STANDSTILL_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done, as shown to the operator."""

    source: Source
    query: Document
    estimate: Estimate
    run: Run | None
    """The interrupted run that this one continues."""
    is_by_status: bool = False
    """The query itself says which states it wants."""
    ceiling: Ceiling | None = None
    """The most that a lead may cost."""
    beyond: Sequence[str] = ()
    """Providers of which one call may cost more than that: they are never asked."""

    @property
    def is_empty(self) -> bool:
        return not self.estimate.leads and self.run is None

    @property
    def needed(self) -> set[str]:
        """Providers that are still to be asked something."""
        return {name for name, calls in self.estimate.providers.items() if calls.calls > 0}


def _console() -> Console:
    return Console(highlight=False, soft_wrap=True)


_NO_STATUS = (
    "--query: results stand beside these leads, so none of them has a status: a backfill takes those without a"
    " result, and enricher reenrich the others"
)


# -- the plan ------------------------------------------------------------------------------


async def plan(settings: Settings, query: Document, collection: str | None = None) -> Plan:
    """Count and print. Changes nothing."""
    console, source = _console(), only_one(settings, collection)
    if source.is_beside and names_status(query, source.names):
        raise SettingsError([_NO_STATUS])
    async with opened(settings) as database, wiring.vendors(settings) as vendors:
        leads = leads_of(database, source)
        beside = wiring.beside(settings, leads, source)
        backfills = Backfills(leads, query, source.names, mapping_of(source), beside)
        words, key = wiring.words_of(settings), settings.privacy.hash_key
        of_kinds = [each for each in vendors.providers if each.kind in source.kinds]
        most = ceiling_of(settings)
        providers = [each for each in of_kinds if most is None or most.affords(each)]
        beyond = [each.name for each in of_kinds if each not in providers]
        again = rules_of(settings.rechecks, settings.vendors, providers)
        estimator = Estimator(database, backfills, providers, words, key, again)
        with explained("counting the leads"), filtering():
            run = await backfills.unfinished()
            with Meter(console, "Leads counted", None) as meter:
                estimate = await estimator.count(run, meter)
    is_by_status = names_status(query, source.names)
    made = Plan(source, query, estimate, run, is_by_status, most, beyond)
    _print(console, made)
    return made


def _print(console: Console, made: Plan) -> None:
    found = made.estimate
    which = "in the states that the query names" if made.is_by_status else "without a status"
    if made.run is not None:
        console.print(f"Going on with a backfill that asked for {made.run.asked:,} leads so far.")
    console.print(f"{found.leads:,} leads match, {which} and not in work.")
    for reason, leads in found.without_call.most_common():
        console.print(f"  {leads:,} need no call ({reason}): {reason.sentence}")
    if found.leads:
        console.print(_table(found) if found.providers else _NO_KEYS)
    if any(each.recheck_calls for each in found.providers.values()):
        console.print(_RECHECKS)
    if made.beyond:
        console.print(f"Never asked, since one call may cost more: {', '.join(made.beyond)}.")
    if made.ceiling is not None and found.with_calls:
        console.print(promise(made.ceiling, found.with_calls))


_RECHECKS = (
    "Rechecks come later, about leads that stay thin (ENRICHER_RECHECKS), and within ENRICHER_RECHECKS_PER_DAY:"
    " the last two columns."
)
_NO_KEYS = "No vendor has a key: nothing will be asked or charged."


def _table(found: Estimate) -> Table:
    table = Table(box=None, pad_edge=False, title=None)
    table.add_column("provider")
    has_rechecks = any(each.recheck_calls for each in found.providers.values())
    more = ("rechecks at most", "their credits") if has_rechecks else ()
    for heading in ("questions", "answered already", "calls at most", "credits at most", *more):
        table.add_column(heading, justify="right")
    for name, calls in found.providers.items():
        figures = (len(calls.questions), calls.stored, calls.calls, calls.credits)
        again = (calls.recheck_calls, calls.recheck_credits) if has_rechecks else ()
        table.add_row(name, *(f"{figure:,g}" for figure in (*figures, *again)))
    return table


# -- the work ------------------------------------------------------------------------------


async def fill(settings: Settings, made: Plan) -> ExitCode:
    """Request the leads of the plan, and wait until daemons are done with them.

    Returns UNEXPECTED when a signal ended it early.
    """
    task = asyncio.ensure_future(_fill(settings, made))
    with signals.heeding(lambda _: task.cancel()):
        await asyncio.wait({task})
    if task.cancelled():
        return ExitCode.UNEXPECTED
    task.result()
    return ExitCode.OK


async def _fill(settings: Settings, made: Plan) -> None:
    console = _console()
    async with opened(settings) as database, wiring.vendors(settings) as vendors:
        leads = leads_of(database, made.source)
        beside = wiring.beside(settings, leads, made.source)
        backfills = Backfills(leads, made.query, made.source.names, beside=beside)
        requests = wiring.requests(settings, leads, made.source)
        run = await patiently("beginning", backfills.begin)
        needed = [each for each in vendors.providers if each.name in made.needed]
        needs = Needs(database, needed, wiring.open_usage(settings, database))
        asked = [each.name for each in vendors.providers]
        filling = _Filling(console, backfills, requests, run, needs, asked)
        try:
            with Meter(console, "Leads done", run.asked + made.estimate.leads, run.asked) as meter:
                await filling.until_done(meter)
        except (asyncio.CancelledError, DatabaseError):
            filling.say_how_to_go_on()
            raise
        await filling.conclude()


async def _all() -> Headroom:
    """Return no limits, for when nothing more is requested."""
    return Headroom()


@dataclass(slots=True)
class _Filling:
    console: Console
    backfills: Backfills
    requests: Requests
    run: Run
    needs: Needs
    providers: Sequence[str]
    """Names of all providers that have a key."""
    refused: int = field(init=False, default=0)
    _now: GoingOn = field(init=False, default_factory=GoingOn)
    _held: tuple[str, ...] = field(init=False, default=())
    """The held providers, as last reported."""
    _moved_at: float = field(init=False, default_factory=time.monotonic)
    _has_asked_for_daemons: bool = field(init=False, default=False)

    async def until_done(self, meter: Meter) -> None:
        is_more = True
        while is_more or self._now.unended:
            end_if_cancelled()
            began = time.monotonic()
            await self._look(meter)
            headroom = await patiently(
                "looking at the providers", self.needs.headroom if is_more else _all
            )
            size = self._size(headroom)
            if is_more and size:
                is_more = await self._ask_for_a_page(size)
            elif is_more or self._now.unended:
                # Looking takes a while where many leads are retried; it must stay a small part of the time.
                await asyncio.sleep(max(_LOOK_EVERY_SECONDS, 5 * (time.monotonic() - began)))

    def _size(self, headroom: Headroom) -> int:
        """Return how many leads to request now."""
        held = dict.fromkeys(sorted(self._now.held_by), "") | dict(headroom.held)
        self._tell(held)
        if held or max(self._now.in_work, self._now.unended) > MOST_PENDING - _PAGE:
            return 0
        if headroom.calls is None:
            return _PAGE
        return max(0, min(_PAGE, headroom.calls - self._now.unended))  # those may need a call each

    def _tell(self, held: Mapping[str, str]) -> None:
        if tuple(held) == self._held:
            return
        self._held = tuple(held)
        names = ", ".join(f"{name} ({why})" if why else name for name, why in held.items())
        self.console.print(
            f"Paused: held are {names}. It goes on by itself; after Ctrl-C the same command does."
            if held
            else "It goes on: no provider that it needs is held any more."
        )

    async def _look(self, meter: Meter) -> None:
        async def look() -> GoingOn:
            return await self.backfills.going_on(self.run, self.providers)

        before, self._now = self._now, await patiently("looking how far it is", look)
        meter.at(max(0, self.run.asked - self._now.unended))
        if self._now != before or self._held:
            self._moved_at = time.monotonic()
        elif self._now.in_work and time.monotonic() - self._moved_at > _STANDSTILL_SECONDS:
            self._ask_for_daemons()

    def _ask_for_daemons(self) -> None:
        if not self._has_asked_for_daemons:
            self._has_asked_for_daemons = True
            self.console.print("No lead was taken for a while: is `enricher run` running?")

    async def _ask_for_a_page(self, size: int) -> bool:
        """Request a page and save the position after its leads are written: a page that is written twice changes
        nothing, but one that is never written would be lost."""
        page = await patiently("reading leads", partial(self.backfills.page, self.run, size))
        if not page:
            return False
        ids = [lead["_id"] for lead in page]

        async def ask() -> Asked:
            return await self.requests.ask(
                ids, only=self.backfills.match, state=self.backfills.state, backfill=self.run.id
            )

        asked = await patiently("asking for leads", ask)
        self.refused += asked.refused
        self.run = replace(self.run, after={"of": ids[-1]}, asked=self.run.asked + asked.set)
        await patiently("saving the position", self._save)
        return True

    async def _save(self) -> None:
        await self.backfills.save(self.run)

    async def conclude(self) -> None:
        """Report what became of the leads; the same query starts anew next time."""
        with explained("finishing"):
            await self.backfills.finish(self.run)
            standing = await self.backfills.standing(self.run)
        states = ", ".join(f"{leads:,} {status}" for status, leads in sorted(standing.items()))
        self.console.print(f"Done: {states or 'nothing was left to do'}.")
        if self.refused:
            self.console.print(
                f"{self.refused:,} could not be written: MongoDB refuses (validator, size)."
            )

    def say_how_to_go_on(self) -> None:
        self.console.print(
            f"Stopped after {self.run.asked:,} leads were asked for; those of them that are pending"
            " will be done all the same. The same command goes on from there."
        )
