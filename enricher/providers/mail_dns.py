"""Whether a domain can take mail at all, by the DNS: ENRICHER_MX_LOOKUP turns it on.

    no such domain, or a null MX (RFC 7505)     nobody can be written to there
    no MX, and no address either                no MX records; a verifier may know more
    no MX, but an address                       nothing: mail goes to the address (RFC 5321, 5.1)
    MX                                          MX records

A look-up that fails or takes too long is no answer and fails nobody. Answers are remembered, refusals
too, for an hour and for so many domains; who asks while a look-up is under way shares it.

A module of its own, because to load the resolver takes a start 100 ms that only that setting is worth.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

import dns.exception
import dns.name
import dns.resolver
from dns.asyncresolver import Resolver

LIFETIME_SECONDS = 2.0
"""Limit for all queries about one domain together."""
_EACH_SECONDS = 1.0
"""Limit for each name server, before the next is asked."""
REMEMBERED_SECONDS = 3600.0
FORGOTTEN_SECONDS = 30.0
"""Lifetime of a failure: short, to notice that the DNS is back, yet enough to spare colleagues the same wait."""
MOST_DOMAINS = 4096


@dataclass(frozen=True, slots=True)
class MailRecords:
    """What the DNS says about a domain's mail."""

    has_mx: bool | None
    """`None` where no MX is needed."""
    refuses_mail: bool = False
    """True only when certain that no mailbox can exist there."""


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
    """Cached MX look-ups, by the machine's name servers unless given a resolver."""

    def __init__(
        self,
        resolver: Resolver | None = None,
        clock: Callable[[], float] = time.monotonic,
        most: int = MOST_DOMAINS,
    ) -> None:
        self._resolver = resolver or machines_resolver()
        self._clock = clock
        self._most = most
        self._known: dict[str, _LookUp] = {}

    async def records(self, host: str) -> MailRecords | None:
        """Return what is known of this host's mail; `None` when the DNS cannot tell for now."""
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


def machines_resolver(lifetime: float = LIFETIME_SECONDS) -> Resolver:
    """Return a resolver with the machine's configuration; without one, every look-up is unanswered."""
    try:
        made = Resolver()
    except dns.resolver.NoResolverConfiguration:
        made = Resolver(configure=False)
    made.timeout, made.lifetime = _EACH_SECONDS, lifetime
    return made
