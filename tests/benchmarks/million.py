"""A collection with a million leads that are done with: what the daemon needs to live beside them.

One collection serves three questions: what an idle daemon takes, what the search for work examines
when nothing else is due, and how many round trips a lead costs. Another one, of the same leads but
all of them `pending`, shows what memory the daemon takes at the head of such a backlog. The leads
are copies of one that the daemon itself has settled.
"""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from tests.benchmarks import rig
from tests.benchmarks.drain import backlog
from tests.benchmarks.machine import cpu_seconds, resident_mb
from tests.benchmarks.report import Goal, Section
from tests.benchmarks.rig import Document, Leads, World
from tests.support import counting
from tests.support.wire import IDLE, wire_to

IN_WORK = 64
MANY_IN_WORK = 256
"""The drain's figures are of so many as well."""
SEARCHED = 2_000
"""Leads that are drained while the search is watched."""
IDLE_SECONDS, IDLE_STRETCHES = 6.0, 5
SETTLING_SECONDS = 5.0
BACKLOG_SECONDS = 20.0
MOST_IDLE_CPU, MOST_IDLE_MB, MOST_BUSY_MB = 0.01, 80.0, 120.0
MOST_KEYS = 3.0


@dataclass(slots=True)
class Million:
    """Everything once: the parts that could vary are measured in stretches."""

    leads: int
    rounds: int = 1
    idle_cpu: list[float] = field(default_factory=list)
    """Share of a core, for each stretch."""
    idle_mb: float = 0.0
    round_trips: dict[int, dict[str, float]] = field(default_factory=dict)
    """Leads in work -> by command and collection, per lead."""
    keys: float = 0.0
    documents: float = 0.0
    busy_mb: float = 0.0
    busy_done: int = 0

    async def round(self, world: World) -> AsyncIterator[str]:
        async with world.vendors() as (url, _):
            pattern = await _settled_lead(world, url)
            async with _filled(world, pattern, self.leads) as leads:
                await self._idle(world, leads, url)
                yield f"idle: {_percent(self.idle_cpu)} of a core, {self.idle_mb:.0f} MB"
                for number, in_work in enumerate((MANY_IN_WORK, IN_WORK)):
                    await self._search(world, leads, url, in_work, self.leads + number * SEARCHED)
                    yield f"search: {self.keys:.2f} keys, {self._trips(in_work):.2f} round trips per lead"
            pattern["enrichment_status"] = "pending"
            async with _filled(world, pattern, self.leads) as leads:
                await self._backlog(world, leads, url)
                yield f"backlog: {self.busy_mb:.0f} MB at the most, {self.busy_done:,} done meanwhile"

    async def _idle(self, world: World, leads: Leads, url: str) -> None:
        async with world.daemon(leads, url) as daemon:
            await daemon.event("stream.opened", within=300)
            await asyncio.sleep(SETTLING_SECONDS)
            for _ in range(IDLE_STRETCHES):
                before = cpu_seconds({"itself": daemon.pid})["itself"]
                await asyncio.sleep(IDLE_SECONDS)
                used = cpu_seconds({"itself": daemon.pid})["itself"] - before
                self.idle_cpu.append(used / IDLE_SECONDS)
            self.idle_mb = resident_mb(daemon.pid)

    async def _search(self, world: World, leads: Leads, url: str, in_work: int, first: int) -> None:
        """What a backlog costs the database when a million others are not due."""
        await rig.insert(leads, [_numbered(each, first) for each in backlog(SEARCHED)])
        await counting.profile(leads.database)
        async with (
            wire_to(world.uri) as wire,
            world.daemon(leads, url, MONGODB_URI=wire.uri, ENRICHER_CONCURRENCY=in_work) as daemon,
        ):
            await daemon.event("daemon.started", within=300)
            before = wire.requests.copy()
            await rig.settled(daemon, SEARCHED)
            since = wire.requests - before
        await leads.database.command("profile", 0)
        examined = await counting.examined(leads)
        await leads.database["system.profile"].drop()
        self.keys, self.documents = examined.keys / SEARCHED, examined.documents / SEARCHED
        self.round_trips[in_work] = {
            " ".join(request): count / SEARCHED
            for request, count in since.most_common()
            if request[0] not in IDLE
        }

    def _trips(self, in_work: int) -> float:
        return sum(self.round_trips[in_work].values())

    async def _backlog(self, world: World, leads: Leads, url: str) -> None:
        async with world.daemon(leads, url, ENRICHER_CONCURRENCY=IN_WORK) as daemon:
            await daemon.event("lead.settled", within=300)
            await asyncio.sleep(BACKLOG_SECONDS)
            self.busy_mb = resident_mb(daemon.pid, peak=True)
            self.busy_done = daemon.count("lead.settled")

    def section(self) -> Section:
        cpu = statistics.median(self.idle_cpu)
        by_command = self.round_trips[MANY_IN_WORK].items()
        trips = [
            [f"of these with {MANY_IN_WORK}: {name}", f"{each:.3f}"] for name, each in by_command
        ]
        sums = [
            [
                f"round trips per lead, {in_work} in work, {SEARCHED:,} leads",
                f"{self._trips(in_work):.3f}",
            ]
            for in_work in self.round_trips
        ]
        return Section(
            title=f"Beside {self.leads:,} leads that are done with",
            columns=("", "seen"),
            rows=[
                ["idle: share of a core", f"{cpu:.2%} ({_percent(self.idle_cpu)})"],
                ["idle: resident memory", f"{self.idle_mb:.0f} MB"],
                ["search: index keys examined per lead", f"{self.keys:.2f}"],
                ["search: documents examined per lead", f"{self.documents:.2f}"],
                [f"backlog of {self.leads:,}: resident memory, peak", f"{self.busy_mb:.0f} MB"],
                *sums,
                *trips,
            ],
            goals=[
                _below("database: keys examined per lead", self.keys, MOST_KEYS, ""),
                _below("idle: CPU", cpu * 100, MOST_IDLE_CPU * 100, "% of a core"),
                _below("idle: memory", self.idle_mb, MOST_IDLE_MB, "MB"),
                _below("backlog: memory", self.busy_mb, MOST_BUSY_MB, "MB"),
            ],
            note="Round trips are counted on the wire, between the daemon and the server; the driver's own "
            "(hello, ping) are left out. Keys and documents are what the server's profiler notes for the "
            "reads that look for leads to claim.",
        )


async def _settled_lead(world: World, url: str) -> Document:
    """As the daemon leaves it."""
    async with world.leads() as leads, world.daemon(leads, url) as daemon:
        await leads.insert_one(rig.sample(-1, enrichment_status="pending"))
        await rig.settled(daemon, 1)
        settled = await leads.find_one({"enrichment_status": "completed"})
    assert settled is not None, "its log speaks of a lead that is not there"
    return settled


@asynccontextmanager
async def _filled(world: World, pattern: Document, count: int) -> AsyncIterator[Leads]:
    """So many copies, each with an id and an address of its own, made by the server itself."""
    async with world.leads() as leads:
        await leads.database["pattern"].insert_one(pattern)
        address = {
            "$concat": [
                "pat-",
                {"$toString": "$_id"},
                "@granite-otter-",
                {"$toString": "$_id"},
                ".com",
            ]
        }
        stages: list[Document] = [
            {"$set": {"_id": {"$range": [0, count]}}},
            {"$unwind": "$_id"},
            {"$set": {"email": address}},
            {"$out": leads.name},
        ]
        await leads.database["pattern"].aggregate(stages)
        assert await leads.estimated_document_count() == count
        yield leads


def _numbered(lead: Document, first: int) -> Document:
    return lead | rig.sample(first + lead["_id"])


def _percent(shares: list[float]) -> str:
    return ", ".join(f"{each:.2%}" for each in shares)


def _below(what: str, found: float, most: float, unit: str) -> Goal:
    return Goal(
        what, f"{found:.2f} {unit}".strip(), f"at most {most:g} {unit}".strip(), found <= most
    )
