"""`reenrich`, `backfill` and `forget` as an operator meets them: real processes, a real database."""

from __future__ import annotations

import asyncio
import os
import pty
import signal
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from bson import ObjectId, json_util
from pymongo.asynchronous.database import AsyncDatabase

from enricher.answer import Query, Reply
from enricher.calls import flights
from enricher.calls.flights import Cache, Flight
from enricher.errors import ExitCode
from enricher.lead import Document, Reason
from enricher.mongo.secret import keyring
from enricher.privacy import suppression
from enricher.privacy.forgetting import personal_keys
from enricher.privacy.suppression import Suppressed, key_of
from enricher.providers import registry, transport
from enricher.providers.base import Access
from tests.support.processes import Daemon, bound_to_us
from tests.support.rig import Rig, address
from tests.support.waiting import eventually, patience


@asynccontextmanager
async def _ended(rig: Rig, *arguments: str, within: float = 60.0) -> AsyncIterator[Daemon]:
    """The command after its end."""
    async with Daemon(*arguments, env=rig.environment()) as process:
        await process.wait(within)
        yield process


async def _code(rig: Rig, *arguments: str) -> int | None:
    async with _ended(rig, *arguments) as process:
        return process.process.returncode


def _stderr(process: Daemon) -> list[str]:
    return [line["text"] for line in process.lines if set(line) == {"text"}]


async def _contents(database: AsyncDatabase[Document]) -> dict[str, list[Document]]:
    names = sorted(await database.list_collection_names())
    return {name: await database[name].find().sort("_id", 1).to_list() for name in names}


# -- reenrich ------------------------------------------------------------------------------


async def test_a_lead_that_is_asked_for_is_enriched_again(rig: Rig) -> None:
    lead = ObjectId()
    await rig.leads.insert_one({"_id": lead, "email": address(), "enrichment_status": "failed"})
    async with rig.daemon() as daemon:
        await daemon.wait_for_event("stream.opened")
        async with _ended(rig, "reenrich", "--id", str(lead)) as command:
            assert command.process.returncode == ExitCode.OK
            assert command.stdout == "1 lead is pending now.\n"
        await rig.witness.until(lambda: bool(rig.witness.settles(lead)))
    assert rig.witness.settles(lead)[-1].status == "completed"


@pytest.mark.parametrize(
    ("id_", "typed"),
    [
        ("5f" * 12, "5f" * 12),
        (json_util.loads('{"$uuid": "3b241101-e2bb-4255-8caf-4136c566a962"}'), None),
    ],
)
async def test_an_id_of_any_type_can_be_named(rig: Rig, id_: Any, typed: str | None) -> None:
    await rig.leads.insert_one({"_id": id_})
    assert await _code(rig, "reenrich", "--id", typed or json_util.dumps(id_)) == ExitCode.OK
    assert (await rig.lead(id_))["enrichment_status"] == "pending"


async def test_what_names_no_lead_ends_with_1_and_says_what_was_tried(rig: Rig) -> None:
    await rig.leads.insert_one({"_id": 1, "email": address()})
    async with (
        _ended(rig, "reenrich", "--id", "5f" * 12) as by_id,
        _ended(rig, "reenrich", "--id", '{"$gt": 0}') as by_operator,
        _ended(rig, "reenrich", "--email", "nobody@quokka-freight.com") as by_email,
    ):
        codes = {each.process.returncode for each in (by_id, by_operator, by_email)}
        assert codes == {ExitCode.UNEXPECTED}
    assert "tried as an ObjectId, then a text" in by_id.stdout
    assert "No lead has this address; tried as typed" in by_email.stdout
    assert "enrichment_status" not in await rig.lead(1)


async def test_an_address_is_found_as_typed_and_in_lower_case(rig: Rig) -> None:
    await rig.leads.insert_many(
        [
            {"_id": 1, "email": "Ada@Quokka-Freight.com"},
            {"_id": 2, "email": "ada@quokka-freight.com"},
            {"_id": 3, "email": "bob@quokka-freight.com"},
        ]
    )
    async with _ended(rig, "reenrich", "--email", "Ada@Quokka-Freight.com") as command:
        assert command.stdout == "2 leads are pending now.\n"
    assert "enrichment_status" not in await rig.lead(3)


async def test_a_query_and_failed_name_many_and_nothing_matched_is_no_error(rig: Rig) -> None:
    await rig.leads.insert_many(
        {"_id": n, "n": n, "enrichment_status": "failed" if n % 2 else "completed"}
        for n in range(1100)
    )
    query = '{"n": {"$gte": 1000}, "enrichment_status": "completed"}'
    async with (
        _ended(rig, "reenrich", "--failed") as failed,
        _ended(rig, "reenrich", "--query", query, "--refresh") as matching,
        _ended(rig, "reenrich", "--query", '{"n": -1}') as nothing,
    ):
        codes = [each.process.returncode for each in (failed, matching, nothing)]
        assert codes == [ExitCode.OK] * 3
    assert "550 leads are pending now." in failed.stdout
    assert "50 leads are pending now." in matching.stdout
    assert nothing.stdout == "No lead matched.\n"
    refreshed = {"enrichment.refresh_since": {"$type": "date"}}
    assert await rig.leads.count_documents(refreshed) == 50


@pytest.mark.new_database
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["reenrich"], "give one of --id, --email, --query and --failed"),
        (["reenrich", "--query", '{"$where": "1"}'], "expected a filter without $where"),
        (["reenrich", "--query", '{"a": {"$foo": 1}}'], "MongoDB refuses this filter (code 2)"),
        (["backfill", "--query", '{"a": {"$foo": 1}}', "--yes"], "refuses this filter"),
        (["backfill", "--query", "{}"], "without a terminal to ask on, give --yes or --dry-run"),
        (["forget", "no address"], "EMAIL: not an e-mail address"),
        (["forget", "ada@quokka-freight.com, bob@quokka-freight.com"], "EMAIL: more than one"),
    ],
)
async def test_wrong_arguments_end_with_2_and_one_line(
    rig: Rig, arguments: list[str], words: str
) -> None:
    await rig.leads.insert_one({"_id": 1})
    async with _ended(rig, *arguments) as command:
        assert command.process.returncode == ExitCode.SETTINGS
    [line] = _stderr(command)
    assert words in line
    assert await _contents(rig.database) == {"leads": [{"_id": 1}]}


async def test_without_an_address_of_mongodb_there_is_one_line_and_2() -> None:
    async with Daemon("reenrich", "--failed") as command:
        assert await command.wait() == ExitCode.SETTINGS
    [line] = _stderr(command)
    assert line.startswith("MONGODB_URI: not set")


async def test_mongodb_that_cannot_be_reached_ends_with_3() -> None:
    env = {"MONGODB_URI": "mongodb://127.0.0.1:1/"}
    async with Daemon("forget", "ada@quokka-freight.com", env=env) as command:
        assert await command.wait() == ExitCode.DATABASE
    assert len(_stderr(command)) == 1
    assert "quokka" not in str(command.lines)


# -- backfill ------------------------------------------------------------------------------


@pytest.mark.new_database
async def test_a_dry_run_counts_and_changes_nothing_at_all(rig: Rig) -> None:
    await rig.leads.insert_many(
        [
            {"_id": 1, "email": "ada@quokka-freight.com"},
            {"_id": 2, "email": "Ada+news@quokka-freight.com"},
            {"_id": 3, "email": "bob@quokka-freight.com"},
            {"_id": 4, "email": "carol@gmail.com"},
            {"_id": 5, "email": "noreply@quokka-freight.com"},
            {"_id": 6},
            {"_id": 7, "email": address(), "enrichment_status": "completed"},
        ]
    )
    before = await _contents(rig.database)
    async with _ended(rig, "backfill", "--query", "{}", "--dry-run") as command:
        assert command.process.returncode == ExitCode.OK
    assert "6 leads match, without a status" in command.stdout
    rows = {row.split()[0]: row.split()[1:] for row in command.stdout.splitlines() if row.strip()}
    assert rows["clearbit"] == ["1", "0", "1", "1"]
    assert rows["hunter"][:3] == ["3", "0", "3"]
    assert Reason.SYSTEM_ADDRESS.sentence in command.stdout
    assert Reason.NOTHING_TO_GO_BY.sentence in command.stdout
    assert "@" not in command.stdout
    assert await _contents(rig.database) == before
    assert len(rig.simulator.journal) == 0


async def test_a_plan_counts_what_is_stored_already_and_who_objected(rig: Rig) -> None:
    await rig.leads.insert_many(
        {"_id": n, "email": f"{n}@quokka-freight.com"} for n in ("ada", "bob", "carol")
    )
    keys = await keyring(rig.database)
    await _store_answer(rig, "ada@quokka-freight.com")
    await Suppressed(rig.database).add([key_of(keys, "carol@quokka-freight.com")], "wished")
    async with _ended(rig, "backfill", "--query", "{}", "--dry-run") as command:
        rows = {row.split()[0]: row.split()[1:] for row in command.stdout.splitlines()}
    assert rows["hunter"][:3] == ["2", "1", "1"]
    assert Reason.SUPPRESSED.sentence in command.stdout


async def test_history_is_enriched_by_a_backfill_and_only_what_it_names(rig: Rig) -> None:
    await rig.leads.insert_many(
        {"_id": n, "email": address(), "source": "web" if n % 2 else "fair"} for n in range(60)
    )
    wanted = [n for n in range(60) if n % 2]
    async with rig.daemon() as daemon:
        await daemon.wait_for_event("history.recorded")
        query = '{"source": "web"}'
        async with _ended(rig, "backfill", "--query", query, "--yes") as command:
            assert command.process.returncode == ExitCode.OK
            assert "Done: 30 completed." in command.stdout
        async with _ended(rig, "backfill", "--query", query, "--yes") as again:
            assert again.process.returncode == ExitCode.OK
            assert "0 leads match" in again.stdout
    assert sorted(rig.witness.ended(range(60))) == wanted
    assert rig.witness.settled_more_than_once() == {}
    assert rig.asked_twice() == {}
    assert "\x1b" not in command.stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
async def test_an_interrupted_backfill_goes_on_where_it_stopped(
    rig: Rig, number: signal.Signals
) -> None:
    """No daemon at first, so it stands still when a thousand leads are pending."""
    await rig.leads.insert_many({"_id": n, "email": f"p{n}@{n % 5}.example"} for n in range(1200))
    command = ("backfill", "--query", '{"_id": {"$gte": 100}}', "--yes")
    pending = {"enrichment_status": "pending"}
    async with Daemon(*command, env=rig.environment()) as first:
        await eventually(lambda: _is(rig, pending, 1000), within=30)
        first.send(number)
        code = await first.wait()
        if number is not signal.SIGKILL:
            assert code == ExitCode.UNEXPECTED
            assert "The same command goes on from there" in first.stdout
            assert _stderr(first) == []
    assert await rig.leads.count_documents(pending) == 1000
    async with rig.daemon(), _ended(rig, *command) as second:
        assert second.process.returncode == ExitCode.OK
        assert "Going on with a backfill that asked for" in second.stdout
    assert await rig.leads.count_documents({"enrichment_status": None}) == 100
    assert await rig.leads.count_documents({"enrichment_status": "skipped"}) == 1100
    assert rig.witness.settled_more_than_once() == {}


async def _is(rig: Rig, match: Document, count: int) -> bool:
    found = await rig.leads.count_documents(match)
    assert found <= count
    return found == count


@pytest.mark.parametrize(("answer", "status"), [(b"n\n", None), (b"y\n", "completed")])
async def test_on_a_terminal_it_asks_first(rig: Rig, answer: bytes, status: str | None) -> None:
    await rig.leads.insert_one({"_id": 1, "email": address()})
    async with rig.daemon() as daemon:
        await daemon.wait_for_event("history.recorded")
        code, said = await _on_a_terminal(rig, answer, "backfill", "--query", "{}")
    assert code == ExitCode.OK
    assert "Enrich these leads? [y/N]" in said
    assert (await rig.lead(1)).get("enrichment_status") == status


async def _on_a_terminal(rig: Rig, answer: bytes, *arguments: str) -> tuple[int, str]:
    """The command with this typed ahead; its exit code and what the terminal showed."""
    ours, theirs = pty.openpty()
    with tempfile.TemporaryDirectory(prefix="enricher-test-") as directory:
        process = await asyncio.create_subprocess_exec(
            *(*bound_to_us(), sys.executable, "-m", "enricher", *arguments),
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            cwd=directory,
            env={
                **rig.environment(),
                "PATH": os.environ["PATH"],
                "TERM": "xterm",
                "COLUMNS": "120",
            },
        )
        os.close(theirs)
        os.write(ours, answer)
        reading = asyncio.create_task(asyncio.to_thread(_read_all, ours))
        try:
            async with patience(60):
                code = await process.wait()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
            said = await reading
            os.close(ours)
    return code, said.decode()


def _read_all(terminal: int) -> bytes:
    said = b""
    while True:
        try:
            said += os.read(terminal, 4096)
        except OSError:  # the other side is closed
            return said


# -- forget --------------------------------------------------------------------------------

ADA = "ada.lovelace@quokka-freight.com"


async def test_a_person_is_forgotten_in_every_spelling_and_nobody_else(rig: Rig) -> None:
    spellings = [
        ADA,
        "Ada.Lovelace@Quokka-Freight.COM",
        "Ada Lovelace <ada.lovelace+news@quokka-freight.com>",
        "mailto:ada.lovelace@quokka-freight.com",
        " ada.love\u200blace@quokka-freight.com ",
    ]
    others = [
        "bada.lovelace@quokka-freight.com",
        "ada.lovelace@quokka-freight.com.au",
        "adaxlovelace@quokka-freight.com",
        f"bob@quokka-freight.com, {ADA}",
        "Ada <bob@quokka-freight.com>",
    ]
    data = {"person_data": {"full_name": "Ada"}, "company_data": {"name": "Quokka"}}
    await rig.leads.insert_many(
        {"_id": n, "email": email, "enrichment_status": "completed", "enriched_data": data}
        for n, email in enumerate([*spellings, *others])
    )
    async with _ended(rig, "forget", "Ada.Lovelace@quokka-freight.com") as command:
        assert command.process.returncode == ExitCode.OK
    assert "leads erased: 5" in command.stdout
    leads = await rig.leads.find().sort("_id", 1).to_list()
    states = [lead["enrichment_status"] for lead in leads]
    assert states == ["skipped"] * len(spellings) + ["completed"] * len(others)
    assert [lead["email"] for lead in leads] == [*spellings, *others]
    erased = leads[0]["enriched_data"]
    assert (erased["person_data"], erased["company_data"]) == (None, {"name": "Quokka"})
    assert leads[0]["enrichment_error"] == Reason.SUPPRESSED.sentence
    assert "lovelace" not in str(command.lines).lower()


async def test_googles_dots_and_hosts_are_one_mailbox(rig: Rig) -> None:
    spellings = [
        "ada.lovelace@gmail.com",
        "AdaLovelace@googlemail.com",
        "a.d.alovelace+x@gmail.com",
    ]
    await rig.leads.insert_many(
        {"email": email, "enriched_data": {"person_data": {}}} for email in spellings
    )
    async with _ended(rig, "forget", "adalovelace@gmail.com") as command:
        assert "leads erased: 3" in command.stdout


async def test_a_host_is_found_in_its_own_script(rig: Rig) -> None:
    await rig.leads.insert_many(
        {"email": f"ada@{host}", "enriched_data": {"person_data": {}}}
        for host in ("m\u00fcller.de", "xn--mller-kva.de")
    )
    async with _ended(rig, "forget", "ada@M\u00dcLLER.de") as command:
        assert "leads erased: 2" in command.stdout


async def test_stored_answers_about_the_person_go_and_those_about_the_company_stay(
    rig: Rig,
) -> None:
    await _store_answer(rig, ADA)
    await _store_answer(rig, "bob@quokka-freight.com")
    stored = rig.database[flights.COLLECTION]
    assert await stored.count_documents({}) == 2
    async with _ended(rig, "forget", ADA) as command:
        assert "stored answers removed: 1" in command.stdout
    assert await stored.count_documents({}) == 1


async def test_nobody_is_known_and_the_person_is_suppressed_all_the_same(rig: Rig) -> None:
    for state in ("is suppressed", "was already suppressed"):
        async with _ended(rig, "forget", ADA) as command:
            assert command.process.returncode == ExitCode.OK
            assert state in command.stdout
            assert "leads erased: 0" in command.stdout
    entry = key_of(await keyring(rig.database), ADA)
    assert await Suppressed(rig.database).has(entry)
    [stored, _] = await rig.database[suppression.COLLECTION].find(sort=[("at", -1)]).to_list()
    assert "quokka" not in str(stored)


async def test_who_is_inserted_again_is_skipped_and_nobody_is_asked(rig: Rig) -> None:
    assert await _code(rig, "forget", ADA) == ExitCode.OK
    async with rig.daemon() as daemon:
        await daemon.wait_for_event("stream.opened")
        await rig.leads.insert_one({"_id": 1, "email": "Ada.Lovelace+new@quokka-freight.com"})
        assert await rig.witness.end_of(1) == "skipped"
    assert (await rig.lead(1))["enrichment_error"] == Reason.SUPPRESSED.sentence
    assert len(rig.simulator.journal) == 0


async def test_what_was_found_for_the_address_goes_from_a_lead_that_has_another_now(
    rig: Rig,
) -> None:
    async with rig.daemon() as daemon:
        await daemon.wait_for_event("stream.opened")
        await rig.leads.insert_one({"_id": 1, "email": ADA})
        assert await rig.witness.end_of(1) == "completed"
    await rig.leads.update_one({"_id": 1}, {"$set": {"email": None}})
    async with _ended(rig, "forget", ADA) as command:
        assert "leads with another address by now, erased as well: 1" in command.stdout
    lead = await rig.lead(1)
    assert lead["enriched_data"]["email_verification"] is None
    assert lead["enriched_data"]["company_data"]
    assert lead["enrichment_status"] == "completed"


async def test_a_lead_in_work_is_not_written_back(rig: Rig) -> None:
    rig.simulator.inject("hang", vendor="hunter")
    async with rig.daemon() as daemon:
        await daemon.wait_for_event("stream.opened")
        await rig.leads.insert_one({"_id": 1, "email": ADA})
        await rig.simulator.journal.until(
            lambda: any(entry.vendor == "hunter" for entry in rig.simulator.journal)
        )
        async with _ended(rig, "forget", ADA) as command:
            assert "leads erased: 1" in command.stdout
        rig.simulator.faults.clear()
        daemon.terminate()
        assert await daemon.wait(60) == ExitCode.OK
    lead = await rig.lead(1)
    assert lead["enrichment_status"] == "skipped"
    assert not (lead.get("enriched_data") or {}).get("email_verification")


async def _store_answer(rig: Rig, email: str) -> None:
    """As a daemon that asked Hunter has it."""
    keys = await keyring(rig.database)
    cache = Cache(rig.database, "a test", 60)
    async with transport.open_client("a test") as client:
        access = {"hunter": Access(_secret(), "https://hunter.invalid")}
        registered = registry.build(client, access, {}).providers
    providers = [provider for provider in registered if provider.name == "hunter"]
    [key] = personal_keys(keys, providers, Query(email=email, email_key=email))
    flight = await cache.take(key, "hunter")
    assert isinstance(flight, Flight)
    await cache.keep(flight, Reply(200, {}, b"{}"), timedelta(days=1))


def _secret() -> Any:
    from pydantic import SecretStr

    return SecretStr("any")
