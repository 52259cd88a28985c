"""Three daemons at full load on the vendors' own windows: none is exceeded, 97 % of each is used."""

from __future__ import annotations

import asyncio
import os
import time

import pytest

from enricher.simulator.vendor import VENDOR_WINDOWS
from tests.support.fleets import calls, companies, fleet, insert, over_limit, people
from tests.support.rig import Rig, open_rig

MINUTES = int(os.environ.get("CHAOS_LIMIT_MINUTES", "3"))
LEAST_USED = 0.97
PER_MINUTE = {"clearbit": 600, "hunter": 300}
STRICT = {
    name: [(each.calls, each.seconds) for each in VENDOR_WINDOWS[scope]]
    for name, scope in (
        ("clearbit", "clearbit/companies/find"),
        ("hunter", "hunter/email-verifier"),
    )
}

pytestmark = [pytest.mark.money, pytest.mark.timeout(60 * MINUTES + 120)]


@pytest.mark.parametrize("vendor", ["clearbit", "hunter"])
async def test_three_daemons_use_97_percent_of_a_limit_and_never_more_than_all(
    mongodb_uri: str, vendor: str
) -> None:
    """Of the two vendors, the one whose limit holds up the leads."""
    enough = (MINUTES + 1) * PER_MINUTE[vendor]
    leads = [*(companies if vendor == "clearbit" else people)(enough)]
    limits = {f"{name.upper()}_RATE_LIMIT": each for name, each in PER_MINUTE.items()}
    async with open_rig(mongodb_uri, windows=STRICT, latency=0.1, jitter=0.3) as rig:
        async with fleet(rig, 3, **limits) as daemons:
            await insert(rig, leads)
            await rig.simulator.journal.until(lambda: len(calls(rig, vendor)) > 0)
            began = time.monotonic()
            await asyncio.sleep(60 * MINUTES)
            shares = [await daemon.metric("enricher_leads_claimed_total") for daemon in daemons]
        report(rig, vendor, began, shares)
        assert over_limit(rig) == 0
        for name, windows in STRICT.items():
            for most, seconds in windows:
                assert rig.simulator.journal.busiest_window(name, seconds) <= most
        assert used(rig, vendor, began) >= LEAST_USED


def used(rig: Rig, vendor: str, began: float) -> float:
    """The share of the limit, from the first call on."""
    made = len(calls(rig, vendor, began - 1, began + 60 * MINUTES))
    return made / (MINUTES * PER_MINUTE[vendor])


def report(rig: Rig, vendor: str, began: float, shares: list[float]) -> None:
    busiest = {
        f"{name} in {seconds:g} s": f"{rig.simulator.journal.busiest_window(name, seconds)} of {most}"
        for name, windows in STRICT.items()
        for most, seconds in windows
    }
    print(  # noqa: T201 - a figure for people
        f"{vendor}: {used(rig, vendor, began):.1%} of {MINUTES} minutes used, "
        f"{over_limit(rig)} calls beyond a limit; busiest {busiest}; leads claimed {shares}"
    )
