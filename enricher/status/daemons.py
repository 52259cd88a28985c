"""What each daemon reports of itself, for `enricher status` and the status page. No work depends on it.

One document for each daemon, in one collection for all that share the database:

    _id        its holder name
    leads      the collection that it works on, or an array of them
    seen_at    when it last wrote this, by the server's clock
    writes     how often it did
    report     version, uptime_seconds, presence, in_work, concurrency, stream, gates
    sources    what of it is about one collection, for each of several
    minutes    {"29741234": {outcomes: {completed: 7}, waited: [count, total, longest], took: [...]}}
    last       its last claims that ended: id or hash of the lead, outcome, seconds, score or reason

A write carries only what has changed, so an idle daemon writes a few hundred bytes. If the write had to
create the document anew (somebody dropped the collection, or the daemon was silent for longer than the
index keeps it), the next one carries everything.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime, timedelta
from enum import StrEnum
from random import Random
from typing import Any

from loguru import logger
from pymongo import ReturnDocument
from pymongo.asynchronous.database import AsyncDatabase

from enricher import __version__
from enricher.calls.breaker import Circuit
from enricher.calls.question import Gate
from enricher.intake.watcher import Groundwork, join_groundwork
from enricher.lead import Document
from enricher.mongo import DatabaseTrouble
from enricher.mongo.outage import Outage, is_denied, pause, reading
from enricher.mongo.server import ServerClock
from enricher.status.throughput import Activity, Ended, Minute, Times
from enricher.telemetry import metrics
from enricher.telemetry.metrics import by_provider, value
from enricher.values.storable import mapping

# A daemon as it describes itself to anyone who looks at the fleet.
#
# Daemons need not know of each other, and none of this takes part in their work: a reader can tell which
# daemons were there, what they did, and how they stand with the vendors. No daemon is considered dead
# because of it; that is what leases are for.

SILENT_AFTER = timedelta(seconds=30)
"""Without a report. Reports come every three seconds, and an outage of MongoDB delays them."""


class Presence(StrEnum):
    """How a daemon stands, according to its last report."""

    WORKING = "working"
    STOPPING = "stopping"
    STOPPED = "stopped"
    SILENT = "silent"


@dataclass(frozen=True, slots=True)
class GateState:
    """One provider that is asked, as one daemon sees it."""

    provider: str
    circuit: Circuit = Circuit.CLOSED
    is_held: bool = False
    waiting: int = 0
    """Leads that wait for a slot in its limit."""
    calls: int = 0
    """Tries within the last minute."""


@dataclass(frozen=True, slots=True)
class SourceState:
    """One source of leads, as one daemon sees it."""

    collection: str
    in_work: int
    is_stream_open: bool
    stream_lag_seconds: float | None
    set_aside: int = 0
    """Leads that it cannot write."""
    groundwork: Groundwork = field(default_factory=Groundwork)


@dataclass(frozen=True, slots=True)
class Report:
    """What a daemon reports of itself at one moment."""

    version: str
    uptime_seconds: float
    presence: Presence
    in_work: int
    concurrency: int
    is_stream_open: bool
    stream_lag_seconds: float | None
    gates: Sequence[GateState] = ()
    set_aside: int = 0
    """Leads that it cannot write."""
    groundwork: Groundwork = field(default_factory=Groundwork)
    sources: Sequence[SourceState] = ()
    """Where there are several; what stands above is about all of them together."""


@dataclass(frozen=True, slots=True)
class DaemonRecord:
    """One daemon, with what it did in the last hour."""

    holder: str
    seen_at: datetime
    report: Report
    minutes: Mapping[int, Minute] = field(default_factory=dict)
    last: Sequence[Ended] = ()
    sources: Sequence[SourceState] = ()

    @property
    def started_at(self) -> datetime:
        return self.seen_at - timedelta(seconds=self.report.uptime_seconds)

    def presence(self, now: datetime) -> Presence:
        """Return the presence it reported, or silent if it ended without a report."""
        said = self.report.presence
        is_late = now - self.seen_at > SILENT_AFTER
        return Presence.SILENT if is_late and said is not Presence.STOPPED else said

    def state_of(self, collection: str) -> SourceState | None:
        """Return how it stands with one source; `None` when that is none of its own."""
        return next((each for each in self.sources if each.collection == collection), None)


COLLECTION = "enricher_daemons"
KEPT = timedelta(hours=1)
"""After the last report: as long as a daemon's work is part of the last hour."""
_MOST_DAEMONS = 500
_MILLISECOND = timedelta(milliseconds=1)


class Daemons:
    """The daemons that work on these leads collections. Every method raises DatabaseTrouble."""

    def __init__(self, database: AsyncDatabase[Document], *leads: str) -> None:
        self._collection = database[COLLECTION]
        self._leads: str | list[str] = leads[0] if len(leads) == 1 else list(leads)
        self.clock = ServerClock(database.client)

    async def ensure(self) -> None:
        """Create the index that removes dead daemons."""
        seconds = round(KEPT.total_seconds())
        await self._collection.create_index("seen_at", name="dead", expireAfterSeconds=seconds)

    async def tell(
        self,
        holder: str,
        report: Report,
        changed: Mapping[int, Minute],
        dropped: Sequence[int] = (),
        last: Iterable[Ended] | None = None,
    ) -> bool:
        """Write what is new; `last` only if it is. False when the document had to be created anew."""
        values: Document = {"leads": self._leads, "report": _written(report)}
        if report.sources:
            values["sources"] = [_flat(each) for each in report.sources]
        values |= {f"minutes.{number}": _minute(minute) for number, minute in changed.items()}
        if last is not None:
            values["last"] = [_ended(ended) for ended in last]
        update: Document = {
            "$set": values,
            "$currentDate": {"seen_at": True},
            "$inc": {"writes": 1},
        }
        if dropped:
            update["$unset"] = {f"minutes.{number}": "" for number in dropped}
        found = await self._collection.find_one_and_update(
            {"_id": holder},
            update,
            {"seen_at": 1, "writes": 1},
            upsert=True,
            return_document=ReturnDocument.AFTER,
        )
        told = found or {}
        with reading(COLLECTION):
            self.clock.heard(told["seen_at"])
            return bool(told["writes"] > 1)

    async def seen(self) -> list[DaemonRecord]:
        """Return the daemons that reported within the last hour, latest start first."""
        recently = {"$gt": ["$seen_at", {"$subtract": ["$$NOW", round(KEPT / _MILLISECOND)]}]}
        leads = self._leads if isinstance(self._leads, str) else {"$in": self._leads}
        found = self._collection.find({"leads": leads, "$expr": recently})
        daemons = [_daemon(each) for each in await found.to_list(_MOST_DAEMONS)]
        known = [daemon for daemon in daemons if daemon is not None]
        return sorted(known, key=lambda daemon: daemon.started_at, reverse=True)


def _written(report: Report) -> Document:
    """Flat, as it always was: a daemon of another version reads it, and knows no other field."""
    flat = _flat(report)
    del flat["sources"]
    return {**flat, "gates": [asdict(gate) for gate in report.gates]}


def _flat(state: Report | SourceState) -> Document:
    flat = asdict(state)
    groundwork = flat.pop("groundwork")
    return {**flat, **groundwork}


def _ended(ended: Ended) -> Document:
    """Return what every version reads, unless there are several collections."""
    written = asdict(ended)
    return {name: each for name, each in written.items() if each or name != "collection"}


def _minute(minute: Minute) -> Document:
    return {
        "outcomes": dict(minute.outcomes),
        "waited": _times(minute.waited),
        "took": _times(minute.took),
    }


def _times(times: Times) -> list[float]:
    return [times.count, round(times.total, 3), round(times.longest, 3)]


def _daemon(document: Document) -> DaemonRecord | None:
    """Return the daemon; `None` when this version cannot read its document."""
    try:
        return _read(document)
    except (KeyError, TypeError, ValueError):
        return None


def _read(document: Document) -> DaemonRecord:
    minutes = mapping(document.get("minutes"))
    report = _report(document["report"])
    sources = [_state(each) for each in document.get("sources", ())]
    return DaemonRecord(
        holder=str(document["_id"]),
        seen_at=document["seen_at"],
        report=report,
        sources=sources or [_alone(str(document["leads"]), report)],
        minutes={int(number): _read_minute(each) for number, each in minutes.items()},
        last=[Ended(**each) for each in document.get("last", ())],
    )


def _report(stored: Document) -> Report:
    gates = [GateState(**{**gate, "circuit": Circuit(gate["circuit"])}) for gate in stored["gates"]]
    own = _grounded(stored)
    return Report(**{**own, "presence": Presence(stored["presence"]), "gates": gates})


def _state(stored: Document) -> SourceState:
    return SourceState(**_grounded(stored))


def _grounded(stored: Document) -> Document:
    """Return the fields, those of the groundwork as one value."""
    its = {each.name for each in fields(Groundwork)}
    groundwork = Groundwork(**{name: stored[name] for name in its & stored.keys()})
    own = {name: value for name, value in stored.items() if name not in its}
    return {**own, "groundwork": groundwork}


def _alone(collection: str, report: Report) -> SourceState:
    """Return the state of a daemon's only source: all that it reports is about that one."""
    return SourceState(
        collection,
        report.in_work,
        report.is_stream_open,
        report.stream_lag_seconds,
        report.set_aside,
        report.groundwork,
    )


def _read_minute(stored: Mapping[str, Any]) -> Minute:
    minute = Minute(waited=Times(*stored["waited"]), took=Times(*stored["took"]))
    minute.outcomes.update(stored["outcomes"])
    return minute


# Reports every few seconds who this daemon is and what it does.
#
# Nothing depends on it. While MongoDB is away it waits like every loop, and readiness does not look at it;
# if the user may not write `enricher_daemons`, that is logged once, and the work goes on unseen.

EVERY_SECONDS = 3.0
_AFTER_DENIAL_SECONDS = 60.0
"""The privilege may have been granted by then."""
_LAST_WORD_SECONDS = 2.0


@dataclass(slots=True)
class Calls:
    """Tries of each provider within the last minute, from what the counters said a minute ago."""

    clock: Callable[[], float] = time.monotonic
    seconds: float = 60.0
    _samples: deque[tuple[float, Mapping[str, float]]] = field(default_factory=deque)

    def within_a_minute(self, totals: Mapping[str, float]) -> dict[str, int]:
        """Return the tries of each provider; `totals` are the counters as they are now."""
        now = self.clock()
        self._samples.append((now, totals))
        while len(self._samples) > 1 and self._samples[1][0] <= now - self.seconds:
            self._samples.popleft()
        before = self._samples[0][1]
        return {name: round(total - before.get(name, 0.0)) for name, total in totals.items()}


@dataclass(slots=True)
class Teller:
    """The loop of one daemon."""

    daemons: Daemons
    holder: str
    activity: Activity
    gates: Sequence[Gate]
    sources: Callable[[], Sequence[SourceState]] = tuple
    """How each source stands."""
    every_seconds: float = EVERY_SECONDS
    outage: Outage = field(default_factory=lambda: Outage("presence"))
    random: Random = field(init=False, default_factory=Random)
    _calls: Calls = field(init=False, default_factory=Calls)
    _started_at: float = field(init=False, default_factory=time.monotonic)
    _told: int = field(init=False, default=-1)
    """`activity.endings` as last reported."""
    _is_denied: bool = field(init=False, default=False)

    async def run(self, drained: asyncio.Event, stopping: asyncio.Event) -> None:
        """Report until the last lead has been given up, and then once more."""
        await self._ensure_index()
        while not drained.is_set():
            presence = Presence.STOPPING if stopping.is_set() else Presence.WORKING
            await pause(drained, await self._tell(presence))
        try:
            async with asyncio.timeout(_LAST_WORD_SECONDS):
                await self._tell(Presence.STOPPED)
        except TimeoutError:
            return

    async def _ensure_index(self) -> None:
        """Create the index. Without it dead daemons are not removed, but readers leave them out all the same."""
        try:
            await self.daemons.ensure()
        except DatabaseTrouble as error:
            if not is_denied(error):
                self.outage.failed(error)

    async def _tell(self, presence: Presence) -> float:
        """Write one report. Returns the seconds until the next."""
        report = self._report(presence)
        dropped, changed, endings = (
            self.activity.forget_old(),
            self.activity.changed(),
            self.activity.endings,
        )
        last = None if endings == self._told else self.activity.told()
        try:
            is_known = await self.daemons.tell(self.holder, report, changed, dropped, last)
        except DatabaseTrouble as error:
            self.activity.touch_all()
            return self._failed(error)
        self._is_denied = False
        self.outage.succeeded()
        self._told = endings
        if not is_known:
            self.activity.touch_all()
        return self.every_seconds * (0.9 + 0.2 * self.random.random())

    def _failed(self, error: Exception) -> float:
        if is_denied(error):
            if not self._is_denied:
                logger.warning("presence.refused")
            self._is_denied = True
            return _AFTER_DENIAL_SECONDS
        return max(self.every_seconds, self.outage.failed(error))

    def _report(self, presence: Presence) -> Report:
        is_open, sources = bool(value(metrics.STREAMING)), self.sources()
        lag = max((each.stream_lag_seconds or 0.0 for each in sources), default=0.0)
        return Report(
            version=__version__,
            uptime_seconds=round(time.monotonic() - self._started_at, 1),
            presence=presence,
            in_work=round(value(metrics.IN_WORK)),
            concurrency=round(value(metrics.CONCURRENCY)),
            is_stream_open=is_open,
            stream_lag_seconds=lag if is_open else None,
            gates=self._gates(),
            set_aside=sum(each.set_aside for each in sources),
            groundwork=join_groundwork([each.groundwork for each in sources]),
            sources=sources if len(sources) > 1 else (),
        )

    def _gates(self) -> list[GateState]:
        calls = self._calls.within_a_minute(by_provider(metrics.REQUESTS))
        waiting, held = by_provider(metrics.WAITING), by_provider(metrics.HELD)
        return [
            GateState(
                provider=gate.name,
                circuit=gate.circuit,
                is_held=bool(held.get(gate.name)),
                waiting=round(waiting.get(gate.name, 0)),
                calls=calls.get(gate.name, 0),
            )
            for gate in self.gates
        ]
