"""Results beside the leads: the same queue, and not a write to the user's collection."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pytest
from pymongo.asynchronous.collection import AsyncCollection

from enricher.fields import NAMES
from enricher.intake.changes import Change, Changes
from enricher.intake.checkpoints import Checkpoint
from enricher.intake.history import HistoryBeside, collection_name
from enricher.intake.late import Late
from enricher.lead import (
    Completed,
    Document,
    Failed,
    Inputs,
    Lease,
    Reason,
    Skipped,
    Subject,
    Withdrawn,
)
from enricher.mongo.expressions import SimpleClient, within
from enricher.privacy.forgetting import Erased, Erasure
from enricher.queue import book
from enricher.queue.beside import NO_LEAD, Beside, noted_rank
from enricher.queue.indexes import Building, Indexes
from enricher.queue.leads import Leads
from enricher.queue.requests import Requests
from enricher.queue.settle import Settled, Settler
from enricher.queue.worker import Bell
from tests.support.queueing import (
    LEASE,
    Commands,
    InterruptedBeside,
    claim_one,
    insert,
    once,
    patient,
    read,
)
from tests.support.waiting import end, eventually

Collection = AsyncCollection[Document]
DATA: Document = {"company_data": {"name": "Quokka Freight"}, "enrichment_metadata": {}}
COMPLETED = Completed(DATA, {"clearbit": "found"})
ABOUT = Subject("mailbox", "company")
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
WRITES = {"insert", "update", "delete", "findAndModify", "createIndexes", "drop", "collMod"}


@pytest.fixture
def sent() -> Commands:
    return Commands()


@pytest.fixture
async def beside(mongodb_uri: str, shared_database: str, sent: Commands) -> AsyncIterator[Beside]:
    async with SimpleClient(mongodb_uri, tz_aware=True, event_listeners=[sent]) as client:
        database, name = client[shared_database], f"leads_{uuid.uuid4().hex[:12]}"
        leads, results = database[name], database[f"enricher_results_{name}"]
        await Indexes(results).ensure()
        rank = book.priority("temperature", ["hot", "warm", "cold"])
        yield Beside(leads, results, rank, book.account("account_id"), book.plan("plan"))
        for each in (name, results.name, collection_name(name)):
            await database.drop_collection(each)


def queue(beside: Beside) -> Leads:
    rank, random = noted_rank(NAMES), Random(7)
    return Leads(beside.results, "a-process", LEASE, rank, random, apart=patient(), beside=beside)


def settler(beside: Beside) -> Settler:
    ninety = timedelta(days=90)
    return Settler(beside.results, lambda: ninety, apart=patient(), beside=beside)


async def claimed(beside: Beside, id_: Any = 1, **fields: Any) -> Lease:
    await insert(beside.leads, id_, **fields)
    await queue(beside).admit([id_])
    return await claim_one(queue(beside))


async def test_a_lead_is_enriched_beside_it_and_no_write_goes_to_its_collection(
    beside: Beside, sent: Commands
) -> None:
    lead = {"_id": 1, "email": "ada@quokka-freight.com", "account_id": 7, "job_title": "Engineer"}
    await beside.leads.insert_one(lead)
    sent.sent.clear()
    queued = queue(beside)
    await queued.admit([1])
    await queued.admit([1])
    lease = await claim_one(queued)
    assert (lease.lead.inputs.email, lease.lead.account, lease.lead.job_title) == (
        *("ada@quokka-freight.com", 7, "Engineer"),
    )
    assert await queued.renew([lease]) == []
    assert await settler(beside).settle(lease, COMPLETED, ABOUT) is Settled.WRITTEN
    result = await read(beside.results)
    assert (result["enrichment_status"], result["enriched_data"]) == ("completed", DATA)
    assert "email" not in str(result)
    assert "qualification_status" not in result
    assert await read(beside.leads) == lead
    for command in sent.sent:
        kind = next(iter(command))
        assert not (kind in WRITES and command[kind] == beside.leads.name), command


async def test_many_leads_are_claimed_in_their_order_and_settled_together(beside: Beside) -> None:
    await beside.leads.insert_many(
        [{"_id": n, "email": f"a{n}@quokka.com", "temperature": "hot" if n == 7 else "cold"}
         for n in range(20)]
    )  # fmt: skip
    queued = queue(beside)
    assert await queued.admit(range(20)) == 20
    first = await claim_one_of(queued, 1)
    assert first.lead_id == 7
    rest = (await queued.claim(30)).leases
    assert len(rest) == 19
    settling = settler(beside)
    ended = [settling.settle(lease, COMPLETED, ABOUT) for lease in [first, *rest]]
    assert set(await asyncio.gather(*ended)) == {Settled.WRITTEN}
    assert await beside.results.count_documents({"enrichment_status": "completed"}) == 20


async def claim_one_of(queued: Leads, slots: int) -> Lease:
    [lease] = (await queued.claim(slots)).leases
    return lease


async def test_a_lone_new_lead_is_admitted_and_claimed_at_once(beside: Beside) -> None:
    await insert(beside.leads)
    lease = await queue(beside).admit_and_claim(1)
    assert lease is not None
    assert lease.lead.inputs.email == "ada@quokka-freight.com"


async def test_a_lead_that_is_gone_takes_its_result_along(beside: Beside) -> None:
    lease = await claimed(beside)
    await beside.leads.delete_one({"_id": 1})
    assert await settler(beside).settle(lease, COMPLETED) is Settled.DELETED
    assert await beside.results.count_documents({}) == 0

    await insert(beside.leads, 2)
    queued = queue(beside)
    await queued.admit([2, 3])
    await beside.leads.delete_one({"_id": 2})
    assert (await queued.claim(10)).leases == []
    assert await beside.results.count_documents({}) == 0, "and 3 never was"

    lease = await claimed(beside, 4)
    await queue(beside).forget_deleted([4])
    assert await queue(beside).renew([lease]) == [lease]


async def test_what_was_found_for_another_address_is_not_written(beside: Beside) -> None:
    lease = await claimed(beside)
    await beside.leads.update_one({"_id": 1}, {"$set": {"email": "bo@wombat.com"}})
    assert await settler(beside).settle(lease, COMPLETED, ABOUT) is Settled.INPUTS_CHANGED
    result = await read(beside.results)
    assert result["enrichment_status"] == "pending"
    assert "enriched_data" not in result
    again = await claim_one(queue(beside))
    assert again.lead.inputs.email == "bo@wombat.com"


async def test_a_settle_that_is_repeated_begins_anew_with_an_address_that_changed_in_between(
    beside: Beside,
) -> None:
    """The answer of the first try may be lost."""
    lease = await claimed(beside)
    assert await settler(beside).settle(lease, COMPLETED, ABOUT) is Settled.WRITTEN
    await beside.leads.update_one({"_id": 1}, {"$set": {"email": "bo@wombat.com"}})
    assert await settler(beside).settle(lease, COMPLETED, ABOUT) is Settled.INPUTS_CHANGED
    assert (await read(beside.results))["enrichment_status"] == "pending"


@pytest.mark.parametrize("data", [DATA, {"too large a number": 2**64}], ids=["kept", "refused"])
async def test_a_lead_that_changes_while_its_result_is_written_begins_anew(
    beside: Beside, data: Document
) -> None:
    lease = await claimed(beside)

    async def change() -> None:
        await beside.leads.update_one({"_id": 1}, {"$set": {"email": "b@quokka-freight.com"}})

    interrupted = InterruptedBeside(beside.leads, beside.results)
    with once(interrupted.after, change):
        settled = await settler(interrupted).settle(lease, Completed(data, {}), ABOUT)
    assert settled is Settled.INPUTS_CHANGED
    assert (await claim_one(queue(beside))).lead.inputs.email == "b@quokka-freight.com"


async def test_a_scored_lead_is_to_be_qualified_again(beside: Beside) -> None:
    lease = await claimed(beside, qualification_score=7)
    await settler(beside).settle(lease, COMPLETED, ABOUT)
    assert (await read(beside.results))["qualification_status"] == "pending"


async def test_a_pending_beside_is_work(beside: Beside) -> None:
    lease = await claimed(beside)
    await settler(beside).settle(lease, Failed({}, "nothing"))
    await beside.results.update_one({"_id": 1}, {"$set": {"enrichment_status": "pending"}})
    assert (await claim_one(queue(beside))).token == 2


async def test_leads_of_before_are_history_until_they_are_asked_for(beside: Beside) -> None:
    await insert(beside.leads, "old")
    history = HistoryBeside(beside)
    assert await history.record() == 1
    await insert(beside.leads, "missed")
    await beside.results.insert_one({"_id": "orphan", "enrichment_status": "completed"})
    assert [ids async for ids in history.newest()] == [["missed"]]
    assert [ids async for ids in history.unadmitted()] == [["missed"]]
    assert await beside.results.count_documents({"_id": "orphan"}) == 0
    requests = Requests(beside.results, noted_rank(NAMES), NAMES, beside)
    assert [ids async for ids in requests.matching({"email": {"$gt": ""}})] == [["missed", "old"]]
    assert (await requests.ask(["old", "gone"], only={"email": {"$gt": ""}})).set == 1
    assert (await claim_one(queue(beside))).lead_id == "old"
    assert [ids async for ids in requests.in_state({"enrichment_status": "failed"})] == []


async def test_a_result_in_work_without_a_holder_is_work_again(beside: Beside) -> None:
    await claimed(beside)
    await beside.results.update_one({"_id": 1}, {"$set": {"enrichment.holder": None}})
    [(ids, only)] = [found async for found in HistoryBeside(beside).strays(LEASE)]
    assert await queue(beside).take_up(ids, only) == 1
    assert (await claim_one(queue(beside))).lead_id == 1


async def test_a_person_is_erased_beside(beside: Beside) -> None:
    lease = await claimed(beside)
    about = {
        **DATA,
        "person_data": {"full_name": "Ada"},
        "enrichment_metadata": {"subject": ABOUT.document},
    }
    await settler(beside).settle(lease, Completed(about, {}), ABOUT)
    erasure = Erasure(beside.results, beside=beside)
    [found] = [each async for each in erasure.about("mailbox")]
    assert found["inputs"]["email"] == "ada@quokka-freight.com"
    assert await erasure.erase(1, Inputs(email="another@address.com")) is Erased.CHANGED
    assert await erasure.erase(1, Inputs(email="ada@quokka-freight.com")) is Erased.DONE
    result = await read(beside.results)
    assert result["enriched_data"]["person_data"] is None
    assert result["enrichment_status"] == "skipped"


# -- only what may be a lead -------------------------------------------------------------------

NO_VISITORS: Document = {"state": {"$ne": "visitor"}}
AWAY, BACK = {"$set": {"state": "visitor"}}, {"$unset": {"state": ""}}


def under_condition(beside: Beside) -> Beside:
    return replace(beside, leads=within(beside.leads, NO_VISITORS))


def whose(inputs: Inputs) -> Subject | None:
    return Subject(inputs.email, "company") if inputs.email else None


async def test_what_is_no_lead_has_no_result(beside: Beside) -> None:
    await insert(beside.leads, 1, state="visitor")
    queued = queue(under_condition(beside))
    assert await queued.admit([1]) == 0
    assert await queued.admit_and_claim(1) is None
    requests = Requests(beside.results, noted_rank(NAMES), NAMES, under_condition(beside))
    assert await requests.named([1]) == []
    assert (await requests.ask([1])).set == 0
    assert await beside.results.count_documents({}) == 0


async def test_a_document_that_is_no_lead_at_its_claim_is_skipped_until_it_is_one_again(
    beside: Beside,
) -> None:
    seen = under_condition(beside)
    await insert(beside.leads, "left")
    await insert(beside.leads, "stays")
    queued = queue(seen)
    await queued.admit(["left", "stays"])
    await beside.leads.update_one({"_id": "left"}, AWAY)
    [lease] = (await queued.claim(10)).leases
    assert lease.lead_id == "stays"
    result = await read(beside.results, "left")
    assert (result["enrichment_status"], result["enrichment_error"]) == ("skipped", NO_LEAD)
    assert (await queue(seen).claim(10)).leases == []

    late = Late(queue(seen), whose)
    assert (await late.look(["left"])).taken_up == 0
    await beside.leads.update_one({"_id": "left"}, BACK)
    assert (await late.look(["left"])).taken_up == 1
    assert (await late.look(["left"])).taken_up == 0
    assert (await claim_one(queue(seen))).lead.attempt == 1


async def test_what_was_found_for_a_document_that_is_no_lead_any_more_is_not_written(
    beside: Beside,
) -> None:
    seen = under_condition(beside)
    lease = await claimed(seen)
    await beside.leads.update_one({"_id": 1}, AWAY)
    assert await settler(seen).settle(lease, COMPLETED, ABOUT) is Settled.WITHDRAWN
    result = await read(beside.results)
    assert (result["enrichment_status"], result.get("enriched_data")) == ("skipped", None)

    # Nobody tells of it: the search after a gap finds it.
    await beside.leads.update_one({"_id": 1}, BACK)
    late = Late(queue(seen), whose, since=LONG_AGO)
    found = [each async for batch in late.missed() for each in batch]
    assert await late.take_up(found) == 1


async def test_a_document_that_is_a_lead_again_while_it_is_skipped_begins_anew(
    beside: Beside,
) -> None:
    lease = await claimed(under_condition(beside))
    assert await settler(beside).settle(lease, Withdrawn()) is Settled.WITHDRAWN
    assert (await claim_one(queue(beside))).lead.attempt == 1


async def test_work_on_a_deleted_lead_ends_with_its_result(beside: Beside) -> None:
    lease = await claimed(beside)
    await beside.leads.delete_one({"_id": 1})
    assert await settler(beside).settle(lease, Withdrawn()) is Settled.DELETED
    assert await beside.results.count_documents({}) == 0


async def test_an_address_that_comes_later_makes_the_result_work(beside: Beside) -> None:
    await beside.leads.insert_one({"_id": 1, "name": "Ada"})
    await queue(beside).admit([1])
    nothing = Skipped({}, Reason.NOTHING_TO_GO_BY)
    await settler(beside).settle(await claim_one(queue(beside)), nothing, Subject())
    late = Late(queue(beside), whose, since=LONG_AGO)
    assert (await late.look([1])).taken_up == 0
    await beside.leads.update_one({"_id": 1}, {"$set": {"email": "ada@quokka-freight.com"}})
    found = [each async for batch in late.missed() for each in batch]
    assert [each["_id"] for each in found] == [1]
    assert (await late.look([1])).taken_up == 1
    assert (await claim_one(queue(beside))).lead.inputs.email == "ada@quokka-freight.com"


async def test_a_changed_lead_without_a_result_may_be_history(beside: Beside) -> None:
    await insert(beside.leads, 1)
    await insert(beside.leads, 2, state="visitor")
    touched = await Late(queue(under_condition(beside)), whose).look([1, 2, "gone"])
    assert (touched.doubtful, touched.taken_up) == ([1], 0)


async def test_a_changed_condition_puts_what_it_made_leads_on_record(beside: Beside) -> None:
    await insert(beside.leads, "was a lead")
    await insert(beside.leads, "was none", state="visitor")
    history = HistoryBeside(beside)
    assert await history.record_excluded([NO_VISITORS]) == 1
    assert [ids async for ids in history.unadmitted()] == [["was a lead"]]


async def test_the_stream_tells_of_changed_replaced_and_deleted_leads_whatever_our_names_hold(
    beside: Beside,
) -> None:
    await beside.leads.insert_many([{"_id": n, "email": "a"} for n in range(4)])
    changes = Changes(beside.leads, wait_ms=100, fields=frozenset({"email"}), is_beside=True)
    await changes.open(Checkpoint(None, LONG_AGO, None, history_known=False))
    theirs = {"enrichment": {"x": 1}, "enrichment_status": "pending"}
    await beside.leads.update_one({"_id": 0}, {"$set": theirs})
    await beside.leads.update_one({"_id": 1}, {"$set": {"email": "b", **theirs}})
    await beside.leads.replace_one({"_id": 2}, {"email": "c"})
    await beside.leads.delete_one({"_id": 3})
    told: list[Change] = []
    while len(told) < 3:
        if (change := await changes.next_change()) is not None:
            told.append(change)
    assert told == [
        Change(1, is_replace=False, is_touch=True),
        Change(2, is_replace=False, is_touch=True),
        Change(3, is_replace=False, is_delete=True),
    ]
    await changes.close()


async def test_a_lead_whose_id_is_null_is_entered_with_the_others(beside: Beside) -> None:
    """To the stage that enters the others, it has no id."""
    await insert(beside.leads, None, temperature="cold")
    await insert(beside.leads, 1, temperature="hot")
    leads = queue(beside)
    assert await leads.admit([None, 1]) == 2
    won = (await leads.claim(2)).leases
    assert {lease.lead_id for lease in won} == {1, None}
    await beside.leads.update_one({"_id": None}, {"$set": {"temperature": "hot"}})
    await leads.admit([None])
    result = await read(beside.results, None)
    assert result["enrichment"]["rank"] == 3
    outcomes = [await settler(beside).settle(lease, COMPLETED, ABOUT) for lease in won]
    assert outcomes == [Settled.WRITTEN] * 2
    assert await beside.drop([None]) == 1
    await HistoryBeside(beside).strike(None)
    assert (await read(beside.results, None))["enrichment_status"] == "skipped"


async def test_a_search_after_a_gap_is_bounded_by_what_it_finds_and_not_by_what_still_waits(
    beside: Beside,
) -> None:
    for id_ in (1, 2, 3):
        lease = await claimed(beside, id_, email=None)
        nothing = Skipped({}, Reason.NOTHING_TO_GO_BY)
        assert await settler(beside).settle(lease, nothing) is Settled.WRITTEN
    await beside.leads.update_many({"_id": {"$gt": 1}}, {"$set": {"email": "ada@lemur.com"}})
    late = Late(queue(beside), lambda _: ABOUT, since=LONG_AGO, most=1)
    assert [each["_id"] async for batch in late.missed() for each in batch] == [2]


async def test_results_that_were_dropped_while_the_daemon_runs_get_their_indexes_again(
    beside: Beside,
) -> None:
    leads, stop = queue(beside), asyncio.Event()
    building = Building(Indexes(beside.results), leads, Bell(), look_every_seconds=0.05)
    await building.begin()
    running = asyncio.create_task(building.run(stop))
    try:
        await beside.results.drop()
        await insert(beside.leads)
        await leads.admit([1])

        async def are_there() -> bool:
            return await Indexes(beside.results).missing() == []

        async def is_claimed() -> bool:
            return bool((await leads.claim(1)).leases)

        await eventually(are_there)
        await eventually(is_claimed)
    finally:
        await end(running)


@pytest.mark.parametrize("theirs", [["x", {"token": 3}], {"token": 3}, "text", None])
async def test_what_a_lead_has_under_a_name_of_ours_does_not_reach_its_result(
    beside: Beside, theirs: object
) -> None:
    await insert(beside.leads, enrichment=theirs, enrichment_status="completed", temperature="hot")
    assert await queue(beside).admit([1]) == 1
    result = await read(beside.results)
    assert (result["enrichment_status"], result["enrichment"].keys()) == (
        *("pending", {"rank", "priority", "queued_at"}),
    )
    assert result["enrichment"]["priority"] == 3
