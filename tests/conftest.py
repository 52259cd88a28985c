"""MongoDB for the tests: MONGODB_URI if set, else a container, else the embedded server.

Where none can be had, the tests that need one are skipped on a laptop and fail in CI: there a
green run must mean that they ran.
"""

from __future__ import annotations

import asyncio
import gc
import os
import shlex
import uuid
import warnings
from collections import defaultdict
from collections.abc import AsyncIterator, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import pytest
from hypothesis import HealthCheck, settings
from pymongo import AsyncMongoClient
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.database import AsyncDatabase

from enricher.errors import EmbeddedServerError
from enricher.lead import Document
from enricher.mongo.embedded import EmbeddedServer, ensure_primary, find_mongod
from tests.support import databases
from tests.support.processes import bound_to_us, server_directory
from tests.support.waiting import business

MONGODB_IMAGE = "mongo:7.0"
_ROOM_FOR_LARGE = "--wiredTigerEngineConfigString=cache_size=1G"
"""A document of 16 MB, twice with the oplog, fills so much of the embedded server's cache of 256 MB that its
write waits for room: the longer, the slower the disk, and on a server just started until it is refused (388)."""

if not os.environ.get("CI"):  # there hypothesis has a profile of its own, which does this and more
    settings.register_profile(
        "laptop", max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
    )
    settings.load_profile("laptop")
settings.register_profile("quick", settings(), max_examples=10)
settings.register_profile("thorough", settings(), max_examples=500)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that may take longest come first, so that none is still at work when all others are done."""
    longest: dict[Path, float] = defaultdict(float)
    for item in items:
        longest[item.path] = max(longest[item.path], _may_take(item))
    items.sort(key=lambda item: -longest[item.path])


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """What is imported and collected stays to the end: no collection of garbage need look at it, now or later."""
    gc.disable()
    yield
    gc.freeze()
    gc.enable()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Whatever hangs is ended. Here too a busy machine gets more time, and so does the wait in it, which
    knows better what did not come and is to say so first.

    A wrapper, as the plugin's own hook is, or that would have read the mark before."""
    seconds = _may_take(item) or float(item.config.getini("timeout"))
    item.add_marker(pytest.mark.timeout(2 * business() * seconds), append=False)
    return (yield)


def _may_take(item: pytest.Item) -> float:
    """The seconds that a test asks for beyond the usual; 0 for all others."""
    mark = item.get_closest_marker("timeout")
    return mark.args[0] if mark else 0.0


@pytest.fixture(scope="session")
def mongodb_uri(request: pytest.FixtureRequest) -> Iterator[str]:
    """A replica set with change streams, shared by the whole run."""
    with _replica_set(request) as uri, databases.shared(uri):
        yield uri


@contextmanager
def _replica_set(request: pytest.FixtureRequest) -> Iterator[str]:
    if uri := os.environ.get("MONGODB_URI"):
        yield uri
    elif _docker_answers():
        with _container() as uri:
            yield uri
    else:
        with _embedded(request.getfixturevalue("mongod")) as uri:
            yield uri


@pytest.fixture(scope="session")
def standalone_uri(mongod: Path) -> Iterator[str]:
    """A server that is no replica set: no change streams, no transactions."""
    with _embedded(mongod, standalone=True) as uri:
        yield uri


@pytest.fixture(scope="session")
def mongod(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `binary` for an `EmbeddedServer` that a killed test run does not leave behind."""
    try:
        command = shlex.join([*bound_to_us(), str(find_mongod())])
    except EmbeddedServerError as error:
        _unavailable(str(error))
    script = tmp_path_factory.mktemp("bin") / "mongod"
    script.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
    script.chmod(0o755)
    return script


@pytest.fixture
def in_memory() -> Iterator[Path]:
    """For the data of a server that a test starts, and starts again: on a disk each start waits for it."""
    with server_directory() as directory:
        yield directory


@pytest.fixture
async def database(mongodb_uri: str) -> AsyncIterator[AsyncDatabase[Document]]:
    """An empty database under a name of its own, dropped afterwards."""
    client: AsyncMongoClient[Document] = AsyncMongoClient(mongodb_uri, tz_aware=True)
    async with client:
        name = f"test_{uuid.uuid4().hex}"
        try:
            yield client[name]
        finally:
            await client.drop_database(name)


@pytest.fixture
def leads(database: AsyncDatabase[Document]) -> AsyncCollection[Document]:
    return database["leads"]


@contextmanager
def _embedded(mongod: Path, standalone: bool = False) -> Iterator[str]:
    """Started and stopped in loops of its own: it outlives the loop of each test."""
    with server_directory() as directory:
        server = EmbeddedServer(
            directory, standalone=standalone, binary=mongod, extra_args=[_ROOM_FOR_LARGE]
        )
        asyncio.run(server.start())
        try:
            yield server.uri
        finally:
            asyncio.run(server.stop())


@contextmanager
def _container() -> Iterator[str]:
    from testcontainers.core.container import DockerContainer

    container = DockerContainer(MONGODB_IMAGE, command="--replSet rs0 --bind_ip_all", ports=[27017])
    with container:
        host, port = container.get_container_host_ip(), container.get_exposed_port(27017)
        uri = f"mongodb://{host}:{port}/?directConnection=true"
        asyncio.run(_until_primary(uri))
        yield uri


async def _until_primary(uri: str) -> None:
    client: AsyncMongoClient[Document] = AsyncMongoClient(uri, serverSelectionTimeoutMS=60_000)
    async with client, asyncio.timeout(90):
        await ensure_primary(client, "rs0", "127.0.0.1:27017")


def _docker_answers() -> bool:
    with warnings.catch_warnings():  # a Docker client that cannot connect leaves its socket open
        warnings.simplefilter("ignore", ResourceWarning)
        answers = _ping_docker()
        gc.collect()
    return answers


def _ping_docker() -> bool:
    import docker  # type: ignore[import-untyped]

    try:
        client = docker.from_env(timeout=2)
    except docker.errors.DockerException:
        return False
    try:
        return bool(client.ping())
    except (docker.errors.DockerException, OSError):
        return False
    finally:
        client.close()


def _unavailable(reason: str) -> NoReturn:
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)
