"""A MongoDB, the vendors and the daemon, each in a process of its own, for one measurement."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pymongo import AsyncMongoClient
from pymongo.asynchronous.collection import AsyncCollection

from enricher.embedded import EmbeddedServer
from tests.processes import Daemon

SETTLED = ["completed", "failed", "skipped"]


@dataclass(slots=True)
class Observer:
    """When each lead was settled, by a change stream of its own: nothing the daemon says is believed."""

    leads: AsyncCollection[dict[str, Any]]
    settled_at: dict[Any, float] = field(default_factory=dict)
    news: asyncio.Event = field(default_factory=asyncio.Event)
    ready: asyncio.Event = field(default_factory=asyncio.Event)

    async def watch(self) -> None:
        """Until cancelled."""
        status = "updateDescription.updatedFields.enrichment_status"
        stages: list[dict[str, Any]] = [
            {"$match": {status: {"$in": SETTLED}}},
            {"$project": {"documentKey": 1}},
        ]
        async with await self.leads.watch(stages) as stream:
            self.ready.set()
            async for change in stream:
                self.settled_at[change["documentKey"]["_id"]] = time.perf_counter()
                self.news.set()

    async def until(self, ids: Sequence[Any], within: float = 120.0) -> None:
        """Wait until all of them are settled."""
        async with asyncio.timeout(within):
            while not all(id_ in self.settled_at for id_ in ids):
                self.news.clear()
                await self.news.wait()


@asynccontextmanager
async def mongodb() -> AsyncIterator[str]:
    """MONGODB_URI if set, else an embedded server in a directory of its own."""
    if uri := os.environ.get("MONGODB_URI"):
        yield uri
        return
    with tempfile.TemporaryDirectory(prefix="enricher-bench-") as directory:
        async with EmbeddedServer(Path(directory)) as server:
            yield server.uri


@asynccontextmanager
async def vendors(latency: float) -> AsyncIterator[str]:
    """The URL of simulated vendors that answer after `latency` seconds and know no limit."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.benchmarks.vendors",
        str(latency),
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        yield (await process.stdout.readline()).decode().strip()
    finally:
        process.kill()
        await process.wait()


@asynccontextmanager
async def database(uri: str) -> AsyncIterator[AsyncCollection[dict[str, Any]]]:
    """A leads collection in a database of its own, dropped afterwards."""
    client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(uri, w="majority", tz_aware=True)
    async with client:
        name = f"bench_{uuid.uuid4().hex[:12]}"
        try:
            yield client[name]["leads"]
        finally:
            await client.drop_database(name)


@asynccontextmanager
async def observed(leads: AsyncCollection[dict[str, Any]]) -> AsyncIterator[Observer]:
    """An observer that is watching."""
    observer = Observer(leads)
    watching = asyncio.create_task(observer.watch(), name="observer")
    await observer.ready.wait()
    try:
        yield observer
    finally:
        watching.cancel()
        await asyncio.wait([watching])


def daemon(uri: str, leads: AsyncCollection[dict[str, Any]], vendor_url: str) -> Daemon:
    """The real program, without limits that the vendors do not have."""
    return Daemon(
        "run",
        quiet=True,
        env={
            "MONGODB_URI": uri,
            "MONGODB_DATABASE": leads.database.name,
            "CLEARBIT_BASE_URL": f"{vendor_url}/clearbit",
            # A company and an e-mail address: what the figures of the README are about.
            "ENRICHER_PROVIDERS_OFF": '["hunter_company", "hunter_person", "clearbit_person"]',
            "CLEARBIT_API_KEY": "simulated",
            "CLEARBIT_RATE_LIMIT": "1000000",
            "HUNTER_BASE_URL": f"{vendor_url}/hunter",
            "HUNTER_API_KEY": "simulated",
            "HUNTER_RATE_LIMIT": "1000000",
        },
    )


def sample(number: int) -> dict[str, Any]:
    """A lead with a company and an address of its own: nothing can be answered from a cache."""
    return {"_id": number, "email": f"pat@granite-otter-{number}.com", "name": "Pat Example"}
