"""The HTTP client that all providers share: aiohttp, with seven habits turned off.

* It sends an idempotent request a second time, on its own and at once, when a kept-alive connection
  turns out to be closed. Neither the limiter nor the budget would know of that second call, and the
  vendor may have done (and charged) the first one. There is no public switch, so the private one is
  turned here; a test over real sockets sees to it that it still works.
* It keeps cookies, and would carry a vendor's from one lead's question to the next.
* It follows redirects, with a key in a header of the vendor's own naming to whatever host.
* It unpacks a body whatever its size becomes; here that ends at `MAX_BODY_BYTES`.
* It reads as many bodies at once as are there, whatever that comes to (`room.py`).
* It reads what stands around a body without an end (`bounded.py`).
* It queues what exceeds a number of connections: calls whose moment has come would leave later, all at
  once. The leads in work bound the connections.

The caller's time limit holds for the whole try, in time in which our own loop came round. That for a connection is a little shorter, so that a
vendor who was never reached is known not to have been.
"""

from __future__ import annotations

import errno
import os
import socket
import ssl
import zlib
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from functools import cache
from typing import NoReturn, Protocol

import aiohttp
import certifi
from yarl import URL

from enricher.answer import Reply
from enricher.errors import SettingsError
from enricher.process import descriptors, shortage
from enricher.providers import hints
from enricher.providers.bounded import Endless, bound
from enricher.providers.room import ROOM, SMALL, Room, Share, share_of

MAX_BODY_BYTES = 2 * 1024 * 1024
"""No vendor documents answers above 1 MB (PDL caps at 1 MB); more is a fault, not data."""

_ZLIB = frozenset({"gzip", "x-gzip", "deflate"})
_MOST_LAYERS = 2
_GZIP_MAGIC = b"\x1f\x8b"
_GZIP_OR_ZLIB, _BARE = 32 + zlib.MAX_WBITS, -zlib.MAX_WBITS
"""Some send deflate without its wrapping."""
_TOO_LARGE = "the body is too large"
_CUT_OFF = "the body was cut off"
_TIMED_OUT = "timed out"


class Session(Protocol):
    """What is used of `aiohttp.ClientSession`."""

    def request(
        self,
        method: str,
        url: URL,
        *,
        headers: Mapping[str, str],
        allow_redirects: bool,
        timeout: aiohttp.ClientTimeout,
    ) -> AbstractAsyncContextManager[aiohttp.ClientResponse]: ...


class Client:
    """Sends a request and reads the reply."""

    def __init__(self, session: Session, room: Room = ROOM) -> None:
        self._session = session
        self._room = room

    async def fetch(
        self, method: str, url: URL, headers: Mapping[str, str], seconds: float = 10.0
    ) -> Reply:
        """At most MAX_BODY_BYTES, unpacked, within so many `seconds`. Once there is a status there is
        a reply, however its body ends: what the vendor has done by then it may have charged.

        Raises aiohttp.ClientError, OSError or ValueError (a time-out is an OSError) for a call that
        came to nothing; see `failure` and `was_sent`.
        """
        if descriptors.are_short():
            raise OSError(errno.EMFILE, "only the reserve of file descriptors is left")
        asking = self._session.request(
            method, url, headers=headers, allow_redirects=False, timeout=_timeout(seconds)
        )
        replied: aiohttp.ClientResponse | None = None
        body, flaw = b"", _CUT_OFF
        try:
            async with shortage.timeout(seconds) as clock, asking as response:
                replied = response
                with share_of(self._room) as share:
                    body, flaw = await _Body(response, clock, share).read()
                if flaw:
                    response.close()  # there may be any amount of it still to come
        except TimeoutError:
            if replied is None:
                raise
            flaw = _TIMED_OUT
        except (aiohttp.ClientError, OSError):
            if replied is None:
                raise
        return Reply(replied.status, _headers_of(replied), body, flaw)


class _Nobody:
    def request(self, *_: object, **__: object) -> NoReturn:
        raise aiohttp.ClientConnectionError


NOBODY = Client(_Nobody())
"""Reaches nobody."""


@cache  # there are as many as time limits
def _timeout(seconds: float) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(connect=0.9 * seconds)


@asynccontextmanager
async def open_client(user_agent: str = "enricher") -> AsyncIterator[Client]:
    """Raises SettingsError when the environment names certificates that cannot be read."""
    session = aiohttp.ClientSession(
        connector=bound(aiohttp.TCPConnector(limit=0, ssl=_tls())),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={
            "User-Agent": user_agent,
            "Accept": "application/json",
            "Accept-Encoding": "gzip",
        },
        skip_auto_headers=["Content-Type"],  # no request has a body
        auto_decompress=False,
    )
    session._retry_connection = False  # noqa: SLF001 - see above
    async with session:
        yield Client(session)


def _tls() -> ssl.SSLContext:
    """The operator's own authorities where the usual variables name them, else the well-known ones."""
    file, directory = os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")
    try:
        if file or not directory:
            return ssl.create_default_context(cafile=file or certifi.where())
        return ssl.create_default_context(capath=directory)
    except OSError as error:  # an SSLError is one
        why = error.strerror or type(error).__name__
        raise SettingsError([f"SSL_CERT_FILE or SSL_CERT_DIR cannot be used: {why}"]) from None


# -- a reply ---------------------------------------------------------------------------------


@dataclass(slots=True)
class _Body:
    """Reads a body, as far as there is room for it."""

    response: aiohttp.ClientResponse
    clock: shortage.Clock
    share: Share

    async def read(self) -> tuple[bytes, str]:
        """The body, and why it could not be had."""
        body = await self._as_it_comes()
        for coding in _codings(self.response.headers.getall("Content-Encoding", ())):
            if len(body) > MAX_BODY_BYTES:
                break
            body = await self._unpacked(body, coding)
        is_too_large = len(body) > MAX_BODY_BYTES
        self.share.shrink(len(body) if len(body) > SMALL and not is_too_large else 0)
        return (b"", _TOO_LARGE) if is_too_large else (bytes(body), "")

    async def _as_it_comes(self) -> bytes | bytearray:
        """A little more than is allowed at most."""
        body = bytearray()
        while chunk := await self.response.content.readany():
            body += chunk
            if len(body) > MAX_BODY_BYTES:
                break
            if len(body) > SMALL:
                await self._make_room()
        return body

    async def _unpacked(self, body: bytes | bytearray, coding: str) -> bytes:
        unpacked = _unpacked(body, coding, SMALL)
        if len(unpacked) <= SMALL:
            return unpacked
        del unpacked
        await self._make_room()
        return _unpacked(body, coding, MAX_BODY_BYTES)

    async def _make_room(self) -> None:
        """For the longest body, once; the call's clock stands still."""
        if self.share.may_grow:
            with self.clock.standing_still():
                await self.share.take(MAX_BODY_BYTES)


def _codings(headers: Sequence[str]) -> list[str]:
    """What to undo, in this order. Other words (`utf-8`, `none`) are no compression that we know: such
    a body is handed on as it is, and whoever reads it sees whether it is JSON."""
    words = [each.strip().lower() for each in ",".join(headers).split(",")]
    return [each for each in reversed(words) if each in _ZLIB][:_MOST_LAYERS]


def _unpacked(body: bytes | bytearray, coding: str, most: int) -> bytes:
    """At most a byte more than `most`; what is not packed after all stays as it is.

    What was cut off is for the reader to judge: it is paid for, and perhaps only a checksum.
    """
    is_bare = coding == "deflate" and not body.startswith(_GZIP_MAGIC)
    for wrapping in (_GZIP_OR_ZLIB, _BARE) if is_bare else (_GZIP_OR_ZLIB,):
        try:
            return zlib.decompressobj(wrapping).decompress(body, most + 1)
        except zlib.error:
            continue
    return bytes(body)


def _headers_of(response: aiohttp.ClientResponse) -> dict[str, str]:
    """Names in lower case; always with a readable `date`, so that `interpret` needs no clock."""
    headers: dict[str, str] = {}
    for spelt, value in response.headers.items():
        name = spelt.lower()
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    if hints.answered_at(headers) is None:
        headers["date"] = format_datetime(datetime.now(UTC), usegmt=True)
    return headers


# -- a failure -------------------------------------------------------------------------------


def failure(error: BaseException) -> str:
    """In words, what became of a connection. The errors' own texts hold addresses and URLs."""
    for kind, types in _KINDS.items():
        if any(isinstance(each, types) for each in _causes(error)):
            return f"the connection failed ({kind})"
    return "the connection failed"


def is_our_own(error: BaseException) -> bool:
    """True when it is this process that can have no more connections: nobody was reached."""
    return any(descriptors.is_shortage(each) for each in _causes(error))


def is_corrected(error: BaseException) -> bool:
    """True for the end of the time for the whole try, which does not run while our loop stands still; the
    library's own limits do."""
    return isinstance(error, TimeoutError) and not isinstance(error, aiohttp.ServerTimeoutError)


def was_sent(error: BaseException) -> bool:
    """False when no connection came about, so that the vendor cannot know of the call."""
    return not any(isinstance(each, _NEVER_SENT) for each in _causes(error))


_NEVER_SENT = (
    aiohttp.ClientConnectorError,
    aiohttp.ConnectionTimeoutError,
    aiohttp.InvalidURL,
    ConnectionRefusedError,
    socket.gaierror,
)
_KINDS: dict[str, tuple[type[BaseException], ...]] = {
    "name not found": (socket.gaierror, aiohttp.ClientConnectorDNSError),
    "TLS": (ssl.SSLError, ssl.CertificateError, aiohttp.ClientSSLError),
    "refused": (ConnectionRefusedError,),
    "endless": (Endless,),
    "reset": (
        ConnectionResetError,
        ConnectionAbortedError,
        BrokenPipeError,
        aiohttp.ServerDisconnectedError,
        aiohttp.ClientPayloadError,
    ),
}


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error and what led to it; where several addresses were tried, each one's."""
    while error is not None:
        yield error
        if isinstance(error, BaseExceptionGroup):
            for each in error.exceptions:
                yield from _causes(each)
        error = error.__cause__ or error.__context__
