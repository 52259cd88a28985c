"""What the series of this process say now, for what tells of itself by them instead of counting again."""

from __future__ import annotations

from collections import defaultdict

from prometheus_client import Counter, Gauge


def by_provider(series: Counter | Gauge) -> dict[str, float]:
    """Provider -> the sum over all other labels."""
    found: defaultdict[str, float] = defaultdict(float)
    for family in series.collect():
        for sample in family.samples:
            found[sample.labels["provider"]] += sample.value
    return dict(found)


def value(gauge: Gauge) -> float:
    """Of a gauge without labels."""
    [family] = gauge.collect()
    return family.samples[0].value
