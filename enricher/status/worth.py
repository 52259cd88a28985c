"""What each provider was worth: its calls and charges from the ledger, and from the leads what it brought.

A field counts for the provider whose value stands there, which the provenance says: so what a provider filled
is what nobody before it in the waterfall had, or had better. A value of its own that another's stands in the
place of is in `enrichment_metadata.alternatives`.

The leads are counted in the database, and nothing personal leaves it.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime, timedelta
from typing import Any

from pymongo.asynchronous.collection import AsyncCollection

from enricher.calls.ledger import DayOfProvider
from enricher.fields import SECTIONS
from enricher.lead import Document
from enricher.mongo.expressions import Expression, Pipeline, is_type
from enricher.providers.base import Provider
from enricher.status.lately import enriched_since
from enricher.values.merge import METADATA

MOST_LEADS = 20_000
"""Of a collection; they take a second."""
UNKNOWN = "unknown"
_SIZES = ((10, "1-10"), (50, "11-50"), (200, "51-200"), (1_000, "201-1,000"))
_LARGEST = "more than 1,000"
_ANSWERS = {
    "found": "sources_used",
    "not_found": "sources_not_found",
    "failed": "sources_failed",
}


@dataclass(slots=True)
class Hits:
    """Leads for which a provider had data, and for which it had none."""

    found: int = 0
    not_found: int = 0

    def add(self, other: Hits) -> None:
        self.found += other.found
        self.not_found += other.not_found

    @property
    def rate(self) -> float | None:
        """Share of the answers with data; `None` without an answer."""
        answers = self.found + self.not_found
        return self.found / answers if answers else None


@dataclass(slots=True)
class Brought:
    """What a provider brought to the leads of some days."""

    hits: Hits = field(default_factory=Hits)
    failed: int = 0
    filled: int = 0
    """Fields in which its value stands."""
    differed: int = 0
    """Fields in which another's stands and it said something else."""
    agreed: int = 0
    """Fields in which another's stands and it said the same, as far as its answers are still kept."""
    by_country: dict[str, Hits] = field(default_factory=lambda: defaultdict(Hits))
    by_size: dict[str, Hits] = field(default_factory=lambda: defaultdict(Hits))

    def add(self, other: Brought) -> None:
        """Add what it brought to other leads."""
        self.hits.add(other.hits)
        self.failed += other.failed
        self.filled += other.filled
        self.differed += other.differed
        self.agreed += other.agreed
        for ours, theirs in (
            (self.by_country, other.by_country),
            (self.by_size, other.by_size),
        ):
            for name, hits in theirs.items():
                ours[name].add(hits)


@dataclass(frozen=True, slots=True)
class Worth:
    """One provider, over some days."""

    name: str
    vendor: str
    kind: str
    calls: int
    charged: int
    ambiguous: int
    """Calls that the vendor may have charged: nobody saw their end."""
    saved: int
    """Calls that a kept answer or another lead's call made needless."""
    credits: float
    cost: float | None
    """Of the charged calls; `None` where no price is set."""
    brought: Brought

    @property
    def cost_per_field(self) -> float | None:
        """Cost of a field that it filled; `None` without a price, or when it filled none."""
        if self.cost is None or not self.brought.filled:
            return None
        return self.cost / self.brought.filled


@dataclass(frozen=True, slots=True)
class WorthReport:
    """All providers, in the order in which they are asked."""

    at: datetime
    days: int
    leads: int
    """Leads that were enriched in these days."""
    providers: Sequence[Worth]
    orders: Sequence[Document] = ()
    """Of each kind with a choice: today's order and the proposed one, as `ordering.written` has them."""
    sampled: int = 0
    """Leads from which that is known."""
    is_estimate: bool = False
    """What the leads tell is estimated from some of them, chosen by chance."""
    changes: Sequence[str] = ()
    """Changes of the order with `ENRICHER_PROVIDER_ORDER=auto`, latest first."""


def report(
    at: datetime,
    days: int,
    providers: Sequence[Provider],
    prices: Mapping[str, float],
    ledger: Sequence[DayOfProvider],
    brought: Mapping[str, Brought],
    leads: int,
) -> WorthReport:
    """PURE Put together what was read. `prices`: vendor -> price of a credit."""
    rows = []
    for provider in providers:
        own = [day for day in ledger if day.provider == provider.name]
        charged = sum(day.charged for day in own)
        credits_, price = charged * provider.credits, prices.get(provider.vendor)
        rows.append(
            Worth(
                provider.name,
                provider.vendor,
                provider.kind.value,
                sum(day.begun for day in own),
                charged,
                sum(day.ambiguous for day in own),
                sum(day.saved_by_cache + day.saved_by_coalescing for day in own),
                credits_,
                None if price is None else round(credits_ * price, 6),
                brought.get(provider.name, Brought()),
            )
        )
    return WorthReport(at, days, leads, rows)


def as_json(made: WorthReport) -> str:
    """Return one object. Rates are shares of 1, money is in the unit of the prices."""
    providers = [_row(each) for each in made.providers]
    document = {
        "at": made.at.isoformat(),
        "days": made.days,
        "leads": made.leads,
        "is_estimate": made.is_estimate,
        "providers": providers,
        "orders": list(made.orders),
        "sampled": made.sampled,
        "order_changes": list(made.changes),
    }
    return json.dumps(document)


def _row(each: Worth) -> Document:
    brought = each.brought
    own = {one.name: getattr(each, one.name) for one in fields(each) if one.name != "brought"}
    return {
        **own,
        **_hits(brought.hits),
        "failed": brought.failed,
        "filled": brought.filled,
        "agreed": brought.agreed,
        "differed": brought.differed,
        "cost_per_field": each.cost_per_field,
        "by_country": _rates(brought.by_country),
        "by_size": _rates(brought.by_size),
    }


def _hits(hits: Hits) -> Document:
    return {**asdict(hits), "hit_rate": hits.rate}


def _rates(by: Mapping[str, Hits]) -> Document:
    return {name: _hits(hits) for name, hits in sorted(by.items())}


# Reading the leads


@dataclass(frozen=True, slots=True)
class BroughtLately:
    """What the leads of one collection tell."""

    leads: int
    """Leads that were enriched since then."""
    by: Mapping[str, Brought]
    """Provider -> what it brought them."""
    is_estimate: bool
    """The figures are those of leads chosen by chance, times as many as each of them stands for."""


async def read_brought(
    leads: AsyncCollection[Document], since: datetime, data: str, most: int = MOST_LEADS
) -> BroughtLately:
    """Read what providers brought to at most so many leads. `data` is the path of `enriched_data`.

    Raises DatabaseTrouble.
    """
    lately = await enriched_since(leads, since, data, most)
    found: dict[str, Brought] = defaultdict(Brought)
    cursor = await leads.aggregate(_pipeline(lately.stages, data), allowDiskUse=True)
    async for row in cursor:
        key = row["_id"]
        number = round(int(row["n"]) * lately.factor)
        _note(found[str(key["p"])], str(key["what"]), key, number)
    return BroughtLately(lately.leads, dict(found), lately.is_estimate)


def _note(brought: Brought, what: str, key: Mapping[str, Any], number: int) -> None:
    if what in ("found", "not_found"):
        for hits in (
            brought.hits,
            brought.by_country[str(key["country"])],
            brought.by_size[str(key["size"])],
        ):
            setattr(hits, what, getattr(hits, what) + number)
    else:
        setattr(brought, what, getattr(brought, what) + number)


def _pipeline(chosen: Sequence[Document], data: str) -> Pipeline:
    """Count `{p: provider, what, country, size}`. Whatever stands in the fields, nothing raises."""
    metadata = f"${data}.{METADATA}"
    facts: list[Expression] = [_each(f"{metadata}.{name}", what) for what, name in _ANSWERS.items()]
    for section in SECTIONS:
        facts.append(_winners(f"{metadata}.provenance.{section}"))
        facts.append(_losers(f"{metadata}.alternatives.{section}"))
    company = f"${data}.company_data"
    country = f"{company}.country_code"
    known = {"$cond": [is_type(country, "string"), country, UNKNOWN]}
    return [
        *chosen,
        {
            "$project": {
                "_id": 0,
                "country": known,
                "size": _size(f"{company}.employee_count"),
                "facts": {"$concatArrays": facts},
            }
        },
        {"$unwind": "$facts"},
        {
            "$group": {
                "_id": {
                    "p": "$facts.p",
                    "what": "$facts.what",
                    "country": _of_answers("$country"),
                    "size": _of_answers("$size"),
                },
                "n": {"$sum": 1},
            }
        },
    ]


def _of_answers(path: str) -> Expression:
    return {"$cond": [{"$in": ["$facts.what", ["found", "not_found"]]}, path, ""]}


def _size(path: str) -> Expression:
    branches = [
        {"case": {"$lte": [path, most]}, "then": {"$literal": name}} for most, name in _SIZES
    ]
    sizes = {"$switch": {"branches": branches, "default": _LARGEST}}
    return {"$cond": [{"$isNumber": path}, sizes, UNKNOWN]}


def _each(path: str, what: str) -> Expression:
    """Return a fact for each provider that a list names."""
    texts = {"$filter": {"input": path, "cond": is_type("$$this", "string")}}
    facts = {"$map": {"input": texts, "in": {"p": "$$this", "what": {"$literal": what}}}}
    return {"$cond": [{"$isArray": path}, facts, []]}


def _pairs(path: str) -> Expression:
    return {"$cond": [is_type(path, "object"), {"$objectToArray": path}, []]}


def _winners(path: str) -> Expression:
    """Return a fact for each field: its value is this provider's."""
    named = {"$filter": {"input": _pairs(path), "cond": is_type("$$this.v", "string")}}
    return {"$map": {"input": named, "in": {"p": "$$this.v", "what": "filled"}}}


def _losers(path: str) -> Expression:
    """Return a fact for each provider that said something else of a field."""
    others = {"$map": {"input": _pairs("$$this.v"), "as": "other", "in": _differed("$$other.k")}}
    together = {"$concatArrays": ["$$value", others]}
    return {"$reduce": {"input": _pairs(path), "initialValue": [], "in": together}}


def _differed(provider: str) -> Expression:
    return {"p": provider, "what": "differed"}


def since(at: datetime, days: int) -> datetime:
    """Return the beginning of the first of the last `days` days (UTC), today included: those of the ledger."""
    first = at.replace(hour=0, minute=0, second=0, microsecond=0)
    return first - timedelta(days=days - 1)
