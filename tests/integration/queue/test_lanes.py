"""Who goes first: fresh leads before all that nobody waits for, and under pressure only the urgent."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from pymongo import AsyncMongoClient
from pymongo.asynchronous.collection import AsyncCollection

from enricher.lead import Completed, Document, Lead, Retrying, Subject
from enricher.mongo.secret import Keyring
from enricher.queue import book
from enricher.queue.leads import Leads
from enricher.queue.requests import wish
from enricher.queue.settle import Settler
from tests.support.queueing import (
    FUTURE,
    HOUR,
    PAST,
    Commands,
    claim_new,
    claim_one,
    insert,
    queue,
    read,
)

pytestmark = pytest.mark.slow

Collection = AsyncCollection[Document]

HOT, WARM, COLD = 3, 2, 1
WORD = {HOT: "hot", WARM: "warm", COLD: "cold"}


async def admit(leads: Collection, id_: object, temperature: str, **book: Any) -> None:
    """A lead as the watcher leaves it."""
    await insert(leads, id_, temperature=temperature, enrichment=book)
    await queue(leads).admit([id_])


async def pending(leads: Collection, id_: object, priority: float, hours: int = 0) -> None:
    placed = {"priority": priority, "queued_at": PAST - hours * HOUR}
    word = WORD.get(int(priority))
    await insert(leads, id_, enrichment_status="pending", temperature=word, enrichment=placed)


async def due(leads: Collection, id_: object, priority: float, **book: Any) -> None:
    placed = {"priority": priority, "due_at": PAST, **book}
    word = WORD.get(int(priority))
    await insert(leads, id_, enrichment_status="retrying", temperature=word, enrichment=placed)


async def claimed(leads: Leads, slots: int, above: float | None = None) -> list[Any]:
    return [lease.lead_id for lease in (await leads.claim(slots, above)).leases]


async def claimed_lead(leads: Leads) -> Lead:
    return (await claim_one(leads)).lead


# -- fresh leads before what nobody waits for --------------------------------------------------


async def test_a_backfilled_lead_never_goes_before_a_fresh_one(ours: Collection) -> None:
    for number in range(3):
        await admit(ours, f"backfilled {number}", "hot", backfill=True, queued_at=PAST)
    for number in range(20):
        await admit(ours, f"fresh {number}", "cold")
    leads = queue(ours)

    taken = [(await claimed(leads, 1))[0] for _ in range(23)]

    assert all(id_.startswith("fresh") for id_ in taken[:20])
    assert all(id_.startswith("backfilled") for id_ in taken[20:])


async def test_backfilled_leads_keep_their_order_among_themselves(ours: Collection) -> None:
    for temperature in ("cold", "hot", "unheard of", "warm"):
        await admit(ours, temperature, temperature, backfill=True)
    leads = queue(ours)

    taken = [(await claimed(leads, 1))[0] for _ in range(4)]

    assert taken == ["hot", "warm", "cold", "unheard of"]


@pytest.mark.parametrize(("mine", "theirs"), [(1.7e12, -1.7e12), (1e300, 0), (5, -5)])
async def test_numbers_as_priorities_put_no_backfill_before_a_fresh_lead(
    ours: Collection, mine: float, theirs: float
) -> None:
    leads = queue(ours, field="score")
    await insert(ours, "backfilled", score=mine, enrichment={"backfill": True})
    await insert(ours, "fresh", score=theirs)
    await leads.admit(["backfilled", "fresh"])

    assert [(await claimed(leads, 1))[0] for _ in range(2)] == ["fresh", "backfilled"]


async def test_a_backfills_retries_wait_for_fresh_leads_and_for_their_retries(
    ours: Collection,
) -> None:
    await due(ours, "backfilled", book.BEHIND - 1, backfill=True)
    await due(ours, "fresh retry", COLD, due_at=PAST + timedelta(minutes=1))
    await pending(ours, "fresh", COLD)
    leads = queue(ours)

    assert set(await claimed(leads, 2)) == {"fresh retry", "fresh"}
    assert await claimed(leads, 2) == ["backfilled"]


async def test_behind_fresh_leads_too_what_was_begun_takes_half_of_the_slots(
    ours: Collection,
) -> None:
    """A search may have put a million there: a lease that ran out must not wait for them all."""
    for number in range(8):
        await pending(ours, f"new {number}", book.BEHIND - 1)
    for number in range(4):
        await due(ours, f"begun {number}", book.BEHIND - 1)
    won = await claimed(queue(ours), 4)
    assert sorted(id_.split()[0] for id_ in won) == ["begun", "begun", "new", "new"]


async def test_whoever_was_admitted_as_fresh_is_put_behind_by_no_search(ours: Collection) -> None:
    """The stream told of it while the search was on its way."""
    await insert(ours, "told", temperature="cold")
    await insert(ours, "missed", temperature="hot")
    leads = queue(ours)
    await leads.admit(["told"])
    await leads.admit(["told", "missed"], is_behind=True)
    assert await claimed(leads, 1) == ["told"]
    await leads.admit(["missed"])
    assert (await read(ours, "missed"))["enrichment"]["priority"] < book.BEHIND


async def test_a_retry_of_a_backfill_remains_one_until_the_run_ends(ours: Collection) -> None:
    lease = await claim_new(ours, temperature="hot", enrichment={"backfill": True})
    settler = Settler(ours, lambda: None)
    later = Retrying({}, {}, "not yet", timedelta(0))
    await settler.settle(lease, later)
    assert (await read(ours))["enrichment"]["backfill"] is True

    again = await claim_one(queue(ours))
    assert again.lead.priority < book.BEHIND
    await settler.settle(again, Completed({}, {}))

    assert "backfill" not in (await read(ours))["enrichment"]


async def test_whoever_asks_for_a_backfilled_lead_later_finds_it_a_fresh_one(
    ours: Collection,
) -> None:
    lease = await claim_new(ours, temperature="hot", enrichment={"backfill": True})
    await Settler(ours, lambda: None).settle(lease, Completed({}, {}))
    await ours.update_one({}, {"$set": {"enrichment_status": "pending"}})
    leads = queue(ours)
    await leads.admit([1])
    assert (await claimed_lead(leads)).priority == HOT


async def test_a_refresh_begins_a_run_of_its_own_behind_everything_fresh(ours: Collection) -> None:
    lease = await claim_new(ours, temperature="hot")
    assert lease.lead.priority == HOT
    found = Completed({"company_data": {"name": "Quokka"}}, {"clearbit": "found"})
    await Settler(ours, lambda: timedelta(0)).settle(lease, found, Subject("m", "c"))
    leads = queue(ours)
    await pending(ours, "fresh", COLD)
    assert await claimed(leads, 1) == ["fresh"]

    refreshed = await claimed_lead(leads)

    assert (refreshed.attempt, refreshed.answered) == (1, {})
    assert refreshed.enriched_data == found.data
    assert refreshed.priority < book.BEHIND


async def test_without_refreshes_a_lead_that_was_dated_for_one_is_no_work_but_a_recheck_is(
    ours: Collection,
) -> None:
    for id_, book_ in (("refresh", {}), ("recheck", {"recheck_since": PAST})):
        await insert(ours, id_, enrichment_status="completed", enrichment={"due_at": PAST, **book_})
    assert await claimed(queue(ours, refreshes=False), 2) == ["recheck"]
    assert await claimed(queue(ours), 2) == ["refresh"]


async def test_a_refresh_that_is_tried_again_still_waits_for_fresh_leads(ours: Collection) -> None:
    await insert(
        ours, temperature="hot", enrichment_status="completed", enrichment={"due_at": PAST}
    )
    leads = queue(ours)
    retrying = Retrying({}, {}, "not yet", timedelta(0))
    await Settler(ours, lambda: None).settle(await claim_one(leads), retrying)
    await pending(ours, "fresh", COLD)

    assert await claimed(leads, 1) == ["fresh"]
    assert await claimed(leads, 1) == [1]


# -- what a lease tells ------------------------------------------------------------------------


async def test_a_lease_tells_whose_lead_it_is(ours: Collection) -> None:
    await insert(ours, enrichment_status="pending", account={"id": 7}, billing={"plan": "free"})
    leads = queue(ours, account=book.account("account.id"), plan=book.plan("billing.plan"))
    lead = await claimed_lead(leads)
    assert (lead.account, lead.plan) == (7, "free")


@pytest.mark.parametrize(
    ("fields", "account", "plan"),
    [
        ({}, None, None),
        ({"account": "x" * 2000, "plan": "x" * 2000}, None, None),
        ({"account": ["a"], "plan": 5}, ["a"], None),
        ({"account": None, "plan": ["free"]}, None, None),
        ({"account": {"$x": 1}, "plan": "$free"}, {"$x": 1}, "$free"),
    ],
)
async def test_an_account_may_be_anything_and_a_plan_is_text(
    ours: Collection, fields: Document, account: object, plan: str | None
) -> None:
    await insert(ours, enrichment_status="pending", **fields)
    leads = queue(ours, account=book.account("account"), plan=book.plan("plan"))
    lead = await claimed_lead(leads)
    assert (lead.account, lead.plan) == (account, plan)


RING = Keyring(b"s" * 32)
_OURS = {name: value["$literal"] for name, value in wish(RING, 1, PAST).items()}
_OF_ANOTHER = {name: value["$literal"] for name, value in wish(RING, 2, PAST).items()}
_OF_A_FUTURE = {name: value["$literal"] for name, value in wish(RING, 1, FUTURE).items()}
_OF_ANOTHER_TYPE = {name: value["$literal"] for name, value in wish(RING, "1", PAST).items()}
_STRANGERS = {name: value["$literal"] for name, value in wish(Keyring(b"t" * 32), 1, PAST).items()}


@pytest.mark.parametrize(
    ("wished", "expected"),
    [
        pytest.param(_OURS, PAST, id="ours"),
        pytest.param({"refresh_since": PAST}, None, id="without a mark"),
        pytest.param(_OURS | {"refresh_since": PAST + HOUR / 2}, None, id="another date"),
        pytest.param(_OF_ANOTHER, None, id="copied from another lead"),
        pytest.param(_OF_ANOTHER_TYPE, None, id="of the text that looks like the number"),
        pytest.param(_STRANGERS, None, id="made with another secret"),
        pytest.param(_OF_A_FUTURE, None, id="a date to come"),
        *(
            pytest.param({"refresh_since": PAST, "refresh_mark": mark}, None, id=repr(mark))
            for mark in ("", "0" * 40, True, None, 1, ["0" * 40], {"$gt": ""}, "é" * 20, b"0" * 40)
        ),
        *(
            pytest.param(_OURS | {"refresh_since": since}, None, id=repr(since))
            for since in ("today", [PAST], True, None, 0)
        ),
    ],
)
async def test_a_wish_for_newer_answers_is_heeded_if_it_is_ours_and_lasts_until_the_run_ends(
    ours: Collection, wished: Document, expected: object
) -> None:
    await insert(ours, enrichment_status="pending", enrichment=wished)
    leads, settler = queue(ours), Settler(ours, lambda: None)
    leads.keyring = RING
    lease = await claim_one(leads)
    assert lease.lead.newer_than == expected
    await settler.settle(lease, Retrying({}, {}, "not yet", timedelta(0)))

    again = await claim_one(leads)
    assert again.lead.newer_than == expected
    await settler.settle(again, Completed({}, {}))

    assert {"refresh_since", "refresh_mark"} & set((await read(ours))["enrichment"]) == set()


async def test_who_held_a_lead_stands_on_it_until_its_next_settle(ours: Collection) -> None:
    settler, leads = Settler(ours, lambda: None), queue(ours)
    held = Retrying({}, {}, "held", timedelta(0), attempt_spent=False, held_by=("$x", "hunter"))
    await settler.settle(await claim_new(ours), held)
    assert (await read(ours))["enrichment"]["held_by"] == ["$x", "hunter"]

    await settler.settle(await claim_one(leads), Retrying({}, {}, "not yet", timedelta(0)))

    assert "held_by" not in (await read(ours))["enrichment"]


# -- under pressure ----------------------------------------------------------------------------


async def test_under_pressure_only_leads_more_urgent_than_who_waits_are_claimed(
    ours: Collection,
) -> None:
    for name, priority in (("hot", HOT), ("warm", WARM), ("cold", COLD)):
        await pending(ours, name, priority)
        await due(ours, f"{name} retry", priority)
    await insert(ours, "refresh", enrichment_status="completed", enrichment={"due_at": PAST})
    await due(ours, "not yet", HOT, due_at=FUTURE)
    leads = queue(ours)

    assert await claimed(leads, 10, above=HOT) == []
    assert set(await claimed(leads, 10, above=WARM)) == {"hot", "hot retry"}
    assert set(await claimed(leads, 10, above=COLD)) == {"warm", "warm retry"}
    assert set(await claimed(leads, 10)) == {"cold", "cold retry", "refresh"}


async def test_the_most_urgent_is_claimed_first_whether_it_is_new_or_tried_again(
    ours: Collection,
) -> None:
    await pending(ours, "warm", WARM)
    await due(ours, "hot retry", HOT)
    await due(ours, "tepid retry", WARM - 0.5)
    leads = queue(ours)

    taken = [(await claimed(leads, 1, above=COLD))[0] for _ in range(3)]

    assert taken == ["hot retry", "warm", "tepid retry"]


async def test_for_nine_leads_that_go_ahead_under_pressure_the_oldest_comes_too(
    ours: Collection,
) -> None:
    for hours in (9, 7):
        await pending(ours, f"cold {hours}", COLD, hours)
    await due(ours, "cold retry", COLD, due_at=PAST - 8 * HOUR)
    await admit(ours, "backfilled", "hot", backfill=True, queued_at=PAST - 99 * HOUR)
    for number in range(27):
        await pending(ours, f"warm {number}", WARM)
    leads = queue(ours)

    taken = [(await claimed(leads, 1, above=COLD))[0] for _ in range(30)]

    assert [id_ for id_ in taken if not id_.startswith("warm")] == [
        "cold 9",
        "cold retry",
        "cold 7",
    ]
    assert [number for number, id_ in enumerate(taken) if id_.startswith("cold")] == [9, 19, 29]


async def test_a_claim_of_many_slots_takes_as_many_of_the_oldest(ours: Collection) -> None:
    for number in range(60):
        await pending(ours, f"warm {number}", WARM)
        await pending(ours, f"cold {number}", COLD, hours=5)
    leads = queue(ours)

    taken = [id_ for _ in range(3) for id_ in await claimed(leads, 20, above=COLD)]

    assert len(taken) == 60
    assert 3 <= sum(id_.startswith("cold") for id_ in taken) <= 6


async def test_a_lead_that_is_taken_for_its_age_is_as_urgent_as_those_that_wait(
    ours: Collection,
) -> None:
    """Or it would wait for the limit behind every one that comes after it."""
    await pending(ours, "cold", COLD, hours=9)
    leads = queue(ours)
    leads.lanes.ahead = 9

    lease = (await leads.claim(1, above=WARM)).leases[0]

    assert lease.lead.priority == WARM
    assert (await read(ours, "cold"))["enrichment"]["priority"] == COLD


async def test_the_tenth_ordinary_claim_is_for_the_oldest_whatever_came_in_between(
    ours: Collection,
) -> None:
    await pending(ours, "cold and old", COLD, hours=9)
    for number in range(30):
        await pending(ours, number, WARM)
    leads = queue(ours)

    turns: list[Any] = []
    for _ in range(10):
        await claimed(leads, 1, above=HOT)
        turns += await claimed(leads, 1)

    assert turns.index("cold and old") == 9


# -- the price ---------------------------------------------------------------------------------


async def test_a_claim_under_pressure_reads_no_keys_of_leads_that_are_no_more_urgent(
    fresh: Collection, mongodb_uri: str
) -> None:
    def leads(count: int, status: str, **book: Any) -> list[Document]:
        return [{"enrichment_status": status, "enrichment": book} for _ in range(count)]

    await fresh.insert_many(
        [
            *leads(20_000, "pending", priority=COLD, queued_at=PAST - 2 * HOUR),
            *leads(2_000, "pending", priority=book.BEHIND - 5, queued_at=PAST - HOUR),
            *leads(5_000, "retrying", priority=HOT, due_at=FUTURE),
            *leads(5_000, "completed", priority=HOT, due_at=FUTURE),
        ]
    )
    urgent = [
        *leads(3, "pending", priority=HOT, queued_at=PAST),
        *leads(4, "retrying", priority=HOT, due_at=PAST),
    ]
    await fresh.insert_many([{**lead} for lead in urgent])
    commands = Commands()
    async with AsyncMongoClient[Document](mongodb_uri, event_listeners=[commands]) as client:
        over_there = queue(client[fresh.database.name][fresh.name])
        over_there.lanes.ahead = 9
        assert len((await over_there.claim(20, above=COLD)).leases) == 3 + 4 + 1
        aggregate = next(sent for sent in commands.sent if "aggregate" in sent)
    await fresh.insert_many(urgent)

    first = [stage for stage in aggregate["pipeline"] if "$unionWith" not in stage]
    unions = [stage["$unionWith"] for stage in aggregate["pipeline"] if "$unionWith" in stage]
    lanes = [first, *(union["pipeline"] for union in unions)]
    keys = [await keys_examined(fresh, lane) for lane in lanes]
    assert len(keys) == 4
    assert max(keys) <= 10, keys


async def test_a_backfill_costs_the_turn_of_the_oldest_nothing(
    fresh: Collection, mongodb_uri: str
) -> None:
    behind = {"priority": book.BEHIND - 5, "queued_at": PAST - HOUR, "backfill": True}
    lead: Document = {"enrichment_status": "pending", "enrichment": behind}
    await fresh.insert_many([{**lead} for _ in range(5_000)])
    await pending(fresh, "fresh", COLD)
    commands = Commands()
    async with AsyncMongoClient[Document](mongodb_uri, event_listeners=[commands]) as client:
        over_there = queue(client[fresh.database.name][fresh.name])
        over_there.lanes.claims = 9
        assert await claimed(over_there, 1) == ["fresh"]
        aggregate = next(sent for sent in commands.sent if "aggregate" in sent)

    first = [stage for stage in aggregate["pipeline"] if "$unionWith" not in stage]
    assert await keys_examined(fresh, first) <= 5


async def keys_examined(leads: Collection, pipeline: list[Document]) -> int:
    command = {"aggregate": leads.name, "pipeline": pipeline, "cursor": {}}
    plan = await leads.database.command("explain", command, verbosity="executionStats")
    stats = plan.get("executionStats") or plan["stages"][0]["$cursor"]["executionStats"]
    return int(stats["totalKeysExamined"])


# -- leads that may kill their process ---------------------------------------------------------


async def died_with(leads: Collection, ids: list[object], times: int) -> None:
    """As if their process had died so often with them in work, one time after the other."""
    for _ in range(times):
        claims = await queue(leads, lease=timedelta(seconds=60)).claim(100, suspects=100)
        assert {lease.lead_id for lease in claims.leases} == set(ids)
        await leads.update_many({}, {"$set": {"enrichment.due_at": PAST}})


async def test_what_was_in_work_three_times_when_its_process_died_is_worked_on_one_at_a_time(
    ours: Collection,
) -> None:
    for number in range(5):
        await pending(ours, number, WARM)
    await died_with(ours, list(range(5)), times=3)
    first = (await queue(ours).claim(100)).leases
    assert [queue(ours).is_suspect(lease.lead) for lease in first] == [True]
    assert (await queue(ours).claim(100, suspects=0)).leases == []
    assert len((await queue(ours).claim(100)).leases) == 1


async def test_other_leads_do_not_wait_for_those_that_are_suspected(ours: Collection) -> None:
    await pending(ours, "suspect", WARM)
    await died_with(ours, ["suspect"], times=3)
    for number in range(3):
        await pending(ours, number, COLD)
    assert sorted(map(str, await claimed(queue(ours), 100))) == ["0", "1", "2", "suspect"]


async def test_one_death_makes_nobody_a_suspect_and_a_settle_clears_the_name(
    ours: Collection,
) -> None:
    for number in range(3):
        await pending(ours, number, WARM)
    await died_with(ours, [0, 1, 2], times=1)
    leases = (await queue(ours).claim(100)).leases
    assert len(leases) == 3
    await Settler(ours, lambda: None).settle(leases[0], Retrying({}, {}, "later", timedelta(0)))
    lead = await claimed_lead(queue(ours))
    assert lead.interruptions == 0
