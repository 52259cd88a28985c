"""Read a lease from a claimed lead, and filter every write that is made under it."""

from __future__ import annotations

from functools import cache

from bson import DBRef
from loguru import logger

from enricher.fields import Names
from enricher.lead import Document, Lead, Lease, Recheck, Status
from enricher.mongo.batch import Stages, Table, TableRow, encode
from enricher.mongo.expressions import Expression, Pipeline
from enricher.mongo.outage import UnreadableDocument, reading
from enricher.mongo.secret import Keyring
from enricher.queue import book
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
from enricher.queue.lanes import is_doubled, once, rank_of
from enricher.queue.requests import planned_since, wished
from enricher.telemetry.log import label
from enricher.values.storable import mapping


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
        is_doubled=is_doubled(whole, data_bytes),
        answered=mapping(document["answered"]),
        job_title=document["job_title"],
        subject=document.get("subject"),
        attempt=int(document["attempts"]),
        interruptions=int(document["interruptions"]),
        is_untold=bool(document["is_untold"]),
        waited_seconds=None if waited is None else max(0.0, waited / 1000),
        priority=rank_of(document),
        account=document.get("account"),
        plan=document.get("plan"),
        newer_than=since and wished(keyring, document["_id"], since, mark),
        recheck=_recheck(document, keyring) if document["recheck_since"] else None,
        rechecks=int(document["rechecks"]),
        spent=int(document.get("spent", 0)),
    )
    return Lease(lead, int(document["token"]), claim_id, deadline)


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


def unchanged(lease: Lease, names: Names, mapped: LeadMapping = CONTRACT) -> Document:
    """Return the fence that also requires the inputs to be as they were at the claim."""
    return {**fence(lease, names), **inputs_unchanged(lease.lead.inputs, names, mapped)}


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
    names: Names, stages: Stages, only: Document, mapped: LeadMapping = CONTRACT
) -> Table:
    """Return the table whose rows `unchanged_row` makes. The row stands in the book-keeping meanwhile, which holds
    no field twice where a lead may be written (`lanes.once`)."""
    fence = {**_fenced(names), **asked_about(mapped)}
    return Table(_fenced(names), fence, stages, only, names.enrichment)


def fenced_row(lease: Lease) -> TableRow:
    """Return the row of a lead that is written while the lease is the worker's own."""
    key = encode(_key(lease))
    return TableRow(lease.lead_id, key, key)


def unchanged_row(lease: Lease, values: Document, mapped: LeadMapping = CONTRACT) -> TableRow:
    """Return the row of a lead that gets these values while its inputs are as they were, too. Raises one of
    `table.UNFIT`."""
    key, inputs = _key(lease), lease.lead.inputs
    is_exact = is_copy_exact(inputs, mapped)
    fence = encode({**key, **asked_in(inputs, mapped)}) if is_exact else None
    return TableRow(lease.lead_id, encode(key), fence, encode(values))


def beside_table(names: Names, stages: Stages, only: Document) -> Table:
    """Return the table whose rows `beside_row` makes: for results that stand beside the leads."""
    return Table(_fenced(names), _fenced(names), stages, only, names.enrichment)


def beside_row(lease: Lease, values: Document) -> TableRow:
    """Return the row of a result that gets these values while the lease is the worker's own. Raises as
    `unchanged_row` does."""
    key = encode(_key(lease))
    return TableRow(lease.lead_id, key, key, encode(values))


def _key(lease: Lease) -> Document:
    return {
        "id": lease.lead_id,
        "token": lease.token,
        "claim_id": lease.claim_id,
        "status": Status.PROCESSING,
    }
