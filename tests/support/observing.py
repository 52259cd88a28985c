"""What the daemon says of itself, as a test sees it: series and log lines."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from loguru import logger

from enricher.telemetry.metrics import REGISTRY


def counted(series: str, **labels: str) -> float:
    """The value of a series now; compare it with an earlier one, for it outlives the test."""
    return REGISTRY.get_sample_value(series, labels) or 0.0


@dataclass(frozen=True)
class Line:
    event: str
    fields: dict[str, Any]


@contextmanager
def logged() -> Iterator[list[Line]]:
    """Every line that is logged meanwhile."""
    lines: list[Line] = []

    def note(message: Any) -> None:
        lines.append(Line(message.record["message"], dict(message.record["extra"])))

    sink = logger.add(note, level="DEBUG", format="{message}")
    try:
        yield lines
    finally:
        logger.remove(sink)


def events(lines: list[Line], event: str) -> list[Line]:
    return [line for line in lines if line.event == event]
