"""PURE What is sent, and its signature, by the Standard Webhooks specification (standardwebhooks.com).

    webhook-id           the event's id: the same at every try, so a receiver drops what it has seen
    webhook-timestamp    the moment of this try, in seconds
    webhook-signature    `v1,` and the base64 of HMAC-SHA256 over `id.timestamp.body`, one for each secret

With two secrets the receiver may change from one to the other at any time: it takes a message if one signature fits.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Sequence
from datetime import UTC, datetime

from bson import json_util

from enricher.lead import Document

TYPE = "lead.enriched"


def body_of(event: Document) -> bytes:
    """Return the body: an `_id` that JSON has no type for is in MongoDB's relaxed extended JSON."""
    at: datetime = event["at"]
    said = {
        "type": TYPE,
        "timestamp": at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "data": {
            "collection": event["collection"],
            "lead": event["lead"],
            "status": event["status"],
            "changed": event["changed"],
            "attempt": event["attempt"],
        },
    }
    return json_util.dumps(said, json_options=json_util.RELAXED_JSON_OPTIONS).encode()


def sign(keys: Sequence[bytes], id_: str, timestamp: int, body: bytes) -> str:
    """Return the signatures, separated by blanks."""
    signed = f"{id_}.{timestamp}.".encode() + body
    return " ".join(f"v1,{_signature(key, signed)}" for key in keys)


def _signature(key: bytes, signed: bytes) -> str:
    return base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()


def headers_of(keys: Sequence[bytes], id_: str, timestamp: int, body: bytes) -> dict[str, str]:
    """Return the headers of one try."""
    return {
        "Content-Type": "application/json",
        "webhook-id": id_,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": sign(keys, id_, timestamp, body),
    }
