"""Hunter: whether an e-mail address can be written to (`email-verifier`), companies and persons.

What surprises about the verifier, besides the refusals that all of Hunter's routes share (below):

- 202 (still checking) and 222 (the mailbox's own server gave no clear answer) are 2xx and carry no
  verdict. Polling a 202 is charged once, however often.
- `status` is the verdict, `result` its deprecated forerunner. `accept_all` means that the domain
  accepts every address: it is stored as such, never as `valid`. Any value may be null.

Codes and shapes: Hunter's API reference and its published client.
"""

from __future__ import annotations

import json
import math
import re
import time
from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import ClassVar

from enricher.answer import (
    Answer,
    Found,
    Held,
    Kind,
    NotFound,
    Objected,
    Query,
    Reply,
    Throttled,
    Unavailable,
)
from enricher.catalogue import HUNTER_FINDER, PROVIDERS, VENDORS
from enricher.identity.names import name_key
from enricher.providers import finding, reading, transport
from enricher.providers.base import Access, Request, Tried
from enricher.providers.clearbit import COMPANY_SENDS, company_values
from enricher.providers.http import (
    NOT_OWN,
    REFUSED_KEY,
    REFUSED_QUESTION,
    USED_UP,
    HttpProvider,
    complaint,
    preparing,
)
from enricher.providers.reading import (
    EMPTY,
    RECORD_KEYS,
    SAY_NOTHING_ALONE,
    SENDS,
    of_record,
    unfit_for_person,
    within,
)
from enricher.providers.transport import Client

# Hunter's refusals, which its routes share: what a 402, 403, 429 or 451 means, and what it takes to tell.
#
# Hunter's documentation and its own client disagree. Documentation: 403 is the rate limit, 429 the
# used-up plan. Client: 402 is the used-up plan, 429 the rate limit with a Retry-After, 403 a key
# without permission. Both occur in practice, so the body's `errors[0].id` decides first. After a 429
# without Retry-After we look at the account (free) to see which it is. A 403 with an unknown id is the
# rate limit, until it has come too often for that. A 403 without any id is a firewall's.
#
# 451 `claimed_email`: the person asked Hunter to stop, and Hunter asks us not to process them in any
# way. Only that word counts: intermediaries send a 451 as well, for everybody, because of a law or a policy.
#
# Codes and shapes: Hunter's API reference and its published client.

REFUSALS_BEFORE_HELD = 5
"""This many unexplained 403s in a row are not a rate limit: 15 + 30 + 60 + 120 s outlast its window."""
FIRST_REFUSAL_SECONDS = 15.0
UNEXPLAINED_SECONDS = 60.0
"""Wait after a 429 that names no delay (the longest documented window), and between looks at the account."""
LONGEST_HOLD_SECONDS = 6 * 3600.0
"""A plan may be upgraded at any time, and a refusal is free: so ask again within the day."""

_ACCOUNT_ROUTE = "/v2/account"


class HunterRoute(HttpProvider):
    """A route of `api.hunter.io`. Its `interpret` says what a reply means by itself; `exchange` adds what
    takes several replies to tell."""

    allowances: ClassVar[Mapping[str, float]]
    """Part of the account that pays for this route -> what a call takes of it; the first part that the
    account shows is used."""

    def __init__(
        self,
        http: Client,
        access: Access,
        per_minute: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(http, access, per_minute)
        self._clock = clock
        self._refusals = 0
        self._wait_until = -math.inf
        self._look_again_at = -math.inf
        self._seen: Answer = Throttled(UNEXPLAINED_SECONDS)

    def is_own(self, reply: Reply) -> bool:
        return error_id(reply) is not None

    def headers(self) -> dict[str, str]:
        return {"X-API-KEY": self._access.key.get_secret_value()}

    async def exchange(self, query: Query) -> Tried:
        """Try once; after a 429 that does not say why, also look at the account, which is free."""
        asked_at = self._clock()
        reply = await self._fetch(self.request(query))
        if isinstance(reply, Unavailable):
            return self._tried(reply)
        answer = self._judge(reply, query)
        match reply.status, answer:
            case 403, Throttled():
                answer = self._refused_again(asked_at)
            case 429, Throttled(retry_after=None):
                answer = await self._look_why()
            case _, Unavailable():
                pass
            case _:
                self._refusals, self._wait_until = 0, -math.inf
        return self._tried(reply, answer)

    def _refused_again(self, asked_at: float) -> Answer:
        """Count this refusal if it was asked after the last wait was over.

        Calls that were in flight together, or did not wait, tell nothing new about the key.
        """
        if asked_at >= self._wait_until:
            self._refusals += 1
            self._wait_until = self._clock() + self._refusal_seconds
        if self._refusals >= REFUSALS_BEFORE_HELD:
            return Held(REFUSED_KEY)
        return Throttled(self._refusal_seconds)

    @property
    def _refusal_seconds(self) -> float:
        return FIRST_REFUSAL_SECONDS * 2.0 ** (min(self._refusals, REFUSALS_BEFORE_HELD) - 1)

    async def _look_why(self) -> Answer:
        """Tell the rate limit from the plan. One look a minute answers for all calls refused meanwhile."""
        now = self._clock()
        if now >= self._look_again_at:
            self._look_again_at = now + UNEXPLAINED_SECONDS
            self._seen = Throttled(UNEXPLAINED_SECONDS)
            self._seen = _why_refused(
                await self._fetch(Request(_ACCOUNT_ROUTE, {})), self.allowances
            )
        return self._seen

    async def quota_left(self) -> float | None:
        """Read it from the account, which is free to look at."""
        reply = await self._fetch(Request(_ACCOUNT_ROUTE, {}))
        if isinstance(reply, Unavailable):
            return None
        data = reading.at(reading.parse_object(reply.body), "data")
        return _left_of(data, self.allowances)

    async def probe(self) -> str | None:
        """Look at the account, which is free. Never reports its content: it holds a name."""
        reply = await self._fetch(Request(_ACCOUNT_ROUTE, {}))
        if isinstance(reply, Unavailable):
            return reply.reason
        match reply.status:
            case 200 if reading.at(reading.parse_object(reply.body), "data") is not None:
                return None
            case 200:
                return "the body is not an account"
            case 429:
                return USED_UP
        return complaint(reply, self._judge(reply))


def refusal(reply: Reply) -> Answer:
    """Return what a refusal means: by the id in the body if it is known, else by the status. Without an id it is
    not Hunter's word, and says nothing about a key, a plan, a question or a person."""
    match reply.status, error_id(reply):
        case _, None:
            return _unsigned(reply)
        case _, "claimed_email":
            return Objected()
        case 451, _:
            return Unavailable(NOT_OWN.format(451))
        case (402, _) | (_, "payment_required"):
            return Held(USED_UP)
        case (401, _) | (_, "authentication_failed" | "unauthorized" | "forbidden"):
            return Held(REFUSED_KEY)
        case 404, _:
            return NotFound()
        case 400 | 422, _:
            return NotFound(REFUSED_QUESTION)
    return _by_number(reply)


def _unsigned(reply: Reply) -> Answer:
    """Judge a refusal that may be anybody's, such as a firewall's. A rate limit counts from any intermediary."""
    is_refusal = reply.status in (401, 402, 403, 451)
    return Unavailable(NOT_OWN.format(reply.status)) if is_refusal else _by_number(reply)


def _by_number(reply: Reply) -> Answer:
    match reply.status:
        case 403:
            return Throttled()
        case 429:
            return Throttled(
                transport.retry_after(reply.headers, transport.answered_at(reply.headers))
            )
    return Unavailable(str(reply.status))


def error_id(reply: Reply) -> str | None:
    """Return the slug in `errors[0].id`. Without one the reply is not Hunter's but a proxy's."""
    errors = reading.at(reading.parse_object(reply.body), "errors")
    return reading.text(errors[0], "id") if isinstance(errors, list) and errors else None


def _why_refused(reply: Reply | Unavailable, allowances: Mapping[str, float]) -> Answer:
    """Return `Held` if the account shows too little left, else (also if it cannot be seen) `Throttled`."""
    if isinstance(reply, Unavailable):
        return Throttled(UNEXPLAINED_SECONDS)
    data = reading.at(reading.parse_object(reply.body), "data")
    known = (
        left >= takes
        for each, takes in allowances.items()
        if (left := _left(data, each)) is not None
    )
    if next(known, True):
        return Throttled(UNEXPLAINED_SECONDS)
    now = transport.answered_at(reply.headers)
    until_reset = transport.seconds_until(
        reading.text(data, "reset_date"), now, longest=LONGEST_HOLD_SECONDS
    )
    return Held(USED_UP) if until_reset is None else Held(USED_UP, until_reset)


def _left_of(account: object, allowances: Mapping[str, float]) -> float | None:
    """Return what is left of the first part that the account shows."""
    parts = (_left(account, each) for each in allowances)
    return next((left for left in parts if left is not None), None)


def _left(account: object, allowance: str) -> float | None:
    """Return what is left, reading `available` as the plan's allowance (the vendor does not say).

    If it were what remains, this would hold the provider too early, for a few hours at most.
    """
    used = reading.number(account, "requests", allowance, "used")
    available = reading.number(account, "requests", allowance, "available")
    return None if used is None or available is None else available - used


STATUSES = frozenset({"valid", "invalid", "accept_all", "webmail", "disposable", "unknown"})
RESULTS = frozenset({"deliverable", "undeliverable", "risky", "unknown"})

_NO_CLEAR_ANSWER = "the mailbox's server gave no clear answer (222)"
_FLAGS = {
    "is_disposable": "disposable",
    "is_webmail": "webmail",
    "is_gibberish": "gibberish",
    "mx_records": "mx_records",
    "smtp_check": "smtp_check",
    "accept_all": "accept_all",
}


class HunterVerifier(HunterRoute, listing=PROVIDERS["hunter"]):
    """`api.hunter.io/v2/email-verifier`."""

    sends = within(
        "data", {"status": str, "result": str, "score": int, **dict.fromkeys(_FLAGS.values(), bool)}
    )
    allowances: ClassVar = {"verifications": 1, "credits": 0.5}

    def unfit(self, query: Query) -> str | None:
        return None if query.email else "no e-mail address"

    def request(self, query: Query) -> Request:
        return Request(self.path, {"email": query.email or ""})

    def interpret(self, reply: Reply) -> Answer:
        match reply.status:
            case 200:
                return _verdict(reply)
            case 202:
                return preparing(reply)
            case 222:
                return Unavailable(_NO_CLEAR_ANSWER, is_of_question=True)
        return refusal(reply)


def _verdict(reply: Reply) -> Answer:
    data = reading.at(reading.parse_object(reply.body), "data")
    if not isinstance(data, dict) or not data.keys() & {"status", "result", "score"}:
        return Unavailable("the body is not a verification")
    values = {
        "status": reading.choice(data, "status", among=STATUSES),
        "result": reading.choice(data, "result", among=RESULTS),
        "score": reading.whole_number(data, "score", most=100),
        **{name: data.get(key) for name, key in _FLAGS.items()},
    }
    return reading.found(Kind.EMAIL, values)


# Hunter: a company by its domain (`companies/find`), a person by their address (`people/find`).
#
# The records are Clearbit's in all but a few keys, which makes these the routes for anyone who can no longer
# get a Clearbit key. What surprises, besides the refusals that all of Hunter's routes share (above):
#
# - A company's `metrics.employees` is a range in words ("11-50", "10K-50K"), never a head count: a
#   provider that knows the count is still worth asking afterwards.
# - `id` is Hunter's own, not Clearbit's. `emailProvider` is a host name where Clearbit has a flag;
#   nothing reads it.
# - A refused domain (400 `invalid_domain`) may be one whose owner objected: we cannot tell, and either way
#   nothing is stored and the answer stands like any other.
# - A 451 on the company's route is not about the lead's person: 500 of them may share the domain.
# - An unknown subject is a 404; a record of nothing but nulls was seen as well and means the same.
#
# Both routes count together, apart from the verifier: 15 calls a second and 500 a minute. If
# HUNTER_RATE_LIMIT says that the plan has more (or is to be spared), both windows grow (the minute also
# shrinks) in the proportion of that figure to the verifier's 300. Each 200 costs a credit, once a month for
# the same question; a 404 is free.
# Hunter's `combined/find` is not used: it returns the company anew for each address, so 500 leads of one
# company would pay for it 500 times.

_VERIFICATIONS_PER_MINUTE = VENDORS["hunter"].per_minute
"""The default of HUNTER_RATE_LIMIT; the limit of these routes keeps its proportion to it."""
_MINUTE = 60
_RANGE = re.compile(
    r"[0-9][0-9.,]*[KM]?(?:\+| ?[-\u2013] ?[0-9][0-9.,]*[KM]?\+?)", re.ASCII | re.IGNORECASE
)


class _Enrichment(HunterRoute):
    """What both routes share: credits, windows, and the envelope of a record."""

    allowances: ClassVar = {"credits": 1, "searches": 1}
    record_keys: ClassVar[frozenset[str]]
    """A record has at least one of these; anything without them is no record."""

    def __init__(
        self,
        http: Client,
        access: Access,
        per_minute: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Set up the route. `per_minute` is the verifier's, as the operator sets it."""
        [in_a_minute] = (each.calls for each in self.windows if each.seconds == _MINUTE)
        own = per_minute and max(1, per_minute * in_a_minute // _VERIFICATIONS_PER_MINUTE)
        super().__init__(http, access, own, clock)

    def interpret(self, reply: Reply) -> Answer:
        match reply.status:
            case 200:
                return self._record(reply)
            case 202:
                return preparing(reply)
        return refusal(reply)

    def _record(self, reply: Reply) -> Answer:
        body = reading.parse_object(reply.body)
        if body is None or "data" not in body:
            return Unavailable(f"the body is not a {self.kind} record")
        record = body["data"]
        if record is None:
            return NotFound(EMPTY)
        if not isinstance(record, dict) or not record.keys() & self.record_keys:
            return Unavailable(f"the body is not a {self.kind} record")
        return self._read(record)

    @abstractmethod
    def _read(self, record: reading.Record) -> Answer:
        """Return what a record says."""


class HunterCompany(_Enrichment, listing=PROVIDERS["hunter_company"]):
    """`api.hunter.io/v2/companies/find`."""

    record_keys = frozenset({"id", "name", "domain"})
    sends = within("data", COMPANY_SENDS)

    def unfit(self, query: Query) -> str | None:
        return None if query.company_domain else query.no_company_domain

    def request(self, query: Query) -> Request:
        return Request(self.path, {"domain": query.company_domain or ""})

    def interpret(self, reply: Reply) -> Answer:
        return _of_nobody(super().interpret(reply))

    def _read(self, record: reading.Record) -> Answer:
        values = company_values(record) | _employee_range(record)
        values.pop("clearbit_id", None)
        return reading.found(self.kind, values, beside=SAY_NOTHING_ALONE | {"logo_url"})


# Hunter: a company's domain by its name (`domain-search`).
#
# The route lists addresses at the company, and is charged by the ten of them; with `company` it also says which
# domain it looked at. We want that alone: so one role address at most is asked for, no person's, and what comes of
# addresses is cut away before the reply is kept. A domain without any costs nothing.


class HunterFinder(_Enrichment, listing=HUNTER_FINDER):
    """`api.hunter.io/v2/domain-search`, by a company's name."""

    finds_domain = True
    record_keys = frozenset({"domain", "organization"})

    def unfit(self, query: Query) -> str | None:
        return finding.unfit(query)

    def request(self, query: Query) -> Request:
        params = {"company": query.sought or "", "limit": "1", "type": "generic"}
        return Request(self.path, params)

    def question(self, query: Query) -> str | None:
        return f"{self.path}?company={name_key(query.sought or '')}"

    def is_charged(self, reply: Reply) -> bool:
        """A body that cannot be read may hold an address, so it counts as charged."""
        listed = reading.at(reading.parse_object(reply.body), "data", "emails")
        return super().is_charged(reply) and listed != []

    def interpret(self, reply: Reply) -> Answer:
        return _of_nobody(super().interpret(reply))

    def _tried(self, reply: Reply | Unavailable, answer: Answer | None = None) -> Tried:
        tried = super()._tried(reply, answer)
        return tried if tried.reply is None else replace(tried, reply=_of_company(tried.reply))

    def _read(self, record: reading.Record) -> Answer:
        domain = reading.domain(record, "domain")
        return Found({self.kind.section: {"domain": domain}}) if domain else NotFound(EMPTY)

    def vetted(self, found: Found, reply: Reply, query: Query) -> Answer:
        name = reading.text(reading.parse_object(reply.body), "data", "organization")
        return finding.agreed(found, query, name)


def _of_nobody(answer: Answer) -> Answer:
    """Return what an answer about a company means: an objection to it is not the lead's person's."""
    return NotFound("its owner objected") if isinstance(answer, Objected) else answer


def _of_company(reply: Reply) -> Reply:
    """Return the reply with what it says of the company and of no address."""
    data = reading.at(reading.parse_object(reply.body), "data")
    if not isinstance(data, dict):
        return reply
    kept = {name: data.get(name) for name in ("domain", "organization")}
    free: dict[str, object] = {"emails": []} if data.get("emails") == [] else {}
    return replace(reply, body=json.dumps({"data": {**kept, **free}}).encode())


class HunterPerson(_Enrichment, listing=PROVIDERS["hunter_person"]):
    """`api.hunter.io/v2/people/find`."""

    record_keys = RECORD_KEYS
    sends = within("data", SENDS)

    def unfit(self, query: Query) -> str | None:
        return unfit_for_person(query)

    def request(self, query: Query) -> Request:
        return Request(self.path, {"email": query.email or ""})

    def _read(self, record: reading.Record) -> Answer:
        return of_record(record)


def _employee_range(record: reading.Record) -> dict[str, object]:
    """Read `metrics.employees` if it is a range; a number, as in Clearbit's format, would be the count."""
    words = reading.text(record, "metrics", "employees")
    return {"employee_range": words} if words and _RANGE.fullmatch(words) else {}
