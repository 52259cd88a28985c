"""The practical ceiling: the same calls and the same writes, and nothing else.

No claim, no fence, no limiter, no retry, no metric, no log: 64 tasks take leads from a list, ask both
vendors at once with the daemon's HTTP client, and a writer puts what has gathered into the database
with one `bulk_write` at a time. Prints leads per second.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Iterator
from typing import Any

import httpx
import uvloop
from pymongo import AsyncMongoClient, UpdateOne
from pymongo.asynchronous.collection import AsyncCollection

from enricher.providers.transport import open_client

CONCURRENCY = 64
HEADERS = {"Authorization": "Bearer simulated", "X-API-KEY": "simulated"}


async def _ask(http: httpx.AsyncClient, url: str, **params: str) -> Any:
    return json.loads((await http.get(url, params=params, headers=HEADERS)).content)


async def _enrich(http: httpx.AsyncClient, vendors: str, lead: dict[str, Any]) -> UpdateOne:
    company, verdict = await asyncio.gather(
        _ask(http, f"{vendors}/clearbit/v2/companies/find", domain=lead["email"].split("@")[1]),
        _ask(http, f"{vendors}/hunter/v2/email-verifier", email=lead["email"]),
    )
    data = {"company_data": company, "email_verification": verdict["data"]}
    values = {"enrichment_status": "completed", "enriched_data": data}
    return UpdateOne({"_id": lead["_id"]}, {"$set": values})


async def _write(
    leads: AsyncCollection[dict[str, Any]], queue: asyncio.Queue[UpdateOne], count: int
) -> None:
    while count:
        batch = [await queue.get()]
        while not queue.empty():
            batch.append(queue.get_nowait())
        await leads.bulk_write(batch, ordered=False)
        count -= len(batch)


async def _work(
    http: httpx.AsyncClient, vendors: str, todo: Iterator[Any], done: asyncio.Queue[UpdateOne]
) -> None:
    for lead in todo:
        done.put_nowait(await _enrich(http, vendors, lead))


async def _drain(uri: str, database: str, vendors: str) -> None:
    client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(uri, w="majority")
    async with client, open_client(2 * CONCURRENCY) as http:
        leads = client[database]["leads"]
        began = time.perf_counter()
        found = await leads.find({}, {"email": 1}).to_list()
        todo, done = iter(found), asyncio.Queue[UpdateOne]()
        async with asyncio.TaskGroup() as group:
            group.create_task(_write(leads, done, len(found)))
            for _ in range(CONCURRENCY):
                group.create_task(_work(http, vendors, todo, done))
        print(len(found) / (time.perf_counter() - began))  # noqa: T201 - the result


if __name__ == "__main__":
    uvloop.run(_drain(*sys.argv[1:4]))
