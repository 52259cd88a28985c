"""Which collections of a database hold leads: those that daemons work on, or once worked on.

Nobody configures that list. The side collections know it: each leads collection has a checkpoint from
its first start on, and a record of its history; daemons tell of themselves while they live.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import OperationFailure

from enricher import privileges
from enricher.intake import checkpoints, history
from enricher.lead import Document
from enricher.mongo.refusal import is_denied
from enricher.status import daemons

_HISTORY = history.collection_name("")
_ERASING = ("find", "update")


async def leads_collections(database: AsyncDatabase[Document], configured: str) -> list[str]:
    """Names of all that exist, the configured one first."""
    there = await _if_allowed(database.list_collection_names)
    known = await _if_allowed(lambda: database[checkpoints.COLLECTION].distinct("_id"))
    told = await _if_allowed(lambda: database[daemons.COLLECTION].distinct("leads"))
    on_record = [name.removeprefix(_HISTORY) for name in there if name.startswith(_HISTORY)]
    names = {name for name in (*known, *told, *on_record) if isinstance(name, str) and name}
    others = names & set(there) if there else names
    return [configured, *sorted(others - {configured})]


async def _if_allowed(read: Callable[[], Awaitable[Sequence[Any]]]) -> Sequence[Any]:
    try:
        return await read()
    except OperationFailure as error:
        if not is_denied(error):
            raise
        return ()


async def lacking(database: AsyncDatabase[Document], collection: str) -> list[str]:
    """What this user may not do there, of what it takes to erase: `update on crm.customers`."""
    wanted = {collection: _ERASING}
    return await privileges.missing(database.client, database.name, wanted)
