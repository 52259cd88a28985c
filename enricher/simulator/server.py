"""The vendors' APIs as one web application on one port: strict, deterministic, and its own witness.

    async with Simulator(seed=7, latency=0.05) as simulator:
        os.environ["HUNTER_BASE_URL"] = simulator.base_urls["hunter"]
        simulator.faults.add(Fault("reset", vendor="hunter", times=3))
        ...
        assert simulator.journal.busiest_window("hunter", 60) <= 300

Every vendor lives below its own prefix and answers its documented paths there. Magic words in domains
and addresses tell stories without any set-up (`stories.py`), faults can be injected (`faults.py`), and
every call is in the journal (`journal.py`); from another process all of that goes over `/_simulator/`
(`control.py`). What a vendor decides it decides at the arrival: latency comes after judgement, charge
and journal, as it does when a client hangs up on a vendor that has already done the work.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from random import Random
from types import TracebackType
from typing import Self

from aiohttp import web

from enricher.simulator.apollo import Apollo
from enricher.simulator.clearbit import Clearbit
from enricher.simulator.control import Control
from enricher.simulator.delivery import deliver, plain
from enricher.simulator.faults import Fault
from enricher.simulator.hunter import Hunter
from enricher.simulator.journal import Journal
from enricher.simulator.pdl import PeopleDataLabs
from enricher.simulator.stories import Faults
from enricher.simulator.vendor import Call, Terms, Vendor

VENDORS: tuple[type[Vendor], ...] = (Clearbit, Hunter, PeopleDataLabs, Apollo)
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
        """As freshly made: nothing journalled, charged, injected or counted."""
        self.journal.clear()
        self.faults.clear()
        self._chance = Random(self.terms.seed)
        self._vendors = {kind.name: kind(self.terms, self.journal, self.faults) for kind in VENDORS}

    def inject(self, kind: str, **how: object) -> int:
        """`inject("reset", vendor="hunter", times=3)`: put a fault in force."""
        return self.faults.add(Fault.from_json({"kind": kind, **how}))

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        """Listen; port 0 takes a free one, which `url` then tells."""
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
        """Drop every connection; the same simulator may be started again, on the same port too."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
            self.app = self._application()

    @property
    def url(self) -> str:
        return self._origin

    @property
    def base_urls(self) -> dict[str, str]:
        """Vendor -> what its `<VENDOR>_BASE_URL` should be."""
        return {kind.name: f"{self._origin}/{kind.name}" for kind in VENDORS}

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
        for kind in VENDORS:
            app.router.add_route("*", f"/{kind.name}/{{path:.*}}", self._serve)
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

    async def _answer(self, vendor: Vendor, call: Call) -> web.StreamResponse:
        reply = vendor.judge(call)
        delay = self.latency + (self._chance.uniform(0, self.jitter) if self.jitter else 0.0)
        if call.injection is not None:
            delay += call.injection.delay
        if delay:
            await asyncio.sleep(delay)
        if call.injection is None:
            return plain(reply)
        return await deliver(call.request, reply, call.injection)
