"""Hot leads that come while a long backlog of cold ones stands, and how long each of them takes."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from statistics import median

from enricher.lead import LeadId
from tests.support.fleets import Judge, fleet, insert, judge, over_limit, people
from tests.support.rig import Rig, key_of, open_rig
from tests.support.waiting import patience

WORDS = {"hot": "hot", "cold": "cold"}
NUMBERS = {"hot": 90, "cold": 5}
EXTREMES = {"hot": "hot", "cold": 1e308}
"""Whoever writes such a number goes before no hot one."""
VENDOR_SECONDS = 0.3
WINDOWS = {"clearbit": ((600, 60),), "hunter": ((20, 1), (600, 60))}
LIMITS = {"CLEARBIT_RATE_LIMIT": 600, "HUNTER_RATE_LIMIT": 600}
"""Ten calls a second."""


@dataclass(slots=True)
class Rush:
    """A backlog in work, and the seconds that each hot lead took from its insert to its end."""

    rig: Rig
    temperatures: Mapping[str, object]
    judge: Judge
    seconds: list[float] = field(default_factory=list)
    ahead: list[int] = field(default_factory=list)
    """Leads that were claimed between a hot one's insert and its claim."""

    async def insert_hot(self, lead: LeadId) -> None:
        began = time.monotonic()
        (document,) = people(1, _id=lead, temperature=self.temperatures["hot"])
        await self.rig.leads.insert_one(document)
        assert await self.rig.witness.end_of(lead, within=60) == "completed"
        steps = {step.status: step.at for step in self.rig.witness.steps[key_of(lead)]}
        self.seconds.append(steps["completed"] - began)
        self.ahead.append(self._claims(began, steps["processing"]))

    def _claims(self, after: float, before: float) -> int:
        steps = (step for each in self.rig.witness.steps.values() for step in each)
        return sum(step.status == "processing" and after < step.at < before for step in steps)

    def report(self) -> str:
        return (
            f"{len(self.seconds)} hot leads: p50 {median(self.seconds):.2f} s, "
            f"max {max(self.seconds):.2f} s; claimed before them {self.ahead}; "
            f"{over_limit(self.rig)} calls beyond a limit; {self.judge}"
        )


@asynccontextmanager
async def rush(
    uri: str, backlog: int, temperatures: Mapping[str, object], daemons: int = 1
) -> AsyncIterator[Rush]:
    """From the moment when the limits are used up."""
    cold = [*people(backlog, temperature=temperatures["cold"], enrichment_status="pending")]
    async with open_rig(uri, windows=WINDOWS, latency=VENDOR_SECONDS) as rig:
        await insert(rig, cold)
        async with judge() as judging, fleet(rig, daemons, **LIMITS):
            async with patience(60):
                await rig.simulator.journal.until(lambda: len(rig.simulator.journal) >= 40)
            yield Rush(rig, temperatures, judging)
