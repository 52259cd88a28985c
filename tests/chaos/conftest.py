"""The servers that the scenarios share, and the table at the end of the run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.chaos.replica_set import ReplicaSet
from tests.chaos.report import VERDICTS, Verdict, table
from tests.support.processes import server_directory


@pytest.fixture(scope="session")
def three_nodes(mongod: Path) -> Iterator[ReplicaSet]:
    """One set for the whole run: to form it takes seconds."""
    with server_directory() as directory:
        servers = ReplicaSet(directory, mongod)
        try:
            asyncio.run(servers.start())
            yield servers
        finally:
            servers.end()


@pytest_asyncio.fixture
async def servers(three_nodes: ReplicaSet) -> AsyncIterator[ReplicaSet]:
    """The same three, all of them up before and after each test."""
    await three_nodes.whole()
    yield three_nodes
    await three_nodes.whole()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A worker hands over what it saw."""
    if (output := getattr(session.config, "workeroutput", None)) is not None:
        output["verdicts"] = [asdict(verdict) for verdict in VERDICTS]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Workers end in any order; one that died has left nothing."""
    verdicts = getattr(node, "workeroutput", {}).get("verdicts", ())
    VERDICTS.extend(Verdict(**verdict) for verdict in verdicts)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What was done, and what came of it."""
    if VERDICTS:
        terminalreporter.section("failures injected")
        for line in table(VERDICTS):
            terminalreporter.write_line(line)
