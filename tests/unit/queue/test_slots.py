"""The slots of one process, shared by the workers of its sources."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from enricher.queue.worker import Slots


@dataclass(eq=False)
class Taking:
    """A worker, as far as slots go."""

    taken: int = 0
    has_more: bool = False
    is_stuck: bool = False


def sharing(concurrency: int, *workers: Any) -> Slots:
    return Slots(concurrency, list(workers))


def free(slots: Slots) -> list[int]:
    return [slots.free_for(worker) for worker in slots.workers]


def test_a_worker_that_is_alone_has_all_slots() -> None:
    assert free(sharing(64, Taking(10, has_more=True))) == [54]


def test_one_with_nothing_to_do_keeps_a_single_slot() -> None:
    assert free(sharing(64, Taking(10, has_more=True), Taking())) == [53, 32]


def test_one_that_comes_back_to_work_finds_its_slot_free_however_busy_the_other_is() -> None:
    assert free(sharing(64, Taking(63, has_more=True), Taking())) == [0, 1]


def test_who_has_more_than_its_share_takes_nothing_while_the_other_wants_its_own() -> None:
    assert free(sharing(64, Taking(50, has_more=True), Taking(1, has_more=True))) == [-18, 13]


def test_both_come_to_have_the_same_as_leads_end() -> None:
    one: Any = Taking(63, has_more=True)
    other: Any = Taking(1, has_more=True)
    slots = sharing(64, one, other)
    while one.taken + other.taken > 0 and one.taken > other.taken:
        one.taken -= 1  # a lead ends
        assert slots.free_for(one) <= 0
        other.taken += max(0, slots.free_for(other))
    assert (one.taken, other.taken) == (32, 32)


def test_one_that_cannot_settle_its_leads_holds_no_more_than_its_share() -> None:
    stuck, other = Taking(63, is_stuck=True), Taking(1, has_more=True)
    assert free(sharing(64, stuck, other)) == [-31, 31]


@pytest.mark.parametrize("concurrency", [1, 2, 3])
def test_each_has_one_slot_at_least(concurrency: int) -> None:
    slots = sharing(concurrency, *(Taking(has_more=True) for _ in range(3)))
    assert free(slots) == [1, 1, 1]
    assert slots.total == 3


def test_leads_beyond_the_slots_are_no_room() -> None:
    """Urgent leads may be in work beyond them, while others wait for a limit."""
    assert free(sharing(4, Taking(6), Taking())) == [-3, -2]
