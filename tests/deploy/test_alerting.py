"""From a daemon that fails to somebody's pager and back: real daemons, Prometheus, Alertmanager, shipped routes.

Only time is shorter than what is shipped: the rules' `for`, and how long Alertmanager collects before it tells
anything (30 s) and anything more (a minute).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from enricher.simulator.faults import Fault
from tests.deploy.alertmanager import RECEIVERS, Post, filled, listening, running
from tests.deploy.live import Alerting, Fleet, watched_fleet
from tests.deploy.promql import DEPLOY
from tests.support.waiting import eventually

HURRY = 300
"""A quarter of an hour is three seconds: some scrapes, so that `for` still means something."""
SOON = 10
"""Three and six seconds: still longer than an evaluation of the rules, which is a second here."""
PATIENCE = 240
LOAD = 2.0
"""Leads a second: enough for a circuit that opens within seconds. Each costs CPU, and this takes minutes."""
PAGE, TICKET = ("/page", "EnricherDown"), ("/ticket", "ProviderCircuitOpen")
NOTE = ("/note", "LeadsUnmoved")


@pytest.mark.timeout(600)
async def test_a_page_a_ticket_and_a_note_reach_somebody_with_their_runbook_and_end(
    mongodb_uri: str, prometheus: str, alertmanager: str, tmp_path: Path
) -> None:
    with listening() as post:
        async with running(alertmanager, tmp_path, filled(tmp_path, post, SOON)) as manager:
            alerting = Alerting(manager.url.removeprefix("http://"), HURRY)
            async with watched_fleet(
                mongodb_uri, prometheus, tmp_path, alerting=alerting, leads_a_second=LOAD
            ) as fleet:
                await _go_through(fleet, post)
    for path, name in (PAGE, TICKET, NOTE):
        assert post.paths_of(name) == {path}
    assert {path for path, _ in post.messages} <= {f"/{name}" for name in RECEIVERS.values()}


async def _go_through(fleet: Fleet, post: Post) -> None:
    """One after the other as far as they must be; the page ends while the others begin."""
    await fleet.leads.insert_one({"_id": "of another tool", "enrichment_status": "new"})
    fault = fleet.simulator.faults.add(Fault("server_error", vendor="clearbit"))
    await fleet.daemons.stop()
    page = await eventually(lambda: post.told(*PAGE, "firing"), within=PATIENCE)
    await fleet.daemons.start()
    ticket = await eventually(lambda: post.told(*TICKET, "firing"), within=PATIENCE)
    note = await eventually(lambda: post.told(*NOTE, "firing"), within=PATIENCE)
    fleet.simulator.faults.remove(fault)
    await fleet.leads.delete_one({"_id": "of another tool"})
    for told, severity in ((page, "critical"), (ticket, "warning"), (note, "info")):
        assert told["labels"]["severity"] == severity
        _check_that_it_helps(told)
    assert ticket["labels"]["provider"] in ticket["annotations"]["summary"]
    await eventually(lambda: post.told(*PAGE, "resolved"), within=PATIENCE)
    await eventually(lambda: post.told(*TICKET, "resolved"), within=PATIENCE)
    await eventually(lambda: post.told(*NOTE, "resolved"), within=PATIENCE)


def _check_that_it_helps(told: dict[str, Any]) -> None:
    """A summary to be read half asleep, and the section of the runbook that is about it."""
    said = told["annotations"]
    name = told["labels"]["alertname"]
    assert re.fullmatch(r"[\w ]+\.", said["summary"])
    assert not [text for text in said.values() if "{{" in text or "<no value>" in text]
    assert told["labels"]["job"] == "enricher"
    page, _, section = said["runbook_url"].partition("#")
    assert page.endswith("/runbooks.md")
    assert f"\n## {name}\n" in (DEPLOY.parent / "docs/operations/runbooks.md").read_text("utf-8")
    assert section == name.lower()
