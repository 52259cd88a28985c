"""PURE What other orders of the providers of one kind would have cost and filled, and which of them is worth proposing.

A question is what one kind was asked about: a company's domain, a person's address. All leads with that question
share its answers, so it is paid for once. Under an order, providers are asked one after the other until the fields
that the next one is required for are known: the waterfall's own rule. What one of them said is known from its kept
answer or from what stands on the lead.

**What was never asked is unknown.** It is guessed, once for each question and provider, so that all orders are
judged by the same guesses: one of the provider's own answers is drawn. Answers that it gave as the first to be asked
are preferred, where there are enough, because whoever is asked later sees only what others missed. Beside its own
answers stand as many as `PRIOR` of its whole kind: two lucky answers change nothing. Of an answer of others it is lent
only fields that it was seen to give; one that was never seen to give any, only those that it is asked for. What a
vendor has no word for it never fills, however much others know.

**The proposal** fills the most fields for the money, and hardly fewer than the order of the settings: what several
changes lose is counted together. It is found by being greedy (who fills most for its price comes first, given who was
asked before), and then by swapping neighbours for as long as that is better; so is today's order, and that of the
settings. It is *clear* if it is better by `LEAST_GAIN` in each half of the questions, or fills enough again where
today's order no longer does, and enough answers are known of each provider that changes its place. No provider is
moved up to where its limits and budgets could not keep up, and no step on the way may fill too little.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations, pairwise
from random import Random

from enricher.calls.order import Order, is_exploring
from enricher.enrichment.attempt import with_implied

PRIOR = 20
ENOUGH = 30
"""Answers of a provider without which it is not moved, and as many it gets a chance to give as the first."""
LEAST_GAIN = 0.05
_LEAST_FILLED = 0.98
"""Share of the fields of the settings' order that a proposal must fill."""


@dataclass(frozen=True, slots=True)
class AskingTerms:
    """What it costs to ask a provider, and what for."""

    name: str
    price: float
    """Of one charged call."""
    charges_misses: bool = False
    required: frozenset[str] = frozenset()
    lacks: frozenset[str] = frozenset()
    most_a_day: float = math.inf
    """Calls that its limits and budgets allow."""

    @property
    def asked_for(self) -> frozenset[str]:
        """The fields for whose sake it is asked, as far as it may know them."""
        return self.required - self.lacks


@dataclass(frozen=True, slots=True)
class Said:
    """One answer: the fields that it filled, none for a miss."""

    fields: frozenset[str] = frozenset()
    is_charged: bool = False


@dataclass(slots=True)
class PastQuestion:
    """One question, with what is known of its answers."""

    text: str
    fit: frozenset[str]
    """Paid providers that can be asked it."""
    given: frozenset[str] = frozenset()
    """Fields that those filled which cost nothing."""
    said: dict[str, Said] = field(default_factory=dict)
    leads: int = 1

    def add(self, other: PastQuestion) -> None:
        """Add what another lead knows of the same question."""
        self.said = {**other.said, **self.said}
        self.given |= other.given
        self.fit |= other.fit
        self.leads += other.leads


@dataclass(frozen=True, slots=True)
class OrderBill:
    """What an order costs and fills."""

    asked: Mapping[str, float] = field(default_factory=dict)
    """Provider -> questions that it is asked."""
    charged: float = 0.0
    cost: float = 0.0
    filled: float = 0.0
    guessed: float = 0.0
    """Share of the answers that nobody knows."""

    @property
    def per_field(self) -> float | None:
        """Cost of one filled field."""
        return self.cost / self.filled if self.filled else None

    @property
    def worth(self) -> float:
        """Fields for the money; what costs nothing is worth anything."""
        return self.filled / self.cost if self.cost else math.inf

    def times(self, factor: float) -> OrderBill:
        """Return the bill of all leads, of which this one's are a sample."""
        asked = {name: calls * factor for name, calls in self.asked.items()}
        charged, cost, filled = self.charged * factor, self.cost * factor, self.filled * factor
        return OrderBill(asked, charged, cost, filled, self.guessed)


@dataclass(frozen=True, slots=True)
class Proposal:
    """Both sides: today's order and the one that is proposed, of one kind."""

    kind: str
    today: tuple[str, ...]
    proposed: tuple[str, ...]
    before: OrderBill
    after: OrderBill
    is_clear: bool
    questions: int
    known: Mapping[str, int]
    """Provider -> answers that are known."""
    firsts: Mapping[str, int]
    """Provider -> those that it gave as the first to be asked."""
    limited: tuple[str, ...] = ()
    """Providers that would be worth more further ahead, where their limits or budgets would not do."""
    step: tuple[str, str] | None = None
    """The first swap on the way: who goes ahead of whom."""

    @property
    def gain(self) -> float:
        """Share by which a field gets cheaper."""
        before, after = self.before.per_field, self.after.per_field
        return 1 - after / before if before and after is not None else 0.0

    @property
    def explored(self) -> list[str]:
        """Providers of which too little is known: all but the first, which sees everything anyway."""
        return [name for name in self.today[1:] if self.firsts.get(name, 0) < ENOUGH]

    @property
    def why(self) -> str:
        """The gain, for people."""
        before, after = self.before.per_field or 0.0, self.after.per_field or 0.0
        if after > before:
            return (
                f"{self.after.filled:,.0f} fields are filled in place of {self.before.filled:,.0f}"
            )
        return f"a filled field costs {after:.4g} in place of {before:.4g}"


def propose(
    kind: str,
    questions: Sequence[PastQuestion],
    today: Sequence[str],
    terms: Mapping[str, AskingTerms],
    *,
    of_settings: Sequence[str] | None = None,
    factor: float = 1.0,
    days: float = 1.0,
) -> Proposal:
    """Return the order that is worth most. `questions` are one of `factor` over `days` days; `today`: paid providers,
    and `of_settings` the same as they would stand if nothing had ever changed."""
    guesses = Guesses(questions, today, terms)
    rows = [guesses.complete(each) for each in questions]
    search = _Search(rows, tuple(today), tuple(of_settings or today), terms, factor / days)
    proposed = search.best()
    return Proposal(
        kind,
        tuple(today),
        proposed,
        replay(rows, today, terms).times(factor),
        replay(rows, proposed, terms).times(factor),
        _is_clear(search, proposed, guesses),
        len(questions),
        {name: len(guesses.own[name]) for name in today},
        {name: len(guesses.firsts[name]) for name in today},
        tuple(sorted(search.limited - {*_moved_up(today, proposed)})),
        search.step_to(proposed),
    )


# Asking again, without asking


@dataclass(frozen=True, slots=True)
class CompleteAnswers:
    """A question with an answer of every provider; `guessed` are those that it was not asked."""

    given: frozenset[str]
    leads: int
    said: Mapping[str, Said]
    guessed: frozenset[str]


def replay(
    rows: Sequence[CompleteAnswers], order: Sequence[str], terms: Mapping[str, AskingTerms]
) -> OrderBill:
    """Return what this order would have cost and filled."""
    asked: Counter[str] = Counter()
    charged, cost, filled, guessed = 0, 0.0, 0, 0
    for row in rows:
        known = row.given
        for name in order:
            its = terms[name]
            if name not in row.said or (its.required and its.required <= with_implied(known)):
                continue
            said = row.said[name]
            asked[name] += 1
            guessed += name in row.guessed
            charged += said.is_charged
            cost += its.price if said.is_charged else 0.0
            filled += row.leads * len(said.fields - known)
            known |= said.fields
    share = guessed / asked.total() if asked else 0.0
    return OrderBill(dict(asked), charged, cost, filled, share)


class Guesses:
    """What providers say to questions that they were not asked."""

    def __init__(
        self,
        questions: Sequence[PastQuestion],
        today: Sequence[str],
        terms: Mapping[str, AskingTerms],
    ) -> None:
        self._terms = terms
        self.own: defaultdict[str, list[Said]] = defaultdict(list)
        self.firsts: defaultdict[str, list[Said]] = defaultdict(list)
        for each in questions:
            first = _first_of(each, today)
            for name, said in each.said.items():
                self.own[name].append(said)
                if name == first:
                    self.firsts[name].append(said)
        self._drawn_from = {
            name: self.firsts[name] if len(self.firsts[name]) >= ENOUGH else self.own[name]
            for name in terms
        }
        self._pool = [said for name in today for said in self._drawn_from[name]]
        self._may_give = {name: self._seen(name) or its.asked_for for name, its in terms.items()}

    def _seen(self, name: str) -> frozenset[str]:
        """Return the fields that a provider was seen to give."""
        return frozenset[str]().union(*(said.fields for said in self.own[name]))

    def complete(self, question: PastQuestion) -> CompleteAnswers:
        """Return the question with an answer of every provider that fits it."""
        guessed = question.fit - question.said.keys()
        said = {name: self._draw(name, question.text) for name in sorted(guessed)}
        known = {name: each for name, each in question.said.items() if name in self._terms}
        return CompleteAnswers(question.given, question.leads, {**known, **said}, guessed)

    def _draw(self, name: str, text: str) -> Said:
        dice, its, own = Random(f"{name}/{text}"), self._terms[name], self._drawn_from[name]
        if own and dice.random() * (len(own) + PRIOR) < len(own):
            return dice.choice(own)
        lent = dice.choice(self._pool).fields if self._pool else frozenset[str]()
        fields = lent & self._may_give[name]
        return Said(fields, is_charged=bool(fields) or its.charges_misses)


def _first_of(question: PastQuestion, today: Sequence[str]) -> str | None:
    """Return the provider that was asked first, as far as that is certain."""
    if len(question.said) == 1:
        return next(iter(question.said))
    fit = [name for name in today if name in question.fit]
    if is_exploring(question.text):
        return Order(explored=tuple(fit[1:])).explore(fit, question.text)
    return fit[0] if fit else None


# Which order


@dataclass(slots=True)
class _Search:
    rows: Sequence[CompleteAnswers]
    today: tuple[str, ...]
    of_settings: tuple[str, ...]
    terms: Mapping[str, AskingTerms]
    a_day: float
    """Questions of a day for each of these."""
    limited: set[str] = field(init=False, default_factory=set)
    _bills: dict[tuple[str, ...], OrderBill] = field(init=False, default_factory=dict)

    def best(self) -> tuple[str, ...]:
        """Return the order that is worth most; today's if none is worth more."""
        found = map(self._climb, (self.today, self._greedy(), self.of_settings))
        return max((self.today, *found), key=self._worth)

    def step_to(self, proposed: tuple[str, ...]) -> tuple[str, str] | None:
        """Return the best swap of neighbours on the way, of those that fill enough."""
        ranks = {name: rank for rank, name in enumerate(proposed)}
        steps = {
            (behind, ahead): order
            for place, (ahead, behind) in enumerate(pairwise(self.today))
            if ranks[behind] < ranks[ahead] and self._may_be(order := _swapped(self.today, place))
        }
        return max(steps, key=lambda step: self._bill(steps[step]).worth, default=None)

    def on(self, rows: Sequence[CompleteAnswers]) -> _Search:
        """Return the same search on some of the questions."""
        return replace(self, rows=rows)

    def is_better(self, proposed: tuple[str, ...]) -> bool:
        """Return whether an order is clearly better than today's: cheaper for a field, or full enough again."""
        today, then = self._bill(self.today), self._bill(proposed)
        is_cheaper = then.worth > (1 + LEAST_GAIN) * today.worth
        return is_cheaper or today.filled < self.least <= then.filled

    def _may_be(self, order: tuple[str, ...]) -> bool:
        """Return whether the fleet may have this order for an interval."""
        bill, today = self._bill(order), self._bill(self.today)
        return bill.filled >= min(self.least, today.filled) and not self._slow(bill)

    def _climb(self, order: tuple[str, ...]) -> tuple[str, ...]:
        while True:
            neighbours = (_swapped(order, place) for place in range(len(order) - 1))
            better = max((order, *neighbours), key=self._worth)
            if self._worth(better) <= self._worth(order):
                return order
            order = better

    def _greedy(self) -> tuple[str, ...]:
        order: tuple[str, ...] = ()
        while left := [name for name in self.today if name not in order]:
            so_far = self._bill(order)
            order = (*order, max(left, key=self._gain_after(order, so_far)))
        return order

    def _gain_after(self, order: tuple[str, ...], so_far: OrderBill) -> Callable[[str], float]:
        def gain(name: str) -> float:
            bill = self._bill((*order, name))
            cost, filled = bill.cost - so_far.cost, bill.filled - so_far.filled
            return filled / cost if cost else math.inf if filled else 0.0

        return gain

    @property
    def least(self) -> float:
        """The fields that an order must fill."""
        return _LEAST_FILLED * self._bill(self.of_settings).filled

    def _worth(self, order: tuple[str, ...]) -> float:
        """Return what an order is worth; nothing if it fills less, or if somebody could not keep up."""
        bill, today = self._bill(order), self._bill(self.today)
        if bill.filled < self.least:
            return -math.inf
        slow = self._slow(bill)
        if slow and bill.worth > today.worth:
            self.limited |= slow
        return -math.inf if slow else bill.worth

    def _slow(self, bill: OrderBill) -> set[str]:
        """Return the providers that could not keep up."""
        today = self._bill(self.today)
        return {name for name in self.today if self._is_too_much(name, bill, today)}

    def _is_too_much(self, name: str, bill: OrderBill, today: OrderBill) -> bool:
        calls, before = bill.asked.get(name, 0), today.asked.get(name, 0)
        return calls > before and calls * self.a_day > self.terms[name].most_a_day

    def _bill(self, order: tuple[str, ...]) -> OrderBill:
        if order not in self._bills:
            self._bills[order] = replay(self.rows, order, self.terms)
        return self._bills[order]


def _swapped(order: tuple[str, ...], place: int) -> tuple[str, ...]:
    return (*order[:place], order[place + 1], order[place], *order[place + 2 :])


def _is_clear(search: _Search, proposed: tuple[str, ...], guesses: Guesses) -> bool:
    moved = {name for pair in _inverted(search.today, proposed) for name in pair}
    if not moved or any(len(guesses.own[name]) < ENOUGH for name in moved):
        return False
    halves = (search.rows[::2], search.rows[1::2])
    return all(search.on(half).is_better(proposed) for half in halves)


def _inverted(today: Sequence[str], proposed: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield the pairs that stand the other way round in the proposal."""
    ranks = {name: rank for rank, name in enumerate(proposed)}
    return ((a, b) for a, b in combinations(today, 2) if ranks[a] > ranks[b])


def _moved_up(today: Sequence[str], proposed: Sequence[str]) -> set[str]:
    return {behind for _, behind in _inverted(today, proposed)}
