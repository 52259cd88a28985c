"""What the demo runs, started and ended together: MongoDB, the simulated vendors, the daemon.

    async with open_stage(seed=1) as stage:
        await stage.leads.insert_one({"email": ...})

MongoDB is the embedded server over a temporary directory, the vendors answer in this process, and the daemon
is the real program in its own process. Nothing of the visitor's own configuration reaches it, neither the
environment nor a `.env` in the current directory, or the demo might write to the visitor's leads and spend
their money. Everything stops in the order of dependence: daemon, vendors, MongoDB, directory.
"""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

from pymongo import AsyncMongoClient
from pymongo.asynchronous.collection import AsyncCollection

from enricher.lead import Document
from enricher.mongo.embedded import EmbeddedServer
from enricher.settings.load import OUR_PREFIXES
from enricher.simulator.server import (
    Simulator,
    variables_for,
    variables_for_register,
    variables_for_sites,
)

LATENCY_SECONDS = 0.15
JITTER_SECONDS = 0.2
RETRY_DELAY_SECONDS = 1
"""Instead of a minute: the visitor should see the second attempt."""
START_SECONDS = 60.0
DRAIN_SECONDS = 15.0
POLL_SECONDS = 0.05
_TAIL_LINES = 15
_DROPPED = (*OUR_PREFIXES, "MONGODB_", "LEADS_", "CREDENTIALS_DIRECTORY")
_KEY = "_API_KEY"
"""Suffix of the key of a third-party vendor: nobody simulates it, and a demo must not cost anything."""


class DaemonEnded(Exception):
    """Raised when the daemon ended, or never became ready, without having been told to stop."""


class DaemonProcess:
    """`enricher run` as a process in its own session: Ctrl-C reaches the demo alone."""

    def __init__(self, directory: Path, settings: Mapping[str, str]) -> None:
        self._directory = directory
        self._log = directory / "daemon.log"
        self._environment = {**_environment(), **settings}
        self._process: asyncio.subprocess.Process | None = None
        self.url = ""

    async def __aenter__(self) -> Self:
        """Start it, and return once it watches: a lead inserted from then on is new."""
        with self._log.open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "enricher", "run"),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._directory,
                env=self._environment,
                start_new_session=True,
            )
        try:
            async with asyncio.timeout(START_SECONDS):
                listening = await self._logged("http.listening")
                await self._logged("history.recorded")
        except TimeoutError as error:
            await self.stop()
            raise DaemonEnded(f"The daemon was not ready after {START_SECONDS:g} s.") from error
        except BaseException:
            await self.stop()
            raise
        self.url = f"http://{listening['host']}:{listening['port']}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def stop(self) -> None:
        """Let it drain, and wait until it has ended."""
        if self._process is None or self._process.returncode is not None:
            return
        self._process.terminate()
        try:
            async with asyncio.timeout(DRAIN_SECONDS):
                await self._process.wait()
        except TimeoutError:
            self.kill()
            await self._process.wait()

    def kill(self) -> None:
        """Kill it at once."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()

    def must_run(self) -> None:
        """Raise DaemonEnded if it does not run."""
        if self._process is not None and self._process.returncode is not None:
            raise DaemonEnded(f"The daemon ended with exit code {self._process.returncode}.")

    def tail(self) -> str:
        """Return the end of its log."""
        lines = self._log.read_text(errors="replace").splitlines() if self._log.exists() else []
        return "\n".join(lines[-_TAIL_LINES:])

    async def _logged(self, event: str) -> dict[str, Any]:
        while True:
            for line in self._log.read_text(errors="replace").splitlines():
                with suppress(ValueError):  # the last line may be half written
                    fields: dict[str, Any] = json.loads(line)
                    if fields.get("event") == event:
                        return fields
            self.must_run()
            await asyncio.sleep(POLL_SECONDS)


def _environment() -> dict[str, str]:
    """Return the visitor's environment without anything that is a setting of ours."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.upper().startswith(_DROPPED) and not name.endswith(_KEY) and name != "NO_COLOR"
    }


@dataclass(frozen=True, slots=True)
class Stage:
    """Everything up and running."""

    mongodb_uri: str
    leads: AsyncCollection[Document]
    simulator: Simulator
    daemon: DaemonProcess
    settings: Mapping[str, str] = field(default_factory=dict)
    """The settings that the daemon runs with."""
    explain: str = ""
    """A command that explains the lead whose `_id` follows, in any terminal of the machine."""


@asynccontextmanager
async def open_stage(seed: int) -> AsyncIterator[Stage]:
    """Start everything. Raises EmbeddedServerError without a MongoDB, DaemonEnded with the end of its log."""
    async with AsyncExitStack() as stack:
        directory = stack.enter_context(
            TemporaryDirectory(prefix="enricher-demo-", ignore_cleanup_errors=True)
        )
        server = await stack.enter_async_context(EmbeddedServer(Path(directory, "db")))
        client: AsyncMongoClient[Document] = AsyncMongoClient(server.uri, tz_aware=True)
        await stack.enter_async_context(client)
        simulator = await stack.enter_async_context(
            Simulator(seed, LATENCY_SECONDS, jitter=JITTER_SECONDS)
        )
        settings = _settings(server.uri, simulator)
        daemon = DaemonProcess(Path(directory), settings)
        explain = _script(Path(directory, "explain"), settings)
        try:
            await stack.enter_async_context(daemon)
            leads = client["crm"]["leads"]
            yield Stage(server.uri, leads, simulator, daemon, settings, explain)
        except DaemonEnded as ended:
            raise DaemonEnded(f"{ended} The end of its log:\n{daemon.tail()}") from ended


def _settings(mongodb_uri: str, simulator: Simulator) -> dict[str, str]:
    return {
        "MONGODB_URI": mongodb_uri,
        "ENRICHER_HTTP_PORT": "0",
        "ENRICHER_LOG_FORMAT": "json",
        "ENRICHER_RETRY_DELAY_SECONDS": str(RETRY_DELAY_SECONDS),
        **variables_for(simulator),
        **variables_for_sites(simulator),
        **variables_for_register(simulator),
    }


def _script(path: Path, settings: Mapping[str, str]) -> str:
    """Write a script that runs `enricher explain` with the daemon's settings, and none of its caller's."""
    given = " ".join(shlex.quote(f"{name}={value}") for name, value in settings.items())
    python = f"{shlex.quote(sys.executable)} -m enricher explain"
    passed = 'PATH="$PATH" HOME="$HOME" TERM="${TERM-}" PYTHONPATH="${PYTHONPATH-}"'
    lines = (
        "#!/bin/sh",
        'cd "$(dirname "$0")" || exit',
        f'exec env -i {passed} {given} {python} "$@"',
    )
    path.write_text("\n".join((*lines, "")), "utf-8")
    path.chmod(0o700)
    return str(path)
