"""A hot lead does not wait behind the cold ones, however many stand there and whatever the limits."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from tests.support.urgency import EXTREMES, NUMBERS, WORDS, rush
from tests.support.waiting import business

BACKLOG = 2_000
HOT = 5
SOON_SECONDS = 10.0
"""Of the 300 that the backlog takes. On a calm machine it is below one."""


@pytest.mark.timeout(90)
@pytest.mark.parametrize(
    "temperatures", [WORDS, NUMBERS, EXTREMES], ids=["words", "numbers", "1e308"]
)
async def test_a_hot_lead_overtakes_a_backlog_that_only_waits_for_a_limit(
    mongodb_uri: str, temperatures: Mapping[str, object]
) -> None:
    async with rush(mongodb_uri, BACKLOG, temperatures) as rush_hour:
        for number in range(HOT):
            await rush_hour.insert_hot(f"hot {number}")
        assert rush_hour.judge.beyond(rush_hour.rig) == []
    print(rush_hour.report())  # noqa: T201 - a figure for people
    assert max(rush_hour.seconds) < SOON_SECONDS * business()
