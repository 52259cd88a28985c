"""Servers that die, and somebody who starts them again."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from enricher.errors import DatabaseError
from enricher.mongo.embedded import HOST, EmbeddedServer
from tests.support.cable import Cable, serving
from tests.support.waiting import end
from tests.support.wire import command_of

_WRITES = {("update", "leads"), ("findAndModify", "leads")}


def strike(pid: int) -> bool:
    """Kill the server with this pid; False when it is gone, or on its way up and has none yet.

    A pid of 0 would be all processes of ours, this one included.
    """
    if not pid:
        return False
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


@asynccontextmanager
async def started_again(server: EmbeddedServer) -> AsyncIterator[list[float]]:
    """Somebody starts the server whenever it has died; yields when that was."""
    deaths: list[float] = []

    async def watch() -> None:
        while True:
            await asyncio.sleep(0.02)
            if not server._is_running():
                deaths.append(time.monotonic())
                await server.stop()
                with suppress(DatabaseError):  # killed once more before it was up
                    await server.start()

    watching = asyncio.create_task(watch())
    try:
        yield deaths
    finally:
        await end(watching)


@dataclass
class DeadlyCable(Cable):
    """A write to leads with these words in it ends the server before it is answered."""

    server: EmbeddedServer | None = None
    words: bytes = b""
    dying_seconds: float = 0.0
    """From the write to the end, as long as a busy machine takes."""

    async def _request_may_pass(self, chunk: bytes) -> None:
        await super()._request_may_pass(chunk)
        if self.server and self.words in chunk and command_of(chunk) in _WRITES:
            pid = self.server.pid  # that one, and not its successor
            await asyncio.sleep(self.dying_seconds)
            strike(pid)
            raise ConnectionResetError


@asynccontextmanager
async def deadly_cable(server: EmbeddedServer, words: bytes) -> AsyncIterator[DeadlyCable]:
    """A cable to this server, for daemons that must not know what it is that kills."""
    async with serving(DeadlyCable(HOST, server.port, server=server, words=words)) as cable:
        yield cable
