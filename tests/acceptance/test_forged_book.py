"""What a writer puts into `enrichment` is believed only where it costs nobody anything."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from enricher.errors import ExitCode
from enricher.lead import Document
from tests.support.processes import Daemon
from tests.support.rig import Rig, address

ADA = "ada.lovelace@quokka-freight.com"
NOW = datetime.now(UTC).replace(microsecond=0)
HOUR = timedelta(hours=1)
LONG_AGO, NEVER = datetime(1970, 1, 2, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC)
HUGE = 2**53 - 1
PROVIDERS = ["clearbit", "hunter"]
REFERENCE = {"$ref": "leads", "$id": 1}
"""The driver reads such an object as a `DBRef`, which is no mapping."""

FORGED: dict[str, Any] = {
    "token": [HUGE, -5, 2**62, 1e308, "7", None],
    "claim_id": ["", "forged", 7, {"$gt": ""}, None],
    "holder": ["forged:1", 5, ["x"]],
    "due_at": [LONG_AGO, NOW - HOUR, "soon", [NOW - HOUR]],
    "queued_at": [LONG_AGO, NOW + HOUR, NEVER, "long ago", [LONG_AGO]],
    "priority": [1e308, float("inf"), float("nan"), -1e308, [9, 1e308], "first"],
    "backfill": [True, "yes", [True]],
    "backfilled_by": ["forged", True],
    "refresh_since": [NOW, NOW - HOUR, LONG_AGO, NEVER, "today", [NOW]],
    "refresh_mark": ["0" * 40, True, {"$ne": None}],
    "recheck_since": [NOW, NOW - HOUR, LONG_AGO, NEVER, "today", [NOW]],
    "recheck_mark": ["0" * 40, True, {"$ne": None}],
    "rechecks": [HUGE, -HUGE, 0, 1e308, "3", None],
    "held_by": [PROVIDERS, ["nobody"] * 1000, "hunter", [None, 7]],
    "attempts": [HUGE, -HUGE, 0, 1e308, "3", 4],
    "interruptions": [HUGE, -1, 3, 1e308, "many", 100],
    "answered": [
        dict.fromkeys(PROVIDERS, "failed"),
        {"hunter": 7},
        ["hunter"],
        {"$x": "found"},
        REFERENCE,
    ],
    "released": [True, "yes"],
    "waited_ms": [1e308, -1e308, "long"],
    "subject": ["forged", 7, None, ["forged"], REFERENCE],
    "era": [HUGE, -1, 2**62, "late", NOW],
    "untold": [True, "yes", [True]],
    "spent": [HUGE, -HUGE, 2**62, 1e308, float("nan"), "all", None],
    "copied": [
        [{"to": "email", "value": "forged", "of": "company_data.name", "about": "company"}],
        [{"to": "enrichment", "value": {}}, {"to": "$x.y"}, {"to": 7}, 7, None],
        {"to": "email"},
        "email",
        REFERENCE,
    ],
    "inputs": [{"email": ADA}, "none", {"email": {"malformed": "so"}}, REFERENCE],
}
"""Field of `enrichment` -> what a writer might put there."""
STATUSES = (None, "pending", "retrying", "processing", "completed")


@asynccontextmanager
async def _ended(rig: Rig, *arguments: str) -> AsyncIterator[Daemon]:
    async with Daemon(*arguments, env=rig.environment()) as process:
        await process.wait()
        yield process


def _forged(field: str, value: Any, status: str | None) -> Document:
    book: Document = {"due_at": NOW - HOUR, "queued_at": NOW - HOUR} if status else {}
    lead: Document = {"email": address(), "enrichment": book | {field: value}}
    return lead | ({"enrichment_status": status} if status else {})


def _leads(field: str) -> list[Document]:
    return [
        _forged(field, value, status) | {"_id": f"{field} {number} {status}"}
        for number, value in enumerate(FORGED[field])
        for status in STATUSES
    ]


async def test_whatever_is_forged_nobody_is_asked_twice_and_nobody_else_waits(rig: Rig) -> None:
    async with rig.daemon() as daemon:
        await daemon.wait_for_event("stream.opened")
        leads = [lead for field in FORGED for lead in _leads(field)]
        await rig.leads.insert_many(leads)
        honest = [{"_id": f"honest {n}", "email": address()} for n in range(20)]
        await rig.leads.insert_many(honest)
        await rig.witness.all_ended([lead["_id"] for lead in honest], within=20)
        await rig.witness.all_ended([lead["_id"] for lead in leads], within=60)
        assert [
            line for line in daemon.lines if line.get("severity") in ("ERROR", "CRITICAL")
        ] == []
    assert rig.asked_twice() == {}


async def test_who_makes_a_lead_suspect_holds_up_no_other_retry(rig: Rig) -> None:
    """A lead that may have killed its process is done alone; many that only say so stand in nobody's way."""
    book = {"interruptions": 3, "due_at": LONG_AGO}
    forged = {"enrichment_status": "processing", "enrichment": book}
    many = [{"_id": f"forged {n}", "email": address("slow"), **forged} for n in range(300)]
    honest: Document = {"enrichment_status": "retrying", "enrichment": {"due_at": NOW}}
    await rig.leads.insert_many(many)
    await rig.leads.insert_one({"_id": "honest", "email": address(), **honest})
    async with rig.daemon(ENRICHER_CONCURRENCY=8) as daemon:
        await daemon.wait_for_event("stream.opened")
        await rig.witness.end_of("honest")
        assert len(rig.witness.ended([lead["_id"] for lead in many])) < len(many) // 2


async def test_a_forged_wish_for_newer_answers_costs_nothing(rig: Rig) -> None:
    async with rig.daemon() as daemon:
        await daemon.wait_for_event("stream.opened")
        for number in range(10):
            book = {"refresh_since": datetime.now(UTC), "refresh_mark": "0" * 40}
            await rig.leads.insert_one({"_id": number, "email": ADA, "enrichment": book})
            assert await rig.witness.end_of(number) == "completed"
        for _ in range(5):
            rig.witness.forget(0)
            wish = {
                "enrichment_status": "pending",
                "enrichment.refresh_since": datetime.now(UTC),
            }
            await rig.leads.update_one({"_id": 0}, {"$set": wish})
            assert await rig.witness.end_of(0) == "completed"
    assert set(rig.questions().values()) == {1}


async def test_the_wish_of_a_command_is_heeded_once_and_only_for_its_lead(rig: Rig) -> None:
    async with rig.daemon() as daemon:
        await daemon.wait_for_event("stream.opened")
        await rig.leads.insert_many({"_id": n, "email": ADA} for n in range(6))
        await rig.witness.all_ended(range(6))
        daemon.terminate()
        assert await daemon.wait() == 0
    async with _ended(rig, "reenrich", "--id", "0", "--refresh") as command:
        assert command.process.returncode == ExitCode.OK
    asked = (await rig.lead(0))["enrichment"]
    wish = {f"enrichment.{name}": asked[name] for name in ("refresh_since", "refresh_mark")}
    async with rig.daemon() as daemon:
        assert await rig.witness.end_of(0) == "completed"
        await _until_asked_again(rig, 0)
        assert set(rig.questions().values()) == {2}
        for number in range(6):
            rig.witness.forget(number)
            copied = {"$set": wish | {"enrichment_status": "pending"}}
            await rig.leads.update_one({"_id": number}, copied)
        await rig.witness.all_ended(range(6))
    assert set(rig.questions().values()) == {2}, "neither copied nor put back it asks anew"


async def _until_asked_again(rig: Rig, lead: int) -> None:
    await rig.witness.until(lambda: len(rig.witness.settles(lead)) > 1)


@pytest.mark.parametrize("field", ["refresh_since", "refresh_mark"])
async def test_explain_says_of_a_forged_wish_what_the_daemon_makes_of_it(
    rig: Rig, field: str
) -> None:
    async with rig.daemon() as daemon:
        await daemon.wait_for_event("stream.opened")
        await rig.leads.insert_one({"_id": 1, "email": ADA})
        assert await rig.witness.end_of(1) == "completed"
    wish = {field: datetime.now(UTC) if field == "refresh_since" else "0" * 40}
    forged = {f"enrichment.{name}": value for name, value in wish.items()}
    await rig.leads.update_one({"_id": 1}, {"$set": forged})
    async with _ended(rig, "explain", ADA) as command:
        assert "kept until" in command.stdout
        assert "too old" not in command.stdout
