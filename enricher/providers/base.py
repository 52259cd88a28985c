"""What every provider shares: one question over HTTP, and the rules that hold at every vendor.

A provider is one route of one vendor. Its class says, as data, which vendor, kind and windows it
has, and as code only two things: `request` (what to ask) and `interpret` (what a reply means).
`interpret` is pure, so a stored reply can be judged again and every status code is a table test.

    class AcmeCompany(HttpProvider):
        name, vendor, kind = "acme_company", "acme", Kind.COMPANY
        host = "https://api.acme.com"
        windows = (Window(calls=60, seconds=60),)
        required = frozenset({"name"})

        def unfit(self, query): return None if query.company_domain else "no company domain"
        def request(self, query): return Request("/v1/company", {"domain": query.company_domain})
        def interpret(self, reply): ...

Whatever a vendor sends, `ask` answers with a value and never raises for it: a time-out, a reset,
a body too large or of the wrong kind are all `Unavailable`.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import aiohttp
import httpx
from loguru import logger
from pydantic import SecretStr

from enricher.answer import Answer, Kind, Query, Reply, Unavailable

MAX_BODY_BYTES = 2 * 1024 * 1024
"""No vendor documents answers above 1 MB (PDL caps at 1 MB); more is a fault, not data."""


@dataclass(frozen=True, slots=True)
class Window:
    """At most `calls` calls in any `seconds` seconds, as the vendor documents its limit."""

    calls: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Request:
    """One GET: a path below the vendor's host, and query parameters. Keys never go here."""

    path: str
    params: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Access:
    """How we reach one vendor."""

    key: SecretStr
    base_url: str
    """Scheme and host, optionally with a path prefix; a provider's path is appended."""
    timeout: float = 10.0
    """Seconds for one whole try: connecting, sending, and reading the last byte."""


class Provider(ABC):
    """One route of one vendor, or a local rule set."""

    name: ClassVar[str]
    vendor: ClassVar[str]
    kind: ClassVar[Kind]
    windows: tuple[Window, ...] = ()
    required: ClassVar[frozenset[str]] = frozenset()
    """Fields of its section whose absence makes it worth asking, within a waterfall."""
    is_free: ClassVar[bool] = False
    """True for providers without a key and without a cost."""

    @abstractmethod
    def unfit(self, query: Query) -> str | None:
        """A short reason why this query is not for this provider; `None` when it is."""

    @abstractmethod
    async def ask(self, query: Query) -> Answer:
        """One try. Never raises for anything the vendor does."""

    async def probe(self) -> str | None:
        """For `enricher check`: `None` when the vendor accepts the key, else what is wrong.

        Must cost nothing.
        """
        return None


class HttpProvider(Provider):
    """A provider asked by one HTTP request over the shared client."""

    host: ClassVar[str]

    def __init__(self, http: httpx.AsyncClient, access: Access) -> None:
        self._http = http
        self._access = access

    @abstractmethod
    def request(self, query: Query) -> Request:
        """What to ask for this query."""

    @abstractmethod
    def interpret(self, reply: Reply) -> Answer:
        """PURE What this reply means, by the vendor's own code book."""

    def headers(self) -> dict[str, str]:
        """Authentication, always in a header: a URL ends up in logs and error texts."""
        return {"Authorization": f"Bearer {self._access.key.get_secret_value()}"}

    async def ask(self, query: Query) -> Answer:
        reply = await self._fetch(self.request(query))
        return reply if isinstance(reply, Unavailable) else self._judge(reply)

    def _judge(self, reply: Reply) -> Answer:
        try:
            return self.interpret(reply)
        except Exception as error:  # noqa: BLE001 - a vendor's surprise must not end a lead's run
            logger.bind(provider=self.name, error=type(error).__name__).error("provider.unreadable")
            return Unavailable("the answer could not be read")

    async def _fetch(self, request: Request) -> Reply | Unavailable:
        try:
            async with asyncio.timeout(self._access.timeout):
                return await self._exchange(request)
        except (TimeoutError, httpx.TimeoutException):
            return Unavailable("timed out")
        except (httpx.HTTPError, aiohttp.ClientError, OSError, ValueError):
            return Unavailable("the connection failed")

    async def _exchange(self, request: Request) -> Reply | Unavailable:
        """Send, and read at most MAX_BODY_BYTES of the decoded body."""
        url = self._access.base_url.rstrip("/") + request.path
        async with self._http.stream(
            "GET", url, params=dict(request.params), headers=self.headers()
        ) as response:
            body = bytearray()
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > MAX_BODY_BYTES:
                    return Unavailable("the body is too large")
        headers = {name.lower(): value for name, value in response.headers.items()}
        return Reply(response.status_code, headers, bytes(body))


@dataclass(frozen=True, slots=True)
class Registered:
    """The providers of one daemon, in the order in which they are asked within a kind."""

    providers: tuple[Provider, ...] = ()
    without_key: Mapping[str, str] = field(default_factory=dict)
    """Provider -> why it is not there ("no key"), for `sources_skipped`."""
