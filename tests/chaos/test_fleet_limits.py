"""Three processes on the vendors' own windows, at full length: none is exceeded, 97 % is used."""

from __future__ import annotations

import uuid
from random import Random

import pytest

from enricher.catalogue import Window
from enricher.limits.bucket import SLACK
from enricher.mongo import server
from tests.support.callers import most_within, processes

pytestmark = [pytest.mark.money, pytest.mark.timeout(180)]

SECONDS = 75


@pytest.mark.parametrize("windows", [(Window(600, 60),), (Window(10, 1), Window(300, 60))])
async def test_a_fleet_uses_97_percent_of_a_minute_and_never_more_than_all(
    mongodb_uri: str, windows: tuple[Window, ...]
) -> None:
    database = f"test_{uuid.uuid4().hex}"
    async with server.connect(mongodb_uri, pool=2) as client:
        try:
            each = await processes(3, mongodb_uri, database, windows, SECONDS, callers=20)
        finally:
            await client.drop_database(database)
    random, times = Random(1), sorted(at for calls in each for at in calls)
    arrivals = sorted(at + (SLACK / 2) * random.random() for at in times)
    for window in windows:
        assert most_within(window.seconds, arrivals) <= window.calls
        assert most_within(window.seconds, times) <= window.calls
    assert most_within(60, times) >= 0.97 * windows[-1].calls
