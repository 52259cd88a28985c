"""A dashboard drawn as a picture: the same panels at the same places, with the data of a Prometheus."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator
from PIL import Image

from tests.deploy.live import Prometheus
from tests.deploy.promql import without_variables

_COLUMN, _LINE = 0.75, 0.42
"""Inches of a unit of Grafana's grid."""
_BACKGROUND, _PANEL, _TEXT, _FAINT = "#111217", "#181b1f", "#d8d9da", "#44484f"
_COLOURS = ("#73bf69", "#5794f2", "#ff9830", "#f2495c", "#b877d9", "#fade2a", "#8ab8ff", "#ff7383",
            "#96d98d", "#ffb357", "#ca95e5", "#37872d")  # fmt: skip
_NAMED = {"green": "#73bf69", "yellow": "#fade2a", "red": "#f2495c", "blue": "#5794f2"}
_MOST_LINES = 12
_POINTS = 160
_SHADES = 128


@dataclass(frozen=True, slots=True)
class Series:
    name: str
    at: Sequence[float]
    """Seconds from the beginning."""
    values: Sequence[float]


async def seen(
    prometheus: Prometheus, board: dict[str, Any], start: float, end: float, window: str
) -> list[list[Series]]:
    """What each panel of the dashboard would show from `start` to `end`."""
    return [
        await _series_of(prometheus, panel, start, end, window)
        for panel in board["panels"]
        if panel["type"] != "row"
    ]


async def _series_of(
    prometheus: Prometheus, panel: dict[str, Any], start: float, end: float, window: str
) -> list[Series]:
    found = []
    for target in panel["targets"]:
        expr = without_variables(target["expr"], window, f"{int(end - start)}s")
        step = max(1.0, (end - start) / _POINTS)
        for series in await prometheus.over(expr, start, end, step):
            name = _legend(target["legendFormat"], series["metric"])
            at = [float(moment) - start for moment, _ in series["values"]]
            found.append(Series(name, at, [float(value) for _, value in series["values"]]))
    return found


def _legend(template: str, labels: dict[str, str]) -> str:
    return re.sub(r"{{(\w+)}}", lambda found: labels.get(found[1], ""), template)


def picture(board: dict[str, Any], data: Sequence[list[Series]]) -> bytes:
    """A PNG of the dashboard with what was `seen`."""
    lines = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in board["panels"])
    figure = Figure(figsize=(24 * _COLUMN, lines * _LINE + 0.5), facecolor=_BACKGROUND)
    figure.text(
        0.008, 1 - 0.12 / (lines * _LINE), board["title"], color=_TEXT, fontsize=15, va="top"
    )
    series = iter(data)
    for panel in board["panels"]:
        if panel["type"] == "row":
            _title_of_row(figure, panel, lines)
        else:
            _draw_panel(figure, panel, next(series), lines)
    return _as_png(figure)


def _as_png(figure: Figure) -> bytes:
    """With few colours: a third of the size, and nobody sees it."""
    drawn, small = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png", dpi=62, facecolor=_BACKGROUND)
    Image.open(drawn).convert("RGB").quantize(_SHADES).save(small, format="png", optimize=True)
    return small.getvalue()


def _title_of_row(figure: Figure, panel: dict[str, Any], lines: int) -> None:
    height = lines * _LINE + 0.5
    y = 1 - (panel["gridPos"]["y"] * _LINE + 0.5 + 0.3) / height
    figure.text(0.008, y, panel["title"], color="#9fa7b3", fontsize=13, weight="bold")


def _draw_panel(figure: Figure, panel: dict[str, Any], series: list[Series], lines: int) -> None:
    place, height = panel["gridPos"], lines * _LINE + 0.5
    left, width = place["x"] / 24, place["w"] / 24
    bottom = 1 - ((place["y"] + place["h"]) * _LINE + 0.5) / height
    tall = place["h"] * _LINE / height
    frame = figure.add_axes(
        (left + 0.003, bottom + 0.05 / height, width - 0.006, tall - 0.1 / height)
    )
    frame.set_facecolor(_PANEL)
    frame.set_xticks([])
    frame.set_yticks([])
    for spine in frame.spines.values():
        spine.set_color("#25292e")
    frame.set_title(panel["title"], color=_TEXT, fontsize=10.5, loc="left", y=1, pad=-14, x=0.015)
    if panel["type"] == "stat":
        _draw_stat(frame, panel, series)
        return
    inside = figure.add_axes(
        (left + 0.033, bottom + 0.95 / height, width - 0.043, tall - 1.4 / height)
    )
    _draw_lines(inside, panel, series)


def _draw_stat(frame: Axes, panel: dict[str, Any], series: list[Series]) -> None:
    value = (
        next((v for v in reversed(series[0].values) if not math.isnan(v)), None) if series else None
    )
    defaults = panel["fieldConfig"]["defaults"]
    text = "no data" if value is None else _readable(value, defaults["unit"])
    if len(series) == 1 and series[0].name != panel["title"]:
        text += f"  {series[0].name}"
    colour = _FAINT if value is None else _colour_of(value, defaults.get("thresholds", {}))
    frame.text(
        0.5,
        0.4,
        text,
        color=colour,
        fontsize=25,
        ha="center",
        va="center",
        transform=frame.transAxes,
    )


def _colour_of(value: float, thresholds: dict[str, Any]) -> str:
    colour = "green"
    for step in thresholds.get("steps", ()):
        if step["value"] is None or value >= step["value"]:
            colour = step["color"]
    return _NAMED[colour]


def _draw_lines(axes: Axes, panel: dict[str, Any], series: list[Series]) -> None:
    shown = sorted(series, key=_size, reverse=True)[:_MOST_LINES]
    defaults, custom = (
        panel["fieldConfig"]["defaults"],
        panel["fieldConfig"]["defaults"].get("custom", {}),
    )
    axes.set_facecolor(_PANEL)
    is_stacked = custom.get("stacking", {}).get("mode") == "normal"
    for number, each in enumerate(shown):
        colour = _COLOURS[number % len(_COLOURS)]
        axes.plot(each.at, each.values, color=colour, linewidth=1.4, label=each.name)
        axes.fill_between(each.at, each.values, color=colour, alpha=0.3 if is_stacked else 0.06)
    if custom.get("thresholdsStyle", {}).get("mode") == "dashed":
        for step in defaults["thresholds"]["steps"][1:]:
            axes.axhline(step["value"], color="#f2495c", linewidth=1.2, linestyle=(0, (5, 4)))
    if not series:
        axes.text(0.5, 0.5, "no data", color=_FAINT, ha="center", transform=axes.transAxes)
    _dress(axes, defaults, len(shown))


def _size(series: Series) -> float:
    return max((value for value in series.values if not math.isnan(value)), default=0.0)


def _dress(axes: Axes, defaults: dict[str, Any], lines: int) -> None:
    axes.set_ylim(bottom=0)
    if "max" in defaults:
        axes.set_ylim(top=defaults["max"] * 1.02)
    axes.grid(color="#2a2d33", linewidth=0.6)
    axes.tick_params(colors="#9fa7b3", labelsize=8.5, length=0)
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 3, 6, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda at, _: f"{at // 60:.0f}:{at % 60:02.0f}"))
    unit = defaults["unit"]
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _readable(value, unit)))
    for spine in axes.spines.values():
        spine.set_visible(False)
    if lines:
        axes.legend(
            loc="upper left", bbox_to_anchor=(-0.1, -0.1), ncols=3, fontsize=8.5, frameon=False,
            labelcolor=_TEXT, handlelength=1, columnspacing=1, borderaxespad=0, labelspacing=0.25,
        )  # fmt: skip


def _readable(value: float, unit: str) -> str:
    if unit == "percentunit":
        return f"{100 * value:.3g} %"
    if unit == "bytes":
        return f"{value / 2**20:.0f} MiB"
    if unit == "s":
        return f"{1000 * value:.3g} ms" if 0 < value < 1 else f"{value:.3g} s"
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"
