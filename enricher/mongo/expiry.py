"""Documents that go by themselves at their `expires_at`; those without one stay."""

from __future__ import annotations

from loguru import logger
from pymongo import ASCENDING
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import OperationFailure

from enricher.lead import Document
from enricher.mongo import refusal

_CONFLICTS = (67, 85, 86)
"""Another index stands in the way."""


async def ensure(collection: AsyncCollection[Document], name: str) -> None:
    """Have what has expired deleted. A user who may not is told so; the work goes on."""
    try:
        await collection.create_index([("expires_at", ASCENDING)], name=name, expireAfterSeconds=0)
    except OperationFailure as error:
        if error.code != refusal.UNAUTHORIZED and error.code not in _CONFLICTS:
            raise
        logger.bind(missing=name, code=error.code).error("indexes.missing")
