"""Asking over real sockets, through the transport the daemon uses: broken servers and time limits."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import aiohttp
import pytest
import trustme
from aiohttp import web
from pydantic import SecretStr

from enricher.answer import Found, Query, Unavailable
from enricher.errors import SettingsError
from enricher.providers.apollo import ApolloPerson
from enricher.providers.base import Access
from enricher.providers.clearbit import ClearbitCompany
from enricher.providers.http import HttpProvider
from enricher.providers.hunter import HunterVerifier
from enricher.providers.transport import failure, open_client
from tests.support.waiting import business

KEY = "top-secret-key"
ADDRESS = "pat+crm@acme.example"
QUERY = Query(email=ADDRESS, company_domain="acme.example")
REFUSED = Unavailable("the connection failed (refused)")
RESET = Unavailable("the connection failed (reset)")
TLS = Unavailable("the connection failed (TLS)")

Serve = Callable[[web.Request], Awaitable[web.StreamResponse]]
each_provider = pytest.mark.parametrize(
    "provider", [ClearbitCompany, HunterVerifier], ids=["clearbit", "hunter"]
)


@pytest.fixture
async def serve() -> AsyncIterator[Callable[[Serve], Awaitable[str]]]:
    runners: list[web.AppRunner] = []

    async def start(handler: Serve, tls: ssl.SSLContext | None = None) -> str:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", handler)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        runners.append(runner)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
        return f"{'https' if tls else 'http'}://127.0.0.1:{runner.addresses[0][1]}"

    yield start
    for runner in runners:
        await runner.cleanup()


async def reset(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def reset_within_the_body(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Length": "1000"})
    await response.prepare(request)
    await response.write(b'{"name": "Acme"')
    assert request.transport is not None
    request.transport.abort()
    return response


async def hang(request: web.Request) -> web.StreamResponse:
    await asyncio.sleep(30)
    return web.Response()


async def drip(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    for _ in range(600):
        await response.write(b" ")
        await asyncio.sleep(0.05)
    return response


async def talk_nonsense(request: web.Request) -> web.StreamResponse:
    assert isinstance(request.transport, asyncio.Transport)
    request.transport.write(b"I am no web server\r\n\r\n")
    await asyncio.sleep(0.05)
    request.transport.close()
    return web.Response()


async def flood(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    for _ in range(800):
        await response.write(b"x" * 65_536)
    return response


async def send_endless_headers(request: web.Request) -> web.StreamResponse:
    return web.Response(headers={"X-Long": "x" * 1_000_000})


@each_provider
@pytest.mark.parametrize(
    ("handler", "reason"),
    [
        (reset, "the connection failed (reset)"),
        (reset_within_the_body, "the body was cut off"),
        (talk_nonsense, "the connection failed"),
        (send_endless_headers, "the connection failed"),
        (hang, "timed out"),
        (drip, "timed out"),
        (flood, "the body is too large"),
    ],
)
async def test_a_broken_server_is_unavailable_within_the_time_limit(
    serve: Callable[[Serve], Awaitable[str]],
    provider: type[HttpProvider],
    handler: Serve,
    reason: str,
) -> None:
    base_url = await serve(handler)
    limit = 0.4 if reason == "timed out" else 5.0 * business()
    started = time.monotonic()
    async with open_client() as http:
        answer = await provider(http, Access(SecretStr(KEY), base_url, timeout=limit)).ask(QUERY)
    assert answer == Unavailable(reason)
    assert time.monotonic() - started < 5.0 * business()


@each_provider
async def test_a_port_where_nobody_listens_is_unavailable(provider: type[HttpProvider]) -> None:
    async with open_client() as http:
        access = Access(SecretStr(KEY), "http://127.0.0.1:1", timeout=30.0)
        assert await provider(http, access).ask(QUERY) == REFUSED


async def test_a_server_that_speaks_no_tls_is_told_from_one_that_is_gone(
    serve: Callable[[Serve], Awaitable[str]],
) -> None:
    base_url = (await serve(reset)).replace("http://", "https://")
    async with open_client() as http:
        access = Access(SecretStr(KEY), base_url, timeout=30.0)
        assert await ClearbitCompany(http, access).ask(QUERY) == TLS


@pytest.mark.parametrize(
    ("cause", "kind"),
    [
        (socket.gaierror("acme.example: no such host"), " (name not found)"),
        (ssl.SSLCertVerificationError("acme.example"), " (TLS)"),
        (ConnectionRefusedError("10.0.0.1"), " (refused)"),
        (BrokenPipeError(), " (reset)"),
        (ExceptionGroup("all", [OSError(), ConnectionRefusedError()]), " (refused)"),
        (OSError("https://acme.example"), ""),
    ],
)
def test_a_failed_connection_says_of_what_kind_and_not_to_whom(cause: Exception, kind: str) -> None:
    error = aiohttp.ClientConnectionError(str(cause))
    error.__cause__ = cause
    assert failure(error) == f"the connection failed{kind}"


async def test_an_answer_may_take_as_long_as_the_time_limit(
    serve: Callable[[Serve], Awaitable[str]],
) -> None:
    async def answer_late(request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(0.3)
        return web.json_response({"name": "Acme", "description": "Late."})

    base_url = await serve(answer_late)
    async with open_client() as http:
        answer = await ClearbitCompany(http, Access(SecretStr(KEY), base_url)).ask(QUERY)
    assert isinstance(answer, Found)


async def test_a_plus_in_an_address_arrives_and_nothing_private_is_logged(
    serve: Callable[[Serve], Awaitable[str]], caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[web.Request] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        seen.append(request)
        return web.json_response({"data": {"status": "valid"}})

    caplog.set_level(logging.DEBUG)
    base_url = await serve(answer)
    async with open_client() as http:
        found = await HunterVerifier(http, Access(SecretStr(KEY), base_url)).ask(QUERY)
    assert isinstance(found, Found)
    assert seen[0].query["email"] == ADDRESS
    assert KEY not in seen[0].path_qs
    ours = [record.getMessage() for record in caplog.records if record.name != "aiohttp.access"]
    assert not [line for line in ours if "acme.example" in line or KEY in line]


async def test_a_connection_lost_between_two_questions_is_not_asked_over_silently(
    serve: Callable[[Serve], Awaitable[str]],
) -> None:
    calls: list[str] = []

    async def answer_once(request: web.Request) -> web.StreamResponse:
        calls.append(request.path)
        return await reset(request) if len(calls) > 1 else web.json_response({"name": "Acme"})

    base_url = await serve(answer_once)
    async with open_client() as http:
        provider = ClearbitCompany(http, Access(SecretStr(KEY), base_url, timeout=30.0))
        assert isinstance(await provider.ask(QUERY), Found)
        assert await provider.ask(QUERY) == RESET
    assert len(calls) == 2


async def test_a_cookie_does_not_travel_from_one_question_to_the_next(
    serve: Callable[[Serve], Awaitable[str]],
) -> None:
    cookies: list[str | None] = []

    async def set_cookie(request: web.Request) -> web.StreamResponse:
        cookies.append(request.headers.get("cookie"))
        return web.json_response({"name": "Acme"}, headers={"Set-Cookie": "visitor=1; Path=/"})

    base_url = await serve(set_cookie)
    async with open_client() as http:
        provider = ClearbitCompany(http, Access(SecretStr(KEY), base_url, timeout=30.0))
        for _ in range(2):
            await provider.ask(QUERY)
    assert cookies == [None, None]


async def test_a_request_says_no_more_than_a_vendor_needs(
    serve: Callable[[Serve], Awaitable[str]],
) -> None:
    seen: list[web.Request] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        seen.append(request)
        return web.json_response({})

    base_url = await serve(answer)
    async with open_client(user_agent="enricher/test") as http:
        await ApolloPerson(http, Access(SecretStr(KEY), base_url)).ask(QUERY)
    assert seen[0].method == "POST"
    assert {name.lower(): value for name, value in seen[0].headers.items()} == {
        "host": base_url.removeprefix("http://"),
        "user-agent": "enricher/test",
        "accept": "application/json",
        "accept-encoding": "gzip",
        "x-api-key": KEY,
        "content-length": "0",
    }


async def test_an_answer_that_comes_packed_is_unpacked(
    serve: Callable[[Serve], Awaitable[str]],
) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.json_response({"name": "Acme"})
        response.enable_compression(web.ContentCoding.gzip)
        return response

    base_url = await serve(answer)
    async with open_client() as http:
        assert isinstance(
            await ClearbitCompany(http, Access(SecretStr(KEY), base_url)).ask(QUERY), Found
        )


async def test_no_call_waits_for_the_connections_of_others(
    serve: Callable[[Serve], Awaitable[str]],
) -> None:
    """Its moment would pass, and all that waited would leave at once."""
    asked, all_are_there = 0, asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        nonlocal asked
        asked += 1
        if asked == 150:
            all_are_there.set()
        await all_are_there.wait()
        return web.json_response({"name": "Acme"})

    base_url = await serve(answer)
    async with open_client() as http:
        provider = ClearbitCompany(http, Access(SecretStr(KEY), base_url))
        answers = await asyncio.gather(*(provider.ask(QUERY) for _ in range(150)))
    assert all(isinstance(each, Found) for each in answers)


async def test_a_vendor_that_lets_nobody_in_cannot_have_charged_anything() -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        crowd = [socket.socket() for _ in range(3)]
        for each in crowd:
            each.setblocking(False)
            each.connect_ex(full.getsockname())
        base_url = f"http://127.0.0.1:{full.getsockname()[1]}"
        async with open_client() as http:
            provider = ClearbitCompany(http, Access(SecretStr(KEY), base_url, timeout=0.5))
            tried = await provider.exchange(QUERY)
        for each in crowd:
            each.close()
    assert tried.answer == Unavailable("timed out")
    assert tried.is_charged is False


async def test_authorities_that_cannot_be_read_are_an_error_of_the_settings(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "nowhere.pem"))
    with pytest.raises(SettingsError, match="SSL_CERT_FILE"):
        async with open_client():
            pass


@pytest.mark.parametrize("knows_it", [True, False])
async def test_an_authority_of_ones_own_is_trusted_when_the_environment_names_it(
    serve: Callable[..., Awaitable[str]],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    *,
    knows_it: bool,
) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    if knows_it:
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(tls)

    async def answer(request: web.Request) -> web.StreamResponse:
        return web.json_response({"name": "Acme"})

    base_url = await serve(answer, tls)
    async with open_client() as http:
        said = await ClearbitCompany(http, Access(SecretStr(KEY), base_url)).ask(QUERY)
    assert isinstance(said, Found) if knows_it else said == TLS
