"""What each lead cost by the vendors' journal, beside the most that it may cost.

Each lead here has a company and a mailbox of its own, so every call is about one lead. A call counts whenever
the vendor's answer is one that it charges for, also where a vendor would not charge the same question again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from enricher.catalogue import FINDERS, PROVIDERS
from enricher.lead import Document, LeadId
from enricher.simulator.facts import named
from enricher.simulator.journal import Entry
from tests.support.rig import Rig, domain

CREDITS = {name: each.credits for name, each in PROVIDERS.items()}
_OF_ROUTE = {
    (each.vendor, each.path.strip("/").removeprefix("v2/")): name
    for name, each in PROVIDERS.items()
    if each.vendor in ("clearbit", "hunter")
}


def leads_apart(count: int) -> list[Document]:
    """Leads of which no two share a question."""
    return [{"_id": number, "email": f"ada.lovelace@{domain()}"} for number in range(count)]


def companies_by_name(count: int) -> list[Document]:
    """Leads with nothing but a name of their own; one in three is nobody's, by what vendors know."""
    told = ("", "", " Unknown")
    return [
        {"_id": f"named-{n}", "company": f"{_own_word(n)} Freight{told[n % 3]} Ltda"}
        for n in range(count)
    ]


def _own_word(number: int) -> str:
    return "Quokka" + "".join("abcdefghij"[int(digit)] for digit in f"{number:03}")


def paid(rig: Rig, prices: Mapping[str, float], leads: Iterable[Document]) -> dict[LeadId, Decimal]:
    """What vendors charged for each lead, in money; also where one would not charge the same question again."""
    whose = {question: lead["_id"] for lead in leads for question in _questions(lead)}
    costs = dict.fromkeys(whose.values(), Decimal(0))
    charged: set[tuple[str, ...]] = set()
    for entry in rig.simulator.journal:
        listing, matter = _LISTINGS[entry.vendor, entry.route], (entry.vendor, *entry.matter)
        if entry.charged:
            charged.add(matter)
        is_silent = entry.status in (None, 0)
        if is_silent or (matter in charged and entry.status in listing.charges):
            price = Decimal(str(prices[entry.vendor])) * Decimal(str(listing.credits))
            costs[whose[entry.question.rpartition("@")[2]]] += price
    return costs


_LISTINGS = {(each.vendor, each.route): each for each in (*PROVIDERS.values(), *FINDERS.values())}


def _questions(lead: Document) -> list[str]:
    """A domain, or a name and the domain that vendors find by it."""
    if "email" in lead:
        return [place(lead)]
    name = str(lead["company"]).lower()
    found = named("pdl", name)
    return [name, *([found.domain] if found else ())]


@dataclass(frozen=True, slots=True)
class Cost:
    """One lead, when all is done."""

    lead: LeadId
    credits: float
    capped: frozenset[str]

    def has_room(self, ceiling: float) -> bool:
        """Whether a call that was not made would have been within the ceiling."""
        return any(self.credits + CREDITS[name] <= ceiling for name in self.capped)


async def costs(rig: Rig, leads: Iterable[Document]) -> list[Cost]:
    calls: defaultdict[str, list[Entry]] = defaultdict(list)
    for entry in rig.simulator.journal:
        calls[entry.question.rpartition("@")[2]].append(entry)
    return [
        Cost(lead["_id"], sum(map(_credits, calls[place(lead)])), _capped(now))
        for lead in leads
        for now in [await rig.lead(lead["_id"])]
    ]


def place(lead: Document) -> str:
    return str(lead["email"]).rpartition("@")[2]


def _credits(call: Entry) -> float:
    listing = PROVIDERS[_OF_ROUTE[call.vendor, call.route]]
    return listing.credits if call.status is None or call.status in (0, *listing.charges) else 0.0


def _capped(lead: Mapping[str, Document]) -> frozenset[str]:
    metadata = lead["enriched_data"]["enrichment_metadata"]
    return frozenset(metadata.get("capped", ()))
