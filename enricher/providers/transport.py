"""The HTTP client that all providers share: aiohttp, with four habits turned off.

* It sends an idempotent request a second time, on its own and at once, when a kept-alive connection
  turns out to be closed. Neither the limiter nor the budget would know of that second call, and the
  vendor may have done (and charged) the first one. There is no public switch, so the private one is
  turned here; a test over real sockets sees to it that it still works.
* It keeps cookies, and would carry a vendor's from one lead's question to the next.
* It follows redirects, with a key in a header of the vendor's own naming to whatever host.
* It unpacks a body whatever its size becomes; here that ends at `MAX_BODY_BYTES`.

It has no time limit of its own either: the caller's holds for the whole try.
"""

from __future__ import annotations

import os
import socket
import ssl
import zlib
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Protocol

import aiohttp
import certifi
from yarl import URL

from enricher.answer import Reply, Unavailable
from enricher.providers import hints

MAX_BODY_BYTES = 2 * 1024 * 1024
"""No vendor documents answers above 1 MB (PDL caps at 1 MB); more is a fault, not data."""

_PLAIN = frozenset({"", "identity"})
_ZLIB = frozenset({"gzip", "x-gzip", "deflate"})
"""One layer at most: layers upon layers, or brotli, could fill the memory with a single chunk."""
_GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS
_TOO_LARGE = Unavailable("the body is too large")
_GARBLED = Unavailable("the body is garbled")
_UNKNOWN = Unavailable("the body's encoding is unknown")
_OK = 200


class Session(Protocol):
    """What is used of `aiohttp.ClientSession`."""

    def request(
        self, method: str, url: URL, *, headers: Mapping[str, str], allow_redirects: bool
    ) -> AbstractAsyncContextManager[aiohttp.ClientResponse]: ...


class Client:
    """Sends a request and reads the reply."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def fetch(self, method: str, url: URL, headers: Mapping[str, str]) -> Reply | Unavailable:
        """At most MAX_BODY_BYTES, unpacked. A refusal keeps its meaning when its body cannot be read.

        Raises aiohttp.ClientError, OSError or ValueError for a call that came to nothing; see
        `failure` and `was_sent`.
        """
        asking = self._session.request(method, url, headers=headers, allow_redirects=False)
        async with asking as response:
            body = await _body_of(response)
            if isinstance(body, Unavailable):
                response.close()  # there may be any amount of it still to come
        if isinstance(body, bytes):
            return Reply(response.status, _headers_of(response), body)
        return body if response.status == _OK else Reply(response.status, _headers_of(response))


@asynccontextmanager
async def open_client(
    connections: int = 100, user_agent: str = "enricher"
) -> AsyncIterator[Client]:
    """`connections` are those open at the same time; a request beyond them waits inside its time-out."""
    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=connections, ssl=_tls()),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={
            "User-Agent": user_agent,
            "Accept": "application/json",
            "Accept-Encoding": "gzip",
        },
        skip_auto_headers=["Content-Type"],  # no request has a body
        timeout=aiohttp.ClientTimeout(),
        auto_decompress=False,
    )
    session._retry_connection = False  # noqa: SLF001 - see above
    async with session:
        yield Client(session)


def _tls() -> ssl.SSLContext:
    """The operator's own authorities where the usual variables name them, else the well-known ones."""
    file, directory = os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")
    if file or directory:
        return ssl.create_default_context(cafile=file or None, capath=directory or None)
    return ssl.create_default_context(cafile=certifi.where())


# -- a reply ---------------------------------------------------------------------------------


async def _body_of(response: aiohttp.ClientResponse) -> bytes | Unavailable:
    encoding = response.headers.get("Content-Encoding", "").strip().lower()
    if encoding not in _PLAIN and encoding not in _ZLIB:
        return _UNKNOWN
    body = bytearray()
    while chunk := await response.content.readany():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            return _TOO_LARGE
    return bytes(body) if encoding in _PLAIN or not body else _unpacked(body)


def _unpacked(body: bytearray) -> bytes | Unavailable:
    unpacker = zlib.decompressobj(_GZIP_OR_ZLIB)
    try:
        unpacked = unpacker.decompress(body, MAX_BODY_BYTES + 1)
    except zlib.error:
        return _GARBLED
    if len(unpacked) > MAX_BODY_BYTES:
        return _TOO_LARGE
    return unpacked if unpacker.eof else _GARBLED


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
