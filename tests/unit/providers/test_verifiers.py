"""The verifiers after Hunter: every status, every dialect and every kind of verdict, and what it costs."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import AsyncIterator, Mapping
from datetime import timedelta
from typing import Any

import aiohttp
import httpx
import pytest
from pydantic import SecretStr

from enricher.answer import (
    Answer,
    Found,
    Held,
    NotFound,
    Preparing,
    Query,
    Throttled,
    Unavailable,
)
from enricher.catalogue import PROVIDERS
from enricher.providers.base import Access, Tried
from enricher.providers.bouncer import GREYLISTED_SECONDS, BouncerVerifier
from enricher.providers.emailable import EmailableVerifier
from enricher.providers.http import RATE_LIMITED, REFUSED_KEY, REFUSED_QUESTION, USED_UP
from enricher.providers.kickbox import AT_ONCE, KickboxVerifier
from enricher.providers.transport import Client, open_client
from enricher.providers.verifier import NO_VERIFICATION, WRONG_ROUTE, Verifier
from enricher.providers.zerobounce import REFUSED_OR_USED_UP, ZeroBounceVerifier
from enricher.simulator.server import Simulator
from enricher.simulator.zerobounce import KINDS, NO_KEY_OR_NO_CREDITS
from enricher.telemetry.log import redact
from tests.support.bodies import book_of
from tests.support.mock_client import mock_client
from tests.support.observing import logged
from tests.support.vendor_case import KEY, NOW, interpret, provider, reply

VERIFIERS: tuple[type[Verifier], ...] = (
    ZeroBounceVerifier,
    KickboxVerifier,
    BouncerVerifier,
    EmailableVerifier,
)
each_verifier = pytest.mark.parametrize("kind", VERIFIERS, ids=lambda kind: kind.name)

ADDRESS = "pat@acme.example"
QUERY = Query(email=ADDRESS, email_key=ADDRESS)
BAD_QUESTION = NotFound(REFUSED_QUESTION)
REFUSED, SPENT = Held(REFUSED_KEY), Held(USED_UP)
NONE = Unavailable(NO_VERIFICATION)
NO_RECORDS: tuple[object, ...] = (b"<html>", [], {}, b"")


def section(answer: Answer) -> Mapping[str, Any]:
    assert isinstance(answer, Found), answer
    return answer.sections["email_verification"]


# -- what a status means -----------------------------------------------------------------------


def of_kickbox(message: str) -> dict[str, object]:
    return {"success": False, "message": message}


STATUSES: list[tuple[type[Verifier], int, object, dict[str, str], Answer]] = [
    (ZeroBounceVerifier, 200, {"error": NO_KEY_OR_NO_CREDITS}, {}, Held(REFUSED_OR_USED_UP, 300.0)),
    (
        ZeroBounceVerifier,
        200,
        {"error": [NO_KEY_OR_NO_CREDITS]},
        {},
        Held(REFUSED_OR_USED_UP, 300.0),
    ),
    (ZeroBounceVerifier, 400, {"error": NO_KEY_OR_NO_CREDITS}, {}, Held(REFUSED_OR_USED_UP, 300.0)),
    (ZeroBounceVerifier, 200, {"error": "Missing parameter: email."}, {}, BAD_QUESTION),
    (ZeroBounceVerifier, 400, {"error": "Missing parameter: email."}, {}, BAD_QUESTION),
    (ZeroBounceVerifier, 400, b"<html>", {}, Unavailable("400")),
    (ZeroBounceVerifier, 200, {"error": None}, {}, NONE),
    (ZeroBounceVerifier, 403, b"<html>shield", {}, Throttled(60.0)),
    (ZeroBounceVerifier, 404, {"Message": "No HTTP resource"}, {}, Unavailable(WRONG_ROUTE)),
    (ZeroBounceVerifier, 405, b"", {}, Unavailable("405")),
    (ZeroBounceVerifier, 429, b"", {}, Throttled(60.0)),
    (ZeroBounceVerifier, 520, b"", {}, Unavailable("520")),
    (ZeroBounceVerifier, 524, b"", {}, Unavailable("524")),
    (KickboxVerifier, 200, of_kickbox("Insufficient balance"), {}, SPENT),
    (KickboxVerifier, 200, of_kickbox("Something new"), {}, NONE),
    (KickboxVerifier, 400, of_kickbox("Missing email"), {}, BAD_QUESTION),
    (KickboxVerifier, 403, of_kickbox("Balance Depleted"), {}, SPENT),
    (KickboxVerifier, 403, of_kickbox("Insufficient balance"), {}, SPENT),
    (KickboxVerifier, 403, of_kickbox("Invalid API key"), {}, REFUSED),
    (KickboxVerifier, 403, of_kickbox("Forbidden"), {}, REFUSED),
    (KickboxVerifier, 415, of_kickbox("Unsupported"), {}, Unavailable("415")),
    (KickboxVerifier, 429, of_kickbox("Rate Limit Exceeded"), {}, Throttled(1.0)),
    (
        BouncerVerifier,
        400,
        {"status": 400, "error": "Bad Request", "message": "No."},
        {},
        BAD_QUESTION,
    ),
    (BouncerVerifier, 401, {"status": 401, "error": "Unauthorized"}, {}, REFUSED),
    (BouncerVerifier, 402, {"status": 402, "error": "Payment Required"}, {}, SPENT),
    (BouncerVerifier, 403, {"message": "Forbidden"}, {}, REFUSED),
    (BouncerVerifier, 404, {"message": "no"}, {}, Unavailable(WRONG_ROUTE)),
    (BouncerVerifier, 429, {}, {}, Throttled(60.0)),
    (BouncerVerifier, 429, {}, {"retry-after": "7"}, Throttled(7.0)),
    (BouncerVerifier, 503, {}, {}, Unavailable("503")),
    (EmailableVerifier, 249, {"message": "Please send your request again."}, {}, Preparing(1.0)),
    (EmailableVerifier, 249, b"", {"retry-after": "3"}, Preparing(3.0)),
    (EmailableVerifier, 400, {"message": "No email."}, {}, BAD_QUESTION),
    (EmailableVerifier, 401, {"message": "Bad key."}, {}, REFUSED),
    (EmailableVerifier, 402, {"message": "No credits."}, {}, SPENT),
    (EmailableVerifier, 403, {"message": "Not this key."}, {}, REFUSED),
    (EmailableVerifier, 404, {"message": "Not Found"}, {}, Unavailable(WRONG_ROUTE)),
    (EmailableVerifier, 429, {}, {}, Throttled(1.0)),
    (
        *(EmailableVerifier, 429, {}),
        *({"ratelimit-reset": str(int(NOW.timestamp()) + 4)}, Throttled(4.0)),
    ),
    (EmailableVerifier, 503, {}, {}, Unavailable("503")),
    *((kind, 200, body, {}, NONE) for kind in VERIFIERS for body in NO_RECORDS),
    *(
        (kind, status, b"", {}, Unavailable(str(status)))
        for kind in VERIFIERS
        for status in (204, 302, 500, 502)
    ),
]


@pytest.mark.parametrize(
    ("kind", "status", "body", "headers", "answer"),
    STATUSES,
    ids=[f"{kind.name}-{status}-{n}" for n, (kind, status, *_) in enumerate(STATUSES)],
)
def test_each_status_code_has_its_own_meaning(
    kind: type[Verifier], status: int, body: object, headers: dict[str, str], answer: Answer
) -> None:
    assert interpret(kind, status, body, headers) == answer


@each_verifier
@pytest.mark.parametrize("status", [401, 402, 403])
def test_a_page_of_somebody_in_between_holds_no_verifier(kind: type[Verifier], status: int) -> None:
    page = reply(status, b"<html>blocked</html>")
    answer = provider(kind)._judge(page)
    assert isinstance(answer, Unavailable | Throttled)


# -- what a verdict becomes --------------------------------------------------------------------


def zerobounce(status: object, kind: object = "", **more: object) -> dict[str, object]:
    record = {"address": ADDRESS, "status": status, "sub_status": kind, "free_email": False}
    return {**record, "mx_found": "true", "firstname": "Pat", "gender": "female", **more}


def kickbox(result: object, reason: str = "", **more: object) -> dict[str, object]:
    flags = dict.fromkeys(("role", "free", "disposable", "accept_all"), False)
    record = {"result": result, "reason": reason, "sendex": 0.951, "email": ADDRESS}
    return {**record, **flags, "success": True, "message": None, **more}


def bouncer(status: object, reason: str = "", **domain: object) -> dict[str, object]:
    flags = {"name": "acme.example", "acceptAll": "no", "disposable": "no", "free": "no"}
    record = {"email": ADDRESS, "status": status, "reason": reason, "score": 95}
    return {**record, "domain": flags | domain, "dns": {"type": "MX", "record": "mx"}}


def emailable(state: object, reason: str = "", **more: object) -> dict[str, object]:
    flags = dict.fromkeys(("role", "free", "disposable", "accept_all"), False)
    record = {"email": ADDRESS, "state": state, "reason": reason, "score": 95, **flags}
    return {**record, "mx_record": "mx.acme.example", "first_name": "Pat", **more}


def values(status: str, result: str, **more: object) -> dict[str, object]:
    plain = {"is_disposable": False, "is_webmail": False, "mx_records": True}
    known = {"status": status, "result": result, **plain, **more}
    return {name: value for name, value in known.items() if value is not None}


GOOD = {"smtp_check": True, "accept_all": False}
GONE = {"smtp_check": False, "accept_all": False}
UNSURE = {"is_disposable": None}

VERDICTS: list[tuple[type[Verifier], dict[str, object], dict[str, object]]] = [
    (ZeroBounceVerifier, zerobounce("valid"), values("valid", "deliverable", **GOOD)),
    (
        ZeroBounceVerifier,
        zerobounce("valid", "alias_address"),
        values("valid", "deliverable", **GOOD),
    ),
    (
        *(ZeroBounceVerifier, zerobounce("valid", free_email=True, mx_found=True)),
        values("valid", "deliverable", is_webmail=True, **GOOD),
    ),
    (
        *(ZeroBounceVerifier, zerobounce("valid", "accept_all")),
        values("accept_all", "risky", accept_all=True),
    ),
    (
        *(ZeroBounceVerifier, zerobounce("valid", catchall_domain="true")),
        values("valid", "deliverable", smtp_check=True, accept_all=True),
    ),
    (ZeroBounceVerifier, zerobounce("catch-all"), values("accept_all", "risky", accept_all=True)),
    (
        *(ZeroBounceVerifier, zerobounce("invalid", "mailbox_not_found")),
        values("invalid", "undeliverable", **GONE, **UNSURE),
    ),
    (
        *(ZeroBounceVerifier, zerobounce("invalid", "no_dns_entries", mx_found="false")),
        values("invalid", "undeliverable", **UNSURE | {"mx_records": False}),
    ),
    (
        *(ZeroBounceVerifier, zerobounce("invalid", "mailbox_quota_exceeded")),
        values("unknown", "unknown", **UNSURE),
    ),
    (
        *(ZeroBounceVerifier, zerobounce("do_not_mail", "disposable")),
        values("disposable", "risky", is_disposable=True),
    ),
    (
        *(ZeroBounceVerifier, zerobounce("do_not_mail", "role_based")),
        values("valid", "deliverable", **GOOD),
    ),
    (
        *(ZeroBounceVerifier, zerobounce("do_not_mail", "role_based_catch_all")),
        values("accept_all", "risky", accept_all=True),
    ),
    *(
        (
            *(ZeroBounceVerifier, zerobounce("do_not_mail", kind)),
            values("unknown", "unknown", risk=kind, **UNSURE),
        )
        for kind in ("mx_forward", "global_suppression", "possible_trap", "toxic")
    ),
    *(
        (ZeroBounceVerifier, zerobounce(word), values("unknown", "unknown", risk=word, **UNSURE))
        for word in ("spamtrap", "abuse")
    ),
    *(
        (ZeroBounceVerifier, zerobounce("unknown", kind), values("unknown", "unknown", **UNSURE))
        for kind in ("greylisted", "antispam_system", "timeout_exceeded", None)
    ),
    (
        *(KickboxVerifier, kickbox("deliverable", "accepted_email")),
        values("valid", "deliverable", score=95, **GOOD),
    ),
    (
        *(KickboxVerifier, kickbox("undeliverable", "rejected_email")),
        values("invalid", "undeliverable", score=95, **GONE),
    ),
    (
        *(KickboxVerifier, kickbox("undeliverable", "invalid_domain")),
        values("invalid", "undeliverable", score=95, accept_all=False, mx_records=False),
    ),
    (
        *(KickboxVerifier, kickbox("risky", "low_deliverability", accept_all=True)),
        values("accept_all", "risky", score=95, accept_all=True),
    ),
    (
        *(KickboxVerifier, kickbox("risky", "low_quality", role=True)),
        values("valid", "risky", score=95, accept_all=False),
    ),
    (
        *(KickboxVerifier, kickbox("risky", "low_quality", disposable=True)),
        values("disposable", "risky", score=95, accept_all=False, is_disposable=True),
    ),
    (
        *(KickboxVerifier, kickbox("risky", "low_deliverability")),
        values("unknown", "risky", score=95, accept_all=False),
    ),
    (KickboxVerifier, kickbox("unknown", "timeout"), values("unknown", "unknown", mx_records=None)),
    (
        *(BouncerVerifier, bouncer("deliverable", "accepted_email", free="yes")),
        values("valid", "deliverable", score=95, is_webmail=True, **GOOD),
    ),
    (
        *(BouncerVerifier, bouncer("undeliverable", "rejected_email")),
        values("invalid", "undeliverable", score=95, **GONE),
    ),
    (
        *(BouncerVerifier, bouncer("risky", "low_deliverability", acceptAll="yes")),
        values("accept_all", "risky", score=95, accept_all=True),
    ),
    (
        *(BouncerVerifier, bouncer("risky", "low_quality", disposable="yes")),
        values("disposable", "risky", score=95, accept_all=False, is_disposable=True),
    ),
    (
        *(BouncerVerifier, bouncer("risky", "low_quality", acceptAll="unknown")),
        values("unknown", "risky", score=95),
    ),
    (
        BouncerVerifier,
        bouncer("unknown", "timeout", disposable="?"),
        values("unknown", "unknown", **UNSURE),
    ),
    (
        *(EmailableVerifier, emailable("deliverable", "accepted_email")),
        values("valid", "deliverable", score=95, **GOOD),
    ),
    (
        *(EmailableVerifier, emailable("undeliverable", "rejected_email")),
        values("invalid", "undeliverable", score=95, **GONE),
    ),
    (
        *(EmailableVerifier, emailable("undeliverable", "invalid_domain", mx_record=None)),
        values("invalid", "undeliverable", score=95, accept_all=False, mx_records=False),
    ),
    (
        *(EmailableVerifier, emailable("risky", "low_deliverability", accept_all=True)),
        values("accept_all", "risky", score=95, accept_all=True),
    ),
    (
        *(EmailableVerifier, emailable("risky", "low_quality", disposable=True)),
        values("disposable", "risky", score=95, accept_all=False, is_disposable=True),
    ),
    (
        *(EmailableVerifier, emailable("risky", "low_quality")),
        values("unknown", "risky", score=95, accept_all=False),
    ),
    (EmailableVerifier, emailable("unknown", "timeout", score=0), values("unknown", "unknown")),
]


@pytest.mark.parametrize(
    ("kind", "record", "wanted"),
    VERDICTS,
    ids=[f"{kind.name}-{n}" for n, (kind, *_) in enumerate(VERDICTS)],
)
def test_each_kind_of_verdict_has_its_place_among_our_words(
    kind: type[Verifier], record: dict[str, object], wanted: dict[str, object]
) -> None:
    assert section(interpret(kind, 200, record)) == wanted


@each_verifier
async def test_a_record_about_another_address_is_not_written(kind: type[Verifier]) -> None:
    record = next(record for other, record, _ in VERDICTS if other is kind)
    theirs = record | {"email": "eve@acme.example", "address": "eve@acme.example"}
    asked = provider(kind, lambda _: httpx.Response(200, json=theirs))
    assert await asked.ask(QUERY) == NotFound("the record is about somebody else")


@each_verifier
def test_nothing_about_the_person_is_read(kind: type[Verifier]) -> None:
    said = [section(interpret(kind, 200, record)) for other, record, _ in VERDICTS if other is kind]
    assert "Pat" not in json.dumps(said)


@pytest.mark.parametrize(
    ("told", "seconds"),
    [
        ((NOW + timedelta(seconds=90)).isoformat(), 90),
        ((NOW + timedelta(seconds=90)).strftime("%Y-%m-%dT%H:%M:%S.000Z"), 90),
        (45, 45),
        ("45", 45),
        (str(int(NOW.timestamp()) + 20), 20),
        ("soon", GREYLISTED_SECONDS),
        ({}, GREYLISTED_SECONDS),
    ],
)
def test_a_greylisted_mailbox_is_asked_about_again_when_the_vendor_says(
    told: object, seconds: float
) -> None:
    record = bouncer("unknown", "timeout") | {"retryAfter": told}
    answer = interpret(BouncerVerifier, 200, record)
    assert isinstance(answer, Preparing)
    assert math.isclose(answer.retry_after, seconds)
    tried = provider(BouncerVerifier)._tried(reply(200, record))
    assert (tried.is_charged, tried.reply) == (None, None)


def test_a_verdict_beside_a_moment_to_ask_again_is_a_verdict() -> None:
    record = bouncer("deliverable", "accepted_email") | {"retryAfter": NOW.isoformat()}
    assert section(interpret(BouncerVerifier, 200, record))["status"] == "valid"


# -- the question ------------------------------------------------------------------------------


async def request_of(kind: type[Verifier]) -> httpx.Request:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(500)

    await provider(kind, answer).ask(Query(email="pat+crm@acme.example"))
    return seen[0]


@pytest.mark.parametrize(
    ("kind", "path", "params", "header"),
    [
        (ZeroBounceVerifier, "/v2/validate", {"timeout": "8", "api_key": KEY}, None),
        (KickboxVerifier, "/v2/verify", {"timeout": "8000"}, ("authorization", f"token {KEY}")),
        (BouncerVerifier, "/v1.1/email/verify", {"timeout": "8"}, ("x-api-key", KEY)),
        (
            *(EmailableVerifier, "/v1/verify", {"timeout": "8", "accept_all": "true"}),
            ("authorization", f"Bearer {KEY}"),
        ),
    ],
)
async def test_the_key_travels_in_a_header_where_the_vendor_takes_it_there(
    kind: type[Verifier], path: str, params: dict[str, str], header: tuple[str, str] | None
) -> None:
    request = await request_of(kind)
    assert request.url.path == path
    assert dict(request.url.params) == {"email": "pat+crm@acme.example", **params}
    if header:
        assert request.headers[header[0]] == header[1]
        assert KEY not in str(request.url)


@pytest.mark.parametrize(
    "error",
    [
        aiohttp.InvalidURL(f"https://api.zerobounce.net/v2/validate?api_key={KEY}"),
        aiohttp.ClientConnectionError(f"api_key={KEY}"),
        ValueError(f"no such URL: ?api_key={KEY}"),
        OSError(f"api_key={KEY}"),
    ],
)
async def test_no_failure_quotes_the_url_that_holds_the_key(error: Exception) -> None:
    def fail(_: httpx.Request) -> httpx.Response:
        raise error

    with logged() as lines:
        tried = await provider(ZeroBounceVerifier, fail).exchange(QUERY)
        assert KEY not in str(await provider(ZeroBounceVerifier, fail).probe())
    assert isinstance(tried.answer, Unavailable)
    assert KEY not in repr(tried.answer)
    assert KEY not in repr([line.fields for line in lines])


async def test_the_log_hides_the_key_of_a_url_that_somebody_else_quotes() -> None:
    quoted = str((await request_of(ZeroBounceVerifier)).url)
    assert KEY in quoted
    assert KEY not in redact(f"GET {quoted} failed")


@pytest.mark.parametrize("seconds", [0.5, 10, 3600])
@each_verifier
def test_the_vendors_time_limit_is_no_part_of_what_is_asked(
    kind: type[Verifier], seconds: float
) -> None:
    made = kind(mock_client(), Access(SecretStr(KEY), kind.host, seconds))
    assert made.question(QUERY) == provider(kind).question(QUERY)
    assert KEY not in str(made.question(QUERY))
    assert "timeout" in made.request(QUERY).params


def test_only_a_query_with_an_address_is_fit() -> None:
    assert provider(KickboxVerifier).unfit(QUERY) is None
    assert (
        provider(KickboxVerifier).unfit(Query(company_domain="acme.example")) == "no e-mail address"
    )


async def test_kickbox_gets_no_more_calls_at_once_than_it_takes() -> None:
    opened, under_way, most = asyncio.Event(), 0, 0

    async def answer(_: httpx.Request) -> httpx.Response:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await opened.wait()
        under_way -= 1
        return httpx.Response(200, json=kickbox("deliverable"))

    made = KickboxVerifier(mock_client(answer), Access(SecretStr(KEY), KickboxVerifier.host))
    asking = [asyncio.create_task(made.ask(QUERY)) for _ in range(2 * AT_ONCE)]
    while under_way < AT_ONCE:
        await asyncio.sleep(0)
    opened.set()
    assert {type(each) for each in await asyncio.gather(*asking)} == {Found}
    assert most == AT_ONCE


# -- the balance -------------------------------------------------------------------------------

OF_AN_ACCOUNT = {
    ZeroBounceVerifier: ("/v2/getcredits", {"Credits": "12"}, {"Credits": "0"}),
    KickboxVerifier: ("/v2/balance", {"balance": 12}, {"balance": 0}),
    BouncerVerifier: ("/v1.1/credits", {"credits": 12}, {"credits": 0}),
    EmailableVerifier: (
        *("/v1/account", {"owner_email": "ada@acme.com", "available_credits": 12}),
        {"available_credits": 0},
    ),
}


@each_verifier
async def test_the_balance_tells_whether_the_key_is_good_and_what_is_left(
    kind: type[Verifier],
) -> None:
    path, rich, poor = OF_AN_ACCOUNT[kind]
    asked: list[str] = []

    def answering(*bodies: object) -> Verifier:
        coming = iter(bodies)

        def answer(request: httpx.Request) -> httpx.Response:
            asked.append(request.url.path)
            body = next(coming)
            return httpx.Response(body) if isinstance(body, int) else httpx.Response(200, json=body)

        return provider(kind, answer)

    assert await answering(rich).probe() is None
    assert await answering(rich).quota_left() == 12
    assert await answering(poor).probe() == USED_UP
    assert await answering({}).probe() == "the body is not a balance"
    assert await answering(500).probe() == "unexpected answer (500)"
    assert await answering(404).probe() == "the address is wrong (404)"
    assert await answering(429).probe() == RATE_LIMITED
    assert await answering(500).quota_left() is None
    assert set(asked) == {path}


@pytest.mark.parametrize(
    ("kind", "status", "body", "verdict"),
    [
        (ZeroBounceVerifier, 200, {"Credits": "-1"}, REFUSED_KEY),
        (KickboxVerifier, 403, of_kickbox("Invalid API key"), REFUSED_KEY),
        (KickboxVerifier, 403, of_kickbox("Balance Depleted"), USED_UP),
        (BouncerVerifier, 401, {"status": 401, "error": "Unauthorized"}, REFUSED_KEY),
        (EmailableVerifier, 401, {"message": "no"}, REFUSED_KEY),
        (EmailableVerifier, 403, {"message": "no"}, REFUSED_KEY),
    ],
)
async def test_the_balance_tells_of_a_refused_key(
    kind: type[Verifier], status: int, body: object, verdict: str
) -> None:
    asked = provider(kind, lambda _: httpx.Response(status, json=body))
    assert await asked.probe() == verdict


@pytest.mark.parametrize(
    ("balance", "answer"),
    [
        (httpx.Response(200, json={"Credits": "-1"}), REFUSED),
        (httpx.Response(200, json={"Credits": "0"}), SPENT),
        (httpx.Response(200, json={"Credits": "12"}), Throttled(60.0)),
        (httpx.Response(503), Held(REFUSED_OR_USED_UP, 300.0)),
        (httpx.Response(200, content=b"<html>"), Held(REFUSED_OR_USED_UP, 300.0)),
    ],
)
async def test_zerobounces_one_refusal_for_two_causes_is_told_apart_by_the_balance(
    balance: httpx.Response, answer: Answer
) -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        is_question = request.url.path == "/v2/validate"
        refused = httpx.Response(200, json={"error": NO_KEY_OR_NO_CREDITS})
        return refused if is_question else balance

    tried = await provider(ZeroBounceVerifier, handler).exchange(QUERY)
    assert (tried.answer, tried.is_charged) == (answer, False)


# -- every dialect through the simulator, and what it costs -------------------------------------


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    windows: dict[str, Any] = {kind.vendor: () for kind in VERIFIERS}
    async with Simulator(seed=1, windows=windows, stories=False) as made:
        yield made


@pytest.fixture
async def http() -> AsyncIterator[Client]:
    async with open_client() as client:
        yield client


def at(simulator: Simulator, http: Client, kind: type[Verifier], key: str = KEY) -> Verifier:
    return kind(http, Access(SecretStr(key), simulator.base_urls[kind.vendor]))


async def agreed(simulator: Simulator, asked: Verifier, address: str) -> Tried:
    """Ask, and compare what we take for charged with what the vendor has written down."""
    before = simulator.journal.billing[asked.vendor].charged
    tried = await asked.exchange(Query(email=address, email_key=address))
    charged = simulator.journal.billing[asked.vendor].charged - before
    assert tried.is_charged in (bool(charged), None)
    return tried


@pytest.mark.parametrize(
    ("kind", "fault", "answer"),
    [
        (ZeroBounceVerifier, {"kind": "throttled"}, Throttled(60.0)),
        (ZeroBounceVerifier, {"kind": "quota_spent"}, Throttled(60.0)),
        (ZeroBounceVerifier, {"kind": "quota_spent", "dialect": "400"}, Throttled(60.0)),
        (ZeroBounceVerifier, {"kind": "unauthorized"}, Throttled(60.0)),
        (ZeroBounceVerifier, {"kind": "forbidden"}, Throttled(60.0)),
        (ZeroBounceVerifier, {"kind": "unknown_route"}, Unavailable(WRONG_ROUTE)),
        (ZeroBounceVerifier, {"kind": "wrong_params"}, BAD_QUESTION),
        (ZeroBounceVerifier, {"kind": "wrong_params", "dialect": "400"}, BAD_QUESTION),
        (ZeroBounceVerifier, {"kind": "api_error"}, Unavailable("500")),
        (KickboxVerifier, {"kind": "throttled"}, Throttled(1.0)),
        (KickboxVerifier, {"kind": "quota_spent"}, SPENT),
        (KickboxVerifier, {"kind": "quota_spent", "dialect": "insufficient"}, SPENT),
        (KickboxVerifier, {"kind": "quota_spent", "dialect": "200"}, SPENT),
        (KickboxVerifier, {"kind": "unauthorized"}, REFUSED),
        (KickboxVerifier, {"kind": "forbidden"}, REFUSED),
        (KickboxVerifier, {"kind": "unknown_route"}, Unavailable(WRONG_ROUTE)),
        (KickboxVerifier, {"kind": "wrong_params"}, BAD_QUESTION),
        (KickboxVerifier, {"kind": "api_error"}, Unavailable("500")),
        (BouncerVerifier, {"kind": "throttled", "seconds": 9}, Throttled(9.0)),
        (BouncerVerifier, {"kind": "throttled", "dialect": "silent"}, Throttled(60.0)),
        (BouncerVerifier, {"kind": "quota_spent"}, SPENT),
        (BouncerVerifier, {"kind": "unauthorized"}, REFUSED),
        (BouncerVerifier, {"kind": "forbidden"}, REFUSED),
        (BouncerVerifier, {"kind": "pending", "dialect": "seconds"}, Preparing(2.0)),
        (BouncerVerifier, {"kind": "unknown_route"}, Unavailable(WRONG_ROUTE)),
        (BouncerVerifier, {"kind": "wrong_params"}, BAD_QUESTION),
        (BouncerVerifier, {"kind": "api_error"}, Unavailable("503")),
        (EmailableVerifier, {"kind": "pending"}, Preparing(1.0)),
        (EmailableVerifier, {"kind": "quota_spent"}, SPENT),
        (EmailableVerifier, {"kind": "unauthorized"}, REFUSED),
        (EmailableVerifier, {"kind": "forbidden"}, REFUSED),
        (EmailableVerifier, {"kind": "unknown_route"}, Unavailable(WRONG_ROUTE)),
        (EmailableVerifier, {"kind": "wrong_params"}, BAD_QUESTION),
        (EmailableVerifier, {"kind": "api_error"}, Unavailable("503")),
    ],
)
async def test_each_refusal_of_the_simulated_vendor_is_understood_and_costs_nothing(
    simulator: Simulator, http: Client, kind: type[Verifier], fault: dict[str, Any], answer: Answer
) -> None:
    simulator.inject(**fault, vendor=kind.vendor, route=PROVIDERS[kind.name].route)
    address = f"ada@quokka-{fault['kind']}.com"
    assert (await agreed(simulator, at(simulator, http, kind), address)).answer == answer


DATED = {(BouncerVerifier, "pending"), (EmailableVerifier, "throttled")}
"""Answers that name a moment, so that they differ from time to time."""


@pytest.mark.parametrize(("kind", "fault"), sorted(DATED, key=str))
async def test_a_moment_that_is_named_is_waited_for(
    simulator: Simulator, http: Client, kind: type[Verifier], fault: str
) -> None:
    how = {"seconds": 30} if fault == "throttled" else {}
    simulator.inject(fault, vendor=kind.vendor, **how)
    answer = (await agreed(simulator, at(simulator, http, kind), "ada@quokka.com")).answer
    assert isinstance(answer, Preparing | Throttled)
    assert answer.retry_after is not None
    assert 0 < answer.retry_after <= 31


@each_verifier
def test_no_refusal_of_the_simulated_vendor_is_left_out(kind: type[Verifier]) -> None:
    marks = test_each_refusal_of_the_simulated_vendor_is_understood_and_costs_nothing.pytestmark
    rows = next(mark.args[1] for mark in marks if mark.name == "parametrize")
    played = {
        ":".join(filter(None, (fault["kind"], fault.get("dialect"))))
        for other, fault, _ in rows
        if other is kind
    }
    assert book_of(kind).keys() - played == {fault for other, fault in DATED if other is kind}


@each_verifier
async def test_every_verdict_of_the_simulated_vendor_is_read_and_charged_as_it_charges(
    simulator: Simulator, http: Client, kind: type[Verifier]
) -> None:
    asked, said = at(simulator, http, kind), set()
    names = ["ada", "info", "bounce", "catchall", "unknown", "murky", "foggy", "misty", "hazy"]
    for name in [*names, *KINDS]:
        for host in ("quokka-lantern.com", "gmail.com", "mailinator.com"):
            tried = await agreed(simulator, asked, f"{name}@{host}")
            said.add(section(tried.answer)["status"])
    assert said == {"valid", "invalid", "accept_all", "disposable", "unknown"}
    assert not [entry for entry in simulator.journal if entry.key_in_url]


@pytest.mark.parametrize("kind", [KickboxVerifier, EmailableVerifier], ids=lambda kind: kind.name)
async def test_a_key_of_the_sandbox_costs_nothing(
    simulator: Simulator, http: Client, kind: type[Verifier]
) -> None:
    asked = at(simulator, http, kind, "test_0123")
    tried = await agreed(simulator, asked, "ada@quokka.com")
    assert (type(tried.answer), tried.is_charged) == (Found, False)
    assert await asked.probe() is None


async def test_zerobounces_sandbox_costs_nothing(simulator: Simulator, http: Client) -> None:
    asked = at(simulator, http, ZeroBounceVerifier)
    assert section((await asked.exchange(Query("valid@example.com"))).answer)["status"] == "valid"
    assert simulator.journal.billing["zerobounce"].charged == 0


@each_verifier
async def test_a_wrong_key_and_a_spent_quota_are_told_apart_at_the_vendor(
    http: Client, kind: type[Verifier]
) -> None:
    async with Simulator(keys={kind.vendor: KEY}, quotas={kind.vendor: 1}) as simulator:
        wrong, good = (at(simulator, http, kind, key) for key in ("wrong-key", KEY))
        assert (await wrong.ask(QUERY), await wrong.probe()) == (REFUSED, REFUSED_KEY)
        assert isinstance(await good.ask(QUERY), Found)
        assert (await good.ask(QUERY), await good.probe()) == (SPENT, USED_UP)
        assert await good.quota_left() == 0
