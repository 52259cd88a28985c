"""Documents of ours that are not as we wrote them: an operator's hand, a restore, another version.

No document may end a daemon. What cannot be read is the database's trouble, which every loop waits out
and tells of, until somebody puts the document right.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from pymongo.errors import PyMongoError

_NOT_AS_WRITTEN = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError)


class UnreadableDocument(PyMongoError):
    """A document lacks what we always write, or has it in another type."""


@contextmanager
def reading(collection: str) -> Iterator[None]:
    """Around code that only takes a document apart. Raises UnreadableDocument; the text names no value."""
    try:
        yield
    except _NOT_AS_WRITTEN as error:
        raise UnreadableDocument(f"a document in {collection} cannot be read") from error


def whole_number(stored: object) -> int:
    """A count, or 0 for what is none."""
    return int(stored) if isinstance(stored, int | float) and math.isfinite(stored) else 0


def date_or_none(stored: object) -> datetime | None:
    """A date that Python has too."""
    return stored if isinstance(stored, datetime) else None
