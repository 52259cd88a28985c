"""Memory for vendors' answers: large ones wait for each other, and waiting costs them nothing."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvloop
from aiohttp import web
from yarl import URL

from enricher.answer import Reply
from enricher.providers.transport import (
    BYTES,
    MAX_BODY_BYTES,
    SMALL,
    Client,
    Room,
    Share,
    open_client,
)
from tests.support.waiting import business

LARGE = 1_600_000


@asynccontextmanager
async def asking(body: bytes, room: Room, **headers: str) -> AsyncIterator[tuple[Client, URL]]:
    """A client of its own room, and the address of who answers with this."""

    async def answer(request: web.Request) -> web.Response:
        return web.Response(body=body, headers=headers)

    app = web.Application()
    app.router.add_get("/", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        async with open_client() as client:
            client._room = room
            yield client, URL(f"http://127.0.0.1:{runner.addresses[0][1]}/")
    finally:
        await runner.cleanup()


async def _all_of(bodies: int) -> tuple[list[Reply], Room]:
    room = Room()
    async with asking(b"x" * LARGE, room) as (client, url):
        replies = await asyncio.gather(*(client.fetch("GET", url, {}) for _ in range(bodies)))
    return replies, room


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def test_large_bodies_are_read_to_their_end_and_leave_no_room_taken(
    run: Callable[..., Any],
) -> None:
    replies, room = run(_all_of(20))
    assert {(len(reply.body), reply.flaw) for reply in replies} == {(LARGE, "")}
    assert room.free == BYTES


@pytest.mark.parametrize("packed", [False, True])
async def test_a_large_answer_waits_for_room_and_its_time_stands_still(packed: bool) -> None:
    room = Room()
    await room.take(BYTES)
    body = gzip.compress(b"x" * LARGE) if packed else b"x" * LARGE
    headers = {"Content-Encoding": "gzip"} if packed else {}
    async with asking(body, room, **headers) as (client, url):
        limit = 0.3 * business()
        reading = asyncio.create_task(client.fetch("GET", url, {}, limit))
        await asyncio.sleep(limit + 0.3)  # longer than the call may take
        assert not reading.done()
        room.give_back(BYTES)
        reply = await reading
    assert (len(reply.body), reply.flaw) == (LARGE, "")


@pytest.mark.parametrize(
    "body", [b"x" * SMALL, gzip.compress(b"x" * SMALL)], ids=["plain", "packed"]
)
async def test_a_small_answer_never_waits(body: bytes) -> None:
    room = Room()
    await room.take(BYTES)
    headers = {} if body.startswith(b"x") else {"Content-Encoding": "gzip"}
    async with asking(body, room, **headers) as (client, url):
        assert len((await client.fetch("GET", url, {})).body) == SMALL


async def test_the_room_is_kept_until_the_answer_is_stored() -> None:
    room = Room()
    async with asking(b"x" * LARGE, room) as (client, url):
        with Share(room):
            await client.fetch("GET", url, {})
            assert room.free <= BYTES - LARGE
        assert room.free == BYTES


@pytest.mark.parametrize(
    "body",
    [b"x" * (MAX_BODY_BYTES + 1), gzip.compress(b"x" * (MAX_BODY_BYTES + 1))],
    ids=["plain", "packed"],
)
async def test_what_is_larger_than_any_answer_takes_none(body: bytes) -> None:
    room = Room()
    headers = {} if body.startswith(b"x") else {"Content-Encoding": "gzip"}
    async with asking(body, room, **headers) as (client, url):
        with Share(room):
            assert (await client.fetch("GET", url, {})).flaw == "the body is too large"
            assert room.free == BYTES


async def test_who_gives_up_waiting_leaves_the_place_to_the_next() -> None:
    room = Room(10)
    await room.take(10)
    first, second = (asyncio.create_task(room.take(8)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    room.give_back(10)
    await second
    assert room.free == 2


async def test_who_gives_up_in_the_moment_of_the_turn_gives_it_back() -> None:
    room = Room(10)
    await room.take(10)
    waiting = asyncio.create_task(room.take(8))
    await asyncio.sleep(0)
    room.give_back(10)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert room.free == 10
