"""Tells the fleet's picture of this daemon, every few seconds: who it is and what it does.

Nothing depends on it. While MongoDB is away it waits like every loop, and readiness does not look at
it; a user who may not write it (`enricher_daemons`) is told so once, and the work goes on unseen.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from random import Random

from loguru import logger

from enricher import __version__
from enricher.calls.gate import Gate
from enricher.intake.watcher import Preparing
from enricher.mongo import DatabaseTrouble
from enricher.mongo.outage import Outage, pause
from enricher.mongo.refusal import is_denied
from enricher.queue.aside import Aside
from enricher.status.activity import Activity
from enricher.status.daemons import Daemons
from enricher.status.fleet import GateState, Presence, Report
from enricher.telemetry import metrics
from enricher.telemetry.readings import by_provider, value

EVERY_SECONDS = 3.0
_AFTER_DENIAL_SECONDS = 60.0
"""The privilege may be granted meanwhile."""
_LAST_WORD_SECONDS = 2.0


@dataclass(slots=True)
class Calls:
    """Tries of each provider within the last minute, by what the counters said a minute ago."""

    clock: Callable[[], float] = time.monotonic
    seconds: float = 60.0
    _samples: deque[tuple[float, Mapping[str, float]]] = field(default_factory=deque)

    def within_a_minute(self, totals: Mapping[str, float]) -> dict[str, int]:
        """`totals` are the counters as they stand now."""
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
    lag: Callable[[], float]
    """Of the stream, in seconds."""
    aside: Aside = field(default_factory=Aside)
    preparing: Callable[[], Preparing] = Preparing
    """What a large collection makes long, as far as it is now."""
    every_seconds: float = EVERY_SECONDS
    outage: Outage = field(default_factory=lambda: Outage("presence"))
    random: Random = field(default_factory=Random)
    calls: Calls = field(default_factory=Calls)
    _started_at: float = field(default_factory=time.monotonic)
    _told: int = -1
    """`activity.endings` as last told."""
    _is_denied: bool = False

    async def run(self, drained: asyncio.Event, stopping: asyncio.Event) -> None:
        """Until the last lead has been given up; then a last word."""
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
        """Without it the dead are not removed; readers leave them out all the same."""
        try:
            await self.daemons.ensure()
        except DatabaseTrouble as error:
            if not is_denied(error):
                self.outage.failed(error)

    async def _tell(self, presence: Presence) -> float:
        """Returns the seconds until the next time."""
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
        is_open = bool(value(metrics.STREAMING))
        return Report(
            version=__version__,
            uptime_seconds=round(time.monotonic() - self._started_at, 1),
            presence=presence,
            in_work=round(value(metrics.IN_WORK)),
            concurrency=round(value(metrics.CONCURRENCY)),
            is_stream_open=is_open,
            stream_lag_seconds=round(self.lag(), 3) if is_open else None,
            gates=self._gates(),
            set_aside=self.aside.leads,
            **asdict(self.preparing()),
        )

    def _gates(self) -> list[GateState]:
        calls = self.calls.within_a_minute(by_provider(metrics.REQUESTS))
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
