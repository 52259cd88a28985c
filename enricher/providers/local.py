"""What can be said of an address without asking a vendor: no key, no cost.

Every fact is already in the query, so this provider makes the daemon useful with no key at all, and states
why a skipped lead was skipped. Only if the operator turns it on does it ask the DNS whether the domain takes
mail (`MailDns`): a domain that never does makes the paid check unnecessary.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from enricher.answer import Answer, FieldValues, Found, Kind, NotFound, Query
from enricher.catalogue import LOCAL
from enricher.providers.base import Provider

if TYPE_CHECKING:
    from enricher.providers.mail_dns import MailDns

_NO_ADDRESS = "no e-mail address"


class Local(Provider, listing=LOCAL):
    """Syntax; the lists of disposable services, free-mail services and role names; optionally the DNS."""

    is_free = True

    def __init__(self, mail: MailDns | None = None) -> None:
        self._mail = mail

    def unfit(self, query: Query) -> str | None:
        return _NO_ADDRESS if query.email is None and query.is_valid else None

    async def ask(self, query: Query) -> Answer:
        verdict = {**_verdict(query), **await self._of_domain(query)}
        return Found({Kind.EMAIL.section: verdict}) if verdict else NotFound(_NO_ADDRESS)

    async def _of_domain(self, query: Query) -> FieldValues:
        """Return what the DNS says of the domain. Mail services are known to take mail and are not looked up."""
        if self._mail is None or not query.email or query.is_free_mail or query.is_disposable:
            return {}
        known = await self._mail.records(query.email.rpartition("@")[2])
        if known is None or known.has_mx is None:
            return {}
        facts: dict[str, object] = {"mx_records": known.has_mx}
        return facts | {"status": "invalid"} if known.refuses_mail else facts


def _verdict(query: Query) -> FieldValues:
    """Judge the address. Sets `status` only when certain: good syntax proves nothing about a mailbox."""
    if not query.is_valid:
        return {"status": "invalid"}
    if query.email is None:
        return {}
    facts: dict[str, object] = {
        "is_disposable": query.is_disposable,
        "is_webmail": query.is_free_mail,
    }
    return facts | {"status": "disposable"} if query.is_disposable else facts
