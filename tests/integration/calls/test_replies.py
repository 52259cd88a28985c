"""Replies that were lost, and documents of ours that others have written into: neither ends a daemon.

When the reply of a findAndModify is lost the driver repeats the command, and the server answers with
the document as it was stored then: whole, whatever was asked for.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from pymongo.asynchronous.collection import AsyncCollection

from enricher.answer import Held
from enricher.calls import ledger
from enricher.calls.ledger import Begun, Budget, Usage
from enricher.catalogue import Window
from enricher.commands.backfill import Backfills
from enricher.intake import checkpoints
from enricher.intake.checkpoints import Checkpoints
from enricher.lead import Document
from enricher.limits import bucket as buckets
from enricher.limits.bucket import Bucket
from enricher.mongo import DatabaseTrouble, secret
from enricher.mongo.secret import keyring
from enricher.privacy.forgetting import Erased, Erasure
from enricher.privacy.suppression import Objections
from enricher.status import daemons
from enricher.status.daemons import Daemons, Presence, Report
from tests.support.faults import Faults
from tests.support.queueing import claim_one, insert, queue, read

LOST: dict[str, Any] = {
    "writeConcernError": {"code": 89, "errmsg": "the network timed out"},
    "errorLabels": ["RetryableWriteError"],
}
"""The write is done, and the driver told to send it again. (After a step-down it does the same, but first
waits until its server says that it is a primary.)"""

Leads = AsyncCollection[Document]
REPORT = Report(
    version="1",
    uptime_seconds=1.0,
    presence=Presence.WORKING,
    in_work=0,
    concurrency=1,
    is_stream_open=True,
    stream_lag_seconds=None,
    gates=[],
)


async def lost(faults: Faults, ask: Callable[[], Awaitable[Any]]) -> Any:
    """What comes of it when the reply of its findAndModify is lost once."""
    async with faults.fail("findAndModify", times=1, **LOST):
        return await ask()


@pytest.fixture(autouse=True)
async def clean(faults: Faults) -> None:
    for name in (checkpoints.COLLECTION, secret.COLLECTION, secret.ENTRIES, buckets.COLLECTION):
        await faults.plain.database.drop_collection(name)
    for name in (ledger.COLLECTION, daemons.COLLECTION):
        await faults.plain.database.drop_collection(name)


# -- lost replies ------------------------------------------------------------------------------


@pytest.mark.parametrize("is_new", [True, False])
async def test_a_lone_lead_is_ours_with_all_that_a_lease_says(
    faults: Faults, *, is_new: bool
) -> None:
    await insert(faults.plain, enrichment_status="pending", company_domain="acme.com")
    leads = queue(faults.leads)
    claim = (lambda: leads.admit_and_claim(1)) if is_new else (lambda: claim_one(leads))
    lease = await lost(faults, claim)
    assert lease.lead.inputs.company_domain == "acme.com"
    assert (lease.token, lease.lead.attempt) == (1, 1)


async def test_the_secret_that_was_made_is_the_one_that_is_kept(faults: Faults) -> None:
    made = await lost(faults, lambda: keyring(faults.leads.database))
    assert (await keyring(faults.plain.database)).secret == made.secret


async def test_slots_are_given_out_once(faults: Faults) -> None:
    bucket = Bucket(faults.leads.database, "a", (Window(calls=10, seconds=1),))
    reserved = await lost(faults, lambda: bucket.reserve(1))
    later = await bucket.reserve(1)
    assert len(reserved.slots) == len(later.slots) == 1
    assert later.slots[0] > reserved.slots[0]


async def test_a_hold_stands(faults: Faults) -> None:
    bucket = Bucket(faults.leads.database, "a", (Window(calls=10, seconds=1),))
    await lost(faults, lambda: bucket.hold("the key is refused", 60))
    assert (await bucket.reserve(1)).held is not None


async def test_a_stop_of_one_provider_stands(faults: Faults) -> None:
    bucket = Bucket(faults.leads.database, "a", (Window(calls=10, seconds=1),))
    await lost(
        faults, lambda: bucket.stop("hunter_person", "its charged answers are unreadable", 60)
    )
    reserved = await bucket.reserve(1)
    assert list(reserved.stopped) == ["hunter_person"]
    assert reserved.slots
    await bucket.release()
    assert (await bucket.reserve(1)).stopped == {}


async def test_an_objection_counts_once(faults: Faults) -> None:
    ours, other = (Objections(faults.leads.database) for _ in range(2))
    said = await lost(faults, lambda: ours.note("hunter", "a", 10))
    again, second = await ours.note("hunter", "a", 11), await other.note("hunter", "b", 20)
    assert [each.place for each in (said, again, second)] == [1, 1, 2]
    assert second.persons == 2
    assert second.answers == 30


@pytest.mark.parametrize("garbage", [None, "x", [1, None], [{"entry": 1}], [{"at": "now"}], {}])
async def test_objections_that_somebody_wrote_into_count_anew(
    faults: Faults, garbage: object
) -> None:
    await faults.leads.database["enricher_limits"].insert_one(
        {"_id": "objections:hunter", "persons": garbage}
    )
    assert (await Objections(faults.leads.database).note("hunter", "a", 1)).place == 1


async def test_a_call_is_reserved_once(faults: Faults) -> None:
    ours = Usage(faults.leads.database, {"hunter": Budget(daily=2)}, {})
    first = await lost(faults, lambda: ours.begin("hunter", "hunter"))
    others = [await ours.begin("hunter", "hunter") for _ in range(2)]
    assert [type(each) for each in (first, *others)] == [Begun, Begun, Held]


async def test_a_daemon_is_enrolled(faults: Faults) -> None:
    ours = Daemons(faults.leads.database, "leads")
    is_known = await lost(faults, lambda: ours.tell("one", REPORT, {}, (), []))
    assert is_known is False
    assert [each.holder for each in await ours.seen()] == ["one"]


async def test_a_first_start_is_a_first_start(faults: Faults) -> None:
    ours = Checkpoints(faults.leads.database, "leads", "a pipeline")
    first = await lost(faults, ours.begin)
    assert (await ours.begin()).started_at == first.started_at
    assert not first.history_known


async def test_a_backfill_goes_on_with_the_run_that_it_began(faults: Faults) -> None:
    runs = Backfills(faults.leads, {})
    run = await lost(faults, runs.begin)
    assert await runs.unfinished() == run
    assert (await runs.begin()).id == run.id


async def test_a_person_is_erased(faults: Faults) -> None:
    await insert(faults.plain, enriched_data={"person_data": {"first_name": "Ada"}})
    assert await lost(faults, lambda: Erasure(faults.leads).erase(1)) is Erased.DONE
    lead = await read(faults.plain)
    assert lead["enriched_data"]["person_data"] is None
    assert lead["enrichment_status"] == "skipped"


async def test_a_lead_that_is_no_lead_any_more_is_not_erased(faults: Faults) -> None:
    assert await lost(faults, lambda: Erasure(faults.leads).erase(1)) is Erased.CHANGED


# -- what others have written ------------------------------------------------------------------


def _usage(leads: Leads) -> Usage:
    return Usage(leads.database, {"hunter": Budget(daily=2)}, {})


async def _put_into_ledger(leads: Leads, **fields: Any) -> None:
    await _usage(leads).begin("hunter", "hunter")
    await leads.database[ledger.COLLECTION].update_many({}, {"$set": fields})


@pytest.mark.parametrize(
    "fields",
    [
        {"days": "x"},
        {"days": {"zz": 1}},
        {"days": [1]},
        {"spent": "x"},
        {"writers": "x"},
        {"writers": []},
        {"at": 1, "granted_at": "x"},
    ],
)
async def test_a_ledger_that_cannot_be_read_is_trouble_of_the_database(
    faults: Faults, fields: Document
) -> None:
    await _put_into_ledger(faults.leads, **fields)
    ours = _usage(faults.leads)
    for ask in (lambda: ours.days(31), ours.budgets, ours.with_room, lambda: _begin(ours)):
        await _answer_or_trouble(ask)


async def _begin(ours: Usage) -> Any:
    return await ours.begin("hunter", "hunter")


async def _answer_or_trouble(ask: Callable[[], Awaitable[Any]]) -> None:
    try:
        await ask()
    except DatabaseTrouble:
        return


@pytest.mark.parametrize(
    "fields",
    [
        {"started_at": "yesterday"},
        {"history_leads": "many", "history_known": True},
        {"history_leads": None},
        {"token": "82", "pipeline": "a pipeline", "saved_at": "x"},
        {"token": {"_data": 7}, "pipeline": "a pipeline"},
        {"saved_at": 12},
    ],
)
async def test_a_checkpoint_that_cannot_be_read_is_none(faults: Faults, fields: Document) -> None:
    ours = Checkpoints(faults.leads.database, "leads", "a pipeline")
    await ours.begin()
    await faults.plain.database[checkpoints.COLLECTION].update_one({}, {"$set": fields})
    checkpoint = await ours.begin()
    assert checkpoint.token is None
    assert checkpoint.operation_time is None


@pytest.mark.parametrize("fields", [{"tats": "x"}, {"hold": 1}, {"paused_until": "x"}, {"now": []}])
async def test_a_bucket_with_garbage_in_it_goes_on(faults: Faults, fields: Document) -> None:
    bucket = Bucket(faults.leads.database, "a", (Window(calls=10, seconds=1),))
    await bucket.reserve(1)
    await faults.plain.database[buckets.COLLECTION].update_one({}, {"$set": fields})
    assert (await bucket.reserve(1)).held is None


@pytest.mark.parametrize("fields", [{"after": 1, "asked": "x"}, {"run": None}, {"asked": None}])
async def test_a_run_that_cannot_be_read_begins_anew(faults: Faults, fields: Document) -> None:
    runs = Backfills(faults.leads, {})
    run = await runs.begin()
    await faults.plain.database[checkpoints.COLLECTION].update_one({}, {"$set": fields})
    again = await runs.begin()
    assert again.asked == 0
    assert again.id != run.id or again.after is None


@pytest.mark.parametrize(
    "change",
    [
        {"$unset": {"enrichment.inputs": 1}},
        {"$set": {"enrichment.inputs": "x"}},
        {"$set": {"enrichment.attempts": "two"}},
        {"$set": {"enrichment.answered": 1}},
        {"$unset": {"enrichment.token": 1, "enrichment.interruptions": 1}},
        {"$set": {"enrichment.waited_ms": "x"}},
        {"$set": {"enrichment.attempts": float("nan")}},
    ],
)
async def test_a_claim_that_somebody_wrote_into_is_left_to_its_lease(
    faults: Faults, change: Document
) -> None:
    """Between the claim and the moment it is read back."""
    for id_ in (1, 2):
        await insert(faults.plain, id_, enrichment_status="pending")
    leads = queue(faults.leads)
    claim_id = "a claim"
    await faults.plain.update_many({}, leads._claiming(claim_id))
    await faults.plain.update_one({"_id": 1}, change)
    leases = await leads._read_back([1, 2], claim_id, time.monotonic())
    assert 2 in [lease.lead_id for lease in leases]
