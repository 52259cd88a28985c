"""Sees new leads and admits them: from the change stream, and where there is none by searching.

    stream -> inbox -> admit -> save the position -> ring the bell

One task reads the stream, here; `admitter.py` admits what has gathered meanwhile and keeps the position.
Where events may have been missed (a position the server no longer knows, a collection that was dropped
or that another took the place of, a server without change streams) `search.py` searches the collection
for leads that were never admitted.

A stream can also hang, or fail again and again, by itself while the database answers everything else.
So as long as it owes an answer for longer than it ever should, the collection is searched meanwhile;
what the stream then tells of those leads changes nothing any more.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass, field

from loguru import logger

from enricher.intake.admitter import Admitter
from enricher.intake.changes import Changes, Start, StreamUnavailable
from enricher.intake.checkpoints import Checkpoint, Checkpoints
from enricher.intake.history import History, inserted_since
from enricher.intake.search import Search
from enricher.lead import LeadId
from enricher.mongo import DatabaseTrouble
from enricher.mongo.outage import Outage, pause
from enricher.mongo.server import Server
from enricher.queue.bell import Bell
from enricher.queue.indexes import Building, Indexes
from enricher.queue.leads import Leads
from enricher.settings.load import WorkSettings
from enricher.telemetry import metrics

_PROBE_EVERY_SECONDS = 300.0
_USUAL_READ_SECONDS = 1.5
"""With no event, a read waits for a second in the server."""


@dataclass(slots=True)
class Watcher:
    """Reads the stream; what it tells goes to the admitter, what it may have missed to the search."""

    leads: Leads
    changes: Changes
    checkpoints: Checkpoints
    history: History
    indexes: Indexes
    bell: Bell
    settings: WorkSettings
    start_search_seconds: float = 30.0
    """How long after a start the search comes that is for no gap."""
    stalled_seconds: float = 5.0
    """How long an answer of the stream may be overdue. A read waits for one second in the server."""
    building: Building = field(init=False)
    admitter: Admitter = field(init=False)
    search: Search = field(init=False)
    reading: Outage = field(init=False, default_factory=lambda: Outage("watcher"))
    is_watching: bool = field(init=False, default=False)
    """False until leads inserted from now on are sure to be seen as new."""
    _unanswered_since: float | None = field(init=False, default=None)
    """Since when an answer of the stream is awaited, over all tries; `None` while none is."""
    _early: list[LeadId] = field(init=False, default_factory=list)
    """Leads inserted while a first process began."""

    def __post_init__(self) -> None:
        self.building = Building(self.indexes, self.leads, self.bell)
        self.admitter = Admitter(
            self.leads, self.changes, self.checkpoints, self.history, self.building, self.bell
        )
        self.search = Search(self.admitter, self.settings.poll_seconds, self.start_search_seconds)

    async def run(self, stop: asyncio.Event) -> None:
        """Watch until told to stop; then admit what has been read and save the position."""
        reading_ended = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            group.create_task(self.admitter.run(reading_ended), name="watcher-admit")
            group.create_task(self._wake_to_stop(stop), name="watcher-stop")
            group.create_task(self.admitter.admit_blocked(stop), name="watcher-blocked")
            catching_up = group.create_task(self.search.run(stop), name="watcher-catch-up")
            stalled = group.create_task(self._search_while_stalled(stop), name="watcher-stalled")
            building = group.create_task(self.building.run(stop), name="watcher-indexes")
            try:
                await self._read_until(stop)
            finally:
                stalled.cancel()
                catching_up.cancel()  # this and the next may take long on a large collection
                building.cancel()
                reading_ended.set()
                self.admitter.wake()

    async def _wake_to_stop(self, stop: asyncio.Event) -> None:
        """Wake all waiting tasks, so that they check `stop` now."""
        await stop.wait()
        self.admitter.wake()
        self.search.wake()

    # -- reading ---------------------------------------------------------------------------

    async def _read_until(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            try:
                await self._session(stop)
            except DatabaseTrouble as error:
                await pause(stop, self.reading.failed(error))
            finally:
                metrics.STREAMING.set(0)
                await self._close()

    async def _session(self, stop: asyncio.Event) -> None:
        """Run one stream from its opening to its end, or poll until a stream is worth a try."""
        checkpoint = await self.checkpoints.begin()
        try:
            start = await self._open(checkpoint)
        except StreamUnavailable as error:
            logger.bind(reason=str(error), seconds=self.settings.poll_seconds).warning(
                "stream.unavailable"
            )
            await self._poll(checkpoint, stop)
            return
        self.is_watching = True
        if start is not Start.TOKEN:  # else nothing was missed, and a search may take minutes
            self.admitter.known.is_history = False
            if not checkpoint.is_first:
                self.admitter.known.note_gap()
        self.search.wake()
        await self._read(stop)

    async def _open(self, checkpoint: Checkpoint) -> Start:
        if not self.settings.stream:
            raise StreamUnavailable("ENRICHER_STREAM is off")
        self._ask()
        start = await self.changes.open(checkpoint)
        self._answered()
        if checkpoint.is_first and self.changes.token:
            # Whatever is inserted from here on is new, even if we die the next moment.
            await self.checkpoints.save(self.changes.token)
        metrics.STREAM_OPENS.labels(start.value).inc()
        self.reading.succeeded()
        logger.bind(start=start.value).info("stream.opened")
        return start

    async def _read(self, stop: asyncio.Event) -> None:
        while self.changes.is_alive and not stop.is_set():
            self._ask()
            try:
                change = await self.changes.next_change()
            except DatabaseTrouble as error:
                if self.changes.lost_position(error) or not self.changes.is_alive:
                    raise
                await pause(stop, self.reading.failed(error))
                continue
            self._note_end()
            self._answered()
            self.reading.succeeded()
            await self.admitter.put(change, stop)
        if not stop.is_set():
            logger.warning("stream.ended")
            self.building.want()

    def _note_end(self) -> None:
        """Note a gap before a later position can be saved: there may be another collection now."""
        if not self.changes.is_alive:
            self.admitter.known.note_gap()

    def _ask(self) -> None:
        if self._unanswered_since is None:
            self._unanswered_since = time.monotonic()

    def _answered(self) -> None:
        self._unanswered_since = None
        metrics.STREAMING.set(1)
        metrics.STREAM_POSITION.set(self.changes.position_seconds)

    async def _close(self) -> None:
        try:
            await self.changes.close()
        except DatabaseTrouble as error:
            self.reading.failed(error)

    async def begin(self, began: float | None, server: Server) -> None:
        """Prepare before all work: nothing inserted from here on is history. `began` is the first moment
        of the process, by the monotonic clock. May be repeated. Raises DatabaseTrouble."""
        if began is not None and self.settings.stream and not await self.checkpoints.started_at():
            self._early = await inserted_since(self.leads.collection, began, server)
            await self.admitter.admit_early(self._early)
        await self.checkpoints.begin()
        await self.building.begin()
        self.leads.hear_of(self._early)

    def groundwork(self) -> Groundwork:
        """Return what is being prepared beside the stream."""
        seconds = self.building.seconds
        return Groundwork(
            None if seconds is None else round(seconds, 1),
            self.indexes.are_coming,
            self.search.on_record,
        )

    @property
    def lag_seconds(self) -> float:
        """How long events may have waited, in seconds: read but not admitted, or not read."""
        now = time.monotonic()
        owed = 0.0 if self._unanswered_since is None else now - self._unanswered_since
        unread = owed if owed > _USUAL_READ_SECONDS else 0.0
        behind_since = self.admitter.behind_since
        return max(unread, 0.0 if behind_since is None else now - behind_since)

    @property
    def is_history_known(self) -> bool:
        """Until then anything may be history that no event told of."""
        return self.admitter.known.is_history

    # -- searching -------------------------------------------------------------------------

    async def _poll(self, checkpoint: Checkpoint, stop: asyncio.Event) -> None:
        """Search again and again in place of a stream, until a stream is worth a try."""
        self._unanswered_since = None
        if not await self.search.know_history(checkpoint, stop):
            return
        self.is_watching = True
        until = time.monotonic() + _PROBE_EVERY_SECONDS
        while not stop.is_set() and (time.monotonic() < until or not self.settings.stream):
            rest = await self.search.once(stop)
            self.reading.succeeded()
            await pause(stop, rest)

    async def _search_while_stalled(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            rest = self.settings.poll_seconds
            with suppress(*DatabaseTrouble):  # the whole database, which the reader reports
                if self._is_stalled and await self.search.is_allowed() and self._is_stalled:
                    metrics.STREAMING.set(0)
                    rest = await self.search.once(stop)
            await pause(stop, rest)

    @property
    def _is_stalled(self) -> bool:
        since = self._unanswered_since
        return since is not None and time.monotonic() - since > self.stalled_seconds


@dataclass(frozen=True, slots=True)
class Groundwork:
    """What a daemon prepares beside its work, because it takes long on a large collection."""

    building_seconds: float | None = None
    """How long the indexes have been building; `None` when they are not."""
    are_indexes_coming: bool = False
    """Indexes that a search for work needs are among them."""
    on_record: int | None = None
    """Leads from before the first start recorded so far; `None` unless that is under way."""
