"""What can be said of an address without asking anybody: no key, no cost, no network.

Every fact is already in the query, so this provider makes the daemon useful with no key at all,
and says of a lead that is skipped why it was.
"""

from __future__ import annotations

from enricher.answer import Answer, FieldValues, Found, Kind, NotFound, Query
from enricher.providers.base import Provider

_NO_ADDRESS = "no e-mail address"


class Local(Provider):
    """Syntax, and the lists of disposable services, free-mail services and desks."""

    name = "local"
    vendor = "local"
    kind = Kind.EMAIL
    is_free = True

    def unfit(self, query: Query) -> str | None:
        return _NO_ADDRESS if query.email is None and query.is_valid else None

    async def ask(self, query: Query) -> Answer:
        verdict = _verdict(query)
        return Found({Kind.EMAIL.section: verdict}) if verdict else NotFound(_NO_ADDRESS)


def _verdict(query: Query) -> FieldValues:
    """`status` only where it is certain: good syntax proves nothing about a mailbox."""
    if not query.is_valid:
        return {"status": "invalid"}
    if query.email is None:
        return {}
    facts: dict[str, object] = {
        "is_disposable": query.is_disposable,
        "is_webmail": query.is_free_mail,
    }
    return facts | {"status": "disposable"} if query.is_disposable else facts
