"""Celery with Redis: the design that the daemon replaces. The writer enqueues one task per lead.

A prefork worker per core; each task reads its lead, runs `asyncio.run` over one new
`httpx.AsyncClient` per vendor call (a client cannot outlive the loop that it was used in, so nothing
can be shared between tasks), and writes the result. At their best: no results kept, no gossip, no
mingling, no events, a MongoDB client for each worker process.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from typing import Any

import httpx
from celery import Celery
from celery.signals import worker_process_init
from pymongo import MongoClient
from pymongo.collection import Collection

from tests.benchmarks.references.record import HEADERS, Document, Orders, questions, update

ORDERS = Orders.read()
OPTIONS = ("--pool", "prefork", "--without-gossip", "--without-mingle", "--without-heartbeat")
app = Celery("leads", broker=ORDERS.redis)
app.conf.update(task_ignore_result=True, worker_prefetch_multiplier=4)
_of_this_process: dict[str, Collection[Document]] = {}


@worker_process_init.connect  # type: ignore[untyped-decorator]  # Celery has no types
def connect(**_: Any) -> None:
    """MongoDB clients do not survive a fork."""
    client: MongoClient[Document] = MongoClient(ORDERS.uri)
    _of_this_process["leads"] = client[ORDERS.database]["leads"]


async def _ask(url: str, params: Mapping[str, str]) -> bytes:
    async with httpx.AsyncClient() as http:
        return (await http.get(url, params=params, headers=HEADERS)).content


async def _both(email: str) -> tuple[bytes, bytes]:
    first, second = questions(ORDERS.vendors, email)
    return await asyncio.gather(_ask(*first), _ask(*second))


@app.task(name="enrich")  # type: ignore[untyped-decorator]  # Celery has no types
def enrich(id_: Any) -> None:
    """One task: read the lead, ask both vendors, write."""
    leads = _of_this_process["leads"]
    lead = leads.find_one({"_id": id_})
    assert lead is not None
    leads.update_one({"_id": id_}, update(*asyncio.run(_both(lead["email"]))))


if __name__ == "__main__":
    if sys.argv[1:2] == ["enqueue"]:
        for number in range(int(sys.argv[2])):
            app.send_task("enrich", (number,))
    else:
        app.worker_main(["worker", "--loglevel", "WARNING", *OPTIONS])
