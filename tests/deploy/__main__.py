"""Draws the dashboards of a fleet at work: `make pictures ARGS="--seconds 240"`. Figures, not verdicts.

The pictures of the documentation are made by it.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
import tempfile
import time
from pathlib import Path

from enricher.mongo.embedded import EmbeddedServer
from enricher.simulator.faults import Fault
from tests.deploy.draw import picture, seen
from tests.deploy.live import Fleet, watched_fleet
from tests.deploy.promql import DEPLOY, boards
from tests.deploy.table import table

_WINDOW = "20s"
_OUTAGE_SHARE = 0.25


async def main(seconds: float, into: Path) -> None:
    prometheus = shutil.which("prometheus") or "prometheus"
    with tempfile.TemporaryDirectory(prefix="enricher-pictures-") as directory:
        async with EmbeddedServer(Path(directory, "db")) as server:
            fleet = watched_fleet(
                *(server.uri, prometheus, Path(directory)),
                leads_a_second=3.0,
                HUNTER_DAILY_BUDGET="2500",
                APOLLO_API_KEY="good",
            )
            async with fleet as watched:
                await _let_it_run(watched, seconds)
                span = (watched.began_at, time.time())
                data = {
                    name: await seen(watched.prometheus, board, *span, _WINDOW)
                    for name, board in boards().items()
                }
                said = await table(watched.prometheus, _WINDOW)
    for name, board in boards().items():  # after the end: it takes the vendors' loop
        (into / f"{name}.png").write_bytes(picture(board, data[name]))
    sys.stdout.write(said)


async def _let_it_run(fleet: Fleet, seconds: float) -> None:
    """With some trouble all the time, and one vendor away for a quarter of it."""
    fleet.simulator.faults.add(Fault("server_error", vendor="hunter", probability=0.03))
    await asyncio.sleep(seconds * _OUTAGE_SHARE)
    outage = fleet.simulator.faults.add(Fault("server_error", vendor="clearbit"))
    await asyncio.sleep(seconds * _OUTAGE_SHARE)
    fleet.simulator.faults.remove(outage)
    await asyncio.sleep(seconds * (1 - 2 * _OUTAGE_SHARE))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=240)
    parser.add_argument("--into", type=Path, default=DEPLOY.parent / "docs" / "pictures")
    arguments = parser.parse_args()
    arguments.into.mkdir(parents=True, exist_ok=True)
    asyncio.run(main(arguments.seconds, arguments.into))
