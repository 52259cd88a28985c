"""What a kept answer takes in MongoDB: `python -m tests.benchmarks.answers [LEADS]`, some minutes.

The real daemon asks one simulated vendor after another about so many people, each at a company of its own,
and keeps what they say. *Document* is the server's own `$bsonSize`; *on disk* is the collection's file and
those of its indexes after a checkpoint, which take whole pages: with few leads they say too much.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rich.console import Console

from enricher.calls.flights import COLLECTION
from enricher.catalogue import PROVIDERS
from enricher.simulator.server import Simulator
from tests.benchmarks import rig
from tests.benchmarks.drain import backlog
from tests.benchmarks.rig import Document, Leads, World, world

LEADS = 1_000
LONGEST_SECONDS = 300.0
_ASKED = tuple(each for each in PROVIDERS.values() if each.path)
_ROW = "{:<18}{:>10}{:>10}{:>10}{:>15}"
_NO_LIMIT = "1000000"


@dataclass(frozen=True, slots=True)
class Kept:
    """The answers of one provider, and what one of them takes on average, in bytes."""

    count: int
    document: float
    on_disk: float
    indexes: float


async def main(count: int) -> None:
    """Measure provider by provider, and print a line for each."""
    console, vendors = Console(), {each.vendor for each in _ASKED}
    console.print(_ROW.format("bytes each", "answers", "document", "on disk", "of it indexes"))
    async with world() as place, Simulator(windows=dict.fromkeys(vendors, ())) as simulator:
        for provider in _ASKED:
            settings = _only(provider.name, provider.vendor, simulator.base_urls)
            kept = await _kept(place, simulator.url, settings, count)
            figures = (kept.count, kept.document, kept.on_disk, kept.indexes)
            console.print(_ROW.format(provider.name, *(f"{each:,.0f}" for each in figures)))


def _only(provider: str, vendor: str, urls: Mapping[str, str]) -> dict[str, str]:
    """Return the settings of a daemon that asks this provider alone."""
    others = [each.name for each in _ASKED if each.name != provider]
    name = vendor.upper()
    return {
        "ENRICHER_PROVIDERS_OFF": json.dumps(others),
        f"{name}_BASE_URL": urls[vendor],
        f"{name}_API_KEY": "simulated",
        f"{name}_RATE_LIMIT": _NO_LIMIT,
    }


async def _kept(place: World, url: str, settings: Mapping[str, Any], count: int) -> Kept:
    async with place.leads() as leads:
        await rig.insert(leads, backlog(count))
        async with place.daemon(leads, url, **settings) as daemon:
            await rig.settled(daemon, count, LONGEST_SECONDS)
            await daemon.finish()
        return await _measured(leads)


async def _measured(leads: Leads) -> Kept:
    answers = leads.database[COLLECTION]
    await leads.database.client.admin.command("fsync")
    mean: Document = {"_id": None, "mean": {"$avg": {"$bsonSize": "$$ROOT"}}}
    [document] = await (await answers.aggregate([{"$group": mean}])).to_list()
    [stats] = await (await answers.aggregate([{"$collStats": {"storageStats": {}}}])).to_list()
    sizes = stats["storageStats"]
    many = sizes["count"]
    indexes = sizes["totalIndexSize"] / many
    return Kept(many, document["mean"], sizes["storageSize"] / many + indexes, indexes)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else LEADS))
