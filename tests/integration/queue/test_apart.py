"""Batches of writes: what is found out when one takes too long."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import PyMongoError

from enricher.lead import Document, LeadId
from enricher.mongo.expressions import UpdateOne
from enricher.queue.apart import AT_ONCE, Apart, Parted, Step
from tests.support.faults import Faults
from tests.support.locks import held
from tests.support.queueing import insert, patient, queue
from tests.support.waiting import eventually

pytestmark = pytest.mark.slow


def marking(leads: AsyncCollection[Document], sizes: list[int] | None = None) -> Step[LeadId, int]:
    """Marks leads, and notes how many are in each command."""

    async def write(ids: Sequence[LeadId]) -> int:
        if sizes is not None:
            sizes.append(len(ids))
        updates = [UpdateOne({"_id": id_}, {"$set": {"mark": 1}}) for id_ in ids]
        return (await leads.bulk_write(updates, ordered=False)).matched_count

    return Step("test", leads, write, lambda id_: id_)


def matched(written: Parted[LeadId, int]) -> int:
    return sum(count for _, count in written.parts)


async def filled(leads: AsyncCollection[Document], count: int) -> list[LeadId]:
    await leads.insert_many([{"_id": number} for number in range(count)])
    return list(range(count))


async def test_what_nobody_holds_is_one_command(ours: AsyncCollection[Document]) -> None:
    ids, sizes = await filled(ours, 50), list[int]()
    written = await Apart().write(marking(ours, sizes), ids)
    assert (matched(written), written.blocked, sizes) == (50, [], [50])


async def test_what_is_held_is_left_and_the_others_are_written(
    ours: AsyncCollection[Document],
) -> None:
    ids = await filled(ours, 50)
    async with held(ours, 7, 30):
        written = await patient().write(marking(ours), ids)
    assert sorted(written.blocked) == [7, 30]
    assert matched(written) == 48


async def test_what_was_held_is_tried_beside_the_others_until_it_goes_through(
    ours: AsyncCollection[Document],
) -> None:
    ids, apart = await filled(ours, 50), patient()
    async with held(ours, 7):
        await apart.write(marking(ours), ids)
        sizes: list[int] = []
        assert (await apart.write(marking(ours, sizes), ids)).blocked == [7]
        assert sizes == [49, 1]
    assert (await apart.write(marking(ours, sizes), ids)).blocked == []
    assert sizes[2:] == [49, 1]
    assert (await apart.write(marking(ours, sizes), ids)).blocked == []
    assert sizes[4:] == [50]


async def test_of_many_that_are_held_only_a_few_are_tried_again_each_time(
    ours: AsyncCollection[Document],
) -> None:
    ids, apart = await filled(ours, 100), Apart()
    async with held(ours, *ids):
        assert len((await apart.write(marking(ours), ids)).blocked) == 100
        sizes: list[int] = []
        assert len((await apart.write(marking(ours, sizes), ids)).blocked) == 100
        assert sizes == [1] * AT_ONCE

    async def all_go_through() -> bool:
        written = await apart.write(marking(ours), ids)
        return (matched(written), written.blocked) == (100, [])

    await eventually(all_go_through)


async def test_a_server_that_takes_its_time_blocks_nobody(faults: Faults) -> None:
    """300 ms for each write."""
    ids, apart, sizes = await filled(faults.plain, 20), Apart(), list[int]()
    async with faults.fail("update", blockConnection=True, blockTimeMS=300):
        for _ in range(5):
            assert (await apart.write(marking(faults.leads, sizes), ids)).blocked == []
    assert sizes == [20] * 5


async def test_a_slow_server_is_an_outage_once_and_has_more_time_from_then_on(
    faults: Faults,
) -> None:
    ids, apart, sizes = await filled(faults.plain, 20), Apart(), list[int]()
    async with faults.fail("update", blockConnection=True, blockTimeMS=1500):
        with pytest.raises(PyMongoError) as raised:
            await apart.write(marking(faults.leads, sizes), ids)
        assert raised.value.timeout
        for _ in range(2):
            assert (await apart.write(marking(faults.leads, sizes), ids)).blocked == []
    assert sizes == [20] * 3
    for _ in range(5):
        await apart.write(marking(faults.leads), ids)
    assert apart.limit_seconds == 1


async def test_batches_that_take_long_for_no_leads_sake_get_more_time(
    ours: AsyncCollection[Document],
) -> None:
    ids, apart, sizes = await filled(ours, 20), Apart(2.0), list[int]()
    step = marking(ours)

    async def write(some: Sequence[LeadId]) -> int:
        sizes.append(len(some))
        if len(some) > 1:
            await asyncio.sleep(2.2)  # as a batch of large documents takes
        return await step.write(some)

    slow = Step("test", ours, write, step.id_of)
    assert matched(await apart.write(slow, ids)) == 20
    assert matched(await apart.write(slow, ids)) == 20
    assert sizes == [20, *[1] * 20, 20]


async def test_what_the_write_raises_is_raised(faults: Faults) -> None:
    ids = await filled(faults.plain, 3)
    async with faults.fail("update", errorCode=13):
        with pytest.raises(PyMongoError):
            await Apart().write(marking(faults.leads), ids)


async def test_a_lead_that_is_held_is_no_candidate_for_a_while(
    ours: AsyncCollection[Document],
) -> None:
    for number in (1, 2):
        await insert(ours, number, enrichment_status="pending")
    leads = queue(ours)
    async with held(ours, 1):
        first = await leads.claim(10)
        assert [lease.lead_id for lease in first.leases] == [2]
        assert (await leads.claim(10)).leases == []
        assert len(leads.aside) == 1
        assert leads.aside.leads == 0  # refused by nobody

    async def claimed() -> list[LeadId]:
        return [lease.lead_id for lease in (await leads.claim(10)).leases]

    assert await eventually(claimed) == [1]


async def test_a_lone_lead_that_was_held_is_claimed_at_the_first_look_afterwards(
    ours: AsyncCollection[Document],
) -> None:
    """Nobody else waits for it to be out of the way."""
    await insert(ours, enrichment_status="pending")
    leads = queue(ours)
    async with held(ours, 1):
        assert (await leads.claim(10)).leases == []
    assert [lease.lead_id for lease in (await leads.claim(10)).leases] == [1]


async def test_a_lone_new_lead_that_was_held_is_claimed_as_soon_as_it_is_admitted(
    ours: AsyncCollection[Document],
) -> None:
    await insert(ours)
    leads = queue(ours)
    async with held(ours, 1):
        assert await leads.admit_and_claim(1) is None
        assert await leads.admit([1]) == 0
    assert await leads.admit_blocked() == 1
    assert [lease.lead_id for lease in (await leads.claim(10)).leases] == [1]


async def test_a_lead_that_is_held_keeps_the_last_free_slot_from_no_other(
    ours: AsyncCollection[Document],
) -> None:
    await insert(ours, 1, enrichment_status="pending", enrichment={"priority": 3})
    await insert(ours, 2, enrichment_status="pending", enrichment={"priority": 1})
    leads = queue(ours)
    async with held(ours, 1):
        assert (await leads.claim(1)).leases == []
        assert [lease.lead_id for lease in (await leads.claim(1)).leases] == [2]
