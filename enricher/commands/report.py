"""`enricher report`: what each provider was worth, over some days. Uses only the database, and only reads it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from enricher import wiring
from enricher.commands.database import explained, opened
from enricher.commands.status import wide_console
from enricher.mongo.secret import keyring_if_made
from enricher.settings.load import Settings
from enricher.status import worth
from enricher.status.view import ORDERS, money, orders, table
from enricher.status.worth import Hits, Worth, WorthReport

_MOST_GROUPS = 8
_WORTH = (
    *("provider", ">calls", ">charged", ">saved", ">cost", ">found", ">fields", ">agreed"),
    *(">differed", ">per field"),
)
_MEANINGS = (
    "found: share of answers with data. fields: values of its own that stand on leads. agreed, differed: fields in"
    " which another's value stands. per field: cost of one. Set <VENDOR>_CREDIT_PRICE for costs."
)
_ESTIMATED = (
    "There are many leads: found, fields, agreed and differed are estimated from some of them, chosen by chance."
    " Calls, charges and costs are all counted."
)
_ASSUMED = (
    "Both orders replayed from the kept answers and origins of {leads} leads, without a call. What was never asked is"
    " guessed from the provider's other answers, and where these are few from those of its kind: `guessed` is that"
    " share. perhaps: too little is known, or gained, to follow."
)


async def report(settings: Settings, days: int, *, as_json: bool) -> None:
    """Print the report. Raises DatabaseError when it cannot be read."""
    async with opened(settings) as database, wiring.vendors(settings) as registered:
        with explained("reading what the providers brought"):
            ring = await keyring_if_made(database, settings.privacy.hash_key)
            reporting = wiring.reporting(settings, database, registered, ring)
            made = await reporting.read(days)
    console = wide_console()
    if as_json:
        console.out(worth.as_json(made), highlight=False)
    else:
        console.print(shown(made))


# As people read it


def shown(made: WorthReport) -> RenderableType:
    """Return the report for a terminal."""
    return Group(*_parts(made))


def _parts(made: WorthReport) -> Iterator[RenderableType]:
    yield Text(f"{made.leads:,} leads enriched in {made.days} days (UTC), today included")
    if made.is_estimate:
        yield Text(_ESTIMATED, style="dim")
    yield table(
        "what was paid and what it brought",
        _WORTH,
        (_row(each) for each in made.providers),
    )
    yield Text(_MEANINGS, style="dim")
    for title, by in (("country", "by_country"), ("size of the company", "by_size")):
        yield from _groups(made, title, by)
    yield from _orders(made)


def _row(each: Worth) -> Sequence[str]:
    return [
        each.name,
        f"{each.calls:,}",
        f"{each.charged:,}" + (f" +{each.ambiguous:,}?" if each.ambiguous else ""),
        f"{each.saved:,}",
        money(each.cost),
        _rate(each.brought.hits),
        f"{each.brought.filled:,}",
        f"{each.brought.agreed:,}",
        f"{each.brought.differed:,}",
        money(each.cost_per_field),
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


def _orders(made: WorthReport) -> Iterator[RenderableType]:
    """Yield today's order and the proposed one of each kind, with what each costs and fills."""
    if not made.orders:
        return
    yield table("in another order", ORDERS, orders(made.orders))
    limited = sorted({name for each in made.orders for name in each["limited"]})
    if limited:
        yield Text(f"Not moved up, since limits or budgets would not do: {', '.join(limited)}")
    yield from map(Text, made.changes)
    yield Text(_ASSUMED.format(leads=f"{made.sampled:,}"), style="dim")


def _rate(hits: Hits) -> str:
    return "-" if hits.rate is None else f"{hits.rate:.0%}"
