"""The same question is paid for once, whoever asks and whatever dies; no budget is overshot."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from enricher.calls.ledger import COLLECTION as USAGE
from enricher.errors import ExitCode
from enricher.lead import Document
from tests.chaos.observer import Observer
from tests.support.money import (
    Fleet,
    bill,
    claims_since,
    held_for_the_day,
    leads_of,
    not_around_midnight,
    paid_in_vain,
    questions_of,
)
from tests.support.processes import Daemon
from tests.support.rig import Rig, open_rig
from tests.support.waiting import eventually

pytestmark = pytest.mark.timeout(120)

LEASE = {"ENRICHER_LEASE_SECONDS": 2, "ENRICHER_POLL_SECONDS": 0.5, "ENRICHER_MAX_ATTEMPTS": 20}
BUDGET = 10
KILLS = 2
LEADS_HELD = 60


async def completed(rig: Rig, leads: list[Document]) -> None:
    await rig.witness.all_ended((lead["_id"] for lead in leads), within=60)
    assert await rig.leads.count_documents({"enrichment_status": "completed"}) == len(leads)


async def test_each_question_is_paid_for_once_by_a_fleet(rig: Rig) -> None:
    leads = leads_of(companies=20, people=210, again=90)
    fleet = Fleet(rig, 2)
    async with fleet.running():
        await rig.leads.insert_many(leads)
        await completed(rig, leads)
    paid = await bill(rig)
    print(f"two daemons, 300 leads of 20 companies: {paid}")  # noqa: T201
    assert set(rig.questions()) == questions_of(leads)
    assert rig.asked_twice() == {}
    assert (paid.charged, paid.ambiguous) == (230, 0)


async def test_what_is_paid_again_after_kills_was_in_flight_and_is_in_the_ledger(rig: Rig) -> None:
    rig.simulator.latency = 0.3
    leads = leads_of(companies=20, people=210, again=90)
    fleet = Fleet(rig, 2, LEASE | {"ENRICHER_CONCURRENCY": 16})
    async with fleet.running_and_dying(every=1.5, times=KILLS):
        await rig.leads.insert_many(leads)
        await completed(rig, leads)
    paid, lost = await bill(rig), await fleet.lost(questions_of(leads))
    print(f"{fleet.kills} kills, {lost.total()} calls in hand: {paid}")  # noqa: T201
    assert fleet.kills
    assert set(rig.questions()) == questions_of(leads)
    assert paid_in_vain(rig, lost) == {}
    assert paid.ambiguous >= paid.extra


async def test_leads_beyond_the_budget_are_held_and_come_back_when_it_is_raised(
    mongodb_uri: str,
) -> None:
    not_around_midnight()
    leads = leads_of(companies=LEADS_HELD, people=LEADS_HELD, again=0)
    async with open_rig(mongodb_uri, Observer) as rig:
        rig.simulator.inject("latency", vendor="hunter", seconds=1)  # so that kills hit calls
        fleet = Fleet(rig, 2, LEASE | {"HUNTER_DAILY_BUDGET": BUDGET, "ENRICHER_CONCURRENCY": 2})
        async with fleet.running_and_dying(every=1.5, times=KILLS):
            await rig.leads.insert_many(leads)
            await all_settled(rig, leads)
            await let_half_a_minute_pass(rig)
            await eventually(lambda: are_held(rig, LEADS_HELD - BUDGET), 30)
        lost = await fleet.lost(questions_of(leads))
        in_hand = sum(times for (vendor, _), times in lost.items() if vendor == "hunter")
        paid = await bill(rig, "hunter")
        print(f"budget of {BUDGET}, {fleet.kills} kills, {in_hand} in hand: {paid}")  # noqa: T201
        assert BUDGET - in_hand <= paid.charged <= paid.calls <= BUDGET
        rig.simulator.faults.clear()
        await they_come_back(rig, leads)
        assert set(rig.questions()) == questions_of(leads)
        assert paid_in_vain(rig, lost) == {}


async def all_settled(rig: Rig, leads: list[Document]) -> None:
    await rig.witness.until(lambda: all(rig.witness.settles(each["_id"]) for each in leads), 30)


async def let_half_a_minute_pass(rig: Rig) -> None:
    """For so long a call that was granted may yet turn out to cost nothing, and nobody gives up."""
    earlier = {"$dateSubtract": {"startDate": "$granted_at", "unit": "minute", "amount": 1}}
    await rig.database[USAGE].update_many({}, [{"$set": {"granted_at": earlier}}])


async def are_held(rig: Rig, most: int) -> bool:
    """All that are not done. Fewer calls than the budget were made if a daemon died before its own."""
    undone = await rig.leads.count_documents({"enrichment_status": {"$ne": "completed"}})
    assert undone >= most
    return await held_for_the_day(rig) == undone


async def they_come_back(rig: Rig, leads: list[Document]) -> None:
    raised_at = datetime.now(UTC)
    raised = Fleet(rig, 2, LEASE | {"HUNTER_DAILY_BUDGET": 1000, "HUNTER_RATE_LIMIT": 1200})
    async with raised.running():
        await completed(rig, leads)
    came_back = claims_since(rig, raised_at)
    spread = max(came_back) - min(came_back)
    print(f"{len(came_back)} came back over {spread:.1f} s")  # noqa: T201
    assert spread > 1, "all at once"


async def test_the_report_says_what_the_vendors_charged_and_what_it_brought(rig: Rig) -> None:
    leads = leads_of(companies=10, people=30, again=10)
    price = {"CLEARBIT_CREDIT_PRICE": "0.25"}
    environment = rig.environment() | price
    async with Fleet(rig, 1).running():
        await rig.leads.insert_many(leads)
        await completed(rig, leads)
    async with rig.daemon(**price) as daemon:
        page = (await daemon.get("/report.json")).json()
        assert await daemon.metric("enricher_credit_price", provider="clearbit") == 0.25
    async with Daemon("report", "--json", "--days", "2", env=environment) as command:
        assert await command.wait(60) == ExitCode.OK
    told = json.loads(command.stdout)
    assert told["leads"] == len(leads)
    rows = {each["name"]: each for each in told["providers"]}
    billing = rig.simulator.journal.billing
    for name in ("clearbit", "hunter"):
        assert rows[name]["charged"] == billing[name].charged
        assert rows[name]["ambiguous"] == 0
        assert rows[name]["filled"] > 0
        assert rows[name]["saved"] == len(leads) - rows[name]["calls"]
    assert page["providers"] == told["providers"]
    assert rows["clearbit"]["cost"] == 0.25 * billing["clearbit"].charged
    async with Daemon("report", env=environment) as command:
        assert await command.wait(60) == ExitCode.OK
    assert "clearbit" in command.stdout
