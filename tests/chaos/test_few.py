"""A few failures for every day: these run with all other tests, the rest with `make chaos`."""

from __future__ import annotations

import pytest

from tests.chaos.fleet import TO_CABLES, TO_SERVERS
from tests.chaos.replica_set import ReplicaSet
from tests.chaos.test_processes import kill_daemons
from tests.chaos.test_random import run

pytestmark = pytest.mark.timeout(120)

ROUNDS = 2
KILLS = 2


async def test_two_rounds_of_faults_with_three_servers_lose_and_repeat_nothing(
    servers: ReplicaSet,
) -> None:
    await run(servers.uri, 2, ROUNDS, TO_SERVERS, servers)


async def test_two_rounds_of_faults_over_a_bad_network_lose_and_repeat_nothing(
    mongodb_uri: str,
) -> None:
    await run(mongodb_uri, 1, ROUNDS, TO_CABLES)


async def test_daemons_that_are_killed_lose_and_repeat_nothing(mongodb_uri: str) -> None:
    await kill_daemons(mongodb_uri, KILLS, "lead")
