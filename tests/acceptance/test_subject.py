"""Corrections at any moment: what was found and answered counts only for the same mailbox and company.

Pat is at one company, Bob is not: whatever a writer or an object mapper does to a lead, at the end
it holds data about whom it names, and nobody is asked twice about the same.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio

from enricher.identity.identify import older_mark
from enricher.lead import Document
from tests.support.processes import Daemon
from tests.support.rig import Rig, domain, open_rig
from tests.support.waiting import eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")

SETTINGS = {
    "ENRICHER_PROVIDERS_OFF": '["clearbit_person"]',
    "ENRICHER_RETRY_DELAY_SECONDS": 3600,  # a lead is tried again when a test says so
    "ENRICHER_LEAD_TIMEOUT_SECONDS": 3,
    "ENRICHER_POLL_SECONDS": 0.2,
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def rig(mongodb_uri: str) -> AsyncIterator[Rig]:
    async with open_rig(mongodb_uri) as opened:
        yield opened


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def daemon(rig: Rig) -> AsyncIterator[Daemon]:
    async with rig.daemon(**SETTINGS) as running:
        await running.wait_for_event("history.recorded")
        yield running


def at(company: str, person: str = "pat.example") -> str:
    return f"{person}@{company}"


async def settled(rig: Rig, id_: object) -> Document:
    """As it stands when a daemon is next done with it."""
    await rig.witness.settle_of(id_)
    rig.witness.forget(id_)
    return await rig.lead(id_)


async def completed(rig: Rig, id_: str, **fields: Any) -> Document:
    """A new lead, enriched."""
    await rig.leads.insert_one({"_id": id_, **fields})
    lead = await settled(rig, id_)
    assert lead["enrichment_status"] == "completed"
    return lead


async def retrying(rig: Rig, id_: str, failing: str, **fields: Any) -> Document:
    """A new lead that waits, because Hunter does not answer when asked about `failing`."""
    rig.simulator.inject("server_error", vendor="hunter", question=failing)
    await rig.leads.insert_one({"_id": id_, **fields})
    lead = await settled(rig, id_)
    assert lead["enrichment_status"] == "retrying"
    rig.simulator.faults.clear()
    return lead


async def due(rig: Rig, id_: str, **changed: Any) -> Document:
    """A writer corrects a waiting lead, and its time comes."""
    past = {"enrichment.due_at": datetime.now(UTC) - timedelta(hours=1)}
    await rig.leads.update_one({"_id": id_}, {"$set": {**changed, **past}})
    return await settled(rig, id_)


async def asked_anew(rig: Rig, id_: str, **changed: Any) -> Document:
    wish = {**changed, "enrichment_status": "pending"}
    await rig.leads.update_one({"_id": id_}, {"$set": wish})
    return await settled(rig, id_)


async def replaced(rig: Rig, lead: Document, **changed: Any) -> Document:
    """By an object mapper, with its copy of the lead."""
    await rig.leads.replace_one({"_id": lead["_id"]}, {**lead, **changed})
    return await settled(rig, lead["_id"])


def without(lead: Document, *names: str) -> Document:
    return {name: value for name, value in lead.items() if name not in names}


def company_of(lead: Document) -> str | None:
    found: Document | None = lead["enriched_data"]["company_data"]
    return found["domain"] if found else None


def holds(lead: Document, person: str) -> bool:
    """Whether anything about the person is on it, besides what its writer says."""
    return person in str(lead["enriched_data"]).lower() or person in str(lead["enrichment"]).lower()


def metadata(lead: Document) -> Document:
    known: Document = lead["enriched_data"]["enrichment_metadata"]
    return known


# -- while it waits ----------------------------------------------------------------------------


async def test_a_corrected_domain_is_asked_about_though_the_mistyped_one_was_not_known(
    rig: Rig, daemon: Daemon
) -> None:
    typo, right = domain("unknown"), domain()
    waiting = await retrying(rig, "typo", typo, company_domain=typo)
    assert waiting["enrichment"]["answered"] == {"clearbit": "not_found"}
    lead = await due(rig, "typo", company_domain=right)
    assert (lead["enrichment_status"], company_of(lead)) == ("completed", right)
    assert metadata(lead)["sources_not_found"] == []
    assert rig.questions(right)["clearbit", right] == 1


async def test_a_corrected_address_leaves_the_company_and_who_told_of_it(
    rig: Rig, daemon: Daemon
) -> None:
    company = domain()
    pat, bob = at(company), at(company, "bob.builder")
    waiting = await retrying(rig, "colleague", pat, email=pat)
    assert company_of(waiting) == company
    lead = await due(rig, "colleague", email=bob)
    assert (lead["enrichment_status"], company_of(lead)) == ("completed", company)
    assert not holds(lead, "pat")
    assert holds(lead, "bob")
    assert rig.questions(company)["clearbit", company] == 1


async def test_a_corrected_question_has_all_its_attempts(rig: Rig, daemon: Daemon) -> None:
    typo, right = domain(), domain()
    await retrying(rig, "attempts", at(typo), email=at(typo))
    await rig.leads.update_one({"_id": "attempts"}, {"$set": {"enrichment.attempts": 3}})
    rig.simulator.inject("server_error", vendor="hunter", question=at(right))
    lead = await due(rig, "attempts", email=at(right))
    rig.simulator.faults.clear()
    assert (lead["enrichment_status"], lead["enrichment"]["attempts"]) == ("retrying", 1)


async def test_a_corrected_domain_does_not_throw_the_person_away(rig: Rig, daemon: Daemon) -> None:
    old, typo, right = domain(), domain("unknown"), domain()
    pat = at(old)
    waiting = await retrying(rig, "moved", typo, email=pat, company_domain=typo)
    person = waiting["enriched_data"]["person_data"]
    assert person["full_name"]
    lead = await due(rig, "moved", company_domain=right)
    assert company_of(lead) == right
    assert lead["enriched_data"]["person_data"]["full_name"] == person["full_name"]
    asked = [each.route for each in rig.simulator.journal if each.question == pat]
    assert sorted(asked) == sorted(set(asked))


@pytest.mark.parametrize("spelling", ["{}+spring@{}", "Pat <{}@{}>", "mailto:{}@{}"])
async def test_another_spelling_is_the_same_and_asks_nobody_again(
    rig: Rig, daemon: Daemon, spelling: str
) -> None:
    company = domain()
    local, host = "pat.example", company.upper()
    await retrying(rig, spelling, at(company), email=at(company))
    before = rig.questions(company)
    lead = await due(rig, spelling, email=spelling.format(local, host))
    assert (lead["enrichment_status"], company_of(lead)) == ("completed", company)
    assert metadata(lead)["sources_used"][:1] == ["clearbit"]
    assert rig.questions(company) == before


@pytest.mark.parametrize("before", [None, {"notes": "a writer's"}])
async def test_what_a_copy_from_before_took_away_is_found_again_at_no_cost(
    rig: Rig, daemon: Daemon, before: object
) -> None:
    company, id_ = domain(), f"taken away {before}"
    waiting = await retrying(rig, id_, at(company), email=at(company))
    assert waiting["enrichment"]["answered"]["clearbit"] == "found"
    lead = await due(rig, id_, enriched_data=before)
    assert (lead["enrichment_status"], company_of(lead)) == ("completed", company)
    assert rig.questions(company)["clearbit", company] == 1


# -- after it was done -------------------------------------------------------------------------


@pytest.mark.parametrize("lost", [(), ("enrichment",)], ids=["whole", "without enrichment"])
async def test_whoever_takes_a_leads_place_gets_nothing_of_it(
    rig: Rig, daemon: Daemon, lost: tuple[str, ...]
) -> None:
    company, unknown = domain(), domain("unknown")
    old = await completed(rig, f"place {lost}", email=at(company))
    assert holds(old, "pat")
    bobs = at(unknown, "bob.builder")
    lead = await replaced(rig, without(old, *lost), email=bobs, enrichment_status="pending")
    assert (lead["enrichment_status"], company_of(lead)) == ("completed", None)
    assert not holds(lead, "pat")
    assert company not in str(lead["enriched_data"])


@pytest.mark.parametrize("now", ["bob.builder@{}", "", "bob.builder@mailinator.com"])
async def test_data_that_lost_every_proof_goes_where_it_names_another_company(
    rig: Rig, daemon: Daemon, now: str
) -> None:
    """A model that knows neither of our two fields of book-keeping."""
    company, unknown, id_ = domain(), domain("unknown"), f"typed {now}"
    old = await completed(rig, id_, email=at(company))
    data = without(old["enriched_data"], "enrichment_metadata")
    bare = without(old, "enrichment") | {"enriched_data": data}
    lead = await replaced(rig, bare, email=now.format(unknown), enrichment_status="pending")
    assert company_of(lead) is None
    assert not holds(lead, "pat")


async def test_a_colleague_gets_no_data_that_lost_every_proof(rig: Rig, daemon: Daemon) -> None:
    company = domain()
    old = await completed(rig, "colleagues", email=at(company))
    data = without(old["enriched_data"], "enrichment_metadata")
    bare = without(old, "enrichment") | {"enriched_data": data}
    bob = at(company, "bob.builder")
    lead = await replaced(rig, bare, email=bob, enrichment_status="pending")
    assert (company_of(lead), holds(lead, "pat")) == (company, False)
    assert rig.questions(company)["clearbit", company] == 1


async def test_a_result_that_is_refused_leaves_nothing_of_somebody_else(own_rig: Rig) -> None:
    rig, one, other = own_rig, domain(), domain()
    async with rig.daemon(**SETTINGS) as daemon:
        await daemon.wait_for_event("stream.opened")
        await completed(rig, "refused", email=at(one))
        never = {"enriched_data.company_data.domain": {"$ne": other}}
        await rig.database.command("collMod", "leads", validator=never)
        theirs = {"enriched_data.score_of_sales": 7}
        await rig.leads.update_one({"_id": "refused"}, {"$set": theirs})
        lead = await asked_anew(rig, "refused", email=at(other, "bob.builder"))
        await daemon.wait_for_event("settle.refused")
    assert lead["enrichment_status"] == "failed"
    assert "validator" in lead["enrichment_error"]
    assert (company_of(lead), holds(lead, "pat")) == (None, False)
    assert lead["enriched_data"]["score_of_sales"] == 7


async def test_data_written_back_from_an_old_copy_is_not_taken_for_the_new_persons(
    rig: Rig, daemon: Daemon
) -> None:
    company, unknown = domain(), domain("unknown")
    old = await completed(rig, "stale", email=at(company))
    await asked_anew(rig, "stale", email=at(unknown, "bob.builder"))
    lead = await asked_anew(rig, "stale", enriched_data=old["enriched_data"])
    assert company_of(lead) is None
    assert not holds(lead, "pat")


async def test_a_lead_that_is_set_back_has_its_own_data_again_and_costs_nothing(
    rig: Rig, daemon: Daemon
) -> None:
    one, other = domain(), domain()
    first = await completed(rig, "back", email=at(one))
    before = rig.questions(one, at(one))
    between = await asked_anew(rig, "back", email=at(other, "bob.builder"))
    assert (company_of(between), holds(between, "pat")) == (other, False)
    last = await asked_anew(rig, "back", email=at(one))
    for section in ("company_data", "person_data", "email_verification", "social_profiles"):
        assert last["enriched_data"][section] == first["enriched_data"][section]
    assert metadata(last)["subject"] == metadata(first)["subject"]
    assert rig.questions(one, at(one)) == before


async def test_an_address_that_is_taken_away_takes_the_person_along(
    rig: Rig, daemon: Daemon
) -> None:
    company = domain()
    await completed(rig, "no longer", email=at(company), company_domain=company)
    lead = await asked_anew(rig, "no longer", email=None)
    assert company_of(lead) == company
    assert not holds(lead, "pat")
    assert metadata(lead)["subject"]["mailbox"] is None


async def test_a_lead_that_names_nobody_any_more_holds_nobodys_data(
    rig: Rig, daemon: Daemon
) -> None:
    company = domain()
    old = await completed(rig, "nobody", email=at(company))
    lead = await replaced(
        rig, without(old, "email"), enrichment_status="pending", notes="an empty form"
    )
    assert lead["enrichment_status"] == "skipped"
    assert company_of(lead) is None
    assert not holds(lead, "pat")


async def test_what_others_put_beside_the_data_stays_whoever_it_is_about(
    rig: Rig, daemon: Daemon
) -> None:
    company, other = domain(), domain()
    await completed(rig, "beside", email=at(company))
    theirs = {"enriched_data.score_of_sales": 7, "enriched_data.company_data.owner": "Carol"}
    await rig.leads.update_one({"_id": "beside"}, {"$set": theirs})
    lead = await asked_anew(rig, "beside", email=at(other, "bob.builder"))
    assert lead["enriched_data"]["score_of_sales"] == 7
    assert lead["enriched_data"]["company_data"]["owner"] == "Carol"
    assert (company_of(lead), holds(lead, "pat")) == (other, False)


# -- while it is in work -----------------------------------------------------------------------


@pytest.mark.parametrize("lost", [(), ("enrichment",)], ids=["whole", "without enrichment"])
async def test_a_lead_that_is_replaced_in_work_is_enriched_as_what_it_is_now(
    rig: Rig, daemon: Daemon, lost: tuple[str, ...]
) -> None:
    company, unknown, id_ = domain(), domain("unknown"), f"in work {lost}"
    old = await completed(rig, id_, email=at(company))
    slow = rig.simulator.inject("latency", vendor="hunter", question=at(company, "eve"), seconds=1)
    asked = len(rig.simulator.journal.calls(vendor="hunter"))
    await rig.leads.update_one(
        {"_id": id_}, {"$set": {"email": at(company, "eve"), "enrichment_status": "pending"}}
    )
    await rig.simulator.journal.until(
        lambda: len(rig.simulator.journal.calls(vendor="hunter")) > asked
    )
    bob = at(unknown, "bob.builder")
    lead = await replaced(rig, without(old, *lost), email=bob, enrichment_status="pending")
    rig.simulator.faults.remove(slow)
    assert (lead["enrichment_status"], company_of(lead)) == ("completed", None)
    assert not holds(lead, "pat")
    assert not holds(lead, "eve")


# -- what an older version left ----------------------------------------------------------------

OLDER: Document = {
    "company_data": {"name": "Huntco", "phone": "+1 555 0100"},
    "person_data": {"full_name": "Pat Example", "bio": "Likes boats"},
    "email_verification": {"status": "valid"},
    "enrichment_metadata": {
        "provenance": {
            "company_data": {"name": "clearbit", "phone": "clearbit"},
            "person_data": {"full_name": "hunter_person", "bio": "hunter_person"},
            "email_verification": {"status": "hunter"},
        }
    },
}


@pytest.mark.parametrize("is_same", [True, False])
async def test_an_older_versions_mark_proves_whose_the_data_is(
    rig: Rig, daemon: Daemon, *, is_same: bool
) -> None:
    company = domain("unknown")
    now = at(company) if is_same else at(company, "bob.builder")
    book = {"subject": older_mark(at(company), company)}
    id_ = f"older {is_same}"
    await rig.leads.insert_one(
        {
            "_id": id_,
            "email": now,
            "enrichment_status": "pending",
            "enrichment": book,
            "enriched_data": OLDER,
        }
    )
    lead = await settled(rig, id_)
    assert lead["enrichment_status"] == "completed"
    assert holds(lead, "likes boats") is is_same
    assert ((lead["enriched_data"]["company_data"] or {}).get("name") == "Huntco") is is_same
    assert metadata(lead)["subject"] == lead["enrichment"]["subject"]


async def test_data_of_ours_that_nothing_proves_is_found_anew(rig: Rig, daemon: Daemon) -> None:
    company = domain()
    lead = {"_id": "unproven", "email": at(company), "enrichment_status": "pending"}
    await rig.leads.insert_one({**lead, "enriched_data": {**OLDER, "notes": "a writer's"}})
    found = await settled(rig, "unproven")
    assert (company_of(found), holds(found, "likes boats")) == (company, False)
    assert found["enriched_data"]["notes"] == "a writer's"


# -- between two daemons -----------------------------------------------------------------------


@pytest_asyncio.fixture(loop_scope="module")
async def own_rig(mongodb_uri: str) -> AsyncIterator[Rig]:
    """Whose daemons come and go."""
    async with open_rig(mongodb_uri) as opened:
        yield opened


@pytest.mark.parametrize("is_killed", [True, False], ids=["killed", "drained"])
@pytest.mark.parametrize("change", ["mailbox", "company", "both", "spelling"])
async def test_who_takes_a_lead_over_goes_on_with_what_is_about_the_same(
    own_rig: Rig, change: str, *, is_killed: bool
) -> None:
    """What one vendor found was kept while the other took long, and then the process ended."""
    rig, old, new = own_rig, domain(), domain()
    changes = {
        "mailbox": (at(old, "bob.builder"), old),
        "company": (at(old), new),
        "both": (at(new, "bob.builder"), new),
        "spelling": (f"mailto:PAT.Example+x@{old}", f"https://www.{old}/about"),
    }
    email, company = changes[change]
    settings = SETTINGS | {"ENRICHER_LEASE_SECONDS": 2, "ENRICHER_SHUTDOWN_GRACE_SECONDS": 1}
    rig.simulator.inject("hang", vendor="hunter", question=at(old))
    async with rig.daemon(**settings | {"ENRICHER_LEAD_TIMEOUT_SECONDS": 60}) as first:
        await first.wait_for_event("stream.opened")
        await rig.leads.insert_one({"_id": 1, "email": at(old), "company_domain": old})
        await eventually(lambda: _is_kept(rig))
        if is_killed:
            first.kill()
        else:
            first.terminate()
        await first.wait()
    rig.simulator.faults.clear()
    await rig.leads.update_one({"_id": 1}, {"$set": {"email": email, "company_domain": company}})
    async with rig.daemon(**settings):
        lead = await settled(rig, 1)
    assert lead["enrichment_status"] == "completed"
    assert company_of(lead) == (new if new in company else old)
    assert holds(lead, "bob" if "bob" in email else "pat")
    assert not holds(lead, "pat" if "bob" in email else "bob")
    assert rig.questions(old)["clearbit", old] == 1


async def _is_kept(rig: Rig) -> bool:
    lead = await rig.lead(1)
    return "clearbit" in lead.get("enrichment", {}).get("answered", {})
