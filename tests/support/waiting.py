"""Waiting for something to become true, instead of for time to pass.

What is waited for comes, or the code is wrong; how soon is up to the machine as well. So the end of
patience is given for a machine that is not busy, and comes later by as much as ours is: an idle one
judges strictly, and a busy one finds no fault with the code for being slow itself.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar, overload

from enricher.process.signals import end_if_cancelled

T = TypeVar("T")

POLL_SECONDS = 0.02
_RAREST_SECONDS = 0.2
_SHARE = 9
"""So many times as long as a look took nobody looks: a page of metrics, say, costs both sides what it takes."""
_GLANCE_SECONDS = 1.0
_AGAIN_SECONDS = 2.0


def business() -> float:
    """How many times longer things take than on an idle machine: what wants to run, for each core.

    Now, or over the last minute if that was more: when a run begins, the minute before it was calm.
    """
    return max(1.0, max(os.getloadavg()[0], _wanting_to_run()) / (os.cpu_count() or 1))


def _wanting_to_run() -> int:
    """Tasks at this moment, as Linux tells it; elsewhere 0."""
    try:
        return int(Path("/proc/loadavg").read_text().split()[3].partition("/")[0])
    except OSError:
        return 0


@asynccontextmanager
async def patience(seconds: float) -> AsyncIterator[None]:
    """Raises TimeoutError after so many seconds of an idle machine; `business` is looked at as it goes."""
    async with asyncio.timeout(None) as limit:
        watching = asyncio.create_task(_end(limit, seconds), name="patience")
        try:
            yield
        finally:
            watching.cancel()


async def end(*tasks: asyncio.Task[Any]) -> None:
    """Cancel them until they are over: once may not be enough, as the driver may swallow it."""
    while left := [task for task in tasks if not task.done()]:
        for task in left:
            task.cancel()
        await asyncio.wait(left, timeout=_AGAIN_SECONDS)


async def _end(limit: asyncio.Timeout, seconds: float) -> None:
    while seconds > 0:
        began = time.monotonic()
        await asyncio.sleep(min(seconds, _GLANCE_SECONDS))
        seconds -= (time.monotonic() - began) / business()
    limit.reschedule(asyncio.get_running_loop().time())


@overload
async def eventually(check: Callable[[], Awaitable[T]], within: float = 10.0) -> T: ...
@overload
async def eventually(check: Callable[[], T], within: float = 10.0) -> T: ...
async def eventually(check: Callable[[], Any], within: float = 10.0) -> Any:
    """The first truthy result of `check`, which may be async and may fail by `assert` meanwhile.

    Fails after `within` seconds and says what was checked and what it last came to.
    """
    __tracebackhide__ = True
    last: object = "nothing: it did not return in time"
    try:
        async with patience(within):
            while True:
                began = time.monotonic()
                try:
                    result = check()
                    last = await result if inspect.isawaitable(result) else result
                except AssertionError as error:
                    last = error
                else:
                    if last:
                        return last
                end_if_cancelled()  # the end of patience, if the driver has swallowed it
                took = time.monotonic() - began
                await asyncio.sleep(min(max(POLL_SECONDS, _SHARE * took), _RAREST_SECONDS))
    except TimeoutError:
        message = f"not so within {within:g} s: {_source(check)}\nlast result: {last!r}"
        raise AssertionError(message) from None


def _source(check: Callable[[], Any]) -> str:
    try:
        return inspect.getsource(check).strip()
    except (OSError, TypeError):
        return repr(check)
