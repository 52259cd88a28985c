"""How many commands a lone lead waits for one after the other, from its insert to its settle.

The way to the server is made so long that nothing else takes time beside it. What is sent at the same
moment is then one step, and what waits for an answer is another, however quick the machine is. One vendor is
asked: two would walk through the same steps side by side, and not always at the same moment.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from pymongo.asynchronous.uri_parser import parse_uri

from tests.benchmarks import report, rig
from tests.benchmarks.observer import observed
from tests.benchmarks.report import Section
from tests.benchmarks.rig import World
from tests.support.cable import MayPass, serving
from tests.support.wire import IDLE, Request, Wire

WARM_UP, LEADS = 3, 15
ONE_WAY_SECONDS = 0.01
"""Few enough that all steps together take less than a quarter of a second: then results begin to be kept early."""
PAUSE_SECONDS = 0.5
"""What follows a settle is over by then."""
MOST = 5
ONE_VENDOR = '["hunter", "hunter_company", "hunter_person", "clearbit_person"]'
_NOT_STEPS = IDLE | {"getMore"}

Moment = tuple[float, Request]


@dataclass
class Timed(Wire):
    """A wire that notes when each request was passed on."""

    moments: list[Moment] = field(default_factory=list)

    def _requests(self) -> MayPass:
        count = super()._requests()

        async def note(chunk: bytes) -> None:
            before = self.requests.copy()
            await count(chunk)
            now = time.monotonic()
            self.moments += ((now, each) for each in (self.requests - before).elements())

        return note


@asynccontextmanager
async def _timed(uri: str) -> AsyncIterator[Timed]:
    host, port = (await parse_uri(uri))["nodelist"][0]
    async with serving(Timed(host, port or 27017)) as wire:
        yield wire


def in_a_row(moments: Sequence[Moment]) -> list[Request]:
    """PURE One request of each step: those that are sent before its answer can be there belong to it."""
    steps: list[Moment] = []
    for moment, request in sorted(moments):
        if request[0] in _NOT_STEPS:
            continue
        if not steps or moment - steps[-1][0] >= 2 * ONE_WAY_SECONDS:
            steps.append((moment, request))
    return [request for _, request in steps]


async def steps_of_leads(world: World) -> list[list[Request]]:
    """Of leads that come one after the other."""
    async with (
        world.vendors() as (url, _),
        world.leads() as leads,
        observed(leads) as observer,
        _timed(world.uri) as wire,
        world.daemon(leads, url, MONGODB_URI=wire.uri, ENRICHER_PROVIDERS_OFF=ONE_VENDOR) as daemon,
    ):
        await daemon.event("stream.opened")
        seen: list[list[Request]] = []
        for number in range(-WARM_UP, LEADS):
            wire.delay(ONE_WAY_SECONDS if number >= 0 else 0.0)
            await asyncio.sleep(PAUSE_SECONDS)
            wire.moments.clear()
            await leads.insert_one(rig.sample(number))
            await observer.completed([number])
            seen.append(in_a_row(wire.moments))
    return seen[WARM_UP:]


@dataclass(slots=True)
class Steps:
    """Once is enough: it needs no clock."""

    rounds: int = 1
    seen: list[list[Request]] = field(default_factory=list)

    async def round(self, world: World) -> AsyncIterator[str]:
        self.seen = await steps_of_leads(world)
        steps = round(self._median)
        yield f"{steps} steps in a row: {self._way(steps)}"

    @property
    def _median(self) -> float:
        return statistics.median_low(len(each) for each in self.seen)

    def _way(self, steps: int) -> str:
        """The one that most leads with so many steps went."""
        ways = Counter(tuple(each) for each in self.seen if len(each) == steps)
        return ", ".join(" ".join(step) for step in ways.most_common(1)[0][0])

    def section(self) -> Section:
        leads = Counter(len(each) for each in self.seen)
        return Section(
            title="Command steps in a row of a lone lead with one paid call",
            columns=("steps", "leads", "by the first command of each, most often"),
            rows=[[str(steps), str(leads[steps]), self._way(steps)] for steps in sorted(leads)],
            goals=[report.at_most("lone lead: command steps in a row", self._median, MOST, "", 0)],
            note=f"The median of {LEADS} leads. Work by the clock that falls into a lead's time can add one.",
        )
