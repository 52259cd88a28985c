"""Sample leads for the MongoDB of the settings, one after another until it is told to stop.

The writer in `compose.yaml`, and no command: nobody should come upon it who has a database of his own.

    MONGODB_URI=... python -m enricher.demo.writer
"""

from __future__ import annotations

import asyncio
import signal
import sys

from pymongo import AsyncMongoClient

from enricher.demo.leads import sample_leads
from enricher.errors import SettingsError
from enricher.lead import Document
from enricher.outage import pause
from enricher.settings import MongoSettings, load

LEADS_A_SECOND = 2.0
_FOR_EVER = 10**9


async def write(mongo: MongoSettings, stop: asyncio.Event, seconds: float) -> None:
    """One lead every so many seconds. The driver waits for a primary; what it gives up on is raised."""
    if mongo.uri is None:
        raise SettingsError(["MONGODB_URI: expected the address of a MongoDB to write leads to"])
    client: AsyncMongoClient[Document] = AsyncMongoClient(mongo.uri.get_secret_value())
    async with client:
        leads = client[mongo.database][mongo.collection]
        for lead in sample_leads(_FOR_EVER):
            await leads.insert_one(lead)
            await pause(stop, seconds)
            if stop.is_set():
                return


async def _until_told_to_stop() -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await write(load().mongo, stop, 1 / LEADS_A_SECOND)


if __name__ == "__main__":
    try:
        asyncio.run(_until_told_to_stop())
    except SettingsError as error:
        sys.exit(str(error))
