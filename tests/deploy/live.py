"""A fleet at work, watched by a real Prometheus with our rules.

    async with watched_fleet(uri, prometheus, directory) as fleet:
        await fleet.prometheus.query("sum(enricher_leads_in_work)")

Two daemons, all vendors simulated, leads of every kind, and something of everything that can go
wrong: a key that is refused, a budget that is used up, a vendor that fails for a while.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import yaml
from pymongo.asynchronous.collection import AsyncCollection

from enricher.demo.leads import sample_leads
from enricher.lead import Document
from enricher.simulator.server import Simulator
from tests.deploy.promql import RULES, seconds_of
from tests.support.plain_http import plain_client
from tests.support.processes import Daemon, bound_to_us, free_port
from tests.support.rig import Rig, open_rig
from tests.support.waiting import eventually

SCRAPE_SECONDS = 1
_SETTINGS = {
    "ENRICHER_RETRY_DELAY_SECONDS": "2",
    "ENRICHER_PROVIDERS_OFF": "[]",
    "ENRICHER_PROVIDER_ORDER": "auto",
    "CLEARBIT_CREDIT_PRICE": "0.25",
    "CLEARBIT_API_KEY": "sk_good",
    "CLEARBIT_MONTHLY_BUDGET": "100000",
    "HUNTER_API_KEY": "good",
    "HUNTER_DAILY_BUDGET": "5000",
    "HUNTER_MONTHLY_BUDGET": "90000",
    "PDL_API_KEY": "good",
    "PDL_RATE_LIMIT": "600",
    "APOLLO_API_KEY": "wrong",
    "APOLLO_RATE_LIMIT": "600",
}
_SEEN_FROM_HERE = ("CLEARBIT_RATE_LIMIT", "HUNTER_RATE_LIMIT")
"""Out of the way in other tests; here they are the vendors' own."""


@dataclass(frozen=True, slots=True)
class Prometheus:
    """Its HTTP API."""

    http: httpx.AsyncClient

    async def query(self, expr: str, at: float | None = None) -> list[dict[str, Any]]:
        """The samples now. Raises AssertionError for an expression that is none."""
        asked = {"query": expr} | ({"time": str(at)} if at else {})
        return await self._result("/api/v1/query", asked)

    async def over(self, expr: str, start: float, end: float, step: float) -> list[dict[str, Any]]:
        """The series from `start` to `end`."""
        span = {"start": str(start), "end": str(end), "step": str(step)}
        return await self._result("/api/v1/query_range", {"query": expr, **span})

    async def _result(self, path: str, asked: dict[str, str]) -> list[dict[str, Any]]:
        said = (await self.http.post(path, data=asked)).json()
        assert said["status"] == "success", f"{asked['query']}: {said.get('error')}"
        result: list[dict[str, Any]] = said["data"]["result"]
        return result

    async def rules(self) -> list[dict[str, Any]]:
        said = (await self.http.get("/api/v1/rules")).json()
        return [rule for group in said["data"]["groups"] for rule in group["rules"]]

    async def targets_up(self) -> int:
        said = (await self.http.get("/api/v1/targets")).json()
        return sum(each["health"] == "up" for each in said["data"]["activeTargets"])


@dataclass(slots=True)
class Daemons:
    """Two of them, at ports of their own, that can be stopped and started again."""

    environment: dict[str, str]
    ports: tuple[int, ...] = field(default_factory=lambda: (free_port(), free_port()))
    _running: AsyncExitStack = field(default_factory=AsyncExitStack)

    async def start(self) -> None:
        for port in self.ports:
            settings = self.environment | {"ENRICHER_HTTP_PORT": str(port)}
            daemon = Daemon("run", env=settings, quiet=True)
            await self._running.enter_async_context(daemon)
            await daemon.wait_for_event("daemon.started")

    async def stop(self) -> None:
        """At once, as a machine that is gone."""
        await self._running.aclose()

    @property
    def targets(self) -> list[str]:
        return [f"127.0.0.1:{port}" for port in self.ports]


@dataclass(frozen=True, slots=True)
class Fleet:
    """What there is to look at."""

    prometheus: Prometheus
    simulator: Simulator
    leads: AsyncCollection[Document]
    daemons: Daemons
    began_at: float


@dataclass(frozen=True, slots=True)
class Alerting:
    """Where Prometheus tells of alerts, and how much sooner than its rules say."""

    alertmanager: str
    hurry: float


@asynccontextmanager
async def watched_fleet(
    uri: str,
    prometheus: str,
    directory: Path,
    *,
    leads_a_second: float = 8.0,
    alerting: Alerting | None = None,
    **settings: str,
) -> AsyncIterator[Fleet]:
    """All of it at work; `prometheus` is the path of the program, `directory` its own."""
    async with AsyncExitStack() as stack:
        rig = await stack.enter_async_context(
            open_rig(uri, latency=0.1, jitter=0.2, keys={}, windows={})
        )
        daemons = Daemons(_environment(rig) | settings)
        stack.push_async_callback(daemons.stop)
        await daemons.start()
        config = _config(directory, daemons.targets, alerting)
        watching = await stack.enter_async_context(_prometheus(prometheus, directory, config))
        await eventually(lambda: _sees(watching, len(daemons.targets)), within=30)
        began_at = time.time()
        await stack.enter_async_context(_load(rig, leads_a_second))
        yield Fleet(watching, rig.simulator, rig.leads, daemons, began_at)


def _environment(rig: Rig) -> dict[str, str]:
    ours = {name: text for name, text in rig.environment().items() if name not in _SEEN_FROM_HERE}
    return ours | _SETTINGS


@asynccontextmanager
async def _load(rig: Rig, leads_a_second: float) -> AsyncIterator[None]:
    async def insert() -> None:
        for lead in sample_leads(100_000):
            await rig.leads.insert_one(dict(lead))
            await asyncio.sleep(1 / leads_a_second)

    inserting = asyncio.create_task(insert(), name="load")
    try:
        yield
    finally:
        inserting.cancel()
        await asyncio.wait({inserting})


@asynccontextmanager
async def _prometheus(
    program: str, directory: Path, config: dict[str, Any]
) -> AsyncIterator[Prometheus]:
    file = directory / "prometheus.yml"
    file.write_text(yaml.safe_dump(config), "utf-8")
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        *(*bound_to_us(), program, f"--config.file={file}", "--log.level=warn"),
        *(f"--storage.tsdb.path={directory / 'data'}", f"--web.listen-address=127.0.0.1:{port}"),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=sys.stderr,
    )
    try:
        async with plain_client(f"http://127.0.0.1:{port}", seconds=30) as http:
            yield Prometheus(http)
    finally:
        process.terminate()
        await process.wait()


async def _sees(prometheus: Prometheus, targets: int) -> bool:
    try:
        ready = await prometheus.http.get("/-/ready")
    except httpx.TransportError:
        return False
    return ready.is_success and await prometheus.targets_up() == targets


def _config(directory: Path, targets: list[str], alerting: Alerting | None) -> dict[str, Any]:
    hurry = alerting.hurry if alerting else 1
    told = [{"static_configs": [{"targets": [alerting.alertmanager]}]}] if alerting else []
    return {
        "global": {
            "scrape_interval": f"{SCRAPE_SECONDS}s",
            "evaluation_interval": f"{SCRAPE_SECONDS}s",
        },
        "rule_files": [str(_quickened(path, directory, hurry)) for path in RULES],
        "scrape_configs": [
            {"job_name": "enricher", "static_configs": [{"targets": targets}]},
        ],
        "alerting": {"alertmanagers": told},
    }


def _quickened(path: Path, directory: Path, hurry: float) -> Path:
    """Our rules, evaluated as often as is scraped, and so much sooner sure: nobody waits a minute here."""
    rules = yaml.safe_load(path.read_text("utf-8"))
    for group in rules["groups"]:
        group.pop("interval", None)
        for rule in group["rules"]:
            if "for" in rule:
                rule["for"] = f"{seconds_of(rule['for']) / hurry * 1000:.0f}ms"
    copy = directory / path.name
    copy.write_text(yaml.safe_dump(rules), "utf-8")
    return copy
