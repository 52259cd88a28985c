"""What one writes first: `async for change in leads.watch()`, and a task for each lead.

A semaphore bounds the tasks; each does one `find_one_and_update`, asks both vendors at once over one
shared client, and ends with one `update_one`. The stream begins where the leads were inserted.
"""

from __future__ import annotations

import asyncio

import httpx
import uvloop
from bson import Timestamp
from pymongo import AsyncMongoClient
from pymongo.asynchronous.collection import AsyncCollection

from tests.benchmarks.references.record import HEADERS, Document, Orders, questions, update


async def _enrich(
    leads: AsyncCollection[Document], http: httpx.AsyncClient, vendors: str, id_: object
) -> None:
    lead = await leads.find_one_and_update(
        {"_id": id_, "enrichment_status": "pending"}, {"$set": {"enrichment_status": "processing"}}
    )
    if lead is None:
        return
    company, verdict = await asyncio.gather(
        *(
            http.get(url, params=params, headers=HEADERS)
            for url, params in questions(vendors, lead["email"])
        )
    )
    await leads.update_one({"_id": id_}, update(company.content, verdict.content))


async def _watch(orders: Orders) -> None:
    at_a_time = asyncio.Semaphore(orders.in_flight)
    connections = 2 * orders.in_flight
    limits = httpx.Limits(max_connections=connections, max_keepalive_connections=connections)
    client: AsyncMongoClient[Document] = AsyncMongoClient(orders.uri)
    async with client, httpx.AsyncClient(limits=limits) as http, asyncio.TaskGroup() as tasks:
        leads = client[orders.database]["leads"]

        async def work(id_: object) -> None:
            try:
                await _enrich(leads, http, orders.vendors, id_)
            finally:
                at_a_time.release()

        inserts = [{"$match": {"operationType": "insert"}}]
        since = Timestamp(*map(int, orders.since.split(",")))
        async with await leads.watch(inserts, start_at_operation_time=since) as changes:
            async for change in changes:
                await at_a_time.acquire()
                tasks.create_task(work(change["documentKey"]["_id"]))


if __name__ == "__main__":
    uvloop.run(_watch(Orders.read()))
