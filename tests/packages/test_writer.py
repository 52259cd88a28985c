"""The writer of the demo in `compose.yaml`, started by the command that stands there."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from pymongo.asynchronous.database import AsyncDatabase

from enricher.lead import Document
from tests.packages.test_compose import services
from tests.support.processes import PASSED_ON, bound_to_us
from tests.support.waiting import eventually


@asynccontextmanager
async def writer(**environment: str) -> AsyncIterator[asyncio.subprocess.Process]:
    python, *arguments = services()["writer"]["entrypoint"]
    assert python == "python3"
    process = await asyncio.create_subprocess_exec(
        *(*bound_to_us(), sys.executable, *arguments),
        env={name: os.environ[name] for name in PASSED_ON if name in os.environ} | environment,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def test_it_writes_one_lead_after_another_until_it_is_told_to_stop(
    database: AsyncDatabase[Document], mongodb_uri: str
) -> None:
    async with writer(MONGODB_URI=mongodb_uri, MONGODB_DATABASE=database.name) as process:

        async def has_written_three() -> bool:
            return await database["leads"].count_documents({}) >= 3

        await eventually(has_written_three, within=30)
        process.terminate()
        assert await process.wait() == 0
    found = await database["leads"].find().to_list()
    assert [lead for lead in found if "enrichment_status" in lead] == [], "as any writer would"


async def test_without_a_database_it_says_so_and_writes_nowhere() -> None:
    async with writer() as process:
        _, said = await process.communicate()
    assert process.returncode == 1
    assert said.decode() == "MONGODB_URI: expected the address of a MongoDB to write leads to\n"
