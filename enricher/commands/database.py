"""The leads as a command sees them, what an operator typed to choose some, and how far a long command is.

Every error becomes one clear line.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from random import Random
from types import TracebackType
from typing import Self, TypeVar

import bson
from bson import ObjectId, json_util
from bson.errors import BSONError
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import OperationFailure
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from enricher.errors import DatabaseError, DatabaseRefused, DatabaseUnreachable, SettingsError
from enricher.identity.identify import identify
from enricher.lead import Document, Inputs, LeadId
from enricher.mongo import DatabaseTrouble, outage, server
from enricher.mongo.outage import describe, is_refusal, outage_pause
from enricher.settings import filters
from enricher.settings.load import Settings
from enricher.settings.sources import Source

Result = TypeVar("Result")

_CONNECTIONS = 4
_TRIES = 12
"""Tries in a row: some 40 s of pauses, besides what each try takes. That is longer than a fail-over."""


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[AsyncDatabase[Document]]:
    """Open the database that holds the leads.

    Raises SettingsError without a MONGODB_URI, DatabaseError when MongoDB cannot be used.
    """
    if settings.mongo.uri is None:
        raise SettingsError(
            ["MONGODB_URI: not set; `enricher run` prints the address of its embedded server"]
        )
    async with server.connect(settings.mongo.uri.get_secret_value(), _CONNECTIONS) as client:
        for source in settings.sources:
            of = settings.mongo.database, source.collection, source.results
            await server.inspect(client, *of)
        yield client[settings.mongo.database]


def chosen(settings: Settings, collection: str | None) -> Sequence[Source]:
    """Return the sources that `--collection` names: all of them without it. Raises SettingsError."""
    if collection is None:
        return settings.sources
    found = [source for source in settings.sources if source.collection == collection]
    if not found:
        raise SettingsError([f"--collection: leads are in {_listed(settings)}"])
    return found


def only_one(settings: Settings, collection: str | None) -> Source:
    """Return the source that `--collection` names, which it must where there are several. Raises SettingsError."""
    found, *others = chosen(settings, collection)
    if others:
        raise SettingsError([f"--collection: give one of {_listed(settings)}"])
    return found


def _listed(settings: Settings) -> str:
    return ", ".join(source.collection for source in settings.sources)


@contextmanager
def explained(doing: str) -> Iterator[None]:
    """Turn database trouble into one line and an exit code, with only type and code of the driver's error."""
    try:
        yield
    except DatabaseTrouble as error:
        raise _explanation(doing, error) from error


@contextmanager
def filtering() -> Iterator[None]:
    """Wrap reads by the operator's own filter only: a refusal there means that the filter is wrong."""
    try:
        yield
    except OperationFailure as error:
        if not is_refusal(error):
            raise
        raise SettingsError(
            [f"--query: MongoDB refuses this filter (code {error.code})"]
        ) from error


async def patiently(doing: str, attempt: Callable[[], Awaitable[Result]]) -> Result:
    """Return the result, across a fail-over or a lost connection; DatabaseError after a while.

    `attempt` must be safe to repeat.
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
    if getattr(error, "code", None) == outage.UNAUTHORIZED:
        return DatabaseRefused(
            f"MongoDB refuses a privilege while {doing} (deploy/mongodb/role.js grants it)"
        )
    return DatabaseUnreachable(f"MongoDB failed while {doing}: {describe(error)}")


# What an operator typed, as MongoDB takes it. Whatever cannot be used raises SettingsError.

_NOT_JSON = (BSONError, ValueError, TypeError, KeyError, OverflowError, RecursionError)
_OPTIONS = json_util.JSONOptions(tz_aware=True)


def query(text: str) -> Document:
    """Parse `--query`: a MongoDB filter in extended JSON."""
    try:
        return filters.parse(text)
    except ValueError as error:
        raise SettingsError([f"--query: {error}"]) from error


def ids(text: str) -> list[tuple[str, LeadId]]:
    """Return what `--id` can mean, in the order in which it is tried: (kind, `_id`).

    24 hexadecimal digits can be an ObjectId, extended JSON (`5`, `"5"`, `{"$uuid": "..."}`) its value, and
    any text the id itself.
    """
    meanings: list[tuple[str, LeadId]] = []
    if ObjectId.is_valid(text):
        meanings.append(("an ObjectId", ObjectId(text)))
    with suppress(*_NOT_JSON):
        parsed = json_util.loads(text, json_options=_OPTIONS)
        bson.encode({"": parsed})
        meanings.append(("extended JSON", parsed))
    return [*meanings, ("a text", text)]


def spellings(email: str) -> list[str]:
    """Return the spellings of an address that are found without reading every lead."""
    identity = identify(Inputs(email=email))
    normal = (identity.email, identity.email_key)
    found = [email, email.strip(), email.strip().lower(), *(one for one in normal if one)]
    return list(dict.fromkeys(found))


# How far a long command is: a bar on a terminal, a line every ten seconds elsewhere.

_LINE_EVERY_SECONDS = 10.0


class Meter:
    """A progress display, used in `with`; `total` is `None` if unknown."""

    def __init__(self, console: Console, what: str, total: int | None, done: int = 0) -> None:
        self._console = console
        self._what = what
        self._total = total
        self._done = self._said = done
        self._said_at = time.monotonic()
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task(what, total=total, completed=done)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None
    ) -> None:
        self._bar.stop()
        if kind is None and self._total is not None and self._done != self._said:
            self._say()

    def at(self, done: int) -> None:
        """Show that `done` are done by now."""
        self._done = done
        self._bar.update(self._task, completed=done)
        if time.monotonic() - self._said_at >= _LINE_EVERY_SECONDS:
            self._say()

    def _say(self) -> None:
        """Print a line for logs and pipes. On a terminal the bar shows it."""
        self._said, self._said_at = self._done, time.monotonic()
        if not self._console.is_terminal:
            of = "" if self._total is None else f" of {self._total:,}"
            self._console.print(f"{self._what}: {self._done:,}{of}")
