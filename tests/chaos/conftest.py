"""The servers that the scenarios share, and the table at the end of the run."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.chaos.replica_set import ReplicaSet
from tests.chaos.report import VERDICTS, table


@pytest.fixture(scope="session")
def three_nodes(mongod: Path) -> Iterator[ReplicaSet]:
    """One set for the whole run: to form it takes seconds."""
    with tempfile.TemporaryDirectory(prefix="enricher-chaos-") as directory:
        servers = ReplicaSet(Path(directory), mongod)
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


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What was done, and what came of it."""
    if VERDICTS:
        terminalreporter.section("failures injected")
        for line in table(VERDICTS):
            terminalreporter.write_line(line)
