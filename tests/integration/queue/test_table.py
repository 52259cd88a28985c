"""Leads of one batch are written by one update, and come out as if each had been written by its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any

import bson
import pytest
from bson.raw_bson import RawBSONDocument
from pymongo import AsyncMongoClient
from pymongo.asynchronous.collection import AsyncCollection

from enricher.lead import (
    Completed,
    Document,
    Failed,
    Lease,
    Outcome,
    Progress,
    Reason,
    Retrying,
    Skipped,
    Subject,
)
from enricher.queue.apart import Apart, Fatal
from enricher.queue.lanes import Aside
from enricher.queue.settle import Keeper, Settled, Settler
from tests.integration.queue.test_settle import BOTTOMLESS, DEEP
from tests.support.cable import cable_to, client_over
from tests.support.doubling import HARMLESS, doubled
from tests.support.faults import Faults
from tests.support.locks import held
from tests.support.observing import events, logged
from tests.support.queueing import (
    LEASE,
    PAST,
    Commands,
    claim_one,
    queue,
    read,
    unhurried,
    with_invalid_utf8,
)
from tests.support.waiting import eventually, patience

Leads = AsyncCollection[Document]

SUBJECT = Subject("a-mailbox", "a-company")
OTHERS: Document = {
    "company_data": {"name": "Wombat Labs"},
    "notes": "a writer's",
    "enrichment_metadata": {"subject": Subject("b", "c").document},
}
DATA: Document = {
    "company_data": {"name": "$email", "a.b": {"$add": [1, 2]}, "": None},
    "enrichment_metadata": {"now": "$$NOW", "subject": SUBJECT.document},
}
ANSWERED = {"clearbit": "found", "$x.y": "$$REMOVE"}
SOON = timedelta(minutes=5)
OUTCOMES: list[Outcome] = [
    Completed(DATA, ANSWERED),
    Completed(DATA, {}, "hunter: failed."),
    Completed({}, {}),
    Retrying(DATA, ANSWERED, "$email", SOON),
    Retrying({}, ANSWERED, "held.", timedelta(0), attempt_spent=False, held_by=("hunter", "$x")),
    Retrying(DATA, {}, "asked anew.", SOON, begins_anew=True),
    Failed({}, "nothing was found."),
    Failed(DATA, "no"),
    Skipped(DATA, Reason.SUPPRESSED),
    Skipped({}, Reason.DISPOSABLE_ADDRESS),
]
DONE = Completed(DATA, ANSWERED)
EARLIER = {
    "due_at": PAST, "attempts": 2, "answered": {"pdl": "found"}, "subject": {"mailbox": "x", "company": None},
    "held_by": ["pdl"], "backfill": None, "refresh_since": PAST, "refresh_mark": "x", "row": {"a writer's": 1},
}  # fmt: skip


def settler(leads: Leads) -> Settler:
    return Settler(leads, lambda: timedelta(days=90))


async def claim_many(leads: Leads, *documents: Any) -> list[Lease]:
    """These leads, or with these numbers, in this order."""
    await leads.insert_many(documents)
    ids = [bson.encode({"": id_of(each)}) for each in documents]
    leases = (await queue(leads).claim(len(documents))).leases
    assert len(leases) == len(documents)
    return sorted(leases, key=lambda lease: ids.index(bson.encode({"": lease.lead_id})))


def id_of(document: Document) -> Any:
    lax = bson.CodecOptions[Document](unicode_decode_error_handler="replace")
    return bson.decode(bson.encode(document), lax)["_id"]


def pending(*ids: Any, **fields: Any) -> list[Document]:
    return [
        {"_id": id_, "email": f"{number}@quokka.com", "enrichment_status": "pending", **fields}
        for number, id_ in enumerate(ids)
    ]


async def settle_all(
    settles: Settler, leases: Sequence[Lease], outcomes: Sequence[Outcome] | None = None
) -> list[Settled]:
    each = outcomes or [DONE] * len(leases)
    return list(
        await asyncio.gather(
            *(settles.settle(*one, SUBJECT) for one in zip(leases, each, strict=True))
        )
    )


@asynccontextmanager
async def listening(uri: str, leads: Leads) -> AsyncIterator[tuple[Leads, Commands]]:
    """The same leads, and the commands that go there."""
    commands = Commands()
    async with AsyncMongoClient[Document](
        uri, event_listeners=[commands], tz_aware=True, uuidRepresentation="unspecified"
    ) as client:
        yield client[leads.database.name][leads.name], commands


async def raw(leads: Leads) -> dict[Any, bytes]:
    """Each lead byte by byte, a field that stands there twice included."""
    options = bson.CodecOptions(document_class=RawBSONDocument)
    found = await leads.with_options(codec_options=options).find().to_list()
    return {bson.decode(each.raw)["_id"]: bytes(each.raw) for each in found}


# -- as by updates of their own ------------------------------------------------------------------


@pytest.mark.parametrize("had", [{}, {"enriched_data": OTHERS, "qualification_score": 5}], ids=str)
@pytest.mark.parametrize("step", ["settle", "keep"])
async def test_a_batch_leaves_and_tells_what_updates_of_their_own_would(
    ours: Leads, step: str, had: Document
) -> None:
    """Fields, their types and order, and the events of the change stream."""
    shapes = [(outcome, book) for outcome in OUTCOMES for book in ({"due_at": PAST}, EARLIER)]

    def lead(kind: str, number: int) -> Document:
        book = shapes[number][1]
        status = {"enrichment_status": "retrying", "enrichment": book}
        return {"_id": f"{kind} {number:02}", "email": f"{number:02}@quokka.com", **had, **status}

    numbers = range(len(shapes))
    leases = await claim_many(ours, *(lead(k, n) for k in ("lone", "many") for n in numbers))
    settles = settler(ours)

    async def write(number: int, kind: int) -> None:
        lease, outcome = leases[kind * len(shapes) + number], shapes[number][0]
        if step == "settle":
            assert await settles.settle(lease, outcome, SUBJECT) is Settled.WRITTEN
        else:
            await settles.keeper.keep(lease, Progress(outcome.data, ANSWERED, SUBJECT))

    async with await ours.watch(max_await_time_ms=100) as stream:
        for number in numbers:
            await write(number, 0)
        await asyncio.gather(*(write(number, 1) for number in numbers))
        told = [await stream.next() for _ in range(2 * len(shapes))]
    found = await raw(ours)
    for number in numbers:
        lone, many = f"lone {number:02}", f"many {number:02}"
        assert alike(found[many], "many") == alike(found[lone], "lone")
        assert event_of(told, many) == event_of(told, lone)


def alike(document: bytes, kind: str) -> list[tuple[str, Any]]:
    """All fields with their types, in their order, but for the time."""
    return list(flat(bson.decode(document.replace(kind.encode(), b"kind"))))


def flat(value: Any, path: str = "") -> Any:
    if path.endswith(("waited_ms", "claim_id", "priority")):
        yield path, type(value)
    elif isinstance(value, datetime):
        yield path, value if value.year < 2026 else "now"
    elif isinstance(value, dict):
        yield path, "document"
        for name, each in value.items():
            yield from flat(each, f"{path}/{name}")
    elif isinstance(value, list):
        yield path, len(value)
        for number, each in enumerate(value):
            yield from flat(each, f"{path}/{number}")
    else:
        yield path, (type(value), value if "at" not in path.rpartition("/")[2] else "a time")


def event_of(told: Sequence[Document], id_: str) -> tuple[str, list[str], Any]:
    """What happened to a lead, once: the kind, the fields that were set, and those that went."""
    [event] = [each for each in told if each["documentKey"]["_id"] == id_]
    change = event["updateDescription"]
    return event["operationType"], sorted(change["updatedFields"]), change["removedFields"]


@pytest.mark.parametrize("outcome", [DONE, Failed({}, "no")], ids=["data", "none"])
async def test_what_a_writer_holds_twice_stays_as_it_is(ours: Leads, outcome: Outcome) -> None:
    kinds = {
        **HARMLESS,
        "email": [("email", "a@quokka.com"), ("email", "b@quokka.com")],
        "website": [("website", None), ("website", "quokka.com")],
        "deep": [("notes", doubled(("a", 1), ("a", 2)))],
    }
    del kinds["qualification_score"]  # which the update reads, as ever
    before = [
        doubled(("_id", name), ("company_domain", "quokka.com"), *fields, ("enrichment_status", "pending"))
        for name, fields in kinds.items()
    ]  # fmt: skip
    leases = await claim_many(ours, *before)
    settles = settler(ours)
    await asyncio.gather(
        *(settles.keeper.keep(each, Progress(outcome.data, {}, SUBJECT)) for each in leases)
    )

    assert set(await settle_all(settles, leases, [outcome] * len(leases))) == {Settled.WRITTEN}

    for name, document in (await raw(ours)).items():
        mine = doubled(("_id", name), ("company_domain", "quokka.com"), *kinds[name]).raw[4:-1]
        assert document[4:].startswith(mine), name


# -- mixed batches ------------------------------------------------------------------------------


async def test_of_two_leases_on_one_lead_only_the_later_writes(ours: Leads) -> None:
    stale = await claim_many(ours, *pending(1, 2, 3))
    await ours.update_many({}, {"$set": {"enrichment.due_at": PAST}})
    live = sorted((await queue(ours).claim(3)).leases, key=lambda lease: int(lease.lead_id))
    both = [lease for pair in zip(stale, live, strict=True) for lease in pair]
    old, new = Completed({"by": "the stale"}, {}), Completed({"by": "the live"}, {})

    settled = await settle_all(settler(ours), both, [old, new] * 3)

    assert settled == [Settled.LEASE_LOST, Settled.WRITTEN] * 3
    assert [each["enriched_data"] async for each in ours.find()] == [{"by": "the live"}] * 3


async def test_the_later_progress_of_a_lead_stays(ours: Leads) -> None:
    leases = await claim_many(ours, *pending(1, 2))
    keeper = Keeper(ours)
    await asyncio.gather(
        *(
            keeper.keep(lease, Progress({"found": number}, {}, SUBJECT))
            for number in range(3)
            for lease in leases
        )
    )
    assert [each["enriched_data"] async for each in ours.find()] == [{"found": 2}] * 2


async def test_each_of_a_mixed_batch_is_told_what_became_of_it(ours: Leads) -> None:
    """Those that were written before the server met the one that it refuses, and those after it."""
    cases: dict[str, tuple[Outcome, Settled]] = {
        "first": (DONE, Settled.WRITTEN),
        "deleted": (DONE, Settled.DELETED),
        "taken": (DONE, Settled.LEASE_LOST),
        "changed": (DONE, Settled.INPUTS_CHANGED),
        "refused": (DONE, Settled.REFUSED),
        "no text": (Completed({"x": "\ud800"}, {}), Settled.REFUSED),
        "no BSON": (Retrying({"x": object()}, {}, "x", SOON), Settled.REFUSED),
        "bottomless": (Completed(BOTTOMLESS, {}), Settled.REFUSED),
        "deep": (Completed(DEEP, {}), Settled.REFUSED),
        "not UTF-8": (DONE, Settled.WRITTEN),
        "malformed": (DONE, Settled.WRITTEN),
        "retried": (Retrying({}, {}, "x", SOON), Settled.WRITTEN),
        "last": (Failed({}, "no"), Settled.WRITTEN),
    }
    documents: list[Any] = pending(*cases)
    place = list(cases)
    documents[place.index("not UTF-8")] = with_invalid_utf8(
        {"_id": "not UTF-8", "email": "x~~@quokka.com", "enrichment_status": "pending"}, "~~"
    )
    documents[place.index("malformed")]["email"] = ["a@quokka.com"]
    leases = await claim_many(ours, *documents)
    await ours.delete_one({"_id": "deleted"})
    await ours.update_one({"_id": "taken"}, {"$set": {"enrichment_status": "pending"}})
    await ours.update_one({"_id": "changed"}, {"$set": {"email": "new@quokka.com"}})
    refusing = {"$nor": [{"_id": "refused", "enriched_data": {"$exists": True}}]}
    await ours.database.command("collMod", ours.name, validator=refusing)

    async with patience(20):
        settled = await settle_all(settler(ours), leases, [each for each, _ in cases.values()])

    assert dict(zip(place, settled, strict=True)) == {
        name: then for name, (_, then) in cases.items()
    }
    assert (await read(ours, "first"))["enriched_data"] == DATA
    assert (await read(ours, "changed"))["enrichment_status"] == "pending"
    assert "row_" not in str(await ours.find().to_list())


@pytest.mark.slow
async def test_results_of_many_megabytes_are_all_written(ours: Leads) -> None:
    leases = await claim_many(ours, *pending(*range(6)))
    sizes = [15, 0, 5, 5, 15, 0]
    outcomes = [Completed({"x": "x" * (size * 1024 * 1024)}, {}) for size in sizes]
    with unhurried():
        settled = await settle_all(settler(ours), leases, outcomes)
    assert set(settled) == {Settled.WRITTEN}
    size = {"mb": {"$round": {"$divide": [{"$bsonSize": "$$ROOT"}, 1024 * 1024]}}}
    assert [each["mb"] async for each in ours.find({}, size, sort=[("_id", 1)])] == sizes


async def test_a_lead_that_a_transaction_holds_delays_no_other(ours: Leads) -> None:
    leases = await claim_many(ours, *pending(*range(20)))
    settles = settler(ours)
    async with held(ours, 7):
        settling = [asyncio.create_task(settles.settle(each, DONE)) for each in leases]
        await eventually(lambda: sum(each.done() for each in settling) == 19)
        assert not settling[7].done()
    assert {await each for each in settling} == {Settled.WRITTEN}


async def test_progress_beside_some_that_cannot_be_written_is_kept(ours: Leads) -> None:
    leases = await claim_many(ours, *pending(*range(5)))
    refusing = {"$nor": [{"_id": 2, "enriched_data": {"$exists": True}}]}
    await ours.database.command("collMod", ours.name, validator=refusing)
    data: list[Document] = [DATA, DATA, DATA, {"x": object()}, DATA]
    keeper = Keeper(ours)
    with logged() as lines:
        await asyncio.gather(
            *(
                keeper.keep(lease, Progress(each, {}, SUBJECT))
                for lease, each in zip(leases, data, strict=True)
            )
        )
    assert [each["_id"] async for each in ours.find({"enriched_data": DATA})] == [0, 1, 4]
    told = [each.fields["error"] for each in events(lines, "progress.not_kept")]
    assert told == ["InvalidDocument", "BulkWriteError 65"]


# -- commands and outages ------------------------------------------------------------------------


async def test_a_batch_is_one_command(ours: Leads, mongodb_uri: str) -> None:
    leases = await claim_many(ours, *pending(*range(200)))
    async with listening(mongodb_uri, ours) as (leads, commands):
        settles, process = settler(leads), queue(leads)
        await asyncio.gather(
            *(settles.keeper.keep(each, Progress(DATA, {}, SUBJECT)) for each in leases)
        )
        assert await process.renew(leases) == []
        assert await process.release(leases[:50]) == 50
        assert set(await settle_all(settles, leases[50:])) == {Settled.WRITTEN}
    sent = [each for each in commands.sent if "update" in each or "find" in each]
    assert [len(each["updates"]) for each in sent] == [1] * 4


async def test_many_renewals_of_long_ids_are_sent_in_parts(ours: Leads, mongodb_uri: str) -> None:
    ids = ["x" * 4000 + f"{number:04}" for number in range(450)]
    leases = await claim_many(ours, *pending(*ids))
    await ours.delete_one({"_id": ids[300]})
    async with listening(mongodb_uri, ours) as (leads, commands):
        assert [lease.lead_id for lease in await queue(leads).renew(leases)] == [ids[300]]
    assert [each for each in commands.names() if each in {"update", "find"}] == [
        *["update"] * 3,
        "find",
    ]


async def test_a_renewal_that_the_database_refuses_costs_no_other_lease(ours: Leads) -> None:
    leases = await claim_many(ours, *pending(*range(10)))
    refusing = {"$nor": [{"_id": 5, "enrichment.due_at": {"$exists": True}}]}
    await ours.database.command("collMod", ours.name, validator=refusing)
    deadlines = [lease.deadline for lease in leases]
    assert await queue(ours).renew(leases) == []
    moved = [lease.deadline > was for lease, was in zip(leases, deadlines, strict=True)]
    assert moved == [number != 5 for number in range(10)]


@pytest.mark.parametrize("words", [b"nModified", b"updates"], ids=["answered", "never read"])
async def test_a_batch_whose_connection_breaks_is_written_once(
    mongodb_uri: str, ours: Leads, words: bytes
) -> None:
    """The driver does not repeat it."""
    leases = await claim_many(ours, *pending(*range(20)))
    async with (
        cable_to(mongodb_uri) as cable,
        client_over(cable, patience_seconds=10) as client,
        await ours.watch(max_await_time_ms=100) as stream,
    ):
        leads = client[ours.database.name][ours.name]
        await leads.find_one()  # it is connected
        settles = settler(leads)
        settles.apart.fatal = Fatal(leads, Aside())
        if words == b"updates":
            cable.hold(words)
            settling = asyncio.create_task(settle_all(settles, leases))
            await eventually(lambda: cable.held)
            cable.cut()
            cable.mend()
        else:
            cable.lose_an_answer(words)
            settling = asyncio.create_task(settle_all(settles, leases))
        assert set(await settling) == {Settled.WRITTEN}
        assert settles.outage.is_over
        assert not any(settles.apart.fatal.is_suspect(number) for number in range(20))
        told = [await stream.next() for _ in leases]
        await ours.insert_one({"_id": "the end"})
        assert (await stream.next())["operationType"] == "insert"
    assert {each["documentKey"]["_id"] for each in told} == set(range(20))
    assert {each["operationType"] for each in told} == {"update"}


async def test_progress_whose_connection_breaks_is_kept(mongodb_uri: str, ours: Leads) -> None:
    leases = await claim_many(ours, *pending(*range(20)))
    async with cable_to(mongodb_uri) as cable, client_over(cable, patience_seconds=10) as client:
        keeper = Keeper(client[ours.database.name][ours.name], Apart())
        cable.lose_an_answer(b"nModified")
        await asyncio.gather(*(keeper.keep(each, Progress(DATA, {}, SUBJECT)) for each in leases))
    assert await ours.count_documents({"enriched_data": DATA}) == 20


async def test_what_was_given_back_though_the_answer_was_lost_is_counted(
    mongodb_uri: str, ours: Leads
) -> None:
    leases = await claim_many(ours, *pending(*range(20)))
    await ours.update_one({"_id": 3}, {"$set": {"enrichment_status": "pending"}})  # by its writer
    async with cable_to(mongodb_uri) as cable, client_over(cable, patience_seconds=10) as client:
        process = queue(client[ours.database.name][ours.name])
        cable.lose_an_answer(b"nModified")
        assert await process.release(leases) == 19
    assert await ours.count_documents({"enrichment_status": "pending"}) == 20


@pytest.mark.parametrize(
    "code", [10107, 11602, 189], ids=["not primary", "state change", "stepped down"]
)
async def test_a_step_down_in_a_batch_is_no_outage_and_loses_no_progress(
    faults: Faults, code: int
) -> None:
    leases = await claim_many(faults.leads, *pending(*range(20)))
    settles = settler(faults.leads)
    async with faults.fail("update", times=1, errorCode=code):
        await asyncio.gather(
            *(settles.keeper.keep(each, Progress(DATA, {}, SUBJECT)) for each in leases)
        )
    assert await faults.plain.count_documents({"enriched_data": DATA}) == 20
    with logged() as lines:
        async with faults.fail("update", times=1, errorCode=code):
            assert set(await settle_all(settles, leases)) == {Settled.WRITTEN}
    assert events(lines, "database.unavailable") == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("times", "how"),
    [
        (3, {"errorCode": 11601}),
        (2, {"closeConnection": True}),
        (2, {"writeConcernError": {"code": 64, "errmsg": "timed out"}}),
        (2, {"writeConcernError": {"code": 91, "errmsg": "shutting down"}}),
    ],
    ids=["interrupted", "connection", "write concern", "shutdown"],
)
async def test_a_batch_is_tried_until_the_outage_is_over_and_written_once(
    faults: Faults, times: int, how: Document
) -> None:
    leases = await claim_many(faults.leads, *pending(*range(20)))
    settles = settler(faults.leads)
    async with await faults.plain.watch(max_await_time_ms=100) as stream:
        async with faults.fail("update", times=times, **how):
            assert set(await settle_all(settles, leases)) == {Settled.WRITTEN}
        told = [await stream.next() for _ in leases]
        await faults.plain.insert_one({"_id": "the end"})
        assert (await stream.next())["operationType"] == "insert"
    assert {each["documentKey"]["_id"] for each in told} == set(range(20))
    assert settles.outage.is_over


async def test_a_lead_that_somebody_else_settled_is_not_settled_by_a_late_batch(
    ours: Leads,
) -> None:
    """The lease of every second lead ran out."""
    leases = await claim_many(ours, *pending(*range(10)))
    await ours.update_many({"_id": {"$mod": [2, 0]}}, {"$set": {"enrichment.due_at": PAST}})
    others = (await queue(ours, LEASE, holder="another").claim(10)).leases
    assert len(others) == 5
    assert set(await settle_all(settler(ours), others, [Failed({}, "theirs")] * 5)) == {
        Settled.WRITTEN
    }
    settled = await settle_all(settler(ours), leases)
    assert settled == [Settled.LEASE_LOST, Settled.WRITTEN] * 5
    assert await ours.count_documents({"enrichment_error": "theirs"}) == 5


async def test_a_lone_lead_is_written_by_an_update_of_its_own(
    ours: Leads, mongodb_uri: str
) -> None:
    await ours.insert_many(pending(1))
    lease = await claim_one(queue(ours))
    async with listening(mongodb_uri, ours) as (leads, commands):
        assert await settler(leads).settle(lease, DONE) is Settled.WRITTEN
    command = commands.sent[0]
    assert "let" not in command
    assert command["updates"][0]["q"]["_id"] == 1
