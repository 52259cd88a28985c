"""Events reach a receiver at least once, those of a lead in order, whatever the receiver does."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiohttp import web
from pydantic import SecretStr
from pymongo.asynchronous.database import AsyncDatabase
from standardwebhooks.webhooks import Webhook as Verifier

from enricher.lead import Document
from enricher.mongo import server
from enricher.queue.outbox import COLLECTION
from enricher.settings.types import webhook_keys
from enricher.webhook.deliveries import Deliveries
from enricher.webhook.sending import WAITS, Receiver, Webhook, open_receiver
from tests.support.receiver import Inbox, open_inbox
from tests.support.waiting import eventually

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
KEYS = webhook_keys(SecretStr(SECRET))
AT_ONCE = (timedelta(0),) * 3


@pytest.fixture
async def ours(mongodb_uri: str) -> AsyncIterator[AsyncDatabase[Document]]:
    async with server.connect(mongodb_uri, pool=16) as client:
        database = client[f"test_{uuid.uuid4().hex}"]
        await Deliveries(database).ensure()
        yield database
        await client.drop_database(database.name)


@pytest.fixture
async def inbox() -> AsyncIterator[Inbox]:
    async with open_inbox() as opened:
        yield opened


@pytest.fixture
async def receiver(inbox: Inbox) -> AsyncIterator[Receiver]:
    async with open_receiver(inbox.url, KEYS, "enricher/test") as opened:
        yield opened


async def publish(database: AsyncDatabase[Document], *leads: int, first: int = 1) -> None:
    """An event for each, those of one lead in this order."""
    at = datetime.now(UTC) - timedelta(seconds=1)
    for token, lead in enumerate(leads, first):
        told = {"status": "completed", "changed": [], "attempt": 1, "at": at}
        due = {"due_at": at, "attempts": 0}
        where = {"_id": f"evt_{lead}_{token}", "collection": "leads", "lead": lead, "token": token}
        await database[COLLECTION].insert_one({**where, **told, "webhook": due})


@asynccontextmanager
async def delivering(
    database: AsyncDatabase[Document], receiver: Receiver, **options: Any
) -> AsyncIterator[Webhook]:
    webhook = Webhook(receiver, Deliveries(database), look_seconds=0.05, **options)
    stop = asyncio.Event()
    running = asyncio.create_task(webhook.run(stop))
    try:
        yield webhook
    finally:
        stop.set()
        await running


async def states(database: AsyncDatabase[Document]) -> list[Document]:
    return [each["webhook"] async for each in database[COLLECTION].find().sort("_id", 1)]


async def are_over(database: AsyncDatabase[Document]) -> bool:
    return not any("due_at" in each for each in await states(database))


async def test_an_event_is_delivered_once_and_signed(
    ours: AsyncDatabase[Document], inbox: Inbox, receiver: Receiver
) -> None:
    await publish(ours, 7)
    async with delivering(ours, receiver):
        await eventually(lambda: are_over(ours))
    [post] = inbox.posts
    Verifier(SECRET).verify(post.body, dict(post.headers))
    assert (post.id, post.data["lead"]) == ("evt_7_1", 7)
    [state] = await states(ours)
    assert state.keys() == {"attempts", "delivered_at"}


async def test_two_daemons_share_the_events(
    ours: AsyncDatabase[Document], inbox: Inbox, receiver: Receiver
) -> None:
    await publish(ours, *range(60))
    async with delivering(ours, receiver), delivering(ours, receiver):
        await eventually(lambda: are_over(ours))
    assert len({post.id for post in inbox.posts}) == len(inbox.posts) == 60


async def test_events_of_one_lead_come_in_their_order(
    ours: AsyncDatabase[Document], inbox: Inbox, receiver: Receiver
) -> None:
    await publish(ours, *[1, 2, 3] * 8)
    failures = iter([500, 503] * 6)

    async def answer(_: web.Request) -> web.StreamResponse:
        await asyncio.sleep(0.01)
        return web.Response(status=next(failures, 200))

    inbox.answer = answer
    waits = (timedelta(milliseconds=30),) * 12
    async with (
        delivering(ours, receiver, waits=waits),
        delivering(ours, receiver, waits=waits),
    ):
        await eventually(lambda: are_over(ours), within=30)
    for lead in (1, 2, 3):
        said = [post.id for post in inbox.posts if post.data["lead"] == lead]
        firsts = list(dict.fromkeys(said))
        assert firsts == [f"evt_{lead}_{token}" for token in range(lead, 25, 3)]
        assert said == sorted(said, key=firsts.index), (
            "one began before the one before it had ended"
        )


@pytest.mark.parametrize("status", [400, 404, 429, 500, 503, 301])
async def test_what_fails_is_tried_again_and_given_up_in_the_end(
    ours: AsyncDatabase[Document], inbox: Inbox, receiver: Receiver, status: int
) -> None:
    inbox.always(status, Location="/elsewhere")
    await publish(ours, 7)
    async with delivering(ours, receiver, waits=AT_ONCE):
        await eventually(lambda: are_over(ours))
    assert [post.id for post in inbox.posts] == ["evt_7_1"] * 4
    [state] = await states(ours)
    assert (state["error"], state["attempts"]) == (f"HTTP {status}", 4)
    assert "given_up_at" in state
    waiting = await Deliveries(ours).waiting()
    assert (waiting.events, waiting.given_up) == (0, 1)


async def test_it_is_known_when_the_receiver_last_took_one_and_since_when_it_takes_none(
    ours: AsyncDatabase[Document], inbox: Inbox, receiver: Receiver
) -> None:
    deliveries = Deliveries(ours)
    await publish(ours, 1)
    async with delivering(ours, receiver):
        await eventually(lambda: are_over(ours))
    well = await deliveries.waiting()
    assert (well.failing_since, well.error) == (None, None)
    assert well.delivered_at is not None

    inbox.always(503)
    await publish(ours, 2, 3)
    async with delivering(ours, receiver):
        await eventually(lambda: len(inbox.posts) == 3)
    failing = await deliveries.waiting()
    assert (failing.delivered_at, failing.error) == (well.delivered_at, "HTTP 503")
    assert failing.failing_since is not None
    assert failing.failing_since > well.delivered_at

    inbox.answer = None
    await ours[COLLECTION].update_many(
        {"webhook.due_at": {"$exists": True}}, {"$currentDate": {"webhook.due_at": True}}
    )
    async with delivering(ours, receiver):
        await eventually(lambda: are_over(ours))
    again = await deliveries.waiting()
    assert (again.failing_since, again.error) == (None, None)
    assert again.delivered_at is not None
    assert again.delivered_at > failing.failing_since


async def test_what_the_receiver_wants_no_more_counts_as_failing(
    ours: AsyncDatabase[Document], inbox: Inbox, receiver: Receiver
) -> None:
    inbox.always(410)
    await publish(ours, 1)
    async with delivering(ours, receiver):
        await eventually(lambda: len(inbox.posts) == 1)
    found = await Deliveries(ours).waiting()
    assert (found.events, found.error) == (1, "HTTP 410")
    assert found.failing_since is not None


async def test_a_connection_that_breaks_is_a_failure(
    ours: AsyncDatabase[Document], inbox: Inbox, receiver: Receiver
) -> None:
    inbox.reset()
    await publish(ours, 7)
    async with delivering(ours, receiver, waits=AT_ONCE[:1]):
        await eventually(lambda: are_over(ours))
    [state] = await states(ours)
    assert state["error"] == "the connection failed (reset)"


async def test_a_receiver_that_recovers_gets_everything(
    ours: AsyncDatabase[Document], inbox: Inbox, receiver: Receiver
) -> None:
    inbox.always(500)
    await publish(ours, *range(30))
    async with delivering(ours, receiver, waits=(timedelta(milliseconds=10),) * 40):
        await eventually(lambda: len(inbox.posts) > 5)
        inbox.answer = None
        await eventually(lambda: are_over(ours), within=30)
    assert all("delivered_at" in each for each in await states(ours))


async def test_a_receiver_that_is_down_is_tried_with_one_event_at_a_time(
    ours: AsyncDatabase[Document], inbox: Inbox, receiver: Receiver
) -> None:
    inbox.always(500)
    await publish(ours, *range(100))
    async with delivering(ours, receiver) as webhook:
        await eventually(lambda: webhook._reception.is_down and not webhook._sending)
        before = len(inbox.posts)
        await eventually(lambda: len(inbox.posts) > before)
        assert len(webhook._sending) <= 1
    assert len(inbox.posts) <= 20
    waiting = await Deliveries(ours).waiting()
    assert (waiting.events, waiting.error) == (100, "HTTP 500")


async def test_gone_ends_the_deliveries_and_costs_no_try(
    ours: AsyncDatabase[Document], inbox: Inbox, receiver: Receiver
) -> None:
    inbox.always(410)
    await publish(ours, 7)
    async with delivering(ours, receiver) as webhook:
        await eventually(lambda: webhook._reception.is_gone and not webhook._sending)
        await publish(ours, 8)
        webhook.ring()
        await asyncio.sleep(0.2)
    assert len(inbox.posts) == 1
    first, _ = await states(ours)
    assert (first["attempts"], first["error"]) == (0, "HTTP 410")


async def test_a_receiver_may_ask_to_wait(
    ours: AsyncDatabase[Document], inbox: Inbox, receiver: Receiver
) -> None:
    inbox.always(429, **{"Retry-After": "1000"})
    await publish(ours, 7)
    async with delivering(ours, receiver):
        await eventually(lambda: len(inbox.posts) == 1)
        await eventually(lambda: _has_error(ours))
    [state] = await states(ours)
    wait = state["due_at"] - datetime.now(UTC)
    assert timedelta(seconds=900) < wait <= timedelta(seconds=1000)


async def _has_error(database: AsyncDatabase[Document]) -> bool:
    return all("error" in each for each in await states(database))


async def test_a_receiver_that_never_answers_holds_up_no_end(
    ours: AsyncDatabase[Document], inbox: Inbox, receiver: Receiver
) -> None:
    never = asyncio.Event()

    async def answer(_: web.Request) -> web.StreamResponse:
        await never.wait()
        return web.Response()

    inbox.answer = answer
    await publish(ours, 7)
    async with delivering(ours, receiver, grace_seconds=0.1):
        await eventually(lambda: inbox.posts)
    never.set()
    [state] = await states(ours)
    assert "claim" in state, "whoever sends it next waits for the end of the claim"


async def test_an_event_of_a_dead_daemon_is_delivered_by_the_next(
    ours: AsyncDatabase[Document], inbox: Inbox, receiver: Receiver
) -> None:
    await publish(ours, 7)
    [dead] = await Deliveries(ours).take(16)
    assert await Deliveries(ours).take(16) == []
    over = {"$set": {"webhook.due_at": datetime.now(UTC) - timedelta(seconds=1)}}
    await ours[COLLECTION].update_one({"_id": dead["_id"]}, over)
    async with delivering(ours, receiver):
        await eventually(lambda: are_over(ours))
    await Deliveries(ours).failed(dead, "late", timedelta(0))
    assert await are_over(ours), "what the dead one says of it no longer counts"


async def test_many_behind_one_that_waits_are_out_of_the_way(
    ours: AsyncDatabase[Document], inbox: Inbox, receiver: Receiver
) -> None:
    await publish(ours, 1)
    [first] = await Deliveries(ours).take(1)
    await Deliveries(ours).failed(first, "HTTP 500", timedelta(hours=1))
    await publish(ours, *[1] * 100, first=2)
    await publish(ours, 2)
    async with delivering(ours, receiver):
        await eventually(lambda: [post.data["lead"] for post in inbox.posts] == [2])


def test_the_waits_are_those_of_the_specification_and_end_after_three_days() -> None:
    assert [each.total_seconds() for each in WAITS[:3]] == [5, 300, 1800]
    assert sum(WAITS, timedelta()) > timedelta(days=3)
