"""A gate to a provider that costs money, on real books: nothing is paid for twice."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random

import httpx
import pytest
from pydantic import SecretStr
from pymongo import AsyncMongoClient
from pymongo.asynchronous.database import AsyncDatabase

from enricher.answer import Answer, Found, Held, Kind, NotFound, Preparing, Query, Unavailable
from enricher.calls.flights import COLLECTION as ANSWERS
from enricher.calls.flights import Cache
from enricher.calls.ledger import Budget, DayOfProvider, Usage
from enricher.calls.question import Asking, Books, Gate, Lifetimes, Question, Retries
from enricher.lead import Document
from enricher.limits.limiter import Limiter
from enricher.mongo import server
from enricher.mongo.secret import keyring
from enricher.process import shortage
from enricher.providers.base import Access, Provider
from enricher.providers.clearbit import ClearbitCompany
from enricher.providers.cnpj import Cnpj
from tests.support.faults import Faults
from tests.support.mock_client import mock_client
from tests.support.observing import counted
from tests.support.scripted import Door, company, in_turn, provider
from tests.support.waiting import eventually

pytestmark = pytest.mark.slow

Database = AsyncDatabase[Document]

QUERY = Query(company_domain="quokka.example")
QUOKKA = company(name="Quokka Freight")
_INTERRUPTED = 11601
QUICK = Retries(tries=3, polls=5, first_wait=0.001, longest_wait=0.002)


async def books_of(
    database: Database, holder: str = "a-process", *, daily: int | None = None, lease: float = 5
) -> Books:
    usage = Usage(database, {"acme": Budget(daily), "clearbit": Budget(daily)}, {})
    return Books(Cache(database, holder, lease), usage, await keyring(database))


def gate_to(asked: Provider, books: Books, limiter: Limiter | None = None) -> Gate:
    return Gate(asked, QUICK, Random(1), limiter or Limiter(asked.windows), books=books)


async def ask(
    gate: Gate,
    query: Query = QUERY,
    *,
    seconds: float = 30,
    newer_than: datetime | None = None,
    urgency: float = 0.0,
) -> Answer:
    deadline = shortage.awake() + seconds
    return await gate.ask(Asking(Question(query, deadline, "lead-1", urgency, newer_than)))


async def abandon_a_call(gate: Gate, door: Door) -> None:
    """Ask, and give up once the call is under way."""
    caller = asyncio.create_task(ask(gate))
    await door.entered.wait()
    caller.cancel()
    await asyncio.wait([caller])


async def ledger(books: Books, database: Database) -> DayOfProvider:
    """What the database says once everything noted has been written."""
    stop = asyncio.Event()
    stop.set()
    await books.usage.run(stop)
    (row,) = await Usage(database, {}, {}).days(1)
    return row


async def test_500_leads_of_one_company_at_three_daemons_make_one_call(
    database: Database, mongodb_uri: str
) -> None:
    door = Door(QUOKKA)
    asked = provider("acme", door)
    async with AsyncExitStack() as stack:
        gates = []
        for number in range(3):
            client: AsyncMongoClient[Document] = await stack.enter_async_context(
                server.connect(mongodb_uri, pool=8)
            )
            gates.append(gate_to(asked, await books_of(client[database.name], f"{number}")))
        callers = [asyncio.create_task(ask(gate)) for gate in gates for _ in range(167)]
        await door.entered.wait()
        door.opened.set()
        answers = await asyncio.gather(*callers)
        for gate in gates:
            await gate.close(5)
    assert [answer.sections for answer in answers if isinstance(answer, Found)] == [
        QUOKKA.sections
    ] * 501
    assert len(asked.asked) == 1


async def test_an_answer_is_kept_for_every_daemon_and_spelling(database: Database) -> None:
    asked = provider("acme", Found({"email_verification": {"score": 90}}), Kind.EMAIL)
    first = gate_to(asked, await books_of(database, "one"))
    saved = counted("enricher_calls_saved_total", provider="acme", by="cache")
    await ask(first, Query(email="pat.lee@gmail.com", email_key="patlee@gmail.com"))
    second = gate_to(asked, await books_of(database, "two"))
    answer = await ask(second, Query(email="patlee@gmail.com", email_key="patlee@gmail.com"))
    assert isinstance(answer, Found)
    assert answer.sections == {"email_verification": {"score": 90}}
    assert len(asked.asked) == 1
    assert counted("enricher_calls_saved_total", provider="acme", by="cache") == saved + 1


@pytest.mark.parametrize("answer", [QUOKKA, NotFound()])
async def test_each_answer_lasts_for_its_own_time(database: Database, answer: Answer) -> None:
    asked = provider("acme", answer)
    books = await books_of(database)
    books.lifetimes = Lifetimes(timedelta(days=1), timedelta(days=1))
    if isinstance(answer, NotFound):
        books.lifetimes = replace(books.lifetimes, not_found=timedelta(milliseconds=1))
    else:
        books.lifetimes = replace(books.lifetimes, found=timedelta(milliseconds=1))
    await ask(gate_to(asked, books))
    await asyncio.sleep(0.05)
    await ask(gate_to(asked, books))
    assert len(asked.asked) == 2


async def test_a_refresh_asks_anew_and_once_for_all_who_want_it(database: Database) -> None:
    asked = provider("acme", in_turn(company(name="Old"), company(name="New")))
    books = await books_of(database)
    gate = gate_to(asked, books)
    await ask(gate)
    now = datetime.now(UTC)
    refreshed = await asyncio.gather(*(ask(gate, newer_than=now) for _ in range(5)))
    assert {str(each) for each in refreshed} == {str(refreshed[0])}
    assert isinstance(refreshed[0], Found)
    assert refreshed[0].sections == {"company_data": {"name": "New"}}
    assert len(asked.asked) == 2


async def test_a_call_is_seen_through_when_everybody_has_given_up(database: Database) -> None:
    door = Door(QUOKKA)
    asked = provider("acme", door)
    gate = gate_to(asked, await books_of(database))
    await abandon_a_call(gate, door)
    door.opened.set()
    await gate.close(5)
    assert isinstance(await ask(gate_to(asked, await books_of(database, "later"))), Found)
    assert len(asked.asked) == 1


async def test_what_comes_after_the_deadline_is_kept_for_the_next_attempt(
    database: Database,
) -> None:
    door = Door(QUOKKA)
    asked = provider("acme", door)
    gate = gate_to(asked, await books_of(database))
    assert isinstance(await ask(gate, seconds=0.3), Unavailable)
    door.opened.set()
    assert isinstance(await ask(gate), Found)
    assert len(asked.asked) == 1


async def test_a_daemon_that_dies_is_replaced_and_its_call_stands_as_ambiguous(
    database: Database,
) -> None:
    door = Door(QUOKKA)
    dying = gate_to(provider("acme", door), await books_of(database, "dying", lease=0.5))
    lost = asyncio.create_task(ask(dying))
    await door.entered.wait()  # nothing beats for its flight: nobody runs its cache
    asked = provider("acme", QUOKKA)
    books = await books_of(database, "next", lease=0.5)
    assert isinstance(await ask(gate_to(asked, books)), Found)
    row = await ledger(books, database)
    assert (row.settled, row.charged) == (1, 1)
    assert row.ambiguous >= 1, "twice if the dead one had written it"
    lost.cancel()
    door.opened.set()
    await dying.close(5)


async def test_nobody_is_asked_beyond_the_budget(database: Database) -> None:
    asked = provider("acme", QUOKKA)
    books = await books_of(database, daily=3)
    gate = gate_to(asked, books)
    domains = [f"company-{number}.example" for number in range(10)]
    answers = await asyncio.gather(*(ask(gate, Query(company_domain=each)) for each in domains))
    assert len(asked.asked) == 3
    held = [answer for answer in answers if isinstance(answer, Held)]
    assert len(held) == 7
    assert "budget is used up" in held[0].reason
    assert isinstance(await ask(gate, asked.asked[0]), Found), "what is kept costs nothing"


async def test_what_costs_nothing_is_given_back_to_the_budget(database: Database) -> None:
    asked = provider("acme", in_turn(NotFound(), NotFound(), QUOKKA))
    books = await books_of(database, daily=1)
    gate = gate_to(asked, books)
    for number in range(3):
        await ask(gate, Query(company_domain=f"company-{number}.example"))
    assert len(asked.asked) == 3
    row = await ledger(books, database)
    assert (row.begun, row.settled, row.charged, row.spent) == (3, 3, 1, 1)


async def test_polling_for_an_answer_that_is_paid_for_costs_nothing_more(
    database: Database,
) -> None:
    replies = iter([httpx.Response(202), httpx.Response(202), record()])
    books = await books_of(database, daily=1)
    http = mock_client(lambda _: next(replies))
    clearbit = ClearbitCompany(http, Access(SecretStr("key"), "https://vendor.example"))
    answer = await ask(gate_to(clearbit, books))
    assert isinstance(answer, Found)
    row = await ledger(books, database)
    assert (row.begun, row.charged, row.ambiguous) == (1, 1, 0)


def _clearbit(replies: list[httpx.Response]) -> ClearbitCompany:
    """Answers so, one after the other."""
    left = iter(replies)
    http = mock_client(lambda _: next(left))
    return ClearbitCompany(http, Access(SecretStr("key"), "https://vendor.example"))


PREPARING = [httpx.Response(202, headers={"Retry-After": "1"})]


async def test_two_daemons_that_poll_one_202_count_one_charge(
    database: Database, mongodb_uri: str
) -> None:
    async with server.connect(mongodb_uri, pool=4) as client:
        asked = _clearbit([*PREPARING * 3, record(), record()])
        ours, theirs = await books_of(database), await books_of(client[database.name])
        gates = [gate_to(asked, books) for books in (ours, theirs)]
        answers = await asyncio.gather(*(ask(gate) for gate in gates))
        assert [type(answer) for answer in answers] == [Found, Found]
        await ledger(theirs, database)
        row = await ledger(ours, database)
    assert (row.begun, row.settled, row.charged, row.ambiguous) == (1, 1, 1, 0)


async def test_a_202_is_paid_for_in_the_next_attempt_too_and_needs_no_budget_then(
    database: Database,
) -> None:
    books = await books_of(database, daily=1)
    first = await ask(gate_to(_clearbit(PREPARING * 50), books), seconds=0.5)
    assert not isinstance(first, Found | NotFound)
    assert isinstance(await ask(gate_to(_clearbit([record()]), books)), Found)
    row = await ledger(books, database)
    assert (row.begun, row.charged) == (1, 1)
    assert isinstance(
        await ask(gate_to(_clearbit([]), books), Query(company_domain="other.example")), Held
    )


@pytest.mark.parametrize(
    ("between", "charged"),
    [
        pytest.param(httpx.Response(503), 1, id="an outage"),
        pytest.param(httpx.Response(429, headers={"Retry-After": "0"}), 1, id="throttled"),
        pytest.param(
            httpx.Response(200, json={"unexpected": True}), 2, id="no answer, but charged"
        ),
    ],
)
async def test_what_comes_between_a_202_and_its_answer(
    database: Database, between: httpx.Response, charged: int
) -> None:
    books = await books_of(database)
    await ask(gate_to(_clearbit([*PREPARING, between, *PREPARING * 50]), books), seconds=3)
    again = await ask(gate_to(_clearbit([*PREPARING, record()]), books))
    assert isinstance(again, Found)
    assert (await ledger(books, database)).charged == charged


async def test_a_refresh_pays_for_a_question_that_was_prepared_before_it(
    database: Database,
) -> None:
    books = await books_of(database)
    await ask(gate_to(_clearbit(PREPARING * 50), books), seconds=0.5)
    now = (await database.client.admin.command("hello"))["localTime"].replace(tzinfo=UTC)
    later = now + timedelta(milliseconds=1)
    await ask(gate_to(_clearbit([record()]), books), newer_than=later)
    assert (await ledger(books, database)).charged == 2


async def test_after_an_hour_of_silence_a_question_is_another_one(database: Database) -> None:
    books = await books_of(database)
    await ask(gate_to(_clearbit(PREPARING * 50), books), seconds=0.5)
    long_ago = {"paid_at": datetime.now(UTC) - timedelta(hours=1)}
    await database[ANSWERS].update_many({"paid_at": {"$exists": True}}, {"$set": long_ago})
    await ask(gate_to(_clearbit([record()]), books))
    assert (await ledger(books, database)).charged == 2


async def test_an_answer_that_cannot_be_read_is_paid_for_once_and_read_when_it_can_be(
    database: Database,
) -> None:
    calls = 0

    def answer(_: httpx.Request) -> httpx.Response:
        nonlocal calls
        calls += 1
        return record()

    class Broken(ClearbitCompany):
        def interpret(self, _: object) -> Answer:
            raise KeyError("a bug")

    books = await books_of(database)
    http = mock_client(answer)
    access = Access(SecretStr("key"), "https://vendor.example")
    for _ in range(2):
        assert isinstance(await ask(gate_to(Broken(http, access), books)), Unavailable)
    mended = await ask(gate_to(ClearbitCompany(http, access), books))
    assert isinstance(mended, Found)
    assert calls == 1


def record() -> httpx.Response:
    return httpx.Response(200, json={"id": "c_1", "name": "Quokka Freight", "domain": "q.example"})


@pytest.mark.parametrize("passing", [Unavailable("503"), Preparing(0)])
async def test_what_is_no_answer_is_not_kept(database: Database, passing: Answer) -> None:
    asked = provider("acme", in_turn(passing, QUOKKA))
    assert isinstance(await ask(gate_to(asked, await books_of(database))), Found)
    assert len(asked.asked) == 2


async def test_the_answer_waits_for_the_database_to_come_back(faults: Faults) -> None:
    door = Door(QUOKKA)
    asked = provider("acme", door)
    books = await books_of(faults.leads.database)
    gate = gate_to(asked, books)
    question = Query(company_domain=f"{faults.leads.name}.example")
    caller = asyncio.create_task(ask(gate, question))
    await door.entered.wait()
    async with faults.fail("update", errorCode=_INTERRUPTED):
        door.opened.set()
        await eventually(lambda: books.cache.outage.failures > 0)
        assert not caller.done()
    assert isinstance(await caller, Found)
    assert isinstance(await ask(gate_to(asked, books), question), Found)
    assert len(asked.asked) == 1


async def test_a_call_stands_as_ambiguous_until_its_answer_is_kept(faults: Faults) -> None:
    """Who dies before that makes somebody pay again, and the ledger is to show it."""
    door = Door(QUOKKA)
    asked = provider("acme", door)
    database = faults.leads.database
    books = await books_of(database)
    question = Query(company_domain=f"{faults.leads.name}.example")
    caller = asyncio.create_task(ask(gate_to(asked, books), question))
    await door.entered.wait()
    under_way = (await ledger(books, database)).ambiguous
    async with faults.fail("update", errorCode=_INTERRUPTED):
        door.opened.set()
        await eventually(lambda: books.cache.outage.failures > 0)
        assert (await ledger(books, database)).ambiguous == under_way
    await caller
    assert (await ledger(books, database)).ambiguous == under_way - 1


async def test_a_more_urgent_lead_does_not_wait_at_the_place_of_a_less_urgent_one(
    database: Database,
) -> None:
    door = Door(QUOKKA)
    asked = provider("acme", door)
    gate = gate_to(asked, await books_of(database))
    callers = [asyncio.create_task(ask(gate, urgency=urgency)) for urgency in (1, 3, 1, 3)]
    await door.entered.wait()
    door.opened.set()
    assert all(isinstance(answer, Found) for answer in await asyncio.gather(*callers))
    assert len(asked.asked) == 1


async def test_a_look_for_a_kept_answer_counts_by_what_was_there(database: Database) -> None:
    def looks(result: str) -> float:
        return counted("enricher_cache_requests_total", result=result)

    books = await books_of(database)
    before = {result: looks(result) for result in ("miss", "hit", "negative_hit")}
    known, unknown = provider("acme", QUOKKA), provider("acme", NotFound())
    for asked, query in ((known, QUERY), (unknown, Query(company_domain="nobody.example"))):
        await ask(gate_to(asked, books), query)
        await ask(gate_to(asked, books), query)
    assert {result: looks(result) - count for result, count in before.items()} == {
        "miss": 2,
        "hit": 1,
        "negative_hit": 1,
    }


async def test_what_a_charged_call_costs_is_counted_in_credits(database: Database) -> None:
    asked = provider("acme_by_halves", QUOKKA)
    type(asked).credits = 0.5
    books = await books_of(database)
    await ask(gate_to(asked, books))
    assert counted("enricher_credits_charged_total", provider="acme_by_halves") == 0.5
    assert counted("enricher_calls_charged_total", provider="acme_by_halves") == 1


async def test_leads_that_read_a_number_off_different_sites_share_the_call_and_not_the_answer(
    database: Database,
) -> None:
    """The register's record is held against the site, and is another answer for each."""
    number, calls = "19131243000197", 0

    async def say(_: httpx.Request) -> httpx.Response:
        nonlocal calls
        calls += 1
        await asyncio.sleep(0)
        record = {
            "cnpj": number,
            "razao_social": "ACME PAES LTDA",
            "codigo_natureza_juridica": 2062,
        }
        return httpx.Response(200, json=record)

    access = Access(SecretStr(""), "https://register.example")
    gate = gate_to(Cnpj(mock_client(say), access), await books_of(database))
    own = Query(cnpj=number, company_domain="quokka.com.br")
    read = replace(own, cnpj_of="Quokka")
    for pair in ((own, read), (read, own)):
        answers = dict(
            zip(pair, await asyncio.gather(*(ask(gate, each) for each in pair)), strict=True)
        )
        assert isinstance(answers[own], Found)
        assert isinstance(answers[read], NotFound)
    assert calls == 1
