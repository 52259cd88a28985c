"""The same mappers where results stand beside the leads: these declare nothing of ours, and are as strict as can be.

The results have a model of their own, from which a program reads, and on which it sets `pending`.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from bson import ObjectId

from tests.packages.readers.odms import Mongoose, Odm, Seen, speaking

PROGRAM = Path(__file__).parent / "mongoose_beside.mjs"
RESULTS = "enricher_results_leads"


def _database() -> str:
    return os.environ["MONGODB_DATABASE"]


class Beanie:
    """Forbids what a lead does not declare; replaces whole documents."""

    def __init__(self, lead: Any, result: Any) -> None:
        self._lead, self._result = lead, result
        self._copies: dict[ObjectId, Any] = {}

    async def insert(self, email: str) -> ObjectId:
        return ObjectId((await self._lead(email=email).insert()).id)

    async def read(self, lead: ObjectId) -> Seen:
        self._copies[lead] = await self._lead.get(lead)
        found = await self._result.get(lead)
        company = found.enriched_data and found.enriched_data.company_data
        return Seen(found.enrichment_status, company.name if company else None)

    async def save(self, lead: ObjectId, note: str) -> None:
        self._copies[lead].notes = note
        await self._copies[lead].replace()

    async def enrich_again(self, lead: ObjectId) -> None:
        found = await self._result.get(lead)
        await found.set({self._result.enrichment_status: "pending"})


@asynccontextmanager
async def open_beanie() -> AsyncIterator[Odm]:
    import beanie
    from pydantic import ConfigDict
    from pymongo import AsyncMongoClient

    from enricher.contract import Lead as Enriched

    class Lead(beanie.Document):
        model_config = ConfigDict(extra="forbid")
        email: str
        notes: str | None = None

        class Settings:
            name = "leads"
            keep_nulls = False

    class Result(Enriched, beanie.Document):
        class Settings:
            name = RESULTS
            keep_nulls = False

    async with AsyncMongoClient[dict[str, Any]](os.environ["MONGODB_URI"], tz_aware=True) as client:
        await beanie.init_beanie(database=client[_database()], document_models=[Lead, Result])
        yield Beanie(Lead, Result)


class MongoEngine:
    """Strict, as it is by default: an undeclared field raises. `save()` writes what was changed."""

    def __init__(self, lead: Any, result: Any) -> None:
        self._lead, self._result = lead, result
        self._copies: dict[ObjectId, Any] = {}

    async def insert(self, email: str) -> ObjectId:
        return ObjectId((await asyncio.to_thread(self._lead(email=email).save)).id)

    async def read(self, lead: ObjectId) -> Seen:
        self._copies[lead] = await asyncio.to_thread(_get, self._lead, lead)
        found = await asyncio.to_thread(_get, self._result, lead)
        company = (found.enriched_data or {}).get("company_data")
        return Seen(found.enrichment_status, company["name"] if company else None)

    async def save(self, lead: ObjectId, note: str) -> None:
        self._copies[lead].notes = note
        await asyncio.to_thread(self._copies[lead].save)

    async def enrich_again(self, lead: ObjectId) -> None:
        found = await asyncio.to_thread(_get, self._result, lead)
        await asyncio.to_thread(found.modify, enrichment_status="pending")


def _get(model: Any, id_: ObjectId) -> Any:
    return model.objects.get(id=id_)


@asynccontextmanager
async def open_mongoengine() -> AsyncIterator[Odm]:
    import mongoengine
    from mongoengine import DictField, Document, StringField

    class Lead(Document):
        email = StringField(required=True)
        notes = StringField()
        meta = {"collection": "leads"}  # noqa: RUF012 - as its documentation has it

    class Result(Document):
        enrichment_status = StringField()
        enriched_data = DictField(null=True)
        meta = {"collection": RESULTS, "strict": False}  # noqa: RUF012 - as above

    where = {"host": os.environ["MONGODB_URI"], "uuidRepresentation": "standard"}
    await asyncio.to_thread(mongoengine.connect, _database(), tz_aware=True, **where)
    try:
        yield MongoEngine(Lead, Result)
    finally:
        await asyncio.to_thread(mongoengine.disconnect)


class Odmantic:
    """Saves what was changed."""

    def __init__(self, engine: Any, lead: Any, result: Any) -> None:
        self._engine, self._lead, self._result = engine, lead, result
        self._copies: dict[ObjectId, Any] = {}

    async def insert(self, email: str) -> ObjectId:
        return ObjectId((await self._engine.save(self._lead(email=email))).id)

    async def read(self, lead: ObjectId) -> Seen:
        from enricher.contract import Lead as Enriched

        self._copies[lead] = await self._engine.find_one(self._lead, self._lead.id == lead)
        results = self._engine.get_collection(self._result)
        found = Enriched.model_validate(await results.find_one({"_id": lead}))
        company = found.enriched_data and found.enriched_data.company_data
        return Seen(found.enrichment_status, company.name if company else None)

    async def save(self, lead: ObjectId, note: str) -> None:
        self._copies[lead].notes = note
        await self._engine.save(self._copies[lead])

    async def enrich_again(self, lead: ObjectId) -> None:
        found = await self._engine.find_one(self._result, self._result.id == lead)
        found.enrichment_status = "pending"
        await self._engine.save(found)


@asynccontextmanager
async def open_odmantic() -> AsyncIterator[Odm]:
    from motor.motor_asyncio import AsyncIOMotorClient
    from odmantic import AIOEngine, Model

    class Lead(Model):
        model_config = {"collection": "leads", "extra": "forbid"}  # noqa: RUF012 - as its documentation has it
        email: str
        notes: str | None = None

    class Result(Model):
        model_config = {"collection": RESULTS}  # noqa: RUF012 - as above
        enrichment_status: str | None = None

    client: Any = AsyncIOMotorClient(os.environ["MONGODB_URI"], tz_aware=True)
    try:
        yield Odmantic(AIOEngine(client=client, database=_database()), Lead, Result)
    finally:
        client.close()


@asynccontextmanager
async def open_mongoose(modules: Path, env: Mapping[str, str]) -> AsyncIterator[Mongoose]:
    """With `strict: "throw"`."""
    (modules / PROGRAM.name).write_text(PROGRAM.read_text("utf-8"))
    async with speaking(modules, PROGRAM.name, env) as mongoose:
        yield mongoose
