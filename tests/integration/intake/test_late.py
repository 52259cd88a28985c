"""Inputs that come later: a lead becomes work when there is something new to ask, and only then."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pymongo.asynchronous.collection import AsyncCollection

from enricher.fields import NAMES
from enricher.intake.changes import Change, Changes, pipeline
from enricher.intake.late import Late
from enricher.lead import Completed, Document, Failed, Inputs, Outcome, Reason, Skipped, Subject
from enricher.mongo.expressions import SimpleClient, within
from enricher.queue.settle import Settled, Settler
from tests.integration.intake.test_changes import FIRST
from tests.support.queueing import Commands, claim_one, insert, queue, read

DATA = {"company_data": {"name": "Quokka Freight"}, "enrichment_metadata": {"x": 1}}
FOR_WANT = Skipped({}, Reason.NOTHING_TO_GO_BY)
NOBODY = Subject()
ADA = Subject("ada@quokka-freight.com", "quokka-freight.com")


def whose(inputs: Inputs) -> Subject | None:
    """Whom a lead is about, in clear."""
    if inputs.email is None or "@" not in inputs.email:
        return None
    return Subject(inputs.email, inputs.email.partition("@")[2])


async def settled(
    leads: AsyncCollection[Document], outcome: Outcome, about: Subject, era: int = 0, **fields: Any
) -> None:
    """A lead that a daemon was done with."""
    await leads.insert_one({"_id": 1, **fields})
    daemon = queue(leads)
    daemon.era = era
    await daemon.admit([1])
    lease = await claim_one(daemon)
    ended = await Settler(leads, lambda: timedelta(days=90)).settle(lease, outcome, about)
    assert ended is Settled.WRITTEN


async def status(leads: AsyncCollection[Document]) -> str:
    return str((await read(leads))["enrichment_status"])


# -- what the stream tells of ------------------------------------------------------------------


TOUCHES: dict[str, Any] = {
    "a set": {"$set": {"email": "ada@quokka-freight.com"}},
    "an unset": {"$unset": {"website": ""}},
    "a push": {"$push": {"emails": "ada@quokka-freight.com"}},
    "a set within": {"$set": {"info.email": "ada@quokka-freight.com"}},
    "a slice": {"$push": {"emails": {"$each": [], "$slice": 1}}},
    "a pipeline": [{"$set": {"email": {"$concat": ["ada", "@quokka-freight.com"]}}}],
}
FIELDS = frozenset({"email", "emails", "info", "website"})


@pytest.mark.parametrize("how", TOUCHES)
async def test_a_change_of_a_field_that_is_read_rings(
    ours: AsyncCollection[Document], how: str
) -> None:
    await ours.insert_one(
        {"_id": 1, "website": "quokka.com", "emails": ["a", "b"], "info": {"x": 1}}
    )
    changes = Changes(ours, wait_ms=100, fields=FIELDS)
    await changes.open(FIRST)
    await ours.update_one({"_id": 1}, {"$set": {"other": 1, "emailed": 2}})
    await ours.update_one({"_id": 1}, TOUCHES[how])
    change = None
    while change is None:
        change = await changes.next_change()
    assert change == Change(1, is_replace=False, is_touch=True)
    await ours.insert_one({"_id": "last"})
    while (change := await changes.next_change()) is None:
        pass
    assert change.lead_id == "last"
    await changes.close()


async def test_what_we_write_ourselves_never_rings_whatever_is_listened_for(
    ours: AsyncCollection[Document],
) -> None:
    changes = Changes(ours, wait_ms=100, fields=None)
    await ours.insert_one({"_id": 1, "email": "ada@quokka-freight.com"})
    await changes.open(FIRST)
    daemon, settler = queue(ours), Settler(ours, lambda: None)
    await daemon.admit([1])
    await daemon.release([await claim_one(daemon)])
    lease = await claim_one(daemon)
    await daemon.renew([lease])
    await settler.settle(lease, Completed(DATA, {}), ADA)
    await ours.insert_one({"_id": "last"})
    seen: list[Any] = []
    while "last" not in seen:
        if (change := await changes.next_change()) is not None:
            seen.append(change.lead_id)
    # A release is a `pending` as a user sets it.
    assert seen in (["last"], [1, "last"])
    await changes.close()


async def test_a_users_pending_asks_whatever_else_it_changes(
    ours: AsyncCollection[Document],
) -> None:
    await ours.insert_one({"_id": 1})
    changes = Changes(ours, wait_ms=100)
    await changes.open(FIRST)
    await ours.update_one(
        {"_id": 1}, {"$set": {"email": "a@b.com", "enrichment_status": "pending"}}
    )
    while (change := await changes.next_change()) is None:
        pass
    assert change == Change(1, is_replace=False)
    await changes.close()


def test_the_stream_depends_on_what_is_read() -> None:
    assert pipeline(NAMES) != pipeline(NAMES, FIELDS)


# -- what becomes of it ------------------------------------------------------------------------


async def test_a_lead_that_was_skipped_for_want_of_an_address_is_work_when_it_has_one(
    ours: AsyncCollection[Document],
) -> None:
    await settled(ours, FOR_WANT, NOBODY, name="Visitor 1")
    await ours.update_one({"_id": 1}, {"$set": {"email": "ada@quokka-freight.com"}})
    late = Late(queue(ours), whose)
    assert (await late.look([1])).taken_up == 1
    assert await status(ours) == "pending"
    assert len((await queue(ours).claim(10)).leases) == 1


@pytest.mark.parametrize(
    ("outcome", "was", "reruns", "email", "is_work"),
    [
        (FOR_WANT, NOBODY, False, None, False),
        (FOR_WANT, NOBODY, False, "no address", False),
        (Skipped({}, Reason.SUPPRESSED), NOBODY, False, ADA.mailbox, False),
        (Skipped({}, Reason.DISPOSABLE_ADDRESS), Subject("x"), False, ADA.mailbox, False),
        (Completed(DATA, {}), Subject("bob", "bob.com"), False, ADA.mailbox, False),
        (Completed(DATA, {}), Subject("bob", "bob.com"), True, ADA.mailbox, True),
        (Completed(DATA, {}), ADA, True, ADA.mailbox, False),
        (Completed(DATA, {}), Subject("bob", "bob.com"), True, None, False),
        (Failed({}, "no"), Subject("bob", "bob.com"), True, ADA.mailbox, True),
        (Failed({}, "no"), NOBODY, False, ADA.mailbox, False),
        (Skipped({}, Reason.DISPOSABLE_ADDRESS), Subject("x"), True, ADA.mailbox, True),
    ],
)
async def test_only_a_new_question_makes_a_lead_work_again(
    ours: AsyncCollection[Document],
    outcome: Outcome,
    was: Subject,
    reruns: bool,
    email: str | None,
    is_work: bool,
) -> None:
    await settled(ours, outcome, was, email=email)
    before = await read(ours)
    late = Late(queue(ours), whose, reruns)
    assert (await late.look([1])).taken_up == is_work
    assert await status(ours) == ("pending" if is_work else before["enrichment_status"])
    assert is_work or await read(ours) == before


async def test_what_another_program_completed_is_not_run_again(
    ours: AsyncCollection[Document],
) -> None:
    await insert(ours, enrichment_status="completed")
    assert (await Late(queue(ours), whose, reruns=True).look([1])).taken_up == 0


async def test_of_two_daemons_that_are_told_one_makes_the_lead_work(
    ours: AsyncCollection[Document],
) -> None:
    await settled(ours, FOR_WANT, NOBODY, email=None)
    await ours.update_one({"_id": 1}, {"$set": {"email": "ada@quokka-freight.com"}})
    first, second = Late(queue(ours), whose), Late(queue(ours), whose)
    reading = await ours.find({}, second._reading).to_list()
    assert (await first.look([1])).taken_up == 1
    lease = await claim_one(queue(ours))
    await Settler(ours, lambda: None).settle(lease, FOR_WANT, NOBODY)
    assert await second.take_up(reading) == 0
    assert await status(ours) == "skipped"


async def test_an_excluded_lead_that_is_touched_stays_as_it_is(
    ours: AsyncCollection[Document],
) -> None:
    await settled(ours, FOR_WANT, NOBODY, email=None)
    await ours.update_one({"_id": 1}, {"$set": {"email": "a@b.com", "status": "deleted"}})
    before = await read(ours)
    late = Late(queue(within(ours, {"status": {"$ne": "deleted"}})), whose)
    assert (await late.look([1])).taken_up == 0
    assert await read(ours) == before


@pytest.mark.parametrize("fields", [{}, {"enrichment_status": "pending"}])
async def test_a_document_that_may_be_a_lead_only_now_is_handed_on(
    ours: AsyncCollection[Document], fields: Document
) -> None:
    await insert(ours, **fields)
    own = within(ours, {"status": {"$ne": "deleted"}})
    assert (await Late(queue(own), whose).look([1])).doubtful == [1]
    assert (await Late(queue(ours), whose).look([1])).doubtful == []


# -- after a gap -------------------------------------------------------------------------------


async def found(late: Late) -> list[Any]:
    return [each["_id"] async for batch in late.missed() for each in batch]


async def test_after_a_gap_no_lead_is_found_that_has_only_a_companys_name(
    ours: AsyncCollection[Document],
) -> None:
    """It may have stood there since before names were something to go by."""
    before = datetime.now(UTC) - timedelta(hours=1)
    await settled(ours, FOR_WANT, NOBODY, email=None)
    await ours.update_one({"_id": 1}, {"$set": {"website": "facebook.com/quokka"}})
    assert await found(Late(queue(ours), whose, since=before)) == [1]
    assert await found(Late(queue(ours), whose, is_named_only=lambda _: True, since=before)) == []


async def test_after_a_gap_skipped_leads_are_found_that_have_something_to_go_by(
    ours: AsyncCollection[Document],
) -> None:
    before = datetime.now(UTC) - timedelta(hours=1)
    await settled(ours, FOR_WANT, NOBODY, email=None)
    late = Late(queue(ours), whose, since=before)
    assert await found(late) == []
    await ours.update_one({"_id": 1}, {"$set": {"email": "ada@quokka-freight.com"}})
    assert await found(late) == [1]


async def test_the_search_after_a_gap_may_take_longer_than_any_other_operation(
    mongodb_uri: str, shared_database: str
) -> None:
    """It may read a million skipped leads, and what it does not complete is begun anew."""
    commands = Commands()
    async with SimpleClient(mongodb_uri, timeoutMS=10_000, event_listeners=[commands]) as client:
        leads = queue(client[shared_database]["leads"])
        await found(Late(leads, whose, since=datetime.now(UTC)))
    [search] = [each for each in commands.sent if "aggregate" in each]
    assert search["maxTimeMS"] > 600_000


async def test_what_was_skipped_before_late_inputs_were_noticed_is_not_searched_for(
    ours: AsyncCollection[Document],
) -> None:
    await settled(ours, FOR_WANT, NOBODY, email=None)
    await ours.update_one({"_id": 1}, {"$set": {"email": "ada@quokka-freight.com"}})
    later = datetime.now(UTC) + timedelta(hours=1)
    assert await found(Late(queue(ours), whose, since=later)) == []
    assert await found(Late(queue(ours), whose)) == []


@pytest.mark.parametrize(("era", "ids"), [(1, [1]), (2, [])])
async def test_what_was_skipped_under_other_rules_is_not_searched_for(
    ours: AsyncCollection[Document], era: int, ids: list[int]
) -> None:
    await settled(ours, FOR_WANT, NOBODY, era=1, email=None)
    await ours.update_one({"_id": 1}, {"$set": {"email": "ada@quokka-freight.com"}})
    daemon = queue(ours)
    daemon.era = era
    assert await found(Late(daemon, whose)) == ids
