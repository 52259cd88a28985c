"""This process stands still, or its loop is busy: the time is ours, and no vendor's failure."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from enricher.lead import Document
from tests.support.fleets import is_watching
from tests.support.plugged import install
from tests.support.processes import Daemon
from tests.support.rig import Rig, domain
from tests.support.waiting import business, eventually

LEADS = 20
SECONDS = 2.0
"""That a vendor has for its answer."""
STALL = 2 * SECONDS
ONE_CHANCE = {
    "ENRICHER_PROVIDER_TIMEOUT_SECONDS": SECONDS,
    "ENRICHER_LEAD_TIMEOUT_SECONDS": 2 * SECONDS,
    "ENRICHER_MAX_ATTEMPTS": 0,
}
BURNS = """
import time
from enricher import Found, HttpProvider, Kind, Request, Window

class Burning(HttpProvider):
    name, vendor, kind = "burning", "burning", Kind.PERSON
    host, windows = "https://burning.example", (Window(1000, 1),)
    def unfit(self, query):
        return None if query.company_domain and "burning" in query.company_domain else "not asked"
    def request(self, query):
        return Request("/", {"domain": query.company_domain})
    def interpret(self, reply):
        time.sleep(%s)
        return Found({"person_data": {"full_name": "Ada Lovelace"}})
"""


async def all_asked(rig: Rig, count: int) -> None:
    await eventually(lambda: len(rig.simulator.journal.calls(vendor="clearbit")) >= count)


async def nobody_failed(daemon: Daemon, rig: Rig, burning: str = "") -> None:
    """A call of the provider that stops the loop may have had no connection yet, and is begun again."""
    assert await daemon.metric("enricher_provider_requests_total", outcome="unavailable") == 0
    for event in ("provider.circuit_opened", "provider.unavailable", "provider.retry"):
        assert [each for each in daemon.events(event) if each["provider"] != burning] == [], event
    said = "enriched_data.enrichment_metadata.sources_failed.0"
    assert await rig.leads.count_documents({said: {"$exists": True}}) == 0
    assert rig.asked_twice() == {}


async def test_a_process_that_was_stopped_for_a_while_takes_the_answers_that_came_meanwhile(
    rig: Rig,
) -> None:
    rig.simulator.latency = 0.4 * SECONDS
    async with rig.daemon("clearbit", **ONE_CHANCE) as daemon:
        await is_watching(daemon)
        ids = list(range(LEADS))
        await rig.leads.insert_many([{"_id": id_, "company_domain": domain()} for id_ in ids])
        await all_asked(rig, LEADS)
        daemon.send(signal.SIGSTOP)
        await asyncio.sleep(STALL)  # the stall itself
        daemon.send(signal.SIGCONT)
        await rig.witness.all_ended(ids)
        assert {rig.witness.statuses(id_)[-1] for id_ in ids} == {"completed"}
        await nobody_failed(daemon, rig)
        assert await daemon.metric("enricher_stalled_seconds_total") > STALL - 0.5
        (line,) = daemon.events("process.stalled")
        assert line["severity"] == "WARNING"
        # One line a minute: on a busy machine a shorter stall of its own may have come first.
        assert line["seconds"] < STALL + 5 * business()


async def test_a_vendor_that_is_silent_after_a_stall_has_failed_all_the_same(rig: Rig) -> None:
    rig.simulator.latency = 60
    async with rig.daemon("clearbit", **ONE_CHANCE) as daemon:
        await is_watching(daemon)
        await rig.leads.insert_one({"_id": 1, "company_domain": domain()})
        await all_asked(rig, 1)
        daemon.send(signal.SIGSTOP)
        await asyncio.sleep(STALL)  # the stall itself
        daemon.send(signal.SIGCONT)
        assert await rig.witness.end_of(1) == "failed"
        assert await daemon.metric("enricher_provider_requests_total", outcome="unavailable") >= 1


@asynccontextmanager
async def burning(
    rig: Rig, path: Path, seconds: float, **settings: object
) -> AsyncIterator[tuple[Daemon, Counter[str]]]:
    """A daemon with a provider of persons that answers at once and takes so long to be understood; and what
    that provider was asked."""
    install(path, "burning", BURNS % seconds, burning="burning:Burning")
    asked: Counter[str] = Counter()

    async def reply(request: web.Request) -> web.Response:
        asked[request.query["domain"]] += 1
        return web.json_response({})

    app = web.Application()
    app.router.add_get("/", reply)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        settings |= {"BURNING_API_KEY": "key-of-the-tests", "BURNING_BASE_URL": url}
        async with rig.daemon("clearbit", **settings, PYTHONPATH=path) as daemon:
            await is_watching(daemon)
            yield daemon, asked
    finally:
        await runner.cleanup()


def of_burning(count: int) -> list[Document]:
    return [
        {"_id": f"b{n}", "email": f"ada@{domain('burning')}", "name": "Ada"} for n in range(count)
    ]


async def test_a_provider_that_burns_the_cpu_costs_no_other_an_attempt(
    rig: Rig, tmp_path: Path
) -> None:
    """Its `interpret` keeps the loop from all answers, again and again, for longer than they have."""
    rig.simulator.latency = 0.4 * SECONDS
    async with burning(rig, tmp_path, 1.2 * SECONDS, **ONE_CHANCE) as (daemon, asked):
        others = [{"_id": n, "company_domain": domain()} for n in range(LEADS)]
        leads = [*of_burning(3), *others]
        await rig.leads.insert_many(leads)
        await rig.witness.all_ended([lead["_id"] for lead in leads], within=30)
        assert {rig.witness.statuses(lead["_id"])[-1] for lead in leads} == {"completed"}
        await nobody_failed(daemon, rig, "burning")
        assert sorted(asked.values()) == [1, 1, 1]
        assert await daemon.metric("enricher_stalled_seconds_total") > SECONDS


@pytest.mark.parametrize("where", ["interpret", "request", "ask"])
async def test_memory_that_runs_out_is_no_vendors_failure(
    rig: Rig, tmp_path: Path, where: str
) -> None:
    code = (
        "from enricher import HttpProvider, Kind, NotFound, Request, Window\n"
        "class Large(HttpProvider):\n"
        "    name, vendor, kind = 'large', 'large', Kind.COMPANY\n"
        "    host, windows, times = 'https://large.example', (Window(1000, 1),), 0\n"
        "    def unfit(self, query): return None\n"
        "    def burst(self, where):\n"
        f"        if where == '{where}' and Large.times < 4:\n"
        "            Large.times += 1\n"
        "            raise MemoryError\n"
        "    def request(self, query):\n"
        "        self.burst('request')\n"
        "        return Request('/v2/companies/find', {'domain': query.company_domain})\n"
        "    def question(self, query): return query.company_domain\n"
        "    async def ask(self, query):\n"
        "        return (await self.exchange(query)).answer\n"
        "    async def exchange(self, query):\n"
        "        self.burst('ask')\n"
        "        return await super().exchange(query)\n"
        "    def interpret(self, reply):\n"
        "        self.burst('interpret')\n"
        "        return NotFound()\n"
    )
    install(tmp_path, "large", code, large="large:Large")
    settings = {
        "ENRICHER_PROVIDER_ORDER": '["large"]',
        "LARGE_API_KEY": "key-of-the-tests",
        "LARGE_BASE_URL": rig.simulator.base_urls["clearbit"],
        "ENRICHER_MAX_ATTEMPTS": 0,
        "PYTHONPATH": tmp_path,
    }
    async with rig.daemon("clearbit", **settings) as daemon:
        await is_watching(daemon)
        await rig.leads.insert_one({"_id": 1, "company_domain": domain()})
        assert await rig.witness.end_of(1, within=60) == "completed"
        assert await daemon.metric("enricher_provider_requests_total", outcome="unavailable") == 0
        assert daemon.events("process.no_memory")
    data = (await rig.lead(1))["enriched_data"]
    assert data["enrichment_metadata"]["sources_not_found"] == ["large"]
