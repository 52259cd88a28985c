"""The change stream: what rings, where it begins, and that no dead position holds it up."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pymongo import AsyncMongoClient
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import OperationFailure, PyMongoError

from enricher.intake.changes import Change, Changes, Start, StreamUnavailable
from enricher.intake.checkpoints import Checkpoint
from enricher.lead import Document, Failed, LeadId
from enricher.queue.settle import Settler
from tests.support.faults import Faults
from tests.support.queueing import (
    PAST,
    UNHURRIED_SECONDS,
    Commands,
    claim_one,
    insert,
    queue,
    server_time,
    unhurried,
)
from tests.support.waiting import eventually

HISTORY_LOST, FATAL, INVALID_TOKEN, CAPPED_LOST, TOO_LARGE = 286, 280, 260, 136, 10334
SOON = 5.0
FIRST = Checkpoint(token=None, started_at=PAST, saved_at=None, history_known=True)


def at(token: Document | None, saved_at: datetime | None = None) -> Checkpoint:
    return Checkpoint(token, PAST, saved_at or datetime.now(UTC), history_known=True)


@pytest.fixture
async def changes(ours: AsyncCollection[Document]) -> AsyncIterator[Changes]:
    """A stream from now on."""
    changes = Changes(ours, wait_ms=100)
    assert await changes.open(FIRST) is Start.NOW
    yield changes
    await changes.close()


async def read_until(changes: Changes, last: LeadId, within: float = SOON) -> list[LeadId]:
    """The ids that ring, up to the last one."""
    ids: list[LeadId] = []
    until = time.monotonic() + within
    while last not in ids:
        assert time.monotonic() < until, f"{last!r} never came; {ids!r} did"
        if (change := await changes.next_change()) is not None:
            ids.append(change.lead_id)
    return ids


# -- what rings --------------------------------------------------------------------------------


async def test_an_insert_rings(ours: AsyncCollection[Document], changes: Changes) -> None:
    await insert(ours, "new")
    assert await changes.next_change() == Change("new", is_replace=False)


async def test_every_lead_of_an_insert_many_rings(
    ours: AsyncCollection[Document], changes: Changes
) -> None:
    await ours.insert_many([{"_id": number} for number in range(300)])
    assert await read_until(changes, 299) == list(range(300))


async def test_leads_inserted_by_a_transaction_ring(
    ours: AsyncCollection[Document], changes: Changes
) -> None:
    client = ours.database.client
    async with client.start_session() as session, await session.start_transaction():
        await ours.insert_one({"_id": 1}, session=session)
        await ours.insert_one({"_id": 2}, session=session)
    assert await read_until(changes, 2) == [1, 2]


async def test_an_upsert_that_inserts_rings(
    ours: AsyncCollection[Document], changes: Changes
) -> None:
    await ours.update_one({"_id": 1}, {"$set": {"email": "a@b.com"}}, upsert=True)
    assert await changes.next_change() == Change(1, is_replace=False)


async def test_a_replaced_lead_rings_and_says_so(
    ours: AsyncCollection[Document], changes: Changes
) -> None:
    await insert(ours)
    await ours.replace_one({"_id": 1}, {"email": "new@quokka-freight.com"})
    assert await changes.next_change() == Change(1, is_replace=False)
    assert await changes.next_change() == Change(1, is_replace=True)


@pytest.mark.parametrize(
    "update",
    [
        {"$set": {"enrichment_status": "pending"}},
        {"$set": {"enrichment_status": "pending", "email": "new@quokka-freight.com"}},
        {"$set": {"enrichment_status": "pending"}, "$unset": {"enrichment_error": 1}},
        [{"$set": {"enrichment_status": "pending"}}],
    ],
    ids=str,
)
async def test_a_users_pending_rings(ours: AsyncCollection[Document], update: Any) -> None:
    done = {"token": 1, "attempts": 0}
    await insert(ours, enrichment_status="completed", enrichment=done, enrichment_error="x")
    changes = Changes(ours, wait_ms=100)
    await changes.open(FIRST)
    await ours.update_one({"_id": 1}, update)
    assert await changes.next_change() == Change(1, is_replace=False)
    await changes.close()


async def test_a_users_pending_on_many_leads_rings_for_each(
    ours: AsyncCollection[Document],
) -> None:
    await ours.insert_many([{"_id": id_, "enrichment_status": "failed"} for id_ in range(50)])
    changes = Changes(ours, wait_ms=100)
    await changes.open(FIRST)
    await ours.update_many({}, {"$set": {"enrichment_status": "pending"}})
    assert sorted(await read_until(changes, 49)) == list(range(50))
    await changes.close()


async def test_what_we_write_ourselves_does_not_ring(ours: AsyncCollection[Document]) -> None:
    leads = queue(ours)
    for id_ in (1, 2):
        await insert(ours, id_)
    changes = Changes(ours, wait_ms=100)
    await changes.open(FIRST)
    await leads.admit([1, 2])
    leases = (await leads.claim(2)).leases
    await leads.renew(leases)
    settler = Settler(ours, lambda: timedelta(days=90))
    for lease in leases:
        await settler.settle(lease, Failed({"company_data": {}}, "no"))
    await insert(ours, "the end")
    assert await read_until(changes, "the end") == ["the end"]
    await changes.close()


async def test_admitting_what_a_user_asked_for_does_not_ring_again(
    ours: AsyncCollection[Document],
) -> None:
    await insert(ours, enrichment_status="pending", enrichment={"token": 4})
    changes = Changes(ours, wait_ms=100)
    await changes.open(FIRST)
    assert await queue(ours).admit([1]) == 1
    await insert(ours, "the end")
    assert await read_until(changes, "the end") == ["the end"]
    await changes.close()


async def test_a_lead_that_another_daemon_gave_back_rings(
    ours: AsyncCollection[Document], changes: Changes
) -> None:
    leads = queue(ours)
    await leads.admit([await insert(ours)])
    await leads.release([await claim_one(leads)])
    assert await changes.next_change() == Change(1, is_replace=False)
    assert await changes.next_change() == Change(1, is_replace=False)


async def test_other_changes_do_not_ring(ours: AsyncCollection[Document], changes: Changes) -> None:
    await insert(ours)
    for update in ({"$set": {"notes": "x"}}, {"$set": {"enrichment_status": "completed"}}):
        await ours.update_one({"_id": 1}, update)
    await ours.delete_one({"_id": 1})
    await insert(ours, "the end")
    assert await read_until(changes, "the end") == [1, "the end"]


@pytest.mark.slow
@pytest.mark.parametrize("size", [15_900_000, 16 * 1024 * 1024 - 60])
async def test_a_lead_as_large_as_can_be_rings(
    ours: AsyncCollection[Document], changes: Changes, size: int
) -> None:
    with unhurried():
        await ours.insert_one({"_id": "big", "notes": "x" * size})
        await ours.update_one({"_id": "big"}, {"$set": {"notes": "y" * size}})
        await insert(ours, "small")
        assert await read_until(changes, "small", UNHURRIED_SECONDS) == ["big", "small"]


async def test_nothing_but_ids_travels_and_nothing_is_looked_up(
    ours: AsyncCollection[Document], mongodb_uri: str
) -> None:
    commands = Commands()
    async with AsyncMongoClient[Document](mongodb_uri, event_listeners=[commands]) as client:
        changes = Changes(client[ours.database.name][ours.name])
        await changes.open(FIRST)
        await changes.close()
    stages = next(sent for sent in commands.sent if "aggregate" in sent)["pipeline"]
    assert stages[0]["$changeStream"].keys() <= {"fullDocument"}
    assert stages[0]["$changeStream"].get("fullDocument") in (None, "default")
    told = dict(stages[-1]["$project"])
    assert next(iter(told.pop("is_asked_for"))) == "$eq"
    assert told == {"_id": 1, "operationType": 1, "documentKey": 1, "clusterTime": 1}


# -- where it begins ---------------------------------------------------------------------------


async def test_a_stream_goes_on_from_a_token(ours: AsyncCollection[Document]) -> None:
    first = Changes(ours, wait_ms=100)
    await first.open(FIRST)
    await insert(ours, 1)
    await first.next_change()
    token = first.token
    await first.close()
    await insert(ours, 2)

    second = Changes(ours, wait_ms=100)
    assert await second.open(at(token)) is Start.TOKEN
    assert await second.next_change() == Change(2, is_replace=False)
    await second.close()


async def test_a_stream_that_is_opened_again_goes_on_where_it_was(
    ours: AsyncCollection[Document], changes: Changes
) -> None:
    await insert(ours, 1)
    await changes.next_change()
    await changes.close()
    await insert(ours, 2)
    assert await changes.open(FIRST) is Start.TOKEN
    assert await changes.next_change() == Change(2, is_replace=False)


async def test_the_position_is_between_the_events_of_a_batch(
    ours: AsyncCollection[Document], changes: Changes
) -> None:
    """Not behind all of them: only what was handed out may be skipped after a crash."""
    await ours.insert_many([{"_id": number} for number in range(5)])
    assert await read_until(changes, 2) == [0, 1, 2]

    again = Changes(ours, wait_ms=100)
    await again.open(at(changes.token))

    assert await read_until(again, 4) == [3, 4]
    await again.close()


async def test_a_stream_begins_at_a_time(ours: AsyncCollection[Document]) -> None:
    await insert(ours, 1)
    changes = Changes(ours, wait_ms=100)
    checkpoint = Checkpoint(None, PAST, await server_time(ours), history_known=True)
    assert await changes.open(checkpoint) is Start.TIME
    assert 1 in await read_until(changes, 1)
    await changes.close()


async def test_the_moment_of_the_position_is_that_of_the_last_write(
    ours: AsyncCollection[Document], changes: Changes
) -> None:
    before = (await server_time(ours)).timestamp()
    await insert(ours, 1)
    assert await read_until(changes, 1) == [1]
    after = (await server_time(ours)).timestamp()
    assert int(before) <= changes.position_seconds <= after + 1


async def test_a_stream_that_was_never_opened_has_no_position(
    ours: AsyncCollection[Document],
) -> None:
    assert Changes(ours).position_seconds == 0


async def test_the_position_moves_while_only_others_write(
    ours: AsyncCollection[Document], changes: Changes
) -> None:
    """Or a quiet collection on a busy cluster would fall off the oplog."""
    before = changes.token
    for _ in range(2):  # a stream from now begins at the next write, whoever makes it
        await ours.database["another"].insert_one({})

    async def has_moved() -> bool:
        assert await changes.next_change() is None
        return before is not None and (changes.token or before)["_data"] > before["_data"]

    await eventually(has_moved)


@pytest.mark.slow
@pytest.mark.parametrize("code", [HISTORY_LOST, FATAL, INVALID_TOKEN, CAPPED_LOST, TOO_LARGE])
async def test_a_token_that_is_refused_is_followed_by_a_start_by_time(
    faults: Faults, code: int
) -> None:
    token = await _token(faults)
    await insert(faults.plain)
    changes = Changes(faults.leads, wait_ms=100)
    async with faults.fail("aggregate", times=1, errorCode=code):
        assert await changes.open(at(token)) is Start.TIME
    assert await read_until(changes, 1) == [1]
    await changes.close()


async def test_a_time_that_is_refused_is_followed_by_a_start_from_now(faults: Faults) -> None:
    token = await _token(faults)
    changes = Changes(faults.leads, wait_ms=100)
    async with faults.fail("aggregate", times=2, errorCode=HISTORY_LOST):
        assert await changes.open(at(token)) is Start.NOW
    await insert(faults.plain)
    assert await read_until(changes, 1) == [1]
    await changes.close()


async def test_a_token_that_is_garbage_is_refused_like_a_lost_one(
    ours: AsyncCollection[Document],
) -> None:
    changes = Changes(ours, wait_ms=100)
    checkpoint = at({"_data": "8265"}, await server_time(ours))
    assert await changes.open(checkpoint) is Start.TIME
    await changes.close()


@pytest.mark.parametrize("code", [HISTORY_LOST, FATAL, TOO_LARGE])
async def test_a_position_that_dies_while_it_is_read_is_not_trusted_again(
    faults: Faults, code: int
) -> None:
    """Each start that was refused so is left out, until a stream has come past the place."""
    token = await _token(faults)
    changes, starts = Changes(faults.leads, wait_ms=100), []
    for _ in range(3):
        starts.append(await changes.open(at(token)))
        async with faults.fail("getMore", times=1, errorCode=code):
            error = await _error(changes)
        assert not changes.is_alive
        assert changes.lost_position(error)
        await changes.close()

    assert starts == [Start.TOKEN, Start.TIME, Start.NOW]
    assert await changes.open(at(token)) is Start.NOW
    await insert(faults.plain)
    assert await read_until(changes, 1) == [1]
    await changes.close()
    assert await changes.open(at(token)) is Start.TOKEN
    await changes.close()


@pytest.mark.parametrize("size", [5000, 2_000_000])
async def test_an_event_whose_id_is_too_long_never_leaves_the_database(
    ours: AsyncCollection[Document], size: int
) -> None:
    """One of 8 MB would kill every stream before it: its resume token alone exceeds 16 MB."""
    changes = Changes(ours, wait_ms=100)
    await changes.open(FIRST)
    await insert(ours, "before")
    await insert(ours, "x" * size)
    await insert(ours, "after")
    assert await read_until(changes, "after") == ["before", "after"]
    assert len(str(changes.token)) < 5000
    await changes.close()


# -- what ends it, and what does not -----------------------------------------------------------


async def test_a_dropped_collection_ends_the_stream_and_a_new_one_goes_on(
    fresh: AsyncCollection[Document],
) -> None:
    changes = Changes(fresh, wait_ms=100)
    await changes.open(FIRST)
    await insert(fresh, 1)
    await fresh.drop()
    await insert(fresh, 2)

    assert await read_until(changes, 1) == [1]
    await eventually(lambda: _has_ended(changes))
    await changes.close()

    assert await changes.open(FIRST) is Start.TOKEN
    assert await read_until(changes, 2) == [2]
    assert changes.is_alive
    await changes.close()


async def test_a_renamed_collection_ends_the_stream_and_its_successor_is_watched(
    fresh: AsyncCollection[Document],
) -> None:
    changes = Changes(fresh, wait_ms=100)
    await changes.open(FIRST)
    await fresh.rename(f"{fresh.name}_old")
    await eventually(lambda: _has_ended(changes))
    await changes.close()
    await fresh.database[f"{fresh.name}_old"].insert_one({"_id": "not ours"})
    await insert(fresh, "ours")

    assert await changes.open(FIRST) is Start.TOKEN
    assert await read_until(changes, "ours") == ["ours"]
    await changes.close()
    await fresh.database[f"{fresh.name}_old"].drop()


async def test_the_position_after_a_drop_serves_another_process_too(
    fresh: AsyncCollection[Document],
) -> None:
    changes = Changes(fresh, wait_ms=100)
    await changes.open(FIRST)
    await fresh.drop()
    await eventually(lambda: _has_ended(changes))
    await changes.close()
    await insert(fresh, 1)

    other = Changes(fresh, wait_ms=100)
    assert await other.open(at(changes.token)) is Start.TOKEN
    assert await read_until(other, 1) == [1]
    await other.close()


async def test_a_stream_outlives_broken_connections_and_loses_nothing(faults: Faults) -> None:
    changes = Changes(faults.leads, wait_ms=100)
    await changes.open(FIRST)
    async with faults.fail("getMore", "aggregate", times=4, closeConnection=True):
        await insert(faults.plain, 1)
        errors, change = await _despite_errors(changes)
    assert change == Change(1, is_replace=False)
    assert not any(changes.lost_position(error) for error in errors)
    await changes.close()


async def test_an_outage_is_no_lost_position(faults: Faults) -> None:
    changes = Changes(faults.leads, wait_ms=100)
    async with faults.fail("aggregate", errorCode=11601):
        with pytest.raises(OperationFailure):
            await changes.open(at(await _token(faults)))
    assert not changes.is_alive


async def test_a_stream_that_is_slow_to_open_is_given_more_time_with_each_try(
    faults: Faults,
) -> None:
    """After a long absence the server reads the oplog for longer than any fixed limit."""
    changes = Changes(faults.leads, wait_ms=50, patience=0.1)
    tries = 0
    async with faults.fail("aggregate", blockConnection=True, blockTimeMS=500):
        while not changes.is_alive:
            tries += 1
            with suppress(PyMongoError):
                await changes.open(FIRST)
    assert 2 <= tries <= 5
    await changes.close()


async def test_a_stream_that_is_slow_to_read_is_given_more_time_with_each_try(
    faults: Faults,
) -> None:
    changes = Changes(faults.leads, wait_ms=100, patience=0.4)
    await changes.open(FIRST)
    await insert(faults.plain, 1)
    async with faults.fail("getMore", blockConnection=True, blockTimeMS=500):
        errors, change = await _despite_errors(changes)
    assert change == Change(1, is_replace=False)
    assert 1 <= len(errors) <= 3, "0.8 s are enough, on a busy machine 3.2 s"
    assert all(error.timeout for error in errors)
    await changes.close()


# -- servers without streams -------------------------------------------------------------------


async def test_a_standalone_server_has_no_stream(standalone_uri: str) -> None:
    async with AsyncMongoClient[Document](standalone_uri) as client:
        with pytest.raises(StreamUnavailable, match="not a replica set"):
            await Changes(client["crm"]["leads"]).open(FIRST)


async def test_a_user_without_the_privilege_has_no_stream(faults: Faults) -> None:
    async with faults.fail("aggregate", errorCode=13):
        with pytest.raises(StreamUnavailable, match="changeStream privilege"):
            await Changes(faults.leads, wait_ms=100).open(FIRST)


async def test_a_stream_that_was_never_opened_has_nothing_and_closes(
    ours: AsyncCollection[Document],
) -> None:
    changes = Changes(ours, wait_ms=100)
    assert await changes.next_change() is None
    assert not changes.is_alive
    await changes.close()


# -- what these tests are made of --------------------------------------------------------------


async def _token(faults: Faults) -> Document:
    changes = Changes(faults.plain, wait_ms=100)
    await changes.open(FIRST)
    token = changes.token
    await changes.close()
    assert token is not None
    return token


async def _has_ended(changes: Changes) -> bool:
    await changes.next_change()
    return not changes.is_alive


async def _error(changes: Changes) -> PyMongoError:
    """What ends the reading."""
    while True:
        try:
            await changes.next_change()
        except PyMongoError as error:
            return error


async def _despite_errors(changes: Changes) -> tuple[list[PyMongoError], Change]:
    """The next change of the same stream, and the errors on the way to it."""
    errors: list[PyMongoError] = []
    while changes.is_alive:
        try:
            change = await changes.next_change()
        except PyMongoError as error:
            errors.append(error)
        else:
            if change is not None:
                return errors, change
    raise AssertionError(f"the stream has ended: {errors}")
