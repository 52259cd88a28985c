"""Concurrent awaits share one round trip.

While one batch is on its way to the database, everything submitted in the meantime gathers for the next;
and a batch does not leave while each turn of the event loop still adds to it, for a few milliseconds at
most. So a lone caller waits for one turn of an idle loop, and under load the batches grow by themselves:
there is no threshold to tune.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


_LONGEST_GATHERING_SECONDS = 0.01
"""Callers keep coming while the CPU is busy, and then an extra batch costs more than this."""


class Coalescer(Generic[Item, Result]):
    """Turns concurrent `submit(item)` calls into `flush(items)` calls, one at a time.

    `flush` returns one result for each item, in order. If it raises, every submitter of that batch gets
    the exception. A submitter that is cancelled stops waiting; its item is still flushed, because what
    was submitted must be written.
    """

    def __init__(
        self, name: str, flush: Callable[[Sequence[Item]], Awaitable[Sequence[Result]]], limit: int
    ) -> None:
        self._name = name
        self._flush = flush
        self._limit = limit
        self._waiting: list[tuple[Item, asyncio.Future[Result]]] = []
        self._runner: asyncio.Task[None] | None = None

    async def submit(self, item: Item) -> Result:
        """Submit one item and wait for its result."""
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if self._runner is None:
            self._runner = asyncio.create_task(self._run(), name=f"coalesce-{self._name}")
        return await future

    async def _run(self) -> None:
        try:
            while self._waiting:
                await until_no_more_come(self._waiting.__len__, self._limit)
                batch = self._waiting[: self._limit]
                del self._waiting[: self._limit]
                try:
                    results = await self._flush([item for item, _ in batch])
                    _tell(batch, results)
                except BaseException as error:
                    for _, future in batch:
                        _fail(future, error)
                    if not isinstance(error, Exception):
                        raise
        finally:
            self._runner = None


async def until_no_more_come(waiting: Callable[[], int], limit: int) -> None:
    """Wait until a turn of the loop adds nothing, there are `limit`, or 10 ms have passed."""
    ends = time.monotonic() + _LONGEST_GATHERING_SECONDS
    seen = 0
    while seen < waiting() < limit and time.monotonic() < ends:
        seen = waiting()
        await asyncio.sleep(0)


def _tell(batch: Sequence[tuple[Item, asyncio.Future[Result]]], results: Sequence[Result]) -> None:
    for (_, future), result in list(zip(batch, results, strict=True)):
        if not future.done():
            future.set_result(result)


def _fail(future: asyncio.Future[Result], error: BaseException) -> None:
    if future.done():
        return
    if isinstance(error, Exception):
        future.set_exception(error)
    else:
        future.cancel()
