"""What calls cost: the ledger, the budgets of vendors, and the quotas of plans.

Calls go through a `Ledger` for each vendor, leads through `Quotas`; both keep to one collection,
and their files say what is stored. Here is what the rest of the daemon speaks to:

    match await usage.begin(provider, vendor):    durable, before the call
        case Held() as held: ...                  the budget is used up
        case Begun() as begun:
            ... the call ...
            usage.end(begun, charged=...)         or usage.give_back(begun), if it was not made

What ends is written with the next begin, or within a second by `run`.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from functools import partial
from typing import Literal

from loguru import logger
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.database import AsyncDatabase

from enricher.answer import Held
from enricher.calls.ledger import Ask, Begun, Ledger, has_room, spent_of
from enricher.calls.postings import Budget, document_id, months_between
from enricher.calls.quotas import Quotas
from enricher.lead import Document, LeadId, Subject
from enricher.mongo import DatabaseTrouble, expiry
from enricher.mongo.clock import ServerClock
from enricher.mongo.coalesce import Coalescer
from enricher.mongo.outage import Outage, pause
from enricher.mongo.replies import reading

__all__ = ["COLLECTION", "Begun", "Budget", "BudgetLeft", "DayOfProvider", "Usage"]

COLLECTION = "enricher_usage"
INDEX = "enricher_usage_expiry"
_LARGEST_BATCH = 256
_FLUSH_SECONDS = 1.0
_LAST_TRIES_SECONDS = 2.0
"""How long a stop waits for a MongoDB that is away. What is not written then stays ambiguous."""


@dataclass(frozen=True, slots=True)
class DayOfProvider:
    """What one provider did on one day (UTC), all processes together."""

    day: date
    vendor: str
    provider: str
    begun: int = 0
    """Calls that were about to be made."""
    settled: int = 0
    """Of these, those that a process saw the end of."""
    charged: int = 0
    unknown: int = 0
    """Settled, but nobody knows whether it was charged: it timed out."""
    spent: int = 0
    """What counts against the budget: charged, or not known not to be."""
    saved_by_cache: int = 0
    saved_by_coalescing: int = 0

    @property
    def ambiguous(self) -> int:
        """Calls that may have been charged: under way now, lost with their process, or timed out."""
        return self.begun - self.settled + self.unknown


@dataclass(frozen=True, slots=True)
class BudgetLeft:
    """One budget that is set, and what the fleet has left of it."""

    vendor: str
    period: Literal["day", "month"]
    limit: int
    left: int


@dataclass(frozen=True, slots=True)
class _Account:
    """A vendor's ledger, and who waits for it."""

    ledger: Ledger
    asks: Coalescer[Ask, Begun | Held]


class Usage:
    """The calls and the leads of one process, counted together with those of all others."""

    def __init__(
        self,
        database: AsyncDatabase[Document],
        budgets: Mapping[str, Budget],
        quotas: Mapping[str, int],
    ) -> None:
        """`budgets` are by vendor, `quotas` by plan; what is not in them is unlimited."""
        self._collection: AsyncCollection[Document] = database[COLLECTION]
        self._budgets = budgets
        self._quotas = Quotas(self._collection, quotas)
        self._clock = ServerClock(database.client)
        self._writer = uuid.uuid4().hex[:16]
        self._accounts: dict[str, _Account] = {}
        self.outage = Outage("ledger")

    # Calls

    async def begin(self, provider: str, vendor: str) -> Begun | Held:
        """Reserve one call of the vendor's budget, before it is made.

        `Held` until the budget begins anew. Concurrent calls share one round trip. Raises
        DatabaseTrouble: then nothing is reserved for good. A caller that is cancelled meanwhile
        has reserved nothing either.
        """
        account = self._account(vendor)
        ask = Ask(provider)
        try:
            return await account.asks.submit(ask)
        except asyncio.CancelledError:
            ask.is_abandoned = True
            if ask.begun is not None:
                account.ledger.give_back(ask.begun)
            raise

    def end(self, begun: Begun, *, charged: bool | None) -> None:
        """The call is over; `None` when nobody knows whether it was charged, which counts as charged."""
        note = partial(self._account(begun.vendor).ledger.note, begun.provider, begun.day)
        match charged:
            case True:
                note(settled=1, charged=1)
            case False:
                note(settled=1, spent=-1)
            case None:
                note(settled=1, unknown=1)

    def give_back(self, begun: Begun) -> None:
        """The call was not made after all."""
        self._account(begun.vendor).ledger.give_back(begun)

    def saved(
        self, provider: str, vendor: str, *, by: Literal["cache", "coalescing"], calls: int = 1
    ) -> None:
        """Calls that need not be made."""
        self._account(vendor).ledger.note(provider, **{f"saved_by_{by}": calls})

    def _account(self, vendor: str) -> _Account:
        if vendor not in self._accounts:
            budget = self._budgets.get(vendor, Budget())
            ledger = Ledger(self._collection, vendor, budget, self._writer, self._clock)
            asks = Coalescer(f"ledger-{vendor}", ledger.grant, _LARGEST_BATCH)
            self._accounts[vendor] = _Account(ledger, asks)
        return self._accounts[vendor]

    # Leads

    async def admit(
        self,
        account: object,
        plan: str | None,
        lead_id: LeadId,
        subject: Subject = Subject(),  # noqa: B008 - frozen
    ) -> bool:
        """Count a lead and whom it is about for its account and this calendar month; False when its
        quota is used up.

        `None` is the account of all leads that name none. See `calls/quotas.py`.
        """
        return await self._quotas.admit(account, plan, lead_id, subject)

    async def ensure(self) -> None:
        """Have the counts of months that are over deleted."""
        await expiry.ensure(self._collection, INDEX)

    # The loop

    async def run(self, stop: asyncio.Event) -> None:
        """Write what has ended once a second, and at the end. To be stopped after the last call."""
        has_more = True  # of what an older version left without an end
        while not stop.is_set():
            wait = await self._flush()
            if has_more and not wait:
                has_more = await self._has_endless()
            await pause(stop, wait or _FLUSH_SECONDS)
        try:
            async with asyncio.timeout(_LAST_TRIES_SECONDS):
                while self._is_waiting:
                    await asyncio.sleep(await self._flush())
        except TimeoutError:
            logger.warning("ledger.not_written")

    @property
    def _is_waiting(self) -> bool:
        return any(account.ledger.is_waiting for account in self._accounts.values())

    async def _has_endless(self) -> bool:
        try:
            return await self._quotas.give_ends()
        except DatabaseTrouble as error:
            self.outage.failed(error)
            return True

    async def _flush(self) -> float:
        """Returns the seconds to wait when MongoDB is away, else 0."""
        try:
            for account in list(self._accounts.values()):
                await account.ledger.flush()
        except DatabaseTrouble as error:
            return self.outage.failed(error)
        self.outage.succeeded()
        return 0.0

    # Reading

    async def days(self, days: int) -> list[DayOfProvider]:
        """Of the last so many days, today included, latest first. Raises DatabaseTrouble."""
        today = await self._clock.today()
        first = today - timedelta(days=days - 1)
        found = await self._collection.find(months_between(first, today)).to_list()
        with reading(COLLECTION):
            rows = [row for document in found for row in _rows(document)]
        rows = [row for row in rows if first <= row.day <= today]
        return sorted(rows, key=lambda row: (-row.day.toordinal(), row.vendor, row.provider))

    async def budgets(self) -> list[BudgetLeft]:
        """Each that is set. Raises DatabaseTrouble."""
        limited = {name: each for name, each in self._budgets.items() if each != Budget()}
        if not limited:
            return []
        today = await self._clock.today()
        ids = {document_id(vendor, today): vendor for vendor in limited}
        found = self._collection.find(
            {"_id": {"$in": list(ids)}}, {"spent": 1, f"days.{today:%d}.spent": 1}
        )
        documents = {ids[document["_id"]]: document async for document in found}
        with reading(COLLECTION):
            return [
                left
                for vendor, budget in limited.items()
                for left in _left(vendor, budget, spent_of(documents.get(vendor, {}), today))
            ]

    async def with_room(self) -> list[str]:
        """Vendors asked this month whose budget has room, as it is now. Raises DatabaseTrouble."""
        today = await self._clock.today()
        found = await self._collection.find(months_between(today, today)).to_list()
        with reading(COLLECTION):
            return [
                vendor
                for vendor, document in ((_vendor(document), document) for document in found)
                if has_room(document, today, self._budgets.get(vendor, Budget()))
            ]


def _left(vendor: str, budget: Budget, spent: tuple[int, int]) -> Iterator[BudgetLeft]:
    today, this_month = spent
    if budget.daily is not None:
        yield BudgetLeft(vendor, "day", budget.daily, max(0, budget.daily - today))
    if budget.monthly is not None:
        yield BudgetLeft(vendor, "month", budget.monthly, max(0, budget.monthly - this_month))


def _vendor(document: Document) -> str:
    return str(document["_id"]).split("/", 2)[2]


def _rows(document: Document) -> list[DayOfProvider]:
    month = str(document["_id"]).split("/")[1]
    return [
        DayOfProvider(date.fromisoformat(f"{month}-{day}"), _vendor(document), provider, **counts)
        for day, of_day in document.get("days", {}).items()
        for provider, counts in of_day.get("providers", {}).items()
        if any(counts.values())  # nothing was granted, or all of it was given back
    ]
