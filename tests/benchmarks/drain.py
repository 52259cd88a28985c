"""How fast a backlog is drained, and what that costs: the daemon beside all references.

Everybody finds the same leads, already queued in whatever way is theirs, and is started over them.
The rate is taken from the times that stand on the leads, which are the server's for everybody: from
the moment when a twentieth is done, because how long a start takes is another question, to the last.
CPU is read from outside, of each process with its children, over the same stretch.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime

from tests.benchmarks import report, rig
from tests.benchmarks.machine import cpu_seconds
from tests.benchmarks.references.record import Orders
from tests.benchmarks.report import Goal, Section
from tests.benchmarks.rig import Leads, Program, World

WARM_UP = 0.05
GLANCE_SECONDS = 0.05
LONGEST_SECONDS = 180.0
COMPANIES = 100
ENRICHER, BEFORE, YARDSTICK = "enricher", "enricher before", "bare++"
KNOWN, KEPT = "enricher, companies known", "enricher, answers kept"
LEAST = (
    (ENRICHER, YARDSTICK, 0.9),
    (ENRICHER, BEFORE, 2.0),
    (ENRICHER, "arq", 4),
    (ENRICHER, "naive", 4),
    (ENRICHER, "Celery", 30),
    (KEPT, ENRICHER, 2),
    (KNOWN, ENRICHER, 1.5),
)
"""Who is to be how much quicker than whom."""
MOST_OF_MONGOD = 0.5
"""Of its CPU per lead with the daemon as it was."""
_FEW = 50
DONE: rig.Document = {"enrichment_status": "completed"}

Programs = dict[str, Program]
Start = Callable[[World, Leads, Orders], AbstractAsyncContextManager[Programs]]


@dataclass(frozen=True, slots=True)
class Contestant:
    """Somebody who can drain a backlog."""

    name: str
    start: Start
    share: float = 1.0
    """Of the leads: a slow one is measured over fewer, its rate does not depend on how many."""
    companies: int | None = None
    """The leads are at so many companies, which are known already."""
    is_kept: bool = False
    """Everything that is asked about the leads has been answered already."""
    is_before: bool = False
    """Needs the daemon as it was."""
    in_flight: int = 64
    """What gave each the most of 64 and 256."""


@dataclass(frozen=True, slots=True)
class Drained:
    """One drain."""

    leads: int
    rate: float
    """Leads per second."""
    cpu_ms: dict[str, float]
    """Per lead, by process."""


def _daemon(*, is_before: bool = False) -> Start:
    @asynccontextmanager
    async def start(world: World, leads: Leads, orders: Orders) -> AsyncIterator[Programs]:
        async with world.daemon(
            leads, orders.vendors, is_before=is_before, ENRICHER_CONCURRENCY=orders.in_flight
        ) as daemon:
            yield {"itself": daemon}

    return start


def _reference(name: str) -> Start:
    @asynccontextmanager
    async def start(world: World, _: Leads, orders: Orders) -> AsyncIterator[Programs]:
        async with world.reference(name, orders) as program:
            yield {"itself": program}

    return start


def _queue(name: str) -> Start:
    """One that has its jobs from Redis: they are enqueued before it starts."""

    @asynccontextmanager
    async def start(world: World, leads: Leads, orders: Orders) -> AsyncIterator[Programs]:
        async with world.redis() as (url, redis):
            orders = replace(orders, redis=url)
            count = await leads.estimated_document_count()
            async with world.reference(name, orders, "enqueue", str(count)) as writer:
                assert await writer.ended() == 0, writer.tail()
            async with world.reference(name, orders) as program:
                yield {"itself": program, "redis": redis}

    return start


CONTESTANTS = (
    Contestant(ENRICHER, _daemon(), in_flight=256),
    Contestant(BEFORE, _daemon(is_before=True), in_flight=256, is_before=True),
    Contestant(YARDSTICK, _reference("bare_plus_plus"), in_flight=256),
    Contestant("bare+", _reference("bare_plus"), in_flight=256),
    Contestant("bare", _reference("bare")),
    Contestant(KNOWN, _daemon(), companies=COMPANIES, in_flight=256),
    Contestant(KEPT, _daemon(), is_kept=True, in_flight=256),
    Contestant("naive", _reference("naive"), share=0.3),
    Contestant("arq", _queue("arq_app"), share=0.3),
    Contestant("Celery", _queue("celery_app"), share=0.1),
)


async def drain(world: World, contestant: Contestant, count: int) -> Drained:
    """Queue so many leads, start the contestant over them, and watch from outside."""
    async with world.vendors() as (url, vendors), world.leads() as leads:
        orders = Orders(world.uri, leads.database.name, url, in_flight=contestant.in_flight)
        if others := _others(contestant, count):
            await _make_known(world, contestant, leads, orders, others)
        orders = replace(orders, since=await world.cluster_time())
        await rig.insert(leads, backlog(count, contestant.companies))
        async with contestant.start(world, leads, orders) as programs:
            pids = {"mongod": world.mongod_pid, "vendors": vendors.pid}
            pids |= {name: program.pid for name, program in programs.items()}
            first, last = await watch(leads, count, pids, programs["itself"])
        return Drained(count, await _rate(leads), last.cpu_ms_since(first))


def backlog(count: int, companies: int | None = None) -> list[rig.Document]:
    """Leads that wait to be worked on."""
    return [rig.sample(number, companies, enrichment_status="pending") for number in range(count)]


def _others(contestant: Contestant, count: int) -> list[rig.Document]:
    """Leads of an earlier day: the same, or other people at the same companies."""
    if contestant.is_kept:
        return backlog(count, contestant.companies)
    companies = contestant.companies or 0
    others = backlog(companies, companies)
    return [{**each, "email": f"other-{each['email']}"} for each in others]


async def _make_known(
    world: World,
    contestant: Contestant,
    leads: Leads,
    orders: Orders,
    others: list[rig.Document],
) -> None:
    """Another life of the daemon has asked about them."""
    await rig.insert(leads, others)
    async with contestant.start(world, leads, orders) as programs:
        await watch(leads, len(others), {}, programs["itself"])
        await programs["itself"].finish()
    await leads.delete_many({})


@dataclass(frozen=True, slots=True)
class Glance:
    """What could be seen from outside at one moment."""

    done: int
    cpu: dict[str, float]
    """Seconds so far, by process."""

    def cpu_ms_since(self, first: Glance) -> dict[str, float]:
        """Milliseconds per lead that was done since then."""
        leads = max(1, self.done - first.done)
        return {name: (self.cpu[name] - first.cpu[name]) / leads * 1000 for name in self.cpu}


async def watch(
    leads: Leads, count: int, pids: dict[str, int], program: Program
) -> tuple[Glance, Glance]:
    """How things stood when the warm-up was over, and when all were done.

    A few leads are looked at until then: counting all of them would cost the server more than some
    contestants do.
    """
    few = range(0, count, max(1, count // _FEW))
    first = await _until(len(few) * WARM_UP, leads, pids, program, {"_id": {"$in": [*few]}})
    await _until(len(few), leads, pids, program, {"_id": {"$in": [*few]}})
    return first, await _until(count, leads, pids, program, {})


async def _until(
    least: float, leads: Leads, pids: dict[str, int], program: Program, among: rig.Document
) -> Glance:
    latest = time.monotonic() + LONGEST_SECONDS
    while (done := await leads.count_documents(DONE | among)) < least:
        is_over = program.process.returncode is not None or time.monotonic() > latest
        assert not is_over, f"{done} of {least}\n{program.tail()}"
        await asyncio.sleep(GLANCE_SECONDS)
    cpu = cpu_seconds(pids)
    return Glance(await leads.count_documents(DONE), cpu)


async def _rate(leads: Leads) -> float:
    """Leads per second after the warm-up, by the server's clock."""
    found = await leads.find({}, {"enriched_at": 1}).sort("enriched_at", 1).to_list()
    times: list[datetime] = [lead["enriched_at"] for lead in found]
    begin = times[int(len(times) * WARM_UP)]
    return sum(time > begin for time in times) / (times[-1] - begin).total_seconds()


@dataclass(slots=True)
class Drains:
    """All contestants, one after the other in each round."""

    rounds: int
    leads: int
    only: frozenset[str] = frozenset()
    """Names of contestants; all of them if empty."""
    seen: dict[str, list[Drained]] = field(default_factory=dict)

    async def round(self, world: World) -> AsyncIterator[str]:
        chosen = [
            each
            for each in CONTESTANTS
            if (not self.only or each.name in self.only) and (world.before or not each.is_before)
        ]
        for contestant in chosen:
            count = max(100, int(self.leads * contestant.share))
            drained = await drain(world, contestant, count)
            self.seen.setdefault(contestant.name, []).append(drained)
            cpu = ", ".join(f"{name} {ms:.2f}" for name, ms in drained.cpu_ms.items())
            yield f"{contestant.name} {drained.rate:.0f} leads/s; CPU ms per lead: {cpu}"

    def section(self) -> Section:
        return Section(
            title=f"Drain of {self.leads:,} leads, vendors 0 ms, no limits, two calls each",
            columns=(
                "", "leads", "in flight", "leads/s (median)", "of bare++", "rounds",
                "CPU ms per lead: itself", "mongod", "vendors", "redis", "CPU of bare++'s",
            ),
            rows=[self._row(name) for name in self.seen],
            goals=[*self._goals()],
            note=_NOTE,
        )  # fmt: skip

    def _row(self, name: str) -> list[str]:
        drains = self.seen[name]
        cpu = [f"{self._cpu(name, each):.2f}" for each in ("itself", "mongod", "vendors", "redis")]
        return [
            name,
            f"{drains[0].leads:,}",
            str(next(each.in_flight for each in CONTESTANTS if each.name == name)),
            f"{self._rate(name):.0f}",
            _percent(self._rate(name), self._rate(YARDSTICK)),
            ", ".join(f"{each.rate:.0f}" for each in drains),
            *cpu,
            _percent(self._cpu(name), self._cpu(YARDSTICK)),
        ]

    def _goals(self) -> Iterator[Goal]:
        for name, other, least in LEAST:
            if name in self.seen and other in self.seen:
                ratio = self._rate(name) / self._rate(other)
                what = f"drain: {name} beside {other}"
                yield Goal(what, f"{ratio:.2f} x", f"at least {least:g} x", ratio >= least)
        if ENRICHER in self.seen and BEFORE in self.seen:
            ratio = self._cpu(ENRICHER, "mongod") / self._cpu(BEFORE, "mongod")
            yield report.at_most("drain: mongod's CPU beside before", ratio, MOST_OF_MONGOD, "x")

    def _rate(self, name: str) -> float:
        return _median([each.rate for each in self.seen.get(name, [])])

    def _cpu(self, name: str, process: str = "") -> float:
        """Milliseconds per lead of one process, or of all together."""
        drains = (each.cpu_ms for each in self.seen.get(name, []))
        return _median([cpu.get(process, 0) if process else sum(cpu.values()) for cpu in drains])


_NOTE = """
*bare+* is bare with claims, fence, flights, kept answers and ledger; *bare++* is bare+ with identity, types,
merge, score, metrics and log: what the daemon itself cannot be quicker than. *enricher before* is the revision
that `BENCH_BEFORE` names. *Answers kept*: all that is asked has been answered on an earlier day.
*CPU of bare++'s*: all processes together, which says more than the wall on a machine where all of them
share the cores. *In flight*: leads at a time, whichever of 64 and 256 gave that contestant more (what
Celery has is its two processes). A slow reference is measured over fewer leads: its rate does not depend on how many.
"""


def _median(values: list[float]) -> float:
    return statistics.median(values) if values else 0.0


def _percent(value: float, of: float) -> str:
    return f"{value / of:.0%}" if of else "-"
