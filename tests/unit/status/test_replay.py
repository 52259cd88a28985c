"""Which order is proposed, by what each would have cost and filled, and how little two lucky answers change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random

import pytest

from enricher.calls.order import Order, is_exploring
from enricher.status.replay import (
    ENOUGH,
    AskingTerms,
    CompleteAnswers,
    Guesses,
    PastQuestion,
    Proposal,
    Said,
    propose,
    replay,
)

NEEDED = frozenset({"name", "industry"})
ALL = NEEDED | {"phone", "city"}
MISS = Said()
TODAY = ("dear", "cheap")


def terms(**prices: float) -> dict[str, AskingTerms]:
    return {name: AskingTerms(name, price, required=NEEDED) for name, price in prices.items()}


PRICES = terms(dear=1.0, cheap=0.25)


def found(*fields: str) -> Said:
    return Said(frozenset(fields or ALL), is_charged=True)


def asked(number: int, **said: Said) -> PastQuestion:
    return PastQuestion(f"{number}.example", frozenset(TODAY), said=said)


def unexplored(count: int) -> list[int]:
    """Numbers of questions that are put to the first provider first."""
    numbers = (n for n in range(10 * count) if not is_exploring(f"{n}.example"))
    return [next(numbers) for _ in range(count)]


def explored(count: int) -> list[int]:
    numbers = (n for n in range(1_000 * count) if is_exploring(f"{n}.example"))
    return [next(numbers) for _ in range(count)]


def proposal(
    questions: Sequence[PastQuestion],
    of: Mapping[str, AskingTerms] = PRICES,
    today: Sequence[str] = TODAY,
    *,
    factor: float = 1.0,
    days: float = 1.0,
) -> Proposal:
    return propose("company", questions, today, of, factor=factor, days=days)


def test_an_order_is_replayed_by_the_rule_of_the_waterfall() -> None:
    nothing = frozenset[str]()
    rows = [
        CompleteAnswers(nothing, 1, {"dear": found(), "cheap": found()}, nothing),
        CompleteAnswers(
            nothing, 2, {"dear": found("name"), "cheap": found("name", "industry")}, nothing
        ),
        CompleteAnswers(NEEDED, 1, {"dear": found(), "cheap": found()}, nothing),
        CompleteAnswers(nothing, 1, {"dear": MISS}, nothing),
    ]
    before, after = replay(rows, TODAY, PRICES), replay(rows, ("cheap", "dear"), PRICES)
    assert before.asked == {"dear": 3, "cheap": 1}
    assert (before.charged, before.cost, before.filled) == (3, 2.25, 4 + 2 * 2)
    assert after.asked == {"cheap": 2, "dear": 1}
    assert (after.cost, after.filled) == (0.5, 4 + 2 * 2)


def test_the_cheaper_of_two_that_know_the_same_is_proposed_first() -> None:
    questions = [asked(n, dear=found()) for n in unexplored(300)]
    questions += [asked(n, cheap=found()) for n in explored(ENOUGH)]
    made = proposal(questions)
    assert made.proposed == ("cheap", "dear")
    assert made.is_clear
    assert made.step == ("cheap", "dear")
    assert made.after.cost < 0.3 * made.before.cost
    assert made.after.filled >= 0.98 * made.before.filled


def test_two_lucky_answers_change_nothing() -> None:
    questions = [asked(n, dear=found()) for n in unexplored(300)]
    questions += [asked(n, cheap=found()) for n in explored(2)]
    assert not proposal(questions).is_clear


def test_a_cheap_one_that_knows_nothing_is_not_proposed() -> None:
    questions = [asked(n, dear=found()) for n in unexplored(300)]
    questions += [asked(n, cheap=Said(is_charged=True), dear=found()) for n in explored(4 * ENOUGH)]
    charging = terms(dear=1.0, cheap=0.25) | {
        "cheap": AskingTerms("cheap", 0.25, charges_misses=True, required=NEEDED)
    }
    assert proposal(questions, charging).proposed == TODAY


def test_what_later_ones_say_to_what_others_missed_is_not_taken_for_all_they_know() -> None:
    """`cheap` misses what `dear` missed, and knows all else: only the explored questions tell."""
    questions = [asked(n, dear=found()) for n in unexplored(300)]
    hard = unexplored(500)[300:]
    questions += [asked(n, dear=MISS, cheap=MISS) for n in hard]
    questions += [asked(n, cheap=found()) for n in explored(ENOUGH)]
    made = proposal(questions)
    assert made.known["cheap"] == len(hard) + ENOUGH
    assert made.firsts["cheap"] == ENOUGH
    assert made.proposed == ("cheap", "dear")


def test_a_guess_lends_no_field_that_its_provider_was_never_seen_to_give() -> None:
    """However rich the answers of its kind are: `cheap` has no telephone numbers and no cities."""
    seen = [asked(n, cheap=found(*NEEDED)) for n in explored(5)]
    questions = [asked(n, dear=found()) for n in unexplored(300)] + seen
    guesses = Guesses(questions, TODAY, PRICES)
    guessed = [guesses.complete(each).said["cheap"].fields for each in questions]
    assert frozenset().union(*guessed) == NEEDED


def test_one_that_was_never_seen_to_give_anything_is_lent_what_it_is_asked_for() -> None:
    questions = [asked(n, dear=found()) for n in unexplored(300)]
    of = PRICES | {"cheap": AskingTerms("cheap", 0.25, required=NEEDED, lacks=frozenset({"name"}))}
    guesses = Guesses(questions, TODAY, of)
    guessed = [guesses.complete(each).said["cheap"].fields for each in questions]
    assert frozenset().union(*guessed) == {"industry"}


def three_that_know_less_and_less() -> tuple[list[PastQuestion], dict[str, AskingTerms]]:
    """Of 200 fields `a` gives all, `b` 99 %, `c` 97.5 %, each for less money."""
    names = [f"f{n}" for n in range(200)]
    said = {"a": found(*names), "b": found(*names[:198]), "c": found(*names[:195])}
    needed = frozenset(names[:1])
    of = {
        name: AskingTerms(name, price, required=needed)
        for name, price in {"a": 1.0, "b": 0.5, "c": 0.1}.items()
    }
    return [PastQuestion(f"{n}.example", frozenset(said), said=said) for n in range(100)], of


def test_what_several_changes_lose_is_counted_together() -> None:
    questions, of = three_that_know_less_and_less()
    alone = propose("company", questions, ("b", "a", "c"), of)
    assert alone.proposed[0] == "c"
    made = propose("company", questions, ("b", "a", "c"), of, of_settings=("a", "b", "c"))
    assert made.proposed[0] == "b"
    assert not made.is_clear


def test_an_order_that_no_longer_fills_enough_is_left_though_a_field_gets_dearer() -> None:
    questions, of = three_that_know_less_and_less()
    made = propose("company", questions, ("c", "b", "a"), of, of_settings=("a", "b", "c"))
    assert made.proposed[0] == "b"
    assert made.is_clear
    assert made.step == ("b", "c")
    assert made.why == "19,800 fields are filled in place of 19,500"


def test_nobody_is_moved_up_to_where_a_limit_would_hold_the_leads_up() -> None:
    questions = [asked(n, dear=found()) for n in unexplored(300)]
    questions += [asked(n, cheap=found()) for n in explored(ENOUGH)]
    slow = PRICES | {"cheap": AskingTerms("cheap", 0.25, required=NEEDED, most_a_day=100)}
    made = proposal(questions, slow)
    assert (made.proposed, made.limited) == (TODAY, ("cheap",))
    assert proposal(questions, slow, days=30).proposed == ("cheap", "dear")


def test_a_sample_stands_for_all_leads() -> None:
    questions = [asked(n, dear=found()) for n in unexplored(300)]
    assert proposal(questions, factor=10).before.cost == 10 * proposal(questions).before.cost


def test_who_has_given_too_few_answers_as_the_first_is_explored() -> None:
    questions = [asked(n, dear=found()) for n in unexplored(300)]
    assert proposal(questions).explored == ["cheap"]
    questions += [asked(n, cheap=found()) for n in explored(ENOUGH)]
    assert proposal(questions).explored == []


@pytest.mark.parametrize("seed", range(20))
def test_a_proposal_never_costs_more_for_a_field_and_hardly_fills_less(seed: int) -> None:
    dice, names = Random(seed), [f"p{n}" for n in range(5)]
    of = {
        name: AskingTerms(name, dice.choice([0.1, 0.5, 1, 2]), dice.random() < 0.3, NEEDED)
        for name in names
    }
    chances = {name: dice.random() for name in names}
    questions = [
        PastQuestion(
            f"{n}.example",
            frozenset(names),
            said={
                name: found(*dice.sample(sorted(ALL), dice.randint(1, 4)))
                if dice.random() < chances[name]
                else MISS
                for name in names
                if dice.random() < 0.6
            },
        )
        for n in range(200)
    ]
    made = proposal(questions, of, names)
    assert sorted(made.proposed) == sorted(names)
    assert made.after.worth >= made.before.worth
    assert made.after.filled >= 0.98 * made.before.filled
    assert made.step is None or made.proposed != made.today
    if made.step is not None:
        guesses, order = Guesses(questions, names, of), list(names)
        rows, place = [guesses.complete(each) for each in questions], names.index(made.step[1])
        order[place : place + 2] = made.step
        assert replay(rows, order, of).filled >= 0.98 * made.before.filled, "nor on the way"


# -- the order as the fleet has it


def test_an_order_arranges_those_it_knows_and_leaves_the_others_where_they_are() -> None:
    order = Order(places=("b", "a", "gone"))
    assert order.arrange(["website", "a", "new", "b"]) == ["website", "b", "new", "a"]
    assert Order().arrange(["x", "y"]) == ["x", "y"]


def test_one_question_in_twenty_explores_and_each_always_the_same_provider() -> None:
    order = Order(places=("a", "b", "c"), explored=("b", "c"))
    chosen = [order.explore(["a", "b", "c"], f"{n}.example") for n in range(4_000)]
    again = [order.explore(["a", "b", "c"], f"{n}.example") for n in range(4_000)]
    assert chosen == again
    counts = {name: chosen.count(name) for name in ("a", "b", "c")}
    assert counts["a"] == 0
    assert all(60 < counts[name] < 140 for name in ("b", "c")), counts
    assert order.explore(["a"], "1.example") is None
    assert order.explore(["b"], None) is None
