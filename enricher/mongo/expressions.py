"""Expressions that any collection may need, and how an `_id` becomes a key."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import bson

from enricher.lead import LeadId

Expression = Any


Pipeline = list[dict[str, Any]]


def is_type(path: str, name: str) -> Expression:
    """True when the field has that BSON type."""
    return {"$eq": [{"$type": path}, name]}


def in_milliseconds(delay: timedelta) -> Expression:
    """`delay` from now by the server's clock: the only clock that all daemons share."""
    return {"$add": ["$$NOW", round(delay.total_seconds() * 1000)]}


def id_key(id_: LeadId) -> bytes:
    """An `_id` as a key: one may be a document, and to Python 1 and `True` are equal."""
    return bson.encode({"": id_})
