"""Searches for leads that were never admitted: where no event may have told of them.

A stream is opened first and the search comes second, so that nothing falls in between. A start searches as
well, for what any earlier version or outage left behind, once the stream has had the time to tell of what
was inserted meanwhile. Before a search it must be known which leads are history (see `history.py`).

The search, and the record of the history that it needs, may take minutes on a large collection. A task of
their own makes them while the stream's leads go on.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager, suppress
from dataclasses import dataclass, field

from loguru import logger

from enricher.intake.admitter import Admitter, Known
from enricher.intake.checkpoints import Checkpoint, Checkpoints
from enricher.intake.history import History
from enricher.lead import Document, LeadId
from enricher.mongo import DatabaseTrouble
from enricher.mongo.outage import Outage, pause
from enricher.telemetry import metrics

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
        return max(self.poll_seconds, 10 * (time.monotonic() - began))

    async def is_allowed(self) -> bool:
        """Return whether the record exists, or history would pass for new. Raises while the database is away."""
        checkpoint = await self._checkpoints.begin()
        return checkpoint.strays_known and not await self._is_history_gone(checkpoint)

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
        self._known.is_history = True
        return is_known

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
        metrics.PREPARING.labels(step).set(1)
        self._told_at = time.monotonic()
        try:
            yield
        finally:
            metrics.PREPARING.labels(step).set(0)

    async def _has_lost_history(self, checkpoint: Checkpoint) -> bool:
        """Return whether the record was dropped: without it a search would take all history for new leads."""
        lost = await self._is_history_gone(checkpoint)
        if lost:
            logger.bind(leads=checkpoint.history_leads).error("history.lost")
        return lost

    async def _is_history_gone(self, checkpoint: Checkpoint) -> bool:
        return checkpoint.history_leads > 0 and await self._history.is_gone()
