"""Found values copied into fields of the user's, beside mappers that write and read the same documents.

The collection refuses some of the copies: its validator allows no other field than these, and `site` is unique. That may
cost the copy, and never the result.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from bson import ObjectId

from tests.packages.readers.copies import (
    Copied,
    Odm,
    open_beanie,
    open_mongoengine,
    open_mongoose,
    open_odmantic,
)
from tests.packages.readers.odms import EXAMPLES
from tests.packages.readers.test_odms import LEASE, started
from tests.support.processes import Daemon
from tests.support.rig import Rig, domain
from tests.support.waiting import eventually

pytestmark = [pytest.mark.packages, pytest.mark.timeout(120)]

CONFIG = """
[[source]]
collection = "leads"

[source.read]
email = "email"

[source.copy]
"company_data.name" = { to = "company" }
"company_data.employee_count" = { to = "size", type = "number" }
"company_data.domain" = { to = "site" }
"company_data.industry" = { to = "sector" }
"company_data.founded_year" = { to = "since" }
"""
UNDECLARED = {"industry": "sector", "founded_year": "since"}
"""What the validator refuses: it allows no `sector`, and `since` as a text alone."""
INVALID = "MongoDB refuses it: the collection's validator refuses it for"
NOT_UNIQUE = 'MongoDB refuses it: the unique index "site_1" has the same value from another lead'


@pytest_asyncio.fixture(params=["beanie", "mongoengine", "odmantic", "mongoose"])
async def odm(request: pytest.FixtureRequest, environment: dict[str, str]) -> AsyncIterator[Odm]:
    match request.param:
        case "beanie":
            opening = open_beanie()
        case "mongoengine":
            opening = open_mongoengine()
        case "odmantic":
            opening = open_odmantic()
        case _:
            opening = open_mongoose(request.getfixturevalue("node_modules"), environment)
    async with opening as opened:
        yield opened


async def strict(rig: Rig) -> None:
    """The validator of the examples with the fields of this program, and a unique one among these."""
    validator = json.loads((EXAMPLES / "validator.json").read_text("utf-8"))
    validator["$jsonSchema"]["properties"] |= {
        "__v": {},
        "company": {"bsonType": ["string", "null"]},
        "size": {"bsonType": ["int", "long", "null"]},
        "site": {"bsonType": "string"},
        "since": {"bsonType": "string"},
    }
    await rig.database.create_collection("leads", validator=validator)
    only_texts = {"site": {"$type": "string"}}
    await rig.leads.create_index("site", unique=True, partialFilterExpression=only_texts)


def copying(rig: Rig, directory: Path) -> Daemon:
    config = directory / "crm.toml"
    config.write_text(CONFIG)
    return rig.daemon(ENRICHER_CONFIG=config, ENRICHER_LEASE_SECONDS=LEASE)


def found(lead: dict[str, Any]) -> Copied:
    """What the program is to see of it."""
    company = lead["enriched_data"]["company_data"]
    return Copied(company["name"], company.get("employee_count"))


def undeclared(lead: dict[str, Any]) -> dict[str, str]:
    """Which copies the validator is to refuse of what was found for the lead."""
    company = lead["enriched_data"]["company_data"]
    to = [to for name, to in UNDECLARED.items() if company.get(name) is not None]
    told = " or ".join(f'"{each}"' for each in sorted(to))
    return dict.fromkeys(to, f"{INVALID} {told}")


def refused(lead: dict[str, Any]) -> dict[str, str]:
    not_copied = lead["enriched_data"]["enrichment_metadata"]["not_copied"]
    return {each["to"]: each["why"] for each in not_copied}


async def test_a_copy_that_the_collection_refuses_costs_neither_the_result_nor_the_others(
    odm: Odm, rig: Rig, tmp_path: Path
) -> None:
    await strict(rig)
    host = domain()
    async with copying(rig, tmp_path) as daemon:
        await started(daemon)
        first = await odm.insert(f"ada.lovelace@{host}")
        assert await rig.witness.end_of(first) == "completed"
        second = await odm.insert(f"grace.hopper@{host}")
        assert await rig.witness.end_of(second) == "completed"
        one, other = await rig.lead(first), await rig.lead(second)
        assert one["site"] == host
        assert "site" not in other
        assert refused(one) == undeclared(one) != {}
        assert refused(other) == {**undeclared(other), "site": NOT_UNIQUE}
        assert await odm.read(first) == found(one)
        assert await odm.read(second) == found(other)

        await odm.save(first, "called")
        await odm.rename(second, "Our own name")
        for lead in (first, second):
            rig.witness.forget(lead)
            await rig.leads.update_one({"_id": lead}, {"$set": {"enrichment_status": "pending"}})
            assert await rig.witness.end_of(lead) == "completed"
    one, other = await rig.lead(first), await rig.lead(second)
    assert (one["site"], one["company"], one["notes"]) == (host, found(one).company, "called")
    assert other["company"] == "Our own name"
    assert refused(other)["company"] == "it holds a value of its own"
    assert rig.asked_twice() == {}
    assert daemon.events("lead.unwritable") == daemon.events("settle.refused") == []


@pytest.mark.parametrize("stage", ["new", "processing"])
async def test_a_stale_copy_that_is_saved_right_after_the_settle_costs_no_result(
    odm: Odm, rig: Rig, tmp_path: Path, stage: str
) -> None:
    """Saved as a whole it undoes the copies and ours; the lead is finished again, and they are made again."""
    await strict(rig)
    address = f"ada.lovelace@{domain('slow')}"
    async with AsyncExitStack() as stack:
        if stage == "processing":
            daemon = await stack.enter_async_context(copying(rig, tmp_path))
            await started(daemon)
            lead = await odm.insert(address)
            await rig.witness.until(lambda: "processing" in rig.witness.statuses(lead))
            assert await odm.read(lead) == Copied(None, None)
        else:
            await start_once(rig, tmp_path)
            lead = await odm.insert(address)
            assert await odm.read(lead) == Copied(None, None)
            daemon = await stack.enter_async_context(copying(rig, tmp_path))
        assert await rig.witness.end_of(lead) == "completed"
        await odm.save(lead, "called")
        await eventually(lambda: is_whole(rig, lead), within=30)
    assert (await rig.lead(lead))["notes"] == "called"
    assert rig.asked_twice() == {}
    assert daemon.events("lead.unwritable") == daemon.events("settle.refused") == []


async def start_once(rig: Rig, directory: Path) -> None:
    """What stands there at the first start is history: so that comes first."""
    async with copying(rig, directory) as daemon:
        await started(daemon)
        daemon.terminate()
        await daemon.wait()


async def is_whole(rig: Rig, lead: ObjectId) -> bool:
    now = await rig.lead(lead)
    is_done = now.get("enrichment_status") == "completed" and now.get("enriched_data")
    return bool(is_done) and Copied(now.get("company"), now.get("size")) == found(now)
