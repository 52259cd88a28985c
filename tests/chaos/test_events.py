"""Events, the webhook and a consumer over elections: none lost, each written once, those of a lead in their order."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from pymongo.errors import PyMongoError

from enricher.lead import Document
from enricher.queue.outbox import COLLECTION, DRAFTS
from tests.chaos.replica_set import ReplicaSet
from tests.chaos.test_fail_over import Fault, kill_primary, step_down
from tests.chaos.world import World, open_world
from tests.support.processes import PASSED_ON, bound_to_us
from tests.support.receiver import Inbox, open_inbox
from tests.support.rig import WRITES, Write, key_of
from tests.support.waiting import end, eventually

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(360)]

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "events_consumer.py"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
PER_SECOND = 20
LEASE_SECONDS = 20
FAULTS = 3
ASKED_AGAIN = 15
"""Leads that are asked for again before each fault, so that they have several events."""


@dataclass(slots=True)
class Follower:
    """The example, started again whenever it ends, as whatever looks after processes does."""

    env: dict[str, str]
    lines: list[str] = field(default_factory=list)
    starts: int = 0

    @property
    def ids(self) -> set[str]:
        return {line.split()[0] for line in self.lines}

    async def run(self) -> None:
        while True:
            self.starts += 1
            process = await asyncio.create_subprocess_exec(
                *(*bound_to_us(), sys.executable, str(EXAMPLE)),
                env=self.env,
                stdout=asyncio.subprocess.PIPE,
            )
            try:
                await self._read(process)
            finally:
                if process.returncode is None:
                    process.kill()
                await process.communicate()

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            self.lines.append(line.decode().strip())


@asynccontextmanager
async def following(world: World) -> AsyncIterator[Follower]:
    env = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    where = {"MONGODB_URI": world.rig.uri, "MONGODB_DATABASE": world.rig.database.name}
    follower = Follower(env | where)
    task = asyncio.create_task(follower.run(), name="follower")
    try:
        await eventually(lambda: "watching" in follower.lines, within=30)
        yield follower
    finally:
        await end(task)


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("fault", [kill_primary, step_down])
async def test_every_settle_is_told_once_over_elections_and_everybody_hears_of_it(
    servers: ReplicaSet, fault: Fault, write: Write
) -> None:
    scenario = f"events, {fault.__name__.replace('_', ' ')}"
    async with open_inbox() as inbox, open_world(servers.uri, scenario, write=write) as world:
        world.rig.simulator.latency, world.rig.simulator.jitter = 0.05, 0.2
        async with following(world) as follower, two_daemons(world, inbox):
            again = await world.insert(ASKED_AGAIN)
            await world.all_ended()
            async with world.writing(PER_SECOND):
                await world.written(PER_SECOND)
                for _ in range(FAULTS):
                    await ask_again(world, again)
                    await fault(servers)
                    world.faults += 1
                    await servers.primary()
                    await world.flows_again(time.monotonic())
                    await servers.whole()
                    await world.written(PER_SECOND)
            await world.all_ended()
            await eventually(lambda: is_all_published(world), within=60)
            await eventually(lambda: is_all_delivered(world), within=60)
            events = await world.rig.database[COLLECTION].find().to_list()
            ids = {each["_id"] for each in events}
            await eventually(lambda: follower.ids >= ids, within=60)
        assert follower.starts == 1, "the example is to go on by itself"
        assert len({(key_of(each["lead"]), each["token"]) for each in events}) == len(events)
        assert told(events) <= settled(world), "an event without its settle"
        assert {post.id for post in inbox.posts} == ids
        assert in_order(inbox, events)


@asynccontextmanager
async def two_daemons(world: World, inbox: Inbox) -> AsyncIterator[None]:
    given = {"ENRICHER_WEBHOOK_URL": inbox.url, "ENRICHER_WEBHOOK_SECRET": SECRET}
    async with AsyncExitStack() as stack:
        for _ in range(2):
            daemon = world.daemon(**given, ENRICHER_LEASE_SECONDS=LEASE_SECONDS)
            await stack.enter_async_context(daemon)
            await daemon.wait_for_event("stream.opened")
        yield
        assert all(daemon.process.returncode is None for daemon in world.daemons), "one has ended"


async def ask_again(world: World, leads: Iterable[object]) -> None:
    """Set `pending`, and try again while the database is away: twice is a run more, and an event more."""
    while True:
        try:
            await world.rig.results.update_many(
                {"_id": {"$in": list(leads)}}, {"$set": {"enrichment_status": "pending"}}
            )
        except PyMongoError:
            await asyncio.sleep(0.1)
        else:
            return


def told(events: Iterable[Document]) -> set[tuple[bytes, int]]:
    return {(key_of(each["lead"]), each["token"]) for each in events}


def settled(world: World) -> set[tuple[bytes, int]]:
    ledgers = world.observer.ledgers.items()
    return {(key, token) for key, ledger in ledgers for token in ledger.settled_tokens}


async def is_all_published(world: World) -> bool:
    """Every end that a lead came to has its event. A lead that only goes on waiting may have none."""
    events = await world.rig.database[COLLECTION].find().to_list()
    missing = settled(world) - told(events)
    steps = world.observer.ledgers
    are_waits = all(token < max(steps[key].settled_tokens) for key, token in missing)
    return are_waits and not await world.rig.database[DRAFTS].count_documents({})


async def is_all_delivered(world: World) -> bool:
    waiting = {"webhook.due_at": {"$exists": True}}
    return not await world.rig.database[COLLECTION].count_documents(waiting)


def in_order(inbox: Inbox, events: Iterable[Document]) -> bool:
    """Whether each lead's events came in the order of its settles, whatever came twice."""
    tokens = {each["_id"]: each["token"] for each in events}
    came: defaultdict[str, list[int]] = defaultdict(list)
    for id_ in dict.fromkeys(post.id for post in inbox.posts):
        lead = next(str(post.data["lead"]) for post in inbox.posts if post.id == id_)
        came[lead].append(tokens[id_])
    return all(numbers == sorted(numbers) for numbers in came.values())
