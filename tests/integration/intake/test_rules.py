"""When the rules by which documents are leads change, what stands there is history, and nothing is lost."""

from __future__ import annotations

from typing import Any

import pytest
from bson import ObjectId, Regex, Timestamp
from pymongo.asynchronous.collection import AsyncCollection

from enricher.fields import NAMES
from enricher.intake.changes import Change, Changes, fingerprint
from enricher.intake.checkpoints import COLLECTION, Adopted, Checkpoints, LeadRules
from enricher.intake.history import History
from enricher.intake.watcher import Watcher
from enricher.lead import Document
from enricher.mongo.expressions import within
from enricher.mongo.server import Server
from enricher.queue.indexes import Building, Indexes
from enricher.queue.worker import Bell
from enricher.settings.load import WorkSettings
from tests.support.queueing import insert, queue, read

NO_VISITORS = LeadRules({"state": {"$ne": "visitor"}})
NONE_DELETED = LeadRules({"status": {"$ne": "deleted"}})
NO_RULES = LeadRules()
NOW = Timestamp(2_000_000_000, 1)


def checkpoints(leads: AsyncCollection[Document], rules: LeadRules | None = None) -> Checkpoints:
    return Checkpoints(leads.database, leads.name, fingerprint(NAMES), NOW, rules=rules)


async def adopted(leads: AsyncCollection[Document], *rules: LeadRules) -> Adopted:
    """The last of these, each of which held for a process that had saved a position."""
    found = Adopted()
    for each in rules:
        found = (await checkpoints(leads, each).adopt()).rules
        await checkpoints(leads).save({"_data": "82"})
    return found


@pytest.fixture
async def leads(fresh: AsyncCollection[Document]) -> Any:
    yield fresh
    await fresh.database[COLLECTION].delete_one({"_id": fresh.name})


# -- the rules ---------------------------------------------------------------------------------


async def test_without_rules_nothing_is_stored(leads: AsyncCollection[Document]) -> None:
    assert await adopted(leads, NO_RULES, NO_RULES) == Adopted()
    stored = await leads.database[COLLECTION].find_one({"_id": leads.name})
    assert stored is not None
    assert "rules" not in stored


async def test_the_rules_of_a_first_start_are_no_change(leads: AsyncCollection[Document]) -> None:
    found = await adopted(leads, NO_VISITORS)
    assert (found.era, found.former) == (1, [])


async def test_a_change_notes_what_held_before_and_since_when(
    leads: AsyncCollection[Document],
) -> None:
    found = await adopted(leads, NO_VISITORS, NONE_DELETED)
    assert (found.era, found.since, found.former) == (2, NOW, [NO_VISITORS.only])
    assert await adopted(leads, NONE_DELETED) == found


async def test_another_mapping_is_a_change(leads: AsyncCollection[Document]) -> None:
    found = await adopted(leads, NO_RULES, LeadRules(reading="another"))
    assert (found.era, found.former) == (1, [{}])


async def test_conditions_add_up_until_what_they_excluded_is_on_record(
    leads: AsyncCollection[Document],
) -> None:
    found = await adopted(leads, NO_VISITORS, NONE_DELETED, NO_RULES)
    assert found.former == [NO_VISITORS.only, NONE_DELETED.only]
    await checkpoints(leads).change_is_on_record(found.era, 0)
    assert (await adopted(leads, NO_RULES)).former == []


async def test_conditions_of_any_type_survive_being_stored(
    leads: AsyncCollection[Document],
) -> None:
    only = {"form": ObjectId("65f1c0ffee0123456789ac02"), "_key": Regex("^user:\\d+$")}
    assert (await adopted(leads, LeadRules(only), NO_RULES)).former == [only]


# -- what is history ---------------------------------------------------------------------------


async def test_what_a_wider_condition_lets_in_is_history(leads: AsyncCollection[Document]) -> None:
    await insert(leads, "visitor", state="visitor")
    await insert(leads, "missed")
    await insert(leads, "waits", state="visitor", enrichment_status="pending")
    await insert(leads, "asked for", enrichment_status="pending")
    history = History(leads)
    history.has_changed = True
    assert await history.record_excluded([NO_VISITORS.only]) == 2
    found = [ids async for ids in history.unadmitted()]
    assert found == [["missed"], ["asked for"]]
    assert await history.without(["visitor", "missed"]) == ["missed"]


async def test_a_narrower_condition_makes_nothing_history(leads: AsyncCollection[Document]) -> None:
    await insert(leads, "missed")
    await insert(leads, "visitor", state="visitor")
    history = History(within(leads, NO_VISITORS.only))
    assert await history.record_excluded([{}]) == 0
    assert [ids async for ids in history.unadmitted()] == [["missed"]]


async def test_old_history_that_is_set_to_pending_is_found_after_a_change(
    leads: AsyncCollection[Document],
) -> None:
    await insert(leads)
    history = History(leads)
    await history.record()
    history.has_changed = True
    await leads.update_one({"_id": 1}, {"$set": {"enrichment_status": "pending"}})
    assert [ids async for ids in history.unadmitted()] == [[1]]


async def test_events_from_before_a_change_are_looked_up_in_the_record(
    leads: AsyncCollection[Document],
) -> None:
    await insert(leads, "visitor", state="visitor")
    await insert(leads, "missed")
    await adopted(leads, NO_VISITORS)
    await checkpoints(leads).history_is_known(0)
    watcher = Watcher(
        Building(Indexes(leads), queue(leads), Bell()),
        changes=Changes(leads),
        checkpoints=checkpoints(leads),
        history=History(leads),
        settings=WorkSettings(),
    )
    await watcher.begin(None, Server("7.0", "rs0"))
    admitter = watcher.admitter
    old = [Change(id_, is_replace=False, at=NOW) for id_ in ("visitor", "missed")]
    await admitter._admit(old)
    assert admitter.replaced == ["visitor", "missed"]
    await watcher.search._know_history(await watcher.checkpoints.begin())
    await admitter.admit_replaced()
    assert "enrichment_status" not in await read(leads, "visitor")
    assert (await read(leads, "missed"))["enrichment_status"] == "pending"
    later = Timestamp(NOW.time, NOW.inc + 1)
    await admitter._admit([Change("visitor", is_replace=False, at=later)])
    assert (await read(leads, "visitor"))["enrichment_status"] == "pending"
