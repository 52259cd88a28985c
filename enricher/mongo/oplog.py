"""How far back MongoDB's own log goes: as long a daemon may be away and still miss nothing.

Reading it takes a privilege on another database, which the work does not need; so whoever lacks it
is told nothing, and not asked again.
"""

from __future__ import annotations

from pymongo import AsyncMongoClient
from pymongo.errors import OperationFailure

from enricher.lead import Document
from enricher.mongo.refusal import is_denied, is_refusal

_ORDERS = (1, -1)


async def window_seconds(client: AsyncMongoClient[Document]) -> float | None:
    """`None` where there is no log to be read (standalone, sharded), or not by us.

    Raises DatabaseTrouble.
    """
    log = client["local"]["oplog.rs"]
    try:
        ends = [await log.find_one({}, {"ts": 1}, sort=[("$natural", each)]) for each in _ORDERS]
    except OperationFailure as error:
        if is_denied(error) or is_refusal(error):
            return None
        raise
    first, last = ends
    if first is None or last is None:
        return None
    return float(last["ts"].time - first["ts"].time)
