"""Twenty minutes of mixed work, after which nothing may have grown that has no end.

    make soak                       twenty minutes, and the table
    SOAK_MINUTES=120 make soak      longer

New leads of all stories, vendors that fail and throttle, leads that are enriched again, changed and
deleted, a provider that is held, a second daemon that comes and goes. Answers are kept for minutes
instead of days, so that what ends by time is seen to end.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from itertools import count
from random import Random

import pytest

from enricher.lead import Document
from tests.chaos.soak import ENDS, MIB, WITH_TTL, Sample, sample, table
from tests.support.fleets import is_watching
from tests.support.processes import Daemon
from tests.support.rig import Rig, address, domain, open_rig
from tests.support.waiting import end

MINUTES = float(os.environ.get("SOAK_MINUTES", "20"))

pytestmark = [pytest.mark.soak, pytest.mark.timeout(MINUTES * 60 + 180)]

PER_SECOND = 6
KEPT_MINUTES = 3
COMES_AND_GOES_SECONDS = 150
MOST_RESIDENT_MORE = 16 * MIB
MOST_DESCRIPTORS_MORE = 16
MOST_CONNECTIONS = 3 * 64 + 32
"""One for each kind of question of each lead in work, and those to MongoDB."""
MOST_SERIES_MORE = 40
MOST_LEADS = 3000
WORDS = (
    *("ordinary",) * 12,
    *("unknown", "flaky", "throttled", "slow", "hollow", "garbled", "pending", "shaky"),
    *("bounce", "catchall", "smtpfail", "moved", "regional", "stealth", "outage"),
)
SETTINGS = {
    "ENRICHER_CACHE_DAYS": KEPT_MINUTES / 1440,
    "ENRICHER_NEGATIVE_CACHE_DAYS": KEPT_MINUTES / 1440,
    "ENRICHER_PLAN_QUOTAS": '{"free": 3}',
    "ENRICHER_PROVIDERS_OFF": "[]",
}
TROUBLE: tuple[Document, ...] = (
    {"kind": "server_error"},
    {"kind": "throttled", "vendor": "clearbit", "seconds": 5},
    {"kind": "hang", "seconds": 3},
    {"kind": "html"},
    {"kind": "quota_spent", "vendor": "hunter"},
    {"kind": "reset"},
)


async def test_what_grows_has_an_end(mongodb_uri: str) -> None:
    samples: list[Sample] = []
    async with AsyncExitStack() as stack:
        rig = await stack.enter_async_context(open_rig(mongodb_uri))
        daemon = await stack.enter_async_context(Daemon("run", env=_environment(rig), quiet=True))
        await is_watching(daemon)
        began = time.monotonic()
        work = [
            asyncio.create_task(job, name="soak")
            for job in (_write(rig), _disturb(rig), _come_and_go(rig))
        ]
        try:
            while (passed := time.monotonic() - began) < MINUTES * 60:
                samples.append(await sample(daemon, rig.database, began))
                print(list(table(samples))[-1], flush=True)  # noqa: T201
                await asyncio.sleep(min(60.0, MINUTES * 60 - passed))
                assert not any(each.done() for each in work), work
        finally:
            await end(*work)
        samples.append(await sample(daemon, rig.database, began))
        print("\n".join(table(samples)))  # noqa: T201
        await _all_have_an_end(rig, samples)
    _nothing_grows(samples)


def _environment(rig: Rig) -> dict[str, str]:
    return rig.environment() | {name: str(value) for name, value in SETTINGS.items()}


async def _write(rig: Rig) -> None:
    """New leads; the oldest are deleted, some of the others enriched again or changed."""
    dice = Random(1)
    for number in count(1):
        word = dice.choice(WORDS)
        lead: Document = {"_id": number, "email": address(word), "name": "Ada Lovelace"}
        if dice.random() < 0.2:
            lead |= {"plan": "free", "account_id": f"account {dice.randrange(50)}"}
        await rig.leads.insert_one(lead)
        some = {"_id": max(1, number - dice.randrange(MOST_LEADS))}
        if dice.random() < 0.15:
            await rig.leads.update_one(some, {"$set": {"enrichment_status": "pending"}})
        if dice.random() < 0.05:
            change = {
                "email": address(),
                "company_domain": domain(),
                "enrichment_status": "pending",
            }
            await rig.leads.update_one(some, {"$set": change})
        if dice.random() < 0.05:
            await rig.leads.delete_one(some)
        await rig.leads.delete_one({"_id": number - MOST_LEADS})
        rig.witness.forget(number - MOST_LEADS)
        await asyncio.sleep(dice.expovariate(PER_SECOND))


async def _disturb(rig: Rig) -> None:
    """One trouble after another, with time in between."""
    dice = Random(2)
    while True:
        await asyncio.sleep(dice.uniform(15, 30))
        number = rig.simulator.inject(**dice.choice(TROUBLE))
        await asyncio.sleep(dice.uniform(2, 10))
        rig.simulator.faults.remove(number)


async def _come_and_go(rig: Rig) -> None:
    """A second daemon; each start ends what is held."""
    while True:
        async with Daemon("run", env=_environment(rig), quiet=True) as other:
            await is_watching(other)
            await asyncio.sleep(COMES_AND_GOES_SECONDS)
            other.terminate()
            assert await other.wait(60) == 0


async def _all_have_an_end(rig: Rig, samples: Sequence[Sample]) -> None:
    assert samples[-1].kept.keys() <= ENDS.keys()
    for name in WITH_TTL:
        indexes = await rig.database[name].index_information()
        assert any("expireAfterSeconds" in index for index in indexes.values()), name


def _nothing_grows(samples: Sequence[Sample]) -> None:
    """The last quarter beside the second: by then all sorts of work were met."""
    quarter = len(samples) // 4
    before, after = samples[quarter : 2 * quarter], samples[-quarter:]
    assert quarter, "too short a time to tell"

    def grew(figures: Sequence[int], later: Sequence[int]) -> int:
        return max(later) - max(figures)

    resident = grew([s.resident for s in before], [s.resident for s in after])
    assert resident < MOST_RESIDENT_MORE, f"{resident / MIB:.0f} MiB more"
    _no_descriptor_is_left_behind([s.descriptors for s in samples])
    series = grew([s.series for s in before], [s.series for s in after])
    assert series < MOST_SERIES_MORE, f"{series} series more"


def _no_descriptor_is_left_behind(seen: Sequence[int]) -> None:
    """Connections to vendors come and go with the load, 80 and more of them after a hold: what is left behind
    raises the fewest that are seen in ten minutes."""
    began, *later = seen
    half = len(later) // 2
    more = min(later[half:]) - min(later[:half])
    assert more < MOST_DESCRIPTORS_MORE, f"{more} descriptors more"
    assert max(later) < began + MOST_CONNECTIONS, f"{max(later)} descriptors"
