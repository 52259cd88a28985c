"""Makes the dashboards' JSON with Grafana's Foundation SDK: `python deploy/grafana/generate.py`.

The JSON is committed, so that nobody needs the SDK to use it; a test makes it again and compares.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from pathlib import Path

from grafana_foundation_sdk.builders import common, prometheus, stat, timeseries
from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models.common import (
    BigValueGraphMode,
    GraphTresholdsStyleMode,  # sic
    LegendDisplayMode,
    LegendPlacement,
    StackingMode,
    TooltipDisplayMode,
)
from overview import OVERVIEW
from panels import RANGE, Board, Panel
from providers import PROVIDERS

BOARDS = {"overview.json": OVERVIEW, "providers.json": PROVIDERS}
DIRECTORY = Path(__file__).parent / "dashboards"
_SOURCE = model.DataSourceRef("prometheus", "${datasource}")
_HEIGHT = 8
_STAT_HEIGHT = 4


def as_json(board: Board) -> str:
    """The dashboard as it is committed."""
    return JSONEncoder(sort_keys=True, indent=2).encode(_dashboard(board).build()) + "\n"


def _dashboard(board: Board) -> build.Dashboard:
    made = (
        build.Dashboard(board.title)
        .uid(board.uid)
        .description(board.description)
        .tags(["enricher"])
        .readonly()
        .tooltip(model.DashboardCursorSync.CROSSHAIR)
        .time("now-6h", "now")
        .refresh("30s")
        .timezone("browser")
        .link(
            build.DashboardLink("enricher")
            .type(model.DashboardLinkType.DASHBOARDS)
            .tags(["enricher"])
            .include_vars(True)
            .keep_time(True)
        )
    )
    for variable in _variables(board):
        made = made.with_variable(variable)
    numbers = count(1)
    for row in board.rows:
        made = made.with_row(build.Row(row.title).id(next(numbers)))
        for panel in row.panels:
            made = made.with_panel(_panel(panel).id(next(numbers)))
    return made


def _variables(board: Board) -> Sequence[build.DatasourceVariable | build.QueryVariable]:
    source = build.DatasourceVariable("datasource").label("Data Source").type("prometheus")
    choices = [
        ("job", "label_values(enricher_build_info, job)"),
        ("instance", 'label_values(enricher_build_info{job=~"$job"}, instance)'),
    ]
    if board.has_providers:
        asked = 'enricher_provider_requests_total{job=~"$job"}'
        choices.append(("provider", f"label_values({asked}, provider)"))
    return [source, *(_choice(name, query) for name, query in choices)]


def _choice(name: str, query: str) -> build.QueryVariable:
    return (
        build.QueryVariable(name)
        .label(name)
        .datasource(_SOURCE)
        .query(query)
        .refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(model.VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        .all_value(".+")
        .current(model.VariableOption(True, "All", "$__all"))
    )


def _panel(panel: Panel) -> stat.Panel | timeseries.Panel:
    made: stat.Panel | timeseries.Panel
    if panel.kind == "stat":
        last = common.ReduceDataOptions().calcs(["lastNotNull"])
        made = stat.Panel().height(_STAT_HEIGHT).graph_mode(BigValueGraphMode.AREA)
        made = made.reduce_options(last)
    else:
        made = _drawn(panel)
    made = made.title(panel.title).description(panel.description).unit(panel.unit)
    made = made.span(panel.width).datasource(_SOURCE).min(0)
    if panel.most is not None:
        made = made.max(panel.most)
    if panel.steps:
        made = made.thresholds(_thresholds(panel))
    for place, query in enumerate(panel.queries):
        target = prometheus.Dataquery().expr(query.expr).ref_id(chr(ord("A") + place))
        target = target.legend_format(query.legend or panel.title)
        is_of_all = RANGE in query.expr  # one figure for all that is shown
        made = made.with_target(target.instant() if is_of_all else target.range())
    return made


def _drawn(panel: Panel) -> timeseries.Panel:
    """Lines; the promise as a line of its own."""
    legend = (
        common.VizLegendOptions()
        .display_mode(LegendDisplayMode.LIST)
        .placement(LegendPlacement.BOTTOM)
        .show_legend(True)
    )
    tooltip = common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI)
    made = timeseries.Panel().height(_HEIGHT).legend(legend).tooltip(tooltip).fill_opacity(10)
    if panel.is_stacked:
        made = made.stacking(common.StackingConfig().mode(StackingMode.NORMAL)).fill_opacity(40)
    if panel.is_target:
        line = common.GraphThresholdsStyleConfig().mode(GraphTresholdsStyleMode.DASHED)
        made = made.thresholds_style(line)
    return made


def _thresholds(panel: Panel) -> build.ThresholdsConfig:
    steps = [model.Threshold(value, color) for value, color in panel.steps]
    return build.ThresholdsConfig().mode(model.ThresholdsMode.ABSOLUTE).steps(steps)


def main() -> None:
    for name, board in BOARDS.items():
        (DIRECTORY / name).write_text(as_json(board), "utf-8")


if __name__ == "__main__":
    main()
