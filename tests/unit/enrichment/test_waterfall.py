"""Who is asked about a lead, in which order, and why somebody is not."""

from __future__ import annotations

import asyncio
import time
from random import Random
from typing import Any

import pytest

from enricher.answer import (
    Answer,
    Found,
    Held,
    Kind,
    NotFound,
    Objected,
    Preparing,
    Query,
    Unavailable,
)
from enricher.calls.order import FleetOrder, Order, is_exploring
from enricher.calls.question import Gate, Retries
from enricher.enrichment.attempt import _PATIENCE_SECONDS, Waterfall
from enricher.enrichment.conclude import Findings
from enricher.lead import Inputs, Lead
from enricher.process import shortage
from tests.support.observing import counted
from tests.support.scripted import Door, Scripted, company, keep_nothing, person, provider, verdict
from tests.support.waiting import eventually, patience

QUERY = Query(email="ada@acme.example", company_domain="acme.example")
ONE_TRY = Retries(tries=1)
ACME = company(name="Acme")
NEEDED = ("name", "industry")


def waterfall(*providers: Scripted, without_key: dict[str, str] | None = None) -> Waterfall:
    return Waterfall([Gate(each, ONE_TRY, Random(1)) for each in providers], without_key or {})


def a_lead(data: dict[str, Any] | None = None, answered: dict[str, str] | None = None) -> Lead:
    return Lead(1, Inputs(), data or {}, answered or {})


async def ask(*providers: Scripted, lead: Lead | None = None, seconds: float = 30) -> Findings:
    return await waterfall(*providers).ask(lead or a_lead(), QUERY, seconds, keep_nothing)


# -- across kinds ----------------------------------------------------------------------------


async def test_the_kinds_are_asked_at_the_same_time() -> None:
    doors = [Door(ACME), Door(person(full_name="Ada")), Door(verdict(status="valid"))]
    made = [provider(kind, door, kind) for kind, door in zip(Kind, doors, strict=True)]
    asking = asyncio.create_task(ask(*made))
    async with patience(5):
        await asyncio.gather(*(door.entered.wait() for door in doors))
    for door in doors:
        door.opened.set()
    findings = await asking
    assert findings.answers == {kind: door.answer for kind, door in zip(Kind, doors, strict=True)}
    assert set(findings.found) == set(Kind)


async def test_what_was_answered_by_the_deadline_is_kept() -> None:
    findings = await ask(
        provider("slow", Door(ACME)),
        provider("quick", verdict(status="valid"), Kind.EMAIL),
        seconds=0.05,
    )
    assert findings.answers == {
        "slow": Unavailable("timed out"),
        "quick": verdict(status="valid"),
    }


async def test_the_best_come_first_and_what_is_free_last_whatever_the_order_of_asking() -> None:
    order = waterfall(
        provider("local", NotFound(), Kind.EMAIL, is_free=True),
        provider("first", NotFound()),
        provider("second", NotFound()),
        provider("hunter", NotFound(), Kind.EMAIL),
    )
    assert order.preference.order == ["first", "second", "hunter", "local"]
    assert order.free == {"local"}


# -- within a kind ---------------------------------------------------------------------------


async def test_the_next_is_not_asked_before_the_one_before_it_has_answered() -> None:
    door, second = Door(NotFound()), provider("second", ACME)
    asking = asyncio.create_task(ask(provider("first", door), second))
    await door.entered.wait()
    assert second.asked == []
    door.opened.set()
    assert set((await asking).answers) == {"first", "second"}


@pytest.mark.parametrize(
    ("first", "is_asked"),
    [
        (company(name="Acme", industry="Tools"), False),
        (company(name="Acme", industry="Tools", phone=None), False),
        (ACME, True),
        (company(name="Acme", industry=""), True),
        (company(name="Acme", industry=None), True),
        (company(name="Acme", industry=[]), True),
        (company(name="Acme", industry="Unknown"), True),
        (verdict(name="Acme", industry="Tools"), True),
        (NotFound(), True),
        (Unavailable("503"), True),
    ],
)
async def test_the_next_is_asked_only_while_what_it_is_good_for_is_missing(
    first: Answer, is_asked: bool
) -> None:
    second = provider("second", NotFound(), required=NEEDED)
    findings = await ask(provider("first", first), second)
    assert bool(second.asked) == is_asked
    assert findings.skipped == ({} if is_asked else {"second": "nothing was missing"})


async def test_a_head_count_makes_its_range_unnecessary_and_not_the_other_way_round() -> None:
    needs_range, needs_count = (
        provider("range", NotFound(), required=("employee_range",)),
        provider("count", NotFound(), required=("employee_count",)),
    )
    await ask(provider("first", company(employee_count=40)), needs_range, needs_count)
    assert (needs_range.asked, needs_count.asked) == ([], [])
    await ask(provider("first", company(employee_range="11-50")), needs_range, needs_count)
    assert (needs_range.asked, bool(needs_count.asked)) == ([], True)


async def test_who_requires_nothing_is_always_asked() -> None:
    second = provider("second", NotFound())
    await ask(provider("first", company(name="Acme")), second)
    assert second.asked


async def test_several_together_can_make_the_rest_unnecessary() -> None:
    third = provider("third", NotFound(), required=NEEDED)
    findings = await ask(provider("a", ACME), provider("b", company(industry="Tools")), third)
    assert third.asked == []
    assert set(findings.answers) == {"a", "b"}


async def test_an_unlikely_answer_spares_nobody_the_question() -> None:
    full = {"company_data": {"name": "Acme", "industry": "Tools"}}
    second = provider("second", NotFound(), required=NEEDED)
    await ask(provider("first", Found(full, confidence=0.3)), second)
    assert second.asked


async def test_a_value_of_a_wrong_type_spares_nobody_the_question() -> None:
    second = provider("second", NotFound(), required=NEEDED)
    await ask(provider("first", company(name={"legal": "Acme"}, industry=["Tools"])), second)
    assert second.asked


@pytest.mark.parametrize(
    ("first", "is_asked"),
    [
        (verdict(status="unknown", score=30), True),
        (verdict(is_disposable=False), True),
        (Held("the quota is used up"), True),
        (Unavailable("503"), True),
        (Preparing(), True),
        (NotFound(), True),
        *((verdict(status=word), False) for word in ("valid", "invalid", "accept_all", "webmail")),
        (verdict(status="disposable"), False),
    ],
)
async def test_a_second_verifier_is_asked_only_while_there_is_no_verdict(
    first: Answer, is_asked: bool
) -> None:
    second = provider("second", verdict(status="valid"), Kind.EMAIL, required=("status",))
    # One that is still preparing its answer is asked again for nearly as long as there is.
    findings = await ask(provider("first", first, Kind.EMAIL), second, seconds=6)
    assert bool(second.asked) == is_asked
    assert ("second" in findings.answers) == is_asked


# -- not asked -------------------------------------------------------------------------------


async def test_who_is_unfit_or_has_no_key_is_skipped_and_says_why() -> None:
    unfit = provider("clearbit", ACME, unfit="no company domain")
    asked = waterfall(unfit, without_key={"hunter": "no key"})
    findings = await asked.ask(a_lead(), QUERY, 30, keep_nothing)
    assert (unfit.asked, findings.answers) == ([], {})
    assert findings.skipped == {"hunter": "no key", "clearbit": "no company domain"}


async def test_who_cannot_tell_whether_it_is_fit_is_skipped_alone() -> None:
    def unfit(query: Query) -> str | None:
        raise LookupError(query.email)

    findings = await ask(provider("odd", ACME, unfit=unfit), provider("acme", ACME))
    assert findings.answers == {"acme": ACME}
    assert findings.skipped == {"odd": "internal error: LookupError"}


@pytest.mark.parametrize("said", ["found", "not_found", "failed"])
async def test_who_answered_in_an_earlier_attempt_is_not_asked_again(said: str) -> None:
    first, second = provider("first", ACME), provider("second", NotFound())
    findings = await ask(first, second, lead=a_lead(answered={"first": said}))
    assert (first.asked, list(findings.answers), findings.skipped) == ([], ["second"], {})


OLDER = {
    "company_data": {"name": "Acme", "industry": "Tools"},
    "enrichment_metadata": {"provenance": {"company_data": {"name": "first", "industry": "first"}}},
}


async def test_what_an_earlier_attempt_of_this_run_found_need_not_be_asked_for() -> None:
    second = provider("second", NotFound(), required=NEEDED)
    lead = a_lead(OLDER, {"first": "found"})
    findings = await ask(provider("first", ACME), second, lead=lead)
    assert second.asked == []
    assert findings.skipped == {"second": "nothing was missing"}


@pytest.mark.parametrize("answered", [{}, {"local": "found"}, {"first": "not_found"}])
async def test_values_from_earlier_runs_are_there_to_be_refreshed(answered: dict[str, str]) -> None:
    """Also in the second attempt, when other providers have answered already."""
    second = provider("second", ACME, required=NEEDED)
    await ask(second, lead=a_lead(OLDER, answered))
    assert second.asked


@pytest.mark.parametrize(
    "data",
    [
        {"company_data": "text"},
        {"company_data": {"name": "Acme"}, "enrichment_metadata": []},
        {"company_data": {"name": "Acme"}, "enrichment_metadata": {"provenance": 5}},
        {
            "company_data": {"name": "Acme"},
            "enrichment_metadata": {"provenance": {"company_data": {"name": ["first"]}}},
        },
    ],
)
async def test_data_of_any_shape_stops_nobody_from_being_asked(data: dict[str, Any]) -> None:
    second = provider("second", ACME, required=("name",))
    await ask(second, lead=a_lead(data, {"first": "found"}))
    assert second.asked


# -- the person objected ---------------------------------------------------------------------


async def test_an_objection_ends_the_kind_and_the_rest_say_why_they_were_not_asked() -> None:
    second = provider("second", person(full_name="Ada"), Kind.PERSON)
    findings = await ask(provider("first", Objected(), Kind.PERSON), second)
    assert findings.objection
    assert second.asked == []
    assert findings.skipped == {"second": "the person objected"}


def objections() -> float:
    return counted("enricher_provider_requests_total", provider="hunter", outcome="objected")


async def test_after_an_objection_no_other_kind_asks_a_further_provider() -> None:
    door, second = Door(NotFound()), provider("second", ACME)
    objecting = Door(Objected())
    asking = asyncio.create_task(
        ask(provider("first", door), second, provider("hunter", objecting, Kind.EMAIL))
    )
    await asyncio.gather(door.entered.wait(), objecting.entered.wait())
    before = objections()
    objecting.opened.set()
    await eventually(lambda: objections() > before)
    door.opened.set()
    findings = await asking
    assert set(findings.answers) == {"first", "hunter"}
    assert (second.asked, findings.skipped) == ([], {"second": "the person objected"})


# -- only what is free -----------------------------------------------------------------------


async def test_for_free_only_free_providers_are_asked_and_the_others_say_why() -> None:
    paid = provider("hunter", verdict(status="valid"), Kind.EMAIL)
    free = provider("local", verdict(is_disposable=True), Kind.EMAIL, is_free=True)
    unfit = provider("lists", NotFound(), Kind.EMAIL, is_free=True, unfit="no e-mail address")
    asked = waterfall(paid, free, unfit, without_key={"clearbit": "no key"})
    findings = await asked.ask_free(a_lead(), QUERY, 30, "disposable address")
    assert paid.asked == []
    assert list(findings.answers) == ["local"]
    assert findings.skipped == {
        "clearbit": "no key",
        "hunter": "disposable address",
        "lists": "no e-mail address",
    }


async def test_what_costs_nothing_but_asks_others_servers_is_not_asked_when_no_call_is_worth_it() -> (
    None
):
    site = provider("site", ACME, is_free=True, is_kept=True)
    findings = await waterfall(site).ask_free(a_lead(), QUERY, 5, "suppressed")
    assert findings.skipped == {"site": "suppressed"}
    assert site.asked == []


async def test_a_free_provider_has_time_to_look_something_up() -> None:
    async def look_up(_: Query) -> Answer:
        await asyncio.sleep(0.02)
        return Found({"email_verification": {"mx_records": True}})

    free = waterfall(provider("dns", look_up, Kind.EMAIL, is_free=True))
    findings = await free.ask_free(a_lead(), QUERY, 30, "internal domain")
    assert list(findings.found) == ["dns"]


# -- progress --------------------------------------------------------------------------------


async def test_what_one_kind_found_is_kept_while_another_takes_long() -> None:
    door = Door(verdict(status="valid"))
    slow, fast = provider("hunter", door, Kind.EMAIL), provider("clearbit", ACME)
    kept: list[list[str]] = []

    async def keep(findings: Findings) -> None:
        kept.append(list(findings.found))
        door.opened.set()

    findings = await waterfall(slow, fast).ask(a_lead(), QUERY, 30, keep)
    assert kept == [["clearbit"]]
    assert set(findings.found) == {"clearbit", "hunter"}


async def test_providers_that_answer_together_cost_no_extra_write() -> None:
    async def keep(_: Findings) -> None:
        raise AssertionError("nobody took long")

    hunter, clearbit = (
        provider("hunter", verdict(status="valid"), Kind.EMAIL),
        provider("clearbit", ACME),
    )
    await waterfall(hunter, clearbit).ask(a_lead(), QUERY, 30, keep)


async def test_what_our_own_loop_takes_long_for_costs_no_extra_write() -> None:
    """Many short steps, as when there is more to do than one CPU can."""

    async def keep(_: Findings) -> None:
        raise AssertionError("no vendor took long")

    async def busy(_: Query) -> Answer:
        for _step in range(12):
            await asyncio.sleep(0)
            time.sleep(_PATIENCE_SECONDS / 4)  # noqa: ASYNC251 - the loop is to stand still
        return verdict(status="valid")

    asked = waterfall(provider("hunter", busy, Kind.EMAIL), provider("clearbit", ACME))
    with shortage.watched():
        findings = await asked.ask(a_lead(), QUERY, 30, keep)
    assert set(findings.found) == {"clearbit", "hunter"}


async def test_a_vendor_that_is_late_is_seen_in_a_busy_loop_too() -> None:
    door, kept = Door(verdict(status="valid")), asyncio.Event()

    async def keep(_: Findings) -> None:
        kept.set()
        door.opened.set()

    async def be_busy() -> None:
        while not kept.is_set():
            await asyncio.sleep(0.01)
            time.sleep(0.03)  # noqa: ASYNC251 - the loop is to be late

    asked = waterfall(provider("hunter", door, Kind.EMAIL), provider("clearbit", ACME))
    with shortage.watched():
        async with patience(10), asyncio.TaskGroup() as group:
            group.create_task(be_busy())
            group.create_task(asked.ask(a_lead(), QUERY, 30, keep))
    assert kept.is_set()


async def test_after_an_objection_nothing_is_kept_before_the_end() -> None:
    """What others said about the person must not be stored, not even for a moment."""
    door, kept = Door(ACME), False

    async def keep(_: Findings) -> None:
        nonlocal kept
        kept = True

    asked = waterfall(
        provider("clearbit", door),
        provider("who", person(full_name="Ada"), Kind.PERSON),
        provider("hunter", Objected(), Kind.EMAIL),
    )
    findings = await asked.ask(a_lead(), QUERY, _PATIENCE_SECONDS + 0.2, keep)
    assert set(findings.found) == {"who"}
    assert not kept


async def test_without_any_provider_nobody_is_asked() -> None:
    findings = await waterfall(without_key={"hunter": "no key"}).ask(
        a_lead(), QUERY, 30, keep_nothing
    )
    assert (findings.answers, findings.skipped) == ({}, {"hunter": "no key"})


async def test_a_not_found_is_kept_as_well_because_it_may_be_charged() -> None:
    door = Door(verdict(status="valid"))
    slow, fast = provider("hunter", door, Kind.EMAIL), provider("clearbit", NotFound())
    kept: list[set[str]] = []

    async def keep(findings: Findings) -> None:
        kept.append(findings.answered)
        door.opened.set()

    await waterfall(slow, fast).ask(a_lead(), QUERY, 30, keep)
    assert kept == [{"clearbit"}]


# -- what no provider may be asked, whoever wrote it -----------------------------------------


@pytest.mark.parametrize(
    ("kind", "query", "why"),
    [
        (
            Kind.COMPANY,
            Query(email="ada@gmail.com", is_free_mail=True, no_company_domain="free-mail domain"),
            "free-mail domain",
        ),
        (Kind.PERSON, Query(email="ada@gmail.com", is_free_mail=True), "free-mail address"),
        (Kind.PERSON, Query(email="info@acme.example", is_role=True), "role address"),
    ],
)
async def test_a_provider_that_would_ask_about_anybody_is_not_asked_all_the_same(
    kind: Kind, query: Query, why: str
) -> None:
    eager = provider("eager", NotFound(), kind)
    findings = await waterfall(eager).ask(a_lead(), query, 30, keep_nothing)
    assert (findings.skipped, eager.asked) == ({"eager": why}, [])


async def test_rules_that_cost_nothing_may_look_at_any_lead() -> None:
    rules = provider("rules", NotFound(), Kind.PERSON, is_free=True)
    query = Query(email="info@acme.example", is_role=True)
    await waterfall(rules).ask(a_lead(), query, 30, keep_nothing)
    assert rules.asked == [query]


# -- the fleet's own order of asking


def in_order(*providers: Scripted, order: Order) -> Waterfall:
    gates = [Gate(each, ONE_TRY, Random(1)) for each in providers]
    return Waterfall(gates, {}, FleetOrder(order))


EXPLORING = next(f"{n}.example" for n in range(1_000) if is_exploring(f"{n}.example"))


async def test_the_fleets_order_says_who_is_asked_first_and_not_whose_value_wins() -> None:
    full = company(name="Acme", industry="Tools")
    first, second = (provider(name, full, required=NEEDED) for name in ("first", "second"))
    made = in_order(first, second, order=Order(places=("second", "first")))
    findings = await made.ask(a_lead(), QUERY, 30, keep_nothing)
    assert (len(first.asked), len(second.asked)) == (0, 1)
    assert findings.skipped == {"first": "nothing was missing"}
    assert made.preference.order == ["first", "second"]


async def test_an_explored_provider_is_asked_first_about_few_leads_and_what_is_free_before() -> (
    None
):
    full = company(name="Acme", industry="Tools")
    free = provider("site", NotFound(), is_free=True)
    first, second = (provider(name, full, required=NEEDED) for name in ("first", "second"))
    order = Order(places=("first", "second"), explored=("second",))
    made = in_order(free, first, second, order=order)
    for domain in (EXPLORING, "acme.example"):
        query = Query(company_domain=domain)
        await made.ask(a_lead(), query, 30, keep_nothing)
    assert [query.company_domain for query in second.asked] == [EXPLORING]
    assert [query.company_domain for query in first.asked] == ["acme.example"]
    assert len(free.asked) == 2


async def test_nobody_is_explored_who_is_held() -> None:
    full = company(name="Acme", industry="Tools")
    first, second = (provider(name, full, required=NEEDED) for name in ("first", "second"))
    gates = [Gate(each, ONE_TRY, Random(1)) for each in (first, second)]
    gates[1].limiter.hold(Held("the quota is used up", 60))
    order = Order(places=("first", "second"), explored=("second",))
    made = Waterfall(gates, {}, FleetOrder(order))
    await made.ask(a_lead(), Query(company_domain=EXPLORING), 30, keep_nothing)
    assert (len(first.asked), len(second.asked)) == (1, 0)
