"""Leads that cannot be taken are told as often as that is news."""

from __future__ import annotations

from loguru import logger

from enricher.queue.lanes import Aside


def test_a_lead_that_is_refused_at_each_look_is_told_once() -> None:
    told: list[str] = []
    sink = logger.add(told.append, level="ERROR", format="{message}")
    try:
        aside = Aside()
        for _ in range(3):
            aside.put(1, 17419, "admit")
        aside.put(2, 17419, "admit")
    finally:
        logger.remove(sink)
    assert [line.strip() for line in told] == ["lead.unwritable"] * 2
    assert aside.leads == 2
