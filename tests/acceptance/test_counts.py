"""What a lead costs, in counts: a guard against a slower daemon that needs no clock.

Seconds depend on the machine; how often the database and the vendors are asked does not. The ceilings
stand well above what was seen, because how many leads share a round trip depends on how they fall
together, and below what comes of it when one of the steps is not shared any more.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

from enricher.lead import Document
from tests.support import counting
from tests.support.rig import Rig, address, open_rig
from tests.support.wire import Wire, wire_to

LEADS = 512
IN_WORK = 64
NOT_DUE = 5_000
LONG_HENCE = datetime(2100, 1, 1, tzinfo=UTC)
PER_LEAD = ("leads", "enricher_answers", "enricher_suppressed")
"""What is asked about each lead. The ledger and the shared limits are asked by the clock."""


@dataclass(frozen=True, slots=True)
class Counted:
    """Per lead, unless it says otherwise."""

    round_trips: float
    calls: float
    updates: float
    keys: float
    documents: float
    lives: set[tuple[str, ...]]
    """Every series of statuses that some lead went through."""


@pytest.fixture(scope="module")
def backlog(mongodb_uri: str) -> Counted:
    """Leads that stood there as `pending`, among many that were done with, when the daemon began."""
    return asyncio.run(_counted(mongodb_uri))


async def _counted(uri: str) -> Counted:
    async with open_rig(uri, new=True) as rig, wire_to(uri) as wire:
        await counting.profile(rig.database)
        await rig.leads.insert_many([_done() for _ in range(NOT_DUE)])
        await rig.leads.insert_many([_pending(number) for number in range(LEADS)])
        since = await counting.moment(rig.database)
        round_trips = await _drain(rig, wire)
        updates = await counting.updates_since(rig.leads, since)
        examined = await counting.examined(rig.leads)
    return Counted(
        round_trips / LEADS,
        len(list(rig.simulator.journal)) / LEADS,
        updates / LEADS,
        examined.keys / LEADS,
        examined.documents / LEADS,
        {tuple(rig.witness.statuses(number)) for number in range(LEADS)},
    )


def _done() -> Document:
    return {"enrichment_status": "completed", "enrichment": {"token": 1, "due_at": LONG_HENCE}}


def _pending(number: int) -> Document:
    return {"_id": number, "email": address(), "enrichment_status": "pending"}


async def _drain(rig: Rig, wire: Wire) -> int:
    """Round trips from the start to the last settle."""
    settings = {"MONGODB_URI": wire.uri, "ENRICHER_CONCURRENCY": IN_WORK}
    async with rig.daemon("clearbit", "hunter", **settings) as daemon:
        await daemon.wait_for_event("daemon.started", within=60)
        before = wire.round_trips(*PER_LEAD)
        await rig.witness.all_ended(range(LEADS), within=90)
        return wire.round_trips(*PER_LEAD) - before


def test_leads_share_their_round_trips(backlog: Counted) -> None:
    """Seen: 0.3. One step that is not shared any more adds 1."""
    assert backlog.round_trips < 1


def test_a_claim_looks_at_few_index_keys_however_many_leads_are_done_with(backlog: Counted) -> None:
    """Seen: 1. A search that is not bounded adds 10 for each time that all leads are looked at."""
    assert backlog.keys < 3
    assert backlog.documents < 3


def test_a_lead_is_written_to_when_it_is_claimed_and_when_it_is_settled(backlog: Counted) -> None:
    assert backlog.lives == {("pending", "processing", "completed")}
    # Seen: 2.2. What was found for a lead that takes long is kept at once.
    assert backlog.updates < 3.5


def test_each_vendor_is_called_once_for_a_lead(backlog: Counted) -> None:
    assert backlog.calls == 2
