"""Faults in random order, by a seed: whatever the schedule, nothing is lost and nothing done twice.

In each round two things happen at about the same time: to the daemons, to the database (three
servers, or the cables to one) or to the vendors. A failure shows the schedule as it was; the seed,
which stands in the name of the test, makes the same one again. It says as well where the daemons write:
every other schedule of each sort is that of a fleet whose results stand beside the leads.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from random import Random

import pytest

from tests.chaos.fleet import TO_CABLES, TO_DAEMONS, TO_SERVERS, TO_VENDORS, Deed, Fleet
from tests.chaos.replica_set import ReplicaSet
from tests.chaos.world import open_world
from tests.support.rig import WRITES

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(180)]

SEEDS = int(os.environ.get("CHAOS_SEEDS", "30"))
ROUNDS = 3
PER_SECOND = 40
APART_SECONDS = 0.7
SOON_SECONDS = 5


@pytest.mark.parametrize("seed", range(0, SEEDS, 2))
async def test_whatever_happens_with_three_servers_nothing_is_lost_or_done_twice(
    servers: ReplicaSet, seed: int
) -> None:
    await run(servers.uri, seed, ROUNDS, TO_SERVERS, servers)


@pytest.mark.parametrize("seed", range(1, SEEDS, 2))
async def test_whatever_happens_over_a_bad_network_nothing_is_lost_or_done_twice(
    mongodb_uri: str, seed: int
) -> None:
    await run(mongodb_uri, seed, ROUNDS, TO_CABLES)


async def run(
    uri: str,
    seed: int,
    rounds: int,
    to_database: Sequence[Deed],
    servers: ReplicaSet | None = None,
) -> None:
    """The same seed means the same schedule; what it meets is up to the machine."""
    chance = Random(seed)
    write = WRITES[seed // 2 % 2]
    name = f"random {seed}, {'three servers' if servers else 'cables'}"
    simulated = {"seed": seed, "latency": 0.05, "jitter": 0.4}
    async with open_world(uri, name, required=SOON_SECONDS, write=write, **simulated) as world:
        fleet = Fleet(world, servers)
        async with fleet.running():
            async with world.writing(PER_SECOND):
                for _ in range(rounds):
                    await world.written(PER_SECOND // 4)
                    kinds = chance.sample([TO_DAEMONS, to_database, TO_VENDORS], 2)
                    deeds = [chance.choice(kind) for kind in kinds]
                    async with asyncio.TaskGroup() as group:
                        for deed in deeds:
                            group.create_task(do(fleet, deed, Random(chance.random())))
            await world.all_ended()
        assert await world.rig.results.count_documents({"enrichment_status": "failed"}) == 0


async def do(fleet: Fleet, deed: Deed, chance: Random) -> None:
    await asyncio.sleep(chance.uniform(0, APART_SECONDS))
    await deed(fleet, chance)
