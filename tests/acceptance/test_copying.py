"""Found values that are copied into the user's own fields: written once, never fed back, gone with the person."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from enricher.errors import ExitCode
from tests.support.processes import Daemon
from tests.support.rig import Rig, domain, open_rig

CONFIG = """
[[source]]
collection = "leads"
rerun_on_change = true

[source.read]
email = "mail"
website = ["site", "links.site"]
company = "firm.name"

[source.copy]
"company_data.domain" = { to = "site" }
"company_data.name" = { to = "firm.name" }
"company_data.employee_count" = { to = "size", policy = "fill", type = "text" }
"person_data.full_name" = { to = "who", policy = "always" }
"company_data.industry" = { to = "tags.first" }
"""
PERSONS = {"ENRICHER_PROVIDERS_OFF": '["hunter_company", "clearbit_person"]'}


async def said(rig: Rig, config: Path, *arguments: str) -> str:
    env = {**rig.environment(), **PERSONS, "ENRICHER_CONFIG": str(config)}
    async with Daemon(*arguments, env=env) as command:
        assert await command.wait(60) == ExitCode.OK, command.stdout
        return command.stdout


async def settled_again(rig: Rig, **change: Any) -> dict[str, Any]:
    rig.witness.forget(1)
    await rig.leads.update_one({"_id": 1}, {"$set": change})
    assert await rig.witness.end_of(1) == "completed"
    return await rig.lead(1)


async def test_what_is_copied_moves_on_is_never_an_input_and_goes_with_the_person(
    mongodb_uri: str, tmp_path: Path
) -> None:
    config = tmp_path / "crm.toml"
    config.write_text(CONFIG)
    host, other = domain(), domain()
    mail = f"ada.lovelace@{host}"
    async with open_rig(mongodb_uri) as rig:
        async with rig.daemon(ENRICHER_CONFIG=config, **PERSONS) as daemon:
            await daemon.wait_for_event("history.recorded")
            await rig.leads.insert_one({"_id": 1, "mail": mail, "tags": ["vip"]})
            assert await rig.witness.end_of(1) == "completed"
            lead = await rig.lead(1)
            company = lead["enriched_data"]["company_data"]
            assert lead["site"] == host
            assert lead["firm"] == {"name": company["name"]}
            assert lead["size"] == str(company["employee_count"])
            assert lead["who"] == lead["enriched_data"]["person_data"]["full_name"]
            assert lead["tags"] == ["vip"]

            asked = rig.questions()
            for _ in range(2):
                again = await settled_again(rig, enrichment_status="pending")
                assert again["enrichment"]["subject"] == lead["enrichment"]["subject"]
            assert rig.questions() == asked, "our own copies ask for nothing"

            moved = await settled_again(rig, site=f"https://{other}/")
            assert moved["enriched_data"]["company_data"]["domain"] == other
            assert moved["site"] == f"https://{other}/", "a person's own"
            assert moved["firm"]["name"] == moved["enriched_data"]["company_data"]["name"]
            assert rig.questions() - asked == {("clearbit", other): 1}
        explained = await said(rig, config, "explain", mail)
        assert "not copied: what it stands in is no object" in explained
        checked = await said(rig, config, "check")
        [copies] = [line for line in checked.splitlines() if line.startswith("copies")]
        assert "company_data.domain to site (tracked)" in copies
        assert "tags.first (tracked), in no object on 1 of 1" in copies
        person = moved["enriched_data"]["person_data"]["full_name"]
        await said(rig, config, "forget", mail)
        forgotten = await rig.lead(1)
        assert forgotten["enrichment_status"] == "skipped"
        assert "who" not in forgotten
        assert person not in str(forgotten)
        assert forgotten["firm"] == moved["firm"]


async def test_a_copy_onto_what_decides_who_is_a_lead_ends_the_start_with_one_line(
    tmp_path: Path,
) -> None:
    config = tmp_path / "crm.toml"
    config.write_text(
        '[[source]]\ncollection = "a"\nonly = \'{"state": {"$ne": "gone"}}\'\n'
        'copy."person_data.state" = { to = "state" }\n'
    )
    env = {"ENRICHER_CONFIG": str(config), "MONGODB_URI": "mongodb://127.0.0.1:9/"}
    async with Daemon("run", env=env) as refused:
        assert await refused.wait() == ExitCode.SETTINGS
        told = [line for line in map(str, refused.lines) if "source 1" in line]
        assert len(told) == 1
        assert "copy.person_data.state: expected a field that only does not read" in told[0]
