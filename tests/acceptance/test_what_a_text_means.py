"""Who is asked about, and paid for, by a real daemon that is given what people type."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest

from enricher.errors import ExitCode
from tests.support.processes import Daemon
from tests.support.rig import Rig, open_rig

PERSONS = '["hunter_company","clearbit_person"]'
"""Turned off; so persons are Hunter's to know."""
OWN = {
    "ENRICHER_PROVIDERS_OFF": PERSONS,
    "ENRICHER_ROLE_NAMES": '["frota","-info"]',
    "ENRICHER_PLATFORM_DOMAINS": '["quokka-malls.com","-zendesk.com"]',
}

WEB_SITES = {
    "http://wwww.quokka-a.com": "quokka-a.com",
    "https://www.google.com/url?q=https://quokka-b.com": "quokka-b.com",
    "https://web.archive.org/web/2019/http://quokka-c.com": "quokka-c.com",
    "<https://quokka-d.com>": "quokka-d.com",
    "http:\\\\quokka-e.com": "quokka-e.com",
    "https://quokka-f.zendesk.com/hc": "quokka-f.zendesk.com",
    "https://www.google.com/maps/place/Quokka": None,
    "https://lnkd.in/quokka": None,
    "https://www.amazon.com/stores/Quokka": None,
    "https://pt.wikipedia.org/wiki/Quokka": None,
}
"""Of leads at a free-mail service: whom the company provider is asked about."""

E_MAILS = {
    "'ada@quokka-g.com": "ada@quokka-g.com",
    "\u201cada@quokka-h.com\u201d": "ada@quokka-h.com",
    "SMTP:ada@quokka-i.com": "ada@quokka-i.com",
    "o\u2019neil@quokka-j.com": "o'neil@quokka-j.com",
    "financeiro@quokka-k.com.br": None,
    "buchhaltung@quokka-l.de": None,
}
"""Whom the person provider is asked about."""

NOBODY = {
    "ada_other.com#EXT#@quokka.onmicrosoft.com": "failed",
    "nao-responda@quokka-m.com": "skipped",
    "ne-pas-repondre@quokka-n.com": "skipped",
}
"""No call at all."""


@pytest.fixture
async def rig(mongodb_uri: str) -> AsyncIterator[Rig]:
    async with open_rig(mongodb_uri) as made:
        yield made


def _asked(rig: Rig, vendor: str, route: str = "") -> set[str]:
    return {
        each.question
        for each in rig.simulator.journal
        if each.vendor == vendor and route in each.route
    }


async def test_only_whoever_is_meant_is_asked_about_and_paid_for(rig: Rig) -> None:
    texts = [*WEB_SITES, *E_MAILS, *NOBODY]
    leads = [
        {"_id": text, "email": f"pat.{n}@gmail.com", "website": text}
        for n, text in enumerate(WEB_SITES)
    ]
    leads += [{"_id": text, "email": text} for text in (*E_MAILS, *NOBODY)]
    async with rig.daemon(ENRICHER_PROVIDERS_OFF=PERSONS) as daemon:
        await daemon.wait_for_event("history.recorded")
        await rig.leads.insert_many(leads)
        await rig.witness.all_ended(texts)
    companies = {each for each in WEB_SITES.values() if each}
    hosts = {each.rpartition("@")[2].strip("\u201d") for each in E_MAILS}
    assert _asked(rig, "clearbit") == companies | hosts
    assert _asked(rig, "hunter", "people") == {each for each in E_MAILS.values() if each}
    assert {text: rig.witness.statuses(text)[-1] for text in NOBODY} == NOBODY


async def test_the_operators_words_reach_everything_that_identifies_a_lead(rig: Rig) -> None:
    leads = [
        {"_id": "desk", "email": "frota@quokka-o.com"},
        {"_id": "person", "email": "info@quokka-o.com"},
        {"_id": "tenant", "email": "ada@shop.quokka-malls.com"},
        {"_id": "firm", "email": "ada@help.zendesk.com"},
    ]
    await rig.leads.insert_many(leads)
    environment = rig.environment() | OWN
    async with Daemon("backfill", "--query", "{}", "--dry-run", env=environment) as plan:
        assert await plan.wait() == ExitCode.OK
    rows = {row.split()[0]: row.split()[1:] for row in plan.stdout.splitlines() if row.strip()}
    assert rows["hunter_person"][0] == "3"
    async with rig.daemon(**OWN) as daemon:
        await daemon.wait_for_event("history.recorded")
        await rig.leads.update_many({}, {"$set": {"enrichment_status": "pending"}})
        await rig.witness.all_ended(each["_id"] for each in leads)
    assert _asked(rig, "clearbit") == {"quokka-o.com", "shop.quokka-malls.com", "zendesk.com"}
    assert "frota@quokka-o.com" not in _asked(rig, "hunter", "people")
    assert "info@quokka-o.com" in _asked(rig, "hunter", "people")
    async with Daemon("explain", "--json", "firm", env=environment) as command:
        assert await command.wait() == ExitCode.OK
    assert json.loads(command.stdout)["leads"][0]["who"]["company_domain"] == "zendesk.com"
    async with Daemon("forget", "Ada <ada@help.zendesk.com>", env=environment) as command:
        assert await command.wait() == ExitCode.OK
    assert "leads erased: 1" in command.stdout
    assert "stored answers removed: 2" in command.stdout  # the person and the verdict
