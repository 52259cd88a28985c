"""Settles: what each outcome writes, what fences it out, and that a result is never lost."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import bson
import pytest
from bson import Code, Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp
from bson.raw_bson import RawBSONDocument
from pymongo import AsyncMongoClient
from pymongo.asynchronous.collection import AsyncCollection

from enricher.lead import (
    Completed,
    Document,
    Failed,
    Inputs,
    Lease,
    Outcome,
    Reason,
    Retrying,
    Skipped,
    Subject,
)
from enricher.queue.inputs import CONTRACT, inputs_unchanged
from enricher.queue.settle import Settled, Settler
from tests.support.faults import Faults
from tests.support.queueing import (
    HOUR,
    PAST,
    Commands,
    claim_new,
    claim_one,
    insert,
    queue,
    read,
    server_time,
)
from tests.support.waiting import business, eventually, patience

INTERRUPTED, SHUTDOWN, HOST_UNREACHABLE = 11601, 91, 6
LARGEST = 16 * 1024 * 1024
SUBJECT = Subject("a-mailbox", "a-company")
DATA = {"company_data": {"name": "Quokka Freight"}, "enrichment_metadata": {"x": 1}}
ANSWERED = {"clearbit": "found", "hunter": "not_found"}

COMPLETED = Completed(DATA, ANSWERED)
RETRYING = Retrying(DATA, ANSWERED, "hunter: did not answer.", timedelta(minutes=5))
SNOOZED = Retrying(DATA, ANSWERED, "hunter: held.", timedelta(minutes=5), attempt_spent=False)
FAILED = Failed({}, "Nothing could be had after 4 attempts.")
SKIPPED = Skipped(DATA, Reason.DISPOSABLE_ADDRESS)


def settler(
    leads: AsyncCollection[Document], refresh: timedelta | None = 90 * 24 * HOUR
) -> Settler:
    return Settler(leads, lambda: refresh)


# -- what each outcome writes ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("outcome", "status", "error", "due_in"),
    [
        (COMPLETED, "completed", None, timedelta(days=90)),
        (Completed(DATA, {}, "hunter: failed."), "completed", "hunter: failed.", 90 * 24 * HOUR),
        (RETRYING, "retrying", "hunter: did not answer.", timedelta(minutes=5)),
        (SNOOZED, "retrying", "hunter: held.", timedelta(minutes=5)),
        (FAILED, "failed", "Nothing could be had after 4 attempts.", None),
        (Failed(DATA, "no"), "failed", "no", None),
        (SKIPPED, "skipped", "The e-mail address belongs to a disposable mail service.", None),
    ],
)
async def test_an_outcome_writes_its_fields_and_nothing_else(
    ours: AsyncCollection[Document],
    outcome: Outcome,
    status: str,
    error: str | None,
    due_in: timedelta | None,
) -> None:
    old = {"notes": {"a": 1}, "enriched_data": {"old": True}, "enriched_at": PAST, "tags": ["x"]}
    asked = {"enrichment_status": "pending", "qualification_status": "done"}
    lease = await claim_new(ours, **old, **asked)
    before = await read(ours)

    assert await settler(ours).settle(lease, outcome, SUBJECT) is Settled.WRITTEN

    lead, now = await read(ours), await server_time(ours)
    is_completed, is_retrying = status == "completed", status == "retrying"
    assert is_near(lead.pop("updated_at"), now)
    assert is_near(lead.pop("enriched_at"), now if is_completed else PAST)
    book = lead.pop("enrichment")
    assert (due_in is None) == ("due_at" not in book)
    if due_in is not None:
        assert is_near(book.pop("due_at") - due_in, now)
    assert lead == {
        "_id": 1,
        "email": before["email"],
        "notes": {"a": 1},
        "tags": ["x"],
        "qualification_status": "done",
        "enriched_data": outcome.data or {"old": True},
        "enrichment_status": status,
        "enrichment_error": error,
    }
    assert book == {
        "token": 1,
        "claim_id": lease.claim_id,
        "holder": None,
        "priority": 0,
        "attempts": 1 if outcome is RETRYING else 0,
        "interruptions": 0,
        "answered": ANSWERED if is_retrying else {},
        "released": False,
        "waited_ms": before["enrichment"]["waited_ms"],
        "subject": SUBJECT.document,
    }


@pytest.mark.parametrize(("spent", "attempts"), [(True, 1), (False, 0)])
async def test_attempts_begin_anew_with_another_question(
    ours: AsyncCollection[Document], *, spent: bool, attempts: int
) -> None:
    lease = await claim_new(ours)
    await ours.update_one({"_id": 1}, {"$set": {"enrichment.attempts": 3}})
    outcome = replace(RETRYING, attempt_spent=spent, begins_anew=True)
    assert await settler(ours).settle(lease, outcome) is Settled.WRITTEN
    assert (await read(ours))["enrichment"]["attempts"] == attempts


async def test_nothing_found_leaves_no_data_where_there_was_none(
    ours: AsyncCollection[Document],
) -> None:
    await settler(ours).settle(await claim_new(ours), FAILED)
    assert "enriched_data" not in await read(ours)


async def test_a_completed_lead_is_never_due_again_when_the_refresh_is_off(
    ours: AsyncCollection[Document],
) -> None:
    await settler(ours, refresh=None).settle(await claim_new(ours), COMPLETED)
    assert "due_at" not in (await read(ours))["enrichment"]


async def test_a_retry_that_is_due_at_once_is_work_at_once(ours: AsyncCollection[Document]) -> None:
    outcome = Retrying({}, {}, "hunter: held.", timedelta(0))
    assert await settler(ours).settle(await claim_new(ours), outcome) is Settled.WRITTEN
    assert (await claim_one(queue(ours))).lead.attempt == 2


async def test_a_retry_spends_an_attempt_and_a_snooze_gives_it_back(
    ours: AsyncCollection[Document],
) -> None:
    attempts = []
    lease = await claim_new(ours)
    for spent in (True, False, False, True, False):
        outcome = Retrying({}, ANSWERED, "held.", timedelta(0), attempt_spent=spent)
        await settler(ours).settle(lease, outcome)
        lease = await claim_one(queue(ours))
        attempts.append(lease.lead.attempt)
        assert lease.lead.answered == ANSWERED

    assert attempts == [2, 2, 2, 3, 3]


async def test_a_run_that_has_ended_is_followed_by_a_new_one(
    ours: AsyncCollection[Document],
) -> None:
    await insert(
        ours, enrichment_status="retrying", enrichment={"attempts": 2, "due_at": PAST, "token": 9}
    )
    await settler(ours, refresh=timedelta(0)).settle(await claim_one(queue(ours)), COMPLETED)

    lease = await claim_one(queue(ours))

    assert (lease.lead.attempt, lease.lead.answered, lease.token) == (1, {}, 11)
    assert lease.lead.enriched_data == DATA


@pytest.mark.parametrize(
    "data",
    [
        {"name": "$email", "sum": {"$add": [1, 2]}, "now": "$$NOW", "gone": "$$REMOVE"},
        {"$set": {"enrichment_status": "hacked"}},
        {"a.b": {"c.d": 1}, "": {"": 0}},
        {"text": "a\0b", "none": None, "list": [], "nested": {"$literal": 1}},
    ],
    ids=["expressions", "stages", "dots", "oddities"],
)
async def test_what_a_vendor_said_is_stored_as_it_is(
    ours: AsyncCollection[Document], data: Document
) -> None:
    outcome = Completed(data, {"$x.y": "$found"}, error="$email")
    assert (
        await settler(ours).settle(await claim_new(ours), outcome, Subject("$email"))
        is Settled.WRITTEN
    )
    lead = await read(ours)
    assert lead["enriched_data"] == data
    assert lead["enrichment_error"] == "$email"


async def test_what_providers_answered_is_stored_as_it_is(ours: AsyncCollection[Document]) -> None:
    answered = {"$x.y": "$found", "": "$$NOW"}
    outcome = Retrying({}, answered, "$email", timedelta(0))
    await settler(ours).settle(await claim_new(ours), outcome)
    assert (await claim_one(queue(ours))).lead.answered == answered


# -- re-qualification --------------------------------------------------------------------------


@pytest.mark.parametrize("score", [0, 12.5, "high", {"value": 3}, False])
async def test_a_lead_with_a_score_is_qualified_again_in_the_same_write(
    ours: AsyncCollection[Document], score: object
) -> None:
    lease = await claim_new(ours, qualification_score=score, qualification_status="done")

    async with await ours.watch(max_await_time_ms=100) as stream:
        await settler(ours).settle(lease, COMPLETED)
        fields = (await stream.next())["updateDescription"]["updatedFields"]

    assert fields["enrichment_status"] == "completed"
    assert fields["qualification_status"] == "pending"
    assert fields["qualification_requested_at"] == (await read(ours))["updated_at"]


@pytest.mark.parametrize("fields", [{}, {"qualification_score": None}], ids=["missing", "null"])
async def test_a_lead_without_a_score_is_not_qualified(
    ours: AsyncCollection[Document], fields: Document
) -> None:
    lease = await claim_new(ours, **fields, qualification_status=None)
    await settler(ours).settle(lease, COMPLETED)
    lead = await read(ours)
    assert lead["qualification_status"] is None
    assert "qualification_requested_at" not in lead


@pytest.mark.parametrize("outcome", [RETRYING, SNOOZED, FAILED, SKIPPED])
async def test_only_a_completed_lead_is_qualified_again(
    ours: AsyncCollection[Document], outcome: Outcome
) -> None:
    lease = await claim_new(ours, qualification_score=5)
    await settler(ours).settle(lease, outcome)
    assert "qualification_status" not in await read(ours)


async def test_a_score_that_came_while_the_lead_was_in_work_counts(
    ours: AsyncCollection[Document],
) -> None:
    lease = await claim_new(ours)
    await ours.update_one({"_id": 1}, {"$set": {"qualification_score": 5}})
    await settler(ours).settle(lease, COMPLETED)
    assert (await read(ours))["qualification_status"] == "pending"


# -- fencing -----------------------------------------------------------------------------------


async def _is_claimed_by_another(ours: AsyncCollection[Document]) -> None:
    await ours.update_one({"_id": 1}, {"$set": {"enrichment.due_at": PAST}})
    await claim_one(queue(ours, holder="another"))


async def _is_claimed_and_settled_by_another(ours: AsyncCollection[Document]) -> None:
    await ours.update_one({"_id": 1}, {"$set": {"enrichment.due_at": PAST}})
    await settler(ours).settle(await claim_one(queue(ours, holder="another")), FAILED)


async def _is_set_to_pending_by_a_user(ours: AsyncCollection[Document]) -> None:
    await ours.update_one({"_id": 1}, {"$set": {"enrichment_status": "pending"}})


async def _is_set_to_completed_by_hand(ours: AsyncCollection[Document]) -> None:
    await ours.update_one({"_id": 1}, {"$set": {"enrichment_status": "completed"}})


async def _has_its_status_taken_away(ours: AsyncCollection[Document]) -> None:
    await ours.update_one({"_id": 1}, {"$unset": {"enrichment_status": 1}})


async def _has_its_bookkeeping_taken_away(ours: AsyncCollection[Document]) -> None:
    await ours.update_one({"_id": 1}, {"$set": {"enrichment": None}})


async def _is_replaced_by_a_writer(ours: AsyncCollection[Document]) -> None:
    await ours.replace_one({"_id": 1}, {"email": "ada@quokka-freight.com"})


async def _is_replaced_and_claimed_again(ours: AsyncCollection[Document]) -> None:
    """Its tokens begin again: the new claim has the number of the old one."""
    await _is_replaced_by_a_writer(ours)
    leads = queue(ours, holder="another")
    await leads.admit([1])
    assert (await claim_one(leads)).token == 1


@pytest.mark.parametrize(
    "happens",
    [
        _is_claimed_by_another,
        _is_claimed_and_settled_by_another,
        _is_set_to_pending_by_a_user,
        _is_set_to_completed_by_hand,
        _has_its_status_taken_away,
        _has_its_bookkeeping_taken_away,
        _is_replaced_by_a_writer,
        _is_replaced_and_claimed_again,
    ],
    ids=lambda function: function.__name__.strip("_"),
)
@pytest.mark.parametrize("outcome", [COMPLETED, RETRYING, FAILED], ids=lambda o: type(o).__name__)
async def test_a_worker_that_lost_its_lease_writes_nothing(
    ours: AsyncCollection[Document], outcome: Outcome, happens: Any
) -> None:
    lease = await claim_new(ours)
    await happens(ours)
    before = await read(ours)

    assert await settler(ours).settle(lease, outcome) is Settled.LEASE_LOST

    assert await read(ours) == before


async def test_a_lead_deleted_in_flight_is_not_resurrected(ours: AsyncCollection[Document]) -> None:
    lease = await claim_new(ours)
    await ours.delete_one({"_id": 1})
    assert await settler(ours).settle(lease, COMPLETED) is Settled.DELETED
    assert await ours.count_documents({}) == 0


async def test_a_lease_that_ran_out_can_still_settle_while_nobody_else_has_the_lead(
    ours: AsyncCollection[Document],
) -> None:
    lease = await claim_new(ours)
    await ours.update_one({"_id": 1}, {"$set": {"enrichment.due_at": PAST}})
    assert await settler(ours).settle(lease, COMPLETED) is Settled.WRITTEN


async def test_a_lease_settles_once(ours: AsyncCollection[Document]) -> None:
    lease = await claim_new(ours)
    await settler(ours).settle(lease, FAILED)
    await settler(ours).settle(lease, COMPLETED)
    assert (await read(ours))["enrichment_status"] == "failed"


# -- inputs that changed -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        {"$set": {"email": "grace@wombat-labs.com"}},
        {"$set": {"email": "ADA@quokka-freight.com"}},
        {"$set": {"email": None}},
        {"$unset": {"email": 1}},
        {"$set": {"email": ["ada@quokka-freight.com"]}},
        {"$set": {"company_domain": "wombat-labs.com"}},
        {"$set": {"website": "https://wombat-labs.com"}},
    ],
    ids=str,
)
async def test_what_was_found_for_old_inputs_is_dropped_and_the_lead_is_work_again(
    ours: AsyncCollection[Document], change: Document
) -> None:
    book = {"attempts": 2, "answered": ANSWERED, "due_at": PAST, "queued_at": PAST}
    await insert(ours, name="Ada", enrichment_status="retrying", enrichment=book)
    lease = await claim_one(queue(ours))
    await ours.update_one({"_id": 1}, change)

    assert await settler(ours).settle(lease, COMPLETED) is Settled.INPUTS_CHANGED

    lead = await read(ours)
    assert lead["enrichment_status"] == "pending"
    assert lead.keys().isdisjoint({"enriched_data", "enriched_at", "updated_at"})
    again = await claim_one(queue(ours))
    assert (again.lead.attempt, again.lead.answered) == (1, {})
    assert await settler(ours).settle(again, COMPLETED) is Settled.WRITTEN


@pytest.mark.parametrize(
    "change",
    [
        {"$set": {"notes": "called her"}},
        {"$set": {"name": "Grace"}},
        {"$set": {"company": "Wombat Labs"}},
        {"$set": {"job_title": "CTO", "qualification_score": 3}},
        {"$set": {"enriched_data": {"by": "hand"}}},
        {"$set": {"email": "ada@quokka-freight.com"}},
        {"$set": {"company": None}},
    ],
    ids=str,
)
async def test_a_change_of_anything_else_does_not_matter(
    ours: AsyncCollection[Document], change: Document
) -> None:
    lease = await claim_new(ours)
    await ours.update_one({"_id": 1}, change)
    assert await settler(ours).settle(lease, COMPLETED) is Settled.WRITTEN


async def test_inputs_that_are_no_usable_text_do_not_look_changed(
    ours: AsyncCollection[Document],
) -> None:
    lease = await claim_new(ours, email=["a"], name="x" * 2000, website=5, company=None)
    assert await settler(ours).settle(lease, FAILED) is Settled.WRITTEN


async def test_no_value_is_what_is_missing_null_or_undefined_and_nothing_else(
    ours: AsyncCollection[Document],
) -> None:
    """By the types and not by equality: from MongoDB 8.0 on, `undefined` is not equal to null."""
    undefined = bson.encode({"_id": "undefined", "email": "a@b.com", "website": None})
    undefined = undefined.replace(b"\x0awebsite", b"\x06website")
    nothing: list[Document] = [{"_id": "missing"}, {"_id": "null", "website": None}]
    values: list[Any] = [
        0,
        1.5,
        Int64(1),
        Decimal128("1"),
        "",
        {},
        [],
        [None],
        b"",
        ObjectId(),
        False,
        PAST,
    ]
    values += [Timestamp(1, 1), Regex("a"), Code("a"), Code("a", {}), MinKey(), MaxKey()]
    something: list[Document] = [
        {"_id": number, "website": value} for number, value in enumerate(values)
    ]
    await ours.insert_many([{"email": "a@b.com", **each} for each in nothing + something])
    await ours.insert_one(RawBSONDocument(undefined))
    same = await ours.find(inputs_unchanged(Inputs(email="a@b.com"))).to_list()
    assert {lead["_id"] for lead in same} == {"missing", "null", "undefined"}
    asked = await ours.find({"$expr": {"$eq": [CONTRACT.inputs["website"], None]}}).to_list()
    assert asked == same


# -- many at once ------------------------------------------------------------------------------


async def _claim_many(ours: AsyncCollection[Document], count: int, **fields: Any) -> list[Lease]:
    await ours.insert_many(
        [{"_id": id_, "enrichment_status": "pending", **fields} for id_ in range(count)]
    )
    leases = (await queue(ours).claim(count)).leases
    assert len(leases) == count
    return sorted(leases, key=lambda lease: lease.lead_id)


async def test_concurrent_settles_share_round_trips(
    ours: AsyncCollection[Document], mongodb_uri: str
) -> None:
    leases = await _claim_many(ours, 300)
    commands = Commands()
    async with AsyncMongoClient[Document](mongodb_uri, event_listeners=[commands]) as client:
        settles = settler(client[ours.database.name][ours.name])
        settled = await asyncio.gather(*(settles.settle(lease, COMPLETED) for lease in leases))

    assert set(settled) == {Settled.WRITTEN}
    assert commands.names().count("update") <= 10
    assert "find" not in commands.names()
    assert await ours.count_documents({"enrichment_status": "completed"}) == 300


async def test_each_of_a_mixed_batch_gets_its_own_answer(ours: AsyncCollection[Document]) -> None:
    leases = await _claim_many(ours, 5)
    await ours.delete_one({"_id": 1})
    await ours.update_one({"_id": 2}, {"$set": {"enrichment_status": "pending"}})
    await ours.update_one({"_id": 3}, {"$set": {"email": "new@quokka-freight.com"}})
    settles = settler(ours)

    settled = await asyncio.gather(*(settles.settle(lease, COMPLETED) for lease in leases))

    assert settled == [
        Settled.WRITTEN,
        Settled.DELETED,
        Settled.LEASE_LOST,
        Settled.INPUTS_CHANGED,
        Settled.WRITTEN,
    ]


async def test_leads_that_are_gone_are_told_in_one_round_trip(
    ours: AsyncCollection[Document], mongodb_uri: str
) -> None:
    leases = await _claim_many(ours, 100)
    await ours.delete_many({"_id": {"$mod": [2, 0]}})
    commands = Commands()
    async with AsyncMongoClient[Document](mongodb_uri, event_listeners=[commands]) as client:
        settles = settler(client[ours.database.name][ours.name])
        settled = await asyncio.gather(*(settles.settle(lease, COMPLETED) for lease in leases))

    assert settled.count(Settled.DELETED) == settled.count(Settled.WRITTEN) == 50
    assert commands.names().count("find") <= commands.names().count("update") <= 2


async def test_a_settle_whose_caller_was_cancelled_is_written_all_the_same(faults: Faults) -> None:
    lease = await claim_new(faults.leads)
    settles = settler(faults.leads)
    late = {"blockConnection": True, "blockTimeMS": int(200 * business())}
    async with faults.fail("update", times=1, **late) as has_come:
        settling = asyncio.create_task(settles.settle(lease, COMPLETED))
        await has_come()
        settling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await settling

        assert (await read(faults.plain))["enrichment_status"] == "processing"
        await eventually(lambda: _is(faults.plain, "completed"))


# -- results that the database refuses ---------------------------------------------------------

DEEP: Document = {}
for _ in range(250):
    DEEP = {"d": DEEP}
BOTTOMLESS: Document = {}
for _ in range(5000):
    BOTTOMLESS = {"d": BOTTOMLESS}

UNWRITABLE: dict[str, Document] = {
    "larger than the driver sends": {"x": "x" * (LARGEST + 20_000)},
    "larger than the server stores": {"x": "x" * (LARGEST - 1000)},
    "no text": {"x": "\ud800"},
    "no key": {"a\0b": 1},
    "no BSON": {"x": object()},
    "too large a number": {"x": 2**64},
    "too deep for the server": DEEP,
    "too deep for the driver": BOTTOMLESS,
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", UNWRITABLE)
async def test_a_result_that_cannot_be_written_ends_as_failed_and_costs_no_other_lead_its_own(
    ours: AsyncCollection[Document], kind: str
) -> None:
    leases = await _claim_many(ours, 4, notes="x" * 2000)
    settles = settler(ours)
    outcomes: list[Outcome] = [COMPLETED, Completed(UNWRITABLE[kind], {}), COMPLETED, FAILED]

    settled = await asyncio.gather(
        *(settles.settle(lease, outcome) for lease, outcome in zip(leases, outcomes, strict=True))
    )

    assert settled == [Settled.WRITTEN, Settled.REFUSED, Settled.WRITTEN, Settled.WRITTEN]
    lead = await read(ours, 1)
    assert lead["enrichment_status"] == "failed"
    assert lead["enrichment_error"].startswith("The result could not be written to this document: ")
    assert "enriched_data" not in lead
    assert "due_at" not in lead["enrichment"]
    assert (await queue(ours).claim(10)).leases == []


async def test_a_result_that_a_validator_refuses_ends_as_failed(
    ours: AsyncCollection[Document],
) -> None:
    leases = await _claim_many(ours, 2)
    await _refuse(ours, {"_id": 0, "enriched_data": {"$exists": True}})
    settles = settler(ours)

    settled = await asyncio.gather(*(settles.settle(lease, COMPLETED) for lease in leases))

    assert settled == [Settled.REFUSED, Settled.WRITTEN]
    assert (await read(ours, 0))["enrichment_error"] == (
        "The result could not be written to this document: the collection's validator refuses it"
        ' for "_id" or "enriched_data".'
    )


@pytest.mark.parametrize("inputs_changed", [False, True])
async def test_a_lead_that_cannot_be_written_at_all_holds_up_nobody(
    ours: AsyncCollection[Document], inputs_changed: bool
) -> None:
    """The team's validator may know only some of our statuses."""
    leases = await _claim_many(ours, 2)
    await _refuse(ours, {"_id": 0, "enrichment_status": {"$ne": "processing"}})
    if inputs_changed:
        await ours.update_one({"_id": 0}, {"$set": {"email": "new@quokka-freight.com"}})
    settles = settler(ours)

    async with patience(5):
        settled = await asyncio.gather(*(settles.settle(lease, COMPLETED) for lease in leases))

    assert settled == [Settled.UNWRITABLE, Settled.WRITTEN]
    lead = await read(ours, 0)
    assert lead["enrichment_status"] == "processing"
    assert lead["enrichment"]["due_at"] > await server_time(ours)


# -- outages -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("times", "how"),
    [
        (2, {"closeConnection": True}),
        (3, {"errorCode": HOST_UNREACHABLE}),
        (3, {"errorCode": INTERRUPTED}),
        (2, {"writeConcernError": {"code": 64, "errmsg": "waiting for replication timed out"}}),
        (1, {"writeConcernError": {"code": SHUTDOWN, "errmsg": "shutting down"}}),
    ],
    ids=["connection", "network", "interrupted", "write concern", "write concern at shutdown"],
)
@pytest.mark.parametrize("outcome", [COMPLETED, RETRYING], ids=lambda o: type(o).__name__)
async def test_a_settle_is_tried_until_the_outage_is_over_and_written_once(
    faults: Faults, outcome: Outcome, times: int, how: Document
) -> None:
    lease = await claim_new(faults.leads)
    settles = settler(faults.leads)

    async with await faults.plain.watch(max_await_time_ms=100) as stream:
        async with faults.fail("update", times=times, **how):
            assert await settles.settle(lease, outcome) is Settled.WRITTEN
        await insert(faults.plain, "the end")
        statuses = []
        while (event := await stream.next())["operationType"] == "update":
            statuses.append(event["updateDescription"]["updatedFields"]["enrichment_status"])

    assert statuses == [type(outcome).__name__.lower()]
    assert settles.outage.is_over


async def test_a_time_limit_of_the_server_is_no_fault_of_the_leads(faults: Faults) -> None:
    leases = await _claim_many(faults.leads, 4)
    settles = settler(faults.leads)
    admin = faults.plain.database.client.admin
    point = "maxTimeAlwaysTimeOut"
    await admin.command("configureFailPoint", point, mode={"times": 3})
    try:
        settled = await asyncio.gather(*(settles.settle(lease, COMPLETED) for lease in leases))
    finally:
        await admin.command("configureFailPoint", point, mode="off")

    assert set(settled) == {Settled.WRITTEN}
    assert await faults.plain.count_documents({"enrichment_status": "completed"}) == 4


async def test_a_settle_that_an_outage_delays_beyond_the_next_claim_is_dropped(
    faults: Faults,
) -> None:
    lease = await claim_new(faults.leads)
    settles = settler(faults.leads)
    async with faults.fail("update", errorCode=INTERRUPTED):
        settling = asyncio.create_task(settles.settle(lease, COMPLETED))
        await eventually(lambda: settles.outage.failures > 0)
        await faults.plain.update_one({"_id": 1}, {"$set": {"enrichment.due_at": PAST}})
        await claim_one(queue(faults.plain, holder="another"))
    assert await settling is Settled.LEASE_LOST


# -- what these tests are made of --------------------------------------------------------------


def is_near(moment: datetime, other: datetime) -> bool:
    return abs(moment - other) < timedelta(seconds=5)


async def _is(leads: AsyncCollection[Document], status: str) -> bool:
    return bool((await read(leads))["enrichment_status"] == status)


async def _refuse(ours: AsyncCollection[Document], match: Document) -> None:
    """From now on the server refuses to write documents that match."""
    await ours.database.command("collMod", ours.name, validator={"$nor": [match]})
