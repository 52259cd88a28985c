"""A vendor that fails everybody for long: it is left alone, and no lead ends because of it."""

from __future__ import annotations

import asyncio
import os
import time

import pytest

from enricher.calls.breaker import FIRST_PAUSE_SECONDS, OPENS_AFTER
from tests.support.fleets import calls, fleet, insert, people
from tests.support.rig import address, open_rig

OUTAGE_SECONDS = float(os.environ.get("CHAOS_OUTAGE_SECONDS", "45"))
"""From the opening: the first pause of 30 s, a probe, and a part of the next."""
LEADS = 300
DAEMONS = 3
IMPATIENT = {
    "ENRICHER_RETRY_DELAY_SECONDS": 4,
    "ENRICHER_LEAD_TIMEOUT_SECONDS": 2,
    "ENRICHER_CONCURRENCY": 16,
    "ENRICHER_MAX_ATTEMPTS": 3,
}
"""The last attempt of a lead begins after 30 seconds: the circuit is open by then, or it fails."""

pytestmark = [pytest.mark.money, pytest.mark.timeout(OUTAGE_SECONDS + 500)]


async def test_no_lead_fails_while_a_vendor_fails_everybody(mongodb_uri: str) -> None:
    leads = [{"_id": number, **lead} for number, lead in enumerate(people(LEADS))]
    ids = [lead["_id"] for lead in leads]
    async with open_rig(mongodb_uri) as rig:
        fault = rig.simulator.inject("status", status=500)
        async with fleet(rig, DAEMONS, **IMPATIENT) as daemons:
            await insert(rig, leads)
            for daemon in daemons:
                for vendor in ("clearbit", "hunter"):
                    await daemon.wait_for_event("provider.circuit_opened", 60, provider=vendor)
            opened = time.monotonic()
            await asyncio.sleep(OUTAGE_SECONDS)
            assert rig.witness.ended(ids) == []
            opening = [len(daemon.events("provider.circuit_opened")) for daemon in daemons]
            probes = {
                vendor: len(calls(rig, vendor, opened + 5)) for vendor in ("clearbit", "hunter")
            }
            before = len(rig.simulator.journal)
            rig.simulator.faults.remove(fault)
            mended = time.monotonic()
            await rig.witness.all_ended(ids, within=480)
            took = time.monotonic() - mended
        print(  # noqa: T201 - a figure for people
            f"{LEADS} leads, {DAEMONS} daemons, {OUTAGE_SECONDS:g} s of 500: "
            f"{before} calls in all, after the opening {probes}; lines {opening}; "
            f"completed {took:.0f} s after the end"
        )
        assert opening == [2] * DAEMONS  # one for each vendor
        assert max(probes.values()) <= DAEMONS * 2 * (OUTAGE_SECONDS / FIRST_PAUSE_SECONDS)
        done = await rig.leads.count_documents({"enrichment_status": "completed"})
        assert done == LEADS


async def test_a_lead_alone_with_a_vendor_that_fails_ends_after_its_attempts(
    mongodb_uri: str,
) -> None:
    """Nine failing questions say nothing about a vendor: each of the leads comes to its end."""
    ids = [*range(OPENS_AFTER - 1)]
    async with open_rig(mongodb_uri) as rig:
        rig.simulator.inject("status", status=500)
        async with fleet(rig, 1, **IMPATIENT) as daemons:
            await rig.leads.insert_many([{"_id": lead, "email": address()} for lead in ids])
            await rig.witness.all_ended(ids, within=90)
            assert daemons[0].events("provider.circuit_opened") == []
        assert {rig.witness.statuses(lead)[-1] for lead in ids} == {"failed"}
