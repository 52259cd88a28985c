"""Admit, claim, renew and release leads. The page on leases and fencing.

**The collection is the queue.** A lead is work when its status is `pending`, or when
`enrichment.due_at` has passed. That one rule covers new leads, users' requests, retries, expired
leases and the refresh; nothing else makes a lead work, and no list of work is kept anywhere else.

**A claim** takes three round trips for a whole batch: read candidates; run one `update_many` on
their ids, which takes only the leads that are still work at that moment; read back which of them
are ours, by a claim id that is never reused. What cannot be read back was not claimed, whatever
the write returned: a dropped connection, a timeout and a failed write concern all end in the same
question to the database. One update per lead costs the server six times as much CPU (0.47 against
0.08 ms a lead, batches of 64, MongoDB 6.0), because it parses the same expressions each time. A
lone lead is claimed and read back by one command instead; that command also admits a new lead that
arrives while there is no other work, which then needs no search either. One update per lead is only
the second try: after the server refused one of the leads, which ends an `update_many`, and after a
broken connection, because the driver retries single updates but not `update_many`.

**A lease** runs until `enrichment.due_at`, by the server's clock, and a heartbeat renews it.
When it expires the lead is simply due, and any daemon may claim it: nothing has to detect a death.
The local deadline is counted from the moment the claim or renewal was *sent*, so it is never later
than the database's; past it the worker stops by itself. A failed heartbeat alone proves nothing
about ownership, and work goes on.

**Fencing.** Every claim raises `token` and sets a fresh `claim_id`, and every later write of that
worker filters on both and on the status still being `processing`. A worker that was paused, cut
off or declared dead therefore cannot write anything, however late it wakes. The claim id is needed
besides the token because a writer may replace the whole document, which restarts its tokens.
A user who sets `pending` takes the lead away from the worker and fences it out the same way.

**Attempts** are counted at the claim, so a lead that kills its process each time still ends
as `failed`; release and snooze give the attempt back.

**Contention.** Daemons that read the same candidates in the same order would all fight for the
head of the queue. So a daemon that loses candidates to others reads a wider window next time and
picks from it at random, within equal priority; after a number of uncontended claims it narrows the
window again, down to exactly the head.
"""

from __future__ import annotations

import math
import time
import uuid
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import cache, partial
from random import Random
from typing import Any

import bson
from bson import DBRef
from bson.errors import BSONError
from bson.raw_bson import RawBSONDocument
from loguru import logger
from pymongo import ReturnDocument
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import (
    AutoReconnect,
    BulkWriteError,
    DocumentTooLarge,
    OperationFailure,
    PyMongoError,
    WriteError,
)

from enricher.fields import NAMES, Names, named
from enricher.lead import Document, Lead, LeadId, Lease, Recheck, Status
from enricher.mongo import expressions
from enricher.mongo.batch import Stages, Table, TableRow, encode
from enricher.mongo.expressions import Expression, Pipeline, UpdateOne
from enricher.mongo.outage import (
    UnreadableDocument,
    is_denied,
    is_refusal,
    may_do_one_by_one,
    reading,
    refusals,
)
from enricher.mongo.secret import Keyring
from enricher.queue import book
from enricher.queue.apart import Apart, Fatal, Parted, Step
from enricher.queue.beside import Beside
from enricher.queue.book import BY_ID
from enricher.queue.inputs import (
    CONTRACT,
    LeadMapping,
    asked_about,
    asked_in,
    inputs_unchanged,
    is_copy_exact,
    read_inputs,
    text_or_null,
)
from enricher.queue.lanes import OLDEST, Aside, Doubles, Heard, Lanes, once
from enricher.queue.requests import planned_since, wished
from enricher.queue.unmoved import new, unadmitted
from enricher.telemetry.log import label
from enricher.telemetry.metrics import SourceGauges
from enricher.values.storable import mapping

# Read a lease from a claimed lead, and filter every write that is made under it.


def claimed(
    names: Names, mapped: LeadMapping = CONTRACT, *, counts_costs: bool = False
) -> Document:
    """Return the projection of a claimed lead, besides `account` and `plan`."""
    return {
        **({"spent": book.spent(names)} if counts_costs else {}),
        "token": book.noted(names, "token"),
        "claim_id": book.noted(names, "claim_id"),
        "attempts": book.noted(names, "attempts"),
        "answered": book.bounded(book.noted(names, "answered"), {}),
        "waited_ms": book.noted(names, "waited_ms"),
        "interruptions": book.noted(names, "interruptions"),
        "is_untold": {"$eq": [book.noted(names, "untold"), True]},
        "subject": book.bounded(book.noted(names, "subject")),
        "inputs": book.noted(names, "inputs"),
        "priority": book.priority_noted(names),
        "newer_than": book.refresh_since(names),
        "refresh_mark": text_or_null(book.noted(names, "refresh_mark")),
        "recheck_since": book.recheck_since(names),
        "recheck_mark": text_or_null(book.noted(names, "recheck_mark")),
        "rechecks": book.rechecks(names),
        "job_title": mapped.job_title,
        "enriched_data": book.data(names),
        "data_bytes": book.data_bytes(names),
    }


def lease_of(
    document: Document, claim_id: str, deadline: float, keyring: Keyring | None = None
) -> Lease | None:
    """Build the lease from what `claimed` reads; `deadline` is by the monotonic clock.

    Returns `None` when a writer changed our book-keeping since the claim: the lead is work again when
    its lease expires, and the next claim repairs the book-keeping. Without a keyring, requests for newer
    answers are ignored.
    """
    try:
        with reading("the leads"):
            return _lease(document, claim_id, deadline, keyring)
    except UnreadableDocument:
        logger.bind(lead=label(document["_id"])).warning("claim.unreadable")
        return None


def _lease(document: Document, claim_id: str, deadline: float, keyring: Keyring | None) -> Lease:
    since, mark = document["newer_than"], document.get("refresh_mark")
    data, data_bytes = document["enriched_data"], int(document["data_bytes"])
    # The driver turns an object with `$ref` into a `DBRef`, which is no mapping.
    whole = mapping(data.as_doc() if isinstance(data, DBRef) else data)
    waited = document.get("waited_ms")
    lead = Lead(
        id=document["_id"],
        inputs=read_inputs(document["inputs"]),
        enriched_data=mapping(data),
        data_bytes=data_bytes,
        is_doubled=bool(whole) and _is_doubled(whole, data_bytes),
        answered=mapping(document["answered"]),
        job_title=document["job_title"],
        subject=document.get("subject"),
        attempt=int(document["attempts"]),
        interruptions=int(document["interruptions"]),
        is_untold=bool(document["is_untold"]),
        waited_seconds=None if waited is None else max(0.0, waited / 1000),
        priority=book.rank_of(document),
        account=document.get("account"),
        plan=document.get("plan"),
        newer_than=since and wished(keyring, document["_id"], since, mark),
        recheck=_recheck(document, keyring) if document["recheck_since"] else None,
        rechecks=int(document["rechecks"]),
        spent=int(document.get("spent", 0)),
    )
    return Lease(lead, int(document["token"]), claim_id, deadline)


def _is_doubled(data: Mapping[str, Any], size: int) -> bool:
    """Return whether a field occurs twice in the data at any depth: reading keeps only one of them."""
    try:
        return len(bson.encode(data)) < size
    except (BSONError, ValueError, OverflowError, RecursionError):
        return False


def _recheck(document: Document, keyring: Keyring | None) -> Recheck:
    since, mark = document["recheck_since"], document.get("recheck_mark")
    return Recheck(planned_since(keyring, document["_id"], since, mark))


def fence(lease: Lease, names: Names) -> Document:
    """Return the filter of every write a worker makes: it matches only while the lease is the worker's own."""
    return {
        "_id": lease.lead_id,
        names.of_book("token"): lease.token,
        names.of_book("claim_id"): lease.claim_id,
        names.enrichment_status: Status.PROCESSING,
    }


@cache
def writable(names: Names) -> Document:
    """Match leads that may be written: since the claim, one may have been replaced by one that must not."""
    return {"$and": [once(names), {names.enrichment: {"$not": {"$type": "array"}}}]}


def unchanged(lease: Lease, names: Names, mapped: LeadMapping | None = CONTRACT) -> Document:
    """Return the fence that also requires the inputs to be as they were at the claim. `mapped` says how these are
    read; `None` where they stand in another document."""
    inputs = {} if mapped is None else inputs_unchanged(lease.lead.inputs, names, mapped)
    return {**fence(lease, names), **inputs}


# The same two fences where many leads are written by one update (`mongo/batch.py`).


def _fenced(names: Names) -> Expression:
    return {
        "id": "$_id",
        "token": book.noted(names, "token"),
        "claim_id": book.noted(names, "claim_id"),
        "status": f"${names.enrichment_status}",
    }


def fenced_table(names: Names, update: Pipeline, only: Document) -> Table:
    """Return the table whose rows `fenced_row` makes, for an update that all leads get alike."""
    return Table(_fenced(names), _fenced(names), lambda _: update, only)


def unchanged_table(
    names: Names, stages: Stages, only: Document, mapped: LeadMapping | None = CONTRACT
) -> Table:
    """Return the table whose rows `unchanged_row` makes. The row stands in the book-keeping meanwhile, which holds
    no field twice where a lead may be written (`lanes.once`)."""
    fence = {**_fenced(names), **({} if mapped is None else asked_about(mapped))}
    return Table(_fenced(names), fence, stages, only, names.enrichment)


def fenced_row(lease: Lease) -> TableRow:
    """Return the row of a lead that is written while the lease is the worker's own."""
    key = encode(_key(lease))
    return TableRow(lease.lead_id, key, key)


def unchanged_row(
    lease: Lease, values: Document, mapped: LeadMapping | None = CONTRACT
) -> TableRow:
    """Return the row of a lead that gets these values while its inputs are as they were, too. Raises one of
    `table.UNFIT`."""
    key, inputs = _key(lease), lease.lead.inputs
    fence: RawBSONDocument | None = encode(key)
    if mapped is not None:
        is_exact = is_copy_exact(inputs, mapped)
        fence = encode({**key, **asked_in(inputs, mapped)}) if is_exact else None
    return TableRow(lease.lead_id, encode(key), fence, encode(values))


def _key(lease: Lease) -> Document:
    return {
        "id": lease.lead_id,
        "token": lease.token,
        "claim_id": lease.claim_id,
        "status": Status.PROCESSING,
    }


_NOTHING: Document = {"$literal": None}
_NO_SHARD_KEY = 61
_LOOK_FOR_TOO_LONG_SECONDS = 10.0
"""The search reads every lead that is work, so it runs at most this often."""
_TOO_LONG = f"The _id is longer than {book.LONGEST_ID_BYTES:,} bytes."


def _lone(names: Names) -> Document:
    """Match a lone new lead that may be admitted and claimed at once: not admitted yet, so that whoever claims it
    has admitted it too; not from a backfill, and with little data, because a claim of much data is bounded by what
    the other leads in work hold."""
    is_new = {**new(names), names.of_book("backfill"): None}
    has_little_data = {"$expr": {"$lte": [book.data_bytes(names), book.MUCH_DATA_BYTES]}}
    return {
        "$and": [
            {"$or": [is_new, book.pending_by_its_writer(names)]},
            has_little_data,
            once(names),
        ]
    }


@dataclass(frozen=True, slots=True)
class Claimed:
    """One batch: the leases won, and how many candidates other daemons took first."""

    leases: list[Lease]
    lost: int = 0
    asked: int = 0

    @property
    def is_full(self) -> bool:
        """True when the claim found as many candidates as it asked for: there is more work."""
        return len(self.leases) + self.lost >= self.asked > 0


@dataclass(frozen=True, slots=True)
class Written:
    """How many leads still matched the filter, and how many of those changed."""

    matched: int
    changed: int


@dataclass(slots=True)
class Leads:
    """The leads collection as a queue. One instance per process, since it remembers contention."""

    collection: AsyncCollection[Document]
    holder: str
    lease: timedelta
    rank: expressions.Expression
    """Priority expression, from `book.priority`."""
    random: Random = field(default_factory=Random)
    account: expressions.Expression = field(default_factory=_NOTHING.copy)
    plan: expressions.Expression = field(default_factory=_NOTHING.copy)
    """Expressions for the owner of a lead: `book.account`, `book.plan`."""
    keyring: Keyring | None = None
    suspect_after: int = 3
    """Consecutive process deaths after which a lead is worked on alone: equal to the number of
    retries, so that this is the lead's last attempt."""
    gauges: SourceGauges = field(default_factory=SourceGauges)
    """Where it is shown how the collection stands."""
    era: int = field(init=False, default=0)
    """How often the rules of the source have changed: by which documents are leads, and how they are read."""
    lanes: Lanes = field(init=False)
    aside: Aside = field(init=False)
    apart: Apart = field(default_factory=Apart)
    unadmitted: dict[bytes, LeadId] = field(init=False, default_factory=dict)
    """Key -> new leads whose admission is blocked by a writer's open transaction."""
    by_id: str = field(init=False, default=BY_ID)
    """Name of the index that finds a lead by id, from `Indexes`."""
    names: Names = NAMES
    """The names of our fields in the collection."""
    mapped: LeadMapping = CONTRACT
    """How its leads are read."""
    beside: Beside | None = None
    """The leads, where the collection holds their results alone. `rank` is then that of the results."""
    is_sharded: bool = field(init=False, default=False)
    """True when sharded by a key other than the id: a lone lead is then claimed the way a batch is."""
    refreshes: bool = True
    """Completed leads are done again at their date; else only rechecks are."""
    counts_costs: bool = False
    """Leads have a ceiling, so what their enrichment cost is read and counted on."""
    doubles: Doubles = field(init=False)
    fatal: Fatal = field(init=False)
    _admission: expressions.Pipeline = field(init=False)
    _lone: Document = field(init=False)
    _claim: dict[str, expressions.Expression] = field(init=False)
    """What each claim writes to the book-keeping."""
    _leased: Document = field(init=False)
    """What is read of a claimed lead."""
    _next_look_for_too_long: float = field(init=False, default=-math.inf)

    def __post_init__(self) -> None:
        self.aside = Aside(self.gauges.unwritable)
        self.doubles = Doubles(self.collection, self.aside, self.names)
        self.fatal = self.apart.fatal = Fatal(self.collection, self.aside)
        self.lanes = Lanes(
            self.collection,
            self.random,
            self.suspect_after,
            names=self.names,
            refreshes=self.refreshes,
        )
        names, counts_costs = self.names, self.counts_costs
        self._admission, self._lone = book.admission(names, self.rank), _lone(names)
        inputs = self.mapped.inputs if self.beside is None else {}
        self._claim = book.claim(
            names, self.holder, self.lease, self.rank, inputs, counts_costs=counts_costs
        )
        lead = claimed(names, self.mapped, counts_costs=counts_costs)
        self._leased = {**lead, "account": self.account, "plan": self.plan}

    def is_suspect(self, lead: Lead) -> bool:
        """Return whether the lead's process died each time it was in work: the lead may be the cause."""
        return lead.interruptions >= self.suspect_after

    def go_by_what_is_heard(self, is_without_indexes: bool) -> None:
        """Claim only leads heard of while there are no indexes: a search would read every lead."""
        if not is_without_indexes:
            self.lanes.heard = None
        elif self.lanes.heard is None:
            self.lanes.heard = Heard()

    def hear_of(self, ids: Collection[LeadId]) -> None:
        """Remember leads that may be work; does nothing once the indexes exist."""
        if self.lanes.heard is not None:
            self.lanes.heard.add(ids)

    # -- admission -------------------------------------------------------------------------

    async def admit(self, ids: Collection[LeadId], *, is_behind: bool = False) -> int:
        """Missing status -> `pending`, and the priority computed: that of work which comes after every fresh
        lead if `is_behind`. Idempotent.

        Returns how many leads changed, or fewer where one of them cannot be written (too large,
        refused by a validator): that one is logged and left alone, the others are admitted. Nor does
        one that is blocked hold up the others: it stays in `unadmitted`, for `admit_blocked`.
        """
        if not ids:
            return 0
        return _total(await self._admit(ids, is_behind)).changed

    async def _admit(
        self, ids: Collection[LeadId], is_behind: bool = False
    ) -> Parted[LeadId, Written]:
        if self.beside is not None:
            await self.beside.enter(ids)
        only = {"$and": [unadmitted(self.names), once(self.names)]}
        how = self._admission
        if is_behind:
            late = book.found_late(self.names)
            how = book.admission(self.names, self.rank, is_behind=late)
        parted = await self._write(list(ids), only, how, "admit")
        blocked = [id_ for id_ in parted.blocked if not self.fatal.is_written_off(id_)]
        self.unadmitted |= {expressions.id_key(id_): id_ for id_ in blocked}
        if _total(parted).matched + len(parted.blocked) < len(ids):
            await self.doubles.look(ids)
        self.hear_of(ids)
        await self.aside.put_unreadable(self.of_writers, ids)
        return parted

    @property
    def of_writers(self) -> AsyncCollection[Document]:
        """The collection that leads are inserted into."""
        return self.collection if self.beside is None else self.beside.leads

    async def forget_deleted(self, ids: Collection[LeadId]) -> None:
        """Drop what stands beside deleted leads; what stands on a lead goes with it."""
        if self.beside is not None:
            await self.beside.drop(ids)

    async def look_for_fatal(self) -> None:
        """Read the record of leads that end the server. Leads taken off it may never have been admitted, so
        note them for `admit_blocked`."""
        taken_back = await self.fatal.look()
        self.unadmitted |= {expressions.id_key(id_): id_ for id_ in taken_back}

    async def admit_blocked(self) -> int:
        """Try again to admit the leads that were blocked; return how many changed."""
        trying = dict(self.unadmitted)
        parted = await self._admit(list(trying.values()))
        blocked = [id_ for id_ in parted.blocked if not self.fatal.is_written_off(id_)]
        for key in trying.keys() - set(map(expressions.id_key, blocked)):
            self.unadmitted.pop(key, None)
        return _total(parted).changed

    async def take_up(
        self, ids: Collection[LeadId], only: Document, how: expressions.Pipeline | None = None
    ) -> int:
        """Make unmoved leads that still match `only` work again, or update them by `how` if it is given."""
        if not ids:
            return 0
        how = how or self._admission
        only = {"$and": [only, once(self.names)]}
        return _total(await self._write(list(ids), only, how, "sweep")).changed

    async def admit_and_claim(self, id_: LeadId) -> Lease | None:
        """Claim a lone new lead without a search, for when there is no other work, so no order has to be
        kept. `None` when it must go the usual way, which begins with `admit`."""
        if self.beside is not None:
            await self.beside.enter([id_])
        claim_id, sent = uuid.uuid4().hex, time.monotonic()
        how = [*self._admission, *self._claiming(claim_id)]
        taken = await self._take_one(id_, self._lone, how, claim_id, sent)
        leases = taken[1] if taken else []
        if not leases:
            return None
        self.hear_of([id_])
        return leases[0]

    # -- claiming --------------------------------------------------------------------------

    async def claim(
        self, slots: int, above: float | None = None, suspects: int = 1, data_in_work: int = 0
    ) -> Claimed:
        """Claim up to `slots` leads, at most `suspects` of them suspects: see the page above.

        With `above`, the urgency of the leads that wait for a limit, claim only more urgent leads; now
        and then the oldest lead comes with them and counts as being that urgent. `data_in_work` is the
        size in bytes of the data of all leads in work, which leaves that much less room for others.
        """
        self.aside.end()
        found = await self.lanes.next(slots, above, self.aside, suspects)
        await self._fail_too_long()
        found = await self.doubles.without(found)
        candidates = book.within_one_command(book.within_room(found, data_in_work))
        slots = len(candidates) if candidates and len(candidates) < len(found) else slots
        if not candidates:
            return Claimed([], asked=slots)
        claim_id = uuid.uuid4().hex
        sent = time.monotonic()
        ids = [c["_id"] for c in candidates]
        was_answered, leases = await self._take(ids, claim_id, sent)
        if slots == 1:  # others may stand behind it; one that is all there is keeps nobody waiting
            self.aside.put_off(self.apart.among(ids, expressions.id_key))
        won = {expressions.id_key(lease.lead_id): lease for lease in leases}
        lost = [c for c in candidates if expressions.id_key(c["_id"]) not in won]
        self.lanes.contended(len(lost), len(candidates))
        await self.aside.give_up_on_stuck(self.collection, lost if was_answered else [])
        if above is not None:
            _bring_forward([c for c in candidates if c["lane"] == OLDEST], won, above)
        return Claimed(leases, len(lost), slots)

    async def _fail_too_long(self) -> None:
        """Fail queued leads whose `_id` is too long, by an update that names no id, and say why on the lead.
        None of them is on the record of leads that end the server, because nothing else writes them."""
        now = time.monotonic()
        if not self.lanes.too_long or now < self._next_look_for_too_long:
            return
        self._next_look_for_too_long = now + _LOOK_FOR_TOO_LONG_SECONDS
        names = self.names
        ended = {names.enrichment_status: Status.FAILED, names.enrichment_error: _TOO_LONG}
        update: Document = {"$set": named(ended), "$unset": {names.of_book("due_at"): ""}}
        if names.updated_at:
            update["$currentDate"] = {names.updated_at: True}
        # No operator but a pipeline replaces a null with an object.
        parents = [{path: {"$not": {"$type": "null"}}} for path in names.parents]
        these = {"$and": [self.lanes.claimable, book.WITH_TOO_LONG_ID, once(names), *parents]}
        failed = await self.collection.update_many(these, update)
        self.aside.tell_too_long(failed.modified_count, "claim")

    async def _take(
        self, ids: Sequence[LeadId], claim_id: str, sent: float
    ) -> tuple[bool, list[Lease]]:
        """Return whether the server answered for each lead, and the leases that are ours."""
        is_alone = len(ids) == 1 and not self.is_sharded
        how, work = self._claiming(claim_id), self.lanes.claimable
        if is_alone and (taken := await self._take_one(ids[0], work, how, claim_id, sent)):
            return taken
        was_answered = await self._compare_and_set(ids, how)
        return was_answered, await self._read_back(ids, claim_id, sent)

    def _is_refused(self, error: PyMongoError) -> bool:
        """Return whether the server wrote nothing and never will; the cause is found elsewhere."""
        self.is_sharded |= isinstance(error, OperationFailure) and error.code == _NO_SHARD_KEY
        return isinstance(error, OperationFailure) and is_refusal(error)

    def _claiming(self, claim_id: str) -> expressions.Pipeline:
        """Return the atomic transition to `processing`."""
        names, by_whom = self.names, {"claim_id": claim_id}
        era = {"era": self.era} if self.era else {}
        booked = book.book_with(names, self._claim | by_whom | era)
        return [{"$set": {names.enrichment_status: Status.PROCESSING, names.enrichment: booked}}]

    async def _take_one(
        self, id_: LeadId, only: Document, how: expressions.Pipeline, claim_id: str, sent: float
    ) -> tuple[bool, list[Lease]] | None:
        """Do as `_take`, or return `None` when the server refused. Saves one round trip, because a user
        who inserts a lead into an idle system waits for each of them."""
        tries = 0

        async def take(_: Sequence[LeadId]) -> Document | None:
            nonlocal tries
            tries += 1
            return await self.collection.find_one_and_update(
                {"_id": id_, **only},
                how,
                self._leased,
                hint=self.by_id,
                return_document=ReturnDocument.AFTER,
            )

        try:
            written = await self.apart.write(Step("claim", self.collection, take, _same), [id_])
        except PyMongoError as error:
            if is_denied(error):
                raise
            if self._is_refused(error):
                return None
            _tell_unknown(error)  # another try would take as long again
            return False, await self._read_back([id_], claim_id, sent)
        if written.blocked:
            return False, await self._read_back([id_], claim_id, sent)
        document = written.parts[0][1]
        if document is None and tries == 1:
            return True, []
        if document is None or document.get("claim_id") != claim_id:
            # An earlier try whose answer came too late may have claimed the lead. And to a command that the
            # driver sent twice, the server answers with the lead as it stands, not as the projection asks.
            return True, await self._read_back([id_], claim_id, sent)
        return True, await self._leases([document], claim_id, sent)

    async def _compare_and_set(self, ids: Sequence[LeadId], claiming: expressions.Pipeline) -> bool:
        """Return True when the server answered for each lead, False when the outcome is unknown."""
        try:
            written = await self._write(ids, self.lanes.claimable, claiming, "claim")
        except PyMongoError as error:
            if is_denied(error):
                raise
            _tell_unknown(error)
            return False
        self.aside.put_off(written.blocked)
        return not written.blocked

    async def _read_back(self, ids: Iterable[LeadId], claim_id: str, sent: float) -> list[Lease]:
        ours = {
            "_id": {"$in": list(ids)},
            self.names.of_book("claim_id"): claim_id,
            self.names.enrichment_status: Status.PROCESSING,
        }
        found = await self.collection.find(ours, self._leased).to_list()
        return await self._leases(found, claim_id, sent)

    async def _leases(
        self, documents: Sequence[Document], claim_id: str, sent: float
    ) -> list[Lease]:
        if self.beside is not None:
            documents = await self._with_facts(self.beside, documents, claim_id)
        deadline = sent + self.lease.total_seconds()
        if deadline <= time.monotonic():
            # A process that slept would pay for calls about leads that others hold by now.
            return []
        leases = [lease_of(document, claim_id, deadline, self.keyring) for document in documents]
        return [lease for lease in leases if lease is not None]

    async def _with_facts(
        self, beside: Beside, results: Sequence[Document], claim_id: str
    ) -> list[Document]:
        """Add to each result what its lead says now. Those whose document is no lead any more are not worked on."""
        facts = await beside.facts(each["_id"] for each in results) if results else {}
        known = [(each, facts.get(expressions.id_key(each["_id"]))) for each in results]
        await beside.end([each["_id"] for each, said in known if said is None], [claim_id])
        return [
            {
                **each,
                "inputs": said.inputs,
                "account": said.account,
                "plan": said.plan,
                "job_title": said.job_title,
            }
            for each, said in known
            if said is not None
        ]

    # -- writing many ----------------------------------------------------------------------

    async def _write(
        self, ids: Sequence[LeadId], only: Document, pipeline: expressions.Pipeline, step: str
    ) -> Parted[LeadId, Written]:
        """Write to those of these leads that still match `only`."""

        async def write(some: Sequence[LeadId]) -> Written:
            return await self._write_together(some, only, pipeline, step)

        return await self.apart.write(Step(step, self.collection, write, _same), ids)

    async def _write_together(
        self, ids: Sequence[LeadId], only: Document, pipeline: expressions.Pipeline, step: str
    ) -> Written:
        these = {"_id": {"$in": ids}, **only}
        try:
            done = await self.collection.update_many(these, pipeline, hint=self.by_id)
        except (AutoReconnect, DocumentTooLarge, WriteError) as error:
            if not may_do_one_by_one(error):
                raise
            return await self._one_by_one(ids, only, pipeline, step)
        return Written(done.matched_count, done.modified_count)

    async def _one_by_one(
        self, ids: Sequence[LeadId], only: Document, pipeline: expressions.Pipeline, step: str
    ) -> Written:
        """Write each lead by its own update: one of them cannot be written, the connection broke, or the
        ids are too long for one command. The driver retries and splits these updates, and its errors
        name the lead. Leads already written stay as they are: they no longer match `only`."""
        updates = [UpdateOne({"_id": id_, **only}, pipeline) for id_ in ids]
        try:
            done = await self.collection.bulk_write(updates, ordered=False)
        except BulkWriteError as error:
            for refusal in refusals(error):
                self.aside.put(ids[refusal.position], refusal.code, step)
            return Written(int(error.details["nMatched"]), int(error.details["nModified"]))
        return Written(done.matched_count, done.modified_count)

    # -- leases ----------------------------------------------------------------------------

    async def renew(self, leases: Sequence[Lease]) -> list[Lease]:
        """Renew all in one round trip (two if any is gone); return the leases that were lost.

        Moves each kept lease's local deadline to `lease` after the moment this was sent.
        """
        if not leases:
            return []
        sent = time.monotonic()
        step = Step("renew", self.collection, self._renew, _lead_of, is_table=True)
        written = await self.apart.write(step, leases)
        renewed = {id(lease): lease for part, _ in written.parts for lease in part}
        matched = sum(matched for _, (matched, _) in written.parts)
        lost = [] if matched == len(leases) else await self._not_ours(leases)
        refused = [lease for _, (_, refused) in written.parts for lease in refused]
        for lease in [*lost, *refused]:
            renewed.pop(id(lease), None)
        for lease in renewed.values():
            lease.deadline = sent + self.lease.total_seconds()
        return lost

    async def _renew(self, leases: Sequence[Lease]) -> tuple[int, Sequence[Lease]]:
        """Return how many leases were ours, and those whose leads the database refuses to write."""
        renewal, only = book.renewal(self.names, self.lease), once(self.names)
        table = fenced_table(self.names, renewal, only)
        matched, rest = await table.write(self.collection, [fenced_row(each) for each in leases])
        if not rest:
            return matched, []
        updates = [UpdateOne({**fence(leases[n], self.names), **only}, renewal) for n in rest]
        try:
            done = await self.collection.bulk_write(updates, ordered=False)
        except BulkWriteError as error:
            refused = [leases[rest[refusal.position]] for refusal in refusals(error)]
            return matched + int(error.details["nMatched"]), refused
        return matched + done.matched_count, []

    def is_held_up(self, leases: Iterable[Lease]) -> bool:
        """Return whether any of these leases was blocked at the last beat."""
        return bool(self.apart.among(leases, lambda lease: expressions.id_key(lease.lead_id)))

    async def _not_ours(self, leases: Sequence[Lease]) -> list[Lease]:
        ids = [lease.lead_id for lease in leases]
        held = {"_id": {"$in": ids}, self.names.enrichment_status: Status.PROCESSING}
        claim_id = text_or_null(book.noted(self.names, "claim_id"))
        found = await self.collection.find(held, {"claim_id": claim_id}).to_list()
        # Compare as text: a writer may have put a value of any type in place of our book-keeping.
        ours = {(expressions.id_key(lead["_id"]), str(lead.get("claim_id"))) for lead in found}
        return [
            each for each in leases if (expressions.id_key(each.lead_id), each.claim_id) not in ours
        ]

    async def release(self, leases: Sequence[Lease]) -> int:
        """Give leads back unworked: `pending` at once, without counting the attempt. Return how many."""
        if not leases:
            return 0
        giving_back = partial(self._give_back, set[int]())
        step = Step("release", self.collection, giving_back, _lead_of, is_table=True)
        return sum(released for _, released in (await self.apart.write(step, leases)).parts)

    async def _give_back(self, tried: set[int], leases: Sequence[Lease]) -> int:
        """Return how many were given back. `tried` are leases of a try before, whose answer may be lost."""
        is_again = not tried.isdisjoint(map(id, leases))
        tried.update(map(id, leases))
        giving_back = book.requeueing(self.names, released=True)
        table = fenced_table(self.names, giving_back, once(self.names))
        matched, rest = await table.write(self.collection, [fenced_row(each) for each in leases])
        if rest:
            matched += await self._give_back_each([leases[each] for each in rest], giving_back)
        ended_in_the_middle = len(rest) > 1
        if matched == len(leases) or not (is_again or ended_in_the_middle):
            return matched
        return max(matched, await self._count_given_back(leases))

    async def _give_back_each(self, leases: Sequence[Lease], how: expressions.Pipeline) -> int:
        only = once(self.names)
        updates = [UpdateOne({**fence(lease, self.names), **only}, how) for lease in leases]
        try:
            return (await self.collection.bulk_write(updates, ordered=False)).matched_count
        except BulkWriteError as error:
            for refusal in refusals(error):
                self.aside.put(leases[refusal.position].lead_id, refusal.code, "release")
            return int(error.details["nMatched"])

    async def _count_given_back(self, leases: Sequence[Lease]) -> int:
        """Count the leads that are as a release leaves them: some may be from a try whose answer was lost."""
        ids = [lease.lead_id for lease in leases]
        these = {"_id": {"$in": ids}, self.names.enrichment_status: Status.PENDING}
        found = await self.collection.find(these, _given_back(self.names)).to_list()
        ours = {(expressions.id_key(each.lead_id), each.claim_id) for each in leases}
        return sum(
            each["is_released"] and (expressions.id_key(each["_id"]), each["claim_id"]) in ours
            for each in found
        )


def _given_back(names: Names) -> Document:
    return {
        "claim_id": text_or_null(book.noted(names, "claim_id")),
        "is_released": {"$eq": [book.noted(names, "released"), True]},
    }


def _same(id_: LeadId) -> LeadId:
    return id_


def _lead_of(lease: Lease) -> LeadId:
    return lease.lead_id


def _total(parted: Parted[LeadId, Written]) -> Written:
    written = [each for _, each in parted.parts]
    return Written(sum(each.matched for each in written), sum(each.changed for each in written))


def _tell_unknown(error: PyMongoError) -> None:
    """Log that the outcome is unknown (connection, timeout, write concern): the read-back answers it."""
    logger.bind(error=type(error).__name__).warning("claim.unknown")


def _bring_forward(aged: list[Document], won: dict[bytes, Lease], urgency: float) -> None:
    """Raise aged leads to this urgency, or each would hold a slot but wait behind all more urgent leads."""
    for candidate in aged:
        if lease := won.get(expressions.id_key(candidate["_id"])):
            urgency = max(urgency, lease.lead.priority)
            lease.lead = replace(lease.lead, priority=urgency)
