"""The server's clock, for what cannot be left to `$$NOW` inside the database."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, date, datetime

from pymongo import AsyncMongoClient

from enricher.lead import Document

_FRESH_SECONDS = 5.0


class ServerOffset:
    """The server's clock, as this process's monotonic clock sees it.

    The quickest recent exchange sets the offset; its error is half that exchange's time, and grows with
    its age.
    """

    _DRIFT = 2e-4
    _TOLERANCE = 0.02

    def __init__(self) -> None:
        self._offset = self.error = self._noted_at = 0.0
        self.is_known = False

    def note(self, sent: float, received: float, server: float) -> bool:
        """Take in one exchange; True when the server's clock has jumped ahead since the last."""
        offset, error = server - (sent + received) / 2, (received - sent) / 2
        before = self.error + self._DRIFT * max(0.0, received - self._noted_at)
        ahead = offset - self._offset
        is_new = not self.is_known
        has_jumped = not is_new and abs(ahead) > before + error + self._TOLERANCE
        if is_new or has_jumped or error <= before:
            self._offset, self.error, self._noted_at = offset, error, received
            self.is_known = True
        return has_jumped and ahead > 0

    def local(self, server: float) -> float:
        """This process's time when the server's is `server`."""
        return server - self._offset

    def server(self, local: float) -> float:
        return local + self._offset


class ServerClock:
    """The server's time as last heard, carried on by our own monotonic clock.

    It is late by the time the reply took to reach us, so the server checks whatever depends on it.
    """

    def __init__(
        self, client: AsyncMongoClient[Document], wall: Callable[[], float] = time.time
    ) -> None:
        """`wall`: our own clock, in seconds. It may be wrong; it only shows that time has passed."""
        self._client = client
        self._wall = wall
        self._began_at = datetime.now(UTC)
        self._offset = ServerOffset()
        self._asked: tuple[float, float] | None = None

    def heard(self, at: datetime) -> None:
        """Note that the server has just said that it is `at`. The last word counts, whatever was said before."""
        now = time.monotonic()
        self._offset.note(now, now, at.timestamp())

    def now(self) -> datetime:
        """Return the server's time; until the server has been heard, the time at which this clock was made."""
        if not self._offset.is_known:
            return self._began_at
        return datetime.fromtimestamp(self._offset.server(time.monotonic()), UTC)

    async def today(self) -> date:
        """Return the server's date; asks the server the first time. Raises DatabaseTrouble."""
        if not self._offset.is_known:
            hello = await self._client.admin.command("hello")
            self.heard(hello["localTime"].replace(tzinfo=UTC))
        return self.now().date()

    async def fresh(self) -> datetime:
        """Return the server's time, asking again every few seconds. Raises DatabaseTrouble.

        The server's clock may be set, another member may have become primary, our clock may run slow. So
        the result is behind the server by no more than has happened since the last request, and ahead of
        it by no more than a round trip.
        """
        if not self._was_asked_lately():
            asked, wall = time.monotonic(), self._wall()
            hello = await self._client.admin.command("hello")
            said = hello["localTime"].replace(tzinfo=UTC).timestamp()
            self._offset.note(asked, asked, said)
            self._asked = asked, wall
        return self.now()

    def _was_asked_lately(self) -> bool:
        """True within `_FRESH_SECONDS` of the last request; only the wall clock shows that the machine slept."""
        if self._asked is None:
            return False
        monotonic, wall = self._asked
        passed = max(time.monotonic() - monotonic, abs(self._wall() - wall))
        return passed < _FRESH_SECONDS
