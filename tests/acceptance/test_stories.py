"""Each story of the demo, lived by the real daemon with all vendors and told by `explain --json`."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import pytest

from enricher.commands.explain import explanations
from enricher.demo.leads import STORIES, odd_lead
from enricher.explain.view import as_json
from enricher.lead import Document
from enricher.settings.load import load
from enricher.simulator import facts
from enricher.simulator.records import company_body
from tests.support.rig import Rig, address, open_rig

SEED = 1
LEADS_SEED = 3
RETRIED = ("vendor down", "retried")
FIRST, COLLEAGUE = "first vendor", "colleague"
"""Besides those of the demo: a company of which Clearbit knows all that is wanted, asked about twice."""
VENDORS = {
    "PDL_API_KEY": "k",
    "APOLLO_API_KEY": "k",
    "PDL_RATE_LIMIT": "1000",
    "APOLLO_RATE_LIMIT": "1000",
    "ENRICHER_PROVIDERS_OFF": '["clearbit_person"]',
    "ENRICHER_RETRY_DELAY_SECONDS": "3600",
}

Told = Mapping[str, Any]


@pytest.fixture
async def rig(mongodb_uri: str) -> AsyncIterator[Rig]:
    async with open_rig(mongodb_uri, seed=SEED) as made:
        yield made


def _leads() -> list[Document]:
    told = [{"_id": story, **_of(story)} for story in STORIES]
    known = _known_to_clearbit()
    colleague = "charles.babbage@" + known.rpartition("@")[2]
    return [*told, {"_id": FIRST, "email": known}, {"_id": COLLEAGUE, "email": colleague}]


def _of(story: str) -> Document:
    """The first lead of this story that all the vendors tell as they should: some matches are poor,
    and some records lack what the story is about."""
    chance = Random(f"{LEADS_SEED} {story}")
    while True:
        lead = odd_lead(story, chance)
        email = str(lead.get("email") or "").strip().lower()
        sure = [facts.likelihood(SEED, each) for each in (email, email.rpartition("@")[2])]
        if min(sure) >= 6:
            return lead


def _known_to_clearbit() -> str:
    while True:
        found = address()
        record = json.loads(company_body(SEED, found.rpartition("@")[2]))
        if record["category"]["industry"] and (record["metrics"] or {}).get("employees"):
            return found


@asynccontextmanager
async def _lived(rig: Rig, leads: list[Document]) -> AsyncIterator[dict[str, Told]]:
    """`_id` -> what `explain --json` has to say, once a daemon was done with all of them."""
    async with rig.daemon(**VENDORS) as daemon:
        await daemon.wait_for_event("history.recorded")
        await rig.leads.insert_many(leads)
        for lead in leads:
            await rig.witness.settle_of(lead["_id"], within=30)
    settings = load(rig.environment() | VENDORS, None)
    told = json.loads(as_json(await explanations(settings, *(lead["_id"] for lead in leads))))
    yield {each["id"]: each for each in told["leads"]}


def _decisions(told: Told, kind: str) -> dict[str, tuple[str, str]]:
    providers = [each for each in told["providers"] if each["kind"] == kind]
    return {each["provider"]: (each["decision"], each["why"]) for each in providers}


def _companies(told: Told) -> list[str]:
    """What became of Clearbit, Hunter, People Data Labs and Apollo, in this order."""
    return [decision for decision, _ in _decisions(told, "company").values()]


def _won(told: Told, field: str) -> tuple[Any, str | None]:
    for each in told["fields"]:
        if f"{each['section']}.{each['name']}" == field:
            return each["value"], each["provider"]
    return None, None


async def test_every_story_of_the_demo_is_what_explain_tells(rig: Rig) -> None:
    async with _lived(rig, _leads()) as told:
        assert {name: each["status"] for name, each in told.items()} == _ENDS
        _a_company_is_whoevers_knows_it_first(told)
        _nobody_is_paid_for_what_is_worth_nothing(told)
        _what_is_about_the_person_is_handled_with_care(told)
        _what_failed_for_now_is_tried_again(told)
    _money_and_limits_were_kept(rig, told)


_ENDS = {
    **dict.fromkeys((*STORIES, FIRST, COLLEAGUE), "completed"),
    **dict.fromkeys(RETRIED, "retrying"),
    **dict.fromkeys(("disposable", "objected", "nothing"), "skipped"),
    "invalid": "failed",
}


def _a_company_is_whoevers_knows_it_first(told: dict[str, Told]) -> None:
    nobody = "not_found"
    assert _companies(told[FIRST]) == ["used", "skipped", "skipped", "skipped"]
    assert _decisions(told[FIRST], "company")["hunter_company"][1] == "nothing was missing"
    assert _companies(told["second vendor"])[:2] == [nobody, "used"]
    assert _companies(told["third vendor"])[:3] == [nobody, nobody, "used"]
    assert _companies(told["last vendor"]) == [nobody, nobody, nobody, "used"]
    assert _companies(told["person only"]) == _companies(told["nobody knows"]) == [nobody] * 4
    winners = {
        FIRST: "clearbit",
        "second vendor": "hunter_company",
        "third vendor": "pdl_company",
        "last vendor": "apollo_company",
        "nobody knows": None,
    }
    assert {name: _won(told[name], "company_data.name")[1] for name in winners} == winners


def _nobody_is_paid_for_what_is_worth_nothing(told: dict[str, Told]) -> None:
    assert told["disposable"]["who"]["reason"] == "disposable_address"
    assert {each["decision"] for each in told["disposable"]["providers"]} == {"skipped", "used"}
    assert _decisions(told["disposable"], "email")["local"] == ("used", "")
    assert told["disposable"]["next"]["what"].startswith("nothing, until somebody")
    private = told["free mail"]
    assert _decisions(private, "company")["clearbit"] == ("skipped", "free-mail domain")
    assert _decisions(private, "person")["hunter_person"] == ("skipped", "free-mail address")
    assert _decisions(private, "email")["hunter"] == ("used", "")
    assert _decisions(told["role"], "person")["hunter_person"] == ("skipped", "role address")
    assert _companies(told["website"])[0] == "used"


def _what_is_about_the_person_is_handled_with_care(told: dict[str, Told]) -> None:
    moved = told["moved on"]
    assert "employer_mismatch" in moved["who"]["traits"]
    assert _won(moved, "person_data.full_name")[0]
    [job] = [each for each in moved["fields"] if each["name"] == "job_title"]
    assert (job["value"], job["why"]) == (None, "the person works for another company by now")
    assert {"hunter_person", "pdl_person"} & job["alternatives"].keys()
    assert _won(moved, "company_data.domain")[0] == moved["who"]["company_domain"]
    objected = told["objected"]
    assert objected["who"]["reason"] == "suppressed"
    assert _decisions(objected, "email")["hunter"][0] == "skipped"
    assert not [each for each in objected["fields"] if each["section"] != "company_data"]
    assert _won(told["person only"], "person_data.full_name")[1] == "hunter_person"


def _what_failed_for_now_is_tried_again(told: dict[str, Told]) -> None:
    down, retried = told["vendor down"], told["retried"]
    assert _companies(down)[:2] == ["failed", "used"]
    assert "clearbit did not answer (503)" in down["error"]
    assert _decisions(retried, "email")["hunter"][0] == "failed"
    assert _companies(retried)[0] == "used"
    for each in (down, retried):
        assert each["next"]["what"] == "the next try"
        assert each["next"]["due_at"]
    assert told["throttled"]["next"]["what"] == "a refresh"


def _money_and_limits_were_kept(rig: Rig, told: dict[str, Told]) -> None:
    journal = rig.simulator.journal
    assert {entry.vendor for entry in journal} == {"clearbit", "hunter", "pdl", "apollo"}
    assert not journal.calls(over_limit=True)
    assert _companies(told[COLLEAGUE]) == _companies(told[FIRST])
    domain = told[FIRST]["who"]["company_domain"]
    assert len([entry for entry in journal if entry.question == domain]) == 1
    throttled = told["throttled"]["who"]["company_domain"]
    statuses = [e.status for e in journal if e.question == throttled and e.vendor == "clearbit"]
    assert statuses == [429, 200]
