"""What the dashboards show, as data: `generate.py` makes JSON of it.

Every query is for the daemons that are chosen at the top (`OURS`). What all daemons of a fleet say
alike, because they read it in the database, is taken once (`max`); everything else is summed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

OURS = 'job=~"$job", instance=~"$instance"'
CHOSEN = f'{OURS}, provider=~"$provider"'
RATE = "[$__rate_interval]"
RANGE = "[$__range]"

GREEN, YELLOW, RED, BLUE = "green", "yellow", "red", "blue"


@dataclass(frozen=True, slots=True)
class Query:
    """A PromQL expression, and what its series are called."""

    expr: str
    legend: str = ""


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel. `steps` are colours with the value from which on they hold; the first has none."""

    title: str
    description: str
    unit: str
    queries: Sequence[Query]
    kind: Literal["stat", "timeseries"] = "timeseries"
    width: int = 8
    steps: Sequence[tuple[float | None, str]] = ()
    is_target: bool = False
    """The second step is a promise: it is drawn as a line."""
    most: float | None = None
    is_stacked: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    title: str
    panels: Sequence[Panel]


@dataclass(frozen=True, slots=True)
class Board:
    uid: str
    title: str
    description: str
    rows: Sequence[Row]
    has_providers: bool = False
    """With a choice of providers at the top."""


def series(name: str, more: str = "", ours: str = OURS) -> str:
    """A selector for our daemons."""
    return f"{name}{{{ours}{', ' if more else ''}{more}}}"


def rate(name: str, more: str = "", by: str = "", window: str = RATE, ours: str = OURS) -> str:
    return _summed(f"rate({series(name, more, ours)}{window})", by)


def increase(name: str, more: str = "", by: str = "", window: str = RANGE, ours: str = OURS) -> str:
    return _summed(f"increase({series(name, more, ours)}{window})", by)


def share(part: str, whole: str) -> str:
    """Part and whole are added up before they are divided; no division by nothing."""
    return f"{part} / ({whole} > 0)"


def quantile(at: float, name: str, by: str = "", ours: str = OURS) -> str:
    le = f"{by}, le" if by else "le"
    return f"histogram_quantile({at}, {rate(f'{name}_bucket', by=le, ours=ours)})"


def quantiles(name: str, *at: float) -> list[Query]:
    return [Query(quantile(each, name), f"p{round(100 * each)}") for each in at]


def _summed(expr: str, by: str) -> str:
    return f"sum by ({by}) ({expr})" if by else f"sum({expr})"


def at_least(target: float) -> Sequence[tuple[float | None, str]]:
    return ((None, RED), (target, GREEN))


def at_most(target: float) -> Sequence[tuple[float | None, str]]:
    return ((None, GREEN), (target, RED))
