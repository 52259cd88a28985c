"""`enricher backfill`: old leads are enriched because somebody asked, said what it costs, and agreed.

First the plan, which changes nothing: how many leads, which questions, which of them are answered
already. Then the leads are asked for, a thousand at a time at most, behind everything else that is
work; daemons do the rest. Ended at any moment, the same command goes on where it stopped.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field, replace

from rich.console import Console
from rich.table import Table

from enricher import calling, signals
from enricher.commands.database import explained, filtering, opened, patiently, rank
from enricher.commands.estimate import Estimate, Estimator
from enricher.commands.meter import Meter
from enricher.errors import DatabaseError, ExitCode
from enricher.lead import Document
from enricher.settings import Settings
from enricher.signals import end_if_cancelled
from enricher.store.backfills import Backfills, Run, names_status
from enricher.store.requests import Asked, Requests

MOST_PENDING = 1000
_PAGE = 250
_LOOK_EVERY_SECONDS = 0.5
_STANDSTILL_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done, as the operator was told."""

    query: Document
    estimate: Estimate
    run: Run | None
    """The run that this one goes on with."""

    @property
    def is_empty(self) -> bool:
        return not self.estimate.leads and self.run is None


def _console() -> Console:
    return Console(highlight=False, soft_wrap=True)


# -- the plan ------------------------------------------------------------------------------


async def plan(settings: Settings, query: Document) -> Plan:
    """Count and print. Changes nothing."""
    console = _console()
    async with opened(settings) as database, calling.vendors(settings) as vendors:
        backfills = Backfills(database[settings.mongo.collection], query)
        words, key = calling.words_of(settings), settings.privacy.hash_key
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
    """Ask for the leads of the plan, and wait until daemons are done with them.

    UNEXPECTED when a signal ended it before.
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
    async with opened(settings) as database:
        leads = database[settings.mongo.collection]
        backfills, requests = Backfills(leads, made.query), Requests(leads, rank(settings))
        run = await patiently("beginning", backfills.begin)
        filling = _Filling(console, backfills, requests, run)
        try:
            with Meter(console, "Leads done", run.asked + made.estimate.leads, run.asked) as meter:
                await filling.until_done(meter)
        except (asyncio.CancelledError, DatabaseError):
            filling.say_how_to_go_on()
            raise
        await filling.conclude()


@dataclass(slots=True)
class _Filling:
    console: Console
    backfills: Backfills
    requests: Requests
    run: Run
    refused: int = 0
    _in_work: int = 0
    _moved_at: float = field(default_factory=time.monotonic)
    _has_asked_for_daemons: bool = False

    async def until_done(self, meter: Meter) -> None:
        is_more = True
        while is_more or self._in_work:
            end_if_cancelled()
            await self._look(meter)
            if is_more and self._in_work <= MOST_PENDING - _PAGE:
                is_more = await self._ask_for_a_page()
            elif self._in_work:
                await asyncio.sleep(_LOOK_EVERY_SECONDS)

    async def _look(self, meter: Meter) -> None:
        before, self._in_work = (
            self._in_work,
            await patiently("looking how far it is", self.backfills.in_work),
        )
        meter.at(max(0, self.run.asked - self._in_work))
        if self._in_work != before:
            self._moved_at = time.monotonic()
        elif self._in_work and time.monotonic() - self._moved_at > _STANDSTILL_SECONDS:
            self._ask_for_daemons()

    def _ask_for_daemons(self) -> None:
        if not self._has_asked_for_daemons:
            self._has_asked_for_daemons = True
            self.console.print("No lead was taken for a while: is `enricher run` running?")

    async def _ask_for_a_page(self) -> bool:
        """The position is saved after its leads are written: a page that is written twice changes
        nothing, one that is never written would be lost."""
        page = await patiently("reading leads", self._page)
        if not page:
            return False
        ids = [lead["_id"] for lead in page]

        async def ask() -> Asked:
            return await self.requests.ask(ids, only=self.backfills.match, backfill=self.run.id)

        asked = await patiently("asking for leads", ask)
        self.refused += asked.refused
        self._in_work += asked.set
        self.run = replace(self.run, after={"of": ids[-1]}, asked=self.run.asked + asked.set)
        await patiently("saving the position", self._save)
        return True

    async def _page(self) -> list[Document]:
        return await self.backfills.page(self.run, _PAGE)

    async def _save(self) -> None:
        await self.backfills.save(self.run)

    async def conclude(self) -> None:
        """Say what became of them; the same query begins anew next time."""
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
