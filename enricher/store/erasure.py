"""Erasing what is known about one person from the leads: `enricher forget`.

Who wrote the lead owns its `email`; it stays. What we found goes: the person's data, the verdict
on the address, the person's profiles, and where each of these came from. Data about the company
may stay. The lead becomes `skipped` and says why, and its fencing token rises: a worker that has
it in work at that moment can write nothing any more.

A lead whose address was changed since may still hold what was found for the old one; that is
erased as well, and the lead is otherwise left as it is.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection
from typing import Any

import pymongo
from pymongo import ReturnDocument
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import OperationFailure

from enricher.answer import Kind
from enricher.employer import MISMATCH
from enricher.lead import Document, LeadId, Reason, Status
from enricher.merge import BY_FIELD, FLAGS, METADATA, SOCIAL
from enricher.score import completeness
from enricher.store import book
from enricher.store.inputs import INPUTS
from enricher.store.refusal import is_refusal
from enricher.store.requests import SCAN_SECONDS

_PERSONAL = (Kind.PERSON.section, Kind.EMAIL.section)
_BATCH = 500
_SEEN: Document = {"inputs": INPUTS, "subject": "$enrichment.subject"}
_DATA = "enriched_data"
_PROFILES = f"${_DATA}.{SOCIAL}.{Kind.COMPANY}"


class Erasure:
    """Finds and erases leads of one collection."""

    def __init__(self, leads: AsyncCollection[Document]) -> None:
        self._leads = leads

    async def candidates(
        self, spelling: str, subjects: Collection[str]
    ) -> AsyncGenerator[Document, None]:
        """`{_id, inputs, subject}` of leads whose e-mail field holds something like `spelling` (a
        regular expression), or whose data was found for one of these subjects. Reads every lead."""
        match = {
            "$or": [
                {"email": {"$regex": spelling, "$options": "i"}},
                {"enrichment.subject": {"$in": list(subjects)}},
            ]
        }
        with pymongo.timeout(SCAN_SECONDS):
            found = await self._leads.find(match, _SEEN, batch_size=_BATCH).to_list()
        for lead in found:
            yield lead

    async def erase(self, id_: LeadId) -> bool:
        """Erase and skip. False when MongoDB refuses the write, or the lead is gone."""
        return await self._write(id_, [*_WITHOUT_PERSON, *_SKIPPED])

    async def erase_data(self, id_: LeadId, subject: str) -> bool:
        """Erase only what was found, as long as it was found for that subject."""
        forgotten = {"$unset": ["enrichment.subject"]}
        return await self._write(
            id_, [*_WITHOUT_PERSON, forgotten], {"enrichment.subject": subject}
        )

    async def _write(
        self, id_: LeadId, pipeline: book.Pipeline, only: Document | None = None
    ) -> bool:
        try:
            erased = await self._leads.find_one_and_update(
                {"_id": {"$eq": id_}, **(only or {})},
                pipeline,
                projection=_AFTERWARDS,
                return_document=ReturnDocument.AFTER,
            )
        except OperationFailure as error:
            if not is_refusal(error):
                raise
            return False
        if erased is not None:
            await self._score(erased)
        return erased is not None

    async def _score(self, erased: Document) -> None:
        """The completeness of what is left. Nothing personal depends on it, so it comes second."""
        data = erased.get(_DATA)
        if not isinstance(data, dict) or not isinstance(data.get(METADATA), dict):
            return
        score, missing = completeness(data)
        figures = {
            f"{_DATA}.{METADATA}.completeness_score": score,
            f"{_DATA}.{METADATA}.completeness_missing": missing,
        }
        unchanged = {
            "_id": {"$eq": erased["_id"]},
            f"{_DATA}.{METADATA}": {"$type": "object"},
            **{
                f"enrichment.{name}": erased["enrichment"].get(name)
                for name in ("token", "claim_id")
            },
        }
        await self._leads.update_one(unchanged, {"$set": figures})


_AFTERWARDS = {_DATA: 1, "enrichment.token": 1, "enrichment.claim_id": 1}

_KNOWN = f"${_DATA}.{METADATA}"
_OTHER_FLAGS = {
    "$cond": [
        book.is_type(f"{_KNOWN}.{FLAGS}", "array"),
        {"$setDifference": [f"{_KNOWN}.{FLAGS}", [MISMATCH]]},
        f"{_KNOWN}.{FLAGS}",
    ]
}
_IMPERSONAL: dict[str, Any] = {
    **dict.fromkeys(_PERSONAL),
    METADATA: {
        "$cond": [
            book.is_type(_KNOWN, "object"),
            {"$mergeObjects": [_KNOWN, {FLAGS: _OTHER_FLAGS}]},
            _KNOWN,
        ]
    },
    SOCIAL: {
        "$cond": [
            book.is_type(_PROFILES, "object"),
            {Kind.COMPANY.value: _PROFILES, Kind.PERSON.value: {}},
            None,
        ]
    },
}
_WITHOUT_PERSON: book.Pipeline = [
    {
        "$set": {
            _DATA: {
                "$cond": [
                    book.is_type(f"${_DATA}", "object"),
                    {"$mergeObjects": [f"${_DATA}", _IMPERSONAL]},
                    f"${_DATA}",
                ]
            },
            "updated_at": "$$NOW",
        }
    },
    {
        "$unset": [
            f"{_DATA}.{METADATA}.{where}.{section}"
            for where in BY_FIELD
            for section in (*_PERSONAL, f"{SOCIAL}.{Kind.PERSON}")
        ]
    },
]

_SKIPPED: book.Pipeline = [
    {
        "$set": {
            "enrichment_status": Status.SKIPPED,
            "enrichment_error": Reason.SUPPRESSED.sentence,
            "enrichment": book.book_with(
                {
                    "token": {"$add": [{"$ifNull": [book.TOKEN, 0]}, 1]},
                    "claim_id": None,
                    "holder": None,
                    "attempts": 0,
                    "answered": {},
                    "released": False,
                }
            ),
        }
    },
    {
        "$unset": [
            f"enrichment.{name}"
            for name in (
                *("inputs", "subject", "due_at", "queued_at"),
                *("refresh_since", "backfill", "held_by"),
            )
        ]
    },
]
