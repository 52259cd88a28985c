"""The leads as a command sees them, and its errors as one clear line each."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from random import Random
from typing import TypeVar

from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import OperationFailure

from enricher.errors import DatabaseError, DatabaseRefused, DatabaseUnreachable, SettingsError
from enricher.lead import Document
from enricher.mongo import DatabaseTrouble, expressions, refusal, server
from enricher.mongo.outage import describe, outage_pause
from enricher.mongo.refusal import is_refusal
from enricher.queue import book
from enricher.settings.load import Settings

Result = TypeVar("Result")

_CONNECTIONS = 4
_TRIES = 12
"""In a row, some 40 s of pauses besides what each takes: longer than a fail-over."""


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[AsyncDatabase[Document]]:
    """The database that holds the leads.

    Raises SettingsError without a MONGODB_URI, DatabaseError when MongoDB cannot be used.
    """
    if settings.mongo.uri is None:
        raise SettingsError(
            ["MONGODB_URI: not set; `enricher run` prints the address of its embedded server"]
        )
    async with server.connect(settings.mongo.uri.get_secret_value(), _CONNECTIONS) as client:
        await server.inspect(client, settings.mongo.database, settings.mongo.collection)
        yield client[settings.mongo.database]


def rank(settings: Settings) -> expressions.Expression:
    """How urgent a lead is, as daemons with the same settings have it."""
    return book.priority(settings.priority.field, list(settings.priority.order))


@contextmanager
def explained(doing: str) -> Iterator[None]:
    """Trouble becomes one line and an exit code; only type and code of what the driver says."""
    try:
        yield
    except DatabaseTrouble as error:
        raise _explanation(doing, error) from error


@contextmanager
def filtering() -> Iterator[None]:
    """Only reads by the operator's own filter: what MongoDB refuses there is the filter."""
    try:
        yield
    except OperationFailure as error:
        if not is_refusal(error):
            raise
        raise SettingsError(
            [f"--query: MongoDB refuses this filter (code {error.code})"]
        ) from error


async def patiently(doing: str, attempt: Callable[[], Awaitable[Result]]) -> Result:
    """The result, also when a fail-over or a cut comes in between; DatabaseError after a while.

    What is tried again must be safe to repeat.
    """
    random = Random()
    for failures in range(1, _TRIES):
        try:
            return await attempt()
        except DatabaseTrouble as error:
            if isinstance(error, OperationFailure) and is_refusal(error):
                raise _explanation(doing, error) from error
        await asyncio.sleep(outage_pause(failures, random))
    with explained(doing):
        return await attempt()


def _explanation(doing: str, error: Exception) -> DatabaseError:
    if getattr(error, "code", None) == refusal.UNAUTHORIZED:
        return DatabaseRefused(
            f"MongoDB refuses a privilege while {doing} (deploy/mongodb/role.js grants it)"
        )
    return DatabaseUnreachable(f"MongoDB failed while {doing}: {describe(error)}")
