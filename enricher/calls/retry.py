"""Quick retries of one call within an attempt, over `backoff` (the only file that imports it).

Waits are the vendor's own where it names one and ours where it does not, whichever is longer: a
try before Retry-After cannot succeed and may count against us. When the wait would not end before
the lead's deadline, or is longer than ours ever are, there is no further try and the answer stands
as it is; the lead's next attempt comes from the database.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from dataclasses import dataclass
from random import Random
from typing import cast

import backoff
from backoff.types import Details

from enricher.answer import Answer, Preparing, Throttled, Unavailable
from enricher.process import shortage


@dataclass(frozen=True, slots=True)
class Retries:
    """How often and how fast. Seconds."""

    tries: int = 4
    """For a provider that fails: after that it is an outage, which an attempt cannot sit out."""
    polls: int = 8
    """For a provider that prepares its answer or throttles: it works, it only takes its time."""
    first_wait: float = 0.5
    longest_wait: float = 20.0
    """Our own waits double up to this; a vendor's may be longer."""
    patience: float = 30.0
    """A vendor who asks for more is not waited for with a lead in hand."""


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
        return (
            first  # nearly always; what follows costs more than the rest of a lead's way to a call
        )
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
    """Yields the wait after each passing answer; ends when another try makes no sense.

    `backoff.runtime` cannot be used: its jitter may go below Retry-After, and `max_time` cuts the
    last wait short of it.
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
