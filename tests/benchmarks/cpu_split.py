"""Where the daemon's CPU goes while it drains: the vendor calls, the database, its own code, the loop.

py-spy looks at the running process from outside, 97 times a second, and counts only what is on a
core. A sample belongs to the innermost library on its stack: what aiohttp has the standard library do
is a vendor call, what we have loguru, json or asyncio do is ours. Where nobody's code is on
the stack it is the event loop itself, which writes to sockets and reads from them as well.
"""

from __future__ import annotations

import re
import signal
import statistics
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path

from tests.benchmarks import rig
from tests.benchmarks.drain import backlog, watch
from tests.benchmarks.report import Section
from tests.benchmarks.rig import Program, World

OWN, LOOP = "own code", "event loop"
KINDS = {
    "vendor calls": (
        "aiohttp yarl multidict propcache aiosignal frozenlist aiohappyeyeballs idna certifi"
    ),
    "database": "pymongo bson",
    OWN: "enricher",
}
_KIND_OF = {package: kind for kind, names in KINDS.items() for package in names.split()}
_FRAME = re.compile(r"(?P<name>.*) \((?P<file>[^()]*?)(?::(?P<line>\d+))?\)")
_BEGINS = "asyncio/runners.py"
"""What stands outside of it is the command line, on every stack."""
PER_SECOND = 97
LONGEST_SECONDS = 300
_HOT_SPOTS = 15


@dataclass(frozen=True, slots=True)
class Frame:
    """One function on a stack."""

    name: str
    file: str
    line: str

    @property
    def package(self) -> str:
        return self.file.partition("/")[0]

    @property
    def place(self) -> str:
        return f"{self.name} ({self.file}:{self.line})"


@dataclass(slots=True)
class Profile:
    """Samples by kind, and those of our own code by where they were seen."""

    kinds: Counter[str] = field(default_factory=Counter)
    own_files: Counter[str] = field(default_factory=Counter)
    beneath: Counter[str] = field(default_factory=Counter)
    """Of any kind, by each function of ours that is on the stack: what it costs with all it calls."""
    own_lines: Counter[str] = field(default_factory=Counter)
    """Of our own code by its line, and what it had somebody else do there."""

    def add(self, stack: list[Frame], samples: int) -> None:
        inside = stack[_last_of(stack, _BEGINS) + 1 :]
        found = next((each for each in reversed(inside) if each.package in _KIND_OF), None)
        kind = _KIND_OF[found.package] if found else LOOP
        self.kinds[kind] += samples
        ours = {f"{each.name} ({each.file})" for each in inside if each.package == "enricher"}
        self.beneath.update(dict.fromkeys(ours, samples))
        if found and kind == OWN:
            self.own_files[found.file] += samples
            leaf = inside[-1]
            inner = "" if leaf is found else f" in {leaf.name} ({leaf.file})"
            self.own_lines[f"{found.place}{inner}"] += samples

    def share(self, kind: str) -> float:
        return self.kinds[kind] / max(1, self.kinds.total())


def read(text: str) -> Profile:
    """From py-spy's raw format: frames from the outermost in, and how many samples had them."""
    profile = Profile()
    for line in text.splitlines():
        stack, _, samples = line.rpartition(" ")
        profile.add([*_frames(stack)], int(samples))
    return profile


def _frames(stack: str) -> Iterator[Frame]:
    for text in stack.split(";"):
        found = _FRAME.fullmatch(text)
        yield (
            Frame(found["name"], found["file"], found["line"] or "")
            if found
            else Frame(text, "", "")
        )


def _last_of(stack: list[Frame], file: str) -> int:
    return max((number for number, each in enumerate(stack) if each.file == file), default=-1)


async def profiled(world: World, count: int, output: Path) -> float:
    """Drain so many leads under the profiler; milliseconds of CPU per lead."""
    async with world.vendors() as (url, _), world.leads() as leads:
        await rig.insert(leads, backlog(count))
        async with world.daemon(leads, url) as daemon:
            await daemon.event("lead.settled")
            async with _profiler(world, daemon, output) as profiler:
                first, last = await watch(leads, count, {"itself": daemon.pid}, daemon)
                profiler.process.send_signal(signal.SIGINT)
                await profiler.ended()
    return last.cpu_ms_since(first)["itself"]


def _profiler(world: World, program: Program, output: Path) -> AbstractAsyncContextManager[Program]:
    return world.run(
        str(Path(sys.executable).with_name("py-spy")),
        *("record", "--pid", str(program.pid), "--rate", str(PER_SECOND)),
        *("--duration", str(LONGEST_SECONDS), "--format", "raw", "--output", str(output)),
    )


@dataclass(slots=True)
class CpuSplit:
    """The samples of all rounds together."""

    rounds: int
    leads: int
    cpu_ms: list[float] = field(default_factory=list)
    samples: list[str] = field(default_factory=list)

    async def round(self, world: World) -> AsyncIterator[str]:
        output = world.directory / "profile.raw"
        self.cpu_ms.append(await profiled(world, self.leads, output))
        self.samples.append(output.read_text())
        profile = read(self.samples[-1])
        shares = ", ".join(f"{kind} {profile.share(kind):.0%}" for kind in (*KINDS, LOOP))
        yield f"{self.cpu_ms[-1]:.2f} ms per lead: {shares}"

    def section(self) -> Section:
        profile, cpu = read("".join(self.samples)), statistics.median(self.cpu_ms)
        rows = [_row(kind, profile.share(kind), cpu) for kind in (*KINDS, LOOP)]
        spots = profile.own_lines.most_common(_HOT_SPOTS)
        total = profile.kinds.total()
        return Section(
            title="CPU of the daemon while it drains, by whose code it is",
            columns=("", "share", "ms per lead"),
            rows=[*rows, ["all", "100%", f"{cpu:.2f}"]],
            goals=[],
            note="Where the own code is seen most:\n\n"
            + "\n".join(f"- {samples / total:.1%} {place}" for place, samples in spots),
        )


def _row(kind: str, share: float, cpu: float) -> list[str]:
    return [kind, f"{share:.0%}", f"{share * cpu:.2f}"]


def _print(profile: Profile, most: int = 60) -> None:
    tables = (profile.kinds, profile.own_files, profile.own_lines, profile.beneath)
    names = ("by kind", "own code by file", "own code by line", "with all that it calls")
    for name, table in zip(names, tables, strict=True):
        print(f"\n{name}")  # noqa: T201 - what whoever runs this file asks for
        for place, samples in table.most_common(most):
            print(f"{samples / profile.kinds.total():6.2%} {place}")  # noqa: T201 - as above


if __name__ == "__main__":
    _print(read(Path(sys.argv[1]).read_text()))
