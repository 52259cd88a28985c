"""What one lead passes in the code, from its insert to its settle: a measure of how simple its way is.

    modules        files of `enricher` of which some function runs
    functions      different functions that run, those without a name left out
    call events    calls, and times that a task goes on after it waited

A daemon within this process, with the vendors of most plans, does one lead at a time, and a profiler's hook
looks on. Left out is what is there for people and not for the lead (log, metrics, status), what runs by the clock
(see `_LOOPS`), and the vendors, who are simulated in the same process. Nor do comprehensions count, which are calls in some versions of Python.

    python -m tests.benchmarks.passes          the figures, and the functions of the median lead
"""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import enricher
from tests.benchmarks.report import Goal, Section
from tests.benchmarks.rig import World, world
from tests.support.observing import counted
from tests.support.rig import Rig, address
from tests.support.waiting import eventually
from tests.support.within import open_world

PROVIDERS = ("clearbit", "hunter")
WARM_UP, LEADS = 3, 7
GOALS = {"modules": 30, "functions": 330, "call events": 2_300}
_ROOT = str(Path(enricher.__file__).parent) + os.sep
_LEFT_OUT = tuple(_ROOT + each + os.sep for each in ("simulator", "status", "telemetry"))
_COMPREHENSIONS = ("<listcomp>", "<dictcomp>", "<setcomp>")
_LOOPS = (
    *("heartbeat", "flights", "ledger", "presence", "releases", "census", "sweep", "plans"),
    *("watcher-blocked", "watcher-catch-up", "watcher-stalled", "watcher-indexes", "tell-limits"),
)
"""Tasks, by how their names begin, that do the same whether leads come or not."""


@dataclass(frozen=True, slots=True)
class Passed:
    """What one lead passed."""

    calls: Counter[CodeType]

    @property
    def modules(self) -> int:
        return len({code.co_filename for code in self.calls})

    @property
    def functions(self) -> int:
        return sum(not code.co_name.startswith("<") for code in self.calls)

    @property
    def call_events(self) -> int:
        return self.calls.total()

    def lines(self) -> Iterator[str]:
        """Each function with its calls, by file."""
        for code, calls in sorted(self.calls.items(), key=lambda it: (it[0].co_filename, -it[1])):
            yield f"{calls:5} {code.co_filename.removeprefix(_ROOT)} {code.co_qualname}"


@contextmanager
def watched() -> Iterator[Counter[CodeType]]:
    """Counts the calls of this thread meanwhile."""
    calls: Counter[CodeType] = Counter()
    is_ours: dict[str, bool] = {}

    def look(frame: FrameType, event: str, _: Any) -> None:
        if event != "call":
            return
        code = frame.f_code
        if code.co_name in _COMPREHENSIONS:
            return
        if (ours := is_ours.get(code.co_filename)) is None:
            ours = code.co_filename.startswith(_ROOT) and not code.co_filename.startswith(_LEFT_OUT)
            is_ours[code.co_filename] = ours
        if ours and not _is_a_loop():
            calls[code] += 1

    sys.setprofile(look)
    try:
        yield calls
    finally:
        sys.setprofile(None)


def _is_a_loop() -> bool:
    task = asyncio.current_task()
    return task is not None and task.get_name().startswith(_LOOPS)


async def leads_passed(uri: str) -> list[Passed]:
    """By the number of call events."""
    async with open_world(uri, PROVIDERS) as rig:
        for number in range(WARM_UP):
            await _do_one(rig, number)
        passed = [await _passed(rig, WARM_UP + number) for number in range(LEADS)]
    return sorted(passed, key=lambda each: each.call_events)


async def _passed(rig: Rig, number: int) -> Passed:
    with watched() as calls:
        await _do_one(rig, number)
    return Passed(calls)


async def _do_one(rig: Rig, number: int) -> None:
    await rig.leads.insert_one({"_id": number, "email": address()})
    assert await rig.witness.end_of(number) == "completed"
    await eventually(lambda: counted("enricher_leads_in_work") == 0)


def median(passed: Sequence[Passed]) -> dict[str, int]:
    """Of leads that were done one after another."""
    return {
        "modules": round(statistics.median(each.modules for each in passed)),
        "functions": round(statistics.median(each.functions for each in passed)),
        "call events": round(statistics.median(each.call_events for each in passed)),
    }


@dataclass(slots=True)
class Passes:
    """Once is enough: it needs no clock."""

    rounds: int = 1
    seen: list[Passed] = field(default_factory=list)

    async def round(self, world: World) -> AsyncIterator[str]:
        self.seen = await leads_passed(world.uri)
        yield ", ".join(f"{name} {value:,}" for name, value in median(self.seen).items())

    def section(self) -> Section:
        found = median(self.seen)
        return Section(
            title="What one lead passes in the code, from its insert to its settle",
            columns=("", "median", "leads"),
            rows=[[name, f"{value:,}", str(len(self.seen))] for name, value in found.items()],
            goals=[_at_most(name, value, GOALS[name]) for name, value in found.items()],
            note="Without log, metrics and status. A call event is a call, or a task that goes on.",
        )


def _at_most(name: str, value: int, most: int) -> Goal:
    return Goal(f"a lead's way: {name}", f"{value:,}", f"at most {most:,}", value <= most)


async def _main() -> None:
    async with world() as place:
        passed = await leads_passed(place.uri)
    for line in passed[len(passed) // 2].lines():
        sys.stdout.write(f"{line}\n")
    sys.stdout.write(f"{median(passed)}\n")


if __name__ == "__main__":
    asyncio.run(_main())
