"""How many persons objected at one vendor lately, counted by the whole fleet.

    _id       "objections:<vendor>", in `enricher_limits`
    persons   [{entry, at, by, answers}]   of the last ten minutes, in the order of their first objection

`entry` is a part of the keyed hash of the address. `answers` is what the process `by` has had from the provider
in that time: the fleet's answers are the sum over the processes that met an objection. Those that met none
are left out, so that the share of objections comes out too large rather than too small.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pymongo import ReturnDocument
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import DuplicateKeyError

from enricher.calls.breaker import WINDOW_SECONDS, Objecting
from enricher.lead import Document
from enricher.limits.bucket import COLLECTION
from enricher.values.storable import mapping

_MOST_PERSONS = 200
_ENTRY_DIGITS = 16

Expression = Any


@dataclass(slots=True)
class Objections:
    """Of all vendors. Raises DatabaseTrouble, and is safe to repeat."""

    database: AsyncDatabase[Document]
    _by: str = field(default_factory=lambda: uuid.uuid4().hex)

    async def note(self, vendor: str, entry: str, answers: int) -> Objecting:
        """One person objected; `answers` is what this process has had from the provider lately."""
        entry = entry[:_ENTRY_DIGITS]
        document = await self._apply(f"objections:{vendor}", self._noting(entry, answers))
        persons = [mapping(each) for each in document.get("persons") or ()]
        entries = [each.get("entry") for each in persons]
        place = entries.index(entry) + 1 if entry in entries else len(entries) + 1
        return Objecting(place, max(len(entries), place), _answers(persons))

    def _noting(self, entry: str, answers: int) -> list[Document]:
        person = {"entry": entry, "at": "$$NOW", "by": self._by, "answers": answers}
        known = {"$in": [entry, "$persons.entry"]}
        return [
            {"$set": {"persons": _LATELY}},
            {
                "$set": {
                    "persons": {
                        "$cond": [known, "$persons", {"$concatArrays": ["$persons", [person]]}]
                    }
                }
            },
            {"$set": {"persons": {"$slice": ["$persons", _MOST_PERSONS]}}},
        ]

    async def _apply(self, id_: str, stages: list[Document]) -> Document:
        try:
            return await self._find_and_update(id_, stages)
        except DuplicateKeyError:  # another daemon has just made it
            return await self._find_and_update(id_, stages)

    async def _find_and_update(self, id_: str, stages: list[Document]) -> Document:
        collection: AsyncCollection[Document] = self.database[COLLECTION]
        document = await collection.find_one_and_update(
            {"_id": id_}, stages, upsert=True, return_document=ReturnDocument.AFTER
        )
        return document or {}


_LATELY: Expression = {
    "$filter": {
        "input": {"$cond": [{"$isArray": "$persons"}, "$persons", []]},
        "cond": {
            "$and": [
                {"$eq": [{"$type": "$$this.at"}, "date"]},
                {
                    "$gt": [
                        "$$this.at",
                        {"$subtract": ["$$NOW", round(1000 * WINDOW_SECONDS)]},
                    ]
                },
            ]
        },
    }
}


def _answers(persons: Sequence[Mapping[str, Any]]) -> int:
    latest = {each.get("by"): each.get("answers") for each in persons}
    return sum(each for each in latest.values() if isinstance(each, int))
