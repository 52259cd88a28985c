"""What 10,000 leads cost, with and without daemons that die, and what a budget of 100 lets through."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

from enricher.lead import Document
from tests.chaos.observer import Observer
from tests.chaos.report import VERDICTS, Verdict
from tests.support.money import (
    Bill,
    Fleet,
    Question,
    bill,
    busiest,
    claims_since,
    held_for_the_day,
    leads_of,
    not_around_midnight,
    paid_in_vain,
    questions_of,
)
from tests.support.rig import ENDS, Rig, open_rig
from tests.support.waiting import eventually

COMPANIES = 500
LEADS, AGAIN = 10_000, 3_000
AT_ONCE = 1_000
KILL_EVERY = 2.0
BUDGET, HELD_LEADS = 100, 1_000
BACK_PER_SECOND = 20
SETTINGS = {
    "ENRICHER_LEASE_SECONDS": 3,
    "ENRICHER_POLL_SECONDS": 0.5,
    # Each death of its daemon is an attempt of the lead, and here it is not those that are judged.
    "ENRICHER_MAX_ATTEMPTS": 20,
}

pytestmark = [pytest.mark.money, pytest.mark.timeout(900)]


@dataclass(slots=True)
class Purchase:
    """A rig with its leads, and what is known beforehand of what they cost."""

    rig: Rig
    leads: list[Document]
    questions: set[Question]

    @property
    def observer(self) -> Observer:
        assert isinstance(self.rig.witness, Observer)
        return self.rig.witness

    async def insert(self) -> None:
        for first in range(0, len(self.leads), AT_ONCE):
            await self.rig.leads.insert_many(self.leads[first : first + AT_ONCE], ordered=False)

    async def completed(self) -> None:
        ended = self.observer
        await ended.until(lambda: ended.ended_so_far >= len(self.leads), 600)
        done = {"enrichment_status": "completed"}
        assert await self.rig.leads.count_documents(done) == len(self.leads)

    async def account(self, scenario: str, fleet: Fleet) -> Bill:
        """Into the table, and what must hold of any of them."""
        paid, lost = await bill(self.rig), await fleet.lost(self.questions)
        print(  # noqa: T201
            f"{scenario}: {fleet.kills} kills, {lost.total()} questions in hand of the killed, "
            f"{fleet.in_flight} calls open at a vendor; {paid}; {paid.extra} paid twice"
        )
        ended = await self.rig.leads.count_documents({"enrichment_status": {"$in": ENDS}})
        verdict = Verdict(
            scenario=scenario,
            faults=fleet.kills,
            leads=len(self.leads),
            lost=len(self.leads) - ended,
            settled_twice=len(self.observer.settled_twice()),
            stale_writes=len(self.observer.stale_writes()),
            paid_twice=paid.extra,
            in_flight=lost.total(),
            recoveries=(),
            failed=await self.rig.leads.count_documents({"enrichment_status": "failed"}),
            in_vain=len(paid_in_vain(self.rig, lost)),
        )
        VERDICTS.append(verdict)
        assert verdict.holds, f"{verdict}\n{paid_in_vain(self.rig, lost)}"
        assert verdict.failed == 0
        assert set(self.rig.questions()) == self.questions
        assert paid.charged == len(self.questions)
        assert paid.ambiguous >= paid.extra
        return paid


@asynccontextmanager
async def purchase(uri: str, companies: int, people: int, again: int) -> AsyncIterator[Purchase]:
    leads = leads_of(companies, people, again)
    async with open_rig(uri, Observer) as rig:
        yield Purchase(rig, leads, questions_of(leads))


@pytest.mark.parametrize("latency", [0.0, 0.05], ids=["instant", "50 ms"])
async def test_10_000_leads_cost_one_call_for_each_distinct_question(
    mongodb_uri: str, latency: float
) -> None:
    async with purchase(mongodb_uri, COMPANIES, LEADS - AGAIN, AGAIN) as bought:
        bought.rig.simulator.latency = latency
        fleet = Fleet(bought.rig, 3)
        async with fleet.running():
            await bought.insert()
            await bought.completed()
        paid = await bought.account(f"10,000 leads, vendors {latency * 1000:g} ms", fleet)
        assert bought.rig.asked_twice() == {}
        assert (paid.calls, paid.ambiguous) == (COMPANIES + LEADS - AGAIN, 0)


async def test_10_000_leads_and_a_kill_every_two_seconds_cost_no_more_than_was_in_flight(
    mongodb_uri: str,
) -> None:
    async with purchase(mongodb_uri, COMPANIES, LEADS - AGAIN, AGAIN) as bought:
        bought.rig.simulator.latency = 0.05
        fleet = Fleet(bought.rig, 3, SETTINGS)
        async with fleet.running_and_dying(KILL_EVERY):
            await bought.insert()
            await bought.completed()
        await bought.account("10,000 leads, a SIGKILL every 2 s", fleet)
        assert fleet.kills


async def test_500_leads_of_one_company_at_once_make_one_company_call(mongodb_uri: str) -> None:
    async with purchase(mongodb_uri, 1, 500, 0) as bought:
        fleet = Fleet(bought.rig, 3)
        async with fleet.running():
            await bought.insert()
            await bought.completed()
        await bought.account("500 leads of one company", fleet)
        assert bought.rig.asked_twice() == {}
        assert len(bought.rig.simulator.journal.calls(vendor="clearbit")) == 1


async def test_a_budget_of_100_is_spent_and_not_overshot_and_held_leads_come_back_spread_out(
    mongodb_uri: str,
) -> None:
    not_around_midnight()
    async with purchase(mongodb_uri, HELD_LEADS, HELD_LEADS, 0) as bought:
        rig = bought.rig
        rig.simulator.inject("latency", vendor="hunter", seconds=1)  # so that kills hit calls
        fleet = Fleet(rig, 3, SETTINGS | {"HUNTER_DAILY_BUDGET": BUDGET, "ENRICHER_CONCURRENCY": 8})
        async with fleet.running_and_dying(KILL_EVERY):
            await bought.insert()
            await eventually(lambda: all_held(rig), 240)
        lost = await fleet.lost(bought.questions)
        in_hand = sum(times for (vendor, _), times in lost.items() if vendor == "hunter")
        paid = await bill(rig, "hunter")
        print(f"budget {BUDGET}: {fleet.kills} kills, {in_hand} in hand; {paid}")  # noqa: T201
        assert BUDGET - in_hand <= paid.charged <= paid.calls <= BUDGET
        rig.simulator.faults.clear()
        raised_at = datetime.now(UTC)
        fleet.settings = SETTINGS | {
            "HUNTER_DAILY_BUDGET": 2 * HELD_LEADS,
            "HUNTER_RATE_LIMIT": 60 * BACK_PER_SECOND,
        }
        async with fleet.running():
            await bought.completed()
        back = claims_since(rig, raised_at)
        spread, most = max(back) - min(back), busiest(back, 1.0)
        print(f"{len(back)} leads came back in {spread:.0f} s, {most} in a second")  # noqa: T201
        assert most < len(back) / 10, "all at once"
        await bought.account("budget of 100, then raised", fleet)


async def all_held(rig: Rig) -> bool:
    """Everything but what the budget allowed. Asked now and then: kills go on meanwhile."""
    await asyncio.sleep(0.5)
    completed = await rig.leads.count_documents({"enrichment_status": "completed"})
    assert completed <= BUDGET
    return await held_for_the_day(rig) == HELD_LEADS - completed
