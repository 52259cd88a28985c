"""Hunter: whether an e-mail address can be written to (`email-verifier`).

What surprises:

- 202 (still checking) and 222 (the mailbox's own server gave no clear answer) are 2xx and carry no
  verdict. Polling a 202 is one charge, however often.
- Hunter's documentation and its own client disagree on refusals. Documentation: 403 is the rate
  limit, 429 the used-up plan. Client: 402 is the used-up plan, 429 the rate limit with a
  Retry-After, 403 a key without permission. Both are in the wild, so the body's `errors[0].id`
  decides first; then a 429 without Retry-After looks at the account (free) to see which it is; and
  a 403 without a known id is the rate limit, until it has come too often to be one.
- 451: the person asked Hunter to stop, and Hunter asks us not to process them in any way.
- `status` is the verdict, `result` its deprecated forerunner. `accept_all` means that the domain
  accepts every address: it is stored as that, never as `valid`. Any value may be null.

Codes and shapes: Hunter's API reference and its published client.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import httpx

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
from enricher.providers import hints, reading
from enricher.providers.base import Access, Request, Tried, Window
from enricher.providers.http import (
    RATE_LIMITED,
    REFUSED_KEY,
    REFUSED_QUESTION,
    USED_UP,
    HttpProvider,
    preparing,
)

STATUSES = frozenset({"valid", "invalid", "accept_all", "webmail", "disposable", "unknown"})
RESULTS = frozenset({"deliverable", "undeliverable", "risky", "unknown"})

REFUSALS_BEFORE_HELD = 5
"""This many unexplained 403s in a row are no rate limit: 15 + 30 + 60 + 120 s outlast its window."""
FIRST_REFUSAL_SECONDS = 15.0
UNEXPLAINED_SECONDS = 60.0
"""After a 429 that names no delay: the longest documented window, and the pause between look-ups."""
LONGEST_HOLD_SECONDS = 6 * 3600.0
"""A plan may be upgraded at any time, and a refusal is free: so ask again within the day."""

_NO_CLEAR_ANSWER = "the mailbox's server gave no clear answer (222)"
_ROUTE = "/v2/email-verifier"
_ACCOUNT_ROUTE = "/v2/account"
_FLAGS = {
    "is_disposable": "disposable",
    "is_webmail": "webmail",
    "is_gibberish": "gibberish",
    "mx_records": "mx_records",
    "smtp_check": "smtp_check",
    "accept_all": "accept_all",
}


class HunterVerifier(HttpProvider):
    """`api.hunter.io/v2/email-verifier`."""

    name = "hunter"
    vendor = "hunter"
    kind = Kind.EMAIL
    host = "https://api.hunter.io"
    windows = (Window(calls=10, seconds=1), Window(calls=300, seconds=60))
    required = frozenset({"status"})
    credits = 0.5

    def __init__(
        self,
        http: httpx.AsyncClient,
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

    def unfit(self, query: Query) -> str | None:
        return None if query.email else "no e-mail address"

    def request(self, query: Query) -> Request:
        return Request(_ROUTE, {"email": query.email or ""})

    def headers(self) -> dict[str, str]:
        return {"X-API-KEY": self._access.key.get_secret_value()}

    def interpret(self, reply: Reply) -> Answer:
        """What the reply says by itself; `ask` adds what only several replies can tell."""
        match reply.status:
            case 200:
                return _verdict(reply)
            case 202:
                return preparing(reply)
            case 222:
                return Unavailable(_NO_CLEAR_ANSWER, is_of_question=True)
        return _refusal(reply)

    async def exchange(self, query: Query) -> Tried:
        """One try; after a 429 that does not say why, one free look at the account as well."""
        asked_at = self._clock()
        reply = await self._fetch(self.request(query))
        if isinstance(reply, Unavailable):
            return self._tried(reply)
        answer = self._judge(reply)
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
        """Counts only what was asked after the last wait was over.

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
        """The rate limit or the plan? One look a minute answers for all calls refused meanwhile."""
        now = self._clock()
        if now >= self._look_again_at:
            self._look_again_at = now + UNEXPLAINED_SECONDS
            self._seen = Throttled(UNEXPLAINED_SECONDS)
            self._seen = _why_refused(await self._fetch(Request(_ACCOUNT_ROUTE, {})))
        return self._seen

    async def probe(self) -> str | None:
        """Looks at the account, which is free. Says nothing of its content: it holds a name."""
        reply = await self._fetch(Request(_ACCOUNT_ROUTE, {}))
        if isinstance(reply, Unavailable):
            return reply.reason
        match reply.status:
            case 200 if reading.at(reading.parse_object(reply.body), "data") is not None:
                return None
            case 200:
                return "the body is not an account"
            case 404:
                return "the address is wrong (404)"
            case 429:
                return USED_UP
        match _refusal(reply):
            case Held(reason=reason):
                return reason
            case Throttled():
                return RATE_LIMITED
        return f"unexpected answer ({reply.status})"


def _verdict(reply: Reply) -> Answer:
    data = reading.at(reading.parse_object(reply.body), "data")
    if not isinstance(data, dict) or not data.keys() & {"status", "result", "score"}:
        return Unavailable("the body is not a verification")
    values = reading.present(
        {
            "status": reading.choice(data, "status", among=STATUSES),
            "result": reading.choice(data, "result", among=RESULTS),
            "score": reading.whole_number(data, "score", most=100),
            **{name: reading.flag(data, key) for name, key in _FLAGS.items()},
        }
    )
    return Found({Kind.EMAIL.section: values}) if values else NotFound("the record is empty")


def _refusal(reply: Reply) -> Answer:
    """By the id in the body where that is known, else by the number."""
    match reply.status, _error_id(reply):
        case (451, _) | (_, "claimed_email"):
            return Objected()
        case (402, _) | (_, "payment_required"):
            return Held(USED_UP)
        case (401, _) | (_, "authentication_failed" | "unauthorized" | "forbidden"):
            return Held(REFUSED_KEY)
        case 403, _:
            return Throttled()
        case 429, _:
            return Throttled(hints.retry_after(reply.headers, hints.answered_at(reply.headers)))
        case 404, str():
            return NotFound()
        case 400 | 422, str():
            return NotFound(REFUSED_QUESTION)
    return Unavailable(str(reply.status))


def _error_id(reply: Reply) -> str | None:
    """The slug in `errors[0].id`. Without one, the reply is perhaps not Hunter's but a proxy's."""
    errors = reading.at(reading.parse_object(reply.body), "errors")
    return reading.text(errors[0], "id") if isinstance(errors, list) and errors else None


def _why_refused(reply: Reply | Unavailable) -> Answer:
    """Held when the account shows nothing left, else (also when it cannot be seen) throttled."""
    if isinstance(reply, Unavailable):
        return Throttled(UNEXPLAINED_SECONDS)
    data = reading.at(reading.parse_object(reply.body), "data")
    left = _left(data, "verifications")
    if left is None:
        left = _left(data, "credits")
    if left is None or left > 0:
        return Throttled(UNEXPLAINED_SECONDS)
    now = hints.answered_at(reply.headers)
    until_reset = hints.seconds_until(
        reading.text(data, "reset_date"), now, longest=LONGEST_HOLD_SECONDS
    )
    return Held(USED_UP) if until_reset is None else Held(USED_UP, until_reset)


def _left(account: object, bucket: str) -> float | None:
    """`available` is read as the plan's allowance, not as what remains (the vendor does not say).

    If it were what remains, this would hold the provider too early, at most for a few hours.
    """
    used = reading.number(account, "requests", bucket, "used")
    available = reading.number(account, "requests", bucket, "available")
    return None if used is None or available is None else available - used
