"""Leads and what belongs to them, read as they stand, for `enricher explain`. Changes no lead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pymongo.asynchronous.database import AsyncDatabase

from enricher.calls import answers
from enricher.explain.explanation import Standing
from enricher.intake.history import History
from enricher.lead import Document, LeadId
from enricher.queue import book
from enricher.queue.lease import INPUTS, read_inputs
from enricher.queue.unmoved import NEW
from enricher.values.storable import mapping

_VIEW: Document = {
    "inputs": INPUTS,
    "status": "$enrichment_status",
    "error": "$enrichment_error",
    "enriched_at": 1,
    "updated_at": 1,
    "data": "$enriched_data",
    "book": book.BOOK,
    "priority": book.PRIORITY,
    "is_behind": {"$lte": [book.PRIORITY, book.BEHIND]},
    "now": "$$NOW",
}


class StandingReader:
    """The leads of one collection, for people."""

    def __init__(self, database: AsyncDatabase[Document], collection: str) -> None:
        self._database = database
        self._leads = database[collection]
        self._history = History(self._leads)

    async def standing(self, lead: LeadId) -> Standing | None:
        """`None` when there is no such lead (any more). Raises DatabaseTrouble."""
        match = {"$match": {"_id": {"$eq": lead}}}
        found = await (await self._leads.aggregate([match, {"$project": _VIEW}])).to_list()
        if not found:
            return None
        [seen] = found
        is_new = seen.get("status") is None
        return Standing(
            id=seen["_id"],
            now=seen["now"],
            inputs=read_inputs(seen["inputs"]),
            status=seen.get("status"),
            error=seen.get("error"),
            enriched_at=seen.get("enriched_at"),
            updated_at=seen.get("updated_at"),
            data=seen.get("data"),
            book=mapping(seen.get("book")),
            priority=seen["priority"],
            is_behind=seen["is_behind"],
            is_history=is_new and await self._is_history(lead),
        )

    async def _is_history(self, lead: LeadId) -> bool:
        """Of a lead without a status: on record, or one that we have had before."""
        found = await self._leads.find_one({"_id": {"$eq": lead}, **NEW}, {"_id": 1})
        return found is None or not await self._history.without([lead])

    async def kept(self, keys: Sequence[str]) -> Mapping[str, answers.QuestionState]:
        """How these questions stand in the cache; those that nobody ever asked are missing."""
        return await answers.read(self._database[answers.COLLECTION], keys) if keys else {}
