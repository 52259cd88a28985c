"""What a vendor tells one daemon holds for all of them: when to come back, and that nobody may ask."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from enricher.simulator.journal import Entry
from tests.support.fleets import calls, fleet, insert, judge, people
from tests.support.processes import Daemon
from tests.support.rig import Rig, address, open_rig
from tests.support.waiting import business, patience

LEARNT_SECONDS = 1.5
"""The others may use half a second's worth of slots that they have; the rest is for a busy machine."""
PAUSE_SECONDS = 4
AT_ONCE = 10
HUNTER = {"HUNTER_RATE_LIMIT": 600}
WINDOWS = {"clearbit": (), "hunter": ((20, 1), (600, 60))}


async def refused_once(rig: Rig, vendor: str, status: int) -> Entry:
    """The first call that was answered so."""
    journal = rig.simulator.journal
    async with patience(30):
        await journal.until(lambda: bool(journal.calls(vendor=vendor, status=status)))
    return journal.calls(vendor=vendor, status=status)[0]


def held_lines(daemons: Sequence[Daemon]) -> list[int]:
    return [len(daemon.events("provider.held", provider="hunter")) for daemon in daemons]


@pytest.mark.timeout(90)
async def test_a_pause_that_one_daemon_was_told_of_is_kept_by_all(mongodb_uri: str) -> None:
    async with open_rig(mongodb_uri, windows=WINDOWS) as rig, judge() as judging:
        rig.simulator.inject(
            "throttled", vendor="hunter", times=1, after=20, seconds=PAUSE_SECONDS, dialect="429"
        )
        async with fleet(rig, 3, "hunter", **HUNTER) as daemons:
            await insert(rig, [*people(600)])
            told = await refused_once(rig, "hunter", 429)
            until = told.arrived + PAUSE_SECONDS
            async with patience(60):
                await rig.simulator.journal.until(lambda: len(calls(rig, "hunter", until)) > 10)
            claimed = [await daemon.metric("enricher_leads_claimed_total") for daemon in daemons]
        late = calls(rig, "hunter", told.arrived, until)
        after = max((each.arrived - told.arrived for each in late), default=0.0)
        print(f"{len(late)} calls up to {after:.2f} s after the 429; claimed {claimed}")  # noqa: T201
        assert min(claimed) > 0
        assert after < LEARNT_SECONDS * business()
        assert judging.beyond(rig) == []


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("kind", "how", "status"),
    [("quota_spent", {"dialect": "402"}, 402), ("unauthorized", {}, 401)],
    ids=["quota used up", "key refused"],
)
async def test_a_hold_that_one_daemon_was_told_of_is_kept_by_all_until_a_restart(
    mongodb_uri: str, kind: str, how: dict[str, Any], status: int
) -> None:
    async with open_rig(mongodb_uri, windows=WINDOWS) as rig, judge() as judging:
        fault = rig.simulator.inject(kind, vendor="hunter", after=10, **how)
        async with fleet(rig, 3, **HUNTER) as daemons:
            ids = await each_is_told(rig, daemons)
            told = await refused_once(rig, "hunter", status)
            assert calls(rig, "hunter", told.arrived + LEARNT_SECONDS * business()) == []
            print(f"{kind}: {refusals(rig, status)} refused, {len(ids)} leads")  # noqa: T201
            assert held_lines(daemons) == [1, 1, 1]
            assert refusals(rig, status) <= AT_ONCE
            await assert_kept_and_put_off(rig, waiting=len(ids) - 10)
        rig.simulator.faults.remove(fault)
        async with fleet(rig, 1, **HUNTER):
            await rig.witness.all_ended(ids, within=60)
        assert await rig.leads.count_documents({"enrichment_status": "completed"}) == len(ids)
        assert len(calls(rig, "clearbit")) == len(ids)
        assert judging.beyond(rig) == []


async def each_is_told(rig: Rig, daemons: Sequence[Daemon]) -> list[int]:
    """Leads until each of the daemons has met the hold: a few at a time, so that it gets some."""
    ids: list[int] = []

    def are_settled() -> bool:
        return all(map(rig.witness.settles, ids))

    while not all(held_lines(daemons)) or len(ids) < 6 * AT_ONCE:
        assert len(ids) < 60 * AT_ONCE
        some = range(len(ids), len(ids) + AT_ONCE)
        ids += some
        await insert(rig, [{"_id": number, "email": address()} for number in some])
        await rig.witness.until(are_settled, within=30)
    return ids


def refusals(rig: Rig, status: int) -> int:
    return len(rig.simulator.journal.calls(vendor="hunter", status=status))


async def assert_kept_and_put_off(rig: Rig, waiting: int) -> None:
    """Whatever another vendor had to say is there already."""
    leads = await rig.leads.find({"enrichment_status": {"$ne": "completed"}}).to_list()
    assert len(leads) == waiting
    for lead in leads:
        assert lead["enrichment_status"] == "retrying"
        assert lead["enriched_data"]["company_data"]["name"].startswith("Quokka")
        assert lead["enrichment"]["held_by"] == ["hunter"]


@pytest.mark.timeout(120)
async def test_one_daemon_restarted_is_enough_to_end_a_hold_for_all(mongodb_uri: str) -> None:
    """Leads that come back are not put off again by those that were not restarted."""
    async with open_rig(mongodb_uri, windows=WINDOWS) as rig:
        fault = rig.simulator.inject("quota_spent", vendor="hunter", dialect="402")
        async with fleet(rig, 2, **HUNTER) as old:
            ids = await each_is_told(rig, old)
            rig.simulator.faults.remove(fault)
            async with fleet(rig, 1, **HUNTER):
                await rig.witness.all_ended(ids, within=60)
                for daemon in old:
                    await daemon.wait_for_event("provider.released", provider="hunter")
        assert await rig.leads.count_documents({"enrichment_status": "completed"}) == len(ids)
