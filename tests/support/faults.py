"""Errors of the driver and the server, made by the server's own fail points."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from pymongo import AsyncMongoClient
from pymongo.asynchronous.collection import AsyncCollection

from enricher.lead import Document

_LONGEST_WAIT_MS = 60_000


@dataclass(frozen=True, slots=True)
class Faults:
    """One collection, seen by a client whose commands fail and by one that is left alone."""

    leads: AsyncCollection[Document]
    plain: AsyncCollection[Document]

    @asynccontextmanager
    async def fail(
        self, *commands: str, times: int | None = None, **how: Any
    ) -> AsyncIterator[Callable[[], Awaitable[Any]]]:
        """Fail the daemon's next `times` of these commands, or all within the block. Yields what waits until
        one of them has reached the server.

        How: `closeConnection=True`, `errorCode=91`, `writeConcernError={...}` (the write is done all
        the same), or `blockConnection=True, blockTimeMS=300`.
        """
        admin = self.plain.database.client.admin
        mode = "alwaysOn" if times is None else {"times": times}
        data = {"failCommands": list(commands), "appName": "enricher", **how}
        before = await admin.command("configureFailPoint", "failCommand", mode=mode, data=data)
        met = {"timesEntered": before["count"] + 1, "maxTimeMS": _LONGEST_WAIT_MS}
        try:
            yield lambda: admin.command("waitForFailPoint", "failCommand", **met)
        finally:
            await admin.command("configureFailPoint", "failCommand", mode="off")


@asynccontextmanager
async def no_fail_point(uri: str) -> AsyncIterator[None]:
    """No command fails at first, nor afterwards: a test that ran out of time leaves its fail point on, and the
    server is that of the next ones, too. By clients of its own: a test may have lost or closed any other."""
    await _fail_nothing(uri)
    try:
        yield
    finally:
        await _fail_nothing(uri)


async def _fail_nothing(uri: str) -> None:
    async with AsyncMongoClient[Document](uri) as client:
        await client.admin.command("configureFailPoint", "failCommand", mode="off")
