"""A MongoDB, a Redis, the vendors and whoever is measured, each in a process of its own."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import shutil
import socket
import sys
import tempfile
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pymongo import AsyncMongoClient
from pymongo.asynchronous.collection import AsyncCollection

from enricher.mongo.embedded import EmbeddedServer, find_mongod
from tests.benchmarks import before
from tests.benchmarks.before import Before
from tests.benchmarks.references.record import Orders
from tests.support.processes import PASSED_ON, bound_to_us
from tests.support.waiting import eventually

Document = dict[str, Any]
Leads = AsyncCollection[Document]
AT_ONCE = 10_000
CACHE = "cache_size=1G"
"""The embedded server has a quarter of it, which a million leads do not fit into."""
_TIDY_SECONDS = 5.0
_GLANCE_SECONDS = 0.25


@dataclass(frozen=True, slots=True)
class Program:
    """A process that was started for a measurement, and the file that it writes to.

    A file and not a pipe: reading would cost the machine something while it is measured.
    """

    process: asyncio.subprocess.Process
    output: Path

    @property
    def pid(self) -> int:
        return self.process.pid

    def tail(self) -> str:
        """The last of what it wrote."""
        return self.output.read_text(errors="replace")[-4000:]

    def events(self, name: str) -> list[Document]:
        """The daemon's log lines of that event so far."""
        text = self.output.read_text(errors="replace")
        whole = text[: text.rfind("\n") + 1].splitlines()
        return [json.loads(line) for line in whole if f'"event": "{name}"' in line]

    def count(self, name: str) -> int:
        """How many there are: without reading them, which would cost the machine something."""
        return self.output.read_bytes().count(f'"event": "{name}"'.encode())

    async def event(self, name: str, within: float = 30.0) -> Document:
        """The first of them."""

        def found() -> list[Document]:
            assert self.process.returncode is None or self.events(name), self.tail()
            return self.events(name)

        return (await eventually(found, within))[0]

    async def finish(self) -> None:
        """Ask it to end as an operator would, and wait for it."""
        self.process.terminate()
        await self.ended()

    async def ended(self) -> int:
        """Its exit code, once it has ended."""
        async with asyncio.timeout(60):
            return await self.process.wait()


@dataclass(frozen=True, slots=True)
class World:
    """What stays for the whole run."""

    uri: str
    mongod_pid: int
    client: AsyncMongoClient[Document]
    directory: Path
    before: Before | None = None
    """The daemon as it was, if it is to be measured too."""

    @asynccontextmanager
    async def leads(self) -> AsyncIterator[Leads]:
        """An empty leads collection in a database of its own, dropped afterwards."""
        name = f"bench_{uuid.uuid4().hex[:12]}"
        try:
            yield self.client[name]["leads"]
        finally:
            await self.client.drop_database(name)

    @asynccontextmanager
    async def run(
        self, *command: str, env: Mapping[str, str] | None = None
    ) -> AsyncIterator[Program]:
        """A process that knows no environment but this; killed at the end, its children too."""
        known = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        known["PYTHONPATH"] = str(Path(__file__).parents[2])
        output = self.directory / f"{uuid.uuid4().hex}.log"
        with tempfile.TemporaryDirectory(dir=self.directory) as empty, output.open("wb") as file:
            process = await asyncio.create_subprocess_exec(
                *(*bound_to_us(), *command),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                cwd=empty,
                env={**known, **(env or {})},
            )
            try:
                yield Program(process, output)
            finally:
                await _end(process)

    @asynccontextmanager
    async def vendors(self, seconds: float = 0.0) -> AsyncIterator[tuple[str, Program]]:
        """Vendors that answer after so many seconds and know no limit."""
        async with self.run(
            sys.executable, "-m", "tests.benchmarks.vendors", str(seconds)
        ) as program:
            url = await eventually(lambda: program.output.read_text().strip())
            yield url, program

    @asynccontextmanager
    async def redis(self) -> AsyncIterator[tuple[str, Program]]:
        """Debian's Redis on a port of its own, without persistence."""
        binary, port = shutil.which("redis-server"), _free_port()
        assert binary, "there is no redis-server"
        options = ("--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no")
        async with self.run(binary, *options) as program:
            await eventually(lambda: _is_listening(port))
            yield f"redis://127.0.0.1:{port}/0", program

    @asynccontextmanager
    async def daemon(
        self, leads: Leads, vendors: str, *, is_before: bool = False, **settings: object
    ) -> AsyncIterator[Program]:
        """The real program, without limits that the vendors do not have; or the program as it was."""
        env = self.environment(leads, vendors)
        if is_before:
            assert self.before, f"{before.VARIABLE} names no revision"
            env["PYTHONPATH"] = str(self.before.tree)
        env |= {name: str(value) for name, value in settings.items()}
        async with self.run(sys.executable, "-m", "enricher", "run", env=env) as program:
            yield program

    @asynccontextmanager
    async def reference(self, name: str, orders: Orders, *arguments: str) -> AsyncIterator[Program]:
        """One of the designs that the daemon is compared with."""
        module = f"tests.benchmarks.references.{name}"
        env = {"BENCH_ORDERS": json.dumps(asdict(orders))}
        async with self.run(sys.executable, "-m", module, *arguments, env=env) as program:
            yield program

    async def cluster_time(self) -> str:
        """Now, as a change stream is told where to begin."""
        now = (await self.client.admin.command("hello"))["operationTime"]
        return f"{now.time},{now.inc + 1}"

    def environment(self, leads: Leads, vendors: str) -> dict[str, str]:
        """A company and an e-mail address: two calls for each lead."""
        return {
            "MONGODB_URI": self.uri,
            "MONGODB_DATABASE": leads.database.name,
            "ENRICHER_HTTP_PORT": "0",
            "ENRICHER_LOG_FORMAT": "json",
            "ENRICHER_PROVIDERS_OFF": '["hunter_company", "hunter_person", "clearbit_person"]',
            "CLEARBIT_BASE_URL": f"{vendors}/clearbit",
            "CLEARBIT_API_KEY": "simulated",
            "CLEARBIT_RATE_LIMIT": "1000000",
            "HUNTER_BASE_URL": f"{vendors}/hunter",
            "HUNTER_API_KEY": "simulated",
            "HUNTER_RATE_LIMIT": "1000000",
        }


@asynccontextmanager
async def world() -> AsyncIterator[World]:
    """An embedded MongoDB in a directory of its own, and nothing else yet."""
    with tempfile.TemporaryDirectory(prefix="enricher-bench-") as name:
        directory = Path(name)
        with _mongod(directory) as binary:
            server = EmbeddedServer(directory / "data", binary=binary)
            async with (
                server,
                AsyncMongoClient[Document](server.uri, tz_aware=True) as client,
                before.checked_out(directory) as older,
            ):
                await client.admin.command("setParameter", 1, wiredTigerEngineRuntimeConfig=CACHE)
                yield World(server.uri, server.pid, client, directory, older)


@contextmanager
def _mongod(directory: Path) -> Iterator[Path]:
    """A `mongod` that ends with us, should the run itself be killed."""
    script = directory / "mongod"
    script.write_text(f'#!/bin/sh\nexec {shlex.join([*bound_to_us(), str(find_mongod())])} "$@"\n')
    script.chmod(0o755)
    yield script


async def settled(daemon: Program, count: int, within: float = 180.0) -> None:
    """Wait until so many leads are, by the daemon's own log, so that nobody asks the database meanwhile."""
    async with asyncio.timeout(within):
        while daemon.count("lead.settled") < count:
            assert daemon.process.returncode is None, daemon.tail()
            await asyncio.sleep(_GLANCE_SECONDS)


async def insert(leads: Leads, documents: Sequence[Document]) -> None:
    """In few commands."""
    for first in range(0, len(documents), AT_ONCE):
        await leads.insert_many(documents[first : first + AT_ONCE], ordered=False)


def sample(number: int, companies: int | None = None, **fields: object) -> Document:
    """A lead at a company of its own, or at one of so many; its address is always its own."""
    company = number if companies is None else number % companies
    email = f"pat-{number}@granite-otter-{company}.com"
    return {"_id": number, "email": email, "name": "Pat Example", **fields}


async def _end(process: asyncio.subprocess.Process) -> None:
    """By SIGTERM first, so that a parent takes its children along."""
    for end in (process.terminate, process.kill):
        if process.returncode is not None:
            return
        end()
        try:
            async with asyncio.timeout(_TIDY_SECONDS):
                await process.wait()
        except TimeoutError:
            continue


def _is_listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])
