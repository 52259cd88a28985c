"""`enricher backfill`: old leads are enriched after an operator has seen the cost and agreed.

First comes the plan, which changes nothing: how many leads, which questions, and which of them are answered
already. Then the leads are requested, at most a thousand at a time, behind all other work; daemons do the
rest. While a provider that they need is held, no more are requested: they would only wait, and all come back
at once. After an interruption at any moment, the same command goes on where it stopped.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC
from functools import partial

from pydantic import SecretStr
from pymongo.asynchronous.database import AsyncDatabase
from rich.console import Console
from rich.table import Table

from enricher import wiring
from enricher.answer import Query
from enricher.calls.ledger import Usage
from enricher.commands.backfill_runs import Backfills, GoingOn, Run, names_status
from enricher.commands.database import Meter, explained, filtering, opened, patiently, rank
from enricher.errors import DatabaseError, ExitCode
from enricher.identity.identify import Identity, OwnWords, identify
from enricher.lead import Document, Reason
from enricher.limits.bucket import Stopped, stopped
from enricher.mongo.secret import Keyring, keyring_if_made
from enricher.privacy.suppression import Suppressed
from enricher.process import signals
from enricher.process.signals import end_if_cancelled
from enricher.providers.base import Provider
from enricher.providers.http import question_of, unfit
from enricher.queue.lease import read_inputs
from enricher.queue.requests import Asked, Requests
from enricher.settings.load import Settings
from enricher.telemetry.log import redact

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
    questions: set[bytes] = field(default_factory=set)
    stored: int = 0

    @property
    def calls(self) -> int:
        return len(self.questions) - self.stored

    @property
    def credits(self) -> float:
        """The cost in the vendor's own unit, if every call is charged."""
        return self.calls * self.credits_each


@dataclass(slots=True)
class Estimate:
    """The result of the count."""

    leads: int = 0
    without_call: Counter[Reason] = field(default_factory=Counter)
    """Why no paid call is worth making or allowed -> number of leads."""
    providers: dict[str, ProviderEstimate] = field(default_factory=dict)


class Estimator:
    """Counts questions page by page."""

    def __init__(
        self,
        database: AsyncDatabase[Document],
        backfills: Backfills,
        providers: Sequence[Provider],
        words: OwnWords,
        hash_key: SecretStr | None = None,
    ) -> None:
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
            providers={each.name: ProviderEstimate(each.credits) for each in self._paid},
        )
        page = Run(run.id if run else "", run.after if run else None)
        while leads := await self._backfills.page(page, _COUNTED_AT_ONCE):
            await self._add(found, leads)
            page = Run(page.id, {"of": leads[-1]["_id"]})
            meter.at(found.leads)
        return found

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
        fit = (each for each in asked if unfit(provider, each) is None)
        questions = (question_of(provider, each) for each in fit)
        keys = {self._keys.key(provider.name, question) for question in questions if question}
        fresh = {key for key in keys if bytes.fromhex(key) not in calls.questions}
        calls.questions.update(map(bytes.fromhex, fresh))
        if fresh and self._keyring is not None:
            calls.stored += len(await self._backfills.answered(fresh))

    async def _has_objected(self, identity: Identity) -> bool:
        if self._keyring is None or identity.email_key is None:
            return False
        return await self._suppressed.knows(self._keyring, identity.email_key)


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

    query: Document
    estimate: Estimate
    run: Run | None
    """The interrupted run that this one continues."""

    @property
    def is_empty(self) -> bool:
        return not self.estimate.leads and self.run is None

    @property
    def needed(self) -> set[str]:
        """Providers that are still to be asked something."""
        return {name for name, calls in self.estimate.providers.items() if calls.calls > 0}


def _console() -> Console:
    return Console(highlight=False, soft_wrap=True)


# -- the plan ------------------------------------------------------------------------------


async def plan(settings: Settings, query: Document) -> Plan:
    """Count and print. Changes nothing."""
    console = _console()
    async with opened(settings) as database, wiring.vendors(settings) as vendors:
        backfills = Backfills(database[settings.mongo.collection], query)
        words, key = wiring.words_of(settings), settings.privacy.hash_key
        estimator = Estimator(database, backfills, vendors.providers, words, key)
        with explained("counting the leads"), filtering():
            run = await backfills.unfinished()
            with Meter(console, "Leads counted", None) as meter:
                estimate = await estimator.count(run, meter)
    made = Plan(query, estimate, run)
    _print(console, made)
    return made


def _print(console: Console, made: Plan) -> None:
    found = made.estimate
    which = "in the states that the query names" if names_status(made.query) else "without a status"
    if made.run is not None:
        console.print(f"Going on with a backfill that asked for {made.run.asked:,} leads so far.")
    console.print(f"{found.leads:,} leads match, {which} and not in work.")
    for reason, leads in found.without_call.most_common():
        console.print(f"  {leads:,} need no call ({reason}): {reason.sentence}")
    if found.leads:
        console.print(_table(found) if found.providers else _NO_KEYS)


_NO_KEYS = "No vendor has a key: nothing will be asked or charged."


def _table(found: Estimate) -> Table:
    table = Table(box=None, pad_edge=False, title=None)
    table.add_column("provider")
    for heading in ("questions", "answered already", "calls at most", "credits at most"):
        table.add_column(heading, justify="right")
    for name, calls in found.providers.items():
        figures = (len(calls.questions), calls.stored, calls.calls)
        table.add_row(name, *(f"{figure:,}" for figure in figures), f"{calls.credits:,g}")
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
        leads = database[settings.mongo.collection]
        backfills, requests = Backfills(leads, made.query), Requests(leads, rank(settings))
        run = await patiently("beginning", backfills.begin)
        needed = [each for each in vendors.providers if each.name in made.needed]
        needs = Needs(database, needed, wiring.open_usage(settings, database))
        names = [each.name for each in vendors.providers]
        filling = _Filling(console, backfills, requests, run, needs, names)
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
    refused: int = 0
    _now: GoingOn = field(default_factory=GoingOn)
    _held: tuple[str, ...] = ()
    """The held providers, as last reported."""
    _moved_at: float = field(default_factory=time.monotonic)
    _has_asked_for_daemons: bool = False

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
            return await self.requests.ask(ids, only=self.backfills.match, backfill=self.run.id)

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
