"""Single leads that are hard to bear, among ordinary ones: as large as can be, or deadly."""

from __future__ import annotations

import time
from contextlib import AsyncExitStack

import pytest
from pymongo import WriteConcern

from enricher.lead import LeadId
from tests.chaos.replica_set import ReplicaSet
from tests.chaos.world import World, open_world
from tests.support.doubling import DUE, IN_THE_DATA, NEW, UNSAYABLE, doubled
from tests.support.processes import Daemon
from tests.support.rig import ENDS, WRITES, Write, domain, key_of, open_rig
from tests.support.waiting import eventually

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(180)]

PER_SECOND = 20
ALMOST_16_MB = 15_900_000
ROUNDS = 3
MAX_ATTEMPTS = 3
BATCH = 30


async def test_leads_of_almost_16_mb_are_enriched_and_hold_up_no_other(mongodb_uri: str) -> None:
    async with (
        open_world(mongodb_uri, "leads of almost 16 MB") as world,
        world.daemon(ENRICHER_LEASE_SECONDS=60) as daemon,
    ):
        await daemon.wait_for_event("history.recorded")
        async with world.writing(PER_SECOND):
            for _ in range(ROUNDS):
                large = await insert_large(world)
                await world.observer.end_of(large, within=30)
                await rewrite(world, large)
                world.faults += 1
                await world.flows_again(time.monotonic())
        await world.all_ended()
        assert not daemon.events("stream.position_lost")
        assert await world.rig.results.count_documents({"enrichment_status": "completed"}) == len(
            world.inserted
        )


async def insert_large(world: World) -> LeadId:
    (lead,) = world.new_leads(1)
    await world.rig.leads.insert_one({**lead, "notes": "x" * ALMOST_16_MB})
    world.inserted.append(lead["_id"])
    return lead["_id"]


async def rewrite(world: World, large: LeadId) -> None:
    """An event of such a change cannot carry the document as well, nor what stood there before."""
    for letter in "yz":
        await world.rig.leads.update_one({"_id": large}, {"$set": {"notes": letter * ALMOST_16_MB}})


async def test_documents_with_a_field_twice_end_none_of_three_servers(servers: ReplicaSet) -> None:
    """Nor do the secondaries stumble over what we write to say so."""
    pids = [node.pid for node in servers.nodes]
    async with open_rig(servers.uri) as rig, rig.daemon() as daemon:
        await daemon.wait_for_event("history.recorded")
        told = {**NEW, **DUE, **IN_THE_DATA}
        for name, fields in {**told, **UNSAYABLE}.items():
            await rig.leads.insert_one(
                doubled(("_id", name), ("company_domain", domain()), *fields)
            )
        await rig.witness.all_ended(told, within=30)
        majority = rig.leads.with_options(write_concern=WriteConcern(w=len(pids), wtimeout=10_000))
        await majority.insert_one({"_id": "honest", "company_domain": domain()})
        assert await rig.witness.end_of("honest") == "completed"
    assert [node.pid for node in servers.nodes if node.is_running] == pids


@pytest.mark.parametrize("write", WRITES)
async def test_a_lead_that_kills_whoever_touches_it_fails_and_takes_no_other_with_it(
    mongodb_uri: str, write: Write
) -> None:
    simulated = {"latency": 0.05, "jitter": 0.2}
    async with (
        open_world(mongodb_uri, "lead that kills", write=write, **simulated) as world,
        AsyncExitStack() as stack,
    ):
        world.rig.simulator.inject("hang", question="*deadly*")
        fleet = [await up(stack, world), await up(stack, world)]
        async with world.writing(PER_SECOND):
            await world.insert(BATCH)
            (deadly,) = await world.insert(1, "deadly")
            await world.insert(BATCH)
            calls = 0
            while not await has_ended_without_a_call(world, deadly, calls):
                (victim,) = await eventually(lambda: holders_of(world, deadly, fleet), within=30)
                held, killed_at = await world.kill(victim), time.monotonic()
                calls = calls_about_deadly(world)
                fleet[fleet.index(victim)] = await up(stack, world)
                await world.taken_over(held - {key_of(deadly)}, killed_at)
        await world.all_ended()
        # On a machine that is too busy a lease may run out by itself, which is an attempt as well.
        lost = [claim for claim in world.observer.ledgers[key_of(deadly)].claims if claim.is_lost]
        assert len(lost) == 1 + MAX_ATTEMPTS
        failed = await world.rig.results.find({"enrichment_status": {"$ne": "completed"}}).to_list()
        assert [(lead["_id"], lead["enrichment_status"]) for lead in failed] == [(deadly, "failed")]
        assert failed[0]["enrichment_error"].startswith("Gave up")


async def up(stack: AsyncExitStack, world: World) -> Daemon:
    daemon = await stack.enter_async_context(world.daemon(ENRICHER_MAX_ATTEMPTS=MAX_ATTEMPTS))
    await daemon.wait_for_event("stream.opened")
    return daemon


async def has_ended_without_a_call(world: World, deadly: LeadId, before: int) -> bool:
    """Wait for whoever asks about it next, and is to die of it; or for its end."""
    seen = world.observer.ledgers[key_of(deadly)]
    await eventually(lambda: seen.status in ENDS or calls_about_deadly(world) > before, within=30)
    return seen.status in ENDS


def calls_about_deadly(world: World) -> int:
    return sum("deadly" in question for _, question in world.rig.questions().elements())


def holders_of(world: World, lead: LeadId, fleet: list[Daemon]) -> list[Daemon]:
    """The one that has it; none while the observer has not yet seen the claim."""
    held_by = world.observer.held_by
    return [each for each in fleet if key_of(lead) in held_by(each.pid)]
