"""Notices that a hold is over and calls back the leads that wait for it.

A hold ends for the whole fleet when one daemon is restarted (`wiring.Reopening`), or when its time is up.
A held provider is not asked, so no daemon would hear of that: each looks every second. Until it does, it
still postpones leads for as long as the hold was to last; these are brought back as well. A lead
postponed then may still be in work for another vendor, so leads are brought back once more after the
longest time that one may be in work.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from random import Random

from loguru import logger

from enricher.calls.question import Gate
from enricher.mongo import DatabaseTrouble
from enricher.mongo.outage import Outage, pause
from enricher.providers.base import Provider
from enricher.telemetry import metrics

_DEFAULT_PACE = 10.0


@dataclass(slots=True)
class Releases:
    """`bring_back(provider, per_second, stop)` calls back the leads that one provider holds."""

    gates: Sequence[Gate]
    bring_back: Callable[[str, float, asyncio.Event], Awaitable[int]]
    lead_seconds: float
    """The longest time that a lead may be in work."""
    can_search: Callable[[], bool] = lambda: True
    """False while the indexes are being built: finding held leads would read every lead."""
    look_seconds: float = 1.0
    gone: Sequence[str] = ()
    """Providers that are not asked any more: without a key by now, or turned off. Nobody looks whether they are held."""
    sharing: int = 1
    """How many sources of this process call back leads at the same time, each at its part of the pace."""
    outage: Outage = field(default_factory=lambda: Outage("holds"))
    _held: set[str] = field(init=False, default_factory=set)
    _due: dict[str, list[float]] = field(init=False, default_factory=dict)
    """Provider -> when to bring its leads back, by the monotonic clock."""

    def call_back(self, providers: Iterable[str]) -> None:
        """Schedule the return of the leads that these providers held, for as soon as the loop runs."""
        now = time.monotonic()
        self._due |= {name: [now, now + self.lead_seconds] for name in providers}

    async def run(self, stop: asyncio.Event) -> None:
        """Run until told to stop."""
        seconds = self.look_seconds
        while not stop.is_set():
            await pause(stop, seconds)
            self._look(time.monotonic())
            seconds = await self._serve(time.monotonic(), stop)

    def _look(self, now: float) -> None:
        for gate in self.gates:
            if gate.look() is not None:
                self._held.add(gate.name)
                self._due.pop(gate.name, None)
            elif gate.name in self._held:
                self._held.remove(gate.name)
                self._due[gate.name] = [now, now + self.lead_seconds]

    async def _serve(self, now: float, stop: asyncio.Event) -> float:
        """Bring back what is due. Returns the seconds to wait before the next look."""
        paces = {gate.name: pace(gate.provider) for gate in self.gates}
        names = [*paces, *(name for name in self.gone if name not in paces)]
        due = [name for name in names if self._is_due(name, now) and self.can_search()]
        if not due:
            self.outage.forget()
            return self.look_seconds
        try:
            for name in due:
                per_second = paces.get(name, _DEFAULT_PACE) / self.sharing
                brought = await self.bring_back(name, per_second, stop)
                if brought:
                    logger.bind(provider=name, leads=brought).info("leads.called_back")
                self._due[name] = [at for at in self._due[name] if at > now]
        except DatabaseTrouble as error:
            return max(self.look_seconds, self.outage.failed(error))
        self.outage.succeeded()
        return self.look_seconds

    def _is_due(self, provider: str, now: float) -> bool:
        return any(at <= now for at in self._due.get(provider, ()))


def pace(provider: Provider) -> float:
    """Return the calls per second that the provider's limits allow."""
    windows = provider.windows
    return min((window.calls / window.seconds for window in windows), default=_DEFAULT_PACE)


# Asks vendors now and then what is left of their plans, for a gauge; only those that tell for nothing.
#
# Nothing depends on the answer: whether a call is still paid for, the vendor says when it is asked.


@dataclass(slots=True)
class Plans:
    """The loop. Even the first request waits a while, so daemons that keep restarting ask no vendor."""

    providers: Sequence[Provider]
    every_seconds: float = 600.0
    random: Random = field(default_factory=Random)

    async def run(self, stop: asyncio.Event) -> None:
        """Run until told to stop, without waiting for a vendor that is slow at that moment."""
        async with asyncio.TaskGroup() as group:
            asking = group.create_task(self._keep_asking(stop), name="plans-asking")
            await stop.wait()
            asking.cancel()

    async def _keep_asking(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            await pause(stop, self.every_seconds * (0.5 + 0.5 * self.random.random()))
            for provider in self.providers:
                await _ask(provider)


async def _ask(provider: Provider) -> None:
    try:
        left = await provider.quota_left()
    except Exception as error:  # noqa: BLE001 - a provider may be third-party code
        logger.bind(provider=provider.name).opt(exception=error).error("provider.broken")
        return
    if left is not None:
        metrics.QUOTA_LEFT.labels(provider.name).set(left)
