"""A vendor's text that would do something to a terminal or a page, on its way through the real daemon."""

from __future__ import annotations

import json
import unicodedata

from enricher.errors import ExitCode
from tests.support.processes import Daemon
from tests.support.rig import Rig, domain

NAME = "Ac\u009b31mme\u202e\u2066 I\u200bnc\u2028Group"
DESCRIPTION = "First.\u2028Second\u009b2J.\n\u202eThird."


async def test_what_a_terminal_would_obey_is_neither_stored_nor_printed(rig: Rig) -> None:
    host = domain()
    record = {"name": NAME, "domain": host, "description": DESCRIPTION, "tags": ["b2b\u202e"]}
    body = json.dumps(record, ensure_ascii=False)
    rig.simulator.inject("status", vendor="clearbit", status=200, body=body)
    async with rig.daemon("clearbit") as daemon:
        await daemon.wait_for_event("stream.opened")
        await rig.leads.insert_one({"_id": 1, "company_domain": host})
        assert await rig.witness.end_of(1) == "completed"
    company = (await rig.lead(1))["enriched_data"]["company_data"]
    assert company["name"] == "Ac31mme Inc Group"
    assert company["description"] == "First.\nSecond2J.\nThird."
    assert company["tags"] == ["b2b"]


async def test_what_was_stored_before_is_not_obeyed_either(rig: Rig) -> None:
    company = {"name": NAME, "description": DESCRIPTION}
    lead = {"_id": 1, "enrichment_status": "completed", "enriched_data": {"company_data": company}}
    await rig.leads.insert_one({**lead, "enrichment_error": NAME})
    for more in ((), ("--json",)):
        async with Daemon("explain", "1", *more, env=rig.environment()) as explain:
            assert await explain.wait() == ExitCode.OK
        printed = {unicodedata.category(each) for each in explain.stdout if each != "\n"}
        assert not printed & {"Cc", "Cf", "Zl", "Zp"}
