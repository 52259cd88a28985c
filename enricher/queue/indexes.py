"""Every index, in one place: ensured at start, verified by `enricher check`.

On a large collection that takes minutes, and goes on beside the work (`enricher/queue/indexes.py`).

The claim query reads keys only for leads that are work: `pending` leads stand in partial indexes
that a settled lead leaves, and the due index is read from its beginning to now. A single key that
is part of an array would turn that bound off for the whole index, so garbage must not get into it:
it holds only leads with a due date. (Measured: one lead with `enrichment: ["x"]` in a full index,
and every claim read the keys of all leads that have a due date.)
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import bson
import pymongo
from loguru import logger
from pymongo import ASCENDING, DESCENDING, IndexModel
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import OperationFailure

from enricher.fields import NAMES, Names
from enricher.lead import Document, Status
from enricher.mongo import DatabaseTrouble, outage
from enricher.mongo.expressions import COLLATED, SIMPLE
from enricher.mongo.outage import Outage, is_denied, is_refusal, pause
from enricher.queue import book, unmoved
from enricher.queue.book import BY_ID, EPOCH
from enricher.queue.leads import Leads
from enricher.queue.worker import Bell

_BUILD_SECONDS = 6 * 3600.0
"""Replaces the usual time limit of an operation: an index on millions of leads takes a while."""
_SOON_MADE = 10_000
"""Documents: reading them takes a fraction of a second."""


def _only_pending(names: Names) -> Document:
    return {names.enrichment_status: Status.PENDING.value}


def _by_status(names: Names, name: str, status: Status | None) -> IndexModel:
    path = names.enrichment_status
    return IndexModel(
        [(path, ASCENDING)],
        name=f"{name}{names.suffix}",
        partialFilterExpression={path: None if status is None else status.value},
    )


def of_leads(names: Names) -> tuple[IndexModel, ...]:
    """Return all indexes of a leads collection whose fields have these names."""
    status, due_at, held_by = names.enrichment_status, *map(names.of_book, ("due_at", "held_by"))
    priority, queued_at = map(names.of_book, ("priority", "queued_at"))
    mailbox, suffix = book.mailbox(names), names.suffix
    return (
        IndexModel(
            [(status, ASCENDING), (priority, DESCENDING), (queued_at, ASCENDING)],
            name=f"enricher_pending_by_priority{suffix}",
            partialFilterExpression=_only_pending(names),
        ),
        IndexModel(
            [(status, ASCENDING), (queued_at, ASCENDING)],
            name=f"enricher_fresh_by_age{suffix}",
            partialFilterExpression={**_only_pending(names), **book.fresh(names)},
        ),
        IndexModel(
            [(status, ASCENDING), (due_at, ASCENDING)],
            name=f"enricher_due{suffix}",
            partialFilterExpression={due_at: {"$gt": EPOCH}},
        ),
        _by_status(names, "enricher_without_status", None),
        # For counts that people ask for; no claim reads them. Leads that complete are in none of them.
        _by_status(names, "enricher_failed", Status.FAILED),
        _by_status(names, "enricher_skipped", Status.SKIPPED),
        IndexModel(
            [(status, ASCENDING), (held_by, ASCENDING)],
            name=f"enricher_parked{suffix}",
            partialFilterExpression={status: Status.RETRYING.value, held_by: {"$exists": True}},
        ),
        # Few leads are in these two, and none that takes the usual course.
        IndexModel(
            [(status, ASCENDING)],
            name=f"{unmoved.INDEX}{suffix}",
            partialFilterExpression=unmoved.filter_of(names),
        ),
        IndexModel(
            unmoved.lost_date_keys(names),
            name=f"enricher_undated{suffix}",
            partialFilterExpression=unmoved.lost_date_filter(names),
        ),
        # Finds a person who is to be forgotten, in every lead that holds data about them.
        IndexModel(
            [(mailbox, ASCENDING)],
            name=f"enricher_mailbox{suffix}",
            partialFilterExpression={mailbox: {"$type": "string"}},
        ),
    )


def _of_a_claim(names: Names) -> Mapping[str, Document]:
    """Return the indexes without which a search for work reads every lead, each with a query that it can answer."""
    return {
        f"enricher_pending_by_priority{names.suffix}": _only_pending(names),
        f"enricher_fresh_by_age{names.suffix}": {**_only_pending(names), **book.fresh(names)},
        f"enricher_due{names.suffix}": {names.of_book("due_at"): {"$gt": EPOCH}},
    }


def _by_text(names: Names) -> IndexModel:
    keys = [("_id", ASCENDING), (names.enrichment_status, ASCENDING)]
    return IndexModel(keys, name=f"enricher_by_id{names.suffix}", collation=SIMPLE)


class Indexes:
    """The indexes of one leads collection."""

    def __init__(self, leads: AsyncCollection[Document], names: Names = NAMES) -> None:
        self._leads = leads
        self._of_leads = of_leads(names)
        self._of_a_claim = _of_a_claim(names)
        self._by_text = _by_text(names)
        self.by_id = BY_ID
        """Name of the index that finds a lead by id, as far as is known."""
        self.are_coming = False
        """True while the claim's indexes are being built: a search for work would read every lead."""

    async def are_soon_made(self) -> bool:
        """Return whether building takes no time, as far as that can be told."""
        try:
            return await self._leads.estimated_document_count() <= _SOON_MADE
        except OperationFailure as error:
            if not is_denied(error):
                raise
            return False

    async def look(self) -> None:
        """Find out whether the claim's indexes are usable, by a query with each. A list of indexes would
        not tell, because it names those still being built as well."""
        wanted = self._wanted(await self._present() or {})
        ending = "" if wanted == list(self._of_leads) else COLLATED
        are_there = [
            await self._answers(f"{name}{ending}", question)
            for name, question in self._of_a_claim.items()
        ]
        self.are_coming = not all(are_there)

    async def _answers(self, name: str, question: Document) -> bool:
        try:
            await self._leads.find_one(question, {"_id": 1}, hint=name)
        except OperationFailure as error:
            if not is_refusal(error):
                raise
            return False
        return True

    async def ensure_by_id(self) -> None:
        """Create the index that finds leads by id under a collation: without it nothing can be done."""
        if self._by_text in self._wanted(await self._present() or {}):
            with suppress(OperationFailure), pymongo.timeout(_BUILD_SECONDS):
                await self._leads.create_indexes([self._by_text])
            await self._note_by_id()

    async def ensure(self) -> bool:
        """Create what is missing. Logs what a user may not create; the work goes on, slowly. Return True
        when all are there."""
        are_there = True
        wanted = self._wanted(await self._present() or {})
        try:
            with pymongo.timeout(_BUILD_SECONDS):
                await self._create(wanted)
        except OperationFailure as error:
            if outage.is_step_down(error):
                raise
            are_there = False
            missing = await self.missing()
            if missing is None:
                logger.bind(lacking="createIndex, listIndexes").error("indexes.unknown")
            elif missing:
                logger.bind(missing=", ".join(missing), code=error.code).error("indexes.missing")
        self.are_coming = False
        await self._note_by_id()
        return are_there

    async def _note_by_id(self) -> None:
        by_text = _name(self._by_text)
        self.by_id = by_text if by_text in (await self._present() or {}) else BY_ID

    async def _create(self, wanted: Sequence[IndexModel]) -> None:
        """Create all in one scan of the collection; if one is refused, still create the others."""
        try:
            await self._leads.create_indexes(list(wanted))
        except OperationFailure:
            for index in wanted:
                with suppress(OperationFailure):
                    await self._leads.create_indexes([index])
            raise

    async def collection_exists(self) -> bool:
        """Return whether the collection exists. After a drop or rename we must not create it in a user's way."""
        names = await self._leads.database.list_collection_names(
            filter={"name": self._leads.name},
            authorizedCollections=True,  # or it takes a privilege on the whole database
        )
        return bool(names)

    async def missing(self) -> list[str] | None:
        """Return the names of the indexes that are missing, or that have another definition.

        `None` for a user who may not list them (`listIndexes`).
        """
        if (present := await self._present()) is None:
            return None
        found = {name: _meaning(index) for name, index in present.items()}
        wanted = {_name(index): _meaning(index.document) for index in self._wanted(present)}
        return [name for name, meaning in wanted.items() if found.get(name) != meaning]

    async def _present(self) -> Mapping[str, Any] | None:
        try:
            return await self._leads.index_information()
        except OperationFailure as error:
            if error.code != outage.UNAUTHORIZED:
                raise
            return None

    def _wanted(self, present: Mapping[str, Any]) -> list[IndexModel]:
        if "collation" not in present.get(BY_ID, {}):
            return list(self._of_leads)
        return [self._by_text, *(_simple(index) for index in self._of_leads)]


def _simple(index: IndexModel) -> IndexModel:
    document = index.document
    return IndexModel(
        list(document["key"].items()),
        name=f"{document['name']}{COLLATED}",
        partialFilterExpression=document["partialFilterExpression"],
        collation=SIMPLE,
    )


def _name(index: IndexModel) -> str:
    return str(index.document["name"])


def _meaning(index: Mapping[str, Any]) -> tuple[list[tuple[str, int]], bytes, str]:
    """Return what a query can use it for. The filter is BSON, because the driver reads its date without a zone."""
    locale = index.get("collation", SIMPLE)["locale"]
    filter_ = bson.encode(index.get("partialFilterExpression", {}))
    return list(dict(index["key"]).items()), filter_, locale


# Builds the indexes of the leads beside the work.
#
# On a collection of millions that takes minutes, in which new leads come. They are admitted and worked on
# all the same: until the indexes stand, claims go by what the stream tells (`queue/lanes.py`), and whoever
# counts, sweeps or calls leads back waits. What only a search can find waits as well: leads that were
# `pending` or in work before.
#
# Whoever comes second joins: the server builds an index once, and answers all who ask for it. It also goes
# on when the one who asked is killed, or begins anew after its own restart.

_FIRST_LINE_SECONDS = 1.0
_LINE_EVERY_SECONDS = 30.0
_LOOK_EVERY_SECONDS = 5.0


@dataclass(slots=True)
class Building:
    """The build of one leads collection's indexes."""

    indexes: Indexes
    leads: Leads
    bell: Bell
    outage: Outage = field(default_factory=lambda: Outage("indexes"))
    waits_for_collection: bool = False
    """The collection was dropped, and we do not create it."""
    look_every_seconds: float = 30.0
    """No stream tells that somebody dropped indexes, or results that stand beside the leads."""
    _is_wanted: asyncio.Event = field(init=False, default_factory=asyncio.Event)
    _since: float | None = field(init=False, default=None)
    _were_made: bool = field(init=False, default=False)

    async def begin(self) -> None:
        """Create what work needs: all indexes where that is quick, else the rest later. Raises DatabaseTrouble."""
        if await self.indexes.are_soon_made():
            self._were_made = await self.indexes.ensure()
        else:
            await self.indexes.ensure_by_id()
            await self.indexes.look()
            self._is_wanted.set()
        self._pass_on()

    def want(self) -> None:
        """Ask for a build, because another collection may have taken the place."""
        self.waits_for_collection, self.indexes.are_coming = False, True
        self._pass_on()
        self._is_wanted.set()

    @property
    def seconds(self) -> float | None:
        """How long the build has been going on; `None` when nothing is being built."""
        return None if self._since is None else time.monotonic() - self._since

    async def run(self, stop: asyncio.Event) -> None:
        """Build on demand until told to stop, or cancelled: the server finishes a build that it began."""
        while not stop.is_set():
            try:
                await self._until_wanted()
                self._is_wanted.clear()
                await self._build()
            except DatabaseTrouble as error:
                self._is_wanted.set()
                await pause(stop, self.outage.failed(error))
            else:
                self.outage.succeeded()

    async def _until_wanted(self) -> None:
        """Wait for a request. Look for a missing collection too: its return may pass unnoticed."""
        if self.waits_for_collection:
            await pause(self._is_wanted, _LOOK_EVERY_SECONDS)
        elif self._were_made:
            await self._until_lost()
        else:
            await self._is_wanted.wait()

    async def _until_lost(self) -> None:
        while not self._is_wanted.is_set() and not self.indexes.are_coming:
            await pause(self._is_wanted, self.look_every_seconds)
            with suppress(
                *DatabaseTrouble
            ):  # others tell of an outage, and the next look comes soon
                await self.indexes.look()

    async def _build(self) -> None:
        if not await self.indexes.collection_exists():
            self.waits_for_collection, self.indexes.are_coming = True, False
            self._pass_on()
            return
        self.waits_for_collection = False
        await self.indexes.ensure_by_id()
        await self.indexes.look()
        self._pass_on()
        telling = asyncio.create_task(self._tell(), name="indexes-telling")
        try:
            are_there = await self.indexes.ensure()
        finally:
            telling.cancel()
            await asyncio.wait([telling])
            self._show(0)
        self._were_made = are_there
        self._end(are_there=are_there)

    async def _tell(self) -> None:
        """Log that a build goes on, unless it is over at once. The server does not show how far it is."""
        self._since = self._since or time.monotonic()
        await asyncio.sleep(_FIRST_LINE_SECONDS)
        self._show(1)
        while True:
            logger.bind(seconds=round(self.seconds or 0.0)).info("indexes.building")
            await asyncio.sleep(_LINE_EVERY_SECONDS)

    def _show(self, is_under_way: float) -> None:
        self.leads.gauges.preparing["indexes"](is_under_way)

    def _end(self, *, are_there: bool) -> None:
        seconds, self._since = self.seconds or 0.0, None
        if are_there and seconds >= _FIRST_LINE_SECONDS:
            logger.bind(seconds=round(seconds, 1)).info("indexes.built")
        self._pass_on()
        self.bell.ring()

    def _pass_on(self) -> None:
        self.leads.by_id = self.indexes.by_id
        self.leads.go_by_what_is_heard(self.indexes.are_coming)
