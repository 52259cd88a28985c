"""What a lead costs at an ordinary rate: 50 a second, vendors that take 300 ms.

Hardly any two leads fall together then, so what they share in a drain each pays for itself. Two
stretches for each daemon: one in which only CPU is read, from outside, and one with its commands counted on
the wire, which would cost CPU. The server's CPU includes the inserts, which are the same for both daemons.
"""

from __future__ import annotations

import statistics
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from tests.benchmarks import report, rig
from tests.benchmarks.latency import PER_SECOND, SLOW_SECONDS, arrive
from tests.benchmarks.machine import cpu_seconds
from tests.benchmarks.report import Goal, Section
from tests.benchmarks.rig import Leads, Program, World
from tests.support.wire import IDLE, Request, wire_to

WARM_UP = 25
"""The first leads open the connections."""
MOST_COMMANDS, MOST_OF_BEFORE = 5.0, 0.6
TODAY, BEFORE = "enricher", "enricher before"
_LISTED = 12


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one lead."""

    cpu_ms: Mapping[str, float]
    commands: Mapping[str, float]
    """By command and collection."""
    rate: float
    """Leads per second from the first insert to the last settle: a machine that cannot keep up shows here, and what
    it piles up shares round trips as in a drain."""

    @property
    def all_cpu_ms(self) -> float:
        return sum(self.cpu_ms.values())

    @property
    def all_commands(self) -> float:
        return sum(self.commands.values())


async def cost(world: World, count: int, *, is_before: bool) -> Cost:
    """Of so many leads in each stretch."""
    async with _at_work(world, world.uri, is_before=is_before) as (leads, daemon):
        pids = {"itself": daemon.pid, "mongod": world.mongod_pid}
        began, before = time.monotonic(), cpu_seconds(pids)
        await _do(leads, daemon, count)
        rate, after = count / (time.monotonic() - began), cpu_seconds(pids)
    cpu = {name: (after[name] - before[name]) / count * 1000 for name in pids}
    requests = await _requests(world, count, is_before=is_before)
    commands = {
        " ".join(request): number / count
        for request, number in requests.most_common()
        if request[0] not in IDLE
    }
    return Cost(cpu, commands, rate)


async def _requests(world: World, count: int, *, is_before: bool) -> Counter[Request]:
    async with (
        wire_to(world.uri) as wire,
        _at_work(world, wire.uri, is_before=is_before) as (leads, daemon),
    ):
        before = wire.requests.copy()
        await _do(leads, daemon, count)
        return wire.requests - before


@asynccontextmanager
async def _at_work(
    world: World, uri: str, *, is_before: bool
) -> AsyncIterator[tuple[Leads, Program]]:
    async with (
        world.vendors(SLOW_SECONDS) as (url, _),
        world.leads() as leads,
        world.daemon(leads, url, is_before=is_before, MONGODB_URI=uri) as daemon,
    ):
        await daemon.event("stream.opened")
        await arrive(leads, range(-WARM_UP, 0), PER_SECOND)
        await rig.settled(daemon, WARM_UP)
        yield leads, daemon


async def _do(leads: Leads, daemon: Program, count: int) -> None:
    await arrive(leads, range(count), PER_SECOND)
    await rig.settled(daemon, WARM_UP + count)


@dataclass(slots=True)
class Steady:
    """The daemon, and the daemon as it was, in each round."""

    rounds: int
    seconds: int
    seen: dict[str, list[Cost]] = field(default_factory=dict)

    async def round(self, world: World) -> AsyncIterator[str]:
        for name in (TODAY, BEFORE) if world.before else (TODAY,):
            count = PER_SECOND * self.seconds
            found = await cost(world, count, is_before=name == BEFORE)
            self.seen.setdefault(name, []).append(found)
            cpu = ", ".join(f"{process} {ms:.2f}" for process, ms in found.cpu_ms.items())
            rate = f"{found.rate:.0f} leads/s reached"
            yield f"{name} {found.all_commands:.2f} commands; {rate}; CPU ms per lead: {cpu}"

    def section(self) -> Section:
        return Section(
            title=f"A lead at {PER_SECOND} leads/s, vendors 300 ms",
            columns=(
                "",
                "commands",
                "CPU ms: itself",
                "mongod",
                "both",
                "rounds",
                "leads/s reached",
            ),
            rows=[*(self._row(name) for name in self.seen), *self._by_command()],
            goals=[*self._goals()],
            note="Commands are counted on the wire, the driver's own (hello, ping) left out; `getMore` is the "
            "change stream. mongod's CPU includes the inserts.",
        )

    def _row(self, name: str) -> list[str]:
        costs = self.seen[name]
        cpu = [f"{self._cpu(name, each):.2f}" for each in ("itself", "mongod")]
        rounds = ", ".join(f"{each.all_cpu_ms:.2f}" for each in costs)
        reached = f"{statistics.median(each.rate for each in costs):.0f}"
        both = f"{self._both(name):.2f}"
        return [name, f"{self._commands(name):.2f}", *cpu, both, rounds, reached]

    def _by_command(self) -> list[list[str]]:
        last = list(self.seen[TODAY][-1].commands.items())[:_LISTED]
        return [[f"of these: {name}", f"{number:.2f}", *[""] * 5] for name, number in last]

    def _goals(self) -> list[Goal]:
        where = f"{PER_SECOND} leads/s, vendors 300 ms"
        commands = self._commands(TODAY)
        goals = [report.at_most(f"{where}: commands per lead", commands, MOST_COMMANDS, "")]
        if BEFORE in self.seen:
            what = f"{where}: CPU of daemon and mongod beside before"
            ratio = self._both(TODAY) / self._both(BEFORE)
            goals.append(report.at_most(what, ratio, MOST_OF_BEFORE, "x"))
        return goals

    def _commands(self, name: str) -> float:
        return statistics.median(each.all_commands for each in self.seen[name])

    def _both(self, name: str) -> float:
        return statistics.median(each.all_cpu_ms for each in self.seen[name])

    def _cpu(self, name: str, process: str) -> float:
        return statistics.median(each.cpu_ms[process] for each in self.seen[name])
