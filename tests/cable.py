"""A connection to MongoDB that a test can cut, freeze and mend, as a network does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeAlias

from pymongo import AsyncMongoClient
from pymongo.asynchronous.uri_parser import parse_uri
from pymongo.errors import PyMongoError

from enricher.lead import Document
from tests.waiting import eventually

Client: TypeAlias = AsyncMongoClient[Document]

_CHUNK = 65_536


@dataclass
class Cable:
    """Forwards to one server; a client connects to `uri`."""

    host: str
    port: int
    uri: str = ""
    own_port: int = 0
    _flowing: asyncio.Event = field(default_factory=asyncio.Event)
    _is_cut: bool = False
    _ends: set[asyncio.StreamWriter] = field(default_factory=set)

    def cut(self) -> None:
        """Every connection breaks, and no new one comes about."""
        self._is_cut = True
        for end in self._ends:
            end.transport.abort()

    def freeze(self) -> None:
        """Connections stay, and nothing gets through any more."""
        self._flowing.clear()

    def mend(self) -> None:
        self._is_cut = False
        self._flowing.set()

    async def connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._is_cut:
            writer.transport.abort()
            return
        there, back = await asyncio.open_connection(self.host, self.port)
        self._ends |= {writer, back}
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._forward(reader, back))
                group.create_task(self._forward(there, writer))
        finally:
            self._ends -= {writer, back}

    async def _forward(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        try:
            while chunk := await source.read(_CHUNK):
                await self._flowing.wait()
                target.write(chunk)
                await target.drain()
        except ConnectionError:
            pass
        finally:
            target.close()


@asynccontextmanager
async def cable_to(uri: str) -> AsyncIterator[Cable]:
    """A cable to the first server that `uri` names."""
    host, port = (await parse_uri(uri))["nodelist"][0]
    async with cable_between(host, port or 27017) as cable:
        yield cable


@asynccontextmanager
async def cable_between(host: str, port: int) -> AsyncIterator[Cable]:
    """A cable to a server of any kind; it is plugged in at `own_port`."""
    cable = Cable(host, port)
    cable.mend()
    server = await asyncio.start_server(cable.connect, "127.0.0.1")
    cable.own_port = server.sockets[0].getsockname()[1]
    cable.uri = f"mongodb://127.0.0.1:{cable.own_port}/?directConnection=true"
    async with server:
        try:
            yield cable
        finally:
            cable.mend()
            cable.cut()


@asynccontextmanager
async def client_over(cable: Cable, patience_seconds: float) -> AsyncIterator[Client]:
    """A client that waits no longer than this for anything."""
    milliseconds = int(1000 * patience_seconds)
    client: Client = AsyncMongoClient(
        cable.uri,
        serverSelectionTimeoutMS=milliseconds,
        timeoutMS=milliseconds,
        serverMonitoringMode="poll",
        tz_aware=True,
    )
    async with client:
        try:
            yield client
        finally:
            # The driver's monitor, if it is stopped while it connects, leaves its socket open.
            cable.mend()
            await eventually(lambda: _answers(client))


async def _answers(client: Client) -> bool:
    try:
        await client.admin.command("ping")
    except PyMongoError:
        return False
    return True
