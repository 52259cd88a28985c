"""What a backfill needs of vendors, and whether it may be had now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC

from pymongo.asynchronous.database import AsyncDatabase

from enricher.calls.usage import Usage
from enricher.lead import Document
from enricher.limits.stopped import Stopped, stopped
from enricher.providers.base import Provider
from enricher.telemetry.log import redact

_USED_UP = "the budget is used up"


@dataclass(frozen=True, slots=True)
class Room:
    """How it stands now."""

    held: Mapping[str, str] = field(default_factory=dict)
    """Provider that may not be asked -> why."""
    calls: int | None = None
    """What is left of the smallest budget; `None` without one."""


@dataclass(frozen=True, slots=True)
class Needs:
    """The providers that are yet to be asked, with the budgets of their vendors."""

    database: AsyncDatabase[Document]
    providers: Sequence[Provider]
    usage: Usage

    async def room(self) -> Room:
        """Raises DatabaseTrouble. Changes nothing."""
        if not self.providers:
            return Room()
        hello = await self.database.client.admin.command("hello")
        now = hello["localTime"].replace(tzinfo=UTC)
        buckets = await stopped(self.database, [each.bucket for each in self.providers], now)
        stops = {each: buckets.get(each.bucket, Stopped()).of(each.name) for each in self.providers}
        held = {each.name: redact(stop.reason) for each, stop in stops.items() if stop.held_until}
        vendors = {each.vendor for each in self.providers}
        budgets = [each for each in await self.usage.budgets() if each.vendor in vendors]
        spent = {each.vendor for each in budgets if not each.left}
        used_up = {each.name: _USED_UP for each in self.providers if each.vendor in spent}
        return Room(used_up | held, min((each.left for each in budgets), default=None))
