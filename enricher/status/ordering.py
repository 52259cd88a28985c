"""The order that providers are proposed in, for `enricher report`, and what follows it: `ENRICHER_PROVIDER_ORDER=auto`.

The fleet follows a proposal slowly. One daemon looks, once in an interval (a day): if the proposal is clear
(`replay.py`), it swaps two neighbours, and the next look is a day later. Providers of which too little is known are
explored meanwhile (`calls/order.py`), so that none is left out for good. All other daemons read the new order
within a minute. Budgets, holds, pauses and limits are as under any order.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from random import Random

from loguru import logger

from enricher.answer import Kind
from enricher.calls.order import FleetOrder, Order, OrderChange, Orders, Turn
from enricher.lead import Document
from enricher.mongo import DatabaseTrouble
from enricher.mongo.outage import Outage, pause
from enricher.providers.base import Provider
from enricher.status.replay import AskingTerms, OrderBill, Proposal, propose
from enricher.status.samples import Sampler, Samples, charges_misses
from enricher.status.worth import since
from enricher.telemetry import metrics

DAYS = 30
_DAY = timedelta(days=1)
_DAYS_OF_A_MONTH = 30
_READ_SECONDS = 60.0
_LOOKS = 20
"""The document is read at least so many times in an interval."""


@dataclass(frozen=True, slots=True)
class Price:
    """What a vendor's credits cost, and how many charged calls its budgets allow."""

    credit: float | None = None
    daily: int | None = None
    monthly: int | None = None

    @property
    def most_a_day(self) -> float | None:
        """Charged calls of a day, by the narrower of the budgets."""
        a_day = [self.daily, self.monthly and self.monthly / _DAYS_OF_A_MONTH]
        return min((each for each in a_day if each is not None), default=None)


@dataclass(frozen=True, slots=True)
class Proposals:
    """The proposal of each kind with a choice."""

    kinds: Sequence[Proposal] = ()
    is_money: bool = False
    """Costs are in the currency of the prices; else in credits, because a price is not set."""
    samples: Samples = field(default_factory=Samples)

    @property
    def unit(self) -> str:
        return "money" if self.is_money else "credits"


@dataclass(frozen=True, slots=True)
class Proposing:
    """Makes the proposals."""

    sampler: Sampler
    prices: Mapping[str, Price]

    async def propose(self, order: Order, now: datetime, days: int = DAYS) -> Proposals:
        """Return what the answers of the last days say to this order. Raises DatabaseTrouble."""
        samples = await self.sampler.read(since(now, days))
        # Other leads are in work meanwhile: a second of arithmetic must not keep their loop.
        return await asyncio.to_thread(self._proposals, samples, order, now)

    def _proposals(self, samples: Samples, order: Order, now: datetime) -> Proposals:
        paid = self.sampler.ordered
        known = [self.prices.get(each.vendor, Price()).credit is not None for each in paid]
        is_money = bool(paid) and all(known)
        terms = {each.name: self._terms(each, is_money=is_money) for each in paid}
        made = []
        for kind in Kind:
            names = [each.name for each in paid if each.kind is kind]
            questions = list(samples.questions.get(kind, {}).values())
            if len(names) > 1 and questions:
                today = order.arrange(names)
                of_kind = {name: terms[name] for name in names}
                days = max(1.0, (now - (samples.since or now)) / _DAY)
                made.append(
                    propose(
                        kind.value,
                        questions,
                        today,
                        of_kind,
                        of_settings=names,
                        factor=samples.factor,
                        days=days,
                    )
                )
        return Proposals(made, is_money, samples)

    def _terms(self, provider: Provider, *, is_money: bool) -> AskingTerms:
        price = self.prices.get(provider.vendor, Price())
        limits = [
            window.calls * _DAY.total_seconds() / window.seconds for window in provider.windows
        ]
        if price.most_a_day is not None:
            limits.append(price.most_a_day)
        return AskingTerms(
            provider.name,
            provider.credits * (price.credit or 0.0 if is_money else 1.0),
            charges_misses(provider),
            provider.required,
            provider.lacks,
            min(limits, default=float("inf")),
        )


@dataclass(slots=True)
class Following:
    """The loop of one daemon that follows the proposals together with the fleet."""

    orders: Orders
    proposing: Proposing
    standing: FleetOrder
    """Where the work of this process reads the order."""
    every: timedelta = _DAY
    outage: Outage = field(default_factory=lambda: Outage("order"))
    random: Random = field(default_factory=Random)

    async def run(self, stop: asyncio.Event) -> None:
        """Keep the order up to date until told to stop."""
        while not stop.is_set():
            wait = await self._look()
            rest = min(_READ_SECONDS, self.every.total_seconds() / _LOOKS)
            await pause(stop, wait or rest * (0.9 + 0.2 * self.random.random()))

    async def _look(self) -> float:
        """Read the order, and see to it when it is time. Returns the seconds to wait because of an error, else 0."""
        try:
            if (turn := await self.orders.take_turn()) is not None:
                await self._take(turn)
            await self.read()
        except DatabaseTrouble as error:
            return self.outage.failed(error)
        self.outage.succeeded()
        return 0.0

    async def read(self) -> None:
        """Read the order; it is heeded from the next question on. Raises DatabaseTrouble."""
        self.standing.order = order = await self.orders.read()
        paid = self.proposing.sampler.ordered
        for kind in Kind:
            names = order.arrange([each.name for each in paid if each.kind is kind])
            for place, name in enumerate(names, start=1):
                metrics.PLACE.labels(name).set(place)

    async def _take(self, turn: Turn) -> None:
        order = await self.orders.read()
        try:
            made = await self.proposing.propose(order, turn.at)
        except DatabaseTrouble:
            raise
        except Exception as error:  # noqa: BLE001 - what leads hold is anybody's, and no reason to end the daemon
            logger.opt(exception=error).error("order.broken")
            return
        places = list(order.places) or [each.name for each in self.proposing.sampler.ordered]
        change = _change(made, turn.at)
        if change is not None:
            places = _with(change, order, places, self.proposing.sampler.ordered)
        is_ours = await self.orders.end_turn(
            turn,
            self.every,
            places=places,
            explored=[name for each in made.kinds for name in each.explored],
            proposals=[written(each, made.unit) for each in made.kinds],
            change=change,
        )
        if change is not None and is_ours:
            logger.bind(ahead=change.ahead, behind=change.behind, why=change.why).info(
                "order.changed"
            )


def _change(made: Proposals, now: datetime) -> OrderChange | None:
    """Return the swap to make: of the kind in which most is gained. `None` while no proposal is clear."""
    clear = [each for each in made.kinds if each.is_clear and each.step is not None]
    if not clear:
        return None
    best = max(clear, key=lambda each: each.gain)
    ahead, behind = best.step or ("", "")
    why = f"{best.why} ({made.unit}), once {', '.join(best.proposed)} is the order"
    return OrderChange(now, ahead, behind, why)


def _with(
    change: OrderChange, order: Order, places: Sequence[str], providers: Sequence[Provider]
) -> list[str]:
    """Return the places after a change; a provider that had none, because its key is new, gets one."""
    new: list[str] = []
    for kind in Kind:
        names = order.arrange([each.name for each in providers if each.kind is kind])
        if change.ahead in names:
            at, of = names.index(change.behind), names.index(change.ahead)
            names[at], names[of] = names[of], names[at]
        new += names
    return [*new, *(name for name in places if name not in new)]


def written(proposal: Proposal, unit: str) -> Document:
    """Return a proposal as it is stored and shown: both sides, without anything about a person."""
    return {
        "kind": proposal.kind,
        "unit": unit,
        "today": list(proposal.today),
        "proposed": list(proposal.proposed),
        "before": _bill(proposal.before),
        "after": _bill(proposal.after),
        "gain": round(proposal.gain, 4),
        "is_clear": proposal.is_clear,
        "questions": proposal.questions,
        "known": dict(proposal.known),
        "firsts": dict(proposal.firsts),
        "limited": list(proposal.limited),
    }


def _bill(bill: OrderBill) -> Document:
    return {
        **{name: round(value, 6) for name, value in asdict(bill).items() if name != "asked"},
        "asked": {name: round(calls, 1) for name, calls in bill.asked.items()},
        "per_field": bill.per_field,
    }
