"""`enricher status`: the whole fleet, once or until Ctrl-C. Uses only the database, and only reads it."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import NoReturn

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from enricher import wiring
from enricher.commands.database import explained, opened
from enricher.mongo import DatabaseTrouble
from enricher.mongo.outage import describe
from enricher.process.signals import end_if_cancelled
from enricher.settings.load import Settings
from enricher.status.overview import Overview
from enricher.status.picture import FleetStatus
from enricher.status.picture import as_json as status_as_json
from enricher.status.view import shown

_REFRESH_SECONDS = 2.0
_WIDE = 160
_FEW, _MANY = 10, 50
"""Ended claims to list: as many as leave room on a terminal, or all."""


@asynccontextmanager
async def _overview(settings: Settings) -> AsyncIterator[Overview]:
    async with opened(settings) as database, wiring.vendors(settings) as registered:
        yield Overview(settings, database, registered)


def wide_console() -> Console:
    """Make a console that, in a pipe, truncates nothing for a screen that is not there, unless COLUMNS is set."""
    width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else _WIDE
    return Console(width=width, highlight=False, markup=False, emoji=False)


async def once(settings: Settings, *, as_json: bool) -> None:
    """Print the status. Raises DatabaseError when nothing can be read."""
    console = wide_console()
    async with _overview(settings) as overview:
        with explained("reading the status"):
            status = await overview.status()
    if as_json:
        console.out(status_as_json(status), highlight=False)
    else:
        console.print(shown(status, last=_MANY))


async def watched(settings: Settings) -> None:
    """Refresh until Ctrl-C; in a pipe, print one after the other. Once started, it outlives an outage and says so."""
    console = wide_console()
    async with _overview(settings) as overview:
        with explained("reading the status"):
            first = shown(await overview.status(), last=_FEW)
        if not console.is_terminal:
            console.print(first)
            await _refresh(overview, first, console.print)
        with Live(first, console=console, screen=True, auto_refresh=False) as live:
            await _refresh(overview, first, partial(live.update, refresh=True))


async def _refresh(
    overview: Overview, seen: RenderableType, show: Callable[[RenderableType], None]
) -> NoReturn:
    while True:
        await asyncio.sleep(_REFRESH_SECONDS)
        end_if_cancelled()
        seen = await look_again(overview.status, seen, show)


async def look_again(
    read: Callable[[], Awaitable[FleetStatus]],
    seen: RenderableType,
    show: Callable[[RenderableType], None],
) -> RenderableType:
    """Show the new status; while MongoDB is away, show the last one and say that it is old."""
    try:
        seen = shown(await read(), last=_FEW)
    except DatabaseTrouble as error:
        show(Group(_stale(error), seen))
    else:
        show(seen)
    return seen


def _stale(error: Exception) -> Text:
    return Text(f"MongoDB does not answer ({describe(error)}): this is old.", style="bold red")
