"""Clearbit's company and person hosts, as its official clients and a probe of August 2026 know them.

Answers 200, 202 and 404 unknown_record are charged, each domain or address once in a billing period. Both
hosts are simulated under one prefix, and each has its own limit of 600 calls a minute. Its headers come with
every answer, even for a refused key, and a 429 has no Retry-After, only an X-RateLimit-Reset in seconds since
the epoch. The body of a 202 was seen both empty and as an error of type "queued", so the simulator alternates.
"""

from __future__ import annotations

import math
import time

from enricher.answer import Reply
from enricher.catalogue import PROVIDERS
from enricher.simulator.faults import Faults
from enricher.simulator.journal import Journal
from enricher.simulator.records import company_body, encode, person
from enricher.simulator.vendor import (
    ADDRESS,
    DOMAIN,
    JSON_TYPE,
    Answer,
    Call,
    Terms,
    Vendor,
    asked_by,
    basic_user,
    bearer,
    wait_of,
)

API_VERSION = "2019-12-19"
CHARGED = frozenset((200, 201, 202))
NOT_FOUND = 404
PERSON = PROVIDERS["clearbit_person"].route


class Clearbit(Vendor):
    """`/clearbit/v2/companies/find?domain=`, `/clearbit/v2/people/find?email=`."""

    name = "clearbit"

    def __init__(self, terms: Terms, journal: Journal, faults: Faults) -> None:
        super().__init__(terms, journal, faults)
        self.routes = {
            **asked_by("clearbit", self._company, "domain"),
            **asked_by("clearbit_person", self._person, "email"),
        }
        self.answers = {
            "throttled": _throttled,
            "throttled:relative": _throttled_for_seconds,
            "quota_spent": _error(402, "over_quota", "You have used up your plan's requests."),
            "unauthorized": _error(401, "invalid_api_key", "Invalid API key provided."),
            "pending": self._pending,
            "pending:empty": _queued_empty,
            "pending:body": _queued,
            "unknown_record": _error(404, "unknown_record", "Unknown record."),
            "unknown_route": self.unknown_route,
            "wrong_params": _wrong_params(422),
            "wrong_params:400": _wrong_params(400),
            "api_error": _error(500, "api_error", "Something went wrong."),
        }

    def unknown_route(self, call: Call) -> Reply:
        return _say(call, 404, _error_body("unknown_route", "Unknown route."))

    def refuse_key(self, call: Call) -> Reply | None:
        call.entry.key = self.key_state(bearer(call.request) or basic_user(call.request))
        if call.entry.key == "ok":
            return None
        if call.entry.key == "none":
            return _say(call, 401, _error_body("auth_required", "No API key provided."))
        return _say(call, 401, _error_body("invalid_api_key", "Invalid API key provided."))

    def refuse_parameters(self, call: Call) -> Reply | None:
        question = call.entry.question
        is_person = call.entry.route == PERSON
        if (ADDRESS if is_person else DOMAIN).fullmatch(question):
            return None
        return self.answers["wrong_params"](call)

    def is_billable(self, call: Call, reply: Reply) -> bool:
        """A 404 costs when a record was looked up; the 404 of a wrong path has no account to bill."""
        has_looked = call.route is not None and reply.status == NOT_FOUND
        return reply.status in CHARGED or (has_looked and b"unknown_record" in reply.body)

    def _company(self, call: Call) -> Reply:
        return _say(call, 200, company_body(self.terms.seed, call.entry.question))

    def _person(self, call: Call) -> Reply:
        return _say(call, 200, encode(person(self.terms.seed, call.entry.question)))

    def _pending(self, call: Call) -> Reply:
        """Answer 202. With `cached=true` nothing is prepared: the vendor returns what it has."""
        if call.request.query.get("cached") == "true":
            return self._answer(call)
        return _queued_empty(call) if call.nth % 2 else _queued(call)


def _error_body(kind: str, message: str) -> bytes:
    return encode({"error": {"type": kind, "message": message}})


def _error(status: int, kind: str, message: str) -> Answer:
    """Return an answer that is always the same error, except for the headers."""
    body = _error_body(kind, message)
    return lambda call: _say(call, status, body)


def _wrong_params(status: int) -> Answer:
    """Answer 400 or 422. The reference gives both the same meaning; the hosts were seen to send 422."""

    def say(call: Call) -> Reply:
        what = "Email" if call.entry.route == PERSON else "Domain"
        problem = f"{what} is invalid" if call.entry.question else f"{what} is required"
        return _say(call, status, _error_body("params_invalid", problem))

    return say


def _throttled(call: Call) -> Reply:
    return _say(call, 429, _error_body("rate_limit", "Rate limit exceeded."))


def _throttled_for_seconds(call: Call) -> Reply:
    """Answer as an old issue of the vendor's Ruby client shows it."""
    moment = _throttled(call)
    seconds = {"X-RateLimit-Reset": str(math.ceil(wait_of(call)))}
    return Reply(moment.status, {**moment.headers, **seconds}, moment.body)


def _queued(call: Call) -> Reply:
    return _say(call, 202, encode({"error": {"type": "queued"}}))


def _queued_empty(call: Call) -> Reply:
    return _say(call, 202, b"")


def _say(call: Call, status: int, body: bytes) -> Reply:
    """Wrap a body in the headers that every answer has."""
    asked = call.request.headers.get("API-Version", API_VERSION)
    headers = {"Content-Type": JSON_TYPE, "X-Api-Version": asked}
    if asked != API_VERSION:
        headers["X-API-Warn"] = f"API version {asked} is deprecated, use {API_VERSION}."
    return Reply(status, headers | _hints(call), body)


def _hints(call: Call) -> dict[str, str]:
    """Return X-RateLimit headers. The reset is rounded up, so that waiting for it is never too short."""
    throttled = call.injection is not None and call.injection.fault.kind == "throttled"
    if call.verdict is None and not throttled:
        return {}
    remaining = 0 if throttled or call.verdict is None else call.verdict.remaining
    return {
        "X-RateLimit-Limit": str(call.verdict.limit if call.verdict else 600),
        "X-RateLimit-Remaining": str(remaining),
        "X-RateLimit-Reset": str(math.ceil(time.time() + wait_of(call))),
    }
