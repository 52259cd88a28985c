"""A process-wide limit, in bytes rather than a count, on the memory that vendors' answers take at once.

Each body has its own limit (`transport.py`), but a worker has 64 leads and more, and each asks several vendors.
So reading a body longer than `SMALL` first waits until there is room for the longest it can still become. The
caller keeps that room until the answer is stored (`one_answer`).

A call that has room needs no more to finish, so calls cannot deadlock. While a call waits, its connection is
not read and the rest of the body stays with the vendor. The call's clock stands still meanwhile, because the
delay is not the vendor's.
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
"""Bytes of body that never wait. Vendors usually send a tenth of that."""
_COPIES = 4
"""Copies of a body held at once: as it arrived, unpacked, compressed, and in the command that keeps it."""


@dataclass(slots=True)
class Room:
    """The free bytes, given out first come, first served, so that a large answer gets its turn."""

    free: int = BYTES
    _waiting: deque[tuple[int, asyncio.Future[None]]] = field(default_factory=deque)

    async def take(self, size: int) -> None:
        """Wait until `size` bytes are free, and take them."""
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
        """Free `size` bytes and serve the callers that wait."""
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
    """The room that one answer takes."""

    room: Room
    size: int = 0

    @property
    def may_grow(self) -> bool:
        """Whether no room was taken yet."""
        return not self.size

    async def take(self, body: int) -> None:
        """Take room for a body of up to `body` bytes."""
        size = _COPIES * body
        await self.room.take(size)
        self.size += size

    def shrink(self, body: int) -> None:
        """Give back what a body of `body` bytes does not need."""
        spare = max(0, self.size - _COPIES * body)
        self.size -= spare
        self.room.give_back(spare)

    def give_back(self) -> None:
        """Give everything back: the answer is stored, or no longer wanted."""
        self.room.give_back(self.size)
        self.size = 0


_share: ContextVar[Share | None] = ContextVar("share", default=None)


@contextmanager
def one_answer(room: Room) -> Iterator[None]:
    """Keep the room of everything read within this context until it ends."""
    share = Share(room)
    token = _share.set(share)
    try:
        yield
    finally:
        _share.reset(token)
        share.give_back()


@contextmanager
def share_of(room: Room) -> Iterator[Share]:
    """Yield the caller's share, or a new one that ends with this context."""
    if share := _share.get():
        yield share
        return
    share = Share(room)
    try:
        yield share
    finally:
        share.give_back()


ROOM = Room()
"""The room of this process."""
