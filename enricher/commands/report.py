"""`enricher report`: what each provider was worth, over some days. Uses only the database, and only reads it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import UTC

from pymongo.asynchronous.database import AsyncDatabase
from rich.console import Group, RenderableType
from rich.text import Text

from enricher import wiring
from enricher.calls.ledger import Usage
from enricher.commands.database import explained, opened
from enricher.commands.status import wide_console
from enricher.lead import Document
from enricher.providers.base import Registered
from enricher.settings.load import Settings
from enricher.status import worth
from enricher.status.view import table
from enricher.status.worth import Brought, Hits, Worth, WorthReport

_MOST_GROUPS = 8


async def report(settings: Settings, days: int, *, as_json: bool) -> None:
    """Print the report. Raises DatabaseError when it cannot be read."""
    async with opened(settings) as database, wiring.vendors(settings) as registered:
        with explained("reading what the providers brought"):
            made = await read(settings, database, registered, days)
    console = wide_console()
    if as_json:
        console.out(worth.as_json(made), highlight=False)
    else:
        console.print(shown(made))


async def read(
    settings: Settings, database: AsyncDatabase[Document], registered: Registered, days: int
) -> WorthReport:
    """Read the ledger and the leads of all sources. Raises DatabaseTrouble."""
    hello = await database.client.admin.command("hello")
    at = hello["localTime"].replace(tzinfo=UTC)
    since = worth.since(at, days)
    leads, brought = 0, defaultdict[str, Brought](Brought)
    for source in settings.sources:
        data = source.names.enriched_data
        enriched, found = await worth.read_brought(database[source.results], since, data)
        leads += enriched
        for provider, its in found.items():
            brought[provider].add(its)
    ledger = await Usage(database, {}, {}).days(days)
    prices = {
        name: vendor.credit_price
        for name, vendor in settings.vendors.items()
        if vendor.credit_price is not None
    }
    return worth.report(at, days, registered.providers, prices, ledger, brought, leads)


# As people read it


def shown(made: WorthReport) -> RenderableType:
    """Return the report for a terminal."""
    return Group(*_parts(made))


def _parts(made: WorthReport) -> Iterator[RenderableType]:
    yield Text(f"{made.leads:,} leads enriched in {made.days} days (UTC), today included")
    yield table(
        "what was paid and what it brought",
        ("provider", ">calls", ">charged", ">saved", ">cost", ">found", ">fields", ">per field"),
        (_row(each) for each in made.providers),
    )
    yield Text(
        "found: share of answers with data. fields: values of its own that stand on leads. "
        "per field: cost of one. Set <VENDOR>_CREDIT_PRICE for costs.",
        style="dim",
    )
    for title, by in (("country", "by_country"), ("size of the company", "by_size")):
        yield from _groups(made, title, by)


def _row(each: Worth) -> Sequence[str]:
    return [
        each.name,
        f"{each.calls:,}",
        f"{each.charged:,}" + (f" +{each.ambiguous:,}?" if each.ambiguous else ""),
        f"{each.saved:,}",
        _money(each.cost),
        _rate(each.brought.hits),
        f"{each.brought.filled:,}",
        _money(each.cost_per_field),
    ]


def _groups(made: WorthReport, title: str, by: str) -> Iterator[RenderableType]:
    """Yield a table of hit rates, the groups with the most answers first; none without answers."""
    answers: defaultdict[str, int] = defaultdict(int)
    for each in made.providers:
        for name, hits in getattr(each.brought, by).items():
            answers[name] += hits.found + hits.not_found
    names = sorted(answers, key=lambda name: (-answers[name], name))[:_MOST_GROUPS]
    asked = [each for each in made.providers if getattr(each.brought, by)]
    if not names:
        return
    rows = (
        [each.name, *(_rate(getattr(each.brought, by).get(name, Hits())) for name in names)]
        for each in asked
    )
    yield table(f"found, by {title}", ("provider", *(f">{name}" for name in names)), rows)


def _money(amount: float | None) -> str:
    return "-" if amount is None else f"{amount:,.4g}" if amount < 1 else f"{amount:,.2f}"


def _rate(hits: Hits) -> str:
    return "-" if hits.rate is None else f"{hits.rate:.0%}"
