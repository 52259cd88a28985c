"""A server that is all web sites at once, and any hostile one: it answers by the name in the request.

It listens on 127.0.0.1. A canary listens at the same port of 127.0.0.2, which stands for what nobody may reach:
the network given to the code under test allows the first address and no other.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace

from enricher.providers.website.fetch import Network, NoSuchName
from tests.support.sites import Prepared, Served
from tests.support.waiting import eventually

HERE, FORBIDDEN = "127.0.0.1", "127.0.0.2"
Hostile = Callable[[asyncio.StreamWriter], Awaitable[None]]
"""Writes whatever it likes after a request."""


@dataclass(slots=True)
class Asked:
    """One request as it came."""

    host: str
    path: str
    headers: Mapping[str, str]


@dataclass(slots=True)
class SiteServer:
    """What is served, and what was asked."""

    port: int = 0
    served: dict[tuple[str, str], Served | Hostile] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    names: dict[str, Sequence[str]] = field(default_factory=dict)
    """Name -> its addresses; every other name leads here."""
    looked_up: Counter[str] = field(default_factory=Counter)
    connections: int = 0
    most_connections: int = 0
    """Connections at a time, over the whole life."""
    tls_port: int = 0
    """Where the same sites are served over TLS, if at all."""
    trespassers: int = 0
    """Connections to the address that nobody may reach."""

    def serve(self, site: Prepared) -> None:
        for path, served in site.paths.items():
            self.served[site.domain, path] = served

    def page(self, url: str, answer: Served | Hostile) -> None:
        host, _, path = url.partition("/")
        self.served[host, f"/{path}"] = answer

    def hosts(self) -> set[str]:
        """The sites that were asked for anything, whether with `www.` or without."""
        return {each.host.removeprefix("www.") for each in self.asked}

    def paths(self, host: str) -> list[str]:
        return [each.path for each in self.asked if each.host == host]

    @property
    def network(self) -> Network:
        return Network(self._resolve, lambda address: address == HERE, {80: self.port})

    async def _resolve(self, host: str) -> Sequence[str]:
        self.looked_up[host] += 1
        found = self.names.get(host, [HERE])
        if not found:
            raise NoSuchName("the domain has no address")
        return found

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.most_connections = max(self.most_connections, self.connections)
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                await self._answer(reader, writer)
        finally:
            self.connections -= 1
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.rstrip("\r\n").split("\r\n")
        headers = {
            name.lower(): value for name, _, value in (line.partition(": ") for line in lines)
        }
        path, host = first.split(" ")[1], headers["host"]
        self.asked.append(Asked(host, path, headers))
        served = self.served.get(
            (host, path), Served(b"not found", 404, {"Content-Type": "text/plain"})
        )
        if not isinstance(served, Served):
            await served(writer)
            return
        told = {"Content-Length": str(len(served.body)), **served.headers}
        writer.write(f"HTTP/1.1 {served.status} x\r\n".encode())
        writer.write(
            "".join(f"{name}: {value}\r\n" for name, value in told.items()).encode("latin-1")
            + b"\r\n"
        )
        writer.write(served.body)
        await writer.drain()

    async def trespass(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.trespassers += 1
        writer.close()

    def over_tls(self, trusted: ssl.SSLContext) -> Network:
        """The network with both ports; certificates are judged by `trusted`."""
        return replace(self.network, ports={80: self.port, 443: self.tls_port}, tls=trusted)


@asynccontextmanager
async def site_server(certificates: ssl.SSLContext | None = None) -> AsyncIterator[SiteServer]:
    """Serve, and watch the forbidden address, until the end of the context. No client may leave a connection open."""
    sites = SiteServer()
    secure = await asyncio.start_server(sites.answer, HERE, 0, ssl=certificates)
    sites.tls_port = secure.sockets[0].getsockname()[1]
    server = await asyncio.start_server(sites.answer, HERE, 0, limit=1 << 20)
    sites.port = server.sockets[0].getsockname()[1]
    canary = await asyncio.start_server(sites.trespass, FORBIDDEN, sites.port)
    try:
        yield sites
    finally:
        server.close()
        secure.close()
        canary.close()
        await eventually(lambda: sites.connections == 0)


# What hostile servers write


def endless(first: bytes, more: bytes) -> Hostile:
    """Write `first`, and then `more` again and again until nobody reads any longer."""

    async def write(writer: asyncio.StreamWriter) -> None:
        writer.write(first)
        while True:
            writer.write(more * max(1, 65_536 // len(more)))
            await writer.drain()

    return write


def slowly(first: bytes, more: bytes, seconds: float) -> Hostile:
    """Write `first`, and then one piece at a time until nobody reads any longer."""

    async def write(writer: asyncio.StreamWriter) -> None:
        writer.write(first)
        while True:
            await asyncio.sleep(seconds)
            writer.write(more)
            await writer.drain()

    return write


def once(raw: bytes) -> Hostile:
    """Write these bytes and hang up."""

    async def write(writer: asyncio.StreamWriter) -> None:
        writer.write(raw)
        await writer.drain()

    return write
