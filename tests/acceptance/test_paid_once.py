"""An answer that was paid for is not lost: not with its process, and not with the database away."""

from __future__ import annotations

import asyncio

from enricher.calls.ledger import Usage
from tests.support.cable import Cable, cable_to
from tests.support.money import Fleet, bill, flights_of, leads_of, paid_in_vain, questions_of
from tests.support.processes import Daemon
from tests.support.rig import Rig, domain
from tests.support.waiting import eventually

AT_WORK = 8
SETTINGS = {
    "ENRICHER_LEASE_SECONDS": 2,
    "ENRICHER_POLL_SECONDS": 0.5,
    "ENRICHER_CONCURRENCY": AT_WORK,
}
KEEPING = b"packed"
"""A word of the write that keeps an answer, and of no other."""
LONGER_THAN_A_LEASE = 4.0


async def test_a_daemon_that_dies_with_answers_in_hand_costs_those_calls_and_no_others(
    rig: Rig,
) -> None:
    leads = leads_of(companies=30, people=30, again=0)
    fleet = Fleet(rig, 1, SETTINGS)
    async with (
        cable_to(rig.uri) as cable,
        rig.daemon("clearbit", **SETTINGS, MONGODB_URI=cable.uri) as dying,
    ):
        await dying.wait_for_event("stream.opened")
        cable.hold(KEEPING)
        await rig.leads.insert_many(leads)
        await eventually(lambda: has_answers_in_hand(rig, cable, dying))
        await fleet.kill(dying)
    assert (len(rig.simulator.journal), fleet.in_flight) == (AT_WORK, 0)
    async with rig.daemon("clearbit", **SETTINGS) as other:
        await rig.witness.all_ended(range(30), within=30)
        other.terminate()
        assert await other.wait() == 0
    paid, lost = await bill(rig, "clearbit"), await fleet.lost(questions_of(leads))
    print(f"killed with {lost.total()} answers in hand: {paid}; {paid.extra} paid twice")  # noqa: T201
    assert paid_in_vain(rig, lost) == {}
    assert paid.extra <= lost.total() == AT_WORK
    assert paid.ambiguous >= paid.extra


async def has_answers_in_hand(rig: Rig, cable: Cable, daemon: Daemon) -> bool:
    """The vendor has answered all that it was asked, and nothing is kept."""
    answered = [call for call in rig.simulator.journal if call.duration is not None]
    return len(answered) == AT_WORK == len(await flights_of(rig, daemon)) and cable.held > 0


async def test_two_daemons_that_poll_one_202_count_one_charge(rig: Rig) -> None:
    companies = [domain("pending") for _ in range(5)]
    leads = [{"_id": n, "company_domain": companies[n % 5]} for n in range(100)]
    async with rig.daemon("clearbit", **SETTINGS) as one, rig.daemon("clearbit", **SETTINGS) as two:
        for daemon in (one, two):
            await daemon.wait_for_event("stream.opened")
        await rig.leads.insert_many(leads)
        await rig.witness.all_ended(range(100), within=60)
        for daemon in (one, two):
            daemon.terminate()
            assert await daemon.wait() == 0
    days = [day for day in await Usage(rig.database, {}, {}).days(2) if day.vendor == "clearbit"]
    assert len(rig.simulator.journal) > len(companies), "they were polled for"
    assert rig.simulator.journal.billing["clearbit"].charged == len(companies)
    assert sum(day.charged for day in days) == sum(day.spent for day in days) == len(companies)


async def test_no_answer_is_paid_for_twice_when_mongodb_is_away_for_longer_than_a_lease(
    rig: Rig,
) -> None:
    rig.simulator.latency = 0.5
    leads = leads_of(companies=10, people=60, again=10)
    async with (
        cable_to(rig.uri) as cable,
        rig.daemon(**SETTINGS, MONGODB_URI=cable.uri) as one,
        rig.daemon(**SETTINGS, MONGODB_URI=cable.uri) as two,
    ):
        for daemon in (one, two):
            await daemon.wait_for_event("stream.opened")
        await rig.leads.insert_many(leads)
        journal = rig.simulator.journal
        await journal.until(lambda: len(journal) >= 2 * AT_WORK)
        cable.freeze()
        under_way = sum(call.duration is None for call in journal)
        await asyncio.sleep(LONGER_THAN_A_LEASE)
        cable.mend()
        await rig.witness.all_ended(range(len(leads)), within=40)
        for daemon in (one, two):
            daemon.terminate()
            assert await daemon.wait() == 0
    paid = await bill(rig)
    print(f"frozen with {under_way} calls under way: {paid}; {paid.extra} paid twice")  # noqa: T201
    assert under_way
    assert rig.asked_twice() == {}
    assert (paid.calls, paid.ambiguous) == (len(questions_of(leads)), 0)
