"""What may be asked about a lead: kinds, the condition for being a lead, and the one for persons."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random

from enricher.answer import Kind, NotFound, Query
from enricher.calls.question import Gate, Retries
from enricher.enrichment.attempt import EVERYTHING, Scope, Waterfall
from enricher.enrichment.conclude import Findings
from enricher.lead import Eligibility, Inputs, Lead, LeadId
from tests.support.scripted import Door, Scripted, company, keep_nothing, person, provider, verdict
from tests.support.waiting import patience

QUERY = Query(email="ada@acme.example", company_domain="acme.example")
LEAD = Lead(1, Inputs())


def scope(standing: Callable[[], Eligibility], *, minds_persons: bool = False) -> Scope:
    async def look(_: LeadId) -> Eligibility:
        return standing()

    return Scope(look=look, minds_persons=minds_persons)


async def ask(*providers: Scripted, within: Scope) -> Findings:
    gates = [Gate(each, Retries(tries=1), Random(1)) for each in providers]
    return await Waterfall(gates, {}).ask(LEAD, QUERY, 30, keep_nothing, within)


async def test_only_the_kinds_that_are_wanted_are_asked_and_the_others_say_why() -> None:
    clearbit = provider("clearbit", company(name="Acme"))
    hunter = provider("hunter", verdict(status="valid"), Kind.EMAIL)
    local = provider("local", verdict(status="valid"), Kind.EMAIL, is_free=True)
    found = await ask(clearbit, hunter, local, within=Scope(frozenset({Kind.COMPANY})))
    assert set(found.answers) == {"clearbit"}
    assert set(found.skipped) == {"hunter", "local"}
    assert hunter.asked == local.asked == []


async def test_a_free_provider_of_another_kind_is_not_asked_either() -> None:
    local = provider("local", verdict(status="valid"), Kind.EMAIL, is_free=True)
    waterfall = Waterfall([Gate(local)], {})
    within = Scope(frozenset({Kind.COMPANY}))
    found = await waterfall.ask_free(LEAD, QUERY, 30, "no company domain", within)
    assert set(found.skipped) == {"local"}


async def test_nobody_is_asked_about_as_a_person_without_leave_but_all_else_is() -> None:
    people = provider("people", person(full_name="Ada"), Kind.PERSON)
    found = await ask(
        people,
        provider("clearbit", company(name="Acme")),
        provider("hunter", verdict(status="valid"), Kind.EMAIL),
        within=scope(lambda: Eligibility(is_open=False), minds_persons=True),
    )
    assert set(found.answers) == {"clearbit", "hunter"}
    assert found.skipped == {"people": "the lead may not be asked about as a person"}


async def test_leave_that_is_withdrawn_counts_before_the_next_provider() -> None:
    door, standing = Door(NotFound()), [Eligibility()]
    later = provider("later", person(full_name="Ada"), Kind.PERSON)
    within = scope(lambda: standing[-1], minds_persons=True)
    asking = asyncio.create_task(ask(provider("first", door, Kind.PERSON), later, within=within))
    async with patience(5):
        await door.entered.wait()
    standing.append(Eligibility(is_open=False))
    door.opened.set()
    assert set((await asking).answers) == {"first"}
    assert later.asked == []


async def test_without_a_condition_nothing_is_looked_at() -> None:
    assert EVERYTHING.doubt(1, Kind.PERSON) is None
