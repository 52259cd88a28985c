"""The doorbell between the task that sees work first and the worker that does it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from enricher.lead import LeadId


@dataclass(frozen=True, slots=True)
class Newcomer:
    """A lone new lead at the door; the task that announced it waits for the answer."""

    id: LeadId
    is_taken: asyncio.Future[bool] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )

    def answer(self, *, is_taken: bool) -> None:
        """Tell the announcing task whether the lead was admitted and claimed."""
        if not self.is_taken.done():
            self.is_taken.set_result(is_taken)


class Bell:
    """Does not count rings: one wakes the worker, and the claim finds all there is.

    A worker that waits here with nothing else to do also opens to a lone new lead, and admits and claims it
    in one command: no order has to be kept then, and no search is needed.
    """

    def __init__(self) -> None:
        self._woken = asyncio.Event()
        self._is_rung = False
        self._has_room: Callable[[], bool] | None = None
        self._newcomer: Newcomer | None = None

    def ring(self) -> None:
        """Say that there may be work."""
        self._is_rung = True
        self._woken.set()

    @property
    def is_rung(self) -> bool:
        """True when it has rung and no waiter has heard it yet."""
        return self._is_rung

    @property
    def is_waited_at(self) -> bool:
        """True while a worker without other work waits here, even if it has no room for one more lead."""
        return self._has_room is not None

    @property
    def is_open(self) -> bool:
        """True while a worker waits here that would open to a lone new lead."""
        return self._has_room is not None and self._has_room()

    async def announce(self, id_: LeadId) -> bool:
        """Offer a lone new lead. False when it must go the usual way: admitted, then searched for."""
        if self._is_rung or self._newcomer or not self.is_open:
            return False
        self._newcomer = Newcomer(id_)
        self._woken.set()
        return await self._newcomer.is_taken

    async def wait(self, seconds: float, has_room: Callable[[], bool] | None = None) -> bool:
        """Wait until it rings, at most `seconds`; False when it did not. An earlier unheard ring counts.

        With `has_room`, also return once there is a `newcomer`, which is let in only while `has_room` holds.
        """
        self._has_room = has_room
        try:
            async with asyncio.timeout(seconds):
                await self._woken.wait()
        except TimeoutError:
            pass
        except asyncio.CancelledError:
            self._turn_away()
            raise
        finally:
            self._has_room = None
            self._woken.clear()
            is_rung, self._is_rung = self._is_rung, False
        return is_rung

    def newcomer(self) -> Newcomer | None:
        """Return the lead announced during the wait, if any; the caller must answer it."""
        newcomer, self._newcomer = self._newcomer, None
        return newcomer

    def _turn_away(self) -> None:
        if newcomer := self.newcomer():
            newcomer.answer(is_taken=False)
