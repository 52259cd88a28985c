"""A lease, as it is read from a claimed lead, and the filter of every write that is made under it."""

from __future__ import annotations

from typing import Any

from bson import DBRef
from loguru import logger

from enricher.lead import Document, Lead, Lease, Status
from enricher.mongo.replies import UnreadableDocument, reading
from enricher.mongo.secret import Keyring
from enricher.queue import book
from enricher.queue.doubled import is_doubled
from enricher.queue.inputs import inputs_unchanged, read_inputs, text_or_null
from enricher.queue.lanes import rank_of
from enricher.queue.refresh import wished
from enricher.telemetry.labels import label
from enricher.values.storable import mapping

CLAIMED = {
    "token": "$enrichment.token",
    "claim_id": "$enrichment.claim_id",
    "attempts": "$enrichment.attempts",
    "answered": book.bounded("$enrichment.answered", {}),
    "waited_ms": "$enrichment.waited_ms",
    "interruptions": "$enrichment.interruptions",
    "subject": book.bounded("$enrichment.subject"),
    "inputs": "$enrichment.inputs",
    "priority": book.PRIORITY,
    "newer_than": book.REFRESH_SINCE,
    "refresh_mark": text_or_null("$enrichment.refresh_mark"),
    "job_title": text_or_null("$job_title"),
    "enriched_data": book.DATA,
    "data_bytes": book.DATA_BYTES,
}
"""What is read of a lead that was claimed, beside `account` and `plan`."""


def lease_of(
    document: Document, claim_id: str, deadline: float, keyring: Keyring | None = None
) -> Lease | None:
    """From what `CLAIMED` reads; `deadline` by the monotonic clock.

    `None` where a writer wrote into our book-keeping since the claim: it is work again when its lease
    runs out, and the next claim puts the book-keeping right. Without a keyring no wish for newer
    answers is heeded.
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
    waited = document.get("waited_ms")
    lead = Lead(
        id=document["_id"],
        inputs=read_inputs(document["inputs"]),
        enriched_data=mapping(data),
        data_bytes=data_bytes,
        is_doubled=is_doubled(_whole(data), data_bytes),
        answered=mapping(document["answered"]),
        job_title=document["job_title"],
        subject=document.get("subject"),
        attempt=int(document["attempts"]),
        interruptions=int(document["interruptions"]),
        waited_seconds=None if waited is None else max(0.0, waited / 1000),
        priority=rank_of(document),
        account=document.get("account"),
        plan=document.get("plan"),
        newer_than=since and wished(keyring, document["_id"], since, mark),
    )
    return Lease(lead, int(document["token"]), claim_id, deadline)


def _whole(value: object) -> dict[str, Any]:
    """All of it: of an object with `$ref` in it the driver makes a `DBRef`, which is no mapping and no data."""
    return mapping(value.as_doc() if isinstance(value, DBRef) else value)


def fence(lease: Lease) -> Document:
    """The filter of every write a worker makes: only while the lease is still its own."""
    return {
        "_id": lease.lead_id,
        "enrichment.token": lease.token,
        "enrichment.claim_id": lease.claim_id,
        "enrichment_status": Status.PROCESSING,
    }


def unchanged(lease: Lease) -> Document:
    """The same, and only while the lead asks what it asked when it was claimed."""
    return {**fence(lease), **inputs_unchanged(lease.lead.inputs)}
