"""Asking over HTTP: whatever a server does, `ask` answers with a value, in time, and tells nobody."""

from __future__ import annotations

import gzip
import time
import zlib
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from loguru import logger
from pydantic import SecretStr

from enricher.answer import Answer, Found, Query, Reply, Throttled, Unavailable
from enricher.providers.base import Access, Request
from enricher.providers.clearbit import ClearbitCompany
from enricher.providers.http import HttpProvider
from enricher.providers.hunter import HunterVerifier
from enricher.providers.transport import MAX_BODY_BYTES, open_client
from tests.support.mock_client import mock_client

KEY = "top-secret-key"
ADDRESS = "pat+crm@acme.example"
QUERY = Query(email=ADDRESS, company_domain="acme.example")
PROVIDERS = [ClearbitCompany, HunterVerifier]
FAILED = "the connection failed"
"""With the kind behind it, where that is known."""

each_provider = pytest.mark.parametrize("provider", PROVIDERS, ids=["clearbit", "hunter"])


def is_failed(answer: Answer) -> bool:
    return isinstance(answer, Unavailable) and answer.reason.startswith(FAILED)


class Chunks(httpx.AsyncByteStream):
    """A body that is sent as it is, piece by piece, and says how much of it was taken."""

    def __init__(self, piece: bytes, times: int = 1) -> None:
        self._piece = piece
        self._times = times
        self.taken = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for _ in range(self._times):
            self.taken += len(self._piece)
            yield self._piece


async def ask(
    provider: type[HttpProvider], handler: Any, base_url: str = "https://vendor.example"
) -> Answer:
    http = mock_client(handler)
    return await provider(http, Access(SecretStr(KEY), base_url, timeout=2.0)).ask(QUERY)


@each_provider
async def test_a_body_of_50_megabytes_is_not_read_to_its_end(provider: type[HttpProvider]) -> None:
    body = Chunks(b"x" * 65_536, times=800)
    answer = await ask(provider, lambda _: httpx.Response(200, stream=body))
    assert answer == Unavailable("the body is too large")
    assert body.taken < MAX_BODY_BYTES + 2 * 65_536


@each_provider
async def test_a_gzip_bomb_is_a_body_that_is_too_large(provider: type[HttpProvider]) -> None:
    body = Chunks(gzip.compress(b"\0" * 20_000_000))
    headers = {"content-encoding": "gzip"}
    answer = await ask(provider, lambda _: httpx.Response(200, stream=body, headers=headers))
    assert answer == Unavailable("the body is too large")


@each_provider
@pytest.mark.parametrize("encoding", ["br", "zstd", "compress", "gzip, gzip, gzip"])
async def test_what_is_packed_in_no_way_that_we_know_is_no_answer(
    provider: type[HttpProvider], encoding: str
) -> None:
    body = Chunks(gzip.compress(gzip.compress(gzip.compress(DATA))))
    headers = {"content-encoding": encoding}
    answer = await ask(provider, lambda _: httpx.Response(200, stream=body, headers=headers))
    assert isinstance(answer, Unavailable)


DATA = b'{"name": "Acme", "data": {"status": "valid"}}'
PACKED = gzip.compress(DATA)


@each_provider
@pytest.mark.parametrize(
    ("encodings", "body"),
    [
        (["utf-8"], DATA),
        (["UTF-8"], DATA),
        (["none"], DATA),
        (["aws-chunked"], DATA),
        (["identity"], DATA),
        ([""], DATA),
        (["br"], DATA),
        (["gzip"], DATA),
        (["deflate"], DATA),
        (["GZIP"], PACKED),
        (["x-gzip"], PACKED),
        (["gzip, identity"], PACKED),
        (["identity, gzip"], PACKED),
        (["utf-8, gzip"], PACKED),
        (["gzip", "identity"], PACKED),
        (["deflate"], PACKED),
        (["gzip, gzip"], gzip.compress(PACKED)),
        (["gzip, gzip"], PACKED),
        (["gzip"], b"\xef\xbb\xbf" + DATA),
        ([], DATA.decode().encode("utf-16")),
    ],
    ids=range(20),
)
async def test_what_can_be_read_is_read_whatever_its_header_says(
    provider: type[HttpProvider], encodings: list[str], body: bytes
) -> None:
    headers = [("content-encoding", each) for each in encodings]
    answer = await ask(
        provider, lambda _: httpx.Response(200, stream=Chunks(body), headers=headers)
    )
    assert isinstance(answer, Found)


@each_provider
async def test_layers_of_a_bomb_are_a_body_that_is_too_large(provider: type[HttpProvider]) -> None:
    bomb = gzip.compress(gzip.compress(b"\0" * 20_000_000, 9), 9)
    headers = {"content-encoding": "gzip, gzip"}
    answer = await ask(
        provider, lambda _: httpx.Response(200, stream=Chunks(bomb), headers=headers)
    )
    assert answer == Unavailable("the body is too large")


@each_provider
@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("deflate", zlib.compress(DATA)),
        ("deflate", zlib.compress(DATA, wbits=-15)),
        ("gzip", gzip.compress(DATA)[:-4]),
        ("gzip", gzip.compress(DATA) + b"padding"),
    ],
    ids=["zlib", "bare", "without-its-end", "with-more-behind"],
)
async def test_an_answer_that_is_packed_carelessly_is_paid_for_and_read(
    provider: type[HttpProvider], encoding: str, body: bytes
) -> None:
    headers = {"content-encoding": encoding}
    answer = await ask(
        provider, lambda _: httpx.Response(200, stream=Chunks(body), headers=headers)
    )
    assert isinstance(answer, Found)


async def test_a_path_may_bring_parameters_of_its_own() -> None:
    class WithMore(ClearbitCompany):
        def request(self, query: Query) -> Request:
            return Request("/v2/find me?type=a", {"domain": query.company_domain or ""})

    urls: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        urls.append(str(request.url))
        return httpx.Response(404)

    await ask(WithMore, answer)
    assert urls == ["https://vendor.example/v2/find%20me?type=a&domain=acme.example"]


def asking_with(params: dict[str, str]) -> type[HttpProvider]:
    class Odd(ClearbitCompany):
        def request(self, query: Query) -> Request:  # noqa: ARG002 - it always asks the same
            return Request(self.path, params)

    return Odd


@pytest.mark.parametrize(
    "text", ["", ADDRESS, "Müller & Söhne", "a=b;c/d?e#f%41 %2B+", "\r\n\0\u2028"]
)
async def test_a_parameter_arrives_as_it_is(text: str) -> None:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(404)

    await ask(asking_with({"a b": text, "last": "1"}), answer)
    assert dict(seen[0].url.params) == {"a b": text, "last": "1"}


@given(params=st.dictionaries(st.text(), st.text()))
@example(params={"email": ADDRESS, "company": "Müller & Söhne"})
@settings(deadline=None)
def test_a_question_is_the_text_under_which_its_answers_have_been_kept(
    params: dict[str, str],
) -> None:
    provider = asking_with(params)(mock_client(), Access(SecretStr(KEY), "https://vendor.example"))
    expected = urlencode(sorted(params.items()))
    assert provider.question(QUERY) == f"{ClearbitCompany.path}?{expected}"


@each_provider
async def test_gzip_that_was_cut_off_is_no_answer(provider: type[HttpProvider]) -> None:
    body = Chunks(gzip.compress(b'{"name": "Acme", "data": {"status": "valid"}}')[:-20])
    headers = {"content-encoding": "gzip"}
    answer = await ask(provider, lambda _: httpx.Response(200, stream=body, headers=headers))
    assert isinstance(answer, Unavailable)


@each_provider
async def test_a_charset_that_lies_is_no_answer(provider: type[HttpProvider]) -> None:
    body = '{"name": "Müller", "data": {"status": "gültig"}}'.encode("latin-1")
    headers = {"content-type": "application/json; charset=utf-8"}
    answer = await ask(provider, lambda _: httpx.Response(200, content=body, headers=headers))
    assert isinstance(answer, Unavailable)


@pytest.mark.parametrize(
    ("provider", "status", "answer"),
    [
        (ClearbitCompany, 401, Unavailable("401 without the vendor's own words")),
        (ClearbitCompany, 429, Throttled(9.0)),
        (ClearbitCompany, 404, Unavailable("unknown route (404)")),
        (HunterVerifier, 451, Unavailable("451 without the vendor's own words")),
        (HunterVerifier, 429, Throttled(9.0)),
    ],
)
@pytest.mark.parametrize("encoding", ["gzip", "br", "identity"])
async def test_a_refusal_without_a_body_means_what_its_number_alone_can_say(
    provider: type[HttpProvider], status: int, answer: Answer, encoding: str
) -> None:
    headers = {"content-encoding": encoding, "retry-after": "9"}

    def refuse(_: httpx.Request) -> httpx.Response:
        return httpx.Response(status, stream=Chunks(b"x" * 65_536, times=64), headers=headers)

    assert await ask(provider, refuse) == answer


@each_provider
async def test_a_redirect_is_not_followed_with_the_key(provider: type[HttpProvider]) -> None:
    asked: list[str] = []

    def redirect(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.host)
        return httpx.Response(302, headers={"location": "https://elsewhere.example/"})

    http = mock_client(redirect)
    answer = await provider(http, Access(SecretStr(KEY), "https://vendor.example")).ask(QUERY)
    assert answer == Unavailable("302")
    assert asked == ["vendor.example"]


@each_provider
@pytest.mark.parametrize(
    "location", ["http://[", "https://a.example:99999999/", "\x00", "//", "x:y"]
)
async def test_a_garbled_redirect_does_not_raise(
    provider: type[HttpProvider], location: str
) -> None:
    headers = {"location": location}
    answer = await ask(provider, lambda _: httpx.Response(302, headers=headers))
    assert answer == Unavailable("302") or is_failed(answer)


@each_provider
@pytest.mark.parametrize(
    "base_url",
    ["", "vendor.example", "http://[", "https://a.example:999999", "ftp://a.example", "://"],
)
async def test_a_base_url_that_is_none_does_not_raise(
    provider: type[HttpProvider], base_url: str
) -> None:
    async with open_client() as http:
        answer = await provider(http, Access(SecretStr(KEY), base_url, timeout=2.0)).ask(QUERY)
    assert is_failed(answer)


@each_provider
@pytest.mark.parametrize("key", ["line\nbreak", "nul\x00", "snow\u2603man", "\ud800"])
async def test_a_key_that_no_header_can_carry_does_not_raise(
    provider: type[HttpProvider], key: str
) -> None:
    async with open_client() as http:
        access = Access(SecretStr(key), "http://127.0.0.1:1", timeout=2.0)
        assert is_failed(await provider(http, access).ask(QUERY))


@each_provider
async def test_a_trailing_slash_and_a_path_prefix_belong_to_the_base_url(
    provider: type[HttpProvider],
) -> None:
    paths: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        paths.append(request.url.path)
        return httpx.Response(500)

    await ask(provider, answer, base_url="https://proxy.example/vendor/")
    assert paths[0].startswith("/vendor/v2/")


class _Surprised(ClearbitCompany):
    def interpret(self, reply: Reply) -> Answer:
        raise KeyError(ADDRESS, KEY, reply)


async def test_a_bug_in_reading_an_answer_is_logged_without_its_content() -> None:
    lines: list[str] = []
    sink = logger.add(lambda line: lines.append(str(line)), backtrace=True, diagnose=True)
    try:
        answer = await ask(_Surprised, lambda _: httpx.Response(200, json={}))
    finally:
        logger.remove(sink)
    assert answer == Unavailable("the answer could not be read")
    assert len(lines) == 1
    assert ADDRESS not in lines[0]
    assert KEY not in lines[0]


async def test_cookies_and_a_date_that_are_garbage_do_no_harm() -> None:
    cookie = b"=;;=\x01,a b=c; expires=never; domain=\x7f"
    headers = [(b"set-cookie", cookie), (b"date", b"long ago"), (b"x-latin", b"M\xfcller")]
    headers += [(b"retry-after", b"5")]
    assert await ask(ClearbitCompany, lambda _: httpx.Response(429, headers=headers)) == Throttled(
        5.0
    )


async def test_without_a_date_a_reset_is_judged_by_our_own_clock() -> None:
    headers = {"x-ratelimit-reset": str(int(time.time()) + 50)}
    answer = await ask(ClearbitCompany, lambda _: httpx.Response(429, headers=headers))
    assert isinstance(answer, Throttled)
    assert answer.retry_after is not None
    assert 45 < answer.retry_after <= 50
