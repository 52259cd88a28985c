"""The embedded server: what a restart keeps, who stops it, and that nothing is left running."""

from __future__ import annotations

import asyncio
import fcntl
import gc
import itertools
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from pymongo import AsyncMongoClient
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import OperationFailure

from enricher.errors import EmbeddedServerError
from enricher.lead import Document
from enricher.mongo.embedded import EmbeddedServer, find_mongod
from tests.support.processes import bound_to_us
from tests.support.waiting import eventually, patience

pytestmark = pytest.mark.slow

OWNER = """
import asyncio, sys
from pathlib import Path
from enricher.mongo.embedded import EmbeddedServer

async def own() -> None:
    async with EmbeddedServer(Path(sys.argv[1]), standalone=True):
        print("up", flush=True)
        await asyncio.to_thread(sys.stdin.read)

asyncio.run(own())
"""
"""Runs a server until its standard input ends, or until it is killed."""

CHANGE_STREAM_NEEDS_REPLICA_SET = 40573


@pytest.fixture
def data_dir(tmp_path: Path) -> Iterator[Path]:
    """Its path is longer than a socket's may be; its mongod must be gone when the test ends."""
    directory = tmp_path / ("data of a replica set " * 5).strip()
    yield directory
    if _is_running(directory):
        os.kill(int((directory / "mongod.lock").read_text()), signal.SIGKILL)
        pytest.fail("left a mongod running")


def _is_running(data_dir: Path) -> bool:
    """By the lock that mongod holds: a pid may be a zombie's, or another process's by now."""
    path = data_dir / "mongod.lock"
    if not path.exists():
        return False
    with path.open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


@asynccontextmanager
async def _leads(server: EmbeddedServer) -> AsyncIterator[AsyncCollection[Document]]:
    """As any writer connects: by the URI, which must lead to the primary."""
    client: AsyncMongoClient[Document] = AsyncMongoClient(server.uri, serverSelectionTimeoutMS=5000)
    async with client:
        yield client["crm"]["leads"]


@asynccontextmanager
async def _killed_owner(data_dir: Path) -> AsyncIterator[int]:
    """The pid of a mongod whose owner was ended by SIGKILL."""
    owner = await asyncio.create_subprocess_exec(
        *(*bound_to_us(), sys.executable, "-c", OWNER, str(data_dir)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert owner.stdout is not None
    async with patience(30):
        assert await owner.stdout.readline() == b"up\n"
    owner.kill()
    await owner.communicate()
    yield int((data_dir / "mongod.lock").read_text())


def _a_free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def test_it_takes_writes_and_tells_of_them_as_soon_as_it_is_started(
    data_dir: Path, mongod: Path
) -> None:
    async with (
        EmbeddedServer(data_dir, binary=mongod) as server,
        _leads(server) as leads,
        await leads.watch() as changes,
    ):
        await leads.insert_one({"_id": 1})
        assert (await changes.next())["documentKey"] == {"_id": 1}
    assert not _is_running(data_dir)


async def test_a_restart_keeps_the_data_and_the_uri_that_writers_know(
    data_dir: Path, mongod: Path
) -> None:
    async with EmbeddedServer(data_dir, binary=mongod) as first, _leads(first) as leads:
        await leads.insert_one({"_id": 1})
        uri = first.uri
    async with EmbeddedServer(data_dir, binary=mongod) as second, _leads(second) as leads:
        assert second.uri == uri
        assert await leads.find_one() == {"_id": 1}


async def test_it_moves_to_another_port_with_its_data(data_dir: Path, mongod: Path) -> None:
    async with EmbeddedServer(data_dir, binary=mongod) as first, _leads(first) as leads:
        await leads.insert_one({"_id": 1})
    port = _a_free_port()
    async with EmbeddedServer(data_dir, port=port, binary=mongod) as moved, _leads(moved) as leads:
        assert moved.port == port
        await leads.insert_one({"_id": 2})
        assert await leads.count_documents({}) == 2


async def test_it_takes_another_port_when_its_last_one_is_taken(
    data_dir: Path, mongod: Path
) -> None:
    async with EmbeddedServer(data_dir, standalone=True, binary=mongod) as first:
        taken = first.port
    with socket.create_server(("127.0.0.1", taken)):
        async with EmbeddedServer(data_dir, standalone=True, binary=mongod) as second:
            assert second.port != taken


async def test_a_wanted_port_that_is_taken_is_an_error_that_says_so(
    data_dir: Path, mongod: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        server = EmbeddedServer(data_dir, port=taken.getsockname()[1], binary=mongod)
        with pytest.raises(EmbeddedServerError, match="Address already in use"):
            await server.start()


async def test_it_starts_again_after_mongod_was_killed(data_dir: Path, mongod: Path) -> None:
    async with EmbeddedServer(data_dir, binary=mongod) as server:
        async with _leads(server) as leads:
            await leads.insert_one({"_id": 1})
        os.kill(server.pid, signal.SIGKILL)
        await eventually(lambda: not _is_running(data_dir))
    async with EmbeddedServer(data_dir, binary=mongod) as server, _leads(server) as leads:
        assert await leads.find_one() == {"_id": 1}


async def test_what_a_killed_owner_left_running_is_adopted_and_stopped(data_dir: Path) -> None:
    async with (
        _killed_owner(data_dir) as pid,
        EmbeddedServer(data_dir, standalone=True) as server,
        _leads(server) as leads,
    ):
        assert (server.pid, server.is_owner) == (pid, True)
        await leads.insert_one({})
    assert not _is_running(data_dir)


async def test_what_a_killed_owner_left_running_is_replaced_when_it_has_the_wrong_port(
    data_dir: Path, mongod: Path
) -> None:
    port = _a_free_port()
    async with (
        _killed_owner(data_dir) as pid,
        EmbeddedServer(data_dir, port=port, standalone=True, binary=mongod) as server,
    ):
        assert (server.pid != pid, server.port) == (True, port)


async def test_a_guest_leaves_the_server_to_its_owner(data_dir: Path, mongod: Path) -> None:
    async with EmbeddedServer(data_dir, binary=mongod) as owner:
        async with EmbeddedServer(data_dir, binary=mongod) as guest:
            assert (guest.uri, guest.pid, guest.is_owner) == (owner.uri, owner.pid, False)
        async with _leads(owner) as leads:
            await leads.insert_one({})


async def test_two_that_start_at_once_share_one_server(data_dir: Path, mongod: Path) -> None:
    servers = [EmbeddedServer(data_dir, binary=mongod) for _ in range(2)]
    await asyncio.gather(*(server.start() for server in servers))
    try:
        assert sorted(server.is_owner for server in servers) == [False, True]
        async with _leads(servers[0]) as leads, _leads(servers[1]) as same_leads:
            await leads.insert_one({"_id": 1})
            assert await same_leads.find_one() == {"_id": 1}
    finally:
        for server in servers:
            await server.stop()


async def test_a_start_that_is_cancelled_leaves_nothing_running(
    data_dir: Path, mongod: Path
) -> None:
    start = asyncio.create_task(EmbeddedServer(data_dir, binary=mongod).start())
    await eventually(lambda: _is_running(data_dir))
    start.cancel()
    with pytest.raises(asyncio.CancelledError):
        await start
    assert not _is_running(data_dir)


async def test_a_start_that_is_cancelled_at_any_step_closes_its_connections(
    data_dir: Path, mongod: Path
) -> None:
    """A client that is not closed is an error of the test that is running when it is collected."""
    async with EmbeddedServer(data_dir, standalone=True, binary=mongod):
        for steps in itertools.count():
            guest = EmbeddedServer(data_dir, standalone=True, binary=mongod)
            start = asyncio.create_task(guest.start())
            for _ in range(steps):
                await asyncio.sleep(0)
            start.cancel()
            await asyncio.wait([start])
            if not start.cancelled():
                break
        gc.collect()


async def test_a_ctrl_c_on_the_terminal_does_not_reach_it(data_dir: Path, mongod: Path) -> None:
    async with EmbeddedServer(data_dir, standalone=True, binary=mongod) as server:
        assert os.getpgid(server.pid) == server.pid != os.getpgid(0)


async def test_a_standalone_server_has_no_change_streams(data_dir: Path, mongod: Path) -> None:
    async with (
        EmbeddedServer(data_dir, standalone=True, binary=mongod) as server,
        _leads(server) as leads,
    ):
        with pytest.raises(OperationFailure) as refused:
            await leads.watch()
        assert refused.value.code == CHANGE_STREAM_NEEDS_REPLICA_SET


def test_a_missing_mongod_says_what_to_install_or_set(tmp_path: Path) -> None:
    with pytest.raises(EmbeddedServerError) as missing:
        find_mongod(package="a_package_that_is_not_there", path=str(tmp_path))
    assert 'pip install "lead-enricher[embedded]"' in str(missing.value)
    assert "MONGODB_URI" in str(missing.value)


async def test_a_place_where_nobody_may_write_is_named(tmp_path: Path, mongod: Path) -> None:
    (tmp_path / "file").touch()
    place = tmp_path / "file" / "enricher-data"
    with pytest.raises(EmbeddedServerError) as refused:
        await EmbeddedServer(place, binary=mongod).start()
    assert str(refused.value).startswith(f"The embedded MongoDB cannot write to {place} (Not a")


async def test_without_a_mongod_no_empty_directory_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("enricher.mongo.embedded.find_mongod", _no_mongod)
    with pytest.raises(EmbeddedServerError, match="no embedded MongoDB"):
        await EmbeddedServer(tmp_path / "enricher-data").start()
    assert not (tmp_path / "enricher-data").exists()


def _no_mongod() -> Path:
    return find_mongod(package="a_package_that_is_not_there", path="")


def test_a_mongod_on_the_path_serves_where_the_wheel_is_missing(tmp_path: Path) -> None:
    binary = tmp_path / "mongod"
    binary.touch(mode=0o755)
    assert find_mongod(package="a_package_that_is_not_there", path=str(tmp_path)) == binary
