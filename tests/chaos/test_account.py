"""Which calls a fault excuses: the judge of every scenario is judged first."""

from __future__ import annotations

from collections.abc import Sequence

from enricher.simulator.journal import Entry
from tests.chaos.account import Bill, Claim, Loss, Outage, bill, unprovoked

PID, OTHER = 7, 8
DOMAIN = "quokka-freight.com"
QUESTION = ("clearbit", DOMAIN)
KILLED = Loss(PID, since=3.0)


def call(at: float, fault: str | None = None, seconds: float = 0.1) -> Entry:
    entry = Entry(1, at, at, "clearbit", "companies/find", DOMAIN)
    entry.fault, entry.duration = fault, seconds
    return entry


def claim(at: float, until: float, pid: int = PID, *, lost: bool = False, said: str = "") -> Claim:
    answered = {said} if said else set[str]()
    return Claim(1, f"host:{pid}:x", at, until, lost, answered)


def judged(
    calls: Sequence[Entry],
    *claims: Claim,
    losses: Sequence[Loss] = (KILLED,),
    outages: Sequence[Outage] = (),
) -> Bill:
    return bill(calls, {DOMAIN: claims}, losses, outages)


def test_a_question_may_be_asked_again_when_its_answer_died_with_the_daemon() -> None:
    found = judged([call(2), call(6)], claim(1, 5, lost=True), claim(5, 7, OTHER))
    assert found == Bill(paid_twice=1, in_flight=1, in_vain={})


def test_an_answer_that_stood_on_the_lead_was_not_in_flight() -> None:
    lost = claim(1, 5, lost=True, said="clearbit")
    found = judged([call(2), call(6)], lost, claim(5, 7, OTHER))
    assert found == Bill(1, 0, {QUESTION: "2 calls, 0 of them lost"})


def test_an_answer_of_another_vendor_excuses_as_little_as_it_forbids() -> None:
    lost = claim(1, 5, lost=True, said="hunter")
    assert judged([call(2), call(6)], lost, claim(5, 7, OTHER)).in_vain == {}


def test_a_question_that_had_not_reached_a_vendor_was_not_in_flight() -> None:
    found = judged([call(6), call(6.5)], claim(1, 5, lost=True), claim(5, 7, OTHER))
    assert found == Bill(1, 0, {QUESTION: "2 calls, 0 of them lost"})


def test_a_settled_claim_excuses_nothing() -> None:
    assert QUESTION in judged([call(2), call(6)], claim(1, 2.5), claim(5, 7, OTHER)).in_vain


def test_a_lease_that_ran_out_while_nothing_was_done_to_its_holder_is_counted() -> None:
    lost, settled = claim(1, 5, lost=True), claim(5, 7, OTHER)
    assert unprovoked([lost, settled], [Loss(OTHER, 3.0)]) == [lost]
    assert unprovoked([lost, settled], [KILLED]) == []


def test_a_pause_excuses_what_was_claimed_before_it_and_not_after() -> None:
    pause = Loss(PID, since=3.0, until=3.0)
    assert pause.excuses(claim(1, 5, lost=True))
    assert not pause.excuses(claim(4, 6, lost=True))
    assert not pause.excuses(claim(1, 2, lost=True))


def test_what_a_sleeper_was_about_to_send_it_may_send_once_on_waking() -> None:
    claims, pause = (claim(1, 5, lost=True), claim(5, 7, OTHER)), Loss(PID, 3, 3, sleeps=True)
    assert judged([call(6), call(6.5)], *claims, losses=[pause]) == Bill(1, 1, {})
    assert judged([call(6)], *claims, losses=[pause]) == Bill(0, 0, {})
    thrice = [call(6), call(6.5), call(6.7)]
    assert QUESTION in judged(thrice, *claims, losses=[pause]).in_vain


def test_a_question_lost_twice_may_be_asked_three_times_and_not_four_times() -> None:
    claims = claim(1, 3, lost=True), claim(3, 5, OTHER, lost=True), claim(5, 7, 9)
    losses = [Loss(PID, 2.0), Loss(OTHER, 4.0)]
    three = [call(1.5), call(3.5), call(5.5)]
    assert judged(three, *claims, losses=losses) == Bill(2, 2, {})
    four = judged([*three, call(6)], *claims, losses=losses)
    assert four == Bill(3, 2, {QUESTION: "4 calls, 2 of them lost"})


def test_a_call_that_was_made_to_fail_was_not_paid_for() -> None:
    assert judged([call(1, "reset"), call(2)], claim(0, 3)) == Bill(0, 0, {})


def test_a_call_under_way_when_the_way_to_the_vendors_broke_may_be_made_again() -> None:
    calls = [call(2, seconds=1), call(4)]
    assert judged(calls, claim(1, 5), outages=[Outage(2.5, 2.5)]) == Bill(1, 1, {})
    assert QUESTION in judged(calls, claim(1, 5), outages=[Outage(3.5, 3.5)]).in_vain


def test_a_call_that_a_busy_vendor_found_only_after_the_cut_may_be_made_again() -> None:
    calls, claims = [call(2.3), call(7)], claim(1, 8)
    assert judged(calls, claims, outages=[Outage(2, 2.6)]) == Bill(1, 1, {})
    assert QUESTION in judged(calls, claims, outages=[Outage(1, 1.5)]).in_vain
