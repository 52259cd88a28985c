"""The brake on objections: what erases people for good stops when it happens too often at once.

A vendor's bug, or somebody between us and the vendor, may say of everybody that they objected. Each word is
heeded like `enricher forget`, so more than five persons within ten minutes, and more than two in a hundred of
the answers of that time, stop the provider until somebody has looked. Persons are counted for the fleet
(`privacy/objections.py`), answers by those daemons that met an objection: too few rather than too many.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

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
