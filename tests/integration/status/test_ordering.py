"""The fleet's own order: who may change it, when, and what every daemon then asks."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from pydantic import SecretStr
from pymongo.asynchronous.database import AsyncDatabase

from enricher.calls.ledger import COLLECTION
from enricher.calls.order import FleetOrder, Order, OrderChange, Orders, is_exploring
from enricher.fields import NAMES
from enricher.identity.identify import NO_WORDS
from enricher.lead import Document
from enricher.providers.base import Access, Provider
from enricher.providers.clearbit import ClearbitCompany
from enricher.providers.pdl import PdlCompany
from enricher.queue.inputs import CONTRACT
from enricher.status.ordering import Following, Price, Proposing
from enricher.status.samples import Sampled, Sampler
from tests.support.mock_client import mock_client
from tests.support.observing import events, logged
from tests.support.waiting import eventually

DAY = timedelta(days=1)
PRICES = {"clearbit": Price(1.0), "pdl": Price(0.2)}
KNOWN = ("name", "industry", "employee_count", "city")
BOTH = ("clearbit", "pdl_company")


def providers() -> Sequence[Provider]:
    access = Access(SecretStr("any"), "https://vendor.example")
    return [ClearbitCompany(mock_client(), access), PdlCompany(mock_client(), access, 1_000)]


def following(database: AsyncDatabase[Document], every: timedelta = DAY) -> Following:
    source = Sampled("leads", "leads", NAMES, CONTRACT)
    sampler = Sampler(database, [source], providers(), NO_WORDS, None)
    return Following(Orders(database), Proposing(sampler, PRICES), FleetOrder(), every)


def lead(number: int) -> Document:
    """Found by Clearbit, or by the other where that was explored; what it tells is all that is known."""
    domain = f"quokka-{number}.com"
    name = "pdl_company" if is_exploring(domain) else "clearbit"
    return {
        "email": f"ada@{domain}",
        "enriched_data": {
            "company_data": dict.fromkeys(KNOWN, "x"),
            "enrichment_metadata": {
                "enriched_at": datetime.now(UTC).isoformat(),
                "sources_used": [name],
                "provenance": {"company_data": dict.fromkeys(KNOWN, name)},
            },
        },
    }


async def due(database: AsyncDatabase[Document]) -> None:
    """Let a day pass."""
    past = datetime.now(UTC) - DAY
    await database[COLLECTION].update_one({"_id": "order"}, {"$set": {"next_at": past}})


async def look(*daemons: Following) -> None:
    """All of them look, until one of them has come to an end with it."""
    stop, orders = asyncio.Event(), daemons[0].orders
    before = (await orders.read()).looked_at
    running = [asyncio.create_task(each.run(stop)) for each in daemons]
    await eventually(partial(has_looked, orders, before), within=30)
    stop.set()
    await asyncio.gather(*running)
    for each in daemons:
        await each.read()


async def has_looked(orders: Orders, before: datetime | None) -> bool:
    return (await orders.read()).looked_at != before


@pytest.fixture
async def known(database: AsyncDatabase[Document]) -> AsyncDatabase[Document]:
    await database["leads"].insert_many([lead(n) for n in range(1_000)])
    return database


async def test_the_cheaper_order_is_followed_by_all_and_survives_them(
    known: AsyncDatabase[Document],
) -> None:
    daemons = [following(known) for _ in range(3)]
    with logged() as lines:
        await look(*daemons)
    [told] = events(lines, "order.changed")
    assert (told.fields["ahead"], told.fields["behind"]) == ("pdl_company", "clearbit")
    for each in (*daemons, new := following(known)):
        await each.read()
        assert each.standing.order.arrange(BOTH) == ["pdl_company", "clearbit"]
    [change] = new.standing.order.changes
    assert "pdl_company comes before clearbit: a filled field costs " in change.sentence


async def test_it_changes_once_in_the_interval_and_not_back(
    known: AsyncDatabase[Document],
) -> None:
    one = following(known)
    await look(one)
    first = one.standing.order
    assert first.next_at is not None
    assert first.looked_at is not None
    assert first.next_at - first.looked_at == DAY
    assert await one.orders.take_turn() is None
    await due(known)
    again = following(known)
    await look(again)
    assert again.standing.order.places == first.places
    assert len(again.standing.order.changes) == 1


async def test_who_has_few_first_answers_is_explored(database: AsyncDatabase[Document]) -> None:
    await database["leads"].insert_many([lead(n) for n in range(200)])
    one = following(database)
    await look(one)
    assert one.standing.order.arrange(BOTH) == list(BOTH)
    assert one.standing.order.explored == ("pdl_company",)


async def test_nothing_known_changes_nothing(database: AsyncDatabase[Document]) -> None:
    one = following(database)
    await look(one)
    assert one.standing.order.places == BOTH
    assert one.standing.order.changes == ()


async def test_only_the_holder_of_the_turn_can_change_the_order(
    database: AsyncDatabase[Document],
) -> None:
    orders = Orders(database)
    taken = await asyncio.gather(*(orders.take_turn() for _ in range(8)))
    [slow] = [each for each in taken if each is not None]
    await due(database)
    quick = await orders.take_turn()
    assert quick is not None
    change = OrderChange(quick.at, "b", "a", "why")
    new = {"explored": (), "proposals": ()}
    assert not await orders.end_turn(slow, DAY, places=("b", "a"), **new, change=change)
    assert await orders.read() == Order(next_at=(await orders.read()).next_at)
    assert await orders.end_turn(quick, DAY, places=("b", "a"), **new, change=change)
    assert (await orders.read()).changes == (change,)


@pytest.mark.parametrize("garbage", [None, 1, "text", [1, None, {}], {"at": 1}])
async def test_whatever_stands_in_the_document_the_work_goes_on(
    database: AsyncDatabase[Document], garbage: object
) -> None:
    names = ("places", "explored", "changes", "proposals", "looked_at", "next_at")
    await database[COLLECTION].insert_one({"_id": "order", **dict.fromkeys(names, garbage)})
    order = await Orders(database).read()
    assert order.arrange(BOTH) == list(BOTH)
    assert order.explore(BOTH, "quokka.com") is None


async def test_whatever_stands_on_a_lead_the_others_are_weighed(
    known: AsyncDatabase[Document],
) -> None:
    odd: list[object] = [None, 7, [[]], {"$x": 1}, "x", float("nan")]
    for number, value in enumerate(odd):
        made = lead(1_000 + number)
        made["enriched_data"]["company_data"] = dict.fromkeys(KNOWN, value)
        made["enriched_data"]["enrichment_metadata"]["sources_skipped"] = {"clearbit": value}
        await known["leads"].insert_one(made)
    one = following(known)
    with logged() as lines:
        await look(one)
    assert events(lines, "order.broken") == []
    assert one.standing.order.arrange(BOTH) == ["pdl_company", "clearbit"]
