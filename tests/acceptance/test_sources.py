"""Several collections of leads in one daemon: each is worked on, and what the fleet shares is there once."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from enricher.errors import ExitCode
from enricher.lead import Document, LeadId, Reason
from tests.support.processes import Daemon
from tests.support.rig import Rig, Witness, address, domain, watched
from tests.support.waiting import eventually

pytestmark = pytest.mark.new_database

NAMES = ("customers", "companies")


@dataclass
class Two:
    """A rig with two collections of leads."""

    rig: Rig
    config: Path
    witnesses: dict[str, Witness]

    def daemon(self, **settings: object) -> Daemon:
        return Daemon("run", env=self.environment(**settings))

    def environment(self, **settings: object) -> dict[str, str]:
        given = {name: str(value) for name, value in settings.items()}
        return self.rig.environment() | {"ENRICHER_CONFIG": str(self.config)} | given

    @asynccontextmanager
    async def at_work(self, **settings: object) -> AsyncIterator[Daemon]:
        """A daemon whose streams are open."""
        async with self.daemon(**settings) as daemon:
            for name in NAMES:
                await daemon.wait_for_event("stream.opened", collection=name)
            yield daemon

    async def insert(self, collection: str, *leads: Document) -> None:
        await self.rig.database[collection].insert_many(leads)

    async def lead(self, collection: str, lead: LeadId) -> Document:
        found = await self.rig.database[collection].find_one({"_id": lead})
        assert found is not None, "there is no such lead"
        return found

    async def all_ended(self, leads: Iterable[LeadId], within: float = 30.0) -> None:
        """In each collection."""
        wanted = list(leads)
        for witness in self.witnesses.values():
            await witness.all_ended(wanted, within)

    async def say(self, *arguments: str, code: ExitCode = ExitCode.OK) -> str:
        """What a command prints."""
        async with Daemon(*arguments, env=self.environment()) as command:
            assert await command.wait(60) == code
        return command.stdout + "".join(str(line.get("text", "")) for line in command.lines)


@pytest.fixture
async def two(rig: Rig, tmp_path: Path) -> AsyncIterator[Two]:
    config = tmp_path / "enricher.toml"
    config.write_text("".join(f'[[source]]\ncollection = "{name}"\n' for name in NAMES))
    async with AsyncExitStack() as stack:
        witnesses = {name: Witness(rig.database[name]) for name in NAMES}
        for witness in witnesses.values():
            await stack.enter_async_context(watched(witness))
        yield Two(rig, config, witnesses)


def a_lead(id_: LeadId, host: str | None = None) -> Document:
    return {"_id": id_, "email": f"ada@{host}" if host else address()}


def charged(rig: Rig, vendor: str) -> int:
    return sum(entry.vendor == vendor for entry in rig.simulator.journal)


async def test_both_are_enriched_and_what_both_ask_is_paid_for_once(two: Two) -> None:
    hosts = [domain() for _ in range(20)]
    async with two.at_work() as daemon:
        for name in NAMES:
            await two.insert(name, *(a_lead(n, host) for n, host in enumerate(hosts)))
        await two.all_ended(range(len(hosts)))
        assert two.rig.asked_twice() == {}
        for name in NAMES:
            data = (await two.lead(name, 7))["enriched_data"]
            assert data["company_data"]["domain"] == hosts[7]
            assert two.witnesses[name].settled_more_than_once() == {}
        await _is_told_of_both(two, daemon, hosts[7])


async def _is_told_of_both(two: Two, daemon: Daemon, host: str) -> None:
    await eventually(lambda: _is_in_status(two), within=20)
    ready = (await daemon.get("/readyz")).json()
    assert {*ready["checks"]} == {"database", "watching", "work"}
    for event in ("lead.settled", "history.recorded"):
        assert {line["collection"] for line in daemon.events(event)} == {*NAMES}
    assert all("collection" not in line for line in daemon.events("daemon.started"))
    found = json.loads(await two.say("explain", f"ada@{host}", "--json"))["leads"]
    assert [(each["id"], each["collection"]) for each in found] == [(7, each) for each in NAMES]
    said = await two.say("explain", "7", "--collection", "companies")
    assert said.startswith("lead 7 in companies\n")


async def _is_in_status(two: Two) -> bool:
    """The daemon reports every three seconds."""
    status = json.loads(await two.say("status", "--json"))
    sources = {each["collection"]: each for each in status["sources"]}
    completed = [sources[name]["backlog"]["statuses"]["completed"] for name in NAMES]
    assert status["leads"] == ", ".join(f"{two.rig.database.name}.{name}" for name in NAMES)
    [seen] = status["daemons"]
    is_whole = status["backlog"]["statuses"]["completed"] == sum(completed) == 40
    are_open = [sources[name]["stream"]["open"] for name in NAMES] == [1, 1]
    return bool(is_whole and are_open and status["stream"]["open"] == 1 and seen["is_stream_open"])


async def test_one_budget_and_one_limit_hold_over_both(two: Two) -> None:
    settings = {"CLEARBIT_DAILY_BUDGET": 9, "HUNTER_RATE_LIMIT": 12}
    async with two.at_work(**settings) as daemon:
        for name in NAMES:
            await two.insert(name, *(a_lead(n) for n in range(10)))
        await eventually(lambda: charged(two.rig, "clearbit") == 9, within=30)
        await daemon.wait_for_event("provider.held", provider="clearbit")
        await eventually(lambda: charged(two.rig, "hunter") >= 5, within=60)
        await eventually(lambda: _waits(daemon, "hunter"), within=30)
    assert charged(two.rig, "clearbit") == 9
    # One in five seconds, and one that was late; with a limit each it would be six.
    assert two.rig.simulator.journal.busiest_window("hunter", 15) <= 4


async def _waits(daemon: Daemon, provider: str) -> bool:
    return await daemon.metric("enricher_provider_waiting", provider=provider) > 0


async def test_who_is_forgotten_is_erased_in_both(two: Two) -> None:
    host = domain()
    persons = {"ENRICHER_PROVIDERS_OFF": '["hunter_company", "clearbit_person"]'}
    async with two.at_work(**persons):
        for name in NAMES:
            await two.insert(name, a_lead(1, host))
        await two.all_ended([1])
        assert (await two.lead("customers", 1))["enriched_data"]["email_verification"]
        said = await two.say("forget", f"ada@{host}")
    assert "leads erased: 2\n" in said
    assert "looked at: customers, companies\n" in said
    for name in NAMES:
        lead = await two.lead(name, 1)
        assert lead["enrichment_error"] == Reason.SUPPRESSED.sentence
        assert lead["enriched_data"]["email_verification"] is None


async def test_a_collection_that_is_dropped_leaves_the_other_at_work(two: Two) -> None:
    async with two.at_work() as daemon:
        await two.insert("companies", a_lead("before"))
        await two.witnesses["companies"].end_of("before")
        await two.rig.database.drop_collection("companies")
        await daemon.wait_for_event("stream.ended", collection="companies")
        await two.insert("customers", *(a_lead(n) for n in range(20)))
        await two.witnesses["customers"].all_ended(range(20))
        assert not daemon.events("stream.ended", collection="customers")
        await two.insert("companies", a_lead("again"))
        await eventually(lambda: _is_completed(two, "companies", "again"), within=30)


async def _is_completed(two: Two, collection: str, lead: LeadId) -> bool:
    return (await two.lead(collection, lead)).get("enrichment_status") == "completed"


def _have_ended(witness: Witness, least: int) -> bool:
    return len(witness.ended(range(30))) >= least


async def test_a_kill_loses_no_lead_of_either(two: Two) -> None:
    settings: dict[str, Any] = {"ENRICHER_LEASE_SECONDS": 2, "ENRICHER_CONCURRENCY": 8}
    two.rig.simulator.inject("latency", seconds=0.3)
    async with two.at_work(**settings) as daemon:
        for name in NAMES:
            await two.insert(name, *(a_lead(n) for n in range(30)))
        for witness in two.witnesses.values():
            await witness.until(partial(_have_ended, witness, 3))
        daemon.kill()
        await daemon.wait()
        for name in NAMES:
            await two.insert(name, *(a_lead(f"while down {n}") for n in range(5)))
    two.rig.simulator.faults.clear()
    async with two.at_work(**settings):
        leads = [*range(30), *(f"while down {n}" for n in range(5))]
        await two.all_ended(leads, within=60)
    for witness in two.witnesses.values():
        assert witness.settled_more_than_once() == {}


async def test_a_busy_collection_does_not_keep_the_other_waiting(two: Two) -> None:
    two.rig.simulator.inject("latency", seconds=0.5)
    async with two.at_work(ENRICHER_CONCURRENCY=4) as daemon:
        await two.insert("customers", *(a_lead(n) for n in range(200)))
        customers, companies = (two.witnesses[name] for name in NAMES)
        await customers.until(lambda: len(customers.ended(range(200))) >= 1)
        await two.insert("companies", *(a_lead(n) for n in range(8)))
        await companies.all_ended(range(8), within=30)
        assert len(customers.ended(range(200))) < 100
        assert await daemon.metric("enricher_concurrency") == 4


@pytest.mark.parametrize(
    "arguments",
    [
        ("reenrich", "--id", "1"),
        ("backfill", "--query", "{}", "--dry-run"),
        ("reenrich", "--id", "1", "--collection", "leads"),
        ("explain", "1", "--collection", "leads"),
    ],
    ids=" ".join,
)
async def test_a_command_says_which_collections_there_are(
    two: Two, arguments: tuple[str, ...]
) -> None:
    said = await two.say(*arguments, code=ExitCode.SETTINGS)
    assert said.startswith("--collection: ")
    assert "customers, companies" in said


async def test_commands_work_on_the_collection_that_is_named(two: Two) -> None:
    for name in NAMES:
        await two.insert(name, a_lead(1))
    assert "1 lead is pending" in await two.say(
        "reenrich", "--id", "1", "--collection", "companies"
    )
    assert (await two.lead("companies", 1))["enrichment_status"] == "pending"
    assert "enrichment_status" not in await two.lead("customers", 1)
    plan = await two.say("backfill", "--query", "{}", "--dry-run", "--collection", "customers")
    assert "1 leads match" in plan
    checked = await two.say("check")
    for subject in ("privileges", "indexes", "leads", "stream"):
        for name in NAMES:
            assert f"\n{subject} {name} " in checked
