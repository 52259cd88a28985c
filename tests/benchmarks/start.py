"""How long it takes from the command to the first claim, and what of it is imports."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from tests.benchmarks import rig
from tests.benchmarks.observer import observed
from tests.benchmarks.report import Goal, Section
from tests.benchmarks.rig import World

FIRST_CLAIM, IMPORT, IMPORT_ALL = (
    "enricher run to first claim",
    "import enricher",
    "import enricher.app",
)
GOALS = {FIRST_CLAIM: 1.5, IMPORT: 0.4, IMPORT_ALL: 0.4}
_TIMED = "import time; began = time.perf_counter(); import {}; print(time.perf_counter() - began)"


async def first_claim(world: World) -> float:
    """Seconds from the start of the process to the change event of a claim."""
    async with world.vendors() as (url, _), world.leads() as leads, observed(leads) as observer:
        await leads.insert_one(rig.sample(1, enrichment_status="pending"))
        began = time.perf_counter()
        async with world.daemon(leads, url):
            return await observer.first("processing") - began


async def imported(world: World, module: str) -> float:
    """Seconds of an import in a new process."""
    async with world.run(sys.executable, "-c", _TIMED.format(module)) as program:
        assert await program.ended() == 0, program.tail()
        return float(program.tail())


@dataclass(slots=True)
class Starts:
    """One start and one of each import in each round."""

    rounds: int
    seen: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in GOALS})

    async def round(self, world: World) -> AsyncIterator[str]:
        self.seen[FIRST_CLAIM].append(await first_claim(world))
        for name in (IMPORT, IMPORT_ALL):
            self.seen[name].append(await imported(world, name.split()[1]))
        yield ", ".join(f"{name} {seconds[-1]:.2f} s" for name, seconds in self.seen.items())

    def section(self) -> Section:
        medians = {name: statistics.median(seconds) for name, seconds in self.seen.items()}
        return Section(
            title="Start, in seconds",
            columns=("", "median", "rounds"),
            rows=[
                [name, f"{medians[name]:.2f}", ", ".join(f"{each:.2f}" for each in seconds)]
                for name, seconds in self.seen.items()
            ],
            goals=[
                Goal(
                    f"start: {name}",
                    f"{medians[name]:.2f} s",
                    f"below {most:g} s",
                    medians[name] < most,
                )
                for name, most in GOALS.items()
            ],
            note="`enricher.app` is everything that the daemon runs on, its libraries included.",
        )
