"""The stream ends, loses its position or is not there: the leads are found all the same."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

import pytest

from tests.chaos.replica_set import ReplicaSet
from tests.chaos.world import World, open_world
from tests.support.processes import Daemon
from tests.support.rig import WRITES, Write
from tests.support.waiting import eventually

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(180)]

FLOWS_AGAIN_SECONDS = 5


@asynccontextmanager
async def watched_world(
    servers: ReplicaSet, scenario: str, write: Write = "lead", **settings: object
) -> AsyncIterator[tuple[World, Daemon]]:
    async with (
        open_world(servers.uri, scenario, required=FLOWS_AGAIN_SECONDS, write=write) as world,
        AsyncExitStack() as stack,
    ):
        daemon = await stack.enter_async_context(world.daemon(**settings))
        await daemon.wait_for_event("history.recorded")
        yield world, daemon
        await world.all_ended()


@pytest.mark.parametrize(
    ("code", "write"), [(286, "lead"), (286, "beside"), (280, "lead"), (260, "lead")]
)
async def test_leads_are_found_although_the_position_in_the_stream_is_lost(
    servers: ReplicaSet, code: int, write: Write
) -> None:
    """History lost, fatal error, invalid token."""
    async with watched_world(servers, f"position lost ({code})", write) as (world, daemon):
        for times in range(1, 4):
            how = {"errorCode": code, "errorLabels": ["NonResumableChangeStreamError"]}
            async with servers.failing("getMore", times=1, **how):
                world.faults += 1
                await eventually(partial(has_lost_its_position, daemon, code, times))
                lost_at = time.monotonic()
                await world.insert(40)
                await world.flows_again(lost_at)
        assert daemon.process.returncode is None


def has_lost_its_position(daemon: Daemon, code: int, times: int) -> bool:
    return len(daemon.events("stream.position_lost", code=code)) >= times


async def test_without_a_stream_all_leads_are_settled_and_counted_as_found_by_polling(
    servers: ReplicaSet,
) -> None:
    async with watched_world(servers, "no stream", ENRICHER_STREAM="false") as (world, daemon):
        async with world.writing(per_second=60):
            await world.written(300)
        await world.all_ended()
        found = await daemon.metric("enricher_leads_admitted_total", source="polling")
        assert found == len(world.inserted)


@pytest.mark.parametrize("write", WRITES)
async def test_leads_of_a_new_collection_are_enriched_after_the_old_one_was_dropped(
    servers: ReplicaSet, write: Write
) -> None:
    async with watched_world(servers, "collection dropped", write) as (world, daemon):
        for _ in range(3):
            await world.insert(30)
            await world.all_ended()
            await world.forget_leads()
            await world.rig.leads.drop()
            world.faults += 1
            dropped_at = time.monotonic()
            await world.insert(30)
            await world.flows_again(dropped_at)
        assert daemon.events("stream.ended")


async def test_leads_of_a_new_collection_are_enriched_after_the_old_one_was_renamed(
    servers: ReplicaSet,
) -> None:
    async with watched_world(servers, "collection renamed") as (world, daemon):
        for number in range(3):
            await world.insert(30)
            await world.all_ended()
            await world.forget_leads()
            await world.rig.leads.rename(f"leads_of_{number}")
            world.faults += 1
            renamed_at = time.monotonic()
            await world.insert(30)
            await world.flows_again(renamed_at)
        assert daemon.events("stream.ended")
