"""Leads whose write ends the server: blamed before the blow, and written no more once two processes are gone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from pathlib import Path

import pytest
from bson import ObjectId
from pymongo import AsyncMongoClient
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import AutoReconnect, NetworkTimeout, NotPrimaryError, PyMongoError

from enricher.lead import Document, LeadId
from enricher.mongo import server as servers
from enricher.mongo.embedded import EmbeddedServer
from enricher.mongo.expressions import UpdateOne, id_key
from enricher.queue.apart import COLLECTION, Apart, Fatal, Step, count_fatal, is_loss
from enricher.queue.lanes import Aside
from tests.support.doubling import doubled
from tests.support.mortal import deadly_cable, started_again, strike
from tests.support.queueing import queue
from tests.support.waiting import eventually

pytestmark = pytest.mark.slow

Leads = AsyncCollection[Document]

LOST = AutoReconnect("connection closed")
GONE = ObjectId()


def process(leads: AsyncCollection[Document]) -> Fatal:
    return Fatal(leads, Aside())


async def on_record(leads: AsyncCollection[Document]) -> list[Document]:
    return await leads.database[COLLECTION].find({"_id.in": leads.name}).to_list()


async def kill_on_record(leads: AsyncCollection[Document]) -> None:
    """As if the process had ended that a lone write was sent to."""
    gone = {"$set": {"process": ObjectId()}}
    await leads.database[COLLECTION].update_many({"_id.in": leads.name}, gone)


@pytest.fixture
async def recorded(ours: AsyncCollection[Document]) -> AsyncIterator[AsyncCollection[Document]]:
    """Nothing stands in the record before and after."""
    yield ours
    await ours.database[COLLECTION].delete_many({})


def test_a_loss_is_a_connection_that_ended_under_a_write() -> None:
    hidden = NetworkTimeout("no server any more")
    hidden.__context__ = LOST
    assert is_loss(LOST)
    assert is_loss(hidden)
    assert not is_loss(NetworkTimeout("slow"))
    assert not is_loss(NotPrimaryError("stepped down"))


async def test_without_a_loss_nothing_is_suspected(recorded: AsyncCollection[Document]) -> None:
    fatal = process(recorded)
    await recorded.find_one({})
    fatal.note(NotPrimaryError("stepped down"), GONE, [1])
    fatal.note(NetworkTimeout("slow"), fatal.process, [1])
    fatal.note(LOST, None, [1])
    assert await fatal.among([1, 2], int) == []


async def test_who_was_out_of_time_is_suspected_once_that_server_is_gone(
    recorded: AsyncCollection[Document],
) -> None:
    """It took its time to die."""
    fatal = process(recorded)
    fatal.note(NetworkTimeout("slow"), GONE, [1])
    assert await fatal.among([1, 2], int) == [1]
    await fatal.survived(1)
    assert await fatal.among([1, 2], int) == []


async def test_whose_server_lives_is_acquitted(recorded: AsyncCollection[Document]) -> None:
    """A cut cable."""
    fatal = process(recorded)
    await recorded.find_one({})
    fatal.note(LOST, fatal.process, [1])
    assert fatal.is_suspect(1)
    assert await fatal.among([1, 2], int) == []
    assert not fatal.is_suspect(1)


async def test_who_survives_a_write_of_its_own_is_no_suspect_any_more(
    recorded: AsyncCollection[Document],
) -> None:
    fatal = process(recorded)
    fatal.note(LOST, GONE, [1, 2])
    assert await fatal.among([1, 2, 3], int) == [1, 2]
    assert await fatal.may_be_written(1, "claim")
    assert [each["_id"]["of"] for each in await on_record(recorded)] == [1]
    await fatal.survived(1)
    assert await fatal.among([1, 2, 3], int) == [2]
    assert await on_record(recorded) == []


async def test_who_was_on_record_when_a_daemon_was_killed_is_a_suspect_and_no_more(
    recorded: AsyncCollection[Document],
) -> None:
    """However often: the server lived each time."""
    for _ in range(5):
        fatal = process(recorded)
        await fatal.look()
        fatal.note(LOST, GONE, [1])
        assert await fatal.may_be_written(1, "claim")
    assert await count_fatal(recorded) == 0


async def test_the_blame_outlives_processes_until_somebody_takes_it_back(
    recorded: AsyncCollection[Document],
) -> None:
    for _ in range(2):
        fatal = process(recorded)
        await fatal.look()
        fatal.note(LOST, GONE, [1, 2])
        assert await fatal.may_be_written(1, "settle")
        await kill_on_record(recorded)
    last = process(recorded)
    await last.look()
    assert not await last.may_be_written(1, "settle")
    assert last.is_written_off(1)
    assert id_key(1) in last.aside
    assert await count_fatal(recorded) == 1

    other = process(recorded)
    await other.look()
    assert other.is_written_off(1)
    assert not await other.may_be_written(1, "claim")
    assert other.aside.leads == 1

    await recorded.database[COLLECTION].delete_one({"_id.of": 1})
    await other.look()
    assert not other.is_suspect(1)
    assert id_key(1) not in other.aside
    assert await count_fatal(recorded) == 0


async def test_who_was_lost_alone_is_written_after_all_others(
    recorded: AsyncCollection[Document],
) -> None:
    fatal = process(recorded)
    fatal.note(LOST, GONE, [1, 2, 3])
    assert await fatal.may_be_written(1, "claim")
    assert await fatal.among([1, 2, 3], int) == [2, 3, 1]


# -- with a server that really ends ----------------------------------------------------------


@asynccontextmanager
async def mortal(
    mongod: Path, directory: Path
) -> AsyncIterator[tuple[EmbeddedServer, AsyncCollection[Document], list[float]]]:
    """A server of one's own, the leads in it, and its deaths."""
    async with (
        EmbeddedServer(directory / "server", binary=mongod) as server,
        servers.connect(server.uri, pool=8) as client,
        started_again(server) as deaths,
    ):
        yield server, client["mortal"]["leads"], deaths


def unguarded(leads: AsyncCollection[Document]) -> Step[LeadId, int]:
    """Writes whatever stands there, as nothing of ours does."""

    async def write(ids: Sequence[LeadId]) -> int:
        pipeline = [{"$set": {"updated_at": "$$NOW"}}]
        updates = [UpdateOne({"_id": id_}, pipeline) for id_ in ids]
        return (await leads.bulk_write(updates, ordered=False)).matched_count

    return Step("test", leads, write, lambda id_: id_)


def unguarded_together(leads: AsyncCollection[Document]) -> Step[LeadId, int]:
    """The same by one update of many, which the driver does not repeat."""

    async def write(ids: Sequence[LeadId]) -> int:
        these, pipeline = {"_id": {"$in": ids}}, [{"$set": {"updated_at": "$$NOW"}}]
        return (await leads.update_many(these, pipeline)).matched_count

    return Step("test", leads, write, lambda id_: id_, is_table=True)


async def until_written(
    apart: Apart, step: Step[LeadId, int], ids: Sequence[LeadId]
) -> list[LeadId]:
    """As a loop of ours does it: again after each error, and while some are blocked. Returns those that are
    written no more."""
    while True:
        with suppress(PyMongoError):
            blocked = (await apart.write(step, ids)).blocked
            if all(apart.is_written_off(id_) for id_ in blocked):
                return blocked
        await asyncio.sleep(0.05)


DEADLY = doubled(("_id", "deadly"), ("updated_at", 1), ("updated_at", 2))


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("others", "step"),
    [(0, unguarded), (5, unguarded), (5, unguarded_together)],
    ids=["alone", "each by its own", "together"],
)
async def test_a_lead_that_ends_the_server_is_written_no_more_and_the_others_are(
    mongod: Path, in_memory: Path, others: int, step: Callable[[Leads], Step[LeadId, int]]
) -> None:
    async with mortal(mongod, in_memory) as (_, leads, deaths):
        await leads.insert_many([DEADLY, *({"_id": number} for number in range(others))])
        ids: list[LeadId] = ["deadly", *range(others)]
        fatal = process(leads)
        assert await until_written(Apart(fatal=fatal), step(leads), ids) == ["deadly"]
        assert fatal.is_written_off("deadly")
        assert await leads.count_documents({"updated_at": {"$type": "date"}}) == others
        assert await count_fatal(leads) == 1
        before = len(deaths)
        assert 1 < before <= 6  # the driver repeats each by itself

        after = process(leads)  # a daemon that starts
        await after.look()
        assert await until_written(Apart(fatal=after), step(leads), ids) == ["deadly"]
        assert len(deaths) == before


@pytest.mark.timeout(120)
async def test_a_server_that_takes_its_time_to_die_is_told_from_a_slow_one(
    mongod: Path, in_memory: Path
) -> None:
    """The write that it dies of runs out of time long before."""
    async with (
        mortal(mongod, in_memory) as (server, _, deaths),
        deadly_cable(server, b"deadly") as cable,
        servers.connect(cable.uri, pool=8) as client,
    ):
        cable.dying_seconds = 2.5
        leads = client["mortal"]["leads"]
        ids: list[LeadId] = ["deadly", 1, 2]
        await leads.insert_many([{"_id": id_} for id_ in ids])
        fatal = process(leads)
        assert await until_written(Apart(fatal=fatal), unguarded(leads), ids) == ["deadly"]
        assert await leads.count_documents({"updated_at": {"$type": "date"}}) == 2
        assert 1 < len(deaths) <= 9


@pytest.mark.timeout(120)
async def test_one_that_is_tried_beside_the_batches_ends_no_more_servers_either(
    mongod: Path, in_memory: Path
) -> None:
    """A lead that a transaction held, and that somebody replaced meanwhile."""
    async with mortal(mongod, in_memory) as (_, leads, deaths):
        await leads.insert_one(DEADLY)
        apart = Apart(fatal=process(leads))
        tries = 0
        while not apart.is_written_off("deadly"):
            assert await apart.again(unguarded(leads), "deadly", tries) == []
            tries += 1
            await asyncio.sleep(0.05)
        assert 1 < len(deaths) <= 6
        before = len(deaths)
        assert await apart.again(unguarded(leads), "deadly", tries) == []
        assert len(deaths) == before


@pytest.mark.timeout(120)
async def test_a_server_that_somebody_kills_under_ordinary_leads_blames_nobody(
    mongod: Path, in_memory: Path
) -> None:
    async with mortal(mongod, in_memory) as (server, leads, deaths):
        ids: list[LeadId] = list(range(40))
        await leads.insert_many([{"_id": id_} for id_ in ids])
        fatal, step = process(leads), unguarded(leads)
        apart = Apart(fatal=fatal)
        ending = asyncio.Event()

        async def work() -> None:
            while not ending.is_set():
                assert await until_written(apart, step, ids) == []

        working = asyncio.create_task(work())
        for killed in range(2):
            await eventually(lambda: strike(server.pid), within=30)

            async def is_back(killed: int = killed) -> bool:
                return len(deaths) > killed and server._is_running() and bool(fatal.process)

            await eventually(is_back, within=30)
        ending.set()
        await working
        assert await on_record(leads) == []
        assert not any(fatal.is_suspect(id_) for id_ in ids)


@pytest.mark.timeout(120)
async def test_a_step_down_under_ordinary_leads_blames_nobody(
    mongod: Path, in_memory: Path
) -> None:
    async with mortal(mongod, in_memory) as (server, leads, deaths):
        ids: list[LeadId] = list(range(40))
        await leads.insert_many([{"_id": id_} for id_ in ids])
        fatal = process(leads)
        apart = Apart(fatal=fatal)
        async with AsyncMongoClient[Document](server.uri) as client:
            for _ in range(2):
                stepping = asyncio.create_task(
                    client.admin.command("replSetStepDown", 1, force=True)
                )
                assert await until_written(apart, unguarded(leads), ids) == []
                await asyncio.wait([stepping])
                stepping.exception()
                assert await until_written(apart, unguarded(leads), ids) == []
        assert deaths == []
        assert await on_record(leads) == []


async def test_leads_that_are_written_no_more_are_not_claimed(
    recorded: AsyncCollection[Document],
) -> None:
    leads = queue(recorded, lease=timedelta(seconds=30))
    entry = {"_id": {"in": recorded.name, "of": 1}, "losses": 2, "process": GONE}
    await recorded.database[COLLECTION].insert_one(entry)
    await leads.fatal.look()
    await recorded.insert_many(
        [{"_id": 1, "email": "a@acme.com"}, {"_id": 2, "email": "b@acme.com"}]
    )
    assert await leads.admit([1, 2]) == 1
    assert leads.unadmitted == {}
    claimed = await leads.claim(5)
    assert [lease.lead_id for lease in claimed.leases] == [2]
    assert await recorded.find_one({"_id": 1}) == {"_id": 1, "email": "a@acme.com"}

    await recorded.database[COLLECTION].delete_one({"_id.of": 1})
    await leads.look_for_fatal()
    assert await leads.admit_blocked() == 1
    assert [lease.lead_id for lease in (await leads.claim(5)).leases] == [1]


async def test_one_of_them_with_a_doubled_field_is_not_even_marked(
    recorded: AsyncCollection[Document],
) -> None:
    leads = queue(recorded, lease=timedelta(seconds=30))
    entry = {"_id": {"in": recorded.name, "of": 1}, "losses": 2, "process": GONE}
    await recorded.database[COLLECTION].insert_one(entry)
    await leads.look_for_fatal()
    for id_ in (1, 2):
        await recorded.insert_one(doubled(("_id", id_), ("updated_at", 1), ("updated_at", 2)))
    await leads.admit([1, 2])
    marked = await recorded.find({"enrichment_status": "failed"}, {"_id": 1}).to_list()
    assert marked == [{"_id": 2}]
