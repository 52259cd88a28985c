"""What others make large, the daemon does not hold all at once: vendors' answers, leads, their ids."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from aiohttp import web

from enricher.lead import Document, LeadId
from enricher.mongo.embedded import EmbeddedServer
from tests.benchmarks.machine import resident_mb
from tests.support.rig import Rig, Step, address, domain, key_of, open_rig
from tests.support.waiting import business, eventually

LEADS = 64
DUE: Document = {
    "enrichment_status": "retrying",
    "enrichment": {"token": 1, "due_at": datetime(2026, 1, 1, tzinfo=UTC)},
}
TOO_LONG = "The _id is longer than 4,096 bytes."
MOST_MB = 256
"""A daemon that has just started takes about 70."""
IN_WORK = 16 * 2**20
"""Bytes of the writers' data, of all leads together."""


def text_of(size: int) -> str:
    """Which no compression makes much smaller."""
    return base64.b64encode(os.urandom(size * 3 // 4)).decode()


def in_one_piece(size: int) -> object:
    return text_of(size)


def in_many_pieces(size: int) -> object:
    return [{"a": number} for number in range(size // 16)]


def most_mb() -> float:
    """A busy machine is later to give back what is no longer needed. All at once would be twice as much again."""
    return MOST_MB * min(2, business())


def most_at_once(rig: Rig, leads: Iterable[LeadId]) -> int:
    """How many of them were in work together, in the order in which the server wrote it."""
    steps = [(step.at, lead, step.status) for lead in leads for step in _steps(rig, lead)]
    in_work, most = set[LeadId](), 0
    for _, lead, status in sorted(steps):
        (in_work.add if status == "processing" else in_work.discard)(lead)
        most = max(most, len(in_work))
    return most


def _steps(rig: Rig, lead: LeadId) -> list[Step]:
    return rig.witness.steps[key_of(lead)]


@dataclass(slots=True)
class Vendor:
    """Answers about every company at length."""

    url: str = ""
    calls: int = 0
    body: bytes = b""

    async def answer(self, request: web.Request) -> web.Response:  # noqa: ARG002 - aiohttp's signature
        self.calls += 1
        return web.Response(body=self.body, content_type="application/json")


@asynccontextmanager
async def vendor_of(body: object) -> AsyncIterator[Vendor]:
    vendor = Vendor(body=json.dumps(body).encode())
    app = web.Application()
    app.router.add_get("/{path:.*}", vendor.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        vendor.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield vendor
    finally:
        await runner.cleanup()


@pytest.mark.timeout(120)
@pytest.mark.parametrize("junk", [in_one_piece, in_many_pieces])
async def test_large_answers_wait_for_room(rig: Rig, junk: Callable[[int], object]) -> None:
    company = {"name": "Acme", "domain": "acme.com", "junk": junk(1_600_000)}
    async with vendor_of(company) as vendor:
        settings = {"CLEARBIT_BASE_URL": vendor.url, "ENRICHER_MAX_ATTEMPTS": 0}
        async with rig.daemon("clearbit", **settings) as daemon:
            await daemon.wait_for_event("stream.opened")
            ids = list(range(LEADS))
            await rig.leads.insert_many([{"_id": id_, "company_domain": domain()} for id_ in ids])
            await rig.witness.all_ended(ids, within=90)
            assert resident_mb(daemon.pid, peak=True) < most_mb()
        assert vendor.calls == LEADS  # nobody's attempt was spent by waiting
    assert await rig.leads.count_documents({"enrichment_status": "completed"}) == LEADS


@pytest.mark.timeout(120)
@pytest.mark.parametrize(("leads", "size"), [(40, 4_000_000), (5, 12_000_000)])
async def test_leads_with_much_data_are_taken_a_few_at_a_time(
    rig: Rig, leads: int, size: int
) -> None:
    for number in range(leads):
        data = {"company_data": {"name": "Acme"}, "of_a_writer": text_of(size)}
        lead = {"_id": number, "email": address(), "enriched_data": data}
        await rig.leads.insert_one({**lead, "enrichment_status": "pending"})
    await rig.leads.insert_one({"_id": "small", "email": address(), "enrichment_status": "pending"})
    async with rig.daemon() as daemon:
        await rig.witness.all_ended([*range(leads), "small"], within=90)
        assert most_at_once(rig, range(leads)) <= IN_WORK // size
        assert resident_mb(daemon.pid, peak=True) < most_mb()
    kept = await rig.leads.count_documents({"enriched_data.of_a_writer": {"$type": "string"}})
    assert kept == leads


@pytest.mark.timeout(180)
async def test_ids_of_megabytes_stay_in_the_database(mongod: Path, in_memory: Path) -> None:
    # Somewhat longer ones would end the stream of the test itself.
    long = [f"{number:02}" + "x" * 2_900_000 for number in range(40)]
    async with (
        EmbeddedServer(in_memory / "server", binary=mongod) as server,
        open_rig(server.uri) as rig,
    ):
        for number, id_ in enumerate(long[:20]):
            status = {"enrichment_status": "pending"} if number % 2 else DUE
            await rig.leads.insert_one({"_id": id_, "email": address(), **status})
        await rig.leads.insert_one({"_id": 1, "email": address(), "enrichment_status": "pending"})
        async with rig.daemon() as daemon:
            await daemon.wait_for_event("history.recorded")
            for id_ in long[20:]:
                await rig.leads.insert_one({"_id": id_, "email": address()})
            await rig.leads.insert_one({"_id": 2, "email": address()})

            async def is_done() -> bool:
                return await rig.leads.count_documents({"enrichment_status": "completed"}) == 2

            await eventually(is_done, within=60)
            assert resident_mb(daemon.pid, peak=True) < most_mb()
            failed = {"enrichment_status": "failed", "enrichment_error": TOO_LONG}
            assert await rig.leads.count_documents(failed) == 20
            assert await daemon.metric("enricher_leads_unwritable_total") == 20
            assert not daemon.events("stream.position_lost")
