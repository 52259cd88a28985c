"""A daemon is killed, drained, or replaced by the next: no lead is lost and none is done twice."""

from __future__ import annotations

import asyncio
import signal
import time
from functools import partial

import pytest

from enricher.lead import Document
from tests.support.processes import Daemon
from tests.support.rig import Rig, address, domain
from tests.support.waiting import business, eventually

LEADS = 200
LEASE_SECONDS = 2
GRACE_SECONDS = 3

CRASH = {
    "ENRICHER_LEASE_SECONDS": LEASE_SECONDS,
    "ENRICHER_CONCURRENCY": 16,
    "ENRICHER_POLL_SECONDS": 0.5,
}


def companies(count: int, word: str = "") -> list[Document]:
    return [
        {"_id": f"{word}{number}", "company_domain": word + domain()} for number in range(count)
    ]


def slow_down(rig: Rig) -> None:
    """Answers in no lockstep: at any moment some leads are in work."""
    rig.simulator.latency, rig.simulator.jitter = 0.1, 0.4


def settled_once(rig: Rig, leads: list[Document]) -> bool:
    return all(len(rig.witness.settles(lead["_id"])) == 1 for lead in leads)


async def kill_in_the_middle(rig: Rig, daemon: Daemon, leads: list[Document]) -> float:
    """Once a fifth is done, and with leads in work. Returns the moment."""
    ids = [lead["_id"] for lead in leads]
    await rig.witness.until(lambda: len(rig.witness.ended(ids)) >= len(ids) // 5)
    daemon.kill()
    at = time.monotonic()
    await daemon.wait()
    in_work = await rig.leads.count_documents({"enrichment_status": "processing"})
    assert in_work > 0, "it was not in the middle of anything"
    return at


async def test_a_process_beside_a_killed_one_finishes_its_leads(rig: Rig) -> None:
    slow_down(rig)
    leads = companies(LEADS)
    async with rig.daemon("clearbit", **CRASH) as killed, rig.daemon("clearbit", **CRASH) as other:
        for daemon in (killed, other):
            await daemon.wait_for_event("stream.opened")
        await rig.leads.insert_many(leads)
        killed_at = await kill_in_the_middle(rig, killed, leads)
        await rig.witness.all_ended(lead["_id"] for lead in leads)
        assert await other.metric("enricher_leases_lost_total") == 0
    assert rig.witness.last_settle_at() < killed_at + LEASE_SECONDS + 10 * business()
    assert settled_once(rig, leads)


async def test_a_restarted_process_finishes_what_the_killed_one_had_begun(rig: Rig) -> None:
    slow_down(rig)
    leads = companies(LEADS)
    async with rig.daemon("clearbit", **CRASH) as killed:
        await killed.wait_for_event("stream.opened")
        await rig.leads.insert_many(leads)
        killed_at = await kill_in_the_middle(rig, killed, leads)
    async with rig.daemon("clearbit", **CRASH) as restarted:
        await restarted.wait_for_event("stream.opened")
        up_at = time.monotonic()
        await rig.witness.all_ended(lead["_id"] for lead in leads)
    # Besides what was begun it has all the rest to do, alone.
    assert rig.witness.last_settle_at() < max(killed_at + LEASE_SECONDS, up_at) + 10 * business()
    assert settled_once(rig, leads)


async def test_a_lead_that_kills_its_process_each_time_ends_as_failed(rig: Rig) -> None:
    rig.simulator.inject("hang")
    deadly = {"ENRICHER_LEASE_SECONDS": 1, "ENRICHER_MAX_ATTEMPTS": 1}
    await rig.leads.insert_one(
        {"_id": "deadly", "company_domain": domain(), "enrichment_status": "pending"}
    )
    for _ in range(2):
        async with rig.daemon("clearbit", **deadly) as daemon:
            await asks_something_new(rig)
            daemon.kill()
    async with rig.daemon("clearbit", **deadly):
        assert await rig.witness.end_of("deadly") == "failed"
    lead = await rig.lead("deadly")
    assert lead["enrichment_error"].startswith("Gave up")
    assert len(rig.simulator.journal) == 2


async def test_sigterm_finishes_what_is_in_work_and_gives_back_the_rest(rig: Rig) -> None:
    rig.simulator.inject("hang", question="*stuck*")
    rig.simulator.latency = 0.5
    stuck, quick = companies(3, "stuck"), companies(5, "quick")
    settings = {"ENRICHER_SHUTDOWN_GRACE_SECONDS": GRACE_SECONDS, "ENRICHER_CONCURRENCY": 8}
    async with rig.daemon("clearbit", **settings) as daemon:
        await daemon.wait_for_event("stream.opened")
        await rig.leads.insert_many(stuck + quick)
        await rig.simulator.journal.until(lambda: len(rig.simulator.journal) == 8)
        late = companies(4, "late")
        await rig.leads.insert_many(late)
        daemon.terminate()
        stopped_at = time.monotonic()
        assert await daemon.wait() == 0
        assert time.monotonic() - stopped_at < GRACE_SECONDS + 5 * business()
    assert rig.witness.ended(lead["_id"] for lead in quick) == [lead["_id"] for lead in quick]
    for lead in [await rig.lead(lead["_id"]) for lead in stuck]:
        assert lead["enrichment_status"] == "pending"
        assert (lead["enrichment"]["attempts"], lead["enrichment"]["holder"]) == (0, None)
    assert not rig.questions(*(lead["company_domain"] for lead in late))


async def test_what_was_given_back_is_done_by_the_next_process_as_its_first_attempt(
    rig: Rig,
) -> None:
    hang = rig.simulator.inject("hang")
    leads = companies(5)
    async with rig.daemon("clearbit", ENRICHER_SHUTDOWN_GRACE_SECONDS=0) as first:
        await first.wait_for_event("stream.opened")
        await rig.leads.insert_many(leads)
        await rig.simulator.journal.until(lambda: len(rig.simulator.journal) == 5)
        first.terminate()
        assert await first.wait() == 0
        assert first.events("drain.finished", released=5)
    rig.simulator.faults.remove(hang)
    async with rig.daemon("clearbit") as second:
        await eventually(
            lambda: len(second.events("lead.settled", attempt=1, outcome="completed")) == 5
        )
    assert settled_once(rig, leads)


async def asks_something_new(rig: Rig) -> None:
    """With a fifth of a second for each answer, a lead is then in work."""
    journal, before = rig.simulator.journal, len(rig.simulator.journal)
    await journal.until(lambda: len(journal) > before)


async def test_a_rolling_restart_under_load_loses_nothing_and_asks_nothing_twice(rig: Rig) -> None:
    rig.simulator.latency = 0.2
    leads: list[Document] = []
    async with (
        rig.daemon("clearbit") as first,
        rig.daemon("clearbit") as second,
        rig.daemon("clearbit") as third,
    ):
        await first.wait_for_event("stream.opened")
        restarted = asyncio.Event()
        inserting = asyncio.create_task(_insert_until(restarted, rig, leads))
        for old, new in ((first, second), (second, third)):
            await new.wait_for_event("stream.opened")
            await asks_something_new(rig)
            old.terminate()
            assert await old.wait() == 0
            assert old.events("drain.finished", released=0)
        restarted.set()
        await inserting
        await rig.witness.all_ended(lead["_id"] for lead in leads)
    assert settled_once(rig, leads)
    assert rig.asked_twice() == {}


async def _insert_until(restarted: asyncio.Event, rig: Rig, leads: list[Document]) -> None:
    """As a busy front end would, for as long as the restarts take."""
    while not restarted.is_set():
        leads.append({"_id": len(leads), "company_domain": domain()})
        await rig.leads.insert_one(leads[-1])
        await asyncio.sleep(0.015)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
async def test_a_second_signal_ends_it_at_once_and_by_that_signal(
    rig: Rig, number: signal.Signals
) -> None:
    rig.simulator.inject("hang")
    async with rig.daemon("clearbit") as daemon:
        await daemon.wait_for_event("stream.opened")
        await rig.leads.insert_one({"company_domain": domain()})
        await rig.simulator.journal.until(lambda: len(rig.simulator.journal) == 1)
        daemon.send(number)
        await daemon.wait_for_event("daemon.stopping", signal=number.name)
        daemon.send(number)
        assert await daemon.wait(within=5) == -number


async def test_what_one_provider_found_survives_a_kill_while_another_hangs(rig: Rig) -> None:
    hanging = rig.simulator.inject("hang", vendor="hunter")
    async with rig.daemon(ENRICHER_LEASE_SECONDS=1) as first:
        await first.wait_for_event("history.recorded")
        await rig.leads.insert_one({"_id": 1, "email": address()})
        await eventually(partial(_has_company, rig, 1))
        assert (await rig.lead(1))["enrichment_status"] == "processing"
        first.kill()
        await first.wait()
    rig.simulator.faults.remove(hanging)
    async with rig.daemon(ENRICHER_LEASE_SECONDS=1):
        assert await rig.witness.end_of(1) == "completed"
    done = await rig.lead(1)
    assert done["enriched_data"]["enrichment_metadata"]["sources_used"] == [
        "clearbit",
        "hunter",
        "local",
    ]
    assert len(rig.simulator.journal.calls(vendor="clearbit")) == 1


async def _has_company(rig: Rig, lead: int) -> bool:
    return bool(((await rig.lead(lead)).get("enriched_data") or {}).get("company_data"))
