"""What can be said of an address without asking a vendor: no key, no cost.

Every fact is already in the query, so this provider makes the daemon useful with no key at all,
and says of a lead that is skipped why it was. Only where the operator wants it is the DNS asked
whether the domain takes mail (`mail_dns.py`): one that never does spares the paid check.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from enricher.answer import Answer, FieldValues, Found, Kind, NotFound, Query
from enricher.catalogue import LOCAL
from enricher.providers.base import Provider

if TYPE_CHECKING:
    pass
import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

import dns.exception
import dns.name
import dns.resolver
from dns.asyncresolver import Resolver

_NO_ADDRESS = "no e-mail address"


class Local(Provider, listing=LOCAL):
    """Syntax, the lists of disposable services, free-mail services and desks, and perhaps the DNS."""

    is_free = True

    def __init__(self, mail: MailDns | None = None) -> None:
        self._mail = mail

    def unfit(self, query: Query) -> str | None:
        return _NO_ADDRESS if query.email is None and query.is_valid else None

    async def ask(self, query: Query) -> Answer:
        verdict = {**_verdict(query), **await self._of_domain(query)}
        return Found({Kind.EMAIL.section: verdict}) if verdict else NotFound(_NO_ADDRESS)

    async def _of_domain(self, query: Query) -> FieldValues:
        """Mail services are known to take mail, and of the others it is the DNS that knows."""
        if self._mail is None or not query.email or query.is_free_mail or query.is_disposable:
            return {}
        known = await self._mail.records(query.email.rpartition("@")[2])
        if known is None or known.has_mx is None:
            return {}
        facts: dict[str, object] = {"mx_records": known.has_mx}
        return facts | {"status": "invalid"} if known.refuses_mail else facts


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


# Whether a domain can take mail at all, by the DNS: ENRICHER_MX_LOOKUP turns it on.
#
#     no such domain, or a null MX (RFC 7505)     nobody can be written to there
#     no MX, and no address either                no MX records; a verifier may know more
#     no MX, but an address                       nothing: mail goes to the address (RFC 5321, 5.1)
#     MX                                          MX records
#
# A look-up that fails or takes too long is no answer and fails nobody. Answers are remembered, refusals
# too, for an hour and for so many domains; who asks while a look-up is under way shares it.

LIFETIME_SECONDS = 2.0
"""For all questions about one domain together."""
_EACH_SECONDS = 1.0
"""Before the next name server is asked."""
REMEMBERED_SECONDS = 3600.0
FORGOTTEN_SECONDS = 30.0
"""After a failure: soon enough to notice that the DNS is back, and no delay for each colleague."""
MOST_DOMAINS = 4096


@dataclass(frozen=True, slots=True)
class MailRecords:
    """What the DNS says of a domain's mail."""

    has_mx: bool | None
    """`None` where no MX is needed."""
    refuses_mail: bool = False
    """Certain: no mailbox can be there."""


NO_DOMAIN = NULL_MX = MailRecords(has_mx=False, refuses_mail=True)
NO_MX = MailRecords(has_mx=False)
ADDRESS_ALONE = MailRecords(has_mx=None)
MX = MailRecords(has_mx=True)


@dataclass(slots=True)
class _LookUp:
    task: asyncio.Task[MailRecords | None]
    began_at: float

    def is_over(self, now: float) -> bool:
        if not self.task.done():
            return False
        is_answer = not self.task.cancelled() and self.task.result() is not None
        return now - self.began_at > (REMEMBERED_SECONDS if is_answer else FORGOTTEN_SECONDS)


class MailDns:
    """Asks the name servers of the machine, unless it is given a resolver of its own."""

    def __init__(
        self,
        resolver: Resolver | None = None,
        clock: Callable[[], float] = time.monotonic,
        most: int = MOST_DOMAINS,
    ) -> None:
        self._resolver = resolver or _resolver()
        self._clock = clock
        self._most = most
        self._known: dict[str, _LookUp] = {}

    async def records(self, host: str) -> MailRecords | None:
        """What is known of the mail of this host; `None` when the DNS cannot tell for now."""
        known = self._known.get(host)
        if known is None or known.is_over(self._clock()):
            known = self._ask(host)
        return await asyncio.shield(known.task)

    def _ask(self, host: str) -> _LookUp:
        task = asyncio.create_task(self._looked_up(host), name="mail_dns")
        self._known.pop(host, None)
        found = self._known[host] = _LookUp(task, self._clock())
        while len(self._known) > self._most:
            del self._known[next(iter(self._known))]
        return found

    async def _looked_up(self, host: str) -> MailRecords | None:
        try:
            async with asyncio.timeout(self._resolver.lifetime):
                return await self._of(host)
        except dns.resolver.NXDOMAIN:
            return NO_DOMAIN
        except (TimeoutError, dns.exception.DNSException, OSError):
            return None

    async def _of(self, host: str) -> MailRecords:
        try:
            answer = await self._resolver.resolve(host, "MX", search=False)
        except dns.resolver.NoAnswer:
            has_address = await self._has(host, "A") or await self._has(host, "AAAA")
            return ADDRESS_ALONE if has_address else NO_MX
        is_null = all(record.exchange == dns.name.root for record in answer)
        return NULL_MX if is_null else MX

    async def _has(self, host: str, kind: str) -> bool:
        try:
            await self._resolver.resolve(host, kind, search=False)
        except dns.resolver.NoAnswer:
            return False
        return True


def _resolver() -> Resolver:
    """As the machine is set up; without a set-up nobody can be asked, and nothing is known."""
    try:
        made = Resolver()
    except dns.resolver.NoResolverConfiguration:
        made = Resolver(configure=False)
    made.timeout, made.lifetime = _EACH_SECONDS, LIFETIME_SECONDS
    return made
