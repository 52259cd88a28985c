"""Who may be paid for: a plan's leads of the month, and nobody who objected."""

from __future__ import annotations

from collections import Counter

import bson

from enricher.calls.flights import COLLECTION as ANSWERS
from enricher.lead import Document, Reason
from enricher.mongo.secret import FINGERPRINT
from enricher.privacy.suppression import COLLECTION as SUPPRESSED
from tests.support.rig import Rig, address, domain

FREE, QUOTA = 10, 3
PERSON = "ada.lovelace@quokka-claimed-by-its-owner.com"


def of_account(account: str, plan: str, first: int) -> list[Document]:
    return [
        {"_id": first + number, "email": address(), "account_id": account, "plan": plan}
        for number in range(FREE)
    ]


async def test_an_account_gets_the_leads_of_its_plan_and_another_its_own(rig: Rig) -> None:
    one, other = of_account("quokka", "free", 0), of_account("wombat", "free", 100)
    paying = of_account("quokka", "pro", 200)
    leads = {lead["_id"]: lead for lead in [*one, *other, *paying]}
    async with rig.daemon(ENRICHER_PLAN_QUOTAS='{"free": 3}') as daemon:
        await daemon.wait_for_event("stream.opened")
        await rig.leads.insert_many(leads.values())
        await rig.witness.all_ended(leads)
    found = await rig.leads.find().to_list()
    for mine, enriched in ((one, QUOTA), (other, QUOTA), (paying, FREE)):
        ids = [lead["_id"] for lead in mine]
        ends = Counter(lead["enrichment_status"] for lead in found if lead["_id"] in ids)
        assert ends == Counter(completed=enriched, skipped=FREE - enriched)
    skipped = [lead for lead in found if lead["enrichment_status"] == "skipped"]
    assert {lead["enrichment_error"] for lead in skipped} == {Reason.OVER_QUOTA.sentence}
    assert rig.questions(*(lead["email"] for lead in skipped)) == Counter()
    for vendor in ("clearbit", "hunter"):
        assert len(rig.simulator.journal.calls(vendor=vendor)) == 2 * QUOTA + FREE


async def test_a_lead_that_is_rewritten_again_and_again_counts_for_everybody_it_names(
    rig: Rig,
) -> None:
    edits = 30
    mine = {"account_id": "quokka", "plan": "free"}
    people = [address() for _ in range(edits)]
    async with rig.daemon(ENRICHER_PLAN_QUOTAS='{"free": 3}') as daemon:
        await daemon.wait_for_event("stream.opened")
        await rig.leads.insert_one({"_id": 1, "email": people[0], **mine})
        ends = [await rig.witness.end_of(1)]
        for email in [*people[1:], people[0].upper(), people[1]]:
            rig.witness.forget(1)
            asked = {"email": email, "name": "Ada", "enrichment_status": "pending"}
            await rig.leads.update_one({"_id": 1}, {"$set": asked})
            ends.append(await rig.witness.end_of(1))
        await rig.leads.insert_one({"_id": 2, "email": address(), **mine})
        assert await rig.witness.end_of(2) == "skipped"
    assert ends == ["completed"] * QUOTA + ["skipped"] * (edits - QUOTA) + ["completed"] * 2
    assert len({question for vendor, question in rig.questions() if vendor == "hunter"}) == QUOTA


async def test_who_objected_at_a_vendor_is_known_by_a_hash_alone_and_never_asked_about_again(
    rig: Rig,
) -> None:
    async with rig.daemon(ENRICHER_PLAN_QUOTAS='{"free": 10}') as daemon:
        await daemon.wait_for_event("stream.opened")
        await rig.leads.insert_one(
            {"_id": 1, "email": PERSON, "account_id": PERSON, "plan": "free"}
        )
        assert await rig.witness.end_of(1) == "skipped"
        asked = len(rig.simulator.journal)
        await rig.leads.insert_one({"_id": 2, "email": PERSON.upper()})
        assert await rig.witness.end_of(2) == "skipped"
        daemon.terminate()
        assert await daemon.wait() == 0
    assert len(rig.simulator.journal) == asked
    for number in (1, 2):
        lead = await rig.lead(number)
        assert lead["enrichment_error"] == Reason.SUPPRESSED.sentence
        assert not lead["enriched_data"].get("email_verification")
    assert await rig.database[SUPPRESSED].count_documents({"_id": {"$ne": FINGERPRINT}}) == 1
    stored = await side_collections(rig)
    assert SUPPRESSED in stored
    assert ANSWERS in stored
    for name, content in stored.items():
        for telling in (b"lovelace", b"quokka-claimed"):
            assert telling not in content.lower(), f"{telling!r} stands in {name}"


async def side_collections(rig: Rig) -> dict[str, bytes]:
    """All that the daemons keep for themselves, as stored; without what vendors said."""
    stored = {}
    for name in await rig.database.list_collection_names(filter={"name": {"$regex": "^enricher_"}}):
        documents = await rig.database[name].find({}, {"reply": 0}).to_list()
        stored[name] = b"".join(bson.encode(document) for document in documents)
    return stored


async def test_what_was_found_before_somebody_objected_is_erased_from_their_other_leads(
    rig: Rig,
) -> None:
    place = domain()
    leads: list[Document] = [
        {"_id": "before", "email": f"Ada.Lovelace+crm@{place}"},
        {"_id": "somebody else", "email": f"charles@{place}"},
        {"_id": "after", "email": f"ada.lovelace@{place}", "enrichment": {}},
    ]
    async with rig.daemon("hunter", ENRICHER_CACHE_DAYS=0) as daemon:
        await daemon.wait_for_event("history.recorded")
        await rig.leads.insert_many(leads[:2])
        await rig.witness.all_ended(["before", "somebody else"])
        assert (await rig.lead("before"))["enriched_data"]["email_verification"]["status"]
        rig.simulator.inject("claimed_email", question="ada.lovelace@*")
        await rig.leads.insert_one(leads[2])
        assert await rig.witness.end_of("after") == "skipped"
    erased, other = await rig.lead("before"), await rig.lead("somebody else")
    assert erased["enrichment_status"] == "skipped"
    assert erased["enriched_data"]["email_verification"] is None
    assert other["enrichment_status"] == "completed"
    assert other["enriched_data"]["email_verification"]["status"]
