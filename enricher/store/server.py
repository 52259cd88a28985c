"""The connection to MongoDB, and what can be said of the server before work begins."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from pymongo import AsyncMongoClient
from pymongo.errors import (
    ConfigurationError,
    ConnectionFailure,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
)

from enricher.errors import DatabaseRefused, DatabaseUnreachable
from enricher.lead import Document

_SELECT_MS = 5_000
_OPERATION_MS = 10_000
"""Bound on every operation, its retries included: nothing waits for ever on a silent network."""
_UNAUTHORIZED = 13
_REFUSALS = {_UNAUTHORIZED, 18, 8000}
"""Unauthorized, AuthenticationFailed, and Atlas's own."""


@dataclass(frozen=True, slots=True)
class Server:
    """What the server says of itself."""

    version: str
    replica_set: str | None
    """Its name; `mongos` for a sharded cluster; `None` for a standalone server: no change streams."""


@asynccontextmanager
async def connect(uri: str, pool: int) -> AsyncIterator[AsyncMongoClient[Document]]:
    """A client for our kind of use. Nothing is sent yet.

    Dates beyond Python's range and text that is not UTF-8 are read as well as may be: one odd
    document must not make a whole batch unreadable.
    """
    client: AsyncMongoClient[Document] = AsyncMongoClient(
        uri,
        appname="enricher",
        maxPoolSize=pool,
        serverSelectionTimeoutMS=_SELECT_MS,
        timeoutMS=_OPERATION_MS,
        w="majority",
        retryWrites=True,
        tz_aware=True,
        datetime_conversion="DATETIME_AUTO",
        unicode_decode_error_handler="replace",
    )
    try:
        yield client
    finally:
        await client.close()


async def inspect(client: AsyncMongoClient[Document], database: str, leads: str) -> Server:
    """Reach the server and read one lead.

    Raises DatabaseUnreachable when nobody answers, DatabaseRefused when the credentials or
    privileges do not do.
    """
    try:
        hello = await client.admin.command("hello")
        await client[database][leads].find_one({}, {"_id": 1})
        build = await client.admin.command("buildInfo")
    except (ServerSelectionTimeoutError, ConnectionFailure) as error:
        raise DatabaseUnreachable(f"MongoDB cannot be reached: {_hosts(error)}") from error
    except OperationFailure as error:
        raise DatabaseRefused(_refusal(error)) from error
    except (ConfigurationError, PyMongoError) as error:
        raise DatabaseUnreachable(f"MongoDB cannot be used: {type(error).__name__}") from error
    name = "mongos" if hello.get("msg") == "isdbgrid" else hello.get("setName")
    return Server(build["version"], name)


def _hosts(error: PyMongoError) -> str:
    """The driver's first clause names host and cause ("127.0.0.1:1: connection refused")."""
    return str(error).split(" (configured timeouts")[0].split(", Timeout:")[0]


def _refusal(error: OperationFailure) -> str:
    if error.code in _REFUSALS:
        kind = (
            "the credentials"
            if error.code != _UNAUTHORIZED
            else "a privilege (see the role in the README)"
        )
        return f"MongoDB refuses {kind}: code {error.code}"
    return f"MongoDB refuses to answer: code {error.code}"
