"""`make bench`: latency on an idle system, and the drain of a backlog beside a bare loop.

The machine may be shared and noisy: the daemon and the bare loop take turns within one run, and the
ratio of their medians says more than either.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import statistics
import sys
import time
from collections.abc import Sequence
from typing import Any

from pymongo.asynchronous.collection import AsyncCollection
from rich.console import Console
from rich.table import Table

from tests.benchmarks import rig

Leads = AsyncCollection[dict[str, Any]]


async def latency(uri: str, vendor_seconds: float, count: int) -> list[float]:
    """Seconds from just before each insert to its settle, one lead at a time."""
    async with (
        rig.vendors(vendor_seconds) as url,
        rig.database(uri) as leads,
        rig.daemon(uri, leads, url) as daemon,
        rig.observed(leads) as observer,
    ):
        await daemon.wait_for_event("stream.opened")
        seconds = [await _one(leads, observer, number) for number in range(count + 5)]
        return seconds[5:]  # the first ones open connections


async def _one(leads: Leads, observer: rig.Observer, number: int) -> float:
    began = time.perf_counter()
    await leads.insert_one(rig.sample(number))
    await observer.until([number])
    return observer.settled_at[number] - began


async def drain(uri: str, count: int) -> float:
    """Leads per second: `count` leads stand there as `pending` when the daemon starts."""
    async with rig.vendors(0) as url, rig.database(uri) as leads, rig.observed(leads) as observer:
        await leads.insert_many(
            [{**rig.sample(number), "enrichment_status": "pending"} for number in range(count)]
        )
        async with rig.daemon(uri, leads, url):
            await observer.until(range(count))
        times = sorted(observer.settled_at.values())
        # From the first settle on: how long a start takes is another question.
        return (count - 1) / (times[-1] - times[0])


async def bare(uri: str, count: int) -> float:
    """Leads per second of the bare loop."""
    async with rig.vendors(0) as url, rig.database(uri) as leads:
        await leads.insert_many([rig.sample(number) for number in range(count)])
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.benchmarks.bare",
            uri,
            leads.database.name,
            url,
            stdout=asyncio.subprocess.PIPE,
        )
        output, _ = await process.communicate()
        return float(output)


async def main(count: int, singles: int, rounds: int) -> None:
    """Measure everything and print two tables."""
    console = Console(width=100)
    console.print(f"{os.cpu_count()} cores, Python {platform.python_version()}, one run")
    async with rig.mongodb() as uri:
        console.print(await _latencies(uri, singles))
        console.print(await _drains(uri, count, rounds))


async def _latencies(uri: str, singles: int) -> Table:
    table = Table("vendors", "leads", "p50 ms", "p95 ms", "p99 ms", "max ms")
    table.title = "insert to settled, idle system"
    for seconds in (0.0, 0.3):
        found = sorted(await latency(uri, seconds, singles))
        figures = [_percentile(found, share) for share in (0.50, 0.95, 0.99, 1.0)]
        cells = [f"{figure * 1000:.1f}" for figure in figures]
        table.add_row(f"{seconds * 1000:.0f} ms", str(singles), *cells)
    return table


async def _drains(uri: str, count: int, rounds: int) -> Table:
    table = Table("", "leads/s (median)", "rounds", "of bare")
    table.title = f"drain of {count:,} leads, vendors 0 ms, no limits, two calls each"
    pairs = [(await drain(uri, count), await bare(uri, count)) for _ in range(rounds)]
    ours, theirs = (statistics.median(side) for side in zip(*pairs, strict=True))
    for name, median, side in (("enricher", ours, 0), ("bare loop", theirs, 1)):
        each = ", ".join(f"{pair[side]:.0f}" for pair in pairs)
        table.add_row(name, f"{median:.0f}", each, f"{median / theirs:.0%}")
    return table


def _percentile(ordered: Sequence[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, round(share * (len(ordered) - 1)))]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="make bench")
    parser.add_argument("--leads", type=int, default=3000, help="leads of one drain")
    parser.add_argument("--singles", type=int, default=200, help="leads of one latency row")
    parser.add_argument("--rounds", type=int, default=3, help="drains of each kind")
    options = parser.parse_args()
    asyncio.run(main(options.leads, options.singles, options.rounds))
