"""How series are made: one registry, and what is in it besides our own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any, TypeVar

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    disable_created_metrics,
)
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

Metric = TypeVar("Metric", Counter, Gauge, Histogram)

disable_created_metrics()  # type: ignore[no-untyped-call]  # they double what is to be stored

REGISTRY = CollectorRegistry(auto_describe=True)
ProcessCollector(registry=REGISTRY)
PlatformCollector(registry=REGISTRY)
GCCollector(registry=REGISTRY)


def info(name: str, meaning: str) -> Info:
    return Info(name, meaning, registry=REGISTRY)


def counter(name: str, meaning: str, *labels: str, **known: Sequence[str]) -> Counter:
    """`known` are labels with all the values that they can have: these series are there with 0."""
    made = Counter(name, meaning, [*labels, *known], registry=REGISTRY)
    _begin(made, labels, known)
    return made


def gauge(name: str, meaning: str, *labels: str, **known: Sequence[str]) -> Gauge:
    """As `counter`."""
    made = Gauge(name, meaning, [*labels, *known], registry=REGISTRY)
    _begin(made, labels, known)
    return made


_CHILDREN: dict[tuple[object, ...], Any] = {}


def child(metric: Metric, *labels: str) -> Metric:
    """The series with these values of its labels. `labels` makes texts of them and takes a lock each
    time, which for what every call touches is more than the counting itself."""
    key = (metric, *labels)
    found: Metric | None = _CHILDREN.get(key)
    if found is None:
        found = _CHILDREN[key] = metric.labels(*labels)
    return found


def _begin(
    made: Counter | Gauge, labels: Sequence[str], known: Mapping[str, Sequence[str]]
) -> None:
    if known and not labels:
        for values in product(*known.values()):
            made.labels(*values)


def histogram(name: str, meaning: str, *labels: str, buckets: Sequence[float]) -> Histogram:
    return Histogram(name, meaning, labels, buckets=buckets, registry=REGISTRY)
