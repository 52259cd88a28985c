"""Waiting for something to become true, instead of for time to pass."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, overload

T = TypeVar("T")

POLL_SECONDS = 0.02


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
        async with asyncio.timeout(within):
            while True:
                try:
                    result = check()
                    last = await result if inspect.isawaitable(result) else result
                except AssertionError as error:
                    last = error
                else:
                    if last:
                        return last
                await asyncio.sleep(POLL_SECONDS)
    except TimeoutError:
        message = f"not so within {within:g} s: {_source(check)}\nlast result: {last!r}"
        raise AssertionError(message) from None


def _source(check: Callable[[], Any]) -> str:
    try:
        return inspect.getsource(check).strip()
    except (OSError, TypeError):
        return repr(check)
