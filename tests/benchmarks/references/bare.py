"""The practical ceiling: the same calls and the same coalesced writes, and nothing else.

No claim, no fence, no limiter, no retry, no cache, no metric, no log: tasks take leads from one read
of the collection, ask both vendors at once with the daemon's HTTP client, and a writer puts what has
gathered meanwhile into the database, one `bulk_write` at a time, as safely as the daemon does
(`w="majority"`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping

import uvloop
from pymongo import AsyncMongoClient, UpdateOne
from pymongo.asynchronous.collection import AsyncCollection
from yarl import URL

from enricher.answer import Reply
from enricher.providers.transport import Client, open_client
from tests.benchmarks.references.record import (
    HEADERS,
    Document,
    Orders,
    forever,
    questions,
    update,
)


async def _ask(http: Client, url: str, params: Mapping[str, str]) -> bytes:
    reply = await http.fetch("GET", URL(url).with_query(params), HEADERS)
    assert isinstance(reply, Reply)
    return reply.body


async def _enrich(http: Client, vendors: str, lead: Document) -> UpdateOne:
    asked = (_ask(http, *question) for question in questions(vendors, lead["email"]))
    return UpdateOne({"_id": lead["_id"]}, update(*await asyncio.gather(*asked)))


async def _write(
    leads: AsyncCollection[Document], queue: asyncio.Queue[UpdateOne], count: int
) -> None:
    while count:
        batch = [await queue.get()]
        while not queue.empty():
            batch.append(queue.get_nowait())
        await leads.bulk_write(batch, ordered=False)
        count -= len(batch)


async def _work(
    http: Client,
    vendors: str,
    todo: Iterator[Document],
    done: asyncio.Queue[UpdateOne],
) -> None:
    for lead in todo:
        done.put_nowait(await _enrich(http, vendors, lead))


async def _drain(orders: Orders) -> None:
    client: AsyncMongoClient[Document] = AsyncMongoClient(orders.uri, w="majority")
    async with client, open_client() as http:
        leads = client[orders.database]["leads"]
        found = await leads.find({}, {"email": 1}).to_list()
        todo, done = iter(found), asyncio.Queue[UpdateOne]()
        async with asyncio.TaskGroup() as group:
            group.create_task(_write(leads, done, len(found)))
            for _ in range(orders.in_flight):
                group.create_task(_work(http, orders.vendors, todo, done))
        await forever()


if __name__ == "__main__":
    uvloop.run(_drain(Orders.read()))
