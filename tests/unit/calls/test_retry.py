"""Quick retries of one call: how often, how long in between, and when not at all."""

from __future__ import annotations

import time
from random import Random

import pytest

from enricher.answer import (
    Answer,
    Held,
    NotFound,
    Objected,
    Preparing,
    Query,
    Throttled,
    Unavailable,
)
from enricher.calls.question import Asking, Gate, Question, Retries
from enricher.process import shortage
from tests.support.observing import events, logged
from tests.support.scripted import company, in_turn, provider
from tests.support.waiting import patience

QUICK = Retries(tries=3, polls=5, first_wait=0.001, longest_wait=0.004)
DOWN = Unavailable("503")


class Call:
    """One question by script, with a note of every try and every wait."""

    def __init__(self, *answers: Answer) -> None:
        self._asked = provider("acme", in_turn(*answers))
        self.retries: list[tuple[str, int]] = []
        """What was answered before each, and how many tries there had been."""

    @property
    def tries(self) -> int:
        return len(self._asked.asked)

    async def outcome(self, retries: Retries = QUICK, seconds: float = 60) -> Answer:
        deadline = shortage.awake() + seconds
        gate = Gate(self._asked, retries, Random(1))
        with logged() as lines:
            answer = await gate.ask(Asking(Question(Query(), deadline, "lead-1")))
        noted = [each.fields for each in events(lines, "provider.retry")]
        self.retries = [(each["answer"], each["tries"]) for each in noted]
        return answer


def waits(retries: Retries, *said: Answer) -> list[float | None]:
    """The wait after each of these answers."""
    random = Random(1)
    return [retries.wait_after(said[: number + 1], random) for number in range(len(said))]


@pytest.mark.parametrize("final", [company(name="Acme"), NotFound(), Held("x"), Objected()])
async def test_a_final_answer_is_not_asked_again(final: Answer) -> None:
    call = Call(final)
    assert await call.outcome() is final
    assert (call.tries, call.retries) == (1, [])


@pytest.mark.parametrize("passing", [DOWN, Preparing(0), Throttled(), Throttled(0.001)])
async def test_a_passing_answer_is_asked_again_until_it_is_final(passing: Answer) -> None:
    call = Call(passing, passing, NotFound())
    assert await call.outcome() == NotFound()
    assert call.tries == 3


async def test_a_provider_that_fails_is_tried_a_few_times_and_its_last_answer_stands() -> None:
    call = Call(Unavailable("500"), Unavailable("502"), DOWN)
    assert await call.outcome() == DOWN
    assert (call.tries, len(call.retries)) == (QUICK.tries, QUICK.tries - 1)


@pytest.mark.parametrize("passing", [Preparing(0), Throttled(0.001)])
async def test_a_provider_that_only_takes_its_time_is_asked_more_often(passing: Answer) -> None:
    call = Call(passing)
    assert await call.outcome() == passing
    assert call.tries == QUICK.polls


async def test_failures_and_polls_are_counted_apart() -> None:
    call = Call(Preparing(0), Preparing(0), DOWN, Preparing(0), DOWN, NotFound())
    assert await call.outcome() == NotFound()
    assert call.tries == 6


def test_our_own_waits_double_with_jitter_up_to_the_longest() -> None:
    retries = Retries(tries=5, first_wait=0.004, longest_wait=0.016)
    *doubling, none = waits(retries, *[DOWN] * 5)
    for wait, longest in zip(doubling, (0.004, 0.008, 0.016, 0.016), strict=True):
        assert wait is not None
        assert longest / 2 <= wait <= longest
    assert none is None


@pytest.mark.parametrize("passing", [Throttled(0.05), Preparing(0.05)])
async def test_a_try_never_comes_before_the_vendors_own_time(passing: Answer) -> None:
    call, began = Call(passing, NotFound()), time.monotonic()
    await call.outcome()
    assert time.monotonic() - began >= 0.05
    assert waits(QUICK, passing) == [0.05]


def test_a_vendors_time_shorter_than_ours_does_not_hurry_us() -> None:
    [wait] = waits(Retries(first_wait=0.02), Throttled(0.0001))
    assert wait is not None
    assert wait >= 0.01


@pytest.mark.parametrize("passing", [Throttled(31), Preparing(31), Throttled(float("inf"))])
def test_a_lead_in_work_does_not_wait_for_longer_than_it_has_patience(passing: Answer) -> None:
    assert waits(Retries(), passing) == [None]


@pytest.mark.parametrize("passing", [Throttled(10), Preparing(10), Throttled(float("inf"))])
async def test_there_is_no_wait_that_would_not_end_before_the_deadline(passing: Answer) -> None:
    call = Call(passing)
    async with patience(5):
        assert isinstance(await call.outcome(seconds=9), type(passing))
    assert (call.tries, call.retries) == (1, [])


async def test_the_first_try_is_made_even_when_the_time_is_up() -> None:
    call = Call(DOWN)
    assert await call.outcome(seconds=-1) == DOWN
    assert call.tries == 1


async def test_each_retry_is_noted_with_what_was_answered_before_it() -> None:
    call = Call(DOWN, Throttled(0.01), NotFound())
    await call.outcome()
    assert call.retries == [("unavailable", 1), ("throttled", 2)]
