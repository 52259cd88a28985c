"""Panels and rules name series that there are, and every series is looked at somewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import defaultdict

import pytest
from prometheus_client.parser import text_string_to_metric_families

from enricher.telemetry import metrics
from tests.deploy.promql import DEPLOY, Expression, of_panels, of_rules, recorded

FROM_PROMETHEUS = {"job", "instance"}
NOT_SHOWN = {
    "enricher_http_refused_total": "what strangers do to the port, and no trouble of the work's; for who wonders about a 421",
    "enricher_oldest_pending_timestamp_seconds": "the age is what is shown and alerted on; this is for other tools",
}
"""Series that no panel and no rule uses, and why they are there all the same."""
EXPRESSIONS = [*of_panels(), *of_rules()]


def _labels() -> dict[str, set[str]]:
    """Name of a sample -> its labels, from the daemon's own registry."""
    known: dict[str, set[str]] = {"up": set()}
    for collector in metrics.REGISTRY._collector_to_names:
        for sample in metrics.REGISTRY._collector_to_names[collector]:
            extra = {"le"} if sample.endswith("_bucket") else set()
            known[sample] = set(getattr(collector, "_labelnames", ())) | extra
    known["enricher_build_info"] = {"version"}
    return known


@pytest.fixture(scope="module")
def values() -> dict[str, set[str]]:
    """Label -> the values that a daemon with all providers exports from its start."""
    program = (
        "from prometheus_client import generate_latest\n"
        "from enricher.telemetry import metrics\n"
        "metrics.initialise('0', ['local', 'hunter'])\n"
        "print(generate_latest(metrics.REGISTRY).decode())\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    known: dict[str, set[str]] = defaultdict(set)
    for family in text_string_to_metric_families(ran.stdout):
        for sample in family.samples:
            for label, value in sample.labels.items():
                known[label].add(value)
    return known | {"job": {"enricher"}, "period": {"day", "month"}}


LABELS = _labels()


def _labels_of(series: str) -> set[str] | None:
    if series in recorded():
        return set(series.split(":", maxsplit=1)[0].split("_"))
    return LABELS.get(series)


@pytest.mark.parametrize("expression", EXPRESSIONS, ids=lambda each: each.where)
def test_an_expression_names_series_and_labels_that_there_are(expression: Expression) -> None:
    assert expression.selectors, "it names no series at all"
    known = set(FROM_PROMETHEUS)
    for series, matchers in expression.selectors:
        labels = _labels_of(series)
        assert labels is not None, f"no series {series}"
        assert matchers.keys() <= labels | FROM_PROMETHEUS, series
        known |= labels
    assert expression.grouped_by <= known
    shown = set(re.findall(r"{{(\w+)}}", expression.legend))
    assert shown <= known


@pytest.mark.parametrize("expression", EXPRESSIONS, ids=lambda each: each.where)
def test_an_expression_asks_for_values_that_there_are(
    expression: Expression, values: dict[str, set[str]]
) -> None:
    for _, matchers in expression.selectors:
        for label, (_, wanted) in matchers.items():
            if not wanted.startswith("$"):
                assert set(wanted.split("|")) <= values[label], label


def test_a_recorded_series_has_the_labels_that_its_name_promises() -> None:
    for name, expr in recorded().items():
        level = set(name.split(":")[0].split("_"))
        assert level | {"le"} >= Expression(name, expr).grouped_by >= level, name


def test_every_series_is_in_a_panel_or_a_rule_or_is_known_not_to_be() -> None:
    used = {re.sub(r"_(bucket|sum|count)$", "", s) for e in EXPRESSIONS for s, _ in e.selectors}
    exported = {
        re.sub(r"_(bucket|sum|count)$", "", name)
        for name, _ in LABELS.items()
        if re.match(r"enricher_\w+(?<!_created)$", name) and f"{name}_total" not in LABELS
    } - {"enricher_build"}
    assert exported - used == NOT_SHOWN.keys()


def test_what_the_example_of_prometheus_scrapes_is_the_job_that_the_rules_expect() -> None:
    example = (DEPLOY / "prometheus" / "prometheus.yml").read_text("utf-8")
    assert "job_name: enricher\n" in example
