"""Emailable's API v1: `/verify` and `/account`.

"pending" is the 249 of an address that is still being checked; the same question gets its verdict later, for
one charge. `accept_all` is only tested when it is asked for. The window stands in headers of a refusal.
"""

from __future__ import annotations

import math
import time
from typing import ClassVar

from enricher.answer import Reply
from enricher.simulator.facts import Mailbox
from enricher.simulator.records import Record
from enricher.simulator.vendor import Answer, Call, bearer, wait_of
from enricher.simulator.verifier import WORDS, SimulatedVerifier, always, say

_STILL_CHECKING = "Your request is taking longer than normal. Please send your request again."


def _refused(status: int, message: str) -> Answer:
    return always(status, {"message": message})


def _throttled(call: Call) -> Reply:
    until = math.ceil(time.time() + wait_of(call))
    limits = {"RateLimit_Limit": "25", "RateLimit_Remaining": "0", "RateLimit_Reset": str(until)}
    return say(429, {"message": "You have exceeded the rate limit."}, **limits)


class Emailable(SimulatedVerifier):
    """`/emailable/v1/verify?email=`, `/emailable/v1/account`."""

    name = "emailable"
    balance_route = "/v1/account"
    sandbox = "test_"
    book: ClassVar = {
        "throttled": _throttled,
        "quota_spent": _refused(402, "You don't have enough credits."),
        "unauthorized": _refused(401, "The API key is not valid."),
        "forbidden": _refused(403, "The API key may not use this endpoint."),
        "pending": _refused(249, _STILL_CHECKING),
        "unknown_route": _refused(404, "Not Found"),
        "wrong_params": _refused(400, "The email parameter is missing."),
        "api_error": _refused(503, "The service is unavailable."),
    }

    def key_of(self, call: Call) -> str | None:
        return bearer(call.request) or call.request.query.get("api_key")

    def spell(self, mailbox: Mailbox) -> Record:
        state, reason = WORDS[mailbox.verdict]
        return {
            "email": mailbox.email,
            "state": state,
            "reason": reason,
            "score": 0 if state == "unknown" else mailbox.score,
            "domain": mailbox.domain,
            "user": mailbox.account,
            "disposable": mailbox.is_disposable,
            "accept_all": mailbox.verdict == "accept_all",
            "role": mailbox.is_role,
            "free": mailbox.is_free,
            "mailbox_full": False,
            "no_reply": False,
            "mx_record": f"mx.{mailbox.domain}",
            "smtp_provider": "Google",
            "did_you_mean": None,
            "tag": None,
            "duration": 0.5,
            "first_name": "Sim",
            "last_name": "Ulated",
            "full_name": "Sim Ulated",
            "gender": "female",
        }

    def balance(self, credits_left: int) -> Record:
        return {"owner_email": "owner@simulated-account.com", "available_credits": credits_left}
