"""How a signal ends a command, from its first moment to its last.

    before there is a loop      nothing was started yet: the process ends at once, by that signal
    in the loop                 the first signal makes the command end in order: by default it is
                                cancelled, and what it started is ended with it
    the second                  the process ends at once, by that signal

No signal is turned into another. A process that a script starts with `&` ignores SIGINT, and anything
that relied on SIGINT would fail there: SIGTERM has to do its work alone. Once there is a loop, SIGINT is
heeded all the same, because anyone who sends it to such a process means it; SIGHUP is not heeded where it
was ignored (`nohup`).
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn, TypeAlias, TypeVar

_T = TypeVar("_T")
Act: TypeAlias = Callable[[signal.Signals], object]

_EXIT_OF_A_SHELL = 128


def end_by(number: signal.Signals) -> NoReturn:
    """End this process at once, the way the signal itself would.

    A container's first process is ended by no signal that it does not handle: there it exits with 128
    plus the signal's number, as a shell reports it.
    """
    signal.signal(number, signal.SIG_DFL)
    signal.raise_signal(number)
    os._exit(_EXIT_OF_A_SHELL + number)


def end_at_once() -> None:
    """Let signals end the process at once, until something runs that has to end in order. Python handles Ctrl-C."""
    for number in _heeded():
        if number != signal.SIGINT:
            signal.signal(number, lambda came, _: end_by(signal.Signals(came)))


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run the coroutine and return its result; raises KeyboardInterrupt when a signal ended it.

    Uses uvloop where available: 10 to 25 % less CPU.
    """
    told: list[signal.Signals] = []
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        try:
            return runner.run(_until_told(coroutine, told))
        except asyncio.CancelledError:
            if told:
                raise KeyboardInterrupt from None
            raise


@contextmanager
def heeding(first: Act, again: Act = end_by) -> Iterator[None]:
    """Call `first` in the running loop on the first signal, and `again` on each later one, at once.

    This is the interpreter's handler, not the loop's: the second signal must work even where the loop is
    stuck, and the earlier handlers are restored afterwards.
    """
    loop = asyncio.get_running_loop()
    is_told = False

    def on_signal(came: int, _: FrameType | None) -> None:
        nonlocal is_told
        number = signal.Signals(came)
        if is_told:
            again(number)
        else:
            is_told = True
            loop.call_soon_threadsafe(first, number)

    before = {number: signal.signal(number, on_signal) for number in _heeded()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def end_if_cancelled() -> None:
    """Raise a pending cancellation: the driver may swallow one that comes just as it is answered."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


async def surely(coroutine: Coroutine[Any, Any, _T]) -> _T:
    """Await to the end even when cancelled, and be cancelled then: `shield` alone would return at once."""
    task = asyncio.create_task(coroutine)
    cancelled = False
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:
            cancelled = True
    result = task.result()
    if cancelled:
        raise asyncio.CancelledError
    return result


async def _until_told(coroutine: Coroutine[Any, Any, Any], told: list[signal.Signals]) -> Any:
    task = asyncio.current_task()

    def cancel(number: signal.Signals) -> None:
        told.append(number)
        if task is not None:
            task.cancel()

    with heeding(cancel):
        return await coroutine


def _heeded() -> tuple[signal.Signals, ...]:
    is_ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return (signal.SIGTERM, signal.SIGINT, *(() if is_ignored else (signal.SIGHUP,)))


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop  # noqa: PLC0415 - not on every platform
    except ImportError:
        return None
    return uvloop.new_event_loop
