"""The simulator as a witness: strict windows, the journal of every call, and its life."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import httpx
import pytest

from enricher.catalogue import Window
from enricher.simulator.journal import Journal
from enricher.simulator.server import Simulator
from enricher.simulator.vendor import SlidingLog
from tests.support.plain_http import plain_client
from tests.support.vendor_client import ACCOUNT, FIND, VERIFY, Client, client_of


@pytest.fixture
async def ask() -> AsyncIterator[Client]:
    async with client_of(Simulator(seed=1)) as client:
        yield client


def test_a_window_lets_a_call_in_again_exactly_when_the_oldest_leaves() -> None:
    log = SlidingLog([Window(2, 10)])
    verdicts = [log.judge(now) for now in (0.0, 6.0, 9.99, 10.0, 15.9, 16.0)]
    assert [verdict is not None and verdict.admitted for verdict in verdicts] == [
        True,
        True,
        False,
        True,
        False,
        True,
    ]


def test_the_tightest_of_several_windows_decides() -> None:
    log = SlidingLog([Window(2, 1), Window(3, 60)])
    verdicts = [log.judge(now) for now in (0.0, 0.1, 0.2, 1.5, 3.0)]
    assert [verdict.admitted for verdict in verdicts if verdict] == [True, True, False, True, False]
    assert verdicts[-1] is not None
    assert verdicts[-1].reset_in == pytest.approx(57)


async def test_a_call_over_the_limit_is_refused_and_flagged() -> None:
    async with client_of(Simulator(windows={"clearbit": [(2, 60)]})) as ask:
        assert await ask.statuses(FIND, 3, domain="brisk-lemur.com") == [200, 200, 429]
        over = ask.journal.calls(over_limit=True)
        assert [(entry.number, entry.status, entry.charged) for entry in over] == [(3, 429, False)]


async def test_waiting_until_the_reset_is_enough() -> None:
    async with client_of(Simulator(windows={"clearbit": [(1, 0.5)]})) as ask:
        while (refused := await ask.get(FIND, domain="brisk-lemur.com")).status_code != 429:
            pass  # a busy machine may take longer for two calls than the window
        assert "Retry-After" not in refused.headers
        await asyncio.sleep(int(refused.headers["X-RateLimit-Reset"]) - time.time())
        assert (await ask.get(FIND, domain="brisk-lemur.com")).status_code == 200


async def test_the_account_is_outside_of_the_verifiers_windows() -> None:
    async with client_of(Simulator(windows={"hunter/email-verifier": [(1, 60)]})) as ask:
        assert await ask.statuses(VERIFY, 2, email="a@b.io") == [200, 403]
        assert await ask.statuses(ACCOUNT, 2) == [200, 200]


async def test_the_journal_knows_what_was_asked_and_what_it_cost(ask: Client) -> None:
    await ask.get(FIND, domain="Brisk-Lemur.com")
    (entry,) = ask.journal.calls(vendor="clearbit", question="brisk-lemur.com")
    assert (entry.route, entry.status, entry.charged, entry.key) == (
        "companies/find",
        200,
        True,
        "ok",
    )
    assert abs(entry.arrived_at - time.time()) < 5
    assert entry.duration is not None


async def test_the_busiest_window_and_repeats_are_counted(ask: Client) -> None:
    await asyncio.gather(*(ask.get(VERIFY, email="a@b.io") for _ in range(5)))
    await ask.get(FIND, domain="brisk-lemur.com")
    assert ask.journal.busiest_window("hunter", 60) == 5
    assert ask.journal.busiest_window("clearbit/companies/find", 60) == 1
    assert ask.journal.answered_twice("hunter") == {"a@b.io": 5}


async def test_latency_holds_calls_in_flight_but_not_the_charge() -> None:
    async with client_of(Simulator(latency=0.2)) as ask:
        async with asyncio.TaskGroup() as group:
            for number in range(3):
                group.create_task(ask.get(FIND, domain=f"lemur-{number}.com"))
            await ask.journal.until(lambda: ask.journal.billing["clearbit"].charged == 3)
            assert len(ask.journal.calls(charged=True, duration=None)) == 3
        assert ask.journal.most_in_flight("clearbit") == 3


async def test_a_client_that_hangs_up_is_noted_and_has_paid() -> None:
    async with client_of(Simulator(latency=30)) as ask:
        call = asyncio.create_task(ask.get(FIND, domain="brisk-lemur.com"))
        await ask.journal.until(lambda: bool(ask.journal.calls(charged=True)))
        call.cancel()
        await ask.journal.until(lambda: bool(ask.journal.calls(abandoned=True)))
        assert ask.journal.calls(abandoned=True)[0].charged


async def test_the_journal_forgets_the_oldest_calls_and_says_so() -> None:
    journal = Journal(keep=3)
    for number in range(5):
        journal.close(journal.open("clearbit", "companies/find", f"lemur-{number}.com"))
    assert [entry.number for entry in journal] == [3, 4, 5]
    assert [entry.number for entry in journal.since(4, 10)] == [5]
    assert (journal.dropped, journal.billing["clearbit"].calls) == (2, 5)


async def test_a_stopped_simulator_starts_again_on_its_port_with_its_journal() -> None:
    async with plain_client() as http:
        simulator = Simulator()
        await simulator.start()
        url, port = simulator.url, int(simulator.url.rpartition(":")[2])
        await Client(simulator, http).get(FIND, domain="brisk-lemur.com")
        await simulator.stop()
        with pytest.raises(httpx.ConnectError):
            await http.get(url)
        await simulator.start(port=port)
        await Client(simulator, http).get(FIND, domain="brisk-lemur.com")
        await simulator.stop()
    assert [entry.charged for entry in simulator.journal] == [True, False]
