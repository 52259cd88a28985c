"""What stops the fleet from asking a vendor, read from the buckets for people. Changes nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from pymongo.asynchronous.database import AsyncDatabase

from enricher.lead import Document
from enricher.limits import provider_stops
from enricher.limits.bucket import COLLECTION
from enricher.values.storable import mapping

_LATEST = datetime(9999, 1, 1, tzinfo=UTC).timestamp()


@dataclass(frozen=True, slots=True)
class Stopped:
    """One bucket; what is over by now is `None`."""

    reason: str = ""
    held_until: datetime | None = None
    paused_until: datetime | None = None
    providers: Mapping[str, Stopped] = field(default_factory=dict)
    """Those of the bucket that are stopped alone."""

    def of(self, provider: str) -> Stopped:
        """What stops this one of the bucket."""
        alone = self.providers.get(provider)
        return replace(alone, paused_until=self.paused_until) if alone else self


async def stopped(
    database: AsyncDatabase[Document], buckets: Sequence[str], now: datetime
) -> Mapping[str, Stopped]:
    """Of the buckets that were ever used, by name. Raises DatabaseTrouble."""
    view = {"hold": 1, "paused_until": 1, provider_stops.FIELD: 1}
    found = database[COLLECTION].find({"_id": {"$in": list(buckets)}}, view)
    return {str(each["_id"]): _read(each, now) for each in await found.to_list()}


def _read(document: Document, now: datetime) -> Stopped:
    stops = mapping(document.get(provider_stops.FIELD))
    alone = {str(name): _hold(mapping(stop), now) for name, stop in stops.items()}
    return replace(
        _hold(mapping(document.get("hold")), now),
        paused_until=_later(document.get("paused_until"), now),
        providers={name: stop for name, stop in alone.items() if stop.held_until},
    )


def _hold(hold: Mapping[str, Any], now: datetime) -> Stopped:
    held_until, reason = _later(hold.get("until"), now), hold.get("reason")
    return Stopped(reason if held_until and isinstance(reason, str) else "", held_until)


def _later(milliseconds: Any, now: datetime) -> datetime | None:
    """The moment, if it is still to come; whatever else may stand there is none."""
    if not isinstance(milliseconds, int | float) or not milliseconds / 1000 > now.timestamp():
        return None
    return datetime.fromtimestamp(min(milliseconds / 1000, _LATEST), UTC)
