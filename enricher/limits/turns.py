"""Whose turn is next: the most urgent waiter's, and among equals the first comer's.

Every tenth turn is for whoever has waited longest, how little urgent he may be: behind a stream of
more urgent ones that never ends, he would wait in vain until his time is up.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from itertools import count
from typing import Generic, TypeVar

Result = TypeVar("Result")

_FEW = 16
_LONGEST_WAITER_EVERY = 10


class Turns(Generic[Result]):
    """A queue of futures. Whoever joins awaits the future, and leaves whatever came of it."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, asyncio.Future[Result]]] = []
        self._by_age: deque[asyncio.Future[Result]] = deque()
        self._waiting: set[asyncio.Future[Result]] = set()
        self._given = 0
        self._number = count()

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def urgency(self) -> float | None:
        """The highest among those that wait; `None` when nobody does."""
        self._drop_those_who_left()
        return -self._heap[0][0] if self._heap else None

    def join(self, urgency: float) -> asyncio.Future[Result]:
        turn: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        rank = -urgency if urgency == urgency else float("inf")  # noqa: PLR0124 - NaN has no order
        heapq.heappush(self._heap, (rank, next(self._number), turn))
        self._by_age.append(turn)
        self._waiting.add(turn)
        return turn

    def leave(self, turn: asyncio.Future[Result]) -> None:
        """Safe to repeat, and after the turn has come."""
        self._waiting.discard(turn)
        # Deep in the queue those who left would pile up while more urgent ones come and go.
        if len(self._heap) > 2 * len(self._waiting) + _FEW:
            self._heap = [entry for entry in self._heap if self._waits(entry[2])]
            heapq.heapify(self._heap)
        if len(self._by_age) > 2 * len(self._waiting) + _FEW:
            self._by_age = deque(turn for turn in self._by_age if self._waits(turn))

    def give(self, result: Result) -> bool:
        """To the next in turn; false when nobody waits."""
        self._drop_those_who_left()
        if not self._heap:
            return False
        self._given += 1
        is_for_the_longest = self._given % _LONGEST_WAITER_EVERY == 0
        turn = self._by_age[0] if is_for_the_longest else self._heap[0][2]
        self._waiting.discard(turn)
        turn.set_result(result)
        return True

    def give_all(self, result: Result) -> None:
        while self.give(result):
            pass

    def fail_all(self, error: Exception) -> None:
        for turn in self._waiting:
            if not turn.done():
                turn.set_exception(error)
        self._waiting.clear()
        self._heap.clear()
        self._by_age.clear()

    def _waits(self, turn: asyncio.Future[Result]) -> bool:
        return turn in self._waiting and not turn.done()

    def _drop_those_who_left(self) -> None:
        while self._heap and not self._waits(self._heap[0][2]):
            heapq.heappop(self._heap)
        while self._by_age and not self._waits(self._by_age[0]):
            self._by_age.popleft()
