"""A backfill that meets a hold waits with its leads where they are, and is done when they are."""

from __future__ import annotations

import signal
from datetime import timedelta

from enricher.catalogue import Window
from enricher.errors import ExitCode
from enricher.lead import Document
from enricher.limits.bucket import Bucket
from tests.support.processes import Daemon
from tests.support.rig import Rig, address, domain
from tests.support.waiting import eventually

BUDGET = 50
MANY = 150
COMMAND = ("backfill", "--query", "{}", "--yes")


def _command(rig: Rig, *vendors: str, **settings: str) -> Daemon:
    return Daemon(*COMMAND, env=rig.environment(*vendors) | settings)


async def _history(rig: Rig, leads: list[Document], *vendors: str) -> None:
    """Leads that stood there before the first start."""
    await rig.leads.insert_many(leads)
    async with rig.daemon(*vendors) as daemon:
        await daemon.wait_for_event("stream.opened")


async def _says(command: Daemon, text: str, within: float = 30) -> None:
    async def said() -> bool:
        return text in command.stdout

    await eventually(said, within=within)


async def _unasked(rig: Rig) -> int:
    return await rig.leads.count_documents({"enrichment_status": None})


async def test_it_pauses_while_a_budget_is_used_up_and_a_later_one_goes_on(rig: Rig) -> None:
    await _history(rig, [{"_id": n, "company_domain": domain()} for n in range(MANY)], "clearbit")
    budget = {"CLEARBIT_DAILY_BUDGET": str(BUDGET)}
    async with rig.daemon("clearbit", **budget), _command(rig, "clearbit", **budget) as first:
        await _says(first, "Paused: held are clearbit (the budget is used up).")
        await rig.witness.until(lambda: len(rig.witness.ended(range(MANY))) == BUDGET)
        assert await _unasked(rig) == MANY - BUDGET
        first.send(signal.SIGINT)
        assert await first.wait() == ExitCode.UNEXPECTED
        assert "The same command goes on from there" in first.stdout
    budget = {"CLEARBIT_DAILY_BUDGET": "10000"}
    async with rig.daemon("clearbit", **budget), _command(rig, "clearbit", **budget) as second:
        assert await second.wait(60) == ExitCode.OK
        assert f"Going on with a backfill that asked for {BUDGET} leads so far." in second.stdout
        assert f"Done: {MANY} completed." in second.stdout
        assert "Paused" not in second.stdout
    assert rig.asked_twice() == {}


async def test_it_pauses_while_a_key_is_refused_and_goes_on_by_itself(rig: Rig) -> None:
    many = 1_100  # at most a thousand are asked for before the first answer is in
    await _history(rig, [{"_id": n, "company_domain": domain()} for n in range(many)], "clearbit")
    fault = rig.simulator.inject("unauthorized")
    async with _command(rig, "clearbit") as command:
        async with rig.daemon("clearbit"):
            await _says(command, "Paused: held are clearbit")
            parked = {"enrichment_status": "retrying", "enrichment.held_by": "clearbit"}
            await eventually(lambda: _some(rig, parked))
            assert await _unasked(rig) >= many - 1_000
        rig.simulator.faults.remove(fault)
        async with rig.daemon("clearbit"):  # which asks the vendor again
            await _says(command, "It goes on: no provider that it needs is held any more.")
            assert await command.wait(60) == ExitCode.OK
    assert "Done: 1,100 completed." in command.stdout


async def _some(rig: Rig, match: Document) -> bool:
    return await rig.leads.count_documents(match) > 0


async def test_a_hold_from_before_is_met_before_any_lead_is_asked_for(rig: Rig) -> None:
    await _history(rig, [{"_id": n, "company_domain": domain()} for n in range(10)], "clearbit")
    bucket = Bucket(rig.database, "clearbit", (Window(600, 60),))
    await bucket.hold("the key is refused", 3600)
    async with _command(rig, "clearbit") as command:
        await _says(command, "Paused: held are clearbit (the key is refused).")
        assert await _unasked(rig) == 10
        await bucket.release()
        async with rig.daemon("clearbit"):
            assert await command.wait(60) == ExitCode.OK


async def test_a_provider_that_is_stopped_alone_is_met_before_any_lead_is_asked_for(
    rig: Rig,
) -> None:
    await _history(rig, [{"_id": n, "company_domain": domain()} for n in range(10)], "clearbit")
    bucket = Bucket(rig.database, "clearbit", (Window(600, 60),))
    await bucket.stop("clearbit", "its charged answers are unreadable", 3600)
    async with _command(rig, "clearbit") as command:
        await _says(command, "Paused: held are clearbit (its charged answers are unreadable).")
        assert await _unasked(rig) == 10
        await bucket.stop("clearbit", "", 0)
        async with rig.daemon("clearbit"):
            assert await command.wait(60) == ExitCode.OK


async def test_it_does_not_wait_for_a_provider_that_it_does_not_need(rig: Rig) -> None:
    await _history(rig, [{"_id": n, "company_domain": domain()} for n in range(10)])
    async with rig.daemon() as daemon:
        await daemon.wait_for_event("stream.opened")
        await Bucket(rig.database, "hunter", (Window(600, 60),)).hold("the key is refused", 3600)
        async with _command(rig) as command:
            assert await command.wait(60) == ExitCode.OK
    assert "Paused" not in command.stdout
    assert "Done: 10 completed." in command.stdout


async def test_done_means_ended(rig: Rig) -> None:
    """Five failures are more than one attempt's tries: these leads are retried."""
    await _history(rig, [{"_id": n, "email": address("shaky")} for n in range(5)], "hunter")
    async with rig.daemon("hunter"), _command(rig, "hunter") as command:
        assert await command.wait(60) == ExitCode.OK
        assert "Done: 5 completed." in command.stdout
    statuses = [status for n in range(5) for status in rig.witness.statuses(n)]
    assert "retrying" in statuses, "or nothing is shown here"


async def test_a_lead_that_only_says_that_it_is_retried_holds_up_nobody(rig: Rig) -> None:
    await _history(rig, [{"_id": n, "company_domain": domain()} for n in range(3)], "clearbit")
    async with rig.daemon("clearbit"), _command(rig, "clearbit") as command:
        assert await command.wait(60) == ExitCode.OK
    run = (await rig.lead(0))["enrichment"]["backfilled_by"]
    book = {"backfill": True, "backfilled_by": run, "held_by": ["clearbit"]}
    later = (await rig.lead(0))["enrichment"]["due_at"] + timedelta(days=3650)
    forged = {"enrichment_status": "retrying", "enrichment": {**book, "due_at": later}}
    await rig.leads.insert_one({"_id": "forged", "email": address(), **forged})
    await rig.leads.insert_one({"_id": "old", "company_domain": domain()})
    async with rig.daemon("clearbit"), _command(rig, "clearbit") as command:
        assert await command.wait(60) == ExitCode.OK
        assert "Paused" not in command.stdout
