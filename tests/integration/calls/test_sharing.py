"""Who asks the same at the same time shares one task: what was sent is seen through, and nothing is sent for nobody."""

from __future__ import annotations

import asyncio
import gc
import weakref
from random import Random

import pytest
from pymongo.asynchronous.database import AsyncDatabase

from enricher.answer import Answer, Found, Kind, Query, Reply, Unavailable
from enricher.calls.flights import COLLECTION as ANSWERS
from enricher.calls.flights import Flight
from enricher.calls.question import Gate
from enricher.lead import Document
from tests.integration.calls.test_paid import (
    QUERY,
    QUICK,
    QUOKKA,
    abandon_a_call,
    ask,
    books_of,
    gate_to,
    ledger,
)
from tests.support.observing import counted
from tests.support.scripted import Door, Scripted, provider
from tests.support.waiting import eventually

Database = AsyncDatabase[Document]

PERSON = Query(email="a@b.example", email_key="a@b.example")


def questions() -> int:
    """How many questions have a task."""
    return sum(task.get_name().startswith("question-") for task in asyncio.all_tasks())


async def test_all_who_ask_the_same_at_the_same_time_share_one_task(database: Database) -> None:
    door = Door(QUOKKA)
    gate = gate_to(provider("acme", door), await books_of(database))
    callers = [asyncio.create_task(ask(gate)) for _ in range(500)]
    await door.entered.wait()
    assert questions() == 1
    door.opened.set()
    assert await asyncio.gather(*callers) == [QUOKKA] * 500
    await eventually(lambda: not questions())


async def test_a_caller_who_gives_up_takes_nobody_with_him(database: Database) -> None:
    asked = provider("acme", QUOKKA)
    gate = gate_to(asked, await books_of(database))
    gate.limiter.pause(0.3)
    first, second = (asyncio.create_task(ask(gate)) for _ in range(2))
    await eventually(lambda: gate.limiter.waiting == 1)
    first.cancel()
    assert await second is QUOKKA
    assert len(asked.asked) == 1


async def test_what_was_not_sent_is_dropped_with_the_last_caller_and_the_next_begins_anew(
    database: Database,
) -> None:
    asked = provider("acme", QUOKKA)
    gate = gate_to(asked, await books_of(database))
    gate.limiter.pause(0.5)
    callers = [asyncio.create_task(ask(gate)) for _ in range(2)]
    await eventually(lambda: gate.limiter.waiting == 1)
    for caller in callers:
        caller.cancel()
    again = await ask(gate)
    assert again is QUOKKA
    assert len(asked.asked) == 1
    await eventually(lambda: not questions())


async def test_who_leaves_while_permission_is_asked_leaves_nothing_behind(
    database: Database,
) -> None:
    asked = provider("acme", QUOKKA, Kind.PERSON)
    books = await books_of(database)
    is_asked, may_answer = asyncio.Event(), asyncio.Event()

    async def is_suppressed(_: str) -> bool:
        is_asked.set()
        await may_answer.wait()
        return False

    books.is_suppressed = is_suppressed
    gate = gate_to(asked, books)
    caller = asyncio.create_task(ask(gate, PERSON))
    await is_asked.wait()
    caller.cancel()
    await asyncio.wait([caller])
    await gate.close(5)
    may_answer.set()
    assert not asked.asked
    assert await database[ANSWERS].count_documents({"flight": {"$exists": True}}) == 0


async def test_who_comes_while_an_abandoned_call_is_under_way_shares_it(
    database: Database,
) -> None:
    door = Door(QUOKKA)
    asked = provider("acme", door)
    gate = gate_to(asked, await books_of(database))
    saved = counted("enricher_calls_saved_total", provider="acme", by="coalescing")
    await abandon_a_call(gate, door)
    later = asyncio.create_task(ask(gate))
    await asyncio.sleep(0)
    assert questions() == 1
    door.opened.set()
    assert await later is QUOKKA
    assert len(asked.asked) == 1
    assert counted("enricher_calls_saved_total", provider="acme", by="coalescing") == saved + 1


async def test_a_call_that_nobody_waits_for_is_not_tried_again(database: Database) -> None:
    door = Door(Unavailable("503"))
    asked = provider("acme", door)
    gate = gate_to(asked, await books_of(database))
    await abandon_a_call(gate, door)
    door.opened.set()
    await gate.close(5)
    assert len(asked.asked) == 1


class Unreadable(Scripted):
    """Of another package, with a bug."""

    name, vendor, kind = "acme", "acme", Kind.COMPANY

    def recall(self, _: Reply, __: Query) -> Answer | None:
        raise ValueError("burnt")


async def test_what_goes_wrong_reaches_all_who_asked(database: Database) -> None:
    books = await books_of(database)
    await ask(gate_to(provider("acme", QUOKKA), books))
    gate = gate_to(Unreadable(lambda _: QUOKKA, lambda _: None), books)
    callers = [asyncio.create_task(ask(gate)) for _ in range(3)]
    for caller in callers:
        with pytest.raises(ValueError, match="burnt"):
            await caller


class Keyless(Scripted):
    """Cannot say what is the same question: its answers are not kept, but its calls count."""

    name, vendor, kind = "acme", "acme", Kind.COMPANY

    def question(self, _: Query) -> str | None:
        return None


class Unheld:
    """A script whose call nothing holds but the task that waits for it."""

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self._answer: weakref.ref[asyncio.Future[Answer]] | None = None

    @property
    def answer(self) -> asyncio.Future[Answer] | None:
        return self._answer() if self._answer is not None else None

    async def __call__(self, _: Query) -> Answer:
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._answer = weakref.ref(answer)
        self.entered.set()
        return await answer


@pytest.mark.parametrize("of", [Keyless, None], ids=["without a key", "with a key"])
async def test_a_call_that_nobody_waits_for_is_still_held_by_its_gate(
    database: Database, of: type[Keyless] | None
) -> None:
    script, books = Unheld(), await books_of(database)
    asked = of(script, lambda _: None) if of else provider("acme", script)
    gate = Gate(asked, QUICK, Random(1), books=books)
    caller = asyncio.create_task(ask(gate))
    await script.entered.wait()
    caller.cancel()
    await asyncio.wait([caller])
    del caller
    gc.collect()
    assert script.answer is not None
    script.answer.set_result(QUOKKA)
    await gate.close(5)
    assert (await ledger(books, database)).charged == 1


async def test_a_question_without_a_key_has_a_deadline_too(database: Database) -> None:
    door, books = Door(QUOKKA), await books_of(database)
    gate = gate_to(Keyless(door, lambda _: None), books)
    assert await ask(gate, seconds=0.3) == Unavailable("timed out")
    door.opened.set()
    await gate.close(5)
    assert (await ledger(books, database)).charged == 1, "what was sent is seen through"


async def test_two_leads_with_a_question_without_a_key_pay_each_for_itself(
    database: Database,
) -> None:
    asked, books = Keyless(lambda _: QUOKKA, lambda _: None), await books_of(database)
    gate = gate_to(asked, books)
    answers = await asyncio.gather(ask(gate), ask(gate))
    assert [type(each) for each in answers] == [Found, Found]
    assert (await ledger(books, database)).charged == 2


async def test_the_call_that_a_dead_process_may_have_made_is_booked_by_who_asks_again(
    database: Database,
) -> None:
    asked = provider("acme", QUOKKA)
    dead = await books_of(database, "dead")
    key = dead.keyring.key("acme", asked.question(QUERY) or "")
    assert isinstance(await dead.cache.take(key, "acme"), Flight)  # it dies here
    books = await books_of(database, lease=0.2)

    assert isinstance(await ask(gate_to(asked, books)), Found)
    found = await ledger(books, database)
    assert (found.begun, found.settled, found.charged, found.ambiguous) == (2, 1, 1, 1)
