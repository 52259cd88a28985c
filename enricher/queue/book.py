"""The documents and expressions that admit, claim, renew, settle and release are made of.

`enrichment`, the daemon's own book-keeping on a lead:

    token        int     fencing token; rises with every claim
    claim_id     str     unique to the claim; kept after the settle, so that its outcome can be read back
    holder       str     the process that has it, for people; `None` when nobody has
    due_at       date    when the lead is work: end of the lease, next attempt, or next refresh
    queued_at    date    when it became work; absent once settled
    priority     number  higher first; far below all others for what nobody waits for (`behind`)
    backfill     bool    until the run ends: asked for by a backfill
    refresh_since date   until the run ends: cached answers older than this do not count
    refresh_mark str     shows that a command of ours wished for that (`queue/requests.py`)
    backfilled_by str    the run of the backfill that asked for it last
    held_by      list    the providers that had no time for it, while it is retrying
    attempts     int     claims of this run, counted at the claim
    interruptions int    claims in a row that nobody settled or gave back: their process died, perhaps of it
    answered     dict    provider -> found | not_found, in this run
    released     bool    given back unworked: the run goes on, it does not begin again
    waited_ms    int     how long it had been work when it was claimed
    subject      dict    whom `answered` is about (`identity/identify.py`); a string where an older version wrote it
    inputs       dict    the lead's inputs as they stood at the claim; absent when nobody has it

Any writer can forge any of it. What is not written by ourselves a moment before it is read must cost
nobody anything, beyond what the same writer may have by an honest insert or `pending`:

    token        only rises; garbage begins anew. On a lead in work it takes the lease away, as `pending` does;
                 with a claim id and without a status the lead is left alone, as if that had been unset
    claim_id     on a lead in work the same; else written at the claim
    holder, waited_ms, inputs     written at the claim; nothing else reads them
    due_at       makes the lead work, as `pending` does, and what it asks is answered by what is kept
    queued_at    its place among leads of equal priority, as though it had been inserted then
    priority     its place in the queue, not above `hot` once claimed: computed anew at admission and claim
    backfill, backfilled_by       the lead itself waits behind others, or a backfill leaves it out
    refresh_since                 counts only with its mark
    refresh_mark                  cannot be made without the fleet's secret, nor used for another lead or date
    held_by      the lead is called back with those that wait for that provider; never later than it was due
    attempts     more: the lead gives up sooner. Fewer: it is tried again, as after `pending`
    interruptions                 the lead is done one at a time; those that wait for that take no slot
    answered     the lead's own data stays poorer: who is said to have answered is not asked
    released     the run goes on instead of beginning anew, with fewer calls
    subject      the lead keeps data that its writer put there

All expressions take the lead as they find it: a field of any type, missing or garbage, never makes
one fail, because a failing expression would take the whole round trip down with it.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from enricher.lead import SUBJECT, Document, Status
from enricher.mongo.expressions import (
    Expression,
    Pipeline,
    id_key,
    in_milliseconds,
    is_type,
)
from enricher.values.merge import METADATA

_MOST_ID_BYTES = 8 * 1024 * 1024
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_LARGEST_VALUE_BYTES = 64 * 1024
LONGEST_TEXT_BYTES = 1024
"""An address has at most 254 characters and a URL we can use is not longer either."""

MAILBOX = f"enriched_data.{METADATA}.{SUBJECT}.mailbox"
"""Where the data says whose it is."""


DATA: Expression = {"$cond": [is_type("$enriched_data", "object"), "$enriched_data", None]}
DATA_BYTES: Expression = {"$ifNull": [{"$bsonSize": DATA}, 0]}
"""Of what the lead has so far; 0 where that is nothing."""

BOOK: Expression = {"$cond": [{"$eq": [{"$type": "$enrichment"}, "object"]}, "$enrichment", {}]}


def count(path: str) -> Expression:
    """The field as a whole number; `None` when it is none that can be counted on from (NaN, 1e300)."""
    is_countable = {"$and": [{"$isNumber": path}, {"$gte": [path, 0]}, {"$lt": [path, 2**53]}]}
    return {"$cond": [is_countable, {"$toLong": path}, None]}


TOKEN: Expression = count("$enrichment.token")
"""The fencing token; `None` when there is none, or garbage, which the next claim replaces."""

ATTEMPTS: Expression = {"$ifNull": [count("$enrichment.attempts"), 0]}

INTERRUPTIONS: Expression = {
    "$cond": [
        {"$eq": ["$enrichment_status", Status.PROCESSING.value]},
        {"$add": [{"$ifNull": [count("$enrichment.interruptions"), 0]}, 1]},
        0,
    ]
}
"""As a claim would find them."""

LONGEST_WAIT = timedelta(days=366)
"""A lead that says it has been work for longer says nothing: somebody made the date up."""
_LONGEST_AGO: Expression = {"$subtract": ["$$NOW", LONGEST_WAIT // timedelta(milliseconds=1)]}


def _is_believable(path: Expression) -> Expression:
    return {"$and": [{"$eq": [{"$type": path}, "date"]}, {"$gt": [path, _LONGEST_AGO]}]}


_IS_QUEUED = {
    "$and": [
        _is_believable("$enrichment.queued_at"),
        {"$lte": ["$enrichment.queued_at", "$$NOW"]},
    ]
}
QUEUED_AT: Expression = {"$cond": [_IS_QUEUED, "$enrichment.queued_at", "$$NOW"]}
"""Since when it has been work; from now on if that is not known."""


def attempts_less(given_back: int) -> Expression:
    """The attempts after some are given back, never below 0."""
    return {"$max": [0, {"$subtract": [ATTEMPTS, given_back]}]}


def book_with(*values: Expression) -> Expression:
    """The book-keeping with some fields replaced; whatever else is in it stays."""
    return {"$mergeObjects": [BOOK, *values]}


def within_one_command(candidates: list[Document]) -> list[Document]:
    """As many as have room for their ids in one command: an `_id` may be a text of megabytes."""
    room = _MOST_ID_BYTES
    for position, candidate in enumerate(candidates):
        room -= len(id_key(candidate["_id"]))
        if room < 0:
            return candidates[: max(1, position)]
    return candidates


LONGEST_ID_BYTES = 4096
"""Of a lead that is worked on: ids go into events, batches, logs and other collections by the thousand."""
_ID_FITS: Expression = {"$lte": [{"$bsonSize": {"_id": "$_id"}}, LONGEST_ID_BYTES]}
WITH_FITTING_ID: Document = {"$expr": _ID_FITS}
WITH_TOO_LONG_ID: Document = {"$expr": {"$not": [_ID_FITS]}}
ID_OR_WHY_NOT: Document = {
    "_id": {"$cond": [_ID_FITS, "$_id", None]},
    "too_long": {"$cond": [_ID_FITS, "$$REMOVE", True]},
}
"""To be read in place of an `_id`: one of megabytes does not leave the database."""

MOST_DATA_BYTES = 16 * 1024 * 1024
"""Of what leads in work have so far: each is held in memory as it was read, and as it is written."""


def within_room(candidates: list[Document], in_work: int) -> list[Document]:
    """As many as there is memory for; a lone one in any case."""
    left = MOST_DATA_BYTES - in_work
    for position, candidate in enumerate(candidates):
        left -= candidate["bytes"]
        if left < 0:
            return candidates[: position if in_work else max(1, position)]
    return candidates


def priority(field: str, order: list[str]) -> Expression:
    """A word counts by its place in `order`, first highest, a number as itself within the words' range:
    whoever writes 1e308 goes before no `hot` one. Anything else is 0."""
    value = f"${field}"
    word = {"$cond": [is_type(value, "string"), {"$toLower": value}, None]}
    ranks = [_lower(entry) for entry in order]
    words = {"$literal": ranks}
    return {
        "$switch": {
            "branches": [
                {"case": {"$isNumber": value}, "then": _within(value, max(1, len(ranks)))},
                {
                    "case": {"$in": [word, words]},
                    "then": {"$subtract": [len(ranks), {"$indexOfArray": [words, word]}]},
                },
            ],
            "default": 0,
        }
    }


_BELOW_THE_FIRST_WORD = 1e-6
_MOST_COUNTED = 1e6


def _within(number: Expression, top: int) -> Expression:
    """From 0 to just below the most urgent word; numbers beyond it keep their order among themselves."""
    beyond = {"$subtract": [{"$min": [number, _MOST_COUNTED]}, top]}
    most = {"$cond": [{"$gt": [number, top]}, _beneath(top, beyond), _beneath(top, 0)]}
    return {"$toDouble": {"$max": [0, {"$min": [number, most]}]}}


def _beneath(top: int, beyond: Expression) -> Expression:
    return {"$subtract": [top, {"$divide": [_BELOW_THE_FIRST_WORD, {"$add": [1, beyond]}]}]}


PRIORITY: Expression = {
    "$convert": {"input": "$enrichment.priority", "to": "double", "onError": 0, "onNull": 0}
}
"""The priority of an admitted lead; garbage counts as none."""

BEHIND = -1e14
"""Every priority up to here belongs to work that nobody waits for; the fresh leads' lie above."""

FRESH: Document = {"enrichment.priority": {"$gt": BEHIND}}

_FAR_BEHIND = 1e15
_FARTHEST = 1e12
"""A double still tells neighbouring words apart when both are taken together."""


def behind(rank: Expression) -> Expression:
    """The same order among themselves, but after every fresh lead."""
    within = {"$max": [{"$min": [rank, _FARTHEST]}, -_FARTHEST]}
    return {"$subtract": [within, _FAR_BEHIND]}


def account(field: str) -> Expression:
    """Whose lead it is, of any type; `None` when that would be longer than an id can be."""
    fits = {"$lte": [{"$bsonSize": {"account": f"${field}"}}, LONGEST_TEXT_BYTES]}
    return {"$cond": [fits, f"${field}", None]}


def bounded(path: str, otherwise: Expression = None) -> Expression:
    """What may be of any size where others have written it."""
    fits = {"$lte": [{"$bsonSize": {"value": path}}, _LARGEST_VALUE_BYTES]}
    return {"$cond": [fits, path, otherwise]}


def plan(field: str) -> Expression:
    """The name of the plan; `None` for what is no text, or a longer one than any name."""
    return {"$cond": [is_type(f"${field}", "string"), account(field), None]}


REFRESH_SINCE: Expression = {
    "$cond": [
        {
            "$and": [
                is_type("$enrichment.refresh_since", "date"),
                {"$gt": ["$enrichment.refresh_since", EPOCH]},
                {"$lte": ["$enrichment.refresh_since", "$$NOW"]},
            ]
        },
        "$enrichment.refresh_since",
        None,
    ]
}
"""Answers older than this do not count; a date that nobody can have meant counts as none."""


def _lower(word: str) -> str:
    """As `$toLower` does: only A to Z."""
    return "".join(letter.lower() if letter.isascii() else letter for letter in word)


NEVER_CLAIMED: Document = {
    "enrichment_status": Status.PENDING,
    "enrichment.claim_id": None,
    "enrichment.backfill": None,
}
"""Leads that were admitted and never claimed, and that are not history."""


_WAS_BEHIND: Expression = {
    "$and": [
        {"$eq": [{"$ifNull": ["$enrichment.claim_id", None]}, None]},
        {"$lte": [PRIORITY, BEHIND]},
    ]
}
"""Put behind fresh leads by its admission, and never claimed since."""


def admission(rank: Expression, *, is_behind: Expression = _WAS_BEHIND) -> Pipeline:
    """Missing status -> pending, with priority: after every fresh lead for a backfill's, and where `is_behind`.
    A second time it changes nothing."""
    waits = {"$or": [is_behind, {"$eq": ["$enrichment.backfill", True]}]}
    return [
        {
            "$set": {
                "enrichment_status": Status.PENDING,
                "enrichment": book_with(
                    {
                        "priority": {"$cond": [waits, behind(rank), rank]},
                        "queued_at": QUEUED_AT,
                    }
                ),
            }
        }
    ]


def claiming(
    claim_id: str, holder: str, lease: timedelta, rank: Expression, inputs: Expression
) -> Pipeline:
    """The atomic transition to `processing`.

    A refresh comes behind everything else, here and when it waits for a limit or is tried again.

    A `pending` that a user set begins a new run: attempts and answers start afresh. One that a
    draining daemon left (`released`) and every lead that fell due goes on where it was.
    """
    is_pending = {"$eq": ["$enrichment_status", Status.PENDING]}
    fresh = {"$and": [is_pending, {"$ne": ["$enrichment.released", True]}]}
    since = {"$cond": [is_pending, "$enrichment.queued_at", "$enrichment.due_at"]}
    passed = {"$subtract": ["$$NOW", {"$min": [since, "$$NOW"]}]}
    waited = {"$cond": [_is_believable(since), passed, None]}
    claimed = {
        "token": {"$add": [{"$ifNull": [TOKEN, 0]}, 1]},
        "claim_id": claim_id,
        "holder": holder,
        "due_at": in_milliseconds(lease),
        "waited_ms": waited,
        "attempts": {"$cond": [fresh, 1, {"$add": [ATTEMPTS, 1]}]},
        "interruptions": INTERRUPTIONS,
        "answered": {
            "$cond": [
                {"$or": [fresh, {"$ne": [{"$type": "$enrichment.answered"}, "object"]}]},
                {},
                "$enrichment.answered",
            ]
        },
        "released": False,
        "inputs": inputs,
    }
    is_refresh = {"$eq": ["$enrichment_status", Status.COMPLETED]}
    is_behind = {"$or": [is_refresh, {"$lte": [PRIORITY, BEHIND]}]}
    # What a writer put in the place of our priority says nothing.
    claimed["priority"] = {"$cond": [is_behind, behind(rank), rank]}
    book = book_with(claimed)
    return [{"$set": {"enrichment_status": Status.PROCESSING, "enrichment": book}}]


def renewal(lease: timedelta) -> Pipeline:
    """The lease runs from now on again."""
    return [{"$set": {"enrichment.due_at": in_milliseconds(lease)}}]


def requeueing(*, released: bool) -> Pipeline:
    """Back to `pending`. Released: the attempt is given back and the run goes on."""
    values = {
        "holder": None,
        "released": released,
        "attempts": attempts_less(1) if released else 0,
        "queued_at": QUEUED_AT,
    }
    return [
        {"$set": {"enrichment_status": Status.PENDING, "enrichment": book_with(values)}},
        {"$unset": ["enrichment.due_at", "enrichment.inputs"]},
    ]


BY_ID = "_id_"
