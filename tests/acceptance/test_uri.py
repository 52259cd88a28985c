"""A MONGODB_URI that serves other programs as well, with options that suit them."""

from __future__ import annotations

import uuid

import pytest
from bson.binary import Binary, UuidRepresentation

from enricher.errors import ExitCode
from tests.support.processes import Daemon
from tests.support.rig import Rig, domain

REPRESENTATIONS = ("standard", "pythonLegacy", "")
OTHERS = (
    "readConcernLevel=local&readPreference=nearest&readPreferenceTags=dc:ny&maxStalenessSeconds=90"
    "&minPoolSize=50&w=1&journal=false&retryWrites=false&retryReads=false&socketTimeoutMS=1"
    "&serverSelectionTimeoutMS=1&waitQueueTimeoutMS=1&compressors=zlib&appName=theirs"
)


def _with(uri: str, options: str) -> str:
    joint = "&" if "?" in uri else "/?"
    return f"{uri.rstrip('/')}{joint}{options}" if options else uri


def _binary(representation: int) -> Binary:
    return Binary.from_uuid(uuid.uuid4(), representation)


@pytest.mark.parametrize("representation", REPRESENTATIONS)
async def test_ids_and_accounts_may_be_uuids_in_any_representation(
    rig: Rig, representation: str
) -> None:
    account = _binary(UuidRepresentation.STANDARD)
    ids = [
        *(_binary(UuidRepresentation.STANDARD) for _ in range(3)),
        *(_binary(UuidRepresentation.PYTHON_LEGACY) for _ in range(3)),
    ]
    option = f"uuidRepresentation={representation}" if representation else ""
    env = rig.environment() | {
        "MONGODB_URI": _with(rig.uri, option),
        "ENRICHER_PLAN_QUOTAS": '{"free": 4}',
    }
    async with Daemon("run", env=env) as daemon:
        await daemon.wait_for_event("stream.opened")
        fields = {"account_id": account, "plan": "free"}
        await rig.leads.insert_many(
            [{"_id": id_, "company_domain": domain(), **fields} for id_ in ids]
        )
        await rig.witness.all_ended(ids)
    found = sorted([rig.witness.statuses(id_)[-1] for id_ in ids])
    assert found == ["completed"] * 4 + ["skipped"] * 2
    assert rig.witness.settled_more_than_once() == {}


async def test_options_that_would_break_the_work_have_no_effect(rig: Rig) -> None:
    env = rig.environment() | {"MONGODB_URI": _with(rig.uri, OTHERS)}
    async with Daemon("run", env=env) as daemon:
        await daemon.wait_for_event("stream.opened")
        await rig.leads.insert_one({"_id": 1, "company_domain": domain()})
        assert await rig.witness.end_of(1) == "completed"
        assert (await daemon.get("/readyz")).status_code == 200
    assert daemon.troubles() == []


@pytest.mark.parametrize("command", ["run", "check", "status"])
async def test_a_value_that_could_only_be_ignored_ends_a_command_with_2(
    rig: Rig, command: str
) -> None:
    uri = _with(rig.uri, "connectTimeoutMS=s3cret-by-mistake")
    async with Daemon(command, env=rig.environment() | {"MONGODB_URI": uri}) as ended:
        assert await ended.wait() == ExitCode.SETTINGS
    [line] = [str(line["text"]) for line in ended.lines]
    assert (
        line
        == "MONGODB_URI: expected a value of connectTimeoutMS that MongoDB's driver understands"
    )
