"""Providers that are asked over HTTP: one question, and the rules that hold at every vendor.

The class of such a provider says as code only two things: `request` (what to ask) and `interpret`
(what a reply means). `interpret` is pure, so a stored reply can be judged again and every status
code is a table test.

    class AcmeCompany(HttpProvider):
        name, vendor, kind = "acme_company", "acme", Kind.COMPANY
        host = "https://api.acme.com"
        windows = (Window(calls=60, seconds=60),)
        required = frozenset({"name"})

        def unfit(self, query): return None if query.company_domain else query.no_company_domain
        def request(self, query): return Request("/v1/company", {"domain": query.company_domain})
        def interpret(self, reply): ...

What it says about money is data as well: `charges` names the status codes that cost something. A
reply that is an answer is kept raw and judged again when it is needed; `question` is the text
that the same question always has, whoever asks it.

Whatever a vendor sends, `ask` answers with a value and never raises for it: a time-out, a reset,
a body too large or of the wrong kind are all `Unavailable`. A refusal keeps its meaning even when
its body cannot be read: a 429 with a broken body is still a 429.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from abc import abstractmethod
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import ClassVar, cast
from urllib.parse import quote, urlencode

import aiohttp
import httpx
from loguru import logger

from enricher import metrics
from enricher.answer import (
    Answer,
    Found,
    Held,
    NotFound,
    Preparing,
    Query,
    Reply,
    Throttled,
    Unavailable,
)
from enricher.providers import hints, reading
from enricher.providers.base import Access, Provider, Request, Tried, Window
from enricher.providers.shape import Sends, drift
from enricher.providers.transport import failure, was_sent

MAX_BODY_BYTES = 2 * 1024 * 1024
"""No vendor documents answers above 1 MB (PDL caps at 1 MB); more is a fault, not data."""

REFUSED_KEY = "the key is refused"
USED_UP = "the quota is used up"
REFUSED_QUESTION = "the vendor refused the question"
RATE_LIMITED = "the rate limit is reached; the key may be fine, check again in a minute"
"""Reasons that mean the same at every vendor read the same."""

_ENCODINGS = frozenset({"", "identity", "gzip", "x-gzip", "deflate"})
"""One layer of zlib at most: it cannot grow a chunk more than 1,032 times before the size is
checked. Layers upon layers, or brotli, could fill the memory with a single chunk."""

_OK = 200
_NOT_FOUND = 404
_MINUTE = 60
_HOUR = 3600.0
_UNREADABLE = Unavailable("the answer could not be read")


def _without_addresses(record: logging.LogRecord) -> bool:
    """httpx logs every URL at INFO, and ours hold the address that is asked about."""
    return record.levelno > logging.INFO


logging.getLogger("httpx").addFilter(_without_addresses)


class HttpProvider(Provider):
    """A provider asked by one HTTP request over the shared client."""

    host: ClassVar[str]
    charges: ClassVar[frozenset[int]] = frozenset({_OK})
    """Status codes that the vendor charges for."""
    sends: ClassVar[Sends] = {}
    """Keys that the vendor's records always have; see `shape.py`."""
    left: ClassVar[Mapping[str, str]] = {}
    """Headers of the vendor's own naming that count the calls left -> "minute", "hour" or "day"."""
    quota_header: ClassVar[str] = ""
    """Header that tells the credits left of the plan."""

    _drift_told_at = -math.inf

    def __init__(
        self, http: httpx.AsyncClient, access: Access, per_minute: int | None = None
    ) -> None:
        """`per_minute` replaces the calls of the one-minute window; see `_windows_for`."""
        self._http = http
        self._access = access
        if per_minute is not None:
            self.windows = _windows_for(self.windows, per_minute)

    @abstractmethod
    def request(self, query: Query) -> Request:
        """What to ask for this query."""

    @abstractmethod
    def interpret(self, reply: Reply) -> Answer:
        """PURE What this reply means, by the vendor's own code book."""

    def vetted(self, found: Found, reply: Reply, query: Query) -> Answer:  # noqa: ARG002 - for others
        """PURE What of it is about whom was asked. A vendor may answer for somebody else."""
        return found

    def headers(self) -> dict[str, str]:
        """Authentication, always in a header: a URL ends up in logs and error texts."""
        return {"Authorization": f"Bearer {self._access.key.get_secret_value()}"}

    def is_charged(self, reply: Reply) -> bool:
        """Whether the vendor takes money for this reply."""
        return reply.status in self.charges

    def question(self, query: Query) -> str | None:
        """The request, made for the mailbox rather than for one spelling of its address."""
        request = self.request(replace(query, email=query.email_key or query.email))
        return f"{request.path}?{urlencode(sorted(request.params.items()))}"

    async def ask(self, query: Query) -> Answer:
        return (await self.exchange(query)).answer

    async def exchange(self, query: Query) -> Tried:
        reply = await self._fetch(self.request(query))
        if isinstance(reply, Unavailable):
            return self._tried(reply)
        return self._tried(reply, self._judge(reply, query))

    def _compare(self, reply: Reply) -> None:
        """Count an answer whose record is not what the vendor documents; say so once an hour."""
        record = reading.parse_object(reply.body)
        if record is None or (found := drift(record, self.sends)) is None:
            return
        metrics.SCHEMA_DRIFT.labels(self.name).inc()
        if time.monotonic() - self._drift_told_at < _HOUR:
            return
        self._drift_told_at = time.monotonic()
        names = {"missing": ", ".join(found.missing), "wrong": ", ".join(found.wrong)}
        logger.bind(provider=self.name, **names).warning("provider.schema_drift")

    def recall(self, reply: Reply, query: Query) -> Answer | None:
        answer = self._judge(reply, query)
        # One that cannot be read is paid for all the same: a mended daemon will read it.
        return answer if isinstance(answer, Found | NotFound) or answer == _UNREADABLE else None

    def _tried(self, reply: Reply | Unavailable, answer: Answer | None = None) -> Tried:
        """What a reply is worth; `answer` when more than the reply itself was needed to tell."""
        if isinstance(reply, Unavailable):
            return Tried(reply, is_charged=None if reply.was_sent else False)
        answer = answer or self._judge(reply)
        if reply.status == _OK and self.sends:
            self._compare(reply)
        keep = isinstance(answer, Found | NotFound) or answer == _UNREADABLE
        pause = hints.spent(reply.headers, hints.answered_at(reply.headers), self.left)
        return Tried(
            answer,
            reply if keep else None,
            self.is_charged(reply),
            pause,
            hints.calls_left(reply.headers, self.left),
            hints.number(reply.headers.get(self.quota_header, "")),
        )

    def _judge(self, reply: Reply, query: Query | None = None) -> Answer:
        try:
            answer = self.interpret(reply)
            if isinstance(answer, Found) and query is not None:
                answer = self.vetted(answer, reply, query)
        except Exception as error:  # noqa: BLE001 - a vendor's surprise must not end a lead's run
            logger.bind(provider=self.name, error=type(error).__name__).error("provider.unreadable")
            return _UNREADABLE
        return answer

    async def _fetch(self, request: Request) -> Reply | Unavailable:
        try:
            async with asyncio.timeout(self._access.timeout):
                return await self._exchange(request)
        except (TimeoutError, httpx.TimeoutException) as error:
            reason = "timed out" if _is_timeout(error) else failure(error)
            return Unavailable(reason, was_sent(error))
        except (
            httpx.HTTPError,
            httpx.InvalidURL,
            aiohttp.ClientError,
            OSError,
            ValueError,
        ) as error:
            return Unavailable(failure(error), was_sent(error))

    async def _exchange(self, request: Request) -> Reply | Unavailable:
        """Send, and read at most MAX_BODY_BYTES of the decoded body.

        Redirects are never followed: httpx strips `Authorization` on the way to another host, but
        not a key in a header of the vendor's own naming.
        """
        response = await self._http.send(
            self._as_sent(request), stream=True, follow_redirects=False
        )
        async with aclosing(response):
            body = await _body_of(response)
        if isinstance(body, bytes):
            return Reply(response.status_code, _headers_of(response), body)
        return body if response.status_code == _OK else _bodiless(response)

    def _as_sent(self, request: Request) -> httpx.Request:
        """Whole as it is: the client's own way to build one parses the URL three times, which is a
        quarter of the CPU that a call costs."""
        url = self._access.base_url.rstrip("/") + request.path
        if request.params:
            url += "?" + urlencode(request.params, quote_via=quote)
        headers = {
            "User-Agent": self._http.headers.get("User-Agent", "enricher"),
            "Accept": "application/json",
            "Accept-Encoding": "gzip",
            **self.headers(),
        }
        seconds = self._access.timeout
        timeout = {"connect": seconds, "read": seconds, "write": seconds, "pool": seconds}
        return httpx.Request(request.method, url, headers=headers, extensions={"timeout": timeout})


def complaint(reply: Reply, answer: Answer) -> str:
    """What `enricher check` says of a reply that is no sign of a good key, and means this answer."""
    if reply.status == _NOT_FOUND:
        return "the address is wrong (404)"
    match answer:
        case Held(reason=reason):
            return reason
        case Throttled():
            return RATE_LIMITED
    return f"unexpected answer ({reply.status})"


def preparing(reply: Reply) -> Preparing:
    """A 202, with the delay the vendor asks for if it names one."""
    delay = hints.retry_after(reply.headers, hints.answered_at(reply.headers))
    return Preparing() if delay is None else Preparing(delay)


async def _body_of(response: httpx.Response) -> bytes | Unavailable:
    if response.headers.get("content-encoding", "").strip().lower() not in _ENCODINGS:
        return Unavailable("the body's encoding is unknown")
    body = bytearray()
    stream = cast("AsyncGenerator[bytes, None]", response.aiter_bytes())  # typed less than it is
    try:
        async with aclosing(stream) as chunks:
            async for chunk in chunks:
                body += chunk
                if len(body) > MAX_BODY_BYTES:
                    return Unavailable("the body is too large")
    except httpx.DecodingError:
        return Unavailable("the body is garbled")
    return bytes(body)


def _windows_for(windows: tuple[Window, ...], per_minute: int) -> tuple[Window, ...]:
    """A plan with more calls a minute has more a second too: other windows grow in proportion.

    They never shrink: a lower figure than the default is the operator's own restraint, and it holds
    also where the vendor counts no minutes.
    """
    if all(window.seconds != _MINUTE for window in windows):
        return (*windows, Window(per_minute, _MINUTE))
    default = next((window.calls for window in windows if window.seconds == _MINUTE), per_minute)
    return tuple(
        replace(window, calls=per_minute)
        if window.seconds == _MINUTE
        else replace(window, calls=max(window.calls, window.calls * per_minute // default))
        for window in windows
    )


def _bodiless(response: httpx.Response) -> Reply:
    return Reply(response.status_code, _headers_of(response))


def _headers_of(response: httpx.Response) -> dict[str, str]:
    """Names in lower case; always with a readable `date`, so that `interpret` needs no clock."""
    headers = {name.lower(): value for name, value in response.headers.items()}
    if hints.answered_at(headers) is None:
        headers["date"] = format_datetime(datetime.now(UTC), usegmt=True)
    return headers


def _is_timeout(error: Exception) -> bool:
    """The aiohttp transport reports every lost connection as a `ConnectTimeout`; its cause tells."""
    cause = error.__cause__
    return isinstance(cause, TimeoutError) or not isinstance(cause, aiohttp.ClientError)
