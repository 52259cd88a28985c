"""One vendor's ledger: what was asked of it, what was charged, and what may still be asked.

One document for each vendor and calendar month (UTC), kept indefinitely:

    _id       "ledger/2026-08/hunter"
    spent     charged calls of the month; a call of a budget counts from before it is made until the
              vendor is known not to charge it
    days      {"01": {spent, providers: {hunter: {begun, settled, charged, unknown, saved_by_...}}}}
    budget    {daily, monthly} as the latest writer knew them
    writers   [{id, number, granted, ahead, at}]: the last posting of each process, latest last
    granted_at  when a call was last granted
    at        when it was last written

**Blocks.** A process that makes many calls is granted some ahead, about what it makes in a second and a half:
they are spent in the document before any is made, so one posting a second is enough, and a budget is never
exceeded, not even by one call. What a block still holds stands under `"in blocks"`, as if that were a
provider. A process that no longer needs it gives it back; one that dies leaves its block spent. As a budget
nears its end, blocks shrink to nothing, and each call is asked for. Without a budget there is nothing to ask:
what was begun is written within a second, and until then the question's flight says that there may be a call.

What must stay true:

* `spent` is durable before a call that has a budget.
* A block is used on its own day alone, and not near its end; nor after a time in which the server was not heard.
* The server says which day it is. A posting names the day that its process believes it is, and is granted
  nothing if that is wrong: the process then learns the day and asks again. Each day has its own counters
  and nothing is ever reset, so no clock and no fail-over at midnight can spend a budget twice, and a call
  counts in its own day whenever it ends.
* A posting is applied once, however often it is sent: it has a number, and the document knows each
  process's last one. A posting whose outcome is unknown is sent again before anything else. Its callers
  no longer wait, so what it was granted is given back.

What calls cost: the ledger, the budgets of vendors, and the quotas of plans.

Calls go through a `Ledger` for each vendor, leads through `Quotas`; both use one collection, and each
file documents what it stores. The rest of the daemon uses this interface:

    match await usage.begin(provider, vendor):    durable, before the call
        case Held() as held: ...                  the budget is used up
        case Begun() as begun:
            ... the call ...
            usage.end(begun, charged=...)         or usage.give_back(begun), if it was not made

What has ended is written with the next begin, or within a second by `run`.
"""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Any, Literal, TypeAlias

from loguru import logger
from pymongo import ReturnDocument
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import DuplicateKeyError

from enricher.answer import Held
from enricher.calls.quotas import Quotas
from enricher.lead import Document
from enricher.mongo import DatabaseTrouble, server
from enricher.mongo.batch import Coalescer
from enricher.mongo.outage import Outage, pause, reading
from enricher.mongo.server import ServerClock

# One update of a ledger's document: adds what was noted, grants what was asked for.
#
# The server runs the pipeline, so it decides by the document's contents and its own clock. The docstring of
# this module says what the document holds and what must stay true.

PREFIX = "ledger/"
_MOST_WRITERS = 100
"""Processes whose last posting is kept; far more than ask one vendor during an outage."""
_IN_BLOCKS = "in blocks"
"""Stands where a provider's name does. No provider's name has a space."""
_SHARES = 16
"""A block takes at most one of so many shares of what is left of a budget."""

Count: TypeAlias = Literal[
    "begun", "settled", "charged", "unknown", "saved_by_cache", "saved_by_coalescing", "spent"
]
"""Budgets are about `spent`; the rest is for people."""

Counts: TypeAlias = dict[date, dict[str, Counter[Count]]]
"""Day -> provider -> what is to be added."""


@dataclass(frozen=True, slots=True)
class Budget:
    """Calls that a vendor may charge, over all of its providers and all processes; `None`: any number."""

    daily: int | None = None
    monthly: int | None = None


@dataclass(frozen=True, slots=True)
class Posting:
    """One update of one month's document."""

    number: int
    day: date
    """Selects the month's document; calls are asked for on this day."""
    counts: Counts
    asked: tuple[str, ...] = ()
    """One provider per call, in the order of asking."""
    ahead: int = 0
    """Calls that are to be granted besides, if there is plenty."""


def document_id(vendor: str, day: date) -> str:
    """Return the ledger's `_id`. Ids begin with the month, so a span of months is one range of ids."""
    return f"{PREFIX}{month_of(day)}/{vendor}"


def months_between(first: date, last: date) -> Document:
    """Return the filter for the ledgers of all vendors in these months."""
    return {"_id": {"$gte": f"{PREFIX}{month_of(first)}/", "$lt": f"{PREFIX}{month_of(last)}0"}}


def month_of(day: date) -> str:
    return f"{day:%Y-%m}"


def pipeline(posting: Posting, writer: str, budget: Budget) -> list[Document]:
    """Return the update. Names that begin with an underscore exist only during the posting."""
    return [
        {"$set": {"_own": _last_posting_of(writer)}},
        {"$set": {"_is_new": {"$lt": [{"$ifNull": ["$_own.number", 0]}, posting.number]}}},
        {"$set": _added(posting.counts)},
        {"$set": {"_room": _room(posting, budget)}},
        {"$set": {"_granted": {"$min": [len(posting.asked), "$_room"]}}},
        {"$set": {"_ahead": _ahead(posting)}},
        {"$set": _begun(posting)},
        {"$set": _signed(posting, writer, budget)},
        {"$unset": ["_own", "_is_new", "_room", "_granted", "_ahead"]},
    ]


def _last_posting_of(writer: str) -> Document:
    mine = {"$eq": ["$$this.id", writer]}
    found = {"$filter": {"input": {"$ifNull": ["$writers", []]}, "cond": mine}}
    return {"$ifNull": [{"$arrayElemAt": [found, 0]}, {}]}


def _added(counts: Mapping[date, Mapping[str, Mapping[Count, int]]]) -> Document:
    """Add each noted count. `spent` is added three times: by provider, by day and by month."""
    sums: Counter[str] = Counter()
    for day, providers in counts.items():
        for provider, noted in providers.items():
            for name, number in noted.items():
                sums[f"{_path(day, provider)}.{name}"] += number
            spent = noted.get("spent", 0)
            sums[f"days.{day:%d}.spent"] += spent
            sums["spent"] += spent
    always = {"spent": _plus("spent", 0)}
    return always | {path: _plus(path, _if_new(number)) for path, number in sums.items()}


def _path(day: date, provider: str) -> str:
    """Escape the provider's name: a third-party provider may be called `acme.com`."""
    return f"days.{day:%d}.providers.{provider.replace('.', '_').replace('$', '_')}"


def _plus(path: str, expression: Any) -> Document:
    return {"$add": [{"$ifNull": [f"${path}", 0]}, expression]}


def _if_new(number: int) -> Document:
    return {"$cond": ["$_is_new", number, 0]}


def _room(posting: Posting, budget: Budget) -> Document:
    """Return how many calls may be granted: none when the posting was applied before, or is of another day."""
    spent = (f"days.{posting.day:%d}.spent", "spent")
    room = [
        {"$subtract": [most, {"$ifNull": [f"${path}", 0]}]}
        for most, path in zip((budget.daily, budget.monthly), spent, strict=True)
        if most is not None
    ]
    today = {"$dateToString": {"date": "$$NOW", "format": "%Y-%m-%d"}}
    may = {"$and": ["$_is_new", {"$eq": [today, posting.day.isoformat()]}]}
    most = len(posting.asked) + _SHARES * posting.ahead
    return {"$cond": [may, {"$max": [0, {"$min": [most, *room]}]}, 0]}


def _ahead(posting: Posting) -> Document:
    share = {"$floor": {"$divide": [{"$subtract": ["$_room", "$_granted"]}, _SHARES]}}
    return {"$toInt": {"$min": [posting.ahead, share]}}


def _begun(posting: Posting) -> Document:
    """Count the granted calls, the first of those asked, for their providers; and those granted ahead."""
    places: dict[str, list[int]] = defaultdict(list)
    for place, provider in enumerate(posting.asked):
        places[provider].append(place)
    both = {"$add": ["$_granted", "$_ahead"]}
    paths: Document = {"spent": both}
    if posting.asked or posting.ahead:
        paths[f"days.{posting.day:%d}.spent"] = both
    if posting.ahead:
        paths[f"{_path(posting.day, _IN_BLOCKS)}.spent"] = "$_ahead"
    for provider, own in places.items():
        is_granted = {"$lt": ["$$this", "$_granted"]}
        number = {"$size": {"$filter": {"input": own, "cond": is_granted}}}
        paths[f"{_path(posting.day, provider)}.begun"] = number
        paths[f"{_path(posting.day, provider)}.spent"] = number
    return {path: _plus(path, expression) for path, expression in paths.items()}


def _signed(posting: Posting, writer: str, budget: Budget) -> Document:
    others = {
        "$filter": {
            "input": {"$ifNull": ["$writers", []]},
            "cond": {"$ne": ["$$this.id", writer]},
        }
    }
    this = {
        "id": writer,
        "number": posting.number,
        "granted": "$_granted",
        "ahead": "$_ahead",
        "at": "$$NOW",
    }
    own = {"$cond": ["$_is_new", this, "$_own"]}
    return {
        "writers": {"$concatArrays": [{"$slice": [others, 1 - _MOST_WRITERS]}, [own]]},
        "budget": {"daily": budget.daily, "monthly": budget.monthly},
        "granted_at": {
            "$cond": [{"$gt": [{"$add": ["$_granted", "$_ahead"]}, 0]}, "$$NOW", "$granted_at"]
        },
        "at": "$$NOW",
    }


_CALLS_END_WITHIN = timedelta(seconds=30)
_WORTH_A_BLOCK = 4
"""Calls between two flushes: fewer are asked for one by one."""
_AHEAD = 1.5
"""A block is so many times the calls since the last flush, a second ago at most."""
_LARGEST_BLOCK = 1_000
_NEAR_MIDNIGHT = timedelta(seconds=5)
"""The server's clock may be ahead of what we take it for."""
_MOMENT_SECONDS = 5.0


@dataclass(frozen=True, slots=True, eq=False)
class Begun:
    """The right to make one call; it has to be ended exactly once."""

    provider: str
    vendor: str
    day: date
    """By the server's clock, UTC: the call counts in this day whenever it ends."""


@dataclass(slots=True, eq=False)
class Ask:
    """A caller that waits for a `Begun`, or no longer does."""

    provider: str
    begun: Begun | None = None
    is_abandoned: bool = False


@dataclass(slots=True)
class _BudgetBlock:
    """Calls that are spent in the document, and that nobody has made yet."""

    day: date
    left: int = 0


class Ledger:
    """The ledger of one vendor, as one process keeps it."""

    def __init__(
        self,
        collection: AsyncCollection[Document],
        vendor: str,
        budget: Budget,
        writer: str,
        clock: ServerClock,
    ) -> None:
        self._collection = collection
        self._vendor = vendor
        self._budget = budget
        self._writer = writer
        self._clock = clock
        self._postings = 0
        self._unsure: Posting | None = None
        self._counts: Counts = defaultdict(lambda: defaultdict(Counter))
        self._one_at_a_time = asyncio.Lock()
        self._block = _BudgetBlock(date.min)
        self._used = 0
        """Calls since the last flush."""
        self._is_closing = False

    # What needs no round trip

    def take(self, provider: str) -> Begun | None:
        """Take a call of the block, or without a budget any; `None` when the database has to be asked."""
        if self._budget == Budget():
            day = self._clock.now().date() if self._clock.is_known else None
        else:
            day = self._take_of_block()
        if day is None:
            return None
        self.note(provider, day, begun=1, spent=1)
        self._used += 1
        return Begun(provider, self._vendor, day)

    def _take_of_block(self) -> date | None:
        """Return the day of a call that the block had; the server may already be in the next."""
        now, block = self._clock.now(), self._block
        is_its_day = block.day == now.date() == (now + _NEAR_MIDNIGHT).date()
        if not (block.left and is_its_day and self._clock.was_heard_lately):
            return None
        block.left -= 1
        self.note(_IN_BLOCKS, block.day, spent=-1)
        return block.day

    def close(self) -> None:
        """Return what the block still holds, with the next posting, and take no other."""
        self._is_closing = True
        self._give_back(self._block.left)

    def _give_back(self, calls: int) -> None:
        if calls:
            self.note(_IN_BLOCKS, self._block.day, spent=-calls)
            self._block.left -= calls

    # What is added later

    def note(self, provider: str, day: date | None = None, /, **counts: int) -> None:
        """Add to the counts of a day (today by default), with the next posting."""
        day = day or self._clock.now().date()
        self._counts[day][provider].update(counts)  # type: ignore[arg-type]  # names are Counts

    def give_back(self, begun: Begun) -> None:
        """Return a grant for which no call was made."""
        self.note(begun.provider, begun.day, begun=-1, spent=-1)

    @property
    def is_waiting(self) -> bool:
        """True while something is unwritten, or may be."""
        return bool(self._counts) or self._unsure is not None

    # Postings

    async def grant(self, asks: Sequence[Ask]) -> list[Begun | Held]:
        """Reserve a call for each ask, as far as the budget goes, first come first served.

        One round trip, together with everything that was noted. Raises DatabaseTrouble.
        """
        async with self._one_at_a_time:
            await self._make_sure()
            self._used += len(asks)
            while True:
                today = await self._clock.today()
                posting = self._next_posting(today, tuple(ask.provider for ask in asks))
                document = await self._carry_out(posting)
                if _day_of(document) == today:
                    return self._answers(asks, posting, document)

    async def flush(self) -> None:
        """Write everything noted before now, with a new block if many calls were made. Raises DatabaseTrouble."""
        async with self._one_at_a_time:
            await self._make_sure()
            today = self._clock.now().date()
            ahead, self._used = self._change_block(today), 0
            for month in {day.replace(day=1) for day in self._counts}:
                if month_of(month) == month_of(today):
                    await self._carry_out(self._next_posting(today, ahead=ahead))
                else:
                    await self._carry_out(self._next_posting(month))

    async def _make_sure(self) -> None:
        """Resend the posting whose outcome is unknown; its grants have no takers and are given back."""
        if (posting := self._unsure) is None:
            return
        document = await self._carry_out(posting)
        for provider in posting.asked[: _own(document)["granted"]]:
            self.give_back(Begun(provider, self._vendor, posting.day))

    def _next_posting(self, day: date, asked: tuple[str, ...] = (), ahead: int = 0) -> Posting:
        self._postings += 1
        days = [noted for noted in self._counts if month_of(noted) == month_of(day)]
        counts = {noted: dict(self._counts.pop(noted)) for noted in days}
        return Posting(self._postings, day, counts, asked, ahead)

    def _change_block(self, today: date) -> int:
        """Return how many calls to ask for ahead, by what was called since the last flush.

        What the block holds beyond that is given back, and all of it on another day.
        """
        if self._block.day != today:
            self._give_back(self._block.left)
            self._block = _BudgetBlock(today)
        is_worth_it = self._budget != Budget() and self._used >= _WORTH_A_BLOCK
        wanted = min(round(_AHEAD * self._used), _LARGEST_BLOCK)
        wanted = wanted if is_worth_it and not self._is_closing else 0
        if self._block.left > 2 * wanted:
            self._give_back(self._block.left - wanted)
        return max(0, wanted - self._block.left)

    async def _carry_out(self, posting: Posting) -> Document:
        self._unsure = posting
        document = await self._upsert(posting)
        with reading(self._collection.name):
            _must_be_whole(document, posting.day)
        self._unsure = None
        self._clock.heard(document["at"])
        self._fill_block(posting, document)
        return document

    def _fill_block(self, posting: Posting, document: Document) -> None:
        """Add what was granted ahead; a posting that was carried out late may be of another day."""
        ahead = _own(document).get("ahead", 0)
        if self._block.day == posting.day:
            self._block.left += ahead
        elif ahead:
            self.note(_IN_BLOCKS, posting.day, spent=-ahead)

    async def _upsert(self, posting: Posting) -> Document:
        try:
            return await self._update(posting)
        except DuplicateKeyError:  # another process has just created the month's document
            return await self._update(posting)

    async def _update(self, posting: Posting) -> Document:
        key = document_id(self._vendor, posting.day)
        fields = {
            "at": 1,
            "granted_at": 1,
            "spent": 1,
            f"days.{posting.day:%d}.spent": 1,
            "writers": {"$slice": -1},
        }
        document = await self._collection.find_one_and_update(
            {"_id": key},
            pipeline(posting, self._writer, self._budget),
            fields,
            upsert=True,
            return_document=ReturnDocument.AFTER,
        )
        return document or {}

    def _answers(
        self, asks: Sequence[Ask], posting: Posting, document: Document
    ) -> list[Begun | Held]:
        granted = _own(document)["granted"]
        answers: list[Begun | Held] = []
        for ask in asks[:granted]:
            ask.begun = Begun(ask.provider, self._vendor, posting.day)
            answers.append(ask.begun)
            if ask.is_abandoned:
                self.give_back(ask.begun)
        if len(asks) > granted:
            answers += [_used_up(self._budget, document)] * (len(asks) - granted)
        return answers


# What a document says


def has_room(document: Document, today: date, budget: Budget) -> bool:
    """True when the current budget has room.

    The budget stored in the document does not count: in a rolling restart, daemons with the old one write
    last.
    """
    return _has_room(budget, *spent_of(document, today))


def _must_be_whole(document: Document, day: date) -> None:
    """Read every field that is read later, so that a damaged document fails here."""
    granted, today, this_month = _own(document)["granted"], *spent_of(document, day)
    _ = (_day_of(document), document["at"].astimezone(UTC), granted + today + this_month)
    if (granted_at := document.get("granted_at")) is not None:
        _ = document["at"] - granted_at


def _own(document: Document) -> Document:
    return dict(document["writers"][-1])


def _day_of(document: Document) -> date:
    """Return the day of our own posting, which may have been applied before the document's last write."""
    at: datetime = _own(document)["at"]
    return at.astimezone(UTC).date()


def spent_of(document: Document, day: date) -> tuple[int, int]:
    """Return the calls that count against the budgets of that day and of its month."""
    of_day = document.get("days", {}).get(f"{day:%d}", {})
    return of_day.get("spent", 0), document.get("spent", 0)


def _has_room(budget: Budget, today: int, this_month: int) -> bool:
    has_room_today = budget.daily is None or today < budget.daily
    return has_room_today and (budget.monthly is None or this_month < budget.monthly)


def _used_up(budget: Budget, document: Document) -> Held:
    """Hold until the next period by the server's clock; until the next month when both budgets are used up.

    The hold lasts only a moment while calls already granted may still turn out to be free.
    """
    now = document["at"].astimezone(UTC)
    granted_at = document.get("granted_at")
    if granted_at is not None and now - granted_at < _CALLS_END_WITHIN:
        return Held("the budget is used up, or will be", _MOMENT_SECONDS)
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    _, this_month = spent_of(document, now.date())
    if budget.monthly is not None and this_month >= budget.monthly:
        first = (midnight.replace(day=1) + timedelta(days=32)).replace(day=1)
        return Held("the monthly budget is used up", (first - now).total_seconds())
    left = midnight + timedelta(days=1) - now
    return Held("the daily budget is used up", left.total_seconds())


__all__ = ["COLLECTION", "Begun", "Budget", "BudgetLeft", "DayOfProvider", "Usage"]

COLLECTION = "enricher_usage"
INDEX = "enricher_usage_expiry"
RECHECKS = "rechecks"
"""Stands where a vendor's name does, for the calls of rechecks: those of all vendors count once more, together."""
_LARGEST_BATCH = 256
_FLUSH_SECONDS = 1.0
_LAST_TRIES_SECONDS = 2.0
"""How long a stop waits for an unreachable MongoDB. What is not written by then stays ambiguous."""


@dataclass(frozen=True, slots=True)
class DayOfProvider:
    """What one provider did on one day (UTC), all processes together.

    What processes hold in blocks is spent by none yet, and stands under a provider of its own.
    """

    day: date
    vendor: str
    provider: str
    begun: int = 0
    """Calls that were about to be made."""
    settled: int = 0
    """Of these, the calls whose end a process saw."""
    charged: int = 0
    unknown: int = 0
    """Settled, but not known to be charged or free: the call timed out."""
    spent: int = 0
    """What counts against the budget: charged, or not known to be free."""
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
    """A vendor's ledger, and the callers that wait for it."""

    ledger: Ledger
    asks: Coalescer[Ask, Begun | Held]


class Usage:
    """The calls and leads of one process, counted together with those of all others."""

    def __init__(
        self,
        database: AsyncDatabase[Document],
        budgets: Mapping[str, Budget],
        quotas: Mapping[str, int],
    ) -> None:
        """`budgets` are by vendor, `quotas` by plan; what is missing from them is unlimited."""
        self._collection: AsyncCollection[Document] = database[COLLECTION]
        self._budgets = budgets
        self._quotas = Quotas(self._collection, quotas)
        self.has_quotas = bool(quotas)
        self.admit = self._quotas.admit
        self._clock = ServerClock(database.client)
        self._writer = uuid.uuid4().hex[:16]
        self._accounts: dict[str, _Account] = {}
        self.outage = Outage("ledger")

    # Calls

    async def begin(self, provider: str, vendor: str) -> Begun | Held:
        """Reserve one call of the vendor's budget before it is made.

        Returns `Held` until the budget's next period. Concurrent calls share one round trip. Raises
        DatabaseTrouble; nothing stays reserved then, nor for a caller that is cancelled meanwhile.
        """
        account = self._account(vendor)
        if (begun := account.ledger.take(provider)) is not None:
            return begun
        ask = Ask(provider)
        try:
            return await account.asks.submit(ask)
        except asyncio.CancelledError:
            ask.is_abandoned = True
            if ask.begun is not None:
                account.ledger.give_back(ask.begun)
            raise

    def end(self, begun: Begun, *, charged: bool | None) -> None:
        """End the call; `None` when it is unknown whether it was charged, which counts as charged."""
        note = partial(self._account(begun.vendor).ledger.note, begun.provider, begun.day)
        match charged:
            case True:
                note(settled=1, charged=1)
            case False:
                note(settled=1, spent=-1)
            case None:
                note(settled=1, unknown=1)

    def give_back(self, begun: Begun) -> None:
        """Return the reservation of a call that was not made after all."""
        self._account(begun.vendor).ledger.give_back(begun)

    def lost(self, provider: str, vendor: str) -> None:
        """Count a call that a process may have made before it died, as ambiguous.

        If that process had written it, it stands there twice: rather that than not at all. Where it had a
        budget it is spent already, alone or in a block.
        """
        self._account(vendor).ledger.note(provider, begun=1)

    def saved(
        self, provider: str, vendor: str, *, by: Literal["cache", "coalescing"], calls: int = 1
    ) -> None:
        """Count calls that did not have to be made."""
        self._account(vendor).ledger.note(provider, **{f"saved_by_{by}": calls})

    def _account(self, vendor: str) -> _Account:
        if vendor not in self._accounts:
            budget = self._budgets.get(vendor, Budget())
            ledger = Ledger(self._collection, vendor, budget, self._writer, self._clock)
            asks = Coalescer(f"ledger-{vendor}", ledger.grant, _LARGEST_BATCH)
            self._accounts[vendor] = _Account(ledger, asks)
        return self._accounts[vendor]

    async def ensure(self) -> None:
        """Create the index that deletes the counts of past months."""
        await server.let_expire(self._collection, INDEX)

    # The loop

    async def run(self, stop: asyncio.Event) -> None:
        """Write what has ended once a second, and once more at the end. Stop it after the last call."""
        has_more = True  # quota documents that an older version wrote without `expires_at`
        while not stop.is_set():
            wait = await self._flush()
            if has_more and not wait:
                has_more = await self._has_endless()
            await pause(stop, wait or _FLUSH_SECONDS)
        for account in self._accounts.values():
            account.ledger.close()
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
        """Write all ledgers. Returns the seconds to wait when MongoDB is away, else 0."""
        try:
            for account in list(self._accounts.values()):
                await account.ledger.flush()
        except DatabaseTrouble as error:
            return self.outage.failed(error)
        self.outage.succeeded()
        return 0.0

    # Reading

    async def days(self, days: int) -> list[DayOfProvider]:
        """Return the last `days` days of all vendors, today included, latest first. Raises DatabaseTrouble."""
        today = await self._clock.today()
        first = today - timedelta(days=days - 1)
        found = await self._collection.find(months_between(first, today)).to_list()
        with reading(COLLECTION):
            rows = [
                row
                for document in found
                if _vendor(document) != RECHECKS
                for row in _rows(document)
            ]
        rows = [row for row in rows if first <= row.day <= today]
        return sorted(rows, key=lambda row: (-row.day.toordinal(), row.vendor, row.provider))

    async def budgets(self) -> list[BudgetLeft]:
        """Return what is left of each vendor's budget that is set. Raises DatabaseTrouble."""
        limited = {
            name: each
            for name, each in self._budgets.items()
            if each != Budget() and name != RECHECKS
        }
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

    async def rechecked(self) -> int:
        """Return how many calls of rechecks count today. Raises DatabaseTrouble."""
        today = await self._clock.today()
        found = await self._collection.find_one({"_id": document_id(RECHECKS, today)})
        with reading(COLLECTION):
            return spent_of(found or {}, today)[0]

    async def with_room(self) -> list[str]:
        """Return the vendors asked this month whose current budget has room. Raises DatabaseTrouble."""
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
