"""The HTTP client that all providers share: aiohttp, with seven habits turned off.

* It resends an idempotent request at once, on its own, when a kept-alive connection turns out to be closed.
  Neither the limiter nor the budget would know of that second call, and the vendor may have done (and
  charged) the first one. There is no public switch, so the private one is set here; a test over real
  sockets checks that it still works.
* It keeps cookies, and would carry a vendor's from one lead's question to the next.
* It follows redirects to any host, with the key in a header of the vendor's own naming.
* It unpacks a body to any size; here the limit is `MAX_BODY_BYTES`.
* It reads any number of bodies at once, however much memory they take (`Room`).
* It reads without limit what surrounds a body (`BoundedResponses`).
* It queues calls above a number of connections: calls whose slot has come would leave later, all at once.
  Here the leads in work bound the connections.

The caller's time limit covers the whole try, and does not run while our own event loop is stalled. The limit
for connecting is a little shorter, so that we know when a vendor was never reached.

**Room** is a limit of the process, in bytes rather than a count, on the memory that vendors' answers take at
once. Each body has its own limit, but a worker has 64 leads and more, and each asks several vendors. So
reading a body longer than `SMALL` first waits until there is room for the longest it can still become. The
caller keeps that room until the answer is stored (`Share`). A call that has room needs no more to finish,
so calls cannot deadlock. While a call waits, its connection is not read and the rest of the body stays with
the vendor. The call's clock stands still meanwhile, because the delay is not the vendor's.
"""

from __future__ import annotations

import asyncio
import errno
import json
import os
import re
import socket
import ssl
import zlib
from collections import deque
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    asynccontextmanager,
    nullcontext,
)
from contextvars import ContextVar, Token
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from functools import cache, lru_cache, partial
from typing import Any, NoReturn, Protocol, Self

import aiohttp
import certifi
from aiohttp.client_proto import ResponseHandler
from yarl import URL

from enricher.answer import Reply
from enricher.errors import SettingsError
from enricher.process import shortage

# The memory that vendors' answers take at once.

BYTES = 64 * 1024 * 1024
SMALL = 32 * 1024
"""Bytes of body that never wait. Vendors usually send a tenth of that."""
_COPIES = 4
"""Copies of a body held at once: as it arrived, unpacked, compressed, and in the command that keeps it."""


@dataclass(slots=True)
class Room:
    """The free bytes, given out first come, first served, so that a large answer gets its turn."""

    free: int = BYTES
    _waiting: deque[tuple[int, asyncio.Future[None]]] = field(default_factory=deque)

    async def take(self, size: int) -> None:
        """Wait until `size` bytes are free, and take them."""
        if not self._waiting and size <= self.free:
            self.free -= size
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append((size, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.give_back(size)
            raise

    def give_back(self, size: int) -> None:
        """Free `size` bytes and serve the callers that wait."""
        self.free += size
        while self._waiting:
            wanted, turn = self._waiting[0]
            if not turn.done() and wanted > self.free:
                return
            self._waiting.popleft()
            if not turn.done():
                self.free -= wanted
                turn.set_result(None)


@dataclass(slots=True)
class Share:
    """The room that one answer takes: all that is read within this context keeps its room until the context ends."""

    room: Room
    size: int = 0
    _token: Token[Share | None] = field(init=False)

    def __enter__(self) -> Self:
        self._token = _share.set(self)
        return self

    def __exit__(self, *_: object) -> None:
        """Give everything back: the answer is stored, or no longer wanted."""
        _share.reset(self._token)
        self.room.give_back(self.size)
        self.size = 0

    @property
    def may_grow(self) -> bool:
        """Whether no room was taken yet."""
        return not self.size

    async def take(self, body: int) -> None:
        """Take room for a body of up to `body` bytes."""
        size = _COPIES * body
        await self.room.take(size)
        self.size += size

    def shrink(self, body: int) -> None:
        """Give back what a body of `body` bytes does not need."""
        spare = max(0, self.size - _COPIES * body)
        self.size -= spare
        self.room.give_back(spare)


_share: ContextVar[Share | None] = ContextVar("share", default=None)


def share_of(room: Room) -> AbstractContextManager[Share]:
    """Return the caller's share, or a new one that ends with the context."""
    share = _share.get()
    return Share(room) if share is None else nullcontext(share)


ROOM = Room()
"""The room of this process."""


# A connection whose answers end, whatever the server does.
#
# aiohttp bounds a line and a header, but not how many interim answers (`103 Early Hints`) precede the real
# one, nor what surrounds a body: chunk sizes and extensions, trailers. A server that sends them without
# end, at the speed of the network, would keep the event loop busy with nothing else and fill the memory
# before the call's time is up. So the bytes of each answer are counted as they arrive, before they are parsed.

MOST_OF_HEAD = 64 * 1024
"""Limit for everything before the body, interim answers included; vendors send one or two thousand bytes."""
MOST_OF_FRAMES = 64 * 1024
"""Limit for what surrounds the body: chunk sizes and extensions, trailers. It allows thirteen thousand chunks
of one byte each, the kind that costs the most to read."""
_SLICE = 16 * 1024
"""Bytes between two counts: one read may deliver far more."""
MOST_OF_ALL = 3 * 1024 * 1024
"""Limit for a whole answer on the wire; less of it is read as the body."""
_INTERIM_BELOW, _SWITCHING = 200, 101


class Endless(aiohttp.ClientPayloadError):
    """The answer had not begun, or not ended, after more bytes than any real answer has."""


class BoundedResponses(ResponseHandler):
    """aiohttp's parser for one connection, within limits on the bytes of each answer."""

    def __init__(self, loop: Any) -> None:
        super().__init__(loop)
        self._received = 0
        self._has_head = False

    def set_response_params(self, **how: Any) -> None:
        """Reset the counts: a request is about to be sent on this connection."""
        self._received, self._has_head = 0, False
        super().set_response_params(**how)

    def feed_data(self, data: Any, size: int = 0) -> None:
        """Note that the head of an answer is complete, unless it is an interim one."""
        code = data[0].code
        self._has_head = self._has_head or code >= _INTERIM_BELOW or code == _SWITCHING
        super().feed_data(data, size)

    def data_received(self, data: bytes) -> None:
        """Feed the parser in parts, up to the limits: one read may hold a thousand interim answers."""
        if not data:  # reading resumes after a pause: the parser has kept what came before it
            super().data_received(data)
            return
        if not self._has_head:
            room = MOST_OF_HEAD - self._received
            head, data = data[:room], data[room:]
            self._received += len(head)
            super().data_received(head)
            if not data:
                return
        for start in range(0, len(data), _SLICE):
            if not self._has_head or self._is_too_much():
                self._end()
                return
            part = data[start : start + _SLICE]
            self._received += len(part)
            super().data_received(part)

    def _is_too_much(self) -> bool:
        around = self._received - getattr(self._payload, "total_bytes", 0)
        return self._received > MOST_OF_ALL or around > MOST_OF_HEAD + MOST_OF_FRAMES

    def _end(self) -> None:
        self.set_exception(Endless())
        if self.transport is not None:
            self.transport.abort()


def bound(connector: aiohttp.TCPConnector) -> aiohttp.TCPConnector:
    """Have the connector use `BoundedResponses`. There is no public switch; a test over real sockets checks it."""
    protocol = partial(BoundedResponses, loop=connector._loop)  # noqa: SLF001 - see above
    connector._factory = protocol  # type: ignore[assignment]  # noqa: SLF001 - see above
    return connector


# How long a vendor asks us to wait, from its headers.
#
# Vendors encode it in five ways: seconds, an HTTP date, epoch seconds, an ISO time, and nothing at all;
# and each has been seen empty or garbled. Every function here returns seconds from `now`, or `None` when
# the header says nothing usable; a moment that is past, or now, says nothing about how long to wait.
# `now` is best read from the vendor's own clock (`answered_at`), so that a skewed clock on our side
# neither shortens nor stretches a delay.

LONGEST_DELAY_SECONDS = 86_400.0
"""Cap on any hint: a garbled one must not park a provider for a year."""

_REMAINING, _REMAINING_OF = "x-ratelimit-remaining", "x-ratelimit-remaining."
_PER_MINUTE, _MINUTE_SECONDS = "minute", 60.0
_WINDOW_SECONDS = {"second": 1.0, "minute": 60.0, "hour": 3600.0, "day": 86_400.0}
"""Used without a reset header: a window that was just used up ends after its own length at the latest.
A month is not waited out: the refusal that names it says until when."""
_EPOCH_FROM = 1e9
"""From this number on (2001 as epoch seconds, 31 years as a delay) a figure is a moment, not a delay."""
_EPOCH_MILLISECONDS_FROM = 1e12
_BETWEEN_VALUES = re.compile(r",(?!\s*[0-9]{1,2}[ -][A-Za-z])", re.ASCII)
_CLEAN_NUMBER = re.compile(r"[0-9]{1,15}(\.[0-9]{1,9})?", re.ASCII)


def answered_at(headers: Mapping[str, str]) -> datetime | None:
    """Return the moment of the reply by the vendor's clock (its `Date` header)."""
    return _http_date(headers.get("date", ""))


def retry_after(headers: Mapping[str, str], now: datetime | None) -> float | None:
    """Read `Retry-After`: seconds, an HTTP date (RFC 9110, 10.2.3) or, as some vendors have it, a moment."""
    return _longest(_after_one(value, now) for value in _values(headers.get("retry-after", "")))


def reset_after(
    headers: Mapping[str, str], now: datetime | None, name: str = "x-ratelimit-reset"
) -> float | None:
    """Return when a rate window opens again, from epoch or relative seconds or an ISO time.

    Clearbit's own hosts send epoch seconds; an old issue of its client shows 3300. Both are read.
    """
    return _longest(_after_one(value, now) for value in _values(headers.get(name, "")))


def _values(header: str) -> list[str]:
    """Split a header that came several times or holds a list. The comma within a date does not split."""
    return [each.partition(";")[0].strip() for each in _BETWEEN_VALUES.split(header)]


def _longest(delays: Iterator[float | None]) -> float | None:
    """Return the longest: a shorter one may come from an intermediary, and too long a wait is the lesser evil."""
    return max((delay for delay in delays if delay is not None), default=None)


def _after_one(value: str, now: datetime | None) -> float | None:
    if not _CLEAN_NUMBER.fullmatch(value):
        until_moment = seconds_until(value, now)
        return _until(_http_date(value), now) if until_moment is None else until_moment
    figure = float(value)
    if figure < _EPOCH_FROM:
        return _delay(figure)
    epoch = figure
    while epoch >= _EPOCH_MILLISECONDS_FROM:  # milliseconds, microseconds
        epoch /= 1000
    return None if now is None else _delay(epoch - now.timestamp())


def spent(
    headers: Mapping[str, str], now: datetime | None, left: Mapping[str, str] | None = None
) -> float | None:
    """Return how long nobody may call because this answer used the last call of a window.

    Answers of any kind tell, so we need not provoke the refusal that would come next. Other users of
    the key may make the vendor's count lower than ours. `left` maps headers of the vendor's own naming
    to windows.
    """
    return _until_open(_left(headers, left or {}), headers, now)


def read_rates(
    headers: Mapping[str, str], left: Mapping[str, str]
) -> tuple[float | None, dict[str, float]]:
    """Return what `spent` does, by the vendor's clock, and window -> calls left, for the windows that we know."""
    told = _left(headers, left)
    if not told:
        return None, {}
    named = {window: calls for window, calls in told.items() if window in _WINDOW_SECONDS}
    return _until_open(told, headers, answered_at(headers)), named


def _until_open(
    left: Mapping[str, float], headers: Mapping[str, str], now: datetime | None
) -> float | None:
    used_up = [window for window, calls in left.items() if calls <= 0]
    if not used_up:
        return None
    until_reset = reset_after(headers, now)
    return until_reset or max(_WINDOW_SECONDS.get(window, _MINUTE_SECONDS) for window in used_up)


def number(value: str) -> float | None:
    """Return the number, the smallest of several; `None` if there is no plain number."""
    return min(_number(value), default=None)


def _left(headers: Mapping[str, str], own_names: Mapping[str, str]) -> dict[str, float]:
    """Return window -> calls left, the lowest of several counts; values that say nothing (empty: no limit) are
    skipped.

    Vendors write one number, an object of windows, or a header for each; or headers of their own naming.
    """
    left: dict[str, float] = {}
    for name, value in headers.items():
        if name in own_names or name == _REMAINING or name.startswith(_REMAINING_OF):
            for window, calls in _counts(name, value, own_names):
                left[window] = min(calls, left.get(window, calls))
    return left


def _counts(name: str, value: str, own_names: Mapping[str, str]) -> list[tuple[str, float]]:
    """Return (window, calls left) from one header."""
    if name == _REMAINING and (windows := _of_object(value)):
        return windows
    window = _PER_MINUTE if name == _REMAINING else name.removeprefix(_REMAINING_OF)
    return [(own_names.get(name, window), calls) for calls in _number(value)]


def _of_object(value: str) -> list[tuple[str, float]]:
    """Read one object, or several when the header came several times."""
    if "{" not in value:
        return []
    try:
        objects = [each for each in json.loads(f"[{value}]") if isinstance(each, dict)]
    except (ValueError, RecursionError):
        return []
    named = (each for windows in objects for each in windows.items())
    return [(name, left) for name, each in named for left in _number(str(each))]


def _number(value: str) -> list[float]:
    return [float(each) for each in _values(value) if _CLEAN_NUMBER.fullmatch(each)]


def seconds_until(
    moment: str | None, now: datetime | None, longest: float = LONGEST_DELAY_SECONDS
) -> float | None:
    """Return the seconds until an ISO 8601 date or time; without a zone it is UTC."""
    try:
        parsed = datetime.fromisoformat(moment or "")
    except ValueError:
        return None
    return _until(parsed, now, longest)


@lru_cache(64)  # all answers of one second have the same date
def _http_date(value: str) -> datetime | None:
    try:
        return _in_utc(parsedate_to_datetime(value))
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def _in_utc(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _until(
    moment: datetime | None, now: datetime | None, longest: float = LONGEST_DELAY_SECONDS
) -> float | None:
    if moment is None or now is None:
        return None
    return _delay((_in_utc(moment) - _in_utc(now)).total_seconds(), longest)


def _delay(seconds: float, longest: float = LONGEST_DELAY_SECONDS) -> float | None:
    return min(seconds, longest) if seconds > 0 else None


MAX_BODY_BYTES = 2 * 1024 * 1024
"""No vendor documents answers above 1 MB (PDL caps at 1 MB); more is a fault, not data."""

_ZLIB = frozenset({"gzip", "x-gzip", "deflate"})
_MOST_LAYERS = 2
_GZIP_MAGIC = b"\x1f\x8b"
_GZIP_OR_ZLIB, _BARE = 32 + zlib.MAX_WBITS, -zlib.MAX_WBITS
"""Some send deflate without its zlib wrapper."""
_TOO_LARGE = "the body is too large"
_CUT_OFF = "the body was cut off"
_TIMED_OUT = "timed out"


class Session(Protocol):
    """The part of `aiohttp.ClientSession` that we use."""

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
    """Sends requests and reads replies."""

    def __init__(self, session: Session, room: Room = ROOM) -> None:
        self._session = session
        self._room = room

    async def fetch(
        self, method: str, url: URL, headers: Mapping[str, str], seconds: float = 10.0
    ) -> Reply:
        """Send a request; return the reply with at most MAX_BODY_BYTES, unpacked, within `seconds`. Once there
        is a status there is a reply, however its body ends: the vendor may have charged by then.

        Raises aiohttp.ClientError, OSError or ValueError (a time-out is an OSError) for a call that
        came to nothing; see `failure` and `was_sent`.
        """
        if shortage.are_descriptors_short():
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
                    response.close()  # any amount of it may still be to come
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
"""A client that reaches nobody."""


@cache  # as many entries as there are time limits
def _timeout(seconds: float) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(connect=0.9 * seconds)


@asynccontextmanager
async def open_client(user_agent: str = "enricher") -> AsyncIterator[Client]:
    """Open the shared client. Raises SettingsError when the environment names unreadable certificates."""
    session = aiohttp.ClientSession(
        connector=bound(aiohttp.TCPConnector(limit=0, ssl=trusted())),
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


def trusted() -> ssl.SSLContext:
    """Trust the operator's own authorities if the usual variables name them, else the well-known ones."""
    try:
        return _trusting(os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))
    except OSError as error:  # an SSLError is one
        why = error.strerror or type(error).__name__
        raise SettingsError([f"SSL_CERT_FILE or SSL_CERT_DIR cannot be used: {why}"]) from None


@cache  # to read a hundred certificates takes 30 ms, and several clients of a process trust them
def _trusting(file: str | None, directory: str | None) -> ssl.SSLContext:
    if file or not directory:
        return ssl.create_default_context(cafile=file or certifi.where())
    return ssl.create_default_context(capath=directory)


# -- a reply ---------------------------------------------------------------------------------


@dataclass(slots=True)
class _Body:
    """Reads a body, waiting for room where it is long."""

    response: aiohttp.ClientResponse
    clock: shortage.Clock
    share: Share

    async def read(self) -> tuple[bytes, str]:
        """Return the body, and why it is missing ("" if it is not)."""
        body = await self._as_it_comes()
        for coding in _codings(self.response.headers.getall("Content-Encoding", ())):
            if len(body) > MAX_BODY_BYTES:
                break
            body = await self._unpacked(body, coding)
        is_too_large = len(body) > MAX_BODY_BYTES
        self.share.shrink(len(body) if len(body) > SMALL and not is_too_large else 0)
        return (b"", _TOO_LARGE) if is_too_large else (bytes(body), "")

    async def _as_it_comes(self) -> bytes | bytearray:
        """Read the body as sent, up to slightly more than MAX_BODY_BYTES."""
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
        """Take room for the longest body, once; the call's clock stands still meanwhile."""
        if self.share.may_grow:
            with self.clock.standing_still():
                await self.share.take(MAX_BODY_BYTES)


def _codings(headers: Sequence[str]) -> list[str]:
    """Return the codings to undo, in this order. Other words (`utf-8`, `none`) are no compression that we know:
    such a body is passed on as it is, and its reader sees whether it is JSON."""
    words = [each.strip().lower() for each in ",".join(headers).split(",")]
    return [each for each in reversed(words) if each in _ZLIB][:_MOST_LAYERS]


def _unpacked(body: bytes | bytearray, coding: str, most: int) -> bytes:
    """Unpack to at most a byte more than `most`; return a body that is not packed after all as it is.

    A truncated body is returned too, for the reader to judge: it is paid for, and may lack only a checksum.
    """
    is_bare = coding == "deflate" and not body.startswith(_GZIP_MAGIC)
    for wrapping in (_GZIP_OR_ZLIB, _BARE) if is_bare else (_GZIP_OR_ZLIB,):
        try:
            return zlib.decompressobj(wrapping).decompress(body, most + 1)
        except zlib.error:
            continue
    return bytes(body)


def _headers_of(response: aiohttp.ClientResponse) -> dict[str, str]:
    """Return the headers, names in lower case; always with a readable `date`, so `interpret` needs no clock."""
    headers: dict[str, str] = {}
    for spelt, value in response.headers.items():
        name = spelt.lower()
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    if answered_at(headers) is None:
        headers["date"] = format_datetime(datetime.now(UTC), usegmt=True)
    return headers


# -- a failure -------------------------------------------------------------------------------


def failure(error: BaseException) -> str:
    """Say in words what happened to the connection. The errors' own texts hold addresses and URLs."""
    for kind, types in _KINDS.items():
        if any(isinstance(each, types) for each in _causes(error)):
            return f"the connection failed ({kind})"
    return "the connection failed"


def is_our_own(error: BaseException) -> bool:
    """Tell whether this process ran out of connections, so that nobody was reached."""
    return any(shortage.is_shortage(each) for each in _causes(error))


def is_unroutable(error: BaseException) -> bool:
    """Tell whether this machine has no network that leads there, so that nobody was reached."""
    return any(getattr(each, "errno", None) in _NO_NETWORK for each in _causes(error))


def is_corrected(error: BaseException) -> bool:
    """Tell whether the limit for the whole try expired. It does not run while our event loop stands still;
    aiohttp's own limits do."""
    return isinstance(error, TimeoutError) and not isinstance(error, aiohttp.ServerTimeoutError)


def was_sent(error: BaseException) -> bool:
    """Return False when no connection was made, so that the vendor cannot know of the call."""
    return not any(isinstance(each, _NEVER_SENT) for each in _causes(error))


_NO_NETWORK = frozenset({errno.ENETUNREACH, errno.ENETDOWN})
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
    """Yield the error and what led to it; where several addresses were tried, each one's error."""
    while error is not None:
        yield error
        if isinstance(error, BaseExceptionGroup):
            for each in error.exceptions:
                yield from _causes(each)
        error = error.__cause__ or error.__context__
