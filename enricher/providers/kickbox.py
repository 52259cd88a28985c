"""Kickbox: whether an e-mail address can be written to.

What surprises:

- 403 is a refused key or an empty balance: only the message tells. So it does in a 200 with `success: false`.
- `unknown` is given back, so it counts as not charged.
- `risky` with `low_quality` is an address that takes mail but is a role's or a mail service's: `valid`, and
  `result` keeps the vendor's own word. With `disposable` or `accept_all` it is that.
- `sendex` is the score, from 0 to 1.
- 25 calls at once from one machine, and 8,000 in a clock minute. Both refusals read alike: the first is over at
  once, the second at the full minute. So a second is waited, then longer; a refusal costs nothing.
- A key that begins with `test_` is free and gets verdicts by the local part (`deliverable@`, `rejected-email@`).

Codes and shapes: Kickbox's API documentation.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from enricher.answer import Answer, Held, Query, Reply, Throttled, Unavailable
from enricher.catalogue import PROVIDERS
from enricher.providers import reading
from enricher.providers.base import Access, Tried
from enricher.providers.http import REFUSED_KEY, USED_UP, message_of
from enricher.providers.reading import Sends
from enricher.providers.transport import Client
from enricher.providers.verifier import (
    NO_VERIFICATION,
    RESULTS,
    UNKNOWN,
    DomainWords,
    Verifier,
    Words,
    is_error,
    refusal,
)

AT_ONCE = 25
"""Calls in flight from one address of the network; here each process keeps to it."""
THROTTLED_SECONDS = 1.0
_SENDS: Sends = {
    **dict.fromkeys(("result", "reason", "email", "user", "domain"), str),
    **dict.fromkeys(("role", "free", "disposable", "accept_all"), bool),
}


class KickboxVerifier(Verifier, listing=PROVIDERS["kickbox"]):
    """`api.kickbox.com/v2/verify`."""

    sends = _SENDS
    balance_route = "/v2/balance"
    balance_key = "balance"
    quota_header = "x-kickbox-balance"
    sandbox = "test_"

    def __init__(self, http: Client, access: Access, per_minute: int | None = None) -> None:
        super().__init__(http, access, per_minute)
        self._places = asyncio.Semaphore(AT_ONCE)

    def headers(self) -> dict[str, str]:
        return {"Authorization": f"token {self._access.key.get_secret_value()}"}

    def options(self) -> Mapping[str, str]:
        return {"timeout": str(1000 * self.time_limit(1, 30))}  # milliseconds

    async def exchange(self, query: Query) -> Tried:
        async with self._places:
            return await super().exchange(query)

    def is_own(self, reply: Reply) -> bool:
        return bool(message_of(reply))

    def is_free_of_charge(self, record: reading.Record) -> bool:
        return is_error(record) or record.get("result") == UNKNOWN

    def interpret(self, reply: Reply) -> Answer:
        match reply.status:
            case 200:
                return _verdict(reply)
            case 403:
                return _by_words(message_of(reply)) or Held(REFUSED_KEY)
            case 429:
                return Throttled(THROTTLED_SECONDS)
        return refusal(reply)


def _verdict(reply: Reply) -> Answer:
    record = reading.parse_object(reply.body)
    if record is None:
        return Unavailable(NO_VERIFICATION)
    if record.get("success") is False:
        return _by_words(message_of(reply)) or Unavailable(NO_VERIFICATION)
    if not record.keys() & {"result", "reason", "sendex"}:
        return Unavailable(NO_VERIFICATION)
    sendex = reading.number(record, "sendex", least=0, most=1)
    domain = DomainWords(
        disposable=reading.flag(record, "disposable"),
        free=reading.flag(record, "free"),
        accept_all=reading.flag(record, "accept_all"),
    )
    return Words(
        result=reading.choice(record, "result", among=RESULTS),
        reason=reading.text(record, "reason") or "",
        score=None if sendex is None else round(100 * sendex),
        domain=domain,
        if_low_quality="valid",
    ).answer()


def _by_words(message: str) -> Answer | None:
    """Return what a complaint means, by its words; `None` when they say nothing known."""
    if "balance" in message:
        return Held(USED_UP)
    if "key" in message:
        return Held(REFUSED_KEY)
    return Throttled(THROTTLED_SECONDS) if "rate limit" in message else None
