"""A server that asks for TLS, with a certificate of a private authority, and for credentials.

The daemon's user has the documented role and nothing else.
"""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio
import trustme

from enricher.errors import ExitCode
from tests.chaos.replica_set import GuardedSet
from tests.support.processes import Daemon
from tests.support.rig import Rig, address, open_rig
from tests.support.roles import documented

NAME, PASSWORD = "enricher", "open-sesame-4711"
SECONDS_TO_GIVE_UP = 30.0


@dataclass(slots=True)
class Place:
    """The guarded server and its authority's certificate, with that of another one."""

    servers: GuardedSet
    directory: Path

    @property
    def stranger(self) -> str:
        """The certificate of an authority that did not sign the server's."""
        path = self.directory / "stranger.pem"
        trustme.CA().cert_pem.write_to_path(path)
        return str(path)

    def uri(self, rig: Rig, **access: str) -> str:
        return self.servers.uri_of(NAME, PASSWORD, rig.database.name, **access)


@pytest.fixture(scope="module")
def place(mongod: Path) -> Iterator[Place]:
    with tempfile.TemporaryDirectory(prefix="enricher-tls-") as name:
        directory, authority = Path(name), trustme.CA()
        authority.cert_pem.write_to_path(directory / "ca.pem")
        server = authority.issue_cert("127.0.0.1")
        server.private_key_and_cert_chain_pem.write_to_path(directory / "server.pem")
        options = {
            "--tlsMode": "requireTLS",
            "--tlsCertificateKeyFile": str(directory / "server.pem"),
            "--tlsCAFile": str(directory / "ca.pem"),
        }
        arguments = (*(f"{option}={value}" for option, value in options.items()),)
        access = {"tls": "true", "tlsCAFile": str(directory / "ca.pem")}
        servers = GuardedSet(
            directory, mongod, (*arguments, "--tlsAllowConnectionsWithoutCertificates"), access
        )
        try:
            yield Place(servers, directory)
        finally:
            servers.end()


@pytest_asyncio.fixture
async def rig(place: Place) -> AsyncIterator[Rig]:
    """As for the other tests, with the documented user."""
    if not place.servers.nodes[0].is_running:
        await place.servers.start()
    async with open_rig(place.servers.uri) as opened:
        privileges = documented(opened.database.name)
        await opened.database.command("createRole", NAME, privileges=privileges, roles=[])
        await opened.database.command("createUser", NAME, pwd=PASSWORD, roles=[NAME])
        yield opened


def command(name: str, rig: Rig, uri: str) -> Daemon:
    return Daemon(name, env=rig.environment() | {"MONGODB_URI": uri})


def only_line(process: Daemon) -> str:
    [line] = process.lines
    assert PASSWORD not in line["text"] + process.stdout
    return str(line["text"])


async def test_a_lead_is_enriched_over_tls_by_the_documented_role(place: Place, rig: Rig) -> None:
    async with rig.daemon(MONGODB_URI=place.uri(rig)) as daemon:
        await daemon.wait_for_event("stream.opened")
        await rig.leads.insert_one({"_id": 1, "email": address()})
        assert await rig.witness.end_of(1) == "completed"
        daemon.terminate()
        assert await daemon.wait() == ExitCode.OK
    assert daemon.troubles() == []


async def test_check_finds_everything_in_order(place: Place, rig: Rig) -> None:
    async with command("check", rig, place.uri(rig)) as check:
        assert await check.wait(SECONDS_TO_GIVE_UP) == ExitCode.OK, check.stdout
        assert "FAILED" not in check.stdout
        for subject in ("mongodb", "replica set", "privileges", "indexes", "stream"):
            assert f"{subject:<16}ok " in check.stdout


async def test_a_forgotten_person_is_erased_where_the_role_allows_it_and_the_rest_is_told(
    place: Place, rig: Rig
) -> None:
    email = address()
    data = {"enriched_data": {"person_data": {"full_name": "Ada"}}}
    await rig.leads.insert_one({"email": email, **data})
    await rig.database["customers"].insert_one({"email": email, **data})
    await rig.database["enricher_checkpoints"].insert_one({"_id": "customers"})
    env = rig.environment() | {"MONGODB_URI": place.uri(rig)}
    async with Daemon("forget", email, env=env) as process:
        assert await process.wait(SECONDS_TO_GIVE_UP) == ExitCode.DATABASE
    assert "looked at: leads\n" in process.stdout
    assert "leads erased: 1\n" in process.stdout
    assert f"find on {rig.database.name}.customers" in only_line(process)
    assert await rig.database["customers"].count_documents(data) == 1


async def test_a_server_that_cannot_be_trusted_or_talked_to_is_one_clear_line(
    place: Place, rig: Rig
) -> None:
    untrusted = place.uri(rig, tlsCAFile=place.stranger)
    in_the_clear = place.uri(rig, tls="false").partition("&tlsCAFile")[0]
    async with (
        command("run", rig, untrusted) as run,
        command("check", rig, untrusted) as check,
        command("run", rig, in_the_clear) as without_tls,
    ):
        for process in (run, check, without_tls):
            assert await process.wait(SECONDS_TO_GIVE_UP) == ExitCode.DATABASE
            assert only_line(process).startswith("MongoDB cannot be reached: 127.0.0.1:")
        for process in (run, check):
            assert "certificate verify failed" in only_line(process)


async def test_a_certificate_that_is_not_there_is_a_wrong_setting(place: Place, rig: Rig) -> None:
    async with command("run", rig, place.uri(rig, tlsCAFile="/nowhere/ca.pem")) as run:
        assert await run.wait(SECONDS_TO_GIVE_UP) == ExitCode.SETTINGS
        wrong = "MONGODB_URI: The tlscafile file is not readable (value not shown)"
        assert only_line(run) == wrong
