"""Object-document mappers beside the daemon, where results stand beside leads that allow no field of ours."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest
import pytest_asyncio
from bson import ObjectId
from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument

from enricher.lead import Document
from tests.packages.readers.beside import (
    open_beanie,
    open_mongoengine,
    open_mongoose,
    open_odmantic,
)
from tests.packages.readers.odms import Odm, Seen
from tests.packages.readers.test_odms import LEASE, started
from tests.support.rig import Rig, address, open_rig

pytestmark = [pytest.mark.packages, pytest.mark.timeout(120)]

TEXT: Document = {"bsonType": ["string", "null"]}
VALIDATOR: Document = {
    "$jsonSchema": {
        "bsonType": "object",
        "required": ["email"],
        "additionalProperties": False,
        "properties": {"_id": {}, "__v": {}, "email": {"bsonType": "string"}, "notes": TEXT},
    }
}


@pytest_asyncio.fixture
async def rig(mongodb_uri: str) -> AsyncIterator[Rig]:
    """With leads as strict as it gets, and indexes that look at all that stands on them or beside them."""
    async with open_rig(mongodb_uri, write="beside", new=True) as opened:
        await opened.database.create_collection("leads", validator=VALIDATOR)
        await opened.leads.create_index("email", unique=True)
        for each in (opened.leads, opened.results):
            await each.create_index([("$**", "text")])
        await opened.results.create_index("enriched_data.company_data.linkedin_handle", sparse=True)
        yield opened


@pytest_asyncio.fixture(params=["beanie", "mongoengine", "odmantic", "mongoose"])
async def odm(request: pytest.FixtureRequest, environment: dict[str, str]) -> AsyncIterator[Odm]:
    opening = {"beanie": open_beanie, "mongoengine": open_mongoengine, "odmantic": open_odmantic}
    if request.param == "mongoose":
        modules: Path = request.getfixturevalue("node_modules")
        opening["mongoose"] = partial(open_mongoose, modules, environment)
    async with opening[request.param]() as opened:
        yield opened


async def stored(rig: Rig, lead: ObjectId) -> bytes:
    """Every byte of the user's document."""
    raw = rig.leads.with_options(CodecOptions(RawBSONDocument))
    found = await raw.find_one({"_id": lead})
    assert found is not None
    return bytes(found.raw)


async def test_a_strict_lead_stays_byte_for_byte_what_its_mapper_wrote(odm: Odm, rig: Rig) -> None:
    async with rig.daemon() as daemon:
        await started(daemon)
        lead = await odm.insert(address())
        inserted = await stored(rig, lead)
        assert await rig.witness.end_of(lead) == "completed"
        result = await rig.lead(lead)
        name = result["enriched_data"]["company_data"]["name"]
        assert await odm.read(lead) == Seen("completed", name)
        assert await stored(rig, lead) == inserted

        await odm.save(lead, "called")
        saved = await stored(rig, lead)
        assert await rig.witness.end_of(await odm.insert(address())) == "completed"
        assert await rig.lead(lead) == result, "a save is no reason to work"

        rig.witness.forget(lead)
        await odm.enrich_again(lead)
        assert await rig.witness.end_of(lead) == "completed"
        assert (await rig.lead(lead))["enrichment"]["token"] == 2
        assert await stored(rig, lead) == saved
    assert rig.asked_twice() == {}
    assert daemon.events("lead.unwritable") == daemon.events("settle.refused") == []


async def test_a_copy_from_when_the_lead_was_in_work_brings_nothing_back(
    odm: Odm, rig: Rig
) -> None:
    async with rig.daemon(ENRICHER_LEASE_SECONDS=LEASE) as daemon:
        await started(daemon)
        lead = await odm.insert(address("slow"))
        await rig.witness.until(lambda: "processing" in rig.witness.statuses(lead))
        assert (await odm.read(lead)).status == "processing"
        await odm.save(lead, "called while it was in work")
        assert await rig.witness.end_of(lead) == "completed"
        result = await rig.lead(lead)
        await odm.save(lead, "called")
        assert await rig.witness.end_of(await odm.insert(address())) == "completed"
        assert await rig.lead(lead) == result
    found = await rig.leads.find_one({"_id": lead})
    assert found is not None
    assert (found["notes"], rig.asked_twice()) == ("called", {})
