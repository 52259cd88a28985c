"""Object-document mappers beside the daemon, on a collection as strict as it gets: nothing is lost, nothing breaks."""

from __future__ import annotations

import json
from typing import Any

import pytest
from bson import json_util

from tests.packages.readers.odms import EXAMPLES, Mongoose, Odm, Seen
from tests.support.processes import Daemon
from tests.support.rig import Rig, address
from tests.support.waiting import eventually

pytestmark = [pytest.mark.packages, pytest.mark.timeout(120)]

UNKNOWN = {
    "enriched_data.company_data.shoe_size": {"eu": 43},
    "enriched_data.intent_data": {"topics": ["crm"], "surge": 0.5},
}
"""As a provider of another package would write it."""
LEASE = "5"


async def strict(rig: Rig) -> None:
    """The validator of the examples, and indexes that look at all that the daemon writes."""
    validator = json.loads((EXAMPLES / "validator.json").read_text("utf-8"))
    validator["$jsonSchema"]["properties"]["__v"] = {}  # Mongoose's own
    await rig.database.create_collection("leads", validator=validator)
    await rig.leads.create_index("email", unique=True)
    await rig.leads.create_index([("$**", "text")])
    await rig.leads.create_index("enriched_data.company_data.linkedin_handle", sparse=True)


async def started(daemon: Daemon) -> None:
    await daemon.wait_for_event("history.recorded")


async def test_a_lead_goes_back_and_forth_between_mapper_and_daemon_and_loses_nothing(
    odm: Odm, rig: Rig
) -> None:
    await strict(rig)
    async with rig.daemon() as daemon:
        await started(daemon)
        lead = await odm.insert(address())
        assert await rig.witness.end_of(lead) == "completed"
        await rig.leads.update_one({"_id": lead}, {"$set": UNKNOWN})
        before = await rig.lead(lead)
        name = before["enriched_data"]["company_data"]["name"]
        assert await odm.read(lead) == Seen("completed", name)

        await odm.save(lead, "called")
        assert said(await rig.lead(lead)) == said(before | {"notes": "called"})
        await rig.witness.end_of(await odm.insert(address()))
        assert (await rig.lead(lead))["enrichment"]["token"] == 1, "a save is no reason to work"

        rig.witness.forget(lead)
        await odm.enrich_again(lead)
        assert await rig.witness.end_of(lead) == "completed"
    after = await rig.lead(lead)
    assert {path: at(after, path) for path in UNKNOWN} == UNKNOWN
    assert rig.asked_twice() == {}
    assert daemon.events("lead.unwritable") == daemon.events("settle.refused") == []


async def test_a_copy_from_when_the_lead_was_in_work_does_no_harm_when_it_is_saved_late(
    odm: Odm, rig: Rig
) -> None:
    """Where it is saved as a whole, it brings back `processing`: the daemon finishes the lead again."""
    await strict(rig)
    async with rig.daemon(ENRICHER_LEASE_SECONDS=LEASE) as daemon:
        await started(daemon)
        lead = await odm.insert(address("slow"))
        await rig.witness.until(lambda: "processing" in rig.witness.statuses(lead))
        assert (await odm.read(lead)).status == "processing"
        assert await rig.witness.end_of(lead) == "completed"
        found = (await rig.lead(lead))["enriched_data"]["company_data"]
        await odm.save(lead, "called")

        async def is_as_it_was() -> bool:
            now = await rig.lead(lead)
            data = now.get("enriched_data") or {}
            is_found: bool = data.get("company_data") == found
            return is_found and now["enrichment_status"] == "completed"

        await eventually(is_as_it_was, within=30)
    assert ((await rig.lead(lead))["notes"], rig.asked_twice()) == ("called", {})


async def test_mongoose_leaves_out_what_is_not_declared_without_a_word(
    mongoose: Mongoose, rig: Rig
) -> None:
    lead = await mongoose.insert(address())
    await rig.leads.update_one({"_id": lead}, {"$set": {"enrichment_status": "skipped"}})
    await mongoose.set_undeclared(lead)
    assert (await rig.lead(lead))["enrichment_status"] == "skipped"


def test_mongoengine_refuses_an_enriched_lead_unless_it_is_told_not_to() -> None:
    from mongoengine import Document, StringField
    from mongoengine.errors import FieldDoesNotExist

    class Strict(Document):  # type: ignore[misc]  # MongoEngine ships no types
        email = StringField()

    with pytest.raises(FieldDoesNotExist):
        Strict._from_son({"email": "ada@lemur.com", "enrichment_status": "completed"})


def said(value: Any) -> str:
    """Everything that a document says: what is null or empty says nothing, and `__v` is Mongoose's."""
    return json_util.dumps(_without_blanks(value), sort_keys=True)


def _without_blanks(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    inner = {name: _without_blanks(each) for name, each in value.items() if name != "__v"}
    return {name: each for name, each in inner.items() if each is not None and each != {}}


def at(document: Any, path: str) -> Any:
    for name in path.split("."):
        document = document[name]
    return document
