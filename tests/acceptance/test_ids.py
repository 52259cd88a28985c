"""Ids that writers chose: a name, a number, an address. Shown is only what can be nothing but an id."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import bson
import pytest
from bson import ObjectId

from enricher.errors import ExitCode
from enricher.intake.history import collection_name
from enricher.lead import Document, LeadId, Reason
from enricher.status.daemons import COLLECTION as DAEMONS
from tests.support.processes import Daemon
from tests.support.rig import Rig, address, domain
from tests.support.waiting import eventually

ADA = "ada.lovelace@quokka-freight.com"
SHOWN: list[LeadId] = [ObjectId(), 4711, "lead-4711", "A_b-9"]
TELLING: list[LeadId] = [
    "Zoe Miller, +49 170 1234567",
    "zoe.miller@quokka-freight.com",
    "zoe.miller%40quokka-freight.com",
    "491701234567",
    "Zoe.Miller",
    {"email": "zoe.miller@quokka-freight.com"},
    {"first": "Zoe", "last": "Miller"},
    b"Zoe Miller",
]
TRACES = ("zoe", "miller", "1701234567", "1234567", "quokka-freight")


@asynccontextmanager
async def _ended(rig: Rig, *arguments: str) -> AsyncIterator[Daemon]:
    async with Daemon(*arguments, env=rig.environment()) as process:
        await process.wait()
        yield process


async def test_an_id_that_may_be_a_persons_is_told_nowhere(rig: Rig) -> None:
    ids = [*SHOWN, *TELLING]
    async with rig.daemon(ENRICHER_LOG_LEVEL="DEBUG") as daemon:
        await daemon.wait_for_event("stream.opened")
        refused = {"$or": [{"strict": {"$ne": True}}, {"enriched_data": {"$exists": False}}]}
        await rig.database.command("collMod", "leads", validator=refused)
        await rig.leads.insert_many(
            {"_id": id_, "email": address(), "strict": id_ == TELLING[0]} for id_ in ids
        )
        await rig.witness.all_ended(ids)

        async def told() -> bool:
            report = await rig.database[DAEMONS].find_one({})
            return report is not None and len(report.get("last", [])) >= len(ids)

        await eventually(told)
        status = (await daemon.get("/status.json")).text
        stored = [await rig.database[DAEMONS].find().to_list(), status, daemon.lines]
    said = "".join(repr(each) for each in stored).lower()
    assert [trace for trace in TRACES if trace in said] == []
    settled = {line["lead"] for line in daemon.events("lead.settled")}
    assert {str(id_) for id_ in SHOWN} <= settled
    hidden = {name for name in settled if name.startswith("hidden-")}
    assert len(hidden) == len(TELLING)
    assert {str(each["lead"]) for each in _last(status)} >= hidden, "the same name everywhere"


def _last(status: str) -> list[Document]:
    found: list[Document] = []

    def look(value: object) -> None:
        if isinstance(value, dict):
            if "lead" in value and "outcome" in value:
                found.append(value)
            for inner in value.values():
                look(inner)
        elif isinstance(value, list):
            for inner in value:
                look(inner)

    look(json.loads(status))
    return found


async def test_the_address_of_who_is_forgotten_stands_in_no_side_collection(rig: Rig) -> None:
    named: list[LeadId] = [ADA, ADA.upper(), f"crm:{ADA}", {"email": ADA, "n": 1}, f"Ada <{ADA}>"]
    others: list[LeadId] = ["bob@quokka-freight.com", 5, None, {"email": None}, f"x{ADA}"]
    website = f"https://{domain()}"
    await rig.leads.insert_many({"_id": id_, "website": website} for id_ in [*named, *others])
    record = rig.database[collection_name("leads")]
    async with rig.daemon() as daemon:
        await daemon.wait_for_event("history.recorded")
        await daemon.wait_for_event("stream.opened")
    position = {"_id": "backfill:leads:0", "run": "r", "after": {"of": ADA}, "asked": 1}
    await rig.database["enricher_checkpoints"].insert_one(position | {"finished_at": None})
    async with _ended(rig, "forget", ADA) as command:
        assert command.process.returncode == ExitCode.OK
        assert f"struck from the record of history: {len(named)}" in command.stdout
    kept = [
        document["_id"]["of"]
        for document in await record.find().to_list()
        if "of" in document["_id"]
    ]
    assert sorted(map(repr, kept)) == sorted(map(repr, others))
    backfill = await rig.database["enricher_checkpoints"].find_one({"_id": "backfill:leads:0"})
    assert backfill is not None
    assert backfill["after"] is None
    for id_ in named:
        lead = await rig.lead(id_)
        assert lead["enrichment_status"] == "skipped"
        assert lead["enrichment_error"] == Reason.SUPPRESSED.sentence
    async with rig.daemon() as daemon:  # a search takes none of them for a new one
        await daemon.wait_for_event("stream.opened")
        await rig.leads.insert_one({"_id": "new", "email": address()})
        assert await rig.witness.end_of("new") == "completed"
        assert not daemon.events("history.lost")
    for id_ in others:
        assert "enrichment_status" not in await rig.lead(id_)
    assert rig.questions(website.removeprefix("https://")) == {}


async def test_a_record_of_which_nothing_is_left_counts_as_one(rig: Rig) -> None:
    await rig.leads.insert_one({"_id": ADA})
    async with rig.daemon() as daemon:
        await daemon.wait_for_event("stream.opened")
    async with _ended(rig, "forget", ADA):
        pass
    async with rig.daemon() as daemon:
        await daemon.wait_for_event("stream.opened")
        assert not daemon.events("history.lost")
    side = await rig.database.list_collection_names(filter={"name": {"$regex": "^enricher_"}})
    for name in side:
        if (
            name == "enricher_checkpoints"
        ):  # MongoDB's own token is made of ids, until the next event
            continue
        stored = b"".join(bson.encode(each) for each in await rig.database[name].find().to_list())
        assert b"lovelace" not in stored.lower(), name


@pytest.mark.parametrize("id_", [ADA, "491701234567 x", {"email": ADA}], ids=str)
async def test_an_operator_may_name_a_lead_by_any_id(rig: Rig, id_: LeadId) -> None:
    await rig.leads.insert_one({"_id": id_, "enrichment_status": "failed"})
    text = json.dumps(id_) if isinstance(id_, dict) else str(id_)
    async with (
        _ended(rig, "explain", text) as explained,
        _ended(rig, "reenrich", "--id", text) as asked,
    ):
        assert explained.process.returncode == asked.process.returncode == ExitCode.OK
    assert (await rig.lead(id_))["enrichment_status"] == "pending"
