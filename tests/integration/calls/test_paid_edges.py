"""A paid gate at its edges: odd answers, used-up budgets, people who leave while their question waits."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import cast

import httpx
import pytest
from pydantic import SecretStr

from enricher.answer import Found, Held, Kind, Objected, Query, Reply, Unavailable
from enricher.calls.breaker import PAUSED, Objecting
from enricher.calls.flights import COLLECTION as ANSWERS
from enricher.calls.ledger import Budget, Usage
from enricher.calls.question import Asking, Question
from enricher.limits.limiter import Limiter, Slot
from enricher.privacy.forgetting import personal_keys
from enricher.privacy.suppression import Suppressed, key_of
from enricher.process import shortage
from enricher.providers.base import Access, Request, Tried
from enricher.providers.clearbit import ClearbitCompany, ClearbitPerson
from enricher.providers.hunter import HunterVerifier
from tests.integration.calls.test_paid import (
    QUERY,
    QUOKKA,
    Database,
    ask,
    books_of,
    gate_to,
    ledger,
    record,
)
from tests.support.faults import Faults
from tests.support.mock_client import mock_client
from tests.support.observing import events, logged
from tests.support.scripted import Door, Scripted, in_turn, provider, verdict
from tests.support.waiting import business, eventually

pytestmark = pytest.mark.slow

ACCESS = Access(SecretStr("key"), "https://vendor.example")
PERSON = Query(email="a@b.example", email_key="a@b.example")


async def test_a_charged_answer_that_is_none_is_budgeted_and_counted_each_time(
    database: Database,
) -> None:
    sent = 0

    def answer(_: httpx.Request) -> httpx.Response:
        nonlocal sent
        sent += 1
        return httpx.Response(200, json={"unexpected": True})

    books = await books_of(database)
    books.usage = Usage(database, {"hunter": Budget(1)}, {})
    http = mock_client(answer)
    await ask(gate_to(HunterVerifier(http, ACCESS), books), PERSON)
    row = await ledger(books, database)
    assert (sent, row.begun, row.charged) == (1, 1, 1)


async def test_an_answer_that_is_paid_for_is_fetched_though_the_budget_is_used_up_meanwhile(
    database: Database,
) -> None:
    asked = asyncio.Event()
    replies = iter([httpx.Response(202, headers={"Retry-After": "1"}), record()])

    def answer(_: httpx.Request) -> httpx.Response:
        asked.set()
        return next(replies)

    books = await books_of(database, daily=1)
    http = mock_client(answer)
    gate = gate_to(ClearbitCompany(http, ACCESS), books)
    paid_for = asyncio.create_task(ask(gate))
    await asked.wait()
    assert isinstance(await ask(gate, Query(company_domain="other.example")), Held)
    assert isinstance(await paid_for, Found)


async def test_who_is_forgotten_while_the_question_waits_is_not_asked_about(
    database: Database,
) -> None:
    asked = provider("acme", verdict(score=90), Kind.EMAIL)
    books = await books_of(database)
    suppressed = Suppressed(database)
    books.is_suppressed = lambda key: suppressed.has(key_of(books.keyring, key))
    gate = gate_to(asked, books)
    gate.limiter.pause(1)
    asking = asyncio.create_task(ask(gate, PERSON))
    await asyncio.sleep(0)
    await suppressed.add([key_of(books.keyring, "a@b.example")], "forget")
    await books.cache.forget(personal_keys(books.keyring, [asked], PERSON))
    assert isinstance(await asking, Objected)
    assert not asked.asked
    assert await database["enricher_answers"].count_documents({"reply": {"$exists": True}}) == 0


async def test_who_joins_keeps_a_deadline_of_its_own(database: Database) -> None:
    door = Door(QUOKKA)
    gate = gate_to(provider("acme", door), await books_of(database))
    first = asyncio.create_task(ask(gate, seconds=business()))
    await door.entered.wait()
    joined = asyncio.create_task(ask(gate, seconds=30))
    await first
    door.opened.set()
    assert isinstance(await joined, Found)


async def test_a_call_whose_moment_has_passed_is_not_made_for_nobody(faults: Faults) -> None:
    asked = provider("momentary", QUOKKA)
    books = await books_of(faults.leads.database)
    gate = gate_to(asked, books)
    question = Query(company_domain=f"{faults.leads.name}.example")
    late = {"blockConnection": True, "blockTimeMS": int(500 * business())}
    async with faults.fail("insert", "update", **late) as has_come:
        caller = asyncio.create_task(ask(gate, question))
        await has_come()
        caller.cancel()
        await asyncio.wait([caller])
        await gate.close(5)
    assert not asked.asked
    rows = await Usage(faults.plain.database, {}, {}).days(1)
    assert all(row.begun == row.spent == 0 for row in rows if row.provider == "momentary")


class Speechless(ClearbitPerson):
    """Of another package."""

    def request(self, query: Query) -> Request:
        raise LookupError(query.email)


async def test_a_provider_that_cannot_word_its_question_is_unavailable(database: Database) -> None:
    http = mock_client()
    gate = gate_to(Speechless(http, ACCESS), await books_of(database))
    assert await ask(gate, PERSON) == Unavailable("internal error: LookupError")


async def test_a_provider_that_cannot_word_its_question_keeps_nobody_from_being_forgotten(
    database: Database,
) -> None:
    keyring = (await books_of(database)).keyring
    http = mock_client()
    verifier = HunterVerifier(http, ACCESS)
    with logged() as lines:
        keys = personal_keys(keyring, [Speechless(http, ACCESS), verifier], PERSON)
    assert keys == personal_keys(keyring, [verifier], PERSON)
    assert [each.fields["provider"] for each in events(lines, "provider.broken")] == [
        Speechless.name
    ]


class Moments(Limiter):
    """Gives out what a test wants, and counts the slots that are neither given back nor void."""

    def __init__(self, *given: Slot | Held) -> None:
        super().__init__(())
        self._given = list(given)
        self.used = 0

    async def acquire(self, _: float = 0.0) -> Slot | Held:
        given = self._given.pop(0) if self._given else Slot.of_now()
        self.used += isinstance(given, Slot)
        return given

    def give_back(self, _: Slot) -> None:
        self.used -= 1


async def test_a_second_try_that_was_not_sent_gives_its_slot_back_and_is_no_call(
    database: Database,
) -> None:
    asked = provider("acme", in_turn(Unavailable("503"), QUOKKA), Kind.EMAIL)
    books, limiter = await books_of(database), Moments()

    async def objects_later(_: str) -> bool:
        return bool(asked.asked)

    books.is_suppressed = objects_later
    assert isinstance(await ask(gate_to(asked, books, limiter), PERSON), Objected)
    row = await ledger(books, database)
    assert (row.begun, row.settled, row.spent, limiter.used) == (1, 1, 0, 1)


async def test_a_second_try_whose_moment_passed_gives_its_budget_back(database: Database) -> None:
    lapsed, held = Slot(0.0, 0.0, 0.0), Held("the key is refused", 60)
    asked, books = provider("acme", in_turn(Unavailable("503"), QUOKKA)), await books_of(database)
    gate = gate_to(asked, books, Moments(Slot.of_now(), lapsed, held))
    assert await ask(gate) == held
    row = await ledger(books, database)
    assert (len(asked.asked), row.begun, row.settled, row.spent) == (1, 1, 1, 0)


class Charging(Scripted):
    """Charges for whatever it says."""

    name, vendor, kind = "acme", "acme", Kind.PERSON

    async def exchange(self, query: Query) -> Tried:
        return Tried(await self.ask(query), is_charged=True)


async def test_a_charged_objection_is_booked_though_the_brake_fails(database: Database) -> None:
    books = await books_of(database)

    async def fail(*_: object) -> Objecting:
        raise LookupError("a bug")

    books.note_objection = fail
    gate = gate_to(Charging(lambda _: Objected(), lambda _: None), books)
    with pytest.raises(LookupError):
        await ask(gate, PERSON)
    row = await ledger(books, database)
    assert (row.begun, row.settled, row.charged) == (1, 1, 1)
    assert await database[ANSWERS].count_documents({"flight": {"$exists": True}}) == 0


async def test_a_question_that_another_daemon_has_in_hand_asks_for_no_budget(
    database: Database,
) -> None:
    """The last call of the budget is the other's: a hold would keep all leads from what is kept."""
    door = Door(QUOKKA)
    first = gate_to(provider("acme", door), await books_of(database, "one", daily=1))
    second = gate_to(provider("acme", QUOKKA), await books_of(database, "two", daily=1))
    theirs = asyncio.create_task(ask(first))
    await door.entered.wait()
    asking = Asking(Question(QUERY, shortage.awake() + 30, "lead-2"))
    ours = asyncio.create_task(second.ask(asking))
    await eventually(lambda: asking.outside_seconds > 0)
    assert second.waits_for() == "limit"
    door.opened.set()
    assert await theirs is QUOKKA
    answer = await ours
    assert isinstance(answer, Found)
    assert answer.sections == QUOKKA.sections
    assert second.look() is None


async def test_a_person_who_objected_asks_for_no_budget(database: Database) -> None:
    asked = provider("acme", verdict(score=90), Kind.EMAIL)
    books = await books_of(database, daily=0)

    async def has_objected(_: str) -> bool:
        return True

    books.is_suppressed = has_objected
    gate = gate_to(asked, books)
    assert isinstance(await ask(gate, PERSON), Objected)
    assert gate.look() is None
    assert gate.waits_for() == "limit"


class Wordy(Charging):
    """Hands over a text where a reply's bytes belong, as somebody else's provider may."""

    async def exchange(self, query: Query) -> Tried:
        tried = await super().exchange(query)
        body = cast(bytes, "not bytes at all " * 100)
        return replace(tried, reply=Reply(200, body=body))


async def test_a_reply_that_cannot_be_kept_is_booked_and_nobody_waits_for_it(
    database: Database,
) -> None:
    books = await books_of(database)
    gate = gate_to(Wordy(lambda _: QUOKKA, lambda _: None), books)
    assert isinstance(await ask(gate, PERSON), Unavailable)
    row = await ledger(books, database)
    assert row.begun == row.settled > 0
    assert await database[ANSWERS].count_documents({"flight": {"$exists": True}}) == 0


async def test_who_joins_a_call_and_leaves_first_knows_that_it_was_under_way(
    database: Database,
) -> None:
    door = Door(QUOKKA)
    gate = gate_to(provider("acme", door), await books_of(database))
    first = asyncio.create_task(ask(gate, seconds=30))
    await door.entered.wait()
    assert isinstance(await ask(gate, seconds=0.1), Unavailable)
    door.opened.set()
    assert isinstance(await first, Found)


async def test_an_operator_s_pause_stops_the_polls_for_what_is_paid_for(database: Database) -> None:
    asked, sent = asyncio.Event(), list[httpx.Request]()

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        asked.set()
        return httpx.Response(202, headers={"Retry-After": "0"})

    gate = gate_to(ClearbitCompany(mock_client(answer), ACCESS), await books_of(database))
    paid_for = asyncio.create_task(ask(gate))
    await asked.wait()
    gate.limiter.stop("clearbit", Held(PAUSED, 3600))
    assert isinstance(await paid_for, Held)
    polls = len(sent)
    assert isinstance(await ask(gate), Held)
    assert len(sent) == polls
