"""Who is answered at the HTTP port, and how many."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator

import pytest
from loguru import logger
from prometheus_client import CollectorRegistry

from enricher.http import MOST_CONNECTIONS, HttpServer
from enricher.settings.load import HttpSettings, LogSettings
from enricher.telemetry import log
from tests.support.observing import counted
from tests.support.waiting import eventually, patience

pytestmark = pytest.mark.slow

OURS = (
    *("localhost:9464", "127.0.0.1:9464", "[::1]:9464", "LOCALHOST", "localhost.", "10.1.2.3:9464"),
    *("203.0.113.7:9464", "[2001:db8::1]", "enricher:9464", "enricher-0.enricher.crm.svc:9464"),
    *("enricher.crm.svc.cluster.local:9464", "crm1.internal", "nas.local:1", "enricher:"),
    *("status.acme.com", "STATUS.acme.com.:443"),
)
THEIRS = (
    *("evil.example.com", "evil.example.com:9464", "127.0.0.1.evil.com:9464", "localhost.evil.dev"),
    *("10.0.0.1.nip.io:9464", "rebind.it:9464", "acme.com", "x.status.acme.com", "2130706433:9464"),
    *("0x7f.1:9464", "", "a b", "evil.com:9464:9464", "[::1].evil.com", "evil.com,localhost"),
    *("localhost@evil.com", "evil.com/localhost", "[evil.com]"),
)
MALFORMED = (
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\xaa" * 200 + b"\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"GET / HTTP/9.9\r\n\r\n",
    b"GET\r\n\r\n",
    b"\r\n\x00\x01\x02\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
    b"GET / HTTP/1.1\r\nContent-Length: -5\r\n\r\n",
    b"GET / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nZZZ\r\n\r\n",
    b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nX: " + b"a" * 100_000 + b"\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + b"X: a\r\n" * 1000 + b"\r\n",
    "GET /\u202e HTTP/1.1\r\nHost: \u00e4\r\n\r\n".encode(),
)


@pytest.fixture
def lines() -> Iterator[list[str]]:
    """What would be logged, from the chattiest level up."""
    written: list[str] = []
    log.configure(LogSettings(level="DEBUG"), "enricher", "test")
    logger.remove()
    logger.add(lambda message: written.append(str(message)), level="DEBUG")
    yield written
    logger.remove()
    logging.getLogger().handlers.clear()


@pytest.fixture
async def port(lines: list[str]) -> AsyncIterator[int]:
    settings = HttpSettings(host="127.0.0.1", port=0, allowed_hosts=("status.acme.com",))
    async with HttpServer(settings, CollectorRegistry(), {}) as running:
        yield running.port


async def _said(port: int, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request)
        async with patience(10):
            return await reader.readline()
    except ConnectionError:
        return b""
    finally:
        writer.close()


def _get(host: str) -> bytes:
    return f"GET /livez HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode()


@pytest.mark.parametrize("host", OURS)
async def test_addresses_names_of_ones_own_network_and_listed_ones_are_answered(
    port: int, host: str
) -> None:
    assert b" 200 " in await _said(port, _get(host))


@pytest.mark.parametrize("host", THEIRS)
@pytest.mark.parametrize(
    "path", ["/livez", "/metrics", "/status.json", "/report.json", "/", "/nowhere"]
)
async def test_a_name_that_a_stranger_may_have_is_refused(port: int, host: str, path: str) -> None:
    before = counted("enricher_http_refused_total", reason="host")
    request = _get(host).replace(b"/livez", path.encode())
    assert b" 421 " in await _said(port, request)
    assert counted("enricher_http_refused_total", reason="host") == before + 1


async def test_what_is_no_browser_may_leave_the_host_out(port: int) -> None:
    assert b" 200 " in await _said(port, b"GET /livez HTTP/1.0\r\n\r\n")


@pytest.mark.parametrize("request_", MALFORMED)
async def test_what_is_no_http_is_refused_and_is_no_line_of_the_log(
    port: int, request_: bytes, lines: list[str]
) -> None:
    said = await _said(port, request_)
    assert b" 200 " not in said
    assert b" 500 " not in said
    assert b" 200 " in await _said(port, _get("localhost"))
    assert lines == []


async def test_what_is_no_http_is_counted(port: int) -> None:
    before = counted("enricher_http_refused_total", reason="malformed")
    await _said(port, b"GET / HTTP/1.1\r\nno colon\r\n\r\n")
    assert counted("enricher_http_refused_total", reason="malformed") == before + 1


@pytest.mark.parametrize(
    "half",
    [
        b"",
        b"GET /li",
        b"GET /livez HTTP/1.1\r\nX: " + b"a" * 8000,
        b"GET / HTTP/1.1\r\nHost: a\r\n",
    ],
)
async def test_half_sent_requests_make_room_for_a_probe(port: int, half: bytes) -> None:
    opened = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3 * MOST_CONNECTIONS)]
    try:
        for _, writer in opened:
            writer.write(half)
        for _ in range(3):
            assert b" 200 " in await _said(port, _get("localhost"))
        closed = await eventually(lambda: _closed(opened, 2 * MOST_CONNECTIONS))
        assert len(closed) <= 2 * MOST_CONNECTIONS + 4
    finally:
        for _, writer in opened:
            writer.close()


def _closed(
    opened: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]], at_least: int
) -> list[asyncio.StreamReader]:
    found = [reader for reader, _ in opened if reader.at_eof() or reader.exception()]
    return found if len(found) >= at_least else []


async def test_clients_that_never_read_do_not_keep_others_out(port: int) -> None:
    opened = [await asyncio.open_connection("127.0.0.1", port) for _ in range(MOST_CONNECTIONS)]
    try:
        for _, writer in opened:
            writer.write(_get("localhost").replace(b"close", b"keep-alive") * 200)
        assert b" 200 " in await _said(port, _get("localhost"))
    finally:
        for _, writer in opened:
            writer.close()
