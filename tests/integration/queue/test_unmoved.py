"""Leads that nothing moves are counted, by an index that holds no others."""

from __future__ import annotations

from typing import Any

import pytest
from bson import Decimal128, ObjectId, Regex
from pymongo.asynchronous.collection import AsyncCollection

from enricher.fields import NAMES
from enricher.intake.history import History
from enricher.lead import Document
from enricher.queue import unmoved
from enricher.queue.unmoved import UnmovedReason
from tests.support.observing import counted, events, logged
from tests.support.queueing import FUTURE, PAST, insert, queue, read, with_invalid_utf8

pytestmark = pytest.mark.slow

Leads = AsyncCollection[Document]
HELD = {"due_at": FUTURE, "holder": "a daemon", "claim_id": "a claim", "token": 1}
FOREIGN = (
    "", "new", "PENDING", "Pending", " pending", "pending ", "done", "complete", "completed2", "queued",
    "zzz", "\u00fcber", "processin", "retry", "skippe", "failed\n",
)  # fmt: skip
NO_TEXT: tuple[Any, ...] = (
    0, 1.5, float("nan"), True, False, {}, {"a": 1}, [], ["new"], PAST, ObjectId(), b"pending",
    Regex("pending"), Decimal128("1"),
)  # fmt: skip


def only(reason: UnmovedReason) -> dict[str, int]:
    return {each.value: int(each is reason) for each in UnmovedReason}


@pytest.mark.parametrize("status", FOREIGN)
async def test_a_status_that_is_none_of_ours_is_counted(ours: Leads, status: str) -> None:
    await insert(ours, enrichment_status=status)
    before = await read(ours)
    assert await unmoved.count(ours) == only(UnmovedReason.FOREIGN)
    assert await queue(ours).admit([1]) == 0
    assert await read(ours) == before


@pytest.mark.parametrize("status", NO_TEXT, ids=lambda status: type(status).__name__)
async def test_a_status_that_is_no_text_is_counted(ours: Leads, status: object) -> None:
    await insert(ours, enrichment_status=status)
    assert await unmoved.count(ours) == only(UnmovedReason.NO_TEXT)
    assert await queue(ours).admit([1]) == 0


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"enrichment_status": None},
        {"enrichment_status": "pending"},
        {"enrichment_status": "processing", "enrichment": HELD},
        {"enrichment_status": "retrying", "enrichment": {"due_at": FUTURE}},
        {"enrichment_status": "completed", "enrichment": HELD, "enriched_at": PAST},
        {"enrichment_status": "completed"},
        {"enrichment_status": "failed"},
        {"enrichment_status": "skipped"},
    ],
)
async def test_every_other_lead_is_not_and_stands_not_in_the_index(
    ours: Leads, fields: Document
) -> None:
    await insert(ours, **fields)
    assert await unmoved.count(ours) == dict.fromkeys((each.value for each in UnmovedReason), 0)
    in_index = await ours.find({}, {"_id": 1}).hint(unmoved.INDEX).to_list()
    assert in_index == []


async def test_a_count_reads_no_other_lead_and_no_more_than_it_shows(ours: Leads) -> None:
    await ours.insert_many(
        [{"enrichment_status": "completed", "enrichment": HELD} for _ in range(500)]
        + [{"enrichment_status": "new"} for _ in range(unmoved.MOST + 50)]
    )
    found = await unmoved.count(ours)
    assert found is not None
    assert found["foreign"] == unmoved.MOST
    stages = unmoved._count(
        NAMES, UnmovedReason.STRAY, unmoved._by_reason(NAMES)[UnmovedReason.STRAY]
    )
    command = {"aggregate": ours.name, "pipeline": stages, "cursor": {}, "hint": unmoved.INDEX}
    plan = await ours.database.command("explain", command, verbosity="executionStats")
    stats = plan.get("executionStats") or plan["stages"][0]["$cursor"]["executionStats"]
    assert stats["totalDocsExamined"] == 0


async def test_without_the_index_nothing_is_read(fresh: Leads) -> None:
    await insert(fresh, enrichment_status="new")
    await fresh.drop_index(unmoved.INDEX)
    assert await unmoved.count(fresh) is None


async def test_an_id_that_is_not_utf8_is_told_once_and_counted(ours: Leads) -> None:
    document = with_invalid_utf8({"_id": "??-lead", "email": "ada@quokka-freight.com"}, "??")
    await ours.insert_one(document)
    await insert(ours, "\ufffd, and meant")
    leads = queue(ours)
    with logged() as lines:
        for _ in range(3):
            async for ids in History(ours).unadmitted():
                await leads.admit(ids)
    assert len(events(lines, "lead.unwritable")) == 1
    assert leads.aside.leads == 1
    assert counted("enricher_leads_unmoved", reason="unwritable") == 1
    assert (await read(ours, "\ufffd, and meant"))["enrichment_status"] == "pending"
