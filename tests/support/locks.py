"""A writer's open transaction: its leads can be read, and every other write to them waits."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import OperationFailure

from enricher.lead import Document, LeadId

_CONFLICT = 112


@asynccontextmanager
async def held(
    leads: AsyncCollection[Document], *ids: LeadId, aborts: bool = False, deletes: bool = False
) -> AsyncIterator[None]:
    """Within the block the leads are changed, or deleted, by a transaction that has not ended."""
    async with leads.database.client.start_session() as session:
        await _change(leads, ids, session, deletes=deletes)
        try:
            yield
        finally:
            await (session.abort_transaction() if aborts else session.commit_transaction())


async def _change(
    leads: AsyncCollection[Document],
    ids: tuple[LeadId, ...],
    session: AsyncClientSession,
    *,
    deletes: bool,
) -> None:
    """Again where somebody else wrote to one of them just then."""
    these = {"_id": {"$in": list(ids)}}
    while True:
        await session.start_transaction()
        try:
            if deletes:
                await leads.delete_many(these, session=session)
            else:
                await leads.update_many(these, {"$set": {"notes": "held"}}, session=session)
        except OperationFailure as error:
            await session.abort_transaction()
            if error.code != _CONFLICT:
                raise
        else:
            return
