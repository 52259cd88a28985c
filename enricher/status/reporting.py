"""What each provider was worth over some days, for `enricher report` and the status page. It only reads.

It reads the ledger of these days, and of the leads enriched in them at most as many as `worth` and `samples`
bound: where there are more, what they tell is an estimate, and said to be one.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from datetime import UTC

from pymongo.asynchronous.database import AsyncDatabase

from enricher.calls.ledger import Usage
from enricher.calls.order import Order, Orders
from enricher.lead import Document
from enricher.providers.base import Registered
from enricher.settings.load import Settings
from enricher.status import worth
from enricher.status.ordering import DAYS, Proposing, written
from enricher.status.worth import Brought, WorthReport

KEPT_SECONDS = 600.0
"""However many view the page, leads are read for the report once in this many seconds, and only when it is viewed."""
LONGEST_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Reporting:
    """Reads the ledger and the leads of all sources."""

    settings: Settings
    database: AsyncDatabase[Document]
    registered: Registered
    proposing: Proposing

    async def json(self) -> str:
        """Return the report of the last 30 days as one object. Raises DatabaseTrouble."""
        return worth.as_json(await self.read())

    async def read(self, days: int = DAYS) -> WorthReport:
        """Return the report. Raises DatabaseTrouble."""
        hello = await self.database.client.admin.command("hello")
        at = hello["localTime"].replace(tzinfo=UTC)
        leads, is_estimate, brought = 0, False, defaultdict[str, Brought](Brought)
        for source in self.settings.sources:
            data = source.names.enriched_data
            since = worth.since(at, days)
            found = await worth.read_brought(self.database[source.results], since, data)
            leads, is_estimate = leads + found.leads, is_estimate or found.is_estimate
            for provider, its in found.by.items():
                brought[provider].add(its)
        ledger = await Usage(self.database, {}, {}).days(days)
        is_auto = self.settings.providers.is_auto
        order = await Orders(self.database).read() if is_auto else Order()
        proposals = await self.proposing.propose(order, at, days)
        for provider, agreed in proposals.samples.agreed.items():
            brought[provider].agreed = round(agreed * proposals.samples.factor)
        prices = {
            name: vendor.credit_price
            for name, vendor in self.settings.vendors.items()
            if vendor.credit_price is not None
        }
        made = worth.report(at, days, self.registered.providers, prices, ledger, brought, leads)
        return replace(
            made,
            orders=[written(each, proposals.unit) for each in proposals.kinds],
            sampled=proposals.samples.leads,
            is_estimate=is_estimate,
            changes=[each.sentence for each in order.changes],
        )
