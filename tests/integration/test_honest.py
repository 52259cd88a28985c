"""The honest writer of the hostile hour: who counts as done."""

from __future__ import annotations

import asyncio
from random import Random

from pymongo.asynchronous.collection import AsyncCollection

from enricher.lead import Document
from tests.chaos.honest import Honest
from tests.support.waiting import eventually


async def test_who_is_done_while_the_collection_is_replaced_is_not_done_yet(
    ours: AsyncCollection[Document],
) -> None:
    honest, stop = Honest(ours, Random(1)), asyncio.Event()
    async with asyncio.TaskGroup() as group:
        writing = group.create_task(honest.write(stop))
        looking = group.create_task(honest.look())
        await eventually(lambda: honest.unfinished)
        async with honest.at_rest():
            (one, *_) = honest.unfinished
            await ours.update_many({}, {"$set": {"enrichment_status": "completed"}})
            await asyncio.sleep(0.3)  # three glances, if there were any
            await ours.update_many({}, {"$set": {"enrichment_status": "processing"}})
        assert one in honest.unfinished
        assert one.disturbed
        await ours.update_many({"_id": one.id_}, {"$set": {"enrichment_status": "completed"}})
        await eventually(lambda: one not in honest.unfinished)
        stop.set()
        await writing
        looking.cancel()
