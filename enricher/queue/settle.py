"""Settle: the one write that ends a claim, and the only one that must never be lost.

Values, provenance, score, next due time and the re-qualification note go in one fenced update, so
no reader ever sees half of them; concurrent settles share one `bulk_write`. The result may be paid
for, and the fence makes the write safe at any later time: so it is tried until the database gives
a definite answer, however long that takes. Zero matched means the lead is no longer ours as it
was; reading it back tells why (see `Settled`).

The filter also compares the inputs with those noted at the claim, inside the database. When a lead's
address changes while it is in work, what was found for the old one is not written, and the lead
is queued again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from itertools import count
from typing import Any

from bson.errors import BSONError
from loguru import logger
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import (
    BulkWriteError,
    DocumentTooLarge,
    OperationFailure,
    PyMongoError,
    WriteError,
)

from enricher.lead import (
    SUBJECT,
    Completed,
    Document,
    Failed,
    Lease,
    Outcome,
    Retrying,
    Skipped,
    Status,
    Subject,
)
from enricher.mongo import expressions
from enricher.mongo.coalesce import Coalescer
from enricher.mongo.collation import UpdateOne
from enricher.mongo.outage import Outage
from enricher.mongo.refusal import is_refusal, is_unreadable
from enricher.queue import book
from enricher.queue.apart import Apart, Step
from enricher.queue.doubled import ONCE
from enricher.queue.inputs import text_or_null
from enricher.queue.lease import fence, unchanged
from enricher.queue.reasons import sentence, sentences
from enricher.queue.unproven import unless_about_others
from enricher.telemetry.labels import label

_LARGEST_BATCH = 200
_LATE_PAUSE_SECONDS = 0.5
UNWRITABLE = "The result could not be written to this document: {why}."


class Settled(StrEnum):
    """What became of a settle."""

    WRITTEN = "written"
    LEASE_LOST = "lease_lost"
    """Somebody else holds the lead, or a user set it to `pending`: the result is dropped."""
    INPUTS_CHANGED = "inputs_changed"
    """The address changed meanwhile: nothing was written and the lead is queued again."""
    DELETED = "deleted"
    """The lead is gone, and is not resurrected."""
    REFUSED = "refused"
    """The database will never take this result (too large, refused by a validator): the lead is
    `failed` instead, and says why."""
    UNWRITABLE = "unwritable"
    """Even that was refused: the lead comes back when its lease runs out."""


@dataclass(frozen=True, slots=True)
class Settlement:
    """One lease with its outcome, and whom it is about."""

    lease: Lease
    outcome: Outcome
    subject: Subject | None


@dataclass(slots=True)
class Settler:
    """Coalesces concurrent settles, and tries again for as long as an outage lasts."""

    collection: AsyncCollection[Document]
    refresh_after: Callable[[], timedelta | None]
    """When a completed lead is due again; `None` for never. Called for each lead: it has jitter."""
    outage: Outage = field(default_factory=lambda: Outage("settle"))
    apart: Apart = field(default_factory=Apart)
    late: int = 0
    """Settles that wait for somebody's transaction to end."""
    _coalescer: Coalescer[Settlement, Settled | None] | None = None

    async def settle(
        self, lease: Lease, outcome: Outcome, subject: Subject | None = None
    ) -> Settled:
        """Write the outcome, unless the lease was lost. Raises nothing that the database does."""
        if self._coalescer is None:
            self._coalescer = Coalescer("settle", self._flush, _LARGEST_BATCH)
        settlement = Settlement(lease, outcome, subject)
        settled = await self._coalescer.submit(settlement)
        return await self._settle_late(settlement) if settled is None else settled

    async def _settle_late(self, settlement: Settlement) -> Settled:
        """Beside all batches, for as long as somebody's transaction holds the lead."""
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

    @property
    def _step(self) -> Step[Settlement, Sequence[Settled]]:
        return Step("settle", self.collection, self._write, lambda it: it.lease.lead_id)

    async def _flush(self, batch: Sequence[Settlement]) -> Sequence[Settled | None]:
        """`None` for each that is blocked."""
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

    async def _write(self, batch: Sequence[Settlement]) -> Sequence[Settled]:
        updates = [self._update(settlement) for settlement in batch]
        refused: dict[int, str] = {}
        try:
            result = await self.collection.bulk_write(updates, ordered=False)
            if result.matched_count == len(batch):
                return [Settled.WRITTEN] * len(batch)
        except BulkWriteError as error:
            refused = await sentences(self.collection, error)
        except OperationFailure as error:
            if not is_unreadable(error):
                raise
            return await self._one_by_one(batch, sentence(error.code))
        except (DocumentTooLarge, BSONError, ValueError, OverflowError, RecursionError):
            # The driver could not encode the batch because of one of its documents.
            return await self._one_by_one(batch, "it would be too large, or cannot be encoded")
        return await self._judge(batch, refused)

    async def _one_by_one(self, batch: Sequence[Settlement], why: str) -> Sequence[Settled]:
        if len(batch) == 1:
            return await self._judge(batch, {0: why})
        return [(await self._write([settlement]))[0] for settlement in batch]

    # -- when not every update matched -----------------------------------------------------

    async def _judge(
        self, batch: Sequence[Settlement], refused: dict[int, str]
    ) -> Sequence[Settled]:
        """One read for all of them tells exactly what happened: leads are deleted by the thousand."""
        ids = [settlement.lease.lead_id for settlement in batch]
        found = await self.collection.find({"_id": {"$in": ids}}, _STANDING).to_list()
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
            return Settled.DELETED
        if now.get("claim_id") != lease.claim_id or now.get("token") != lease.token:
            return Settled.LEASE_LOST
        if now.get("status") != Status.PROCESSING:
            # Our own earlier try got through: it takes the inputs away, which nobody else does. A
            # `pending` may be a user's since then, and whether ours got through is all the same.
            by_us = "inputs" not in now and now.get("status") != Status.PENDING
            return Settled.WRITTEN if by_us else Settled.LEASE_LOST
        if refused is not None:
            return await self._give_up(settlement, refused)
        return await self._requeue(settlement)

    async def _requeue(self, settlement: Settlement) -> Settled:
        requeueing = book.requeueing(released=False)
        try:
            written = await self.collection.update_one(
                _writable(fence(settlement.lease)), requeueing
            )
        except WriteError as error:
            return self._refused_again(settlement, error)
        return Settled.INPUTS_CHANGED if written.matched_count else Settled.LEASE_LOST

    async def _give_up(self, settlement: Settlement, why: str) -> Settled:
        """The lead must not come back for ever and be paid for each time."""
        failed = Failed({}, UNWRITABLE.format(why=why))
        ending = self._ending(Settlement(settlement.lease, failed, settlement.subject))
        try:
            written = await self.collection.update_one(
                _writable(unchanged(settlement.lease)), ending
            )
        except WriteError as error:
            return self._refused_again(settlement, error)
        if not written.matched_count:
            # What the driver cannot encode was never compared with the inputs until now.
            return await self._requeue(settlement)
        logger.bind(lead=label(settlement.lease.lead_id), why=why).error("settle.refused")
        return Settled.REFUSED

    def _refused_again(self, settlement: Settlement, error: WriteError) -> Settled:
        """One lead that cannot be written at all must not hold up the settles of all others."""
        if not is_refusal(error):
            raise error
        logger.bind(lead=label(settlement.lease.lead_id), code=error.code).error("lead.unwritable")
        return Settled.UNWRITABLE

    # -- the write itself ------------------------------------------------------------------

    def _update(self, settlement: Settlement) -> UpdateOne:
        return UpdateOne(_writable(unchanged(settlement.lease)), self._ending(settlement))

    def _ending(self, settlement: Settlement) -> expressions.Pipeline:
        outcome, subject = settlement.outcome, settlement.subject
        match outcome:
            case Completed():
                return _ending(outcome, subject, self.refresh_after(), Status.COMPLETED)
            case Retrying():
                return _ending(outcome, subject, outcome.due_in, Status.RETRYING)
            case Failed():
                return _ending(outcome, subject, None, Status.FAILED)
            case Skipped():
                return _ending(outcome, subject, None, Status.SKIPPED)


def _writable(only: Document) -> Document:
    """It may have been replaced since the claim, by a document that must not be written."""
    return {**only, "$and": [ONCE]}


_STANDING = {
    "status": text_or_null("$enrichment_status"),
    "claim_id": text_or_null("$enrichment.claim_id"),
    "token": book.TOKEN,
    "inputs": {"$cond": [{"$eq": [{"$type": "$enrichment.inputs"}, "missing"]}, "$$REMOVE", True]},
}

_REQUALIFIED: dict[str, Any] = {
    # Judged inside the write: a score that arrived a moment ago counts.
    name: {
        "$cond": [
            {"$gt": ["$qualification_score", None]},
            value,
            f"${name}",
        ]
    }
    for name, value in (
        ("qualification_status", "pending"),
        ("qualification_requested_at", "$$NOW"),
    )
}


def _ending(
    outcome: Outcome, subject: Subject | None, due_in: timedelta | None, status: Status
) -> expressions.Pipeline:
    """Values from vendors stand in `$literal`, or one that begins with `$` would be executed."""
    lead: dict[str, Any] = {
        "enrichment_status": status,
        "enrichment_error": {"$literal": _error(outcome)},
        "enrichment": book.book_with(_bookkeeping(outcome, subject, due_in)),
    }
    if outcome.data:
        lead["enriched_data"] = {"$literal": outcome.data}
    elif subject is not None:
        lead["enriched_data"] = unless_about_others(subject)
    if outcome.data or status.is_settled:
        lead["updated_at"] = "$$NOW"
    if isinstance(outcome, Completed):
        lead |= {"enriched_at": "$$NOW", **_REQUALIFIED}
    return [{"$set": lead}, {"$unset": [f"enrichment.{name}" for name in _gone(outcome, due_in)]}]


def _gone(outcome: Outcome, due_in: timedelta | None) -> list[str]:
    gone = ["queued_at", "inputs"]
    if due_in is None:
        gone.append("due_at")
    if not isinstance(outcome, Retrying):
        gone += ["backfill", "refresh_since", "refresh_mark", "held_by"]
    elif not outcome.held_by:
        gone.append("held_by")
    return gone


def _bookkeeping(
    outcome: Outcome, subject: Subject | None, due_in: timedelta | None
) -> dict[str, expressions.Expression]:
    values: dict[str, expressions.Expression] = {"holder": None, "attempts": 0, "answered": {}}
    if isinstance(outcome, Retrying):
        values["answered"] = {"$literal": dict(outcome.answered)}
        spent = int(outcome.attempt_spent)
        values["attempts"] = spent if outcome.begins_anew else book.attempts_less(1 - spent)
        if outcome.held_by:
            values["held_by"] = {"$literal": list(outcome.held_by)}
    if due_in is not None:
        values["due_at"] = expressions.in_milliseconds(due_in)
    if subject is not None:
        values[SUBJECT] = {"$literal": subject.document}
    return values


def _error(outcome: Outcome) -> str | None:
    return outcome.reason.sentence if isinstance(outcome, Skipped) else outcome.error
