"""Watches every write that daemons make to the leads, and judges it by the rules of the lease.

A settle ends a claim: it is legal once after each claim, and nothing of the daemon's may change a
lead between a settle and the next claim. So the observer replays each lead's changes in the order
in which the server committed them and notes

    settled twice    a second end without somebody having asked for a new run
    stale write      a settle, renewal or kept answer while nobody held a lease; a token that fell

Whoever wrote late enough to meet a *new* holder leaves that one's settle without a claim, so it
shows here all the same; besides, each daemon's own log says under which token it wrote.

Every change counts from the moment at which the server made it, not from when it was seen: the
observer itself may have to wait for an election before it hears of one.

The stream survives fail-overs, restarts and a dropped collection: it is opened again after the last
change that was seen, and change streams show only what a majority has, which no fail-over undoes.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import defaultdict
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import pymongo
from pymongo.asynchronous.change_stream import AsyncCollectionChangeStream
from pymongo.errors import PyMongoError

from enricher.lead import Document, LeadId
from tests.chaos.account import Claim
from tests.support.rig import ENDS, SETTLED, Step, Witness, key_of

_CHANGES: list[Document] = [
    {"$match": {"operationType": {"$in": ["insert", "update", "replace", "delete", "invalidate"]}}},
    {
        "$project": {
            "operationType": 1,
            "documentKey": 1,
            "wallTime": 1,
            "updateDescription.updatedFields": 1,
            "updateDescription.truncatedArrays": 1,
            "fullDocument.enrichment_status": 1,
            "fullDocument.enrichment": 1,
        }
    },
]
_AGAIN_SECONDS = 0.1
_PATIENCE_SECONDS = 2.0


@dataclass(slots=True)
class Ledger:
    """What the changes of one lead add up to."""

    status: str = ""
    token: int = 0
    holder: str = ""
    ends: int = 0
    claims: list[Claim] = field(default_factory=list)
    settled_tokens: set[int] = field(default_factory=set)
    stale: list[str] = field(default_factory=list)

    def note(self, status: str | None, fields: Document, at: float) -> None:
        """One change by a daemon or by a user, in order."""
        book = _book(fields)
        token = int(book.get("token") or self.token)
        if token > self.token:
            self._claim(token, book, at)
        elif token < self.token:
            self.stale.append(f"token {token} after {self.token}")
        elif status in SETTLED:
            self._settle(status)
        elif self.status != "processing" and (status == "processing" or _is_workers(status, book)):
            self.stale.append(f"{status} {sorted(book)} while {self.status}")
        if status == "pending" and not book:
            self.ends = 0  # a user wants a new run
        self.status = status or self.status
        self.holder = str(book.get("holder", self.holder))
        self._note_claim(_answered(fields), at)

    def _claim(self, token: int, book: dict[str, Any], at: float) -> None:
        """One of a lease that ran out leaves the status as it was."""
        known: set[str] = set()
        if self.claims and self.status != "pending":
            self.claims[-1].is_lost = self.status == "processing"
            self.claims[-1].ended_at = min(self.claims[-1].ended_at, at)
            known |= self.claims[-1].answered
        self.claims.append(Claim(token, str(book.get("holder", self.holder)), at, answered=known))
        self.status, self.token = "processing", token

    def _settle(self, status: str) -> None:
        if self.status != "processing":
            self.stale.append(f"{status} after {self.status}")
        self.settled_tokens.add(self.token)
        self.ends += status in ENDS

    def _note_claim(self, answered: set[str], at: float) -> None:
        if self.claims:
            self.claims[-1].answered |= answered
        if self.claims and self.status != "processing":
            self.claims[-1].ended_at = min(self.claims[-1].ended_at, at)


@dataclass(slots=True)
class Observer(Witness):
    """A witness that is still there after whatever was done to the servers."""

    ledgers: defaultdict[bytes, Ledger] = field(default_factory=lambda: defaultdict(Ledger))
    interruptions: int = 0
    _token: Mapping[str, Any] | None = None
    ended_so_far: int = 0
    """How often a lead came to an end: cheaper to ask than each lead."""

    async def watch(self, watching: asyncio.Event) -> None:
        """Until cancelled."""
        while True:
            try:
                with pymongo.timeout(_PATIENCE_SECONDS):
                    stream = await self.leads.watch(
                        _CHANGES, max_await_time_ms=500, start_after=self._token
                    )
            except PyMongoError:
                await self._interrupted()
            else:
                watching.set()
                await self._follow(stream)

    async def _follow(self, stream: AsyncCollectionChangeStream[Document]) -> None:
        """Until it ends. To close it may need its old server: unbounded, that took 30 s."""
        try:
            while stream.alive:
                with pymongo.timeout(_PATIENCE_SECONDS):
                    event = await stream.try_next()
                self._token = stream.resume_token or self._token
                await self._tell(event)
        except PyMongoError:
            await self._interrupted()
        finally:
            with suppress(PyMongoError), pymongo.timeout(_PATIENCE_SECONDS):
                await stream.close()

    async def _interrupted(self) -> None:
        self.interruptions += 1
        await asyncio.sleep(_AGAIN_SECONDS)

    async def _tell(self, event: Document | None) -> None:
        if event is None or "documentKey" not in event:
            return
        async with self._news:
            self._note(event)
            self._news.notify_all()

    def _note(self, event: Document) -> None:
        kind, key = event["operationType"], key_of(event["documentKey"]["_id"])
        if kind in ("insert", "delete"):
            self._begin_or_end(kind, key)
            return
        updated = event.get("updateDescription", {}).get("updatedFields")
        fields = event.get("fullDocument", {}) if updated is None else updated | _shortened(event)
        status, at = fields.get("enrichment_status"), _made_at(event)
        self.ledgers[key].note(status, fields, at)
        self.ended_so_far += status in ENDS
        if isinstance(status, str):
            self.steps[key].append(Step(status, {}, on_our_clock(at), by_insert=False))

    def _begin_or_end(self, kind: str, key: bytes) -> None:
        if kind == "insert":
            self.inserted[key] = time.monotonic()
        else:
            self.deleted.add(key)

    # -- judging ---------------------------------------------------------------------------

    def settled_twice(self) -> list[bytes]:
        return [key for key, ledger in self.ledgers.items() if ledger.ends > 1]

    def stale_writes(self) -> dict[bytes, list[str]]:
        return {key: ledger.stale for key, ledger in self.ledgers.items() if ledger.stale}

    def held_by(self, pid: int) -> set[bytes]:
        """Leads that this process has a lease on, as far as was seen."""
        return {
            key
            for key, ledger in self.ledgers.items()
            if ledger.status == "processing" and f":{pid}:" in ledger.holder
        }

    def claims_of(self, pid: int) -> list[Claim]:
        """All that it ever had."""
        claims = (claim for ledger in self.ledgers.values() for claim in ledger.claims)
        return [claim for claim in claims if claim.is_of(pid)]

    def claimed_after(self, moment: float, key: bytes) -> float | None:
        """When somebody claimed this lead anew; `moment` if its holder had settled it just then.
        `None` while that is still to come."""
        claim = self.ledgers[key].claims[-1]
        if (claimed_at := on_our_clock(claim.claimed_at)) >= moment:
            return claimed_at
        return moment if claim.ended_at < math.inf else None

    def was_settled_under(self, lead: LeadId, token: int) -> bool:
        return token in self.ledgers[key_of(lead)].settled_tokens

    def settled_at(self, key: bytes) -> float:
        """When a daemon was last done with this lead; 0.0 for never."""
        return max((step.at for step in self.steps[key] if step.status in SETTLED), default=0.0)

    def settles_after(self, moment: float) -> list[float]:
        """When daemons were done with leads, from then on."""
        times = (
            step.at for steps in self.steps.values() for step in steps if step.status in SETTLED
        )
        return sorted(at for at in times if at >= moment)


def on_our_clock(moment: float) -> float:
    """Monotonic seconds, from seconds since the epoch."""
    return moment - time.time() + time.monotonic()


def _made_at(event: Document) -> float:
    """Seconds since the epoch. Servers before 6.0 do not tell; then it is now."""
    wall = event.get("wallTime")
    return float(wall.timestamp()) if isinstance(wall, datetime) else time.time()


def _shortened(event: Document) -> Document:
    """Lists from whose end something was taken: of a lead that is called back, the one of who held it."""
    arrays = event.get("updateDescription", {}).get("truncatedArrays") or ()
    return {array["field"]: [] for array in arrays}


def _book(fields: Document) -> dict[str, Any]:
    """The changed book-keeping: it stands there as a whole, or field by field."""
    whole = fields.get("enrichment")
    book = dict(whole) if isinstance(whole, dict) else {}
    prefix = "enrichment."
    return book | {
        name.removeprefix(prefix).partition(".")[0]: value
        for name, value in fields.items()
        if name.startswith(prefix)
    }


def _answered(fields: Document) -> set[str]:
    """Providers whose answer is written with this change, as a whole or one by one."""
    whole, prefix = fields.get("enrichment"), "enrichment.answered."
    said = whole.get("answered") if isinstance(whole, dict) else fields.get("enrichment.answered")
    one_by_one = {name.removeprefix(prefix) for name in fields if name.startswith(prefix)}
    return {*(said or ()), *one_by_one}


def _is_workers(status: str | None, book: dict[str, Any]) -> bool:
    """A renewal moves `due_at` alone; a kept answer names who answered."""
    return status is None and bool(book) and book.keys() <= {"due_at", "answered", "subject"}
