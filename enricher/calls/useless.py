"""What is charged and useless: answers that cost money and cannot be read, many of them in a row.

A vendor that changes its API answers every question, takes money for it, and tells us nothing. Nothing fails,
so no circuit opens. So answers that are charged are counted: ten useless ones in a row, whatever the time
and the questions, and the provider is stopped for the whole fleet. After a while one question is let through; what
comes of it ends the stop, or doubles it.

    row   useless answers since the last charged one that was of use; an answer that costs nothing says nothing

What is under way cannot be called back. So no more questions are under way than would make the row full,
once one was useless, and as long as nothing at all is known of the provider.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from enricher.answer import Held

STOPS_AFTER = 10
FIRST_PAUSE_SECONDS = 300.0
LONGEST_PAUSE_SECONDS = 3600.0
REASON = "its charged answers are unreadable"


@dataclass(slots=True)
class UselessRow:
    """One provider's useless answers in a row, as one process met them."""

    is_proven: bool = False
    """It has given an answer that said something, since the start."""
    length: int = 0
    _under_way: int = 0
    _pause: float = 0.0
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def is_full(self) -> bool:
        return self.length >= STOPS_AFTER

    @property
    def has_room(self) -> bool:
        """One more question may be under way."""
        return self._under_way < self._most()

    async def room(self) -> None:
        """Wait until it may."""
        while not self.has_room:
            self._news.clear()
            await self._news.wait()

    def begin(self) -> None:
        self._under_way += 1

    def end(self) -> None:
        self._under_way -= 1
        self._news.set()

    def _most(self) -> float:
        if self.is_proven and not self.length:
            return float("inf")
        return max(1, STOPS_AFTER - self.length)

    def useful(self, *, charged: bool, is_answer: bool) -> None:
        """Not a useless one: it could be read, or costs nothing. A refusal, a failure, and one that is still
        being prepared (no `is_answer`) say nothing of what the next one is worth."""
        self.is_proven |= is_answer
        if charged and is_answer:
            self.length, self._pause = 0, 0.0
        self._news.set()

    def useless(self, *, is_stopped: bool) -> Held | None:
        """A charged answer that tells nothing; returns the stop when it was one too many. While one
        stands, it was under way already and is no probe."""
        self.length += 1
        if not self.is_full or is_stopped:
            return None
        self._pause = min(LONGEST_PAUSE_SECONDS, 2 * self._pause or FIRST_PAUSE_SECONDS)
        return Held(REASON, self._pause)

    def learn(self, held: Held | None) -> None:
        """Another process has met the last of a row: the next question is a probe here as well."""
        if held is not None and held.reason == REASON:
            self.length = max(self.length, STOPS_AFTER)
            self._pause = self._pause or FIRST_PAUSE_SECONDS


# The brake on objections: what erases people for good stops when it happens too often at once.
#
# A vendor's bug, or somebody between us and the vendor, may say of everybody that they objected. Each word is
# heeded like `enricher forget`, so more than five persons within ten minutes, and more than two in a hundred of
# the answers of that time, stop the provider until somebody has looked. Persons are counted for the fleet
# (`privacy/objections.py`), answers by those daemons that met an objection: too few rather than too many.

WINDOW_SECONDS = 600.0
OBJECTIONS = "too many objections at once"
OBJECTIONS_SECONDS = 86_400.0
MOST_PERSONS = 5
MOST_OF_ANSWERS = 0.02


@dataclass(frozen=True, slots=True)
class Objecting:
    """What one more objection brought to light, within the fleet and of late."""

    place: int
    """Of this person among those who objected, from 1."""
    persons: int
    answers: int


def is_too_many(objecting: Objecting) -> bool:
    """PURE Whether this objection is beyond what is heeded; those before it were."""
    return (
        objecting.place > MOST_PERSONS and objecting.persons > MOST_OF_ANSWERS * objecting.answers
    )


@dataclass(slots=True)
class Lately:
    """How many answers one provider gave within the last ten minutes."""

    clock: Callable[[], float] = time.monotonic
    _at: deque[tuple[int, int]] = field(default_factory=deque)
    """(second, answers) in order."""

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
