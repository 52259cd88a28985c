"""Leads that stood there before the first start stay untouched; later ones are found."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Coroutine
from typing import Any

import pymongo
import pytest
from pymongo import AsyncMongoClient
from pymongo.asynchronous.collection import AsyncCollection

from enricher.intake.history import History, collection_name
from enricher.lead import Document, LeadId
from enricher.queue import unmoved
from enricher.queue.indexes import Indexes
from tests.integration.queue.test_leads import IDS
from tests.support.faults import Faults
from tests.support.queueing import PAST, CancelsTheFirst, insert, queue, read
from tests.support.waiting import business

pytestmark = pytest.mark.slow


async def unadmitted(history: History) -> list[LeadId]:
    return [id_ async for batch in history.unadmitted() for id_ in batch]


async def test_leads_without_a_status_go_on_record_and_are_not_touched(
    fresh: AsyncCollection[Document],
) -> None:
    await insert(fresh, 1)
    await insert(fresh, 2, enrichment_status=None)
    await insert(fresh, 3, enrichment_status="completed")
    before = await fresh.find().to_list()
    history = History(fresh)

    assert await history.record() == 2

    assert await fresh.find().to_list() == before
    assert await history.without([1, 2, 3, 4]) == [3, 4]
    assert await unadmitted(history) == []


async def test_recording_again_keeps_what_is_there_and_adds_what_is_new(
    fresh: AsyncCollection[Document],
) -> None:
    history = History(fresh)
    await insert(fresh, 1)
    await history.record()
    await insert(fresh, 2)
    assert await history.record() == 2


async def test_an_empty_collection_has_no_history(fresh: AsyncCollection[Document]) -> None:
    history = History(fresh)
    assert await history.record() == 0
    assert await history.without([1]) == [1]


async def test_leads_that_came_later_are_found(fresh: AsyncCollection[Document]) -> None:
    history = History(fresh)
    await insert(fresh, "old")
    await history.record()
    await insert(fresh, "new")
    await insert(fresh, "null", enrichment_status=None)
    await insert(fresh, "pending", enrichment_status="pending")
    await insert(fresh, "seen", enrichment_status="pending", enrichment={"queued_at": PAST})
    await insert(fresh, "done", enrichment_status="completed")

    assert set(await unadmitted(history)) == {"new", "null", "pending"}


async def test_what_was_found_and_admitted_is_not_found_again(
    fresh: AsyncCollection[Document],
) -> None:
    history = History(fresh)
    await history.record()
    garbage: list[Any] = [None, [], "x", [{}], {"queued_at": "x"}]
    for number, enrichment in enumerate(garbage):
        await insert(fresh, number, enrichment=enrichment)
        await insert(fresh, -1 - number, enrichment=enrichment, enrichment_status="pending")
    found = await unadmitted(history)
    assert len(found) == 2 * len(garbage)

    await queue(fresh).admit(found)

    assert await unadmitted(history) == []


async def test_a_lead_on_record_is_not_found_when_it_was_replaced(
    fresh: AsyncCollection[Document],
) -> None:
    history = History(fresh)
    await insert(fresh, 1)
    await history.record()
    await fresh.replace_one({"_id": 1}, {"email": "new@quokka-freight.com"})
    assert await unadmitted(history) == []


async def test_a_lead_on_record_is_found_when_a_user_asks_for_it(
    fresh: AsyncCollection[Document],
) -> None:
    history = History(fresh)
    await insert(fresh, 1)
    await history.record()
    await fresh.update_one({"_id": 1}, {"$set": {"enrichment_status": "pending"}})
    assert await unadmitted(history) == [1]


async def test_ids_of_any_type_are_told_apart(fresh: AsyncCollection[Document]) -> None:
    """To Python 1 and `True` are equal, and NaN is not equal to itself."""
    history = History(fresh)
    recorded = [*(id_ for id_ in IDS if id_ is not True), math.nan]
    for id_ in recorded:
        await insert(fresh, id_)
    assert await history.record() == len(recorded)
    await insert(fresh, True)

    assert await unadmitted(history) == [True]
    assert await history.without([True, 1]) == [True]
    assert await history.without([*recorded, "new"]) == ["new"]


async def test_the_record_is_made_range_by_range_whatever_the_ids_are(
    fresh: AsyncCollection[Document],
) -> None:
    ids: list[LeadId] = [*IDS, *range(100, 130), *(f"text {n}" for n in range(30))]
    ids += [{"an": n} for n in range(5)]
    for id_ in ids:
        await insert(fresh, id_)
    told: list[tuple[int, Document]] = []

    async def tell(leads: int, begin: Document) -> None:
        told.append((leads, begin))

    assert await History(fresh, range_=7).record(None, tell) == len(ids)

    assert [leads for leads, _ in told] == [7 * n for n in range(1, 1 + (len(ids) - 1) // 7)]
    assert await unadmitted(History(fresh)) == []


async def test_a_record_goes_on_where_an_earlier_one_ended(
    fresh: AsyncCollection[Document],
) -> None:
    await fresh.insert_many([{"_id": number} for number in range(50)])

    class KilledError(Exception):
        pass

    begins: list[Document] = []

    async def killed(leads: int, begin: Document) -> None:
        begins.append(begin)
        if leads == 20:
            raise KilledError

    with pytest.raises(KilledError):
        await History(fresh, range_=10).record(None, killed)
    await fresh.insert_one({"_id": 5.5})  # before the position: whoever comes later is not history

    assert await History(fresh, range_=10).record(begins[-1]) == 50
    assert await unadmitted(History(fresh)) == [5.5]


async def test_under_a_collation_the_record_is_made_at_once(
    fresh: AsyncCollection[Document],
) -> None:
    leads = await fresh.database.create_collection(
        f"{fresh.name}_collated", collation={"locale": "en", "strength": 1}
    )
    collated = fresh.database[leads.name]
    await collated.insert_many([{"_id": id_} for id_ in ("b", "C", "a", 1, 2)])
    assert await History(collated, range_=2).record() == 5
    assert await unadmitted(History(collated)) == []
    await collated.drop()
    await fresh.database.drop_collection(collection_name(collated.name))


async def test_many_are_found_in_batches(fresh: AsyncCollection[Document]) -> None:
    history = History(fresh)
    await fresh.insert_many([{"_id": number} for number in range(3000)])
    await history.record()
    await fresh.insert_many([{"_id": number} for number in range(3000, 5500)])

    batches = [batch async for batch in history.unadmitted()]

    assert [len(batch) for batch in batches] == [1000, 1000, 500]
    assert sorted(id_ for batch in batches for id_ in batch) == list(range(3000, 5500))


async def test_the_newest_can_be_looked_at_before_all_others(
    fresh: AsyncCollection[Document],
) -> None:
    """What a gap left is among them, and millions of others may stand before it."""
    await Indexes(fresh).ensure()
    await insert(fresh, "z")
    history = History(fresh, newest=3)
    await history.record()
    for id_ in ("b", "c", "a"):
        await insert(fresh, id_)
    assert [batch async for batch in history.newest()] == [["a", "c", "b"]]
    await insert(fresh, "d")
    assert [batch async for batch in history.newest()] == [["d", "a", "c"]]


async def test_a_search_may_be_left_half_way(fresh: AsyncCollection[Document]) -> None:
    await fresh.insert_many([{"_id": number} for number in range(2500)])
    batches = History(fresh).unadmitted()
    assert len(await anext(batches)) == 1000
    await batches.aclose()


async def test_the_time_allowed_for_a_search_does_not_hold_for_the_caller(
    fresh: AsyncCollection[Document],
) -> None:
    await fresh.insert_many([{"_id": number} for number in range(1500)])
    async for _ in History(fresh).unadmitted():
        assert pymongo._csot.get_timeout() is None


async def test_recording_and_searching_may_take_longer_than_any_other_operation(
    faults: Faults, faulty_uri: str
) -> None:
    """With a million old leads each takes more than the 10 s that bound an operation."""
    await faults.plain.insert_many([{"_id": number} for number in range(20)])
    limit = int(500 * business())
    async with AsyncMongoClient[Document](
        faulty_uri, appname="enricher", timeoutMS=limit
    ) as impatient:
        history = History(impatient[faults.leads.database.name][faults.leads.name])

        async with faults.fail("aggregate", blockConnection=True, blockTimeMS=limit + 200):
            assert await unadmitted(history) == list(range(20))
            assert await history.record() == 20

    await faults.plain.database.drop_collection(collection_name(faults.leads.name))


@pytest.mark.parametrize("work", [History.record, unadmitted], ids=["recording", "searching"])
async def test_it_ends_when_it_is_cancelled_though_the_driver_swallows_that(
    mongodb_uri: str,
    fresh: AsyncCollection[Document],
    work: Callable[[History], Coroutine[Any, Any, object]],
) -> None:
    """Else a stop would wait until millions of leads have been read."""
    await fresh.insert_many([{"_id": number} for number in range(50)])
    commands = CancelsTheFirst("aggregate")
    async with AsyncMongoClient[Document](mongodb_uri, event_listeners=[commands]) as client:
        leads = client[fresh.database.name][fresh.name]
        working = asyncio.create_task(work(History(leads, range_=1)))
        await asyncio.wait([working])
    assert working.cancelled()
    assert commands.names().count("aggregate") <= 2


HELD = {"due_at": PAST, "holder": "a daemon", "claim_id": "a claim"}


async def test_leads_in_work_that_no_claim_would_find_are_found(
    fresh: AsyncCollection[Document],
) -> None:
    await insert(fresh, "lost", enrichment_status="processing")
    await insert(fresh, "held", enrichment_status="processing", enrichment=HELD)
    assert [batch async for batch in History(fresh).unadmitted()] == [["lost"]]


async def test_two_collections_have_two_histories(fresh: AsyncCollection[Document]) -> None:
    other = fresh.database[f"{fresh.name}_other"]
    await insert(fresh, 1)
    await insert(other, 1)
    await History(fresh).record()
    assert await History(other).without([1]) == [1]


# -- leads that have been ours -----------------------------------------------------------------

OF_OURS: dict[str, Document] = {
    "a date": {"enriched_at": PAST},
    "results": {"enriched_data": {"enrichment_metadata": {"sources_used": []}}},
    "a claim": {"enrichment": {"token": 1, "claim_id": "a claim"}},
    "an admission": {"enrichment": {"queued_at": PAST, "priority": 0}},
    "all of it": {"enriched_at": PAST, "enrichment": {"token": 2, "due_at": PAST}},
}
NEVER_OURS: dict[str, Document] = {
    "nothing": {},
    "an ODM's defaults": {"enriched_at": None, "enriched_data": None, "enrichment": None},
    "empty parts": {"enriched_data": {}, "enrichment": {}, "enriched_at": ""},
    "a writer's wish": {"enrichment": {"refresh_since": PAST, "priority": 5}},
    "a date that is invented": {"enrichment": {"queued_at": PAST}},
    "a claim that is invented": {"enrichment": {"token": 2**62, "claim_id": 5}},
    "a writer's own": {"enriched_data": {"company_data": {"name": "Acme"}}, "enrichment": ["x"]},
}


@pytest.mark.parametrize("status", [{}, {"enrichment_status": None}], ids=["missing", "null"])
@pytest.mark.parametrize("fields", OF_OURS.values(), ids=OF_OURS)
async def test_a_status_that_was_taken_away_by_hand_is_left_alone_until_it_is_pending(
    fresh: AsyncCollection[Document], fields: Document, status: Document
) -> None:
    await insert(fresh, **fields, **status)
    before = await read(fresh)
    assert [ids async for ids in History(fresh).unadmitted()] == []
    assert await queue(fresh).admit([1]) == 0
    assert await read(fresh) == before
    assert (await unmoved.count(fresh) or {})[unmoved.UnmovedReason.UNSET] == 1

    await fresh.update_one({"_id": 1}, {"$set": {"enrichment_status": "pending"}})
    await queue(fresh).admit([1])
    assert len((await queue(fresh).claim(1)).leases) == 1


@pytest.mark.parametrize("status", [{}, {"enrichment_status": None}], ids=["missing", "null"])
@pytest.mark.parametrize("fields", NEVER_OURS.values(), ids=NEVER_OURS)
async def test_a_lead_that_never_was_ours_is_new(
    fresh: AsyncCollection[Document], fields: Document, status: Document
) -> None:
    await insert(fresh, **fields, **status)
    assert [ids async for ids in History(fresh).unadmitted()] == [[1]]
    assert await queue(fresh).admit([1]) == 1
