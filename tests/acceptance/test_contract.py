"""What the daemon writes meets the contract that is published (`docs/reference`, `enricher.contract`)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import pytest
from bson import json_util
from jsonschema import Draft202012Validator
from pydantic import BaseModel

from enricher.contract import Lead, shape
from enricher.demo.leads import sample_leads
from enricher.lead import Document, Status
from tests.reference import ROOT, SCHEMA
from tests.support.rig import Rig, open_rig
from tests.support.waiting import end

VENDORS = {
    **dict.fromkeys(("PDL_API_KEY", "APOLLO_API_KEY"), "k"),
    **dict.fromkeys(("PDL_RATE_LIMIT", "APOLLO_RATE_LIMIT"), "1000000"),
    "ENRICHER_PROVIDERS_OFF": "[]",
}
SCHEMA_OF_A_LEAD = Draft202012Validator(json.loads(SCHEMA.read_text("utf-8")))
EXAMPLES = ROOT / "docs" / "examples"
LEADS = 500
AGAIN = 20
FROM_A_WRITER = {
    *("_id", "name", "company", "job_title", "temperature", "source", "email", "story"),
    *("qualification_score", "website", "company_domain"),
}


@pytest.mark.timeout(240)
async def test_every_state_of_500_leads_meets_the_schema_and_loads_into_the_models(
    mongodb_uri: str,
) -> None:
    async with open_rig(mongodb_uri, new=True, seed=1) as rig, _states(rig) as states:
        await rig.database.create_collection("leads", validator=_validator())
        async with rig.daemon(**VENDORS) as daemon:
            await daemon.wait_for_event("history.recorded")
            await _settle_all(rig)
            assert daemon.events("lead.unwritable") == daemon.events("settle.refused") == []
        ended = await rig.leads.find({}).to_list()
    assert {lead["enrichment_status"] for lead in states} == {*Status}
    assert any(lead["enriched_data"] for lead in _with(Status.RETRYING, states)), "partial data"
    assert any(lead["qualification_status"] == "pending" for lead in ended if _is_scored(lead))
    seen = [*ended, *_different(states)]
    assert _wrong(seen) == []
    assert [lead for lead in seen if _changed_by_models(lead)] == []
    assert {name for lead in ended for name in _strangers(Lead.model_validate(lead))} == set()


async def _settle_all(rig: Rig) -> None:
    """Some of them twice: as it is when their users ask for it."""
    leads = [{"_id": number, **lead} for number, lead in enumerate(_mixture())]
    await rig.leads.insert_many(leads)
    await rig.witness.all_ended(range(LEADS), within=90)
    for number in range(AGAIN):
        rig.witness.forget(number)
    await rig.leads.update_many({"_id": {"$lt": AGAIN}}, {"$set": {"enrichment_status": "pending"}})
    await rig.witness.all_ended(range(AGAIN), within=60)


def _mixture() -> list[Document]:
    """With one objection: of several in so short a time the daemon would stop asking."""
    leads = list(sample_leads(LEADS + LEADS // 4))
    objection = next(lead for lead in leads if lead["story"] == "objected")
    others = [lead for lead in leads if lead["story"] != "objected"]
    others[0] |= dict.fromkeys(shape.lead().fields)  # as a mapper writes what it does not know
    return [objection, *others[: LEADS - 1]]


def _validator() -> Document:
    """The one of the examples, for the fields of these leads."""
    validator: Document = json.loads((EXAMPLES / "validator.json").read_text("utf-8"))
    validator["$jsonSchema"]["properties"] |= {name: {} for name in FROM_A_WRITER}
    del validator["$jsonSchema"]["required"]
    return validator


@asynccontextmanager
async def _states(rig: Rig) -> AsyncIterator[list[Document]]:
    """Every lead, as it stood when the news of each change of it was read."""
    seen: list[Document] = []
    async with await rig.leads.watch(full_document="updateLookup") as stream:
        reading = asyncio.create_task(_read(stream, seen), name="states")
        try:
            yield seen
        finally:
            await end(reading)


async def _read(stream: Any, seen: list[Document]) -> None:
    async for event in stream:
        lead = event.get("fullDocument") or {}
        seen += [lead] if lead.get("enrichment_status") else []


def _with(status: Status, leads: Iterable[Document]) -> Iterator[Document]:
    return (lead for lead in leads if lead["enrichment_status"] == status)


def _is_scored(lead: Document) -> bool:
    return lead["enrichment_status"] == Status.COMPLETED and "qualification_score" in lead


def _different(leads: Iterable[Document]) -> Iterable[Document]:
    """One for each status and set of names: thousands of alike ones would show nothing more."""
    return {(lead["enrichment_status"], *_names(lead)): lead for lead in leads}.values()


def _names(value: object) -> Iterator[str]:
    for name, inner in value.items() if isinstance(value, dict) else ():
        yield name
        yield from _names(inner)


def _wrong(leads: Iterable[Document]) -> list[tuple[list[str | int], str]]:
    return [
        (list(error.absolute_path), error.message)
        for lead in leads
        for error in SCHEMA_OF_A_LEAD.iter_errors(_as_json(lead))
    ]


def _as_json(lead: Document) -> Any:
    return json.loads(json.dumps(lead, default=datetime.isoformat))


def _changed_by_models(lead: Document) -> bool:
    """Whether a writer who reads a lead by the models and saves it as a whole would change it."""
    return _exactly(Lead.model_validate(lead).model_dump(exclude_unset=True)) != _exactly(lead)


def _exactly(lead: Mapping[str, Any]) -> str:
    """Tells 1 from 1.0, and a date from its text."""
    return json_util.dumps(lead, sort_keys=True)


def _strangers(model: BaseModel) -> Iterator[str]:
    """Fields that the contract does not know; it allows them, for providers of other packages bring some."""
    extra = (model.model_extra or {}).keys()
    yield from extra - FROM_A_WRITER if isinstance(model, Lead) else extra
    for name in type(model).model_fields:
        if isinstance(value := getattr(model, name), BaseModel):
            yield from _strangers(value)
