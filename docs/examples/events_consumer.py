"""Follow what enricher settles, and go on where the last run ended: `MONGODB_URI=… python events_consumer.py`."""

import asyncio
import os

from pymongo import AsyncMongoClient

POSITION = {"_id": "events of enricher"}


async def main() -> None:
    async with AsyncMongoClient(os.environ["MONGODB_URI"]) as client:
        crm = client[os.environ.get("MONGODB_DATABASE", "crm")]
        saved = await crm.positions.find_one(POSITION) or {}
        new = [{"$match": {"operationType": "insert"}}]
        async with await crm.enricher_events.watch(new, resume_after=saved.get("token")) as stream:
            print("watching", flush=True)
            async for change in stream:
                event = change["fullDocument"]
                lead = await crm[event["collection"]].find_one({"_id": event["lead"]})
                if lead is not None:  # an event may come twice, with the same _id
                    print(event["_id"], event["lead"], event["status"], flush=True)
                token = {"token": stream.resume_token}
                await crm.positions.update_one(POSITION, {"$set": token}, upsert=True)


asyncio.run(main())
