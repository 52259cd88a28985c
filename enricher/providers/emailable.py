"""Emailable: whether an e-mail address can be written to.

What surprises:

- 249 is a 2xx and carries no verdict: it is still checking. The same question a second later gets it, for one
  charge within five minutes.
- `accept_all` is only tested when asked for, so it is; without that, false would mean "not asked".
- The score beside `unknown` is 0 and says nothing.
- Whether `unknown` is charged is not documented; it counts as charged.
- The window that was used up and its end (`ratelimit-reset`, epoch seconds) stand in headers.
- A key that begins with `test_` is free and gets made-up verdicts (`deliverable@example.com`).

Codes and shapes: Emailable's API documentation.
"""

from __future__ import annotations

from collections.abc import Mapping

from enricher.answer import Answer, Preparing, Reply, Throttled, Unavailable
from enricher.catalogue import PROVIDERS
from enricher.providers import reading, transport
from enricher.providers.reading import Sends
from enricher.providers.verifier import (
    NO_VERIFICATION,
    RESULTS,
    DomainWords,
    Verifier,
    Words,
    refusal,
)

STILL_CHECKING_SECONDS = 1.0
THROTTLED_SECONDS = 1.0
"""Wait after a 429 that names no end: the vendor counts by the second."""
_LEFT = {"ratelimit-remaining": "second"}
_SENDS: Sends = {
    **dict.fromkeys(("email", "state", "reason", "domain", "user", "mx_record"), str),
    **dict.fromkeys(("disposable", "accept_all", "role", "free"), bool),
    "score": int,
}


class EmailableVerifier(Verifier, listing=PROVIDERS["emailable"]):
    """`api.emailable.com/v1/verify`."""

    sends = _SENDS
    left = _LEFT
    balance_route = "/v1/account"
    balance_key = "available_credits"
    sandbox = "test_"

    def options(self) -> Mapping[str, str]:
        return {"accept_all": "true", "timeout": str(self.time_limit(2, 10))}

    def is_free_of_charge(self, record: reading.Record) -> bool:
        return "state" not in record and "message" in record

    def interpret(self, reply: Reply) -> Answer:
        match reply.status:
            case 200:
                return _verdict(reply)
            case 249:
                now = transport.answered_at(reply.headers)
                delay = transport.retry_after(reply.headers, now)
                return Preparing(max(STILL_CHECKING_SECONDS, delay or 0.0))
            case 429:
                return _too_fast(reply)
        return refusal(reply)


def _too_fast(reply: Reply) -> Answer:
    now = transport.answered_at(reply.headers)
    told = transport.retry_after(reply.headers, now)
    told = told or transport.reset_after(reply.headers, now, "ratelimit-reset")
    return Throttled(told or THROTTLED_SECONDS)


def _verdict(reply: Reply) -> Answer:
    record = reading.parse_object(reply.body)
    if record is None or not record.keys() & {"state", "reason", "score"}:
        return Unavailable(NO_VERIFICATION)
    domain = DomainWords(
        disposable=reading.flag(record, "disposable"),
        free=reading.flag(record, "free"),
        accept_all=reading.flag(record, "accept_all"),
        has_mx=True if reading.text(record, "mx_record") else None,
    )
    return Words(
        result=reading.choice(record, "state", among=RESULTS),
        reason=reading.text(record, "reason") or "",
        score=reading.whole_number(record, "score", most=100),
        domain=domain,
    ).answer()
