"""What probes and Prometheus see of the daemon, in good times and while MongoDB is away."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import TypeAlias

import pytest_asyncio
from prometheus_client.parser import text_string_to_metric_families

from enricher.lead import LeadId
from enricher.mongo.embedded import EmbeddedServer
from tests.support.processes import Daemon
from tests.support.rig import Rig, domain, open_rig
from tests.support.waiting import business, eventually

MOST_LINES_OF_AN_OUTAGE = 40
"""Five loops, each of them with one line for its beginning, one for every ten seconds, one for its end."""

CLOSING_SECONDS = 5
"""What a stop may take beyond the grace period, whatever MongoDB does."""

Outage: TypeAlias = Callable[[EmbeddedServer], AbstractAsyncContextManager[None]]

ZERO_AT_THE_START = {
    ("enricher_leads_admitted_total", "stream"),
    ("enricher_leads_admitted_total", "polling"),
    ("enricher_leads_claimed_total", ""),
    ("enricher_claims_lost_total", ""),
    ("enricher_leads_in_work", ""),
    ("enricher_leases_lost_total", "heartbeat"),
    ("enricher_leads_released_total", ""),
    *(
        ("enricher_leads_settled_total", end)
        for end in ("completed", "retrying", "failed", "skipped")
    ),
    ("enricher_leads_skipped_total", "nothing_to_go_by"),
    ("enricher_results_dropped_total", "lease_lost"),
    ("enricher_queue_wait_seconds_count", ""),
    ("enricher_end_to_end_seconds_count", ""),
    ("enricher_lead_completeness_ratio_count", ""),
    *(("enricher_provider_requests_total", f"{name} found") for name in ("clearbit", "hunter")),
    *(("enricher_provider_requests_total", f"{name} throttled") for name in ("clearbit", "hunter")),
    ("enricher_provider_held", "hunter"),
    ("enricher_stream_opens_total", "token"),
    ("enricher_database_errors_total", "worker"),
}


async def samples(daemon: Daemon) -> dict[tuple[str, str], float]:
    """(name, values of the labels) of every sample -> its value."""
    families = text_string_to_metric_families((await daemon.get("/metrics")).text)
    return {
        (sample.name, " ".join(value for name, value in sorted(sample.labels.items(), reverse=True))): sample.value
        for family in families
        for sample in family.samples
    }  # fmt: skip


@pytest_asyncio.fixture
async def daemon(rig: Rig) -> AsyncIterator[Daemon]:
    async with rig.daemon() as running:
        await running.wait_for_event("history.recorded")
        yield running


async def test_every_series_is_there_with_zero_before_the_first_lead(daemon: Daemon) -> None:
    found = await samples(daemon)
    assert found.keys() >= ZERO_AT_THE_START
    assert {series: found[series] for series in ZERO_AT_THE_START if found[series]} == {}
    assert found["enricher_stream_open", ""] == 1
    assert found["enricher_stream_opens_total", "time"] == 1


async def test_the_series_tell_what_became_of_a_lead(rig: Rig, daemon: Daemon) -> None:
    await rig.leads.insert_one({"_id": 1, "company_domain": domain()})
    assert await rig.witness.end_of(1) == "completed"

    async def is_counted() -> bool:
        return await daemon.metric("enricher_leads_settled_total", outcome="completed") == 1

    await eventually(is_counted)
    assert await daemon.metric("enricher_leads_admitted_total", source="stream") == 1
    assert await daemon.metric("enricher_end_to_end_seconds_count") == 1
    assert await daemon.metric("enricher_end_to_end_seconds_sum") < 5 * business()
    assert await daemon.metric("enricher_leads_in_work") == 0
    found = {"provider": "clearbit", "outcome": "found"}
    assert await daemon.metric("enricher_provider_requests_total", **found) == 1


async def test_the_probes_say_that_it_is_alive_and_ready(daemon: Daemon) -> None:
    assert (await daemon.get("/livez")).status_code == 200
    ready = await daemon.get("/readyz")
    assert (ready.status_code, ready.json()["status"]) == (200, "ready")


async def test_it_is_not_ready_while_it_drains(rig: Rig, daemon: Daemon) -> None:
    rig.simulator.inject("hang")
    await rig.leads.insert_one({"company_domain": domain()})
    await rig.simulator.journal.until(lambda: len(rig.simulator.journal) == 1)
    daemon.terminate()
    await daemon.wait_for_event("daemon.stopping")
    assert (await daemon.get("/readyz")).status_code == 503
    assert (await daemon.get("/livez")).status_code == 200


async def test_it_outlives_a_mongodb_that_is_down_or_says_nothing_and_goes_on_by_itself(
    mongod: Path, in_memory: Path
) -> None:
    """Both at once: each takes the ten seconds after which an operation is given up."""
    async with asyncio.TaskGroup() as outages:
        for outage in (_down, _silent):
            server = EmbeddedServer(in_memory / outage.__name__, binary=mongod)
            outages.create_task(_outlives(server, outage))


async def _outlives(server: EmbeddedServer, outage: Outage) -> None:
    async with server, open_rig(server.uri) as rig, rig.daemon("clearbit") as daemon:
        await daemon.wait_for_event("history.recorded")
        await is_enriched(rig, "before")
        async with outage(server):
            await eventually(lambda: is_ready(daemon, 503), within=25)
            assert (await daemon.get("/livez")).status_code == 200
            assert await daemon.metric("enricher_database_errors_total") > 0
        await eventually(lambda: is_ready(daemon, 200), within=20)
        await is_enriched(rig, "after")
        said = daemon.events("database.unavailable") + daemon.events("database.available")
        assert len(said) < MOST_LINES_OF_AN_OUTAGE
        daemon.terminate()
        assert await daemon.wait() == 0


@asynccontextmanager
async def _down(server: EmbeddedServer) -> AsyncIterator[None]:
    """Connections are refused."""
    await server.stop()
    yield
    await server.start()


@asynccontextmanager
async def _silent(server: EmbeddedServer) -> AsyncIterator[None]:
    """Connections stand, and nothing comes back."""
    os.kill(server.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(server.pid, signal.SIGCONT)


async def test_it_stops_in_time_while_mongodb_says_nothing(mongod: Path, in_memory: Path) -> None:
    """And what it had in work is finished by the next one."""
    server = EmbeddedServer(in_memory, binary=mongod)
    async with server, open_rig(server.uri, latency=0.5) as rig:
        short = {"ENRICHER_SHUTDOWN_GRACE_SECONDS": 0, "ENRICHER_LEASE_SECONDS": 2}
        async with rig.daemon("clearbit", **short) as daemon:
            await daemon.wait_for_event("history.recorded")
            await rig.leads.insert_one({"_id": 1, "company_domain": domain()})
            await rig.simulator.journal.until(lambda: len(rig.simulator.journal) == 1)
            async with _silent(server):
                daemon.terminate()
                assert await daemon.wait(within=CLOSING_SECONDS + 1) == -signal.SIGTERM
        async with rig.daemon("clearbit"):
            await eventually(lambda: is_completed(rig, 1), within=15)


async def is_ready(daemon: Daemon, status: int) -> bool:
    return (await daemon.get("/readyz")).status_code == status


async def is_enriched(rig: Rig, id_: str) -> None:
    await rig.leads.insert_one({"_id": id_, "company_domain": domain()})
    await eventually(lambda: is_completed(rig, id_), within=15)


async def is_completed(rig: Rig, id_: LeadId) -> bool:
    """Read from the lead itself: the witness's own stream may not outlive the server."""
    return (await rig.lead(id_)).get("enrichment_status") == "completed"
