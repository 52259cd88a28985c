"""A company by its number: asked where the operator wants that, and nothing of its partners anywhere."""

from __future__ import annotations

import json
from pathlib import Path

from bson import json_util

from enricher.simulator.register import PARTNER
from enricher.simulator.server import variables_for_register, variables_for_sites
from tests.support.bodies import cnpj_of
from tests.support.rig import Rig, address, open_rig

CONFIG = """
[[source]]
collection = "leads"

[source.read]
email = "email"
company = "empresa"
cnpj = ["documento", "cnpj"]
"""
OTHER = json.dumps({"cnpj": cnpj_of("123456730001"), "razao_social": "WOMBAT LTDA", "uf": "SP"})
NUMBERS = [cnpj_of(f"{number:08}0001") for number in range(20)]


def _number(email: str) -> str:
    return cnpj_of(f"{email.rpartition('-')[2][:8]}0001")


def _settings(rig: Rig, config: Path) -> dict[str, object]:
    register = {"ENRICHER_CNPJ": "true", "CNPJ_BASE_URL": rig.simulator.register_url}
    return {**register, "CNPJ_RATE_LIMIT": "100000", "ENRICHER_CONFIG": config}


async def test_a_lead_with_a_number_gets_what_the_register_knows_and_nothing_personal(
    mongodb_uri: str, tmp_path: Path
) -> None:
    config, mail = tmp_path / "crm.toml", address()
    config.write_text(CONFIG)
    leads = [{"_id": number, "documento": number} for number in NUMBERS]
    more = [
        {"_id": "mail", "email": mail, "cnpj": NUMBERS[3]},
        {"_id": "wrong", "email": address(), "documento": "19.131.243/0001-98"},
        {"_id": "nothing", "documento": "123.456.789-09"},
    ]
    windows = {"clearbit": (), "hunter": (), "cnpj": ()}
    async with open_rig(mongodb_uri, windows=windows) as rig:
        async with rig.daemon(**_settings(rig, config)) as daemon:
            await daemon.wait_for_event("history.recorded")
            await rig.leads.insert_many([*leads, *more])
            everyone = [lead["_id"] for lead in (*leads, *more)]
            await rig.witness.all_ended(everyone, within=60)
            lines = str(daemon.lines)
        found = {lead["_id"]: lead async for lead in rig.leads.find()}
        kept = await rig.database["enricher_answers"].find().to_list()
        asked = rig.simulator.journal.calls(vendor="cnpj")
    companies = [found[number]["enriched_data"]["company_data"] for number in NUMBERS]
    assert {each["legal_status"] for each in companies if each} == {"active", "closed"}
    assert {type(each["founded_year"]) for each in companies if each} == {int}
    assert {found[number]["enrichment_status"] for number in NUMBERS} == {"completed"}

    both = found["mail"]["enriched_data"]
    assert set(both["enrichment_metadata"]["sources_used"]) >= {"clearbit", "cnpj"}
    origins = both["enrichment_metadata"]["provenance"]["company_data"]
    assert (origins["name"], origins["legal_status"]) == ("clearbit", "cnpj")
    skipped = found["wrong"]["enriched_data"]["enrichment_metadata"]["sources_skipped"]
    assert skipped["cnpj"] == "no CNPJ"
    assert found["nothing"]["enrichment_status"] == "skipped"

    assert sorted(entry.question for entry in asked) == sorted(NUMBERS), "each once"
    for seen in (json_util.dumps(found), json_util.dumps(kept), lines):
        assert PARTNER.lower() not in seen.lower()
    bodies = [each["reply"] for each in kept if each["provider"] == "cnpj"]
    assert len(bodies) == len(NUMBERS)
    assert not any(b"qsa" in bytes(each["body"]) for each in bodies)


async def test_a_number_on_the_companys_own_site_is_looked_up_in_the_same_run(
    mongodb_uri: str,
) -> None:
    firm, person, other = (f"ada@quokka-brasil-1234567{tells}.com.br" for tells in "503")
    async with open_rig(mongodb_uri, windows={"cnpj": (), "clearbit": (), "hunter": ()}) as rig:
        settings = variables_for_sites(rig.simulator) | variables_for_register(rig.simulator)
        rig.simulator.inject(
            "status", vendor="cnpj", question=_number(other), status=200, body=OTHER
        )
        rig.simulator.inject("server_error", vendor="cnpj", question=_number(firm), times=6)
        async with rig.daemon(**settings) as daemon:
            await daemon.wait_for_event("history.recorded")
            await rig.leads.insert_many(
                [{"_id": one, "email": one} for one in (firm, person, other)]
            )
            await rig.witness.all_ended([firm, person, other], within=60)
        found = {one: (await rig.lead(one))["enriched_data"] for one in (firm, person, other)}
        kept = json_util.dumps(await rig.database["enricher_answers"].find().to_list())
    origins = found[firm]["enrichment_metadata"]["provenance"]["company_data"]
    assert origins["legal_status"] == origins["founded_year"] == "cnpj", "also at a later attempt"
    assert found[firm]["company_data"]["country_code"] == "BR"
    for one in (person, other):
        assert "legal_status" not in found[one]["company_data"]
        assert "cnpj" in found[one]["enrichment_metadata"]["sources_not_found"]
    for seen in (json_util.dumps(found), kept):
        assert PARTNER.lower() not in seen.lower()


async def test_without_the_switch_no_number_leaves_the_house(
    mongodb_uri: str, tmp_path: Path
) -> None:
    config = tmp_path / "crm.toml"
    config.write_text(CONFIG)
    async with open_rig(mongodb_uri) as rig:
        settings = {**_settings(rig, config), "ENRICHER_CNPJ": "false"}
        async with rig.daemon(**settings) as daemon:
            await daemon.wait_for_event("history.recorded")
            leads = [{"_id": 1, "cnpj": NUMBERS[0]}, {"_id": 2, "email": address()}]
            await rig.leads.insert_many(leads)
            await rig.witness.all_ended([1, 2])
        assert (await rig.lead(1))["enrichment_status"] == "skipped"
        told = (await rig.lead(2))["enriched_data"]["enrichment_metadata"]["sources_skipped"]
        assert "cnpj" not in told
        assert rig.simulator.journal.calls(vendor="cnpj") == []
