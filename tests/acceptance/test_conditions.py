"""Who is a lead at all, who may be asked about as a person, and addresses that come later: with a real daemon."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import bson
import pytest

from enricher.errors import ExitCode
from enricher.lead import Document, LeadId
from tests.support.processes import Daemon
from tests.support.rig import Rig, address, domain, open_rig
from tests.support.waiting import eventually

NO_VISITORS: Document = {"status": {"$ne": "deleted"}, "state": {"$ne": "visitor"}}
CONSENT: Document = {"doNotDisturb": {"$ne": "Yes"}}
IN_WORK_SECONDS = 0.4
WITH_PERSONS = '["hunter_company"]'
ADDED_LATER = {"$set": {"email": "ada.lovelace@quokka-later.com"}}


@pytest.fixture
async def slow(mongodb_uri: str) -> AsyncIterator[Rig]:
    """Answers take long enough to do something to a lead meanwhile."""
    async with open_rig(mongodb_uri, latency=IN_WORK_SECONDS) as opened:
        yield opened


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return tmp_path / "enricher.toml"


def describe(config: Path, *lines: str, **keys: Document) -> None:
    """Write down a source with these conditions."""
    conditions = [f"{name} = '{json.dumps(value)}'" for name, value in keys.items()]
    config.write_text("\n".join(["[[source]]", 'collection = "leads"', *lines, *conditions]))


def daemon(rig: Rig, config: Path, *lines: str, off: str | None = None, **keys: Document) -> Daemon:
    """One for a source with these conditions."""
    describe(config, *lines, **keys)
    more = {"ENRICHER_PROVIDERS_OFF": off} if off else {}
    return rig.daemon(ENRICHER_CONFIG=config, **more)


async def raw(rig: Rig, id_: LeadId) -> bytes:
    """The document byte by byte."""
    return bson.encode(await rig.lead(id_))


async def marker(rig: Rig, id_: LeadId) -> None:
    """Insert a lead and wait for its end: everything inserted before it was told of by then."""
    await rig.leads.insert_one({"_id": id_, "email": address()})
    assert await rig.witness.end_of(id_) == "completed"


async def test_an_excluded_document_is_never_written_nor_asked_about(
    rig: Rig, config: Path
) -> None:
    visitor, waiting = address(), address()
    async with daemon(rig, config, only=NO_VISITORS) as running:
        await running.wait_for_event("history.recorded")
        await rig.leads.insert_one({"_id": "visitor", "email": visitor, "state": "visitor"})
        pending = {"email": waiting, "state": "visitor", "enrichment_status": "pending"}
        await rig.leads.insert_one({"_id": "waiting", **pending})
        before = [await raw(rig, "visitor"), await raw(rig, "waiting")]
        await marker(rig, "lead")
        assert [await raw(rig, "visitor"), await raw(rig, "waiting")] == before
        assert rig.questions(visitor, waiting) == {}
        # It is looked at again when a field of the condition changes.
        await rig.leads.update_one({"_id": "visitor"}, {"$set": {"state": "lead"}})
        assert await rig.witness.end_of("visitor") == "completed"
        await rig.leads.update_one({"_id": "waiting"}, {"$unset": {"state": ""}})
        assert await rig.witness.end_of("waiting") == "completed"


async def test_a_lead_that_is_withdrawn_in_work_is_left_as_it_stands(
    slow: Rig, config: Path
) -> None:
    company = domain()
    async with daemon(slow, config, only=NO_VISITORS, off='["hunter_person"]') as running:
        await running.wait_for_event("history.recorded")
        await slow.leads.insert_one({"_id": 1, "company_domain": company})
        await slow.simulator.journal.until(lambda: len(slow.simulator.journal) > 0)
        await slow.leads.update_one({"_id": 1}, {"$set": {"status": "deleted"}})
        before, asked = await raw(slow, 1), len(slow.simulator.journal)
        event = await running.wait_for_event("lead.not_written")
        assert "withdrawn" in str(event)
        assert await raw(slow, 1) == before
        assert len(slow.simulator.journal) == asked


async def test_consent_that_is_withdrawn_stops_the_next_question_about_the_person(
    slow: Rig, config: Path
) -> None:
    unknown = address("unknown")

    def of_persons() -> list[str]:
        return [each.route for each in slow.simulator.journal if _is_about_person(each.route)]

    async with daemon(slow, config, person_only=CONSENT, off=WITH_PERSONS) as running:
        await running.wait_for_event("history.recorded")
        await slow.leads.insert_one({"_id": "closed", "email": address(), "doNotDisturb": "Yes"})
        assert await slow.witness.end_of("closed") == "completed"
        assert of_persons() == []
        skipped = (await slow.lead("closed"))["enriched_data"]["enrichment_metadata"]
        assert "the lead may not be asked about as a person" in skipped["sources_skipped"].values()
        await slow.leads.insert_one({"_id": "open", "email": unknown})
        await slow.simulator.journal.until(lambda: len(of_persons()) == 1)
        await slow.leads.update_one({"_id": "open"}, {"$set": {"doNotDisturb": "Yes"}})
        assert await slow.witness.end_of("open") in ("completed", "failed")
        assert len(of_persons()) == 1


def _is_about_person(route: str) -> bool:
    return "person" in route or "people" in route


async def test_narrowing_and_widening_cost_nothing_by_themselves(rig: Rig, config: Path) -> None:
    visitor, waiting = address(), address()
    async with daemon(rig, config, only=NO_VISITORS) as first:
        await first.wait_for_event("history.recorded")
        await rig.leads.insert_one({"_id": "visitor", "email": visitor, "state": "visitor"})
        pending = {"email": waiting, "state": "visitor", "enrichment_status": "pending"}
        await rig.leads.insert_one({"_id": "waiting", **pending})
        await marker(rig, "first")
    before = [await raw(rig, "visitor"), await raw(rig, "waiting")]
    missed = {"_id": "missed", "email": address()}
    await rig.leads.insert_one(missed)
    for number, condition in enumerate([{}, NO_VISITORS, {"status": {"$ne": "deleted"}}]):
        searched = await _searched_at(rig)
        async with daemon(rig, config, only=condition) as running:
            # What was inserted while there was no daemon is a lead by both conditions.
            assert await rig.witness.end_of("missed") == "completed"
            await marker(rig, f"later {number}")
            await running.wait_for_event("stream.opened")
            if running.events("stream.opened", start="time"):  # the whole collection is searched
                await eventually(partial(_is_searched, rig, searched))
    assert [await raw(rig, "visitor"), await raw(rig, "waiting")] == before
    assert rig.questions(visitor, waiting) == {}
    assert rig.asked_twice() == {}


async def _searched_at(rig: Rig) -> object:
    found = await rig.database["enricher_checkpoints"].find_one({"_id": "leads"})
    return (found or {}).get("searched_at")


async def _is_searched(rig: Rig, since: object) -> bool:
    return await _searched_at(rig) != since


async def test_a_lead_without_an_address_is_enriched_when_it_gets_one(rig: Rig) -> None:
    async with rig.daemon() as running:
        await running.wait_for_event("history.recorded")
        await rig.leads.insert_one({"_id": "visitor", "name": "Visitor 1"})
        assert await rig.witness.end_of("visitor") == "skipped"
        rig.witness.forget("visitor")
        await rig.leads.update_one({"_id": "visitor"}, {"$set": {"name": "Ada"}})
        await rig.leads.update_one({"_id": "visitor"}, ADDED_LATER)
        assert await rig.witness.end_of("visitor") == "completed"
        rig.witness.forget("visitor")
        # Another address of a lead that is done is its writer's business.
        await rig.leads.update_one({"_id": "visitor"}, {"$set": {"email": address()}})
        await marker(rig, "later")
        assert rig.witness.statuses("visitor") == []


async def test_a_lead_is_asked_about_again_when_it_is_about_somebody_else(
    rig: Rig, config: Path
) -> None:
    old, new = domain(), domain()
    async with daemon(rig, config, "rerun_on_change = true") as running:
        await running.wait_for_event("history.recorded")
        await rig.leads.insert_one({"_id": 1, "company_domain": old})
        assert await rig.witness.end_of(1) == "completed"
        rig.witness.forget(1)
        await rig.leads.update_one({"_id": 1}, {"$set": {"company_domain": f"https://{old}/"}})
        await marker(rig, "later")
        assert rig.witness.statuses(1) == []
        await rig.leads.update_one({"_id": 1}, {"$set": {"company_domain": new}})
        assert await rig.witness.end_of(1) == "completed"
        assert (await rig.lead(1))["enriched_data"]["company_data"]["domain"] == new
        assert rig.asked_twice() == {}


@pytest.mark.parametrize("named", [("--id", "visitor"), ("--email", "v@quokka-freight.com")])
async def test_a_command_that_names_an_excluded_document_says_that_a_condition_may_be_why(
    rig: Rig, config: Path, named: tuple[str, str]
) -> None:
    describe(config, only=NO_VISITORS)
    visitor = {"_id": "visitor", "email": "v@quokka-freight.com", "state": "visitor"}
    await rig.leads.insert_one(visitor)
    environment = rig.environment() | {"ENRICHER_CONFIG": str(config)}
    async with Daemon("reenrich", *named, env=environment) as command:
        await command.wait()
    assert command.process.returncode == ExitCode.UNEXPECTED
    assert command.stdout.startswith("No lead has this ")
    assert "What does not meet `only` is no lead: see `enricher explain`" in command.stdout
    assert len(command.stdout.splitlines()) == 1
    assert await rig.lead("visitor") == visitor


async def test_only_the_kinds_that_are_wanted_are_asked_for(rig: Rig, config: Path) -> None:
    asked = address()
    async with daemon(rig, config, 'kinds = ["company"]') as running:
        await running.wait_for_event("history.recorded")
        await rig.leads.insert_one({"_id": 1, "email": asked})
        assert await rig.witness.end_of(1) == "completed"
    assert {vendor for vendor, _ in rig.questions()} == {"clearbit"}
    skipped = (await rig.lead(1))["enriched_data"]["enrichment_metadata"]["sources_skipped"]
    assert skipped["hunter"] == skipped["local"] == "not of the kinds that are asked for"


async def test_a_condition_that_the_server_refuses_ends_the_start_with_one_line(
    rig: Rig, config: Path
) -> None:
    async with daemon(rig, config, only={"state": {"$nay": "visitor"}}) as refused:
        assert await refused.wait() == ExitCode.SETTINGS
        told = [line for line in map(str, refused.lines) if "MongoDB refuses this filter" in line]
        assert len(told) == 1
    env = rig.environment() | {"ENRICHER_CONFIG": str(config)}
    async with Daemon("check", env=env) as check:
        assert await check.wait(60) == ExitCode.CHECK_FAILED
    [failed] = [line for line in check.stdout.splitlines() if "FAILED" in line]
    assert failed.split(maxsplit=2)[::2] == [
        "conditions",
        "leads, only: MongoDB refuses this filter (code 2)",
    ]


async def test_explain_says_by_which_condition_a_document_is_no_lead(
    rig: Rig, config: Path
) -> None:
    await rig.leads.insert_many(
        [
            {"_id": "visitor", "email": address(), "state": "visitor"},
            {"_id": "lead", "email": address(), "state": "lead"},
        ]
    )
    describe(config, only=NO_VISITORS)
    env = rig.environment() | {"ENRICHER_CONFIG": str(config)}
    for lead, excluded_by in (("visitor", ['{"state": {"$ne": "visitor"}}']), ("lead", [])):
        async with Daemon("explain", lead, "--json", env=env) as command:
            assert await command.wait() == ExitCode.OK
            [told] = json.loads(command.stdout)["leads"]
        assert told["excluded_by"] == excluded_by
    async with Daemon("explain", "visitor", env=env) as command:
        await command.wait()
    lines = [line for line in command.stdout.splitlines() if "only" in line]
    assert "does not meet" in lines[0]
    assert "costs" not in command.stdout
