"""Decide whether a lead may be paid for: refuses suppressed people and accounts over quota.

Asked once per attempt, before any provider; free calls need no permission. When a vendor says
that the person objected (451), the effect is that of `enricher forget`: the person is suppressed until
told otherwise, and what was kept about them is erased.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

from enricher.calls.question import Books
from enricher.identity.identify import Identity
from enricher.lead import Lead, Reason, Subject
from enricher.mongo.expressions import id_key
from enricher.privacy.suppression import Suppressed

_OBJECTED = "the person objected at a vendor"


@dataclass(frozen=True, slots=True)
class Permission:
    """The suppression list and the plans' quotas, as one question."""

    books: Books
    suppressed: Suppressed
    forget: Callable[[Identity, str, bytes], Awaitable[object]]
    """Forgets a person, for a reason, but for the lead with that key: see `Forgetting.run`."""

    async def refusal(self, lead: Lead, identity: Identity, about: Subject) -> Reason | None:
        """Return why nothing may be paid for this lead; `None` when it may."""
        if identity.email_key is not None:
            is_known = partial(self.suppressed.knows, self.books.keyring, identity.email_key)
            if await self.books.surely(is_known):
                return Reason.SUPPRESSED
        count = partial(self.books.usage.admit, lead.account, lead.plan, lead.id, about)
        if not await self.books.surely(count):
            return Reason.OVER_QUOTA
        return None

    async def withdraw(self, lead: Lead, identity: Identity) -> None:
        """Forget the person behind the lead's address, who objected at a vendor."""
        spared = id_key(lead.id)  # its own worker settles it
        await self.books.surely(partial(self.forget, identity, _OBJECTED, spared))
