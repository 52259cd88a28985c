"""What a run cost: by the vendors' journal, and beside it what the daemons' own ledger says.

Leads here share companies and addresses, so the price is known beforehand: one call for each distinct
question. Where daemons are killed, the calls that each had under way when it died may be made again;
they are read from the flights that it left behind, question by question.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from typing import TypeAlias
from urllib.parse import quote_plus

import pytest

from enricher.calls.flights import COLLECTION as ANSWERS
from enricher.calls.ledger import Usage
from enricher.identity.identify import identify
from enricher.lead import Document, Inputs
from enricher.mongo.secret import keyring
from tests.chaos.observer import Observer
from tests.support.processes import Daemon
from tests.support.rig import Rig, domain
from tests.support.waiting import end

Question: TypeAlias = tuple[str, str]
"""Vendor, and the domain or address that it is asked about."""

_REQUESTS = {
    "clearbit": "/v2/companies/find?domain={}",
    "hunter": "/v2/email-verifier?email={}",
}
"""What a daemon takes for one question."""
_MINUTES_BEFORE_MIDNIGHT = 3


def leads_of(
    companies: int, people: int, again: int, seed: int = 1, **fields: object
) -> list[Document]:
    """Leads of `people` distinct addresses at so many companies, and `again` more of the same people.

    Those are written in another spelling: it is the same mailbox, so it is the same question.
    """
    dice, places = Random(seed), [domain() for _ in range(companies)]
    named = [(f"person-{number}", places[number % companies]) for number in range(people)]
    addresses = [f"{name}@{place}" for name, place in named]
    for name, place in dice.choices(named, k=again):
        addresses.append(dice.choice((f"{name}+news@{place}", f"{name}@{place.upper()}")))
    dice.shuffle(addresses)
    return [{"_id": number, "email": each, **fields} for number, each in enumerate(addresses)]


def questions_of(leads: Iterable[Document]) -> set[Question]:
    """What there is to ask about them, each once."""
    asked: set[Question] = set()
    for lead in leads:
        identity = identify(Inputs(email=lead["email"]))
        asked |= {("hunter", str(identity.email_key)), ("clearbit", str(identity.company_domain))}
    return asked


@dataclass(frozen=True, slots=True)
class Bill:
    """What the vendors saw and what the ledger says; of all vendors together, or of one."""

    calls: int
    distinct: int
    charged: int
    """By the vendors' own account."""
    begun: int
    settled: int
    unknown: int

    @property
    def extra(self) -> int:
        """Calls for a question that had been asked before."""
        return self.calls - self.distinct

    @property
    def ambiguous(self) -> int:
        return self.begun - self.settled + self.unknown

    def __str__(self) -> str:
        return (
            f"{self.calls} calls for {self.distinct} questions, {self.charged} charged; "
            f"ledger: {self.begun} begun - {self.settled} settled + {self.unknown} unknown "
            f"= {self.ambiguous} ambiguous"
        )


async def bill(rig: Rig, *vendors: str) -> Bill:
    """To be read when no daemon runs any more, so that all is written that ever will be."""
    vendors = vendors or tuple(rig.simulator.base_urls)
    asked = Counter({pair: n for pair, n in rig.questions().items() if pair[0] in vendors})
    days = [day for day in await Usage(rig.database, {}, {}).days(2) if day.vendor in vendors]
    return Bill(
        calls=asked.total(),
        distinct=len(asked),
        charged=sum(rig.simulator.journal.billing[vendor].charged for vendor in vendors),
        begun=sum(day.begun for day in days),
        settled=sum(day.settled for day in days),
        unknown=sum(day.unknown for day in days),
    )


@dataclass(slots=True)
class Fleet:
    """So many daemons at all times: who is killed is replaced."""

    rig: Rig
    size: int
    settings: Mapping[str, object] = field(default_factory=dict)
    kills: int = 0
    in_flight: int = 0
    """Calls that had reached a vendor and were not answered when a daemon was killed, any daemon's."""
    flights: list[str] = field(default_factory=list)
    """The questions that the killed had in hand, as keys."""
    _alive: list[Daemon] = field(default_factory=list)
    _stack: AsyncExitStack = field(default_factory=AsyncExitStack)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """From the first daemons to the orderly end of all."""
        async with AsyncExitStack() as stack:
            self._stack = stack
            await asyncio.gather(*(self._grow(stack) for _ in range(self.size)))
            yield
            await self.stop()

    @asynccontextmanager
    async def running_and_dying(
        self, every: float, times: int | None = None
    ) -> AsyncIterator[None]:
        """The longest-lived is killed each time: all get to work between their start and their end.

        Each must outlive a lease and a call, or none lives to see that another has died.
        """
        async with AsyncExitStack() as stack:
            await asyncio.gather(*(self._grow(stack) for _ in range(self.size)))
            killer = asyncio.create_task(self._keep_killing(stack, every, times), name="killer")
            try:
                yield
            finally:
                await end(killer)
            if not killer.cancelled():
                killer.result()
            await self.stop()

    async def replace(self, times: int) -> None:
        """Kill the longest-lived, and wait until another is at work in its place; so many times."""
        for _ in range(times):
            await self.kill(self._alive.pop(0))
            await self._grow(self._stack)

    async def stop(self) -> None:
        """What each has seen the end of is in the ledger then."""
        for daemon in self._alive:
            daemon.terminate()
        for daemon in self._alive:
            assert await daemon.wait(60) == 0
        self._alive.clear()

    async def lost(self, questions: Iterable[Question]) -> Counter[Question]:
        """How often a daemon died with each of these questions in hand."""
        keys = await keyring(self.rig.database)
        by_key = {
            keys.key(vendor, _REQUESTS[vendor].format(quote_plus(about))): (vendor, about)
            for vendor, about in questions
        }
        return Counter(by_key[key] for key in self.flights)

    async def kill(self, daemon: Daemon) -> None:
        daemon.kill()
        self.in_flight += sum(call.duration is None for call in self.rig.simulator.journal)
        await daemon.wait()
        self.kills += 1
        self.flights += await flights_of(self.rig, daemon)

    async def _keep_killing(self, stack: AsyncExitStack, every: float, times: int | None) -> None:
        async with asyncio.TaskGroup() as group:
            while times is None or self.kills < times:
                await asyncio.sleep(every)
                if len(self._alive) > 1:  # on a busy machine a start may take longer
                    await self.kill(self._alive.pop(0))
                    group.create_task(self._grow(stack))

    async def _grow(self, stack: AsyncExitStack) -> None:
        daemon = await stack.enter_async_context(self.rig.daemon(**self.settings))
        await daemon.wait_for_event("stream.opened", within=60)
        self._alive.append(daemon)


async def flights_of(rig: Rig, *daemons: Daemon) -> list[str]:
    """Keys of the questions that these have in hand, or left behind: calls that may have been made."""
    holders = "|".join(f":{daemon.pid}:" for daemon in daemons)
    found = rig.database[ANSWERS].find({"flight.holder": {"$regex": holders}}, {"_id": 1})
    return [document["_id"] async for document in found]


def paid_in_vain(rig: Rig, lost: Mapping[Question, int]) -> dict[Question, int]:
    """Questions that were asked more often than deaths with them in hand can explain."""
    return {pair: times for pair, times in rig.questions().items() if times - 1 > lost.get(pair, 0)}


async def held_for_the_day(rig: Rig) -> int:
    """How many leads wait for midnight because of Hunter's budget, with all that Clearbit found."""
    now = datetime.now(UTC)
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
    waiting = {
        "enrichment_status": "retrying",
        "enrichment_error": {"$regex": "^hunter is held back .the daily budget is used up.. "},
        "enrichment.due_at": {"$gte": midnight},
        "enriched_data.company_data.name": {"$type": "string"},
        "enriched_data.enrichment_metadata.sources_used": "clearbit",
        "enrichment.answered.hunter": None,
    }
    return await rig.leads.count_documents(waiting)


def claims_since(rig: Rig, moment: datetime) -> list[float]:
    """When leads were taken up since then; of each lead the first time."""
    assert isinstance(rig.witness, Observer)
    first = []
    for ledger in rig.witness.ledgers.values():
        times = [each.claimed_at for each in ledger.claims]
        first += sorted(at for at in times if at >= moment.timestamp())[:1]
    return first


def not_around_midnight() -> None:
    """A daily budget begins anew at midnight (UTC), which is right and would confuse the judge."""
    now = datetime.now(UTC)
    if now.hour == 23 and now.minute >= 60 - _MINUTES_BEFORE_MIDNIGHT:
        pytest.skip("the day is about to end, and its budgets with it")


def busiest(moments: Sequence[float], seconds: float) -> int:
    """The most of them within any such time."""
    at = sorted(moments)
    return max(sum(first <= each < first + seconds for each in at) for first in at)
