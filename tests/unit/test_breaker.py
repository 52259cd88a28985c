"""The circuit breaker: when a vendor is left alone, what leads are told, and how it ends."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from enricher.answer import Answer, Held, NotFound, Throttled, Unavailable
from enricher.breaker import (
    FIRST_PAUSE_SECONDS,
    LONGEST_PAUSE_SECONDS,
    OPENS_AFTER,
    OPENS_AFTER_SECONDS,
    REASON,
    Breaker,
)
from tests.observing import counted, events, logged
from tests.scripted import company

ACME = company(name="Acme")
DOWN = Unavailable("503")


class Clock:
    """Moved by the test."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> Breaker:
    return Breaker("acme", clock=clock)


@pytest.fixture
def opened(breaker: Breaker, clock: Clock) -> Iterator[Breaker]:
    fail(breaker, OPENS_AFTER - 1)
    clock.now += OPENS_AFTER_SECONDS
    breaker.note("another", DOWN)
    yield breaker
    breaker.note("end", ACME)  # the gauge is one for all tests


def fail(breaker: Breaker, questions: int) -> list[Answer]:
    return [breaker.note(f"question {number}", DOWN) for number in range(questions)]


def test_it_opens_when_so_many_different_questions_in_a_row_got_no_answer(
    breaker: Breaker, clock: Clock
) -> None:
    with logged() as lines:
        fail(breaker, OPENS_AFTER - 1)
        clock.now += OPENS_AFTER_SECONDS
        assert breaker.admission() is None
        breaker.note("another", DOWN)
    assert breaker.admission() == Held(REASON, FIRST_PAUSE_SECONDS)
    assert counted("enricher_provider_circuit_open", provider="acme") == 1
    assert len(events(lines, "provider.circuit_opened")) == 1
    breaker.note("end", ACME)
    assert counted("enricher_provider_circuit_open", provider="acme") == 0


def test_a_vendor_that_is_away_for_a_moment_is_not_left_alone(
    breaker: Breaker, clock: Clock
) -> None:
    fail(breaker, 100)
    clock.now += OPENS_AFTER_SECONDS / 2
    fail(breaker, 100)
    assert breaker.is_closed


def test_one_question_that_never_gets_an_answer_does_not_open_it(
    breaker: Breaker, clock: Clock
) -> None:
    for _ in range(100):
        clock.now += 1
        assert breaker.note("the same", DOWN) == DOWN
    assert breaker.is_closed


@pytest.mark.parametrize("answer", [ACME, NotFound()])
def test_an_answer_to_anybody_ends_the_row(breaker: Breaker, clock: Clock, answer: Answer) -> None:
    fail(breaker, OPENS_AFTER - 1)
    clock.now += OPENS_AFTER_SECONDS
    breaker.note("another", answer)
    fail(breaker, OPENS_AFTER)
    assert breaker.is_closed


def test_what_is_wrong_with_one_question_alone_counts_for_nothing(
    breaker: Breaker, clock: Clock
) -> None:
    for number in range(100):
        clock.now += 1
        breaker.note(number, Unavailable("222", is_of_question=True))
    assert breaker.is_closed


def test_failures_of_calls_that_were_under_way_when_it_opened_spend_no_attempt(
    opened: Breaker, clock: Clock
) -> None:
    clock.now += 1
    answer = opened.note("under way", DOWN)
    assert answer == Held(f"{REASON}: 503", FIRST_PAUSE_SECONDS - 1)


def test_after_the_pause_one_at_a_time_is_let_through_as_a_probe(
    opened: Breaker, clock: Clock
) -> None:
    clock.now += FIRST_PAUSE_SECONDS
    assert opened.admission() is None
    assert isinstance(opened.admission(), Held)


@pytest.mark.parametrize("answer", [ACME, NotFound()])
def test_a_probe_that_is_answered_closes_it(opened: Breaker, clock: Clock, answer: Answer) -> None:
    clock.now += FIRST_PAUSE_SECONDS
    opened.admission()
    with logged() as lines:
        opened.note("probe", answer)
    assert opened.admission() is None
    assert opened.admission() is None
    assert len(events(lines, "provider.available")) == 1


def test_a_probe_that_fails_doubles_the_pause_up_to_its_limit_and_costs_the_lead_nothing(
    opened: Breaker, clock: Clock
) -> None:
    pauses = []
    for number in range(6):
        held = opened.admission()
        assert held
        pauses.append(held.seconds)
        clock.now += held.seconds
        assert opened.admission() is None
        assert isinstance(opened.note(number, DOWN), Held)
    assert pauses == [30, 60, 120, 240, 300, 300]
    assert pauses[-1] == LONGEST_PAUSE_SECONDS


def test_a_probe_that_is_throttled_leaves_it_to_the_next_one_to_decide(
    opened: Breaker, clock: Clock
) -> None:
    clock.now += FIRST_PAUSE_SECONDS
    opened.admission()
    opened.note("probe", Throttled())
    assert not opened.is_closed
    assert opened.admission() is None


def test_a_probe_that_never_comes_back_does_not_keep_it_open_for_ever(
    opened: Breaker, clock: Clock
) -> None:
    clock.now += FIRST_PAUSE_SECONDS
    opened.admission()
    held = opened.admission()
    assert held
    clock.now += held.seconds
    assert opened.admission() is None


# -- the log -----------------------------------------------------------------------------------


def test_an_outage_is_told_when_it_begins_every_ten_seconds_and_when_it_ends() -> None:
    now = 0.0
    breaker = Breaker("acme", clock=lambda: now)
    with logged() as lines:
        for second in range(26):
            now = float(second)
            breaker.note("acme.example", Unavailable("503"))
        breaker.note("acme.example", Throttled())
        breaker.note("acme.example", ACME)
    told = [line.fields["failures"] for line in events(lines, "provider.unavailable")]
    assert told == [3, 13, 23]
    assert [line.fields["seconds"] for line in events(lines, "provider.available")] == [25.0]


def test_a_vendor_that_comes_and_goes_is_told_of_no_more_often() -> None:
    now = 0.0
    breaker = Breaker("acme", clock=lambda: now)
    with logged() as lines:
        for second in range(30):
            now = float(second)
            for _ in range(3):
                breaker.note("acme.example", Unavailable("503"))
            breaker.note("acme.example", ACME)
    assert len(events(lines, "provider.unavailable")) == 3
    assert len(events(lines, "provider.available")) == 3
