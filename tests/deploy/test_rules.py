"""The rules load, fire when they should and not otherwise, and lead to somewhere."""

from __future__ import annotations

import re
import subprocess
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
import yaml

from enricher.telemetry import metrics
from tests.deploy.promql import DEPLOY, RULES, alerts, boards, recorded

HERE = Path(__file__).parent
RULE_TESTS = sorted(HERE.glob("*_test.yml"))
PAGES = DEPLOY.parent / "docs" / "operations"
RUNBOOKS = (PAGES / "runbooks.md").read_text("utf-8")
SEVERITIES = {"critical", "warning", "info"}


def _said_by(*command: str) -> str:
    ran = subprocess.run(command, capture_output=True, text=True, check=False, cwd=HERE)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def test_prometheus_takes_the_rules_and_the_example_of_its_configuration(promtool: str) -> None:
    _said_by(promtool, "check", "rules", "--lint-fatal", *map(str, RULES))
    _said_by(promtool, "check", "config", str(DEPLOY / "prometheus" / "prometheus.yml"))


@pytest.mark.parametrize("path", RULE_TESTS, ids=lambda path: path.stem)
def test_rules_say_what_they_should(promtool: str, path: Path) -> None:
    _said_by(promtool, "test", "rules", str(path))


def test_each_alert_is_tested_with_a_job_that_fires_it_and_one_that_does_not() -> None:
    fires: defaultdict[str, set[str | None]] = defaultdict(set)
    silent: set[str] = set()
    for case in _cases():
        for each in case.get("alert_rule_test", ()):
            firing = {alert["exp_labels"].get("job") for alert in each["exp_alerts"]}
            jobs = set(re.findall(r'job="(\w+)"', str(case["input_series"])))
            windows = {alert["exp_labels"].get("long_window") for alert in each["exp_alerts"]}
            if firing:
                fires[each["alertname"]] |= windows
            if jobs - firing:
                silent.add(each["alertname"])
    names = {alert["alert"] for alert in alerts()}
    assert fires.keys() == names
    assert silent == names
    assert fires["LeadsFail"] == {"1h", "6h", "1d", "3d"}


def _cases() -> list[dict[str, Any]]:
    return [case for path in RULE_TESTS for case in yaml.safe_load(path.read_text())["tests"]]


@pytest.mark.parametrize("alert", alerts(), ids=lambda alert: alert["alert"])
def test_an_alert_says_how_bad_what_and_where_to_look(alert: dict[str, Any]) -> None:
    assert re.fullmatch(r"([A-Z][a-z]+)+", alert["alert"])
    assert alert["labels"]["severity"] in SEVERITIES
    annotations = alert["annotations"]
    assert annotations.keys() == {"summary", "description", "runbook_url", "dashboard_url"}
    assert annotations["runbook_url"].endswith(f"/runbooks.md#{alert['alert'].lower()}")
    board = re.search(r"/d/([\w-]+)", annotations["dashboard_url"])
    assert board is not None
    assert board[1] in {each["uid"] for each in boards().values()}


def test_each_alert_has_a_runbook_and_each_runbook_an_alert() -> None:
    sections = re.findall(r"^## (\w+)$", RUNBOOKS, re.MULTILINE)
    assert sorted(sections) == sorted({alert["alert"] for alert in alerts()})


def test_each_runbook_says_what_it_means_what_to_look_at_what_to_do_and_when_it_is_over() -> None:
    for section in RUNBOOKS.split("\n## ")[1:]:
        assert re.findall(r"^\*\*(.+?):\*\*", section, re.MULTILINE) == [
            "For users", "Look at", "Do", "Over when",
        ], section.split("\n")[0]  # fmt: skip


def test_no_runbook_says_nothing_but_to_look_elsewhere() -> None:
    for section in RUNBOOKS.split("\n## ")[1:]:
        for part in re.split(r"^\*\*.+?:\*\*", section, flags=re.MULTILINE)[1:]:
            assert part.strip(" \n-").lower() not in ("as there.", ""), section.split("\n")[0]


def test_every_reason_to_hold_a_provider_has_an_alert() -> None:
    """Or leads would wait for it, and nobody would hear of it."""
    exprs = " ".join(alert["expr"] for alert in alerts())
    told = set(re.findall(r'enricher_provider_hold{reason="(\w+)"}', exprs))
    assert told == set(metrics.HOLDS)


def test_the_alerts_that_page_are_listed() -> None:
    page = (PAGES / "seeing.md").read_text("utf-8")
    [listed] = re.findall(r"\*\*Critical alerts\*\* page: (.+?)\.\n", page, re.DOTALL)
    pages = {rule["alert"] for rule in alerts() if rule["labels"]["severity"] == "critical"}
    assert set(re.findall(r"`(\w+)`", listed)) == pages


def test_the_links_between_runbooks_lead_somewhere() -> None:
    anchors = {name.lower() for name in re.findall(r"^## (\w+)$", RUNBOOKS, re.MULTILINE)}
    assert set(re.findall(r"\]\(#(\w+)\)", RUNBOOKS)) <= anchors


def test_what_is_recorded_is_named_by_level_metric_and_operation() -> None:
    odd = [name for name in recorded() if not re.fullmatch(r"[a-z_]+:enricher_\w+:\w+", name)]
    assert odd == []
