"""The oplog rolls over for real, or the saved position is not this cluster's or this pipeline's."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import pytest_asyncio
from bson import Timestamp

from enricher.intake.checkpoints import COLLECTION
from enricher.intake.history import collection_name
from enricher.lead import Document
from tests.chaos.replica_set import ReplicaSet, lone_node
from tests.chaos.world import World, open_world
from tests.support.processes import Daemon, server_directory
from tests.support.rig import Rig, address, open_rig
from tests.support.waiting import eventually

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(180)]

OPLOG_MB = 16
"""It rolls over within two seconds, and yet the observer's stream stays within it."""
HISTORY_LOST = 286
COMMENT = "enricher: new leads"
_NOISE: Document = {"noise": "x" * 100_000}


@pytest.fixture(scope="module")
def nodes(mongod: Path) -> Iterator[list[ReplicaSet]]:
    """Two clusters of one node, each started by the test that first needs it."""
    with server_directory() as directory:
        both = [lone_node(directory / name, mongod, OPLOG_MB) for name in ("one", "other")]
        try:
            yield both
        finally:
            for each in both:
                each.end()


@pytest_asyncio.fixture
async def small(nodes: list[ReplicaSet]) -> ReplicaSet:
    return await _started(nodes[0])


@pytest_asyncio.fixture
async def other(nodes: list[ReplicaSet]) -> ReplicaSet:
    return await _started(nodes[1])


async def _started(servers: ReplicaSet) -> ReplicaSet:
    if not servers.nodes[0].is_running:
        await servers.start()
    return servers


# -- the oplog ---------------------------------------------------------------------------------


async def saved(rig: Rig) -> Document:
    """The checkpoint as it stands."""
    found = await rig.database[COLLECTION].find_one({"_id": "leads"})
    assert found is not None
    return found


def time_of(checkpoint: Document) -> Timestamp:
    """A token begins with a type byte and its point in the oplog, in hexadecimal."""
    data = checkpoint["token"]["_data"]
    return Timestamp(int(data[2:10], 16), int(data[10:18], 16))


async def oldest(rig: Rig) -> Timestamp:
    """The point in time at which the oplog begins."""
    return await _end_of_oplog(rig, 1)


async def newest(rig: Rig) -> Timestamp:
    """The point in time at which it ends."""
    return await _end_of_oplog(rig, -1)


async def _end_of_oplog(rig: Rig, order: int) -> Timestamp:
    entry = await rig.database.client["local"]["oplog.rs"].find_one(sort=[("$natural", order)])
    assert entry is not None
    point: Timestamp = entry["ts"]
    return point


async def roll_over(rig: Rig, point: Timestamp) -> None:
    """Write, into another database, until the oplog begins after this point."""
    noise = rig.database.client["noise"]["noise"]

    async def is_gone() -> bool:
        await noise.insert_many([dict(_NOISE) for _ in range(10)])
        return await oldest(rig) > point

    await eventually(is_gone, within=60)
    await noise.drop()


# -- parts of the scenarios --------------------------------------------------------------------


async def insert_history(world: World) -> list[Document]:
    """Leads that are nobody's work."""
    leads = world.new_leads(20)
    await world.rig.leads.insert_many(leads)
    return leads


async def are_untouched(world: World, leads: list[Document]) -> None:
    ids = [lead["_id"] for lead in leads]
    found = await world.rig.leads.find({"_id": {"$in": ids}}).to_list()
    assert sorted(found, key=_id_of) == sorted(leads, key=_id_of)


def _id_of(lead: Document) -> str:
    return str(lead["_id"])


async def served(world: World, daemon: Daemon) -> None:
    """It has begun, and has settled leads."""
    await daemon.wait_for_event("history.recorded")
    await world.insert(30)
    await world.all_ended()


async def stopped(daemon: Daemon) -> None:
    """In good order: its position is saved."""
    daemon.terminate()
    assert await daemon.wait() == 0


async def asks_nothing(rig: Rig) -> None:
    """The sleeping daemon's last read has been answered: nothing that comes now is in an answer."""
    cursors = {"ns": f"{rig.database.name}.leads", "cursor.originatingCommand.comment": COMMENT}
    stages: list[Document] = [
        {"$currentOp": {"idleCursors": True}},
        {"$match": {"type": "idleCursor", **cursors}},
    ]

    async def is_idle() -> bool:
        return bool(await (await rig.database.client.admin.aggregate(stages)).to_list())

    await eventually(is_idle)


# -- 286 ---------------------------------------------------------------------------------------


async def test_leads_of_the_gap_are_found_after_the_oplog_rolled_over_a_stopped_daemon(
    small: ReplicaSet,
) -> None:
    async with open_world(small.uri, "oplog rolled over: stopped") as world:
        history = await insert_history(world)
        async with world.daemon() as daemon:
            await served(world, daemon)
            await stopped(daemon)
        await world.insert(200)
        await roll_over(world.rig, time_of(await saved(world.rig)))
        world.faults += 1
        started_at = time.monotonic()
        async with world.daemon() as daemon:
            await world.flows_again(started_at)
            await world.all_ended()
            lost = daemon.events("stream.position_lost", code=HISTORY_LOST)
            assert [line["start"] for line in lost] == ["token", "time"]
            assert await daemon.metric("enricher_stream_opens_total", start="now") == 1
            assert (await daemon.wait_for_event("search.found"))["leads"] == 200
            await world.insert(20)
            await world.all_ended()
        await are_untouched(world, history)


async def test_leads_of_the_gap_are_found_after_the_oplog_rolled_over_a_sleeping_daemon(
    small: ReplicaSet,
) -> None:
    async with open_world(small.uri, "oplog rolled over: asleep") as world:
        history = await insert_history(world)
        async with world.daemon() as daemon:
            await served(world, daemon)
            daemon.send(signal.SIGSTOP)
            await asks_nothing(world.rig)
            await world.insert(200)
            await roll_over(world.rig, await newest(world.rig))
            world.faults += 1
            daemon.send(signal.SIGCONT)
            await world.flows_again(time.monotonic())
            await world.all_ended()
            assert daemon.events("stream.position_lost")
            assert (await daemon.wait_for_event("search.found"))["leads"] == 200
            assert len(daemon.events("database.unavailable", loop="watcher")) <= 1
        await are_untouched(world, history)


async def test_the_position_of_a_quiet_collection_moves_on_with_the_oplog(
    small: ReplicaSet,
) -> None:
    async with open_world(small.uri, "oplog rolls over: quiet leads") as world:
        async with world.daemon() as daemon:
            await served(world, daemon)
            await roll_over(world.rig, time_of(await saved(world.rig)))
            await eventually(lambda: has_a_position_that_exists(world.rig), within=30)
            await world.kill(daemon)  # what it would save while it stops does not count
        await world.insert(100)
        started_at = time.monotonic()
        async with world.daemon() as daemon:
            await world.flows_again(started_at)
            await world.all_ended()
            assert (await daemon.wait_for_event("stream.opened"))["start"] == "token"
            assert not daemon.events("search.found")
            assert await daemon.metric("enricher_leads_admitted_total", source="stream") == 100


async def has_a_position_that_exists(rig: Rig) -> bool:
    return time_of(await saved(rig)) >= await oldest(rig)


# -- a position of something else --------------------------------------------------------------


async def test_the_token_of_another_pipeline_is_not_used_and_nothing_is_lost(
    small: ReplicaSet,
) -> None:
    async with open_world(small.uri, "position of another pipeline") as world:
        history = await insert_history(world)
        async with world.daemon() as daemon:
            await served(world, daemon)
            await stopped(daemon)
        release = {"$set": {"pipeline": "of another release"}}
        await world.rig.database[COLLECTION].update_one({"_id": "leads"}, release)
        world.faults += 1
        await world.insert(100)
        started_at = time.monotonic()
        async with world.daemon() as daemon:
            await world.flows_again(started_at)
            await world.all_ended()
            assert (await daemon.wait_for_event("stream.opened"))["start"] != "token"
        await are_untouched(world, history)


async def dumped(uri: str) -> dict[str, list[Document]]:
    """What a daemon leaves behind on this cluster: settled leads, history, its position."""
    async with open_rig(uri) as rig:
        await rig.leads.insert_many([{"_id": f"old {i}", "email": address()} for i in range(20)])
        async with rig.daemon() as daemon:
            await daemon.wait_for_event("history.recorded")
            leads: list[Document] = [{"_id": f"new {i}", "email": address()} for i in range(30)]
            await rig.leads.insert_many(leads)
            await rig.witness.all_ended(lead["_id"] for lead in leads)
            await stopped(daemon)
        names = ("leads", COLLECTION, collection_name("leads"))
        return {name: await rig.database[name].find().to_list() for name in names}


def put_forward(checkpoint: Document, ahead: timedelta) -> None:
    """As if saved on a cluster whose clock is that much ahead."""
    data = checkpoint["token"]["_data"]
    seconds = time_of(checkpoint).time + int(ahead.total_seconds())
    checkpoint["token"]["_data"] = f"{data[:2]}{seconds:08X}{data[10:]}"
    checkpoint["saved_at"] += ahead


@pytest.mark.parametrize("hours", [0, 1])
async def test_a_dump_from_another_cluster_is_not_paid_for_again_and_hides_no_new_lead(
    small: ReplicaSet, other: ReplicaSet, hours: int
) -> None:
    dump = await dumped(small.uri)
    put_forward(dump[COLLECTION][0], timedelta(hours=hours))
    async with open_world(other.uri, f"position of a cluster {hours} h ahead") as world:
        for name, documents in dump.items():
            await world.rig.database[name].insert_many(documents)
        await world.insert(50)
        world.faults += 1
        started_at = time.monotonic()
        async with world.daemon() as daemon:
            await world.flows_again(started_at)
            await world.all_ended()
            assert len(daemon.events("stream.position_lost")) == 1
            await world.insert(50)
            await world.all_ended()
            await stopped(daemon)
        async with world.daemon() as daemon:
            assert (await daemon.wait_for_event("stream.opened"))["start"] == "token"
            await world.insert(10)
            await world.all_ended()
        await are_untouched(world, dump["leads"])
