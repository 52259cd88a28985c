"""One gate per provider: everything that stands between a question and a call.

Order matters. A provider that refuses everybody is not asked at all; retries stand outside the
limiter, so that each try is counted and waits its turn like the first.
"""

from __future__ import annotations

import asyncio
import math
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from loguru import logger

from enricher import metrics
from enricher.answer import Answer, Held, Query, Throttled, Unavailable
from enricher.limits import Limiter
from enricher.providers.base import Provider
from enricher.retry import Retries, Retry, with_retries

_CUT_SHORT = Unavailable("timed out")
_FAILURES_OF_AN_OUTAGE = 3
"""In a row. One that stands alone is mended by a retry, and is no news to whoever is on call."""
_LINE_EVERY_SECONDS = 10.0
_HINT = (
    "once the cause is mended, restart the daemon to ask again at once; leads are enriched "
    'when they are due, or right away when their enrichment_status is set to "pending"'
)


@dataclass(slots=True)
class VendorOutage:
    """One provider's row of failures: told when it begins, rarely while it lasts, and when it ends.

    A provider that comes and goes is told of no more often than one that is gone: a beginning
    that falls within ten seconds of the last line is passed over, and so is its end.
    """

    provider: str
    clock: Callable[[], float] = time.monotonic
    _failures: int = 0
    _began: float = 0.0
    _said: float = -math.inf
    _is_told: bool = False

    def note(self, answer: Answer) -> None:
        """Each answer, in the order of arrival."""
        if isinstance(answer, Unavailable):
            self._failed(answer.reason)
        elif self._failures:
            self._succeeded()

    def _failed(self, reason: str) -> None:
        now = self.clock()
        self._failures += 1
        if self._failures == 1:
            self._began = now
        if self._failures >= _FAILURES_OF_AN_OUTAGE and now - self._said >= _LINE_EVERY_SECONDS:
            self._said, self._is_told = now, True
            fields = {"provider": self.provider, "failures": self._failures, "reason": reason}
            logger.bind(**fields).warning("provider.unavailable")

    def _succeeded(self) -> None:
        if self._is_told:
            seconds = round(self.clock() - self._began, 1)
            logger.bind(provider=self.provider, failures=self._failures, seconds=seconds).info(
                "provider.available"
            )
        self._failures, self._is_told = 0, False


class _Waiting:
    """Counts one lead in `enricher_provider_waiting` while it waits, and once only."""

    def __init__(self, provider: str) -> None:
        self._gauge = metrics.WAITING.labels(provider)
        self._waits = False

    def set(self, *, waits: bool) -> None:
        if waits != self._waits:
            self._gauge.inc(1 if waits else -1)
        self._waits = waits


@dataclass(slots=True)
class Gate:
    """Asks one provider, within its limits, and not at all while it is held."""

    provider: Provider
    retries: Retries = field(default_factory=Retries)
    random: Random = field(default_factory=Random)
    _limiter: Limiter = field(init=False)
    _outage: VendorOutage = field(init=False)
    _held: Held | None = None
    _held_until: float = 0.0

    def __post_init__(self) -> None:
        self._limiter = Limiter(self.provider.windows)
        self._outage = VendorOutage(self.name)

    @property
    def name(self) -> str:
        return self.provider.name

    async def ask(self, query: Query, deadline: float, lead: str) -> Answer:
        """The provider's answer by `deadline` (monotonic). `lead` is the id, for the log alone.

        When the time is up: `Unavailable` if a call was under way, else what the last call said,
        and `Throttled` if there was none, because waiting for a limit is nobody's failure.
        """
        standing: Answer = Throttled(reason="no time left to wait")
        waiting = _Waiting(self.name)

        async def attempt() -> Answer:
            nonlocal standing
            waiting.set(waits=True)
            refusal = await self._admission(deadline)
            waiting.set(waits=False)
            if refusal is not None:
                return refusal
            standing = _CUT_SHORT
            standing = await self._call(query)
            return standing

        def note_retry(retry: Retry) -> None:
            waiting.set(waits=isinstance(retry.answer, Throttled))
            self._note_retry(lead, retry)

        try:
            async with asyncio.timeout(max(0.0, deadline - time.monotonic())):
                return await with_retries(attempt, self.retries, deadline, note_retry, self.random)
        except TimeoutError:
            return standing
        finally:
            waiting.set(waits=False)

    async def _admission(self, deadline: float) -> Held | Throttled | None:
        """Wait for a slot; why not, if nobody may ask now or before the deadline."""
        if held := self._standing_hold():
            return held
        paused = self._limiter.pause_left
        if paused and time.monotonic() + paused >= deadline:
            return Throttled(paused)  # do not keep a slot of the worker for a wait in vain
        began = time.monotonic()
        try:
            await self._limiter.acquire()
        finally:
            metrics.LIMIT_WAIT.labels(self.name).inc(time.monotonic() - began)
        return self._standing_hold()  # it may have begun while we stood in the queue

    async def _call(self, query: Query) -> Answer:
        began = time.perf_counter()
        answer: Answer = _CUT_SHORT  # a call that we end ourselves may be charged, so it counts
        try:
            answer = _checked(await self.provider.ask(query))
        except asyncio.CancelledError as error:
            # Without anybody cancelling us it is the provider's own (a shared call, a broken pool).
            # Passed on, it would end this task as if nobody had wanted the answer.
            if _is_cancelled():
                raise
            answer = self._broken(error)
        except Exception as error:  # noqa: BLE001 - a provider may be anybody's code
            answer = self._broken(error)
        finally:
            metrics.REQUEST_SECONDS.labels(self.name).observe(time.perf_counter() - began)
            metrics.REQUESTS.labels(self.name, word_for(answer)).inc()
        self._heed(answer)
        return answer

    def _broken(self, error: BaseException) -> Unavailable:
        logger.bind(provider=self.name).opt(exception=error).error("provider.broken")
        return Unavailable(f"internal error: {type(error).__name__}")

    def _heed(self, answer: Answer) -> None:
        """What one lead was told holds for all of them."""
        self._outage.note(answer)
        if isinstance(answer, Throttled) and answer.retry_after:
            self._limiter.pause(answer.retry_after)
        if isinstance(answer, Held):
            self._hold(answer)

    def _hold(self, held: Held) -> None:
        if self._held is None:
            fields = {"provider": self.name, "reason": held.reason, "seconds": held.seconds}
            logger.bind(**fields, hint=_HINT).error("provider.held")
        until = time.monotonic() + held.seconds
        # Of the calls that were under way together, the longest counts.
        if until > self._held_until:
            self._held, self._held_until = held, until
        metrics.HELD.labels(self.name).set(1)

    def _standing_hold(self) -> Held | None:
        """The hold with the time that is left of it, or `None` when it is over."""
        if self._held is None:
            return None
        remaining = self._held_until - time.monotonic()
        if remaining > 0:
            return Held(self._held.reason, remaining)
        self._held, self._held_until = None, 0.0
        metrics.HELD.labels(self.name).set(0)
        logger.bind(provider=self.name).info("provider.released")
        return None

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


def _checked(answer: object) -> Answer:
    if not isinstance(answer, Answer):
        raise TypeError(f"a provider answered with {type(answer).__name__}")
    return answer


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def word_for(answer: Answer) -> str:
    """The answer's name as a metric label and in `answered`: "found", "not_found", ..."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", type(answer).__name__).lower()
