"""A vendor whose answers never end, and the real daemon that asks it."""

from __future__ import annotations

import asyncio
import resource
import time
from pathlib import Path

import pytest

from tests.support.floods import flooding
from tests.support.processes import Daemon
from tests.support.rig import Rig, address, domain
from tests.support.waiting import business

LEADS = 16
MOST_RESIDENT_MORE = 64 * 1024 * 1024
LONGEST_SILENCE = 3.0
"""Seconds for a probe on an idle machine, after which it is given up."""


def _resident(daemon: Daemon) -> int:
    return int(Path(f"/proc/{daemon.pid}/statm").read_text().split()[1]) * resource.getpagesize()


async def _slowest_probe(daemon: Daemon, over: asyncio.Event) -> float:
    slowest = 0.0
    while not over.is_set():
        began = time.monotonic()
        assert (await daemon.get("/livez")).status_code == 200
        slowest = max(slowest, time.monotonic() - began)
        await asyncio.sleep(0.02)
    return slowest


@pytest.mark.parametrize("name", ["early_hints", "chunk_extension", "headers", "one_byte_chunks"])
async def test_the_daemon_neither_stalls_nor_grows(rig: Rig, name: str) -> None:
    with flooding(name) as flood:
        settings = {"CLEARBIT_BASE_URL": flood.url, "ENRICHER_MAX_ATTEMPTS": 0}
        async with rig.daemon(**settings) as daemon:
            await daemon.wait_for_event("stream.opened")
            before, over = _resident(daemon), asyncio.Event()
            probing = asyncio.create_task(_slowest_probe(daemon, over))
            ids = list(range(LEADS))
            await rig.leads.insert_many([{"_id": id_, "company_domain": domain()} for id_ in ids])
            await rig.leads.insert_one({"_id": "mail", "email": address()})
            # Where such answers count as charged, the provider is held after ten: they are retrying then.
            await rig.witness.until(
                lambda: all(rig.witness.settles(id_) for id_ in [*ids, "mail"]), within=60
            )
            over.set()
            assert await probing < LONGEST_SILENCE * business()
            assert _resident(daemon) - before < MOST_RESIDENT_MORE
        assert flood.calls
    assert (await rig.lead("mail"))["enriched_data"]["email_verification"]["status"]
