"""PURE The values of labels that are nowhere else a type of their own. Closed sets, each of them."""

from __future__ import annotations

from collections.abc import Mapping

from enricher import fields

ANSWERS = (
    "found", "not_found", "preparing", "throttled", "unavailable", "held", "objected",
)  # fmt: skip
LOOPS = (
    "watcher", "admission", "search", "worker", "heartbeat", "settle", "calls", "cache", "flights", "ledger",
    "limits", "holds", "census", "presence", "sweep", "indexes",
)  # fmt: skip
PREPARATIONS = ("indexes", "history", "search")
HTTP_REFUSALS = ("host", "malformed", "room")
LEVELS = ("debug", "info", "warning", "error", "critical")
SECTIONS = fields.SECTIONS
HOLDS = ("key", "quota", "budget", "unreadable", "objections", "other")
WAITS_FOR = (*HOLDS, "circuit", "limit")
LANES = ("fresh", "backfill", "retry", "interrupted", "refresh")
UNMOVED_IN_THE_DATABASE = ("foreign", "no_text", "unset", "stray")
UNMOVED = (*UNMOVED_IN_THE_DATABASE, "unwritable")

MEANINGS: Mapping[tuple[str, str], str] = {
    ("lane", "interrupted"): "a lease ran out",
    ("start", "time"): "the first start of all, or the token was refused",
    ("start", "now"): "a time was refused too; the gap is searched",
    ("why", "refused"): "the lead becomes failed",
    ("why", "unwritable"): "not even that could be written",
    ("reason", "foreign"): "a status that is none of ours",
    ("reason", "no_text"): "a status that is no text",
    ("reason", "unset"): "a status that was taken away by hand",
    ("reason", "stray"): "in work, and held by no daemon",
    ("reason", "undated"): "completed, without a date for its refresh",
    ("reason", "unwritable"): "refused by the database, or an id that is no UTF-8",
    ("result", "negative_hit"): "kept that nothing is known",
    ("result", "stale"): "kept, but no answer any more",
}
"""(label, value) -> what it means, where the word alone does not say it. The reference prints these."""
