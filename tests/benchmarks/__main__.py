"""`make bench`: every figure beside its references, in one run on one machine.

The machine may be shared and noisy: all that is measured alternates, round by round, and a figure is
the median of its rounds. A ratio within the run says more than any of the numbers.
"""

from __future__ import annotations

import argparse
import asyncio
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from rich.console import Console

from tests.benchmarks import before, machine, report
from tests.benchmarks.calls import Calls
from tests.benchmarks.cpu_split import CpuSplit
from tests.benchmarks.drain import Drains
from tests.benchmarks.latency import Latencies
from tests.benchmarks.million import Million
from tests.benchmarks.passes import Passes
from tests.benchmarks.report import Figure
from tests.benchmarks.rig import World, world
from tests.benchmarks.scale_out import ScaleOut
from tests.benchmarks.start import Starts
from tests.benchmarks.steady import Steady
from tests.benchmarks.steps import Steps
from tests.benchmarks.ways import Ways

FIGURES: Mapping[str, Callable[[argparse.Namespace], Figure]] = {
    "drain": lambda given: Drains(given.rounds, given.leads, frozenset(given.of)),
    "latency": lambda given: Latencies(given.rounds, given.singles),
    "steady": lambda given: Steady(given.rounds, given.seconds),
    "steps": lambda _: Steps(),
    "scale-out": lambda given: ScaleOut(given.rounds),
    "start": lambda given: Starts(given.rounds),
    "million": lambda given: Million(given.million),
    "passes": lambda _: Passes(),
    "ways": lambda given: Ways(4 * given.leads),
    "calls": lambda given: Calls(given.leads),
    "cpu": lambda given: CpuSplit(min(given.rounds, 3), given.leads),
}
LIBRARIES = ("pymongo", "aiohttp", "httpx", "uvloop", "celery", "arq", "redis")


async def main(given: argparse.Namespace) -> None:
    """All rounds, then the tables; a whole run is written down as well."""
    console, facts = Console(width=150), machine.description()
    figures = {name: make(given) for name, make in FIGURES.items() if name in given.only}
    async with world() as place:
        facts |= await _versions(place)
        seen = await _rounds(console, place, figures)
    sections = [figures[name].section() for name in figures if name in seen]
    for section in sections:
        report.show(console, section)
    if given.write:
        given.write.write_text(report.markdown(given.command, facts, sections))
    if given.docs:
        report.put_into_page(given.command, facts, sections)


async def _rounds(console: Console, place: World, figures: Mapping[str, Figure]) -> set[str]:
    """Names of the figures of which at least one round was seen to its end.

    What takes too long on a busy machine is left out, and the run goes on: it has cost so much.
    """
    seen: set[str] = set()
    for number in range(max(figure.rounds for figure in figures.values())):
        for name, figure in figures.items():
            if number >= figure.rounds:
                continue
            title = f"{name} {number + 1}/{figure.rounds}"
            try:
                async for line in figure.round(place):
                    _say(console, f"{title}: {line}")
            except (AssertionError, TimeoutError) as error:
                _say(console, f"{title} was given up: {error!r}")
            else:
                seen.add(name)
    return seen


def _say(console: Console, line: str) -> None:
    now = datetime.now(UTC).strftime("%H:%M:%S")
    console.print(f"{now} {line}", highlight=False, markup=False)


async def _versions(place: World) -> dict[str, str]:
    mongodb = (await place.client.admin.command("buildInfo"))["version"]
    libraries = ", ".join(f"{name} {version(name)}" for name in LIBRARIES)
    older = {"before": place.before.commit} if place.before else {}
    return {
        "commit": await before.commit(),
        **older,
        "when": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "with": f"MongoDB {mongodb}, {libraries}",
    }


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench")
    names = list(FIGURES)
    parser.add_argument("--only", nargs="+", choices=names, default=names, help="figures")
    parser.add_argument("--rounds", type=int, default=5, help="of each figure")
    parser.add_argument("--leads", type=int, default=5000, help="of one drain")
    parser.add_argument("--singles", type=int, default=100, help="leads of one latency row")
    parser.add_argument("--seconds", type=int, default=15, help="of one stretch at a steady rate")
    parser.add_argument("--million", type=int, default=1_000_000, help="leads that are done with")
    parser.add_argument("--of", nargs="+", default=[], help="contestants of the drain, all if none")
    parser.add_argument("--write", type=Path, help="where to; a whole run: RESULTS.md")
    parser.add_argument(
        "--docs", action="store_true", help="put the figures into docs/figures.md too"
    )
    given = parser.parse_args(arguments)
    told = shlex.join(each for each in arguments if each != "--docs")
    given.command = f"make bench ARGS={shlex.quote(told)}" if told else "make bench"
    if given.only == names and not given.of:
        given.write = given.write or report.RESULTS
    return given


if __name__ == "__main__":
    asyncio.run(main(_options(sys.argv[1:])))
