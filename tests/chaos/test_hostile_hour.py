"""An hour with a hostile writer: nothing falls, nothing grows, and honest leads are done in seconds.

Two minutes in `make test`, ten in `make chaos`. The long forms, with the seed that a failure printed:

    HOSTILE_MINUTES=30 .venv/bin/python -m pytest -m chaos -rP tests/chaos/test_hostile_hour.py
    HOSTILE_MINUTES=60 HOSTILE_SEED=7 .venv/bin/python -m pytest -m chaos -rP tests/chaos/test_hostile_hour.py
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from random import Random, SystemRandom
from tempfile import TemporaryDirectory

import pytest

from enricher.calls.breaker import OPENS_AFTER_SECONDS
from enricher.mongo.embedded import EmbeddedServer
from tests.chaos.honest import WORD, Honest
from tests.chaos.hostile import STALE, Hostile
from tests.chaos.hostile_vendors import Spillway, spoil
from tests.support.cable import serving
from tests.support.fleets import is_watching
from tests.support.processes import Daemon, Line
from tests.support.rig import Rig, open_rig
from tests.support.waiting import end, eventually

SHORT_MINUTES = 2.0
LONG_MINUTES = float(os.environ.get("HOSTILE_MINUTES", "10"))
LOG = os.environ.get("HOSTILE_LOG", "")
"""A file for all that the daemons said."""
SEED = int(os.environ.get("HOSTILE_SEED", SystemRandom().randrange(1_000_000)))

MOST_STARVED = 0.25
"""Of the time that the daemons, or we with the vendors, could run and got no CPU: beyond that it is the
machine that is slow, and how long leads took is told but not judged."""
PAUSE_SECONDS = 0.06
"""Between two deeds, on average."""
MOST_SECONDS = 10.0
ROUND_TRIPS = 6
"""A lead takes so many of the server, which on a busy machine are seconds each."""
MOST_RESIDENT = 256 * 1024 * 1024
LIMIT = 512 * 1024 * 1024
LEFT_SECONDS = 120.0
"""For what was under way when the last deed was done; a lease that a copied collection brought back
takes a minute."""

EXPLAINED: dict[str, str] = {
    "lead.unwritable": "a lead without room for any write of ours, or whose `_id` is not UTF-8",
    "settle.refused": "a lead without room for its result",
    "provider.unreadable": "an answer in no shape that we know",
    "cache.too_large": "an answer of megabytes",
}
"""Errors that hostile leads and garbled vendors are known to make, and what of."""


class Starving:
    """How long a process has waited for a CPU, by the kernel's account of its main thread."""

    def __init__(self, pid: int) -> None:
        self._path = Path(f"/proc/{pid}/schedstat")
        self._began, self._waited = time.monotonic(), self._read()

    def _read(self) -> float:
        return int(self._path.read_text().split()[1]) / 1e9

    @property
    def starved(self) -> float:
        """Of the time since then."""
        return (self._read() - self._waited) / (time.monotonic() - self._began)


@dataclass
class Hour:
    """What is watched while it lasts."""

    rig: Rig
    server: EmbeddedServer
    honest: Honest
    hostile: Hostile
    daemons: Sequence[Daemon]
    mongod: int = 0
    starving: list[Starving] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def check(self, holds: bool, what: str) -> None:
        """All that is wrong is told at once: an hour is long."""
        if not holds:
            self.faults.append(what)


@asynccontextmanager
async def open_hour(mongod: Path, size: int, seed: int) -> AsyncIterator[Hour]:
    """A server of its own: it is to live through this."""
    async with AsyncExitStack() as stack:
        directory = stack.enter_context(TemporaryDirectory(prefix="enricher-hostile-"))
        server = EmbeddedServer(Path(directory), binary=mongod)
        await stack.enter_async_context(server)
        rig = await stack.enter_async_context(open_rig(server.uri))
        spoil(rig.simulator, seed)
        port = int(rig.simulator.url.rpartition(":")[2])
        way = await stack.enter_async_context(serving(Spillway("127.0.0.1", port)))
        env = rig.environment() | {
            f"{name.upper()}_BASE_URL": f"http://127.0.0.1:{way.own_port}/{name}"
            for name in rig.simulator.base_urls
        }
        limit = ("prlimit", f"--data={LIMIT}")
        daemons = [
            await stack.enter_async_context(Daemon("run", env=env, before=limit, quiet=True))
            for _ in range(size)
        ]
        for daemon in daemons:
            await is_watching(daemon)
        honest = Honest(rig.leads, Random(f"honest {seed}"))
        ports = [int((await each.wait_for_event("http.listening"))["port"]) for each in daemons]
        hostile = Hostile(rig.leads, seed, honest, ports)
        starving = [Starving(pid) for pid in (os.getpid(), *(each.pid for each in daemons))]
        yield Hour(rig, server, honest, hostile, daemons, server.pid, starving)


async def run(hour: Hour, minutes: float) -> None:
    """Both write until the time is over; then what is under way comes to its end."""
    stop = asyncio.Event()
    until = time.monotonic() + minutes * 60
    looking = asyncio.create_task(hour.honest.look(), name="honest eyes")
    writing = asyncio.create_task(hour.honest.write(stop), name="honest writer")
    try:
        while time.monotonic() < until and not (writing.done() or looking.done()):
            await hour.hostile.act()
            await asyncio.sleep(hour.hostile.dice.expovariate(1 / PAUSE_SECONDS))
            if fallen := _fallen(hour):
                hour.faults.append(fallen)
                break
        stop.set()
        await writing
        await hour.hostile.rest()
        await _wait_for_the_rest(hour)
    finally:
        await end(looking, writing)


async def _wait_for_the_rest(hour: Hour) -> None:
    try:
        await eventually(lambda: not hour.honest.unfinished, LEFT_SECONDS)
    except AssertionError:
        left = [(each.id_, each.status, each.disturbed) for each in hour.honest.unfinished]
        hour.faults.append(f"honest leads that came to no good end: {left[:10]} ({len(left)})")


def _is_alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def _fallen(hour: Hour) -> str:
    """Who ended, if anybody did."""
    if not _is_alive(hour.mongod):
        return "mongod fell"
    fallen = [each for each in hour.daemons if each.process.returncode is not None]
    return f"a daemon ended with {fallen[0].process.returncode}" if fallen else ""


async def judge(hour: Hour) -> None:
    """Everything that was promised, and the figures for whoever reads on."""
    hour.check(hour.server.pid == hour.mongod, "mongod was started again")
    if fallen := _fallen(hour):
        hour.faults.append(fallen)
    else:
        _judge_memory(hour)
        _judge_speed(hour)
    _judge_log(hour)
    _judge_payments(hour)
    if _is_alive(hour.mongod):
        await _judge_data(hour)
        await _tell_the_rest(hour)
    _say(f"deeds {dict(hour.hostile.done)}\nrefused by the server {dict(hour.hostile.refused)}")
    assert not hour.faults, "\n".join([f"HOSTILE_SEED={hour.hostile.seed}", *hour.faults])


def _judge_memory(hour: Hour) -> None:
    for daemon in hour.daemons:
        now, peak = (_memory(daemon, name) for name in ("VmRSS", "VmHWM"))
        _say(f"daemon {daemon.pid}: {now / 2**20:.0f} MiB now, {peak / 2**20:.0f} MiB at most")
        hour.check(peak < MOST_RESIDENT, f"a daemon took {peak / 2**20:.0f} MiB")


def _memory(daemon: Daemon, name: str) -> int:
    text = Path(f"/proc/{daemon.pid}/status").read_text()
    found = re.search(rf"{name}:\s+(\d+) kB", text)
    assert found, f"no {name} of {daemon.pid}"
    return int(found[1]) * 1024


def _judge_speed(hour: Hour) -> None:
    seconds = hour.honest.seconds
    if not seconds:
        hour.faults.append("not one honest lead was completed")
        return
    disturbed = sum(each.disturbed for each in hour.honest.good)
    at = [_part(seconds, part) for part in (0.5, 0.9, 0.99)]
    insert = _part(hour.honest.inserts, 0.99)
    most = MOST_SECONDS + ROUND_TRIPS * insert
    _say(
        f"{len(hour.honest.good)} honest leads, {disturbed} disturbed; median, p90, p99, longest:"
        f" {[round(each, 2) for each in (*at, seconds[-1])]} s; p99 of an insert {insert:.2f} s"
    )
    _say(f"by the half minute: {hour.honest.by_time(30.0)}")
    starved = max(each.starved for each in hour.starving)
    _say(f"without a CPU for {starved:.0%} of the time")
    is_judged = starved < MOST_STARVED
    hour.check(
        at[2] < most or not is_judged, f"the p99 of honest leads is {at[2]:.1f} s, of {most:.1f} s"
    )


def _part(ordered: Sequence[float], part: float) -> float:
    return ordered[int(len(ordered) * part)]


def _judge_log(hour: Hour) -> None:
    lines = [line for daemon in hour.daemons for line in daemon.lines]
    if LOG:
        Path(LOG).write_text("\n".join(json.dumps(line) for line in lines))
    errors = [line for line in lines if line.get("severity") in ("ERROR", "CRITICAL")]
    _say(f"lines of the logs {dict(Counter(_kind_of(line) for line in lines))}")
    firsts = {_kind_of(line): line for line in lines if line.get("severity") != "INFO"}
    _say("\n".join(str(line) for line in firsts.values()))
    good = {str(each.id_) for each in hour.honest.good}
    strange = [
        line
        for line in errors
        if line.get("lead") in good
        or not (line["event"] in EXPLAINED or _is_of_a_quiet_time(hour, line))
    ]
    strange += [line for line in lines if set(line) == {"text"}]
    hour.check(not strange, f"{len(strange)} errors that nothing explains: {strange[:5]}")


def _is_of_a_quiet_time(hour: Hour, line: Line) -> bool:
    """A circuit that opened when, for as long as that takes, nothing was asked but what its vendor was told to
    spoil: after the last deed, say, when all others are done."""
    if line["event"] != "provider.circuit_opened":
        return False
    opened = datetime.fromisoformat(line["timestamp"]).timestamp()
    return all(
        entry.fault
        for entry in hour.rig.simulator.journal
        if entry.vendor == line["provider"] and 0 < opened - entry.arrived_at < OPENS_AFTER_SECONDS
    )


def _kind_of(line: Line) -> str:
    return f"{line.get('severity')} {line.get('event')}"


def _judge_payments(hour: Hour) -> None:
    answered = Counter(
        (entry.vendor, *entry.matter)
        for entry in hour.rig.simulator.journal
        if f"-{WORD}-" in entry.question and entry.status in (200, 404)
    )
    twice = {matter: times for matter, times in answered.items() if times > 1}
    hour.check(not twice, f"paid twice about honest subjects: {twice}")


async def _judge_data(hour: Hour) -> None:
    """Nobody has what belongs to somebody else."""
    own = {each.id_: each.domain for each in hour.honest.good}
    found = hour.rig.leads.find(
        {"enrichment_status": "completed", "enriched_data.company_data.domain": {"$regex": f"-{WORD}-"}},
        {"about": 1, "enriched_data.company_data.domain": 1, "enriched_data.email_verification.status": 1},
    )  # fmt: skip
    seen = set()
    async for lead in found:
        data = lead["enriched_data"]
        expected = own.get(lead["_id"]) or lead.get("about")
        seen.add(lead["_id"])
        is_right = expected in (data["company_data"]["domain"], STALE)
        hour.check(is_right, f"{lead['_id']} has the data of another: {lead}")
        if lead["_id"] in own:
            hour.check(bool(data["email_verification"]), f"{lead['_id']} has no verdict")
    left = {each.id_ for each in hour.honest.good if each.took is not None} - seen
    how = hour.rig.leads.find({"_id": {"$in": [*left]}}, _HOW_IT_STANDS).limit(5)
    hour.check(not left, f"{len(left)} honest leads have no company: {await how.to_list()}")


_HOW_IT_STANDS = {"enrichment_status": 1, "enrichment": 1, "enriched_data.enrichment_metadata": 1}


async def _tell_the_rest(hour: Hour) -> None:
    """What became of the others."""
    stages = [{"$group": {"_id": "$enrichment_status", "number": {"$sum": 1}}}]
    found = await (await hour.rig.leads.aggregate(stages)).to_list()
    _say(f"statuses {[(each['_id'], each['number']) for each in found]}")


def _say(text: str) -> None:
    print(text)  # noqa: T201 - the figures are what the long form is run for


async def last(mongod: Path, size: int, minutes: float) -> None:
    _say(f"HOSTILE_SEED={SEED}")
    async with open_hour(mongod, size, SEED) as hour:
        await run(hour, minutes)
        await judge(hour)


@pytest.mark.timeout(SHORT_MINUTES * 60 + LEFT_SECONDS + 120)
async def test_two_minutes_with_a_hostile_writer_harm_nobody(mongod: Path) -> None:
    await last(mongod, 1, SHORT_MINUTES)


@pytest.mark.chaos
@pytest.mark.timeout(LONG_MINUTES * 60 + LEFT_SECONDS + 300)
async def test_a_long_time_with_a_hostile_writer_harms_nobody(mongod: Path) -> None:
    await last(mongod, 2, LONG_MINUTES)
