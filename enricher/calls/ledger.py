"""One vendor's ledger: what was asked of it, what was charged, and what may still be asked.

One document for each vendor and calendar month (UTC), kept for good:

    _id       "ledger/2026-08/hunter"
    spent     charged calls of the month; a call counts from before it is made until the vendor is
              known not to charge it
    days      {"01": {spent, providers: {hunter: {begun, settled, charged, unknown, saved_by_...}}}}
    budget    {daily, monthly} as the process that wrote last knew them
    writers   [{id, number, granted, at}]: the last posting of each process, latest last
    granted_at  when a call was last granted
    at        when it was last written

What must stay true:

* `begun` and `spent` are durable before a call, so a process that dies leaves its calls under way
  as ambiguous (begun and never settled) and as spent: a budget is never exceeded by even one.
* The server says which day it is. A posting names the day that its process takes it for, and nothing
  is granted if that is not so: the process then learns what day it is and asks again. Days have
  counters of their own and nothing is ever set back, so no clock and no fail-over at midnight can
  spend a budget twice, and a call counts in its own day whenever it ends.
* A posting is carried out once, however often it is sent: it has a number, and the document knows the
  last one of each process. A posting whose outcome is unknown is sent again before anything else. What
  it was granted nobody waits for any more, so it is given back.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from pymongo import ReturnDocument
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import DuplicateKeyError

from enricher.answer import Held
from enricher.calls.postings import Budget, Counts, Posting, document_id, month_of, pipeline
from enricher.lead import Document
from enricher.mongo.clock import ServerClock
from enricher.mongo.replies import reading

_CALLS_END_WITHIN = timedelta(seconds=30)
_MOMENT_SECONDS = 5.0


@dataclass(frozen=True, slots=True, eq=False)
class Begun:
    """The right to make one call; it is to be ended, and only once."""

    provider: str
    vendor: str
    day: date
    """By the server's clock, UTC: it counts in this day whenever it ends."""


@dataclass(slots=True, eq=False)
class Ask:
    """Somebody who waits for a `Begun`, or no longer does."""

    provider: str
    begun: Begun | None = None
    is_abandoned: bool = False


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

    # What is added later

    def note(self, provider: str, day: date | None = None, /, **counts: int) -> None:
        """Add to the counts of a day (without one: of today), with the next posting."""
        day = day or self._clock.now().date()
        self._counts[day][provider].update(counts)  # type: ignore[arg-type]  # names are Counts

    def give_back(self, begun: Begun) -> None:
        """No call was made."""
        self.note(begun.provider, begun.day, begun=-1, spent=-1)

    @property
    def is_waiting(self) -> bool:
        """True while something is not written, or not known to be."""
        return bool(self._counts) or self._unsure is not None

    # Postings

    async def grant(self, asks: Sequence[Ask]) -> list[Begun | Held]:
        """Reserve a call for each, as far as the budget goes, first come first served.

        One round trip, with everything that was noted. Raises DatabaseTrouble.
        """
        async with self._one_at_a_time:
            await self._make_sure()
            while True:
                today = await self._clock.today()
                posting = self._next_posting(today, tuple(ask.provider for ask in asks))
                document = await self._carry_out(posting)
                if _day_of(document) == today:
                    return self._answers(asks, posting, document)

    async def flush(self) -> None:
        """Write all that was noted before now. Raises DatabaseTrouble."""
        async with self._one_at_a_time:
            await self._make_sure()
            for month in {day.replace(day=1) for day in self._counts}:
                await self._carry_out(self._next_posting(month))

    async def _make_sure(self) -> None:
        """Carry out the posting of which nobody knows whether it was; its grants have no takers."""
        if (posting := self._unsure) is None:
            return
        document = await self._carry_out(posting)
        for provider in posting.asked[: _own(document)["granted"]]:
            self.give_back(Begun(provider, self._vendor, posting.day))

    def _next_posting(self, day: date, asked: tuple[str, ...] = ()) -> Posting:
        self._postings += 1
        days = [noted for noted in self._counts if month_of(noted) == month_of(day)]
        counts = {noted: dict(self._counts.pop(noted)) for noted in days}
        return Posting(self._postings, day, counts, asked)

    async def _carry_out(self, posting: Posting) -> Document:
        self._unsure = posting
        document = await self._upsert(posting)
        with reading(self._collection.name):
            _must_be_whole(document, posting.day)
        self._unsure = None
        self._clock.heard(document["at"])
        return document

    async def _upsert(self, posting: Posting) -> Document:
        try:
            return await self._update(posting)
        except DuplicateKeyError:  # somebody else made the month's document in this moment
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
    """True when the budget, as it is now, has room.

    What it was before cannot be asked: in a rolling restart, daemons with the old one come last.
    """
    return _has_room(budget, *spent_of(document, today))


def _must_be_whole(document: Document, day: date) -> None:
    """Reads all that is read of it later."""
    granted, today, this_month = _own(document)["granted"], *spent_of(document, day)
    _ = (_day_of(document), document["at"].astimezone(UTC), granted + today + this_month)
    if (granted_at := document.get("granted_at")) is not None:
        _ = document["at"] - granted_at


def _own(document: Document) -> Document:
    return dict(document["writers"][-1])


def _day_of(document: Document) -> date:
    """Of our own posting, which may have been carried out earlier than the document was last written."""
    at: datetime = _own(document)["at"]
    return at.astimezone(UTC).date()


def spent_of(document: Document, day: date) -> tuple[int, int]:
    """Calls that count against the budgets of that day and of its month."""
    of_day = document.get("days", {}).get(f"{day:%d}", {})
    return of_day.get("spent", 0), document.get("spent", 0)


def _has_room(budget: Budget, today: int, this_month: int) -> bool:
    has_room_today = budget.daily is None or today < budget.daily
    return has_room_today and (budget.monthly is None or this_month < budget.monthly)


def _used_up(budget: Budget, document: Document) -> Held:
    """Until the next period by the server's clock; that of the month when both are used up.

    While calls that were granted may still turn out to cost nothing, only for a moment.
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
