"""Hunter's API v2: the e-mail verifier and the account.

Where the vendor contradicts itself, both voices are here. Its reference says that 403 is the rate
limit and 429 the spent quota; its own connector of August 2026 reads 429 with Retry-After as the rate
limit and 402 `payment_required` as the quota. `Terms.hunter_dialect` chooses what the windows and the
quota answer; a fault may name its dialect itself ("403", "429", "402").

A verification is charged with its final 200, each address once in a billing month; 202, 222, 451 and
refusals cost nothing, nor does the account. The key `test-api-key` always gets the same dummy
verification, for nothing, and is good for no other route here.
"""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta
from typing import Any

from enricher.answer import Reply
from enricher.demo.journal import Journal
from enricher.demo.records import encode
from enricher.demo.stories import Faults
from enricher.demo.vendor import (
    ADDRESS,
    JSON_TYPE,
    Answer,
    Call,
    Route,
    Terms,
    Vendor,
    bearer,
    wait_of,
)
from enricher.demo.verifications import verification_body

TEST_KEY = "test-api-key"
VERIFIER = "email-verifier"
OK = 200
HEADERS = {"Content-Type": JSON_TYPE}
DIALECTS = {"docs": ("403", "429"), "connector": ("429", "402")}
"""Dialect -> how it spells (the rate limit, the quota)."""
CREDITS_AT_LEAST = 1_000_000
"""What an account without a quota reports as its allowance."""


class Hunter(Vendor):
    """`/hunter/v2/email-verifier?email=` and `/hunter/v2/account`."""

    name = "hunter"

    def __init__(self, terms: Terms, journal: Journal, faults: Faults) -> None:
        super().__init__(terms, journal, faults)
        if terms.hunter_dialect not in DIALECTS:
            raise ValueError(f"Hunter's dialect is one of {', '.join(DIALECTS)}")
        throttle, quota = DIALECTS[terms.hunter_dialect]
        self.routes = {
            f"/v2/{VERIFIER}": Route(VERIFIER, self._verification, "email", f"hunter/{VERIFIER}"),
            "/v2/account": Route("account", self._account),
        }
        self.answers = ANSWERS | {
            "throttled": ANSWERS[f"throttled:{throttle}"],
            "quota_spent": ANSWERS[f"quota_spent:{quota}"],
        }

    def unknown_route(self, call: Call) -> Reply:
        return ANSWERS["unknown_route"](call)

    def refuse_key(self, call: Call) -> Reply | None:
        """The dummy of the test key is no refusal, but it too ends the matter here."""
        key, in_url = _key_of(call)
        call.entry.key_in_url = in_url
        call.entry.key = "test" if key == TEST_KEY else self.key_state(key)
        if call.entry.key == "test" and call.entry.route == VERIFIER:
            return self.refuse_parameters(call) or _dummy(call)
        return None if call.entry.key == "ok" else ANSWERS["unauthorized"](call)

    def refuse_parameters(self, call: Call) -> Reply | None:
        if call.entry.route != VERIFIER or ADDRESS.fullmatch(call.entry.question):
            return None
        if call.entry.question:
            return ANSWERS["invalid_email"](call)
        return ANSWERS["wrong_params"](call)

    def is_billable(self, call: Call, reply: Reply) -> bool:
        entry = call.entry
        return reply.status == OK and entry.route == VERIFIER and entry.key == "ok"

    def _verification(self, call: Call) -> Reply:
        return Reply(200, HEADERS, verification_body(self.terms.seed, call.entry.question))

    def _account(self, _call: Call) -> Reply:
        used = self.journal.billing[self.name].charged
        available = self.terms.quotas.get(self.name, CREDITS_AT_LEAST)
        return Reply(200, HEADERS, encode({"data": account(used, available)}))


def account(used: int, available: int) -> dict[str, Any]:
    """A verification costs half a credit; `available` is the allowance, not what is left of it."""
    credits_used = {"used": math.ceil(used / 2), "available": math.ceil(available / 2)}
    return {
        "first_name": "Sim",
        "last_name": "Ulated",
        "email": "owner@simulated-account.com",
        "plan_name": "Simulated",
        "plan_level": 1,
        "reset_date": _next_month().isoformat(),
        "team_id": 1,
        "calls": {"_deprecation_notice": "Use requests instead.", **credits_used},
        "requests": {
            "searches": {"used": 0, "available": math.ceil(available / 2)},
            "verifications": {"used": used, "available": available},
            "credits": credits_used,
        },
    }


def _next_month() -> date:
    first = datetime.now(UTC).date().replace(day=1)
    return (first + timedelta(days=32)).replace(day=1)


def _key_of(call: Call) -> tuple[str | None, bool]:
    """The key and whether it came in the URL, where it ends up in everybody's logs."""
    in_url = call.request.query.get("api_key")
    if in_url is not None:
        return in_url, True
    return call.request.headers.get("X-API-KEY") or bearer(call.request), False


def _dummy(_call: Call) -> Reply:
    return Reply(200, HEADERS, verification_body(0, "test@simulated-account.com"))


def _error(status: int, slug: str, details: str) -> Answer:
    """An answer that is always the same error."""
    body = encode({"errors": [{"id": slug, "code": status, "details": details}]})
    reply = Reply(status, HEADERS, body)
    return lambda _call: reply


def _throttled_429(call: Call) -> Reply:
    plain = _error(429, "too_many_requests", "You have made too many requests.")(call)
    retry_after = str(math.ceil(wait_of(call)))
    return Reply(429, {**plain.headers, "Retry-After": retry_after}, plain.body)


def _pending(call: Call) -> Reply:
    data = {"status": "pending", "email": call.entry.question}
    return Reply(202, HEADERS, encode({"data": data}))


ANSWERS: dict[str, Answer] = {
    "throttled:403": _error(403, "rate_limit", "You have reached the rate limit."),
    "throttled:429": _throttled_429,
    "quota_spent:429": _error(
        429, "usage_limit", "You have reached your usage limit. Upgrade your plan."
    ),
    "quota_spent:402": _error(
        402, "payment_required", "You have exhausted your plan's monthly request quota."
    ),
    "unauthorized": _error(401, "authentication_failed", "No user found for the API key supplied"),
    "forbidden": _error(403, "forbidden", "This key may not use this endpoint."),
    "pending": _pending,
    "unknown_record": _error(404, "not_found", "This record does not exist in our database."),
    "unknown_route": _error(404, "not_found", "This endpoint does not exist."),
    "claimed_email": _error(
        451, "claimed_email", "The owner of this address asked us to stop processing it."
    ),
    "smtp_failed": _error(
        222, "smtp_error", "The remote SMTP server gave an unexpected response. Retry later."
    ),
    "invalid_email": _error(400, "invalid_email", "The email is not valid."),
    "invalid_domain": _error(400, "invalid_domain", "The domain is not valid."),
    "wrong_params": _error(400, "wrong_params", "You are missing the email parameter."),
}
