"""What is deployed for operators, taken apart: panels, rules, and the series that they name."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

DEPLOY = Path(__file__).parent.parent.parent / "deploy"
DASHBOARDS = sorted((DEPLOY / "grafana" / "dashboards").glob("*.json"))
RULES = (DEPLOY / "prometheus" / "recording.yml", DEPLOY / "prometheus" / "alerts.yml")

_TEXT = re.compile(r'"[^"]*"')
_SERIES = re.compile(r"([a-zA-Z_][a-zA-Z0-9_:]*)\s*(?:\{([^}]*)\})?")
_MATCHER = re.compile(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"')
_GROUPING = re.compile(r"\b(?:by|on|without|ignoring|group_left|group_right)\s*\(([^)]*)\)")


@dataclass(frozen=True, slots=True)
class Expression:
    """A PromQL expression and where it stands."""

    where: str
    expr: str
    legend: str = ""
    kind: str = "timeseries"

    @property
    def selectors(self) -> list[tuple[str, dict[str, tuple[str, str]]]]:
        """(series, label -> operator and value) of each place that names one of ours."""
        found = []
        for name, inside in _SERIES.findall(_GROUPING.sub(" ", self.expr)):
            if name.startswith(("enricher_", "process_")) or ":enricher_" in name or name == "up":
                matchers = {label: (op, value) for label, op, value in _MATCHER.findall(inside)}
                found.append((name, matchers))
        return found

    @property
    def series(self) -> list[str]:
        """Each selector by itself."""
        found = []
        for name, matchers in self.selectors:
            inside = ", ".join(f'{label}{op}"{text}"' for label, (op, text) in matchers.items())
            found.append(f"{name}{{{inside}}}")
        return found

    @property
    def grouped_by(self) -> set[str]:
        lists = _GROUPING.findall(_TEXT.sub('""', self.expr))
        return {label.strip() for labels in lists for label in labels.split(",") if label.strip()}


def boards() -> dict[str, dict[str, Any]]:
    return {path.stem: json.loads(path.read_text("utf-8")) for path in DASHBOARDS}


def panels() -> list[tuple[str, dict[str, Any]]]:
    """(dashboard, panel) of all that draw something."""
    return [
        (name, panel)
        for name, board in boards().items()
        for panel in board["panels"]
        if panel["type"] != "row"
    ]


def of_panels() -> list[Expression]:
    return [
        Expression(
            f"{name}: {panel['title']}", target["expr"], target["legendFormat"], panel["type"]
        )
        for name, panel in panels()
        for target in panel["targets"]
    ]


@cache  # hundreds of tests ask, and to read them takes a tenth of a second
def rules() -> tuple[dict[str, Any], ...]:
    groups = (
        group for path in RULES for group in yaml.safe_load(path.read_text("utf-8"))["groups"]
    )
    return tuple(rule for group in groups for rule in group["rules"])


def alerts() -> list[dict[str, Any]]:
    return [rule for rule in rules() if "alert" in rule]


def recorded() -> dict[str, str]:
    return {rule["record"]: rule["expr"] for rule in rules() if "record" in rule}


def of_rules() -> list[Expression]:
    return [Expression(rule.get("alert") or rule["record"], rule["expr"]) for rule in rules()]


def without_variables(expr: str, window: str, shown: str = "") -> str:
    """As Grafana would send it, for all daemons and providers, while `shown` is the time shown."""
    expr = expr.replace("$__rate_interval", window).replace("$__range", shown or window)
    for name in ("$job", "$instance", "$provider"):
        expr = expr.replace(name, ".+")
    return expr


def seconds_of(duration: str) -> int:
    """Of Prometheus' notation: `15m`, `1h30m`."""
    parts = re.findall(r"(\d+)([smhdw])", duration)
    assert duration == "".join(number + unit for number, unit in parts), duration
    return sum(int(number) * _SECONDS[unit] for number, unit in parts)


_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
