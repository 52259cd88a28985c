"""Whose turn is next, and that nobody waits for ever."""

from __future__ import annotations

import asyncio

from enricher.limits.limiter import Turns


async def test_who_has_waited_longest_is_not_starved_by_a_stream_of_more_urgent_ones() -> None:
    turns: Turns[int] = Turns()
    cold = turns.join(0)
    for number in range(10):
        turns.join(1)
        turns.give(number)
    assert cold.done()
    assert cold.result() == 9


async def test_the_most_urgent_waits_for_one_other_at_most() -> None:
    turns: Turns[int] = Turns()
    for _ in range(100):
        turns.join(0)
    waits = []
    for number in range(0, 60, 3):
        hot = turns.join(9)
        for turn in range(number, number + 3):
            turns.give(turn)
        waits.append(hot.result() - number)
        turns.leave(hot)
    assert set(waits) == {0, 1}


async def test_a_turn_goes_to_nobody_twice_and_to_nobody_who_left() -> None:
    turns: Turns[int] = Turns()
    waiting = [turns.join(number % 3) for number in range(60)]
    for turn in waiting[::2]:
        turn.cancel()
        turns.leave(turn)
    given = 0
    while turns.give(given):
        given += 1
    assert given == 30
    assert sorted(turn.result() for turn in waiting[1::2]) == list(range(30))
    assert len(turns) == 0
    assert turns.urgency is None


async def test_those_who_left_are_forgotten() -> None:
    turns: Turns[int] = Turns()
    first: asyncio.Future[int] = turns.join(0)
    for _ in range(10_000):
        passing = turns.join(1)
        passing.cancel()
        turns.leave(passing)
    assert len(turns._heap) < 100
    assert len(turns._by_age) < 100
    assert turns.give(7)
    assert first.result() == 7


async def test_the_turn_of_the_longest_waiter_passes_over_one_that_is_about_to_leave() -> None:
    turns: Turns[int] = Turns()
    leaving, cold = turns.join(0), turns.join(0)
    leaving.cancel()
    for number in range(10):
        turns.join(1)
        assert turns.give(number)
    assert cold.result() == 9
    assert len(turns) == 2, "the cancelled one, which has yet to leave, and one that is more urgent"
