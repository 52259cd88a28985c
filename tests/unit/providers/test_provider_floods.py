"""Vendors whose answers never end, over real sockets, through the transport the daemon uses."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from pydantic import SecretStr

from enricher.answer import Query, Unavailable
from enricher.providers.base import Access
from enricher.providers.clearbit import ClearbitCompany
from enricher.providers.transport import MOST_OF_ALL, MOST_OF_HEAD, open_client
from tests.support.floods import FLOODS, flooding
from tests.support.waiting import business, patience

QUERY = Query(company_domain="acme.example")
BUFFERS = 12 * 1024 * 1024
"""What the kernel takes for a client that reads no more, at both ends."""
LONGEST_STALL = 0.5
"""Before there was a bound it was seconds."""


@asynccontextmanager
async def _loop_watched() -> AsyncIterator[list[float]]:
    """The work between the turns of the loop, in seconds of its CPU: the machine may be busy with other tests."""
    gaps: list[float] = []

    async def turn() -> None:
        last = time.thread_time()
        while True:
            await asyncio.sleep(0.005)
            now = time.thread_time()
            gaps.append(now - last)
            last = now

    task = asyncio.create_task(turn())
    try:
        yield gaps
    finally:
        task.cancel()


@pytest.mark.parametrize("name", FLOODS)
async def test_an_answer_without_an_end_is_given_up_soon(name: str) -> None:
    limit = 5 * business()
    with flooding(name) as flood:
        async with open_client() as http, _loop_watched() as gaps:
            provider = ClearbitCompany(http, Access(SecretStr("key"), flood.url, timeout=limit))
            began = time.monotonic()
            answer = await provider.ask(QUERY)
            took = time.monotonic() - began
            await asyncio.sleep(0.02)
    assert isinstance(answer, Unavailable) or name == "answers"
    assert took < 0.8 * limit, "it is not the time limit that ends it"
    assert flood.sent < MOST_OF_ALL + BUFFERS
    assert max(gaps) < LONGEST_STALL * business()


@pytest.mark.parametrize("name", ["early_hints", "headers", "chunk_extension", "trailers", "body"])
async def test_an_answer_that_drips_ends_with_the_time(name: str) -> None:
    with flooding(name, seconds=0.05) as flood:
        async with open_client() as http:
            provider = ClearbitCompany(http, Access(SecretStr("key"), flood.url, timeout=0.6))
            async with patience(5):
                answer = await provider.ask(QUERY)
    assert isinstance(answer, Unavailable)
    assert flood.sent < MOST_OF_HEAD


async def test_endless_hints_are_called_by_their_name() -> None:
    with flooding("early_hints") as flood:
        async with open_client() as http:
            provider = ClearbitCompany(http, Access(SecretStr("key"), flood.url, timeout=5))
            assert await provider.ask(QUERY) == Unavailable("the connection failed (endless)")
