"""What costs nothing but asks somebody else's server is asked once by the whole fleet, and costs nothing."""

from __future__ import annotations

import asyncio

from pymongo.asynchronous.database import AsyncDatabase

from enricher.answer import Kind, NotFound, Unavailable
from enricher.calls.flights import Flight
from enricher.calls.ledger import COLLECTION as LEDGER
from enricher.lead import Document
from tests.integration.calls.test_paid import QUERY, QUOKKA, ask, books_of, gate_to
from tests.support.scripted import Door, Script, Scripted, in_turn, provider

Database = AsyncDatabase[Document]


def site(script: Script | Door | NotFound) -> Scripted:
    return provider("site", script, Kind.COMPANY, is_free=True, is_kept=True)


async def test_its_answer_is_kept_for_the_fleet_and_nothing_is_booked(database: Database) -> None:
    first, second = site(lambda _: QUOKKA), site(lambda _: QUOKKA)
    said = await ask(gate_to(first, await books_of(database)))
    again = await ask(gate_to(second, await books_of(database)))
    assert said == again == QUOKKA
    assert (len(first.asked), len(second.asked)) == (1, 0)
    assert await database[LEDGER].count_documents({}) == 0


async def test_all_who_ask_at_the_same_time_share_one_call(database: Database) -> None:
    door = Door(QUOKKA)
    asked = site(door)
    gates = [gate_to(asked, await books_of(database)) for _ in range(2)]
    callers = [asyncio.create_task(ask(gate)) for gate in gates for _ in range(20)]
    await door.entered.wait()
    door.opened.set()
    assert await asyncio.gather(*callers) == [QUOKKA] * 40
    assert len(asked.asked) == 1


async def test_why_nothing_was_found_is_kept_too(database: Database) -> None:
    first, second = site(NotFound("the domain is parked")), site(NotFound("not asked"))
    await ask(gate_to(first, await books_of(database)))
    assert await ask(gate_to(second, await books_of(database))) == NotFound("the domain is parked")


async def test_a_failure_of_our_own_is_not_kept_and_not_tried_again_in_the_same_run(
    database: Database,
) -> None:
    ours = Unavailable("no way there", was_sent=False, is_of_question=True, is_final=True)
    asked = site(in_turn(ours, QUOKKA))
    gate = gate_to(asked, await books_of(database))
    assert await ask(gate) == ours
    assert len(asked.asked) == 1
    assert await ask(gate) == QUOKKA


async def test_who_takes_over_from_a_dead_process_books_nothing(database: Database) -> None:
    asked, dead = site(lambda _: QUOKKA), await books_of(database, "dead")
    key = dead.keyring.key(asked.name, asked.question(QUERY) or "")
    assert isinstance(await dead.cache.take(key, asked.name), Flight)  # it dies here
    books = await books_of(database, lease=0.2)

    assert await ask(gate_to(asked, books)) == QUOKKA
    stop = asyncio.Event()
    stop.set()
    await books.usage.run(stop)
    assert await database[LEDGER].count_documents({}) == 0
