"""The server's clock, for what cannot be left to `$$NOW` inside the database."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

from pymongo import AsyncMongoClient

from enricher.lead import Document

_FRESH_SECONDS = 5.0


class ServerClock:
    """What time it is by the server, as last heard and carried on by our own monotonic clock.

    It is late by the way from the server to us, so what depends on it is checked by the server.
    """

    def __init__(
        self, client: AsyncMongoClient[Document], wall: Callable[[], float] = time.time
    ) -> None:
        """`wall`: our own clock, in seconds. It may be wrong, and says only that time has passed."""
        self._client = client
        self._wall = wall
        self._at = datetime.now(UTC)
        self._heard: float | None = None
        self._asked: tuple[float, float] | None = None

    def heard(self, at: datetime) -> None:
        """The server just said that it is `at`."""
        self._at, self._heard = at.astimezone(UTC), time.monotonic()

    def now(self) -> datetime:
        """Until the server has been heard, the time at which we began to listen."""
        since = 0.0 if self._heard is None else time.monotonic() - self._heard
        return self._at + timedelta(seconds=since)

    async def today(self) -> date:
        """Asks the server, the first time. Raises DatabaseTrouble."""
        if self._heard is None:
            hello = await self._client.admin.command("hello")
            self.heard(hello["localTime"].replace(tzinfo=UTC))
        return self.now().date()

    async def fresh(self) -> datetime:
        """Asks the server again every few seconds: its clock may be set, another member may have become
        primary, ours may run slow. So this is never behind it by more than happened since, and ahead
        of it by no more than the way there and back. Raises DatabaseTrouble.
        """
        if not self._was_asked_lately():
            asked = time.monotonic(), self._wall()
            hello = await self._client.admin.command("hello")
            self._at, self._heard = hello["localTime"].replace(tzinfo=UTC), asked[0]
            self._asked = asked
        return self.now()

    def _was_asked_lately(self) -> bool:
        """A machine that was asleep notices it by its wall clock alone."""
        if self._asked is None:
            return False
        monotonic, wall = self._asked
        passed = max(time.monotonic() - monotonic, abs(self._wall() - wall))
        return passed < _FRESH_SECONDS
