"""Whoever a lead was read as, `forget` and an objection find: by what stands with the data."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

from enricher.errors import ExitCode
from enricher.identity.identify import older_mark
from enricher.lead import Document, Reason
from enricher.privacy.suppression import COLLECTION as SUPPRESSED
from enricher.queue.apart import COLLECTION as FATAL
from enricher.queue.outbox import COLLECTION as EVENTS
from tests.support.processes import Daemon
from tests.support.rig import Rig, domain
from tests.support.waiting import business, eventually

PERSONS = {"ENRICHER_PROVIDERS_OFF": '["hunter_company", "clearbit_person"]'}

SPELLINGS = (
    "jane@{host}",
    "mailto:jane%2Bnews@{host}",
    "mailto:%6Aane@{host}",
    "mailto:jane@{escaped}",
    "Jane Doe <JANE+a+b@{host}>",
    "jane@{ideographic}",
    "jane\uff20{wide}",
    "jane@\uff51{rest}",
    " \u200bjane@{host} ",
)
"""Ways to write one mailbox at a host that begins with a q."""


def spelled(host: str) -> list[str]:
    forms = {
        "host": host,
        "escaped": host.replace(".", "%2E"),
        "ideographic": host.replace(".", "\u3002"),
        "wide": host.replace(".", "\uff0e").upper(),
        "rest": host[1:],
    }
    return [each.format(**forms) for each in SPELLINGS]


@asynccontextmanager
async def at_work(rig: Rig, **settings: object) -> AsyncIterator[Daemon]:
    async with rig.daemon(**PERSONS, **settings) as daemon:
        await daemon.wait_for_event("stream.opened")
        yield daemon


async def forget(rig: Rig, email: str, **env: str) -> str:
    """What the command says."""
    async with Daemon("forget", email, env=rig.environment() | env) as command:
        assert await command.wait(60) == ExitCode.OK
    return command.stdout


def personal(lead: Document) -> list[Any]:
    data = lead["enriched_data"]
    profiles = (data["social_profiles"] or {}).get("person")
    return [each for each in (data["person_data"], data["email_verification"], profiles) if each]


def is_about_nobody(lead: Document) -> bool:
    known = lead["enriched_data"]["enrichment_metadata"]
    noted = (lead["enrichment"].get("subject") or {}).get("mailbox")
    return known["subject"].get("mailbox") is None and noted is None


def told(lead: Document) -> tuple[object, object]:
    return lead["enrichment_status"], lead["enrichment_error"]


SKIPPED = ("skipped", Reason.SUPPRESSED.sentence)


async def test_whoever_was_asked_about_is_forgotten_in_every_spelling(rig: Rig) -> None:
    host = domain()
    leads: list[Document] = [
        {"_id": n, "email": email, "company_domain": domain()}
        for n, email in enumerate(spelled(host))
    ]
    other = {"_id": "other", "email": f"john@{host}"}
    async with at_work(rig):
        await rig.leads.insert_many([*leads, other])
        await rig.witness.all_ended([*range(len(leads)), "other"], within=30)
        asked = {entry.question for entry in rig.simulator.journal if "@" in entry.question}
        assert asked == {f"jane@{host}", f"john@{host}"}
        said = await forget(rig, f"jane@{host}")
    assert f"leads erased: {len(leads)}\n" in said
    found = [await rig.lead(lead["_id"]) for lead in leads]
    assert [told(lead) for lead in found] == [SKIPPED] * len(leads)
    assert [lead["email"] for lead in found if personal(lead) or not is_about_nobody(lead)] == []
    assert all(lead["enriched_data"]["company_data"] for lead in found)
    john = await rig.lead("other")
    assert (john["enrichment_status"], bool(personal(john))) == ("completed", True)


async def test_whose_address_was_changed_or_taken_away_since_is_forgotten(rig: Rig) -> None:
    host, elsewhere = domain(), domain()
    jane = f"jane@{host}"
    changes: list[Document] = [
        {"$set": {"email": f"bob@{host}"}},
        {"$set": {"email": None}},
        {"$unset": {"email": 1}},
        {"$set": {"email": ["jane"], "company_domain": None}},
        {"$set": {"email": f"bob@{host}"}, "$unset": {"enrichment": 1}},
        {"$set": {"email": "", "enrichment": "x", "enrichment_status": "mine"}},
        {"$set": {"email": "bob@x.com"}, "$unset": {"enriched_data.enrichment_metadata": 1}},
        {"$unset": {"email": 1, "enriched_data.enrichment_metadata.subject": 1}},
        {"$set": {"email": "bob@x.com", "enriched_data.enrichment_metadata": "x"}},
    ]
    ids = list(range(len(changes)))
    async with at_work(rig):
        await rig.leads.insert_many(
            {"_id": n, "email": jane, "company_domain": elsewhere} for n in ids
        )
        await rig.witness.all_ended(ids, within=30)
    for n, change in enumerate(changes):
        await rig.leads.update_one({"_id": n}, change)
    before = [await rig.lead(n) for n in ids]
    assert all(personal(lead) for lead in before)
    said = await forget(rig, jane)
    assert "leads erased: 0\n" in said
    assert f"leads with another address by now, erased as well: {len(ids)}\n" in said
    after = [await rig.lead(n) for n in ids]
    assert [n for n in ids if personal(after[n])] == []
    assert [lead["enrichment_status"] for lead in after] == [
        lead["enrichment_status"] for lead in before
    ]
    assert all(lead["enriched_data"]["company_data"] for lead in after)
    assert "erased as well" not in await forget(rig, jane)


async def test_whatever_became_of_the_leads_they_are_erased(rig: Rig) -> None:
    """Retrying with and without data, skipped, wanted again, and one that nobody has worked on."""
    host = domain()
    jane = f"jane@{host}"
    rig.simulator.inject("server_error", vendor="clearbit", question="quokka-down.com")
    leads: list[Document] = [
        {"_id": "retrying", "email": jane, "company_domain": "quokka-down.com"},
        {"_id": "wanted again", "email": jane.upper()},
        {"_id": "plain", "email": jane},
    ]
    settings = {"ENRICHER_RETRY_DELAY_SECONDS": 3600, "ENRICHER_LEAD_TIMEOUT_SECONDS": 3}
    async with at_work(rig, **settings):
        await rig.leads.insert_many(leads)
        for lead in leads:
            await rig.witness.settle_of(lead["_id"])
    assert (await rig.lead("retrying"))["enrichment_status"] == "retrying"
    pending = {"$set": {"enrichment_status": "pending"}}
    await rig.leads.update_one({"_id": "wanted again"}, pending)
    await rig.leads.insert_one({"_id": "new", "email": jane, "notes": "a writer's"})
    assert "leads erased: 3\n" in await forget(rig, jane)
    for lead in leads:
        found = await rig.lead(lead["_id"])
        assert (told(found), personal(found)) == (SKIPPED, [])
    assert await rig.lead("new") == {"_id": "new", "email": jane, "notes": "a writer's"}
    before = len(rig.simulator.journal)
    async with at_work(rig):
        await rig.leads.update_one({"_id": "new"}, pending)
        assert (await rig.witness.settle_of("new")).status == "skipped"
    assert len(rig.simulator.journal) == before


async def test_a_person_is_erased_from_every_collection_that_daemons_work_on(rig: Rig) -> None:
    jane = f"jane@{domain()}"
    customers = rig.database["customers"]
    async with at_work(rig):
        await rig.leads.insert_one({"_id": 1, "email": jane})
        await rig.witness.end_of(1)
        async with rig.daemon(**PERSONS, LEADS_COLLECTION="customers") as second:
            await second.wait_for_event("history.recorded")
            await customers.insert_one({"_id": 1, "email": f" {jane.upper()}"})
            await second.wait_for_event("lead.settled")
    said = await forget(rig, jane)
    assert "looked at: leads, customers\n" in said
    assert "leads erased: 2\n" in said
    for collection in (rig.leads, customers):
        lead = await collection.find_one({"_id": 1})
        assert lead is not None
        assert (told(lead), personal(lead)) == (SKIPPED, [])
    assert "looked at: customers, leads\n" in await forget(rig, jane, LEADS_COLLECTION="customers")
    await customers.drop()
    assert "looked at: leads\n" in await forget(rig, jane)


async def test_events_of_who_is_forgotten_go_though_the_command_has_them_off(rig: Rig) -> None:
    jane = f"jane@{domain()}"
    events = rig.database[EVENTS]
    async with at_work(rig, ENRICHER_EVENTS="true"):
        await rig.leads.insert_many(
            [{"_id": jane, "email": jane}, {"_id": 2, "email": f"bob@{domain()}"}]
        )
        await eventually(lambda: events.find_one({"lead": jane}))
        await eventually(lambda: events.find_one({"lead": 2}))
    await forget(rig, jane)
    assert await events.distinct("lead") == [2]


async def test_what_an_older_version_found_is_erased_also_after_the_address_changed(
    rig: Rig,
) -> None:
    company, host = domain(), domain()
    jane = f"jane@{host}"
    data = {
        "person_data": {"full_name": "Jane"},
        "email_verification": {"status": "valid"},
        "company_data": {"domain": company},
        "social_profiles": {},
        "enrichment_metadata": {"provenance": {"person_data": {"full_name": "hunter_person"}}},
    }
    mark = {"subject": older_mark(jane, company)}
    await rig.leads.insert_many(
        [
            {"_id": "same", "email": f"mailto:%6Aane@{host}", "enriched_data": data},
            {"_id": "changed", "email": "x", "enriched_data": data, "enrichment": mark},
            {"_id": "stranger", "email": f"john@{host}", "enriched_data": data},
        ]
    )
    said = await forget(rig, jane)
    assert "leads erased: 1\n" in said
    assert "erased as well: 1\n" in said
    assert personal(await rig.lead("same")) == personal(await rig.lead("changed")) == []
    assert personal(await rig.lead("stranger"))


async def test_objections_hold_up_nobody_and_reach_what_was_found_before(rig: Rig) -> None:
    """Several at once, beside ordinary leads, over a collection in which reading all takes a while."""
    host, count = domain(), 5  # at more in ten minutes the vendor is held
    persons = [f"p{n}@{host}" for n in range(count)]
    bulk: list[Document] = [
        {"_id": f"bulk {n}", "email": f"b{n}@{host}", "enrichment_status": "skipped"}
        for n in range(20_000)
    ]
    async with at_work(rig, ENRICHER_CACHE_DAYS=0):
        await rig.leads.insert_many(bulk)
        await rig.leads.insert_many(
            {"_id": f"before {n}", "email": email, "company_domain": domain()}
            for n, email in enumerate(persons)
        )
        await rig.witness.all_ended([f"before {n}" for n in range(count)], within=60)
        fault = rig.simulator.inject("claimed_email", question=f"p*@{host}")
        await rig.leads.insert_many(
            {"_id": f"after {n}", "email": email} for n, email in enumerate(persons)
        )
        began = time.monotonic()
        await rig.leads.insert_many(
            {"_id": f"other {n}", "email": f"o@{domain()}"} for n in range(20)
        )
        await asyncio.gather(
            rig.witness.all_ended([f"after {n}" for n in range(count)], within=60),
            rig.witness.all_ended([f"other {n}" for n in range(20)], within=60),
        )
        took = time.monotonic() - began
        rig.simulator.faults.remove(fault)
    assert took < 30 * business()
    for word in ("before", "after"):
        found = [await rig.lead(f"{word} {n}") for n in range(count)]
        assert {told(lead) for lead in found} == {SKIPPED}
        assert [lead["_id"] for lead in found if personal(lead) or not is_about_nobody(lead)] == []
    assert await rig.database[SUPPRESSED].count_documents({"why": {"$exists": True}}) == count


async def test_a_lead_that_is_written_no_more_is_named_and_the_others_are_erased(rig: Rig) -> None:
    host = domain()
    jane = f"jane@{host}"
    async with at_work(rig):
        await rig.leads.insert_many([{"_id": id_, "email": jane} for id_ in ("bad", "good")])
        await eventually(lambda: are_completed(rig, 2), within=30)
    entry = {"_id": {"in": "leads", "of": "bad"}, "losses": 2, "at": datetime.now(UTC)}
    await rig.database[FATAL].insert_one(entry)
    before = await rig.lead("bad")
    async with Daemon("forget", jane, env=rig.environment()) as command:
        assert await command.wait(60) == ExitCode.DATABASE
    assert "leads erased: 1\n" in command.stdout
    assert "because each write to them ended the server: 1;" in str(command.lines)
    assert await rig.lead("bad") == before
    assert (await rig.lead("good"))["enrichment_status"] == "skipped"
    async with Daemon("explain", "bad", env=rig.environment()) as command:
        assert await command.wait(60) == ExitCode.OK
    assert "nobody writes it any more, since" in " ".join(command.stdout.split())


async def are_completed(rig: Rig, leads: int) -> bool:
    return await rig.leads.count_documents({"enrichment_status": "completed"}) == leads
