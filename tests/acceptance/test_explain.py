"""`explain` as an operator meets it: what a real daemon decided is what the command tells."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from enricher.errors import ExitCode
from enricher.lead import Document, Reason
from tests.support.processes import Daemon
from tests.support.rig import Rig, address, open_rig


@pytest.fixture
async def rig(mongodb_uri: str) -> AsyncIterator[Rig]:
    async with open_rig(mongodb_uri) as made:
        yield made


async def _said(rig: Rig, *arguments: str, code: ExitCode = ExitCode.OK) -> str:
    async with Daemon("explain", *arguments, env=rig.environment()) as command:
        assert await command.wait() == code
        return command.stdout


async def _told(rig: Rig, *arguments: str) -> list[dict[str, Any]]:
    found = json.loads(await _said(rig, *arguments, "--json"))
    leads: list[dict[str, Any]] = found["leads"]
    return leads


def _providers(lead: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {each["provider"]: each for each in lead["providers"]}


async def _everything(rig: Rig) -> dict[str, list[Document]]:
    names = sorted(await rig.database.list_collection_names())
    return {name: await rig.database[name].find().sort("_id", 1).to_list() for name in names}


async def test_what_a_daemon_decided_is_told_for_leads_of_every_fate(rig: Rig) -> None:
    ada, bob = address(), address()
    await rig.leads.insert_one({"_id": "old", "email": address()})
    async with rig.daemon(HUNTER_DAILY_BUDGET=1) as daemon:
        await daemon.wait_for_event("history.recorded")
        await rig.leads.insert_one({"_id": "completed", "email": ada})
        assert await rig.witness.end_of("completed") == "completed"
        await rig.leads.insert_many(
            [
                {"_id": "held", "email": bob},
                {"_id": "skipped", "email": "noreply@quokka-freight.com"},
                {"_id": "unknown", "company_domain": "stealth-quokka.com"},
            ]
        )
        assert await rig.witness.end_of("unknown") == "completed"
        assert await rig.witness.end_of("skipped") == "skipped"
        assert (await rig.witness.settle_of("held")).status == "retrying"
        daemon.terminate()
        await daemon.wait()
    before, calls = await _everything(rig), len(rig.simulator.journal)

    [completed] = await _told(rig, ada)
    _is_the_completed_one(completed, await rig.lead("completed"))

    [held] = await _told(rig, "held")
    hunter = _providers(held)["hunter"]
    assert (hunter["decision"], hunter["credits"], hunter["kept"]) == ("held", 0.5, None)
    assert held["next"]["what"].startswith("the next try")  # or it is due by now, on a slow machine
    assert held["who"]["email"] == bob
    assert held["next"]["due_at"] > held["providers"][0]["kept"]["at"]

    [skipped] = await _told(rig, "skipped")
    assert skipped["who"]["reason"] == Reason.SYSTEM_ADDRESS.value
    assert _providers(skipped)["local"]["decision"] == "used"
    assert _providers(skipped)["clearbit"]["decision"] == "skipped"
    assert skipped["next"]["due_at"] is None

    [unknown] = await _told(rig, "unknown")
    clearbit = _providers(unknown)["clearbit"]
    assert (clearbit["decision"], clearbit["why"]) == ("not_found", "no record")

    [old] = await _told(rig, "old")
    assert (old["status"], old["attempts"]) == (None, 0)
    assert "it is history" in old["next"]["what"]

    assert await _everything(rig) == before
    assert len(rig.simulator.journal) == calls


def _is_the_completed_one(told: dict[str, Any], lead: Document) -> None:
    assert told["status"] == "completed"
    assert told["since"] == lead["enriched_at"].isoformat()
    assert told["who"]["from_field"] == "email"
    assert told["next"] == {
        "what": "a refresh",
        "due_at": lead["enrichment"]["due_at"].isoformat(),
    }
    clearbit, off = _providers(told)["clearbit"], _providers(told)["hunter_company"]
    assert (clearbit["decision"], clearbit["kept"]["credits"]) == ("used", 1.0)
    assert clearbit["kept"]["until"] > clearbit["kept"]["at"]
    assert (off["decision"], off["why"]) == ("skipped", "turned off")
    won = {f"{each['section']}.{each['name']}": each["provider"] for each in told["fields"]}
    provenance = lead["enriched_data"]["enrichment_metadata"]["provenance"]
    assert won == {
        f"{section}.{name}": provider
        for section, origins in provenance.items()
        for name, provider in origins.items()
    }
    assert told["score"] == lead["enriched_data"]["enrichment_metadata"]["completeness_score"]


async def test_each_lead_with_an_address_is_explained_in_plain_lines(rig: Rig) -> None:
    await rig.leads.insert_many(
        [
            {"_id": 1, "email": "Ada@Quokka-Freight.com"},
            {"_id": 2, "email": "ada@quokka-freight.com", "enrichment_status": "failed"},
            {"_id": 3, "email": "bob@quokka-freight.com"},
        ]
    )
    said = await _said(rig, "Ada@Quokka-Freight.com")
    assert [line for line in said.splitlines() if line.startswith("lead ")] == ["lead 1", "lead 2"]
    assert "\x1b" not in said
    assert "nothing, until somebody sets it to pending" in said


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("5f" * 12, "No lead has this _id; tried as an ObjectId, then a text"),
        ('{"$gt": 0}', "tried as extended JSON, then a text"),
        ("nobody@quokka-freight.com", "No lead has this address"),
    ],
)
async def test_what_names_no_lead_ends_with_1_and_one_line(
    rig: Rig, typed: str, words: str
) -> None:
    await rig.leads.insert_one({"_id": 1, "email": address()})
    said = await _said(rig, typed, code=ExitCode.UNEXPECTED)
    assert words in said
    assert len(said.splitlines()) == 1
    assert await _said(rig, typed, "--json", code=ExitCode.UNEXPECTED) == ""
