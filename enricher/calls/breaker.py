"""What keeps one provider from being asked: its circuit breaker, stops for answers that are no good, and holds.

A vendor that fails every caller is left alone for a while:

    closed      every question may be asked; failures are counted by question until one is answered
    open        no question is asked until the pause is over
    half-open   one question at a time is let through as a probe: an answer closes the circuit, and three
                probes without one open it again, for twice as long

It opens when ten different questions in a row got no answer, over at least 20 seconds. It counts
questions, not tries: one question that the vendor chokes on, retried again and again, says nothing about
the others. It does not open at once, because a vendor that restarts is back sooner. Nor does it count a
question that failed repeatedly while others were answered: in a quiet hour such questions may be all that
is asked, and they say nothing about the vendor. While the circuit is not closed, a failure is not the
lead's fault: it becomes `Held`, which spends no attempt, so a vendor may be away for days without a lead
failing because of it.

The best probe is a question that has not failed yet. Some leads may have questions that the vendor can
never answer; in a quiet hour they would be most of what is tried, and their failures would keep the
circuit open for all others. So in each half-open circuit such a question waits a while for a better one,
and when only such questions failed, the pause does not grow. Once the vendor has answered others since a
question failed, its next failure spends an attempt, whatever the circuit's state.

Seconds are those in which this process ran: a stopped process sees no answers, whatever the vendor sends.

Logged are failures that last (three in a row, then a line every ten seconds), the circuit's opening, and
the end of both.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import StrEnum

from loguru import logger

from enricher.answer import Answer, Held, Preparing, Throttled, Unavailable
from enricher.limits.limiter import Limiter
from enricher.process import shortage
from enricher.providers.base import Provider
from enricher.telemetry import metrics

OPENS_AFTER = 10
"""Different questions in a row without an answer."""
OPENS_AFTER_SECONDS = 20.0
"""Since the first of them. Failures are free, and the limits keep them few."""
FIRST_PAUSE_SECONDS = 30.0
LONGEST_PAUSE_SECONDS = 300.0
REASON = "it failed for everybody lately"

PROBES = 3
"""Failures in a half-open circuit that open it again."""
BETTER_PROBE_SECONDS = 10.0
"""How long a half-open circuit waits for a question that has not failed yet."""
_OWN_AFTER = 3
"""Times a question failed again after others had been answered: as many as a lead's run has retries.

A vendor that fails every second time seldom does that to the same question.
"""
_MOST_REMEMBERED = 1000
"""Failed questions that are remembered; beyond that, the oldest are forgotten."""
_PROBE_SECONDS = 15.0
"""A probe that has not returned by then is given up: another question may probe."""
_FAILURES_WORTH_TELLING = 3
"""An isolated failure is mended by a retry, and is no news to the person on call."""
_LINE_EVERY_SECONDS = 10.0


@dataclass(slots=True)
class _Bad:
    """A question that failed and has not been answered since. Times are counted in answers to any question."""

    first: int
    """When it first failed."""
    last: int
    beside_others: int = 0
    """Times it failed again after others had been answered."""

    @property
    def is_cause(self) -> bool:
        """True when the question itself fails, rather than the vendor."""
        return self.beside_others >= _OWN_AFTER

    def fail_again(self, answers: int) -> None:
        self.beside_others += answers > self.last
        self.last = answers


@dataclass(slots=True)
class Breaker:
    """Counts one provider's failures and opens or closes its circuit."""

    provider: str
    clock: Callable[[], float] = shortage.awake
    _failed: set[object] = field(init=False, default_factory=set)
    """Questions without an answer since the last answer to any question."""
    _failures: int = field(init=False, default=0)
    _began: float = field(init=False, default=0.0)
    _said: float = field(init=False, default=-math.inf)
    _is_told: bool = field(init=False, default=False)
    _bad: dict[object, _Bad] = field(init=False, default_factory=dict)
    _answers: int = field(init=False, default=0)
    """Answers to any question."""
    _probes_left: int = field(init=False, default=0)
    _has_better_failed: bool = field(init=False, default=False)
    """A probe without an earlier failure has failed since the circuit became half-open."""
    _pause: float = field(init=False, default=0.0)
    """Seconds; 0 while the circuit is closed."""
    _open_until: float = field(init=False, default=0.0)
    _probing_until: float = field(init=False, default=0.0)

    @property
    def is_closed(self) -> bool:
        """True while every question may be asked."""
        return not self._pause

    @property
    def circuit(self) -> Circuit:
        """The circuit's state, as the module's docstring defines it."""
        if self.is_closed:
            return Circuit.CLOSED
        return Circuit.OPEN if self.clock() < self._open_until else Circuit.HALF_OPEN

    def admission(self, question: object) -> Held | None:
        """Return why the question is not asked now; `None` lets it through, as the probe if need be."""
        if not self._pause:
            return None
        now = self.clock()
        wait = BETTER_PROBE_SECONDS if question in self._bad else 0.0
        free_at = max(self._open_until + wait, self._probing_until)
        if now < free_at:
            return Held(REASON, free_at - now)
        self._probing_until = now + _PROBE_SECONDS
        return None

    def note(self, question: object, answer: Answer) -> Answer:
        """Take in each answer, in the order of arrival; return it as the lead should see it."""
        if not isinstance(answer, Unavailable):
            if not isinstance(answer, Throttled | Held):  # these only show that the vendor is up
                self._succeeded(question)
            self._probing_until = 0.0
            return answer
        if answer.is_of_question:
            self._probing_until = 0.0
            return answer
        return self._failed_again(question, answer)

    def _failed_again(self, question: object, answer: Unavailable) -> Answer:
        was_bad = question in self._bad
        bad = self._remember(question)
        if not bad.is_cause:
            self._count(question, answer)
        if self.is_closed:
            return answer
        held = self._failed_probe(answer, was_bad=was_bad)
        return answer if self._answers > bad.first else held

    def _remember(self, question: object) -> _Bad:
        if question not in self._bad and len(self._bad) >= _MOST_REMEMBERED:
            del self._bad[next(iter(self._bad))]
        bad = self._bad.setdefault(question, _Bad(self._answers, self._answers))
        bad.fail_again(self._answers)
        return bad

    def _count(self, question: object, answer: Unavailable) -> None:
        now = self.clock()
        self._failures += 1
        if self._failures == 1:
            self._began = now
        self._failed.add(question)
        if self._failures >= _FAILURES_WORTH_TELLING and now - self._said >= _LINE_EVERY_SECONDS:
            self._said, self._is_told = now, True
            fields = {"provider": self.provider, "failures": self._failures}
            logger.bind(**fields, reason=answer.reason).warning("provider.unavailable")
        has_lasted = now - self._began >= OPENS_AFTER_SECONDS
        if self.is_closed and has_lasted and len(self._failed) >= OPENS_AFTER:
            self._open(FIRST_PAUSE_SECONDS, answer.reason)

    def _open(self, seconds: float, reason: str) -> None:
        was_closed, self._pause = self.is_closed, seconds
        self._open_until, self._probing_until = self.clock() + seconds, 0.0
        self._probes_left, self._has_better_failed = PROBES, False
        self._failed.clear()
        if was_closed:
            metrics.CIRCUIT.labels(self.provider).set(1)
            fields = {"provider": self.provider, "seconds": seconds, "reason": reason}
            logger.bind(**fields).error("provider.circuit_opened")

    def _failed_probe(self, answer: Unavailable, *, was_bad: bool) -> Held:
        """Handle a failure while the circuit is not closed: only one after the pause is a probe's."""
        now = self.clock()
        if now >= self._open_until:
            self._probes_left -= 1
            self._probing_until = 0.0
            self._has_better_failed |= not was_bad
            if not self._probes_left:
                growth = 2 if self._has_better_failed else 1
                self._open(min(LONGEST_PAUSE_SECONDS, growth * self._pause), answer.reason)
        seconds = max(self._open_until - now, BETTER_PROBE_SECONDS)
        return Held(f"{REASON}: {answer.reason}", seconds)

    def _succeeded(self, question: object) -> None:
        self._answers += 1
        self._bad.pop(question, None)
        if not (self._failures or self._pause):
            return
        if self._failures and (self._is_told or not self.is_closed):
            seconds = round(self.clock() - self._began, 1)
            logger.bind(provider=self.provider, failures=self._failures, seconds=seconds).info(
                "provider.available"
            )
        if not self.is_closed:
            metrics.CIRCUIT.labels(self.provider).set(0)
        self._failures, self._is_told, self._pause = 0, False, 0.0
        self._failed.clear()


class Circuit(StrEnum):
    """Whether a provider is asked; see this module's docstring."""

    CLOSED = "closed"
    HALF_OPEN = "half-open"
    OPEN = "open"


# What is charged and useless: answers that cost money and cannot be read, many of them in a row.
#
# A vendor that changes its API answers every question, takes money for it, and tells us nothing. Nothing fails,
# so no circuit opens. So answers that are charged are counted: ten useless ones in a row, whatever the time
# and the questions, and the provider is stopped for the whole fleet. After a while one question is let through; what
# comes of it ends the stop, or doubles it.
#
#     row   useless answers since the last charged one that was of use; an answer that costs nothing says nothing
#
# What is under way cannot be called back. So no more questions are under way than would make the row full,
# once one was useless, and as long as nothing at all is known of the provider.

STOPS_AFTER = 10
FIRST_STOP_SECONDS = 300.0
LONGEST_STOP_SECONDS = 3600.0
UNREADABLE = "its charged answers are unreadable"


@dataclass(slots=True)
class UselessRow:
    """One provider's useless answers in a row, as one process met them."""

    is_proven: bool = False
    """It has given a readable answer since the start."""
    length: int = 0
    _under_way: int = field(init=False, default=0)
    _pause: float = field(init=False, default=0.0)
    _news: asyncio.Event = field(init=False, default_factory=asyncio.Event)

    @property
    def is_full(self) -> bool:
        return self.length >= STOPS_AFTER

    @property
    def has_room(self) -> bool:
        """True while one more question may be under way."""
        if self.is_proven and not self.length:
            return True
        return self._under_way < max(1, STOPS_AFTER - self.length)

    async def room(self) -> None:
        """Wait until there is room."""
        while not self.has_room:
            self._news.clear()
            await self._news.wait()

    def begin(self) -> None:
        self._under_way += 1

    def end(self) -> None:
        self._under_way -= 1
        self._news.set()

    def useful(self, *, charged: bool, is_answer: bool) -> None:
        """Note an answer that is not useless: it could be read, or was free.

        A refusal, a failure and an answer still being prepared (`is_answer` is false) say nothing about
        the next one.
        """
        self.is_proven |= is_answer
        if charged and is_answer:
            self.length, self._pause = 0, 0.0
        self._news.set()

    def useless(self, *, is_stopped: bool) -> Held | None:
        """Note a charged answer that told us nothing; return the stop if it filled the row.

        While a stop stands, the call was already under way and is no probe.
        """
        self.length += 1
        if not self.is_full or is_stopped:
            return None
        self._pause = min(LONGEST_STOP_SECONDS, 2 * self._pause or FIRST_STOP_SECONDS)
        return Held(UNREADABLE, self._pause)

    def learn(self, held: Held | None) -> None:
        """Adopt a stop that another process began: the next question is a probe here as well."""
        if held is not None and held.reason == UNREADABLE:
            self.length = max(self.length, STOPS_AFTER)
            self._pause = self._pause or FIRST_STOP_SECONDS


# The brake on objections: what erases people for good stops when it happens too often at once.
#
# A vendor's bug, or somebody between us and the vendor, may say of everybody that they objected. Each word is
# heeded like `enricher forget`, so more than five persons within ten minutes, and more than two in a hundred of
# the answers of that time, stop the provider until somebody has looked. Persons are counted for the fleet
# (`privacy/suppression.py`), answers by those daemons that met an objection: too few rather than too many.

WINDOW_SECONDS = 600.0
OBJECTIONS = "too many objections at once"
OBJECTIONS_SECONDS = 86_400.0
MOST_PERSONS = 5
MOST_OF_ANSWERS = 0.02


@dataclass(frozen=True, slots=True)
class Objecting:
    """What one more objection brought to light, within the fleet and the window."""

    place: int
    """This person's place among those who objected, from 1."""
    persons: int
    answers: int


def is_too_many(objecting: Objecting) -> bool:
    """PURE True when this objection is one too many to heed; the earlier ones were heeded."""
    return (
        objecting.place > MOST_PERSONS and objecting.persons > MOST_OF_ANSWERS * objecting.answers
    )


@dataclass(slots=True)
class Lately:
    """How many answers one provider gave within the last ten minutes."""

    clock: Callable[[], float] = time.monotonic
    _at: deque[tuple[int, int]] = field(init=False, default_factory=deque)
    """(second, answers), in order."""

    def note(self) -> None:
        second = int(self.clock())
        if self._at and self._at[-1][0] == second:
            self._at[-1] = (second, self._at[-1][1] + 1)
        else:
            self._forget(second)
            self._at.append((second, 1))

    def count(self) -> int:
        self._forget(int(self.clock()))
        return sum(count for _, count in self._at)

    def _forget(self, second: int) -> None:
        while self._at and self._at[0][0] <= second - WINDOW_SECONDS:
            self._at.popleft()


# Why one provider may not be asked now, and how everybody learns of it.
#
# A hold is the vendor's (its key is refused, its quota used up), the fleet's (`limits/limiter.py` carries both
# to all daemons), or the budget's. It is looked at far more often than it changes: a log line when it begins
# and when it ends, and two series, show it.
#
# What one lead was told to wait, all of them wait. A vendor's hint may be garbled (the year 9999,
# milliseconds for seconds) or meant for somebody else. Its own windows are documented, and no honest hint is
# longer than the longest of them (`windows` of its class; `longest_wait` where the vendor documents more). So
# that is where it is capped: a call that comes back too early is told so again, at no cost.

WORTH_TELLING_SECONDS = 300.0
"""A longer wait is worth a log line: leads will be delayed for longer than their users expect."""
LONGEST_PREPARATION = 3600.0
"""Seconds that a vendor may take to prepare one answer."""
PAUSED = "paused by an operator"
_A_MINUTE, _AN_HOUR, _FOREVER = 60.0, 3600.0, 1e12
_HINT = (
    "once the cause is mended, restart the daemon to ask again at once; leads are enriched "
    'when they are due, or right away when their enrichment_status is set to "pending"'
)
_RESUME = "`enricher resume` ends it; the leads that wait come back by themselves, spread out"


@dataclass(slots=True)
class Holds:
    """The holds and pauses of one provider."""

    provider: Provider
    limiter: Limiter
    row: UselessRow
    """Learns of a stop that another daemon began."""
    _budget: Held | None = field(init=False, default=None)
    _budget_until: float = field(init=False, default=0.0)
    _is_shown: bool = field(init=False, default=False)
    _cause: str = field(init=False, default="")
    """The label of the hold that is shown."""
    _name: str = field(init=False)

    def __post_init__(self) -> None:
        self._name = self.provider.name

    def now(self) -> Held | None:
        """Return the hold with its time left: the budget's, the stop of this provider, or its vendor's hold."""
        if self._budget and (left := self._budget_until - time.monotonic()) > 0:
            return Held(self._budget.reason, left)
        if held := self.limiter.held_for(self._name):
            self.row.learn(held)
        return held

    def look(self, *, is_paid: bool = False) -> Held | None:
        """Return the hold and show it, whichever daemon learnt of it.

        A question that is already paid for is kept from its answer by the vendor and an operator alone.
        """
        held = self.now()
        if held or self._is_shown:
            self._show(held)
        if not is_paid:
            return held
        stopped = self.limiter.stopped(self._name)
        return stopped if stopped and stopped.reason == PAUSED else self.limiter.held

    # -- what the vendor, the budget and our own judgement say --------------------------------

    def heed(self, answer: Answer, pause: float | None) -> Answer:
        """Apply to all leads what one was told; return the answer with a wait within reason."""
        if pause:
            self._pause(pause)
        if isinstance(answer, Throttled) and answer.retry_after:
            return replace(answer, retry_after=self._pause(answer.retry_after))
        if isinstance(answer, Preparing):
            return replace(answer, retry_after=min(answer.retry_after, LONGEST_PREPARATION))
        if isinstance(answer, Held):
            self.limiter.hold(answer)
            self.look()
        return answer

    def stop(self, held: Held) -> None:
        """Stop this provider alone, for the whole fleet."""
        self.limiter.stop(self._name, held)
        self.look()

    def note_budget(self, held: Held) -> None:
        """Remember that the budget is used up, so that it is not asked about for every question."""
        self._budget, self._budget_until = held, time.monotonic() + held.seconds

    def _pause(self, asked: float) -> float:
        """Pause all calls for as long as the vendor asks, within reason; return for how many seconds."""
        seconds = min(asked, longest_wait(self.provider))
        is_news = self.limiter.pause_left < seconds / 2
        self.limiter.pause(seconds)
        if asked >= WORTH_TELLING_SECONDS and is_news:
            told = round(min(asked, _FOREVER))  # a garbled hint may be infinite
            fields = {"asked_seconds": told, "seconds": round(seconds)}
            logger.bind(provider=self._name, **fields).warning("provider.paused")
        return seconds

    # -- how it is shown ---------------------------------------------------------------------

    def _show(self, held: Held | None) -> None:
        if held and not self._is_shown:
            fields = {"reason": held.reason, "seconds": round(held.seconds, 1)}
            is_wanted = held.reason == PAUSED
            line = logger.bind(provider=self._name, **fields, hint=_RESUME if is_wanted else _HINT)
            line.log("WARNING" if is_wanted else "ERROR", "provider.held")
        elif not held:
            logger.bind(provider=self._name).info("provider.released")
        if self._is_shown != (held is not None):
            self._is_shown = held is not None
            metrics.HELD.labels(self._name).set(self._is_shown)
        self._show_cause(cause_of(held) if held else "")

    def _show_cause(self, cause: str) -> None:
        if cause == self._cause:
            return
        for each in metrics.HOLDS:
            metrics.HOLD.labels(self._name, each).set(each == cause)
        self._cause = cause


def longest_wait(provider: Provider) -> float:
    """Return the longest window that the vendor documents, at least a minute, in seconds."""
    documented = max((window.seconds for window in type(provider).windows), default=_AN_HOUR)
    return provider.longest_wait or max(_A_MINUTE, documented)


def cause_of(held: Held) -> str:
    """Return the cause's label by a word in the reason: that text is all that the fleet shares of a hold."""
    return next((cause for cause in metrics.HOLDS if cause in held.reason), "other")
