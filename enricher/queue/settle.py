"""Settle: the one write that ends a claim, and the only one that must never be lost.

Values, provenance, score, next due time and the re-qualification request go in one fenced update, so
no reader ever sees half of them; concurrent settles share one update (`mongo/batch.py`). The result may be paid
for, and the fence makes the write safe at any later time, so it is retried until the database gives
a definite answer, however long that takes. Zero matched means that the lead is no longer ours, or no
longer as it was; reading it back tells why (see `Settled`).

The filter also compares the inputs with those noted at the claim, inside the database. When a lead's
address changes while it is in work, what was found for the old one is not written, and the lead
is queued again.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import partial
from itertools import count
from typing import Any, TypeAlias

from bson.errors import BSONError
from loguru import logger
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import BulkWriteError, OperationFailure, PyMongoError, WriteError

from enricher.answer import Kind
from enricher.fields import NAMES, Names, named
from enricher.lead import (
    STATUS_OF,
    SUBJECT,
    Completed,
    Document,
    End,
    Failed,
    LeadId,
    Lease,
    Outcome,
    Progress,
    Rechecked,
    Retrying,
    Skipped,
    Status,
    Subject,
    Withdrawn,
)
from enricher.mongo import DatabaseTrouble, expressions
from enricher.mongo.batch import UNFIT, Coalescer, LoneRow, RowPath, Stages, Table, TableRow
from enricher.mongo.expressions import UpdateOne
from enricher.mongo.outage import Outage, Refusal, describe, is_refusal, is_unreadable, refusals
from enricher.mongo.secret import Keyring
from enricher.mongo.server import ServerClock
from enricher.queue import book
from enricher.queue.apart import Apart, Step
from enricher.queue.beside import Beside, Facts
from enricher.queue.copying import Copying
from enricher.queue.costs import Costs
from enricher.queue.inputs import CONTRACT, LeadMapping, text_or_null
from enricher.queue.leads import (
    fence,
    unchanged,
    unchanged_row,
    unchanged_table,
    writable,
)
from enricher.queue.outbox import NOTE, Outbox, note
from enricher.queue.requests import planned
from enricher.telemetry.log import label
from enricher.values.merge import METADATA, SOCIAL, completeness, metadata

# Why the server refuses a result, as a sentence for `enrichment_error` that names the operator's index or rule.
#
# The server's own text is never passed on, because it quotes keys and documents. Only the name of the index is
# taken from it; where it names none, all indexes of the kind that causes this code are named. For a
# validator, the properties that failed it are named.

_TOO_LARGE = (10334, 17419, 17420)
_INVALID = 121
_DUPLICATE = 11000
_INDEX_NAME = re.compile(r" index: (.{1,128}?) dup key")
_NAME = re.compile(r"[\w.$ -]{1,128}")
_MOST_NAMES = 5
_PROPERTIES = ("missingProperties", "additionalProperties")

_Index = Mapping[str, Any]
_KINDS: Mapping[int, tuple[str, Callable[[_Index], bool]]] = {
    171: ("cannot hold two arrays at once", lambda index: len(index["key"]) > 1),
    16755: ("holds places alone", lambda index: _has(index, "2dsphere", "2d")),
    13654: ("holds places alone", lambda index: _has(index, "2dsphere", "2d")),
    16766: ("cannot hold an array", lambda index: _has(index, "hashed")),
    17261: ("takes a field for a language", lambda index: _has(index, "text")),
    17262: ("takes a field for a language", lambda index: _has(index, "text")),
    17280: ("cannot hold a value so long", lambda _: False),
}  # fmt: skip


def _has(index: _Index, *types: str) -> bool:
    return any(each in types for _, each in index["key"])


def sentence(code: int | None) -> str:
    """Return the reason where only the code is known."""
    if code in _TOO_LARGE:
        return "it would be larger than MongoDB's 16 MB"
    if code == _INVALID:
        return "the collection's validator refuses it"
    return f"MongoDB refuses it (error {code}), for an index of the collection or for what is in it"


async def sentences(leads: AsyncCollection[Document], error: BulkWriteError) -> dict[int, str]:
    """Return position -> reason, for each update that was refused. Raises as `refusals` does."""
    found = refusals(error)
    said = {entry["index"]: entry for entry in error.details["writeErrors"]}
    indexes = await _indexes(leads) if any(each.code in _KINDS for each in found) else {}
    return {each.position: _of(each, said[each.position], indexes) for each in found}


def _named(error: BulkWriteError) -> dict[int, list[str]]:
    """Return position -> the fields that the server names in its refusal; never a value."""
    entries = error.details["writeErrors"]
    return {
        each["index"]: [*each.get("keyPattern", {}), *_properties(each.get("errInfo"))]
        for each in entries
    }


async def _indexes(leads: AsyncCollection[Document]) -> Mapping[str, _Index]:
    """Return the indexes by name; empty for a user who may not list them, so that no name is told."""
    try:
        return await leads.index_information()
    except PyMongoError:
        return {}


def _of(refusal: Refusal, said: Document, indexes: Mapping[str, _Index]) -> str:
    if refusal.code == _DUPLICATE:
        name = _INDEX_NAME.search(str(said.get("errmsg")))
        return f"the unique index{_quoted([name[1]] if name else [])} has the same value from another lead"
    if refusal.code == _INVALID:
        rules = sorted(set(_properties(said.get("errInfo"))))[:_MOST_NAMES]
        return sentence(_INVALID) + (f" for{_quoted(rules)}" if rules else "")
    if refusal.code in _KINDS:
        what, is_meant = _KINDS[refusal.code]
        names = [name for name, index in indexes.items() if is_meant(index)][:_MOST_NAMES]
        return f"an index of the collection{_quoted(names)} {what} (code {refusal.code})"
    return sentence(refusal.code)


def _quoted(names: Sequence[str]) -> str:
    usable = [f'"{name}"' for name in names if _NAME.fullmatch(name)]
    return f" {' or '.join(usable)}" if usable else ""


def _properties(info: object) -> Iterator[str]:
    """Yield the names of properties and fields in the rules that failed; never a value."""
    if isinstance(info, Mapping):
        for name, value in info.items():
            if name == "propertyName" and isinstance(value, str):
                yield value
            elif name in _PROPERTIES and isinstance(value, list):
                yield from (each for each in value if isinstance(each, str))
            elif name == "specifiedAs" and isinstance(value, Mapping):
                is_query = str(info.get("operatorName")).startswith("$")
                yield from (each for each in value if is_query and not each.startswith("$"))
            elif name not in {"consideredValue", "consideredValues"}:
                yield from _properties(value)
    elif isinstance(info, list):
        for each in info:
            yield from _properties(each)


# What a lead keeps when it settles and nothing new can be written: no data about somebody else.
#
# A result that MongoDB refuses, or that a bug prevented, ends the lead as `failed` and leaves the data as it
# stands. Data found for another mailbox or company goes altogether; finding half of it again costs nothing,
# because kept answers are asked first. What other writers put beside our sections stays.


def _is_other(names: Names, half: str, ours: expressions.Expression) -> expressions.Expression:
    """Trust the subject stored beside the data first, then the one in the book-keeping, else assume ours."""
    beside = f"${names.enriched_data}.{METADATA}.{SUBJECT}"
    known = {
        "$switch": {
            "branches": [
                {
                    "case": expressions.is_type(where, "object"),
                    "then": {"$ifNull": [f"{where}.{half}", None]},
                }
                for where in (beside, book.noted(names, SUBJECT))
            ],
            "default": f"$$ours.{half}",
        }
    }
    is_other = {"$ne": [known, f"$$ours.{half}"]}
    return {"$let": {"vars": {"ours": ours}, "in": is_other}}


def _unless_about_others(names: Names, row: RowPath | LoneRow) -> expressions.Expression:
    """Return the expression for `enriched_data`: unchanged, unless it was found for another subject."""
    data, ours = f"${names.enriched_data}", row.value(SUBJECT)
    is_others = {"$or": [_is_other(names, half, ours) for half in Subject().document]}
    is_ours = {"$and": [expressions.is_type(data, "object"), is_others]}
    return {"$cond": [is_ours, {"$mergeObjects": [data, row.value("emptied")]}, data]}


def _emptied(subject: Subject) -> Document:
    """Return our sections without anything in them."""
    known = metadata(
        {}, now=datetime.now(UTC), order=(), completeness=completeness({}), subject=subject
    )
    sections = dict.fromkeys(kind.section for kind in Kind)
    return {**sections, SOCIAL: {}, METADATA: known}


_LARGEST_BATCH = 200
_LATE_PAUSE_SECONDS = 0.5
_CLOCKS_DIFFER = timedelta(seconds=2)
"""An answer of this very run must not seem newer than the run; a recheck comes much later."""
_UNFIT = "it would be too large, or cannot be encoded"
UNWRITABLE = "The result could not be written to this document: {why}."
_UNLESS_ASKED_FOR: Document = {"$ne": Status.PENDING}
"""The status of a result whose lead has changed: an earlier try, of which no answer came, may have written it."""


class Settled(StrEnum):
    """What became of a settle."""

    WRITTEN = "written"
    LEASE_LOST = "lease_lost"
    """Another worker holds the lead, or a user set it to `pending`: the result is dropped."""
    INPUTS_CHANGED = "inputs_changed"
    """The address changed meanwhile: nothing was written and the lead is queued again."""
    DELETED = "deleted"
    """The lead is gone, and is not recreated."""
    WITHDRAWN = "withdrawn"
    """The lead no longer meets its source's condition: it is left as it stands."""
    REFUSED = "refused"
    """The database will never accept this result (too large, refused by a validator): the lead is
    `failed` instead, and says why."""
    UNWRITABLE = "unwritable"
    """Even the failure was refused: the lead comes back when its lease expires."""


_ENDED = (Settled.WRITTEN, Settled.REFUSED)
"""The claim has ended with this settle."""


@dataclass(frozen=True, slots=True)
class Course:
    """When the lead comes back, and for what. By default not at all."""

    due_in: timedelta | None = None
    planned: Document = field(default_factory=dict)
    """What the book-keeping holds while that is a recheck."""


@dataclass(frozen=True, slots=True)
class Settlement:
    """One lease with its outcome, and the subject of the result."""

    lease: Lease
    outcome: Outcome
    subject: Subject | None
    facts: Facts | None = None
    """What the lead says, where its result stands beside it."""
    course: Course = field(default_factory=Course)
    event: Document | None = None
    """What readers are told of it."""


_Write: TypeAlias = Callable[[Sequence[Settlement]], Awaitable[Sequence[Settled]]]


@dataclass(slots=True)
class Settler:
    """Batches concurrent settles, and retries for as long as an outage lasts."""

    collection: AsyncCollection[Document]
    refresh_after: Callable[[], timedelta | None]
    """When a completed lead is due again; `None` for never. Called for each lead, because it adds jitter."""
    outage: Outage = field(default_factory=lambda: Outage("settle"))
    apart: Apart = field(default_factory=Apart)
    names: Names = NAMES
    """The names of our fields in the collection."""
    mapped: LeadMapping = CONTRACT
    beside: Beside | None = None
    """The leads, where the collection holds their results alone."""
    keyring: Keyring | None = None
    """Proves that a recheck was planned by us; without one there are none."""
    clock: ServerClock = field(init=False)
    copying: Copying | None = None
    """What is copied into fields of the user's."""
    outbox: Outbox | None = None
    """Where events are published, if they are."""
    keeper: Keeper = field(init=False)
    """For what is found before the end."""
    costs: Costs = field(init=False)
    """For what the lead may cost, before it does."""
    late: int = field(init=False, default=0)
    """Settles that wait for a writer's transaction to end."""
    _unchanged: LeadMapping | None = field(init=False)
    """What a write compares on the lead; `None` where that stands in another document."""
    _settling: Table = field(init=False)
    _step: Step[Settlement, Sequence[Settled]] = field(init=False)
    _coalescer: Coalescer[Settlement, Settled | None] = field(init=False)

    def __post_init__(self) -> None:
        is_beside = self.beside is not None
        self.keeper = Keeper(
            self.collection,
            self.apart,
            self.names,
            self.mapped,
            is_beside=is_beside,
            is_told=self.outbox is not None,
        )
        self.costs = Costs(self.collection, self.apart, self.names)
        self._unchanged = None if is_beside else self.mapped
        settle = _settling(self.names, self.copying, is_beside=is_beside)
        self._settling = unchanged_table(self.names, settle, writable(self.names), self._unchanged)
        self._step = Step("settle", self.collection, self._way_to_write(), _id_of, is_table=True)
        self._coalescer = Coalescer("settle", self._flush, _LARGEST_BATCH)
        self.clock = ServerClock(self.collection.database.client)

    def _way_to_write(self) -> _Write:
        """Return how a batch is written: beside the leads or on them, and with events or without."""
        write: _Write = self._write_all
        if self.beside is not None:
            write = partial(self._write_beside, self.beside)
        if self.outbox is not None:
            write = partial(self._write_and_publish, self.outbox, write)
        return write

    async def settle(self, lease: Lease, outcome: End, subject: Subject | None = None) -> Settled:
        """Write the outcome, unless the lease was lost. Raises no database error."""
        if isinstance(outcome, Withdrawn):
            return await self._withdraw(lease)
        course = await self._course(lease, outcome)
        event = self.outbox.event(lease, outcome) if self.outbox else None
        settlement = Settlement(lease, outcome, subject, course=course, event=event)
        settled = await self._coalescer.submit(settlement)
        return await self._settle_late(settlement) if settled is None else settled

    async def _course(self, lease: Lease, outcome: Outcome) -> Course:
        """Return when the lead comes back: for a recheck, unless its refresh comes first."""
        if isinstance(outcome, Retrying):
            return Course(outcome.due_in)
        if not isinstance(outcome, Completed | Rechecked):
            return Course()
        refresh_in, recheck = self.refresh_after(), outcome.next_recheck
        if refresh_in is not None and isinstance(outcome, Rechecked):
            refresh_in = max(timedelta(0), refresh_in - outcome.age)
        if recheck is None or self.keyring is None:
            return Course(refresh_in)
        if refresh_in is not None and refresh_in <= recheck.due_in:
            return Course(refresh_in)
        since = recheck.since or await self._now() + _CLOCKS_DIFFER
        return Course(recheck.due_in, planned(self.keyring, lease.lead_id, since))

    async def _now(self) -> datetime:
        """Return the server's time, as far as it can be had: the answers that gave nothing are older."""
        try:
            return await self.clock.fresh()
        except DatabaseTrouble:
            return self.clock.now()

    async def _withdraw(self, lease: Lease) -> Settled:
        """Leave the lead as it stands; a result beside one that is a lead no more ends."""
        while self.beside is not None:
            try:
                gone = await self.beside.end([lease.lead_id], [lease.claim_id])
            except PyMongoError as error:
                await asyncio.sleep(self.outage.failed(error))
            else:
                self.outage.succeeded()
                return Settled.DELETED if gone else Settled.WITHDRAWN
        return Settled.WITHDRAWN

    async def _settle_late(self, settlement: Settlement) -> Settled:
        """Retry outside any batch, for as long as a writer's transaction holds the lead.

        Goes on past the lease's deadline: only the fence decides. It stops matching once another worker
        claims the lead, and until then the result is the best there is, and may be paid for.
        """
        self.late += 1
        try:
            for tries in count():
                if self.apart.is_written_off(settlement.lease.lead_id):
                    return Settled.UNWRITABLE
                await asyncio.sleep(_LATE_PAUSE_SECONDS)
                if written := await self.apart.again(self._step, settlement, tries):
                    return written[0][0]
        finally:
            self.late -= 1
        raise AssertionError  # pragma: no cover - `count` does not end

    async def _flush(self, batch: Sequence[Settlement]) -> Sequence[Settled | None]:
        """Return one result per settlement, `None` for each that is blocked."""
        while True:
            try:
                written = await self.apart.write(self._step, batch)
            except PyMongoError as error:
                await asyncio.sleep(self.outage.failed(error))
            else:
                self.outage.succeeded()
                settled = {
                    id(settlement): each
                    for part, results in written.parts
                    for settlement, each in zip(part, results, strict=True)
                }
                return [settled.get(id(settlement)) for settlement in batch]

    async def _write_and_publish(
        self, outbox: Outbox, write: _Write, batch: Sequence[Settlement]
    ) -> Sequence[Settled]:
        events = [each.event for each in batch if each.event is not None]
        draft = await outbox.draft([each.lease for each in batch], events)
        settled = await write(batch)
        pairs = list(zip(batch, settled, strict=True))
        written = [each.event for each, what in pairs if what is Settled.WRITTEN and each.event]
        # One that was written and is no longer ours (`pending`, begun anew) is told by its note.
        is_whole = all(what in _ENDED for each, what in pairs if each.event is not None)
        await outbox.publish(draft, written, is_whole=is_whole)
        return settled

    async def _write_beside(self, beside: Beside, batch: Sequence[Settlement]) -> Sequence[Settled]:
        """Write what is about leads that are as they were at the claim, before and after the write."""
        known = await beside.facts(each.lease.lead_id for each in batch)
        facts = [known.get(expressions.id_key(each.lease.lead_id)) for each in batch]
        same = [
            replace(each, facts=said)
            for each, said in zip(batch, facts, strict=True)
            if said is not None and said.are_as(each.lease.lead.inputs)
        ]
        lost = [each.lease for each, said in zip(batch, facts, strict=True) if said is None]
        gone = await beside.end([each.lead_id for each in lost], {each.claim_id for each in lost})
        written = iter(await self._write_all(same) if same else [])
        settled = [
            _without_lead(each, gone)
            if said is None
            else next(written)
            if said.are_as(each.lease.lead.inputs)
            else await self._requeue(each, _UNLESS_ASKED_FOR)
            for each, said in zip(batch, facts, strict=True)
        ]
        return await self._look_again(beside, batch, settled)

    async def _look_again(
        self, beside: Beside, batch: Sequence[Settlement], settled: Sequence[Settled]
    ) -> Sequence[Settled]:
        """Begin anew with what changed while its result was written."""
        pairs = [*zip(batch, settled, strict=True)]
        ids = [each.lease.lead_id for each, what in pairs if what in _ENDED]
        known = await beside.facts(ids) if ids else {}
        gone = await beside.drop_gone(
            [each for each in ids if expressions.id_key(each) not in known]
        )
        return [
            what
            if what not in _ENDED
            else Settled.DELETED
            if expressions.id_key(each.lease.lead_id) in gone
            else await self._unless_changed(each, what, known)
            for each, what in pairs
        ]

    async def _unless_changed(
        self, settlement: Settlement, settled: Settled, known: Mapping[bytes, Facts]
    ) -> Settled:
        lead = settlement.lease.lead
        now = known.get(expressions.id_key(lead.id))
        # What is no lead any more was one until the write.
        if now is None or now.are_as(lead.inputs):
            return settled
        return await self._requeue(settlement, _UNLESS_ASKED_FOR)

    async def _write_all(self, batch: Sequence[Settlement]) -> Sequence[Settled]:
        """Write many by one update, and by one each those that cannot be among them."""
        refused: dict[int, str] = {}
        rows: dict[int, TableRow] = {}
        for position, settlement in enumerate(batch):
            try:
                rows[position] = self._row(settlement)
            except UNFIT:
                refused[position] = _UNFIT
        positions = list(rows)
        matched, rest = await self._settling.write(self.collection, list(rows.values()))
        if rest:
            each = [positions[number] for number in rest]
            written = await self._write_each(
                [batch[position] for position in each], [rows[position] for position in each]
            )
            matched += written.matched
            refused |= {each[number]: why for number, why in written.refused.items()}
        if matched == len(batch):
            return [Settled.WRITTEN] * len(batch)
        return await self._judge(batch, refused)

    async def _write_each(self, batch: Sequence[Settlement], rows: Sequence[TableRow]) -> _Written:
        leases = [settlement.lease for settlement in batch]
        updates = _each_alone(self.names, self._settling, leases, rows, self._unchanged)
        try:
            result = await self.collection.bulk_write(updates, ordered=False)
            return _Written(result.matched_count)
        except BulkWriteError as error:
            refused = await sentences(self.collection, error)
            written = _Written(int(error.details["nMatched"]), refused)
            return await self._spare_copies(batch, rows, written, _named(error))
        except OperationFailure as error:
            if not is_unreadable(error):
                raise
            why = sentence(error.code)
        except UNFIT:  # the driver cannot send the batch because of one of its updates
            why = _UNFIT
        if len(batch) == 1:
            return await self._spare_copies(batch, rows, _Written(0, {0: why}), {})
        return await self._one_by_one(batch, rows)

    async def _spare_copies(
        self,
        batch: Sequence[Settlement],
        rows: Sequence[TableRow],
        written: _Written,
        named: Mapping[int, Sequence[str]],
    ) -> _Written:
        """Write what was refused without the copies that may be to blame: they must not cost a result."""
        copying = self.copying
        if copying is None:
            return written
        less = {
            each: copying.without(rows[each], named.get(each, ()), why)
            for each, why in written.refused.items()
        }
        spared = {each: row for each, row in less.items() if row is not None}
        if not spared:
            return written
        positions = list(spared)
        again = await self._write_each([batch[each] for each in positions], [*spared.values()])
        still = {each: why for each, why in written.refused.items() if each not in spared}
        still |= {positions[number]: why for number, why in again.refused.items()}
        return _Written(written.matched + again.matched, still)

    async def _one_by_one(self, batch: Sequence[Settlement], rows: Sequence[TableRow]) -> _Written:
        written = [
            await self._write_each([one], [row]) for one, row in zip(batch, rows, strict=True)
        ]
        refused = {n: each.refused[0] for n, each in enumerate(written) if each.refused}
        return _Written(sum(each.matched for each in written), refused)

    # -- when not every update matched -----------------------------------------------------

    async def _judge(
        self, batch: Sequence[Settlement], refused: dict[int, str]
    ) -> Sequence[Settled]:
        """Tell from one read for the whole batch what happened: leads may be deleted by the thousand."""
        ids = [settlement.lease.lead_id for settlement in batch]
        found = await self.collection.find({"_id": {"$in": ids}}, _standing(self.names)).to_list()
        standing = {expressions.id_key(lead["_id"]): lead for lead in found}
        return [
            await self._judge_one(
                settlement,
                standing.get(expressions.id_key(settlement.lease.lead_id)),
                refused.get(number),
            )
            for number, settlement in enumerate(batch)
        ]

    async def _judge_one(
        self, settlement: Settlement, now: Document | None, refused: str | None
    ) -> Settled:
        lease = settlement.lease
        if now is None:
            return await self._judge_unseen(lease.lead_id)
        if now.get("claim_id") != lease.claim_id or now.get("token") != lease.token:
            return Settled.LEASE_LOST
        if now.get("status") != Status.PROCESSING:
            # Our own earlier try got through: only we remove the inputs. A `pending` may be a user's since
            # then, and whether our write landed no longer matters.
            by_us = "inputs" not in now and now.get("status") != Status.PENDING
            return Settled.WRITTEN if by_us else Settled.LEASE_LOST
        if refused is not None:
            return await self._give_up(settlement, refused)
        return await self._requeue(settlement)

    async def _judge_unseen(self, id_: LeadId) -> Settled:
        """Tell a lead that is gone from one that left the condition under which this collection is seen."""
        if not expressions.condition_of(self.collection):
            return Settled.DELETED
        is_there = await expressions.whole(self.collection).find_one(
            {"_id": {"$eq": id_}}, {"_id": 1}
        )
        return Settled.WITHDRAWN if is_there else Settled.DELETED

    async def _requeue(
        self, settlement: Settlement, status: Status | Document = Status.PROCESSING
    ) -> Settled:
        requeueing = book.requeueing(self.names, released=False)
        of_status = {self.names.enrichment_status: status}
        ours = {**fence(settlement.lease, self.names), **of_status, **writable(self.names)}
        try:
            written = await self.collection.update_one(ours, requeueing)
        except WriteError as error:
            return self._refused_again(settlement, error)
        return Settled.INPUTS_CHANGED if written.matched_count else Settled.LEASE_LOST

    async def _give_up(self, settlement: Settlement, why: str) -> Settled:
        """End the lead as failed: it must not come back again and again, and be paid for each time."""
        failed = Failed({}, UNWRITABLE.format(why=why))
        event = self.outbox.event(settlement.lease, failed) if self.outbox else None
        row = self._row(Settlement(settlement.lease, failed, settlement.subject, event=event))
        if self.copying is not None:
            row = self.copying.without(row, (), why) or row
        draft = event and self.outbox and await self.outbox.draft([], [event])
        try:
            is_written = await self._write_failure(settlement.lease, row, why)
        except WriteError as error:
            return self._refused_again(settlement, error)
        if not is_written:
            # A result that the driver cannot encode was not compared with the inputs until now.
            return await self._requeue(settlement)
        if self.outbox is not None and event is not None:
            await self.outbox.publish(draft, [event])
        logger.bind(lead=label(settlement.lease.lead_id), why=why).error("settle.refused")
        return Settled.REFUSED

    async def _write_failure(self, lease: Lease, row: TableRow, why: str) -> bool:
        """Tell whether the lead was still ours. Raises WriteError for one that can be written in no way."""
        ours = unchanged(lease, self.names, self._unchanged)
        still = {**ours, **writable(self.names)}
        while True:
            try:
                written = await self.collection.update_one(still, self._settling.alone(row))
            except WriteError as error:
                less = self.copying and is_refusal(error) and self.copying.without(row, (), why)
                if not less:
                    raise
                row = less
            else:
                return bool(written.matched_count)

    def _refused_again(self, settlement: Settlement, error: WriteError) -> Settled:
        """Log a lead that cannot be written at all: it must not hold up the settles of all others."""
        if not is_refusal(error):
            raise error
        logger.bind(lead=label(settlement.lease.lead_id), code=error.code).error("lead.unwritable")
        return Settled.UNWRITABLE

    # -- the write itself ------------------------------------------------------------------

    def _row(self, settlement: Settlement) -> TableRow:
        """Encode what the lead gets. Raises one of `UNFIT`."""
        outcome, subject = settlement.outcome, settlement.subject
        values = _values(outcome, subject, settlement.course)
        if isinstance(outcome, Retrying) and settlement.lease.lead.rechecks:
            values["rechecks"] = settlement.lease.lead.rechecks
        if settlement.facts is not None and settlement.facts.is_scored:
            values["is_scored"] = True
        if settlement.event is not None:
            values[NOTE] = note(settlement.event)
        return unchanged_row(settlement.lease, values, self._unchanged)


def _id_of(settlement: Settlement) -> LeadId:
    return settlement.lease.lead_id


@dataclass(frozen=True, slots=True)
class _Written:
    """How many leads matched, and why the others of a batch were refused, by position."""

    matched: int
    refused: Mapping[int, str] = field(default_factory=dict)


def _without_lead(settlement: Settlement, gone: AbstractSet[bytes]) -> Settled:
    is_gone = expressions.id_key(settlement.lease.lead_id) in gone
    return Settled.DELETED if is_gone else Settled.WITHDRAWN


def _each_alone(
    names: Names,
    table: Table,
    leases: Iterable[Lease],
    rows: Iterable[TableRow],
    mapped: LeadMapping | None,
) -> list[UpdateOne]:
    only = writable(names)
    return [
        UpdateOne({**unchanged(lease, names, mapped), **only}, table.alone(row))
        for lease, row in zip(leases, rows, strict=True)
    ]


def _standing(names: Names) -> Document:
    inputs = book.noted(names, "inputs")
    return {
        "status": text_or_null(f"${names.enrichment_status}"),
        "claim_id": text_or_null(book.noted(names, "claim_id")),
        "token": book.token(names),
        "inputs": {"$cond": [{"$eq": [{"$type": inputs}, "missing"]}, "$$REMOVE", True]},
    }


def _settling(names: Names, copying: Copying | None, *, is_beside: bool) -> Stages:
    """Return the stages of a settle."""
    if is_beside:
        return partial(_settle_beside, names)
    # The score is looked at inside the write, so that one that arrived a moment ago counts.
    settle = partial(_settle, names, book.is_scored(names))
    return settle if copying is None else lambda row: [*settle(row), *copying.stages(row)]


def _settle_beside(names: Names, row: RowPath | LoneRow) -> expressions.Pipeline:
    """The score stands on the lead, and comes with the row."""
    is_scored = row.if_has("is_scored", {"$literal": True}, {"$literal": False})
    return _settle(names, is_scored, row)


def _settle(
    names: Names, is_scored: expressions.Expression, row: RowPath | LoneRow
) -> expressions.Pipeline:
    """What vendors said stands in no expression, or one that begins with `$` would be executed."""
    kept_data: expressions.Expression = f"${names.enriched_data}"
    if row.may_have("emptied"):
        kept_data = row.if_has("emptied", _unless_about_others(names, row), kept_data)
    lead = {
        names.enrichment_status: row.value("status"),
        names.enrichment_error: row.value("error"),
        names.enrichment: book.book_with(names, _bookkeeping(names, row)),
        names.enriched_data: row.if_has("data", row.value("data"), kept_data),
        names.updated_at: row.if_has("is_news", "$$NOW", f"${names.updated_at}"),
        names.enriched_at: row.if_has("is_completed", "$$NOW", f"${names.enriched_at}"),
        **_requalified(names, row, is_scored),
    }
    paths = {names.of_book(name): value for name, value in _KEPT_WITH.items()}
    kept = {path: row.if_has(value, f"${path}", "$$REMOVE") for path, value in paths.items()}
    kept[names.of_book("untold")] = row.if_has(NOTE, "$$REMOVE", book.noted(names, "untold"))
    return [
        {"$set": named(lead)},
        {"$set": kept},
        {"$unset": [names.of_book("queued_at"), names.of_book("inputs")]},
    ]


_KEPT_WITH = {
    "due_at": "due_ms",
    "backfill": "goes_on",
    "refresh_since": "goes_on",
    "refresh_mark": "goes_on",
    "held_by": "held_by",
    "recheck_since": "recheck_since",
    "recheck_mark": "recheck_since",
    "rechecks": "rechecks",
}
"""Which value of the row keeps a field of the book-keeping."""


def _bookkeeping(names: Names, row: RowPath | LoneRow) -> dict[str, expressions.Expression]:
    """Return what changes; what the row does not have stays as it is."""
    fewer = book.attempts_less(names, row.value("given_back"))
    due_at = {"$add": ["$$NOW", row.value("due_ms")]}
    return {
        "holder": None,
        "attempts": row.if_has("attempts", row.value("attempts"), fewer),
        "answered": row.value("answered"),
        "held_by": row.value("held_by"),
        "recheck_since": row.value("recheck_since"),
        "recheck_mark": row.value("recheck_mark"),
        "rechecks": row.value("rechecks"),
        "spent": row.value("spent"),
        NOTE: row.value(NOTE),
        "due_at": row.if_has("due_ms", due_at, "$$REMOVE"),
        SUBJECT: row.value(SUBJECT),
    }


def _requalified(
    names: Names, row: RowPath | LoneRow, is_scored: expressions.Expression
) -> dict[str, expressions.Expression]:
    if not names.qualification_score:
        return {}
    return {
        name: row.if_has("is_completed", {"$cond": [is_scored, value, f"${name}"]}, f"${name}")
        for name, value in (
            (names.qualification_status, "pending"),
            (names.qualification_requested_at, "$$NOW"),
        )
    }


def _values(outcome: Outcome, subject: Subject | None, course: Course) -> Document:
    status = STATUS_OF[type(outcome)]
    error = outcome.reason.sentence if isinstance(outcome, Skipped) else outcome.error
    values: Document = {"status": status, "error": error, "answered": {}}
    if outcome.spent is not None:
        values["spent"] = outcome.spent
    if course.due_in is not None:
        values["due_ms"] = round(course.due_in.total_seconds() * 1000)
    if isinstance(outcome, Retrying):
        values |= _to_go_on(outcome)
    else:
        values["attempts"] = 0
    if isinstance(outcome, Completed | Rechecked) and (outcome.rechecks or course.planned):
        values |= _series(outcome, course)
    return values if isinstance(outcome, Rechecked) else values | _result(outcome, subject)


def _result(outcome: Outcome, subject: Subject | None) -> Document:
    """Return what readers see of it, and whom it is about."""
    values: Document = {}
    if isinstance(outcome, Completed):
        values["is_completed"] = True
    if outcome.data or STATUS_OF[type(outcome)].is_settled:
        values["is_news"] = True
    if subject is not None:
        values[SUBJECT] = subject.document
    if outcome.data:
        values["data"] = outcome.data
    elif subject is not None:
        values["emptied"] = _emptied(subject)
    return values


def _series(outcome: Completed | Rechecked, course: Course) -> Document:
    """Return what the next recheck goes by; how many there were is kept until somebody asks for the lead."""
    made = {"rechecks": outcome.rechecks} if outcome.rechecks else {}
    if not course.planned:
        return made
    return {**made, **course.planned, "answered": dict(outcome.answered)}


def _to_go_on(outcome: Retrying) -> Document:
    """Return what the next attempt goes by."""
    spent = int(outcome.attempt_spent)
    values: Document = {"attempts": spent} if outcome.begins_anew else {"given_back": 1 - spent}
    values |= {"answered": dict(outcome.answered), "goes_on": True}
    return {**values, "held_by": list(outcome.held_by)} if outcome.held_by else values


# Keeps what one provider found while another is still busy.
#
# The lead stays claimed; readers see the data at once, and the daemon that takes the lead over after a crash
# does not ask for it again. The write is fenced like a settle but may fail, because the settle writes all of
# it again.

_MOST_KEPT_AT_ONCE = 200
_Kept = tuple[Lease, Progress]


class Keeper:
    """Writes progress; concurrent calls share one round trip."""

    def __init__(
        self,
        collection: AsyncCollection[Document],
        apart: Apart | None = None,
        names: Names = NAMES,
        mapped: LeadMapping = CONTRACT,
        *,
        is_beside: bool = False,
        is_told: bool = False,
    ) -> None:
        """With `is_told`, the lead notes that no event names yet what is kept."""
        self._is_told = is_told
        self._collection = collection
        self._names = names
        self._unchanged = None if is_beside else mapped
        keep = partial(_keep, names)
        self._keeping = unchanged_table(names, keep, writable(names), self._unchanged)
        self._apart = apart or Apart()
        self._step = Step("keep", collection, self._write, _lead_of, is_table=True)
        self._coalescer = Coalescer("keep", self._flush, _MOST_KEPT_AT_ONCE)

    async def keep(self, lease: Lease, progress: Progress) -> None:
        """Write progress while the lease is ours and the inputs are unchanged. Never raises."""
        await self._coalescer.submit((lease, progress))

    async def _flush(self, batch: Sequence[_Kept]) -> Sequence[None]:
        try:
            await self._apart.write(self._step, batch)
        except (PyMongoError, BSONError, ValueError, OverflowError, RecursionError) as error:
            self._tell_not_kept(len(batch), error)
        return [None] * len(batch)

    async def _write(self, batch: Sequence[_Kept]) -> None:
        leases: list[Lease] = []
        rows: list[TableRow] = []
        for lease, progress in batch:
            try:
                values = _progress(progress)
                if self._is_told and "data" in values:
                    values["untold"] = True
                rows.append(unchanged_row(lease, values, self._unchanged))
                leases.append(lease)
            except UNFIT as error:
                self._tell_not_kept(1, error)
        _, rest = await self._keeping.write(self._collection, rows)
        if rest:
            alone = [leases[each] for each in rest], [rows[each] for each in rest]
            updates = _each_alone(self._names, self._keeping, *alone, self._unchanged)
            await self._collection.bulk_write(updates, ordered=False)

    def _tell_not_kept(self, leads: int, error: Exception) -> None:
        logger.bind(leads=leads, error=describe(error)).warning("progress.not_kept")


def _lead_of(kept: _Kept) -> LeadId:
    return kept[0].lead_id


def _keep(names: Names, row: RowPath | LoneRow) -> expressions.Pipeline:
    found = {name: row.value(name) for name in ("answered", SUBJECT, "untold")}
    lead = {
        names.enrichment: book.book_with(names, found),
        names.enriched_data: row.if_has("data", row.value("data"), f"${names.enriched_data}"),
        names.updated_at: row.if_has("data", "$$NOW", f"${names.updated_at}"),
    }
    return [{"$set": named(lead)}]


def _progress(progress: Progress) -> Document:
    values: Document = {"answered": dict(progress.answered), SUBJECT: progress.subject.document}
    return {**values, "data": progress.data} if progress.data else values
