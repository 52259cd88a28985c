"""`enricher report`: what each provider was worth, over some days. Uses only the database, and only reads it."""

from __future__ import annotations

import os
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC

from pymongo.asynchronous.database import AsyncDatabase
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from enricher import wiring
from enricher.calls.ledger import Usage
from enricher.commands.database import explained, opened
from enricher.lead import Document
from enricher.providers.base import Registered
from enricher.settings.load import Settings
from enricher.status import worth
from enricher.status.worth import Brought, Hits, Worth, WorthReport

_WIDE = 160
_MOST_GROUPS = 8


async def report(settings: Settings, days: int, *, as_json: bool) -> None:
    """Print the report. Raises DatabaseError when it cannot be read."""
    async with opened(settings) as database, wiring.vendors(settings) as registered:
        with explained("reading what the providers brought"):
            made = await read(settings, database, registered, days)
    width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else _WIDE
    console = Console(width=width, highlight=False, markup=False, emoji=False)
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
    counted = [
        await worth.read_brought(database[each.results], since, each.names.enriched_data)
        for each in settings.sources
    ]
    ledger = await Usage(database, {}, {}).days(days)
    prices = {
        name: vendor.credit_price
        for name, vendor in settings.vendors.items()
        if vendor.credit_price is not None
    }
    leads, brought = sum(number for number, _ in counted), _sum([each for _, each in counted])
    return worth.report(at, days, registered.providers, prices, ledger, brought, leads)


def _sum(sources: Sequence[Mapping[str, Brought]]) -> Mapping[str, Brought]:
    if len(sources) == 1:
        return sources[0]
    total: dict[str, Brought] = defaultdict(Brought)
    for source in sources:
        for provider, brought in source.items():
            total[provider].add(brought)
    return total


# As people read it


def shown(made: WorthReport) -> RenderableType:
    """Return the report for a terminal."""
    return Group(*_parts(made))


def _parts(made: WorthReport) -> Iterator[RenderableType]:
    yield Text(f"{made.leads:,} leads enriched in {made.days} days (UTC), today included")
    yield _table(
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
    yield _table(f"found, by {title}", ("provider", *(f">{name}" for name in names)), rows)


def _table(title: str, columns: Sequence[str], rows: Iterator[Sequence[str]]) -> RenderableType:
    table = Table(title=title, title_justify="left", title_style="bold", box=None)
    for column in columns:
        table.add_column(column.lstrip(">"), justify="right" if column[0] == ">" else "left")
    for row in rows:
        table.add_row(*row)
    return table


def _money(amount: float | None) -> str:
    return "-" if amount is None else f"{amount:,.4g}" if amount < 1 else f"{amount:,.2f}"


def _rate(hits: Hits) -> str:
    return "-" if hits.rate is None else f"{hits.rate:.0%}"
