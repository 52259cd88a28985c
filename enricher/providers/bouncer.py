"""Bouncer: whether an e-mail address can be written to.

What surprises:

- Flags are the texts `yes`, `no` and `unknown`.
- `retryAfter` in a 200 means that the mailbox's server put the question off (greylisting): the verdict comes
  when it is asked again at that moment. Whether the first answer is charged is not documented, so it counts
  as perhaps charged, and no budget can be overshot.
- Whether `unknown` is charged is not documented either, and counts as charged.
- Toxicity costs another credit and is not asked for.

Codes and shapes: Bouncer's API reference.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from enricher.answer import Answer, Preparing, Reply, Throttled, Unavailable
from enricher.catalogue import PROVIDERS
from enricher.providers import reading, transport
from enricher.providers.base import Tried
from enricher.providers.reading import Sends, within
from enricher.providers.verifier import (
    NO_VERIFICATION,
    RESULTS,
    UNKNOWN,
    DomainWords,
    Verifier,
    Words,
    refusal,
)

GREYLISTED_SECONDS = 300.0
"""The wait for a `retryAfter` that names no moment; most servers take a second try after five minutes."""
THROTTLED_SECONDS = 60.0
"""Wait after a 429 that names no delay: the vendor counts by the minute."""
_FLAGS = {"yes": True, "no": False}
_SENDS: Sends = {
    **dict.fromkeys(("email", "status", "reason", "provider"), str),
    **within("domain", dict.fromkeys(("name", "acceptAll", "disposable", "free"), str)),
    **within("dns", dict.fromkeys(("type", "record"), str)),
}


class BouncerVerifier(Verifier, listing=PROVIDERS["bouncer"]):
    """`api.usebouncer.com/v1.1/email/verify`."""

    sends = _SENDS
    balance_route = "/v1.1/credits"
    balance_key = "credits"

    def headers(self) -> dict[str, str]:
        return {"x-api-key": self._access.key.get_secret_value()}

    def options(self) -> Mapping[str, str]:
        return {"timeout": str(self.time_limit(1, 30))}

    def is_free_of_charge(self, record: reading.Record) -> bool:
        return "status" not in record and "error" in record

    def _tried(self, reply: Reply | Unavailable, answer: Answer | None = None) -> Tried:
        tried = super()._tried(reply, answer)
        is_put_off = isinstance(tried.answer, Preparing)
        return replace(tried, is_charged=None) if is_put_off else tried

    def interpret(self, reply: Reply) -> Answer:
        match reply.status:
            case 200:
                return _verdict(reply)
            case 429:
                now = transport.answered_at(reply.headers)
                return Throttled(transport.retry_after(reply.headers, now) or THROTTLED_SECONDS)
        return refusal(reply)


def _verdict(reply: Reply) -> Answer:
    record = reading.parse_object(reply.body)
    if record is None or not record.keys() & {"reason", "score", "domain"}:
        return Unavailable(NO_VERIFICATION)
    result = reading.choice(record, "status", among=RESULTS)
    if result in (None, UNKNOWN) and record.get("retryAfter") is not None:
        return Preparing(_put_off(reply, record))
    domain = DomainWords(
        disposable=_flag(record, "disposable"),
        free=_flag(record, "free"),
        accept_all=_flag(record, "acceptAll"),
        has_mx=True if reading.text(record, "dns", "type") == "MX" else None,
    )
    return Words(
        result=result,
        reason=reading.text(record, "reason") or "",
        score=reading.whole_number(record, "score", most=100),
        domain=domain,
    ).answer()


def _flag(record: reading.Record, name: str) -> bool | None:
    word = reading.choice(record, "domain", name, among=_FLAGS)
    return None if word is None else _FLAGS[word]


def _put_off(reply: Reply, record: reading.Record) -> float:
    """Return the seconds until the moment or after the delay that is named; the form is not documented."""
    value = {"retry-after": str(record["retryAfter"])}
    return transport.retry_after(value, transport.answered_at(reply.headers)) or GREYLISTED_SECONDS
