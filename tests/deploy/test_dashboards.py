"""The dashboards are those that the code makes, and keep to the rules of the house."""

from __future__ import annotations

import re
import runpy
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from tests.deploy.promql import DASHBOARDS, DEPLOY, boards, of_panels, panels

GRAFANA = DEPLOY / "grafana"
PANELS = panels()
EXPRESSIONS = of_panels()
UNITS = {"s", "short", "percentunit", "reqps", "bytes"}
each_panel = pytest.mark.parametrize(
    ("board", "panel"), PANELS, ids=[f"{board}: {panel['title']}" for board, panel in PANELS]
)


@pytest.fixture
def generator(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    monkeypatch.syspath_prepend(str(GRAFANA))
    yield runpy.run_path(str(GRAFANA / "generate.py"))
    for name in ("panels", "overview", "providers"):
        sys.modules.pop(name, None)


def test_the_committed_dashboards_are_what_the_code_makes(generator: dict[str, Any]) -> None:
    made = {name: generator["as_json"](board) for name, board in generator["BOARDS"].items()}
    assert {path.name: path.read_text("utf-8") for path in DASHBOARDS} == made, (
        "run: python deploy/grafana/generate.py"
    )


@each_panel
def test_a_panel_says_what_it_shows_in_what_unit_and_from_the_chosen_source(
    board: str, panel: dict[str, Any]
) -> None:
    assert panel["title"]
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"] in UNITS
    assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    assert panel["targets"]


@pytest.mark.parametrize("expression", EXPRESSIONS, ids=lambda each: each.where)
def test_a_query_keeps_to_the_chosen_daemons(expression: Any) -> None:
    chosen = {"job": ("=~", "$job"), "instance": ("=~", "$instance")}
    for series, matchers in expression.selectors:
        assert chosen.items() <= matchers.items(), series


@pytest.mark.parametrize("expression", EXPRESSIONS, ids=lambda each: each.where)
def test_a_counter_is_never_shown_as_it_is(expression: Any) -> None:
    counters = re.findall(r"(\w+\()?(\w+_(?:total|bucket|sum|count))\{", expression.expr)
    assert all(function in ("rate(", "increase(") for function, _ in counters)
    windows = set(re.findall(r"rate\([^\[]*\[([^\]]+)\]", expression.expr))
    assert windows <= {"$__rate_interval"}


@pytest.mark.parametrize("name", boards())
def test_a_dashboard_is_changed_in_the_code_alone_and_has_its_choices(name: str) -> None:
    board = boards()[name]
    variables = {each["name"]: each for each in board["templating"]["list"]}
    assert board["editable"] is False
    assert variables["datasource"]["label"] == "Data Source"
    assert {"job", "instance"} <= variables.keys()
    on_time_range_change = 2
    assert {each["refresh"] for each in variables.values() if each["type"] == "query"} == {
        on_time_range_change
    }


@pytest.mark.parametrize("name", boards())
def test_no_title_stands_for_two_panels(name: str) -> None:
    titles = [panel["title"] for board, panel in PANELS if board == name]
    assert len(titles) == len(set(titles))


def test_each_promise_is_drawn_where_it_is_judged() -> None:
    drawn = {
        panel["title"]: panel["fieldConfig"]["defaults"]["thresholds"]["steps"][1]["value"]
        for board, panel in PANELS
        if board == "overview" and "Promised" in panel["description"] and panel["type"] == "stat"
    }
    assert drawn == {
        "Leads that succeed": 0.85,
        "Leads that need a retry": 0.2,
        "Mean completeness": 0.6,
        "Company found": 0.7,
        "E-mail verdict given": 0.9,
        "Mean time to settled": 15,
    }
