"""The circuit breaker: when a vendor is left alone, what leads are told, and how it ends."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from enricher.answer import Answer, Held, NotFound, Throttled, Unavailable
from enricher.calls.breaker import (
    BETTER_PROBE_SECONDS,
    FIRST_PAUSE_SECONDS,
    LONGEST_PAUSE_SECONDS,
    OPENS_AFTER,
    OPENS_AFTER_SECONDS,
    PROBES,
    REASON,
    Breaker,
)
from enricher.process import shortage
from tests.support.observing import counted, events, logged
from tests.support.scripted import company

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
        assert breaker.admission("new") is None
        breaker.note("another", DOWN)
    assert breaker.admission("new") == Held(REASON, FIRST_PAUSE_SECONDS)
    assert counted("enricher_provider_circuit_open", provider="acme") == 1
    (opening,) = events(lines, "provider.circuit_opened")
    assert opening.fields["reason"] == "503"
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
    assert opened.admission("new") is None
    assert isinstance(opened.admission("new"), Held)


@pytest.mark.parametrize("answer", [ACME, NotFound()])
def test_a_probe_that_is_answered_closes_it(opened: Breaker, clock: Clock, answer: Answer) -> None:
    clock.now += FIRST_PAUSE_SECONDS
    opened.admission("new")
    with logged() as lines:
        opened.note("probe", answer)
    assert opened.admission("new") is None
    assert opened.admission("new") is None
    assert len(events(lines, "provider.available")) == 1


def probe(breaker: Breaker, clock: Clock, question: object, answer: Answer = DOWN) -> Answer:
    """Once it may be one."""
    while held := breaker.admission(question):
        clock.now += held.seconds
    return breaker.note(question, answer)


def pause_left(breaker: Breaker) -> float:
    held = breaker.admission("somebody")
    return held.seconds if held else 0.0


def test_probes_that_fail_double_the_pause_up_to_its_limit_and_cost_the_leads_nothing(
    opened: Breaker, clock: Clock
) -> None:
    pauses = []
    for number in range(6):
        pauses.append(pause_left(opened))
        for each in range(PROBES):
            assert isinstance(probe(opened, clock, (number, each)), Held)
    assert pauses == [30, 60, 120, 240, 300, 300]
    assert pauses[-1] == LONGEST_PAUSE_SECONDS


def test_one_failure_of_a_new_question_does_not_keep_it_open(opened: Breaker, clock: Clock) -> None:
    probe(opened, clock, "new")
    probe(opened, clock, "good", ACME)
    assert opened.is_closed


def test_a_question_that_failed_lets_a_better_one_go_first(opened: Breaker, clock: Clock) -> None:
    clock.now += FIRST_PAUSE_SECONDS
    assert opened.admission("question 1") == Held(REASON, BETTER_PROBE_SECONDS)
    assert opened.admission("new") is None


def test_where_no_better_one_comes_it_is_the_probe(opened: Breaker, clock: Clock) -> None:
    clock.now += FIRST_PAUSE_SECONDS + BETTER_PROBE_SECONDS
    assert opened.admission("question 1") is None
    opened.note("question 1", ACME)
    assert opened.is_closed


def test_questions_that_failed_before_do_not_lengthen_the_pause(
    opened: Breaker, clock: Clock
) -> None:
    for _ in range(5):
        for each in range(PROBES):
            probe(opened, clock, f"question {each}")
        assert pause_left(opened) == FIRST_PAUSE_SECONDS


def test_a_question_that_fails_although_others_were_answered_spends_its_attempts(
    breaker: Breaker, clock: Clock
) -> None:
    bad = [f"question {number}" for number in range(OPENS_AFTER)]
    fail(breaker, OPENS_AFTER)
    breaker.note("good", ACME)
    fail(breaker, OPENS_AFTER - 1)
    clock.now += OPENS_AFTER_SECONDS
    breaker.note(bad[-1], DOWN)
    assert not breaker.is_closed
    assert probe(breaker, clock, bad[0]) == DOWN
    assert isinstance(probe(breaker, clock, "never seen before"), Held)
    breaker.note("end", ACME)


def test_a_quiet_hour_with_questions_that_nobody_can_answer_holds_up_no_other(
    breaker: Breaker, clock: Clock
) -> None:
    """A dozen bad leads that come back again and again, and a good one every twenty seconds."""
    ended: dict[str, float] = {}
    due = {f"bad {number}": clock.now for number in range(12)}
    due |= {f"good {number}": clock.now + 20 * number for number in range(12)}
    began = dict(due)
    while due and clock.now < 2000:
        question = min(due, key=lambda each: due[each])
        clock.now = max(clock.now, due.pop(question))
        if held := breaker.admission(question):
            due[question] = clock.now + held.seconds
        elif question.startswith("good"):
            breaker.note(question, ACME)
            ended[question] = clock.now - began[question]
        else:
            answer = breaker.note(question, DOWN)
            due[question] = clock.now + (answer.seconds if isinstance(answer, Held) else 3)
    assert len(ended) == 12
    assert max(ended.values()) <= FIRST_PAUSE_SECONDS + BETTER_PROBE_SECONDS
    breaker.note("end", ACME)


def fail_beside_others(breaker: Breaker, times: int) -> None:
    """So often, while others are answered."""
    for _ in range(times):
        fail(breaker, 2 * OPENS_AFTER)
        breaker.note("well", ACME)


def fail_for_long(breaker: Breaker, clock: Clock) -> None:
    """Again and again, and nobody else is there to be answered."""
    for _ in range(20):
        clock.now += 3
        fail(breaker, 2 * OPENS_AFTER)


def test_questions_that_only_ever_failed_beside_others_open_it_for_nobody(
    breaker: Breaker, clock: Clock
) -> None:
    """They are all that is left when it grows quiet: that says nothing about the vendor."""
    fail_beside_others(breaker, 4)
    with logged() as lines:
        fail_for_long(breaker, clock)
    assert breaker.is_closed
    assert not lines


def test_beside_such_questions_a_vendor_that_goes_away_is_noticed_by_the_others(
    breaker: Breaker, clock: Clock
) -> None:
    fail_beside_others(breaker, 4)
    for number in range(OPENS_AFTER):
        assert breaker.is_closed
        clock.now += 1 + OPENS_AFTER_SECONDS / OPENS_AFTER
        fail(breaker, 2 * OPENS_AFTER)
        breaker.note(f"new {number}", DOWN)
    assert not breaker.is_closed
    breaker.note("end", ACME)


def test_a_vendor_that_is_weak_before_it_goes_away_is_noticed(
    breaker: Breaker, clock: Clock
) -> None:
    """A question may fail now and then without being the cause."""
    fail_beside_others(breaker, 2)
    fail_for_long(breaker, clock)
    assert not breaker.is_closed
    breaker.note("end", ACME)


def test_a_question_that_is_answered_at_last_counts_like_any_other(
    breaker: Breaker, clock: Clock
) -> None:
    fail_beside_others(breaker, 4)
    for number in range(2 * OPENS_AFTER):
        breaker.note(f"question {number}", ACME)
    fail_for_long(breaker, clock)
    assert not breaker.is_closed
    breaker.note("end", ACME)


async def test_time_in_which_this_process_stands_still_is_no_outage_of_the_vendors() -> None:
    breaker = Breaker("acme")
    with shortage.watched():
        began = breaker.clock()
        time.sleep(0.5)  # noqa: ASYNC251 - that is what a process does that is stopped
        assert breaker.clock() - began < 0.2


def test_it_remembers_only_so_many_questions(breaker: Breaker) -> None:
    fail(breaker, 5000)
    assert len(breaker._bad) == 1000
    breaker.note("end", ACME)


def test_a_probe_that_is_throttled_leaves_it_to_the_next_one_to_decide(
    opened: Breaker, clock: Clock
) -> None:
    clock.now += FIRST_PAUSE_SECONDS
    opened.admission("new")
    opened.note("probe", Throttled())
    assert not opened.is_closed
    assert opened.admission("new") is None


def test_a_probe_that_never_comes_back_does_not_keep_it_open_for_ever(
    opened: Breaker, clock: Clock
) -> None:
    clock.now += FIRST_PAUSE_SECONDS
    opened.admission("new")
    held = opened.admission("new")
    assert held
    clock.now += held.seconds
    assert opened.admission("new") is None


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
