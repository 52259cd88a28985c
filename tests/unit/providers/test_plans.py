"""What is left of a vendor's plan is asked for now and then, and nothing depends on it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import httpx
import pytest

from enricher.calls.releases import Plans
from enricher.providers.http import HttpProvider
from enricher.providers.hunter import HunterCompany, HunterVerifier
from tests.support import vendor_case
from tests.support.observing import counted, events, logged
from tests.support.scripted import Scripted, company, provider
from tests.support.waiting import eventually, patience

ACCOUNT = {
    "verifications": {"used": 40, "available": 100},
    "credits": {"used": 10.5, "available": 50},
}


def account(status: int, requests: object) -> httpx.Response:
    return httpx.Response(status, json={"data": {"email": "ada@acme.com", "requests": requests}})


@pytest.mark.parametrize(
    ("kind", "answer", "left"),
    [
        (HunterVerifier, account(200, ACCOUNT), 60),
        (HunterVerifier, account(200, {"credits": ACCOUNT["credits"]}), 39.5),
        (HunterCompany, account(200, ACCOUNT), 39.5),
        (HunterCompany, account(200, {"credits": {"used": "some"}}), None),
        (HunterCompany, httpx.Response(401, json={"errors": [{"id": "unauthorized"}]}), None),
        (HunterCompany, httpx.Response(200, content=b"<html>"), None),
    ],
)
async def test_hunters_account_tells_what_is_left(
    kind: type[HttpProvider], answer: httpx.Response, left: float | None
) -> None:
    asked: list[str] = []

    def handler(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path)
        return answer

    assert await vendor_case.provider(kind, handler).quota_left() == left
    assert asked == ["/v2/account"]


def telling(name: str, tell: Callable[[], Awaitable[float | None]]) -> Scripted:
    """A provider that says by `tell` what is left."""
    made = provider(name, company(name="Acme"))
    vars(made)["quota_left"] = tell
    return made


async def silent() -> float | None:
    return None


async def twelve() -> float | None:
    return 12.5


async def breaks() -> float | None:
    raise ValueError("no")


async def test_what_a_vendor_tells_is_shown_and_one_that_breaks_stops_nobody() -> None:
    providers = [telling("broken", breaks), telling("silent", silent), telling("tells", twelve)]
    stop = asyncio.Event()

    def shown() -> bool:
        return counted("enricher_provider_quota_left_credits", provider="tells") == 12.5

    with logged() as lines:
        running = asyncio.create_task(Plans(providers, 0.01).run(stop))
        await eventually(shown)
        stop.set()
        await running
    assert {line.fields["provider"] for line in events(lines, "provider.broken")} == {"broken"}


async def test_a_stop_does_not_wait_for_a_vendor() -> None:
    is_asked, stop = asyncio.Event(), asyncio.Event()

    async def takes_its_time() -> float | None:
        is_asked.set()
        await asyncio.sleep(60)
        return None

    running = asyncio.create_task(Plans([telling("slow", takes_its_time)], 0.01).run(stop))
    async with patience(5):
        await is_asked.wait()
        stop.set()
        await running


async def test_a_start_alone_asks_nobody() -> None:
    is_asked, stop = asyncio.Event(), asyncio.Event()

    async def tell() -> float | None:
        is_asked.set()
        return None

    running = asyncio.create_task(Plans([telling("not_yet", tell)]).run(stop))
    await asyncio.sleep(0)
    stop.set()
    await running
    assert not is_asked.is_set()
