"""How long it takes from the command to the first claim, and what of it is imports."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from tests.benchmarks import rig
from tests.benchmarks.machine import cpu_seconds
from tests.benchmarks.observer import observed
from tests.benchmarks.report import Goal, Section
from tests.benchmarks.rig import World

FIRST_CLAIM, IMPORT, IMPORT_ALL = (
    "enricher run to first claim",
    "import enricher",
    "import enricher.app",
)
GOALS = {FIRST_CLAIM: 1.0, IMPORT: 0.4, IMPORT_ALL: 0.5}
_TIMED = """
import time
began, before = time.perf_counter(), time.process_time()
import {}
print(time.perf_counter() - began, time.process_time() - before)
"""


@dataclass(frozen=True, slots=True)
class Took:
    """Seconds by the clock, and of CPU: these hold on a busy machine too."""

    wall: float
    cpu: float


async def first_claim(world: World) -> Took:
    """From the start of the process to the change event of a claim."""
    async with world.vendors() as (url, _), world.leads() as leads, observed(leads) as observer:
        await leads.insert_one(rig.sample(1, enrichment_status="pending"))
        began = time.perf_counter()
        async with world.daemon(leads, url) as daemon:
            wall = await observer.first("processing") - began
            return Took(wall, cpu_seconds({"itself": daemon.pid})["itself"])


async def imported(world: World, module: str) -> Took:
    """An import in a new process."""
    async with world.run(sys.executable, "-c", _TIMED.format(module)) as program:
        assert await program.ended() == 0, program.tail()
        return Took(*map(float, program.tail().split()))


@dataclass(slots=True)
class Starts:
    """One start and one of each import in each round."""

    rounds: int
    seen: dict[str, list[Took]] = field(default_factory=lambda: {name: [] for name in GOALS})

    async def round(self, world: World) -> AsyncIterator[str]:
        self.seen[FIRST_CLAIM].append(await first_claim(world))
        for name in (IMPORT, IMPORT_ALL):
            self.seen[name].append(await imported(world, name.split()[1]))
        yield ", ".join(f"{name} {took[-1].wall:.2f} s" for name, took in self.seen.items())

    def section(self) -> Section:
        return Section(
            title="Start, in seconds",
            columns=("", "median", "of it CPU", "rounds"),
            rows=[self._row(name) for name in self.seen],
            goals=[self._goal(name, most) for name, most in GOALS.items()],
            note="`enricher.app` is everything that the daemon runs on, its libraries included.",
        )

    def _row(self, name: str) -> list[str]:
        cpu = statistics.median(each.cpu for each in self.seen[name])
        rounds = ", ".join(f"{each.wall:.2f}" for each in self.seen[name])
        return [name, f"{self._wall(name):.2f}", f"{cpu:.2f}", rounds]

    def _goal(self, name: str, most: float) -> Goal:
        wall = self._wall(name)
        return Goal(f"start: {name}", f"{wall:.2f} s", f"at most {most:g} s", wall <= most)

    def _wall(self, name: str) -> float:
        return statistics.median(each.wall for each in self.seen[name])
