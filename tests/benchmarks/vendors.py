"""Clearbit and Hunter with prepared answers, as lean as a server in Python gets: `python -m ... SECONDS`.

It shares two cores with those that are measured, so it must cost next to nothing: no framework, no
journal, no check of keys; it looks for the end of the request and for the question in its first
line. The records are the simulator's, so that sizes and shapes are those of the rest of the
project, with the one who is asked about filled in; Clearbit's carry its rate-limit headers. The
address it listens on is printed as one line.
"""

from __future__ import annotations

import asyncio
import sys
import time
from email.utils import formatdate
from functools import lru_cache
from typing import cast
from urllib.parse import unquote_to_bytes

import uvloop

from enricher.simulator.hunter import verification_body
from enricher.simulator.records import company_body

_END = b"\r\n\r\n"
_DOMAIN = b"domain-of-the-question.com"
_ADDRESS = b"pat@" + _DOMAIN
_WITH_A_SOURCE = 2
"""A seed whose verdict is `valid`, and has been seen on a page."""
_PATTERNS = 64
_HEAD = "HTTP/1.1 200 OK\r\nContent-Type: application/json; charset=utf-8\r\nDate: {date}\r\n"
_LIMITS = (
    b"X-RateLimit-Limit: 1000000\r\nX-RateLimit-Remaining: 999999\r\nX-RateLimit-Reset: %d\r\n"
)


COMPANIES = [company_body(seed, _DOMAIN.decode()) for seed in range(_PATTERNS)]
VERDICT = verification_body(_WITH_A_SOURCE, _ADDRESS.decode())


@lru_cache(maxsize=1)
def _head(second: int) -> bytes:
    return _HEAD.format(date=formatdate(second, usegmt=True)).encode()


def answer(request: bytes) -> bytes:
    """The whole response to one request: head and, below it, the headers that came with it."""
    now = int(time.time())
    line = request[: request.index(b"\r\n")]
    question = unquote_to_bytes(line.split(b"=", 1)[1].split(b" ", 1)[0])
    if b"/companies/find?" in line:
        body = COMPANIES[sum(question) % _PATTERNS].replace(_DOMAIN, question)
        extra = _LIMITS % (now + 60)
    else:
        domain, extra = question.rpartition(b"@")[2], b""
        body = VERDICT.replace(_ADDRESS, question).replace(_DOMAIN, domain)
    return b"%b%bContent-Length: %d\r\n\r\n%b" % (_head(now), extra, len(body), body)


class Connection(asyncio.Protocol):
    """One kept-alive connection; a client that pipelines gets its answers in order."""

    def __init__(self, latency: float) -> None:
        self._latency = latency
        self._pending = b""
        self._loop = asyncio.get_running_loop()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by its class

    def data_received(self, data: bytes) -> None:
        *requests, self._pending = (self._pending + data).split(_END)
        for request in requests:
            response = answer(request)
            if self._latency:
                self._loop.call_later(self._latency, self._transport.write, response)
            else:
                self._transport.write(response)


async def _serve(latency: float) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(latency), "127.0.0.1", 0, backlog=1024)
    async with server:
        port = server.sockets[0].getsockname()[1]
        print(f"http://127.0.0.1:{port}", flush=True)  # noqa: T201 - the reader waits for this line
        await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_serve(float(sys.argv[1])))
