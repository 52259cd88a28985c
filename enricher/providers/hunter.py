"""Hunter: whether an e-mail address can be written to (`email-verifier`).

What surprises, beside the refusals that all of Hunter's routes share (`hunter_refusals.py`):

- 202 (still checking) and 222 (the mailbox's own server gave no clear answer) are 2xx and carry no
  verdict. Polling a 202 is one charge, however often.
- `status` is the verdict, `result` its deprecated forerunner. `accept_all` means that the domain
  accepts every address: it is stored as that, never as `valid`. Any value may be null.

Codes and shapes: Hunter's API reference and its published client.
"""

from __future__ import annotations

from typing import ClassVar

from enricher.answer import Answer, Found, Kind, NotFound, Query, Reply, Unavailable
from enricher.providers import reading
from enricher.providers.base import Request, Window
from enricher.providers.http import preparing
from enricher.providers.hunter_refusals import HunterRoute, refusal
from enricher.providers.shape import within

STATUSES = frozenset({"valid", "invalid", "accept_all", "webmail", "disposable", "unknown"})
RESULTS = frozenset({"deliverable", "undeliverable", "risky", "unknown"})

_NO_CLEAR_ANSWER = "the mailbox's server gave no clear answer (222)"
_ROUTE = "/v2/email-verifier"
_FLAGS = {
    "is_disposable": "disposable",
    "is_webmail": "webmail",
    "is_gibberish": "gibberish",
    "mx_records": "mx_records",
    "smtp_check": "smtp_check",
    "accept_all": "accept_all",
}


class HunterVerifier(HunterRoute):
    """`api.hunter.io/v2/email-verifier`."""

    name = "hunter"
    kind = Kind.EMAIL
    windows = (Window(calls=10, seconds=1), Window(calls=300, seconds=60))
    required = frozenset({"status"})
    credits = 0.5
    sends = within(
        "data", {"status": str, "result": str, "score": int, **dict.fromkeys(_FLAGS.values(), bool)}
    )
    allowances: ClassVar = {"verifications": 1, "credits": 0.5}

    def unfit(self, query: Query) -> str | None:
        return None if query.email else "no e-mail address"

    def request(self, query: Query) -> Request:
        return Request(_ROUTE, {"email": query.email or ""})

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
    values = reading.present(
        {
            "status": reading.choice(data, "status", among=STATUSES),
            "result": reading.choice(data, "result", among=RESULTS),
            "score": reading.whole_number(data, "score", most=100),
            **{name: reading.flag(data, key) for name, key in _FLAGS.items()},
        }
    )
    return Found({Kind.EMAIL.section: values}) if values else NotFound("the record is empty")
