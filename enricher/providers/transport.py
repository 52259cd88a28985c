"""How requests travel: httpx over aiohttp, and never two requests for one `ask`.

aiohttp sends an idempotent request a second time, on its own and at once, when a kept-alive
connection turns out to be closed. Neither the limiter nor the budget would know of that second
call, and the vendor may have done (and charged) the first one. There is no public switch, so the
private one is turned here, in one place; a test over real sockets sees to it that it still works.
"""

from __future__ import annotations

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport


class SingleSendTransport(AiohttpTransport):
    """The aiohttp transport without aiohttp's silent repeats."""

    def get_client(self) -> aiohttp.ClientSession:
        session = super().get_client()
        session._retry_connection = False  # noqa: SLF001 - see above
        return session


def open_client(connections: int = 100) -> httpx.AsyncClient:
    """The HTTP client that all providers share; whoever opens it closes it (`async with`).

    `connections` are those open at the same time; a request beyond them waits inside its time-out.
    """
    limits = httpx.Limits(max_connections=connections)
    return httpx.AsyncClient(transport=SingleSendTransport(limits=limits))
