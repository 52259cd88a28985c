"""What systemd hears, at a real datagram socket of each kind."""

from __future__ import annotations

import asyncio
import os
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path

import pytest
from loguru import logger

from enricher.process.systemd import Supervisor, supervised, supervisor
from tests.support.manager import Manager


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest) -> Iterator[Manager]:
    with tempfile.TemporaryDirectory() as directory:  # a test's own may be too long for a socket
        path = str(Path(directory, "notify"))
        name = f"@enricher-{uuid.uuid4().hex}" if request.param == "abstract" else path
        with closing(Manager(name)) as listening:
            yield listening


@pytest.fixture
def said() -> Iterator[list[str]]:
    lines: list[str] = []
    logger.remove()
    logger.add(lambda message: lines.append(message.record["message"]))
    yield lines
    logger.remove()


def environ(manager: Manager, **variables: object) -> Mapping[str, str]:
    return {"NOTIFY_SOCKET": manager.name, **{name: str(v) for name, v in variables.items()}}


async def test_it_says_that_it_is_up_and_that_it_stops_before_it_has_stopped(
    manager: Manager,
) -> None:
    stop = asyncio.Event()
    async with supervised(stop, environ(manager)):
        assert await manager.hears() == "READY=1"
        stop.set()
        assert await manager.hears() == "STOPPING=1"
    assert manager.has_heard_nothing()


async def test_the_watchdog_is_fed_for_as_long_as_the_loop_turns_also_while_it_stops(
    manager: Manager,
) -> None:
    stop = asyncio.Event()
    async with supervised(stop, environ(manager, WATCHDOG_USEC=30_000, WATCHDOG_PID=os.getpid())):
        assert await manager.hears() == "READY=1"
        stop.set()
        heard = [await manager.hears() for _ in range(5)]
    assert sorted(heard) == ["STOPPING=1", *["WATCHDOG=1"] * 4]


async def test_without_a_watchdog_or_with_that_of_another_process_nothing_feeds_it() -> None:
    for variables in (
        {},
        {"WATCHDOG_USEC": "0"},
        {"WATCHDOG_USEC": "soon"},
        {"WATCHDOG_USEC": "30000", "WATCHDOG_PID": str(os.getpid() + 1)},
    ):
        found = supervisor({"NOTIFY_SOCKET": "/run/systemd/notify", **variables})
        assert found.turn_seconds is None, variables


async def test_it_speaks_more_than_twice_within_the_patience_of_the_watchdog() -> None:
    found = supervisor({"NOTIFY_SOCKET": "@x", "WATCHDOG_USEC": str(30 * 10**6)})
    assert found == Supervisor("\0x", 10.0)


@pytest.mark.parametrize("variables", [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "vsock:2:9"}])
async def test_without_a_socket_of_systemd_nothing_is_told(
    variables: Mapping[str, str], said: list[str]
) -> None:
    stop = asyncio.Event()
    async with supervised(stop, {"WATCHDOG_USEC": "30000", **variables}):
        stop.set()
        await asyncio.sleep(0)
    assert supervisor(variables).address is None
    assert said == []


async def test_a_socket_where_nobody_listens_is_said_once_and_ends_nothing(
    said: list[str], tmp_path: Path
) -> None:
    over = Supervisor(str(tmp_path / "gone"), None)
    over.tell("READY=1")
    over.tell("WATCHDOG=1")
    assert said == ["systemd.not_told"]


async def test_a_manager_who_does_not_read_holds_nobody_up(
    manager: Manager, said: list[str]
) -> None:
    over = supervisor(environ(manager))
    for _ in range(2_000):
        over.tell("WATCHDOG=1")
    assert said == ["systemd.not_told"]
