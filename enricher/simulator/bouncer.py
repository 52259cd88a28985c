"""Bouncer's API v1.1: `/email/verify` and `/credits`.

Flags are texts. "pending" is a greylisted mailbox: a 200 with `retryAfter`, a moment as text or, as its dialect
"seconds", a number; it is charged like every 200. Whether the real vendor charges for it is not known.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import ClassVar

from enricher.answer import Reply
from enricher.simulator.facts import Mailbox
from enricher.simulator.faults import Faults
from enricher.simulator.journal import Journal
from enricher.simulator.records import Record
from enricher.simulator.vendor import Answer, Call, Terms, wait_of
from enricher.simulator.verifier import OK, WORDS, SimulatedVerifier, always, say

PUT_OFF_SECONDS = 2
_TOO_MANY = {"status": 429, "error": "Too Many Requests", "message": "Too many requests."}


def _refused(status: int, error: str) -> Answer:
    return always(status, {"status": status, "error": error, "message": f"{error}."})


def _throttled(call: Call) -> Reply:
    return say(429, _TOO_MANY, Retry_After=str(max(1, math.ceil(wait_of(call)))))


def _put_off(mailbox: Mailbox, retry_after: object) -> Reply:
    record = spell(mailbox) | {"status": "unknown", "reason": "timeout", "score": 0}
    return say(OK, record | {"retryAfter": retry_after})


class Bouncer(SimulatedVerifier):
    """`/bouncer/v1.1/email/verify?email=`, `/bouncer/v1.1/credits`."""

    name = "bouncer"
    balance_route = "/v1.1/credits"
    book: ClassVar = {
        "throttled": _throttled,
        "throttled:silent": always(429, _TOO_MANY),
        "quota_spent": _refused(402, "Payment Required"),
        "unauthorized": _refused(401, "Unauthorized"),
        "forbidden": _refused(403, "Forbidden"),
        "unknown_route": _refused(404, "Not Found"),
        "wrong_params": _refused(400, "Bad Request"),
        "api_error": _refused(503, "Service Unavailable"),
    }

    def __init__(self, terms: Terms, journal: Journal, faults: Faults) -> None:
        super().__init__(terms, journal, faults)
        self.answers = {
            **self.book,
            "pending": self._put_off_until,
            "pending:seconds": self._put_off_for,
        }

    def key_of(self, call: Call) -> str | None:
        return call.request.headers.get("x-api-key")

    def spell(self, mailbox: Mailbox) -> Record:
        return spell(mailbox)

    def balance(self, credits_left: int) -> Record:
        return {"credits": credits_left}

    def _put_off_until(self, call: Call) -> Reply:
        moment = datetime.now(UTC) + timedelta(seconds=PUT_OFF_SECONDS)
        text = moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return _put_off(self.mailbox_of(call), text)

    def _put_off_for(self, call: Call) -> Reply:
        return _put_off(self.mailbox_of(call), PUT_OFF_SECONDS)


def spell(mailbox: Mailbox) -> Record:
    """Return Bouncer's record of a mailbox."""
    status, reason = WORDS[mailbox.verdict]
    is_known = status != "unknown"
    return {
        "email": mailbox.email,
        "name": "",
        "status": status,
        "reason": reason,
        "domain": {
            "name": mailbox.domain,
            "acceptAll": _text(mailbox.verdict == "accept_all") if is_known else "unknown",
            "disposable": _text(mailbox.is_disposable),
            "free": _text(mailbox.is_free),
        },
        "account": {"role": _text(mailbox.is_role), "disabled": "no", "fullMailbox": "no"},
        "dns": {"type": "MX", "record": f"mx.{mailbox.domain}"},
        "provider": "google.com",
        "score": mailbox.score if is_known else 0,
        "toxic": "unknown",
        "toxicity": 0,
    }


def _text(value: bool) -> str:
    return "yes" if value else "no"
