"""A hot lead in a backlog of 50,000 cold ones, at vendors that take ten calls a second."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from random import Random

import pytest

from tests.support.urgency import NUMBERS, VENDOR_SECONDS, WORDS, rush

BACKLOG = int(os.environ.get("CHAOS_COLD", "50000"))
HOT = 20
MOST_SECONDS = 2.0 + VENDOR_SECONDS

pytestmark = [pytest.mark.money, pytest.mark.timeout(420)]


@pytest.mark.parametrize("daemons", [1, 3])
@pytest.mark.parametrize("temperatures", [WORDS, NUMBERS], ids=["words", "numbers"])
async def test_a_hot_lead_is_claimed_next_and_settled_within_two_seconds(
    mongodb_uri: str, temperatures: Mapping[str, object], daemons: int
) -> None:
    random = Random(1)
    async with rush(mongodb_uri, BACKLOG, temperatures, daemons) as rush_hour:
        for number in range(HOT):
            await rush_hour.insert_hot(f"hot {number}")
            await asyncio.sleep(random.uniform(0, 2))
        assert rush_hour.judge.beyond(rush_hour.rig) == []
    print(f"{BACKLOG} cold, {daemons} daemons, {rush_hour.report()}")  # noqa: T201 - for people
    assert max(rush_hour.seconds) <= MOST_SECONDS + rush_hour.judge.longest
