"""What a daemon holds and keeps while it works, a sample a minute: the table, and what must have an end.

Everything that grows has an end, and `ENDS` names it for each collection of ours. One that is not
there fails the soak: whoever adds a collection says where it ends.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pymongo.asynchronous.database import AsyncDatabase

from enricher.lead import Document
from tests.support.processes import Daemon

MIB = 1024 * 1024

ENDS: Mapping[str, str] = {
    "enricher_answers": "TTL: an answer is kept for days, a flight for as long as its call",
    "enricher_daemons": "TTL: an hour after the last sign of life",
    "enricher_checkpoints": "one for each leads collection, one for each query of a backfill",
    "enricher_history_leads": "the leads that stood there before the first start",
    "enricher_events": "TTL: an event is kept for days",
    "enricher_event_drafts": "one for each batch that is being settled",
    "enricher_fatal": "none, unless a lead ends the server",
    "enricher_limits": "one for each provider's limits, stop and objections",
    "enricher_usage": "one for each vendor and month; TTL: an account's count of leads, a month after its own",
    "enricher_secrets": "one",
    "enricher_suppressed": "one for each person who is to be forgotten",
}
WITH_TTL = ("enricher_answers", "enricher_daemons", "enricher_events", "enricher_usage")


@dataclass(frozen=True, slots=True)
class Sample:
    """How it stands."""

    minute: float
    resident: int
    descriptors: int
    threads: int
    series: int
    leads: int
    kept: Mapping[str, tuple[int, int]]
    """Collection -> (documents, bytes)."""


async def sample(daemon: Daemon, database: AsyncDatabase[Document], began: float) -> Sample:
    """Of one daemon, and of all that the fleet keeps."""
    text = (await daemon.get("/metrics")).text
    process = _Process(daemon.pid)
    names = sorted(await database.list_collection_names(filter={"name": {"$regex": "^enricher_"}}))
    return Sample(
        minute=(time.monotonic() - began) / 60,
        resident=process.number("VmRSS") * 1024,
        descriptors=process.descriptors,
        threads=process.number("Threads"),
        series=sum(not line.startswith("#") for line in text.splitlines()),
        leads=await database["leads"].estimated_document_count(),
        kept={name: await _size_of(database, name) for name in names},
    )


async def _size_of(database: AsyncDatabase[Document], name: str) -> tuple[int, int]:
    stats = await database.command("collStats", name)
    return int(stats["count"]), int(stats["size"])


class _Process:
    """What the kernel says of it at this moment."""

    def __init__(self, pid: int) -> None:
        self._status = Path(f"/proc/{pid}/status").read_text()
        self.descriptors = len([*Path(f"/proc/{pid}/fd").iterdir()])

    def number(self, name: str) -> int:
        found = re.search(rf"{name}:\s+(\d+)", self._status)
        assert found, f"no {name}"
        return int(found[1])


def table(samples: Sequence[Sample]) -> Iterator[str]:
    """For people: a line a minute."""
    names = sorted({name for each in samples for name in each.kept})
    short = [name.removeprefix("enricher_") for name in names]
    yield "  ".join(["min", "RSS MiB", "fds", "threads", "series", "leads", *short])
    for each in samples:
        kept = [each.kept.get(name, (0, 0)) for name in names]
        cells = [f"{number}/{size / 1024:.0f}K" for number, size in kept]
        figures = (f"{each.minute:4.1f}", f"{each.resident / MIB:6.1f}", f"{each.descriptors:4d}")
        more = (f"{each.threads:3d}", f"{each.series:5d}", f"{each.leads:6d}")
        yield "  ".join([*figures, *more, *cells])
