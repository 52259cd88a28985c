"""The commands as an operator meets them: exit codes, one clear line, and nothing left running."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TypeAlias
from urllib.parse import urlsplit

import pytest
from pymongo import AsyncMongoClient
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.database import AsyncDatabase

from enricher import __version__
from enricher.catalogue import VENDORS
from enricher.contract.formats import SchemaFormat, contract
from enricher.errors import ExitCode
from enricher.lead import Document
from enricher.mongo import server, sharding
from enricher.mongo.embedded import EmbeddedServer
from enricher.privileges import desired, required
from enricher.queue.indexes import Indexes
from enricher.simulator.server import Simulator
from tests.support.processes import Daemon
from tests.support.roles import documented
from tests.support.waiting import business, eventually, patience

COMMANDS = (
    *("run", "check", "status", "reenrich", "backfill", "forget", "schema", "simulator", "demo"),
)
PASSWORD = "open-sesame-4711"
SECONDS_TO_GIVE_UP = 20.0
"""It takes 5 s and a start of Python; the rest is for a busy machine."""


@asynccontextmanager
async def _ended(
    command: str,
    *arguments: str,
    env: Mapping[str, str] | None = None,
    within: float = 30.0,
) -> AsyncIterator[Daemon]:
    """The command after its end."""
    async with Daemon(command, *arguments, env=env) as process:
        await process.wait(within)
        yield process


def _code(process: Daemon) -> int | None:
    return process.process.returncode


def _stderr(process: Daemon) -> list[str]:
    """Lines on stderr that are no log lines."""
    return [line["text"] for line in process.lines if set(line) == {"text"}]


def _verdicts(process: Daemon) -> dict[str, str]:
    """Subject -> state of the lines of `check`."""
    rows = process.stdout.splitlines()
    return {row[:16].strip(): row[16:].split()[0] for row in rows}


def _of(database: AsyncDatabase[Document], uri: str) -> dict[str, str]:
    return {"MONGODB_URI": uri, "MONGODB_DATABASE": database.name}


# -- arguments and settings ----------------------------------------------------------------


async def test_help_names_every_command_and_version_the_version() -> None:
    async with _ended("--help") as shown, _ended("--version") as version:
        assert (_code(shown), _code(version)) == (ExitCode.OK, ExitCode.OK)
        assert [name for name in COMMANDS if f" {name} " not in shown.stdout] == []
        assert version.stdout == f"enricher {__version__}\n"


@pytest.mark.parametrize("format_", SchemaFormat)
async def test_the_contract_is_printed_whatever_the_settings_are(format_: SchemaFormat) -> None:
    async with _ended("schema", "--format", format_, env={"ENRICHER_CONCURRENCY": "x"}) as printed:
        assert (_code(printed), printed.stdout) == (ExitCode.OK, contract(format_))


async def test_the_contract_is_printed_as_json_unless_told_otherwise() -> None:
    async with _ended("schema") as printed, _ended("schema", "--format", "xml") as refused:
        assert json.loads(printed.stdout)["title"] == "Lead"
        assert _code(refused) == ExitCode.SETTINGS


async def test_the_help_of_the_demo_says_that_it_goes_on_and_fits_a_terminal() -> None:
    async with _ended("demo", "--help", env={"COLUMNS": "80"}) as shown:
        assert "without --once, more" in shown.stdout
        assert "Without --once it goes on, with one new lead after another, until Ctrl-C." in (
            shown.stdout
        )


async def test_wrong_arguments_exit_2() -> None:
    async with (
        _ended("bogus") as command,
        _ended("run", "--bogus") as option,
        _ended("demo", "--leads", "0") as value,
    ):
        assert {_code(command), _code(option), _code(value)} == {ExitCode.SETTINGS}


async def test_every_wrong_setting_gets_one_line_and_a_secret_is_not_shown() -> None:
    wrong = {
        "ENRICHER_CONCURENCY": "8",
        "ENRICHER_LEASE_SECONDS": "soon",
        "HUNTER_API_KEY": "half a key",
        "MONGODB_URI": f"mongodb://ada:{PASSWORD}@host:port/",
    }
    async with _ended("run", env=wrong) as run:
        lines = _stderr(run)
    assert _code(run) == ExitCode.SETTINGS
    assert sorted(line.split(":")[0] for line in lines) == sorted(wrong)
    assert len(run.lines) == len(wrong), "nothing else is said"
    text = "\n".join(lines)
    assert "did you mean ENRICHER_CONCURRENCY?" in text
    assert "half a key" not in text
    assert PASSWORD not in text


async def test_a_uri_that_only_the_driver_finds_wrong_exits_2_without_its_password() -> None:
    uri = f"mongodb+srv://ada:{PASSWORD}@cluster.invalid:27017/"
    async with _ended("run", env={"MONGODB_URI": uri}) as run:
        assert _code(run) == ExitCode.SETTINGS
        [line] = _stderr(run)
    assert line.startswith("MONGODB_URI: ")
    assert PASSWORD not in line


# -- MongoDB -------------------------------------------------------------------------------


async def test_an_unreachable_mongodb_ends_run_with_one_line_and_check_after_all_lines() -> None:
    async with Simulator() as simulator:
        env = {"MONGODB_URI": "mongodb://127.0.0.1:1/", **_vendors(simulator, "right-key")}
        began = time.monotonic()
        async with Daemon("run", env=env) as run, Daemon("check", env=env) as check:
            assert set(await asyncio.gather(run.wait(), check.wait())) == {ExitCode.DATABASE}
            took = time.monotonic() - began
    [line] = _stderr(run)
    assert "127.0.0.1:1" in line
    assert _stderr(check) == [line]
    verdicts = _verdicts(check)
    assert (verdicts["mongodb"], verdicts["stream"]) == ("FAILED", "skipped")
    assert (verdicts["clearbit"], verdicts["hunter"]) == ("ok", "ok")
    assert took < SECONDS_TO_GIVE_UP * business()


async def test_a_standalone_server_is_polled_and_the_log_says_so_once(standalone_uri: str) -> None:
    client: AsyncMongoClient[Document] = AsyncMongoClient(standalone_uri)
    env = {"MONGODB_URI": standalone_uri, "MONGODB_DATABASE": "polled"}
    async with client, Daemon("run", env=env) as daemon:
        leads = client["polled"]["leads"]
        await daemon.wait_for_event("history.recorded")
        await leads.insert_one({"_id": 1, "email": "ada@quokka-freight.com"})
        done = {"enrichment_status": "completed"}
        await eventually(lambda: leads.find_one(done))
        assert len(daemon.events("stream.unavailable")) == 1
        daemon.terminate()
        assert await daemon.wait() == ExitCode.OK
        await client.drop_database("polled")


async def test_a_port_in_use_ends_run_with_2_and_names_the_setting(
    mongodb_uri: str, database: AsyncDatabase[Document]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        env = {**_of(database, mongodb_uri), "ENRICHER_HTTP_PORT": port}
        async with (
            _ended("run", env=env) as run,
            _ended("simulator", "--port", port) as simulator,
        ):
            assert (_code(run), _code(simulator)) == (ExitCode.SETTINGS, ExitCode.SETTINGS)
            assert _stderr(run) == [f"ENRICHER_HTTP_PORT: port {port} on 127.0.0.1 is in use"]
            assert run.events("daemon.started") == []
            assert _stderr(simulator) == [f"--port: port {port} on 127.0.0.1 is in use"]


# -- stopping ------------------------------------------------------------------------------


async def test_a_second_sigint_ends_run_at_once(
    mongodb_uri: str, database: AsyncDatabase[Document]
) -> None:
    async with Simulator() as simulator:
        simulator.inject("hang", vendor="hunter")
        vendor = {"HUNTER_BASE_URL": simulator.base_urls["hunter"], "HUNTER_API_KEY": "any"}
        async with Daemon("run", env={**_of(database, mongodb_uri), **vendor}) as daemon:
            await daemon.wait_for_event("history.recorded")
            await database["leads"].insert_one({"email": "ada@quokka-freight.com"})
            async with patience(10):
                await simulator.journal.until(lambda: len(simulator.journal) > 0)
            daemon.send(signal.SIGINT)
            await daemon.wait_for_event("daemon.stopping")
            daemon.send(signal.SIGINT)
            assert await daemon.wait(within=5) == -signal.SIGINT


async def test_run_without_a_uri_prints_the_one_that_writers_use_and_leaves_no_server(
    tmp_path: Path,
) -> None:
    async with Daemon("run") as daemon:
        await daemon.wait_for_event("history.recorded")
        name, _, uri = daemon.stdout.strip().partition("=")
        assert name == "MONGODB_URI"
        client: AsyncMongoClient[Document] = AsyncMongoClient(uri)
        async with client:
            await client["crm"]["leads"].insert_one({"email": "ada@quokka-freight.com"})
        daemon.terminate()
        assert await daemon.wait() == ExitCode.OK
        assert not _is_listening(uri)


async def test_sigterm_while_the_embedded_server_starts_leaves_nothing(tmp_path: Path) -> None:
    env = {"TMPDIR": str(tmp_path)}
    async with Daemon("demo", env=env) as demo:
        await eventually(lambda: list(tmp_path.glob("enricher-demo-*/db/mongod.port")))
        demo.terminate()
        assert await demo.wait() == ExitCode.OK
    await _nothing_is_left_of(tmp_path)


def _is_listening(uri: str) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", urlsplit(uri).port or 0)) == 0


# -- check ---------------------------------------------------------------------------------


async def test_check_is_content_when_everything_is_there_and_leaves_nothing_behind(
    mongodb_uri: str, database: AsyncDatabase[Document]
) -> None:
    async with Simulator() as simulator:
        env = {**_of(database, mongodb_uri), **_vendors(simulator, "right-key")}
        env["ENRICHER_PROVIDERS_OFF"] = "[]"
        async with _ended("check", env=env) as check:
            assert _code(check) == ExitCode.OK
        assert set(_verdicts(check).values()) == {"ok"}
        assert "shard" not in check.stdout, "there is no router"
        assert simulator.journal.billing["hunter"].charged == 0
        assert simulator.journal.billing["clearbit"].charged == 0
    assert await database.list_collection_names() == []
    assert check.lines == []
    assert "right-key" not in check.stdout


async def test_leads_that_nothing_moves_are_told_by_check_and_status(
    mongodb_uri: str, database: AsyncDatabase[Document]
) -> None:
    statuses = ("", "new", "PENDING", 5, "processing")
    await database["leads"].insert_many([{"enrichment_status": each} for each in statuses])
    await Indexes(database["leads"]).ensure()
    env = _of(database, mongodb_uri)
    async with _ended("check", env=env) as check:
        [line] = [line for line in check.stdout.splitlines() if line.startswith("leads ")]
    assert (
        "3 with a status that is none of ours, 1 with a status that is no text, 1 in work" in line
    )
    assert 'db.leads.updateMany({enrichment_status: "new"}' in line
    async with _ended("status", "--json", env=env) as status:
        unmoved = json.loads(status.stdout)["backlog"]["unmoved"]
    assert unmoved == {"foreign": 3, "no_text": 1, "stray": 1}
    async with _ended("status", env=env) as status:
        assert "foreign 3, no_text 1, stray 1" in status.stdout


async def test_check_ends_with_4_for_a_refused_key_and_skips_a_missing_one(
    mongodb_uri: str, database: AsyncDatabase[Document]
) -> None:
    async with Simulator() as simulator:
        env = {**_of(database, mongodb_uri), **_vendors(simulator, "wrong-key")}
        env |= dict.fromkeys(_KEYS - {"HUNTER_API_KEY"}, "")
        env |= {"ENRICHER_STREAM": "false"}
        async with _ended("check", env=env) as check:
            assert _code(check) == ExitCode.CHECK_FAILED
            failed = "enricher check: failed for hunter_company, hunter_person, hunter"
            assert _stderr(check) == [failed]
    verdicts = _verdicts(check)
    assert (verdicts["hunter"], verdicts["clearbit"]) == ("FAILED", "skipped")
    assert verdicts["stream"] == "skipped"
    assert "wrong-key" not in check.stdout


async def test_check_ends_with_3_for_a_standalone_server_and_says_everything_else(
    standalone_uri: str,
) -> None:
    async with _ended("check", env={"MONGODB_URI": standalone_uri}) as check:
        assert _code(check) == ExitCode.DATABASE
    verdicts = _verdicts(check)
    assert (verdicts["replica set"], verdicts["stream"]) == ("FAILED", "FAILED")
    assert (verdicts["mongodb"], verdicts["privileges"], verdicts["local"]) == ("ok", "ok", "ok")


async def test_check_without_a_uri_says_that_run_would_start_a_server(mongod: Path) -> None:
    async with _ended("check") as check:
        assert _code(check) == ExitCode.OK
        assert "`enricher run` starts an embedded server" in check.stdout


_KEYS = {f"{vendor.upper()}_API_KEY" for vendor in VENDORS}


def _vendors(simulator: Simulator, key: str) -> dict[str, str]:
    return {
        f"{vendor.upper()}_{what}": value
        for vendor, url in simulator.base_urls.items()
        for what, value in (("BASE_URL", url), ("API_KEY", key))
    }


# -- users and privileges ------------------------------------------------------------------

Grants: TypeAlias = list[tuple[str, list[str]]]


def _documented(*, beside: bool = False) -> Grants:
    """The role of `docs/operations/running.md`."""
    found = documented("crm", beside=beside)
    return [(each["resource"]["collection"], each["actions"]) for each in found]


_SIDE: Grants = [
    (collection, [*actions, *desired("leads").get(collection, ())])
    for collection, actions in required("leads").items()
    if collection != "leads"
]
ROLES: Mapping[str, Grants] = {
    "documented": _documented(),
    "beside": _documented(beside=True),
    "reader": [("leads", ["find"])],
    "without_side_collections": [("leads", ["find", "update", "changeStream", "createIndex"])],
    "slow": [
        ("leads", ["find", "update", "listIndexes"]),
        *_SIDE,
    ],
    "blind": [
        ("leads", ["find", "update"]),
        *_SIDE,
    ],
    "stranger": [],
}
"""User -> what he may do in the database `crm`, by collection. `owner` may do everything there."""


@pytest.fixture(scope="module")
def guarded(mongod: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """`host:port` of a replica set with access control and the users of `ROLES`."""
    directory = tmp_path_factory.mktemp("guarded")
    server = EmbeddedServer(directory, binary=mongod)
    asyncio.run(_with_users(server))
    key = directory / "key"
    key.write_text("x" * 64)
    key.chmod(0o600)
    pid = _spawn_guarded(mongod, directory, server.port, key)
    try:
        yield f"127.0.0.1:{server.port}"
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


async def _with_users(server: EmbeddedServer) -> None:
    """Made before access is controlled; they stay in the data directory."""
    async with server:
        client: AsyncMongoClient[Document] = AsyncMongoClient(server.uri)
        async with client:
            await client["crm"]["leads"].insert_one({"_id": "old"})
            for name, granted in ROLES.items():
                privileges = [
                    {"resource": {"db": "crm", "collection": collection}, "actions": actions}
                    for collection, actions in granted
                ]
                await client.admin.command(
                    "createRole", f"role_{name}", privileges=privileges, roles=[]
                )
                roles: list[object] = [f"role_{name}"]
                await client.admin.command("createUser", name, pwd=PASSWORD, roles=roles)
            owner = [{"role": "readWrite", "db": "crm"}]
            await client.admin.command("createUser", "owner", pwd=PASSWORD, roles=owner)


def _spawn_guarded(mongod: Path, directory: Path, port: int, key: Path) -> int:
    arguments = [
        *(f"--dbpath={directory}", "--bind_ip=127.0.0.1", f"--port={port}", "--nounixsocket"),
        *("--replSet=rs0", "--auth", f"--keyFile={key}", f"--logpath={directory / 'guarded.log'}"),
        *("--quiet", "--wiredTigerCacheSizeGB=0.25"),
    ]
    return os.posix_spawn(mongod, [str(mongod), *arguments], os.environ)


async def _uri(guarded: str, user: str, password: str = PASSWORD) -> str:
    """Once the server takes writes."""
    client: AsyncMongoClient[Document] = AsyncMongoClient(f"mongodb://{guarded}/?replicaSet=rs0")
    async with client, patience(20):
        await client.admin.command("ping")
    return f"mongodb://{user}:{password}@{guarded}/?replicaSet=rs0&authSource=admin"


async def test_run_refused_by_mongodb_ends_with_one_line_and_3(guarded: str) -> None:
    refused = {
        await _uri(guarded, "owner", "mistyped"): "the credentials",
        f"mongodb://{guarded}/?replicaSet=rs0": "asks for credentials",
        await _uri(guarded, "stranger"): "find on the leads",
        await _uri(guarded, "reader"): "update on crm.leads, find on crm.enricher_checkpoints",
        await _uri(guarded, "without_side_collections"): "insert on crm.enricher_history_leads",
    }
    for uri, words in refused.items():
        async with _ended("run", env={"MONGODB_URI": uri}) as run:
            assert _code(run) == ExitCode.DATABASE
            [line] = _stderr(run)
            assert words in line
            assert len(run.lines) == 1
            assert PASSWORD not in line


async def test_the_documented_user_may_not_read_shard_keys_and_that_is_no_error(
    guarded: str,
) -> None:
    async with server.connect(await _uri(guarded, "documented"), 1) as client:
        assert await sharding.read(client, ["crm.leads"]) is None


@pytest.mark.parametrize(("user", "event"), [("slow", "missing"), ("blind", "unknown")])
async def test_a_user_who_may_neither_stream_nor_index_is_served_by_polling(
    guarded: str, user: str, event: str
) -> None:
    uri = await _uri(guarded, user)
    async with _ended("check", env={"MONGODB_URI": uri}) as check:
        assert _code(check) == ExitCode.CHECK_FAILED
        assert _verdicts(check)["stream"] == "FAILED"
        assert "createIndex on crm.leads" in check.stdout
        lacks_listing = "the user lacks listIndexes on crm.leads" in check.stdout
        assert lacks_listing == (user == "blind")
    async with Daemon("run", env={"MONGODB_URI": uri}) as daemon:
        await eventually(partial(_is_ready, daemon))
        owner: AsyncMongoClient[Document] = AsyncMongoClient(await _uri(guarded, "owner"))
        async with owner:
            leads = owner["crm"]["leads"]
            await leads.insert_one({"_id": user, "email": "ada@quokka-freight.com"})
            done = {"_id": user, "enrichment_status": "completed"}
            await eventually(lambda: leads.find_one(done))
        for told in (f"indexes.{event}", "presence.refused"):
            await daemon.wait_for_event(told)
            assert len(daemon.events(told)) == 1
        assert [line for line in daemon.lines if "exception.type" in line] == []


async def _is_ready(daemon: Daemon) -> bool:
    return (await daemon.get("/readyz")).is_success


@pytest.mark.parametrize(("user", "unknown"), [("documented", set()), ("blind", {"daemons"})])
async def test_status_names_what_the_user_may_not_read_and_shows_the_rest(
    guarded: str, user: str, unknown: set[str]
) -> None:
    env = {"MONGODB_URI": await _uri(guarded, user)}
    async with _ended("status", "--json", env=env) as status:
        assert _code(status) == ExitCode.OK
    told = json.loads(status.stdout)
    assert set(told["unknown"]) == unknown
    assert told["backlog"]["due"] == 0


@pytest.mark.parametrize("user", ["documented", "owner"])
async def test_the_role_in_the_readme_is_enough(guarded: str, user: str) -> None:
    env = {"MONGODB_URI": await _uri(guarded, user)}
    async with _ended("check", env=env) as check:
        assert _code(check) == ExitCode.OK
        assert _verdicts(check)["privileges"] == "ok"
    async with Daemon("run", env=env) as daemon:
        await daemon.wait_for_event("stream.opened")
        daemon.terminate()
        assert await daemon.wait() == ExitCode.OK
        assert daemon.troubles() == []


async def test_a_user_who_may_only_read_leads_is_enough_for_results_beside_them(
    guarded: str, tmp_path: Path
) -> None:
    (file := tmp_path / "crm.toml").write_text(
        '[[source]]\ncollection = "leads"\nwrite = "beside"\nonly = \'{"state": {"$ne": "visitor"}}\'\n'
    )
    env = {"MONGODB_URI": await _uri(guarded, "beside"), "ENRICHER_CONFIG": str(file)}
    owner: AsyncMongoClient[Document] = AsyncMongoClient(await _uri(guarded, "owner"))
    async with owner, Daemon("run", env=env) as daemon:
        leads, results = owner["crm"]["leads"], owner["crm"]["enricher_results_leads"]
        await daemon.wait_for_event("stream.opened")
        visitor = {"_id": "visitor", "email": "bo@wombat.com", "state": "visitor"}
        lead = {"_id": "read only", "email": "ada@quokka-freight.com"}
        await leads.insert_many([visitor, lead])
        done = {"_id": "read only", "enrichment_status": "completed"}
        await eventually(lambda: results.find_one(done))
        assert await results.find_one({"_id": "visitor"}) is None
        both = leads.find({"_id": {"$in": ["visitor", "read only"]}}).sort("_id")
        assert await both.to_list() == [lead, visitor]
        async with _ended("check", env=env) as check:
            assert _code(check) == ExitCode.OK
            assert _verdicts(check)["privileges"] == "ok"
        await leads.delete_one({"_id": "read only"})
        await eventually(partial(_is_gone, results, "read only"))
        daemon.terminate()
        assert await daemon.wait() == ExitCode.OK
        assert daemon.troubles() == []


async def _is_gone(results: AsyncCollection[Document], id_: str) -> bool:
    return await results.find_one({"_id": id_}) is None


# -- simulator and demo --------------------------------------------------------------------


async def test_the_simulator_prints_settings_that_a_daemon_can_use(
    mongodb_uri: str, database: AsyncDatabase[Document]
) -> None:
    async with Daemon("simulator", "--port", "0") as simulator:
        await eventually(lambda: "HUNTER_API_KEY" in simulator.stdout)
        printed = [row for row in simulator.stdout.splitlines() if not row.startswith("#")]
        settings = dict(row.split("=", 1) for row in printed)
        async with _ended("check", env=settings | _of(database, mongodb_uri)) as check:
            assert _code(check) == ExitCode.OK
            assert _verdicts(check)["hunter"] == "ok"
        simulator.terminate()
        assert await simulator.wait() == ExitCode.OK


async def test_the_demo_enriches_its_leads_in_plain_lines_and_leaves_nothing(
    tmp_path: Path, mongod: Path
) -> None:
    env = {"TMPDIR": str(tmp_path), "MONGODB_URI": "mongodb://127.0.0.1:1/", "ENRICHER_BOGUS": "1"}
    async with _ended("demo", "--once", "--explain", "--leads", "12", env=env, within=60) as demo:
        assert _code(demo) == ExitCode.OK
    assert "\x1b" not in demo.stdout
    rows = demo.stdout.splitlines()
    ends = [row for row in rows if " s  completed " in row or " s  skipped " in row]
    assert len(ends) == 12
    assert any("vendor down" in row and " retrying " in row for row in rows)
    assert any(row.split()[:5] == "leads 11 completed, 1 skipped".split() for row in rows)
    assert "  clearbit         not_found" in demo.stdout, "it explains the second vendor's lead"
    assert any(row.split()[:4] == ["disposable", "10", "skipped", "A"] for row in rows)
    await _nothing_is_left_of(tmp_path)


async def test_the_demo_says_so_when_its_daemon_dies(tmp_path: Path, mongod: Path) -> None:
    async with Daemon("demo", env={"TMPDIR": str(tmp_path)}) as demo:
        await eventually(lambda: " completed " in demo.stdout, within=30)
        await _tells_of_the_first_lead(demo.stdout)
        for pid in _processes_of(tmp_path, working_there=True):
            os.kill(pid, signal.SIGKILL)
        assert await demo.wait() == ExitCode.UNEXPECTED
        assert "The daemon ended with exit code -9" in demo.stdout
        assert '"event": "lead.settled"' in demo.stdout
    await _nothing_is_left_of(tmp_path)


async def _tells_of_the_first_lead(printed: str) -> None:
    """The command that the demo prints, as somebody else would call it: with settings of their own."""
    [row] = [row for row in printed.splitlines() if row.startswith(" explain")]
    theirs = {"PATH": os.environ["PATH"], "MONGODB_URI": "mongodb://127.0.0.1:1/"}
    process = await asyncio.create_subprocess_exec(
        row.split()[1], "1", "--json", env=theirs, stdout=asyncio.subprocess.PIPE
    )
    said, _ = await process.communicate()
    [lead] = json.loads(said)["leads"]
    assert (process.returncode, lead["id"]) == (ExitCode.OK, 1)


async def _nothing_is_left_of(directory: Path) -> None:
    assert _entries(directory) == []
    await eventually(lambda: not _processes_of(directory))


def _entries(directory: Path) -> list[Path]:
    return list(directory.iterdir())


def _processes_of(directory: Path, *, working_there: bool = False) -> list[int]:
    """Processes whose working directory, or one of whose arguments, lies below it."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            place, command = (entry / "cwd").readlink(), (entry / "cmdline").read_text()
        except OSError:
            continue  # it has ended meanwhile, or is none of ours
        if str(directory) in (f"{place}" if working_there else f"{place} {command}"):
            found.append(int(entry.name))
    return found
