"""The start of a daemon whose MongoDB fails meanwhile: a fail-over is outlasted, all else is one clear error."""

from __future__ import annotations

import asyncio
import gc
import time
from typing import Any

import pytest
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import AutoReconnect

from enricher import app
from enricher.errors import DatabaseUnreachable
from enricher.lead import Document
from enricher.mongo.outage import FailOver
from enricher.queue.indexes import Indexes
from enricher.settings import load
from enricher.settings.load import MongoSettings, Settings
from tests.support.faults import Faults
from tests.support.observing import events, logged
from tests.support.rig import Rig, domain, open_rig
from tests.support.waiting import business, eventually

pytestmark = pytest.mark.slow

SOON_LOOKED_AT_AGAIN = "&serverMonitoringMode=poll&heartbeatFrequencyMS=500"
"""A driver waits for word of a server that has failed; one whose failure is made up has none to say."""


@pytest.mark.parametrize(
    ("commands", "doing"),
    [
        (("connectionStatus",), "asking for the privileges"),
        (("createIndexes", "listIndexes"), "preparing the collections"),
    ],
)
async def test_a_database_that_fails_while_it_starts_is_one_clear_error(
    faults: Faults, faulty_uri: str, commands: tuple[str, ...], doing: str
) -> None:
    configured = Settings(mongo=MongoSettings(collection=faults.leads.name))
    async with faults.fail(*commands, closeConnection=True):
        with pytest.raises(DatabaseUnreachable) as failed:
            async with app.build(configured, faulty_uri, fail_over=FailOver(seconds=0)):
                pass
    cause = failed.value.__cause__
    assert isinstance(
        cause, AutoReconnect
    )  # or a kind of it: reads are tried again until time is up
    assert str(failed.value) == f"MongoDB failed while {doing}: {type(cause).__name__}"


@pytest.mark.parametrize(
    "fault",
    [
        {"writeConcernError": {"code": 189, "errmsg": "stepped down"}},
        {"writeConcernError": {"code": 91, "errmsg": "shutting down"}},
        {"errorCode": 10107},
        {"errorCode": 11600},
        {"closeConnection": True},
    ],
    ids=str,
)
async def test_a_start_outlasts_a_fail_over_and_says_so(
    faults: Faults, faulty_uri: str, fault: dict[str, Any]
) -> None:
    """Where the driver does not try again by itself."""
    configured = Settings(mongo=MongoSettings(collection=faults.leads.name))
    uri = faulty_uri + SOON_LOOKED_AT_AGAIN
    with logged() as lines:
        async with faults.fail("createIndexes", times=3, **fault), app.build(configured, uri):
            pass
    told = [line.event for line in lines if line.fields.get("loop") == "start"]
    assert told[::-1] == ["database.available", "database.unavailable"]
    assert await Indexes(faults.plain).missing() == []


async def test_a_start_that_is_refused_has_nothing_to_wait_for(
    faults: Faults, faulty_uri: str
) -> None:
    configured = Settings(mongo=MongoSettings(collection=faults.leads.name))
    with logged() as lines:
        async with faults.fail("findAndModify", errorCode=8000):
            with pytest.raises(DatabaseUnreachable) as failed:
                async with app.build(configured, faulty_uri):
                    pass
    assert (
        str(failed.value) == "MongoDB failed while preparing the collections: OperationFailure 8000"
    )
    assert events(lines, "database.unavailable") == []


async def test_a_user_who_may_neither_make_nor_list_indexes_is_served_all_the_same(
    faults: Faults, faulty_uri: str
) -> None:
    configured = Settings(mongo=MongoSettings(collection=faults.leads.name))
    refused = faults.fail("createIndexes", "listIndexes", errorCode=13)
    async with refused, app.build(configured, faulty_uri) as daemon:
        assert daemon.introduction["replica_set"] == "rs0"


# The driver leaves a socket open when it is cancelled while it connects.
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("moment", [hundredths / 100 for hundredths in range(0, 20, 2)])
async def test_a_start_that_is_cancelled_ends_at_whatever_it_is(
    mongodb_uri: str, database: AsyncDatabase[Document], moment: float
) -> None:
    """While the driver looks for the server it swallows a cancellation nearly each time."""
    environment = {
        "MONGODB_URI": mongodb_uri,
        "MONGODB_DATABASE": database.name,
        "ENRICHER_HTTP_PORT": "0",
    }
    start = asyncio.create_task(app.run(load.load(environment, None), mongodb_uri))
    await asyncio.wait({start}, timeout=moment)
    start.cancel()
    try:
        await asyncio.wait({start}, timeout=10 * business())
        assert start.cancelled()
    finally:
        start.cancel()
        await asyncio.wait({start})
        gc.collect()  # here, and not in the middle of another test


async def test_what_was_inserted_while_a_first_process_began_is_new_and_what_stood_there_is_not(
    faulty_uri: str,
) -> None:
    """Under load it takes seconds to get as far as MongoDB."""
    async with open_rig(faulty_uri) as rig:
        await rig.leads.insert_many([{"_id": f"old {n}"} for n in range(50)])
        began = time.monotonic()
        await asyncio.sleep(0.2)  # of what is told of the server's clock, the way to us is unknown
        await rig.leads.insert_many([{"_id": n, "company_domain": domain()} for n in range(50)])
        await rig.leads.database["others"].insert_one({})
        configured = load.load(rig.environment("clearbit"), None)
        async with app.build(configured, faulty_uri, began) as daemon:
            running = asyncio.create_task(daemon.run())
            await rig.witness.all_ended(range(50))
            daemon.stop.set()
            await running
        assert rig.witness.settled_more_than_once() == {}
        assert await rig.leads.count_documents({"enrichment_status": None}) == 50
        # It is for a first start alone: later ones know by the stream's position what is new.
        await rig.leads.insert_one({"_id": "meanwhile", "company_domain": domain()})
        async with app.build(configured, faulty_uri, time.monotonic()) as second:
            running = asyncio.create_task(second.run())
            assert await rig.witness.end_of("meanwhile") == "completed"
            second.stop.set()
            await running


async def test_what_comes_after_the_collection_was_replaced_while_a_first_process_began_is_new(
    faulty_uri: str,
) -> None:
    """`$out` renames another collection over the leads: their stream ends with it."""
    async with open_rig(faulty_uri) as rig:
        staging = rig.leads.database["staging"]
        await staging.insert_many([{"_id": f"old {n}"} for n in range(50)])
        await rig.leads.insert_one({"_id": "replaced"})
        began = time.monotonic()
        await asyncio.sleep(0.2)  # as above
        await (await staging.aggregate([{"$out": rig.leads.name}])).to_list()
        await rig.leads.insert_many([{"_id": n, "company_domain": domain()} for n in range(10)])
        configured = load.load(rig.environment("clearbit"), None)
        async with app.build(configured, faulty_uri, began) as daemon:
            running = asyncio.create_task(daemon.run())
            await eventually(lambda: _completed(rig, 10))
            daemon.stop.set()
            await running
        assert await rig.leads.count_documents({"enrichment_status": None}) == 50


async def _completed(rig: Rig, count: int) -> bool:
    return await rig.leads.count_documents({"enrichment_status": "completed"}) == count


async def test_without_a_stream_a_first_start_goes_on_all_the_same(
    faults: Faults, faulty_uri: str
) -> None:
    configured = Settings(mongo=MongoSettings(collection=faults.leads.name))
    await faults.plain.insert_one({"_id": 1})
    refused = faults.fail("aggregate", errorCode=13, times=1)
    async with refused, app.build(configured, faulty_uri, time.monotonic() - 1):
        pass
    assert "enrichment_status" not in (await faults.plain.find_one({"_id": 1}) or {})
