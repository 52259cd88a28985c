"""What a claim and a settle cost by how a source is read and written: as it comes, with a mapping, beside the lead.

    contract      names as in the contract, results on the leads
    mapped        candidates, an array of addresses and a template, as a CRM has them; results on the leads
    beside        as `contract`, but results in a collection of ours

No vendor is asked and no daemon runs: the queue's own classes claim the leads of three collections in turn, and settle them all
alike. So the three stand beside each other in each turn, and the median of the turns' ratios is what counts. CPU is
that of the server, which a fleet shares. Admission, with which a lead enters the queue once, is measured as well.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from pymongo.asynchronous.database import AsyncDatabase

from enricher import wiring
from enricher.lead import Completed, Document, Subject
from enricher.mongo import server
from enricher.queue import inputs
from enricher.queue.conditions import leads_of, queue_of
from enricher.queue.indexes import Indexes
from enricher.queue.leads import Leads
from enricher.queue.settle import Settler
from enricher.settings import load
from enricher.settings.load import Settings
from enricher.settings.sources import Source
from tests.benchmarks import machine, report, rig
from tests.benchmarks.report import Section
from tests.benchmarks.rig import World

CONTRACT, MAPPED, BESIDE = "contract", "mapped", "beside"
MOST = {MAPPED: 1.1, BESIDE: 1.3}
"""Times what a source without a mapping takes."""
AT_ONCE = 64
TURNS = 20
_LEASE, _REFRESH = timedelta(minutes=10), timedelta(days=90)
_ADMISSION, _WORK = "admission", "claim and settle"
_CONFIG = f"""
[[source]]
collection = "{CONTRACT}"

[[source]]
collection = "{MAPPED}"
[source.read]
email = ["primaryEmail", "emails", "visitorContactInfo.email"]
name = "{{firstName}} {{middleName}} {{lastName}}"
company = ["companyName", "company"]
website = "website"
job_title = "position"

[[source]]
collection = "{BESIDE}"
write = "beside"
"""
_COMPANY: Document = {
    "name": "Granite Otter", "domain": "granite-otter.com", "description": "Otters of granite. " * 8,
    "founded_year": 1998, "location": "Porto Alegre, Brazil", "timezone": "America/Sao_Paulo",
    "employee_count": 320, "employee_range": "251-500", "sector": "Industrials", "industry": "Stone",
    "tags": ["stone", "otters", "garden"], "tech_stack": ["nginx", "react", "postgresql"],
    "linkedin_handle": "company/granite-otter", "country": "Brazil", "country_code": "BR",
}  # fmt: skip
_VERDICT: Document = {"status": "valid", "score": 97, "is_disposable": False, "mx_records": True}
_PROVIDERS = {"clearbit": "found", "hunter": "found", "local": "found"}
_METADATA: Document = {
    "enriched_at": "2026-03-01T12:00:00Z", "sources_used": [*_PROVIDERS], "sources_failed": [],
    "completeness_score": 90, "provenance": {"company_data": dict.fromkeys(_COMPANY, "clearbit")},
}  # fmt: skip
_FOUND: Document = {
    "company_data": _COMPANY, "person_data": None, "email_verification": _VERDICT,
    "social_profiles": {}, "enrichment_metadata": _METADATA,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Spent:
    """On so many leads."""

    seconds: float
    cpu_seconds: float
    """The server's."""


@dataclass(slots=True)
class Way:
    """One source with its queue."""

    name: str
    leads: Leads
    settler: Settler

    async def admit(self, ids: range) -> None:
        for first in range(ids.start, ids.stop, AT_ONCE):
            await self.leads.admit([*range(first, min(first + AT_ONCE, ids.stop))])

    async def work(self, leads: int) -> None:
        """Claim so many, and settle them."""
        while leads > 0:
            claimed = (await self.leads.claim(min(AT_ONCE, leads))).leases
            outcome, about = Completed(_FOUND, _PROVIDERS), Subject("mailbox", "company")
            await asyncio.gather(*(self.settler.settle(each, outcome, about) for each in claimed))
            assert claimed, "there is no work left"
            leads -= len(claimed)


def lead(way: str, number: int) -> Document:
    """The same person in the shape of each source, with as many fields."""
    plain = rig.sample(number, source="fair", owner="grace", job_title="Buyer")
    if way != MAPPED:
        return plain
    return {
        "_id": number,
        "primaryEmail": "",
        "emails": [plain["email"]],
        "firstName": "Pat",
        "lastName": "Example",
        "position": "Buyer",
    }


def _way(settings: Settings, source: Source, database: AsyncDatabase[Document]) -> Way:
    """As a daemon makes it."""
    beside = wiring.beside(settings, leads_of(database, source), source)
    mapped, names = inputs.mapping_of(source), source.names
    leads = Leads(
        queue_of(database, source),
        "bench",
        _LEASE,
        wiring.rank(settings, source),
        account=inputs.account(source),
        plan=inputs.plan(source),
        beside=beside,
        names=names,
        mapped=mapped,
    )
    settler = Settler(
        leads.collection,
        lambda: _REFRESH,
        apart=leads.apart,
        names=names,
        mapped=mapped,
        beside=beside,
    )
    return Way(source.collection, leads, settler)


def _configured(directory: Path) -> Settings:
    (file := directory / "ways.toml").write_text(_CONFIG)
    return load.load({"ENRICHER_CONFIG": str(file)}, None)


@asynccontextmanager
async def _ways(world: World, leads: int) -> AsyncIterator[list[Way]]:
    """With so many leads each, in turn, of which none is admitted yet."""
    settings = _configured(world.directory)
    async with world.leads() as place, server.connect(world.uri, pool=AT_ONCE) as client:
        database = client[place.database.name]
        ways = [_way(settings, source, database) for source in settings.sources]
        for way in ways:
            await Indexes(way.leads.collection).ensure()
            documents = [lead(way.name, number) for number in range(leads)]
            await rig.insert(database[way.name], documents)
        yield ways


@dataclass(slots=True)
class Ways:
    """In one round, for its turns alternate by themselves."""

    leads: int
    rounds: int = 1
    spent: defaultdict[tuple[str, str], list[Spent]] = field(
        default_factory=lambda: defaultdict(list)
    )

    async def round(self, world: World) -> AsyncIterator[str]:
        each = self.leads // TURNS
        async with _ways(world, each * TURNS) as ways:
            for turn in range(TURNS):
                ids = range(turn * each, (turn + 1) * each)
                for way in _from(turn, ways):
                    await self._spend(world, (_ADMISSION, way.name), lambda: way.admit(ids))  # noqa: B023 - awaited at once
            for turn in range(TURNS):
                for way in _from(turn, ways):
                    await self._spend(world, (_WORK, way.name), lambda: way.work(each))  # noqa: B023 - the same
        for name in MOST:
            yield f"{name}: {self._ratio(_WORK, name):.2f} x wall, {self._cpu_ratio(_WORK, name):.2f} x CPU"

    async def _spend(
        self, world: World, on: tuple[str, str], do: Callable[[], Awaitable[None]]
    ) -> None:
        before, began = _cpu(world), time.monotonic()
        await do()
        self.spent[on].append(Spent(time.monotonic() - began, _cpu(world) - before))

    def _ratio(self, step: str, name: str) -> float:
        pairs = zip(self.spent[step, name], self.spent[step, CONTRACT], strict=True)
        return statistics.median(one.seconds / other.seconds for one, other in pairs)

    def _cpu_ratio(self, step: str, name: str) -> float:
        """Of the sums: the kernel counts in hundredths of a second."""
        mine, theirs = (
            sum(each.cpu_seconds for each in self.spent[step, way]) for way in (name, CONTRACT)
        )
        return mine / theirs

    def section(self) -> Section:
        return Section(
            title="What a lead costs by how its source is read and written",
            columns=("", "way", "wall", "CPU of the server", "wall, times contract", "CPU, times contract"),
            rows=[self._row(step, way) for step in (_ADMISSION, _WORK) for way in (CONTRACT, *MOST)],
            goals=[
                report.at_most(f"{_WORK}, {name}: {what}", found(_WORK, name), most, "x contract")
                for name, most in MOST.items()
                for what, found in (("wall", self._ratio), ("CPU", self._cpu_ratio))
            ],
            note=f"{self.leads:,} leads each, in {TURNS} turns; claims of {AT_ONCE}. Ratios of wall time are medians of the turns.",
        )  # fmt: skip

    def _row(self, step: str, way: str) -> list[str]:
        spent = self.spent[step, way]
        wall = 1000 * sum(each.seconds for each in spent) / self.leads
        cpu = 1000 * sum(each.cpu_seconds for each in spent) / self.leads
        ratios = f"{self._ratio(step, way):.2f}", f"{self._cpu_ratio(step, way):.2f}"
        return [step, way, f"{wall:.2f} ms", f"{cpu:.2f} ms", *ratios]


def _from(turn: int, ways: list[Way]) -> list[Way]:
    """Another one begins each turn."""
    first = turn % len(ways)
    return ways[first:] + ways[:first]


def _cpu(world: World) -> float:
    return machine.cpu_seconds({"server": world.mongod_pid})["server"]
