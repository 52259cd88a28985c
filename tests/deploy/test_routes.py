"""Each alert that is shipped leads to somebody, and what follows from a cause is not told beside it."""

from __future__ import annotations

import asyncio
import re
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import product
from pathlib import Path

import pytest
import yaml

from tests.deploy.alertmanager import (
    RECEIVERS,
    SHIPPED,
    Alertmanager,
    Labels,
    alerts_that_fire,
    fill,
    filled,
    listening,
    running,
)
from tests.deploy.promql import DEPLOY, alerts
from tests.support.waiting import eventually

CONFIG = yaml.safe_load(SHIPPED.read_text("utf-8"))
FIRED = alerts_that_fire()
GRAVITY = ("info", "warning", "critical")


def _receiver(amtool: str, labels: Labels) -> str:
    words = [f"{name}={value}" for name, value in labels.items()]
    command = [amtool, "config", "routes", "test", f"--config.file={SHIPPED}", *words]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout.strip()


def test_alertmanager_takes_the_configuration(amtool: str) -> None:
    ran = subprocess.run(
        [amtool, "check-config", str(SHIPPED)], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.parametrize("labels", FIRED, ids=lambda labels: "-".join(labels.values()))
def test_an_alert_leads_to_the_receiver_of_its_severity(amtool: str, labels: Labels) -> None:
    assert _receiver(amtool, labels) == RECEIVERS[labels["severity"]]


def test_every_shipped_alert_is_among_those_whose_route_is_tested() -> None:
    """With its labels as promtool sees them: a new alert is taken in by its test there."""
    shipped = {(rule["alert"], *sorted(rule["labels"].items())) for rule in alerts()}
    static = {rule["alert"]: rule["labels"].keys() for rule in alerts()}
    tested = {
        (name, *sorted((label, one[label]) for label in static[name]))
        for one in FIRED
        if (name := one["alertname"]) in static
    }
    assert tested == shipped


@pytest.mark.parametrize("severity", ["", "page", "none", "CRITICAL"])
def test_an_alert_of_an_unknown_severity_still_reaches_somebody(amtool: str, severity: str) -> None:
    labels = {"alertname": "Odd", "severity": severity}
    assert _receiver(amtool, labels) == "ticket"


def test_every_receiver_hears_of_the_end_as_well() -> None:
    for receiver in CONFIG["receivers"]:
        [webhook] = receiver["webhook_configs"]
        assert webhook == {
            "url": f"https://alerts.example.com/{receiver['name']}",
            "send_resolved": True,
        }
    assert {receiver["name"] for receiver in CONFIG["receivers"]} == set(RECEIVERS.values())


def test_rules_of_inhibition_name_alerts_that_there_are() -> None:
    for rule in CONFIG["inhibit_rules"]:
        named = _alerts_named(rule["source_matchers"] + rule["target_matchers"])
        assert named <= {alert["alert"] for alert in alerts()}
        assert "job" in rule["equal"], "one job says nothing about another"


def _alerts_named(matchers: list[str]) -> set[str]:
    texts = [re.fullmatch(r'alertname(?:=~|!=|=)"(.+)"', matcher) for matcher in matchers]
    return {name for text in texts if text for name in text[1].split("|")}


async def test_a_daemon_that_is_down_silences_what_follows_from_it(
    alertmanager: str, tmp_path: Path
) -> None:
    """With all shipped alerts at once, and some of another job, which goes on being told."""
    ours = [labels | {"job": "enricher"} for labels in FIRED]
    other = {"alertname": "LeasesLost", "job": "other", "severity": "warning"}
    async with _judged(alertmanager, tmp_path, [*ours, other]) as manager:
        await eventually(lambda: _only_these_are_told(manager, {"EnricherDown", "LeasesLost"}))


FOLLOW = {
    "LeadsWaitTooLong",
    "EnrichmentSlow",
    "FailedLeadsGrow",
    "BacklogNotCounted",
    "ChangeStreamClosed",
    "LeasesLost",
    "ProviderFailing",
}


async def test_no_alert_silences_a_graver_one(alertmanager: str, tmp_path: Path) -> None:
    """Each pair of cause and consequence that there is, by what Alertmanager says of all at once."""
    known = [labels | {"job": "loud"} for labels in FIRED if labels["alertname"] != "EnricherDown"]
    async with _judged(alertmanager, tmp_path, known) as manager:
        await eventually(lambda: _are_silenced(manager, FOLLOW))
        found = await manager.alerts()
    causes = {alert["fingerprint"]: alert["labels"] for alert in found}
    for alert in found:
        for by in alert["status"]["inhibitedBy"]:
            graver = GRAVITY.index(causes[by]["severity"])
            assert graver >= GRAVITY.index(alert["labels"]["severity"]), (alert, causes[by])


@asynccontextmanager
async def _judged(
    alertmanager: str, directory: Path, alerts: list[Labels]
) -> AsyncIterator[Alertmanager]:
    with listening() as post:
        async with running(alertmanager, directory, filled(directory, post)) as manager:
            await manager.add(alerts)
            yield manager


async def _only_these_are_told(manager: Alertmanager, names: set[str]) -> bool:
    told = [a for a in await manager.alerts() if a["status"]["state"] == "active"]
    assert sorted(alert["labels"]["alertname"] for alert in told) == sorted(names)
    return True


async def _are_silenced(manager: Alertmanager, names: set[str]) -> bool:
    found = await manager.alerts()
    told = {a["labels"]["alertname"] for a in found if a["status"]["state"] == "suppressed"}
    assert names <= told
    return True


async def test_the_drill_that_is_documented_pages(
    alertmanager: str, amtool: str, tmp_path: Path
) -> None:
    [drill] = re.findall(
        r"`amtool (alert add .+?)`", (DEPLOY.parent / "docs/operations/seeing.md").read_text()
    )
    async with _judged(alertmanager, tmp_path, []) as manager:
        words = drill.replace("http://127.0.0.1:9093", manager.url).split()
        await asyncio.to_thread(subprocess.run, [amtool, *words], check=True)
        [alert] = await manager.alerts()
    assert alert["receivers"] == [{"name": "page"}]


ODD = "https://a.example/x?y=1&z=|'\\q%20#top"


@pytest.mark.parametrize("odd", [ODD, "http://pager:8080/", "https://u:p&w@h.example/$(id)`id`"])
@pytest.mark.parametrize("way", ["variable", "file", "file without a line's end"])
def test_an_address_is_put_in_as_it_is(tmp_path: Path, odd: str, way: str) -> None:
    file = tmp_path / "url"
    file.write_text(odd + ("\n" if way == "file" else ""), "utf-8")
    given = {"ALERTS_PAGE_URL": odd} if way == "variable" else {"ALERTS_PAGE_URL_FILE": str(file)}
    made = fill(given)
    assert made.returncode == 0
    urls = {
        r["name"]: r["webhook_configs"][0]["url"] for r in yaml.safe_load(made.stdout)["receivers"]
    }
    assert urls.pop("page") == odd
    assert urls == {name: f"https://alerts.example.com/{name}" for name in ("ticket", "note")}
    assert "ticket" in made.stderr
    assert odd not in made.stderr


def test_routes_are_what_was_shipped_whatever_the_addresses() -> None:
    made = yaml.safe_load(fill({"ALERTS_PAGE_URL": ODD}).stdout)
    assert {name: made[name] for name in ("route", "inhibit_rules")} == {
        name: CONFIG[name] for name in ("route", "inhibit_rules")
    }


def test_a_file_that_is_not_there_is_no_empty_address(tmp_path: Path) -> None:
    made = fill({"ALERTS_PAGE_URL_FILE": str(tmp_path / "none")})
    assert made.returncode != 0
    assert made.stdout == ""


@pytest.mark.parametrize(
    ("config", "target"),
    [("prometheus.yml", "127.0.0.1:9093"), ("compose.yml", "alertmanager:9093")],
)
def test_prometheus_tells_alertmanager(config: str, target: str) -> None:
    read = yaml.safe_load((DEPLOY / "prometheus" / config).read_text("utf-8"))
    [manager] = read["alerting"]["alertmanagers"]
    assert manager["static_configs"] == [{"targets": [target]}]


def test_pairs_of_cause_and_consequence_can_have_the_same_labels() -> None:
    """Alertmanager takes a label that neither has as equal, and one that only one has as different."""
    by_name = {labels["alertname"]: labels for labels in FIRED}
    for rule in CONFIG["inhibit_rules"]:
        sources, targets = (
            _alerts_named(rule[f"{side}_matchers"]) for side in ("source", "target")
        )
        for source, target in product(sources, targets):
            for label in rule["equal"]:
                assert label in by_name[source], (source, label)
                assert label in by_name[target], (target, label)
