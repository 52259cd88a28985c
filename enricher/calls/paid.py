"""A gate to a provider that costs money: no question is paid for twice, and every call is counted.

    the same question at the same time, in this process    one call for all who ask
    answered in the last days, by any daemon               the kept reply is read again
    under way at another daemon                            wait for its answer
    else                                                   budget, then the call

A vendor's reply is kept before anything else is done with it, so a crash, a lost lease or a bug in
reading it costs nothing: a call that was sent is seen through to its kept answer even when every caller
has given up, and while MongoDB is away it waits with its answer in hand.

A daemon claims a question for the fleet (a flight) after the limiter and right before the call, so a
flight means "a call may be on its way"; a daemon that finds another was quicker gives its slot back.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from typing import Any, Generic, Literal, TypeVar, cast

from enricher.answer import (
    Answer,
    Found,
    Held,
    Kind,
    NotFound,
    Objected,
    Preparing,
    Query,
    Reply,
    Throttled,
)
from enricher.calls.breaker import (
    OBJECTIONS,
    OBJECTIONS_SECONDS,
    Lately,
    Objecting,
    UselessRow,
    is_too_many,
)
from enricher.calls.flights import Cache, Flight
from enricher.calls.gate import MOST_USELESS, Asking, Gate
from enricher.calls.ledger import Begun, Usage
from enricher.mongo import DatabaseTrouble
from enricher.mongo.outage import Outage
from enricher.mongo.secret import Keyring
from enricher.process import shortage
from enricher.providers.base import Tried
from enricher.providers.room import ROOM, one_answer
from enricher.telemetry import metrics
from enricher.telemetry.metrics import child

# Concurrent callers that want the same thing share one computation of it.
#
# The computation is a task of its own, so a caller that gives up does not take the others with it; when the
# last one has given up, the task is cancelled.

Made = TypeVar("Made")


@dataclass(slots=True)
class _Flight(Generic[Made]):
    task: asyncio.Task[Made]
    callers: int = 0


class SingleFlight(Generic[Made]):
    """Runs at most one computation per key at a time."""

    def __init__(self) -> None:
        self._flights: dict[Hashable, _Flight[Made]] = {}

    def is_under_way(self, key: Hashable) -> bool:
        """True when a caller of `do` would share a computation that has already begun."""
        return key in self._flights

    async def do(self, key: Hashable, make: Callable[[], Awaitable[Made]]) -> Made:
        """Return what `make` makes, or the result already being made for that key."""
        flight = self._flights.get(key) or self._begin(key, make)
        flight.callers += 1
        try:
            return await asyncio.shield(flight.task)
        finally:
            flight.callers -= 1
            if not flight.callers:
                self._forget(key, flight)
                flight.task.cancel()

    def _begin(self, key: Hashable, make: Callable[[], Awaitable[Made]]) -> _Flight[Made]:
        async def making() -> Made:
            return await make()

        flight = _Flight(asyncio.create_task(making(), name="single-flight"))
        self._flights[key] = flight
        flight.task.add_done_callback(lambda _: self._forget(key, flight))
        return flight

    def _forget(self, key: Hashable, flight: _Flight[Any]) -> None:
        """Drop the flight: a new caller starts afresh, even while a cancelled one still winds up."""
        if self._flights.get(key) is flight:
            del self._flights[key]


Result = TypeVar("Result")

_NEW_SLOT_SECONDS = 1.0
_NOT_MADE = Tried(Throttled(reason="nobody waits for it any more"))


_CACHE = {
    result: metrics.CACHE.labels(result) for result in ("hit", "negative_hit", "miss", "stale")
}


@dataclass(slots=True)
class Books:
    """Where answers are kept and calls are counted; shared by the gates of all paid providers."""

    cache: Cache
    usage: Usage
    keyring: Keyring
    found_lasts: timedelta = timedelta(days=7)
    not_found_lasts: timedelta = timedelta(days=1)
    is_suppressed: Callable[[str], Awaitable[bool]] | None = None
    """Takes an `email_key`: whether the person asked not to be processed."""
    note_objection: Callable[[str, str, int], Awaitable[Objecting]] | None = None
    """Takes (vendor, `email_key`, recent answers): one more person objected."""
    outage: Outage = field(default_factory=lambda: Outage("calls"))

    async def surely(self, write: Callable[[], Awaitable[Result]]) -> Result:
        """Return the result of `write`, however long MongoDB is away."""
        this = object()
        try:
            while True:
                try:
                    result = await write()
                except DatabaseTrouble as error:
                    await asyncio.sleep(self.outage.failed(error, this))
                else:
                    self.outage.succeeded(this)
                    return result
        finally:
            self.outage.forget(this)  # even when cancelled


@dataclass(slots=True)
class PaidGate(Gate):
    """The gate of one paid provider; see the module's docstring."""

    books: Books = field(kw_only=True)
    _budget_hold: Held | None = None
    _held_until: float = 0.0
    _shared: SingleFlight[Answer] = field(default_factory=SingleFlight)
    _asking: dict[Hashable, Asking] = field(default_factory=dict)
    """The first to ask each question under way: its outcome shows there."""
    _row: UselessRow = field(default_factory=UselessRow)
    _lately: Lately = field(default_factory=Lately)
    _calls: set[asyncio.Task[Answer | Reply | None]] = field(default_factory=set)

    async def ask(self, asking: Asking) -> Answer:
        try:
            question = self.provider.question(asking.query)
        except Exception as error:  # noqa: BLE001 - a provider may be third-party code
            return self._broken(error).answer
        if question is None:  # without a key its answer cannot be kept; the call still counts
            return await Gate.ask(self, asking)
        asking.key = self.books.keyring.key(self.name, question)
        # Urgency is part of the key, or an urgent lead would inherit a slower lead's place in the queue.
        same = (asking.key, asking.newer_than, asking.urgency, asking.query.wanted)
        is_shared = self._shared.is_under_way(same)
        if is_shared:
            asking.follows = self._asking.get(same)
        else:
            self._asking[same] = asking
        # A caller that joins may have more time than the first. So the shared asking has no deadline of its
        # own: it is cancelled when the last caller's time is up.
        seconds, asking.deadline = asking.deadline - shortage.awake(), math.inf
        try:
            async with shortage.timeout(max(0.0, seconds)):
                answer = await self._shared.do(same, partial(self._answer, asking))
        except TimeoutError:
            return asking.standing
        finally:
            if not self._shared.is_under_way(same):
                self._asking.pop(same, None)
        if is_shared and isinstance(answer, Found | NotFound):
            self._saved("coalescing")
        return answer

    async def close(self, seconds: float) -> None:
        """Wait for the calls under way: their answers are paid for."""
        if self._calls:
            await asyncio.wait(self._calls, timeout=seconds)
        await Gate.close(self, seconds)

    def _hold_for(self, asking: Asking) -> Held | None:
        """Ignore the budget for a question that is already paid for."""
        held = self._standing_hold()
        return self.limiter.held if asking.is_paid else held

    def _hold(self) -> Held | None:
        """Return the vendor's hold, or the budget's, which is cached so that it is not asked about repeatedly."""
        left = self._held_until - time.monotonic()
        if self._budget_hold and left > 0:
            return Held(self._budget_hold.reason, left)
        return Gate._hold(self)  # noqa: SLF001 - our own

    async def _answer(self, asking: Asking) -> Answer:
        standing = await self.books.surely(partial(self.books.cache.standing, asking.key))
        reply = standing.answer(asking.newer_than) or await self._wider(asking)
        asking.is_paid |= standing.is_paid(asking.newer_than)
        if standing.was_useless:  # even if another lead or a process since dead learnt it
            asking.useless = max(asking.useless, MOST_USELESS - 1)
        known = reply and self.provider.recall(reply, asking.query)
        if known:
            _CACHE["negative_hit" if isinstance(known, NotFound) else "hit"].inc()
            self._saved("cache")
            return known
        _CACHE["stale" if reply else "miss"].inc()
        return await Gate.ask(self, asking)

    async def _wider(self, asking: Asking) -> Reply | None:
        """Return the kept reply of a question that asked for more."""
        question = self.provider.wider(asking.query)
        if question is None:
            return None
        key = self.books.keyring.key(self.name, question)
        standing = await self.books.surely(partial(self.books.cache.standing, key))
        return standing.answer(asking.newer_than)

    # -- a call ------------------------------------------------------------------------------

    async def _try(self, asking: Asking) -> Answer:
        """Repeat while another daemon has the question in hand and comes to no answer."""
        while True:
            said = await self._one(asking)
            if said is None:
                said = await self._elsewhere(asking)
            if isinstance(said, Reply):
                said = await self._recalled(said, asking)
            said = said or await self._admission(asking)
            if said is not None:
                return said

    async def _recalled(self, reply: Reply, asking: Asking) -> Answer | None:
        """Return the kept answer. Forget a reply that no longer reads as one, or it would be found forever."""
        answer = self.provider.recall(reply, asking.query)
        if answer is None:
            await self.books.surely(lambda: self.books.cache.forget([asking.key]))
        else:
            self._saved("coalescing")
        return answer

    async def _one(self, asking: Asking) -> Answer | Reply | None:
        """See a call through, even when no caller waits for it any more."""
        asking.is_sent = False
        call = asyncio.create_task(self._claim_and_call(asking), name=f"call-{self.name}")
        self._calls.add(call)
        call.add_done_callback(self._calls.discard)
        try:
            said = await asyncio.shield(call)
        except asyncio.CancelledError:
            asking.is_wanted = False
            raise
        if asking.slot and not asking.is_sent:
            self.limiter.give_back(asking.slot)
        return said

    async def _elsewhere(self, asking: Asking) -> Reply | None:
        """Wait for the reply of the daemon that has the question in hand."""
        asking.outside_since = shortage.awake()
        waiting = partial(self.books.cache.wait, asking.key, asking.newer_than)
        return await self.books.surely(waiting)

    async def _claim_and_call(self, asking: Asking) -> Answer | Reply | None:
        """Return the answer, or a kept reply; `None` when another daemon has the question in hand."""
        if not asking.key:
            return await self._call_and_count(asking, None)
        take = partial(self.books.cache.take, asking.key, self.name, asking.newer_than)
        taken = await self.books.surely(take)
        if not isinstance(taken, Flight):
            return taken
        asking.is_paid |= taken.is_paid
        return await self._call_and_count(asking, taken)

    async def _call_and_count(self, asking: Asking, flight: Flight | None) -> Answer:
        """Make one call: first kept, then settled. A process that dies in between leaves it as ambiguous."""
        with one_answer(ROOM):
            return await self._call_and_keep(asking, flight)

    async def _call_and_keep(self, asking: Asking, flight: Flight | None) -> Answer:
        tried, permit = _NOT_MADE, None
        try:
            permit = await self._permit(asking)
            may_call = permit is None or isinstance(permit, Begun)
            tried = await self._sent(asking) if may_call else Tried(cast("Answer", permit))
            if may_call and isinstance(tried.answer, Objected):
                tried = replace(tried, answer=await self._braked(tried.answer, asking))
        finally:
            asking.is_paid = _is_still_paid(asking, tried)
            if flight is not None:
                await self._land(flight, tried, is_paid=asking.is_paid)
            if isinstance(permit, Begun):
                self._settle(permit, tried, asking)
        return tried.answer

    async def _permit(self, asking: Asking) -> Begun | Answer | None:
        """Return a call of the budget, or why there is none; `None` for a question already paid for."""
        if not asking.is_wanted:
            return _NOT_MADE.answer
        mailbox = self._mailbox_of(asking.query)
        if mailbox is None:
            return await self._begin(asking)
        has_objected, begun = await asyncio.gather(self._has_objected(mailbox), self._begin(asking))
        if has_objected and isinstance(begun, Begun):
            self.books.usage.give_back(begun)
        return Objected() if has_objected else begun

    async def _begin(self, asking: Asking) -> Begun | Held | None:
        if asking.is_paid:
            return None
        begin = partial(self.books.usage.begin, self.name, self.provider.vendor)
        begun = await self.books.surely(begin)
        if isinstance(begun, Held):
            self._budget_hold, self._held_until = begun, time.monotonic() + begun.seconds
        return begun

    def _mailbox_of(self, query: Query) -> str | None:
        """Return whose objection would count; `None` when no person is asked about."""
        return None if self.provider.kind is Kind.COMPANY else query.email_key

    async def _has_objected(self, mailbox: str) -> bool:
        """Check again now that the flight stands: forgetting a person from here on deletes the question."""
        is_suppressed = self.books.is_suppressed
        return is_suppressed is not None and await self.books.surely(lambda: is_suppressed(mailbox))

    async def _sent(self, asking: Asking) -> Tried:
        """Make the call unless its slot has lapsed: a stall must not end in a late burst.

        It does not wait long for a new slot: others want this question, and its budget is reserved.
        """
        while asking.is_wanted and asking.slot and asking.slot.has_lapsed:
            try:
                async with asyncio.timeout(_NEW_SLOT_SECONDS):
                    refusal = await self._admission(asking)
            except TimeoutError:
                return Tried(Throttled(reason="no slot in time"))
            if refusal:
                return Tried(refusal)
        if not asking.is_wanted:
            return _NOT_MADE
        asking.is_sent = True
        tried = await self._call(asking)
        if isinstance(tried.answer, Found | NotFound | Objected):
            self._lately.note()
        return tried

    async def _braked(self, answer: Answer, asking: Asking) -> Answer:
        """Stop the provider on too many objections: each erases for good, so a person has to look first."""
        note, mailbox = self.books.note_objection, self._mailbox_of(asking.query)
        if note is None or mailbox is None:
            return answer
        noting = partial(note, self.provider.vendor, mailbox, self._lately.count())
        if not is_too_many(await self.books.surely(noting)):
            return answer
        stop = Held(OBJECTIONS, OBJECTIONS_SECONDS)
        self.limiter.stop(self.name, stop)
        self._standing_hold()
        return stop

    def _settle(self, begun: Begun, tried: Tried, asking: Asking) -> None:
        """Record the end of a call in the ledger."""
        if not asking.is_sent:
            self.books.usage.give_back(begun)
            return
        self.books.usage.end(begun, charged=tried.is_charged)
        self._count(tried)

    async def _land(self, flight: Flight, tried: Tried, *, is_paid: bool) -> None:
        """End the flight, with a reply to keep or with none."""
        if tried.reply is None:
            is_useless = tried.is_useless
            await self.books.cache.let_go(flight, is_paid=is_paid, is_useless=is_useless)
            return
        is_miss = isinstance(tried.answer, NotFound)
        lasts = self.books.not_found_lasts if is_miss else self.books.found_lasts
        await self.books.cache.keep(flight, tried.reply, lasts)

    # -- counting ----------------------------------------------------------------------------

    def _saved(self, by: Literal["cache", "coalescing"]) -> None:
        child(metrics.CALLS_SAVED, self.name, by).inc()
        self.books.usage.saved(self.name, self.provider.vendor, by=by)

    def _count(self, tried: Tried) -> None:
        if tried.is_charged is None:
            child(metrics.CALLS_AMBIGUOUS, self.name).inc()
        elif tried.is_charged:
            child(metrics.CALLS_CHARGED, self.name).inc()
            child(metrics.CREDITS_CHARGED, self.name).inc(self.provider.credits)


def _is_still_paid(asking: Asking, tried: Tried) -> bool:
    """True when the vendor treats what follows as the same call: after a charged 202, until it answers."""
    if isinstance(tried.answer, Preparing):
        return asking.is_paid or tried.is_charged is True
    return asking.is_paid and tried.is_charged is not True
