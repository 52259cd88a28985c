"""A daemon on a collection of another shape: its file says where things are, and it is enriched like any other."""

from __future__ import annotations

from pathlib import Path

from enricher.errors import ExitCode
from tests.support.processes import Daemon
from tests.support.rig import Rig, address, domain, open_rig

CONFIG = """
[[source]]
collection = "leads"
account = "workspace.id"
priority = "heat"

[source.read]
email = ["contact.primary", "contact.addresses[verified=true].address"]
name = "{contact.first} {contact.last}"
website = "links[label=site].href"
job_title = "contact.position"
"""


async def _said(rig: Rig, config: Path, *arguments: str) -> str:
    env = {**rig.environment(), "ENRICHER_CONFIG": str(config)}
    async with Daemon(*arguments, env=env) as command:
        assert await command.wait() == ExitCode.OK, command.stdout
        return command.stdout


async def test_a_lead_of_another_shape_is_enriched_explained_and_sampled(
    mongodb_uri: str, tmp_path: Path
) -> None:
    config = tmp_path / "crm.toml"
    config.write_text(CONFIG)
    work, site, corrected = address(), domain(), address()
    contact = {
        "primary": " ",
        "first": "Ada",
        "last": "Lovelace",
        "position": ["", "Head of fleet"],
        "addresses": [
            {"address": address(), "verified": False},
            {"address": "ada.lovelace@gmail.com", "verified": True},
            {"address": work, "verified": True},
        ],
    }
    links = [{"label": "blog", "href": domain()}, {"label": "site", "href": f"https://{site}/"}]
    async with open_rig(mongodb_uri, new=True) as rig:
        async with rig.daemon(ENRICHER_CONFIG=config) as daemon:
            await daemon.wait_for_event("history.recorded")
            await rig.leads.insert_one({"_id": 1, "contact": contact, "links": links})
            assert await rig.witness.end_of(1) == "completed"
            lead = await rig.lead(1)
            assert lead["enriched_data"]["company_data"]["domain"] == site
            assert lead["contact"] == contact, "what is the user's stays as it is"
            assert set(rig.questions()) == {("clearbit", site), ("hunter", work)}

            another = {"contact.addresses": [], "contact.primary": corrected}
            await rig.leads.update_one(
                {"_id": 1}, {"$set": {**another, "enrichment_status": "pending"}}
            )
            await rig.witness.until(lambda: len(rig.witness.settles(1)) == 2)
            assert ("hunter", corrected) in rig.questions()
        explained = await _said(rig, config, "explain", corrected)
        assert "completed" in explained
        checked = await _said(rig, config, "check")
    [sample] = [line for line in checked.splitlines() if line.startswith("sample")]
    assert sample.endswith(
        "of the 1 newest documents 1 an e-mail, 1 a company, 1 a person, 0 nothing"
    )
