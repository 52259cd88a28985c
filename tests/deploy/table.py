"""Every panel's expressions with what they come to, as text."""

from __future__ import annotations

from itertools import groupby

from tests.deploy.live import Prometheus
from tests.deploy.promql import Expression, of_panels, without_variables

_MOST = 6


async def table(prometheus: Prometheus, window: str) -> str:
    """One block for each panel: its expressions as Grafana would send them, and their values now."""
    lines = []
    for where, expressions in groupby(of_panels(), key=lambda each: each.where):
        lines.append(where)
        for each in expressions:
            lines.append(f"    {without_variables(each.expr, window)}")
            lines.append(f"        {await _values(prometheus, each, window)}")
    return "\n".join(lines) + "\n"


async def _values(prometheus: Prometheus, each: Expression, window: str) -> str:
    samples = await prometheus.query(without_variables(each.expr, window))
    words = [f"{_name(sample['metric'])}{float(sample['value'][1]):.4g}" for sample in samples]
    more = f", and {len(words) - _MOST} more" if len(words) > _MOST else ""
    return ", ".join(words[:_MOST]) + more or "no data"


def _name(labels: dict[str, str]) -> str:
    shown = [value for label, value in sorted(labels.items()) if label not in ("job", "__name__")]
    return f"{' '.join(shown)} " if shown else ""
