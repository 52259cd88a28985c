"""PURE The values of labels that are nowhere else a type of their own. Closed sets, each of them."""

ANSWERS = (
    "found", "not_found", "preparing", "throttled", "unavailable", "held", "objected",
)  # fmt: skip
LOOPS = (
    "watcher", "admission", "search", "worker", "heartbeat", "settle", "calls", "cache", "flights", "ledger",
    "limits", "holds", "census", "presence", "sweep",
)  # fmt: skip
HTTP_REFUSALS = ("host", "malformed", "room")
LEVELS = ("debug", "info", "warning", "error", "critical")
SECTIONS = ("company_data", "person_data", "email_verification")
HOLDS = ("key", "quota", "budget", "unreadable", "objections", "other")
WAITS_FOR = (*HOLDS, "circuit", "limit")
LANES = ("fresh", "backfill", "retry", "interrupted", "refresh")
UNMOVED_IN_THE_DATABASE = ("foreign", "no_text", "unset", "stray")
UNMOVED = (*UNMOVED_IN_THE_DATABASE, "unwritable")
