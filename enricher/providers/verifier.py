"""What the paid checks of an address share, besides Hunter's: the question, the balance, the verdict in our words.

They are asked after Hunter, while its verdict is `unknown` or missing. What all of them have in common:

- `unknown` is an answer, and it is kept like any other: whoever comes next may know better.
- A score belongs to a verdict: the one beside `unknown` is void and is not written.
- `accept_all` is stored as such and never as `valid`. False is only written where it was tested.
- An address on a mail service is judged like any other: their `free` becomes `is_webmail`, and the status
  `webmail`, Hunter's word for "not looked at", is never theirs.
- A record about another address than the one asked about is not written.
- What they add about the person (first name, gender, place) is not read.
- Their own time limit stays below ours: an answer that we no longer wait for may be charged all the same.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from enricher.answer import (
    Answer,
    Found,
    Held,
    Kind,
    NotFound,
    Query,
    Reply,
    Throttled,
    Unavailable,
)
from enricher.providers import reading, transport
from enricher.providers.base import Request
from enricher.providers.http import (
    REFUSED_KEY,
    REFUSED_QUESTION,
    USED_UP,
    HttpProvider,
    complaint,
    message_of,
)

NO_VERIFICATION = "the body is not a verification"
WRONG_ROUTE = "unknown route (404)"
RESULTS = frozenset({"deliverable", "undeliverable", "risky", "unknown"})
UNKNOWN = "unknown"

_OK = 200
_MARGIN_SECONDS = 2.0
"""The vendor has this much less time than we wait."""


class Verifier(HttpProvider):
    """A route that checks one address."""

    incidental = frozenset({"timeout"})
    address_key: ClassVar[str] = "email"
    """Where a verdict names the address that it is about."""
    balance_route: ClassVar[str]
    """Tells, for nothing, what is left of the plan."""
    balance_key: ClassVar[str]
    sandbox: ClassVar[str] = ""
    """How a key begins that costs nothing and gets made-up verdicts."""

    def unfit(self, query: Query) -> str | None:
        return None if query.email else "no e-mail address"

    def request(self, query: Query) -> Request:
        return Request(self.path, {"email": query.email or "", **self.options()})

    @abstractmethod
    def options(self) -> Mapping[str, str]:
        """Return the parameters of every question."""

    def time_limit(self, least: int, most: int) -> int:
        """Return the whole seconds that the vendor may take, within what it allows."""
        return max(least, min(most, int(self._access.timeout - _MARGIN_SECONDS)))

    def vetted(self, found: Found, reply: Reply, query: Query) -> Answer:
        address = reading.text(reading.parse_object(reply.body), self.address_key)
        return reading.vetted(found, query, [address] if address else ())

    def is_own(self, reply: Reply) -> bool:
        return bool(message_of(reply, "message", "error"))

    def is_charged(self, reply: Reply) -> bool:
        """A body that cannot be read may hold a verdict, so it counts as charged."""
        record = reading.parse_object(reply.body)
        is_free = self.is_sandbox or (record is not None and self.is_free_of_charge(record))
        return super().is_charged(reply) and not is_free

    def is_free_of_charge(self, record: reading.Record) -> bool:
        """PURE Tell whether the vendor charges nothing for this 200."""
        return is_error(record)

    @property
    def is_sandbox(self) -> bool:
        """Whether the key is one that costs nothing."""
        key = self._access.key.get_secret_value()
        return bool(self.sandbox) and key.startswith(self.sandbox)

    async def quota_left(self) -> float | None:
        return self._left(await self._fetch(Request(self.balance_route, {})))

    async def probe(self) -> str | None:
        """Look at the balance, which is free."""
        reply = await self._fetch(Request(self.balance_route, {}))
        if isinstance(reply, Unavailable):
            return reply.reason
        left = self._left(reply)
        if left is None:
            is_ok = reply.status == _OK and not isinstance(self._judge(reply), Held)
            return "the body is not a balance" if is_ok else complaint(reply, self._judge(reply))
        return self.verdict_on(left)

    def verdict_on(self, left: float) -> str | None:
        """Return what is wrong with a key that has so many credits left."""
        return None if left > 0 or self.is_sandbox else USED_UP

    def _left(self, reply: Reply | Unavailable) -> float | None:
        if isinstance(reply, Unavailable) or reply.status != _OK:
            return None
        return reading.number(reading.parse_object(reply.body), self.balance_key)


@dataclass(frozen=True, slots=True)
class DomainWords:
    """What a verification says of the address's domain."""

    disposable: bool | None = None
    free: bool | None = None
    accept_all: bool | None = None
    has_mx: bool | None = None
    """Whether it has mail servers, where the vendor says so besides its reason."""


@dataclass(frozen=True, slots=True)
class Words:
    """A verification in the words that Kickbox, Bouncer and Emailable share."""

    result: str | None
    """deliverable, undeliverable, risky, unknown."""
    reason: str
    score: int | None
    domain: DomainWords
    if_low_quality: str = UNKNOWN
    """The status of a risky address with no other fault than its kind."""

    def answer(self) -> Answer:
        """Return the verdict in the product's words."""
        is_known, has_mx = self.result not in (None, UNKNOWN), self.domain.has_mx
        values = {
            "status": self._status(),
            "result": self.result,
            "score": self.score if is_known else None,
            "is_disposable": self.domain.disposable,
            "is_webmail": self.domain.free,
            "mx_records": _mail_of(self.reason) if has_mx is None else has_mx,
            "smtp_check": _ACCEPTS.get(self.reason) if is_known else None,
            "accept_all": self.domain.accept_all if is_known else None,
        }
        return reading.found(Kind.EMAIL, values)

    def _status(self) -> str | None:
        match self.result:
            case "undeliverable":
                return "invalid"
            case "deliverable" | "risky" if self.domain.disposable:
                return "disposable"
            case "deliverable" | "risky" if self.domain.accept_all:
                return "accept_all"
            case "deliverable":
                return "valid"
            case "risky":
                return self.if_low_quality if self.reason == "low_quality" else UNKNOWN
        return self.result


_ACCEPTS = {"accepted_email": True, "rejected_email": False}
"""Reason -> whether the mailbox's server takes mail for it."""
_TAKES_MAIL = frozenset({*_ACCEPTS, "low_deliverability", "low_quality"})


def _mail_of(reason: str) -> bool | None:
    """Return whether the domain takes mail, as far as the reason tells."""
    return True if reason in _TAKES_MAIL else (False if reason == "invalid_domain" else None)


def is_error(record: reading.Record) -> bool:
    """Tell whether a 200 holds a complaint in place of a verdict."""
    return "error" in record or record.get("success") is False


def refusal(reply: Reply) -> Answer:
    """Return what a refusal means where it means the same at all of them."""
    match reply.status:
        case 400 | 422 if message_of(reply, "message", "error"):
            return NotFound(REFUSED_QUESTION)
        case 401 | 403:
            return Held(REFUSED_KEY)
        case 402:
            return Held(USED_UP)
        case 404:
            return Unavailable(WRONG_ROUTE)
        case 429:
            return Throttled(
                transport.retry_after(reply.headers, transport.answered_at(reply.headers))
            )
    return Unavailable(str(reply.status))
