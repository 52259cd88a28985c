"""arq: one worker with one shared `httpx` client; `python -m ...` runs it, the writer enqueues.

As its documentation has it: the client is opened in `on_startup`, results are not kept, and
`max_jobs` is what gave the most here.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import httpx
import uvloop
from arq import Worker, create_pool
from arq.connections import RedisSettings
from pymongo import AsyncMongoClient

from tests.benchmarks.references.record import HEADERS, Document, Orders, questions, update

LIMITS = httpx.Limits(max_connections=256, max_keepalive_connections=256)


async def enrich(ctx: dict[str, Any], id_: Any) -> None:
    """One job: read the lead, ask both vendors, write."""
    leads, http, vendors = ctx["leads"], ctx["http"], ctx["vendors"]
    lead = await leads.find_one({"_id": id_})
    company, verdict = await asyncio.gather(
        *(
            http.get(url, params=params, headers=HEADERS)
            for url, params in questions(vendors, lead["email"])
        )
    )
    await leads.update_one({"_id": id_}, update(company.content, verdict.content))


async def _enqueue(orders: Orders, count: int) -> None:
    """What the writer does after its inserts."""
    pool = await create_pool(RedisSettings.from_dsn(orders.redis))
    for id_ in range(count):
        await pool.enqueue_job("enrich", id_)
    await pool.aclose()


async def _work(orders: Orders) -> None:
    client: AsyncMongoClient[Document] = AsyncMongoClient(orders.uri)

    async def on_startup(ctx: dict[str, Any]) -> None:
        ctx["leads"] = client[orders.database]["leads"]
        ctx["http"] = httpx.AsyncClient(limits=LIMITS)
        ctx["vendors"] = orders.vendors

    worker = Worker(
        functions=[enrich],
        redis_settings=RedisSettings.from_dsn(orders.redis),
        on_startup=on_startup,
        max_jobs=orders.in_flight,
        keep_result=0,
        handle_signals=False,
    )
    await worker.async_run()


if __name__ == "__main__":
    if sys.argv[1:2] == ["enqueue"]:
        uvloop.run(_enqueue(Orders.read(), int(sys.argv[2])))
    else:
        uvloop.run(_work(Orders.read()))
