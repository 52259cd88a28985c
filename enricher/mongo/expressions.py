"""Expressions that any collection may need, and how an `_id` becomes a key."""

from __future__ import annotations

import copy
from collections.abc import Coroutine, Mapping, Sequence
from datetime import timedelta
from typing import Any

import bson
import pymongo
from pymongo import AsyncMongoClient
from pymongo.asynchronous.change_stream import AsyncCollectionChangeStream
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.command_cursor import AsyncCommandCursor
from pymongo.asynchronous.cursor import AsyncCursor
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.results import BulkWriteResult, DeleteResult, UpdateResult

from enricher.lead import Document, LeadId

Expression = Any


Pipeline = list[dict[str, Any]]


def is_type(path: str, name: str) -> Expression:
    """Return an expression that is true when the field has that BSON type."""
    return {"$eq": [{"$type": path}, name]}


def in_milliseconds(delay: timedelta) -> Expression:
    """Return `delay` from now by the server's clock: the only clock that all daemons share."""
    return {"$add": ["$$NOW", round(delay.total_seconds() * 1000)]}


def id_key(id_: LeadId) -> bytes:
    """Return an `_id` as a key: one may be a document, and Python considers 1 and `True` equal."""
    return bson.encode({"": id_})


# How the server compares strings for us: byte by byte, whatever collation a collection was created with.
#
# Under a collation of strength 1 or 2 `"PENDING"` equals `"pending"` and `jose@` equals `josé@`: a status
# that is none of ours would be claimed and paid for, and a corrected address would get the old one's
# verdict. So every command of our client names its collation, and so do our indexes, or no query could use
# them. What a user asks for (`--query`) compares as it does for the user: that names `collation=None`.
#
# The index on `_id` has the collection's collation. If that is not the simple one, our commands cannot use
# it for string ids; `queue/indexes.py` creates another there.

SIMPLE = {"locale": "simple"}
COLLATED = "_simple"
"""Suffix of our index names where an index of the plain name may exist with the collection's collation."""


class UpdateOne(pymongo.UpdateOne):
    """One update of a bulk, with the simple collation."""

    def __init__(self, filter: Document, update: Any, *, upsert: bool = False) -> None:  # noqa: A002 - the driver's name
        super().__init__(filter, update, upsert=upsert, collation=SIMPLE)


class _Collection(AsyncCollection[Document]):
    """Names the collation in every command that compares, but in bulks: see `UpdateOne`. Hands on what the
    driver makes, without a step of its own to be woken at each wait."""

    def __init__(
        self, database: AsyncDatabase[Document], name: str, only: Document | None = None
    ) -> None:
        super().__init__(database, name)
        self._only = only or {}

    def find(self, *args: Any, **options: Any) -> AsyncCursor[Document]:
        return super().find(*self._among(args or ({},)), **_simply(options))

    def aggregate(
        self, *args: Any, **options: Any
    ) -> Coroutine[Any, Any, AsyncCommandCursor[Document]]:
        return super().aggregate(*self._reading(args), **_simply(options))

    def count_documents(self, *args: Any, **options: Any) -> Coroutine[Any, Any, int]:
        return super().count_documents(*self._among(args), **_simply(options))

    def update_one(self, *args: Any, **options: Any) -> Coroutine[Any, Any, UpdateResult]:
        return super().update_one(*self._among(args), **_simply(options))

    def update_many(self, *args: Any, **options: Any) -> Coroutine[Any, Any, UpdateResult]:
        return super().update_many(*self._among(args), **_simply(options))

    def delete_one(self, *args: Any, **options: Any) -> Coroutine[Any, Any, DeleteResult]:
        return super().delete_one(*self._among(args), **_simply(options))

    def delete_many(self, *args: Any, **options: Any) -> Coroutine[Any, Any, DeleteResult]:
        return super().delete_many(*self._among(args), **_simply(options))

    def find_one_and_update(
        self, *args: Any, **options: Any
    ) -> Coroutine[Any, Any, Document | None]:
        return super().find_one_and_update(*self._among(args), **_simply(options))

    def bulk_write(
        self, requests: Sequence[Any], *args: Any, **options: Any
    ) -> Coroutine[Any, Any, BulkWriteResult]:
        if self._only:
            requests = [self._one_among(each) for each in requests]
        return super().bulk_write(requests, *args, **options)

    async def watch(
        self, pipeline: Sequence[Mapping[str, Any]] | None = None, *args: Any, **options: Any
    ) -> AsyncCollectionChangeStream[Document]:
        return await super().watch(pipeline, *args, **_simply(options))

    # -- only those documents that meet a condition ----------------------------------------

    def _among(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        return (both(args[0], self._only), *args[1:]) if self._only else args

    def _one_among(self, update: Any) -> Any:
        """Return a copy of one update of a bulk: its own filter stays for who made it."""
        copied = copy.copy(update)
        copied._filter = both(update._filter, self._only)  # noqa: SLF001 - the driver has no other way
        return copied

    def _reading(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        stages, *others = args
        return ([*self._first, *map(self._joined, stages)] if self._only else stages, *others)

    @property
    def _first(self) -> Pipeline:
        return [{"$match": self._only}]

    def _joined(self, stage: Document) -> Document:
        union = stage.get("$unionWith")
        if union is None or union["coll"] != self.name:
            return stage
        return {"$unionWith": {**union, "pipeline": [*self._first, *union["pipeline"]]}}


def both(filter_: Document | None, only: Document) -> Document:
    """Return the filter of documents that meet both; the first by itself where there is no condition."""
    return {"$and": [filter_ or {}, only]} if only else filter_ or {}


def within(collection: AsyncCollection[Document], only: Document) -> AsyncCollection[Document]:
    """Return the collection as if it held only the documents that meet a condition.

    Whatever is read, counted or written through it concerns those alone, by the server's own judgement at that
    moment: no caller can forget the condition. Without one it is the collection itself.
    """
    return _Collection(collection.database, collection.name, only) if only else collection


def whole(collection: AsyncCollection[Document]) -> AsyncCollection[Document]:
    """Return the collection without a condition: with the documents that `within` hides."""
    return _Collection(collection.database, collection.name)


def condition_of(collection: AsyncCollection[Document]) -> Document:
    """Return the condition that documents must meet to be seen through this collection; empty for none."""
    return collection._only if isinstance(collection, _Collection) else {}  # noqa: SLF001 - its own module


class _Database(AsyncDatabase[Document]):
    def __getitem__(self, name: str) -> AsyncCollection[Document]:
        return _Collection(self, name)


class SimpleClient(AsyncMongoClient[Document]):
    """A client all of whose commands compare byte by byte."""

    def __getitem__(self, name: str) -> AsyncDatabase[Document]:
        return _Database(self, name)


def _simply(options: dict[str, Any]) -> dict[str, Any]:
    return {"collation": SIMPLE, **options}
