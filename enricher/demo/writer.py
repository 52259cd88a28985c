"""Inserts sample leads into the MongoDB of the settings, one after another until it is told to stop.

This is the writer in `compose.yaml`. It is not a command, so that nobody runs it on a real database by accident.

    MONGODB_URI=... python -m enricher.demo.writer
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress

from pymongo import AsyncMongoClient

from enricher.demo.leads import sample_leads
from enricher.errors import SettingsError
from enricher.lead import Document
from enricher.process import signals
from enricher.settings.load import MongoSettings, load

LEADS_A_SECOND = 2.0
_FOR_EVER = 10**9


async def write(mongo: MongoSettings, seconds: float) -> None:
    """Insert one lead every `seconds`. The driver waits for a primary; its final errors are raised."""
    if mongo.uri is None:
        raise SettingsError(["MONGODB_URI: expected the address of a MongoDB to write leads to"])
    client: AsyncMongoClient[Document] = AsyncMongoClient(mongo.uri.get_secret_value())
    async with client:
        leads = client[mongo.database][mongo.collection]
        for lead in sample_leads(_FOR_EVER):
            await leads.insert_one(lead)
            await asyncio.sleep(seconds)


if __name__ == "__main__":
    signals.end_at_once()
    try:
        with suppress(KeyboardInterrupt):  # also while it waits for a primary
            signals.run(write(load().mongo, 1 / LEADS_A_SECOND))
    except SettingsError as error:
        sys.exit(str(error))
