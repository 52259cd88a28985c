"""Decide whether a lead may be paid for: refuses suppressed people and accounts over quota.

Asked once per attempt, before any provider; free calls need no permission. When a vendor says
that the person objected (451), the effect is that of `enricher forget`: the person is suppressed until
told otherwise, and what was kept about them is erased.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from enricher.calls.paid import Books
from enricher.identity.identify import Identity
from enricher.lead import Lead, Reason, Subject
from enricher.mongo.expressions import id_key
from enricher.privacy.forgetting import Forgetting
from enricher.privacy.suppression import Suppressed, key_of

_OBJECTED = "the person objected at a vendor"


@dataclass(frozen=True, slots=True)
class Permission:
    """The suppression list and the plans' quotas, as one question."""

    books: Books
    suppressed: Suppressed
    forgetting: Forgetting

    async def refusal(self, lead: Lead, identity: Identity, about: Subject) -> Reason | None:
        """Return why nothing may be paid for this lead; `None` when it may."""
        if identity.email_key is not None and await self._is_suppressed(identity.email_key):
            return Reason.SUPPRESSED
        count = partial(self.books.usage.admit, lead.account, lead.plan, lead.id, about)
        if not await self.books.surely(count):
            return Reason.OVER_QUOTA
        return None

    async def _is_suppressed(self, email_key: str) -> bool:
        key = key_of(self.books.keyring, email_key)
        return await self.books.surely(lambda: self.suppressed.has(key))

    async def withdraw(self, lead: Lead, identity: Identity) -> None:
        """Forget the person behind the lead's address, who objected at a vendor."""
        forget = partial(
            self.forgetting.run,
            identity,
            _OBJECTED,
            spared=id_key(lead.id),  # its own worker settles it
        )
        await self.books.surely(forget)
