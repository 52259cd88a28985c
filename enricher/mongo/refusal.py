"""Whose fault it is that a write failed: the document's, or the state the database is in.

A document that the server will never accept must not be tried for ever, and a result that was paid
for must not be given up because a primary stepped down in the middle of a batch. Both arrive as
errors of single updates within a `BulkWriteError`. So the codes that speak of the server, the
network, the time allowed or our privileges are listed here; every other one is about the document.
"""

from __future__ import annotations

from dataclasses import dataclass

from pymongo.errors import (
    AutoReconnect,
    BulkWriteError,
    DocumentTooLarge,
    OperationFailure,
    WriteError,
)

UNAUTHORIZED = 13
_PRIVILEGES = frozenset({11, UNAUTHORIZED, 18, 391, 8000})
_STATE_OF_THE_DATABASE = frozenset(
    {
        *(6, 7, 89, 279, 384, 9001),  # the network
        *(91, 189, 216, 10107, 11600, 11601, 11602, 13435, 13436),  # elections, shutdown
        *(24, 46, 50, 112, 117, 175, 202, 217, 262, 462, 16500),  # time limits, conflicts, overload
        *(63, 64, 79, 100, 133, 134, 150, 13388, 14031),  # shards, write concern, a full disk
        *_PRIVILEGES,
    }
)
_UNREADABLE = frozenset({2, 9, 14, 15, 16, 22, 10334})
"""With these the server rejects a whole command because it cannot read one document in it."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """One update that the server will never carry out."""

    position: int
    code: int


def refusals(error: BulkWriteError) -> list[Refusal]:
    """The updates that were refused. Raises `error` when the database is to blame for any of them."""
    found = [Refusal(entry["index"], entry["code"]) for entry in error.details["writeErrors"]]
    is_outage = any(refusal.code in _STATE_OF_THE_DATABASE for refusal in found)
    if is_outage or not found or error.details["writeConcernErrors"]:
        raise error
    return found


def is_refusal(error: OperationFailure) -> bool:
    """True when a single write failed because of its document."""
    return error.code is not None and error.code not in _STATE_OF_THE_DATABASE


def is_unreadable(error: OperationFailure) -> bool:
    """True when the server could not read one of the documents in a command."""
    return error.code in _UNREADABLE


def is_denied(error: Exception) -> bool:
    """True when the user may not do this (any more): nothing was written."""
    return isinstance(error, OperationFailure) and error.code in _PRIVILEGES


def may_do_one_by_one(error: AutoReconnect | DocumentTooLarge | WriteError) -> bool:
    """When nobody answered in time, a second try would wait as long again, and find the same."""
    match error:
        case AutoReconnect():
            return not error.timeout
        case WriteError():
            return is_refusal(error)
    return True
