"""Documents that would end a MongoDB 6.0 at our first write: it lives, and the leads say why they failed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from enricher.lead import Document
from enricher.mongo.embedded import EmbeddedServer
from tests.support.doubling import DUE, HARMLESS, IN_THE_DATA, NEW, UNSAYABLE, doubled
from tests.support.processes import Daemon
from tests.support.rig import Rig, address, domain, open_rig
from tests.support.waiting import eventually

SAID = "more than once."


@asynccontextmanager
async def own_server(mongod: Path, directory: Path) -> AsyncIterator[EmbeddedServer]:
    """Nobody else's: a fault here would end it, and nothing starts it again."""
    async with EmbeddedServer(directory / "server", binary=mongod) as server:
        yield server


async def insert(rig: Rig, kinds: dict[str, list[tuple[str, Any]]]) -> None:
    """One of each kind."""
    for name, fields in kinds.items():
        await rig.leads.insert_one(doubled(("_id", name), ("company_domain", domain()), *fields))


async def honest(rig: Rig) -> None:
    """Others go on as ever."""
    await rig.leads.insert_one({"_id": "honest", "email": address()})
    assert await rig.witness.end_of("honest") == "completed"


async def failures(rig: Rig) -> dict[Any, str]:
    """Lead -> what it says."""
    found = rig.leads.find({"enrichment_status": "failed"}, {"enrichment_error": 1})
    return {lead["_id"]: lead["enrichment_error"] async for lead in found}


@pytest.mark.timeout(120)
async def test_a_field_that_stands_there_twice_fails_the_lead_and_not_the_server(
    mongod: Path, in_memory: Path
) -> None:
    async with own_server(mongod, in_memory) as server, open_rig(server.uri) as rig:
        async with rig.daemon() as daemon:
            await daemon.wait_for_event("history.recorded")
            told = {**NEW, **DUE, **IN_THE_DATA}
            await insert(rig, {"alone": UNSAYABLE["enrichment_status, pending"]})
            await daemon.wait_for_event(
                "lead.unwritable"
            )  # taken by a daemon that has nothing to do
            await insert(rig, {**told, **UNSAYABLE, **HARMLESS})
            await honest(rig)
            await rig.witness.all_ended([*told, *HARMLESS], within=30)
            said = await failures(rig)
            assert {name for name, why in said.items() if why.endswith(SAID)} == set(told)
            assert said["updated_at"] == "The document holds the field updated_at more than once."

            async def all_told() -> bool:
                return await daemon.metric("enricher_leads_unwritable_total") >= len(NEW) + len(
                    UNSAYABLE
                )

            await eventually(all_told)
            assert daemon.events("lead.unwritable", step="admit")
        async with rig.daemon() as again:  # after a restart everything is met once more
            await again.wait_for_event("stream.opened")
            await rig.leads.update_one(
                {"_id": "updated_at"}, {"$set": {"enrichment_status": "pending"}}
            )
            await again.wait_for_event("lead.unwritable")
            await rig.leads.update_one(
                {"_id": "honest"}, {"$set": {"enrichment_status": "pending"}}
            )
            await rig.witness.until(lambda: len(rig.witness.settles("honest")) > 1)


async def test_commands_do_not_end_the_server_either(mongod: Path, in_memory: Path) -> None:
    async with own_server(mongod, in_memory) as server, open_rig(server.uri) as rig:
        mail = address()
        data: Document = {"enrichment_metadata": {"completeness_score": 5}, "person_data": {"a": 1}}
        fields = [
            ("enrichment_status", "completed"), ("enrichment", {"token": 1}), ("enriched_data", data),
            ("updated_at", 1), ("updated_at", 2),
        ]  # fmt: skip
        await rig.leads.insert_one(doubled(("_id", 1), ("email", mail), *fields))
        for words in (
            ("reenrich", "--id", "1"),
            ("forget", mail),
            ("backfill", "--query", "{}", "--yes"),
        ):
            async with Daemon(*words, env=rig.environment()) as command:
                await command.wait()
        stands = await rig.lead(1)
        assert stands["enrichment_status"] == "completed"


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    "more", [[("updated_at", 1), ("updated_at", 2)], [("enrichment", {})]], ids=["date", "book"]
)
async def test_a_lead_that_becomes_such_a_document_while_it_is_in_work(
    mongod: Path, in_memory: Path, more: list[tuple[str, Any]]
) -> None:
    async with own_server(mongod, in_memory) as server, open_rig(server.uri) as rig:
        rig.simulator.inject("latency", seconds=2)
        async with rig.daemon(ENRICHER_LEASE_SECONDS=5) as daemon:
            await daemon.wait_for_event("history.recorded")
            await rig.leads.insert_one({"_id": "deadly", "email": address()})
            await rig.witness.until(lambda: "processing" in rig.witness.statuses("deadly"))
            fields = [*(await rig.lead("deadly")).items(), *more]
            await rig.leads.replace_one({"_id": "deadly"}, doubled(*fields))
            await daemon.wait_for_event("lead.not_written", lead="deadly", within=60)
            assert await rig.witness.end_of("deadly", within=60) == "failed"
            await honest(rig)
