"""Ids that hold the address of somebody who is forgotten: what we wrote them into is cleaned."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import OperationFailure

from enricher.commands.backfill_runs import forget_positions
from enricher.identity.identify import Identity, identify
from enricher.intake.history import History
from enricher.lead import Document, Inputs
from enricher.mongo.refusal import UNAUTHORIZED

_HAS_AT = re.compile(r"@|%40|\uff20", re.IGNORECASE)
_PARTS = re.compile(r"[\s:;,/|#]+")


async def forget_ids(
    database: AsyncDatabase[Document], collections: Sequence[str], person: Identity
) -> int | None:
    """How many were struck from the records of history; `None` when the user may not remove them.

    A backfill that stands at such an id begins anew, and asks for no lead twice.
    """
    await forget_positions(database, lambda texts: _names(texts, person))
    try:
        return sum([await _strike(History(database[name]), person) for name in collections])
    except OperationFailure as error:
        if error.code != UNAUTHORIZED:
            raise
        return None


async def _strike(history: History, person: Identity) -> int:
    named = [id_ async for id_, texts in history.texts() if _names(texts, person)]
    for id_ in named:
        await history.strike(id_)
    return len(named)


def _names(texts: Iterable[str], person: Identity) -> bool:
    """PURE True when one of them is the person's address in any spelling, or has it among others."""
    return any(
        identify(Inputs(email=part)).email_key == person.email_key
        for text in texts
        if _HAS_AT.search(text)
        for part in dict.fromkeys((text, *_PARTS.split(text)))
        if _HAS_AT.search(part)
    )
