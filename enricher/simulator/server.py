"""The vendors' APIs as one web application on one port: strict, deterministic, and with a record of every call.

    async with Simulator(seed=7, latency=0.05) as simulator:
        os.environ["HUNTER_BASE_URL"] = simulator.base_urls["hunter"]
        simulator.faults.add(Fault("reset", vendor="hunter", times=3))
        ...
        assert simulator.journal.busiest_window("hunter", 60) <= 300

Every vendor has its own prefix and answers its documented paths below it. Magic words in domains and addresses
tell stories without any set-up, faults can be injected (both: `faults.py`), and every call is in the journal
(`journal.py`); another process reaches all of that over `/_simulator/`. A vendor decides when the call arrives:
latency comes after judgement, charge and journal, just as a real vendor has already done the work when a
client hangs up.
"""

from __future__ import annotations

import asyncio
import errno
import json
from collections.abc import Callable, Mapping, Sequence
from random import Random
from types import TracebackType
from typing import Any, Self

import typer
from aiohttp import web

from enricher import catalogue
from enricher.errors import SettingsError
from enricher.process import signals
from enricher.simulator import sites
from enricher.simulator.apollo import Apollo
from enricher.simulator.bouncer import Bouncer
from enricher.simulator.clearbit import Clearbit
from enricher.simulator.emailable import Emailable
from enricher.simulator.faults import Fault, Faults
from enricher.simulator.hunter import Hunter
from enricher.simulator.journal import Journal
from enricher.simulator.kickbox import Kickbox
from enricher.simulator.pdl import PeopleDataLabs
from enricher.simulator.register import Register
from enricher.simulator.vendor import DOMAIN, Call, Terms, Vendor, deliver, plain
from enricher.simulator.zerobounce import ZeroBounce

# Control over HTTP, for tests and benchmarks that run the simulator as its own process.
#
#     GET    /_simulator/health                      {"status": "ok"}
#     GET    /_simulator/journal?since=N&limit=M     entries after number N, oldest first
#     GET    /_simulator/billing                     calls, charges and statuses by vendor
#     GET    /_simulator/faults                      the injected faults, with ids and hits
#     POST   /_simulator/faults                      one fault or a list of them -> {"ids": [...]}
#     DELETE /_simulator/faults[?id=N]               remove one, or all (stories then begin anew)
#     POST   /_simulator/reset                       clear journal, billing, faults and windows
#
# An entry is written on arrival: one that is read while its call is in flight has no `duration` yet.

MOST_ENTRIES = 10_000


class Control:
    """The handlers under `/_simulator/`."""

    def __init__(
        self,
        journal: Journal,
        faults: Faults,
        base_urls: Callable[[], Mapping[str, str]],
        reset: Callable[[], None],
    ) -> None:
        self._journal_of = journal
        self._in_force = faults
        self._base_urls = base_urls
        self._reset_all = reset

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/_simulator/health", self._health),
            web.get("/_simulator/journal", self._journal),
            web.get("/_simulator/billing", self._billing),
            web.get("/_simulator/faults", self._faults),
            web.post("/_simulator/faults", self._inject),
            web.delete("/_simulator/faults", self._take_back),
            web.post("/_simulator/reset", self._reset),
        ]

    async def _health(self, _request: web.Request) -> web.Response:
        return web.json_response({"status": "ok", "vendors": self._base_urls()})

    async def _journal(self, request: web.Request) -> web.Response:
        since = _number(request, "since", 0)
        limit = _number(request, "limit", MOST_ENTRIES)
        return web.json_response(self._journal_of.as_json(since, min(limit, MOST_ENTRIES)))

    async def _billing(self, _request: web.Request) -> web.Response:
        return web.json_response(self._journal_of.billing_as_json())

    async def _faults(self, _request: web.Request) -> web.Response:
        return web.json_response({"faults": self._in_force.as_json()})

    async def _inject(self, request: web.Request) -> web.Response:
        faults = _faults_in(await request.text())
        ids = [self._in_force.add(fault) for fault in faults]
        return web.json_response({"ids": ids})

    async def _take_back(self, request: web.Request) -> web.Response:
        if "id" not in request.query:
            self._in_force.clear()
        elif not self._in_force.remove(_number(request, "id", 0)):
            raise _refused("there is no fault with that id", web.HTTPNotFound)
        return web.json_response({})

    async def _reset(self, _request: web.Request) -> web.Response:
        self._reset_all()
        return web.json_response({})


def _faults_in(text: str) -> list[Fault]:
    """Parse all faults or none: a wrong one in a list keeps the others out of force."""
    try:
        value: Any = json.loads(text)
        return [Fault.from_json(item) for item in (value if isinstance(value, list) else [value])]
    except ValueError as error:
        raise _refused(str(error)) from error


def _number(request: web.Request, name: str, default: int) -> int:
    try:
        return max(0, int(request.query.get(name, default)))
    except ValueError as error:
        raise _refused(f"{name} is a whole number") from error


def _refused(problem: str, kind: type[web.HTTPException] = web.HTTPBadRequest) -> web.HTTPException:
    return kind(text=json.dumps({"error": problem}), content_type="application/json")


VENDORS: tuple[type[Vendor], ...] = (
    *(Clearbit, Hunter, PeopleDataLabs, Apollo),
    *(ZeroBounce, Kickbox, Bouncer, Emailable),
)
_SERVED: tuple[type[Vendor], ...] = (*VENDORS, Register)
BACKLOG = 1024


class Simulator:
    """The simulated vendors, their journal and their faults; state outlives `stop` and `start`."""

    def __init__(
        self,
        seed: int = 1,
        latency: float = 0.0,
        *,
        jitter: float = 0.0,
        keys: Mapping[str, str] | None = None,
        windows: Mapping[str, Sequence[Sequence[float]]] | None = None,
        quotas: Mapping[str, int] | None = None,
        hunter_dialect: str = "docs",
        stories: bool = True,
    ) -> None:
        self.latency = latency
        self.jitter = jitter
        self.terms = Terms(seed, keys or {}, windows or {}, quotas or {}, hunter_dialect)
        self.journal = Journal()
        self.faults = Faults(seed, stories=stories)
        self.app = self._application()
        self._runner: web.AppRunner | None = None
        self._origin = ""
        self.reset()

    def reset(self) -> None:
        """Restore the initial state: nothing journalled, charged, injected or counted."""
        self.journal.clear()
        self.faults.clear()
        self._chance = Random(self.terms.seed)
        self._vendors = {kind.name: kind(self.terms, self.journal, self.faults) for kind in _SERVED}

    def inject(self, kind: str, **how: object) -> int:
        """Put a fault in force: `inject("reset", vendor="hunter", times=3)`."""
        return self.faults.add(Fault.from_json({"kind": kind, **how}))

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        """Listen; port 0 takes a free one, which `url` then names."""
        runner = web.AppRunner(
            self.app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1
        )
        await runner.setup()
        try:
            await web.TCPSite(runner, host, port, backlog=BACKLOG, reuse_address=True).start()
        except OSError:
            await runner.cleanup()
            raise
        self._runner = runner
        self._origin = f"http://{host}:{runner.addresses[0][1]}"

    async def stop(self) -> None:
        """Drop every connection; the same simulator can be started again, on the same port too."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
            self.app = self._application()

    @property
    def url(self) -> str:
        return self._origin

    @property
    def port(self) -> int:
        """The port that it listens on: also that of all companies' web sites."""
        return int(self._origin.rpartition(":")[2])

    @property
    def base_urls(self) -> dict[str, str]:
        """Vendor -> value for its `<VENDOR>_BASE_URL`."""
        return {kind.name: f"{self._origin}/{kind.name}" for kind in VENDORS}

    @property
    def register_url(self) -> str:
        """The value for `CNPJ_BASE_URL`."""
        return f"{self._origin}/{Register.name}"

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.stop()

    def _application(self) -> web.Application:
        app = web.Application()
        app.add_routes(
            Control(self.journal, self.faults, lambda: self.base_urls, self.reset).routes()
        )
        for kind in _SERVED:
            app.router.add_route("*", f"/{kind.name}/{{path:.*}}", self._serve)
        app.router.add_get("/{path:.*}", self._serve_site)
        return app

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        vendor = self._vendors[request.path.split("/", 2)[1]]
        call = vendor.arrive(request)
        try:
            return await self._answer(vendor, call)
        except (asyncio.CancelledError, ConnectionError):
            call.entry.abandoned = True
            raise
        finally:
            self.journal.close(call.entry)

    async def _serve_site(self, request: web.Request) -> web.StreamResponse:
        """Answer as the site that is asked for by name."""
        domain = request.host.partition(":")[0].lower().removeprefix("www.")
        if not DOMAIN.fullmatch(domain):
            raise web.HTTPNotFound
        entry = self.journal.open(sites.SITES, request.path, domain)
        reply = sites.answer(self.terms.seed, entry.question, request.path)
        self.journal.decide(entry, reply.status, billable=False)
        try:
            await asyncio.sleep(self._delay())
            return plain(reply)
        finally:
            self.journal.close(entry)

    def _delay(self) -> float:
        return self.latency + (self._chance.uniform(0, self.jitter) if self.jitter else 0.0)

    async def _answer(self, vendor: Vendor, call: Call) -> web.StreamResponse:
        reply = vendor.judge(call)
        delay = self._delay()
        if call.injection is not None:
            delay += call.injection.delay
        if delay:
            await asyncio.sleep(delay)
        if call.injection is None:
            return plain(reply)
        return await deliver(call.request, reply, call.injection)


# `enricher simulator`: the simulated vendors as their own program, until it is told to stop.
#
# It prints settings, one per line, and a comment that any reader of `.env` files skips:
#
#     enricher simulator > .env &
#     enricher run

KEY = "simulated"
"""Any key is good here unless it begins with "wrong"."""


async def serve(host: str, port: int, *, seed: int, latency: float, jitter: float) -> None:
    """Listen until a signal comes. Raises SettingsError when the address cannot be used."""
    stop = asyncio.Event()
    simulator = Simulator(seed, latency, jitter=jitter)
    try:
        await simulator.start(host, port)
    except OSError as error:
        raise SettingsError([_complaint(error, host, port)]) from error
    try:
        with signals.heeding(
            lambda _: stop.set()
        ):  # before printing: a reader of the first line may signal at once
            typer.echo(
                "\n".join(["# Simulated vendors; Ctrl-C ends them.", *settings_for(simulator)])
            )
            await stop.wait()
    finally:
        await simulator.stop()


def settings_for(simulator: Simulator) -> list[str]:
    """Return `NAME=value` lines that make a daemon ask this simulator."""
    return [f"{name}={value}" for name, value in variables_for(simulator).items()]


def variables_for_sites(simulator: Simulator) -> dict[str, str]:
    """Return the settings that make a daemon read this simulator's web sites, too."""
    return {"ENRICHER_WEBSITE": "true", "ENRICHER_WEBSITE_LOOPBACK": str(simulator.port)}


def variables_for_register(simulator: Simulator) -> dict[str, str]:
    """Return the settings that make a daemon ask this simulator's Brazilian register, too."""
    return {"ENRICHER_CNPJ": "true", "CNPJ_BASE_URL": simulator.register_url}


def variables_for(simulator: Simulator, *vendors: str) -> dict[str, str]:
    """Return name -> value of the settings that make a daemon ask this simulator, for all its vendors or
    only for these."""
    found: dict[str, str] = {}
    for vendor in vendors or simulator.base_urls:
        name, url = vendor.upper(), simulator.base_urls[vendor]
        found |= {f"{name}_BASE_URL": url, f"{name}_API_KEY": KEY}
        # The key is one of a paid plan, while the daemon's defaults are for free ones.
        paid = catalogue.VENDORS[vendor].paid_per_minute
        found |= {f"{name}_RATE_LIMIT": str(paid)} if paid else {}
    return found


def _complaint(error: OSError, host: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"--port: port {port} on {host} is in use"
    if error.errno == errno.EACCES:
        return f"--port: port {port} on {host} needs privileges, use one above 1023"
    return f"--host: expected an address of this machine, got {host!r}"
