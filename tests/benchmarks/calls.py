"""How many functions are called for a lead in a drain, ours and the libraries': a count that needs no clock.

The daemon drains twice under Python's profiler, once with few leads and once with many. The start and all
else that is the same in both falls out of the difference.
"""

from __future__ import annotations

import pstats
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from tests.benchmarks import report, rig
from tests.benchmarks.drain import backlog
from tests.benchmarks.report import Section
from tests.benchmarks.rig import World

FEW = 100
IN_WORK = 256
MOST = 4_000


async def calls_per_lead(world: World, many: int) -> float:
    """Between a drain of few leads and one of so many more."""
    few = await _calls(world, FEW)
    return (await _calls(world, FEW + many) - few) / many


async def _calls(world: World, count: int) -> int:
    """Of a whole life of the daemon, functions written in C included."""
    output = world.directory / f"calls-{count}.prof"
    profiled = ("-m", "cProfile", "-o", str(output), "-m", "enricher", "run")
    async with world.vendors() as (url, _), world.leads() as leads:
        await rig.insert(leads, backlog(count))
        env = world.environment(leads, url) | {"ENRICHER_CONCURRENCY": str(IN_WORK)}
        async with world.run(sys.executable, *profiled, env=env) as daemon:
            await rig.settled(daemon, count)
            await daemon.finish()
    return int(pstats.Stats(str(output)).total_calls)  # type: ignore[attr-defined]  # typeshed leaves it out


@dataclass(slots=True)
class Calls:
    """Once is enough."""

    leads: int
    rounds: int = 1
    seen: list[float] = field(default_factory=list)

    async def round(self, world: World) -> AsyncIterator[str]:
        self.seen.append(await calls_per_lead(world, self.leads))
        yield f"{self.seen[-1]:,.0f} function calls per lead"

    def section(self) -> Section:
        found = self.seen[-1]
        return Section(
            title="Function calls per lead in a drain",
            columns=("", "calls"),
            rows=[["ours and the libraries', those in C included", f"{found:,.0f}"]],
            goals=[report.at_most("drain: function calls per lead", found, MOST, "", 0)],
            note="By Python's profiler: the difference between drains of few and of many leads.",
        )
