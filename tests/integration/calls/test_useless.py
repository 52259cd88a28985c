"""A gate to a vendor that charges and tells nothing, on real books: it is asked once more for a lead's whole
run, whatever becomes of the process meanwhile, and by few at once until it is known to make sense."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import httpx
import pytest
from pydantic import SecretStr
from pymongo.asynchronous.database import AsyncDatabase

from enricher.answer import Found, Query, Unavailable
from enricher.calls.breaker import STOPS_AFTER
from enricher.calls.question import Retries
from enricher.lead import Document
from enricher.limits.limiter import Limiter
from enricher.providers.base import Access
from enricher.providers.clearbit import ClearbitCompany
from tests.integration.calls.test_paid import QUERY, ask, books_of, gate_to, ledger, record
from tests.support.mock_client import mock_client
from tests.support.waiting import eventually

Database = AsyncDatabase[Document]

ONE_TRY = Retries(tries=1, polls=1)


def clearbit(*replies: httpx.Response) -> ClearbitCompany:
    """Answers so, one after the other, and like the last one from then on."""
    left = list(replies)
    http = mock_client(lambda _: left.pop(0) if len(left) > 1 else left[0])
    return ClearbitCompany(http, Access(SecretStr("key"), "https://vendor.example"))


def page() -> httpx.Response:
    return httpx.Response(200, html="<p>Moved</p>")


async def test_whoever_asks_again_after_a_death_buys_it_once_more_and_no_more(
    database: Database,
) -> None:
    """The lead does not say that it was charged: its process died before it could be written."""
    books = await books_of(database)
    before = gate_to(clearbit(page()), books)
    before.retries = ONE_TRY
    assert isinstance(await ask(before), Unavailable)

    later = await books_of(database, "the next")
    answer = await ask(gate_to(clearbit(page()), later))

    assert isinstance(answer, Unavailable)
    assert answer.is_final
    await ledger(books, database)
    assert (await ledger(later, database)).charged == 2


async def test_a_question_that_was_charged_for_nothing_may_be_answered_after_all(
    database: Database,
) -> None:
    books = await books_of(database)
    for _ in range(2):
        await ask(gate_to(clearbit(page()), books))
    assert isinstance(await ask(gate_to(clearbit(record()), books)), Found)


@pytest.mark.parametrize("first", [503, 429, 401])
async def test_an_answer_that_tells_nothing_does_not_let_everybody_in(
    database: Database, first: int
) -> None:
    asked = clearbit(httpx.Response(first))
    gate = gate_to(asked, await books_of(database), Limiter(()))
    gate.retries = ONE_TRY
    await ask(gate, replace(QUERY, company_domain="first.example"))
    opened, under_way = asyncio.Event(), 0

    async def answered(_: httpx.Request) -> httpx.Response:
        nonlocal under_way
        under_way += 1
        await opened.wait()
        return record()

    asked._http = mock_client(answered)  # the same vendor, slow by now
    gate.limiter.release()
    callers = [
        asyncio.create_task(ask(gate, Query(company_domain=f"q{number}.example")))
        for number in range(3 * STOPS_AFTER)
    ]
    await eventually(lambda: under_way >= STOPS_AFTER)
    await asyncio.sleep(0.2)
    assert under_way == STOPS_AFTER
    opened.set()
    assert {type(each) for each in await asyncio.gather(*callers)} == {Found}


@pytest.mark.slow
async def test_an_answer_that_is_being_prepared_does_not_end_the_row(database: Database) -> None:
    """The vendor charges for the 202 already, and what comes of it tells nothing."""
    prepared: set[str] = set()

    def answered(request: httpx.Request) -> httpx.Response:
        question = str(request.url)
        if question in prepared:
            return page()
        prepared.add(question)
        return httpx.Response(202, headers={"Retry-After": "0"})

    asked = clearbit(page())
    asked._http = mock_client(answered)
    gate = gate_to(asked, await books_of(database), Limiter(()))
    for number in range(STOPS_AFTER):
        await ask(gate, Query(company_domain=f"q{number}.example"))
    assert gate.limiter.stopped("clearbit") is not None
