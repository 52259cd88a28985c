"""One gate per provider: everything that stands between a question and a call.

Order matters. A provider that refuses every call, or fails every call, is not asked at all; the limiter
comes last, so that a slot is used at once; retries wrap the rest, so that each try is counted and waits
its turn like the first.

`PaidGate` (in `calls/paid.py`) adds what a call that costs money needs.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Generator
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cache
from random import Random
from typing import cast

import backoff
from backoff.types import Details
from loguru import logger

from enricher.answer import (
    Answer,
    Found,
    Held,
    NotFound,
    Preparing,
    Query,
    Throttled,
    Unavailable,
)
from enricher.calls.breaker import Breaker, Circuit, UselessRow
from enricher.limits.limiter import Limiter, Slot
from enricher.process import shortage
from enricher.providers.base import NO_MEMORY, Provider, Tried
from enricher.providers.http import broken
from enricher.telemetry import metrics
from enricher.telemetry.metrics import child

# Waiting for a provider: who does, and how long a vendor may ask everybody to.
#
# A vendor's hint may be garbled (the year 9999, milliseconds for seconds) or meant for somebody else. Its own
# windows are documented, and no honest hint is longer than the longest of them (`windows` of its class;
# `longest_wait` where the vendor documents more). So that is where it is capped: whoever comes back too early is
# told so again, at no cost.

WORTH_TELLING_SECONDS = 300.0
"""A longer wait is worth a log line: leads will be delayed for longer than their users expect."""
LONGEST_PREPARATION = 3600.0
"""Seconds that a vendor may take to prepare one answer."""
_A_MINUTE, _AN_HOUR = 60.0, 3600.0


class Waiting:
    """Counts one lead in `enricher_provider_waiting` while it waits, and only once."""

    def __init__(self, provider: str) -> None:
        self._gauge = child(metrics.WAITING, provider)
        self._waits = False

    def set(self, *, waits: bool) -> None:
        if waits != self._waits:
            self._gauge.inc(1 if waits else -1)
        self._waits = waits


def longest_wait(provider: Provider) -> float:
    """Return the longest window that the vendor documents, at least a minute, in seconds."""
    documented = max((window.seconds for window in type(provider).windows), default=_AN_HOUR)
    return provider.longest_wait or max(_A_MINUTE, documented)


def heed(provider: Provider, limiter: Limiter, asked: float) -> float:
    """Pause all calls for as long as the vendor asks, within reason; return for how many seconds."""
    seconds = min(asked, longest_wait(provider))
    is_news = limiter.pause_left < seconds / 2
    limiter.pause(seconds)
    if asked >= WORTH_TELLING_SECONDS and is_news:
        fields = {"asked_seconds": round(asked), "seconds": round(seconds)}
        logger.bind(provider=provider.name, **fields).warning("provider.paused")
    return seconds


# How a provider's hold is shown: a log line when it begins and when it ends, and two series.
#
# A hold is learnt from the vendor, a budget or the fleet, and is looked at far more often than it changes.

_HINT = (
    "once the cause is mended, restart the daemon to ask again at once; leads are enriched "
    'when they are due, or right away when their enrichment_status is set to "pending"'
)


@dataclass(slots=True)
class Holding:
    """The hold of one provider as it was last shown."""

    provider: str
    _is_held: bool = False
    _cause: str = ""
    """The label of the standing hold."""

    def show(self, held: Held | None) -> None:
        if held and not self._is_held:
            fields = {"reason": held.reason, "seconds": round(held.seconds, 1)}
            logger.bind(provider=self.provider, **fields, hint=_HINT).error("provider.held")
        elif self._is_held and not held:
            logger.bind(provider=self.provider).info("provider.released")
        if self._is_held != (held is not None):
            self._is_held = held is not None
            metrics.HELD.labels(self.provider).set(self._is_held)
        self._show_cause(cause_of(held) if held else "")

    def _show_cause(self, cause: str) -> None:
        if cause == self._cause:
            return
        for each in metrics.HOLDS:
            metrics.HOLD.labels(self.provider, each).set(each == cause)
        self._cause = cause


def cause_of(held: Held) -> str:
    """Return the cause's label by a word in the reason: that text is all that the fleet shares of a hold."""
    return next((cause for cause in metrics.HOLDS if cause in held.reason), "other")


# Quick retries of one call within an attempt, over `backoff` (the only file that imports it).
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


@dataclass(frozen=True, slots=True)
class Retry:
    """One wait before another try, for the log and the metrics."""

    answer: Answer
    tries: int
    wait: float


async def with_retries(
    call: Callable[[], Awaitable[Answer]],
    retries: Retries,
    deadline: float,
    on_retry: Callable[[Retry], None],
    random: Random,
) -> Answer:
    """Call until the answer is final, the tries are used up, or `deadline` (awake time) is too near."""
    first = await call()
    if not _is_passing(first):
        return first  # nearly always; the rest costs more than a lead's whole way to a call
    known = [first]

    def waits() -> Generator[float, Answer, None]:
        return _waits(retries, deadline, random)

    def note(details: Details) -> None:
        on_retry(Retry(details["value"], details["tries"], details["wait"]))

    # `backoff` sends each answer into the generator; its own type does not say so.
    wait_gen = cast("Callable[[], Generator[float, None, None]]", waits)

    @backoff.on_predicate(wait_gen, _is_passing, jitter=None, on_backoff=note, logger=None)
    async def attempt() -> Answer:
        return known.pop() if known else await call()

    return await attempt()


def _is_passing(answer: Answer) -> bool:
    if isinstance(answer, Unavailable):
        return not answer.is_final
    return isinstance(answer, Preparing | Throttled)


def _waits(retries: Retries, deadline: float, random: Random) -> Generator[float, Answer, None]:
    """Yield the wait after each passing answer; end when another try makes no sense.

    `backoff.runtime` cannot be used: its jitter may go below Retry-After, and `max_time` cuts the last
    wait short of it.
    """
    answer = yield 0.0
    failures = polls = 0
    while True:
        failures += isinstance(answer, Unavailable)
        polls += not isinstance(answer, Unavailable)
        wait = _wait(answer, failures + polls, retries, random)
        used_up = failures >= retries.tries or polls >= retries.polls or wait > retries.patience
        if used_up or shortage.awake() + wait >= deadline:
            return
        answer = yield wait


def _wait(answer: Answer, tries: int, retries: Retries, random: Random) -> float:
    ours = min(retries.longest_wait, retries.first_wait * 2.0 ** (tries - 1))
    ours *= 0.5 + 0.5 * random.random()
    theirs = answer.retry_after if isinstance(answer, Preparing | Throttled) else None
    return ours if theirs is None else max(ours, theirs)


MOST_USELESS = 2
"""Useless answers in one run of a lead: the first, and one more try."""

_CUT_SHORT = Unavailable("timed out")
_NO_TIME = Throttled(reason="no time left to wait")


@dataclass(slots=True, eq=False)
class Asking:
    """One question on its way to one provider. `lead` is the id, for the log only."""

    query: Query
    deadline: float
    """`shortage.awake()` by which there must be an answer; infinite where another deadline applies."""
    lead: str
    urgency: float = 0.0
    newer_than: datetime | None = None
    """Answers kept before this moment do not count."""
    standing: Answer = _NO_TIME
    """The answer if time ran out now: waiting for a limit is not a failure."""
    is_paid: bool = False
    """The vendor has already charged for this question and is preparing the answer."""
    slot: Slot | None = None
    """The moment for its call."""
    is_sent: bool = False
    """The slot is used: a call has left, or is about to."""
    is_wanted: bool = True
    """False once every caller has given up waiting."""
    key: str = ""
    """Identifies the question among all ever asked; empty when its answer is not kept."""
    has_turn: bool = False
    """True while it counts as under way in the provider's row."""
    outside_since: float | None = None
    """`shortage.awake()` since when it has waited for a vendor's answer, or a limit's room.

    `None` while only our own steps are left, or nothing is known yet.
    """
    follows: Asking | None = None
    """The asking, of another lead, whose call it shares."""
    useless: int = 0
    """Charged answers that told us nothing, in this run of the lead."""

    @property
    def outside_seconds(self) -> float:
        """Seconds for which it has been waiting only for something outside this process."""
        since = (self.follows or self).outside_since
        return 0.0 if since is None else shortage.awake() - since


@dataclass(slots=True)
class Gate:
    """Asks one provider, within its limits, and not at all while it is held."""

    provider: Provider
    retries: Retries = field(default_factory=Retries)
    random: Random = field(default_factory=Random)
    shared_limiter: Limiter | None = None
    """Set where several providers share a limiter; otherwise one is made from the provider's own windows."""
    limiter: Limiter = field(init=False)
    _breaker: Breaker = field(init=False)
    _row: UselessRow = field(default_factory=lambda: UselessRow(is_proven=True))
    _holding: Holding = field(init=False)

    def __post_init__(self) -> None:
        self.limiter = self.shared_limiter or Limiter(self.provider.windows)
        self._breaker = Breaker(self.name)
        self._holding = Holding(self.name)

    @property
    def name(self) -> str:
        return self.provider.name

    @property
    def circuit(self) -> Circuit:
        """The breaker's circuit: whether the provider is left alone because every call fails."""
        return self._breaker.circuit

    async def ask(self, asking: Asking) -> Answer:
        """Return the provider's answer by the deadline.

        When time runs out: `Unavailable` if a call was under way, else what the last call said, and
        `Throttled` if there was none.
        """
        waiting = Waiting(self.name)

        async def attempt() -> Answer:
            try:
                waiting.set(waits=True)
                refusal = await self._admission(asking)
                waiting.set(waits=False)
                if refusal is not None:
                    return refusal
                asking.standing = await self._try(asking)
                return asking.standing
            finally:
                self._end_turn(asking)

        def note_retry(retry: Retry) -> None:
            waiting.set(waits=isinstance(retry.answer, Throttled))
            self._note_retry(asking.lead, retry)

        try:
            async with shortage.timeout(max(0.0, asking.deadline - shortage.awake())):
                return await with_retries(
                    attempt, self.retries, asking.deadline, note_retry, self.random
                )
        except TimeoutError:
            return asking.standing
        finally:
            waiting.set(waits=False)

    # -- before a call -----------------------------------------------------------------------

    async def _admission(self, asking: Asking) -> Held | Throttled | None:
        """Wait for a slot; return why not, if the provider may not be asked now or before the deadline."""
        if held := self._hold_for(asking):
            return held
        paused = self.limiter.pause_left
        if paused and shortage.awake() + paused >= asking.deadline:
            return Throttled(paused)  # do not occupy the worker with a wait that cannot succeed
        given = await self._slot(asking)
        held = self._hold_for(asking) or self._breaker.admission(asking.query)
        if isinstance(given, Held):
            return held or given
        if held:  # the hold may have begun while we queued
            self.limiter.give_back(given)
            return held
        asking.slot = given
        return None

    async def _slot(self, asking: Asking) -> Slot | Held:
        """Wait for a slot of the limit and a turn in the row, keeping no slot from others in the meantime."""
        began = time.monotonic()
        asking.outside_since = shortage.awake()
        try:
            given = await self.limiter.acquire(asking.urgency)
            while isinstance(given, Slot) and not (asking.has_turn or self._row.has_room):
                self.limiter.give_back(given)
                await self._row.room()
                given = await self.limiter.acquire(asking.urgency)
        finally:
            child(metrics.LIMIT_WAIT, self.name).inc(time.monotonic() - began)
        asking.outside_since = None
        if isinstance(given, Slot) and not asking.has_turn:
            asking.has_turn = True
            self._row.begin()
        return given

    def _end_turn(self, asking: Asking) -> None:
        if asking.has_turn:
            asking.has_turn = False
            self._row.end()

    async def close(self, seconds: float) -> None:  # noqa: ARG002 - for `PaidGate`, which overrides it
        """Make no further calls. Subclasses wait at most `seconds` for those under way."""
        await self.limiter.close()

    def look(self) -> Held | None:
        """Return the standing hold or a long pause. Asks occasionally whether another daemon has ended it."""
        self.limiter.look()
        paused = self.limiter.long_pause
        metrics.PAUSED.labels(self.name).set(paused is not None)
        return self._standing_hold() or paused

    def _standing_hold(self) -> Held | None:
        """Return and show the hold with its time left, whichever daemon learnt of it."""
        held = self._hold()
        self._holding.show(held)
        return held

    def waits_for(self) -> str:
        """Return a label for what keeps it from asking.

        When nothing does, its waiting leads wait for its limit, which had no room in time.
        """
        if held := self._hold():
            return cause_of(held)
        return "limit" if self._breaker.is_closed else "circuit"

    def _hold_for(self, asking: Asking) -> Held | None:  # noqa: ARG002 - for `PaidGate`, which overrides it
        return self._standing_hold()

    def _hold(self) -> Held | None:
        stopped = self.limiter.stopped(self.name)
        self._row.learn(stopped)
        return stopped or self.limiter.held

    # -- a call ------------------------------------------------------------------------------

    async def _try(self, asking: Asking) -> Answer:
        """Make one try, once it is allowed."""
        return (await self._call(asking)).answer

    async def _call(self, asking: Asking) -> Tried:
        asking.standing = _CUT_SHORT
        asking.outside_since = shortage.awake()
        began = time.perf_counter()
        tried = Tried(_CUT_SHORT, is_charged=None)  # a call that we cut short may be charged
        try:
            tried = _checked(await self.provider.exchange(asking.query))
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
        if isinstance(tried.answer, Found | NotFound):
            child(metrics.LAST_SUCCESS, self.name).set_to_current_time()
        self._show_left(tried)
        if tried.pause:
            heed(self.provider, self.limiter, tried.pause)
        answer = self._heed(asking, self._counted(asking, tried))
        return tried if answer is tried.answer else replace(tried, answer=answer)

    def _counted(self, asking: Asking, tried: Tried) -> Answer:
        """Count useless charged answers: a lead buys one more at most, and ten in a row stop the provider."""
        if not tried.is_useless:
            is_answer = isinstance(tried.answer, Found | NotFound)
            self._row.useful(charged=tried.is_charged is True, is_answer=is_answer)
            return tried.answer
        asking.useless += 1
        is_stopped = self.limiter.stopped(self.name) is not None
        if stop := self._row.useless(is_stopped=is_stopped):
            self.limiter.stop(self.name, stop)
            self._standing_hold()
        is_final = asking.useless >= MOST_USELESS
        reason = getattr(tried.answer, "reason", "")
        return Unavailable(reason, is_of_question=True, is_final=is_final)

    def _show_left(self, tried: Tried) -> None:
        for window, calls in tried.window_left.items():
            child(metrics.WINDOW_LEFT, self.name, window).set(calls)
        if tried.quota_left is not None:
            child(metrics.QUOTA_LEFT, self.name).set(tried.quota_left)

    def _broken(self, error: BaseException) -> Tried:
        return Tried(Unavailable(broken(self.provider, error)), is_charged=None)

    def _heed(self, asking: Asking, answer: Answer) -> Answer:
        """Apply what one lead was told to all of them."""
        if isinstance(answer, Throttled) and answer.retry_after:
            seconds = heed(self.provider, self.limiter, answer.retry_after)
            answer = replace(answer, retry_after=seconds)
        if isinstance(answer, Preparing):
            answer = replace(answer, retry_after=min(answer.retry_after, LONGEST_PREPARATION))
        if isinstance(answer, Held):
            self.limiter.hold(answer)
            self._standing_hold()
        return self._breaker.note(asking.query, answer)

    def _note_retry(self, lead: str, retry: Retry) -> None:
        metrics.RETRIES.labels(self.name).inc()
        logger.bind(
            lead=lead,
            provider=self.name,
            answer=word_for(retry.answer),
            reason=getattr(retry.answer, "reason", ""),
            tries=retry.tries,
            wait_seconds=round(retry.wait, 3),
        ).info("provider.retry")


def _checked(tried: Tried) -> Tried:
    if not isinstance(tried.answer, Answer):
        raise TypeError(f"a provider answered with {type(tried.answer).__name__}")
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
