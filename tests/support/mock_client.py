"""A vendor without a network: a handler stands in for aiohttp's session, all above it is the real thing.

http = mock_client(lambda request: httpx.Response(404))
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, cast

import aiohttp
import httpx
from multidict import CIMultiDict
from yarl import URL

from enricher.providers.transport import Client

Handler = Callable[[httpx.Request], httpx.Response | Awaitable[httpx.Response]]


def mock_client(handler: Handler = lambda _: httpx.Response(500)) -> Client:
    """A client whose requests `handler` answers; it may raise what aiohttp would."""
    return Client(_Session(handler))


class _Session:
    def __init__(self, handler: Handler) -> None:
        self._handler = handler

    @asynccontextmanager
    async def request(
        self,
        method: str,
        url: URL,
        *,
        headers: Mapping[str, str],
        allow_redirects: bool,
        timeout: aiohttp.ClientTimeout,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        assert not allow_redirects
        assert timeout.connect
        said = self._handler(httpx.Request(method, str(url), headers=dict(headers)))
        response = await said if inspect.isawaitable(said) else said
        yield cast("aiohttp.ClientResponse", _Response(response))


class _Response:
    """As much of `aiohttp.ClientResponse` as is read."""

    def __init__(self, response: httpx.Response) -> None:
        self.status = response.status_code
        raw = ((name.decode(), _text(value)) for name, value in response.headers.raw)
        self.headers = CIMultiDict(raw)
        self.content = _Content(response)

    def close(self) -> None:
        pass


class _Content:
    def __init__(self, response: httpx.Response) -> None:
        self._pieces: Any = aiter(cast("httpx.AsyncByteStream", response.stream))

    async def readany(self) -> bytes:
        return cast("bytes", await anext(self._pieces, b""))


def _text(value: bytes) -> str:
    """As aiohttp reads them."""
    return value.decode("utf-8", "surrogateescape")
