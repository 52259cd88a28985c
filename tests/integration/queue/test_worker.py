"""The worker over a real database: claims, slots, drains, lost leases, outages, and idle turns."""

from __future__ import annotations

import asyncio
import time
from collections import UserDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import NoReturn

import pytest
from pymongo import AsyncMongoClient
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.monitoring import (
    CommandFailedEvent,
    CommandListener,
    CommandStartedEvent,
    CommandSucceededEvent,
)

from enricher.answer import Answer, Found, NotFound, Query, Unavailable
from enricher.lead import Document
from tests.support.cable import Cable, cable_to, client_over
from tests.support.observing import counted, events, logged
from tests.support.scripted import Door, company, provider
from tests.support.waiting import business, eventually
from tests.support.working import queue, working

pytestmark = pytest.mark.slow

Collection = AsyncCollection[Document]

ACME = company(name="Acme")


def a_lead(id_: int) -> Document:
    return {"_id": id_, "email": f"x{id_}@acme-tools.com", "enrichment_status": "pending"}


async def insert(leads: Collection, count: int = 1) -> None:
    await leads.insert_many([a_lead(number) for number in range(1, count + 1)])


async def lead(leads: Collection, id_: int = 1) -> Document:
    found = await leads.find_one({"_id": id_})
    assert found is not None
    return found


async def count_of(leads: Collection, status: str) -> int:
    return await leads.count_documents({"enrichment_status": status})


async def until(leads: Collection, status: str, count: int = 1) -> None:
    await eventually(lambda: _are(leads, status, count))


async def _are(leads: Collection, status: str, count: int) -> bool:
    return await count_of(leads, status) == count


def settled(outcome: str) -> float:
    return counted("enricher_leads_settled_total", outcome=outcome)


def dropped(why: str) -> float:
    return counted("enricher_results_dropped_total", why=why)


# -- work ------------------------------------------------------------------------------------


async def test_a_pending_lead_is_worked_on_and_settled(leads: Collection) -> None:
    await insert(leads)
    before = settled("completed")
    with logged() as lines:
        async with working(leads, provider("acme", ACME)):
            await until(leads, "completed")
            await eventually(lambda: events(lines, "lead.settled"))
    done = await lead(leads)
    assert done["enriched_data"]["company_data"] == {"name": "Acme"}
    assert (done["enrichment"]["holder"], done["enrichment"]["attempts"]) == (None, 0)
    assert settled("completed") == before + 1
    (line,) = events(lines, "lead.settled")
    assert (line.fields["lead"], line.fields["outcome"], line.fields["attempt"]) == (
        "1",
        "completed",
        1,
    )
    assert "acme-tools" not in str(lines)
    assert counted("enricher_leads_in_work") == 0


async def test_a_lead_that_failed_for_now_is_retrying_with_a_time(leads: Collection) -> None:
    await insert(leads)
    async with working(leads, provider("acme", Unavailable("503"))):
        await until(leads, "retrying")
    waiting = await lead(leads)
    assert waiting["enrichment"]["due_at"] > datetime.now(UTC)
    assert waiting["enrichment_error"].startswith("acme did not answer (503). The next try")


async def test_never_more_leads_are_in_work_than_there_are_slots(leads: Collection) -> None:
    await insert(leads, 20)
    at_once: list[int] = []
    now = 0

    async def script(_: Query) -> Answer:
        nonlocal now
        now += 1
        at_once.append(now)
        await asyncio.sleep(0.02)
        now -= 1
        return ACME

    async with working(leads, provider("acme", script), concurrency=3):
        await until(leads, "completed", 20)
    assert max(at_once) == 3
    assert len(at_once) == 20


async def test_a_ring_is_answered_long_before_the_next_poll(leads: Collection) -> None:
    async with working(leads, provider("acme", ACME), poll_seconds=60) as process:
        await asyncio.sleep(0.1)
        await insert(leads)
        process.bell.ring()
        await until(leads, "completed")


async def test_a_backlog_is_worked_off_without_a_poll_in_between(leads: Collection) -> None:
    await insert(leads, 30)
    async with working(leads, provider("acme", ACME), concurrency=4, poll_seconds=60):
        await until(leads, "completed", 30)


class Unreadable(UserDict[str, object]):
    """What a provider of another package may return."""

    def __iter__(self) -> NoReturn:
        raise ZeroDivisionError("x2@acme-tools.com")


async def test_a_bug_leaves_no_data_about_somebody_else_on_the_lead(leads: Collection) -> None:
    others = {"mailbox": "pats", "company": "huntcos"}
    found = {
        "person_data": {"full_name": "Pat Example"},
        "notes": "a writer's",
        "enrichment_metadata": {"subject": others},
    }
    await leads.insert_one(a_lead(2) | {"enriched_data": found})
    said = Found({"company_data": Unreadable(name="Acme")})
    async with working(leads, provider("acme", said)):
        await until(leads, "failed")
    data = (await lead(leads, 2))["enriched_data"]
    assert (data["person_data"], data["notes"]) == (None, "a writer's")
    assert data["enrichment_metadata"]["subject"] != others


async def test_a_bug_met_by_one_lead_ends_that_lead_and_the_others_go_on(leads: Collection) -> None:
    def said(query: Query) -> Answer:
        is_second = (query.email or "").startswith("x2@")
        return Found({"company_data": Unreadable(name="Acme")}) if is_second else ACME

    await insert(leads, 3)
    with logged() as lines:
        async with working(leads, provider("acme", said)):
            await until(leads, "completed", 2)
            await until(leads, "failed")
    assert (await lead(leads, 2))["enrichment_error"] == (
        "An internal error stopped the work on this lead: ZeroDivisionError."
    )
    assert [line.fields["lead"] for line in events(lines, "lead.broken")] == ["2"]


# -- the lead is taken away ------------------------------------------------------------------


async def test_a_users_pending_during_the_work_begins_a_fresh_run_and_drops_the_old_result(
    leads: Collection,
) -> None:
    await insert(leads)
    first, second = Door(company(name="First")), Door(company(name="Second"))
    second.opened.set()
    doors = [second, first]

    async def script(query: Query) -> Answer:
        return await doors.pop()(query)

    asked = provider("acme", script)
    before = dropped("lease_lost"), counted("enricher_leases_lost_total", found_by="settle")
    async with working(leads, asked):
        await first.entered.wait()
        await leads.update_one({"_id": 1}, {"$set": {"enrichment_status": "pending"}})
        await until(leads, "completed")
        first.opened.set()
        await eventually(lambda: dropped("lease_lost") == before[0] + 1)
    assert counted("enricher_leases_lost_total", found_by="settle") == before[1] + 1
    done = await lead(leads)
    assert done["enriched_data"]["company_data"] == {"name": "Second"}
    assert done["enrichment_status"] == "completed"


async def test_a_lead_that_is_deleted_during_the_work_stays_deleted(leads: Collection) -> None:
    await insert(leads)
    door, before = Door(ACME), dropped("deleted")
    async with working(leads, provider("acme", door)):
        await door.entered.wait()
        await leads.delete_one({"_id": 1})
        door.opened.set()
        await eventually(lambda: dropped("deleted") == before + 1)
    assert await leads.count_documents({}) == 0


async def test_an_address_that_changes_during_the_work_is_worked_on_instead(
    leads: Collection,
) -> None:
    await insert(leads)
    door = Door(ACME)
    asked = provider("acme", door)
    async with working(leads, asked):
        await door.entered.wait()
        await leads.update_one({"_id": 1}, {"$set": {"email": "new@other-tools.com"}})
        door.opened.set()
        await until(leads, "completed")
    assert [query.company_domain for query in asked.asked] == ["acme-tools.com", "other-tools.com"]


# -- stopping --------------------------------------------------------------------------------


async def test_a_drain_lets_finish_what_can_and_gives_back_the_rest_with_its_attempt(
    leads: Collection,
) -> None:
    await insert(leads, 2)
    doors = {"x1@acme-tools.com": Door(ACME), "x2@acme-tools.com": Door(ACME)}
    before = counted("enricher_leads_released_total")
    script = provider("acme", lambda query: doors[query.email or ""](query))
    async with working(leads, script, shutdown_grace_seconds=business()) as process:
        for door in doors.values():
            await door.entered.wait()
        draining = asyncio.create_task(process.drained())
        await asyncio.sleep(0)
        doors["x1@acme-tools.com"].opened.set()
        await draining
    assert (await lead(leads, 1))["enrichment_status"] == "completed"
    given_back = await lead(leads, 2)
    assert given_back["enrichment_status"] == "pending"
    assert (given_back["enrichment"]["attempts"], given_back["enrichment"]["holder"]) == (0, None)
    assert counted("enricher_leads_released_total") == before + 1
    assert (await queue(leads).claim(10)).leases[0].lead.attempt == 1


async def test_a_drain_counts_what_it_gave_back_beside_a_lead_that_is_refused(
    leads: Collection,
) -> None:
    await insert(leads, 3)
    doors = {number: Door(ACME) for number in (1, 2, 3)}
    script = provider("acme", lambda query: doors[int((query.email or "")[1])](query))
    with logged() as lines:
        async with working(leads, script) as process:
            for door in doors.values():
                await door.entered.wait()
            refused = {"$nor": [{"_id": 2, "enrichment_status": "pending"}]}
            await leads.database.command("collMod", leads.name, validator=refused)
            await process.drained()
    assert [line.fields["released"] for line in events(lines, "drain.finished")] == [2]
    assert [line.fields["lead"] for line in events(lines, "lead.unwritable")] == ["2"]


async def test_nothing_is_claimed_any_more_during_a_drain(leads: Collection) -> None:
    await insert(leads)
    door = Door(ACME)
    async with working(leads, provider("acme", door), shutdown_grace_seconds=10) as process:
        await door.entered.wait()
        draining = asyncio.create_task(process.drained())
        await asyncio.sleep(0)
        await leads.insert_one(a_lead(2))
        process.bell.ring()
        await asyncio.sleep(0.15)
        door.opened.set()
        await draining
    assert (await lead(leads, 2))["enrichment_status"] == "pending"


@pytest.mark.parametrize("concurrency", [1, 8])
async def test_a_stop_is_noticed_at_once_whatever_the_worker_waits_for(
    leads: Collection, concurrency: int
) -> None:
    await insert(leads)
    door = Door(ACME)
    async with working(
        leads, provider("acme", door), concurrency=concurrency, poll_seconds=60
    ) as process:
        await door.entered.wait()
        await asyncio.sleep(0.05)
        await process.drained(within=2)
    assert (await lead(leads))["enrichment_status"] == "pending"


async def test_a_stop_before_the_start_is_not_lost(leads: Collection) -> None:
    await insert(leads)
    async with working(leads, provider("acme", ACME), poll_seconds=60) as process:
        await process.drained(within=2)


async def test_a_worker_that_is_ended_by_anothers_failure_gives_its_leads_back(
    leads: Collection,
) -> None:
    await insert(leads)
    before, door = asyncio.all_tasks(), Door(ACME)
    async with working(leads, provider("acme", door)) as process:
        await door.entered.wait()
        await process.killed()
        given_back = await lead(leads)
        assert (given_back["enrichment_status"], given_back["enrichment"]["attempts"]) == (
            "pending",
            0,
        )
    await eventually(lambda: {t for t in asyncio.all_tasks() if "lead" in t.get_name()} <= before)


# -- outages ---------------------------------------------------------------------------------


@pytest.fixture
async def cable(mongodb_uri: str) -> AsyncIterator[Cable]:
    async with cable_to(mongodb_uri) as cable:
        yield cable


@asynccontextmanager
async def through(cable: Cable, leads: Collection) -> AsyncIterator[Collection]:
    """The same collection over the cable, with little patience."""
    async with client_over(cable, 0.3 * business()) as client:
        yield client[leads.database.name][leads.name]


async def test_a_worker_waits_out_an_outage_and_goes_on(leads: Collection, cable: Cable) -> None:
    with logged() as lines:
        async with through(cable, leads) as ours, working(ours, provider("acme", ACME)) as process:
            await eventually(lambda: process.worker.outage.is_over)
            cable.cut()
            await insert(leads)
            await eventually(lambda: process.worker.outage.failures >= 2)
            cable.mend()
            await until(leads, "completed")
            assert process.worker.outage.is_over
    told = [line for line in lines if line.fields.get("loop") == "worker"]
    assert [line.event for line in told] == ["database.unavailable", "database.available"]


async def test_a_result_that_exists_is_written_after_an_outage_also_while_draining(
    leads: Collection, cable: Cable
) -> None:
    await insert(leads)
    door, before = Door(ACME), settled("completed")
    async with through(cable, leads) as ours, working(ours, provider("acme", door)) as process:
        await door.entered.wait()
        cable.cut()
        door.opened.set()
        await eventually(lambda: not process.worker.settler.outage.is_over)
        draining = asyncio.create_task(process.drained())
        await asyncio.sleep(0.2)
        cable.mend()
        await draining
    assert (await lead(leads))["enrichment_status"] == "completed"
    assert settled("completed") == before + 1


async def test_a_drain_does_not_wait_for_ever_for_a_database_that_is_away(
    leads: Collection, cable: Cable
) -> None:
    await insert(leads)
    door = Door(ACME)
    with logged() as lines:
        async with through(cable, leads) as ours, working(ours, provider("acme", door)) as process:
            await door.entered.wait()
            cable.cut()
            await process.drained(within=8)
    assert events(lines, "drain.not_released")[0].fields["leads"] == 1


# -- idle turns ------------------------------------------------------------------------------


class Commands(CommandListener):
    """What was sent, by name."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def started(self, event: CommandStartedEvent) -> None:
        self.names.append(event.command_name)

    def succeeded(self, event: CommandSucceededEvent) -> None: ...

    def failed(self, event: CommandFailedEvent) -> None: ...


@asynccontextmanager
async def watched(
    uri: str, database: AsyncDatabase[Document]
) -> AsyncIterator[tuple[Collection, list[str]]]:
    commands = Commands()
    client: AsyncMongoClient[Document] = AsyncMongoClient(
        uri, event_listeners=[commands], tz_aware=True
    )
    async with client:
        yield client[database.name]["leads"], commands.names


async def test_an_idle_worker_makes_one_round_trip_for_each_poll(
    mongodb_uri: str, database: AsyncDatabase[Document]
) -> None:
    async with watched(mongodb_uri, database) as (ours, sent):
        began = time.monotonic()
        async with working(ours, provider("acme", NotFound()), poll_seconds=0.1):
            await eventually(lambda: len(sent) >= 6)
        elapsed = time.monotonic() - began
        assert set(sent) == {"aggregate"}
        assert len(sent) <= elapsed / 0.09 + 1


async def turns_in_a_second(ours: Collection, sent: list[str]) -> int:
    """Once it has seen that its claims win nothing."""
    async with working(ours, provider("acme", ACME), concurrency=4, poll_seconds=0.4):
        await eventually(lambda: sent.count("aggregate") > 4)
        await asyncio.sleep(0.5)
        sent.clear()
        await asyncio.sleep(1)
        return sent.count("aggregate")


async def test_leads_that_the_database_refuses_to_claim_do_not_make_a_worker_spin(
    mongodb_uri: str, database: AsyncDatabase[Document], leads: Collection
) -> None:
    await insert(leads, 4)
    await database.command("collMod", "leads", validator={"enrichment_status": "pending"})
    async with watched(mongodb_uri, database) as (ours, sent):
        assert await turns_in_a_second(ours, sent) < 10
