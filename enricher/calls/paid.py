"""A gate to a provider that costs money: no question is paid for twice, and every call is counted.

    the same question at the same time, in this process    one call for all who ask
    answered in the last days, by any daemon               the kept reply is read again
    under way at another daemon                            wait for its answer
    else                                                   budget, then the call

What a vendor answers is kept before anything else is done with it, so a crash, a lost lease or a
bug in reading it costs nothing: a call that was sent is seen through to its kept answer whoever has
given up waiting, and while MongoDB is away it waits with its answer in hand.

A question is claimed among the daemons (a flight) after the limiter and right before the call, so
that a flight means "a call may be on its way"; whoever finds that another was quicker gives the slot
back.
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

# Callers who want the same thing at the same time share one making of it.
#
# The making is a task of its own, so that a caller who gives up does not take the others down with
# him; when the last one has given up it is cancelled.

Made = TypeVar("Made")


@dataclass(slots=True)
class _Flight(Generic[Made]):
    task: asyncio.Task[Made]
    callers: int = 0


class SingleFlight(Generic[Made]):
    """At most one making of each key at a time."""

    def __init__(self) -> None:
        self._flights: dict[Hashable, _Flight[Made]] = {}

    def is_under_way(self, key: Hashable) -> bool:
        """True when a caller of `do` would share what another has begun."""
        return key in self._flights

    async def do(self, key: Hashable, make: Callable[[], Awaitable[Made]]) -> Made:
        """What `make` makes, or what is being made for that key already."""
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
        """A caller who comes now begins anew, also while a cancelled one still winds up."""
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
    """Of an `email_key`: whether the person asked not to be processed."""
    note_objection: Callable[[str, str, int], Awaitable[Objecting]] | None = None
    """(vendor, `email_key`, answers of late): one more person objected."""
    outage: Outage = field(default_factory=lambda: Outage("calls"))

    async def surely(self, write: Callable[[], Awaitable[Result]]) -> Result:
        """The result, however long MongoDB is away."""
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
            self.outage.forget(this)  # also when it is cancelled


@dataclass(slots=True)
class PaidGate(Gate):
    """See the module's page."""

    books: Books = field(kw_only=True)
    _budget_hold: Held | None = None
    _held_until: float = 0.0
    _shared: SingleFlight[Answer] = field(default_factory=SingleFlight)
    _asking: dict[Hashable, Asking] = field(default_factory=dict)
    """Who was first to ask what is under way: what becomes of it shows there."""
    _row: UselessRow = field(default_factory=UselessRow)
    _lately: Lately = field(default_factory=Lately)
    _calls: set[asyncio.Task[Answer | Reply | None]] = field(default_factory=set)

    async def ask(self, asking: Asking) -> Answer:
        try:
            question = self.provider.question(asking.query)
        except Exception as error:  # noqa: BLE001 - a provider may be anybody's code
            return self._broken(error).answer
        if question is None:  # there is nothing to keep it under; it is counted all the same
            return await Gate.ask(self, asking)
        asking.key = self.books.keyring.key(self.name, question)
        # Who is in a greater hurry must not wait in the queue at the place of who is not.
        same = (asking.key, asking.newer_than, asking.urgency, asking.query.wanted)
        is_shared = self._shared.is_under_way(same)
        if is_shared:
            asking.follows = self._asking.get(same)
        else:
            self._asking[same] = asking
        # Who joins may have more time than who was first. So the shared asking has no deadline of
        # its own: it is cancelled when the last one's time is up.
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
        """Let the calls that are under way end: their answers are paid for."""
        if self._calls:
            await asyncio.wait(self._calls, timeout=seconds)
        await Gate.close(self, seconds)

    def _hold_for(self, asking: Asking) -> Held | None:
        """What is paid for already needs no budget."""
        held = self._standing_hold()
        return self.limiter.held if asking.is_paid else held

    def _hold(self) -> Held | None:
        """The vendor's, or our own: a budget is not asked about again and again."""
        left = self._held_until - time.monotonic()
        if self._budget_hold and left > 0:
            return Held(self._budget_hold.reason, left)
        return Gate._hold(self)  # noqa: SLF001 - our own

    async def _answer(self, asking: Asking) -> Answer:
        standing = await self.books.surely(partial(self.books.cache.standing, asking.key))
        reply = standing.answer(asking.newer_than) or await self._wider(asking)
        asking.is_paid |= standing.is_paid(asking.newer_than)
        if (
            standing.was_useless
        ):  # also where the process that learnt it died, or it was another lead's
            asking.useless = max(asking.useless, MOST_USELESS - 1)
        known = reply and self.provider.recall(reply, asking.query)
        if known:
            _CACHE["negative_hit" if isinstance(known, NotFound) else "hit"].inc()
            self._saved("cache")
            return known
        _CACHE["stale" if reply else "miss"].inc()
        return await Gate.ask(self, asking)

    async def _wider(self, asking: Asking) -> Reply | None:
        """What was kept of a question that asked for more."""
        question = self.provider.wider(asking.query)
        if question is None:
            return None
        key = self.books.keyring.key(self.name, question)
        standing = await self.books.surely(partial(self.books.cache.standing, key))
        return standing.answer(asking.newer_than)

    # -- a call ------------------------------------------------------------------------------

    async def _try(self, asking: Asking) -> Answer:
        """As often as another daemon has the question in hand and comes to no answer."""
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
        """What was kept, unless it is no answer any more: then it must not be found for ever."""
        answer = self.provider.recall(reply, asking.query)
        if answer is None:
            await self.books.surely(lambda: self.books.cache.forget([asking.key]))
        else:
            self._saved("coalescing")
        return answer

    async def _one(self, asking: Asking) -> Answer | Reply | None:
        """See a call through, also when nobody waits for it any more."""
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
        """What the daemon that has the question in hand comes to."""
        asking.outside_since = shortage.awake()
        waiting = partial(self.books.cache.wait, asking.key, asking.newer_than)
        return await self.books.surely(waiting)

    async def _claim_and_call(self, asking: Asking) -> Answer | Reply | None:
        """The answer, or a kept reply; `None` when another daemon has the question in hand."""
        if not asking.key:
            return await self._call_and_count(asking, None)
        take = partial(self.books.cache.take, asking.key, self.name, asking.newer_than)
        taken = await self.books.surely(take)
        if not isinstance(taken, Flight):
            return taken
        asking.is_paid |= taken.is_paid
        return await self._call_and_count(asking, taken)

    async def _call_and_count(self, asking: Asking, flight: Flight | None) -> Answer:
        """One call: kept first, then settled. Who dies in between leaves it as ambiguous."""
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
        """A call of the budget, or why there is none; `None` for what is paid for already."""
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
        """Whose objection would count; `None` when no person is asked about."""
        return None if self.provider.kind is Kind.COMPANY else query.email_key

    async def _has_objected(self, mailbox: str) -> bool:
        """Once more now that the question stands: who is forgotten from here on takes it away."""
        is_suppressed = self.books.is_suppressed
        return is_suppressed is not None and await self.books.surely(lambda: is_suppressed(mailbox))

    async def _sent(self, asking: Asking) -> Tried:
        """The call, unless it is not the moment any more: a stall must not end in a late burst.

        A new slot is not waited for long: others want this question, and its budget is reserved.
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
        """An objection erases for good, so many at once are a fault until somebody has looked."""
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
        """The end of a call in the ledger."""
        if not asking.is_sent:
            self.books.usage.give_back(begun)
            return
        self.books.usage.end(begun, charged=tried.is_charged)
        self._count(tried)

    async def _land(self, flight: Flight, tried: Tried, *, is_paid: bool) -> None:
        """The end of a flight: with an answer to keep, or with none."""
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
    """What comes after a charged 202 is the same call to the vendor, until it answers."""
    if isinstance(tried.answer, Preparing):
        return asking.is_paid or tried.is_charged is True
    return asking.is_paid and tried.is_charged is not True
