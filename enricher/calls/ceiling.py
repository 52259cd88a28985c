"""The most that one lead may cost, and what its enrichment has cost so far.

A call that might take the lead beyond the ceiling is not made. What must stay true:

* Before a call, what it may cost at most is durable on the lead (`queue/costs.py`), under the lead's fence: so
  the daemon that takes the lead over counts it, and one that has lost the lead makes no further call for it.
* While a call is under way it counts in full, and afterwards only if it was charged, or may have been. What is
  durable never sinks before the settle, which writes what is known by then.
* Of the leads that wait for one call, one pays: the first that can. To the others, as to all that find the kept
  answer, it costs nothing. So what all leads cost is what the vendors charge.

Costs are whole millionths, of a credit or of the operator's currency. Credits of different vendors are not the
same thing: where prices are known, money is counted, and each vendor needs a price then (`settings/load.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

from enricher.providers.base import Provider
from enricher.settings.load import Settings

MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class Ceiling:
    """The most that an enrichment of one lead may cost."""

    amount: float
    prices: Mapping[str, float] = field(default_factory=dict)
    """Vendor -> price of a credit. Empty: credits are counted, whoever's they are."""

    @property
    def most(self) -> int:
        """The ceiling in millionths."""
        return int(_millionths(self.amount, ROUND_FLOOR))

    @property
    def is_money(self) -> bool:
        return bool(self.prices)

    def cost_of(self, provider: Provider) -> int:
        """Return what one call to the provider may cost at most, in millionths."""
        if provider.is_free:
            return 0
        price = self.prices.get(provider.vendor, 1.0) if self.is_money else 1.0
        return int(_millionths(price, ROUND_CEILING, Decimal(str(provider.credits))))

    def affords(self, provider: Provider) -> bool:
        """Return whether a lead that has cost nothing yet can pay for a call."""
        return self.cost_of(provider) <= self.most


def ceiling_of(settings: Settings) -> Ceiling | None:
    """PURE Return the most that a lead may cost; `None` where there is no such limit."""
    if settings.cost.most_per_lead is None:
        return None
    prices = {
        name: vendor.credit_price
        for name, vendor in settings.vendors.items()
        if vendor.key is not None and vendor.credit_price is not None
    }
    return Ceiling(settings.cost.most_per_lead, prices)


def promise(ceiling: Ceiling, leads: int) -> str:
    """PURE Say what so many leads cost together at most."""
    total = leads * ceiling.most / MILLION
    unit = "in your currency" if ceiling.is_money else "credits"
    each = f"no lead may cost more than {ceiling.amount:g} (ENRICHER_MAX_CREDITS_PER_LEAD)"
    return f"At most {total:,.10g} {unit} in all: {each}, rechecks included."


def _millionths(amount: float, rounding: str, times: Decimal = Decimal(1)) -> Decimal:
    """Return the exact product of what people wrote, which a product of floats is not."""
    return (Decimal(str(amount)) * times * MILLION).to_integral_value(rounding)


@dataclass(slots=True, eq=False)
class Spending:
    """What one lead costs in one enrichment, all attempts together. Amounts are in millionths."""

    most: int
    note: Callable[[int], Awaitable[bool]]
    """Makes durable that the enrichment may have cost as much; False when the lead is not ours any more."""
    spent: int = 0
    """Of calls that have ended, as far as they may be charged."""
    durable: int = 0
    """What is known to stand on the lead."""
    under_way: int = 0
    """What the calls under way may cost."""
    is_lost: bool = False
    """The lead is no longer ours: nothing more may be spent on it."""
    _wanted: dict[int, int] = field(init=False, default_factory=dict)
    """Place -> cost of the call that it is about to make."""
    _news: asyncio.Event = field(init=False, default_factory=asyncio.Event)

    @property
    def total(self) -> int:
        """What the enrichment may have cost so far."""
        return self.spent + self.under_way

    def may_yet_afford(self, cost: int) -> bool:
        """Return whether a call may be made if all that comes before it turns out to cost nothing."""
        return not self.is_lost and (not cost or self.spent + cost <= self.most)

    def can_afford(self, cost: int, place: int) -> bool:
        """Return whether a call may be made now, and leaves enough for what the places before it want."""
        before = sum(wanted for other, wanted in self._wanted.items() if other < place)
        return not self.is_lost and (not cost or self.total + before + cost <= self.most)

    def want(self, place: int, cost: int) -> None:
        """Note what a place is about to spend, 0 when it is done: those after it come second."""
        self._wanted[place] = cost
        self._tell()

    async def take(self, cost: int, place: int) -> bool:
        """Take what a call may cost, before it is made; False if it must not be made. Raises DatabaseTrouble."""
        if not self.can_afford(cost, place):
            return False
        self.under_way += cost
        try:
            is_ours = self.total <= self.durable or await self._write(self.total)
        except BaseException:
            self.give_back(cost)
            raise
        if is_ours:
            self.want(place, 0)
        else:
            self.is_lost = True
            self.give_back(cost)
        return is_ours

    async def _write(self, total: int) -> bool:
        is_ours = await self.note(total)
        if is_ours:
            self.durable = max(self.durable, total)
        return is_ours

    def give_back(self, cost: int) -> None:
        """Return what was taken for a call that was not made, or that was free."""
        self.under_way -= cost
        self._tell()

    def end(self, cost: int, *, charged: bool | None) -> None:
        """End a call; `None` when it is unknown whether it was charged, which counts as charged."""
        if charged is not False:
            self.spent += cost
        self.give_back(cost)

    def _tell(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()

    async def wait(self, seconds: float) -> None:
        """Wait until a call has ended or is no longer wanted, at most so long."""
        try:
            async with asyncio.timeout(seconds):
                await self._news.wait()
        except TimeoutError:
            return


@dataclass(frozen=True, slots=True, eq=False)
class Payer:
    """The spending of a lead, as one kind of providers may use it."""

    spending: Spending
    place: int
    """Where little is left, the lower place comes first: which kind is capped must be no matter of chance."""

    def can_afford(self, cost: int) -> bool:
        return self.spending.can_afford(cost, self.place)

    async def take(self, cost: int) -> bool:
        return await self.spending.take(cost, self.place)
