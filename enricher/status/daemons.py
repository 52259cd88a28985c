"""What each daemon tells of itself, for `enricher status` and the status page. No work depends on it.

One document for each daemon, in one collection for all that share the database:

    _id        its holder name
    leads      the collection that it works on
    seen_at    when it last wrote this, by the server's clock
    writes     how often it did
    report     version, uptime_seconds, presence, in_work, concurrency, stream, gates
    minutes    {"29741234": {outcomes: {completed: 7}, waited: [count, total, longest], took: [...]}}
    last       its last claims that ended: id or hash of the lead, outcome, seconds, score or reason

A write carries only what has changed, so that an idle daemon writes a few hundred bytes. If it finds
that its document had to be made anew (somebody dropped the collection, or it was silent for longer
than the index keeps it), the next one carries everything.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import timedelta
from typing import Any

from pymongo import ReturnDocument
from pymongo.asynchronous.database import AsyncDatabase

from enricher.calls.breaker import Circuit
from enricher.lead import Document
from enricher.mongo.clock import ServerClock
from enricher.mongo.replies import reading
from enricher.status.fleet import Daemon, GateState, Presence, Report
from enricher.status.throughput import Ended, Minute, Times
from enricher.values.storable import mapping

COLLECTION = "enricher_daemons"
KEPT = timedelta(hours=1)
"""After the last sign of life: as long as what a daemon did can still be seen in the last hour."""
_MOST_DAEMONS = 500
_MILLISECOND = timedelta(milliseconds=1)


class Daemons:
    """Of the daemons that work on one leads collection. All of it raises DatabaseTrouble."""

    def __init__(self, database: AsyncDatabase[Document], leads: str) -> None:
        self._collection = database[COLLECTION]
        self._leads = leads
        self.clock = ServerClock(database.client)

    async def ensure(self) -> None:
        """The index that removes the dead."""
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
        """Write what is new; `last` only if it is. False when the document had to be made anew."""
        values: Document = {"leads": self._leads, "report": _written(report)}
        values |= {f"minutes.{number}": _minute(minute) for number, minute in changed.items()}
        if last is not None:
            values["last"] = [asdict(ended) for ended in last]
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

    async def seen(self) -> list[Daemon]:
        """Those with a sign of life within the last hour, the latest start first."""
        recently = {"$gt": ["$seen_at", {"$subtract": ["$$NOW", round(KEPT / _MILLISECOND)]}]}
        found = self._collection.find({"leads": self._leads, "$expr": recently})
        daemons = [_daemon(each) for each in await found.to_list(_MOST_DAEMONS)]
        known = [daemon for daemon in daemons if daemon is not None]
        return sorted(known, key=lambda daemon: daemon.started_at, reverse=True)


def _written(report: Report) -> Document:
    return {**asdict(report), "gates": [asdict(gate) for gate in report.gates]}


def _minute(minute: Minute) -> Document:
    return {
        "outcomes": dict(minute.outcomes),
        "waited": _times(minute.waited),
        "took": _times(minute.took),
    }


def _times(times: Times) -> list[float]:
    return [times.count, round(times.total, 3), round(times.longest, 3)]


def _daemon(document: Document) -> Daemon | None:
    """`None` when it was written in a way that this version does not know."""
    try:
        return _read(document)
    except (KeyError, TypeError, ValueError):
        return None


def _read(document: Document) -> Daemon:
    minutes = mapping(document.get("minutes"))
    return Daemon(
        holder=str(document["_id"]),
        seen_at=document["seen_at"],
        report=_report(document["report"]),
        minutes={int(number): _read_minute(each) for number, each in minutes.items()},
        last=[Ended(**each) for each in document.get("last", ())],
    )


def _report(stored: Document) -> Report:
    gates = [GateState(**{**gate, "circuit": Circuit(gate["circuit"])}) for gate in stored["gates"]]
    return Report(**{**stored, "presence": Presence(stored["presence"]), "gates": gates})


def _read_minute(stored: Mapping[str, Any]) -> Minute:
    minute = Minute(waited=Times(*stored["waited"]), took=Times(*stored["took"]))
    minute.outcomes.update(stored["outcomes"])
    return minute
