"""The same mappers with fields of their own into which found values are copied, each as strict as it can be."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from bson import ObjectId

from tests.packages.readers.odms import Mongoose as Program
from tests.packages.readers.odms import speaking

PROGRAM = Path(__file__).parent / "mongoose_copies.mjs"


class Copied(NamedTuple):
    """The fields of the program, as its mapper gives them."""

    company: str | None
    size: int | None


class Odm(Protocol):
    """A mapper and the copies that its program has read."""

    async def insert(self, email: str) -> ObjectId:
        """Insert a lead with nothing of ours and nothing to be filled."""

    async def read(self, lead: ObjectId) -> Copied:
        """Read it, and keep the copy."""

    async def save(self, lead: ObjectId, note: str) -> None:
        """Put a note into the copy that was read, and save that: as a whole where the mapper can."""

    async def rename(self, lead: ObjectId, company: str) -> None:
        """Write the company as a person would, and nothing else."""


def _database() -> str:
    return os.environ["MONGODB_DATABASE"]


class Beanie:
    """Forbids what it does not declare, converts nothing, and replaces whole documents."""

    def __init__(self, lead: Any) -> None:
        self._lead = lead
        self._copies: dict[ObjectId, Any] = {}

    async def insert(self, email: str) -> ObjectId:
        return ObjectId((await self._lead(email=email).insert()).id)

    async def read(self, lead: ObjectId) -> Copied:
        self._copies[lead] = found = await self._lead.get(lead)
        return Copied(found.company, found.size)

    async def save(self, lead: ObjectId, note: str) -> None:
        self._copies[lead].notes = note
        await self._copies[lead].replace()

    async def rename(self, lead: ObjectId, company: str) -> None:
        await (await self._lead.get(lead)).set({self._lead.company: company})


@asynccontextmanager
async def open_beanie() -> AsyncIterator[Odm]:
    import beanie
    from pydantic import ConfigDict, StrictInt, StrictStr
    from pymongo import AsyncMongoClient

    from enricher.contract import Lead as Enriched

    class Lead(Enriched, beanie.Document):
        model_config = ConfigDict(extra="forbid")
        email: StrictStr
        notes: StrictStr | None = None
        company: StrictStr | None = None
        size: StrictInt | None = None
        site: StrictStr | None = None

        class Settings:
            name = "leads"
            keep_nulls = False

    async with AsyncMongoClient[dict[str, Any]](os.environ["MONGODB_URI"], tz_aware=True) as client:
        await beanie.init_beanie(database=client[_database()], document_models=[Lead])
        yield Beanie(Lead)


class MongoEngine:
    """Strict, so it declares all of ours. `save()` writes what was changed."""

    def __init__(self, lead: Any) -> None:
        self._lead = lead
        self._copies: dict[ObjectId, Any] = {}

    async def insert(self, email: str) -> ObjectId:
        return ObjectId((await asyncio.to_thread(self._lead(email=email).save)).id)

    async def read(self, lead: ObjectId) -> Copied:
        self._copies[lead] = found = await asyncio.to_thread(self._get, lead)
        return Copied(found.company, found.size)

    def _get(self, lead: ObjectId) -> Any:
        return self._lead.objects.get(id=lead)

    async def save(self, lead: ObjectId, note: str) -> None:
        self._copies[lead].notes = note
        await asyncio.to_thread(self._copies[lead].save)

    async def rename(self, lead: ObjectId, company: str) -> None:
        found = await asyncio.to_thread(self._get, lead)
        await asyncio.to_thread(found.modify, company=company)


@asynccontextmanager
async def open_mongoengine() -> AsyncIterator[Odm]:
    import mongoengine
    from mongoengine import DateTimeField, DictField, Document, IntField, StringField

    class Lead(Document):
        email = StringField(required=True)
        notes = StringField()
        company = StringField()
        size = IntField()
        site = StringField()
        enrichment_status = StringField()
        enriched_data = DictField(null=True)
        enriched_at = DateTimeField()
        enrichment_error = StringField()
        updated_at = DateTimeField()
        enrichment = DictField(null=True)
        qualification_status = StringField()
        qualification_requested_at = DateTimeField()
        meta = {"collection": "leads", "strict": True}  # noqa: RUF012 - as its documentation has it

    where = {"host": os.environ["MONGODB_URI"], "uuidRepresentation": "standard"}
    await asyncio.to_thread(mongoengine.connect, _database(), tz_aware=True, **where)
    try:
        yield MongoEngine(Lead)
    finally:
        await asyncio.to_thread(mongoengine.disconnect)


class Odmantic:
    """Saves what was changed, and null for what it does not know yet."""

    def __init__(self, engine: Any, lead: Any) -> None:
        self._engine, self._lead = engine, lead
        self._copies: dict[ObjectId, Any] = {}

    async def insert(self, email: str) -> ObjectId:
        return ObjectId((await self._engine.save(self._lead(email=email))).id)

    async def _get(self, lead: ObjectId) -> Any:
        return await self._engine.find_one(self._lead, self._lead.id == lead)

    async def read(self, lead: ObjectId) -> Copied:
        self._copies[lead] = found = await self._get(lead)
        return Copied(found.company, found.size)

    async def save(self, lead: ObjectId, note: str) -> None:
        self._copies[lead].notes = note
        await self._engine.save(self._copies[lead])

    async def rename(self, lead: ObjectId, company: str) -> None:
        found = await self._get(lead)
        found.company = company
        await self._engine.save(found)


@asynccontextmanager
async def open_odmantic() -> AsyncIterator[Odm]:
    from motor.motor_asyncio import AsyncIOMotorClient
    from odmantic import AIOEngine, Model

    class Lead(Model):
        model_config = {"collection": "leads", "extra": "forbid"}  # noqa: RUF012 - as its documentation has it
        email: str
        notes: str | None = None
        company: str | None = None
        size: int | None = None

    client: Any = AsyncIOMotorClient(os.environ["MONGODB_URI"], tz_aware=True)
    try:
        yield Odmantic(AIOEngine(client=client, database=_database()), Lead)
    finally:
        client.close()


class Mongoose:
    """A program of Node, with `strict: "throw"`. Replaces whole documents."""

    def __init__(self, program: Program) -> None:
        self._program = program

    async def insert(self, email: str) -> ObjectId:
        return await self._program.insert(email)

    async def read(self, lead: ObjectId) -> Copied:
        return Copied(*await self._program.ask("read", str(lead)))

    async def save(self, lead: ObjectId, note: str) -> None:
        await self._program.save(lead, note)

    async def rename(self, lead: ObjectId, company: str) -> None:
        await self._program.ask("rename", str(lead), company)


@asynccontextmanager
async def open_mongoose(modules: Path, env: Mapping[str, str]) -> AsyncIterator[Odm]:
    (modules / PROGRAM.name).write_text(PROGRAM.read_text("utf-8"))
    async with speaking(modules, PROGRAM.name, env) as program:
        yield Mongoose(program)
