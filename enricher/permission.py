"""Whether a lead may be paid for: nobody who asked to be left alone, nobody beyond his plan.

Asked once for each attempt, before any provider; what costs nothing is not asked for here. A vendor
who says that the person objected (451) is heeded like `enricher forget`: the person is written down
for ever, and what was kept of them is erased.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from enricher.answer import Kind, Query
from enricher.identity import Identity
from enricher.lead import Lead, Reason
from enricher.paid import Books
from enricher.providers.base import Provider
from enricher.store.secret import Keyring
from enricher.store.suppression import Suppressed, key_of

_OBJECTED = "the person objected at a vendor"


@dataclass(frozen=True, slots=True)
class Permission:
    """The suppression list and the plans' quotas, as one question."""

    books: Books
    suppressed: Suppressed
    providers: Sequence[Provider] = field(default_factory=tuple)

    async def refusal(self, lead: Lead, identity: Identity) -> Reason | None:
        """Why nothing may be paid for this lead; `None` when it may."""
        if identity.email_key is not None and await self._is_suppressed(identity.email_key):
            return Reason.SUPPRESSED
        if not await self.books.surely(
            lambda: self.books.usage.admit(lead.account, lead.plan, lead.id)
        ):
            return Reason.OVER_QUOTA
        return None

    async def _is_suppressed(self, email_key: str) -> bool:
        key = key_of(self.books.keyring, email_key)
        return await self.books.surely(lambda: self.suppressed.has(key))

    async def withdraw(self, query: Query) -> None:
        """The person behind the address objected: never again, and nothing is kept."""
        if query.email_key is None:
            return
        entry = key_of(self.books.keyring, query.email_key)
        await self.books.surely(lambda: self.suppressed.add([entry], _OBJECTED))
        about = personal_keys(self.books.keyring, self.providers, query)
        await self.books.surely(lambda: self.books.cache.forget(about))


def personal_keys(keyring: Keyring, providers: Sequence[Provider], query: Query) -> list[str]:
    """Keys of everything that providers may have been asked about the person of this query."""
    questions = {
        each.name: each.question(query) for each in providers if each.kind is not Kind.COMPANY
    }
    return [keyring.key(name, text) for name, text in questions.items() if text is not None]
