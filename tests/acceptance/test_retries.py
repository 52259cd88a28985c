"""A vendor is down, busy, out of quota or still thinking: what was found is kept, the rest follows."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from enricher.lead import Document
from tests.support.rig import Rig, address

SHORT: dict[str, object] = {
    "ENRICHER_LEAD_TIMEOUT_SECONDS": 2,
    "ENRICHER_RETRY_DELAY_SECONDS": 0.4,
}
"""An attempt ends before the quick retries of a call are used up, so an outage is soon noticed."""

PENDING = {"$set": {"enrichment_status": "pending"}}


def calls_to(rig: Rig, vendor: str) -> int:
    return len(rig.simulator.journal.calls(vendor=vendor))


async def insert(rig: Rig, id_: str, word: str = "ordinary") -> Document:
    lead = {"_id": id_, "email": address(word)}
    await rig.leads.insert_one(lead)
    return lead


def assert_only_company_data(lead: Document) -> None:
    """Of the e-mail nothing but what needs no vendor: the verdict is still to come."""
    assert lead["enriched_data"]["company_data"]["name"].startswith("Quokka")
    assert "status" not in lead["enriched_data"]["email_verification"]
    assert lead["enriched_data"]["enrichment_metadata"]["sources_failed"] == ["hunter"]


def assert_complete(lead: Document) -> None:
    assert lead["enriched_data"]["company_data"]["name"].startswith("Quokka")
    assert lead["enriched_data"]["email_verification"]["status"]
    assert lead["enriched_data"]["enrichment_metadata"]["sources_failed"] == []
    assert lead["enrichment_error"] is None


async def test_what_one_vendor_found_is_kept_and_only_the_other_is_asked_again(rig: Rig) -> None:
    outage = rig.simulator.inject("server_error", vendor="hunter")
    async with rig.daemon(**SHORT) as daemon:
        await daemon.wait_for_event("stream.opened")
        await insert(rig, "partial")
        assert (await rig.witness.settle_of("partial")).status == "retrying"
        partial = await rig.lead("partial")
        rig.simulator.faults.remove(outage)
        assert_only_company_data(partial)
        assert "hunter" in partial["enrichment_error"]
        assert await rig.witness.end_of("partial") == "completed"
    assert_complete(await rig.lead("partial"))
    assert calls_to(rig, "clearbit") == 1


async def test_a_retry_survives_a_restart_and_still_asks_only_what_is_missing(rig: Rig) -> None:
    outage = rig.simulator.inject("server_error", vendor="hunter")
    async with rig.daemon(**SHORT | {"ENRICHER_RETRY_DELAY_SECONDS": 1}) as first:
        await first.wait_for_event("stream.opened")
        await insert(rig, "partial")
        assert (await rig.witness.settle_of("partial")).status == "retrying"
        first.kill()
    rig.simulator.faults.remove(outage)
    async with rig.daemon(**SHORT):
        assert await rig.witness.end_of("partial") == "completed"
    assert_complete(await rig.lead("partial"))
    assert calls_to(rig, "clearbit") == 1


async def test_a_lead_fails_when_nobody_ever_answers_and_a_user_can_bring_it_back(
    rig: Rig,
) -> None:
    rig.simulator.inject("server_error")
    async with rig.daemon(**SHORT, ENRICHER_MAX_ATTEMPTS=1) as daemon:
        await daemon.wait_for_event("stream.opened")
        written = await insert(rig, "hopeless")
        assert await rig.witness.end_of("hopeless") == "failed"
        assert [step.status for step in rig.witness.settles("hopeless")] == ["retrying", "failed"]
        error = (await rig.lead("hopeless"))["enrichment_error"]
        assert error.startswith("Nothing could be had after 2 attempts")
        assert "clearbit" in error
        assert "503" in error
        assert written["email"] not in error
        rig.simulator.faults.clear()
        await rig.leads.update_one({"_id": "hopeless"}, PENDING)
        await rig.witness.until(lambda: rig.witness.statuses("hopeless")[-1] == "completed")
    assert_complete(await rig.lead("hopeless"))


async def test_a_lead_completes_with_what_there_is_when_one_vendor_never_answers(rig: Rig) -> None:
    rig.simulator.inject("server_error", vendor="hunter")
    async with rig.daemon(**SHORT, ENRICHER_MAX_ATTEMPTS=1) as daemon:
        await daemon.wait_for_event("stream.opened")
        await insert(rig, "half")
        assert await rig.witness.end_of("half") == "completed"
    assert_only_company_data(await rig.lead("half"))
    assert calls_to(rig, "clearbit") == 1


@pytest.mark.parametrize("vendor", ["clearbit", "hunter"])
async def test_a_vendor_that_says_when_to_come_back_is_left_alone_until_then(
    rig: Rig, vendor: str
) -> None:
    """Clearbit names the moment in X-RateLimit-Reset, in whole seconds; Hunter in Retry-After."""
    how = {"dialect": "429"} if vendor == "hunter" else {}
    rig.simulator.inject("throttled", vendor=vendor, times=1, seconds=2, **how)
    async with rig.daemon() as daemon:
        await daemon.wait_for_event("stream.opened")
        await insert(rig, "throttled")
        await rig.simulator.journal.until(lambda: calls_to(rig, vendor) == 1)
        await insert(rig, "the next one")
        await rig.witness.all_ended(["throttled", "the next one"])
    first, *later = rig.simulator.journal.calls(vendor=vendor)
    assert len(later) == 2
    assert min(call.arrived for call in later) >= first.arrived + 2
    assert rig.witness.statuses_at_work("throttled") == ["processing", "completed"]


@pytest.mark.parametrize(
    ("kind", "how"),
    [("quota_spent", {"dialect": "402"}), ("unauthorized", {})],
    ids=["quota used up", "key refused"],
)
async def test_a_vendor_that_refuses_everybody_is_asked_once_and_holds_up_nothing_else(
    rig: Rig, kind: str, how: dict[str, Any]
) -> None:
    rig.simulator.inject(kind, vendor="hunter", **how)
    async with rig.daemon() as daemon:
        await daemon.wait_for_event("stream.opened")
        await insert(rig, "lead 0")
        await rig.witness.settle_of("lead 0")
        for number in range(1, 5):
            await insert(rig, f"lead {number}")
        for number in range(5):
            assert (await rig.witness.settle_of(f"lead {number}")).status == "retrying"
        assert len(daemon.events("provider.held", provider="hunter")) == 1
        assert await daemon.metric("enricher_provider_held", provider="hunter") == 1
    for number in range(5):
        lead = await rig.lead(f"lead {number}")
        assert_only_company_data(lead)
        assert lead["enrichment"]["attempts"] == 0
        assert lead["enrichment"]["due_at"] > datetime.now(UTC) + timedelta(minutes=50)
        assert "hunter" in lead["enrichment_error"]
    assert calls_to(rig, "hunter") == 1
    assert calls_to(rig, "clearbit") == 5


async def test_who_objected_to_being_processed_is_left_alone(rig: Rig) -> None:
    async with rig.daemon() as daemon:
        await daemon.wait_for_event("stream.opened")
        await insert(rig, "objected", word="claimed")
        assert await rig.witness.end_of("objected") == "skipped"
    lead = await rig.lead("objected")
    data = lead["enriched_data"]
    assert lead["enrichment_error"] == "The person asked not to be processed."
    assert (data["person_data"], data["email_verification"]) == (None, None)
    assert not (data["social_profiles"] or {}).get("person")
    assert data["enrichment_metadata"]["provenance"].keys() <= {"company_data"}
    assert calls_to(rig, "hunter") == 1


STORIES = ("pending", "flaky", "smtpfail", "garbled", "unknown", "hollow", "slow")


async def test_odd_answers_are_sat_out_within_one_attempt_and_paid_for_once(rig: Rig) -> None:
    """202 twice, 503 twice, 222, half a body, no record, nothing but nulls, two seconds late."""
    async with rig.daemon() as daemon:
        await daemon.wait_for_event("stream.opened")
        written = await asyncio.gather(*(insert(rig, word, word) for word in STORIES))
        await rig.witness.all_ended(STORIES)
    leads = {word: await rig.lead(word) for word in STORIES}
    for word in STORIES:
        assert rig.witness.statuses_at_work(word) == ["processing", "completed"]
        assert leads[word]["enrichment_error"] is None
    for word in ("pending", "flaky", "smtpfail", "garbled", "slow"):
        assert_complete(leads[word])
    addresses = {lead["email"]: lead["_id"] for lead in written}
    charged = [entry.question for entry in rig.simulator.journal if entry.charged]
    assert len(charged) == len(set(charged))
    assert set(charged) >= addresses.keys()
    hollow = leads["hollow"]["enriched_data"]
    assert hollow["company_data"] is None
    assert "clearbit" in hollow["enrichment_metadata"]["sources_not_found"]
