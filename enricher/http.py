"""The daemon's own small HTTP server: `/metrics`, `/livez`, `/readyz`, and the status page.

Liveness and readiness answer different questions, and mixing them up turns one outage into two:

* `/livez`: does the event loop still turn? It touches nothing else. If this probe asked the
  database, every instance would be restarted because the database is down.
* `/readyz`: is everything there that leads need? The caller supplies the checks, which only look
  at what is already known and never wait. A vendor's outage is not among them.

`/` is the page for people, and `/status.json` the data it shows: the whole fleet, as the database has it;
`/report.json` is what each provider was worth, as `enricher report --json` has it. Both are read on request,
and concurrent requests share one read.

All of it is read-only, harmless to read, holds no lead's data, and listens on the loopback address by
default. The guard below decides whom it answers, and how many.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Any, Self, TypeAlias

from aiohttp import web
from loguru import logger
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from enricher.errors import SettingsError
from enricher.settings import types
from enricher.settings.load import HttpSettings
from enricher.status import page
from enricher.telemetry import metrics
from enricher.telemetry.log import redact

# What keeps the daemon's HTTP port from being of use to strangers, or in the way of the work.
#
# * A page in somebody's browser can be led to our address under a name of its author's (DNS rebinding), and
#   would read what we answer. The header Host has that name then, and is refused. Addresses cannot be
#   made up so, nor can names that no registry gives away (`settings/types.py`), under which Prometheus,
#   Docker and Kubernetes ask; any other has to be a setting.
# * Connections cost memory and file descriptors, half-sent requests too. There are so many at most, and the
#   oldest has to go for a new one, so that a probe is always answered. One that asks nothing for a
#   while is closed, however slowly it goes on sending.
# * What is no HTTP is not our error: it is answered with 400 and counted, and is no line of the log.

MOST_CONNECTIONS = 64
"""A few Prometheus servers, probes and browsers keep about ten open."""
QUIET_SECONDS = 30.0
"""Limit for a request's whole head, and between two requests: longer than most scrape intervals."""
LINGERING_SECONDS = 1.0
"""Limit for the rest of a body that no handler reads."""
MOST_HEADERS, MOST_BYTES_OF_ONE = 64, 8190
"""Times the connections, half-sent requests take at most 32 MB. Some browsers send large cookies."""

Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]


def runner(app: web.Application) -> web.AppRunner:
    """Return a runner with limits on everything that a client can make long."""
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
    """Listen as `web.TCPSite` does, but make room for every new connection."""
    server = running.server
    if server is None:
        raise RuntimeError("the runner is not set up")

    def connected() -> asyncio.Protocol:
        _make_room(server)
        return server()

    return await asyncio.get_running_loop().create_server(connected, host, port)


def _make_room(server: web.Server) -> None:
    """Close the oldest connections, even those with a request in progress: their clients retry."""
    standing = [each for each in server.connections if each.transport is not None]
    for each in standing[: max(0, len(standing) + 1 - MOST_CONNECTIONS)]:
        metrics.HTTP_REFUSED.labels("room").inc()
        each.force_close()


def known_hosts(*names: str) -> Any:
    """Return a middleware that refuses other hosts. Without the header a request passes: browsers always send it."""
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
    """Return the host without its port; an IPv6 address keeps its brackets."""
    host, colon, port = header.rpartition(":")
    return host if colon and (port.isdigit() or not port) else header


def _is_known(host: str, allowed: set[str]) -> bool:
    named = host.lower().removesuffix(".") in allowed
    return named or types.address(host) is not None or types.is_private_name(host)


def _counted_not_logged() -> logging.Logger:
    """Count malformed requests, which aiohttp would log with a traceback. Our handlers log their own errors."""
    quiet = logging.getLogger("enricher.http")
    quiet.propagate = False
    quiet.setLevel(logging.DEBUG)  # aiohttp logs what looks like the start of TLS here
    quiet.handlers = [_Counter()]
    return quiet


class _Counter(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info:
            metrics.HTTP_REFUSED.labels("malformed").inc()


STALE_AFTER_SECONDS = 10.0
"""A loop that did not turn for so long renews no lease either: a restart is better."""


@dataclass(frozen=True, slots=True)
class Check:
    """One condition of readiness; `detail` is a short phrase for the reader of `/readyz`."""

    ok: bool
    detail: str = ""


Checks: TypeAlias = Mapping[str, Callable[[], Check]]


async def no_status() -> str | None:
    """Return no status, where there is no fleet to look at."""
    return None


async def _as_json(read: Callable[[], Awaitable[str | None]], _: web.Request) -> web.Response:
    text = await read()
    if text is None:
        return web.json_response({"error": "MongoDB does not answer"}, status=503)
    return web.json_response(text=text, headers={"Cache-Control": "no-store"})


class HttpServer:
    """Serves from `__aenter__` to `__aexit__`."""

    def __init__(
        self,
        settings: HttpSettings,
        registry: CollectorRegistry,
        checks: Checks,
        status: Callable[[], Awaitable[str | None]] = no_status,
        report: Callable[[], Awaitable[str | None]] = no_status,
        *,
        stale_after: float = STALE_AFTER_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._registry = registry
        self._checks = checks
        self._status, self._report = status, report
        self._stale_after = stale_after
        self._clock = clock
        self._turned_at = clock()
        self.port = settings.port
        """The port that is actually served, once it is, even where the setting is 0."""
        self._pulse: asyncio.Task[None] | None = None
        self._server: asyncio.Server | None = None
        self._runner = runner(self._app())

    async def __aenter__(self) -> Self:
        """Start serving. Raises `SettingsError` when the address cannot be bound."""
        await self._runner.setup()
        try:
            listening = await listen(self._runner, self._settings.host, self._settings.port)
        except OSError as error:
            await self._runner.cleanup()
            raise SettingsError([self._complaint(error)]) from error
        self._server = listening
        self.port = int(listening.sockets[0].getsockname()[1])
        self._turned_at = self._clock()
        self._pulse = asyncio.create_task(self._beat(), name="http.pulse")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._pulse:
            self._pulse.cancel()
            await asyncio.wait({self._pulse})
        if self._server:
            self._server.close()
        await self._runner.cleanup()

    def _complaint(self, error: OSError) -> str:
        host, port = self._settings.host, self._settings.port
        if error.errno == errno.EADDRINUSE:
            return f"ENRICHER_HTTP_PORT: port {port} on {host} is in use"
        if error.errno == errno.EACCES:
            return f"ENRICHER_HTTP_PORT: port {port} on {host} needs privileges, use one above 1023"
        return "ENRICHER_HTTP_HOST: expected an address of this machine (value not shown)"

    def _app(self) -> web.Application:
        known = known_hosts(self._settings.host, *self._settings.allowed_hosts)
        app = web.Application(middlewares=[known, _errors_as_json])
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/livez", self._livez)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get("/status.json", partial(_as_json, self._status))
        app.router.add_get("/report.json", partial(_as_json, self._report))
        app.router.add_get("/", self._page)
        return app

    async def _beat(self) -> None:
        """Note the time whenever the event loop comes round; ends with the server."""
        while True:
            self._turned_at = self._clock()
            await asyncio.sleep(self._stale_after / 10)

    async def _page(self, _: web.Request) -> web.Response:
        return web.Response(text=page.html(), content_type="text/html", headers=page.headers())

    async def _metrics(self, _: web.Request) -> web.Response:
        body = generate_latest(self._registry)
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def _livez(self, _: web.Request) -> web.Response:
        age = self._clock() - self._turned_at
        is_alive = age < self._stale_after
        body = {"status": "alive" if is_alive else "stuck", "loop_age_seconds": round(age, 3)}
        return web.json_response(body, status=200 if is_alive else 503)

    async def _readyz(self, _: web.Request) -> web.Response:
        results = {name: _result(name, check) for name, check in self._checks.items()}
        is_ready = all(result.ok for result in results.values())
        body = {
            "status": "ready" if is_ready else "not ready",
            "checks": {
                name: {"ok": result.ok, "detail": redact(result.detail)}
                for name, result in results.items()
            },
        }
        return web.json_response(body, status=200 if is_ready else 503)


def _result(name: str, check: Callable[[], Check]) -> Check:
    """Run a check; one that raises counts as failed: readiness must be shown, not assumed."""
    try:
        return check()
    except Exception as error:  # noqa: BLE001 - a probe must get its answer
        logger.bind(check=name).opt(exception=error).error("http.check_failed")
        return Check(ok=False, detail=f"the check failed ({type(error).__name__})")


@web.middleware
async def _errors_as_json(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer 404 and 405 as JSON like everything else; log a bug, and reveal nothing of it."""
    try:
        return await handler(request)
    except web.HTTPException as error:
        allowed = error.headers.get("Allow")
        headers = {"Allow": allowed} if allowed else None
        return web.json_response({"error": error.reason}, status=error.status, headers=headers)
    except Exception as error:  # noqa: BLE001 - the boundary of a request
        logger.bind(path=request.path).opt(exception=error).error("http.request_failed")
        return web.json_response({"error": "Internal Server Error"}, status=500)
