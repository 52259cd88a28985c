"""There is no stream, or it alone hangs while the database answers: leads are found all the same.

In the network every request of the stream hangs, its opening included; in the server only its reads.

A standalone server has no stream for an observer either. There the leads themselves tell: each claim
raises a lead's token, so one that has ended under its first was settled once.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from functools import partial

import pytest
from pymongo.errors import NetworkTimeout

from tests.chaos.replica_set import Node, ReplicaSet
from tests.chaos.report import VERDICTS, Verdict
from tests.chaos.world import World, open_world
from tests.support.cable import Cable, cable_to
from tests.support.processes import Daemon
from tests.support.rig import ENDS, Rig, Witness, address, open_rig
from tests.support.waiting import eventually

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(180)]

LEADS = 40
FOUND_SECONDS = 15
"""The daemon waits 5 s for its stream before it searches."""
OF_THE_STREAM = b"enricher: new leads"
"""The comment that its requests carry."""
LONGER_THAN_PATIENCE_MS = 12_000


async def test_leads_are_found_while_the_requests_of_the_stream_hang_in_the_network(
    mongodb_uri: str,
) -> None:
    name = "stream hangs: network"
    async with (
        cable_to(mongodb_uri) as cable,
        open_world(mongodb_uri, name) as world,
        world.daemon(MONGODB_URI=cable.uri) as daemon,
    ):
        await daemon.wait_for_event("history.recorded")
        await outlives(world, daemon, hanging_in_the_network(cable))


async def test_leads_are_found_while_the_reads_of_the_stream_hang_in_the_server(
    servers: ReplicaSet,
) -> None:
    async with open_world(servers.uri, "stream hangs: server") as world, world.daemon() as daemon:
        await daemon.wait_for_event("history.recorded")
        await outlives(world, daemon, hanging_in_the_server(servers))


async def test_a_daemon_that_starts_while_its_stream_hangs_finds_what_was_inserted(
    mongodb_uri: str,
) -> None:
    name = "stream hangs at the start"
    async with cable_to(mongodb_uri) as cable, open_world(mongodb_uri, name) as world:
        async with world.daemon() as first:
            await first.wait_for_event("history.recorded")
            await world.insert(LEADS)
            await world.all_ended()
        async with world.daemon(MONGODB_URI=cable.uri) as daemon:
            cable.hold(OF_THE_STREAM)
            world.faults += 1
            await eventually(lambda: cable.held > 0)
            await world.insert(LEADS)
            await world.flows_again(time.monotonic())
            await world.all_ended()
            cable.mend()
            await daemon.wait_for_event("stream.opened")


async def test_without_a_replica_set_leads_are_found_by_polling_and_settled_once(
    standalone_uri: str,
) -> None:
    async with open_rig(standalone_uri, Onlooker) as rig:
        await rig.leads.insert_many([{"_id": f"old {n}"} for n in range(LEADS)])
        async with rig.daemon() as daemon:
            await daemon.wait_for_event("stream.unavailable")
            await daemon.wait_for_event("history.recorded", leads=LEADS)
            await insert_and_await(rig, "first")
            daemon.terminate()
            assert await daemon.wait() == 0
        inserting = asyncio.create_task(insert_and_await(rig, "second"))
        restarted_at = time.monotonic()
        async with rig.daemon() as daemon:
            await inserting
            recovery = time.monotonic() - restarted_at
            await insert_and_await(rig, "third")
            assert await admitted(daemon, "polling") == 2 * LEADS
        await judge(rig, recovery)


async def insert_and_await(rig: Rig, word: str) -> None:
    await rig.leads.insert_many(
        [{"_id": f"{word} {n}", "email": address(word)} for n in range(LEADS)]
    )
    ended = {"_id": {"$regex": f"^{word}"}, "enrichment_status": "completed"}

    async def are_completed() -> bool:
        return await rig.leads.count_documents(ended) == LEADS

    await eventually(are_completed, within=30)


async def judge(rig: Rig, recovery: float) -> None:
    new = {"_id": {"$not": {"$regex": "^old"}}}
    ended = await rig.leads.find({**new, "enrichment_status": {"$in": ENDS}}).to_list()
    untouched = {"_id": {"$regex": "^old"}, "enrichment_status": None}
    verdict = Verdict(
        scenario="standalone server",
        faults=1,
        leads=await rig.leads.count_documents(new),
        lost=await rig.leads.count_documents(new) - len(ended),
        settled_twice=sum(lead["enrichment"]["token"] != 1 for lead in ended),
        stale_writes=LEADS - await rig.leads.count_documents(untouched),
        paid_twice=sum(times - 1 for times in rig.asked_twice().values()),
        in_flight=0,
        recoveries=(recovery,),
    )
    VERDICTS.append(verdict)
    assert verdict.holds, verdict


class Onlooker(Witness):
    """Sees nothing: there is no stream to see it in."""

    async def watch(self, watching: asyncio.Event) -> None:
        watching.set()


async def outlives(world: World, daemon: Daemon, stall: AbstractAsyncContextManager[None]) -> None:
    await world.insert(LEADS)
    await world.all_ended()
    async with stall:
        world.faults += 1
        await world.insert(LEADS)
        await world.flows_again(time.monotonic())
        await world.all_ended()
        assert await admitted(daemon, "polling") == LEADS
        assert await daemon.metric("enricher_stream_open") == 0
    await eventually(partial(is_streaming, daemon), within=30)
    await world.insert(LEADS)
    await world.all_ended()
    assert await admitted(daemon, "stream") == 2 * LEADS
    assert max(world.recoveries) < FOUND_SECONDS


@asynccontextmanager
async def hanging_in_the_network(cable: Cable) -> AsyncIterator[None]:
    cable.hold(OF_THE_STREAM)
    await eventually(lambda: cable.held > 0)
    yield
    cable.mend()


@asynccontextmanager
async def hanging_in_the_server(servers: ReplicaSet) -> AsyncIterator[None]:
    primary = await servers.primary()
    how = {"blockConnection": True, "blockTimeMS": LONGER_THAN_PATIENCE_MS}
    data = {"failCommands": ["getMore"], "appName": "enricher", **how}
    was = await primary.command("configureFailPoint", "failCommand", mode="alwaysOn", data=data)
    reached = {"timesEntered": was["count"] + 1, "maxTimeMS": 10_000}
    await primary.command("waitForFailPoint", "failCommand", **reached)
    try:
        yield
    finally:
        await eventually(partial(is_off, primary), within=30)


async def is_off(node: Node) -> bool:
    """The server answers when the last read has woken, which takes longer than our client waits."""
    with suppress(NetworkTimeout):
        await node.command("configureFailPoint", "failCommand", mode="off")
        return True
    return False


async def admitted(daemon: Daemon, source: str) -> float:
    return await daemon.metric("enricher_leads_admitted_total", source=source)


async def is_streaming(daemon: Daemon) -> bool:
    return await daemon.metric("enricher_stream_open") == 1
