"""Somebody changes, deletes or asks anew for a lead while it is in work: the latest wish counts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import pytest_asyncio

from enricher.lead import Document
from tests.support.processes import Daemon
from tests.support.rig import Rig, domain, open_rig
from tests.support.waiting import eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")

PENDING = {"$set": {"enrichment_status": "pending"}}
LEASE_SECONDS = 3
"""Lost leases are noticed at a heartbeat, every third of it."""

IN_WORK_SECONDS = 1.0


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def rig(mongodb_uri: str) -> AsyncIterator[Rig]:
    """Answers take long enough to do something to a lead meanwhile."""
    async with open_rig(mongodb_uri, latency=IN_WORK_SECONDS) as opened:
        yield opened


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def daemon(rig: Rig) -> AsyncIterator[Daemon]:
    async with rig.daemon("clearbit", ENRICHER_LEASE_SECONDS=LEASE_SECONDS) as running:
        await running.wait_for_event("history.recorded")
        yield running


async def in_work(rig: Rig, lead: Document) -> None:
    """Insert it, and return when a vendor has been asked and has not answered yet."""
    before = len(rig.simulator.journal)
    await rig.leads.insert_one(lead)
    await rig.simulator.journal.until(lambda: len(rig.simulator.journal) > before)


async def dropped(daemon: Daemon) -> float:
    """Results that were not written, and work that was stopped before it had one."""
    results = await daemon.metric("enricher_results_dropped_total")
    return results + await daemon.metric("enricher_leases_lost_total")


def something_is_dropped(daemon: Daemon, before: float) -> Callable[[], Awaitable[bool]]:
    async def is_counted() -> bool:
        return await dropped(daemon) > before

    return is_counted


def found_for(lead: Document) -> str:
    domain_of: str = lead["enriched_data"]["company_data"]["domain"]
    return domain_of


async def test_a_users_pending_begins_a_fresh_run_and_fences_out_the_old_one(
    rig: Rig, daemon: Daemon
) -> None:
    before = await dropped(daemon)
    await in_work(rig, {"_id": "wished for", "company_domain": domain()})
    old = (await rig.lead("wished for"))["enrichment"]
    await rig.leads.update_one({"_id": "wished for"}, PENDING)
    assert await rig.witness.end_of("wished for") == "completed"
    await eventually(something_is_dropped(daemon, before))
    new = (await rig.lead("wished for"))["enrichment"]
    assert new["token"] == old["token"] + 1
    assert new["claim_id"] != old["claim_id"]
    assert len(rig.witness.settles("wished for")) == 1


async def test_a_lead_that_is_deleted_while_in_work_stays_deleted(rig: Rig, daemon: Daemon) -> None:
    before = await dropped(daemon)
    await in_work(rig, {"_id": "deleted", "company_domain": domain()})
    await rig.leads.delete_one({"_id": "deleted"})
    await eventually(something_is_dropped(daemon, before))
    assert await rig.leads.find_one({"_id": "deleted"}) is None
    assert rig.witness.settles("deleted") == []


@pytest.mark.parametrize("field", ["email", "company_domain", "website"])
async def test_a_lead_whose_address_changes_while_in_work_gets_what_belongs_to_the_new_one(
    rig: Rig, daemon: Daemon, field: str
) -> None:
    def value(of: str) -> str:
        return f"ada@{of}" if field == "email" else of

    old, new = domain(), domain()
    id_ = f"changed {field}"
    await in_work(rig, {"_id": id_, field: value(old)})
    await rig.leads.update_one({"_id": id_}, {"$set": {field: value(new)}})
    assert await rig.witness.end_of(id_) == "completed"
    assert found_for(await rig.lead(id_)) == new
    assert len(rig.witness.settles(id_)) == 1
    assert rig.questions(old, new) == {("clearbit", old): 1, ("clearbit", new): 1}


async def test_what_was_found_for_an_old_address_is_dropped_when_the_new_one_is_enriched(
    rig: Rig, daemon: Daemon
) -> None:
    old, new = domain(), domain("unknown")
    await rig.leads.insert_one({"_id": "moved on", "company_domain": old})
    assert await rig.witness.end_of("moved on") == "completed"
    assert found_for(await rig.lead("moved on")) == old
    rig.witness.forget("moved on")
    await rig.leads.update_one(
        {"_id": "moved on"}, {"$set": {"company_domain": new, "enrichment_status": "pending"}}
    )
    assert await rig.witness.end_of("moved on") == "completed"
    assert (await rig.lead("moved on"))["enriched_data"]["company_data"] is None


async def test_a_lead_that_is_replaced_while_in_work_is_enriched_as_what_it_is_now(
    rig: Rig, daemon: Daemon
) -> None:
    old, new = domain(), domain()
    await in_work(rig, {"_id": "replaced", "company_domain": old})
    await rig.leads.replace_one({"_id": "replaced"}, {"company_domain": new})
    assert await rig.witness.end_of("replaced") == "completed"
    assert found_for(await rig.lead("replaced")) == new
    assert len(rig.witness.settles("replaced")) == 1


async def test_other_changes_to_a_lead_in_work_are_kept_and_cost_nothing(
    rig: Rig, daemon: Daemon
) -> None:
    await in_work(rig, {"_id": "edited", "company_domain": domain(), "tags": ["a"]})
    await rig.leads.update_one({"_id": "edited"}, {"$set": {"notes": "called"}})
    await rig.leads.update_one({"_id": "edited"}, {"$push": {"tags": "b"}})
    assert await rig.witness.end_of("edited") == "completed"
    lead = await rig.lead("edited")
    assert (lead["notes"], lead["tags"]) == ("called", ["a", "b"])
    assert rig.questions(lead["company_domain"]) == {("clearbit", lead["company_domain"]): 1}


@pytest.mark.parametrize("score", [0, 73, 4.5], ids=str)
async def test_a_lead_with_a_score_asks_to_be_qualified_again_in_the_write_that_completes_it(
    rig: Rig, daemon: Daemon, score: float
) -> None:
    id_ = f"scored {score}"
    await rig.leads.insert_one(
        {"_id": id_, "company_domain": domain(), "qualification_score": score}
    )
    completing = await rig.witness.settle_of(id_)
    assert completing.fields["enrichment_status"] == "completed"
    assert completing.fields["qualification_status"] == "pending"
    assert "qualification_requested_at" in completing.fields


async def test_a_lead_that_is_scored_while_in_work_asks_to_be_qualified_again(
    rig: Rig, daemon: Daemon
) -> None:
    await in_work(rig, {"_id": "scored meanwhile", "company_domain": domain()})
    await rig.leads.update_one({"_id": "scored meanwhile"}, {"$set": {"qualification_score": 5}})
    completing = await rig.witness.settle_of("scored meanwhile")
    assert completing.fields["qualification_status"] == "pending"


async def test_a_lead_without_a_score_is_not_sent_to_the_qualifier(
    rig: Rig, daemon: Daemon
) -> None:
    unscored = {"company_domain": domain(), "qualification_score": None}
    await rig.leads.insert_one({"_id": "unscored", **unscored})
    completing = await rig.witness.settle_of("unscored")
    assert completing.status == "completed"
    assert "qualification_status" not in completing.fields


async def test_a_lead_that_ends_without_data_is_not_sent_to_the_qualifier(
    rig: Rig, daemon: Daemon
) -> None:
    await rig.leads.insert_one({"_id": "no use", "email": "", "qualification_score": 5})
    assert (await rig.witness.settle_of("no use")).status == "skipped"
    assert "qualification_status" not in await rig.lead("no use")


async def test_corrections_of_a_name_cost_no_further_call(rig: Rig, daemon: Daemon) -> None:
    company = domain()
    await in_work(rig, {"_id": "renamed", "company_domain": company, "name": "ada"})
    while not rig.witness.ended(["renamed"]):
        change = {"$set": {"name": f"Ada {len(rig.witness.statuses('renamed'))}"}, "$inc": {"n": 1}}
        await rig.leads.update_one({"_id": "renamed"}, change)
    assert await rig.witness.end_of("renamed") == "completed"
    assert rig.questions(company) == {("clearbit", company): 1}


async def test_a_lead_saved_whole_without_our_bookkeeping_is_not_stranded(
    rig: Rig, daemon: Daemon
) -> None:
    """As object mappers do: load, change, replace, with only the fields they know."""
    await in_work(rig, {"_id": "saved", "company_domain": domain()})
    lead = await rig.lead("saved")
    del lead["enrichment"]
    await rig.leads.replace_one({"_id": "saved"}, lead)
    assert lead["enrichment_status"] == "processing"
    assert await rig.witness.end_of("saved") == "completed"
