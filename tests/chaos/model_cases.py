"""What writers write and workers find: the cases that the model test chooses from.

Every choice has the same shape whatever happened before. Which of several leads a claim takes is
the server's affair, and a choice that depended on it would make a run impossible to repeat.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from bson import Int64, ObjectId
from hypothesis import strategies as st

from enricher.lead import (
    Completed,
    Document,
    Failed,
    LeadId,
    Outcome,
    Reason,
    Retrying,
    Skipped,
    Subject,
)
from enricher.queue.settle import UNWRITABLE

PAST = datetime(2020, 2, 20, 20, 20, tzinfo=UTC)
"""Long ago, but a date: whoever writes it makes a lead that is due."""

IDS: list[LeadId] = [1, True, "1", {"of": 1}, None, ObjectId("0123456789abcdef01234567")]
"""Few, so that everything happens to the same leads; to Python the first two are equal."""

REFUSED: Document = {"enriched_data.refused": {"$ne": True}}
"""The validator that stands on the collection."""

_MISSING = object()
_STATUSES = [_MISSING, None, "pending", "new", "completed", "failed", "processing", "retrying"]
_BOOKS: list[Any] = [
    _MISSING,
    None,
    "text",
    ["x", {"token": 3}],
    {"theirs": 1, "token": "x", "attempts": "many", "answered": [], "queued_at": 7, "released": 1},
    {"token": 2.0, "attempts": 1e300, "due_at": "soon", "priority": "high", "holder": 5},
    {"token": -4, "attempts": -1, "answered": {"local": "found"}, "released": True},
    {"backfill": True, "refresh_since": PAST, "held_by": "nobody", "due_at": PAST},
    {"token": Int64(7), "attempts": 2, "due_at": PAST, "queued_at": PAST, "inputs": "none"},
]
_EMAILS: list[Any] = ["ada@quokka-freight.com", "$email", None, 7, ["x"], "x" * 2000]
_FIELDS: dict[str, list[Any]] = {
    "email": _EMAILS,
    "website": ["https://quokka-freight.com"],
    "name": ["Ada", "Grace", 7],
    "notes": ["called twice", {"by": "phone"}],
    "temperature": ["hot", "Cold", "tepid", 5, None],
    "qualification_score": [None, 70, "high"],
    "enriched_data": [None, "theirs", {"company_data": {"name": "Quokka"}}],
}


def _some(fields: dict[str, list[Any]]) -> st.SearchStrategy[Document]:
    return st.fixed_dictionaries(
        {}, optional={name: st.sampled_from(values) for name, values in fields.items()}
    )


def _lead(fields: Document, status: Any, book: Any) -> Document:
    ours = {"enrichment_status": status, "enrichment": book}
    return fields | {name: value for name, value in ours.items() if value is not _MISSING}


documents = st.builds(_lead, _some(_FIELDS), st.sampled_from(_STATUSES), st.sampled_from(_BOOKS))
"""Leads as writers insert them: with and without a status, some with garbage in our own field."""

_CORRECTED = {name: values for name, values in _FIELDS.items() if name != "enriched_data"}
corrections = _some(_CORRECTED)
"""What writers change on a lead that stands there."""
emails = st.sampled_from(_EMAILS)


@dataclass(frozen=True, slots=True)
class Finding:
    """A kind of outcome: made anew for each settle, so that no two write the same."""

    make: Callable[[Document], Outcome]
    extra: Document = field(default_factory=dict)
    refusal: str | None = None
    """Why no database will take it, as the lead is to show it."""

    def outcome(self, number: int) -> Outcome:
        return self.make(data(number) | self.extra)


def data(number: int) -> Document:
    """Enriched data with something in it that must not be executed."""
    return {"company_data": {"name": "$email", "number": number}}


_ANSWERED = {"clearbit": "found", "hunter": "not_found"}
_SOON, _LATER = timedelta(hours=2), timedelta(hours=4)
_NOTHING = Finding(lambda _: Completed({}, _ANSWERED))

FINDINGS = [
    Finding(lambda found: Completed(found, _ANSWERED)),
    _NOTHING,
    Finding(lambda found: Completed(found, _ANSWERED, error="$error")),
    Finding(lambda found: Retrying(found, _ANSWERED, "one failed", _SOON)),
    Finding(lambda found: Retrying(found, _ANSWERED, "held back", _LATER, attempt_spent=False)),
    Finding(lambda found: Retrying(found, _ANSWERED, "held", _SOON, False, ("hunter", "clearbit"))),
    Finding(lambda _: Retrying({}, {}, "all failed", _SOON)),
    Finding(lambda found: Failed(found, "nothing could be had")),
    Finding(lambda found: Skipped(found, Reason.SYSTEM_ADDRESS)),
    Finding(
        lambda found: Completed(found, _ANSWERED),
        {"too large a number": 2**64},
        UNWRITABLE.format(why="it would be too large, or cannot be encoded"),
    ),
    Finding(
        lambda found: Retrying(found, _ANSWERED, "one failed", _SOON),
        {"refused": True},
        UNWRITABLE.format(why='the collection\'s validator refuses it for "enriched_data.refused"'),
    ),
]

ids = st.integers(0, len(IDS) - 1)
daemons = st.integers(0, 2)
slots = st.integers(1, 8)
findings = st.sampled_from(FINDINGS)
subjects = st.sampled_from([None, Subject("one", "company"), Subject(None, "another")])
leases = st.tuples(ids, st.integers(0, 2))
"""The latest lease on a lead, or one from longer ago."""
several_leases = st.lists(leases, min_size=1, max_size=4, unique=True)
