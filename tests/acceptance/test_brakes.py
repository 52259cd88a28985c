"""What stops by itself: many objections at once, charges for nothing, and a vendor that asks for years."""

from __future__ import annotations

import json
from typing import Any

import pytest

from enricher.lead import Document
from enricher.limits.bucket import COLLECTION as LIMITS
from enricher.privacy.suppression import COLLECTION as SUPPRESSED
from enricher.simulator.journal import Entry
from tests.support.processes import Daemon
from tests.support.rig import Rig, address, domain
from tests.support.waiting import business, eventually

QUICK: dict[str, object] = {"ENRICHER_RETRY_DELAY_SECONDS": 0.5}
HTML = {"body": "<html>Welcome</html>", "headers": {"Content-Type": "text/html"}}


async def insert(rig: Rig, count: int, first: int = 0) -> list[int]:
    leads = list(range(first, first + count))
    await rig.leads.insert_many([{"_id": each, "email": address()} for each in leads])
    return leads


async def settled(rig: Rig, leads: list[int], within: float = 60) -> None:
    await rig.witness.until(lambda: all(rig.witness.settles(each) for each in leads), within)


async def reason_in_status(rig: Rig, provider: str) -> str:
    async with Daemon("status", "--json", env=rig.environment()) as process:
        assert await process.wait() == 0
        status: dict[str, Any] = json.loads(process.stdout)
    assert status["verdict"]["state"] == "limited"
    found = next(each for each in status["providers"] if each["name"] == provider)
    hold: Document = found["hold"] or {}
    return str(hold.get("reason", ""))


def charged(rig: Rig, vendor: str) -> int:
    """Answers with a 200: the simulated bill counts a question once in a month."""
    return len([each for each in rig.simulator.journal.calls(vendor=vendor) if each.status == 200])


# -- objections ----------------------------------------------------------------------------


async def test_of_many_objections_at_once_five_are_heeded_and_the_provider_stops(rig: Rig) -> None:
    rig.simulator.inject("claimed_email", vendor="hunter")
    async with rig.daemon(ENRICHER_PROVIDERS_OFF='["hunter_company", "clearbit_person"]') as daemon:
        await daemon.wait_for_event("stream.opened")
        leads = await insert(rig, 60)
        await settled(rig, leads)
        assert await rig.database[SUPPRESSED].count_documents({"at": {"$exists": True}}) == 5
        assert await rig.leads.count_documents({"enrichment_status": "skipped"}) == 5
        assert await rig.leads.count_documents({"enrichment_status": "retrying"}) == 55
        held = [line["provider"] for line in daemon.events("provider.held")]
        assert "hunter" in held
        assert len(held) == len(set(held))
        reason = {"provider": "hunter", "reason": "objections"}
        assert await daemon.metric("enricher_provider_hold", **reason) == 1
        assert "objections" in await reason_in_status(rig, "hunter")
    rig.simulator.faults.clear()
    async with rig.daemon():
        await rig.witness.until(lambda: len(rig.witness.ended(leads)) == 60, within=60)
    assert await rig.leads.count_documents({"enrichment_status": "completed"}) == 55


async def test_two_daemons_count_objections_together(rig: Rig) -> None:
    rig.simulator.inject("claimed_email", vendor="hunter")
    async with rig.daemon("hunter") as one, rig.daemon("hunter") as other:
        for daemon in (one, other):
            await daemon.wait_for_event("stream.opened")
        leads = await insert(rig, 40)
        await settled(rig, leads)
    assert await rig.leads.count_documents({"enrichment_status": "skipped"}) == 5


@pytest.mark.parametrize("objecting", [1, 5])
async def test_a_few_objections_are_heeded(rig: Rig, objecting: int) -> None:
    rig.simulator.inject("claimed_email", vendor="hunter", times=objecting)
    async with rig.daemon("hunter") as daemon:
        await daemon.wait_for_event("stream.opened")
        leads = await insert(rig, 10)
        await rig.witness.all_ended(leads, within=30)
        assert daemon.events("provider.held") == []
    assert await rig.leads.count_documents({"enrichment_status": "skipped"}) == objecting


async def test_a_small_share_of_objections_is_heeded_whatever_their_number(rig: Rig) -> None:
    """More than five, and less than two in a hundred."""
    async with rig.daemon("hunter") as daemon:
        await daemon.wait_for_event("stream.opened")
        await rig.witness.all_ended(await insert(rig, 320), within=120)
        rig.simulator.inject("claimed_email", vendor="hunter")
        await rig.witness.all_ended(await insert(rig, 6, first=320), within=30)
        assert daemon.events("provider.held") == []
    assert await rig.leads.count_documents({"enrichment_status": "skipped"}) == 6


# -- charged for nothing -------------------------------------------------------------------


UNREADABLE: dict[str, dict[str, Any]] = {
    "html": {"kind": "html"},
    "half": {"kind": "truncated"},
    "empty": {"kind": "empty"},
    "list": {"kind": "empty_list"},
    "huge": {"kind": "huge", "size": 2_500_000},
    "bomb": {"kind": "gzip_bomb", "size": 2_500_000},
    "cut-off": {"kind": "cut_off"},
    "charset": {"kind": "wrong_charset"},
    "scalar": {"kind": "status", "status": 200, "body": "true"},
    "brotli": {"kind": "status", "status": 200, "headers": {"Content-Encoding": "br"}, **HTML},
    "deep": {"kind": "status", "status": 200, "body": "[" * 50_000},
    "renamed": {"kind": "status", "status": 200, "body": '{"company": {"title": "Acme"}}'},
}


TOGETHER = [[*UNREADABLE][first::3] for first in range(3)]
"""Ten such answers in a row would stop the vendor: two for each of four leads are less."""


@pytest.mark.parametrize("names", TOGETHER, ids=", ".join)
async def test_an_answer_that_cannot_be_read_is_bought_once_more_and_no_more(
    rig: Rig, names: list[str]
) -> None:
    """Another vendor is down meanwhile, so that the leads have all their attempts."""
    companies = {name: domain() for name in names}
    for name, company in companies.items():
        rig.simulator.inject(**UNREADABLE[name], vendor="clearbit", question=company)
    rig.simulator.inject("server_error", vendor="hunter")
    settings = {"ENRICHER_LEAD_TIMEOUT_SECONDS": 3 * business(), "ENRICHER_MAX_ATTEMPTS": 2}
    async with rig.daemon(**QUICK, **settings) as daemon:
        await daemon.wait_for_event("stream.opened")
        leads = [{"_id": name, "email": f"ada@{company}"} for name, company in companies.items()]
        await rig.leads.insert_many(leads)
        await rig.witness.all_ended(names, within=40)
        assert {rig.witness.statuses(name)[-1] for name in names} == {"failed"}
        assert {name: len(rig.witness.settles(name)) for name in names} == dict.fromkeys(names, 3)
        asked = {name: len(asked_about(rig, company)) for name, company in companies.items()}
        assert asked == dict.fromkeys(names, 2)
        rig.simulator.faults.clear()
        await rig.leads.update_many({}, {"$set": {"enrichment_status": "pending"}})
        await rig.witness.until(
            lambda: all(rig.witness.statuses(name)[-1] == "completed" for name in names)
        )


def asked_about(rig: Rig, company: str) -> list[Entry]:
    return rig.simulator.journal.calls(vendor="clearbit", question=company)


async def test_a_vendor_whose_every_answer_changed_is_stopped_after_ten_charges(rig: Rig) -> None:
    rig.simulator.inject("status", vendor="clearbit", status=200, body='{"firm": {"title": "X"}}')
    async with rig.daemon(**QUICK) as daemon:
        await daemon.wait_for_event("stream.opened")
        leads = await insert(rig, 60)
        await settled(rig, leads)
        assert charged(rig, "clearbit") <= 12
        assert charged(rig, "hunter") == 60
        assert len(daemon.events("provider.held", provider="clearbit")) == 1
        reason = {"provider": "clearbit", "reason": "unreadable"}
        assert await daemon.metric("enricher_provider_hold", **reason) == 1
        assert "unreadable" in await reason_in_status(rig, "clearbit")
        # The time is up: one question is let through, and its answer stops the provider again.
        before = charged(rig, "clearbit")
        await the_stop_is_over(rig, "clearbit")
        await eventually(lambda: charged(rig, "clearbit") > before, within=30)
        await eventually(lambda: stops(rig, "clearbit"), within=10)
        assert charged(rig, "clearbit") == before + 1
        rig.simulator.faults.clear()
        await the_stop_is_over(rig, "clearbit")
        held = await rig.leads.distinct("_id", {"enrichment_status": {"$ne": "failed"}})
        await rig.witness.until(lambda: len(rig.witness.ended(held)) == len(held), within=60)
    assert await rig.leads.count_documents({"enrichment_status": "completed"}) >= 50


async def stops(rig: Rig, provider: str) -> bool:
    document = await rig.database[LIMITS].find_one({"_id": provider}) or {}
    now = document["now"]
    return bool(document.get("stops", {}).get(provider, {}).get("until", 0) > now)


async def the_stop_is_over(rig: Rig, provider: str) -> None:
    """As if its time were up; daemons look for it every few seconds."""
    await rig.database[LIMITS].update_one(
        {"_id": provider}, {"$set": {f"stops.{provider}.until": 1.0}}
    )


# -- what asks for years -------------------------------------------------------------------


async def test_a_hint_of_years_is_capped_told_and_ended_by_a_start(rig: Rig) -> None:
    """In every spelling it is a day at most to us (`test_hints.py`), and here less."""
    hint = {"Retry-After": "Fri, 31 Dec 9999 23:59:59 GMT"}
    rig.simulator.inject("status", vendor="hunter", status=429, body="{}", headers=hint, times=1)
    async with rig.daemon() as daemon:
        await daemon.wait_for_event("stream.opened")
        (lead,) = await insert(rig, 1)
        await settled(rig, [lead])
        paused = await daemon.wait_for_event("provider.paused")
        assert (paused["severity"], paused["provider"]) == ("WARNING", "hunter")
        assert paused["seconds"] == 60
        async with Daemon("status", "--json", env=rig.environment()) as process:
            assert await process.wait() == 0
            assert '"state": "limited"' in process.stdout
        until = {"provider": "hunter"}
        await eventually(lambda: is_one(daemon, "enricher_provider_paused", **until))
    document = await rig.database[LIMITS].find_one({"_id": "hunter"}) or {}
    assert document["paused_until"] - document["now"] <= 60_000


async def is_one(daemon: Daemon, name: str, **labels: str) -> bool:
    return await daemon.metric(name, **labels) == 1


async def test_a_start_ends_a_long_pause_for_all_daemons(rig: Rig) -> None:
    """One from before there was a cap, or of a vendor with windows of a day."""
    async with rig.daemon("hunter") as first:
        await first.wait_for_event("stream.opened")
        await rig.witness.all_ended(await insert(rig, 1))
        day = [{"$set": {"paused_until": {"$add": ["$now", 86_400_000]}}}]
        await rig.database[LIMITS].update_one({"_id": "hunter"}, day)
        await rig.leads.insert_one({"_id": "waits", "email": address()})
        await rig.witness.settle_of("waits")
        async with rig.daemon("hunter") as second:
            await second.wait_for_event("stream.opened")
            document = await rig.database[LIMITS].find_one({"_id": "hunter"}) or {}
            assert document["paused_until"] - document["now"] <= 60_000


async def test_of_several_times_to_wait_the_longest_counts(rig: Rig) -> None:
    rig.simulator.inject(
        "status",
        vendor="hunter",
        status=429,
        body="{}",
        headers={"Retry-After": "4, 2"},
        times=1,
    )
    async with rig.daemon("hunter") as daemon:
        await daemon.wait_for_event("stream.opened")
        await insert(rig, 1)
        assert await rig.witness.end_of(0) == "completed"
    first, second = rig.simulator.journal.calls(vendor="hunter")
    assert second.arrived - first.arrived >= 4
