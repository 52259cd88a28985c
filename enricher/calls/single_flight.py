"""Callers who want the same thing at the same time share one making of it.

The making is a task of its own, so that a caller who gives up does not take the others down with
him; when the last one has given up it is cancelled.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

Made = TypeVar("Made")


@dataclass(slots=True)
class _Flight(Generic[Made]):
    task: asyncio.Task[Made]
    callers: int = 0


class SingleFlight(Generic[Made]):
    """At most one making of each key at a time."""

    def __init__(self) -> None:
        self._flights: dict[Hashable, _Flight[Made]] = {}

    def is_under_way(self, key: Hashable) -> bool:
        """True when a caller of `do` would share what another has begun."""
        return key in self._flights

    async def do(self, key: Hashable, make: Callable[[], Awaitable[Made]]) -> Made:
        """What `make` makes, or what is being made for that key already."""
        flight = self._flights.get(key) or self._begin(key, make)
        flight.callers += 1
        try:
            return await asyncio.shield(flight.task)
        finally:
            flight.callers -= 1
            if not flight.callers:
                self._forget(key, flight)
                flight.task.cancel()

    def _begin(self, key: Hashable, make: Callable[[], Awaitable[Made]]) -> _Flight[Made]:
        async def making() -> Made:
            return await make()

        flight = _Flight(asyncio.create_task(making(), name="single-flight"))
        self._flights[key] = flight
        flight.task.add_done_callback(lambda _: self._forget(key, flight))
        return flight

    def _forget(self, key: Hashable, flight: _Flight[Any]) -> None:
        """A caller who comes now begins anew, also while a cancelled one still winds up."""
        if self._flights.get(key) is flight:
            del self._flights[key]
