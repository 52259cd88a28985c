"""An event for each settle, and none without one, however daemons die; and the webhook hears of all of them."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from pymongo.asynchronous.uri_parser import parse_uri
from standardwebhooks.webhooks import Webhook as Verifier

from enricher.errors import ExitCode
from enricher.lead import Document
from enricher.queue.outbox import COLLECTION, DRAFTS
from tests.support.cable import Cable, serving
from tests.support.processes import Daemon, bound_to_us
from tests.support.receiver import open_inbox
from tests.support.rig import SETTLED, Rig, domain, key_of
from tests.support.waiting import eventually, patience
from tests.support.wire import Request, command_of

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "events_consumer.py"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
TIME = {"$type": "date"}
ON = {"ENRICHER_EVENTS": "true", "ENRICHER_LEASE_SECONDS": 2, "ENRICHER_POLL_SECONDS": 0.5}


def companies(count: int) -> list[Document]:
    return [{"_id": number, "company_domain": domain()} for number in range(count)]


@dataclass
class Trap(Cable):
    """Kills the daemon at its other end when it sends this command, before the server has it, or once it has."""

    command: Request = ("", "")
    passes: bool = False
    pid: int = 0
    sprung: asyncio.Event = field(default_factory=asyncio.Event)

    async def _request_may_pass(self, chunk: bytes) -> None:
        await super()._request_may_pass(chunk)
        is_it = len(chunk) > 40 and command_of(chunk) == self.command
        if not is_it or not self.pid or self.sprung.is_set():
            return
        self.sprung.set()
        os.kill(self.pid, signal.SIGKILL)
        if not self.passes:
            raise ConnectionResetError


@asynccontextmanager
async def trap(rig: Rig, command: str, collection: str, *, passes: bool) -> AsyncIterator[Trap]:
    host, port = (await parse_uri(rig.uri))["nodelist"][0]
    made = Trap(host, port or 27017, command=(command, collection), passes=passes)
    async with serving(made) as cable:
        yield cable


async def told(rig: Rig) -> Counter[bytes]:
    """How many events name each lead."""
    return Counter([key_of(each["lead"]) async for each in rig.database[COLLECTION].find()])


def settled(rig: Rig) -> Counter[bytes]:
    """How often each lead was settled, by the witness."""
    ends = {
        lead: sum(step.status in SETTLED and not step.by_insert for step in steps)
        for lead, steps in rig.witness.steps.items()
    }
    return Counter({lead: times for lead, times in ends.items() if times})


async def all_is_told(rig: Rig) -> bool:
    return await told(rig) == settled(rig) and not await rig.database[DRAFTS].count_documents({})


@pytest.mark.parametrize(
    ("command", "collection", "passes"),
    [
        ("insert", DRAFTS, True),
        ("insert", COLLECTION, False),
        ("insert", COLLECTION, True),
    ],
)
async def test_a_daemon_killed_at_any_step_leaves_one_event_for_each_settle(
    rig: Rig, command: str, collection: str, passes: bool
) -> None:
    leads = companies(20)
    async with trap(rig, command, collection, passes=passes) as cable:
        async with rig.daemon("clearbit", **ON, MONGODB_URI=cable.uri) as killed:
            await killed.wait_for_event("stream.opened")
            cable.pid = killed.pid
            await rig.leads.insert_many(leads)
            await cable.sprung.wait()
            await killed.wait()
        async with rig.daemon("clearbit", **ON):
            await rig.witness.all_ended(lead["_id"] for lead in leads)
            await eventually(lambda: all_is_told(rig), within=30)


async def some_end(rig: Rig, leads: list[int], some: int) -> None:
    await rig.witness.until(lambda: len(rig.witness.ended(leads)) >= some)


async def test_two_daemons_that_are_killed_again_and_again_tell_of_each_settle_once(
    rig: Rig,
) -> None:
    rig.simulator.latency, rig.simulator.jitter = 0.02, 0.3
    leads = companies(200)
    ids = [lead["_id"] for lead in leads]
    async with rig.daemon("clearbit", **ON) as survivor:
        await survivor.wait_for_event("stream.opened")
        for part in range(3):
            async with rig.daemon("clearbit", **ON) as killed:
                await killed.wait_for_event("stream.opened")
                await rig.leads.insert_many(leads[part * 60 : 60 * (part + 1)])
                begun = [lead["_id"] for lead in leads[part * 60 :]]
                await some_end(rig, begun, 10)
                killed.kill()
                await killed.wait()
        await rig.leads.insert_many(leads[180:])
        await rig.witness.all_ended(ids, within=60)
        await eventually(lambda: all_is_told(rig), within=30)
    assert set((await told(rig)).values()) == {1}


@pytest.mark.parametrize("write", ["lead", "beside"])
async def test_the_webhook_hears_of_every_lead_and_stops_in_time(
    rig: Rig, tmp_path_factory: pytest.TempPathFactory, write: str
) -> None:
    config = tmp_path_factory.mktemp("config") / "sources.toml"
    config.write_text(f'[[source]]\ncollection = "leads"\nwrite = "{write}"\n')
    leads = companies(20)
    async with open_inbox() as inbox:
        given = {"ENRICHER_WEBHOOK_URL": inbox.url, "ENRICHER_WEBHOOK_SECRET": SECRET}
        async with rig.daemon("clearbit", **given, ENRICHER_CONFIG=config) as daemon:
            await daemon.wait_for_event("stream.opened")
            await rig.leads.insert_many(leads)
            await eventually(lambda: len({post.id for post in inbox.posts}) == 20)
            inbox.always(500)
            await rig.leads.insert_one({"_id": "late", "company_domain": domain()})
            await eventually(lambda: len(inbox.posts) > 20)
            await eventually(lambda: rig.database[COLLECTION].find_one({"webhook.failed_at": TIME}))
            env = {**rig.environment("clearbit"), **given, "ENRICHER_CONFIG": str(config)}
            checked, code = await told_by(env, "check")
            shown, _ = await told_by(env, "status")
            found = json.loads((await told_by(env, "status", "--json"))[0])["webhook"]
            page = (await daemon.get("/status.json")).text
            daemon.terminate()
            assert await daemon.wait() == 0
            written = str(daemon.lines) + daemon.stdout + checked + shown + str(found) + page
    [address, deliveries] = (line_of(checked, name) for name in ("webhook", "deliveries"))
    to = f"http://127.0.0.1:{inbox.port}"
    assert address == f"ok       {to} takes connections; posts are signed with one secret"
    assert deliveries.startswith("FAILED   1 events wait, the oldest for ")
    assert deliveries.endswith("; HTTP 500")
    assert code == ExitCode.CHECK_FAILED
    assert (found["to"], found["waiting"], found["error"]) == (to, 1, "HTTP 500")
    assert found["delivered_at"] < found["failing_since"]
    assert json.loads(page)["webhook"].keys() == found.keys()
    assert f"{to}: 1 events wait" in shown
    for post in inbox.posts:
        Verifier(SECRET).verify(post.body, dict(post.headers))
    assert {post.data["lead"] for post in inbox.posts} == {*range(20), "late"}
    assert SECRET not in written
    assert "a-secret-of-the-path" not in written


async def told_by(env: dict[str, str], *command: str) -> tuple[str, int | None]:
    async with Daemon(*command, env=env) as run:
        code = await run.wait(60)
        return run.stdout, code


def line_of(printed: str, subject: str) -> str:
    [line] = [each for each in printed.splitlines() if each.split()[:1] == [subject]]
    return line.removeprefix(subject).strip()


async def test_check_says_whether_there_is_a_webhook_and_whether_it_can_be_reached(
    rig: Rig,
) -> None:
    env = rig.environment("clearbit")
    checked, code = await told_by(env, "check")
    assert "ENRICHER_WEBHOOK_URL is not set; events are off" in line_of(checked, "webhook")
    assert code == ExitCode.OK
    async with open_inbox() as inbox:
        port = inbox.port
    given = {"ENRICHER_WEBHOOK_URL": inbox.url, "ENRICHER_WEBHOOK_SECRET": SECRET}
    checked, code = await told_by({**env, **given}, "check")
    told = f"http://127.0.0.1:{port} cannot be reached: the connection failed (refused)"
    assert line_of(checked, "webhook") == f"FAILED   {told}"
    assert code == ExitCode.CHECK_FAILED
    assert "a-secret-of-the-path" not in checked


async def test_the_example_of_a_consumer_goes_on_where_it_ended(rig: Rig) -> None:
    env = {"MONGODB_URI": rig.uri, "MONGODB_DATABASE": rig.database.name}
    positions = rig.database["positions"]
    async with rig.daemon("clearbit", **ON) as daemon:
        await daemon.wait_for_event("stream.opened")
        async with consumer(env) as line:
            assert await line() == "watching"
            await rig.leads.insert_one({"_id": "seen", "company_domain": domain()})
            assert (await line()).split()[1:] == ["seen", "completed"]
            await eventually(lambda: positions.find_one({}))
        await rig.leads.insert_one({"_id": "missed", "company_domain": domain()})
        assert await rig.witness.end_of("missed") == "completed"
        async with consumer(env) as line:
            assert await line() == "watching"
            assert (await line()).split()[1:] == ["missed", "completed"]


@asynccontextmanager
async def consumer(env: dict[str, str]) -> AsyncIterator[Callable[[], Awaitable[str]]]:
    """The example as a process; yields what waits for its next line."""
    process = await asyncio.create_subprocess_exec(
        *bound_to_us(), sys.executable, str(EXAMPLE), env=env, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    output = process.stdout

    async def line() -> str:
        async with patience(20):
            return (await output.readline()).decode().rstrip()

    try:
        yield line
    finally:
        process.kill()
        await process.communicate()
