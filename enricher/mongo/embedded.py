"""Finds a `mongod` and runs it as a replica set of one: for first steps, demos and tests.

    async with EmbeddedServer(Path("enricher-data")) as server:
        AsyncMongoClient(server.uri)

The server is a process in its own session: Ctrl-C on the terminal reaches only the daemon, which drains
while its database is still there.

Two locks on the data directory decide which process runs mongod and which stops it. The kernel drops both
when their holder dies, however it dies, so neither a reused pid nor a stale file can mislead:

    mongod.lock     held by mongod while it lives; names its pid
    enricher.lock   held by the process that will stop mongod: the owner

    neither is held         start mongod, own it
    mongod.lock only        the owner was killed: adopt what runs, own it
    both                    use it as a guest, and leave it to its owner to stop

A guest loses the database when the owner ends; to share one in earnest, set MONGODB_URI. The port is kept
in `mongod.port`, for later guests and for the next start, which reuses it because writers have its URI in
their configuration.
"""

from __future__ import annotations

import asyncio
import fcntl
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import IO, Self

from pymongo import AsyncMongoClient
from pymongo.errors import OperationFailure, PyMongoError

from enricher.errors import EmbeddedServerError
from enricher.lead import Document
from enricher.mongo.server import close
from enricher.process.signals import end_if_cancelled

HOST = "127.0.0.1"
START_SECONDS = 120.0
"""A start takes 0.5 to 1 s; anything longer is recovery after a crash, or a machine that is very busy. A mongod
that ended is noticed at once."""
STOP_SECONDS = 10.0
ADOPT_SECONDS = 5.0
POLL_SECONDS = 0.02
PORT_ATTEMPTS = 3
"""Another process may take the free port before mongod binds it."""
EXIT_PORT_IN_USE = 48
NOT_YET_INITIALIZED = 94


def find_mongod(package: str = "fiftyone", path: str | None = None) -> Path:
    """Return the `mongod` of the installed wheel, else the one on PATH (or on `path`).

    The wheel's package is located, never imported: it may share its name with a large library.
    """
    spec = importlib.util.find_spec(package)
    for place in (spec.submodule_search_locations or ()) if spec else ():
        binary = Path(place) / "db" / "bin" / "mongod"
        if binary.is_file():
            return binary
    if on_path := shutil.which("mongod", path=path):
        return Path(on_path)
    raise EmbeddedServerError(
        'There is no embedded MongoDB: install it with `pip install "lead-enricher[embedded]"`, '
        "or set MONGODB_URI to a server of your own."
    )


async def ensure_primary(
    client: AsyncMongoClient[Document], replica_set: str, address: str
) -> None:
    """Make the lone server that `client` connects to directly the primary of a set of one.

    Idempotent; also moves a set whose configuration names another address.
    """
    member = {"_id": 0, "host": address}
    try:
        config = (await client.admin.command("replSetGetConfig"))["config"]
    except OperationFailure as error:
        if error.code != NOT_YET_INITIALIZED:
            raise
        fresh = {"members": [member], "settings": {"electionTimeoutMillis": 500}}
        await client.admin.command("replSetInitiate", {"_id": replica_set, **fresh})
    else:
        if [known["host"] for known in config["members"]] != [address]:
            moved = config | {"members": [member], "version": config["version"] + 1}
            await client.admin.command("replSetReconfig", moved, force=True)
    while not (await client.admin.command("hello")).get("isWritablePrimary"):
        await asyncio.sleep(POLL_SECONDS)


class EmbeddedServer:
    """One `mongod` on 127.0.0.1 over `data_dir`, started on entry and stopped on exit.

    `port=0` takes the port of the last run when it is free, else any. A guest (see the module's
    docstring) uses the port that the owner chose. Raises `EmbeddedServerError`, and then leaves nothing
    running.
    """

    def __init__(
        self,
        data_dir: Path,
        port: int = 0,
        replica_set: str = "rs0",
        standalone: bool = False,
        extra_args: Sequence[str] = (),
        binary: Path | None = None,
    ) -> None:
        self.data_dir = data_dir.resolve()
        self._wanted_port = port
        self._replica_set = None if standalone else replica_set
        self._extra_args = extra_args
        self._binary = binary
        self._ownership: IO[bytes] | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._log_begins_at = 0

    @property
    def uri(self) -> str:
        """The URI that writers connect to."""
        query = f"?replicaSet={self._replica_set}" if self._replica_set else ""
        return f"mongodb://{HOST}:{self.port}/{query}"

    @property
    def port(self) -> int:
        """The port where mongod listens, or last listened."""
        return self._read_number("mongod.port")

    @property
    def pid(self) -> int:
        """The pid of mongod while it runs; 0 after it was stopped."""
        return self._read_number("mongod.lock")

    @property
    def is_owner(self) -> bool:
        """False for a guest, whose `stop` leaves mongod running."""
        return self._ownership is not None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Return once the server takes writes. `start` and `stop` may run in different loops."""
        try:
            async with asyncio.timeout(START_SECONDS):
                await self._come_up()
            end_if_cancelled()
        except BaseException as error:
            await self.stop()
            if isinstance(error, TimeoutError):
                raise self._failure(f"was not ready within {START_SECONDS:.0f} s") from error
            if isinstance(error, PyMongoError | OSError):
                raise self._failure(f"could not be started ({error})") from error
            raise

    async def stop(self) -> None:
        """End mongod if it is ours, and wait until it is gone."""
        if self._ownership is None:
            return
        try:
            await self._end()
        finally:
            self._ownership.close()
            self._ownership = self._process = None

    def _make_data_dir(self) -> None:
        """Find mongod before creating its directory, so that no empty one is left behind."""
        if not self.data_dir.exists():
            self._binary = self._binary or find_mongod()
        try:
            self.data_dir.mkdir(parents=True, exist_ok=True)
            (self.data_dir / "enricher.lock").touch()
        except OSError as error:
            raise EmbeddedServerError(
                f"The embedded MongoDB cannot write to {self.data_dir} ({error.strerror}): start it "
                "where you may write, or set MONGODB_URI to a server of your own."
            ) from error

    async def _come_up(self) -> None:
        self._make_data_dir()
        while (ownership := _try_lock(self.data_dir / "enricher.lock")) is None:
            if await self._answers():
                return  # drivers themselves wait for the primary that the owner sets up
            await asyncio.sleep(POLL_SECONDS)
        self._ownership = ownership
        if not await self._adopt():
            await self._launch()
        if self._replica_set:
            async with _connected(self.port) as client:
                await ensure_primary(client, self._replica_set, f"{HOST}:{self.port}")

    async def _adopt(self) -> bool:
        """Take over a mongod whose owner died; end it if it is unusable as it is."""
        if self._wanted_port in (0, self.port):
            with suppress(TimeoutError):
                async with asyncio.timeout(ADOPT_SECONDS):
                    return await self._until_it_answers()
        await self._end()
        return False

    async def _launch(self) -> None:
        for _ in range(1 if self._wanted_port else PORT_ATTEMPTS):
            process = self._spawn()
            if await self._until_it_answers():
                return
            if process.returncode != EXIT_PORT_IN_USE:
                break
        raise self._failure("ended while it was starting")

    def _spawn(self) -> subprocess.Popen[bytes]:
        port = self._wanted_port or _free_port(self.port)
        (self.data_dir / "mongod.port").write_text(str(port))
        log = self.data_dir / "mongod.log"
        command = [str(self._binary or find_mongod()), *self._arguments(port, log)]
        with log.open("ab") as out:  # a dynamic loader complains before mongod opens its log
            self._log_begins_at = out.tell()
            self._process = subprocess.Popen(  # noqa: S603 - no shell, our own arguments
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
            )
        return self._process

    def _arguments(self, port: int, log: Path) -> list[str]:
        replication = [f"--replSet={self._replica_set}", "--oplogSize=256"]
        return [
            *(f"--dbpath={self.data_dir}", f"--bind_ip={HOST}", f"--port={port}"),
            "--nounixsocket",  # the path of a socket is limited to 107 bytes, a TMPDIR is not
            *("--quiet", "--logappend", f"--logpath={log}"),
            "--wiredTigerCacheSizeGB=0.25",
            "--setParameter=diagnosticDataCollectionEnabled=false",
            *(replication if self._replica_set else []),
            *self._extra_args,
        ]

    async def _until_it_answers(self) -> bool:
        """True once our mongod answers, False if it ended before it did."""
        while self._is_running():
            if await self._answers():
                return True
            await asyncio.sleep(POLL_SECONDS)
        return False

    async def _answers(self) -> bool:
        """True if this directory's mongod answers at its port, in the mode we want."""
        if not _is_listening(self.port):
            return False
        try:
            async with _connected(self.port) as client:
                options = (await client.admin.command("getCmdLineOpts"))["parsed"]
        except PyMongoError:
            return False
        found = (options["storage"]["dbPath"], options.get("replication", {}).get("replSet"))
        return found == (str(self.data_dir), self._replica_set)

    async def _end(self) -> None:
        for number in (signal.SIGTERM, signal.SIGKILL):
            pid = self._process.pid if self._process else self.pid
            if not self._is_running():
                return
            with suppress(ProcessLookupError, TimeoutError):
                if pid:  # an adopted mongod may not have written it yet; 0 would be ourselves
                    os.kill(pid, number)
                async with asyncio.timeout(STOP_SECONDS):
                    while self._is_running():
                        await asyncio.sleep(POLL_SECONDS)

    def _is_running(self) -> bool:
        if self._process is not None:
            return self._process.poll() is None
        return _is_locked(self.data_dir / "mongod.lock")

    def _read_number(self, name: str) -> int:
        """Return the number in the file; 0 when the file is missing or not yet written."""
        with suppress(FileNotFoundError, ValueError):
            return int((self.data_dir / name).read_text())
        return 0

    def _failure(self, what: str) -> EmbeddedServerError:
        """Quote the last line of this start's log, preferably one that mongod calls an error."""
        log = self.data_dir / "mongod.log"
        text = log.read_bytes()[self._log_begins_at :] if log.exists() else b""
        lines = text.decode(errors="replace").splitlines() or ["its log is empty"]
        errors = [line for line in lines if '"s":"E"' in line or '"s":"F"' in line]
        return EmbeddedServerError(f"The embedded MongoDB {what}: {(errors or lines)[-1]}")


@asynccontextmanager
async def _connected(port: int) -> AsyncIterator[AsyncMongoClient[Document]]:
    client: AsyncMongoClient[Document] = AsyncMongoClient(
        HOST, port, directConnection=True, serverSelectionTimeoutMS=2000
    )
    try:
        yield client
    finally:
        await close(client)


def _is_listening(port: int) -> bool:
    """Probe the port before the driver does: a refused connection makes a driver wait half a second."""
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0


def _free_port(preferred: int) -> int:
    for port in (preferred, 0):
        with suppress(OSError), socket.create_server((HOST, port)) as probe:
            return int(probe.getsockname()[1])
    raise EmbeddedServerError(f"There is no free port on {HOST}.")


def _try_lock(path: Path) -> IO[bytes] | None:
    """Return the open file that holds the lock until it is closed; `None` if another process has it."""
    file = path.open("ab")
    with suppress(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return file
    file.close()
    return None


def _is_locked(path: Path) -> bool:
    if (probe := _try_lock(path)) is not None:
        probe.close()
    return probe is None
