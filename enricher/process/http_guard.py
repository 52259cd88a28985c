"""What keeps the daemon's HTTP port from being of use to strangers, or in the way of the work.

* A page in somebody's browser can be led to our address under a name of its author's (DNS rebinding), and
  would read what we answer. The header Host has that name then, and is refused. Addresses cannot be
  made up so, nor can names that no registry gives away (`settings/hosts.py`), under which Prometheus,
  Docker and Kubernetes ask; any other has to be a setting.
* Connections cost memory and file descriptors, half-sent requests too. There are so many at most, and the
  oldest has to go for a new one, so that a probe is always answered. One that asks nothing for a
  while is closed, however slowly it goes on sending.
* What is no HTTP is not our error: it is answered with 400 and counted, and is no line of the log.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from aiohttp import web

from enricher.settings import hosts
from enricher.telemetry import metrics

MOST_CONNECTIONS = 64
"""Some Prometheus, some probes and some browsers keep ten of them."""
QUIET_SECONDS = 30.0
"""For the whole of a request's head, and between two requests: longer than most scrape intervals."""
LINGERING_SECONDS = 1.0
"""For the rest of a body that nobody reads."""
MOST_HEADERS, MOST_BYTES_OF_ONE = 64, 8190
"""Times the connections, half-sent requests take 32 MB at most. Browsers send some large cookies."""

Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]


def runner(app: web.Application) -> web.AppRunner:
    """With limits on everything that a client can make long."""
    return web.AppRunner(
        app,
        access_log=None,
        logger=_counted_not_logged(),
        shutdown_timeout=1.0,
        keepalive_timeout=QUIET_SECONDS,
        lingering_time=LINGERING_SECONDS,
        max_line_size=MOST_BYTES_OF_ONE,
        max_field_size=MOST_BYTES_OF_ONE,
        max_headers=MOST_HEADERS,
    )


async def listen(running: web.AppRunner, host: str, port: int) -> asyncio.Server:
    """As `web.TCPSite` does, but with room for whoever comes."""
    server = running.server
    if server is None:
        raise RuntimeError("the runner is not set up")

    def connected() -> asyncio.Protocol:
        _make_room(server)
        return server()

    return await asyncio.get_running_loop().create_server(connected, host, port)


def _make_room(server: web.Server) -> None:
    """The oldest goes, also one that is asked by just now: they ask again."""
    standing = [each for each in server.connections if each.transport is not None]
    for each in standing[: max(0, len(standing) + 1 - MOST_CONNECTIONS)]:
        metrics.HTTP_REFUSED.labels("room").inc()
        each.force_close()


def known_hosts(*names: str) -> Any:
    """A middleware that refuses requests for other hosts. What is no browser may leave the header out."""
    allowed = {name.lower().removesuffix(".") for name in names}

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        if all(_is_known(_host_of(each), allowed) for each in request.headers.getall("Host", [])):
            return await handler(request)
        metrics.HTTP_REFUSED.labels("host").inc()
        error = "this host is not in ENRICHER_HTTP_ALLOWED_HOSTS"
        return web.json_response({"error": error}, status=421)

    return check


def _host_of(header: str) -> str:
    """Without the port; with the brackets of an IPv6 address."""
    host, colon, port = header.rpartition(":")
    return host if colon and (port.isdigit() or not port) else header


def _is_known(host: str, allowed: set[str]) -> bool:
    named = host.lower().removesuffix(".") in allowed
    return named or hosts.address(host) is not None or hosts.is_private_name(host)


def _counted_not_logged() -> logging.Logger:
    """aiohttp logs each malformed request with a traceback. What our own handlers raise is logged by them."""
    quiet = logging.getLogger("enricher.http")
    quiet.propagate = False
    quiet.setLevel(logging.DEBUG)  # what it takes for the start of TLS is told in a whisper
    quiet.handlers = [_Counter()]
    return quiet


class _Counter(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info:
            metrics.HTTP_REFUSED.labels("malformed").inc()
