"""Four object-document mappers behind one face, each with the leads of its example in `docs/examples`."""

from __future__ import annotations

import asyncio
import importlib.util
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from bson import ObjectId

from tests.support.processes import bound_to_us
from tests.support.roles import ROOT

EXAMPLES = ROOT / "docs" / "examples"
PROGRAM = Path(__file__).parent / "mongoose_odm.mjs"


class Seen(NamedTuple):
    """A lead as the mapper gives it to its program."""

    status: str | None
    company: str | None


class Odm(Protocol):
    """A mapper and the copies that its program has read."""

    async def insert(self, email: str) -> ObjectId:
        """Insert a lead as a program would, with nothing of ours."""

    async def read(self, lead: ObjectId) -> Seen:
        """Read it, and keep the copy."""

    async def save(self, lead: ObjectId, note: str) -> None:
        """Put a note into the copy that was read, and save that: as a whole where the mapper can."""

    async def enrich_again(self, lead: ObjectId) -> None:
        """Set it to `pending`."""


def example(name: str) -> Any:
    """Import `docs/examples/<name>.py`, anew each time."""
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Beanie:
    """Replaces whole documents."""

    def __init__(self) -> None:
        self.theirs = example("beanie_lead")
        self.copies: dict[ObjectId, Any] = {}

    async def insert(self, email: str) -> ObjectId:
        lead = await self.theirs.Lead(email=email).insert()
        return ObjectId(lead.id)

    async def read(self, lead: ObjectId) -> Seen:
        self.copies[lead] = found = await self.theirs.Lead.get(lead)
        company = found.enriched_data and found.enriched_data.company_data
        return Seen(found.enrichment_status, company.name if company else None)

    async def save(self, lead: ObjectId, note: str) -> None:
        self.copies[lead].notes = note
        await self.copies[lead].replace()

    async def enrich_again(self, lead: ObjectId) -> None:
        await self.theirs.enrich_again(await self.theirs.Lead.get(lead))


class MongoEngine:
    """Blocks, and saves what was changed."""

    def __init__(self) -> None:
        self.theirs = example("mongoengine_lead")
        self.copies: dict[ObjectId, Any] = {}

    async def insert(self, email: str) -> ObjectId:
        lead = await asyncio.to_thread(self.theirs.Lead(email=email).save)
        return ObjectId(lead.id)

    async def read(self, lead: ObjectId) -> Seen:
        self.copies[lead] = found = await asyncio.to_thread(self._get, lead)
        company = (found.enriched_data or {}).get("company_data")
        return Seen(found.enrichment_status, company["name"] if company else None)

    def _get(self, lead: ObjectId) -> Any:
        return self.theirs.Lead.objects.get(id=lead)

    async def save(self, lead: ObjectId, note: str) -> None:
        self.copies[lead].notes = note
        await asyncio.to_thread(self.copies[lead].save)

    async def enrich_again(self, lead: ObjectId) -> None:
        found = await asyncio.to_thread(self._get, lead)
        await asyncio.to_thread(self.theirs.enrich_again, found)


class Odmantic:
    """Saves what was changed, and null for all that it does not know yet."""

    def __init__(self) -> None:
        self.theirs = example("odmantic_lead")
        self.engine = self.theirs.connect()
        self.copies: dict[ObjectId, Any] = {}

    async def insert(self, email: str) -> ObjectId:
        lead = await self.engine.save(self.theirs.Lead(email=email))
        return ObjectId(lead.id)

    async def read(self, lead: ObjectId) -> Seen:
        model = self.theirs.Lead
        self.copies[lead] = await self.engine.find_one(model, model.id == lead)
        found = await self.theirs.enriched(self.engine, lead)
        company = found.enriched_data and found.enriched_data.company_data
        return Seen(found.enrichment_status, company.name if company else None)

    async def save(self, lead: ObjectId, note: str) -> None:
        self.copies[lead].notes = note
        await self.engine.save(self.copies[lead])

    async def enrich_again(self, lead: ObjectId) -> None:
        await self.theirs.enrich_again(self.engine, lead)


class Mongoose:
    """A program of Node, to which we speak in lines of JSON. Replaces whole documents."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def insert(self, email: str) -> ObjectId:
        return ObjectId(await self.ask("insert", email))

    async def read(self, lead: ObjectId) -> Seen:
        return Seen(*await self.ask("read", str(lead)))

    async def save(self, lead: ObjectId, note: str) -> None:
        await self.ask("save", str(lead), note)

    async def enrich_again(self, lead: ObjectId) -> None:
        await self.ask("enrichAgain", str(lead))

    async def set_undeclared(self, lead: ObjectId) -> None:
        """Set it to `pending` by a model that does not declare our fields."""
        await self.ask("setUndeclared", str(lead))

    async def ask(self, *words: str) -> Any:
        """Say a line, and return the answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(words).encode() + b"\n")
        answer = await self._process.stdout.readline()
        assert answer, "the program has ended"
        return json.loads(answer)


@asynccontextmanager
async def open_beanie() -> AsyncIterator[Odm]:
    odm = Beanie()
    client = await odm.theirs.connect()
    try:
        yield odm
    finally:
        await client.close()


@asynccontextmanager
async def open_mongoengine() -> AsyncIterator[Odm]:
    from mongoengine import disconnect

    odm = MongoEngine()
    await asyncio.to_thread(odm.theirs.connect_to_leads)
    try:
        yield odm
    finally:
        await asyncio.to_thread(disconnect)


@asynccontextmanager
async def open_odmantic() -> AsyncIterator[Odm]:
    odm = Odmantic()
    try:
        yield odm
    finally:
        odm.engine.client.close()


@asynccontextmanager
async def open_mongoose(modules: Path, env: Mapping[str, str]) -> AsyncIterator[Mongoose]:
    """`modules` is where npm has installed mongoose; ours are put beside it, as an import looks for them there."""
    for ours in (PROGRAM, EXAMPLES / "mongoose_lead.mjs"):
        (modules / ours.name).write_text(ours.read_text("utf-8"))
    async with speaking(modules, PROGRAM.name, env) as mongoose:
        yield mongoose


@asynccontextmanager
async def speaking(modules: Path, program: str, env: Mapping[str, str]) -> AsyncIterator[Mongoose]:
    """A program of Node that stands there already."""
    process = await asyncio.create_subprocess_exec(
        *(*bound_to_us(), "node", program),
        cwd=modules,
        env=env,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        yield Mongoose(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()
