"""The documents and expressions of which admission, claim, renewal, settle and release are made.

Each takes the `Names` that our fields have in the collection. `enrichment`, the daemon's own book-keeping on a lead:

    token        int     fencing token; rises with every claim
    claim_id     str     unique to the claim; kept after the settle, so that its outcome can be read back
    holder       str     the process that holds the lease, for people; `None` without one
    due_at       date    when the lead is work: end of the lease, next attempt, or next refresh
    queued_at    date    when it became work; absent once settled
    priority     number  higher first; far below all others for what nobody waits for (`behind`)
    backfill     bool    until the run ends: asked for by a backfill
    refresh_since date   until the run ends: kept answers older than this do not count
    refresh_mark str     proves that a command of ours asked for that (`queue/requests.py`)
    backfilled_by str    the backfill run that asked for it last
    recheck_since date   it comes back to be looked at again: older answers that gave nothing do not count
    recheck_mark str     proves that a settle of ours planned that (`queue/requests.py`)
    rechecks     int     how often it was looked at again, since somebody last asked for it
    held_by      list    the providers that could not be asked, while it is retrying
    attempts     int     claims of this run, counted at the claim
    interruptions int    claims in a row that were neither settled nor released: their process died, perhaps of it
    answered     dict    provider -> found | not_found, in this run; kept for the recheck that a lead waits for
    released     bool    released unworked: the run continues instead of beginning again
    waited_ms    int     how long it had been work when it was claimed
    subject      dict    whom `answered` is about (`identity/identify.py`); a string where an older version wrote it
    inputs       dict    the lead's inputs as they stood at the claim; absent when nobody has it
    era          int     how often the source's rules had changed by then; absent where they never did
    copied       list    what was copied into fields of the user's (`queue/copying.py`)
    untold       bool    part of the data was stored before a settle, and no event names it yet (`queue/outbox.py`)
    spent        int     what this enrichment may have cost at most, in millionths; only where there is a ceiling

Any writer can forge any of it. Whatever we did not write ourselves a moment before reading it must cost
nobody anything beyond what the same writer could get by an honest insert or `pending`:

    token        only rises; garbage begins anew. On a lead in work it takes the lease away, as `pending` does;
                 with a claim id and no status the lead is left alone, as if the status had been unset
    claim_id     on a lead in work the same; else written at the claim
    holder, waited_ms, inputs     written at the claim; nothing else reads them
    era          after a gap, an address that came late is found or not; nothing else reads it
    untold       the event of the next settle names more fields
    copied       a field of the lead's own that it names is written over or erased, or not read
    spent        more: the lead is capped sooner. Less: it may cost more, as after `pending`
    due_at       makes the lead work, as `pending` does, and its questions get the kept answers
    queued_at    its place among leads of equal priority, as though it had been inserted then
    priority     its place in the queue, not above `hot` once claimed: computed anew at admission and claim
    backfill, backfilled_by       only this lead waits behind others, or is left out by a backfill
    refresh_since                 counts only with its mark
    refresh_mark                  cannot be made without the fleet's secret, nor used for another lead or date
    recheck_since                 the lead is left to its refresh without its mark; nobody is asked
    recheck_mark                  like `refresh_mark`
    rechecks     more: there are fewer of them. Fewer: they begin again, as after `pending`
    held_by      the lead is called back with those that wait for that provider; never later than it was due
    attempts     more: the lead gives up sooner. Fewer: it is tried again, as after `pending`
    interruptions                 such leads are worked on one at a time; those that wait for that take no slot
    answered     the lead's own data stays poorer: a provider said to have answered is not asked
    released     the run continues instead of beginning anew, with fewer calls
    subject      the lead keeps data that its writer put there

All expressions take the lead as they find it: a field of any type, missing or garbage, never makes
one fail, because a failing expression would take the whole round trip down with it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from enricher.fields import Names
from enricher.identity.mapping import LONGEST_TEXT_BYTES
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


def mailbox(names: Names) -> str:
    """Return the path where the data names its mailbox."""
    return f"{names.enriched_data}.{METADATA}.{SUBJECT}.mailbox"


def data(names: Names) -> Expression:
    """Return the lead's data so far; `None` when there is none."""
    path = f"${names.enriched_data}"
    return {"$cond": [is_type(path, "object"), path, None]}


def data_bytes(names: Names) -> Expression:
    """Return the size of the lead's data so far; 0 when there is none."""
    return {"$ifNull": [{"$bsonSize": data(names)}, 0]}


def book(names: Names) -> Expression:
    """Return the book-keeping; empty where there is none."""
    path = f"${names.enrichment}"
    return {"$cond": [{"$eq": [{"$type": path}, "object"]}, path, {}]}


def value_at(path: str) -> Expression:
    """Return the value of a field; null for one that is not written."""
    return f"${path}" if path else {"$literal": None}


def is_scored(names: Names) -> Expression:
    """Return whether the lead has a qualification score."""
    score = names.qualification_score
    return {"$gt": [f"${score}", None]} if score else {"$literal": False}


def noted(names: Names, field: str) -> Expression:
    """Return a field of the book-keeping as it stands there."""
    return f"${names.of_book(field)}"


def count(path: str) -> Expression:
    """Return the field as a whole number; `None` when it cannot be counted on from (NaN, 1e300)."""
    is_countable = {"$and": [{"$isNumber": path}, {"$gte": [path, 0]}, {"$lt": [path, 2**53]}]}
    return {"$cond": [is_countable, {"$toLong": path}, None]}


def token(names: Names) -> Expression:
    """Return the fencing token; `None` when it is missing or garbage, which the next claim replaces."""
    return count(noted(names, "token"))


def attempts(names: Names) -> Expression:
    """Return the attempts counted so far."""
    return {"$ifNull": [count(noted(names, "attempts")), 0]}


def spent(names: Names) -> Expression:
    """Return what the enrichment may have cost so far."""
    return {"$ifNull": [count(noted(names, "spent")), 0]}


def interruptions(names: Names) -> Expression:
    """Return the interruptions as a claim made now would count them."""
    return {
        "$cond": [
            {"$eq": [f"${names.enrichment_status}", Status.PROCESSING.value]},
            {"$add": [{"$ifNull": [count(noted(names, "interruptions")), 0]}, 1]},
            0,
        ]
    }


LONGEST_WAIT = timedelta(days=366)
"""A date further back is ignored: a lead cannot have been work for longer, so a writer made it up."""
_LONGEST_AGO: Expression = {"$subtract": ["$$NOW", LONGEST_WAIT // timedelta(milliseconds=1)]}


def _is_believable(path: Expression) -> Expression:
    return {"$and": [{"$eq": [{"$type": path}, "date"]}, {"$gt": [path, _LONGEST_AGO]}]}


def queued_at(names: Names) -> Expression:
    """Return since when it has been work; now if that is not known."""
    since = noted(names, "queued_at")
    is_queued = {"$and": [_is_believable(since), {"$lte": [since, "$$NOW"]}]}
    return {"$cond": [is_queued, since, "$$NOW"]}


def attempts_less(names: Names, given_back: Expression) -> Expression:
    """Return the attempts after some are given back, never below 0."""
    return {"$max": [0, {"$subtract": [attempts(names), given_back]}]}


def book_with(names: Names, *values: Expression) -> Expression:
    """Return the book-keeping with some fields replaced; all others stay."""
    return {"$mergeObjects": [book(names), *values]}


def within_one_command(candidates: list[Document]) -> list[Document]:
    """Return as many candidates as have room for their ids in one command: an `_id` may be megabytes of text."""
    room = _MOST_ID_BYTES
    for position, candidate in enumerate(candidates):
        room -= len(id_key(candidate["_id"]))
        if room < 0:
            return candidates[: max(1, position)]
    return candidates


LONGEST_ID_BYTES = 4096
"""Longest `_id` that is worked on: ids go into events, batches, logs and other collections by the thousand."""
_ID_FITS: Expression = {"$lte": [{"$bsonSize": {"_id": "$_id"}}, LONGEST_ID_BYTES]}
WITH_FITTING_ID: Document = {"$expr": _ID_FITS}
WITH_TOO_LONG_ID: Document = {"$expr": {"$not": [_ID_FITS]}}
ID_OR_WHY_NOT: Document = {
    "_id": {"$cond": [_ID_FITS, "$_id", None]},
    "too_long": {"$cond": [_ID_FITS, "$$REMOVE", True]},
}
"""Read instead of `_id`, so that an id of megabytes does not leave the database."""

MUCH_DATA_BYTES = 64 * 1024
"""A lead with more data takes memory that others may be waiting for."""
MOST_DATA_BYTES = 16 * 1024 * 1024
"""For all leads in work: each one's data is held in memory as it was read, and as it is written."""


def within_room(candidates: list[Document], in_work: int) -> list[Document]:
    """Return as many candidates as there is memory for; a lone one in any case."""
    left = MOST_DATA_BYTES - in_work
    for position, candidate in enumerate(candidates):
        left -= candidate["bytes"]
        if left < 0:
            return candidates[: position if in_work else max(1, position)]
    return candidates


def priority(field: str, order: Sequence[str]) -> Expression:
    """Return the rank of a lead by a field of it."""
    return rank_in(f"${field}", order)


def rank_in(value: str, order: Sequence[str]) -> Expression:
    """Return the rank that a value means: a word counts by its place in `order`, first highest, a number as itself
    within the words' range, so that 1e308 does not go before `hot`. Anything else is 0."""
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
    """Bound a number from 0 to just below the most urgent word; numbers beyond that keep their order."""
    beyond = {"$subtract": [{"$min": [number, _MOST_COUNTED]}, top]}
    most = {"$cond": [{"$gt": [number, top]}, _beneath(top, beyond), _beneath(top, 0)]}
    return {"$toDouble": {"$max": [0, {"$min": [number, most]}]}}


def _beneath(top: int, beyond: Expression) -> Expression:
    return {"$subtract": [top, {"$divide": [_BELOW_THE_FIRST_WORD, {"$add": [1, beyond]}]}]}


def priority_noted(names: Names) -> Expression:
    """Return the priority of an admitted lead; garbage counts as 0."""
    of = noted(names, "priority")
    return {"$convert": {"input": of, "to": "double", "onError": 0, "onNull": 0}}


def rank_of(read: Document) -> float:
    """Return the priority of a lead that was read with `priority_noted`, ordered as the index orders it."""
    rank: float = read["priority"]
    return -math.inf if math.isnan(rank) else rank


BEHIND = -1e14
"""Every priority up to this one belongs to work that nobody waits for; fresh leads' are above it."""


def fresh(names: Names) -> Document:
    """Match work that somebody may wait for."""
    return {names.of_book("priority"): {"$gt": BEHIND}}


_FAR_BEHIND = 1e15
_FARTHEST = 1e12
"""Small enough that a double still tells neighbouring words apart when added to `_FAR_BEHIND`."""


def behind(rank: Expression) -> Expression:
    """Return a rank that comes after every fresh lead's, in the same order among its kind."""
    within = {"$max": [{"$min": [rank, _FARTHEST]}, -_FARTHEST]}
    return {"$subtract": [within, _FAR_BEHIND]}


def account(field: str) -> Expression:
    """Return the lead's account by a field of it."""
    return account_in(f"${field}")


def account_in(value: str) -> Expression:
    """Return the account, of any type; `None` when it is longer than an id can be."""
    fits = {"$lte": [{"$bsonSize": {"account": value}}, LONGEST_TEXT_BYTES]}
    return {"$cond": [fits, value, None]}


def bounded(path: str, otherwise: Expression = None) -> Expression:
    """Return the value unless it is too large: another writer may have stored any size."""
    fits = {"$lte": [{"$bsonSize": {"value": path}}, _LARGEST_VALUE_BYTES]}
    return {"$cond": [fits, path, otherwise]}


def plan(field: str) -> Expression:
    """Return the name of the plan by a field of the lead."""
    return plan_in(f"${field}")


def plan_in(value: str) -> Expression:
    """Return the name of the plan; `None` for a value that is no text, or longer than any name."""
    return {"$cond": [is_type(value, "string"), account_in(value), None]}


def refresh_since(names: Names) -> Expression:
    """Return since when answers count: older ones do not; an implausible date counts as none."""
    since = noted(names, "refresh_since")
    is_plausible = {
        "$and": [is_type(since, "date"), {"$gt": [since, EPOCH]}, {"$lte": [since, "$$NOW"]}]
    }
    return {"$cond": [is_plausible, since, None]}


def recheck_since(names: Names) -> Expression:
    """Return since when a recheck goes by its answers; `None` for a lead that comes back for something else."""
    since = noted(names, "recheck_since")
    is_plausible = {"$and": [is_type(since, "date"), {"$gt": [since, EPOCH]}]}
    return {"$cond": [is_plausible, since, None]}


def rechecks(names: Names) -> Expression:
    """Return how often the lead was looked at again."""
    return {"$ifNull": [count(noted(names, "rechecks")), 0]}


def _unless(ended: Expression, path: Expression) -> Expression:
    """Keep a field of a series of rechecks, if there is one, until somebody asks for the lead anew."""
    until_then = {"$cond": [{"$and": [ended, {"$gt": [path, None]}]}, None, path]}
    return {
        "$cond": [{"$isArray": [path]}, "$$REMOVE", until_then]
    }  # what no book-keeping of ours reads as


def _lower(word: str) -> str:
    """Lower only A to Z, as `$toLower` does."""
    return "".join(letter.lower() if letter.isascii() else letter for letter in word)


def pending_by_its_writer(names: Names) -> Document:
    """Match leads that were inserted as pending, and that nobody has admitted or claimed yet."""
    return {
        names.enrichment_status: Status.PENDING,
        names.of_book("claim_id"): None,
        names.of_book("backfill"): None,
        names.of_book("queued_at"): {"$not": {"$type": "date"}},
    }


def _was_behind(names: Names) -> Expression:
    """Return whether its admission put it behind fresh leads, and it was never claimed since."""
    return {
        "$and": [
            {"$eq": [{"$ifNull": [noted(names, "claim_id"), None]}, None]},
            {"$lte": [priority_noted(names), BEHIND]},
        ]
    }


def found_late(names: Names) -> Expression:
    """Return where it is to wait behind fresh leads: not if it was admitted as one of them meanwhile."""
    is_ranked = is_type(noted(names, "queued_at"), "date")
    return {"$or": [_was_behind(names), {"$not": [is_ranked]}]}


def admission(names: Names, rank: Expression, *, is_behind: Expression | None = None) -> Pipeline:
    """Missing status -> pending, with priority: after every fresh lead for a backfill's, and where `is_behind`,
    by default where it was. A second time it changes nothing."""
    was = _was_behind(names) if is_behind is None else is_behind
    waits = {"$or": [was, {"$eq": [noted(names, "backfill"), True]}]}
    ranked = {
        "priority": {"$cond": [waits, behind(rank), rank]},
        "queued_at": queued_at(names),
    }
    status = {names.enrichment_status: Status.PENDING}
    return [{"$set": {**status, names.enrichment: book_with(names, ranked)}}]


def claim(
    names: Names,
    holder: str,
    lease: timedelta,
    rank: Expression,
    inputs: Expression,
    *,
    counts_costs: bool = False,
) -> dict[str, Expression]:
    """Return what every claim writes to the book-keeping, besides its id.

    A refresh comes behind everything else, here and when it waits for a limit or is retried.

    A `pending` that a user set begins a new run: attempts and answers start afresh. One that a
    draining daemon left (`released`), and every lead that fell due, continues where it was. What it cost
    is counted on as well, but for a refresh.
    """
    status, answered = f"${names.enrichment_status}", noted(names, "answered")
    is_pending = {"$eq": [status, Status.PENDING]}
    fresh_run = {"$and": [is_pending, {"$ne": [noted(names, "released"), True]}]}
    since = {"$cond": [is_pending, noted(names, "queued_at"), noted(names, "due_at")]}
    passed = {"$subtract": ["$$NOW", {"$min": [since, "$$NOW"]}]}
    waited = {"$cond": [_is_believable(since), passed, None]}
    claimed = {
        "token": {"$add": [{"$ifNull": [token(names), 0]}, 1]},
        "holder": holder,
        "due_at": in_milliseconds(lease),
        "waited_ms": waited,
        "attempts": {"$cond": [fresh_run, 1, {"$add": [attempts(names), 1]}]},
        "interruptions": interruptions(names),
        "answered": {
            "$cond": [
                {"$or": [fresh_run, {"$ne": [{"$type": answered}, "object"]}]},
                {},
                answered,
            ]
        },
        "released": False,
        "recheck_since": _unless(fresh_run, noted(names, "recheck_since")),
        "rechecks": _unless(fresh_run, noted(names, "rechecks")),
        "inputs": inputs,
    }
    is_refresh = {"$eq": [status, Status.COMPLETED]}
    if counts_costs:
        is_recheck = {"$gt": [recheck_since(names), None]}
        is_new = {"$or": [fresh_run, {"$and": [is_refresh, {"$not": [is_recheck]}]}]}
        claimed["spent"] = {"$cond": [is_new, 0, spent(names)]}
    is_behind = {"$or": [is_refresh, {"$lte": [priority_noted(names), BEHIND]}]}
    # Any value that a writer put in place of our priority is ignored.
    claimed["priority"] = {"$cond": [is_behind, behind(rank), rank]}
    return claimed


def renewal(names: Names, lease: timedelta) -> Pipeline:
    """Restart the lease from now."""
    return [{"$set": {names.of_book("due_at"): in_milliseconds(lease)}}]


def requeueing(names: Names, *, released: bool) -> Pipeline:
    """Return the update back to `pending`. With `released`, the attempt is given back and the run continues."""
    values = {
        "holder": None,
        "released": released,
        "attempts": attempts_less(names, 1) if released else 0,
        "queued_at": queued_at(names),
    }
    back = {
        names.enrichment_status: Status.PENDING,
        names.enrichment: book_with(names, values),
    }
    return [
        {"$set": back},
        {"$unset": [names.of_book("due_at"), names.of_book("inputs")]},
    ]


BY_ID = "_id_"
