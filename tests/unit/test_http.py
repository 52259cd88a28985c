"""The pages, asked by a real client over a real socket."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import aiohttp
import pytest
from loguru import logger
from prometheus_client import CollectorRegistry, Counter
from prometheus_client.registry import Collector

from enricher.errors import SettingsError
from enricher.http import Check, Checks, HttpServer, no_status
from enricher.settings.load import HttpSettings


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    logger.remove()
    yield
    logger.remove()


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


def server(
    checks: Checks | None = None,
    registry: CollectorRegistry | None = None,
    *,
    port: int = 0,
    host: str = "127.0.0.1",
    clock: Callable[[], float] | None = None,
    status: Callable[[], Awaitable[str | None]] = no_status,
) -> HttpServer:
    settings = HttpSettings(host=host, port=port)
    registry = registry or CollectorRegistry()
    if clock is None:
        return HttpServer(settings, registry, checks or {}, status)
    return HttpServer(settings, registry, checks or {}, status, stale_after=10.0, clock=clock)


def url(running: HttpServer, path: str) -> str:
    return f"http://127.0.0.1:{running.port}{path}"


async def test_metrics_are_those_of_the_registry_in_prometheus_own_type(
    client: aiohttp.ClientSession,
) -> None:
    registry = CollectorRegistry()
    Counter("enricher_things", "Things.", registry=registry).inc(3)
    async with server(registry=registry) as running, client.get(url(running, "/metrics")) as reply:
        assert reply.status == 200
        assert reply.headers["Content-Type"].startswith("text/plain; version=")
        assert "enricher_things_total 3.0" in await reply.text()


async def test_a_free_port_is_chosen_for_port_0() -> None:
    async with server() as one, server() as other:
        assert 0 not in (one.port, other.port)
        assert one.port != other.port


async def test_livez_is_200_while_the_loop_turns(client: aiohttp.ClientSession) -> None:
    async with server() as running, client.get(url(running, "/livez")) as reply:
        assert reply.status == 200
        assert (await reply.json())["status"] == "alive"


async def test_livez_is_503_when_the_loop_last_turned_too_long_ago(
    client: aiohttp.ClientSession,
) -> None:
    now = 100.0
    async with server(clock=lambda: now) as running:
        await asyncio.sleep(0)
        now = 110.0
        async with client.get(url(running, "/livez")) as reply:
            assert reply.status == 503
            assert await reply.json() == {"status": "stuck", "loop_age_seconds": 10.0}


async def test_livez_does_not_look_at_the_checks(client: aiohttp.ClientSession) -> None:
    checks = {"mongo": lambda: Check(ok=False, detail="unreachable")}
    async with server(checks) as running, client.get(url(running, "/livez")) as reply:
        assert reply.status == 200


async def test_readyz_is_200_and_lists_the_checks_when_all_are_ok(
    client: aiohttp.ClientSession,
) -> None:
    checks = {"mongo": lambda: Check(ok=True), "claims": lambda: Check(ok=True, detail="1 s ago")}
    async with server(checks) as running, client.get(url(running, "/readyz")) as reply:
        assert reply.status == 200
        assert await reply.json() == {
            "status": "ready",
            "checks": {
                "mongo": {"ok": True, "detail": ""},
                "claims": {"ok": True, "detail": "1 s ago"},
            },
        }


async def test_readyz_is_503_and_says_which_check_fails(client: aiohttp.ClientSession) -> None:
    checks = {
        "mongo": lambda: Check(ok=False, detail="no answer from mongodb://u:secret@db"),
        "claims": lambda: Check(ok=True),
    }
    async with server(checks) as running, client.get(url(running, "/readyz")) as reply:
        assert reply.status == 503
        body = await reply.json()
    assert body["status"] == "not ready"
    assert body["checks"]["mongo"] == {
        "ok": False,
        "detail": "no answer from mongodb://[secret]@db",
    }
    assert body["checks"]["claims"]["ok"] is True


async def test_readyz_follows_the_checks(client: aiohttp.ClientSession) -> None:
    is_up = False
    async with server({"mongo": lambda: Check(ok=is_up)}) as running:
        async with client.get(url(running, "/readyz")) as reply:
            assert reply.status == 503
        is_up = True
        async with client.get(url(running, "/readyz")) as reply:
            assert reply.status == 200


async def test_a_check_that_raises_is_a_failed_check(client: aiohttp.ClientSession) -> None:
    def broken() -> Check:
        raise KeyError("jane@acme.com")

    async with server({"mongo": broken}) as running, client.get(url(running, "/readyz")) as reply:
        assert reply.status == 503
        detail = (await reply.json())["checks"]["mongo"]["detail"]
    assert detail == "the check failed (KeyError)"


async def test_another_path_is_404_in_json(client: aiohttp.ClientSession) -> None:
    async with server() as running, client.get(url(running, "/nothing")) as reply:
        assert reply.status == 404
        assert await reply.json() == {"error": "Not Found"}


async def _status() -> str | None:
    return '{"leads": "crm.leads"}'


async def _away() -> str | None:
    return None


async def test_the_status_is_passed_on_as_it_is_and_kept_by_nobody(
    client: aiohttp.ClientSession,
) -> None:
    async with (
        server(status=_status) as running,
        client.get(url(running, "/status.json")) as reply,
    ):
        assert (reply.status, await reply.json()) == (200, {"leads": "crm.leads"})
        assert reply.headers["Cache-Control"] == "no-store"


async def test_the_status_is_503_while_mongodb_does_not_answer(
    client: aiohttp.ClientSession,
) -> None:
    async with server(status=_away) as running, client.get(url(running, "/status.json")) as reply:
        assert (reply.status, await reply.json()) == (503, {"error": "MongoDB does not answer"})


async def test_the_page_comes_with_its_policy_and_does_not_wait_for_mongodb(
    client: aiohttp.ClientSession,
) -> None:
    async with server(status=_away) as running, client.get(url(running, "/")) as reply:
        assert reply.status == 200
        assert reply.headers["Content-Type"] == "text/html; charset=utf-8"
        assert "default-src 'none'" in reply.headers["Content-Security-Policy"]
        assert "<title>enricher</title>" in await reply.text()


@pytest.mark.parametrize("path", ["/", "/status.json", "/report.json"])
async def test_the_page_and_the_status_only_read(client: aiohttp.ClientSession, path: str) -> None:
    async with server() as running, client.post(url(running, path)) as reply:
        assert (reply.status, reply.headers["Allow"]) == (405, "GET,HEAD")


async def test_another_method_is_405_in_json_and_says_what_is_allowed(
    client: aiohttp.ClientSession,
) -> None:
    async with server() as running, client.post(url(running, "/metrics")) as reply:
        assert reply.status == 405
        assert reply.headers["Allow"] == "GET,HEAD"
        assert await reply.json() == {"error": "Method Not Allowed"}


async def test_a_bug_is_500_in_json_and_shows_nothing_of_itself(
    client: aiohttp.ClientSession,
) -> None:
    class Broken(Collector):
        def collect(self) -> Iterator[object]:  # type: ignore[override]
            raise ValueError("jane@acme.com")

    registry = CollectorRegistry(auto_describe=False)
    registry._collector_to_names[Broken()] = []
    async with server(registry=registry) as running, client.get(url(running, "/metrics")) as reply:
        assert reply.status == 500
        assert await reply.json() == {"error": "Internal Server Error"}


async def test_a_port_in_use_is_named_with_its_setting() -> None:
    async with server() as running:
        with pytest.raises(SettingsError) as caught:
            async with server(port=running.port):
                pass
    assert caught.value.problems == [
        f"ENRICHER_HTTP_PORT: port {running.port} on 127.0.0.1 is in use"
    ]


@pytest.mark.parametrize("host", ["192.0.2.1", "no such host"])
async def test_an_address_of_another_machine_is_named_with_its_setting(host: str) -> None:
    with pytest.raises(SettingsError) as caught:
        async with server(host=host):
            pass
    assert caught.value.problems == [
        "ENRICHER_HTTP_HOST: expected an address of this machine (value not shown)"
    ]


async def test_after_the_end_the_port_is_free_and_no_task_is_left() -> None:
    before = asyncio.all_tasks()
    async with server() as running:
        port = running.port
    assert asyncio.all_tasks() == before
    with socket.socket() as probe, pytest.raises(ConnectionRefusedError):
        probe.connect(("127.0.0.1", port))
