"""The connection to MongoDB, what can be said of the server before work begins, and its clock.

Due times are the server's `$$NOW`. `ServerClock` is for what cannot be left to that inside the database,
`ServerOffset` for what this process times by its own clock.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any
from urllib.parse import unquote

import pymongo
from bson import Timestamp
from loguru import logger
from pymongo import ASCENDING, AsyncMongoClient
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import ConfigurationError, OperationFailure, PyMongoError
from pymongo.uri_parser import split_options

from enricher.errors import DatabaseRefused, DatabaseUnreachable, NoPrimary, SettingsError
from enricher.lead import Document
from enricher.mongo import outage
from enricher.mongo.expressions import SimpleClient
from enricher.mongo.outage import is_denied, is_refusal
from enricher.process.signals import surely
from enricher.telemetry.log import redact

# What a MONGODB_URI may decide about our connections, and what it may not.
#
# One URI often serves a whole company, with options that suit other programs. Our connections read their
# own writes, compare ids byte by byte, and wait for nothing indefinitely: `connect` sets what we rely on,
# whatever the URI says; how to reach the server is the operator's choice.
#
#     DECIDED_BY_US       dropped from the URI, silently: it would break our work, or slow it
#     THE_OPERATORS       honoured; a value that the driver could only ignore is refused
#     any other           another driver's option: without effect

DECIDED_BY_US = frozenset(
    {
        "appname",
        "connect",
        "datetime_conversion",
        "driver",
        "fsync",
        "journal",
        "maxpoolsize",
        "maxstalenessseconds",
        "minpoolsize",
        "readconcernlevel",
        "readpreference",
        "readpreferencetags",
        "retryreads",
        "retrywrites",
        "server_api",
        "serverselectiontimeoutms",
        "sockettimeoutms",
        "timeoutms",
        "tz_aware",
        "unicode_decode_error_handler",
        "uuidrepresentation",
        "w",
        "waitqueuemultiple",
        "waitqueuetimeoutms",
        "wtimeoutms",
    }
)
THE_OPERATORS = frozenset(
    {
        "authmechanism",
        "authmechanismproperties",
        "authsource",
        "compressors",
        "connecttimeoutms",
        "directconnection",
        "enableoverloadretargeting",
        "heartbeatfrequencyms",
        "loadbalanced",
        "localthresholdms",
        "maxadaptiveretries",
        "maxconnecting",
        "maxidletimems",
        "replicaset",
        "servermonitoringmode",
        "srvallowedhostssuffix",
        "srvmaxhosts",
        "srvservicename",
        "ssl",
        "tls",
        "tlsallowinvalidcertificates",
        "tlsallowinvalidhostnames",
        "tlscafile",
        "tlscertificatekeyfile",
        "tlscertificatekeyfilepassword",
        "tlscrlfile",
        "tlsdisableocspendpointcheck",
        "tlsinsecure",
        "zlibcompressionlevel",
    }
)
"""Names as the driver compares them; `tests/integration/mongo/test_server.py` fails when it adds one."""


def ours(uri: str) -> str:
    """Return the URI with the operator's options only. Raises SettingsError for a value the driver would ignore."""
    address, mark, query = uri.partition("?")
    separator = "&" if "&" in query or ";" not in query else ";"
    given = query.split(separator) if query else []
    options = [each for each in given if _name(each) not in DECIDED_BY_US]
    if problems := list(_complaints(options)):
        raise SettingsError(problems)
    return f"{address}{mark if options else ''}{separator.join(options)}"


def database_named_in(uri: str) -> str:
    """PURE Return the name that the URI ends with, which is for the login; "" without one."""
    after_hosts = uri.partition("://")[2].partition("?")[0].rpartition("@")[2].partition("/")[2]
    return unquote(after_hosts)


def _name(option: str) -> str:
    return option.partition("=")[0].lower()


def _complaints(options: list[str]) -> Iterator[str]:
    """Yield problems without the values: a password may be among them."""
    for option in options:
        if _name(option) in THE_OPERATORS and not _is_understood(option):
            spelt = option.partition("=")[0]
            yield f"MONGODB_URI: expected a value of {spelt} that MongoDB's driver understands"


def _is_understood(option: str) -> bool:
    try:
        with warnings.catch_warnings(action="ignore"):  # a compressor that is not installed
            split_options(option, warn=False)
    except (PyMongoError, ValueError, TypeError, OSError):
        return False
    return True


_SELECT_MS = 5_000
_INSPECT_SECONDS = 5.0
"""Needed in addition: with `timeoutMS` set, the driver ignores its selection time-out."""
_OPERATION_MS = 10_000
"""Bounds every operation, its retries included: nothing waits indefinitely on a silent network."""
_CLOSE_SECONDS = 2.0
ROUTER = "mongos"
_UNAUTHORIZED = 13
_BAD_CREDENTIALS = {18, 8000}
"""AuthenticationFailed, and Atlas's own code."""


@dataclass(frozen=True, slots=True)
class Server:
    """What the server says of itself."""

    version: str
    replica_set: str | None
    """Its name; `ROUTER` for a sharded cluster; `None` for a standalone server: no change streams."""
    after: Timestamp | None = None
    """The first point in the oplog after everything written so far; `None` without an oplog."""


@asynccontextmanager
async def connect(uri: str, pool: int) -> AsyncIterator[AsyncMongoClient[Document]]:
    """Yield a client for our kind of use. Nothing is sent yet.

    Dates beyond Python's range and text that is not UTF-8 are read as well as possible: one odd document
    must not make a whole batch unreadable. Raises SettingsError for a URI whose parts do not fit
    together, which only the driver can tell.
    """
    client = _client(uri, pool)
    try:
        yield client
    finally:
        await close(client)


async def close(client: AsyncMongoClient[Document]) -> None:
    """Close it to the end, also when cancelled; a server that hangs is given a few seconds for its goodbye."""
    with pymongo.timeout(_CLOSE_SECONDS):
        await surely(client.close())


def _client(uri: str, pool: int) -> AsyncMongoClient[Document]:
    try:
        return SimpleClient(
            ours(uri),
            appname="enricher",
            maxPoolSize=pool,
            serverSelectionTimeoutMS=_SELECT_MS,
            timeoutMS=_OPERATION_MS,
            w="majority",
            retryWrites=True,
            # A claim whose outcome is unknown is read back: a secondary might not have it yet.
            readPreference="primary",
            # An id stays as it is in BSON, with either UUID subtype; a Python UUID could not be written.
            uuidRepresentation="unspecified",
            tz_aware=True,
            datetime_conversion="DATETIME_AUTO",
            unicode_decode_error_handler="replace",
        )
    except (PyMongoError, OSError, ValueError) as error:
        raise SettingsError([f"MONGODB_URI: {redact(str(error))}"]) from error


async def inspect(
    client: AsyncMongoClient[Document], database: str, leads: str, written: str | None = None
) -> Server:
    """Reach the server and read one lead; `written` is the collection that our fields stand in.

    Raises DatabaseUnreachable when there is no answer, NoPrimary when that is for want of a primary, and
    DatabaseRefused when the credentials or privileges are insufficient, or that collection is none.
    """
    try:
        with pymongo.timeout(_INSPECT_SECONDS):
            hello = await client.admin.command("hello")
            await client[database][leads].find_one({}, {"_id": 1})
            await _require_collection(client[database], written or leads)
            build = await client.admin.command("buildInfo")
    except OperationFailure as error:
        if error.timeout:
            raise DatabaseUnreachable("MongoDB does not answer in time") from error
        raise DatabaseRefused(_refusal(error, f"{database}.{leads}")) from error
    except ConfigurationError as error:
        raise DatabaseUnreachable(f"MongoDB cannot be used: {redact(str(error))}") from error
    except PyMongoError as error:
        kind = NoPrimary if _is_without_primary(client) else DatabaseUnreachable
        raise kind(f"MongoDB cannot be reached: {_hosts(error)}") from error
    name = ROUTER if hello.get("msg") == "isdbgrid" else hello.get("setName")
    return Server(build["version"], name, _after(hello.get("operationTime")))


_NO_COLLECTION = {"view": "a view", "timeseries": "a time-series collection"}


async def _require_collection(database: AsyncDatabase[Document], name: str) -> None:
    """Raise DatabaseRefused where no document can be updated. MongoDB itself refuses as late as the first index, with
    a bare number."""
    try:
        cursor = await database.list_collections(
            filter={"name": name},
            nameOnly=True,
            authorizedCollections=True,  # or it takes a privilege on the whole database
        )
        kinds = [_NO_COLLECTION.get(each.get("type", "")) for each in await cursor.to_list()]
    except OperationFailure as error:
        if not is_denied(error):
            raise
        return
    if kind := next(filter(None, kinds), None):
        raise DatabaseRefused(
            f"{database.name}.{name} is {kind}: leads must stand in a collection whose documents can be updated"
        )


def _is_without_primary(client: AsyncMongoClient[Document]) -> bool:
    """Return whether the driver knows servers of a replica set, and no primary among them."""
    known = client.topology_description
    return known.topology_type_name == "ReplicaSetNoPrimary" and known.has_known_servers


def _after(time: object) -> Timestamp | None:
    return Timestamp(time.time, time.inc + 1) if isinstance(time, Timestamp) else None


def _hosts(error: PyMongoError) -> str:
    """Return the driver's first clause, which names host and cause ("127.0.0.1:1: connection refused")."""
    return str(error).split(" (configured timeouts")[0].split(", Timeout:")[0]


def _refusal(error: OperationFailure, leads: str) -> str:
    if error.code == _UNAUTHORIZED and "requires authentication" in str(error):
        return "MongoDB asks for credentials, and MONGODB_URI has none"
    if error.code == _UNAUTHORIZED:
        wanted = f"find on the leads, {leads}"
        return f"MongoDB refuses a privilege (deploy/mongodb/role.js grants it): {wanted}"
    if error.code in _BAD_CREDENTIALS:
        return f"MongoDB refuses the credentials in MONGODB_URI (code {error.code})"
    return f"MongoDB refuses to answer (code {error.code})"


# How far back MongoDB's own log goes: as long a daemon may be away and still miss nothing.
#
# Reading it takes a privilege on another database, which the work does not need; so whoever lacks it
# is told nothing, and not asked again.

_ORDERS = (1, -1)


async def window_seconds(client: AsyncMongoClient[Document]) -> float | None:
    """Return the oplog's span in seconds; `None` where there is none to read (standalone, sharded), or we may not.

    Raises DatabaseTrouble.
    """
    log = client["local"]["oplog.rs"]
    try:
        ends = [await log.find_one({}, {"ts": 1}, sort=[("$natural", each)]) for each in _ORDERS]
    except OperationFailure as error:
        if is_denied(error) or is_refusal(error):
            return None
        raise
    first, last = ends
    if first is None or last is None:
        return None
    return float(last["ts"].time - first["ts"].time)


# Documents that go by themselves at their `expires_at`; those without one stay.

_CONFLICTS = (67, 85, 86)
"""Another index is in the way."""


async def let_expire(collection: AsyncCollection[Document], name: str) -> None:
    """Create the index that deletes expired documents; log a missing privilege or a conflicting index and go on."""
    await make_index(collection, name, "expires_at", expireAfterSeconds=0)


async def make_index(
    collection: AsyncCollection[Document], name: str, *fields: str, **options: Any
) -> None:
    """Create an index that the work can do without, as `let_expire` does."""
    try:
        await collection.create_index([(each, ASCENDING) for each in fields], name=name, **options)
    except OperationFailure as error:
        if error.code != outage.UNAUTHORIZED and error.code not in _CONFLICTS:
            raise
        logger.bind(missing=name, code=error.code).error("indexes.missing")


# The server's clock, for what cannot be left to `$$NOW` inside the database.

_FRESH_SECONDS = 5.0


class ServerOffset:
    """The server's clock, as this process's monotonic clock sees it.

    The quickest recent exchange sets the offset; its error is half that exchange's time, and grows with
    its age.
    """

    _DRIFT = 2e-4
    _TOLERANCE = 0.02

    def __init__(self) -> None:
        self._offset = self.error = self._noted_at = 0.0
        self.is_known = False

    def note(self, sent: float, received: float, server: float) -> bool:
        """Take in one exchange; True when the server's clock has jumped ahead since the last."""
        offset, error = server - (sent + received) / 2, (received - sent) / 2
        before = self.error + self._DRIFT * max(0.0, received - self._noted_at)
        ahead = offset - self._offset
        is_new = not self.is_known
        has_jumped = not is_new and abs(ahead) > before + error + self._TOLERANCE
        if is_new or has_jumped or error <= before:
            self._offset, self.error, self._noted_at = offset, error, received
            self.is_known = True
        return has_jumped and ahead > 0

    def local(self, server: float) -> float:
        """This process's time when the server's is `server`."""
        return server - self._offset

    def server(self, local: float) -> float:
        return local + self._offset


class ServerClock:
    """The server's time as last heard, carried on by our own monotonic clock.

    It is late by the time the reply took to reach us, so the server checks whatever depends on it.
    """

    def __init__(
        self, client: AsyncMongoClient[Document], wall: Callable[[], float] = time.time
    ) -> None:
        """`wall`: our own clock, in seconds. It may be wrong; it only shows that time has passed."""
        self._client = client
        self._wall = wall
        self._began_at = datetime.now(UTC)
        self._offset = ServerOffset()
        self._asked: tuple[float, float] | None = None
        self._heard: tuple[float, float] | None = None

    def heard(self, at: datetime) -> None:
        """Note that the server has just said that it is `at`. The last word counts, whatever was said before."""
        now = time.monotonic()
        self._offset.note(now, now, at.timestamp())
        self._heard = now, self._wall()

    @property
    def is_known(self) -> bool:
        """True once the server has been heard."""
        return self._offset.is_known

    @property
    def was_heard_lately(self) -> bool:
        """True within some seconds of the server's last word. Until then `now` is as good as that word was."""
        return self._is_lately(self._heard)

    def now(self) -> datetime:
        """Return the server's time; until the server has been heard, the time at which this clock was made."""
        if not self._offset.is_known:
            return self._began_at
        return datetime.fromtimestamp(self._offset.server(time.monotonic()), UTC)

    async def today(self) -> date:
        """Return the server's date; asks the server the first time. Raises DatabaseTrouble."""
        if not self._offset.is_known:
            hello = await self._client.admin.command("hello")
            self.heard(hello["localTime"].replace(tzinfo=UTC))
        return self.now().date()

    async def fresh(self) -> datetime:
        """Return the server's time, asking again every few seconds. Raises DatabaseTrouble.

        The server's clock may be set, another member may have become primary, our clock may run slow. So
        the result is behind the server by no more than has happened since the last request, and ahead of
        it by no more than a round trip.
        """
        if not self._is_lately(self._asked):
            asked, wall = time.monotonic(), self._wall()
            hello = await self._client.admin.command("hello")
            said = hello["localTime"].replace(tzinfo=UTC).timestamp()
            self._offset.note(asked, asked, said)
            self._asked = asked, wall
        return self.now()

    def _is_lately(self, then: tuple[float, float] | None) -> bool:
        """True within `_FRESH_SECONDS`; only the wall clock shows that the machine slept."""
        if then is None:
            return False
        monotonic, wall = then
        passed = max(time.monotonic() - monotonic, abs(self._wall() - wall))
        return passed < _FRESH_SECONDS
