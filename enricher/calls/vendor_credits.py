"""Asks vendors now and then what is left of their plans, for a gauge; only those that tell for nothing.

Nothing depends on the answer: whether a call is still paid for, the vendor says when it is asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

from loguru import logger

from enricher.mongo.outage import pause
from enricher.providers.base import Provider
from enricher.telemetry import metrics


@dataclass(slots=True)
class Plans:
    """The loop. The first time, too, is only after a while: daemons that keep restarting ask nobody."""

    providers: Sequence[Provider]
    every_seconds: float = 600.0
    random: Random = field(default_factory=Random)

    async def run(self, stop: asyncio.Event) -> None:
        """Until told to stop; a vendor who is slow just then is not waited for."""
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
    except Exception as error:  # noqa: BLE001 - a provider may be anybody's code
        logger.bind(provider=provider.name).opt(exception=error).error("provider.broken")
        return
    if left is not None:
        metrics.QUOTA_LEFT.labels(provider.name).set(left)
