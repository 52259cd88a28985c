"""What rechecks find of leads that a vendor learns of later, when, and at what cost: beside waiting for the refresh.

    python -m tests.benchmarks.rechecks

A real daemon asks the simulated vendor about companies that it does not know yet: of a third of them it learns
within two days, of a third within thirty, of a third within a year. Time is scaled for the daemon by its settings
(a day of the story takes three seconds), and for the vendor by how long each company is unknown to it. What a
refresh after 90 days would have found and cost follows from the same moments, and needs no run.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random

from enricher.lead import Document
from enricher.simulator.faults import Fault
from tests.benchmarks.rig import world
from tests.support.rig import Rig, open_rig

DAY_SECONDS = 3.0
SPANS = ((0.0, 2.0), (2.0, 30.0), (30.0, 360.0))
EACH = 100
REFRESH_DAYS = 90.0
AFTER_DAYS = (4 / 24, 3.0, 30.0)
_ONLY_COMPANIES = '["hunter", "hunter_person"]'
_LONGEST_DAYS = 1.1 * sum(AFTER_DAYS) + 5


@dataclass(frozen=True, slots=True)
class Young:
    """One lead of a company that its vendor learns of after so many days."""

    number: int
    learned: float
    found: float | None = None
    """Days after it completed thin; `None` if no recheck found it."""

    @property
    def domain(self) -> str:
        return f"young-{self.number}-quokka.com"


@dataclass(frozen=True, slots=True)
class Seen:
    """What came of all of them."""

    leads: Sequence[Young]
    calls: int
    charged: int


def story(seed: int = 1) -> list[Young]:
    """The same leads for each run."""
    chance = Random(seed)
    moments = [chance.uniform(*span) for span in SPANS for _ in range(EACH)]
    return [Young(number, learned) for number, learned in enumerate(moments)]


async def measure(uri: str) -> Seen:
    """Let them all complete thin, and every recheck pass."""
    leads = story()
    after = ",".join(f'"{days * DAY_SECONDS:.3f}s"' for days in AFTER_DAYS)
    settings = {"ENRICHER_PROVIDERS_OFF": _ONLY_COMPANIES, "ENRICHER_RECHECKS": f"[{after}]"}
    async with open_rig(uri) as rig, rig.daemon("hunter", **settings):
        for each in leads:
            lasts = each.learned * DAY_SECONDS
            unknown = Fault("unknown_record", "hunter", question=each.domain, lasts=lasts)
            rig.simulator.faults.add(unknown)
        documents: list[Document] = [
            {"_id": each.number, "company_domain": each.domain} for each in leads
        ]
        await rig.leads.insert_many(documents)
        await rig.witness.until(lambda: _are_through(rig, leads), _LONGEST_DAYS * DAY_SECONDS + 60)
        found = [_with_moment(rig, each) for each in leads]
        journal = list(rig.simulator.journal)
    return Seen(found, len(journal), sum(entry.charged for entry in journal))


def _found_at(rig: Rig, each: Young) -> float | None:
    """When a recheck found it: one that finds nothing leaves `enriched_at` alone."""
    again = rig.witness.settles(each.number)[1:]
    found = [step.at for step in again if "enriched_at" in step.fields]
    return found[0] if found else None


def _are_through(rig: Rig, leads: Sequence[Young]) -> bool:
    """Whether each was found, or looked at so often."""
    return all(
        len(rig.witness.settles(each.number)) > len(AFTER_DAYS) or _found_at(rig, each) is not None
        for each in leads
    )


def _with_moment(rig: Rig, each: Young) -> Young:
    at = _found_at(rig, each)
    began = rig.witness.settles(each.number)[0].at
    return replace(each, found=None if at is None else (at - began) / DAY_SECONDS)


def lines(seen: Seen) -> list[str]:
    """The table, as text."""
    rows = [
        f"{'learned of within':20}{'leads':>7}{'found':>7}{'median day':>12}{'after 90 days':>15}"
    ]
    for first, last in SPANS:
        own = [each for each in seen.leads if first <= each.learned < last]
        found = [each.found for each in own if each.found is not None]
        late = sum(each.learned <= REFRESH_DAYS for each in own)
        median = f"{statistics.median(found):.1f}" if found else "-"
        span = f"{first:g} to {last:g} days"
        rows.append(f"{span:20}{len(own):>7}{len(found):>7}{median:>12}{late:>15}")
    again = seen.calls - len(seen.leads)
    late = sum(each.learned <= REFRESH_DAYS for each in seen.leads)
    return [
        *rows,
        f"rechecks: {again} calls, {seen.charged} charged",
        f"one refresh after 90 days: {len(seen.leads)} calls, {late} charged, each on day 90",
    ]


async def _main() -> None:
    async with world() as place:
        seen = await measure(place.uri)
    sys.stdout.write("\n".join(lines(seen)) + "\n")


if __name__ == "__main__":
    asyncio.run(_main())
