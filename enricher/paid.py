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
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Literal, TypeVar

from enricher import metrics
from enricher.answer import Answer, Found, Held, NotFound, Reply, Throttled
from enricher.gate import Asking, Gate
from enricher.outage import Outage
from enricher.providers.base import Tried
from enricher.single_flight import SingleFlight
from enricher.store import DatabaseTrouble
from enricher.store.cache import Cache, Flight
from enricher.store.secret import Keyring
from enricher.store.usage import Usage

Result = TypeVar("Result")

_NOT_MADE = Tried(Throttled(reason="nobody waits for it any more"))


@dataclass(slots=True)
class Books:
    """Where answers are kept and calls are counted; shared by the gates of all paid providers."""

    cache: Cache
    usage: Usage
    keyring: Keyring
    found_lasts: timedelta = timedelta(days=7)
    not_found_lasts: timedelta = timedelta(days=1)
    outage: Outage = field(default_factory=lambda: Outage("calls"))

    async def surely(self, write: Callable[[], Awaitable[Result]]) -> Result:
        """The result, however long MongoDB is away."""
        while True:
            try:
                result = await write()
            except DatabaseTrouble as error:
                await asyncio.sleep(self.outage.failed(error))
            else:
                self.outage.succeeded()
                return result


@dataclass(slots=True)
class PaidGate(Gate):
    """See the module's page."""

    books: Books = field(kw_only=True)
    _budget_hold: Held | None = None
    _held_until: float = 0.0
    _shared: SingleFlight[Answer] = field(default_factory=SingleFlight)
    _calls: set[asyncio.Task[Answer | Reply | None]] = field(default_factory=set)

    async def ask(self, asking: Asking) -> Answer:
        question = self.provider.question(asking.query)
        if question is None:
            return await Gate.ask(self, asking)
        asking.key = self.books.keyring.key(self.name, question)
        # Who is in a greater hurry must not wait in the queue at the place of who is not.
        same = (asking.key, asking.newer_than, asking.urgency)
        is_shared = self._shared.is_under_way(same)
        try:
            async with asyncio.timeout(max(0.0, asking.deadline - time.monotonic())):
                answer = await self._shared.do(same, partial(self._answer, asking))
        except TimeoutError:
            return asking.standing
        if is_shared and isinstance(answer, Found | NotFound):
            self._saved("coalescing")
        return answer

    async def close(self, seconds: float) -> None:
        """Let the calls that are under way end: their answers are paid for."""
        if self._calls:
            await asyncio.wait(self._calls, timeout=seconds)
        await Gate.close(self, seconds)

    def _hold(self) -> Held | None:
        """The vendor's, or our own: a budget is not asked about again and again."""
        left = self._held_until - time.monotonic()
        if self._budget_hold and left > 0:
            return Held(self._budget_hold.reason, left)
        return Gate._hold(self)  # noqa: SLF001 - our own

    async def _answer(self, asking: Asking) -> Answer:
        look = partial(self.books.cache.look, asking.key, asking.newer_than)
        reply = await self.books.surely(look)
        known = reply and self.provider.recall(reply, asking.query)
        if known:
            self._saved("cache")
            return known
        return await Gate.ask(self, asking)

    # -- a call ------------------------------------------------------------------------------

    async def _try(self, asking: Asking) -> Answer:
        """As often as another daemon has the question in hand and comes to no answer."""
        if not asking.key:
            return await Gate._try(self, asking)  # noqa: SLF001 - our own
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
        waiting = partial(self.books.cache.wait, asking.key, asking.newer_than)
        return await self.books.surely(waiting)

    async def _claim_and_call(self, asking: Asking) -> Answer | Reply | None:
        """The answer, or a kept reply; `None` when another daemon has the question in hand."""
        take = partial(self.books.cache.take, asking.key, self.name, asking.newer_than)
        taken = await self.books.surely(take)
        if not isinstance(taken, Flight):
            return taken
        tried = _NOT_MADE
        try:
            tried = await self._counted(asking)
        finally:
            await self._land(taken, tried)
        return tried.answer

    async def _counted(self, asking: Asking) -> Tried:
        """The call, when the budget allows it; what is paid for already needs no budget."""
        if not asking.is_wanted:
            return _NOT_MADE
        if asking.is_paid:
            return await self._sent(asking)
        usage = self.books.usage
        begun = await self.books.surely(partial(usage.begin, self.name, self.provider.vendor))
        if isinstance(begun, Held):
            self._budget_hold, self._held_until = begun, time.monotonic() + begun.seconds
            return Tried(begun)
        tried = await self._sent(asking)
        if not asking.is_sent:
            usage.give_back(begun)
            return tried
        usage.end(begun, charged=tried.is_charged)
        self._count(tried)
        asking.is_paid = tried.is_charged is True
        return tried

    async def _sent(self, asking: Asking) -> Tried:
        """The call, unless it is not the moment any more: a stall must not end in a late burst."""
        while asking.slot and asking.slot.has_lapsed:
            if refusal := await self._admission(asking):
                return Tried(refusal)
        asking.is_sent = True
        return await self._call(asking)

    async def _land(self, flight: Flight, tried: Tried) -> None:
        """The end of a flight: with an answer to keep, or with none."""
        if tried.reply is None:
            await self.books.cache.let_go(flight)
            return
        is_miss = isinstance(tried.answer, NotFound)
        lasts = self.books.not_found_lasts if is_miss else self.books.found_lasts
        await self.books.cache.keep(flight, tried.reply, lasts)

    # -- counting ----------------------------------------------------------------------------

    def _saved(self, by: Literal["cache", "coalescing"]) -> None:
        metrics.CALLS_SAVED.labels(self.name, by).inc()
        self.books.usage.saved(self.name, self.provider.vendor, by=by)

    def _count(self, tried: Tried) -> None:
        if tried.is_charged is None:
            metrics.CALLS_AMBIGUOUS.labels(self.name).inc()
        elif tried.is_charged:
            metrics.CALLS_CHARGED.labels(self.name).inc()
