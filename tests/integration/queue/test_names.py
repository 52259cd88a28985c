"""Our fields under other names: every command speaks of those alone, and a user's own text is never lost for them."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import fields
from datetime import timedelta
from random import Random
from typing import Any

import pytest
from pymongo.asynchronous.collection import AsyncCollection

from enricher.commands.backfill import Backfills
from enricher.explain.explanation import StandingReader
from enricher.fields import NAMES, Names
from enricher.intake.changes import Change, Changes, Start, fingerprint
from enricher.intake.checkpoints import Checkpoint, Checkpoints
from enricher.intake.history import History, collection_name
from enricher.lead import (
    Completed,
    Document,
    Failed,
    LeadId,
    Lease,
    Outcome,
    Progress,
    Retrying,
    Subject,
)
from enricher.mongo.expressions import SimpleClient
from enricher.privacy.forgetting import Erased, Erasure
from enricher.queue import backlog, book, unmoved
from enricher.queue.holds import bring_back
from enricher.queue.indexes import Indexes
from enricher.queue.leads import Leads
from enricher.queue.requests import Requests
from enricher.queue.settle import Settled, Settler
from enricher.values.storable import within
from tests.support.doubling import doubled
from tests.support.observing import events, logged
from tests.support.queueing import LEASE, PAST, Commands, claim_one, insert, patient, read

Collection = AsyncCollection[Document]

DOTTED = Names(
    enrichment_status="crm.auto.state",
    enriched_data="crm.auto.found",
    enriched_at="crm.found_at",
    enrichment_error="crm.auto.trouble",
    updated_at="crm.touched",
    enrichment="crm.auto.notes",
    qualification_status="quality.state",
    qualification_requested_at="quality.asked",
    qualification_score="quality.score",
)
FEW = Names(
    enrichment_status="state",
    enriched_data="found",
    enriched_at="",
    enrichment_error="",
    updated_at="",
    enrichment="notes",
    qualification_status="",
    qualification_requested_at="",
    qualification_score="",
)
ABOUT = Subject("mailbox", "company")
DATA: Document = {
    "company_data": {"name": "Quokka Freight"},
    "person_data": {"full_name": "Ada"},
    "email_verification": None,
    "social_profiles": {},
    "enrichment_metadata": {"enriched_at": PAST.isoformat(), "subject": ABOUT.document},
}
COMPLETED = Completed(DATA, {"clearbit": "found"})
HELD = Retrying(DATA, {}, "held", timedelta(hours=1), attempt_spent=False, held_by=("hunter",))


@pytest.fixture
def sent() -> Commands:
    return Commands()


@pytest.fixture
async def leads(
    mongodb_uri: str, shared_database: str, sent: Commands
) -> AsyncIterator[Collection]:
    """A collection with the indexes of both, and a client whose commands are seen."""
    async with SimpleClient(mongodb_uri, tz_aware=True, event_listeners=[sent]) as client:
        leads = client[shared_database][f"leads_{uuid.uuid4().hex[:12]}"]
        await Indexes(leads, DOTTED).ensure()
        await Indexes(leads, FEW).ensure()
        sent.sent.clear()
        yield leads
        await leads.drop()
        await leads.database.drop_collection(collection_name(leads.name))


def queue(leads: Collection, names: Names) -> Leads:
    rank = book.priority("temperature", ["hot", "cold"])
    return Leads(leads, "a-process", LEASE, rank, Random(7), apart=patient(), names=names)


def settler(leads: Collection, names: Names) -> Settler:
    return Settler(leads, lambda: timedelta(days=90), apart=patient(), names=names)


async def claimed(leads: Collection, names: Names, id_: LeadId, **more: Any) -> Lease:
    await insert(leads, id_, **more)
    await queue(leads, names).admit([id_])
    return await claim_one(queue(leads, names))


async def exercise(leads: Collection, names: Names) -> None:
    """Everything that a lead can go through, and everything that looks at leads."""
    queued = queue(leads, names)
    await miss(leads, names, queued)
    await work(leads, names, queued)
    await look_after(leads, names, queued)
    await request(leads, names, queued)
    await forget(leads, names)
    queued.lanes.too_long = 1
    await queued._fail_too_long()
    await queued.doubles.look(["history"])


async def miss(leads: Collection, names: Names, queued: Leads) -> None:
    await insert(leads, "history")
    history = History(leads, names=names)
    assert await history.record() == 1
    await history.record_strays()
    await insert(leads, "missed")
    assert [ids async for ids in history.newest()] == [["missed"]]
    assert [ids async for ids in history.unadmitted()] == [["missed"]]
    await queued.admit(["missed"], is_behind=True)


async def work(leads: Collection, names: Names, queued: Leads) -> None:
    settling = settler(leads, names)
    for above in (None, -1e20):
        await queued.lanes.next(5, above, queued.aside)
    lease = await claim_one(queued)
    assert await queued.renew([lease]) == []
    assert await queued.release([lease]) == 1
    for id_ in range(3):
        await insert(leads, id_, **{names.qualification_score: 5} if names is FEW else {})
    alone = await queued.admit_and_claim(0)
    assert alone is not None
    await settling.keeper.keep(alone, Progress(DATA, {"clearbit": "found"}, ABOUT))
    assert await settling.settle(alone, COMPLETED, ABOUT) is Settled.WRITTEN
    await queued.admit([1, 2])
    many = (await queued.claim(10)).leases
    assert len(many) == 3
    outcomes: tuple[Outcome, ...] = (HELD, Failed({}, "nothing"), HELD)
    ended = (settling.settle(*both, ABOUT) for both in zip(many, outcomes, strict=True))
    assert set(await asyncio.gather(*ended)) == {Settled.WRITTEN}


async def look_after(leads: Collection, names: Names, queued: Leads) -> None:
    seen = await backlog.look(leads, ["hunter"], names=names)
    assert seen.retrying == seen.parked["hunter"] == 2
    assert (await backlog.ended(leads, names=names) or backlog.EndedCounts(0, 0, 0, 0)).failed == 1
    assert await bring_back(leads, "hunter", 1000, names=names) == 2
    await unmoved.count(leads, names)
    await unmoved.late_leases(leads, LEASE, names)
    assert [ids async for ids, _ in History(leads, names=names).strays(LEASE)] == []
    await leads.update_one({"_id": 0}, {"$unset": {names.of_book("due_at"): ""}})
    assert await unmoved.find(leads, PAST - timedelta(days=1), names) == [0]
    dating = unmoved.dating(names, timedelta(days=90))
    assert await queued.take_up([0], unmoved.lost(names), dating) == 1


async def request(leads: Collection, names: Names, queued: Leads) -> None:
    requests = Requests(leads, queued.rank, names)
    run = await Backfills(leads, {}, names).begin()
    backfills = Backfills(leads, {}, names)
    assert [each["_id"] for each in await backfills.page(run, 10)] == ["history"]
    assert (await requests.ask(["history"], only=backfills.match, backfill=run.id)).set == 1
    assert (await backfills.going_on(run, ["hunter"])).unended == 1
    assert await backfills.standing(run) == {"pending": 1}
    standing = await StandingReader(leads, History(leads, names=names), names).standing(0)
    assert standing is not None
    assert standing.status == "completed"


async def forget(leads: Collection, names: Names) -> None:
    erasure = Erasure(leads, names=names)
    found = [
        *[each async for each in erasure.about("mailbox")],
        *[each async for each in erasure.in_work()],
        *[each async for each in erasure.waiting()],
        *[each async for each in erasure.unmarked()],
    ]
    assert found
    assert await erasure.erase_data(0, "mailbox") is Erased.DONE
    assert await erasure.erase(1) is Erased.DONE
    await erasure.erase_noted(2, "mailbox")
    await erasure.erase_older(2, "mark")
    await History(leads, names=names).strike("history")


def spoken(part: object) -> Iterator[str]:
    """Every name and path in a command. An array beside a path holds paths, too."""
    if isinstance(part, Mapping):
        for name, inner in part.items():
            yield name
            yield from spoken(inner)
    elif isinstance(part, list | tuple):
        for inner in part:
            yield from spoken(inner)
    elif isinstance(part, str):
        yield part


WORDS_OF_OTHER_THINGS = {"enriched_data", "enriched_at", "updated_at"}
"""What our projections call the parts of a lead, and the metadata a date."""


@pytest.mark.parametrize("names", [DOTTED, FEW], ids=["dotted", "few"])
async def test_no_command_speaks_of_our_fields_but_by_their_names(
    leads: Collection, sent: Commands, names: Names
) -> None:
    await exercise(leads, names)
    contract = {each.name for each in fields(NAMES)}
    for command in sent.sent:
        said = set(spoken(command)) - WORDS_OF_OTHER_THINGS
        roots = {word.removeprefix("$").split(".")[0] for word in said}
        assert not roots & contract, command


@pytest.mark.parametrize("names", [DOTTED, FEW], ids=["dotted", "few"])
async def test_nothing_is_written_but_under_these_names(leads: Collection, names: Names) -> None:
    await exercise(leads, names)
    tops = {"_id", "email", *names.roots, *({""} if names is FEW else set())}
    for lead in await leads.find({}).to_list():
        assert lead.keys() <= tops, lead


async def test_a_result_stands_beside_what_the_user_keeps_in_the_same_object(
    leads: Collection,
) -> None:
    theirs = {"crm": {"owner": "Bo", "auto": {"by": "hand"}}, "quality": {"score": 7}}
    lease = await claimed(leads, DOTTED, 1, **theirs)
    assert await settler(leads, DOTTED).settle(lease, COMPLETED, ABOUT) is Settled.WRITTEN

    lead = await read(leads)
    assert within(lead, "crm.auto.state") == "completed"
    assert within(lead, "crm.auto.found.company_data") == {"name": "Quokka Freight"}
    assert within(lead, "crm.auto.trouble") is None
    assert within(lead, "crm.owner") == "Bo"
    assert within(lead, "crm.auto.by") == "hand"
    assert within(lead, "quality.state") == "pending"
    assert within(lead, "quality.score") == 7
    assert {"crm", "quality"} == lead.keys() - {"_id", "email"}


async def test_what_is_named_empty_is_not_written(leads: Collection) -> None:
    lease = await claimed(leads, FEW, 1, qualification_score=7)
    await settler(leads, FEW).settle(lease, COMPLETED, ABOUT)
    assert (await read(leads)).keys() == {
        *("_id", "email", "qualification_score"),
        *("state", "found", "notes"),
    }


async def explained(leads: Collection, lead: object, names: Names = NAMES) -> str:
    """Return why it cannot be written, as `enricher explain` has it."""
    standing = await StandingReader(leads, History(leads, names=names), names).standing(lead)
    assert standing is not None
    return standing.unwritable


async def test_explain_knows_a_document_with_a_field_of_ours_twice(leads: Collection) -> None:
    twice = ("enrichment_status", "pending")
    await leads.insert_one(doubled(("_id", 1), twice, twice))
    await insert(leads, 2)
    assert "more than once" in await explained(leads, 1)
    assert await explained(leads, 2) == ""


UNFIT: dict[str, Document] = {
    "a text": {"crm": "call back on Monday"},
    "a number": {"crm": 7},
    "an array of objects": {"crm": [{"auto": {"state": "pending"}}, {"x": 1}]},
    "a text further in": {"crm": {"auto": "no"}},
    "an empty array": {"crm": {"auto": []}},
}


@pytest.mark.parametrize("kind", UNFIT)
async def test_a_lead_whose_parent_is_no_object_is_set_aside_as_it_is_and_holds_up_no_other(
    leads: Collection, kind: str
) -> None:
    await insert(leads, "unfit", **UNFIT[kind])
    await insert(leads, "fit", crm=None)
    queued = queue(leads, DOTTED)
    with logged() as lines:
        await queued.admit(["unfit", "fit"])
        found = (await queued.claim(10)).leases

    assert [lease.lead_id for lease in found] == ["fit"]
    assert {key: value for key, value in (await read(leads, "unfit")).items() if key == "crm"} == (
        UNFIT[kind]
    )
    [line] = events(lines, "lead.unwritable")
    where = "crm.auto" if isinstance(UNFIT[kind]["crm"], dict) else "crm"
    assert line.fields["why"] == (
        f"The field {where} is no object, so nothing of ours can stand in it."
    )
    assert await explained(leads, "unfit", DOTTED) == line.fields["why"]
    assert await explained(leads, "fit", DOTTED) == ""
    asked = await Requests(leads, queued.rank, DOTTED).ask(["unfit", "fit"])
    assert (asked.set, asked.refused) == (1, 1)


async def test_a_parent_that_becomes_a_text_while_the_lead_is_in_work_stays_one(
    leads: Collection,
) -> None:
    lease = await claimed(leads, DOTTED, 1)
    await leads.update_one({"_id": 1}, {"$set": {"crm": "mine"}})
    assert await queue(leads, DOTTED).renew([lease]) == [lease]
    assert await settler(leads, DOTTED).settle(lease, COMPLETED) is Settled.LEASE_LOST
    assert (await read(leads))["crm"] == "mine"


# -- the change stream -------------------------------------------------------------------------

FIRST = Checkpoint(token=None, started_at=PAST, saved_at=None, history_known=True)
RINGS: dict[str, tuple[Any, bool]] = {
    "by its path": ({"$set": {"crm.auto.state": "pending"}}, False),
    "with the object around it": ({"$set": {"crm.auto": {"state": "pending"}}}, False),
    "with all of it": ({"$set": {"crm": {"auto": {"state": "pending"}, "owner": "Bo"}}}, False),
    "by a pipeline": ([{"$set": {"crm.auto.state": "pending"}}], False),
    "by an object without it": ({"$set": {"crm": {"owner": "Bo"}}}, True),
    "by a text in its place": ({"$set": {"crm": "Bo"}}, True),
}
SILENT: dict[str, Any] = {
    "another field beside it": {"$set": {"crm.owner": "Bo"}},
    "another status": {"$set": {"crm.auto.state": "new"}},
    "one of our names somewhere else": {"$set": {"enrichment_status": "pending"}},
    "a name that only looks like the path": [
        {"$replaceWith": {"$setField": {"field": "crm.auto.state", "input": "$$ROOT", "value": 1}}}
    ],
}


async def rung(leads: Collection, update: Any, start: Document) -> list[Change]:
    """What rings, up to a lead that is inserted after the update."""
    await insert(leads, 1, **start)
    changes = Changes(leads, wait_ms=100, names=DOTTED)
    assert await changes.open(FIRST) is Start.NOW
    try:
        await leads.update_one({"_id": 1}, update)
        await insert(leads, "last")
        seen: list[Change] = []
        while not seen or seen[-1].lead_id != "last":
            if (change := await changes.next_change()) is not None:
                seen.append(change)
        return seen[:-1]
    finally:
        await changes.close()


@pytest.mark.parametrize("start", [{}, {"crm": {"auto": {"state": "completed"}}}], ids=["", "was"])
@pytest.mark.parametrize("how", RINGS)
async def test_a_pending_rings_however_it_is_set(
    leads: Collection, how: str, start: Document
) -> None:
    update, is_replace = RINGS[how]
    assert await rung(leads, update, start) == [Change(1, is_replace)]


@pytest.mark.parametrize("what", SILENT)
async def test_nothing_else_rings(leads: Collection, what: str) -> None:
    start = {"crm": {"auto": {"state": "completed"}}}
    assert await rung(leads, SILENT[what], start) == []


async def test_our_own_writes_do_not_ring(leads: Collection) -> None:
    await insert(leads, 1)
    changes = Changes(leads, wait_ms=100, names=DOTTED)
    await changes.open(FIRST)
    try:
        queued = queue(leads, DOTTED)
        await queued.admit([1])
        lease = await claim_one(queued)
        await settler(leads, DOTTED).settle(lease, COMPLETED, ABOUT)
        await insert(leads, "last")
        while (change := await changes.next_change()) is None:
            pass
        assert change.lead_id == "last"
    finally:
        await changes.close()


def test_a_position_means_nothing_under_other_names() -> None:
    assert len({fingerprint(names) for names in (NAMES, DOTTED, FEW)}) == 3


async def test_what_stands_there_when_the_names_change_is_history_and_costs_nothing(
    leads: Collection,
) -> None:
    position = leads.database, leads.name, "a pipeline", None
    await Checkpoints(*position).begin()
    await Checkpoints(*position).history_is_known(5)
    assert (await Checkpoints(*position).begin()).history_known

    changed = Checkpoints(*position, DOTTED)
    assert not (await changed.begin()).history_known
    await changed.history_goes_on({"of": 1})
    assert (await Checkpoints(*position).begin()).history_from is None
    await changed.history_is_known(6)
    assert (await changed.begin()).history_known
    assert not (await Checkpoints(*position).begin()).history_known


# -- the indexes -------------------------------------------------------------------------------


async def test_indexes_on_other_names_do_not_take_the_place_of_the_usual_ones(
    leads: Collection,
) -> None:
    assert await Indexes(leads).ensure()
    for names in (NAMES, DOTTED, FEW):
        assert await Indexes(leads, names).missing() == []
