"""Files and sockets that run out, and strangers at the HTTP port, seen from the real daemon."""

from __future__ import annotations

import asyncio
import resource
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.support.processes import Daemon
from tests.support.rig import Rig, domain
from tests.support.waiting import eventually

HALF = b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 8000
MOST_RESIDENT_MORE = 40 * 1024 * 1024
A_SLOW_SERVERS = {"ExecutionTimeout 50", "NetworkTimeout", "TimeoutError"}
"""Outages that are up to the machine: a time limit of the server's, the driver's or ours."""


def _limits(daemon: Daemon) -> tuple[str, str]:
    """Soft and hard, of open files."""
    for line in Path(f"/proc/{daemon.pid}/limits").read_text().splitlines():
        if line.startswith("Max open files"):
            soft, hard = line.split()[3:5]
            return soft, hard
    raise AssertionError("no such limit")


def _open(daemon: Daemon) -> int:
    return len(list(Path(f"/proc/{daemon.pid}/fd").iterdir()))


def _resident(daemon: Daemon) -> int:
    pages = int(Path(f"/proc/{daemon.pid}/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def _limited(rig: Rig, soft: int, hard: int, **settings: object) -> Daemon:
    env = rig.environment("clearbit") | {name: str(value) for name, value in settings.items()}
    return Daemon("run", env=env, before=("prlimit", f"--nofile={soft}:{hard}"))


async def test_the_soft_limit_is_raised_to_the_hard_one(rig: Rig) -> None:
    async with _limited(rig, 64, 4096) as daemon:
        await daemon.wait_for_event("stream.opened")
        assert _limits(daemon) == ("4096", "4096")


async def test_a_thousand_half_sent_requests_are_in_nobodys_way(rig: Rig) -> None:
    """Under the limit that many systems begin with, and cannot exceed."""
    async with _limited(rig, 1024, 1024) as daemon, AsyncExitStack() as stack:
        await daemon.wait_for_event("stream.opened")
        port = int((await daemon.wait_for_event("http.listening"))["port"])
        before = _resident(daemon)
        for _ in range(1150):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            stack.callback(writer.close)
            writer.write(HALF)
        assert (await daemon.get("/livez")).status_code == 200
        ids = list(range(20))
        await rig.leads.insert_many([{"_id": id_, "company_domain": domain()} for id_ in ids])
        await rig.witness.all_ended(ids)
        assert {rig.witness.statuses(id_)[-1] for id_ in ids} == {"completed"}
        assert _open(daemon) < 250
        assert _resident(daemon) - before < MOST_RESIDENT_MORE
        assert await daemon.metric("enricher_http_refused_total", reason="room") >= 1000
        assert await daemon.metric("enricher_descriptor_shortages_total") == 0


@pytest.mark.timeout(240)
async def test_too_few_descriptors_cost_time_and_nothing_else(rig: Rig) -> None:
    """300 leads at once at a slow vendor, with room for some hundred connections."""
    rig.simulator.latency = 1.0
    settings = {"ENRICHER_CONCURRENCY": 300, "ENRICHER_MAX_ATTEMPTS": 0}
    async with _limited(rig, 200, 200, **settings) as daemon:
        await daemon.wait_for_event("stream.opened")
        ids = list(range(300))
        await rig.leads.insert_many([{"_id": id_, "company_domain": domain()} for id_ in ids])
        await eventually(lambda: daemon.events("process.no_descriptors", limit=200), within=20)
        assert (await daemon.get("/livez")).status_code == 200
        await rig.witness.all_ended(ids, within=180)  # one that found no room is due in a minute
        assert {rig.witness.statuses(id_)[-1] for id_ in ids} == {"completed"}
        assert await daemon.metric("enricher_descriptor_shortages_total") > 0
        assert len(daemon.events("process.no_descriptors")) <= 2
        for event in ("provider.circuit_opened", "provider.unavailable"):
            assert daemon.events(event) == []
        outages = {event["error"] for event in daemon.events("database.unavailable")}
        assert outages <= A_SLOW_SERVERS, "connections to it come out of the reserve"
        assert await daemon.metric("enricher_provider_requests_total", outcome="unavailable") == 0
    failed = await rig.leads.count_documents(
        {"enriched_data.enrichment_metadata.sources_failed.0": {"$exists": True}}
    )
    assert failed == 0


async def test_a_malformed_request_is_no_line_of_the_log(rig: Rig) -> None:
    async with rig.daemon() as daemon:
        port = int((await daemon.wait_for_event("http.listening"))["port"])
        for garbage in (b"\x16\x03\x01\x02\x00\r\n\r\n", b"GET / HTTP/1.1\r\nno colon\r\n\r\n"):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(garbage)
            assert b" 400 " in await reader.readline()
            writer.close()
        assert await daemon.metric("enricher_http_refused_total", reason="malformed") == 2
        assert daemon.events("library.said") == []


async def test_a_name_that_a_page_made_up_reads_nothing(rig: Rig) -> None:
    settings = {"ENRICHER_HTTP_HOST": "0.0.0.0", "ENRICHER_HTTP_ALLOWED_HOSTS": '["crm.acme.com"]'}
    async with rig.daemon(**settings) as daemon:
        port = int((await daemon.wait_for_event("http.listening"))["port"])
        for host, wanted in {
            "evil.example.com": 421,
            "enricher": 200,
            "enricher.crm.svc": 200,
            "10.1.2.3": 200,
            "crm.acme.com": 200,
        }.items():
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(f"GET /metrics HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode())
            assert f" {wanted} ".encode() in await reader.readline(), host
            writer.close()
