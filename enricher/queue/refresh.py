"""The mark beside a wish for newer answers: it shows that one of our commands wished, for this lead.

Kept answers that are older than `enrichment.refresh_since` do not count, so each wish may be paid for.
Writers can put any date there. One counts only with the keyed hash of the lead's `_id` and that date
beside it, which nobody makes without the fleet's secret. Copied to another lead or another date it is
void; put back on the same lead it wishes for nothing that was not answered since.
"""

from __future__ import annotations

import hmac
from datetime import datetime, timedelta

from enricher.lead import Document, LeadId
from enricher.mongo.expressions import id_key
from enricher.mongo.secret import Keyring
from enricher.queue.book import EPOCH

_MILLISECOND = timedelta(milliseconds=1)


def wish(keyring: Keyring, id_: LeadId, since: datetime) -> Document:
    """The fields of `enrichment` that wish for answers newer than `since`, a time of the server's."""
    return {
        "refresh_since": {"$literal": since},
        "refresh_mark": {"$literal": _mark(keyring, id_, since)},
    }


def wished(keyring: Keyring | None, id_: LeadId, since: object, mark: object) -> datetime | None:
    """PURE The date, if one of our commands put it there."""
    if keyring is None or not isinstance(since, datetime) or not isinstance(mark, str):
        return None
    is_ours = hmac.compare_digest(mark.encode(), _mark(keyring, id_, since).encode())
    return since if is_ours else None


def _mark(keyring: Keyring, id_: LeadId, since: datetime) -> str:
    return keyring.key("refresh", id_key(id_).hex(), str((since - EPOCH) // _MILLISECOND))
