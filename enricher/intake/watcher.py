"""Sees new leads and admits them: from the change stream, and where there is none by searching.

    stream -> inbox -> admit -> save the position -> ring the bell

One task reads the stream and does nothing else, so the server's batches are drained at once (`Watcher`).
Another admits what has gathered meanwhile, so batches grow with the load (`Admitter`). The position is saved
only after everything before it has been admitted: a crash between the two repeats work that changes nothing.
Nor is it saved while a search is to be made for events that may have been missed: whatever ends that search
half-way, it is made again.

Where events may have been missed (a position the server no longer knows, a collection that was dropped
or that another took the place of, a server without change streams) the collection is searched for leads that
were never admitted (`Search`). A stream is opened first and the search comes second, so that nothing falls in
between. A start searches as well, for what any earlier version or outage left behind, once the stream has had
the time to tell of what was inserted meanwhile. Before a search it must be known which leads are history (see
`history.py`). Both may take minutes on a large collection, so a third task makes them while the stream's leads
go on.

A stream can also hang, or fail again and again, by itself while the database answers everything else.
So as long as it owes an answer for longer than it ever should, the collection is searched meanwhile;
what the stream then tells of those leads changes nothing any more.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing, contextmanager, suppress
from dataclasses import dataclass, field

from bson import Timestamp
from loguru import logger

from enricher.intake.changes import Change, Changes, Start, StreamUnavailable
from enricher.intake.checkpoints import Checkpoint, Checkpoints
from enricher.intake.history import History, inserted_since
from enricher.intake.late import Late
from enricher.lead import Document, LeadId
from enricher.mongo import DatabaseTrouble
from enricher.mongo.expressions import condition_of
from enricher.mongo.outage import Outage, pause
from enricher.mongo.server import Server
from enricher.queue.indexes import Building
from enricher.queue.leads import Leads
from enricher.queue.worker import Bell
from enricher.settings.load import WorkSettings
from enricher.telemetry import metrics

# What was told of is admitted, and the position saved.

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
    rules_since: Timestamp | None = None
    """What events tell of that are not later may have been no lead then, and be history by now."""

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
    late: Late
    known: Known = field(init=False, default_factory=Known)
    outage: Outage = field(init=False, default_factory=lambda: Outage("admission"))
    inbox: list[Change] = field(init=False, default_factory=list)
    behind_since: float | None = field(init=False, default=None)
    """Since when there are changes that are not admitted."""
    replaced: list[LeadId] = field(init=False, default_factory=list)
    """Leads that were told of before the history was known, and may be on record."""
    _arrived: asyncio.Event = field(init=False, default_factory=asyncio.Event)
    _room: asyncio.Event = field(init=False, default_factory=asyncio.Event)
    _saved_at: float = field(init=False, default=float("-inf"))
    _has_moved: bool = field(init=False, default=False)
    """Changes were admitted since the position was saved."""

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
        self._has_moved |= bool(changes)
        await self._save(token, final=final)

    async def _admit(self, changes: list[Change]) -> None:
        if deleted := [each.lead_id for each in changes if each.is_delete]:
            await self.leads.forget_deleted(deleted)
            changes = [each for each in changes if not each.is_delete]
        touched = [change.lead_id for change in changes if change.is_touch]
        told = [change for change in changes if not change.is_touch]
        doubtful = [change.lead_id for change in told if self._may_be_history(change)]
        ids = [change.lead_id for change in told if not self._may_be_history(change)]
        if touched:
            doubtful += await self._look_at(touched)
        if doubtful and self.known.is_history:
            ids += await self.history.without(doubtful)
        else:
            self.replaced += doubtful
        await self.admit(ids, "stream")

    def _may_be_history(self, change: Change) -> bool:
        since = self.known.rules_since
        is_old = since is not None and change.at is not None and change.at <= since
        return change.is_replace or is_old

    async def _look_at(self, touched: list[LeadId]) -> list[LeadId]:
        """Make those work that have changed; return those that may be leads only now."""
        self.leads.hear_of(touched)
        found = await self.late.look(touched)
        metrics.ADMITTED.labels("stream").inc(found.taken_up)
        self.bell.ring()  # one that waits may be back in its source's condition
        return found.doubtful

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

    async def _save(self, token: dict[str, object] | None, *, final: bool) -> None:
        every = _SAVE_EVERY_SECONDS if self._has_moved else _SAVE_IDLE_EVERY_SECONDS
        now = time.monotonic()
        is_open = bool(self.replaced or self.leads.unadmitted)
        is_sure = self.known.is_gap_closed and not is_open
        if token is None or not is_sure or not (final or now - self._saved_at >= every):
            return
        await self.checkpoints.save(token)
        self._saved_at, self._has_moved = now, False
        self.leads.gauges.checkpoint(time.time())

    async def admit_replaced(self) -> None:
        """Admit the leads that were told of before the history was known, and are not on record."""
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


# Leads that were never admitted are searched for.

_FOUND_FIRST = 1_000
"""Of a search for what was missed: what it finds beyond waits behind fresh leads. A gap may hold a million, and
none of those that are inserted now is to wait for them all. A search in place of the stream finds what is new."""
_LINE_EVERY_SECONDS = 10.0
"""Between log lines about steps that take minutes on a large collection."""


@dataclass(slots=True)
class Search:
    """What the opening of a stream leaves to be done, beside the reading."""

    admitter: Admitter
    poll_seconds: float
    start_seconds: float
    """How long after a start the search comes that is for no gap."""
    outage: Outage = field(init=False, default_factory=lambda: Outage("search"))
    on_record: int | None = field(init=False, default=None)
    """Leads recorded as history so far; `None` unless that is under way."""
    _is_due: asyncio.Event = field(init=False, default_factory=asyncio.Event)
    _told_at: float = field(init=False, default=float("-inf"))

    @property
    def _known(self) -> Known:
        return self.admitter.known

    @property
    def _history(self) -> History:
        return self.admitter.history

    @property
    def _checkpoints(self) -> Checkpoints:
        return self.admitter.checkpoints

    def wake(self) -> None:
        """A stream was opened, or it is time to stop."""
        self._is_due.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Until told to stop."""
        while not stop.is_set():
            await self._is_due.wait()
            self._is_due.clear()
            if stop.is_set():
                break
            try:
                await self._catch_up(stop)
            except DatabaseTrouble as error:
                self._is_due.set()
                await pause(stop, self.outage.failed(error))
            else:
                self.outage.succeeded()

    async def _catch_up(self, stop: asyncio.Event) -> None:
        checkpoint = await self._checkpoints.begin()
        is_known = await self._know_history(checkpoint)
        await self.admitter.admit_replaced()
        if not self._known.gap and (not is_known or checkpoint.was_searched_lately):
            # Of a first start the stream tells everything.
            self._known.searched = self._known.searches
        elif not self._known.gap and self._known.is_search_due:
            await self._wait_for_the_stream()
        while self._known.is_search_due and not stop.is_set():
            wanted = self._known.searches
            with self._preparing("search"):
                after_gap = not self._known.is_gap_closed
                await self._search("stream", stop, _FOUND_FIRST, newest_first=after_gap)
                await self._search_late("stream", stop)
            if not stop.is_set():
                self._known.searched = wanted
                # Else only another search would find them again.
                if not self.admitter.leads.unadmitted:
                    await self._checkpoints.was_searched()

    async def _wait_for_the_stream(self) -> None:
        """Wait, unless a gap makes the search urgent or it is time to stop."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self.start_seconds):
                await self._is_due.wait()

    async def _search(
        self,
        source: str,
        stop: asyncio.Event,
        fresh: float = math.inf,
        *,
        newest_first: bool = False,
    ) -> None:
        """Admit the leads that should have been admitted and were not, until `stop`; all but the first `fresh`
        of them wait behind fresh leads."""
        found, self._told_at = 0, time.monotonic()
        async with aclosing(self._find(newest_first=newest_first)) as batches:
            async for ids in batches:
                await self.admitter.admit(ids, source, is_behind=found >= fresh)
                found += len(ids)
                if self._is_time_to_tell():
                    logger.bind(leads=found, source=source).info("search.going_on")
                if stop.is_set():
                    break
        if found:
            logger.bind(leads=found, source=source).info("search.found")

    async def _search_late(self, source: str, stop: asyncio.Event) -> None:
        """Make skipped leads work whose inputs came while nobody was told."""
        taken_up = 0
        async with aclosing(self.admitter.late.missed()) as batches:
            async for found in batches:
                taken_up += await self.admitter.late.take_up(found)
                if stop.is_set():
                    break
        if taken_up:
            metrics.ADMITTED.labels(source).inc(taken_up)
            self.admitter.bell.ring()

    async def _find(self, *, newest_first: bool) -> AsyncGenerator[list[LeadId], None]:
        """Yield batches of what was missed. Those of a gap are among the newest, and need not wait until
        millions of others have been read."""
        first = [self._history.newest()] if newest_first else []
        for search in (*first, self._history.unadmitted()):
            async with aclosing(search) as batches:
                async for ids in batches:
                    yield ids

    async def once(self, stop: asyncio.Event) -> float:
        """In place of a stream. Returns the seconds to rest: ten times as long as it took, for it reads every
        lead without a status."""
        began = time.monotonic()
        await self._search("polling", stop)
        await self._search_late("polling", stop)
        return max(self.poll_seconds, 10 * (time.monotonic() - began))

    async def is_allowed(self) -> bool:
        """Return whether the record exists, or history would pass for new. Raises while the database is away."""
        checkpoint = await self._checkpoints.begin()
        is_on_record = checkpoint.strays_known and not checkpoint.rules.before
        return is_on_record and not await self._is_history_gone(checkpoint)

    # -- which leads are history -----------------------------------------------------------

    async def know_history(self, checkpoint: Checkpoint, stop: asyncio.Event) -> bool:
        """Return False when told to stop: recording a large collection takes longer than a stop may."""
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

    async def _know_history(self, checkpoint: Checkpoint) -> bool:
        """Make sure that the history is on record; return False when it had to be recorded now."""
        is_known = checkpoint.history_known and not await self._has_lost_history(checkpoint)
        if not is_known:
            with self._preparing("history"):
                try:
                    await self._record_history(checkpoint)
                finally:
                    self.on_record = None
        elif not checkpoint.strays_known:
            await self._checkpoints.history_is_known(await self._history.record_strays())
        await self._record_change(checkpoint)
        self._known.is_history = True
        return is_known

    async def _record_change(self, checkpoint: Checkpoint) -> None:
        """Put on record what a change of the rules has made leads of."""
        rules = checkpoint.rules
        if not rules.before:
            return
        with self._preparing("history"):
            leads = await self._history.record_excluded(rules.former)
            await self._checkpoints.change_is_on_record(rules.era, leads)
        logger.bind(leads=leads).info("history.recorded")

    async def _record_history(self, checkpoint: Checkpoint) -> None:
        begin = None if await self._history.is_gone() else checkpoint.history_from
        self.on_record = 0
        logger.bind(leads=0).info("history.recording")
        leads = await self._history.record(begin, self._tell_of_history)
        await self._checkpoints.history_is_known(leads)
        logger.bind(leads=leads).info("history.recorded")

    async def _tell_of_history(self, leads: int, begin: Document) -> None:
        await self._checkpoints.history_goes_on(begin)
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
        show = self.admitter.leads.gauges.preparing[step]
        show(1)
        self._told_at = time.monotonic()
        try:
            yield
        finally:
            show(0)

    async def _has_lost_history(self, checkpoint: Checkpoint) -> bool:
        """Return whether the record was dropped: without it a search would take all history for new leads."""
        lost = await self._is_history_gone(checkpoint)
        if lost:
            logger.bind(leads=checkpoint.history_leads).error("history.lost")
        return lost

    async def _is_history_gone(self, checkpoint: Checkpoint) -> bool:
        return checkpoint.history_leads > 0 and await self._history.is_gone()


# The stream is read, and opened again after each end.

_PROBE_EVERY_SECONDS = 300.0
_USUAL_READ_SECONDS = 1.5
"""With no event, a read waits for a second in the server."""


@dataclass(frozen=True, slots=True)
class Waits:
    """How long the watcher waits, in seconds."""

    start_search: float = 30.0
    """After a start, with the search that is for no gap."""
    stalled: float = 5.0
    """For an overdue answer of the stream. A read waits for one second in the server."""


@dataclass(slots=True)
class Watcher:
    """Reads the stream; what it tells goes to the admitter, what it may have missed to the search."""

    building: Building
    """The indexes of the leads that it reads."""
    changes: Changes
    checkpoints: Checkpoints
    history: History
    settings: WorkSettings
    late: Late | None = None
    """Without one, nothing that changes on a lead makes it work."""
    waits: Waits = field(default_factory=Waits)
    leads: Leads = field(init=False)
    bell: Bell = field(init=False)
    admitter: Admitter = field(init=False)
    search: Search = field(init=False)
    reading: Outage = field(init=False, default_factory=lambda: Outage("watcher"))
    is_watching: bool = field(init=False, default=False)
    """False until leads inserted from now on are sure to be seen as new."""
    is_streaming: bool = field(init=False, default=False)
    """The stream is open, and answers."""
    _unanswered_since: float | None = field(init=False, default=None)
    """Since when an answer of the stream is awaited, over all tries; `None` while none is."""
    _early: list[LeadId] = field(init=False, default_factory=list)
    """Leads inserted while a first process began."""

    def __post_init__(self) -> None:
        self.leads, self.bell = self.building.leads, self.building.bell
        late = self.late or Late(self.leads, lambda _: None)
        self.admitter = Admitter(
            self.leads, self.changes, self.checkpoints, self.history, self.building, self.bell, late
        )
        self.search = Search(self.admitter, self.settings.poll_seconds, self.waits.start_search)

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
                self._show_stream(is_open=False)
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
        self._show_stream(is_open=True)
        self.leads.gauges.position(self.changes.position_seconds)

    def _show_stream(self, *, is_open: bool) -> None:
        self.is_streaming = is_open
        self.leads.gauges.streaming(is_open)

    async def _close(self) -> None:
        try:
            await self.changes.close()
        except DatabaseTrouble as error:
            self.reading.failed(error)

    async def begin(self, began: float | None, server: Server) -> None:
        """Prepare before all work: nothing inserted from here on is history. `began` is the first moment
        of the process, by the monotonic clock. May be repeated. Raises DatabaseTrouble."""
        if began is not None and self.settings.stream and not await self.checkpoints.started_at():
            self._early = await inserted_since(self.leads.of_writers, began, server)
            await self.admitter.admit_early(self._early)
        self._go_by(await self.checkpoints.adopt())
        await self.building.begin()
        self.leads.hear_of(self._early)

    def _go_by(self, checkpoint: Checkpoint) -> None:
        rules, condition = checkpoint.rules, condition_of(self.leads.collection)
        self.leads.era, self.admitter.known.rules_since = rules.era, rules.since
        is_beside = self.leads.beside is not None  # only who asks for work writes `pending` there
        self.leads.lanes.must_be_admitted = not is_beside and (bool(condition) or rules.era > 1)
        self.history.has_changed = rules.era > 1
        self.admitter.late.since = checkpoint.inputs_since

    def groundwork(self) -> Groundwork:
        """Return what is being prepared beside the stream."""
        seconds = self.building.seconds
        return Groundwork(
            None if seconds is None else round(seconds, 1),
            self.building.indexes.are_coming,
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
                    self._show_stream(is_open=False)
                    rest = await self.search.once(stop)
            await pause(stop, rest)

    @property
    def _is_stalled(self) -> bool:
        since = self._unanswered_since
        return since is not None and time.monotonic() - since > self.waits.stalled


@dataclass(frozen=True, slots=True)
class Groundwork:
    """What a daemon prepares beside its work, because it takes long on a large collection."""

    building_seconds: float | None = None
    """How long the indexes have been building; `None` when they are not."""
    are_indexes_coming: bool = False
    """Indexes that a search for work needs are among them."""
    on_record: int | None = None
    """Leads from before the first start recorded so far; `None` unless that is under way."""


def join_groundwork(parts: Sequence[Groundwork]) -> Groundwork:
    """PURE Return what is being prepared in all collections together."""
    seconds = [each.building_seconds for each in parts if each.building_seconds is not None]
    on_record = [each.on_record for each in parts if each.on_record is not None]
    return Groundwork(
        max(seconds, default=None),
        any(each.are_indexes_coming for each in parts),
        sum(on_record) if on_record else None,
    )
