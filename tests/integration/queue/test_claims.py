"""Claims: which leads are work, in what order, and that one lead is never two workers'."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from bson import Decimal128, Int64, Timestamp
from bson.datetime_ms import DatetimeMS
from pymongo import AsyncMongoClient
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import OperationFailure, PyMongoError

from enricher.lead import Document, Inputs, Lease
from enricher.queue.leads import Leads
from tests.support.cable import cable_to, client_over
from tests.support.faults import Faults
from tests.support.queueing import (
    FUTURE,
    HOUR,
    LEASE,
    PAST,
    Commands,
    claim_one,
    insert,
    queue,
    read,
    server_time,
    unhurried,
    with_invalid_utf8,
)
from tests.support.waiting import business, eventually

INTERRUPTED = 11601
UNAUTHORIZED = 13

# -- what is work ------------------------------------------------------------------------------

DUE_AT: dict[str, Any] = {
    "past": PAST,
    "future": FUTURE,
    "null": None,
    "text": "2020-01-01",
    "zero": 0,
    "empty array": [],
    "timestamp": Timestamp(1, 1),
    "object": {"$date": 0},
    "before 1970": datetime(1969, 12, 31, tzinfo=UTC),
    "beyond all calendars": DatetimeMS(2**63 - 1),
}


@pytest.mark.parametrize(
    ("status", "is_work_when"),
    [
        ("pending", {*DUE_AT, "missing"}),
        ("processing", {"past"}),
        ("retrying", {"past"}),
        ("completed", {"past"}),
        ("failed", {"past"}),
        ("skipped", {"past"}),
        ("done", set()),
        (None, set()),
        (0, set()),
    ],
)
async def test_a_lead_is_work_when_it_is_pending_or_its_due_date_has_passed(
    ours: AsyncCollection[Document], status: object, is_work_when: set[str]
) -> None:
    await insert(ours, "missing", enrichment_status=status)
    for name, due_at in DUE_AT.items():
        await insert(ours, name, enrichment_status=status, enrichment={"due_at": due_at})

    claimed = await queue(ours).claim(50)

    assert {lease.lead_id for lease in claimed.leases} == is_work_when
    assert claimed.lost == 0


async def test_a_due_date_in_an_array_makes_no_lead_work_for_ever(
    ours: AsyncCollection[Document],
) -> None:
    await insert(ours, enrichment_status="retrying", enrichment={"due_at": [PAST]})
    leads = queue(ours)
    assert sum([len(await _ids(leads, 2)) for _ in range(3)]) <= 1


async def test_a_lead_without_a_status_is_nobodys_work(ours: AsyncCollection[Document]) -> None:
    await insert(ours)
    assert (await queue(ours).claim(10)).leases == []


async def test_a_claimed_lead_is_work_again_only_when_its_lease_has_run_out(
    ours: AsyncCollection[Document],
) -> None:
    leads = queue(ours, lease=timedelta(seconds=0.3))
    await insert(ours, enrichment_status="pending")
    first = await claim_one(leads)
    assert (await leads.claim(10)).leases == []

    second = (await eventually(lambda: _leases(leads)))[0]

    assert (second.token, second.lead.attempt) == (first.token + 1, 2)


# -- what a claim writes -----------------------------------------------------------------------


async def test_a_claim_writes_the_lease_and_nothing_else(ours: AsyncCollection[Document]) -> None:
    book = {"priority": 2, "queued_at": PAST, "subject": "abc", "token": 4}
    await insert(ours, notes="x", temperature="warm", enrichment_status="pending", enrichment=book)

    lease = await claim_one(queue(ours, holder="host:1"))

    lead = await read(ours)
    now = await server_time(ours)
    assert abs(lead["enrichment"].pop("due_at") - LEASE - now) < timedelta(seconds=5)
    assert abs(lead["enrichment"].pop("waited_ms") - (now - PAST) / timedelta(milliseconds=1)) < 5e3
    assert lead == {
        "_id": 1,
        "email": "ada@quokka-freight.com",
        "notes": "x",
        "temperature": "warm",
        "enrichment_status": "processing",
        "enrichment": {
            **book,
            "token": 5,
            "claim_id": lease.claim_id,
            "holder": "host:1",
            "attempts": 1,
            "interruptions": 0,
            "answered": {},
            "released": False,
            "inputs": {
                "email": "ada@quokka-freight.com",
                "company_domain": None,
                "website": None,
                "name": None,
                "company": None,
            },
        },
    }


async def test_the_token_rises_with_every_claim_and_no_claim_id_comes_twice(
    ours: AsyncCollection[Document],
) -> None:
    await insert(ours, enrichment_status="pending")
    leads = queue(ours)
    leases = []
    for _ in range(4):
        leases.append(await claim_one(leads))
        await ours.update_one({"_id": 1}, {"$set": {"enrichment.due_at": PAST}})

    assert [lease.token for lease in leases] == [1, 2, 3, 4]
    assert [lease.lead.attempt for lease in leases] == [1, 2, 3, 4]
    assert len({lease.claim_id for lease in leases}) == 4


async def test_a_users_pending_begins_a_new_run(ours: AsyncCollection[Document]) -> None:
    book = {"token": 3, "attempts": 4, "answered": {"hunter": "found"}, "due_at": FUTURE}
    await insert(ours, enrichment_status="pending", enrichment=book)

    lease = await claim_one(queue(ours))

    assert (lease.lead.attempt, lease.lead.answered, lease.token) == (1, {}, 4)


async def test_a_released_lead_goes_on_with_its_run(ours: AsyncCollection[Document]) -> None:
    book = {"released": True, "attempts": 2, "answered": {"hunter": "found"}}
    await insert(ours, enrichment_status="pending", enrichment=book)

    lease = await claim_one(queue(ours))

    assert (lease.lead.attempt, lease.lead.answered) == (3, {"hunter": "found"})
    assert (await read(ours))["enrichment"]["released"] is False


@pytest.mark.parametrize(
    ("status", "book", "seconds"),
    [
        ("pending", {"queued_at": PAST, "due_at": PAST - HOUR}, 3600),
        ("retrying", {"queued_at": PAST - HOUR, "due_at": PAST}, 3600),
        ("pending", {}, None),
        ("pending", {"queued_at": "yesterday"}, None),
        ("pending", {"queued_at": FUTURE}, 0),
        ("pending", {"queued_at": DatetimeMS(2**63 - 1)}, 0),
        ("pending", {"queued_at": DatetimeMS(-(2**63))}, None),
        ("pending", {"queued_at": datetime(1, 1, 1, tzinfo=UTC)}, None),
        ("pending", {"queued_at": PAST - timedelta(days=400)}, None),
        ("pending", {"queued_at": datetime(9999, 12, 31, tzinfo=UTC)}, 0),
        ("retrying", {"due_at": datetime(1970, 1, 2, tzinfo=UTC)}, None),
    ],
)
async def test_a_lease_knows_how_long_the_lead_had_been_work(
    ours: AsyncCollection[Document], status: str, book: Document, seconds: float | None
) -> None:
    await insert(ours, enrichment_status=status, enrichment=book)

    waited = (await claim_one(queue(ours))).lead.waited_seconds

    if seconds is None:
        assert waited is None
    else:
        assert waited is not None
        assert waited >= seconds
        # The dates are of the day on which the tests were read, which may be over by now.
        assert waited < seconds + 48 * 3600 or seconds == 0


async def test_a_lease_carries_what_was_found_so_far(ours: AsyncCollection[Document]) -> None:
    data = {"company_data": {"name": "Quokka Freight"}}
    book = {"subject": "abc", "due_at": PAST}
    await insert(ours, enrichment_status="retrying", enriched_data=data, enrichment=book)

    lead = (await claim_one(queue(ours))).lead

    assert (lead.enriched_data, lead.subject) == (data, "abc")


@pytest.mark.parametrize("garbage", ["text", 5, [], [{"a": 1}], None])
async def test_enriched_data_of_another_type_counts_as_none(
    ours: AsyncCollection[Document], garbage: object
) -> None:
    await insert(ours, enrichment_status="pending", enriched_data=garbage)
    assert (await claim_one(queue(ours))).lead.enriched_data == {}


# -- the inputs as they stood ------------------------------------------------------------------


async def test_the_inputs_are_taken_as_they_stand(ours: AsyncCollection[Document]) -> None:
    fields: dict[str, Any] = {
        "email": " Ada@Quokka-Freight.com ",
        "company_domain": "quokka-freight.com",
        "website": "https://quokka-freight.com",
        "name": "$email",
        "company": "a\0b",
    }
    await insert(ours, enrichment_status="pending", **fields)
    assert (await claim_one(queue(ours))).lead.inputs == Inputs(**fields)


@pytest.mark.parametrize(
    ("stored", "read_as"),
    [("CTO", "CTO"), (None, None), ({"title": "CTO"}, None), ("x" * 1025, None)],
)
async def test_a_job_title_is_read_as_text_or_not_at_all(
    ours: AsyncCollection[Document], stored: object, read_as: str | None
) -> None:
    await insert(ours, enrichment_status="pending", job_title=stored)
    assert (await claim_one(queue(ours))).lead.job_title == read_as


async def test_a_value_that_is_no_usable_text_never_leaves_the_database(
    ours: AsyncCollection[Document],
) -> None:
    await insert(
        ours,
        enrichment_status="pending",
        email=["ada@quokka-freight.com"],
        company_domain="é" * 513,
        website={"malformed": "no"},
        name=math.nan,
        company=None,
    )

    inputs = (await claim_one(queue(ours))).lead.inputs

    malformed = {
        "email": "array",
        "company_domain": "too long",
        "website": "object",
        "name": "double",
    }
    assert inputs == Inputs(malformed=malformed)


async def test_a_text_of_1024_bytes_is_still_usable(ours: AsyncCollection[Document]) -> None:
    await insert(ours, enrichment_status="pending", website="é" * 512)
    assert (await claim_one(queue(ours))).lead.inputs.website == "é" * 512


async def test_a_text_that_is_no_utf8_is_read_as_well_as_may_be(
    ours: AsyncCollection[Document],
) -> None:
    lead = {"_id": 1, "enrichment_status": "pending", "email": "ada@quokka-freight.com"}
    await ours.insert_one(with_invalid_utf8(lead, "ada@"))
    assert (await claim_one(queue(ours))).lead.inputs.email == "\ufffd\ufffda@quokka-freight.com"


# -- garbage in the book-keeping ---------------------------------------------------------------

GARBAGE = [
    "text", "", None, True, -5, 1.5, math.nan, math.inf, -math.inf, 1e300, Int64(2**63 - 1), [], [1],
    {"$literal": 1}, PAST, Decimal128("7"), Decimal128("NaN"), Decimal128("1E+6000"),
]  # fmt: skip


@pytest.mark.parametrize("garbage", GARBAGE, ids=repr)
async def test_garbage_in_the_counters_stops_no_claim_and_no_later_write(
    ours: AsyncCollection[Document], garbage: object
) -> None:
    book = {"token": garbage, "attempts": garbage, "answered": garbage, "due_at": PAST}
    await insert(ours, enrichment_status="retrying", enrichment=book)
    leads = queue(ours)

    first = await claim_one(leads)
    assert await leads.renew([first]) == []
    assert await leads.release([first]) == 1
    second = await claim_one(leads)

    assert second.token == first.token + 1
    assert second.lead.attempt == first.lead.attempt


@pytest.mark.parametrize(
    "garbage", ["text", [], ["x"], [{"token": 3}], [{"token": [1]}, {"token": 2}], None, 5]
)
async def test_garbage_in_place_of_the_bookkeeping_stops_no_claim(
    ours: AsyncCollection[Document], garbage: object
) -> None:
    await insert(ours, enrichment_status="pending", enrichment=garbage)
    leads = queue(ours)

    lease = await claim_one(leads)

    assert (lease.token, lease.lead.attempt) == (1, 1)
    assert await leads.renew([lease]) == []


async def test_a_status_that_is_an_array_is_claimed_like_what_it_contains(
    ours: AsyncCollection[Document],
) -> None:
    await insert(ours, enrichment_status=["pending", "x"])
    assert (await claim_one(queue(ours))).lead_id == 1
    assert (await read(ours))["enrichment_status"] == "processing"


@pytest.mark.parametrize("rank", [math.nan, Decimal128("NaN"), Decimal128("1E+6000"), "5", [3], {}])
async def test_a_priority_of_any_type_stops_no_claim_under_contention(
    ours: AsyncCollection[Document], rank: object
) -> None:
    leads = queue(ours)
    leads.lanes.width = 4
    for id_ in range(4):
        await insert(ours, id_, enrichment_status="pending", enrichment={"priority": rank})

    assert len((await leads.claim(3)).leases) == 3


# -- order -------------------------------------------------------------------------------------


async def test_the_highest_priority_comes_first_and_the_oldest_among_equals(
    ours: AsyncCollection[Document],
) -> None:
    for id_, priority, hours in (("b", 2, 1), ("d", 1, 9), ("a", 2, 5), ("c", 1.5, 1)):
        await _pending(ours, id_, priority, hours)
    leads = queue(ours)

    assert [(await _ids(leads, 1))[0] for _ in range(4)] == ["a", "b", "c", "d"]


async def test_every_tenth_claim_takes_the_oldest_whatever_its_priority(
    ours: AsyncCollection[Document],
) -> None:
    await _pending(ours, "cold and old", priority=1, hours=99)
    for id_ in range(12):
        await _pending(ours, id_, priority=3, hours=1)
    leads = queue(ours)

    turns = [(await _ids(leads, 1))[0] for _ in range(10)]

    assert "cold and old" not in turns[:9]
    assert turns[9] == "cold and old"


async def test_the_tenth_claim_is_for_the_oldest_also_under_contention(
    ours: AsyncCollection[Document],
) -> None:
    for id_ in range(8):
        await _pending(ours, f"old {id_}", priority=1, hours=99)
        await _pending(ours, f"hot {id_}", priority=3, hours=1)
    leads = queue(ours)
    leads.lanes.claims, leads.lanes.width = 9, 4

    assert all(id_.startswith("old") for id_ in await _ids(leads, 2))


async def test_due_leads_take_at_most_half_of_the_slots_while_others_are_pending(
    ours: AsyncCollection[Document],
) -> None:
    await _ten_due_and_ten_pending(ours)
    ids = await _ids(queue(ours), 6)
    assert Counter(id_[:3] for id_ in ids) == {"due": 3, "pen": 3}


async def test_single_slots_go_to_due_and_pending_leads_in_turn(
    ours: AsyncCollection[Document],
) -> None:
    await _ten_due_and_ten_pending(ours)
    leads = queue(ours)
    turns = [(await _ids(leads, 1))[0][:3] for _ in range(8)]
    assert Counter(turns) == {"due": 4, "pen": 4}


async def test_due_leads_take_all_slots_that_nobody_else_needs(
    ours: AsyncCollection[Document],
) -> None:
    await _ten_due_and_ten_pending(ours)
    await ours.delete_many({"enrichment_status": "pending", "_id": {"$ne": "pending 0"}})
    ids = await _ids(queue(ours), 6)
    assert Counter(id_[:3] for id_ in ids) == {"due": 5, "pen": 1}


async def test_a_refresh_waits_until_there_is_nothing_else(ours: AsyncCollection[Document]) -> None:
    await insert(ours, "old", enrichment_status="completed", enrichment={"due_at": PAST - HOUR})
    await insert(ours, "due", enrichment_status="retrying", enrichment={"due_at": PAST})
    await _pending(ours, "new", priority=0, hours=0)
    leads = queue(ours)

    assert set(await _ids(leads, 2)) == {"due", "new"}
    assert await _ids(leads, 2) == ["old"]


async def test_a_batch_is_full_when_as_many_stood_there_as_were_asked_for(
    ours: AsyncCollection[Document],
) -> None:
    for id_ in range(5):
        await _pending(ours, id_)
    leads = queue(ours)
    assert (await leads.claim(3)).is_full
    assert not (await leads.claim(3)).is_full
    assert not (await leads.claim(3)).is_full


# -- several claimers --------------------------------------------------------------------------


@pytest.mark.slow
async def test_no_lead_is_ever_claimed_by_two(ours: AsyncCollection[Document]) -> None:
    await ours.insert_many(
        [{"_id": number, "enrichment_status": "pending"} for number in range(1000)]
    )
    claims: Counter[int] = Counter()

    async def claim_all(leads: Leads) -> None:
        nothing = 0
        while nothing < 3:
            claimed = await leads.claim(20)
            claims.update(lease.lead_id for lease in claimed.leases)
            nothing = 0 if claimed.leases or claimed.lost else nothing + 1

    async with asyncio.TaskGroup() as group:
        for seed in range(4):
            group.create_task(claim_all(queue(ours, holder=f"process {seed}", seed=seed)))

    assert claims == Counter(range(1000))
    assert await ours.count_documents({"enrichment.token": 1}) == 1000


async def test_candidates_that_others_were_quicker_to_take_are_counted(faults: Faults) -> None:
    for id_ in range(6):
        await _pending(faults.plain, id_)
    slow, quick = queue(faults.leads, holder="slow"), queue(faults.plain, holder="quick")

    held_up = faults.fail("update", times=1, blockConnection=True, blockTimeMS=_long_enough())
    async with held_up as has_come:
        losing = asyncio.create_task(slow.claim(6))
        await has_come()
        won = await quick.claim(4)
        lost = await losing

    assert len(won.leases) == 4
    assert (len(lost.leases), lost.lost, lost.is_full) == (2, 4, True)


def _long_enough() -> int:
    """Milliseconds in which somebody else is sure to have been quicker."""
    return int(300 * business())


async def test_a_daemon_that_loses_candidates_looks_further(
    ours: AsyncCollection[Document],
) -> None:
    for id_ in range(64):
        await _pending(ours, id_, hours=64 - id_)
    leads = queue(ours)
    leads.lanes.width = 8

    wide = await _ids(leads, 4)

    assert set(wide) <= set(range(32))
    assert wide != [0, 1, 2, 3]


async def test_a_daemon_that_has_been_alone_for_long_takes_the_head_again(
    ours: AsyncCollection[Document],
) -> None:
    lanes = queue(ours).lanes
    for _ in range(3):
        lanes.contended(lost=1, candidates=4)
    assert lanes.width == 8
    for _ in range(15):
        lanes.contended(lost=0, candidates=4)
    assert lanes.width == 8  # others do not go away because one claim met none of them
    for _ in range(33):
        lanes.contended(lost=0, candidates=4)
    assert lanes.width == 1


# -- outcomes that are not known ---------------------------------------------------------------


@pytest.mark.parametrize("times", [1, 2])
async def test_a_claim_through_a_broken_connection_loses_and_doubles_nothing(
    faults: Faults, times: int
) -> None:
    for id_ in range(10):
        await _pending(faults.plain, id_)
    leads = queue(faults.leads)

    async with faults.fail("update", times=times, closeConnection=True):
        claimed = await leads.claim(10)

    assert len(claimed.leases) == 10
    assert await faults.plain.count_documents({"enrichment.token": 1}) == 10


async def test_a_claim_of_several_that_nobody_answers_is_not_sent_again(
    mongodb_uri: str, ours: AsyncCollection[Document]
) -> None:
    """What is sent besides asks whether it is the leads or the server."""
    for id_ in range(2):
        await _pending(ours, id_)
    async with cable_to(mongodb_uri) as cable, client_over(cable, patience_seconds=0.5) as client:
        leads = queue(client[ours.database.name][ours.name])
        assert (await leads.claim(2, above=1e9)).asked == 2  # it is connected
        cable.hold(b"updates")

        assert (await leads.claim(2)).lost == 2

        assert cable.held == 2


async def test_a_lone_claim_whose_answer_comes_too_late_is_ours(
    mongodb_uri: str, ours: AsyncCollection[Document]
) -> None:
    """It is asked for once more, and then there is nothing left to take."""
    await _pending(ours, 1)
    async with cable_to(mongodb_uri) as cable, client_over(cable, patience_seconds=10) as client:
        leads = queue(client[ours.database.name][ours.name])
        await leads.claim(1, above=1e9)  # it is connected
        leads.apart.limit_seconds = 0.5
        cable.delay(0.4)
        claiming = asyncio.create_task(leads.claim(1))
        await eventually(lambda: ours.find_one({"enrichment_status": "processing"}))
        cable.delay(0.0)

        claimed = await claiming

    assert [lease.lead_id for lease in claimed.leases] == [1]


async def test_a_claim_that_was_not_written_is_simply_not_ours(faults: Faults) -> None:
    for id_ in range(4):
        await _pending(faults.plain, id_)
    leads = queue(faults.leads)

    async with faults.fail("update", errorCode=INTERRUPTED):
        for _ in range(3):
            claimed = await leads.claim(4)
            assert (claimed.leases, claimed.lost) == ([], 4)

    assert len((await leads.claim(4)).leases) == 4


async def test_a_claim_that_the_user_may_not_write_is_an_error_to_wait_out(faults: Faults) -> None:
    await _pending(faults.plain, 0)
    leads = queue(faults.leads)

    async with faults.fail("update", "findAndModify", errorCode=UNAUTHORIZED):
        with pytest.raises(OperationFailure):
            await leads.claim(1)

    assert len((await leads.claim(1)).leases) == 1


async def test_a_claim_that_was_written_though_its_answer_was_an_error_is_ours(
    faults: Faults,
) -> None:
    for id_ in range(4):
        await _pending(faults.plain, id_)

    async with faults.fail("update", writeConcernError={"code": 64, "errmsg": "timed out"}):
        claimed = await queue(faults.leads).claim(4)

    assert len(claimed.leases) == 4
    assert {lease.token for lease in claimed.leases} == {1}


async def test_leads_whose_claim_could_not_be_read_back_come_back_by_themselves(
    faults: Faults,
) -> None:
    leads = queue(faults.leads, lease=timedelta(seconds=0.3))
    await leads.admit([0])  # for the first write of a session the server itself needs a `find`
    for id_ in range(4):
        await _pending(faults.plain, id_)

    async with faults.fail("find", errorCode=INTERRUPTED):
        with pytest.raises(PyMongoError):
            await leads.claim(4)

    again = await eventually(lambda: _leases(leads))
    assert {lease.lead_id for lease in again} == {0, 1, 2, 3}
    assert {lease.token for lease in again} == {2}


@pytest.mark.parametrize(("count", "late"), [(1, "findAndModify"), (2, "find")])
async def test_a_lease_that_ran_out_before_the_claim_was_answered_is_nobodys(
    faults: Faults, count: int, late: str
) -> None:
    leads = queue(faults.leads, lease=timedelta(seconds=0.3))
    await leads.admit([0])  # for the first write of a session the server itself needs a `find`
    for id_ in range(1, 1 + count):
        await _pending(faults.plain, id_)

    async with faults.fail(late, times=1, blockConnection=True, blockTimeMS=400):
        claimed = await leads.claim(count)

    assert (claimed.leases, claimed.lost) == ([], count)

    async def again() -> list[Lease]:
        """The lease of a claim that came late runs from then."""
        return (await queue(faults.plain).claim(count)).leases

    assert [lease.token for lease in await eventually(again)] == [2] * count


# -- leads that cannot be written --------------------------------------------------------------


async def test_leads_that_the_server_refuses_to_write_do_not_block_the_head(
    ours: AsyncCollection[Document],
) -> None:
    await ours.database.command(
        "collMod", ours.name, validator={"$nor": [{"bad": 1, "enrichment.claim_id": {"$gt": ""}}]}
    )
    for id_ in range(6):
        await insert(ours, id_, bad=1, enrichment_status="pending", enrichment={"priority": 9})
    await _pending(ours, "good")
    leads = queue(ours)

    claimed = [await leads.claim(2) for _ in range(4)]

    assert [lease.lead_id for batch in claimed for lease in batch.leases] == ["good"]
    assert [batch.lost for batch in claimed] == [2, 2, 2, 0]
    assert (await leads.claim(2)).asked == 2
    assert await ours.count_documents({"bad": 1, "enrichment_status": "pending"}) == 6


async def test_a_lead_of_nearly_16_mb_is_set_aside(ours: AsyncCollection[Document]) -> None:
    big = {"_id": "big", "enrichment_status": "pending", "notes": ""}
    with unhurried():
        await ours.insert_one(big | {"notes": "x" * (16 * 1024 * 1024 - 80)})
    await _pending(ours, "good")
    leads = queue(ours)

    assert await _ids(leads, 2) == ["good"]
    assert (await leads.claim(2)).lost == 0


async def test_leads_that_can_never_be_won_do_not_block_the_head(
    ours: AsyncCollection[Document],
) -> None:
    """An `_id` that is not valid UTF-8 reaches us as another one."""
    for number in range(3):
        lead = {"_id": f"id-{number}", "enrichment_status": "pending"}
        await ours.insert_one(
            with_invalid_utf8(lead | {"enrichment": {"priority": 9}}, f"id-{number}")
        )
    await _pending(ours, "good")
    leads = queue(ours)

    claimed = [await leads.claim(3) for _ in range(4)]

    assert [lease.lead_id for batch in claimed for lease in batch.leases] == ["good"]
    assert claimed[-1].lost == 0


async def test_a_lead_that_reaches_us_as_another_one_that_exists_does_not_block_the_head(
    ours: AsyncCollection[Document],
) -> None:
    lead = {"_id": "id", "enrichment_status": "pending", "enrichment": {"priority": 9}}
    await ours.insert_one(with_invalid_utf8(lead, "id"))
    await ours.insert_one({"_id": "\ufffd\ufffd", "enrichment_status": "completed"})
    await _pending(ours, "good")
    leads = queue(ours)

    async def good_is_won() -> bool:
        return "good" in await _ids(leads, 1)

    await eventually(good_is_won)
    assert (await read(ours, "\ufffd\ufffd"))["enrichment_status"] == "completed"


async def test_a_lead_that_others_were_quicker_to_take_twice_can_still_be_won(
    faults: Faults,
) -> None:
    """Each time a writer put it back as it stood: a copy of the collection, an old document."""
    await _pending(faults.plain, 1)
    as_it_was = await read(faults.plain, 1)
    slow, quick = queue(faults.leads, holder="slow"), queue(faults.plain, holder="quick")
    for _ in range(3):
        held_up = faults.fail(
            "findAndModify", times=1, blockConnection=True, blockTimeMS=_long_enough()
        )
        async with held_up as has_come:
            losing = asyncio.create_task(slow.claim(1))
            await has_come()
            await claim_one(quick)
            assert (await losing).lost == 1
        await faults.plain.replace_one({"_id": 1}, as_it_was)

    assert await _ids(slow, 1) == [1]


async def test_a_lead_that_was_set_aside_is_tried_again_later(
    ours: AsyncCollection[Document],
) -> None:
    validator = {"$nor": [{"enrichment.claim_id": {"$exists": True}}]}
    await ours.database.command("collMod", ours.name, validator=validator)
    await _pending(ours, 1)
    leads = queue(ours)
    assert (await leads.claim(1)).lost == 1
    await ours.database.command("collMod", ours.name, validator={})
    assert await _ids(leads, 1) == []

    leads.aside.until = dict.fromkeys(leads.aside.until, 0.0)  # ten minutes later

    assert await _ids(leads, 1) == [1]


# -- the price of a claim ----------------------------------------------------------------------


async def test_a_claim_reads_no_keys_of_leads_that_are_not_work(
    fresh: AsyncCollection[Document], mongodb_uri: str
) -> None:
    def leads(count: int, status: str | None, **book: Any) -> list[Document]:
        return [{"enrichment_status": status, "enrichment": book} for _ in range(count)]

    later = FUTURE + HOUR
    await fresh.insert_many(
        [
            *leads(5000, "completed", token=1, due_at=later),
            *leads(1000, "failed", token=1),
            *leads(1000, "skipped", token=1),
            *leads(500, "retrying", token=1, due_at=later),
            *leads(500, "processing", token=1, due_at=later),
            *leads(500, None),
            *leads(300, "pending", priority=1, queued_at=PAST),
            *leads(5, "retrying", token=1, due_at=PAST),
            *leads(5, "completed", token=1, due_at=PAST),
            # One key from an array and the server no longer trusts the bounds of an index.
            {"enrichment_status": "completed", "enrichment": ["x"]},
            {"enrichment_status": "pending", "enrichment": [{"token": 1}]},
            {"enrichment_status": "completed", "enrichment": {"due_at": []}},
        ]
    )
    commands = Commands()
    async with AsyncMongoClient[Document](mongodb_uri, event_listeners=[commands]) as client:
        collection = client[fresh.database.name][fresh.name]
        await queue(collection).claim(20)
        aggregate = next(sent for sent in commands.sent if "aggregate" in sent)

    first = [stage for stage in aggregate["pipeline"] if "$unionWith" not in stage]
    others = [stage["$unionWith"] for stage in aggregate["pipeline"] if "$unionWith" in stage]
    keys = [await _keys_examined(fresh, lane) for lane in (first, *(o["pipeline"] for o in others))]
    assert len(keys) == 3
    assert keys[0] <= 25
    assert keys[1] <= 15
    assert keys[2] <= 15


async def test_a_claim_takes_three_round_trips_however_many_leads_it_takes(
    ours: AsyncCollection[Document], mongodb_uri: str
) -> None:
    for id_ in range(50):
        await _pending(ours, id_)
    commands = Commands()
    async with AsyncMongoClient[Document](mongodb_uri, event_listeners=[commands]) as client:
        collection = client[ours.database.name][ours.name]
        assert len((await queue(collection).claim(50)).leases) == 50

    assert [name for name in commands.names() if name != "endSessions"] == [
        "aggregate",
        "update",
        "find",
    ]


# -- what these tests are made of --------------------------------------------------------------


async def _pending(
    ours: AsyncCollection[Document], id_: object, priority: float = 0, hours: int = 0
) -> None:
    book = {"priority": priority, "queued_at": PAST - hours * HOUR}
    await insert(ours, id_, enrichment_status="pending", enrichment=book)


async def _ten_due_and_ten_pending(ours: AsyncCollection[Document]) -> None:
    for number in range(10):
        await _pending(ours, f"pending {number}", priority=3)
        due = {"due_at": PAST + timedelta(seconds=number)}
        await insert(ours, f"due {number}", enrichment_status="retrying", enrichment=due)


async def _leases(leads: Leads) -> list[Lease]:
    return (await leads.claim(10)).leases


async def _ids(leads: Leads, slots: int) -> list[Any]:
    """The ids that one claim won, in the order of the candidates where it takes a single one."""
    return sorted((lease.lead_id for lease in (await leads.claim(slots)).leases), key=str)


async def _keys_examined(ours: AsyncCollection[Document], pipeline: list[Document]) -> int:
    command = {"aggregate": ours.name, "pipeline": pipeline, "cursor": {}}
    plan = await ours.database.command("explain", command, verbosity="executionStats")
    stats = plan.get("executionStats") or plan["stages"][0]["$cursor"]["executionStats"]
    return int(stats["totalKeysExamined"])


async def test_leads_whose_ids_are_megabytes_are_failed_and_the_others_claimed(
    ours: AsyncCollection[Document],
) -> None:
    ids: list[Any] = [str(number) * 1_000_000 for number in (1, 2, 3)]
    leads = queue(ours)
    for id_ in [*ids, "x" * 4000]:
        await insert(ours, id_)
        await leads.admit([id_])
    claimed = [*(await leads.claim(1)).leases, *(await leads.claim(1)).leases]
    assert [lease.lead_id for lease in claimed] == ["x" * 4000]
    failed = {"enrichment_status": "failed", "enrichment_error": {"$regex": "^The _id is longer"}}
    assert await ours.count_documents(failed) == len(ids)
