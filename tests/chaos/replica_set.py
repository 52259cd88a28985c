"""Three real `mongod` processes as one replica set, each of which a test can stop, kill or pause.

    async with ReplicaSet(directory, binary) as servers:
        old = await servers.primary()
        old.kill()
        new = await servers.primary(other_than=old)

Elections take a second or two, as they do not in a set with the default ten seconds of patience;
nothing else differs from what one would run. Fail points are allowed. A `lone_node` may
have an oplog small enough to roll over within a test; a `GuardedSet` asks for credentials.
"""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlencode

from pymongo import AsyncMongoClient
from pymongo.errors import AutoReconnect, PyMongoError

from enricher.lead import Document
from enricher.mongo.server import close
from tests.support.waiting import eventually

HOST = "127.0.0.1"
NAME = "chaos"
NODES = 3
OPLOG_MB = 64
START_SECONDS = 60.0
_LONGER_THAN_ANY_TEST = 600
ELECTION = {"electionTimeoutMillis": 1000, "heartbeatIntervalMillis": 500}


@dataclass(slots=True)
class Node:
    """One server; its port and its data stay the same from one life to the next."""

    directory: Path
    binary: Path
    port: int
    arguments: tuple[str, ...] = (f"--oplogSize={OPLOG_MB}",)
    credentials: dict[str, Any] = field(default_factory=dict)
    """Of the tests' own clients, where access is controlled."""
    _process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"{HOST}:{self.port}"

    @property
    def pid(self) -> int:
        """Of its life now, or the last."""
        return self._process.pid if self._process else 0

    def start(self) -> None:
        """Launch it; it answers some time later."""
        self.directory.mkdir(parents=True, exist_ok=True)
        with (self.directory / "output").open("ab") as output:
            self._process = subprocess.Popen(
                self._command(), stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )

    def kill(self) -> None:
        """SIGKILL; returns when it is gone."""
        self.send(signal.SIGKILL)
        self._wait()

    def stop(self) -> None:
        """SIGTERM; returns when it is gone. A primary steps down first."""
        self.send(signal.SIGTERM)
        self._wait()

    def send(self, number: signal.Signals) -> None:
        """SIGSTOP makes it silent: connections stand and nothing comes back."""
        if self.is_running:
            assert self._process is not None
            os.kill(self._process.pid, number)

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def _wait(self) -> None:
        if self._process is not None:
            self._process.wait(timeout=30)

    def _command(self) -> list[str]:
        return [
            *(str(self.binary), f"--dbpath={self.directory}", f"--bind_ip={HOST}"),
            *(f"--port={self.port}", f"--replSet={NAME}", "--nounixsocket", *self.arguments),
            *("--quiet", "--logappend", f"--logpath={self.directory / 'log'}"),
            "--wiredTigerCacheSizeGB=0.25",
            "--setParameter=diagnosticDataCollectionEnabled=false",
            "--setParameter=enableTestCommands=1",
            "--setParameter=shutdownTimeoutMillisForSignaledShutdown=100",  # not 15 s of courtesy
        ]

    @asynccontextmanager
    async def client(self) -> AsyncIterator[AsyncMongoClient[Document]]:
        """To this server alone, whatever its state."""
        client: AsyncMongoClient[Document] = AsyncMongoClient(
            HOST,
            self.port,
            directConnection=True,
            serverSelectionTimeoutMS=2000,
            timeoutMS=5000,
            **self.credentials,
        )
        try:
            yield client
        finally:
            await close(client)

    async def command(self, *command: Any, **fields: Any) -> Document:
        async with self.client() as client:
            return await client.admin.command(*command, **fields)

    async def is_primary(self) -> bool:
        if not self.is_running:
            return False
        with suppress(PyMongoError):
            return bool((await self.command("hello")).get("isWritablePrimary"))
        return False


class ReplicaSet:
    """Three nodes; `start` returns when one of them is the primary and the others follow it."""

    def __init__(
        self,
        directory: Path,
        binary: Path,
        nodes: int = NODES,
        arguments: tuple[str, ...] = (f"--oplogSize={OPLOG_MB}",),
    ) -> None:
        self.nodes = [
            Node(directory / f"node-{number}", binary, port, arguments)
            for number, port in enumerate(_free_ports(nodes))
        ]

    @property
    def uri(self) -> str:
        hosts = ",".join(node.address for node in self.nodes)
        return f"mongodb://{hosts}/?replicaSet={NAME}"

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except BaseException:
            self.end()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        self.end()

    async def start(self) -> None:
        """The first start: form the set."""
        for node in self.nodes:
            node.start()
        for node in self.nodes:
            await eventually(partial(_answers, node), START_SECONDS)
        await self._initiate()
        await self.whole()

    async def _initiate(self) -> None:
        members = [{"_id": i, "host": node.address} for i, node in enumerate(self.nodes)]
        config = {"_id": NAME, "members": members, "settings": ELECTION}
        await self.nodes[0].command("replSetInitiate", config)

    def end(self) -> None:
        """Nothing of it is needed any more."""
        for node in self.nodes:
            node.kill()

    async def primary(self, other_than: Node | None = None, within: float = 30.0) -> Node:
        """The node that takes writes, once there is one."""
        node = await eventually(partial(self._primary, other_than), within)
        assert node is not None
        return node

    async def _primary(self, other_than: Node | None) -> Node | None:
        for node in self.nodes:
            if node is not other_than and await node.is_primary():
                return node
        return None

    async def step_down(self) -> Node:
        """The primary gives up its office; returns that node at once, before there is another."""
        primary = await self.primary()
        with suppress(AutoReconnect):
            await primary.command("replSetStepDown", 10, secondaryCatchUpPeriodSecs=5, force=True)
        return primary

    @asynccontextmanager
    async def without_a_primary(self) -> AsyncIterator[None]:
        """The primary gives up its office, and within the block none of them is elected."""
        primary = await self.primary()
        others = [node for node in self.nodes if node is not primary]
        for node in others:
            await node.command("replSetFreeze", _LONGER_THAN_ANY_TEST)
        how = {"secondaryCatchUpPeriodSecs": 0, "force": True}  # else it waits for a follower
        try:
            await primary.command("replSetStepDown", _LONGER_THAN_ANY_TEST, **how)
            yield
        finally:
            for node in others:
                await node.command("replSetFreeze", 0)

    async def whole(self) -> None:
        """As at the beginning: every node runs and follows one primary; no fail point is on."""
        for node in self.nodes:
            node.send(signal.SIGCONT)
            if not node.is_running:
                node.start()
        await eventually(self._is_whole, START_SECONDS)
        for node in self.nodes:
            await node.command("configureFailPoint", "failCommand", mode="off")

    async def _is_whole(self) -> bool:
        try:
            primary = await self.primary()
            members = (await primary.command("replSetGetStatus"))["members"]
        except PyMongoError:  # it was the primary a moment ago, or is on its way up
            return False
        states = sorted(member["stateStr"] for member in members)
        return states == ["PRIMARY", *["SECONDARY"] * (len(self.nodes) - 1)]

    @asynccontextmanager
    async def failing(
        self, *commands: str, times: int | None = None, **how: Any
    ) -> AsyncIterator[None]:
        """The primary fails the daemons' next `times` of these commands, or all within the block."""
        primary = await self.primary()
        mode = "alwaysOn" if times is None else {"times": times}
        data = {"failCommands": list(commands), "appName": "enricher", **how}
        await primary.command("configureFailPoint", "failCommand", mode=mode, data=data)
        try:
            yield
        finally:
            await primary.command("configureFailPoint", "failCommand", mode="off")


def lone_node(directory: Path, binary: Path, oplog_mb: int) -> ReplicaSet:
    """A set of one. Its oplog is cut only up to the last checkpoint: so one is made each second."""
    return ReplicaSet(directory, binary, 1, (f"--oplogSize={oplog_mb}", "--syncdelay=1"))


class GuardedSet(ReplicaSet):
    """One node with access control; its `uri` is that of a user who may do everything.

    `arguments` and `access` are for what else it asks of its clients, as TLS: options of mongod, and
    those of a URI.
    """

    def __init__(
        self,
        directory: Path,
        binary: Path,
        arguments: tuple[str, ...] = (),
        access: Mapping[str, str] | None = None,
    ) -> None:
        key = directory / "key"
        key.write_text("x" * 64)
        key.chmod(0o600)
        super().__init__(directory, binary, 1, ("--auth", f"--keyFile={key}", *arguments))
        self._access = dict(access or {})
        self.nodes[0].credentials = dict(self._access)

    @property
    def uri(self) -> str:
        found = self.nodes[0].credentials
        return self.uri_of(found["username"], found["password"], found["authSource"])

    def uri_of(self, username: str, password: str, authSource: str, **access: str) -> str:  # noqa: N803 - MongoDB's name
        """For this user, made in the database `authSource`; `access` differs from the set's own."""
        options = {"replicaSet": NAME, "authSource": authSource, **self._access, **access}
        address = self.nodes[0].address
        return f"mongodb://{username}:{password}@{address}/?{urlencode(options)}"

    async def _initiate(self) -> None:
        """Access control lets whoever comes first, from this machine, make one user."""
        await super()._initiate()
        node, password = await self.primary(), secrets.token_hex()
        await node.command("createUser", "root", pwd=password, roles=["root"])
        node.credentials |= {"username": "root", "password": password, "authSource": "admin"}


async def _answers(node: Node) -> bool:
    with suppress(PyMongoError):
        return bool(await node.command("ping"))
    return False


def _free_ports(count: int) -> list[int]:
    """All at once, or the same port might be found twice."""
    probes = [socket.create_server((HOST, 0)) for _ in range(count)]
    try:
        return [int(probe.getsockname()[1]) for probe in probes]
    finally:
        for probe in probes:
            probe.close()
