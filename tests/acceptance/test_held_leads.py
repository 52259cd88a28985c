"""Leads that a writer's open transaction holds, while others come: nobody else waits for them."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest

from enricher.lead import Document, LeadId
from tests.support.locks import held
from tests.support.processes import Daemon
from tests.support.rig import Rig, address

PAST = datetime(2020, 1, 1, tzinfo=UTC)
SOON = 8.0
"""Far less than a transaction may live, and far more than anything takes on a slow machine."""
SLOW_SECONDS = 5.0
"""Time for the test to get hold of what is in work, before its answers are there."""
OTHERS = range(100, 112)


def lead(id_: LeadId, **more: Any) -> Document:
    return {"_id": id_, "email": address(), **more}


@asynccontextmanager
async def asleep(daemon: Daemon) -> AsyncIterator[None]:
    """It sees nothing of what happens meanwhile until the block is over."""
    daemon.send(signal.SIGSTOP)
    try:
        yield
    finally:
        daemon.send(signal.SIGCONT)


async def in_work(rig: Rig, *ids: LeadId) -> None:
    await rig.witness.until(
        lambda: all((rig.witness.statuses(id_) or [""])[-1] == "processing" for id_ in ids)
    )


async def others_go_on(rig: Rig, others: Iterable[LeadId] = OTHERS) -> None:
    """One after another, each as the one before is done with."""
    for number in others:
        await rig.leads.insert_one(lead(number))
        await rig.witness.end_of(number, within=SOON)


def done_once(rig: Rig, *ids: LeadId) -> bool:
    return all([step.status for step in rig.witness.settles(id_)] == ["completed"] for id_ in ids)


@pytest.mark.parametrize("aborts", [False, True], ids=["committed", "aborted"])
async def test_leads_that_are_held_in_work_delay_no_settle_of_others(
    rig: Rig, *, aborts: bool
) -> None:
    slow = rig.simulator.inject("latency", vendor="hunter", seconds=SLOW_SECONDS)
    async with rig.daemon() as daemon:
        await daemon.wait_for_event("daemon.started")
        await rig.leads.insert_many([lead(number) for number in range(3)])
        await in_work(rig, 0, 1, 2)
        rig.simulator.faults.remove(slow)
        async with held(rig.leads, 0, 1, aborts=aborts):
            await others_go_on(rig)
            await rig.witness.end_of(2, within=SOON)
            await daemon.wait_for_event("lead.blocked")  # at the settle, or keeping it early
            await others_go_on(rig, range(200, 210))
            assert rig.witness.ended([0, 1]) == []
        await rig.witness.all_ended([0, 1])
        assert done_once(rig, 0, 1, 2, *OTHERS)
        assert rig.asked_twice() == {}
        assert await daemon.metric("enricher_leads_blocked_total") >= 2


async def test_a_lead_that_is_held_while_it_falls_due_delays_no_claim_of_others(rig: Rig) -> None:
    due = {"enrichment_status": "retrying", "enrichment": {"due_at": PAST}}
    async with rig.daemon() as daemon:
        await daemon.wait_for_event("daemon.started")
        async with asleep(daemon):
            await rig.leads.insert_many([lead(0, **due), lead(1, **due)])
            holding = held(rig.leads, 0)
            await holding.__aenter__()
        try:
            await rig.witness.end_of(1, within=SOON)
            await others_go_on(rig)
            assert rig.witness.statuses(0) == ["retrying"]
        finally:
            await holding.__aexit__(None, None, None)
        assert await rig.witness.end_of(0) == "completed"
        assert done_once(rig, 0, 1, *OTHERS)
        assert rig.asked_twice() == {}


async def test_leads_that_are_held_while_new_delay_no_admission_of_others(rig: Rig) -> None:
    async with rig.daemon() as daemon:
        await daemon.wait_for_event("daemon.started")
        async with asleep(daemon):
            await rig.leads.insert_many([lead(number) for number in range(5)])
            holding = held(rig.leads, 0, 1, 2)
            await holding.__aenter__()
        try:
            await rig.witness.all_ended([3, 4], within=SOON)
            await others_go_on(rig)
            assert rig.witness.statuses(0) == []
        finally:
            await holding.__aexit__(None, None, None)
        await rig.witness.all_ended([0, 1, 2])
        assert done_once(rig, *range(5), *OTHERS)
        assert rig.asked_twice() == {}


async def test_what_is_held_while_new_is_seen_by_the_next_start(rig: Rig) -> None:
    """The position in the stream stays before it, whatever came later."""
    async with rig.daemon() as daemon:
        await daemon.wait_for_event("daemon.started")
        async with asleep(daemon):
            await rig.leads.insert_one(lead(0))
            holding = held(rig.leads, 0)
            await holding.__aenter__()
        try:
            await others_go_on(rig, OTHERS[:5])
            await daemon.wait_for_event("lead.blocked", step="admit")
            daemon.kill()
            await daemon.wait()
        finally:
            await holding.__aexit__(None, None, None)
    async with rig.daemon():
        assert await rig.witness.end_of(0) == "completed"


async def test_a_lead_that_is_held_costs_no_other_its_lease(rig: Rig) -> None:
    slow = rig.simulator.inject("latency", vendor="hunter", seconds=9)
    settings = {"ENRICHER_LEASE_SECONDS": 4, "ENRICHER_PROVIDER_TIMEOUT_SECONDS": 20}
    async with rig.daemon(**settings) as daemon:
        await daemon.wait_for_event("daemon.started")
        await rig.leads.insert_many([lead(number) for number in range(20)])
        await in_work(rig, *range(20))
        rig.simulator.faults.remove(slow)
        async with held(rig.leads, 0):
            await rig.witness.all_ended(range(1, 20), within=20)
            assert len(daemon.events("lease.lost")) <= 1
        await rig.witness.end_of(0)
        assert done_once(rig, *range(20))
        assert rig.asked_twice() == {}


async def test_one_transaction_over_all_slots_leaves_room_for_others(rig: Rig) -> None:
    slow = rig.simulator.inject("latency", vendor="hunter", seconds=SLOW_SECONDS)
    async with rig.daemon(ENRICHER_CONCURRENCY=20) as daemon:
        await daemon.wait_for_event("daemon.started")
        await rig.leads.insert_many([lead(number) for number in range(20)])
        await in_work(rig, *range(20))
        rig.simulator.faults.remove(slow)
        async with held(rig.leads, *range(20)):
            await daemon.wait_for_event("lead.blocked")  # at the settle, or keeping it early
            await others_go_on(rig)
        await rig.witness.all_ended(range(20))
        assert done_once(rig, *range(20), *OTHERS)
        assert rig.asked_twice() == {}


async def test_a_held_lead_that_is_deleted_is_not_brought_back(rig: Rig) -> None:
    slow = rig.simulator.inject("latency", vendor="hunter", seconds=SLOW_SECONDS)
    async with rig.daemon() as daemon:
        await daemon.wait_for_event("daemon.started")
        await rig.leads.insert_one(lead(0))
        await in_work(rig, 0)
        rig.simulator.faults.remove(slow)
        async with held(rig.leads, 0, deletes=True):
            await daemon.wait_for_event("lead.blocked")  # at the settle, or keeping it early
            await others_go_on(rig, OTHERS[:5])
        await daemon.wait_for_event("lead.not_written", why="deleted")
        assert await rig.leads.find_one({"_id": 0}) is None


async def test_a_daemon_that_is_told_to_stop_ends_although_a_lead_is_held(rig: Rig) -> None:
    slow = rig.simulator.inject("latency", vendor="hunter", seconds=SLOW_SECONDS)
    async with rig.daemon(ENRICHER_SHUTDOWN_GRACE_SECONDS=4) as daemon:
        await daemon.wait_for_event("daemon.started")
        await rig.leads.insert_many([lead(0), lead(1)])
        await in_work(rig, 0, 1)
        rig.simulator.faults.remove(slow)
        async with held(rig.leads, 0):
            await daemon.wait_for_event("lead.blocked")  # at the settle, or keeping it early
            await rig.witness.end_of(1, within=SOON)
            daemon.terminate()
            assert await daemon.wait(within=4 + 5 + 5) == 0
            assert daemon.events("drain.cut_short") == []
    async with rig.daemon():
        await _run_out(rig, 0)
        assert await rig.witness.end_of(0) == "completed"
        assert rig.asked_twice() == {}


async def _run_out(rig: Rig, id_: LeadId) -> None:
    """As if the time of its lease had passed."""
    await rig.leads.update_one(
        {"_id": id_, "enrichment_status": "processing"}, {"$set": {"enrichment.due_at": PAST}}
    )


async def test_two_daemons_go_on_beside_leads_that_are_held(rig: Rig) -> None:
    slow = rig.simulator.inject("latency", vendor="hunter", seconds=SLOW_SECONDS)
    async with rig.daemon() as one, rig.daemon() as other:
        for daemon in (one, other):
            await daemon.wait_for_event("daemon.started")
        await rig.leads.insert_many([lead(number) for number in range(6)])
        await in_work(rig, *range(6))
        rig.simulator.faults.remove(slow)
        async with held(rig.leads, *range(6)):
            await others_go_on(rig)
        await rig.witness.all_ended(range(6))
        assert done_once(rig, *range(6), *OTHERS)
        assert rig.asked_twice() == {}


async def test_a_lead_that_is_refused_and_one_that_is_held_share_a_batch_with_others(
    rig: Rig,
) -> None:
    """The collection's rule takes no result for lead 1."""
    await rig.leads.insert_one(lead("first"))
    await rig.leads.delete_one({"_id": "first"})
    rule = {"$or": [{"_id": {"$ne": 1}}, {"enrichment_status": {"$ne": "completed"}}]}
    await rig.database.command("collMod", rig.leads.name, validator=rule)
    slow = rig.simulator.inject("latency", vendor="hunter", seconds=SLOW_SECONDS)
    async with rig.daemon() as daemon:
        await daemon.wait_for_event("daemon.started")
        await rig.leads.insert_many([lead(number) for number in range(6)])
        await in_work(rig, *range(6))
        rig.simulator.faults.remove(slow)
        async with held(rig.leads, 0):
            await rig.witness.all_ended(range(1, 6), within=SOON)
            assert rig.witness.statuses(1)[-1] == "failed"
        assert await rig.witness.end_of(0) == "completed"


async def test_a_backfill_goes_on_beside_a_lead_that_is_held(rig: Rig) -> None:
    await rig.leads.insert_many([lead(number) for number in range(20)])
    others = [number for number in range(20) if number != 7]
    async with rig.daemon() as daemon:
        await daemon.wait_for_event("history.recorded")
        command = Daemon("backfill", "--query", "{}", "--yes", env=rig.environment())
        async with held(rig.leads, 7), command:
            await rig.witness.all_ended(others, within=2 * SOON)
            assert rig.witness.statuses(7) == []
