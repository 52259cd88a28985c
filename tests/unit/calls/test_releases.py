"""Leads that a provider held are called back when the hold is over, and as long as it takes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from pymongo.errors import AutoReconnect

from enricher.answer import Held
from enricher.calls.question import Gate
from enricher.calls.releases import Releases
from enricher.catalogue import Window
from tests.support.scripted import company, provider
from tests.support.waiting import eventually

HOLD = Held("key refused", 3600)


@dataclass
class Queue:
    """Stands in for the leads: who was called back, and at what pace."""

    errors: int = 0
    calls: list[tuple[str, float]] = field(default_factory=list)
    then: Callable[[], object] = lambda: None
    """What comes of it at once."""

    async def bring_back(self, name: str, per_second: float, _: asyncio.Event) -> int:
        if self.errors:
            self.errors -= 1
            raise AutoReconnect
        self.calls.append((name, per_second))
        self.then()
        return 1


def gate(name: str) -> Gate:
    return Gate(provider(name, company(name="Acme"), windows=(Window(20, 1), Window(300, 60))))


@asynccontextmanager
async def watching(queue: Queue, *gates: Gate, lead_seconds: float = 60) -> AsyncIterator[Releases]:
    stop = asyncio.Event()
    releases = Releases(gates, queue.bring_back, lead_seconds, look_seconds=0.01)
    running = asyncio.create_task(releases.run(stop))
    try:
        yield releases
    finally:
        stop.set()
        await running


async def is_seen(releases: Releases, name: str) -> None:
    await eventually(lambda: name in releases._held)


async def test_leads_are_called_back_at_the_pace_of_the_limit_when_a_hold_is_over() -> None:
    queue, held, other = Queue(), gate("acme"), gate("other")
    async with watching(queue, held, other) as releases:
        held.limiter.hold(HOLD)
        await is_seen(releases, "acme")
        assert queue.calls == []
        held.limiter.release()
        await eventually(lambda: queue.calls)
    assert queue.calls == [("acme", 5.0)]


async def test_they_are_called_back_again_when_whoever_was_in_work_is_done() -> None:
    queue, held = Queue(), gate("acme")
    async with watching(queue, held, lead_seconds=0.2) as releases:
        held.limiter.hold(HOLD)
        await is_seen(releases, "acme")
        held.limiter.release()
        await eventually(lambda: len(queue.calls) == 2)
        await asyncio.sleep(0.1)
    assert len(queue.calls) == 2


async def test_nobody_is_called_back_to_a_provider_that_is_held_again() -> None:
    queue, held = Queue(), gate("acme")
    async with watching(queue, held, lead_seconds=0.3) as releases:
        held.limiter.hold(HOLD)
        await is_seen(releases, "acme")
        queue.then = lambda: held.limiter.hold(HOLD)
        held.limiter.release()
        await eventually(lambda: queue.calls)
        await asyncio.sleep(0.5)
    assert len(queue.calls) == 1


async def test_a_database_that_is_away_is_waited_out() -> None:
    queue, held = Queue(errors=2), gate("acme")
    async with watching(queue, held) as releases:
        held.limiter.hold(HOLD)
        await is_seen(releases, "acme")
        held.limiter.release()
        await eventually(lambda: not releases.outage.is_over)
        await eventually(lambda: queue.calls)
        await eventually(lambda: releases.outage.is_over)


async def test_a_restart_calls_back_those_whose_hold_it_ended_once_the_work_runs() -> None:
    queue, gates = Queue(), (gate("acme"), gate("other"))
    stop = asyncio.Event()
    releases = Releases(gates, queue.bring_back, 60, look_seconds=0.01)
    releases.call_back(["acme"])
    assert queue.calls == []
    running = asyncio.create_task(releases.run(stop))
    await eventually(lambda: queue.calls)
    stop.set()
    await running
    assert queue.calls == [("acme", 5.0)]


async def test_a_restart_calls_back_those_of_a_provider_that_is_asked_no_more() -> None:
    """Its budget may last for the rest of a month, and nobody is left to notice the end of it."""
    queue, stop = Queue(), asyncio.Event()
    releases = Releases([gate("acme")], queue.bring_back, 60, look_seconds=0.01, gone=("other",))
    releases.call_back(releases.gone)
    running = asyncio.create_task(releases.run(stop))
    await eventually(lambda: queue.calls)
    stop.set()
    await running
    assert [name for name, _ in queue.calls] == ["other"]


async def test_while_the_indexes_are_built_nobody_is_called_back_and_all_are_afterwards() -> None:
    queue, held, stop, can_search = Queue(), gate("acme"), asyncio.Event(), asyncio.Event()
    releases = Releases(
        [held], queue.bring_back, 60, can_search=can_search.is_set, look_seconds=0.01
    )
    releases.call_back(["acme"])
    running = asyncio.create_task(releases.run(stop))
    await asyncio.sleep(0.1)
    assert queue.calls == []
    can_search.set()
    await eventually(lambda: queue.calls)
    stop.set()
    await running
