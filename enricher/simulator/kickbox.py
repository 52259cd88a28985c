"""Kickbox's API v2: `/verify` and `/balance`.

`unknown` is given back. A bad key and an empty balance are both a 403, told apart by the message, and so is a
200 with `success: false` (`quota_spent:200`). A 429 names no time.
"""

from __future__ import annotations

from typing import ClassVar

from enricher.simulator.facts import Mailbox
from enricher.simulator.records import Record
from enricher.simulator.vendor import Answer, Call
from enricher.simulator.verifier import WORDS, SimulatedVerifier, always

_DESK = ("risky", "low_quality")


def _refused(status: int, message: str) -> Answer:
    return always(status, {"success": False, "message": message})


class Kickbox(SimulatedVerifier):
    """`/kickbox/v2/verify?email=`, `/kickbox/v2/balance`."""

    name = "kickbox"
    balance_route = "/v2/balance"
    sandbox = "test_"
    free_verdicts = frozenset({"unknown"})
    book: ClassVar = {
        "throttled": _refused(429, "Rate Limit Exceeded"),
        "quota_spent": _refused(403, "Balance Depleted"),
        "quota_spent:insufficient": _refused(403, "Insufficient balance"),
        "quota_spent:200": _refused(200, "Insufficient balance"),
        "unauthorized": _refused(403, "Invalid API key"),
        "forbidden": _refused(403, "Forbidden"),
        "unknown_route": _refused(404, "Not Found"),
        "wrong_params": _refused(400, "Missing email"),
        "api_error": _refused(500, "Internal Error"),
    }

    def key_of(self, call: Call) -> str | None:
        scheme, _, key = call.request.headers.get("Authorization", "").partition(" ")
        return key.strip() if scheme.lower() == "token" else call.request.query.get("apikey")

    def spell(self, mailbox: Mailbox) -> Record:
        is_desk = mailbox.is_role and mailbox.verdict == "valid"
        result, reason = _DESK if is_desk else WORDS[mailbox.verdict]
        return {
            "result": result,
            "reason": reason,
            "role": mailbox.is_role,
            "free": mailbox.is_free,
            "disposable": mailbox.is_disposable,
            "accept_all": mailbox.verdict == "accept_all",
            "did_you_mean": None,
            "sendex": 0 if result == "unknown" else mailbox.score / 100,
            "email": mailbox.email,
            "user": mailbox.account,
            "domain": mailbox.domain,
            "success": True,
            "message": None,
        }

    def balance(self, credits_left: int) -> Record:
        return {"balance": credits_left, "success": True, "message": None}

    def headers(self) -> dict[str, str]:
        return {"X_Kickbox_Balance": str(self.credits_left), "X_Kickbox_Response_Time": "20"}
