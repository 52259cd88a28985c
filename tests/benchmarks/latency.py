"""How long a lead takes from just before its insert to the change event of its settle."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from tests.benchmarks import report, rig
from tests.benchmarks.observer import Observer, observed
from tests.benchmarks.report import Goal, Section
from tests.benchmarks.rig import Leads, World

SLOW_SECONDS = 0.3
PER_SECOND = 50
STEADY_SECONDS = 15
_WARM_UP = 10
"""The first leads open the connections."""
PERCENTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "max": 1.0}


@dataclass(frozen=True, slots=True)
class Case:
    """One way in which leads arrive."""

    name: str
    vendor_seconds: float
    count: int
    per_second: int | None = None
    """One after the other if `None`."""
    is_before: bool = False
    """By the daemon as it was."""


IDLE, IDLE_BEFORE = "one at a time, vendors 0 ms", "one at a time, vendors 0 ms, before"
SLOW, STEADY = "one at a time, vendors 300 ms", f"{PER_SECOND} leads/s, vendors 300 ms"


def cases(singles: int) -> tuple[Case, ...]:
    """Those that have a goal."""
    return (
        Case(IDLE, 0.0, singles),
        Case(IDLE_BEFORE, 0.0, singles, is_before=True),
        Case(SLOW, SLOW_SECONDS, singles // 2),
        Case(STEADY, SLOW_SECONDS, PER_SECOND * STEADY_SECONDS, PER_SECOND),
    )


async def measure(world: World, case: Case) -> list[float]:
    """Seconds of each lead."""
    async with _at_work(world, case) as (leads, observer):
        warm_up = range(-_WARM_UP, 0)
        await _steadily(leads, observer, warm_up, PER_SECOND)
        if case.per_second:
            return await _steadily(leads, observer, range(case.count), case.per_second)
        return [await _one(leads, observer, number) for number in range(case.count)]


@asynccontextmanager
async def _at_work(world: World, case: Case) -> AsyncIterator[tuple[Leads, Observer]]:
    async with (
        world.vendors(case.vendor_seconds) as (url, _),
        world.leads() as leads,
        observed(leads) as observer,
        world.daemon(leads, url, is_before=case.is_before) as daemon,
    ):
        await daemon.event("stream.opened")
        yield leads, observer


async def _one(leads: Leads, observer: Observer, number: int) -> float:
    began = time.perf_counter()
    await leads.insert_one(rig.sample(number))
    return (await observer.completed([number]))[0] - began


async def _steadily(
    leads: Leads, observer: Observer, numbers: Sequence[int], per_second: int
) -> list[float]:
    began = await arrive(leads, numbers, per_second)
    ended = await observer.completed(numbers)
    return [end - begin for begin, end in zip(began, ended, strict=True)]


async def arrive(leads: Leads, numbers: Sequence[int], per_second: int) -> list[float]:
    """Insert them at their times, whether or not those before have come to an end; when each of them was."""
    start = time.perf_counter()

    async def insert(position: int, number: int) -> float:
        await asyncio.sleep(start + position / per_second - time.perf_counter())
        began = time.perf_counter()
        await leads.insert_one(rig.sample(number))
        return began

    return await asyncio.gather(*(insert(*each) for each in enumerate(numbers)))


@dataclass(slots=True)
class Latencies:
    """All cases, one after the other in each round."""

    rounds: int
    singles: int
    seen: dict[Case, list[list[float]]] = field(default_factory=dict)
    """For each round, the seconds of its leads in order."""

    async def round(self, world: World) -> AsyncIterator[str]:
        for case in cases(self.singles):
            if case.is_before and not world.before:
                continue
            seconds = sorted(await measure(world, case))
            self.seen.setdefault(case, []).append(seconds)
            figures = (f"{name} {_at(seconds, share)}" for name, share in PERCENTILES.items())
            yield f"{case.name}: {', '.join(figures)} ms"

    def section(self) -> Section:
        return Section(
            title="Latency, from before the insert to the change event of the settle, in ms",
            columns=("", "leads in a round", *PERCENTILES),
            rows=[self._row(case) for case in self.seen],
            goals=[*self._goals()],
            note="Medians of the rounds' percentiles; both vendors are asked at the same time.",
        )

    def _row(self, case: Case) -> list[str]:
        figures = [f"{self._median(case.name, name):.1f}" for name in PERCENTILES]
        return [case.name, str(case.count), *figures]

    def _goals(self) -> Iterator[Goal]:
        idle, vendor = self._median(IDLE, "p50"), SLOW_SECONDS * 1000
        slow, steady = self._median(SLOW, "p50") - vendor, self._median(STEADY, "p50") - vendor
        beyond = "p50 beyond the vendor's time"
        yield _below("latency: vendors 0 ms, p50", idle, 25)
        yield _below("latency: vendors 0 ms, p99", self._median(IDLE, "p99"), 100)
        if any(case.is_before for case in self.seen):
            ratio = idle / self._median(IDLE_BEFORE, "p50")
            yield report.at_most("latency: vendors 0 ms, p50 beside before", ratio, 0.55, "x")
        yield _below(f"latency: vendors 300 ms, {beyond}", slow, 40)
        yield _below(f"latency: 50 leads/s, vendors 300 ms, {beyond}", steady, 40)
        yield _below("latency: 50 leads/s, vendors 300 ms, p99", self._median(STEADY, "p99"), 420)

    def _median(self, name: str, percentile: str) -> float:
        rounds = next(rounds for case, rounds in self.seen.items() if case.name == name)
        return statistics.median(_at(each, PERCENTILES[percentile]) for each in rounds)


def _at(ordered: Sequence[float], share: float) -> float:
    """Milliseconds."""
    return round(ordered[min(len(ordered) - 1, round(share * (len(ordered) - 1)))] * 1000, 1)


def _below(what: str, milliseconds: float, most: float) -> Goal:
    return report.at_most(what, milliseconds, most, "ms", digits=1)
