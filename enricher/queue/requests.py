"""Ask for enrichment: `pending`, as any writer may set it, and what only a command can add.

    status            from now on          and besides
    any                pending             a fresh run: attempts and answers of an earlier one are void
      "    refresh     pending             answers that were stored before now do not count
      "    backfill    pending             behind everything else; the lead names the run that asked

A lead that is in work at that moment loses that run, as when a user sets `pending`: the worker
is fenced out and reports it. The same write admits the lead, so it has its priority at once and no
daemon has to notice the change.

Each lead is written by a guarded update of its own in an unordered bulk: unlike `update_many`, the
driver can retry it, and one lead that cannot be written does not hold up the others. A lead that a
writer's transaction holds is waited for once the others of its batch are written.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pymongo
from pymongo import UpdateOne
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import BulkWriteError

from enricher.fields import NAMES, Names
from enricher.lead import Document, LeadId, Status
from enricher.mongo import expressions
from enricher.mongo.expressions import condition_of, id_key, whole
from enricher.mongo.outage import refusals
from enricher.mongo.secret import Keyring
from enricher.queue import book, lanes
from enricher.queue.apart import Apart, Fatal, Step
from enricher.queue.beside import Beside
from enricher.queue.book import EPOCH
from enricher.queue.conditions import leads_among
from enricher.queue.lanes import Aside

# The mark beside a request for newer answers: it proves that one of our commands asked, for this lead.
#
# Kept answers older than `enrichment.refresh_since` do not count, so each request may cost money. Writers can
# put any date there. It counts only with the keyed hash of the lead's `_id` and that date beside it, which
# cannot be made without the fleet's secret. Copied to another lead or date the mark is void; put back on
# the same lead it asks for nothing that was not answered since.

_MILLISECOND = timedelta(milliseconds=1)


def wish(keyring: Keyring, id_: LeadId, since: datetime) -> Document:
    """Return the fields of `enrichment` that ask for answers newer than `since`, by the server's clock."""
    return {
        "refresh_since": {"$literal": since},
        "refresh_mark": {"$literal": _mark(keyring, "refresh", id_, since)},
    }


def wished(keyring: Keyring | None, id_: LeadId, since: object, mark: object) -> datetime | None:
    """PURE Return the date if one of our commands put it there, else `None`."""
    return _ours(keyring, "refresh", id_, since, mark)


def planned(keyring: Keyring, id_: LeadId, since: datetime) -> Document:
    """Return the values of `enrichment` that make the due date a recheck's, for which answers older than `since`
    that gave nothing do not count. The mark is there for the same reason."""
    since = EPOCH + (since - EPOCH) // _MILLISECOND * _MILLISECOND
    return {"recheck_since": since, "recheck_mark": _mark(keyring, "recheck", id_, since)}


def planned_since(
    keyring: Keyring | None, id_: LeadId, since: object, mark: object
) -> datetime | None:
    """PURE Return the date if a settle put it there, else `None`."""
    return _ours(keyring, "recheck", id_, since, mark)


def _ours(
    keyring: Keyring | None, wish_: str, id_: LeadId, since: object, mark: object
) -> datetime | None:
    if keyring is None or not isinstance(since, datetime) or not isinstance(mark, str):
        return None
    is_ours = hmac.compare_digest(mark.encode(), _mark(keyring, wish_, id_, since).encode())
    return since if is_ours else None


def _mark(keyring: Keyring, wish_: str, id_: LeadId, since: datetime) -> str:
    return keyring.key(wish_, id_key(id_).hex(), str((since - EPOCH) // _MILLISECOND))


def _all_of(*conditions: Document | None) -> Document:
    given = [each for each in conditions if each]
    return {"$and": given} if len(given) > 1 else next(iter(given), {})


async def _among(leads: AsyncCollection[Document], found: Sequence[Document]) -> Sequence[Document]:
    return await leads_among(leads, found, {"_id": 1}) if condition_of(leads) else found


_BATCH = 500
_PAUSE_SECONDS = 1.0
SCAN_SECONDS = 3600.0
"""Replaces the usual time limit of an operation: here the server may read every lead."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What became of a request for some leads."""

    set: int = 0
    refused: int = 0
    """MongoDB will never accept the write (too large, a validator, one of our fields is there twice)."""

    def __add__(self, other: Asked) -> Asked:
        return Asked(self.set + other.set, self.refused + other.refused)


@dataclass(frozen=True, slots=True)
class _Asking:
    id: LeadId
    update: UpdateOne


class Requests:
    """Asks for enrichment of leads in one collection. `rank` is `book.priority(...)`."""

    def __init__(
        self,
        leads: AsyncCollection[Document],
        rank: expressions.Expression,
        names: Names = NAMES,
        beside: Beside | None = None,
    ) -> None:
        """`leads` is the collection of the results, where these stand beside the leads."""
        self._leads = leads
        self._beside = beside
        self._of_writers = leads if beside is None else beside.leads
        self._names = names
        self._rank = rank
        self._since: datetime | None = None
        self._fatal = Fatal(leads, Aside())
        self._apart = Apart(fatal=self._fatal)

    async def ask(
        self,
        ids: Sequence[LeadId],
        *,
        only: Document | None = None,
        state: Document | None = None,
        refresh: Keyring | None = None,
        backfill: str | None = None,
    ) -> Asked:
        """Set these leads to `pending`, as far as they still match: `only` by what their writers own, `state` by our
        fields.

        With the fleet's keyring for `refresh`, answers that were stored before now do not count.
        `backfill` is the id of the run that asks; a lead that this run asked for before is left alone, so
        the same page may be asked for again after an interruption.
        """
        asked, of_writers = Asked(), only or {}
        await self._fatal.look()
        if refresh is not None and self._since is None:
            # One moment for all leads: answers that arrive meanwhile are new enough for the rest.
            hello = await self._leads.database.client.admin.command("hello")
            self._since = hello["localTime"].replace(tzinfo=UTC)
        of_another = {self._names.of_book("backfilled_by"): {"$ne": backfill}} if backfill else {}
        only = state if self._is_judged_before else _all_of(only, state)
        guards = [only or {}, of_another, lanes.once(self._names)]
        for first in range(0, len(ids), _BATCH):
            batch = await self._entered(ids[first : first + _BATCH], of_writers)
            updates = [
                _Asking(
                    id_,
                    self._update(
                        {"$and": [{"_id": {"$eq": id_}}, *guards]},
                        self._asking(id_, refresh, backfill),
                    ),
                )
                for id_ in batch
            ]
            written = await self._write_all(updates)
            asked += written
            if written.set + written.refused < len(batch):
                unfit = await lanes.find_unwritable(self._leads, batch, only or {}, self._names)
                asked += Asked(refused=len(unfit))
        return asked

    @property
    def _is_judged_before(self) -> bool:
        """What a user asks for cannot stand in the write: it is about another document, or the write compares byte by
        byte, for the sake of the condition for being a lead."""
        return self._beside is not None or bool(condition_of(self._leads))

    @property
    def _update(self) -> type[UpdateOne]:
        return expressions.UpdateOne if self._is_judged_before else UpdateOne

    async def _entered(self, ids: Sequence[LeadId], only: Document) -> Sequence[LeadId]:
        """Return the leads to ask for: those that still match where the write does not judge that. Where results stand
        beside them, each gets one."""
        if not self._is_judged_before:
            return ids
        match, leads = {"$and": [{"_id": {"$in": list(ids)}}, only]}, self._of_writers
        found = await whole(leads).find(match, {"_id": 1}, collation=None).to_list()
        entered = [each["_id"] for each in await _among(leads, found)]
        if entered and self._beside is not None:
            await self._beside.enter(entered)
        return entered

    async def _write_all(self, updates: Sequence[_Asking]) -> Asked:
        asked = Asked()
        step = Step("ask", self._leads, self._write, lambda each: each.id)
        while updates:
            written = await self._apart.write(step, updates)
            asked = sum((each for _, each in written.parts), asked)
            updates = [each for each in written.blocked if not self._fatal.is_written_off(each.id)]
            asked += Asked(refused=len(written.blocked) - len(updates))
            if updates:
                await asyncio.sleep(_PAUSE_SECONDS)
        return asked

    async def _write(self, asking: Sequence[_Asking]) -> Asked:
        updates = [each.update for each in asking]
        try:
            return Asked((await self._leads.bulk_write(updates, ordered=False)).matched_count)
        except BulkWriteError as error:
            return Asked(int(error.details["nMatched"]), len(refusals(error)))

    def _asking(
        self, id_: LeadId, refresh: Keyring | None, backfill: str | None
    ) -> expressions.Pipeline:
        values: Document = {"released": False}
        if refresh is not None and self._since is not None:
            values |= wish(refresh, id_, self._since)
        if backfill is not None:
            values |= {"backfill": True, "backfilled_by": {"$literal": backfill}}
        names = self._names
        status = {
            names.enrichment_status: Status.PENDING,
            names.enrichment: book.book_with(names, values),
        }
        urgent = [{"$unset": [names.of_book("backfill")]}] if backfill is None else []
        return [{"$set": status}, *urgent, *book.admission(names, self._rank, is_behind=False)]

    def in_state(self, match: Document) -> AsyncGenerator[list[LeadId], None]:
        """Yield the ids of leads that match by our fields, as `matching` does."""
        return self._matching(self._leads, match)

    def matching(self, match: Document) -> AsyncGenerator[list[LeadId], None]:
        """Yield the ids of leads that match by what their writers own."""
        return self._matching(self._of_writers, match)

    async def _matching(
        self, leads: AsyncCollection[Document], match: Document
    ) -> AsyncGenerator[list[LeadId], None]:
        """Yield ids in batches, in the order of ids: a lead that is written meanwhile
        must not come a second time, as it would if an index on the written fields were read."""
        with pymongo.timeout(SCAN_SECONDS):
            cursor = whole(leads).find(match, {"_id": 1}, batch_size=_BATCH, collation=None)
            cursor = cursor.sort("_id", 1)
            cursor = cursor.allow_disk_use(True)
            batch = await cursor.to_list(_BATCH)
        async with cursor:
            while batch:
                if found := await _among(leads, batch):
                    yield [lead["_id"] for lead in found]
                with pymongo.timeout(SCAN_SECONDS):  # not across a yield: the caller's too
                    batch = await cursor.to_list(_BATCH)

    async def named(self, candidates: Sequence[LeadId]) -> list[LeadId]:
        """Return the first of these ids that a lead has, in a list; empty when none has."""
        for candidate in candidates:
            if await self._of_writers.find_one({"_id": {"$eq": candidate}}, {"_id": 1}) is not None:
                return [candidate]
        return []
