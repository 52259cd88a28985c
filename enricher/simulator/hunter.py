"""Hunter's API v2: the e-mail verifier, companies, people, and the account.

Where the vendor contradicts itself, both versions are here. Its reference says that 403 is the rate limit and
429 the spent quota; its own connector of August 2026 reads 429 with Retry-After as the rate limit and 402
`payment_required` as the quota. `Terms.hunter_dialect` chooses what windows and quota answer; a fault may name
its own dialect ("403", "429", "402").

A verification is charged with its final 200, each address once in a billing month; 202, 222, 451 and refusals
cost nothing, nor does the account. A company or a person costs twice as much with its 200, and nothing when
unknown (404). A search by a company's name costs as much where it lists an address. All three count in one pair of
windows. Person and verifier routes answer 451 for a person who
objected. The key `test-api-key` always gets the same dummy verification, for nothing, and is good for no
other route here.
"""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from random import Random
from typing import Any

from enricher.answer import Reply
from enricher.catalogue import HUNTER_FINDER, PROVIDERS
from enricher.simulator import facts
from enricher.simulator.faults import Faults
from enricher.simulator.journal import Journal
from enricher.simulator.records import Record, encode, hunter_company_body, hunter_person_body
from enricher.simulator.vendor import (
    ADDRESS,
    DOMAIN,
    JSON_TYPE,
    Answer,
    Call,
    Route,
    Terms,
    Vendor,
    asked_by,
    bearer,
    wait_of,
)

# Made-up verdicts of an e-mail verifier: the same (seed, address) always gives the same one.
#
# Null means "not checked": a webmail server is never contacted, and an unreachable one says nothing.

CACHED = 8192
"""About 500 bytes each: 4 MB for the working set of a benchmark that repeats questions."""


@lru_cache(maxsize=CACHED)
def verification_body(seed: int, email: str) -> bytes:
    """Return a Hunter verification in its envelope, as bytes."""
    data = verification(seed, email)
    return encode({"data": data, "meta": {"params": {"email": email}}})


def verification(seed: int, email: str) -> Record:
    """Return a Hunter verification with one of the six statuses; see the words in `faults.py`."""
    chance = Random(f"{seed}:{email}")
    status = _status(chance, email)
    return {
        "status": status,
        "result": _RESULTS[status],
        "score": _score(chance, status),
        "email": email,
        "regexp": True,
        **_checks(status),
        "block": False,
        "sources": _sources(chance, email) if status == "valid" else [],
    }


_RESULTS = {
    "valid": "deliverable",
    "invalid": "undeliverable",
    "accept_all": "risky",
    "webmail": "risky",
    "disposable": "risky",
    "unknown": "unknown",
}
_SCORES = {"valid": (88, 99), "invalid": (0, 12), "accept_all": (50, 80), "webmail": (72, 90)}


def _status(chance: Random, email: str) -> str:
    """Choose by the domain or a word in the address; else mostly valid, as in a real list."""
    domain = email.rpartition("@")[2]
    if domain in facts.DISPOSABLE:
        return "disposable"
    if domain in facts.FREE_MAIL:
        return "webmail"
    if not facts.is_told("hunter", email):
        return "unknown"
    return (
        facts.verdict_by_word(email)
        or chance.choices(("valid", "accept_all", "invalid", "unknown"), (86, 8, 4, 2))[0]
    )


def _score(chance: Random, status: str) -> int | None:
    low, high = _SCORES.get(status, (15, 40))
    return None if status == "unknown" else chance.randint(low, high)


def _checks(status: str) -> Record:
    reached = None if status in ("webmail", "unknown") else True
    return {
        "gibberish": None if status == "unknown" else False,
        "disposable": status == "disposable",
        "webmail": status == "webmail",
        "mx_records": None if status == "unknown" else True,
        "smtp_server": reached,
        "smtp_check": reached and status != "invalid",
        "accept_all": reached and status == "accept_all",
    }


def _sources(chance: Random, email: str) -> list[Record]:
    domain = email.rpartition("@")[2]
    source = {
        "domain": domain,
        "uri": f"https://{domain}/team",
        "extracted_on": "2024-08-04",
        "last_seen_on": "2026-03-18",
        "still_on_page": True,
    }
    return [source] * chance.randint(0, 1)


TEST_KEY = "test-api-key"
VERIFIER, COMPANY, PERSON = (
    PROVIDERS[name].route for name in ("hunter", "hunter_company", "hunter_person")
)
SEARCH = HUNTER_FINDER.route
_CHARGED = frozenset((VERIFIER, COMPANY, PERSON, SEARCH))
_OF_VERIFIER = frozenset(("pending", "smtp_failed"))
_OF_PERSONS = frozenset(("claimed_email", "invalid_email"))
OK = 200
HEADERS = {"Content-Type": JSON_TYPE}
DIALECTS = {"docs": ("403", "429"), "connector": ("429", "402")}
"""Dialect -> how it spells (the rate limit, the quota)."""
_WITH_ADDRESS = 0.5
CREDITS_AT_LEAST = 1_000_000
"""Allowance that an account without a quota reports."""


class Hunter(Vendor):
    """`/hunter/v2/email-verifier?email=`, `/companies/find?domain=`, `/people/find?email=`,
    `/domain-search?company=`, `/account`."""

    name = "hunter"

    def __init__(self, terms: Terms, journal: Journal, faults: Faults) -> None:
        super().__init__(terms, journal, faults)
        if terms.hunter_dialect not in DIALECTS:
            raise ValueError(f"Hunter's dialect is one of {', '.join(DIALECTS)}")
        throttle, quota = DIALECTS[terms.hunter_dialect]
        self.routes = {
            **asked_by("hunter", self._verification, "email"),
            **asked_by(
                "hunter_company", self._company, "domain", spares=_OF_VERIFIER | _OF_PERSONS
            ),
            **asked_by(
                "hunter_person", self._person, "email", spares=_OF_VERIFIER | {"invalid_domain"}
            ),
            **asked_by("hunter_finder", self._search, "company", spares=_OF_VERIFIER | _OF_PERSONS),
            "/v2/account": Route("account", self._account),
        }
        self.answers = ANSWERS | {
            "throttled": ANSWERS[f"throttled:{throttle}"],
            "quota_spent": ANSWERS[f"quota_spent:{quota}"],
        }

    def unknown_route(self, call: Call) -> Reply:
        return ANSWERS["unknown_route"](call)

    def refuse_key(self, call: Call) -> Reply | None:
        """The test key gets its dummy answer here: not a refusal, but it too ends the call."""
        key = _key_of(call)
        call.entry.key = "test" if key == TEST_KEY else self.key_state(key)
        if call.entry.key == "test" and call.entry.route == VERIFIER:
            return self.refuse_parameters(call) or _dummy(call)
        return None if call.entry.key == "ok" else ANSWERS["unauthorized"](call)

    def refuse_parameters(self, call: Call) -> Reply | None:
        entry = call.entry
        if entry.route not in _CHARGED:
            return None
        if entry.route == SEARCH:
            return None if entry.question else self.answers["wrong_params"](call)
        form, malformed = (
            (DOMAIN, "invalid_domain") if entry.route == COMPANY else (ADDRESS, "invalid_email")
        )
        if form.fullmatch(entry.question):
            return None
        return self.answers[malformed if entry.question else "wrong_params"](call)

    def is_billable(self, call: Call, reply: Reply) -> bool:
        entry = call.entry
        is_free = entry.route == SEARCH and b'"emails":[]' in reply.body
        return reply.status == OK and entry.route in _CHARGED and entry.key == "ok" and not is_free

    def _verification(self, call: Call) -> Reply:
        return Reply(200, HEADERS, verification_body(self.terms.seed, call.entry.question))

    def _company(self, call: Call) -> Reply:
        return Reply(200, HEADERS, hunter_company_body(self.terms.seed, call.entry.question))

    def _person(self, call: Call) -> Reply:
        return Reply(200, HEADERS, hunter_person_body(self.terms.seed, call.entry.question))

    def _search(self, call: Call) -> Reply:
        """Name the domain, with one role address at it for every other company."""
        name = call.entry.question
        found = facts.named(self.name, name)
        if found is None:
            return self.answers["unknown_record"](call)
        return Reply(200, HEADERS, encode(search(self.terms.seed, found)))

    def _account(self, _call: Call) -> Reply:
        used = self.journal.billing[self.name].spent
        available = self.terms.quotas.get(self.name, CREDITS_AT_LEAST)
        return Reply(200, HEADERS, encode({"data": account(used, available)}))


def search(seed: int, found: facts.Named) -> Record:
    """Return what a search by a company's name finds: its domain, and addresses at it."""
    has_address = Random(f"{seed} search {found.domain}").random() < _WITH_ADDRESS
    address = {"value": f"info@{found.domain}", "type": "generic", "confidence": 90, "sources": []}
    emails = [address] if has_address else []
    data = {
        "domain": found.domain,
        "disposable": False,
        "webmail": False,
        "accept_all": False,
        "pattern": "{first}.{last}",
        "organization": found.name,
        "country": None,
        "state": None,
        "emails": emails,
    }
    return {"data": data, "meta": {"results": len(emails), "limit": 1, "offset": 0}}


def account(used: int, available: int) -> dict[str, Any]:
    """Return the account. Both figures are in half credits, the price of a verification; `available` is the
    allowance, not what is left."""
    credits_used = {"used": math.ceil(used / 2), "available": available // 2}
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
            "searches": {"used": 0, "available": available // 2},
            "verifications": {"used": used, "available": available},
            "credits": credits_used,
        },
    }


def _next_month() -> date:
    first = datetime.now(UTC).date().replace(day=1)
    return (first + timedelta(days=32)).replace(day=1)


def _key_of(call: Call) -> str | None:
    in_url = call.request.query.get("api_key")
    return in_url or call.request.headers.get("X-API-KEY") or bearer(call.request)


def _dummy(_call: Call) -> Reply:
    return Reply(200, HEADERS, verification_body(0, "test@simulated-account.com"))


def _error(status: int, slug: str, details: str) -> Answer:
    """Return an answer that is always the same error."""
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
    "wrong_params": _error(400, "wrong_params", "You are missing a parameter."),
    "wrong_params:422": _error(422, "invalid", "A parameter is not valid."),
    "api_error": _error(500, "server_error", "Something went wrong on our side."),
}
