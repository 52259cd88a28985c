"""The provider that reads a company's own web site: without a key, and for nothing.

A site that is down, refuses, or is not the company's is "not found" with the reason, kept as long as any such
answer: nobody's lead fails or waits for it. Only what this process or its network lacks is a failure, of
which nothing is kept; and it is not asked again in the same run of a lead.

Kept is what was read, not the page: pages hold personal data.
"""

from __future__ import annotations

from enricher.answer import Answer, Found, Kind, NotFound, Query, Unavailable
from enricher.catalogue import WEBSITE
from enricher.providers.base import Provider
from enricher.providers.website.fetch import (
    NoAnswerFromDns,
    NoResponse,
    OutOfResources,
    Unreachable,
)
from enricher.providers.website.visit import Refused, Visitor


class Website(Provider, listing=WEBSITE):
    """Visits the site of the lead's company."""

    is_free = True
    is_kept = True

    def __init__(self, visitor: Visitor) -> None:
        self._visitor = visitor

    def unfit(self, query: Query) -> str | None:
        return None if query.company_domain else query.no_company_domain

    async def ask(self, query: Query) -> Answer:
        try:
            visited = await self._visitor.visit(query.company_domain or "")
        except (NoAnswerFromDns, OutOfResources) as error:
            return Unavailable(str(error), was_sent=False, is_of_question=True, is_final=True)
        except (Refused, Unreachable, NoResponse) as error:
            return NotFound(str(error))
        return Found({Kind.COMPANY.section: visited.values}, cnpj=visited.cnpj)
