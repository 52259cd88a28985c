"""Send events to the webhook, try again in growing waits, and give up in the end.

What counts as delivered is an answer from 200 to 299 within fifteen seconds; its body is not read, and a redirect is not
followed. `410 Gone` means that the receiver wants no more: this daemon sends nothing until it is started again, as with
providers that are held. All other answers, and none, are failures. The waits are those that the Standard Webhooks
specification proposes, so an event is given up after some three days.

While the receiver fails for everything, one event at a time is tried, after ever longer pauses: the others keep
their tries, and wait in the database. Nothing is held in memory but what is on its way.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random

import aiohttp
from loguru import logger
from yarl import URL

from enricher.lead import Document
from enricher.mongo import DatabaseTrouble
from enricher.mongo.outage import Outage, pause
from enricher.process import shortage
from enricher.providers import transport
from enricher.telemetry import metrics
from enricher.webhook.deliveries import Deliveries
from enricher.webhook.signature import body_of, headers_of

WAITS = (
    *(timedelta(seconds=5), timedelta(minutes=5), timedelta(minutes=30)),
    *(timedelta(hours=hours) for hours in (2, 5, 10, 14, 20, 24)),
)
"""After the first try, the second, ...; then it is given up."""
_JITTER = 0.1
TRY_SECONDS = 15.0
_CONNECT_SECONDS = 10.0
_AT_ONCE = 16
_LOOK_SECONDS = 1.0
"""How often to look for what other daemons published, and for what is due again."""
_COUNT_SECONDS = 15.0
_FAILING = 5
"""Failures in a row after which the receiver counts as down."""
_LONGEST_PAUSE_SECONDS = 60.0
_GONE = 410
_AGAIN = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one try."""

    status: int | None
    error: str = ""
    wait_seconds: float = 0.0
    """How long the receiver asked to wait."""
    is_our_own: bool = False
    """This process could not send it."""

    @property
    def is_success(self) -> bool:
        return self.status is not None and 200 <= self.status < 300  # noqa: PLR2004 - a success in HTTP

    @property
    def why(self) -> str:
        return self.error or f"HTTP {self.status}"


@dataclass(frozen=True, slots=True, repr=False)
class Receiver:
    """The operator's address."""

    session: aiohttp.ClientSession
    url: URL
    keys: Sequence[bytes]
    now: Callable[[], datetime] = lambda: datetime.now(UTC)

    async def post(self, event: Document) -> Answer:
        """Send the event once. Raises nothing of the network's."""
        if shortage.are_descriptors_short():
            return Answer(None, "no more sockets", is_our_own=True)
        body, at = body_of(event), int(self.now().timestamp())
        headers = headers_of(self.keys, event["_id"], at, body)
        try:
            async with asyncio.timeout(TRY_SECONDS):
                return await self._answer(headers, body)
        except TimeoutError:
            return Answer(None, "no answer in time")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            is_our_own = transport.is_our_own(error) or transport.is_unroutable(error)
            return Answer(None, transport.failure(error), is_our_own=is_our_own)

    async def _answer(self, headers: Mapping[str, str], body: bytes) -> Answer:
        posting = self.session.post(self.url, data=body, headers=headers, allow_redirects=False)
        async with posting as response:
            told = {"retry-after": response.headers.get("Retry-After", "")}
            response.close()  # whatever else it says
            wait = transport.retry_after(told, self.now())
            return Answer(response.status, wait_seconds=wait or 0.0)


@asynccontextmanager
async def open_receiver(
    url: str, keys: Sequence[bytes], user_agent: str
) -> AsyncIterator[Receiver]:
    """Open the client. Raises SettingsError as `transport.open_client`."""
    connector = aiohttp.TCPConnector(limit=_AT_ONCE, ssl=transport.trusted())
    session = aiohttp.ClientSession(
        connector=transport.bound(connector),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"User-Agent": user_agent},
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS),
        auto_decompress=False,
    )
    async with session:
        yield Receiver(session, URL(url, encoded=True), keys)


async def reach(url: str) -> str | None:
    """Connect to the receiver as a try would, and send nothing. Return what went wrong."""
    to = URL(url, encoded=True)
    context = transport.trusted() if to.scheme == "https" else None
    try:
        async with asyncio.timeout(_CONNECT_SECONDS):
            _, writer = await asyncio.open_connection(to.host, to.port, ssl=context)
    except TimeoutError:
        return "the connection failed (timeout)"
    except (OSError, ValueError) as error:
        return transport.failure(error)
    writer.transport.abort()  # a farewell may take the receiver half a minute
    return None


@dataclass(slots=True)
class Reception:
    """How the receiver has taken what one daemon sent it: whether it is down, or wants no more."""

    failures: int = 0
    """In a row."""
    failing_since: float = 0.0
    """When the first of them was, by the monotonic clock."""
    is_gone: bool = False

    @property
    def is_down(self) -> bool:
        return self.failures >= _FAILING

    @property
    def at_once(self) -> int:
        """How many events may be on their way together."""
        if self.is_gone:
            return 0
        return 1 if self.is_down else _AT_ONCE

    @property
    def longest_pause_seconds(self) -> float:
        """How long to wait at most between two tries, while it is down."""
        return min(_LONGEST_PAUSE_SECONDS, 2.0 ** min(self.failures - _FAILING, 20))

    def learn(self, answer: Answer, *, is_alone: bool) -> None:
        """Note what came of one try; `is_alone` says that no other was under way."""
        if answer.is_our_own:
            return
        if answer.is_success:
            self._succeed()
            return
        if answer.status == _GONE and not self.is_gone:
            self.is_gone = True
            metrics.WEBHOOK_GONE.set(1)
            logger.error("webhook.gone")
        if is_alone or not self.is_down:
            # Else it was begun before; the pauses grow by tries that nothing else is beside.
            self._fail(answer)

    def _succeed(self) -> None:
        if self.is_down:
            seconds = round(time.monotonic() - self.failing_since, 1)
            logger.bind(seconds=seconds).info("webhook.available")
        self.failures = 0

    def _fail(self, answer: Answer) -> None:
        self.failures += 1
        if self.failures == 1:
            self.failing_since = time.monotonic()
        if self.failures == _FAILING:
            logger.bind(error=answer.why).warning("webhook.unavailable")


@dataclass(slots=True)
class Webhook:
    """The loop of one daemon."""

    receiver: Receiver
    deliveries: Deliveries
    grace_seconds: float = TRY_SECONDS
    look_seconds: float = _LOOK_SECONDS
    waits: Sequence[timedelta] = WAITS
    outage: Outage = field(default_factory=lambda: Outage("webhook"))
    random: Random = field(default_factory=Random)
    _woken: asyncio.Event = field(init=False, default_factory=asyncio.Event)
    _sending: set[asyncio.Task[None]] = field(init=False, default_factory=set)
    _reception: Reception = field(init=False, default_factory=Reception)
    _counted_at: float = field(init=False, default=float("-inf"))

    def ring(self) -> None:
        """Say that there may be something to deliver."""
        self._woken.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Deliver until told to stop, and finish what is on its way, within the grace period."""
        stopping = asyncio.create_task(self._wake_to_stop(stop), name="webhook-stop")
        try:
            while not stop.is_set():
                await self._turn(stop)
            await self._finish()
        finally:
            stopping.cancel()
            for task in self._sending:
                task.cancel()
            await asyncio.gather(*self._sending, return_exceptions=True)

    async def _wake_to_stop(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self._woken.set()

    async def _finish(self) -> None:
        if self._sending:
            await asyncio.wait(self._sending, timeout=min(self.grace_seconds, 2 * TRY_SECONDS))

    async def _turn(self, stop: asyncio.Event) -> None:
        self._woken.clear()
        try:
            await self._show()
            taken = await self.deliveries.take(room) if (room := self._room) else []
        except DatabaseTrouble as error:
            await pause(stop, self.outage.failed(error))
            return
        self.outage.succeeded()
        for event in taken:
            self._begin(event)
        if not taken or not self._room:
            await self._wait()
        if self._reception.is_down and not self._sending:
            await pause(stop, self._pause_seconds)

    @property
    def _room(self) -> int:
        return max(0, self._reception.at_once - len(self._sending))

    @property
    def _pause_seconds(self) -> float:
        return self._reception.longest_pause_seconds * (0.5 + 0.5 * self.random.random())

    async def _wait(self) -> None:
        """Wait until something is published or a try ends; after a second, look whether other daemons published."""
        try:
            async with asyncio.timeout(self.look_seconds):
                await self._woken.wait()
        except TimeoutError:
            return

    # -- one event -------------------------------------------------------------------------

    def _begin(self, event: Document) -> None:
        task = asyncio.create_task(self._deliver(event), name="webhook-delivery")
        self._sending.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._sending.discard(task)
        self._woken.set()
        if not task.cancelled() and (error := task.exception()):
            logger.opt(exception=error).error("webhook.broken")

    async def _deliver(self, event: Document) -> None:
        began = time.monotonic()
        answer = await self.receiver.post(event)
        metrics.DELIVERY_SECONDS.observe(time.monotonic() - began)
        self._reception.learn(answer, is_alone=len(self._sending) <= 1)
        try:
            await self._note(event, answer)
        except DatabaseTrouble as error:  # tried again when the claim has run out
            self.outage.failed(error)

    async def _note(self, event: Document, answer: Answer) -> None:
        if answer.is_success:
            metrics.DELIVERIES.labels("delivered").inc()
            await self.deliveries.delivered(event)
        elif answer.status == _GONE:
            metrics.DELIVERIES.labels("gone").inc()
            await self.deliveries.give_back(event, answer.why, _AGAIN, is_failure=True)
        elif answer.is_our_own:
            await self.deliveries.give_back(event, answer.why, _AGAIN)
        else:
            await self._note_failure(event, answer)

    async def _note_failure(self, event: Document, answer: Answer) -> None:
        again_in = self._again_in(event["webhook"]["attempts"], answer)
        metrics.DELIVERIES.labels("failed" if again_in else "given_up").inc()
        await self.deliveries.failed(event, answer.why, again_in)
        if again_in is None:
            logger.bind(id=event["_id"], error=answer.why).error("webhook.given_up")

    def _again_in(self, attempts: int, answer: Answer) -> timedelta | None:
        """Return the wait after that many tries, or the longer one that the receiver asked for."""
        if attempts > len(self.waits):
            return None
        wait = self.waits[attempts - 1] * (1 + _JITTER * self.random.random())
        return max(wait, timedelta(seconds=answer.wait_seconds))

    async def _show(self) -> None:
        began = time.monotonic()
        if began - self._counted_at < _COUNT_SECONDS:
            return
        waiting = await self.deliveries.waiting()
        self._counted_at = began
        metrics.UNDELIVERED.set(waiting.events)
        metrics.OLDEST_UNDELIVERED.set(waiting.oldest_seconds or 0.0)
