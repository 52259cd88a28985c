"""What the MongoDB user must be allowed to do, and what of it is missing.

The server is asked what it grants; nothing is tried out, so nothing is left behind. A server
without access control, or one that does not report it, counts as lacking nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pymongo import AsyncMongoClient
from pymongo.errors import OperationFailure

from enricher.calls import flights, ledger
from enricher.errors import DatabaseRefused
from enricher.intake import checkpoints, history
from enricher.lead import Document
from enricher.limits import bucket
from enricher.mongo import secret
from enricher.privacy import suppression
from enricher.queue import apart, outbox
from enricher.settings.sources import RESULTS
from enricher.status import daemons

_SIDE_COLLECTION = ("find", "insert", "update")


def required(
    leads: str, *, is_beside: bool = False, has_events: bool = False
) -> dict[str, Sequence[str]]:
    """PURE Return collection -> actions without which no lead can be enriched. Where results stand beside the leads,
    these are only read."""
    results = {f"{RESULTS}{leads}": (*_SIDE_COLLECTION, "remove")} if is_beside else {}
    events = (outbox.COLLECTION, outbox.DRAFTS) if has_events else ()
    return {
        leads: ("find",) if is_beside else ("find", "update"),
        **results,
        checkpoints.COLLECTION: _SIDE_COLLECTION,
        history.collection_name(leads): _SIDE_COLLECTION,
        flights.COLLECTION: (*_SIDE_COLLECTION, "remove"),
        secret.COLLECTION: _SIDE_COLLECTION,
        bucket.COLLECTION: _SIDE_COLLECTION,
        ledger.COLLECTION: _SIDE_COLLECTION,
        suppression.COLLECTION: (*_SIDE_COLLECTION, "remove"),
        **dict.fromkeys(events, (*_SIDE_COLLECTION, "remove")),
    }


def desired(
    leads: str, *, is_beside: bool = False, has_events: bool = False
) -> dict[str, Sequence[str]]:
    """PURE Return collection -> actions without which the work goes on, but slowly, untidily, or unseen."""
    indexing = ("createIndex", "listIndexes")
    return {
        leads: ("changeStream",) if is_beside else ("changeStream", *indexing),
        **({f"{RESULTS}{leads}": indexing} if is_beside else {}),
        history.collection_name(leads): ("remove",),
        flights.COLLECTION: ("createIndex",),
        ledger.COLLECTION: ("createIndex",),
        daemons.COLLECTION: (*_SIDE_COLLECTION, "createIndex"),
        apart.COLLECTION: (*_SIDE_COLLECTION, "remove"),
        **({outbox.COLLECTION: ("createIndex",)} if has_events else {}),
    }


async def require(
    client: AsyncMongoClient[Document],
    database: str,
    leads: str,
    *,
    is_beside: bool = False,
    has_events: bool = False,
) -> None:
    """Raise DatabaseRefused when a required privilege is not granted."""
    wanted = required(leads, is_beside=is_beside, has_events=has_events)
    if lacking := await missing(client, database, wanted):
        raise DatabaseRefused(
            f"MongoDB refuses a privilege (deploy/mongodb/role.js grants it): {', '.join(lacking)}"
        )


async def missing(
    client: AsyncMongoClient[Document], database: str, wanted: Mapping[str, Sequence[str]]
) -> list[str]:
    """Return what is not granted, as `update on crm.leads`."""
    granted = await _granted(client)
    if granted is None:
        return []
    return [
        f"{action} on {database}.{collection}"
        for collection, actions in wanted.items()
        for action in actions
        if not any(_grants(privilege, database, collection, action) for privilege in granted)
    ]


async def _granted(client: AsyncMongoClient[Document]) -> list[dict[str, Any]] | None:
    """Return the granted privileges; `None` without access control, or where an imitation does not report them."""
    try:
        status = await client.admin.command("connectionStatus", showPrivileges=True)
    except OperationFailure:
        return None
    info = status.get("authInfo", {})
    if not info.get("authenticatedUsers"):
        return None
    granted: list[dict[str, Any]] | None = info.get("authenticatedUserPrivileges")
    return granted


def _grants(privilege: Mapping[str, Any], database: str, collection: str, action: str) -> bool:
    """Return whether it grants the action. An empty name in its resource stands for all names."""
    resource = privilege["resource"]
    if action not in privilege["actions"]:
        return False
    if resource.get("anyResource"):
        return True
    return resource.get("db") in ("", database) and resource.get("collection") in ("", collection)
