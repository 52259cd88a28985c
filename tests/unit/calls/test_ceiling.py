"""What one lead may cost: exact sums, and who comes first where little is left."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enricher.answer import NotFound
from enricher.calls.ceiling import MILLION, Ceiling, Payer, Spending
from tests.support.scripted import provider
from tests.support.waiting import patience


class Lead:
    """Remembers what was made durable."""

    def __init__(self, *, is_ours: bool = True) -> None:
        self.is_ours = is_ours
        self.noted: list[int] = []

    async def note(self, spent: int) -> bool:
        self.noted.append(spent)
        return self.is_ours


def payers(most: int, lead: Lead, spent: int = 0) -> tuple[Payer, Payer]:
    """Two kinds of one lead, the first of which comes first."""
    spending = Spending(most, lead.note, spent, durable=spent)
    return Payer(spending, 0), Payer(spending, 1)


@pytest.mark.parametrize(
    ("amount", "prices", "cost"),
    [
        (2, {}, MILLION),
        (0.3, {"acme": 0.1}, 100_000),
        (5, {"acme": 0.0}, 0),
        (5, {"acme": 0.0000001}, 1),
    ],
)
def test_a_call_costs_a_credit_or_its_price(
    amount: float, prices: dict[str, float], cost: int
) -> None:
    assert Ceiling(amount, prices).cost_of(provider("acme", NotFound())) == cost


def test_what_is_free_costs_nothing() -> None:
    assert Ceiling(1).cost_of(provider("acme", NotFound(), is_free=True)) == 0


async def test_three_times_a_tenth_is_three_tenths() -> None:
    ceiling = Ceiling(0.3, {"acme": 0.1})
    cost = ceiling.cost_of(provider("acme", NotFound()))
    payer, _ = payers(ceiling.most, Lead())
    assert [await payer.take(cost) for _ in range(4)] == [True, True, True, False]


async def test_what_a_call_may_cost_is_durable_before_it_and_is_written_once() -> None:
    lead = Lead()
    payer, _ = payers(10, lead)
    assert await payer.take(4)
    payer.spending.end(4, charged=False)
    assert await payer.take(4), "covered by what stands there"
    assert lead.noted == [4]
    payer.spending.end(4, charged=None)
    assert await payer.take(4)
    assert (lead.noted, payer.spending.total) == ([4, 8], 8)


async def test_nothing_more_is_spent_on_a_lead_that_is_in_other_hands() -> None:
    lead = Lead(is_ours=False)
    payer, other = payers(10, lead)
    assert not await payer.take(1)
    assert not await other.take(1)
    assert (lead.noted, payer.spending.total) == ([1], 0)


async def test_a_call_waits_for_one_under_way_that_may_turn_out_to_be_free() -> None:
    first, second = payers(1, Lead())
    assert await first.take(1)
    assert not second.can_afford(1)
    assert second.spending.may_yet_afford(1)
    waiting = asyncio.create_task(second.spending.wait(60))
    await asyncio.sleep(0)
    first.spending.end(1, charged=False)
    async with patience(5):
        await waiting
    assert await second.take(1)
    second.spending.end(1, charged=True)
    assert not first.spending.may_yet_afford(1)


async def test_the_first_kind_comes_first_where_there_is_enough_for_one() -> None:
    first, second = payers(1, Lead())
    first.spending.want(first.place, 1)
    second.spending.want(second.place, 1)
    assert not await second.take(1)
    assert await first.take(1)


async def test_a_free_call_is_made_however_much_was_spent() -> None:
    lead = Lead()
    payer, _ = payers(1, lead, spent=5)
    assert await payer.take(0)
    assert not await payer.take(1)
    assert lead.noted == []


@given(
    st.lists(st.tuples(st.integers(0, 9), st.sampled_from([True, False, None]), st.booleans())),
    st.integers(0, 30),
)
async def test_no_order_of_calls_spends_more(
    calls: list[tuple[int, bool | None, bool]], most: int
) -> None:
    payer, _ = payers(most, Lead())
    under_way: list[tuple[int, bool | None]] = []
    charged = 0
    for cost, is_charged, is_ended in calls:
        if await payer.take(cost):
            under_way.append((cost, is_charged))
            charged += cost if is_charged is not False else 0
        assert charged <= payer.spending.total <= most
        assert payer.spending.total <= payer.spending.durable
        if under_way and is_ended:
            ended, how = under_way.pop()
            payer.spending.end(ended, charged=how)
