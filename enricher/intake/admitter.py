"""Admits what the stream told of and what a search found, and keeps the position in the stream.

One task reads the stream and does nothing else, so the server's batches are drained at once; another
admits what has gathered meanwhile, so batches grow with the load. The position is saved only after
everything before it has been admitted: a crash between the two repeats work that changes nothing. Nor is
it saved while a search is to be made for events that may have been missed: whatever ends that search
half-way, it is made again.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass, field

from enricher.intake.changes import Change, Changes
from enricher.intake.checkpoints import Checkpoints
from enricher.intake.history import History
from enricher.lead import LeadId
from enricher.mongo import DatabaseTrouble
from enricher.mongo.outage import Outage, pause
from enricher.queue.bell import Bell
from enricher.queue.indexes import Building
from enricher.queue.leads import Leads
from enricher.telemetry import metrics

_INBOX_LIMIT = 10_000
_ADMIT_AT_ONCE = 1_000
_SAVE_EVERY_SECONDS = 1.0
_SAVE_IDLE_EVERY_SECONDS = 10.0
_BLOCKED_EVERY_SECONDS = 1.0


@dataclass(slots=True)
class Known:
    """What is sure by now: which leads are history, and that no event was missed."""

    is_history: bool = False
    """Until then anything may be history that no event told of."""
    searches: int = 1
    """How many searches were requested so far: the first by the start."""
    searched: int = 0
    """The number of the last search that was completed."""
    gap: int = 0
    """The number of the last search requested because events may have been missed."""

    def note_gap(self) -> None:
        """Events may have been missed."""
        self.searches += 1
        self.gap = self.searches

    @property
    def is_gap_closed(self) -> bool:
        """Nothing was missed, as far as anybody knows."""
        return self.searched >= self.gap

    @property
    def is_search_due(self) -> bool:
        """One was called for that has not come to its end."""
        return self.searched < self.searches


@dataclass(slots=True)
class Admitter:
    """Leads that were told of, on their way into the queue."""

    leads: Leads
    changes: Changes
    checkpoints: Checkpoints
    history: History
    building: Building
    bell: Bell
    known: Known = field(init=False, default_factory=Known)
    outage: Outage = field(init=False, default_factory=lambda: Outage("admission"))
    inbox: list[Change] = field(init=False, default_factory=list)
    behind_since: float | None = field(init=False, default=None)
    """Since when there are changes that are not admitted."""
    replaced: list[LeadId] = field(init=False, default_factory=list)
    """Leads that were replaced before the history was known."""
    _arrived: asyncio.Event = field(init=False, default_factory=asyncio.Event)
    _room: asyncio.Event = field(init=False, default_factory=asyncio.Event)
    _saved_at: float = field(init=False, default=float("-inf"))

    async def run(self, ended: asyncio.Event) -> None:
        """Until nothing more is put in; then what is left."""
        while not ended.is_set():
            await self._arrived.wait()
            self._arrived.clear()
            try:
                await self._admit_inbox(final=False)
            except DatabaseTrouble as error:
                self._arrived.set()
                await pause(ended, self.outage.failed(error))
            else:
                self.outage.succeeded()
        try:
            await self._admit_inbox(final=True)
        except DatabaseTrouble as error:
            self.outage.failed(error)  # what was not saved is read again

    async def _admit_inbox(self, *, final: bool) -> None:
        """Take changes and token without an await in between, so the token covers exactly these changes."""
        changes, token = self.inbox[:], self.changes.token
        taken_at = time.monotonic()
        for first in range(0, len(changes), _ADMIT_AT_ONCE):
            await self._admit(changes[first : first + _ADMIT_AT_ONCE])
        del self.inbox[: len(changes)]
        self.behind_since = taken_at if self.inbox else None
        self._room.set()
        await self._save(token, bool(changes), final=final)

    async def _admit(self, changes: list[Change]) -> None:
        ids = [change.lead_id for change in changes if not change.is_replace]
        replaced = [change.lead_id for change in changes if change.is_replace]
        if replaced and self.known.is_history:
            ids += await self.history.without(replaced)
        else:
            self.replaced += replaced
        await self.admit(ids, "stream")

    async def admit(self, ids: list[LeadId], source: str, *, is_behind: bool = False) -> None:
        """A lone lead is announced: who waits with nothing else to do claims it in the same command."""
        if self.building.waits_for_collection:  # a new collection has replaced a dropped one
            self.building.want()
        if len(ids) == 1 and await self.bell.announce(ids[0]):
            metrics.ADMITTED.labels(source).inc()
            return
        admitted = await self.leads.admit(ids, is_behind=is_behind)
        metrics.ADMITTED.labels(source).inc(admitted)
        self.bell.ring()

    async def admit_blocked(self, stop: asyncio.Event) -> None:
        """Admit leads once the transaction that blocked them has ended; those left at a stop are read again."""
        while not stop.is_set():
            await pause(stop, _BLOCKED_EVERY_SECONDS)
            if not self.leads.unadmitted:
                continue
            with suppress(*DatabaseTrouble):  # the other admissions report it
                metrics.ADMITTED.labels("stream").inc(await self.leads.admit_blocked())
                self.bell.ring()

    async def _save(self, token: dict[str, object] | None, moved: bool, *, final: bool) -> None:
        every = _SAVE_EVERY_SECONDS if moved else _SAVE_IDLE_EVERY_SECONDS
        now = time.monotonic()
        is_open = bool(self.replaced or self.leads.unadmitted)
        is_sure = self.known.is_gap_closed and not is_open
        if token is None or not is_sure or not (final or now - self._saved_at >= every):
            return
        await self.checkpoints.save(token)
        self._saved_at = now
        metrics.CHECKPOINT.set_to_current_time()

    async def admit_replaced(self) -> None:
        """Admit the leads that were replaced before the history was known."""
        replaced = self.replaced[:]
        if ids := await self.history.without(replaced):
            await self.admit(ids, "stream")
        del self.replaced[: len(replaced)]

    # -- for who reads ---------------------------------------------------------------------

    async def put(self, change: Change | None, stop: asyncio.Event) -> None:
        """What was read, or nothing, which moves the position all the same. Waits for room."""
        if change is not None:
            metrics.STREAM_EVENTS.inc()
            metrics.STREAM_LAST_EVENT.set_to_current_time()
            self.inbox.append(change)
            self.behind_since = self.behind_since or time.monotonic()
        self._arrived.set()
        while len(self.inbox) >= _INBOX_LIMIT and not stop.is_set():
            self._room.clear()
            await self._room.wait()

    def wake(self) -> None:
        """Whoever waits is to look again whether it is time to stop."""
        self._room.set()
        self._arrived.set()

    async def admit_early(self, ids: list[LeadId]) -> None:
        """Before all work."""
        for first in range(0, len(ids), _ADMIT_AT_ONCE):
            admitted = await self.leads.admit(ids[first : first + _ADMIT_AT_ONCE])
            metrics.ADMITTED.labels("stream").inc(admitted)
