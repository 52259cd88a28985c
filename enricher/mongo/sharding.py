"""By which keys our collections are sharded: only by `_id` does each of our writes go to one shard.

A router's `config.collections` has a document for each sharded collection, and some for others:

    _id           str   "crm.leads"
    key           doc   the shard key: `{"_id": "hashed"}`
    unsplittable  bool  true: tracked (MongoDB 8.0), but all of it is on one shard
    dropped       bool  true: it was dropped (before MongoDB 5.0)

Reading it takes a privilege on another database, which the work does not need. `$listClusterCatalog` would
need none, but MongoDB (8.0.10 and later) does not promise what it returns.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from pymongo import AsyncMongoClient
from pymongo.errors import OperationFailure

from enricher.lead import Document
from enricher.mongo.outage import is_denied, is_refusal

ShardKey: TypeAlias = Mapping[str, Any]
"""Field -> 1 or "hashed", in the order of the key."""

BY_ID = '{_id: "hashed"}'


async def read(
    client: AsyncMongoClient[Document], names: Iterable[str]
) -> dict[str, ShardKey] | None:
    """Return name (`crm.leads`) -> key of those that are sharded; `None` where we may not read it.

    Raises DatabaseTrouble.
    """
    entries = client["config"]["collections"]
    try:
        return sharded(await entries.find({"_id": {"$in": list(names)}}).to_list())
    except OperationFailure as error:
        if is_denied(error) or is_refusal(error):
            return None
        raise


def sharded(entries: Iterable[Document]) -> dict[str, ShardKey]:
    """PURE Return name -> key, without collections that are whole or gone."""
    return {
        entry["_id"]: entry["key"]
        for entry in entries
        if entry.get("key") and not entry.get("unsplittable") and not entry.get("dropped")
    }


def describe(name: str, key: ShardKey) -> str:
    """PURE Return what this key means for our writes, and what to do about it.

    A key that begins with `_id` sends a write by `_id` to the one shard that has this part of the range.
    """
    is_sharded = f"{name} is sharded by {_text(key)}"
    if next(iter(key)) == "_id":
        return f"{is_sharded}: each write goes to one shard"
    mend = f'sh.reshardCollection("{name}", {BY_ID}) ends that'
    return f"{is_sharded}: writes by _id go to all shards; {mend}"


def _text(key: ShardKey) -> str:
    """PURE Return the key as the shell shows it; the router may hold its numbers as doubles."""
    parts = (f'{f}: "{how}"' if isinstance(how, str) else f"{f}: {how:g}" for f, how in key.items())
    return f"{{{', '.join(parts)}}}"
