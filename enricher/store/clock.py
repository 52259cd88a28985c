"""The server's clock, for what cannot be left to `$$NOW` inside the database."""

from __future__ import annotations

import time
from datetime import UTC, date, datetime, timedelta

from pymongo import AsyncMongoClient

from enricher.lead import Document


class ServerClock:
    """What time it is by the server, as last heard and carried on by our own monotonic clock.

    It is late by the way from the server to us, so what depends on it is checked by the server.
    """

    def __init__(self, client: AsyncMongoClient[Document]) -> None:
        self._client = client
        self._at = datetime.now(UTC)
        self._heard: float | None = None

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
