"""ZeroBounce: whether an e-mail address can be written to.

What surprises:

- The key goes in the URL and nowhere else. It is added when the request is sent (`credentials`), so no question,
  log line, error text or metric can hold it.
- A refusal is a 200, or a 400, with an `error` text; for a bad key and for used-up credits it is the same one.
  The balance, which is free, tells them apart: -1 is a bad key. A bad key must stop the provider at once, because
  200 of them in an hour block the caller.
- 403 is a shield against floods: it waits, and says nothing about the key.
- `unknown` is free. Everything else costs a credit, each time that it is asked.
- `mx_found` and `catchall_domain` are texts or flags.
- `spamtrap`, `abuse` and some of `do_not_mail` are a risk, not an undeliverable mailbox: the status is
  `unknown`, and the field `risk` has the vendor's word.
- A mailbox that is full exists: `unknown`.
- Real keys get made-up verdicts for `valid@example.com`, `catch_all@example.com` and the like, for nothing.
- It adds name, gender and place of the person: they are not read.

Codes and shapes: ZeroBounce's API documentation.
"""

from __future__ import annotations

from collections.abc import Mapping

from enricher.answer import Answer, Held, Kind, NotFound, Query, Reply, Throttled, Unavailable
from enricher.catalogue import PROVIDERS
from enricher.providers import reading
from enricher.providers.base import Request, Tried
from enricher.providers.http import REFUSED_KEY, REFUSED_QUESTION, message_of
from enricher.providers.reading import Sends
from enricher.providers.verifier import (
    NO_VERIFICATION,
    UNKNOWN,
    Verifier,
    is_error,
    refusal,
)

REFUSED_OR_USED_UP = "the key is refused or the quota is used up"
UNSURE_SECONDS = 300.0
"""A hold whose cause could not be looked up; it is looked up again after this."""
SHIELD_SECONDS = 60.0
"""How long a caller is shut out who was too fast."""
_BAD_KEY = -1
_RISKS = frozenset({"spamtrap", "abuse"})
_RISKY_KINDS = frozenset({"mx_forward", "global_suppression", "possible_trap", "toxic"})
"""Kinds of `do_not_mail` that say nothing about the mailbox."""
_STATUSES = frozenset({"valid", "invalid", "catch-all", "unknown", "do_not_mail", *_RISKS})
_FLAGS = {"true": True, "false": False}
_RESULTS = {
    "valid": "deliverable",
    "invalid": "undeliverable",
    "accept_all": "risky",
    "disposable": "risky",
    "unknown": "unknown",
}
_SENDS: Sends = {
    **dict.fromkeys(("address", "status", "sub_status", "account", "domain"), str),
    **dict.fromkeys(("mx_record", "smtp_provider"), str),
    "free_email": bool,
}
_NO_MAILBOX = "mailbox_not_found"
_IN_FULL = "mailbox_quota_exceeded"


class ZeroBounceVerifier(Verifier, listing=PROVIDERS["zerobounce"]):
    """`api.zerobounce.net/v2/validate`."""

    sends = _SENDS
    balance_route = "/v2/getcredits"
    balance_key = "Credits"
    address_key = "address"

    def headers(self) -> dict[str, str]:
        return {}

    def credentials(self) -> Mapping[str, str]:
        return {"api_key": self._access.key.get_secret_value()}

    def options(self) -> Mapping[str, str]:
        return {"timeout": str(self.time_limit(3, 60))}

    async def exchange(self, query: Query) -> Tried:
        """Try once; after a refusal that does not say why, also look at the balance, which is free."""
        reply = await self._fetch(self.request(query))
        if isinstance(reply, Unavailable):
            return self._tried(reply)
        answer = self._judge(reply, query)
        if isinstance(answer, Held) and answer.reason == REFUSED_OR_USED_UP:
            answer = await self._look_why(answer)
        return self._tried(reply, answer)

    async def _look_why(self, unsure: Held) -> Answer:
        left = self._left(await self._fetch(Request(self.balance_route, {})))
        if left is None:
            return unsure
        why = self.verdict_on(left)
        return Held(why) if why else Throttled(SHIELD_SECONDS)

    def verdict_on(self, left: float) -> str | None:
        return REFUSED_KEY if left <= _BAD_KEY else super().verdict_on(left)

    def is_own(self, reply: Reply) -> bool:
        return bool(_complaint(reply))

    def is_free_of_charge(self, record: reading.Record) -> bool:
        is_complaint = is_error(record) and "status" not in record
        return is_complaint or reading.choice(record, "status", among={UNKNOWN}) is not None

    def interpret(self, reply: Reply) -> Answer:
        match reply.status:
            case 200:
                return _verdict(reply)
            case 400 if said := _complaint(reply):
                return _by_words(said)
            case 403 | 429:
                return Throttled(SHIELD_SECONDS)
        return refusal(reply)


def _complaint(reply: Reply) -> str:
    """Return the text of `error`, which may be a list of texts."""
    record = reading.parse_object(reply.body)
    several = reading.texts(record, "error") or reading.texts(record, "errors")
    return " ".join(several).lower() if several else message_of(reply, "error", "message")


def _by_words(complaint: str) -> Answer:
    if "api key" in complaint or "api_key" in complaint or "credit" in complaint:
        return Held(REFUSED_OR_USED_UP, UNSURE_SECONDS)
    return NotFound(REFUSED_QUESTION)


def _verdict(reply: Reply) -> Answer:
    record = reading.parse_object(reply.body)
    if record is None:
        return Unavailable(NO_VERIFICATION)
    if not record.keys() & {"status", "sub_status"}:
        said = _complaint(reply) if is_error(record) else ""
        return _by_words(said) if said else Unavailable(NO_VERIFICATION)
    word = reading.choice(record, "status", among=_STATUSES)
    kind = reading.text(record, "sub_status") or ""
    status = _status(word, kind)
    is_risk = word in _RISKS or (word == "do_not_mail" and kind in _RISKY_KINDS)
    values = {
        "status": status,
        "result": _RESULTS[status] if status else None,
        "is_disposable": _is_disposable(word, kind),
        "is_webmail": record.get("free_email"),
        "mx_records": _flag(record, "mx_found"),
        "smtp_check": _smtp_check(word, kind),
        "accept_all": _accept_all(status, kind, _flag(record, "catchall_domain")),
        "risk": (word if word in _RISKS else kind) if is_risk else None,
    }
    return reading.found(Kind.EMAIL, values)


def _status(word: str | None, kind: str) -> str | None:
    """Return the product's word for the vendor's two."""
    match word, kind:
        case "valid", "accept_all" | "role_based_accept_all":
            return "accept_all"
        case ("valid", _) | ("do_not_mail", "role_based"):
            return "valid"
        case "invalid", kind if kind != _IN_FULL:
            return "invalid"
        case ("catch-all", _) | ("do_not_mail", "role_based_catch_all"):
            return "accept_all"
        case "do_not_mail", "disposable":
            return "disposable"
        case None, _:
            return None
    return UNKNOWN


def _is_disposable(word: str | None, kind: str) -> bool | None:
    if word == "do_not_mail" and kind == "disposable":
        return True
    return False if word in ("valid", "catch-all") or kind.startswith("role_based") else None


def _smtp_check(word: str | None, kind: str) -> bool | None:
    """Return whether the mailbox's server took the mailbox, where it was asked and did not take all."""
    if kind == _NO_MAILBOX:
        return False
    is_taken = word == "valid" or (word == "do_not_mail" and kind == "role_based")
    return True if is_taken and "accept_all" not in kind else None


def _accept_all(status: str | None, kind: str, stated: bool | None) -> bool | None:
    if status == "accept_all":
        return True
    if stated is not None:
        return stated
    return False if status == "valid" or kind == _NO_MAILBOX else None


def _flag(record: reading.Record, name: str) -> bool | None:
    word = reading.choice(record, name, among=_FLAGS)
    return reading.flag(record, name) if word is None else _FLAGS[word]
