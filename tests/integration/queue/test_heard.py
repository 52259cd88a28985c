"""While the indexes are built a claim finds what was heard of, and reads no other lead."""

from __future__ import annotations

from datetime import timedelta

from pymongo.asynchronous.collection import AsyncCollection

from enricher.lead import Document
from enricher.queue.lanes import Heard
from enricher.queue.leads import Leads
from tests.support.queueing import FUTURE, PAST, insert, queue
from tests.support.waiting import eventually

Collection = AsyncCollection[Document]


def without_indexes(leads: Collection, lease: timedelta = timedelta(seconds=60)) -> Leads:
    hearing = queue(leads, lease)
    hearing.go_by_what_is_heard(True)
    return hearing


async def ids(leads: Leads, slots: int = 10, above: float | None = None) -> list[object]:
    return [lease.lead_id for lease in (await leads.claim(slots, above)).leases]


async def test_what_was_admitted_is_claimed_and_what_nobody_told_of_is_not(
    ours: Collection,
) -> None:
    await insert(ours, "untold", enrichment_status="pending")
    leads = without_indexes(ours)
    await insert(ours, "cold", temperature="cold")
    await insert(ours, "hot", temperature="hot")
    await leads.admit(["cold", "hot"])
    assert await ids(leads, 1) == ["hot"]
    assert await ids(leads) == ["cold"]
    assert await ids(leads) == []


async def test_all_are_found_when_the_indexes_stand(ours: Collection) -> None:
    await insert(ours, "untold", enrichment_status="pending")
    leads = without_indexes(ours)
    assert await ids(leads) == []
    leads.go_by_what_is_heard(False)
    assert await ids(leads) == ["untold"]


async def test_a_lease_that_ran_out_and_a_retry_that_fell_due_are_found_again(
    ours: Collection,
) -> None:
    leads = without_indexes(ours, timedelta(seconds=0.3))
    await insert(ours, "interrupted")
    await insert(ours, "retried")
    await leads.admit(["interrupted", "retried"])
    assert len(await ids(leads)) == 2
    later = {"enrichment_status": "retrying", "enrichment.due_at": FUTURE}
    await ours.update_one({"_id": "retried"}, {"$set": later})

    async def is_found() -> bool:
        return await ids(leads) == ["interrupted"]

    await eventually(is_found)
    await ours.update_one({"_id": "retried"}, {"$set": {"enrichment.due_at": PAST}})
    await eventually(lambda: ids(leads))


async def test_one_that_was_given_back_is_found_again(ours: Collection) -> None:
    leads = without_indexes(ours)
    await leads.admit([await insert(ours)])
    await leads.release((await leads.claim(1)).leases)
    assert await ids(leads) == [1]


async def test_under_pressure_only_who_is_more_urgent_is_claimed(ours: Collection) -> None:
    leads = without_indexes(ours)
    await insert(ours, "warm", temperature="warm")
    await insert(ours, "hot", temperature="hot")
    await leads.admit(["warm", "hot"])
    assert await ids(leads, above=2) == ["hot"]


async def test_who_has_ended_takes_no_room(ours: Collection) -> None:
    leads = without_indexes(ours)
    heard = leads.lanes.heard
    assert heard is not None
    await ours.insert_many([{"_id": n} for n in range(5000)])
    await leads.admit(list(range(5000)))
    assert len(heard) == 5000
    await ours.update_many({"_id": {"$gte": 10}}, {"$set": {"enrichment_status": "completed"}})
    await ours.delete_one({"_id": 3})
    for _ in range(3):
        await leads.claim(64)
    assert len(heard) == 9


async def test_no_more_than_its_room_is_remembered_and_no_long_id(ours: Collection) -> None:
    heard = Heard(most=3)
    heard.add(["x" * 300, 1, 2, True, 3])
    assert list(heard.glances()) == [[1, 2, True]]


async def test_everyone_has_a_turn_however_many_were_heard_of() -> None:
    heard = Heard()
    heard.add(range(25_000))
    seen = [id_ for _ in range(3) for glance in heard.glances() for id_ in glance]
    assert set(seen) == set(range(25_000))
