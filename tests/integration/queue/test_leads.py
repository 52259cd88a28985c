"""Admission, renewal and release. Claims are in `test_claims.py`."""

from __future__ import annotations

import math
import time
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from bson import Binary, Decimal128, Int64, ObjectId
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import PyMongoError

from enricher.lead import Document
from tests.support.faults import Faults
from tests.support.queueing import (
    LEASE,
    PAST,
    claim_new,
    claim_one,
    insert,
    queue,
    read,
    server_time,
    unhurried,
)

INTERRUPTED = 11601
LARGEST = 16 * 1024 * 1024

# -- admission ---------------------------------------------------------------------------------


@pytest.mark.parametrize("fields", [{}, {"enrichment_status": None}], ids=["missing", "null"])
async def test_a_lead_without_a_status_becomes_pending(
    ours: AsyncCollection[Document], fields: Document
) -> None:
    await insert(ours, temperature="hot", **fields)

    assert await queue(ours).admit([1]) == 1

    lead = await read(ours)
    assert lead["enrichment_status"] == "pending"
    assert lead["enrichment"]["priority"] == 3
    assert abs(lead["enrichment"]["queued_at"] - await server_time(ours)) < timedelta(seconds=5)
    assert set(lead) == {"_id", "email", "temperature", "enrichment_status", "enrichment"}


@pytest.mark.parametrize(
    ("value", "priority"),
    [
        ("hot", 3),
        ("HOT", 3),
        ("Warm", 2),
        ("cold", 1),
        ("lukewarm", 0),
        ("", 0),
        (2.5, 2.5),
        (0, 0),
        (-2.5, 0),
        (Decimal128("1.25"), 1.25),
        (math.nan, 0),
        (-math.inf, 0),
        (Decimal128("NaN"), 0),
        (Decimal128("-Infinity"), 0),
        (None, 0),
        (["hot"], 0),
        ({"hot": 1}, 0),
        (True, 0),
        (datetime(2020, 1, 1, tzinfo=UTC), 0),
    ],
)
async def test_the_priority_is_a_number_as_itself_or_the_place_of_a_word(
    ours: AsyncCollection[Document], value: object, priority: object
) -> None:
    await insert(ours, temperature=value)

    await queue(ours).admit([1])

    assert (await read(ours))["enrichment"]["priority"] == priority


async def test_numbers_keep_their_order_below_the_most_urgent_word(
    ours: AsyncCollection[Document],
) -> None:
    """A thousand leads with 1e308 would else be done before the first hot one."""
    numbers: list[object] = [
        *(
            -math.inf,
            -1,
            0,
            0.5,
            1,
            2,
            Decimal128("2.5"),
            2.9,
            3,
            4,
            Decimal128("12.5"),
            50,
            85,
            100,
        ),
        *(9_000, Int64(2**62), 1e308, math.inf, Decimal128("1E+6000"), Decimal128("Infinity")),
    ]
    for place, number in enumerate(numbers):
        await insert(ours, place, temperature=number)

    await queue(ours).admit(list(range(len(numbers))))

    ranks = [(await read(ours, place))["enrichment"]["priority"] for place in range(len(numbers))]
    assert ranks == sorted(ranks)
    assert len(set(ranks[2:16])) == 14, "each is told from its neighbours"
    assert min(ranks) == 0
    assert 3 - 1e-5 < max(ranks) < 3


async def test_numbers_count_without_any_word_too(ours: AsyncCollection[Document]) -> None:
    for place, number in enumerate([None, 0.2, 5, 80]):
        await insert(ours, place, temperature=number)
    await queue(ours, order=()).admit(range(4))
    ranks = [(await read(ours, place))["enrichment"]["priority"] for place in range(4)]
    assert ranks == sorted(set(ranks))


async def test_a_missing_priority_field_counts_as_nothing_special(
    ours: AsyncCollection[Document],
) -> None:
    await queue(ours).admit([await insert(ours)])
    assert (await read(ours))["enrichment"]["priority"] == 0


@pytest.mark.parametrize(
    ("details", "priority"),
    [({"heat": "warm"}, 2), ({"heat": None}, 0), ("hot", 0), ([{"heat": "hot"}], 0), (None, 0)],
)
async def test_the_priority_field_may_be_nested(
    ours: AsyncCollection[Document], details: object, priority: int
) -> None:
    await insert(ours, details=details)

    await queue(ours, field="details.heat").admit([1])

    assert (await read(ours))["enrichment"]["priority"] == priority


@pytest.mark.parametrize(
    ("word", "priority"), [("ÉLEVÉ", 2), ("É" + "levÉ", 2), ("$hot", 1), ("$HOT", 1)]
)
async def test_any_word_may_stand_for_a_priority(
    ours: AsyncCollection[Document], word: str, priority: int
) -> None:
    """The server lowers only A to Z, and takes a text with `$` for the name of a field."""
    await insert(ours, temperature=word, hot="hot")

    await queue(ours, order=("ÉLEVÉ", "$hot")).admit([1])

    assert (await read(ours))["enrichment"]["priority"] == priority


async def test_a_priority_that_is_not_a_number_is_admitted_once(
    ours: AsyncCollection[Document],
) -> None:
    await insert(ours, temperature=math.nan)
    assert await queue(ours).admit([1]) == 1
    assert await queue(ours).admit([1]) == 0
    assert (await read(ours))["enrichment"]["priority"] == 0


async def test_a_pending_lead_from_a_writer_gets_its_priority(
    ours: AsyncCollection[Document],
) -> None:
    await insert(ours, enrichment_status="pending", temperature="warm")

    assert await queue(ours).admit([1]) == 1

    assert (await read(ours))["enrichment"]["priority"] == 2


async def test_a_user_who_asks_again_after_a_change_of_priority_gets_the_new_one(
    ours: AsyncCollection[Document],
) -> None:
    kept = {"token": 5, "subject": "abc", "priority": 1, "attempts": 2}
    await insert(ours, enrichment_status="pending", temperature="hot", enrichment=kept)

    await queue(ours).admit([1])

    book = (await read(ours))["enrichment"]
    assert book | {"queued_at": None} == kept | {"priority": 3, "queued_at": None}


@pytest.mark.parametrize(
    "status",
    ["completed", "failed", "skipped", "done", "PENDING", "", 5, False],
)
async def test_a_lead_with_any_other_status_is_left_alone(
    ours: AsyncCollection[Document], status: object
) -> None:
    await insert(ours, enrichment_status=status, temperature="hot")
    before = await read(ours)

    assert await queue(ours).admit([1]) == 0

    assert await read(ours) == before


@pytest.mark.parametrize("status", ["processing", "retrying"])
async def test_a_lead_in_work_or_to_be_retried_is_left_alone(
    ours: AsyncCollection[Document], status: str
) -> None:
    book = {"due_at": PAST, "holder": "a daemon", "claim_id": "a claim"}
    await insert(ours, enrichment_status=status, enrichment=book)
    before = await read(ours)

    assert await queue(ours).admit([1]) == 0

    assert await read(ours) == before


@pytest.mark.parametrize("book", [{}, {"enrichment": {}}, {"enrichment": {"due_at": "soon"}}])
@pytest.mark.parametrize("status", ["processing", "retrying"])
async def test_a_lead_that_no_claim_would_ever_find_becomes_pending(
    ours: AsyncCollection[Document], status: str, book: Document
) -> None:
    """A writer saved the whole lead without our book-keeping while it was in work."""
    await insert(ours, enrichment_status=status, **book)

    assert await queue(ours).admit([1]) == 1

    assert (await claim_one(queue(ours))).lead.attempt == 1


async def test_admitting_again_modifies_nothing_so_no_event_echoes(
    ours: AsyncCollection[Document],
) -> None:
    await insert(ours, temperature="hot")
    await queue(ours).admit([1])
    admitted = await read(ours)

    async with await ours.watch(max_await_time_ms=100) as stream:
        assert await queue(ours).admit([1]) == 0
        await insert(ours, 2)
        event = await stream.next()

    assert event["operationType"] == "insert"
    assert await read(ours) == admitted


async def test_admitting_nothing_asks_the_database_nothing(ours: AsyncCollection[Document]) -> None:
    assert await queue(ours).admit([]) == 0


async def test_admitting_a_lead_that_was_deleted_does_not_bring_it_back(
    ours: AsyncCollection[Document],
) -> None:
    assert await queue(ours).admit([1]) == 0
    assert await ours.count_documents({}) == 0


async def test_a_lead_of_nearly_16_mb_does_not_stop_the_others(
    ours: AsyncCollection[Document],
) -> None:
    with unhurried():
        await ours.insert_one({"_id": "big", "notes": "x" * (LARGEST - 40)})
    await insert(ours, "small")

    assert await queue(ours).admit(["big", "small"]) == 1

    assert (await read(ours, "small"))["enrichment_status"] == "pending"
    assert await ours.count_documents({"_id": "big", "enrichment_status": None}) == 1


async def test_a_lead_that_a_validator_refuses_does_not_stop_the_others(
    ours: AsyncCollection[Document],
) -> None:
    await _refuse(ours, {"closed": True, "enrichment_status": {"$exists": True}})
    for id_ in range(20):
        await insert(ours, id_, closed=id_ % 2 == 0)

    assert await queue(ours).admit(range(20)) == 10

    assert await ours.count_documents({"enrichment_status": "pending", "closed": False}) == 10


async def test_an_outage_is_not_taken_for_the_fault_of_the_leads(faults: Faults) -> None:
    await insert(faults.plain)
    leads = queue(faults.leads)

    async with faults.fail("update", writeConcernError={"code": 64, "errmsg": "timed out"}):
        with pytest.raises(PyMongoError):
            await leads.admit([1])

    assert (await claim_one(leads)).lead_id == 1


GARBAGE: list[Any] = [
    "text",
    "",
    [],
    ["x"],
    [{"token": 1}],
    [{"queued_at": PAST}],
    None,
    5,
    True,
    {},
]


@pytest.mark.parametrize("garbage", GARBAGE, ids=repr)
async def test_garbage_where_the_bookkeeping_stands_is_replaced(
    ours: AsyncCollection[Document], garbage: object
) -> None:
    await insert(ours, enrichment=garbage)

    assert await queue(ours).admit([1]) == 1
    assert await queue(ours).admit([1]) == 0

    book = (await read(ours))["enrichment"]
    assert book.keys() == {"priority", "queued_at"}
    assert isinstance(book["queued_at"], datetime)


IDS = [
    ObjectId(),
    "lead-1",
    "",
    7,
    Int64(2**40),
    1.5,
    Decimal128("1.10"),
    True,
    1,
    Binary(uuid.uuid4().bytes, 4),
    Binary(uuid.uuid4().bytes, 3),
    b"bytes",
    datetime(2020, 1, 1, tzinfo=UTC),
    {"tenant": 1, "number": 2},
    {"number": 2, "tenant": 1},
    {"": {"deep": [1, {"a": None}]}},
    None,
]


async def test_an_id_may_be_of_any_type_and_all_of_them_mixed(
    ours: AsyncCollection[Document],
) -> None:
    for id_ in IDS:
        await insert(ours, id_)
    leads = queue(ours)

    assert await leads.admit(IDS) == len(IDS)
    claimed = await leads.claim(100)
    assert len(claimed.leases) == len(IDS)
    assert claimed.lost == 0
    assert await leads.renew(claimed.leases) == []
    assert await leads.release(claimed.leases) == len(IDS)


# -- renewal -----------------------------------------------------------------------------------


async def test_a_renewal_moves_the_end_of_the_lease_by_the_servers_clock(
    ours: AsyncCollection[Document],
) -> None:
    lease = await claim_new(ours)
    await _set_due(ours, PAST)

    assert await queue(ours).renew([lease]) == []

    due_at = (await read(ours))["enrichment"]["due_at"]
    assert abs(due_at - LEASE - await server_time(ours)) < timedelta(seconds=5)


async def test_a_renewal_touches_nothing_but_the_due_date(ours: AsyncCollection[Document]) -> None:
    lease = await claim_new(ours)
    before = await read(ours)

    await queue(ours).renew([lease])

    after = await read(ours)
    before["enrichment"].pop("due_at")
    after["enrichment"].pop("due_at")
    assert after == before


async def test_the_local_deadline_counts_from_when_the_renewal_was_sent(faults: Faults) -> None:
    lease = await claim_new(faults.leads)
    lease.deadline = 0.0
    sent = time.monotonic()

    async with faults.fail("update", times=1, blockConnection=True, blockTimeMS=400):
        await queue(faults.leads).renew([lease])
        answered = time.monotonic()

    assert sent <= lease.deadline - LEASE.total_seconds() <= answered - 0.4


async def test_the_local_deadline_of_a_claim_counts_from_when_it_was_sent(faults: Faults) -> None:
    await insert(faults.plain, enrichment_status="pending")
    sent = time.monotonic()

    async with faults.fail("findAndModify", times=1, blockConnection=True, blockTimeMS=400):
        lease = await claim_one(queue(faults.leads))
        answered = time.monotonic()

    assert sent <= lease.deadline - LEASE.total_seconds() <= answered - 0.4


async def _is_claimed_by_another(ours: AsyncCollection[Document]) -> None:
    await _set_due(ours, PAST)
    await claim_one(queue(ours, holder="another"))


async def _is_set_to_pending_by_a_user(ours: AsyncCollection[Document]) -> None:
    await ours.update_one({"_id": 1}, {"$set": {"enrichment_status": "pending"}})


async def _is_deleted(ours: AsyncCollection[Document]) -> None:
    await ours.delete_one({"_id": 1})


async def _is_replaced_by_a_writer(ours: AsyncCollection[Document]) -> None:
    await ours.replace_one({"_id": 1}, {"email": "new@quokka-freight.com"})


async def _is_replaced_and_claimed_again(ours: AsyncCollection[Document]) -> None:
    """Its tokens begin again: the new claim has the number of the old one."""
    await _is_replaced_by_a_writer(ours)
    leads = queue(ours, holder="another")
    await leads.admit([1])
    assert (await claim_one(leads)).token == 1


TAKEN_AWAY = [
    _is_claimed_by_another,
    _is_set_to_pending_by_a_user,
    _is_deleted,
    _is_replaced_by_a_writer,
    _is_replaced_and_claimed_again,
]


@pytest.mark.parametrize("happens", TAKEN_AWAY, ids=lambda f: f.__name__.strip("_"))
async def test_a_renewal_reports_the_leases_that_were_lost_and_keeps_the_others(
    ours: AsyncCollection[Document], happens: Any
) -> None:
    lost = await claim_new(ours)
    leads = queue(ours)
    await leads.admit([await insert(ours, 2)])
    kept = await claim_one(leads)
    await happens(ours)
    before = await ours.find_one({"_id": 1})
    lost.deadline = kept.deadline = 0.0

    assert await leads.renew([lost, kept]) == [lost]

    assert lost.deadline == 0.0
    assert kept.deadline > time.monotonic()
    assert await ours.find_one({"_id": 1}) == before


async def test_renewing_no_lease_is_no_error(ours: AsyncCollection[Document]) -> None:
    assert await queue(ours).renew([]) == []


async def test_a_lease_that_the_database_refuses_to_renew_does_not_cost_the_others_theirs(
    ours: AsyncCollection[Document],
) -> None:
    leads = queue(ours)
    await leads.admit([await insert(ours, id_, closed=id_ == 1) for id_ in (1, 2)])
    leases = (await leads.claim(10)).leases
    await _refuse(ours, {"closed": True})
    for lease in leases:
        lease.deadline = 0.0

    assert await leads.renew(leases) == []

    assert {lease.lead_id: lease.deadline > 0 for lease in leases} == {1: False, 2: True}


async def test_a_renewal_during_an_outage_raises_and_moves_no_deadline(faults: Faults) -> None:
    lease = await claim_new(faults.leads)
    deadline = lease.deadline

    async with faults.fail("update", errorCode=INTERRUPTED):
        with pytest.raises(PyMongoError):
            await queue(faults.leads).renew([lease])

    assert lease.deadline == deadline


# -- release -----------------------------------------------------------------------------------


async def test_a_released_lead_is_work_at_once_and_its_attempt_does_not_count(
    ours: AsyncCollection[Document],
) -> None:
    leads = queue(ours)
    first = await claim_new(ours)

    assert await leads.release([first]) == 1

    lead = await read(ours)
    assert lead["enrichment_status"] == "pending"
    assert lead["enrichment"]["holder"] is None
    assert lead["enrichment"]["attempts"] == 0
    assert lead["enrichment"].keys().isdisjoint({"due_at", "inputs"})
    again = await claim_one(leads)
    assert (again.lead.attempt, again.token) == (1, 2)


async def test_a_released_run_goes_on_where_it_was(ours: AsyncCollection[Document]) -> None:
    answered = {"clearbit": "found"}
    book = {"attempts": 2, "answered": answered, "due_at": PAST, "token": 8}
    await insert(ours, enrichment_status="retrying", enrichment=book)
    leads = queue(ours)

    await leads.release([await claim_one(leads)])
    lease = await claim_one(leads)

    assert (lease.lead.attempt, lease.lead.answered, lease.token) == (3, answered, 10)


async def test_a_lead_keeps_its_place_in_the_queue_when_it_is_released(
    ours: AsyncCollection[Document],
) -> None:
    leads = queue(ours)
    await insert(ours, enrichment_status="pending", enrichment={"queued_at": PAST})

    await leads.release([await claim_one(leads)])

    assert (await read(ours))["enrichment"]["queued_at"] == PAST


@pytest.mark.parametrize("happens", TAKEN_AWAY, ids=lambda f: f.__name__.strip("_"))
async def test_a_lead_that_is_no_longer_ours_cannot_be_released(
    ours: AsyncCollection[Document], happens: Any
) -> None:
    lease = await claim_new(ours)
    await happens(ours)
    before = await ours.find_one({"_id": 1})

    assert await queue(ours).release([lease]) == 0

    assert await ours.find_one({"_id": 1}) == before


async def test_a_lead_that_cannot_be_released_hides_none_that_was(
    ours: AsyncCollection[Document],
) -> None:
    leads = queue(ours)
    for id_ in (1, 2, 3):
        await insert(ours, id_, enrichment_status="pending")
    leases = (await leads.claim(10)).leases
    await _refuse(ours, {"_id": 2, "enrichment_status": "pending"})

    assert await leads.release(leases) == 2

    status = {lead["_id"]: lead["enrichment_status"] async for lead in ours.find()}
    assert status == {1: "pending", 2: "processing", 3: "pending"}
    assert leads.aside.leads == 1


async def test_releasing_nothing_asks_the_database_nothing(
    ours: AsyncCollection[Document],
) -> None:
    assert await queue(ours).release([]) == 0


async def test_a_lease_that_ran_out_is_still_ours_until_somebody_claims_it(
    ours: AsyncCollection[Document],
) -> None:
    lease = await claim_new(ours)
    await _set_due(ours, PAST)

    assert await queue(ours).renew([lease]) == []

    assert (await queue(ours).claim(10)).leases == []


async def test_a_refresh_that_is_released_is_not_forgotten(ours: AsyncCollection[Document]) -> None:
    due = {"token": 1, "due_at": PAST, "attempts": 0}
    await insert(ours, enrichment_status="completed", enrichment=due)
    leads = queue(ours)

    await leads.release([await claim_one(leads)])

    assert (await claim_one(leads)).lead.attempt == 1


# -- what these tests are made of --------------------------------------------------------------


async def _set_due(ours: AsyncCollection[Document], when: datetime) -> None:
    await ours.update_one({"_id": 1}, {"$set": {"enrichment.due_at": when}})


async def _refuse(ours: AsyncCollection[Document], match: Document) -> None:
    """From now on the server refuses to write documents that match."""
    await ours.database.command("collMod", ours.name, validator={"$nor": [match]})


async def test_what_was_given_back_before_is_not_counted_again(
    ours: AsyncCollection[Document],
) -> None:
    leads = queue(ours)
    await leads.admit([await insert(ours, number) for number in range(3)])
    leases = (await leads.claim(3)).leases
    assert await leads.release(leases[:1]) == 1
    assert await leads.release(leases) == 2
    assert await leads.release(leases) == 0
