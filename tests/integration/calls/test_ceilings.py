"""What a lead may cost, from its first attempt to its outcome, on real books."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from enricher.answer import Held, Kind, NotFound, Unavailable
from enricher.calls.ceiling import MILLION, Ceiling
from enricher.calls.question import Books, Gate, Retries
from enricher.enrichment.attempt import Enrichment, Scope, Subjects, Waterfall
from enricher.enrichment.conclude import AttemptPolicy
from enricher.lead import Completed, Inputs, Lead, Outcome, Retrying
from enricher.providers.base import Access, Provider
from enricher.providers.clearbit import ClearbitCompany
from tests.integration.calls.test_paid import QUICK, Database, books_of, gate_to, record
from tests.support.mock_client import mock_client
from tests.support.observing import counted, events, logged
from tests.support.scripted import (
    KEYRING,
    Door,
    company,
    in_turn,
    keep_nothing,
    person,
    provider,
    verdict,
)

pytestmark = pytest.mark.slow

ADA = Inputs(email="ada@acme-tools.com")
ACME, VALID = company(name="Acme"), verdict(status="valid")
ONE = MILLION


class Accounts:
    """What each lead may have cost, as it stands on the lead."""

    def __init__(self) -> None:
        self.noted: dict[object, list[int]] = {}

    def note(self, lead: Lead) -> Any:
        async def note_cost(spent: int) -> bool:
            self.noted.setdefault(lead.id, []).append(spent)
            return True

        return note_cost


def enrichment(books: Books, ceiling: float, *providers: Provider, tries: int = 1) -> Enrichment:
    most, gates = Ceiling(ceiling), list[Gate]()
    for each in providers:
        gate = gate_to(each, books)
        gate.cost, gate.retries = most.cost_of(each), Retries(tries, first_wait=0.001)
        gates.append(gate)
    return Enrichment(
        Waterfall(gates, {}),
        Subjects(KEYRING),
        AttemptPolicy(3, timedelta(seconds=60), 30),
        scope=Scope(ceiling=most),
    )


async def outcome_of(work: Enrichment, accounts: Accounts | None = None, **lead: Any) -> Outcome:
    one = Lead(**{"id": 1, "inputs": ADA, **lead})
    end, _ = await work.work_on(one, keep_nothing, (accounts or Accounts()).note(one))
    assert isinstance(end, Completed | Retrying), end
    return end


def capped(outcome: Outcome) -> list[str]:
    names: list[str] = outcome.data["enrichment_metadata"].get("capped", [])
    return names


async def test_a_lead_is_completed_with_what_it_could_afford(database: Database) -> None:
    clearbit, hunter = provider("clearbit", ACME), provider("hunter", VALID, Kind.EMAIL)
    work = enrichment(await books_of(database), 1, clearbit, hunter)
    before = counted("enricher_calls_capped_total", provider="hunter")
    with logged() as lines:
        outcome = await outcome_of(work)
    assert isinstance(outcome, Completed)
    assert outcome.data["company_data"] == {"name": "Acme"}
    assert (capped(outcome), outcome.spent) == (["hunter"], ONE)
    assert (
        "ENRICHER_MAX_CREDITS_PER_LEAD"
        in outcome.data["enrichment_metadata"]["sources_skipped"]["hunter"]
    )
    assert not hunter.asked
    assert counted("enricher_calls_capped_total", provider="hunter") == before + 1
    (line,) = events(lines, "lead.capped")
    assert (line.fields["providers"], line.fields["spent"]) == ("hunter", 1.0)


async def test_what_a_call_may_cost_is_noted_before_it(database: Database) -> None:
    accounts = Accounts()

    def script(_: object) -> Any:
        assert accounts.noted == {1: [ONE]}
        return ACME

    await outcome_of(enrichment(await books_of(database), 5, provider("acme", script)), accounts)
    assert accounts.noted == {1: [ONE]}


async def test_nothing_is_noted_for_what_is_kept_or_free(database: Database) -> None:
    books, accounts = await books_of(database), Accounts()
    await outcome_of(enrichment(books, 5, provider("acme", ACME)))
    outcome = await outcome_of(
        enrichment(
            books, 1, provider("acme", ACME), provider("own", VALID, Kind.EMAIL, is_free=True)
        ),
        accounts,
        spent=ONE,
    )
    assert (accounts.noted, capped(outcome)) == ({}, [])
    assert outcome.data["company_data"] == {"name": "Acme"}


async def test_another_kind_waits_for_a_call_that_turns_out_to_be_free(database: Database) -> None:
    hunter = provider("hunter", VALID, Kind.EMAIL)
    work = enrichment(await books_of(database), 1, provider("clearbit", NotFound()), hunter)
    outcome = await outcome_of(work)
    assert (capped(outcome), outcome.spent, len(hunter.asked)) == ([], ONE, 1)


async def test_the_company_comes_first_where_there_is_enough_for_one(database: Database) -> None:
    asked = [
        provider("hunter", VALID, Kind.EMAIL),
        provider("pdl", person(full_name="Ada"), Kind.PERSON),
        provider("clearbit", ACME),
    ]
    outcome = await outcome_of(enrichment(await books_of(database), 1, *asked))
    assert sorted(capped(outcome)) == ["hunter", "pdl"]


@pytest.mark.parametrize("spent", [0, ONE])
async def test_of_two_that_share_a_call_one_pays(database: Database, spent: int) -> None:
    """The first, or the second where the first cannot."""
    door, accounts = Door(ACME), Accounts()
    acme = provider("acme", door)
    work = enrichment(await books_of(database), 1, acme)
    first = asyncio.create_task(outcome_of(work, accounts, id=1, spent=spent))
    second = asyncio.create_task(outcome_of(work, accounts, id=2))
    await door.entered.wait()
    third = asyncio.create_task(outcome_of(work, accounts, id=3, spent=ONE))
    await asyncio.sleep(0)
    door.opened.set()
    outcomes = await asyncio.gather(first, second, third)
    assert [each.data["company_data"] for each in outcomes] == [{"name": "Acme"}] * 3
    assert accounts.noted == ({2: [ONE]} if spent else {1: [ONE]})
    assert sum(each.spent or 0 for each in outcomes) == 2 * ONE + spent
    assert len(acme.asked) == 1


async def test_a_provider_that_is_too_dear_is_not_waited_for_though_it_is_held(
    database: Database,
) -> None:
    asked = provider("acme", Held("quota", 3600)), provider("hunter", VALID, Kind.EMAIL)
    books = await books_of(database)
    waits = await outcome_of(enrichment(books, 2, *asked))
    assert isinstance(waits, Retrying), "it may be asked later"
    outcome = await outcome_of(enrichment(books, 1, *asked), spent=ONE)
    assert (type(outcome), capped(outcome)) == (Completed, ["acme"])


async def test_a_held_provider_is_excluded_by_what_the_others_cost_meanwhile(
    database: Database,
) -> None:
    asked = provider("acme", Held("quota", 3600)), provider("hunter", VALID, Kind.EMAIL)
    outcome = await outcome_of(enrichment(await books_of(database), 1, *asked))
    assert (type(outcome), capped(outcome)) == (Completed, ["acme"])


async def test_lost_calls_count_as_charged_and_the_lead_does_not_fail(database: Database) -> None:
    def lost(_: object) -> Any:
        raise RuntimeError("whether it was charged, nobody knows")

    acme = provider("acme", lost)
    outcome = await outcome_of(enrichment(await books_of(database), 2, acme, tries=9))
    assert len(acme.asked) == 2
    assert (type(outcome), capped(outcome), outcome.spent) == (Completed, ["acme"], 2 * ONE)


async def test_failures_that_cost_nothing_are_retried_as_ever(database: Database) -> None:
    acme = provider("acme", in_turn(Unavailable("503"), Unavailable("503"), ACME))
    outcome = await outcome_of(enrichment(await books_of(database), 1, acme, tries=9))
    assert (len(acme.asked), outcome.spent) == (3, ONE)


async def test_an_answer_that_is_paid_for_is_fetched_at_no_further_cost(database: Database) -> None:
    replies = iter([httpx.Response(202), httpx.Response(202), record()])
    clearbit = ClearbitCompany(
        mock_client(lambda _: next(replies)), Access(SecretStr("key"), "https://vendor.example")
    )
    work = enrichment(await books_of(database), 1, clearbit)
    work.waterfall.paid[0].retries = QUICK
    outcome = await outcome_of(work)
    assert (type(outcome), capped(outcome), outcome.spent) == (Completed, [], ONE)


async def test_another_daemon_s_answer_under_way_is_waited_for_by_who_cannot_pay(
    database: Database,
) -> None:
    door = Door(ACME)
    theirs = enrichment(await books_of(database, "theirs"), 1, provider("acme", door))
    first = asyncio.create_task(outcome_of(theirs))
    await door.entered.wait()
    ours = enrichment(await books_of(database, "ours"), 1, provider("acme", ACME))
    second = asyncio.create_task(outcome_of(ours, id=2, spent=ONE))
    await asyncio.sleep(0.2)
    door.opened.set()
    assert (await first).spent == ONE
    outcome = await second
    assert outcome.data["company_data"] == {"name": "Acme"}
    assert (capped(outcome), outcome.spent) == ([], ONE)


async def test_a_lead_in_other_hands_costs_nothing_more(database: Database) -> None:
    acme = provider("acme", ACME)
    work = enrichment(await books_of(database), 5, acme)

    async def is_lost(_: int) -> bool:
        return False

    end, _ = await work.work_on(Lead(1, ADA), keep_nothing, is_lost)
    assert isinstance(end, Retrying)
    assert not acme.asked


async def test_what_was_asked_about_somebody_else_does_not_count(database: Database) -> None:
    acme = provider("acme", ACME)
    work = enrichment(await books_of(database), 1, acme)
    other = work.subjects.about(Inputs(email="bob@other-tools.com")).document
    outcome = await outcome_of(work, spent=ONE, subject=other)
    assert (capped(outcome), outcome.spent, len(acme.asked)) == ([], ONE, 1)
