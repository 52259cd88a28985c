"""What more daemons bring, and what they take from each other.

One daemon has as many leads in work as keep it waiting for its vendors, so that two of them can be
twice as fast: on a machine where one saturates the cores, a second one could not show anything.
"""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

import httpx
from prometheus_client.parser import text_string_to_metric_families

from tests.benchmarks import rig
from tests.benchmarks.drain import DONE, backlog
from tests.benchmarks.report import Goal, Section
from tests.benchmarks.rig import Leads, Program, World

VENDOR_SECONDS = 0.2
IN_WORK = 8
SECONDS = 8.0
FLEETS = (1, 2, 4)
LEAST_GAIN, MOST_WASTED = 1.9, 0.05
WON, LOST = "enricher_leads_claimed_total", "enricher_claims_lost_total"


@dataclass(frozen=True, slots=True)
class Ran:
    """One stretch of work of a fleet."""

    rate: float
    wasted: float
    """Share of the candidates that others were quicker to take."""


async def run(world: World, size: int) -> Ran:
    """So many daemons at one backlog for a while, once all of them are at work."""
    most = int(size * IN_WORK / VENDOR_SECONDS * (SECONDS + 15))
    async with world.vendors(VENDOR_SECONDS) as (url, _), world.leads() as leads:
        await rig.insert(leads, backlog(most))
        async with AsyncExitStack() as stack:
            daemons = [
                await stack.enter_async_context(
                    world.daemon(leads, url, ENRICHER_CONCURRENCY=IN_WORK)
                )
                for _ in range(size)
            ]
            await asyncio.gather(*(each.event("lead.settled") for each in daemons))
            rate = await _rate(leads)
            counts = await asyncio.gather(*(_counts(each) for each in daemons))
    won, lost = (sum(each[name] for each in counts) for name in (WON, LOST))
    return Ran(rate, lost / (won + lost))


async def _rate(leads: Leads) -> float:
    loop = asyncio.get_running_loop()
    began, before = loop.time(), await leads.count_documents(DONE)
    await asyncio.sleep(SECONDS)
    after = await leads.count_documents(DONE)
    return (after - before) / (loop.time() - began)


async def _counts(daemon: Program) -> dict[str, float]:
    port = (await daemon.event("http.listening"))["port"]
    async with httpx.AsyncClient(trust_env=False) as client:
        text = (await client.get(f"http://127.0.0.1:{port}/metrics")).text
    samples = [s for family in text_string_to_metric_families(text) for s in family.samples]
    return {name: sum(s.value for s in samples if s.name == name) for name in (WON, LOST)}


@dataclass(slots=True)
class ScaleOut:
    """Every size of a fleet in each round."""

    rounds: int
    seen: dict[int, list[Ran]] = field(default_factory=lambda: {size: [] for size in FLEETS})

    async def round(self, world: World) -> AsyncIterator[str]:
        for size in FLEETS:
            self.seen[size].append(await run(world, size))
            ran = self.seen[size][-1]
            yield f"{size} daemons: {ran.rate:.0f} leads/s, {ran.wasted:.1%} of the claims wasted"

    def section(self) -> Section:
        gain = self._rate(2) / self._rate(1)
        wasted = self._wasted(4)
        return Section(
            title=f"Scale-out: vendors 200 ms, {IN_WORK} leads in work for each daemon",
            columns=("daemons", "leads/s (median)", "of one", "claims wasted", "rounds"),
            rows=[self._row(size) for size in FLEETS],
            goals=[
                Goal(
                    "scale-out: 2 daemons beside 1",
                    f"{gain:.2f} x",
                    "at least 1.9 x",
                    gain >= LEAST_GAIN,
                ),
                Goal(
                    "scale-out: claims wasted by 4",
                    f"{wasted:.1%}",
                    "below 5 %",
                    wasted < MOST_WASTED,
                ),
            ],
            note=__doc__.split("\n\n", 1)[1].strip() if __doc__ else "",
        )

    def _row(self, size: int) -> list[str]:
        each = ", ".join(f"{ran.rate:.0f}" for ran in self.seen[size])
        ratio = self._rate(size) / self._rate(1)
        return [
            str(size),
            f"{self._rate(size):.0f}",
            f"{ratio:.2f} x",
            f"{self._wasted(size):.1%}",
            each,
        ]

    def _rate(self, size: int) -> float:
        return statistics.median(ran.rate for ran in self.seen[size])

    def _wasted(self, size: int) -> float:
        return statistics.median(ran.wasted for ran in self.seen[size])
