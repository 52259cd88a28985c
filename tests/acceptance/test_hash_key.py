"""The key behind all hashes, kept: what was stored under it is heeded, or nothing starts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from enricher.errors import ExitCode
from enricher.lead import Reason
from enricher.mongo.secret import COLLECTION, ENTRIES, FINGERPRINT
from tests.support.processes import Daemon
from tests.support.rig import Rig

ADA, BOB = "ada.lovelace@quokka-freight.com", "bob@quokka-freight.com"
KEY, OTHER_KEY = "a-key-of-at-least-thirty-two-signs", "another-key-of-more-than-32-signs!"
NAME = "ENRICHER_HASH_KEY"
USERS = (("run",), ("forget", BOB), ("forget", "--undo", ADA), ("explain", ADA))
USERS_TOO = (("backfill", "--query", "{}", "--dry-run"),)


@asynccontextmanager
async def _ended(rig: Rig, *arguments: str, **env: str) -> AsyncIterator[Daemon]:
    async with Daemon(*arguments, env=rig.environment() | env) as process:
        await process.wait()
        yield process


def _stderr(process: Daemon) -> list[str]:
    return [line["text"] for line in process.lines if set(line) == {"text"}]


async def _forget(rig: Rig, address: str = ADA, **env: str) -> None:
    async with _ended(rig, "forget", address, **env) as command:
        assert command.process.returncode == ExitCode.OK


async def _is_left_alone(rig: Rig, env: Mapping[str, str]) -> None:
    """A daemon skips the person, and nobody is asked."""
    asked = len(rig.simulator.journal)
    async with rig.daemon(**env) as daemon:
        await daemon.wait_for_event("stream.opened")
        made = await rig.leads.insert_one({"email": ADA.upper()})
        assert await rig.witness.end_of(made.inserted_id) == "skipped"
    lead = await rig.lead(made.inserted_id)
    assert lead["enrichment_error"] == Reason.SUPPRESSED.sentence
    assert len(rig.simulator.journal) == asked


async def _all_refuse(rig: Rig, said: str, **env: str) -> None:
    """The daemon and every command that reads hashes: one sentence, exit code 2, nothing changed."""
    before = await rig.database[ENTRIES].find().to_list()

    async def one(*arguments: str) -> None:
        async with _ended(rig, *arguments, **env) as process:
            assert process.process.returncode == ExitCode.SETTINGS, arguments
            [line] = _stderr(process)
            assert said in line
            assert KEY not in line

    await asyncio.gather(*(one(*each) for each in (*USERS, *USERS_TOO)))
    async with _ended(rig, "check", **env) as check:
        assert check.process.returncode == ExitCode.CHECK_FAILED
        [line] = [row for row in check.stdout.splitlines() if row.startswith("hash key")]
        assert "FAILED" in line
        assert said in line
    assert await rig.database[ENTRIES].find().to_list() == before


async def test_nothing_starts_after_the_secret_is_dropped(rig: Rig) -> None:
    await _forget(rig)
    await rig.database[COLLECTION].drop()
    await _all_refuse(rig, f"restore {COLLECTION}")
    assert await rig.database[COLLECTION].count_documents({}) == 0


async def test_nothing_starts_with_another_secret(rig: Rig) -> None:
    await _forget(rig)
    await rig.database[COLLECTION].update_one({"_id": "keys"}, {"$set": {"secret": b"x" * 32}})
    await _all_refuse(rig, "is not the one that enricher_suppressed was made with")


async def test_entries_of_an_older_version_keep_their_meaning(rig: Rig) -> None:
    await _forget(rig)
    await rig.database[ENTRIES].delete_one({"_id": FINGERPRINT})
    await _is_left_alone(rig, {})
    assert await rig.database[ENTRIES].count_documents({"_id": FINGERPRINT}) == 1


async def test_a_key_given_later_keeps_what_was_stored_before(rig: Rig) -> None:
    await _forget(rig)
    async with _ended(rig, "forget", BOB, **{NAME: KEY}) as command:
        assert any(line.get("event") == "secret.wrapped" for line in command.lines)
    [document] = await rig.database[COLLECTION].find().to_list()
    assert "secret" not in document
    await _is_left_alone(rig, {NAME: KEY})
    await _all_refuse(rig, f"{NAME}: not set")
    await _all_refuse(rig, f"{NAME}: not the key", **{NAME: OTHER_KEY})


async def test_a_fresh_database_holds_no_key_when_one_is_given(rig: Rig) -> None:
    await _forget(rig, **{NAME: KEY})
    [document] = await rig.database[COLLECTION].find().to_list()
    assert set(document) == {"_id", "derived", "marked", "read_at"}
    await rig.database[COLLECTION].drop()
    await _is_left_alone(rig, {NAME: KEY})
    await _all_refuse(rig, f"{NAME}: not set")
    await _all_refuse(rig, f"{NAME}: not the key", **{NAME: OTHER_KEY})


async def test_the_key_may_be_a_credential(rig: Rig, tmp_path: Path) -> None:
    (tmp_path / NAME).write_text(f"{KEY}\n")
    await _forget(rig, **{NAME: KEY})
    await _is_left_alone(rig, {"CREDENTIALS_DIRECTORY": str(tmp_path)})


async def test_a_short_key_is_refused_and_not_shown(rig: Rig) -> None:
    async with _ended(rig, "run", **{NAME: "x" * 31}) as run:
        assert run.process.returncode == ExitCode.SETTINGS
        [line] = _stderr(run)
    assert line == f"{NAME}: expected at least 32 characters (value not shown)"


async def test_daemons_that_start_together_with_one_key_agree(rig: Rig) -> None:
    async with rig.daemon(**{NAME: KEY}) as one, rig.daemon(**{NAME: KEY}) as other:
        await one.wait_for_event("stream.opened")
        await other.wait_for_event("stream.opened")
    assert await rig.database[COLLECTION].count_documents({}) == 1
    assert await rig.database[ENTRIES].count_documents({}) == 1


# -- forget --undo and --list --------------------------------------------------------------


async def test_what_was_undone_is_asked_about_again(rig: Rig) -> None:
    await _forget(rig)
    async with _ended(rig, "forget", "--undo", "Ada.Lovelace+x@Quokka-Freight.com") as command:
        assert command.process.returncode == ExitCode.OK
        assert "is suppressed no more" in command.stdout
        assert "not brought back" in command.stdout
    async with _ended(rig, "forget", ADA, "--undo") as command:
        assert command.process.returncode == ExitCode.OK
        assert "was not suppressed" in command.stdout
    async with rig.daemon() as daemon:
        await daemon.wait_for_event("stream.opened")
        await rig.leads.insert_one({"_id": 1, "email": ADA})
        assert await rig.witness.end_of(1) == "completed"


async def test_a_skipped_lead_stays_so_until_it_is_pending(rig: Rig) -> None:
    async with rig.daemon() as daemon:
        await daemon.wait_for_event("stream.opened")
        await rig.leads.insert_one({"_id": 1, "email": ADA})
        assert await rig.witness.end_of(1) == "completed"
        await _forget(rig)
        async with _ended(rig, "forget", "--undo", ADA):
            pass
        await rig.leads.insert_one({"_id": 2, "email": BOB})
        assert await rig.witness.end_of(2) == "completed"
        assert (await rig.lead(1))["enrichment_status"] == "skipped"
        rig.witness.forget(1)
        await rig.leads.update_one({"_id": 1}, {"$set": {"enrichment_status": "pending"}})
        assert await rig.witness.end_of(1) == "completed"


async def test_the_list_says_when_and_why_and_names_nobody(rig: Rig) -> None:
    async with _ended(rig, "forget", "--list") as command:
        assert command.stdout == "Nobody is suppressed.\n"
    await _forget(rig)
    await _forget(rig, BOB)
    await rig.database[ENTRIES].insert_one({"_id": "f" * 40, "why": "[red]by hand[/red]"})
    async with _ended(rig, "forget", "--list") as command:
        assert command.process.returncode == ExitCode.OK
        lines = command.stdout.splitlines()
    entries = await rig.database[ENTRIES].find({"at": {"$exists": True}}).sort("at", 1).to_list()
    assert lines[0] == f"{'unknown':<24} {'f' * 12}  [red]by hand[/red]"
    for line, entry in zip(lines[1:], entries, strict=True):
        assert line == f"{entry['at']:%Y-%m-%d %H:%M:%S UTC}  {entry['_id'][:12]}  enricher forget"
    assert "quokka" not in command.stdout


@pytest.mark.new_database
@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--undo",),
        ("--list", ADA),
        ("--list", "--undo"),
        ("--list", "--undo", ADA),
        ("--undo", "ada"),
    ],
    ids=" ".join,
)
async def test_what_does_not_go_together_exits_2(rig: Rig, arguments: tuple[str, ...]) -> None:
    async with _ended(rig, "forget", *arguments) as command:
        assert command.process.returncode == ExitCode.SETTINGS
        assert len(_stderr(command)) == 1
    assert await rig.database.list_collection_names(filter={"name": ENTRIES}) == []
