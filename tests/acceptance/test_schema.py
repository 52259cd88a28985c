"""What the daemon writes meets the schema that is published (`docs/reference`)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from jsonschema import Draft202012Validator

from enricher.demo.leads import sample_leads
from tests.reference import SCHEMA
from tests.support.rig import open_rig

VENDORS = {
    "PDL_API_KEY": "k",
    "APOLLO_API_KEY": "k",
    "PDL_RATE_LIMIT": "1000",
    "APOLLO_RATE_LIMIT": "1000",
    "ENRICHER_PROVIDERS_OFF": "[]",
}
PUBLISHED: Mapping[str, Any] = json.loads(SCHEMA.read_text("utf-8"))


async def test_what_the_daemon_writes_meets_the_published_schema(mongodb_uri: str) -> None:
    async with open_rig(mongodb_uri, seed=1) as rig, rig.daemon(**VENDORS) as daemon:
        await daemon.wait_for_event("history.recorded")
        leads = [{"_id": number, **lead} for number, lead in enumerate(sample_leads(40))]
        await rig.leads.insert_many(leads)
        for lead in leads:
            await rig.witness.settle_of(lead["_id"], within=30)
        written = [lead["enriched_data"] async for lead in rig.leads.find({})]
    found = [each for each in written if each]
    assert len(found) >= len(leads) // 2
    wrong = [error for data in found for error in Draft202012Validator(PUBLISHED).iter_errors(data)]
    assert [(list(error.path), error.message) for error in wrong] == []
    assert _strangers(found) == set()


def _strangers(found: list[Mapping[str, Any]]) -> set[tuple[str, str]]:
    """Fields that the schema does not know; it allows them, for other packages bring some."""
    known = PUBLISHED["properties"]
    fields = {(section, name) for data in found for section in data for name in data[section] or ()}
    return {each for each in fields if each[1] not in known[each[0]]["properties"]}
