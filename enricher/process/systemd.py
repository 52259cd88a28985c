"""What we tell systemd when it started us: that we are up, that we stop, that the loop still turns.

The protocol is a datagram of `NAME=value` to the socket that systemd names in NOTIFY_SOCKET:
https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html. Without that variable nothing is
sent. systemd listens only with `Type=notify` and `WatchdogSec=` in the unit.

Only the event loop feeds the watchdog, for the same reason as `/livez`: an absent database or vendor is
no reason to restart, a loop that stands still is.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from loguru import logger

_MICROSECONDS = 1_000_000
_TURNS_WITHIN_WATCHDOG = 3
"""systemd asks for at least two; the third is for a busy machine."""


@dataclass(slots=True)
class Supervisor:
    """The listener at the other end of NOTIFY_SOCKET; `address` is `None` when there is none."""

    address: str | None
    turn_seconds: float | None
    """How often it wants to hear from us; `None` for never."""
    _is_told: bool = False

    def tell(self, state: str) -> None:
        """Send the state. Never waits and never raises: a failure is logged once."""
        if self.address is None:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ours:
                ours.setblocking(False)
                ours.sendto(state.encode(), self.address)
        except OSError as error:
            self._complain(error)

    def _complain(self, error: OSError) -> None:
        if not self._is_told:
            self._is_told = True
            logger.bind(error=error.strerror or type(error).__name__).warning("systemd.not_told")


def supervisor(environ: Mapping[str, str]) -> Supervisor:
    """PURE Read systemd's variables: the address is a path, or an abstract name written as `@name`."""
    address = environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):  # other kinds are for virtual machines, not services
        return Supervisor(None, None)
    if address.startswith("@"):
        address = f"\0{address[1:]}"
    return Supervisor(address, _turn_seconds(environ))


def _turn_seconds(environ: Mapping[str, str]) -> float | None:
    """Return the seconds between signs of life; `None` if the watchdog is off or another process's."""
    patience = environ.get("WATCHDOG_USEC", "")
    is_ours = environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
    if not is_ours or not patience.isdecimal() or int(patience) == 0:
        return None
    return int(patience) / _MICROSECONDS / _TURNS_WITHIN_WATCHDOG


@asynccontextmanager
async def supervised(
    stop: asyncio.Event, environ: Mapping[str, str] | None = None
) -> AsyncIterator[None]:
    """Report up on entry and stopping once `stop` is set; feed the watchdog until the end of the block.

    Up means started, not ready for leads: the first scan of a large collection may take longer than
    systemd's patience.
    """
    over = supervisor(os.environ if environ is None else environ)
    over.tell("READY=1")
    tasks = {
        asyncio.create_task(_tell_of_stop(over, stop), name="systemd.stopping"),
        asyncio.create_task(_tell_of_turns(over), name="systemd.watchdog"),
    }
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def _tell_of_stop(over: Supervisor, stop: asyncio.Event) -> None:
    await stop.wait()
    over.tell("STOPPING=1")


async def _tell_of_turns(over: Supervisor) -> None:
    while over.turn_seconds is not None:
        over.tell("WATCHDOG=1")
        await asyncio.sleep(over.turn_seconds)
