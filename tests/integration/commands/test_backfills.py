"""A backfill's leads, its pages and its position."""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from bson import ObjectId
from pymongo.asynchronous.collection import AsyncCollection

from enricher.commands.backfill import Backfills, GoingOn, Run, names_status
from enricher.lead import Document, LeadId, Status
from enricher.queue import book
from enricher.queue.requests import Requests
from tests.support.queueing import insert, with_invalid_utf8

Leads = AsyncCollection[Document]
START = Run("a-run")


async def all_ids(backfills: Backfills, size: int = 2) -> list[LeadId]:
    """As a backfill goes through them."""
    run, found = START, []
    while page := await backfills.page(run, size):
        assert len(page) <= size
        found += [lead["_id"] for lead in page]
        run = replace(run, after={"of": page[-1]["_id"]})
    return found


async def test_pages_reach_ids_of_every_type_and_each_once(fresh: Leads) -> None:
    ids: list[Any] = [None, 3, 2.5, "b", "a", {"k": 1}, ObjectId(), uuid.uuid4().bytes, True]
    ids += [datetime(2026, 1, 1, tzinfo=UTC)]
    await fresh.insert_many([{"_id": id_} for id_ in ids])
    found = await all_ids(Backfills(fresh, {}))
    assert len(found) == len(ids)
    assert all(id_ in found for id_ in ids)


async def test_an_id_that_is_not_utf8_does_not_stop_the_pages(fresh: Leads) -> None:
    await fresh.insert_many([{"_id": "a"}, {"_id": "z"}])
    await fresh.insert_one(with_invalid_utf8({"_id": "XXm"}, "XXm"))
    assert {"a", "z"} <= set(await all_ids(Backfills(fresh, {}), size=1))


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, {1}),
        ({"source": "web"}, {1}),
        ({"enrichment_status": "completed"}, {2}),
        ({"$or": [{"enrichment_status": {"$exists": False}}, {"enrichment_status": "failed"}]}, {1, 3}),
        ({"enrichment_status": "pending"}, set()),
        ({"enrichment_status": {"$in": list(Status)}}, {2, 3}),
    ],
)  # fmt: skip
async def test_only_old_leads_that_nobody_works_on_are_taken(
    fresh: Leads, query: Document, expected: set[int]
) -> None:
    await insert(fresh, 1, source="web")
    for id_, status in enumerate(("completed", "failed", "pending", "processing", "retrying"), 2):
        await insert(fresh, id_, source="web", enrichment_status=status)
    assert set(await all_ids(Backfills(fresh, query))) == expected


def test_a_query_names_the_status_at_any_depth() -> None:
    assert names_status({"$and": [{"a": 1}, {"enrichment_status": "failed"}]})
    assert not names_status({"source": "enrichment_status", "a": [{"b": 1}]})


async def test_what_this_run_asked_for_is_not_read_again(fresh: Leads) -> None:
    await insert(fresh, 1, enrichment={"backfilled_by": START.id})
    await insert(fresh, 2, enrichment={"backfilled_by": "another"})
    assert await all_ids(Backfills(fresh, {})) == [2]


async def test_an_interrupted_run_goes_on_and_a_finished_one_begins_anew(fresh: Leads) -> None:
    backfills = Backfills(fresh, {"source": "web"})
    assert await backfills.unfinished() is None
    run = replace(await backfills.begin(), after={"of": None}, asked=7)
    await backfills.save(run)
    assert await backfills.begin() == run
    assert await backfills.unfinished() == run
    await backfills.finish(run)
    assert await backfills.unfinished() is None
    anew = await backfills.begin()
    assert (anew.id != run.id, anew.after, anew.asked) == (True, None, 0)


async def test_another_query_is_another_run_however_it_is_spaced(fresh: Leads) -> None:
    run = await Backfills(fresh, {"source": "web"}).begin()
    assert await Backfills(fresh, {"source": "web"}).begin() == run
    assert (await Backfills(fresh, {"source": "fair"}).begin()).id != run.id


async def test_a_checkpoint_holds_nothing_of_the_query(fresh: Leads) -> None:
    await Backfills(fresh, {"email": "ada@quokka-freight.com"}).begin()
    checkpoints = fresh.database["enricher_checkpoints"]
    stored = await checkpoints.find({"_id": {"$regex": f"^backfill:{fresh.name}:"}}).to_list()
    assert len(stored) == 1
    assert "quokka" not in str(stored)


async def test_only_backfilled_leads_count_as_going_on(fresh: Leads) -> None:
    due = {"due_at": datetime.now(UTC) + timedelta(days=30)}
    requests = Requests(fresh, book.priority("temperature", ["hot"]))
    await requests.ask([await insert(fresh, 1, temperature="hot")], backfill="a-run")
    await insert(fresh, 2, enrichment_status="processing", enrichment={"backfill": True, **due})
    await insert(fresh, 3, enrichment_status="retrying", enrichment={"backfill": True, **due})
    await requests.ask([await insert(fresh, 4)])
    assert await Backfills(fresh, {}).going_on(START) == GoingOn(in_work=2, unended=1)


async def test_a_run_goes_on_until_its_leads_have_ended(fresh: Leads) -> None:
    ours = {"backfill": True, "backfilled_by": START.id}
    due = {"due_at": datetime.now(UTC) + timedelta(days=30)}
    states: dict[str, Document] = {
        "pending": {"priority": book.BEHIND - 1},
        "processing": due,
        "retrying": due | {"held_by": ["hunter", "gone", 5]},
        "completed": due,
        "failed": {},
        "skipped": {},
    }
    for status, more in states.items():
        await insert(fresh, status, enrichment_status=status, enrichment=ours | more)
    now = await Backfills(fresh, {}).going_on(START, ["hunter", "clearbit"])
    assert now == GoingOn(in_work=2, unended=3, held_by=frozenset({"hunter"}))


@pytest.mark.parametrize(
    "book_",
    [
        {"due_at": datetime(9999, 1, 1, tzinfo=UTC)},
        {"due_at": "soon"},
        {},
        {"due_at": datetime(1969, 1, 1, tzinfo=UTC)},
        {"due_at": datetime(2030, 1, 1, tzinfo=UTC) + timedelta(days=3650), "held_by": ["hunter"]},
    ],
    ids=str,
)
async def test_nobody_waits_for_leads_that_only_say_that_they_are_in_work(
    fresh: Leads, book_: Document
) -> None:
    ours = {"backfill": True, "backfilled_by": START.id}
    for status in ("processing", "retrying"):
        await insert(fresh, status, enrichment_status=status, enrichment=ours | book_)
    assert await Backfills(fresh, {}).going_on(START, ["hunter"]) == GoingOn()
