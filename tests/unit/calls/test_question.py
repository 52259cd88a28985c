"""Everything between a question and a call: holds, limits, retries, deadlines, and bad providers."""

from __future__ import annotations

import asyncio
import time
from random import Random

import pytest

from enricher.answer import (
    Answer,
    Held,
    NotFound,
    Objected,
    Preparing,
    Query,
    Throttled,
    Unavailable,
)
from enricher.calls.question import Asking, Gate, Question, Retries, word_for
from enricher.catalogue import Window
from enricher.process import shortage
from tests.support.observing import counted, events, logged
from tests.support.scripted import Door, Scripted, company, in_turn, provider
from tests.support.waiting import business, patience

QUERY = Query(company_domain="acme.example")
ACME = company(name="Acme")
QUICK = Retries(tries=3, polls=5, first_wait=0.001, longest_wait=0.002)


def gate_to(asked: Scripted) -> Gate:
    return Gate(asked, QUICK, Random(1))


async def ask(gate: Gate, seconds: float = 30) -> Answer:
    return await gate.ask(Asking(Question(QUERY, shortage.awake() + seconds, "lead-1")))


def tries(outcome: str, name: str = "acme") -> float:
    return counted("enricher_provider_requests_total", provider=name, outcome=outcome)


# -- the ordinary ----------------------------------------------------------------------------


@pytest.mark.parametrize("answer", [ACME, NotFound(), Objected()])
async def test_a_final_answer_is_passed_on_and_counted(answer: Answer) -> None:
    asked = provider("acme", answer)
    before = tries(word_for(answer))
    assert await ask(gate_to(asked)) is answer
    assert asked.asked == [QUERY]
    assert tries(word_for(answer)) == before + 1


async def test_each_try_is_counted_and_each_retry_is_logged_without_the_question() -> None:
    asked = provider("acme", in_turn(Unavailable("503"), Preparing(0), ACME))
    before = {word: tries(word) for word in ("unavailable", "preparing", "found")}
    retried = counted("enricher_provider_retries_total", provider="acme")
    with logged() as lines:
        assert await ask(gate_to(asked)) is ACME
    assert {word: tries(word) - count for word, count in before.items()} == dict.fromkeys(before, 1)
    assert counted("enricher_provider_retries_total", provider="acme") == retried + 2
    retry = events(lines, "provider.retry")[0].fields
    assert (retry["lead"], retry["provider"], retry["answer"]) == ("lead-1", "acme", "unavailable")
    assert (retry["reason"], retry["tries"]) == ("503", 1)
    assert "acme.example" not in str(lines)


async def test_each_try_waits_its_turn_at_the_limit_like_the_first() -> None:
    asked = provider("acme", in_turn(Unavailable("503"), ACME), windows=(Window(1, 0.1),))
    waited = counted("enricher_provider_limit_wait_seconds_total", provider="acme")
    await ask(gate_to(asked))
    first, second = asked.asked_at
    assert second - first >= 0.1
    assert counted("enricher_provider_limit_wait_seconds_total", provider="acme") > waited


def test_every_answer_has_a_word() -> None:
    answers: list[Answer] = [
        ACME,
        NotFound(),
        Preparing(),
        Throttled(),
        Unavailable("x"),
        Held("x"),
        Objected(),
    ]
    assert [word_for(each) for each in answers] == [
        "found", "not_found", "preparing", "throttled", "unavailable", "held", "objected",
    ]  # fmt: skip


# -- holds -----------------------------------------------------------------------------------


async def test_a_provider_that_is_held_is_not_asked_until_the_hold_is_over() -> None:
    seconds = round(business(), 1)
    asked = provider("held_one", in_turn(Held("the quota is used up", seconds), ACME))
    gate = gate_to(asked)
    with logged() as lines:
        assert await ask(gate) == Held("the quota is used up", seconds)
        assert counted("enricher_provider_held", provider="held_one") == 1
        held = await ask(gate)
        assert isinstance(held, Held)
        assert 0 < held.seconds < seconds
        assert len(asked.asked) == 1
        await asyncio.sleep(seconds)
        assert await ask(gate) is ACME
    assert counted("enricher_provider_held", provider="held_one") == 0
    assert len(events(lines, "provider.held")) == len(events(lines, "provider.released")) == 1
    held_line = events(lines, "provider.held")[0].fields
    assert (held_line["reason"], held_line["seconds"]) == ("the quota is used up", seconds)
    assert 'enrichment_status is set to "pending"' in held_line["hint"]


async def test_calls_that_were_under_way_together_hold_a_provider_once_and_for_the_longest() -> (
    None
):
    together = asyncio.Barrier(3)
    said = in_turn(Held("a", 50), Held("b", 100), Held("c", 1))

    async def answer(query: Query) -> Answer:
        held = said(query)
        await together.wait()
        assert isinstance(held, Held)
        return held

    gate = gate_to(provider("acme", answer))
    with logged() as lines:
        answers = await asyncio.gather(*(ask(gate) for _ in range(3)))
    assert [getattr(each, "reason", None) for each in answers] == ["a", "b", "c"]
    assert len(events(lines, "provider.held")) == 1
    held = await ask(gate)
    assert isinstance(held, Held)
    assert held.reason == "b"
    assert 50 < held.seconds <= 100


async def test_who_stands_in_the_queue_when_a_hold_begins_does_not_call_any_more() -> None:
    asked = provider("acme", Held("key refused", 60), windows=(Window(1, 0.1),))
    gate = gate_to(asked)
    answers = await asyncio.gather(*(ask(gate) for _ in range(3)))
    assert all(isinstance(answer, Held) for answer in answers)
    assert len(asked.asked) == 1


# -- throttles -------------------------------------------------------------------------------


@pytest.mark.parametrize("windows", [(), (Window(1000, 1),)])
async def test_what_one_was_told_to_wait_everybody_waits(windows: tuple[Window, ...]) -> None:
    asked = provider("acme", in_turn(Throttled(0.15), ACME), windows=windows)
    gate = gate_to(asked)
    first = asyncio.create_task(ask(gate))
    await asyncio.sleep(0.02)
    assert await ask(gate) is ACME
    assert await first is ACME
    told, *later = asked.asked_at
    assert min(later) - told >= 0.15


async def test_nobody_waits_for_a_pause_that_is_longer_than_there_is_time() -> None:
    asked = provider("acme", in_turn(Throttled(60), ACME))
    gate = gate_to(asked)
    assert await ask(gate, 5) == Throttled(60)
    async with patience(1):
        answer = await ask(gate, 5)
    assert isinstance(answer, Throttled)
    assert answer.retry_after is not None
    assert 30 < answer.retry_after <= 60
    assert len(asked.asked) == 1


async def test_a_lead_that_waits_for_a_slot_or_a_pause_is_seen_while_it_waits() -> None:
    asked = provider("slow", in_turn(Throttled(0.1), ACME), windows=(Window(1, 0.1),))
    gate = gate_to(asked)
    tasks = [asyncio.create_task(ask(gate)) for _ in range(3)]
    for _ in range(100):  # turns of the loop, and no time
        await asyncio.sleep(0)
    assert counted("enricher_provider_waiting", provider="slow") == 3
    await asyncio.gather(*tasks)
    assert counted("enricher_provider_waiting", provider="slow") == 0


async def test_who_waits_without_hope_or_is_cancelled_waits_no_more() -> None:
    gate = gate_to(provider("slow", ACME, windows=(Window(1, 60),)))
    await ask(gate)
    waiting = asyncio.create_task(ask(gate))
    await ask(gate, 0.02)
    assert counted("enricher_provider_waiting", provider="slow") == 1
    waiting.cancel()
    await asyncio.wait({waiting})
    assert counted("enricher_provider_waiting", provider="slow") == 0


async def test_a_call_under_way_is_no_waiting() -> None:
    door = Door(ACME)
    asking = asyncio.create_task(ask(gate_to(provider("slow", door))))
    await door.entered.wait()
    assert counted("enricher_provider_waiting", provider="slow") == 0
    asking.cancel()
    await asyncio.wait({asking})


# -- outages ---------------------------------------------------------------------------------


async def test_a_vendors_outage_is_a_warning_and_so_is_not_a_single_failure() -> None:
    asked = provider("acme", in_turn(*[Unavailable("503")] * 4, ACME, Unavailable("503"), ACME))
    gate = gate_to(asked)
    with logged() as lines:
        await ask(gate)
        await ask(gate)
    [line] = events(lines, "provider.unavailable")
    assert line.fields == {"provider": "acme", "failures": 3, "reason": "503"}
    [line] = events(lines, "provider.available")
    assert (line.fields["provider"], line.fields["failures"]) == ("acme", 4)


# -- deadlines -------------------------------------------------------------------------------


async def test_a_call_that_is_under_way_at_the_deadline_is_a_failure_and_is_counted() -> None:
    gate, before = gate_to(provider("acme", Door(ACME))), tries("unavailable")
    assert await ask(gate, 0.05) == Unavailable("timed out")
    assert tries("unavailable") == before + 1


async def test_waiting_for_a_slot_until_the_deadline_is_nobodys_failure() -> None:
    asked = provider("acme", ACME, windows=(Window(1, 60),))
    gate = gate_to(asked)
    await ask(gate)
    waited = counted("enricher_provider_limit_wait_seconds_total", provider="acme")
    assert await ask(gate, 0.05) == Throttled(reason="no time left to wait")
    assert len(asked.asked) == 1
    now = counted("enricher_provider_limit_wait_seconds_total", provider="acme")
    assert now - waited >= 0.04


@pytest.mark.parametrize("said", [Throttled(), Preparing(0), Unavailable("503")])
async def test_waiting_for_a_slot_after_a_call_leaves_its_answer_standing(said: Answer) -> None:
    asked = provider("acme", said, windows=(Window(1, 60),))
    assert await ask(gate_to(asked), 0.05) == said
    assert len(asked.asked) == 1


async def test_without_any_time_a_provider_that_need_not_wait_still_answers() -> None:
    assert await ask(gate_to(provider("acme", ACME)), 0) is ACME


# -- bad providers ---------------------------------------------------------------------------


async def test_a_provider_that_raises_is_unavailable_and_the_log_says_where() -> None:
    asked = provider("acme", in_turn(KeyError("ada@acme.example"), ACME))
    with logged() as lines:
        assert await ask(gate_to(asked)) is ACME
    (broken,) = events(lines, "provider.broken")
    assert broken.fields["provider"] == "acme"
    assert events(lines, "provider.retry")[0].fields["reason"] == "internal error: KeyError"


@pytest.mark.parametrize("nonsense", [None, "found", {"company_data": {}}])
async def test_a_provider_that_answers_nonsense_is_unavailable(nonsense: object) -> None:
    asked = provider("acme", lambda _: nonsense)  # type: ignore[arg-type, return-value]
    assert await ask(gate_to(asked)) == Unavailable("internal error: TypeError")


async def test_a_provider_that_ends_as_cancelled_by_itself_does_not_end_our_task() -> None:
    stray: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
    stray.cancel()
    script = iter([stray])
    asked = provider("acme", lambda _: next(script, ACME))
    assert await ask(gate_to(asked)) is ACME
    assert len(asked.asked) == 2


async def test_who_is_cancelled_is_cancelled() -> None:
    door = Door(ACME)
    asking = asyncio.create_task(ask(gate_to(provider("acme", door))))
    await door.entered.wait()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking


# -- what people see -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reason", "cause"),
    [
        ("the key is refused", "key"),
        ("the key may not use this route", "key"),
        ("the quota is used up", "quota"),
        ("the daily budget is used up", "budget"),
        ("the vendor asked to wait", "other"),
    ],
)
async def test_a_hold_shows_its_reason_until_it_is_over(reason: str, cause: str) -> None:
    gate = gate_to(provider("held_for_a_reason", ACME))
    gate.limiter.hold(Held(reason))
    assert isinstance(await ask(gate), Held)
    labels = {"provider": "held_for_a_reason", "reason": cause}
    assert counted("enricher_provider_hold", **labels) == 1
    assert gate.waits_for() == cause
    gate.limiter.release()
    await ask(gate)
    assert counted("enricher_provider_hold", **labels) == 0


async def test_what_nothing_keeps_from_asking_waits_for_its_limit() -> None:
    assert gate_to(provider("acme", ACME)).waits_for() == "limit"


async def test_the_time_of_the_last_answer_is_known_and_a_failure_is_none() -> None:
    series = "enricher_provider_last_success_timestamp_seconds"
    await ask(gate_to(provider("never_well", Unavailable("503"))))
    assert counted(series, provider="never_well") == 0
    before = time.time()
    await ask(gate_to(provider("well", NotFound())))
    assert counted(series, provider="well") >= before
