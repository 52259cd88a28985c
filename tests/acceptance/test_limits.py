"""Vendors' limits, kept by the real daemon and judged by the vendors' own strict windows."""

from __future__ import annotations

from functools import partial
from itertools import pairwise

import pytest

from enricher.limits.bucket import COLLECTION
from tests.support.fleets import calls, fleet, insert, judge, people
from tests.support.rig import KEYS, Rig, address, open_rig
from tests.support.waiting import patience

WINDOWS = {"clearbit": ((60, 60),), "hunter": ((10, 1), (120, 60))}
"""Tighter than the vendors' own, so that a test of seconds runs into them."""


@pytest.mark.timeout(90)
async def test_no_window_of_any_vendor_is_ever_exceeded(mongodb_uri: str) -> None:
    async with open_rig(mongodb_uri, windows=WINDOWS) as rig, judge() as judging:
        limits = {"CLEARBIT_RATE_LIMIT": 60, "HUNTER_RATE_LIMIT": 120}
        async with rig.daemon(**limits) as daemon:
            await daemon.wait_for_event("history.recorded")
            leads = [{"_id": number, "email": address()} for number in range(12)]
            await rig.leads.insert_many(leads)
            await rig.witness.all_ended(range(12), within=60)
        journal = rig.simulator.journal
        assert judging.beyond(rig) == []
        assert {vendor: journal.billing[vendor].calls for vendor in KEYS} == {
            "clearbit": 12,
            "hunter": 12,
        }


@pytest.mark.timeout(90)
async def test_three_daemons_share_one_limit(mongodb_uri: str) -> None:
    """At full load. The strict windows are short ones, which three limits would soon break."""
    windows = {"clearbit": ((120, 10),), "hunter": ((10, 1), (60, 10))}
    async with open_rig(mongodb_uri, windows=windows, jitter=0.2) as rig, judge() as judging:
        async with fleet(rig, 3, CLEARBIT_RATE_LIMIT=600, HUNTER_RATE_LIMIT=300) as daemons:
            await insert(rig, [*people(600)])
            enough = rig.simulator.journal.until(lambda: len(calls(rig, "hunter")) >= 60)
            async with patience(60):  # at 300 a minute: 12 seconds
                await enough
            claimed = [await daemon.metric("enricher_leads_claimed_total") for daemon in daemons]
        assert judging.beyond(rig) == []
        assert min(claimed) > 0


@pytest.mark.timeout(90)
async def test_no_window_is_exceeded_while_the_buckets_are_deleted_under_load(
    mongodb_uri: str,
) -> None:
    windows = {"clearbit": ((120, 10),), "hunter": ((10, 1), (60, 10))}
    async with open_rig(mongodb_uri, windows=windows, jitter=0.2) as rig, judge() as judging:
        async with fleet(rig, 2, CLEARBIT_RATE_LIMIT=600, HUNTER_RATE_LIMIT=300):
            await insert(rig, [*people(300)])
            for enough in (10, 20, 30, 40):
                there = rig.simulator.journal.until(partial(have_come, rig, enough))
                async with patience(60):
                    await there
                await rig.database[COLLECTION].delete_many({})
        assert judging.beyond(rig) == []


def have_come(rig: Rig, enough: int) -> bool:
    return len(calls(rig, "hunter")) >= enough


async def test_a_vendor_that_says_when_to_come_back_is_left_in_peace_until_then(
    mongodb_uri: str,
) -> None:
    async with open_rig(mongodb_uri) as rig:
        rig.simulator.inject("throttled", vendor="hunter", times=1, seconds=3, dialect="429")
        async with rig.daemon("hunter", HUNTER_RATE_LIMIT=300) as daemon:
            await daemon.wait_for_event("history.recorded")
            leads = [{"_id": number, "email": address()} for number in range(8)]
            await rig.leads.insert_many(leads)
            await rig.witness.all_ended(range(8), within=30)
        calls = sorted(entry.arrived for entry in rig.simulator.journal.calls(vendor="hunter"))
        # Calls that were under way with the first may arrive beside it; none comes in between.
        pauses = [later - earlier for earlier, later in pairwise(calls)]
        assert max(pauses) >= 2.9
