"""A connection to MongoDB that a test can cut, freeze, slow down and mend, as a network does."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeAlias, TypeVar

from pymongo import AsyncMongoClient
from pymongo.asynchronous.uri_parser import parse_uri
from pymongo.errors import PyMongoError

from enricher.lead import Document
from tests.support.waiting import eventually

Client: TypeAlias = AsyncMongoClient[Document]
UnderWay: TypeAlias = asyncio.Queue[tuple[float, bytes]]
MayPass: TypeAlias = Callable[[bytes], Awaitable[None]]

_CHUNK = 65_536
_END = b""


@dataclass
class Cable:
    """Forwards to one server; a client connects to `uri`."""

    host: str
    port: int
    uri: str = ""
    own_port: int = 0
    held: int = 0
    """Requests that are held back."""
    _flowing: asyncio.Event = field(default_factory=asyncio.Event)
    _not_holding: asyncio.Event = field(default_factory=asyncio.Event)
    _words: bytes = b""
    _lost_words: bytes = b""
    _delay_seconds: float = 0.0
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

    def hold(self, words: bytes) -> None:
        """Requests with these words hang, and their connections with them; all others get through."""
        self._words = words
        self._not_holding.clear()

    def lose_an_answer(self, words: bytes) -> None:
        """The next one with these words does not arrive, and its connection breaks."""
        self._lost_words = words

    def delay(self, seconds: float) -> None:
        """Whatever is sent arrives so much later, each way; no less gets through."""
        self._delay_seconds = seconds

    def mend(self) -> None:
        """What hung arrives late."""
        self._is_cut = False
        self._words, self._delay_seconds = b"", 0.0
        self._not_holding.set()
        self._flowing.set()

    @property
    def is_idle(self) -> bool:
        """Nobody is connected."""
        return not self._ends

    async def connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._is_cut:
            writer.transport.abort()
            return
        self._ends.add(writer)
        try:
            there, back = await asyncio.open_connection(self.host, self.port)
        except ConnectionError:  # nobody is there
            self._ends.discard(writer)
            writer.transport.abort()
            return
        if writer.is_closing():  # cut in the meantime
            back.transport.abort()
        self._ends.add(back)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._forward(reader, back, self._requests()))
                group.create_task(self._forward(there, writer, self._answer_may_pass))
        finally:
            self._ends -= {writer, back}

    async def _forward(
        self, source: asyncio.StreamReader, target: asyncio.StreamWriter, may_pass: MayPass
    ) -> None:
        under_way: UnderWay = asyncio.Queue()
        arriving = asyncio.create_task(_take_in(source, under_way))
        try:
            while chunk := await self._next(under_way):
                await may_pass(chunk)
                target.write(chunk)
                await target.drain()
        except ConnectionError:
            pass
        finally:
            arriving.cancel()
            target.close()

    async def _next(self, under_way: UnderWay) -> bytes:
        sent_at, chunk = await under_way.get()
        await asyncio.sleep(max(0.0, sent_at + self._delay_seconds - time.monotonic()))
        return chunk

    def _requests(self) -> MayPass:
        """What the requests of one connection have to pass."""
        return self._request_may_pass

    async def _request_may_pass(self, chunk: bytes) -> None:
        await self._flowing.wait()
        if self._words and self._words in chunk:
            self.held += 1
            await self._not_holding.wait()
            self.held -= 1

    async def _answer_may_pass(self, chunk: bytes) -> None:
        await self._flowing.wait()
        if self._lost_words and self._lost_words in chunk:
            self._lost_words = b""
            raise ConnectionResetError


async def _take_in(source: asyncio.StreamReader, under_way: UnderWay) -> None:
    """Each chunk with the moment it was sent: those that follow one another are delayed together."""
    try:
        while chunk := await source.read(_CHUNK):
            under_way.put_nowait((time.monotonic(), chunk))
    except ConnectionError:
        pass
    finally:
        under_way.put_nowait((time.monotonic(), _END))


@asynccontextmanager
async def cable_to(uri: str) -> AsyncIterator[Cable]:
    """A cable to the first server that `uri` names."""
    host, port = (await parse_uri(uri))["nodelist"][0]
    async with cable_between(host, port or 27017) as cable:
        yield cable


@asynccontextmanager
async def cable_between(host: str, port: int) -> AsyncIterator[Cable]:
    """A cable to a server of any kind; it is plugged in at `own_port`."""
    async with serving(Cable(host, port)) as cable:
        yield cable


AnyCable = TypeVar("AnyCable", bound=Cable)


@asynccontextmanager
async def serving(cable: AnyCable) -> AsyncIterator[AnyCable]:
    """The cable, plugged in."""
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
            await eventually(lambda: cable.is_idle)


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
