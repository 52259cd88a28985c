"""A question to one provider, from the lead that asks to the answer: one function, one task, one document.

`Gate.ask` and `Gate._find_answer` are the whole way, a line for each step. The order matters:

    share     the same question at the same time, in this process: one task for all who ask
    recall    answered in the last days, by any daemon: the kept reply is read again
    afford    the call might take every lead that waits beyond its ceiling: not asked
    admit     the provider is held, or its circuit is open: not asked; else wait for a slot of the limit
    claim     under way at another daemon: wait for its answer, and give the slot back; else it is ours
    permit    no lead may ask any more, the person objected, none can pay, or the budget is used up: no call
    send      the call
    keep      a reply is kept before anything else is done with it
    book      the ledger learns whether it was charged
    retry     no answer, but there may soon be one: again from afford, after a wait

A daemon claims a question for the fleet (a flight) after the slot and right before the call, so a flight
means "a call may be on its way", and no waiter hoards flights and budget. Suppression is read once the
flight stands: forgetting a person from then on deletes the question. Budget comes last, or a question that
is not asked after all could use up what is left.

**A call that was sent is seen through to its kept answer**, even when every lead that asked has given up,
and while MongoDB is away its question waits with the answer in hand: a crash, a lost lease or a bug in
reading costs nothing. **A call that was not sent is not sent any more** when no lead wants it: its question
is cancelled, and what it had in hand is given back.

Rules that need no network have no books. Their questions are neither shared nor kept, and end with the lead
that asked. What costs nothing and asks somebody else's server has them, but for the ledger: there is nothing
to charge and no budget.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cache, partial
from random import Random
from typing import Literal, TypeVar

from loguru import logger

from enricher.answer import (
    Answer,
    Capped,
    Found,
    Held,
    Kind,
    NotFound,
    Objected,
    Preparing,
    Query,
    Reply,
    Throttled,
    Unavailable,
    Unwanted,
)
from enricher.calls.breaker import (
    OBJECTIONS,
    OBJECTIONS_SECONDS,
    Breaker,
    Circuit,
    Holds,
    Lately,
    Objecting,
    UselessRow,
    cause_of,
    is_too_many,
)
from enricher.calls.ceiling import Payer
from enricher.calls.flights import Cache, Flight
from enricher.calls.ledger import RECHECKS, Begun, Usage
from enricher.limits.limiter import Limiter, Slot
from enricher.mongo import DatabaseTrouble
from enricher.mongo.outage import Outage
from enricher.mongo.secret import Keyring
from enricher.process import shortage
from enricher.providers.base import NO_MEMORY, Provider, Tried
from enricher.providers.http import broken
from enricher.providers.transport import ROOM, Share
from enricher.telemetry import metrics
from enricher.telemetry.metrics import child

MOST_USELESS = 2
"""Useless answers in one run of a lead: the first, and one more try."""

RECHECKED_ENOUGH = "rechecks have made their calls of the day"
_NEW_SLOT_SECONDS = 1.0
_NO_TIME = Throttled(reason="no time left to wait")
_NO_SLOT = Throttled(reason="no slot in time")
_CUT_SHORT = Tried(Unavailable("timed out"), is_charged=None)
"""A call that we cut short may be charged."""
_CACHE = {
    result: metrics.CACHE.labels(result) for result in ("hit", "negative_hit", "miss", "stale")
}

Result = TypeVar("Result")


# What is asked, and how far it has come


@dataclass(frozen=True, slots=True)
class Question:
    """What one lead asks one provider. `lead` is the id, for the log only."""

    query: Query
    deadline: float
    """`shortage.awake()` by which the lead must have an answer."""
    lead: str
    urgency: float = 0.0
    newer_than: datetime | None = None
    """Answers kept before this moment do not count."""
    may_ask: Callable[[], Awaitable[bool]] | None = None
    """Whether the lead still may have this asked about it; `None` where nothing can forbid it."""
    is_recheck: bool = False
    """Its calls count among those that rechecks may make in a day."""
    payer: Payer | None = None
    """What the lead may still cost; `None` where there is no ceiling."""


@dataclass(slots=True)
class Hand:
    """What one try has in hand. Each begins with nothing, so what the last one did does not count for it."""

    slot: Slot | None = field(init=False, default=None)
    """The moment for its call."""
    has_turn: bool = field(init=False, default=False)
    """It counts as under way in the provider's row."""
    flight: Flight | None = field(init=False, default=None)
    """The question is ours, for the whole fleet."""
    payer: Payer | None = field(init=False, default=None)
    """The lead that the call counts for, where there is a ceiling."""
    begun: Begun | None = field(init=False, default=None)
    """A call of the budget."""
    allowed: Begun | None = field(init=False, default=None)
    """A call of those that rechecks may make."""
    tried: Tried | None = field(init=False, default=None)
    """What came of the call; `None` until it is sent."""


@dataclass(slots=True, eq=False)
class Asking:
    """A lead's question on its way. Leads that ask the same at the same time follow the first of them."""

    question: Question
    useless: int = 0
    """Charged answers that told us nothing, in this run of the lead."""
    said: list[Answer] = field(init=False, default_factory=list)
    """What the tries before this one came to."""
    hand: Hand = field(init=False, default_factory=Hand)
    is_paid: bool = field(init=False, default=False)
    """The vendor has already charged for this question and is preparing the answer."""
    outside_since: float | None = field(init=False, default=None)
    """`shortage.awake()` since when it has waited for a vendor's answer, or a limit's room.

    `None` while only our own steps are left, or nothing is known yet.
    """
    key: str = field(init=False, default="")
    """Identifies the question among all ever asked; empty when its answer is not kept."""
    follows: Asking | None = field(init=False, default=None)
    """The asking, of another lead, whose call it shares."""
    waiting: int = field(init=False, default=0)
    """Leads that wait for the answer."""
    deadline: float = field(init=False, default=0.0)
    """The latest of theirs."""
    doubts: list[Callable[[], Awaitable[bool]]] = field(init=False, default_factory=list)
    """For each lead that waits and may be forbidden to ask: whether it still may."""
    is_sure: bool = field(init=False, default=False)
    """A lead waits that nothing forbids to ask."""
    payers: list[Payer] = field(init=False, default_factory=list)
    """Of the leads that wait, where there is a ceiling. One of them pays for the call."""
    is_elsewhere: bool = field(init=False, default=False)
    """Another daemon had the question in hand when it was looked up."""
    task: asyncio.Task[Answer] = field(init=False)

    @property
    def standing(self) -> Answer:
        """The answer if time ran out now: waiting for a limit is not a failure, a call under way is."""
        if self.hand.tried is not None:
            return _CUT_SHORT.answer
        return self.said[-1] if self.said else _NO_TIME

    @property
    def is_open(self) -> bool:
        """Whether the answer may yet come at no further cost: it is paid for, or the call is under way."""
        first = self.follows or self
        return first.is_paid or (first.hand.tried is not None and not first.task.done())

    @property
    def outside_seconds(self) -> float:
        """Seconds for which it has been waiting only for something outside this process."""
        since = (self.follows or self).outside_since
        return 0.0 if since is None else shortage.awake() - since

    def join(self, question: Question) -> None:
        """Count one more lead that waits."""
        self.waiting += 1
        self.deadline = max(self.deadline, question.deadline)
        if question.payer is not None:
            self.payers.append(question.payer)
        if question.may_ask is None:
            self.is_sure = True
        else:
            self.doubts.append(question.may_ask)

    def leave(self, question: Question) -> None:
        """Count one lead less that waits."""
        self.waiting -= 1
        if question.payer is not None:
            self.payers.remove(question.payer)

    async def is_wanted(self) -> bool:
        """Return whether any lead that wanted to know still may ask."""
        for may_ask in tuple(self.doubts):
            if await may_ask():
                return True
        return self.is_sure

    async def ended_by(self, deadline: float) -> bool:
        """Wait for the answer; False when time ran out. A waiter that is cancelled takes nobody with it."""
        while not self.task.done() and (left := deadline - shortage.awake()) > 0:
            await asyncio.wait((self.task,), timeout=left)
        return self.task.done()


# Where answers are kept and calls are counted


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """For how long an answer is kept, by what it says."""

    found: timedelta = timedelta(days=7)
    not_found: timedelta = timedelta(days=1)


@dataclass(slots=True)
class Books:
    """Where answers are kept and calls are counted; shared by the gates of all paid providers."""

    cache: Cache
    usage: Usage
    keyring: Keyring
    lifetimes: Lifetimes = field(default_factory=Lifetimes)
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
        except BaseException:  # cancelled, too
            self.outage.forget(this)
            raise


# Quick retries within an attempt
#
# Waits are the vendor's own where it names one and ours where it does not, whichever is longer: a
# try before Retry-After cannot succeed and may count against us. When the wait would not end before
# the lead's deadline, or is longer than ours ever are, there is no further try and the answer stands
# as it is; the lead's next attempt comes from the database.


@dataclass(frozen=True, slots=True)
class Retries:
    """How often and how fast to retry. Durations are in seconds."""

    tries: int = 4
    """For a provider that fails: beyond that it is an outage, which an attempt cannot sit out."""
    polls: int = 8
    """For a provider that prepares its answer or throttles: it works, but takes its time."""
    first_wait: float = 0.5
    longest_wait: float = 20.0
    """Our own waits double up to this; a vendor's may be longer."""
    patience: float = 30.0
    """A lead in work does not wait for a vendor that asks for more."""

    def wait_after(self, said: Sequence[Answer], random: Random) -> float | None:
        """PURE Return the seconds until the try after these answers; `None` when the last one stands."""
        if not _is_passing(said[-1]):
            return None
        failures = sum(isinstance(each, Unavailable) for each in said)
        if failures >= self.tries or len(said) - failures >= self.polls:
            return None
        ours = min(self.longest_wait, self.first_wait * 2.0 ** (len(said) - 1))
        jittered = ours * (0.5 + 0.5 * random.random())
        wait = max(jittered, getattr(said[-1], "retry_after", None) or 0.0)
        return wait if wait <= self.patience else None


def _is_passing(answer: Answer) -> bool:
    if isinstance(answer, Unavailable):
        return not answer.is_final
    return isinstance(answer, Preparing | Throttled)


# The way


@dataclass(slots=True)
class Gate:
    """What the questions to one provider pass, and what they share: its limit, holds, breaker and books."""

    provider: Provider
    retries: Retries = field(default_factory=Retries)
    random: Random = field(default_factory=Random)
    shared_limiter: Limiter | None = None
    """Set where several providers share a limiter; otherwise one is made from the provider's own windows."""
    books: Books | None = None
    """`None` for rules that need no network."""
    cost: int = 0
    """What a call counts at most against a lead's ceiling, in millionths."""
    name: str = field(init=False)
    limiter: Limiter = field(init=False)
    _holds: Holds = field(init=False)
    _breaker: Breaker = field(init=False)
    _row: UselessRow = field(init=False)
    _lately: Lately = field(init=False, default_factory=Lately)
    _waiting: int = field(init=False, default=0)
    """Leads that wait for a slot, or for the end of a pause that the vendor asked for."""
    _answered_at: float = field(init=False, default=0.0)
    """When the provider last answered, be it that it knows nothing."""
    _shared: dict[Hashable, Asking] = field(init=False, default_factory=dict)
    """The first to ask each question that another lead may still share."""
    _tasks: set[asyncio.Task[Answer]] = field(init=False, default_factory=set)
    """All questions under way. The event loop alone would not keep one alive that nobody waits for."""

    def __post_init__(self) -> None:
        self.name = self.provider.name
        self.limiter = self.shared_limiter or Limiter(self.provider.windows)
        self._row = UselessRow(is_proven=self.books is None or self.provider.is_free)
        self._holds = Holds(self.provider, self.limiter, self._row)
        self._breaker = Breaker(self.name)
        metrics.WAITING.labels(self.name).set_function(lambda: self._waiting)
        metrics.LAST_SUCCESS.labels(self.name).set_function(lambda: self._answered_at)

    async def ask(self, asking: Asking) -> Answer:
        """Return the answer by the question's deadline.

        When time runs out: `Unavailable` if a call was under way, else what the last call said, and
        `Throttled` if there was none.
        """
        if self.books is None:
            return await self._ask_alone(asking)
        try:
            same = self._identify(asking, self.books)
        except Exception as error:  # noqa: BLE001 - a provider may be third-party code
            return self._broken(error).answer
        first = self._share(same, asking)
        try:
            has_ended = await first.ended_by(asking.question.deadline)
        finally:
            self._leave(same, first, asking.question)
        if not has_ended:
            return first.standing
        answer = first.task.result()
        if asking.follows and isinstance(answer, Found | NotFound):
            self._saved(self.books, "coalescing")
        return answer

    async def _find_answer(self, asking: Asking) -> Answer:
        """Go the way of a question. The first step that has an answer ends the try.

        There is a ceiling where the question has a payer, and its answer is kept where it has a key.
        """
        books, payer = self.books, asking.question.payer
        if books and asking.key and (answer := await self._recall(books, asking)):
            return answer
        while True:
            with Share(ROOM):
                try:
                    answer = (
                        (await self._afford(asking) if payer else None)
                        or await self._admit(asking)
                        or (await self._claim(books, asking) if books and asking.key else None)
                        or (await self._permit(books, asking) if books else None)
                        or await self._send(asking)
                    )
                finally:
                    self._give_back(asking.hand)
                    try:
                        await self._keep(asking)
                    finally:
                        self._book(asking.hand)
            asking.said.append(answer)
            asking.hand = Hand()
            if not _is_passing(answer) or not await self._retry(asking, answer):
                return answer

    # -- share -------------------------------------------------------------------------------

    def _identify(self, asking: Asking, books: Books) -> Hashable:
        """Return what is the same for all leads that may share one call; note the question's key."""
        question = asking.question
        text = self.provider.question(question.query)
        if text is None:  # without a key its answer cannot be kept; the call still counts
            return asking
        asking.key = books.keyring.key(self.name, text)
        # Urgency is part of it, or an urgent lead would inherit a slower lead's place in the queue.
        query = question.query
        wish = question.newer_than, query.wanted, question.is_recheck
        # A number that was read off a site is checked against that site: the same reply may be another answer.
        of_site = (query.cnpj_of, query.company_domain) if query.cnpj_of is not None else None
        return asking.key, question.urgency, *wish, of_site

    def _share(self, same: Hashable, asking: Asking) -> Asking:
        """Return the asking to wait for: another lead's that is under way, or this one, which begins."""
        first = asking.follows = self._shared.get(same)
        if first is None:
            first = self._shared[same] = asking
            name = f"question-{self.name}"
            asking.task = asyncio.create_task(self._find_answer(asking), name=name)
            self._tasks.add(asking.task)
            asking.task.add_done_callback(partial(self._end, same, asking))
        first.join(asking.question)
        return first

    def _leave(self, same: Hashable, first: Asking, question: Question) -> None:
        """Stop waiting. The last one takes along what has not been sent, and the next begins afresh."""
        first.leave(question)
        if not first.waiting and first.hand.tried is None and not first.task.done():
            self._forget(same, first)
            first.task.cancel()

    def _end(self, same: Hashable, asking: Asking, task: asyncio.Task[Answer]) -> None:
        self._tasks.discard(task)
        self._forget(same, asking)

    def _forget(self, same: Hashable, asking: Asking) -> None:
        if self._shared.get(same) is asking:
            del self._shared[same]

    async def _ask_alone(self, asking: Asking) -> Answer:
        """Ask rules that need no network: there is nothing to share, to keep or to see through."""
        deadline = asking.question.deadline
        asking.join(asking.question)
        try:
            async with shortage.timeout(max(0.0, deadline - shortage.awake())):
                return await self._find_answer(asking)
        except TimeoutError:
            return asking.standing

    # -- recall ------------------------------------------------------------------------------

    async def _recall(self, books: Books, asking: Asking) -> Answer | None:
        """Return what the kept reply means, whichever daemon asked; note what else is known of the question."""
        question = asking.question
        standing = await books.surely(partial(books.cache.standing, asking.key))
        asking.is_paid = standing.is_paid(question.newer_than)
        asking.is_elsewhere = standing.beat is not None
        if standing.was_useless:  # even if another lead or a process since dead learnt it
            asking.useless = max(asking.useless, MOST_USELESS - 1)
        reply = standing.answer(question.newer_than)
        if reply is None and (wider := self.provider.wider(question.query)) is not None:
            reply = await self._recall_wider(books, wider, question.newer_than)
        answer = reply and self.provider.recall(reply, question.query)
        if not answer:
            _CACHE["stale" if reply else "miss"].inc()
            return None
        _CACHE["negative_hit" if isinstance(answer, NotFound) else "hit"].inc()
        self._saved(books, "cache")
        return answer

    async def _recall_wider(
        self, books: Books, text: str, newer_than: datetime | None
    ) -> Reply | None:
        """Return the kept reply of a question that asked for more."""
        key = books.keyring.key(self.name, text)
        standing = await books.surely(partial(books.cache.standing, key))
        return standing.answer(newer_than)

    # -- afford ------------------------------------------------------------------------------

    async def _afford(self, asking: Asking) -> Answer | None:
        """Return why not, if no lead that waits can pay for the call: then nothing that may end is waited for.

        An answer that another daemon has on its way costs nothing, and may even be paid for by this very lead.
        """
        is_free = asking.is_paid or self.provider.is_free or self.books is None
        if is_free or any(each.can_afford(self.cost) for each in asking.payers):
            return None
        books, is_elsewhere, asking.is_elsewhere = self.books, asking.is_elsewhere, False
        if books is not None and is_elsewhere:
            reply = await self._reply_of_another(books, asking)
            if reply and (answer := await self._reread(books, reply, asking)):
                return answer
        return Capped()

    # -- admit -------------------------------------------------------------------------------

    async def _admit(self, asking: Asking) -> Answer | None:
        """Wait for a slot; return why not, if the provider may not be asked now or before the deadline."""
        if held := self._holds.look(is_paid=asking.is_paid):
            return held
        paused = self.limiter.pause_left
        if paused and shortage.awake() + paused >= asking.deadline:
            return Throttled(paused)  # do not occupy the worker with a wait that cannot succeed
        given = await self._slot(asking)
        held = self._holds.look(is_paid=asking.is_paid) or self._breaker.admission(
            asking.question.query
        )
        if isinstance(given, Held):
            return held or given
        if held:  # the hold may have begun while we queued
            self.limiter.give_back(given)
            return held
        asking.hand.slot = given
        return None

    async def _slot(self, asking: Asking) -> Slot | Held:
        """Wait for a slot of the limit and a turn in the row, keeping no slot from others in the meantime."""
        hand, began = asking.hand, time.monotonic()
        asking.outside_since = shortage.awake()
        self._waiting += 1
        try:
            given = await self.limiter.acquire(asking.question.urgency)
            while isinstance(given, Slot) and not (hand.has_turn or self._row.has_room):
                self.limiter.give_back(given)
                await self._row.room()
                given = await self.limiter.acquire(asking.question.urgency)
        finally:
            self._waiting -= 1
            child(metrics.LIMIT_WAIT, self.name).inc(time.monotonic() - began)
        asking.outside_since = None
        if isinstance(given, Slot) and not hand.has_turn:
            hand.has_turn = True
            self._row.begin()
        return given

    # -- claim -------------------------------------------------------------------------------

    async def _claim(self, books: Books, asking: Asking) -> Answer | None:
        """Take the question for the fleet. While another daemon has it in hand, wait for its answer instead."""
        hand, newer_than = asking.hand, asking.question.newer_than
        take = partial(books.cache.take, asking.key, self.name, newer_than)
        while not isinstance(taken := await books.surely(take), Flight):
            self._give_back_slot(hand)
            reply = taken or await self._reply_of_another(books, asking)
            answer = await self._reread(books, reply, asking) if reply else None
            if answer := answer or await self._admit(asking):
                return answer
        hand.flight = taken
        asking.is_paid |= taken.is_paid
        if taken.took_over and not self.provider.is_free:
            books.usage.lost(self.name, self.provider.vendor)
        return None

    async def _reply_of_another(self, books: Books, asking: Asking) -> Reply | None:
        """Wait for the reply of the daemon that has the question in hand; `None` if it comes to none."""
        asking.outside_since = shortage.awake()
        waiting = partial(books.cache.wait, asking.key, asking.question.newer_than)
        return await books.surely(waiting)

    async def _reread(self, books: Books, reply: Reply, asking: Asking) -> Answer | None:
        """Return the kept answer. Forget a reply that no longer reads as one, or it would be found forever."""
        answer = self.provider.recall(reply, asking.question.query)
        if answer is None:
            await books.surely(lambda: books.cache.forget([asking.key]))
        else:
            self._saved(books, "coalescing")
        return answer

    # -- permit ------------------------------------------------------------------------------

    async def _permit(self, books: Books, asking: Asking) -> Answer | None:
        """Take a call of the budget, unless nobody may ask or the person objected; return why there is none."""
        if not (asking.is_sure or await asking.is_wanted()):
            return Unwanted()
        mailbox, is_suppressed = self._mailbox_of(asking.question.query), books.is_suppressed
        if mailbox and is_suppressed:
            has_objected = partial(is_suppressed, mailbox)
            if await books.surely(has_objected):
                return Objected()
        if asking.is_paid or self.provider.is_free:
            return None
        return (
            (await self._allow(books, asking) if asking.question.is_recheck else None)
            or (await self._charge(books, asking) if asking.question.payer else None)
            or await self._spend(books, asking)
        )

    async def _allow(self, books: Books, asking: Asking) -> Held | None:
        """Take a call of those that rechecks may make. It is no hold of the provider: others may ask it."""
        allowed = await books.surely(partial(books.usage.begin, self.name, RECHECKS))
        if isinstance(allowed, Held):
            return replace(allowed, reason=RECHECKED_ENOUGH)
        asking.hand.allowed = allowed
        return None

    async def _charge(self, books: Books, asking: Asking) -> Capped | None:
        """Let the first lead that can pay for the call, before it is made."""
        for payer in tuple(asking.payers):
            if await books.surely(partial(payer.take, self.cost)):
                asking.hand.payer = payer
                return None
        return Capped()

    async def _spend(self, books: Books, asking: Asking) -> Held | None:
        begin = partial(books.usage.begin, self.name, self.provider.vendor)
        begun = await books.surely(begin)
        if isinstance(begun, Held):
            self._holds.note_budget(begun)
            return begun
        asking.hand.begun = begun
        return None

    def _mailbox_of(self, query: Query) -> str | None:
        """Return whose objection would count; `None` when no person is asked about."""
        return None if self.provider.kind is Kind.COMPANY else query.email_key

    # -- send --------------------------------------------------------------------------------

    async def _send(self, asking: Asking) -> Answer:
        """Make the call. From here on the question is seen through, whoever still waits for it."""
        hand = asking.hand
        has_lapsed = hand.slot is not None and hand.slot.has_lapsed
        if has_lapsed and (refusal := await self._renew_slot(asking)):
            return refusal
        hand.tried = _CUT_SHORT
        asking.outside_since = shortage.awake()
        hand.tried = await self._exchange(asking.question.query)
        asking.is_paid = _is_still_paid(asking, hand.tried)
        answer = self._learn(asking, hand.tried)
        return await self._brake(asking, answer) if isinstance(answer, Objected) else answer

    async def _renew_slot(self, asking: Asking) -> Answer | None:
        """Replace a slot that has lapsed: a stall must not end in a late burst.

        It does not wait long for a new one: others want this question, and its budget is reserved.
        """
        while asking.hand.slot and asking.hand.slot.has_lapsed:
            try:
                async with asyncio.timeout(_NEW_SLOT_SECONDS):
                    if refusal := await self._admit(asking):
                        return refusal
            except TimeoutError:
                return _NO_SLOT
        return None

    async def _exchange(self, query: Query) -> Tried:
        """Call the provider, which may be anybody's code: whatever it does, there is something to learn."""
        began, tried = time.perf_counter(), _CUT_SHORT
        try:
            tried = _checked(await self.provider.exchange(query))
        except asyncio.CancelledError as error:
            # If nobody cancelled us, the cancellation is the provider's own (a shared call, a broken pool).
            # Passed on, it would end this task as if the answer were no longer wanted.
            if _is_cancelled():
                raise
            tried = self._broken(error)
        except MemoryError:
            shortage.note_no_memory()
            tried = Tried(NO_MEMORY, is_charged=None)
        except Exception as error:  # noqa: BLE001 - a provider may be third-party code
            tried = self._broken(error)
        finally:
            child(metrics.REQUEST_SECONDS, self.name).observe(time.perf_counter() - began)
            child(metrics.REQUESTS, self.name, word_for(tried.answer)).inc()
        return tried

    def _broken(self, error: BaseException) -> Tried:
        return Tried(Unavailable(broken(self.provider, error)), is_charged=None)

    # -- learn: what came of a try, for all that learn from it --------------------------------

    def _learn(self, asking: Asking, tried: Tried) -> Answer:
        """Return the answer as the lead should see it."""
        self._show(tried)
        answer = self._holds.heed(self._weigh(asking, tried), tried.pause)
        answer = self._breaker.note(asking.question.query, answer)
        if self.books is not None and isinstance(answer, Found | NotFound | Objected):
            self._lately.note()
        return answer

    def _show(self, tried: Tried) -> None:
        if isinstance(tried.answer, Found | NotFound):
            self._answered_at = time.time()
        for window, calls in tried.window_left.items():
            child(metrics.WINDOW_LEFT, self.name, window).set(calls)
        if tried.quota_left is not None:
            child(metrics.QUOTA_LEFT, self.name).set(tried.quota_left)

    def _weigh(self, asking: Asking, tried: Tried) -> Answer:
        """Count useless charged answers: a lead buys one more at most, and ten in a row stop the provider."""
        if not tried.is_useless:
            is_answer = isinstance(tried.answer, Found | NotFound)
            self._row.useful(charged=tried.is_charged is True, is_answer=is_answer)
            return tried.answer
        asking.useless += 1
        is_stopped = self.limiter.stopped(self.name) is not None
        if stop := self._row.useless(is_stopped=is_stopped):
            self._holds.stop(stop)
        is_final = asking.useless >= MOST_USELESS
        reason = getattr(tried.answer, "reason", "")
        return Unavailable(reason, is_of_question=True, is_final=is_final)

    async def _brake(self, asking: Asking, objected: Objected) -> Answer:
        """Stop the provider on too many objections: each erases for good, so a person has to look first."""
        books, mailbox = self.books, self._mailbox_of(asking.question.query)
        if books is None or books.note_objection is None or mailbox is None:
            return objected
        vendor, answers = self.provider.vendor, self._lately.count()
        noting = partial(books.note_objection, vendor, mailbox, answers)
        if not is_too_many(await books.surely(noting)):
            return objected
        stop = Held(OBJECTIONS, OBJECTIONS_SECONDS)
        self._holds.stop(stop)
        return stop

    # -- give back, keep, book ---------------------------------------------------------------

    def _give_back(self, hand: Hand) -> None:
        """End the turn; of a call that was not sent, give back the slot and the budget."""
        if hand.has_turn:
            self._row.end()
        if hand.tried is not None:
            return
        self._give_back_slot(hand)
        if hand.payer is not None:
            hand.payer.spending.give_back(self.cost)
        for begun in (hand.begun, hand.allowed):
            if self.books is not None and begun is not None:
                self.books.usage.give_back(begun)

    def _give_back_slot(self, hand: Hand) -> None:
        if hand.slot is not None:
            self.limiter.give_back(hand.slot)
            hand.slot = None

    async def _keep(self, asking: Asking) -> None:
        """Keep the reply, which ends the flight; or end it without one."""
        books, flight, tried = self.books, asking.hand.flight, asking.hand.tried
        if books is None or flight is None:
            return
        if tried is None or tried.reply is None:
            is_useless = tried is not None and tried.is_useless
            await books.cache.let_go(flight, is_paid=asking.is_paid, is_useless=is_useless)
            return
        is_miss = isinstance(tried.answer, NotFound)
        lasts = self._miss_lasts(books) if is_miss else books.lifetimes.found
        await books.cache.keep(flight, tried.reply, lasts)

    def _miss_lasts(self, books: Books) -> timedelta:
        lasts = books.lifetimes.not_found.total_seconds()
        return timedelta(seconds=min(lasts, self.provider.longest_miss_seconds))

    def _book(self, hand: Hand) -> None:
        """Record a call that was sent, for the lead and in the ledger. A process that dies before leaves it as
        ambiguous."""
        if hand.payer is not None and hand.tried is not None:
            hand.payer.spending.end(self.cost, charged=hand.tried.is_charged)
        if self.books is not None and hand.allowed is not None and hand.tried is not None:
            self.books.usage.end(hand.allowed, charged=True)  # what counts is that it was made
        if self.books is None or hand.begun is None or hand.tried is None:
            return
        charged = hand.tried.is_charged
        self.books.usage.end(hand.begun, charged=charged)
        if charged is None:
            child(metrics.CALLS_AMBIGUOUS, self.name).inc()
        elif charged:
            child(metrics.CALLS_CHARGED, self.name).inc()
            child(metrics.CREDITS_CHARGED, self.name).inc(self.provider.credits)

    def _saved(self, books: Books, by: Literal["cache", "coalescing"]) -> None:
        child(metrics.CALLS_SAVED, self.name, by).inc()
        if not self.provider.is_free:
            books.usage.saved(self.name, self.provider.vendor, by=by)

    # -- retry -------------------------------------------------------------------------------

    async def _retry(self, asking: Asking, answer: Answer) -> bool:
        """Wait until it is time for another try; False when this answer stands."""
        wait = self.retries.wait_after(asking.said, self.random)
        if wait is None or not asking.waiting or shortage.awake() + wait >= asking.deadline:
            return False
        self._note_retry(asking, answer, wait)
        is_throttled = isinstance(answer, Throttled)
        self._waiting += is_throttled
        try:
            await asyncio.sleep(wait)
        finally:
            self._waiting -= is_throttled
        return True

    def _note_retry(self, asking: Asking, answer: Answer, wait: float) -> None:
        metrics.RETRIES.labels(self.name).inc()
        logger.bind(
            lead=asking.question.lead,
            provider=self.name,
            answer=word_for(answer),
            reason=getattr(answer, "reason", ""),
            tries=len(asking.said),
            wait_seconds=round(wait, 3),
        ).info("provider.retry")

    # -- what others want to know ------------------------------------------------------------

    @property
    def circuit(self) -> Circuit:
        """The breaker's circuit: whether the provider is left alone because every call fails."""
        return self._breaker.circuit

    def look(self) -> Held | None:
        """Return the standing hold or a long pause. Asks occasionally whether another daemon has ended it."""
        self.limiter.look()
        paused = self.limiter.long_pause
        metrics.PAUSED.labels(self.name).set(paused is not None)
        return self._holds.look() or paused

    @property
    def is_at_leisure(self) -> bool:
        """Whether a question would be asked at once: nothing holds it, and nobody waits for a slot."""
        is_free_to_ask = self._breaker.is_closed and self._holds.now() is None
        return is_free_to_ask and not self.limiter.waiting and self.limiter.pause_left <= 0

    def waits_for(self) -> str:
        """Return a label for what keeps it from asking.

        When nothing does, its waiting leads wait for its limit, which had no room in time.
        """
        if held := self._holds.now():
            return cause_of(held)
        return "limit" if self._breaker.is_closed else "circuit"

    async def close(self, seconds: float) -> None:
        """Wait at most `seconds` for the calls under way, whose answers are paid for; make no further ones."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=seconds)
        await self.limiter.close()


def _is_still_paid(asking: Asking, tried: Tried) -> bool:
    """True when the vendor treats what follows as the same call: after a charged 202, until it answers."""
    if isinstance(tried.answer, Preparing):
        return asking.is_paid or tried.is_charged is True
    return asking.is_paid and tried.is_charged is not True


def _checked(tried: Tried) -> Tried:
    if not isinstance(tried.answer, Answer):
        raise TypeError(f"a provider answered with {type(tried.answer).__name__}")
    if tried.reply is not None and not isinstance(tried.reply.body, bytes):
        raise TypeError(f"a provider's reply has a body of type {type(tried.reply.body).__name__}")
    return tried


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


@cache
def _word(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()


def word_for(answer: Answer) -> str:
    """Return the answer's name as a metric label and in `answered`: "found", "not_found", ..."""
    return _word(type(answer).__name__)
