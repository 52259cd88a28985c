"""Sees new leads and admits them: from the change stream, and where there is none by searching.

    stream -> inbox -> admit -> save the position -> ring the bell

One task reads the stream and does nothing else, so the server's batches are drained at once; another
admits what has gathered meanwhile, so batches grow with the load. The position is saved only after
everything before it has been admitted: a crash between the two repeats work that changes nothing.

Where events may have been missed (a position the server no longer knows, a collection that was dropped
or that another took the place of, a server without change streams) the collection is searched for leads
that were never admitted. The stream is opened first and the search comes second, so that nothing falls
in between. Until the search has come to its end the new position is not saved: whatever ends it
half-way, it is made again. A start searches as well, for what any earlier version or outage left behind,
once the stream has had the time to tell of what was inserted meanwhile.

The search, and the record of the history that it needs, may take minutes on a large collection. A task of
their own makes them while the stream's leads go on.

A stream can also hang, or fail again and again, by itself while the database answers everything else.
So as long as it owes an answer for longer than it ever should, the collection is searched meanwhile;
what the stream then tells of those leads changes nothing any more.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import aclosing, contextmanager, suppress
from dataclasses import dataclass, field

from loguru import logger

from enricher.intake.changes import Change, Changes, Start, StreamUnavailable
from enricher.intake.checkpoints import Checkpoint, Checkpoints
from enricher.intake.history import History, inserted_since
from enricher.lead import Document, LeadId
from enricher.mongo import DatabaseTrouble
from enricher.mongo.outage import Outage, pause
from enricher.mongo.server import Server
from enricher.queue.bell import Bell
from enricher.queue.indexes import Building, Indexes
from enricher.queue.leads import Leads
from enricher.settings.load import WorkSettings
from enricher.telemetry import metrics

_INBOX_LIMIT = 10_000
_ADMIT_AT_ONCE = 1_000
_SAVE_EVERY_SECONDS = 1.0
_SAVE_IDLE_EVERY_SECONDS = 10.0
_PROBE_EVERY_SECONDS = 300.0
_BLOCKED_EVERY_SECONDS = 1.0
_LINE_EVERY_SECONDS = 10.0
"""Of what takes minutes on a large collection."""
_USUAL_READ_SECONDS = 1.5
"""A read waits for a second in the server when there is nothing to tell."""


@dataclass(slots=True)
class Watcher:
    """Reads the stream, admits leads, and keeps the position."""

    leads: Leads
    changes: Changes
    checkpoints: Checkpoints
    history: History
    indexes: Indexes
    bell: Bell
    settings: WorkSettings
    reading: Outage = field(default_factory=lambda: Outage("watcher"))
    admitting: Outage = field(default_factory=lambda: Outage("admission"))
    start_search_seconds: float = 30.0
    """How long after a start the search comes that is for no gap."""
    stalled_seconds: float = 5.0
    """How long the stream may owe an answer. A read waits for one second in the server."""
    is_watching: bool = False
    """False until what is inserted from now on is sure to be seen as new."""
    is_history_known: bool = False
    """Until then anything may be history that no event told of."""
    _inbox: list[Change] = field(default_factory=list)
    _arrived: asyncio.Event = field(default_factory=asyncio.Event)
    _room: asyncio.Event = field(default_factory=asyncio.Event)
    _saved_at: float = float("-inf")
    _behind_since: float | None = None
    """Since when changes stand there that are not admitted."""
    searching: Outage = field(default_factory=lambda: Outage("search"))
    _searches: int = 1
    """How many searches were called for so far: the first by the start."""
    _searched: int = 0
    """The last of them that has come to its end."""
    _gap: int = 0
    """The last search that is for events which may have been missed."""
    _to_catch_up: asyncio.Event = field(default_factory=asyncio.Event)
    _replaced: list[LeadId] = field(default_factory=list)
    """Leads that were replaced before it was known which are history."""
    building: Building = field(init=False)
    on_record: int | None = None
    """Leads whose ids are written down by now, while that goes on."""
    _told_at: float = float("-inf")
    _unanswered_since: float | None = None
    """Since when the stream owes an answer, over all tries; `None` while it is not being asked."""

    def __post_init__(self) -> None:
        self.building = Building(self.indexes, self.leads, self.bell)

    async def run(self, stop: asyncio.Event) -> None:
        """Watch until told to stop; then admit what has been read and save the position."""
        reading_ended = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            admitting = self._admit_until(reading_ended)
            group.create_task(admitting, name="watcher-admit")
            group.create_task(self._wake_to_stop(stop), name="watcher-stop")
            group.create_task(self._admit_blocked(stop), name="watcher-blocked")
            catching_up = group.create_task(self._catch_up_until(stop), name="watcher-catch-up")
            stalled = group.create_task(self._search_while_stalled(stop), name="watcher-stalled")
            building = group.create_task(self.building.run(stop), name="watcher-indexes")
            try:
                await self._read_until(stop)
            finally:
                stalled.cancel()
                for long in (
                    catching_up,
                    building,
                ):  # on a large collection, longer than a stop may
                    long.cancel()
                reading_ended.set()
                self._arrived.set()

    async def _wake_to_stop(self, stop: asyncio.Event) -> None:
        """Whoever waits is to look at `stop` now."""
        await stop.wait()
        self._room.set()
        self._to_catch_up.set()

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
        """One stream from its opening to its end; or polling, until a stream is worth a try."""
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
        if start is not Start.TOKEN:  # else nothing has changed, and a search may take minutes
            self.is_history_known = False
            if not checkpoint.is_first:
                self._note_gap()
        self._to_catch_up.set()
        await self._read(stop)

    async def _open(self, checkpoint: Checkpoint) -> Start:
        if not self.settings.stream:
            raise StreamUnavailable("ENRICHER_STREAM is off")
        self._ask()
        start = await self.changes.open(checkpoint)
        self._answered()
        if checkpoint.is_first and self.changes.token:
            # Whatever is inserted from here on is new, also if we die in the next moment.
            await self.checkpoints.save(self.changes.token)
        metrics.STREAM_OPENS.labels(start.value).inc()
        self.reading.succeeded()
        logger.bind(start=start.value).info("stream.opened")
        return start

    async def _know_history(self, checkpoint: Checkpoint) -> bool:
        """False when it was not known until now."""
        is_known = checkpoint.history_known and not await self._has_lost_history(checkpoint)
        if not is_known:
            with self._preparing("history"):
                try:
                    await self._record_history(checkpoint)
                finally:
                    self.on_record = None
        elif not checkpoint.strays_known:
            await self.checkpoints.history_is_known(await self.history.record_strays())
        self.is_history_known = True
        return is_known

    async def _record_history(self, checkpoint: Checkpoint) -> None:
        begin = None if await self.history.is_gone() else checkpoint.history_from
        self.on_record = 0
        logger.bind(leads=0).info("history.recording")
        leads = await self.history.record(begin, self._tell_of_history)
        await self.checkpoints.history_is_known(leads)
        logger.bind(leads=leads).info("history.recorded")

    async def _tell_of_history(self, leads: int, begin: Document) -> None:
        await self.checkpoints.history_goes_on(begin)
        self.on_record = leads
        if self._is_time_to_tell():
            logger.bind(leads=leads).info("history.recording")

    def _is_time_to_tell(self) -> bool:
        now = time.monotonic()
        is_time = now - self._told_at >= _LINE_EVERY_SECONDS
        self._told_at = now if is_time else self._told_at
        return is_time

    @contextmanager
    def _preparing(self, step: str) -> Iterator[None]:
        metrics.PREPARING.labels(step).set(1)
        self._told_at = time.monotonic()
        try:
            yield
        finally:
            metrics.PREPARING.labels(step).set(0)

    async def _know_history_until(self, checkpoint: Checkpoint, stop: asyncio.Event) -> bool:
        """False when it is time to stop: the record of a large collection takes longer than that may."""
        knowing = asyncio.create_task(self._know_history(checkpoint), name="watcher-history")
        stopping = asyncio.create_task(stop.wait(), name="watcher-history-stop")
        both = {knowing, stopping}
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            if knowing.done():
                knowing.result()
            return knowing.done()
        finally:
            for task in both:
                task.cancel()
            await asyncio.wait(both)

    async def _has_lost_history(self, checkpoint: Checkpoint) -> bool:
        """Somebody dropped the record: without it a search would take all of history for new leads."""
        lost = await self._is_history_gone(checkpoint)
        if lost:
            logger.bind(leads=checkpoint.history_leads).error("history.lost")
        return lost

    async def _is_history_gone(self, checkpoint: Checkpoint) -> bool:
        return checkpoint.history_leads > 0 and await self.history.is_gone()

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
            await self._put(change, stop)
        if not stop.is_set():
            logger.warning("stream.ended")
            self.building.want()

    def _note_end(self) -> None:
        """Before the position after it can be saved: another collection may stand there now."""
        if not self.changes.is_alive:
            self._note_gap()

    def _ask(self) -> None:
        if self._unanswered_since is None:
            self._unanswered_since = time.monotonic()

    def _answered(self) -> None:
        self._unanswered_since = None
        metrics.STREAMING.set(1)
        metrics.STREAM_POSITION.set(self.changes.position_seconds)

    async def _put(self, change: Change | None, stop: asyncio.Event) -> None:
        if change is not None:
            metrics.STREAM_EVENTS.inc()
            metrics.STREAM_LAST_EVENT.set_to_current_time()
            self._inbox.append(change)
            self._behind_since = self._behind_since or time.monotonic()
        self._arrived.set()
        while len(self._inbox) >= _INBOX_LIMIT and not stop.is_set():
            self._room.clear()
            await self._room.wait()

    async def _close(self) -> None:
        try:
            await self.changes.close()
        except DatabaseTrouble as error:
            self.reading.failed(error)

    async def begin(self, began: float | None, server: Server) -> None:
        """Before all work: from here on nothing that is inserted is history. `began` is the first moment of
        the process, by the monotonic clock. Raises DatabaseTrouble."""
        early: list[LeadId] = []
        if began is not None and self.settings.stream and not await self.checkpoints.started_at():
            early = await inserted_since(self.leads.collection, began, server)
            for first in range(0, len(early), _ADMIT_AT_ONCE):
                admitted = await self.leads.admit(early[first : first + _ADMIT_AT_ONCE])
                metrics.ADMITTED.labels("stream").inc(admitted)
        await self.checkpoints.begin()
        await self.building.begin()
        self.leads.hear_of(early)

    def groundwork(self) -> Groundwork:
        """What goes on beside the stream."""
        seconds = self.building.seconds
        return Groundwork(
            None if seconds is None else round(seconds, 1), self.indexes.are_coming, self.on_record
        )

    @property
    def lag_seconds(self) -> float:
        """How long what the stream has to tell may have waited: read and not admitted, or not read."""
        now = time.monotonic()
        owed = 0.0 if self._unanswered_since is None else now - self._unanswered_since
        unread = owed if owed > _USUAL_READ_SECONDS else 0.0
        return max(unread, 0.0 if self._behind_since is None else now - self._behind_since)

    # -- admitting -------------------------------------------------------------------------

    async def _admit_until(self, ended: asyncio.Event) -> None:
        while not ended.is_set():
            await self._arrived.wait()
            self._arrived.clear()
            try:
                await self._admit_inbox(final=False)
            except DatabaseTrouble as error:
                self._arrived.set()
                await pause(ended, self.admitting.failed(error))
            else:
                self.admitting.succeeded()
        try:
            await self._admit_inbox(final=True)
        except DatabaseTrouble as error:
            self.admitting.failed(error)  # what was not saved is read again

    async def _admit_inbox(self, *, final: bool) -> None:
        """Taken together without an await in between, so the token covers exactly these changes."""
        changes, token = self._inbox[:], self.changes.token
        taken_at = time.monotonic()
        for first in range(0, len(changes), _ADMIT_AT_ONCE):
            await self._admit(changes[first : first + _ADMIT_AT_ONCE])
        del self._inbox[: len(changes)]
        self._behind_since = taken_at if self._inbox else None
        self._room.set()
        await self._save(token, bool(changes), final=final)

    async def _admit(self, changes: list[Change]) -> None:
        ids = [change.lead_id for change in changes if not change.is_replace]
        replaced = [change.lead_id for change in changes if change.is_replace]
        if replaced and self.is_history_known:
            ids += await self.history.without(replaced)
        else:
            self._replaced += replaced
        await self._admit_ids(ids, "stream")

    async def _admit_ids(self, ids: list[LeadId], source: str) -> None:
        if self.building.waits_for_collection:  # a new one has taken the place of a dropped one
            self.building.want()
        if len(ids) == 1 and await self.bell.announce(ids[0]):
            metrics.ADMITTED.labels(source).inc()
            return
        metrics.ADMITTED.labels(source).inc(await self.leads.admit(ids))
        self.bell.ring()

    async def _admit_blocked(self, stop: asyncio.Event) -> None:
        """What somebody's transaction holds, once it has ended; what is left at a stop is read again."""
        while not stop.is_set():
            await pause(stop, _BLOCKED_EVERY_SECONDS)
            if not self.leads.unadmitted:
                continue
            with suppress(*DatabaseTrouble):  # the other admissions say so
                metrics.ADMITTED.labels("stream").inc(await self.leads.admit_blocked())
                self.bell.ring()

    async def _save(self, token: dict[str, object] | None, moved: bool, *, final: bool) -> None:
        every = _SAVE_EVERY_SECONDS if moved else _SAVE_IDLE_EVERY_SECONDS
        now = time.monotonic()
        is_open = bool(self._replaced or self.leads.unadmitted)
        is_sure = self._searched >= self._gap and not is_open
        if token is None or not is_sure or not (final or now - self._saved_at >= every):
            return
        await self.checkpoints.save(token)
        self._saved_at = now
        metrics.CHECKPOINT.set_to_current_time()

    # -- searching -------------------------------------------------------------------------

    def _note_gap(self) -> None:
        self._searches += 1
        self._gap = self._searches

    async def _catch_up_until(self, stop: asyncio.Event) -> None:
        """What the opening of a stream leaves to be done, beside the reading."""
        while not stop.is_set():
            await self._to_catch_up.wait()
            self._to_catch_up.clear()
            if stop.is_set():
                break
            try:
                await self._catch_up(stop)
            except DatabaseTrouble as error:
                self._to_catch_up.set()
                await pause(stop, self.searching.failed(error))
            else:
                self.searching.succeeded()

    async def _catch_up(self, stop: asyncio.Event) -> None:
        checkpoint = await self.checkpoints.begin()
        is_known = await self._know_history(checkpoint)
        await self._admit_replaced()
        if not self._gap and (not is_known or checkpoint.was_searched_lately):
            self._searched = self._searches  # of a first start the stream tells everything
        elif not self._gap and self._searched < self._searches:
            await self._wait_for_the_stream()
        while self._searched < self._searches and not stop.is_set():
            wanted = self._searches
            with self._preparing("search"):
                await self._search("stream", stop)
            if not stop.is_set():
                self._searched = wanted
                if not self.leads.unadmitted:  # else only another search would find them again
                    await self.checkpoints.was_searched()

    async def _wait_for_the_stream(self) -> None:
        """Unless a gap makes the search urgent, or it is time to stop."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self.start_search_seconds):
                await self._to_catch_up.wait()

    async def _admit_replaced(self) -> None:
        """What came before it was known which leads are history."""
        replaced = self._replaced[:]
        if ids := await self.history.without(replaced):
            await self._admit_ids(ids, "stream")
        del self._replaced[: len(replaced)]

    async def _search(self, source: str, stop: asyncio.Event) -> None:
        """Admit every lead that should have been admitted and was not, or as many until `stop`."""
        found, self._told_at = 0, time.monotonic()
        async with aclosing(self.history.unadmitted()) as batches:
            async for ids in batches:
                await self._admit_ids(ids, source)
                found += len(ids)
                if self._is_time_to_tell():
                    logger.bind(leads=found, source=source).info("search.going_on")
                if stop.is_set():
                    break
        if found:
            logger.bind(leads=found, source=source).info("search.found")

    async def _poll(self, checkpoint: Checkpoint, stop: asyncio.Event) -> None:
        """In place of a stream."""
        self._unanswered_since = None
        if not await self._know_history_until(checkpoint, stop):
            return
        self.is_watching = True
        until = time.monotonic() + _PROBE_EVERY_SECONDS
        while not stop.is_set() and (time.monotonic() < until or not self.settings.stream):
            rest = await self._search_once(stop)
            self.reading.succeeded()
            await pause(stop, rest)

    async def _search_once(self, stop: asyncio.Event) -> float:
        """Returns the seconds to rest: ten times as long, as it reads every lead without a status."""
        began = time.monotonic()
        await self._search("polling", stop)
        return max(self.settings.poll_seconds, 10 * (time.monotonic() - began))

    async def _search_while_stalled(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            rest = self.settings.poll_seconds
            with suppress(*DatabaseTrouble):  # it is not the stream alone, and the reader says so
                if self._is_stalled and await self._may_search() and self._is_stalled:
                    metrics.STREAMING.set(0)
                    rest = await self._search_once(stop)
            await pause(stop, rest)

    @property
    def _is_stalled(self) -> bool:
        since = self._unanswered_since
        return since is not None and time.monotonic() - since > self.stalled_seconds

    async def _may_search(self) -> bool:
        """Raises while the whole database is away. Without the record, history would pass for new."""
        checkpoint = await self.checkpoints.begin()
        return checkpoint.strays_known and not await self._is_history_gone(checkpoint)


@dataclass(frozen=True, slots=True)
class Groundwork:
    """What a large collection makes long, and a daemon does beside its work."""

    building_seconds: float | None = None
    """For how long it has been having the indexes built; `None` when it does not."""
    are_indexes_coming: bool = False
    """Those that a search for work goes by are among them."""
    on_record: int | None = None
    """Leads from before the first start that it has written down so far; `None` when it does not."""
