"""A receiver of webhooks that takes what comes, or does what a test wants it to do."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from aiohttp import web

Behave: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Post:
    """One try as it came."""

    headers: Mapping[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def data(self) -> dict[str, Any]:
        data: dict[str, Any] = json.loads(self.body)["data"]
        return data


@dataclass(slots=True)
class Inbox:
    """What came, in order."""

    posts: list[Post] = field(default_factory=list)
    port: int = 0
    answer: Behave | None = None
    """What is answered instead of 204."""
    news: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook?key=a-secret-of-the-path"

    async def take(self, request: web.Request) -> web.StreamResponse:
        self.posts.append(Post(dict(request.headers.items()), await request.read()))
        self.news.set()
        if self.answer is not None:
            return await self.answer(request)
        return web.Response(status=204)

    def always(self, status: int, **headers: str) -> None:
        async def answer(_: web.Request) -> web.StreamResponse:
            return web.Response(status=status, headers=headers, body=b"no" * 100)

        self.answer = answer

    def reset(self) -> None:
        """Break each connection without a word."""

        async def answer(request: web.Request) -> web.StreamResponse:
            assert request.transport is not None
            request.transport.abort()
            return web.Response()

        self.answer = answer


@asynccontextmanager
async def open_inbox() -> AsyncIterator[Inbox]:
    inbox = Inbox()
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", inbox.take)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        inbox.port = runner.addresses[0][1]
        yield inbox
    finally:
        await runner.cleanup()
