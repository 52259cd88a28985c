"""Requests to sites that anybody may have made, over connections that lead nowhere but to public addresses.

* A name is looked up once for a whole visit. Every address that it has must be public, or none is used, and the
  connection is made to those very addresses: a second look-up could have another answer (DNS rebinding).
* The last gate is where the socket is made (`_socket`): aiohttp asks no resolver about an IP address.
* Redirects are returned, not followed: the caller judges each as a new request.
* Proxies of the environment, cookies and credentials are not used. A proxy would look the name up itself.
* A body is unpacked and read up to a limit, then the connection is closed. A page may have more: its head, which
  says most, comes first.
* What surrounds a body, and answers that never begin, are bounded as for vendors (`transport.bound`).
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from enricher.process import shortage
from enricher.providers import transport
from enricher.providers.website.addresses import is_public

if TYPE_CHECKING:
    from dns.asyncresolver import Resolver

MOST_OF_A_PAGE = 1024 * 1024
"""Bytes of a body, packed as well as unpacked. Sites' root pages have a tenth of that."""
CONNECT_SECONDS = 4.0
REQUEST_SECONDS = 6.0
"""Limit for an answer to begin, the connection included."""
BODY_SECONDS = 5.0
"""Limit for a body; what has arrived by then counts."""
DNS_SECONDS = 3.0
_GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS

Resolve = Callable[[str], Awaitable[Sequence[str]]]
"""Takes a host name; returns its addresses. Raises NoSuchName or NoAnswerFromDns."""


class Unreachable(Exception):
    """No request was sent. The text says why, as a short phrase."""


class NoSuchName(Unreachable):
    """The name has no address."""


class NoAnswerFromDns(Unreachable):
    """The name servers do not answer for now: it says nothing about the site."""


class NotPublic(Unreachable):
    """The name leads to an address that is not to be connected to."""


class OutOfResources(Unreachable):
    """This process, or this machine's network, cannot make connections now."""


class NoResponse(Exception):
    """A request was sent, and no answer could be had. The text says why, as a short phrase."""


@dataclass(frozen=True, slots=True)
class Network:
    """The way to sites. The defaults are the internet."""

    resolve: Resolve
    is_allowed: Callable[[str], bool] = is_public
    """Tells of an address whether it may be connected to."""
    ports: Mapping[int, int] = field(default_factory=lambda: {80: 80, 443: 443})
    """Port of a URL -> port that is connected to. A port that is missing is not tried."""
    tls: ssl.SSLContext | None = None


@dataclass(frozen=True, slots=True, repr=False)
class Response:
    """An answer; header names are in lower case. `body` is empty when it was not to be read."""

    url: URL
    status: int
    headers: Mapping[str, str]
    body: bytes = b""

    @property
    def location(self) -> str | None:
        """Where a redirect leads, as the server wrote it."""
        return self.headers.get("location") if self.status in (301, 302, 303, 307, 308) else None


class _Pinned(AbstractResolver):
    """Gives out the addresses that were found and judged, and looks nothing up."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self.addresses: dict[str, Sequence[str]] = {}

    async def resolve(
        self,
        host: str,
        port: int = 0,
        family: socket.AddressFamily = socket.AF_INET,  # noqa: ARG002 - of either
    ) -> list[ResolveResult]:
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=self._network.ports[port],
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for address in self.addresses.get(host, ())
        ]

    async def close(self) -> None:
        """There is nothing to close."""


class Browser:
    """Sends one visit's requests."""

    def __init__(self, session: aiohttp.ClientSession, network: Network, pinned: _Pinned) -> None:
        self._session = session
        self._network = network
        self._pinned = pinned

    def knows(self, host: str) -> bool:
        """Tell whether the host has addresses that may be connected to."""
        return host in self._pinned.addresses

    async def get(
        self,
        url: URL,
        is_wanted: Callable[[int, Mapping[str, str]], bool],
        most: int = MOST_OF_A_PAGE,
    ) -> Response:
        """Send one request. `is_wanted` tells by status and headers whether to read the body.

        Raises Unreachable when nothing was sent, NoResponse when no answer came of it.
        """
        if url.port not in self._network.ports:
            raise Unreachable("the site has no such port")
        if shortage.are_descriptors_short():
            raise OutOfResources("this process may open no more connections")
        await self._look_up(url.host or "")
        try:
            return await self._exchange(url, is_wanted, most)
        except (aiohttp.ClientError, OSError, ValueError) as error:  # a time-out is an OSError
            raise _trouble(error) from None

    async def _look_up(self, host: str) -> None:
        """Find the addresses of a host, once for the visit. One that is not public spoils all of them."""
        if host in self._pinned.addresses:
            return
        addresses = await self._network.resolve(host)
        if not addresses:
            raise NoSuchName("the domain has no address")
        if not all(map(self._network.is_allowed, addresses)):
            raise NotPublic("the domain leads to an address that is not public")
        self._pinned.addresses[host] = tuple(addresses)

    async def _exchange(
        self, url: URL, is_wanted: Callable[[int, Mapping[str, str]], bool], most: int
    ) -> Response:
        async with AsyncExitStack() as stack:
            async with shortage.timeout(REQUEST_SECONDS):
                asking = self._session.get(url, allow_redirects=False)
                response = await stack.enter_async_context(asking)
            headers = {name.lower(): value for name, value in response.headers.items()}
            is_read = is_wanted(response.status, headers)
            body = await _read(response, headers, most) if is_read else b""
            response.close()  # any amount of it may still be to come
            return Response(url, response.status, headers, body)


async def _read(response: aiohttp.ClientResponse, headers: Mapping[str, str], most: int) -> bytes:
    """Read and unpack up to `most` bytes. What was read before the connection broke, or its time ran out, counts."""
    coding = headers.get("content-encoding", "identity").strip().lower()
    if coding not in ("", "identity", "gzip", "x-gzip", "deflate"):
        return b""
    unpack = _Unpacking(most) if coding not in ("", "identity") else None
    body = bytearray()
    try:
        async with shortage.timeout(BODY_SECONDS):
            while len(body) < most and (chunk := await response.content.readany()):
                body += unpack.more(chunk) if unpack else chunk
                if unpack and unpack.is_over:
                    break
    except (aiohttp.ClientError, TimeoutError, ConnectionError, zlib.error):
        pass
    return bytes(body[:most])


class _Unpacking:
    """Unpacks as it arrives, up to a limit on both sides: a bomb is never unpacked further."""

    def __init__(self, most: int) -> None:
        self._left, self._arrived, self._most = most, 0, most
        self._unpacker = zlib.decompressobj(_GZIP_OR_ZLIB)
        self._is_first = True

    @property
    def is_over(self) -> bool:
        return self._left <= 0 or self._arrived > self._most or self._unpacker.eof

    def more(self, chunk: bytes) -> bytes:
        self._arrived += len(chunk)
        try:
            found = self._unpacker.decompress(chunk, self._left)
        except zlib.error:
            if not self._is_first:
                raise
            self._unpacker = zlib.decompressobj(-zlib.MAX_WBITS)  # deflate without its wrapper
            found = self._unpacker.decompress(chunk, self._left)
        self._is_first = False
        self._left -= len(found)
        return found


def _trouble(error: BaseException) -> Unreachable | NoResponse:
    """Say what came of a request in words. The errors' own texts hold addresses."""
    if transport.is_our_own(error):
        shortage.note_shortage()
        return OutOfResources("this process may open no more connections")
    if transport.is_unroutable(error):
        return OutOfResources("this machine has no way there")
    reason = "timed out" if isinstance(error, TimeoutError) else transport.failure(error)
    return NoResponse(reason) if transport.was_sent(error) else Unreachable(reason)


@asynccontextmanager
async def open_browser(network: Network, user_agent: str) -> AsyncIterator[Browser]:
    """Open a browser for one visit: no connection, address or cookie outlives it."""
    pinned = _Pinned(network)

    def _socket(address: Any) -> socket.socket:
        """Make the socket of a connection, unless it would lead to an address that is not allowed."""
        family, kind, proto, _, target = address
        if not network.is_allowed(target[0]):
            raise ConnectionRefusedError("the address is not public")
        return socket.socket(family, kind, proto)

    connector = aiohttp.TCPConnector(
        limit_per_host=1,
        force_close=True,
        use_dns_cache=False,
        resolver=pinned,
        socket_factory=_socket,
        ssl=network.tls or True,
    )
    session = aiohttp.ClientSession(
        connector=transport.bound(connector),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={
            "User-Agent": user_agent,
            "Accept": "text/html,application/xhtml+xml;q=0.9,text/plain;q=0.8,*/*;q=0.1",
            "Accept-Encoding": "gzip",
        },
        timeout=aiohttp.ClientTimeout(connect=CONNECT_SECONDS),
        auto_decompress=False,
        trust_env=False,
        max_line_size=8190,
    )
    session._retry_connection = False  # noqa: SLF001 - or a request may be sent twice; see `transport.py`
    async with session:
        yield Browser(session, network, pinned)


# The ways to sites: the internet, and this machine


def internet(resolver: Resolver | None = None) -> Network:
    """The internet, by the machine's name servers. The search list of `resolv.conf` and `/etc/hosts` do not count."""
    from enricher.providers.mail_dns import machines_resolver  # noqa: PLC0415 - costs a start 100 ms

    asked_of = resolver or machines_resolver(DNS_SECONDS)

    async def resolve(host: str) -> Sequence[str]:
        asked = (_records(asked_of, host, kind) for kind in ("A", "AAAA"))
        found = await asyncio.gather(*asked, return_exceptions=True)
        addresses = [address for each in found if isinstance(each, list) for address in each]
        failed = [each for each in found if isinstance(each, BaseException)]
        if failed and not addresses:
            raise failed[0]
        return addresses

    return Network(resolve, tls=transport.trusted())


async def _records(resolver: Resolver, host: str, kind: str) -> list[str]:
    import dns.exception  # noqa: PLC0415 - as above
    import dns.resolver  # noqa: PLC0415 - as above

    try:
        answer = await resolver.resolve(f"{host}.", kind, search=False)
    except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
        return []
    except (dns.exception.DNSException, OSError, ValueError):
        raise NoAnswerFromDns("the name servers do not answer") from None
    return [record.address for record in answer]


def loopback(port: int) -> Network:
    """For development: every name leads to this port of this machine, and nothing leads anywhere else."""

    async def resolve(host: str) -> Sequence[str]:  # noqa: ARG001 - whatever it is called
        return ["127.0.0.1"]

    return Network(resolve, lambda address: address == "127.0.0.1", {80: port})
