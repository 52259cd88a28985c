"""A made-up status with something, and something long, everywhere."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from enricher.calls.breaker import Circuit
from enricher.status.daemons import Presence
from enricher.status.picture import (
    Allowance,
    BacklogStatus,
    BudgetStatus,
    DaemonStatus,
    FleetStatus,
    Hold,
    LaneStatus,
    Limit,
    MinuteStatus,
    ProviderStatus,
    Stream,
)
from enricher.status.throughput import Ended

NOW = datetime(2026, 3, 1, 12, 30, 20, tzinfo=UTC)


def minutes() -> list[MinuteStatus]:
    first = NOW.replace(second=0) - timedelta(minutes=59)
    return [
        MinuteStatus(first + timedelta(minutes=n), n, n % 7, n % 5, n % 3, n / 10, n / 2, 1.0, 2.0)
        for n in range(60)
    ]


def full(**more: Any) -> FleetStatus:
    """With something, and something long, everywhere."""
    hold = Hold(
        "The key was refused: " + "ask whoever has the account. " * 3, NOW + timedelta(hours=1)
    )
    leads = {"completed": "6b0b27e03ac628c1aa2a8c65", "retrying": "x" * 60, "failed": "7", "skipped": "sha256:0123456789abcdef"}  # fmt: skip
    status = FleetStatus(
        at=NOW,
        leads="crm.leads",
        backlog=BacklogStatus(
            due=1_234_567,
            oldest_pending_seconds=13.0,
            lanes={name: LaneStatus(411_522, 13.0) for name in ("fresh", "backfill", "retry")},
            statuses={"pending": 1_234_567, "completed": None, "without status": 7},
            parked={"hunter": 12},
        ),
        stream=Stream(1, 0.2, NOW),
        daemons=[
            DaemonStatus("a-rather-long-host-name-0123456789.internal:12345:09165d72", "0.1.0", each, NOW - timedelta(days=9), NOW, 64, 64, True, 0.2)
            for each in Presence
        ],
        providers=[
            ProviderStatus("clearbit", "clearbit", "company", limit=Limit(600, 60, 599)),
            ProviderStatus("hunter_company", "hunter", "company", hold=hold, waiting=1_234),
            ProviderStatus("hunter", "hunter", "email", Circuit.OPEN, limit=Limit(300, 60, 0)),
        ],
        without_key={"pdl_company": "no key", "apollo_person": "turned off"},
        budgets=[BudgetStatus("clearbit", Allowance(1_000, 1_000, 0), Allowance(90_000, 1, 89_999))],
        hour=minutes(),
        last=[
            Ended(NOW, lead, outcome, 2, 1.5, None, "Nobody answered. " * 12)
            for outcome, lead in leads.items()
        ],
        unknown={"holds": "a privilege is missing (deploy/mongodb/role.js grants it)"},
    )  # fmt: skip
    return replace(status, **more)
