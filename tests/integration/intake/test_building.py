"""The indexes of a large collection are built beside the work: nobody who is new waits for them."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from pymongo import AsyncMongoClient

from enricher.intake.checkpoints import COLLECTION
from enricher.lead import Document
from enricher.queue.indexes import Indexes
from tests.support.processes import Daemon
from tests.support.rig import Rig, domain, open_rig
from tests.support.waiting import eventually

pytestmark = pytest.mark.slow

OLD = int(os.environ.get("ENRICHER_TEST_OLD_LEADS", "20000"))
"""More than what is soon indexed."""
MANY = 150
SOON = 30.0


@asynccontextmanager
async def held_open(uri: str) -> AsyncIterator[None]:
    """No build of an index ends within the block."""
    point = "hangAfterStartingIndexBuild"
    async with AsyncMongoClient[Document](uri) as client:
        await client.admin.command("configureFailPoint", point, mode="alwaysOn")
        try:
            yield
        finally:
            await client.admin.command("configureFailPoint", point, mode="off")


@asynccontextmanager
async def large(uri: str, leads: int = OLD) -> AsyncIterator[Rig]:
    async with open_rig(uri) as rig:
        await rig.leads.insert_many([{"_id": f"old {n}"} for n in range(leads)])
        yield rig
        assert await rig.leads.count_documents({"_id": {"$regex": "^old"}, **TOUCHED}) == 0
        assert rig.witness.settled_more_than_once() == {}


TOUCHED: Document = {
    "$or": [{name: {"$exists": True}} for name in ("enrichment", "enrichment_status")]
}


async def insert(rig: Rig, word: str, count: int = MANY) -> list[str]:
    ids = [f"{word} {n}" for n in range(count)]
    await rig.leads.insert_many([{"_id": id_, "company_domain": domain()} for id_ in ids])
    return ids


async def status(daemon: Daemon) -> dict[str, Any]:
    found: dict[str, Any] = (await daemon.get("/status.json")).json()
    return found


async def test_new_leads_are_worked_on_while_the_indexes_are_built(faulty_uri: str) -> None:
    async with large(faulty_uri) as rig, AsyncExitStack() as stack:
        async with held_open(faulty_uri):
            daemon = await stack.enter_async_context(rig.daemon("clearbit"))
            await daemon.wait_for_event("stream.opened")
            assert (await daemon.get("/readyz")).is_success
            await rig.leads.insert_one({"_id": "alone", "company_domain": domain()})
            assert await rig.witness.end_of("alone") == "completed"
            await rig.witness.all_ended(await insert(rig, "together"), within=SOON)
            await daemon.wait_for_event("indexes.building")
            await eventually(lambda: _is_told(daemon), within=SOON)
            assert await daemon.metric("enricher_preparing", step="indexes") == 1
            assert daemon.events("indexes.built") == []
        await daemon.wait_for_event("indexes.built", within=SOON)
        await daemon.wait_for_event("history.recorded", within=SOON)
        assert await daemon.metric("enricher_preparing", step="indexes") == 0
        assert await Indexes(rig.leads).missing() == []
        await rig.witness.all_ended(await insert(rig, "later"), within=SOON)
        assert rig.asked_twice() == {}
        assert daemon.troubles() == []


async def _is_told(daemon: Daemon) -> bool:
    told = await status(daemon)
    is_unknown = told["unknown"] == {"backlog": "the indexes are being built"}
    return is_unknown and told["stream"]["building_seconds"] is not None


async def test_what_was_pending_before_waits_for_the_indexes_and_is_done_then(
    faulty_uri: str,
) -> None:
    async with large(faulty_uri) as rig:
        before = {"company_domain": domain(), "enrichment_status": "pending"}
        await rig.leads.insert_one({"_id": "before", **before})
        async with AsyncExitStack() as stack:
            async with held_open(faulty_uri):
                daemon = await stack.enter_async_context(rig.daemon("clearbit"))
                await daemon.wait_for_event("stream.opened")
                await rig.witness.all_ended(await insert(rig, "new"), within=SOON)
                wish = {"$set": {"enrichment_status": "pending", "company_domain": domain()}}
                await rig.leads.update_one({"_id": "new 0"}, wish)
                rig.witness.forget("new 0")
                assert await rig.witness.end_of("new 0") == "completed"
                assert rig.witness.settles("before") == []
            assert await rig.witness.end_of("before", within=SOON) == "completed"


async def test_two_daemons_share_the_new_leads_while_one_build_is_for_both(
    faulty_uri: str,
) -> None:
    async with large(faulty_uri) as rig, AsyncExitStack() as stack:
        async with held_open(faulty_uri):
            one = await stack.enter_async_context(rig.daemon("clearbit"))
            await one.wait_for_event("indexes.building")
            async with rig.daemon("clearbit") as two:
                await two.wait_for_event("stream.opened")
                await rig.witness.all_ended(await insert(rig, "shared"), within=SOON)
        assert rig.asked_twice() == {}
        await one.wait_for_event("indexes.built", within=SOON)


async def test_nothing_is_missed_by_one_who_is_killed_during_the_build(faulty_uri: str) -> None:
    soon = {"ENRICHER_LEASE_SECONDS": 2}
    async with large(faulty_uri) as rig:
        async with held_open(faulty_uri):
            async with rig.daemon("clearbit", **soon) as killed:
                await killed.wait_for_event("indexes.building")
                leads = await insert(rig, "first", 40)
                killed.kill()
            leads += await insert(rig, "while nobody watched", 40)
            async with rig.daemon("clearbit", **soon) as second:
                await second.wait_for_event("stream.opened")
                leads += await insert(rig, "second", 40)
                await rig.witness.all_ended(leads[40:], within=SOON)
                second.kill()
        async with rig.daemon("clearbit", **soon):
            await rig.witness.all_ended(leads, within=SOON)
            await eventually(lambda: _has_indexes(rig), within=SOON)


async def _has_indexes(rig: Rig) -> bool:
    return await Indexes(rig.leads).missing() == []


async def test_a_record_of_history_goes_on_after_a_kill_and_nothing_is_missed(
    faulty_uri: str,
) -> None:
    async with large(faulty_uri, 90_000) as rig:
        checkpoints = rig.database[COLLECTION]
        half_way = {"history_from": {"$exists": True}}
        async with rig.daemon("clearbit", ENRICHER_LEASE_SECONDS=2) as killed:
            await killed.wait_for_event("history.recording")
            leads = await insert(rig, "first", 40)
            await eventually(lambda: checkpoints.find_one(half_way), within=SOON)
            killed.kill()
        assert await checkpoints.find_one(half_way)
        leads += await insert(rig, "while nobody watched", 40)
        async with rig.daemon("clearbit") as second:
            leads += await insert(rig, "second", 40)
            recorded = await second.wait_for_event("history.recorded", within=SOON)
            assert recorded["leads"] >= 90_000
            await rig.witness.all_ended(leads, within=SOON)
        assert await checkpoints.find_one(half_way) is None
