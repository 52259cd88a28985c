"""The memory that vendors' answers may take at once, for the whole process: bytes, and not a count of them.

One body has its own limit (`transport.py`), but a worker has 64 leads and more, and each asks several vendors.
So whoever reads a body that is more than `SMALL` waits until there is room for as much as it can still become.
The room is kept until the answer is stored, by whoever makes the call (`one_answer`).

Who has room needs no other to go on, so nobody waits for each other. Those that wait leave the rest with the
vendor: their connection is not read. The clock of the call stands still meanwhile, for it is not the
vendor that takes so long.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

BYTES = 64 * 1024 * 1024
SMALL = 32 * 1024
"""Of a body. What vendors send as a rule is a tenth of that, and never waits."""
_COPIES = 4
"""As it arrived, unpacked, squeezed, and in the command that keeps it."""


@dataclass(slots=True)
class Room:
    """Given out in the order of asking, so that a large answer comes to its turn."""

    free: int = BYTES
    _waiting: deque[tuple[int, asyncio.Future[None]]] = field(default_factory=deque)

    async def take(self, size: int) -> None:
        """Wait until so many bytes are free."""
        if not self._waiting and size <= self.free:
            self.free -= size
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append((size, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.give_back(size)
            raise

    def give_back(self, size: int) -> None:
        """They are free again."""
        self.free += size
        while self._waiting:
            wanted, turn = self._waiting[0]
            if not turn.done() and wanted > self.free:
                return
            self._waiting.popleft()
            if not turn.done():
                self.free -= wanted
                turn.set_result(None)


@dataclass(slots=True)
class Share:
    """What one answer takes of it."""

    room: Room
    size: int = 0

    @property
    def may_grow(self) -> bool:
        """No room was taken yet."""
        return not self.size

    async def take(self, body: int) -> None:
        """For a body that may become so long."""
        size = _COPIES * body
        await self.room.take(size)
        self.size += size

    def shrink(self, body: int) -> None:
        """It has become no longer than that."""
        spare = max(0, self.size - _COPIES * body)
        self.size -= spare
        self.room.give_back(spare)

    def give_back(self) -> None:
        """The answer is stored, or nobody wants it."""
        self.room.give_back(self.size)
        self.size = 0


_share: ContextVar[Share | None] = ContextVar("share", default=None)


@contextmanager
def one_answer(room: Room) -> Iterator[None]:
    """What is read within keeps its room until the end."""
    share = Share(room)
    token = _share.set(share)
    try:
        yield
    finally:
        _share.reset(token)
        share.give_back()


@contextmanager
def share_of(room: Room) -> Iterator[Share]:
    """The share of whoever makes the call, or one of its own."""
    if share := _share.get():
        yield share
        return
    share = Share(room)
    try:
        yield share
    finally:
        share.give_back()


ROOM = Room()
"""Of this process."""
