"""Documents whose fields stand there more than once, as drivers of other languages can send them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import bson
from bson.raw_bson import RawBSONDocument

_OVERHEAD = 5
"""Bytes of a document besides its elements: its length and the closing zero."""
LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)


def doubled(*fields: tuple[str, Any]) -> RawBSONDocument:
    """The document with these fields in this order, whatever their names."""
    elements = b"".join(bson.encode({name: value})[4:-1] for name, value in fields)
    size = len(elements) + _OVERHEAD
    return RawBSONDocument(size.to_bytes(4, "little") + elements + b"\0")


def _in_book(*fields: tuple[str, Any]) -> list[tuple[str, Any]]:
    return [("enrichment", doubled(*fields))]


NEW: dict[str, list[tuple[str, Any]]] = {
    "updated_at": [("updated_at", "a"), ("updated_at", "b")],
    "updated_at of other types": [("updated_at", LONG_AGO), ("updated_at", 5)],
    "enrichment": [("enrichment", {}), ("enrichment", {})],
    "enrichment thrice": [("enrichment", None), ("enrichment", {"token": 1}), ("enrichment", [])],
    "enriched_data thrice": [("enriched_data", None), ("enriched_data", {}), ("enriched_data", 5)],
    "enriched_at": [("enriched_at", None), ("enriched_at", LONG_AGO)],
    "qualification_status": [("qualification_status", "a"), ("qualification_status", "b")],
    "qualification_requested_at": [
        ("qualification_requested_at", 1),
        ("qualification_requested_at", 2),
    ],
    "in the book: token": _in_book(("token", 1), ("token", 2)),
    "in the book: priority": _in_book(("priority", 1.0), ("priority", 2.0)),
    "in the book: claim_id": _in_book(("claim_id", "a"), ("claim_id", "b")),
    "in the book: a foreign field": _in_book(("x", 1), ("x", 2)),
    "in the book: inputs": _in_book(("inputs", doubled(("email", "a"), ("email", "b")))),
    "in the book: event": _in_book(("event", doubled(("id", "a"), ("id", "b")))),
    "in the book: answered": _in_book(("answered", doubled(("hunter", "a"), ("hunter", "b")))),
}
"""Without a status: what would end the server at the admission, the claim or the settle."""

UNSAYABLE: dict[str, list[tuple[str, Any]]] = {
    "enrichment_status": [("enrichment_status", None), ("enrichment_status", None)],
    "enrichment_status, pending": [
        ("enrichment_status", "pending"),
        ("enrichment_status", "pending"),
    ],
    "enrichment_error": [
        ("enrichment_status", "pending"),
        ("enrichment_error", None),
        ("enrichment_error", "x"),
    ],
}
"""Where not even the reason can be written."""

_DUE: list[tuple[str, Any]] = [
    ("enrichment_status", "retrying"),
    ("enrichment", {"token": 3, "due_at": LONG_AGO, "attempts": 1}),
]
DUE: dict[str, list[tuple[str, Any]]] = {
    "due, updated_at": [*_DUE, ("updated_at", 1), ("updated_at", 2)],
    "due, enrichment": [*_DUE, ("enrichment", {})],
    "due, answered": [
        ("enrichment_status", "retrying"),
        ("enrichment", doubled(("due_at", LONG_AGO), ("answered", doubled(("a", 1), ("a", 2))))),
    ],
}
IN_THE_DATA: dict[str, list[tuple[str, Any]]] = {
    "data": [*_DUE, ("enriched_data", doubled(("company_data", None), ("company_data", None)))],
    "data, deeper": [
        *_DUE,
        ("enriched_data", doubled(("company_data", doubled(("name", "Old"), ("name", "Older"))))),
    ],
}
"""Which only shows once it is read."""

HARMLESS: dict[str, list[tuple[str, Any]]] = {
    "another's": [("notes", "a"), ("notes", "b")],
    "an input": [("company", "a"), ("company", "b")],
    "dotted": [("enrichment.due_at", 1), ("enrichment.due_at", 2)],
    "dollar": [("$x", 1), ("$x", 2)],
    "no name": [("", 1), ("", 2)],
    "qualification_score": [("qualification_score", 1), ("qualification_score", 2)],
}
"""What we do not write may stand there as often as it likes."""
