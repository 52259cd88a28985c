"""ZeroBounce's API v2: `/validate` and `/getcredits`.

The key is the query parameter `api_key`, as the vendor wants it. A bad key and used-up credits get the same text,
with a 200 or, as their dialect "400", with a 400; the balance tells them apart (-1). 403 is the vendor's shield
against floods. `unknown` is free. The local parts of the vendor's sandbox (`valid@example.com`) get their verdict
for nothing, and the words below make an address tell a rarer kind of verdict.
"""

from __future__ import annotations

from typing import ClassVar

from enricher.answer import Reply
from enricher.simulator.facts import Mailbox
from enricher.simulator.records import Record
from enricher.simulator.vendor import Answer, Call
from enricher.simulator.verifier import OK, SimulatedVerifier, always, say

NO_KEY_OR_NO_CREDITS = "Invalid API Key or your account ran out of credits"
SANDBOX = "example.com"
_OF_SANDBOX = {
    "valid": ("valid", ""),
    "invalid": ("invalid", "mailbox_not_found"),
    "mailbox_not_found": ("invalid", "mailbox_not_found"),
    "catch_all": ("catch-all", ""),
    "spamtrap": ("spamtrap", ""),
    "abuse": ("abuse", ""),
    "unknown": ("unknown", "mail_server_temporary_error"),
    "greylisted": ("unknown", "greylisted"),
    "timeout_exceeded": ("unknown", "timeout_exceeded"),
    "donotmail": ("do_not_mail", "role_based"),
    "role_based": ("do_not_mail", "role_based"),
    "disposable": ("do_not_mail", "disposable"),
}
KINDS = {
    "alias": ("valid", "alias_address"),
    "allbox": ("valid", "accept_all"),
    "fullbox": ("invalid", "mailbox_quota_exceeded"),
    "nodns": ("invalid", "no_dns_entries"),
    "desk": ("do_not_mail", "role_based_catch_all"),
    "toxic": ("do_not_mail", "toxic"),
    "trap": ("spamtrap", ""),
    "abuse": ("abuse", ""),
    "grey": ("unknown", "greylisted"),
}
"""Word in the local part -> status and kind."""
_WORDS = {
    "valid": ("valid", ""),
    "invalid": ("invalid", "mailbox_not_found"),
    "accept_all": ("catch-all", ""),
    "disposable": ("do_not_mail", "disposable"),
    "unknown": ("unknown", "mail_server_did_not_respond"),
}


def _refused(status: int, error: str) -> Answer:
    return always(status, {"error": error})


class ZeroBounce(SimulatedVerifier):
    """`/zerobounce/v2/validate?email=`, `/zerobounce/v2/getcredits`."""

    name = "zerobounce"
    balance_route = "/v2/getcredits"
    key_parameter = "api_key"
    book: ClassVar = {
        "throttled": _refused(429, "Too many requests."),
        "quota_spent": _refused(OK, NO_KEY_OR_NO_CREDITS),
        "quota_spent:400": _refused(400, NO_KEY_OR_NO_CREDITS),
        "unauthorized": _refused(OK, NO_KEY_OR_NO_CREDITS),
        "forbidden": always(403, {"error": "Forbidden"}),
        "unknown_route": always(404, {"Message": "No HTTP resource was found."}),
        "wrong_params": _refused(OK, "Missing parameter: email is required."),
        "wrong_params:400": _refused(400, "Missing parameter: email is required."),
        "api_error": _refused(500, "Internal server error."),
    }

    def key_of(self, call: Call) -> str | None:
        return call.request.query.get(self.key_parameter)

    def refuse_key(self, call: Call) -> Reply | None:
        refused = super().refuse_key(call)
        if refused is not None and call.entry.route == "balance":
            return say(OK, {"Credits": "-1"})
        return refused

    def is_billable(self, call: Call, reply: Reply) -> bool:
        if not super().is_billable(call, reply):
            return False
        mailbox = self.mailbox_of(call)
        return mailbox.domain != SANDBOX and _said(mailbox)[0] != "unknown"

    def spell(self, mailbox: Mailbox) -> Record:
        status, kind = _said(mailbox)
        return {
            "address": mailbox.email,
            "status": status,
            "sub_status": kind,
            "free_email": mailbox.is_free,
            "did_you_mean": None,
            "account": mailbox.account,
            "domain": mailbox.domain,
            "domain_age_days": "9692",
            "smtp_provider": "google",
            "mx_found": "false" if kind == "no_dns_entries" else "true",
            "mx_record": f"mx.{mailbox.domain}",
            "firstname": "Sim",
            "lastname": "Ulated",
            "gender": "female",
            "country": None,
            "region": None,
            "city": None,
            "zipcode": None,
            "processed_at": "2026-11-01 10:00:00.000",
        }

    def balance(self, credits_left: int) -> Record:
        return {"Credits": str(credits_left)}


def _said(mailbox: Mailbox) -> tuple[str, str]:
    """Return status and kind."""
    if mailbox.domain == SANDBOX and mailbox.account in _OF_SANDBOX:
        return _OF_SANDBOX[mailbox.account]
    if mailbox.is_role and mailbox.verdict == "valid":
        return "do_not_mail", "role_based"
    told = next((said for word, said in KINDS.items() if word in mailbox.account), None)
    return told or _WORDS[mailbox.verdict]
