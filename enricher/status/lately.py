"""Which leads tell what providers were worth lately: all that were enriched since then, or a part chosen by chance.

No index finds them: it would have to be written for each lead that completes, and be read once a day. So a
collection of up to `MOST_READ` documents is read from end to end, which takes a second or two. Of a larger one MongoDB
takes some by chance, wherever they stand, in the same time whatever its size. Of those that were enriched since
then, at most so many as the caller wants are taken, by chance too. What is counted then stands for as many times more
(`factor`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from pymongo.asynchronous.collection import AsyncCollection

from enricher.lead import Document
from enricher.values.merge import METADATA

MOST_READ = 200_000
MOST_SAMPLED = 40_000
_SHARE = 21
"""One document in so many at most: for a twentieth MongoDB would read and sort the whole collection."""


@dataclass(frozen=True, slots=True)
class RecentLeads:
    """The leads of a collection that were enriched lately."""

    leads: int
    """How many there are; estimated in a large collection."""
    taken: int
    """How many of them are taken; about, in a large collection."""
    stages: Sequence[Document]
    """The beginning of a pipeline that takes them."""

    @property
    def factor(self) -> float:
        """How many leads one that is taken stands for."""
        return self.leads / self.taken if self.taken else 1.0

    @property
    def is_estimate(self) -> bool:
        return self.leads > self.taken


async def enriched_since(
    leads: AsyncCollection[Document],
    since: datetime,
    data: str,
    most: int,
    most_read: int = MOST_READ,
) -> RecentLeads:
    """Choose at most so many leads; `data` is the path of `enriched_data`. Raises DatabaseTrouble."""
    at = f"{data}.{METADATA}.enriched_at"
    match: Document = {"$match": {at: {"$gte": f"{since:%Y-%m-%dT%H:%M:%S}"}}}
    documents, read = await leads.estimated_document_count(), [match]
    size = documents
    if documents > most_read:
        size = min(MOST_SAMPLED, max(1, documents // _SHARE))
        read = [{"$sample": {"size": size}}, match]
    found = await _count(leads, read)
    there = round(found * documents / size) if size else found
    if found > most:
        read.append({"$sample": {"size": most}})
    return RecentLeads(there, min(found, most), read)


async def _count(leads: AsyncCollection[Document], stages: Sequence[Document]) -> int:
    counted = await leads.aggregate([*stages, {"$count": "leads"}])
    return sum([int(each["leads"]) async for each in counted])
