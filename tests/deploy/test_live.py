"""What the dashboards and rules ask a real Prometheus that watches a fleet at work."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import pytest

from enricher.simulator.faults import Fault
from tests.deploy.live import SCRAPE_SECONDS, Fleet, watched_fleet
from tests.deploy.promql import alerts, boards, of_panels, of_rules, recorded, without_variables
from tests.deploy.table import table
from tests.support.waiting import eventually

WINDOW = "15s"
WANTED = os.environ.get("DASHBOARDS_OUTPUT")
"""Where people want to see what was seen."""
FEW = 12
"""Panels that are drawn where nobody does: all of them take half of this test's CPU."""


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """Where what was seen is written to."""
    directory = Path(WANTED or tmp_path / "output")
    directory.mkdir(parents=True, exist_ok=True)
    return directory


@pytest.mark.timeout(300)
async def test_every_panel_and_rule_has_something_to_say_of_a_fleet_at_work(
    mongodb_uri: str, prometheus: str, tmp_path: Path, output: Path
) -> None:
    from tests.deploy.draw import picture, seen  # all others are collected without matplotlib

    async with watched_fleet(mongodb_uri, prometheus, tmp_path, HUNTER_DAILY_BUDGET="40") as fleet:
        fleet.simulator.faults.add(Fault("server_error", vendor="pdl", probability=0.2))
        waiting = _expressions()
        await eventually(lambda: _have_data(fleet, waiting), within=100)
        rules = await fleet.prometheus.rules()
        now = time.time()
        (output / "panels.txt").write_text(await table(fleet.prometheus, WINDOW), "utf-8")
        data = {
            name: await seen(fleet.prometheus, board, fleet.began_at, now, WINDOW)
            for name, board in boards().items()
        }
    for name, board in boards().items():
        drawn = board if WANTED else board | {"panels": board["panels"][:FEW]}
        (output / f"{name}.png").write_bytes(picture(drawn, data[name]))
    assert {rule["name"]: rule.get("lastError") for rule in rules if rule["health"] != "ok"} == {}
    assert len(rules) == len(recorded()) + len(alerts())


def _expressions() -> dict[str, str]:
    """Of panels and recording rules the whole, and of alerts, which are to have no value, each
    series that they look at."""
    panels = {
        f"{each.where} ({place})": without_variables(each.expr, WINDOW)
        for place, each in enumerate(of_panels())
    }
    series = {f"{each.where}: {one}": one for each in of_rules() for one in each.series}
    return panels | {name: name for name in recorded()} | series


async def _have_data(fleet: Fleet, waiting: dict[str, str]) -> bool:
    """Drops what has had data from `waiting`; what an expression is wrong about fails at once."""
    await asyncio.sleep(SCRAPE_SECONDS)
    for where, expr in list(waiting.items()):
        if await fleet.prometheus.query(expr):
            del waiting[where]
    assert not waiting, f"no data: {waiting}"
    return True
