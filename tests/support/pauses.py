"""A vendor that is paused while daemons die and leads keep coming."""

from __future__ import annotations

import asyncio
import time
from itertools import count

from enricher.errors import ExitCode
from tests.support.money import Fleet
from tests.support.processes import Daemon
from tests.support.rig import Rig, domain
from tests.support.waiting import end

SETTINGS = {
    "ENRICHER_LEASE_SECONDS": 2,
    "ENRICHER_POLL_SECONDS": 0.5,
    "ENRICHER_MAX_ATTEMPTS": 20,
}


async def keep_inserting(rig: Rig, every: float, ids: list[int]) -> None:
    """Until cancelled; each lead is of a company of its own."""
    for number in count():
        ids.append(number)
        await rig.leads.insert_one({"_id": number, "company_domain": domain()})
        await asyncio.sleep(every)


async def called_after_pause(rig: Rig, kills: int, every: float = 0.02) -> tuple[int, list[int]]:
    """Pause Clearbit in the middle of work, and kill daemons after that, one after the other.

    Return how many calls arrived after the command had returned, and the leads.
    """
    fleet, ids = Fleet(rig, 3, SETTINGS), list[int]()
    journal = rig.simulator.journal
    async with fleet.running():
        writer = asyncio.create_task(keep_inserting(rig, every, ids))
        await journal.until(lambda: len(journal) >= 20)
        await said_by(rig, "pause", "clearbit")
        paused_at, before = time.time(), len(journal)
        await fleet.replace(kills)
        await end(writer)
        after = [call for call in journal.calls(vendor="clearbit") if call.arrived_at > paused_at]
        print(f"{fleet.kills} kills; {before} calls before the pause, {len(after)} after")  # noqa: T201
        await said_by(rig, "resume", "clearbit")
        await rig.witness.all_ended(ids, within=90)
    return len(after), ids


async def said_by(rig: Rig, *arguments: str, **settings: str) -> str:
    """Return what a command says."""
    async with Daemon(*arguments, env=rig.environment("clearbit") | settings) as command:
        assert await command.wait(60) == ExitCode.OK, command.stdout
    return command.stdout
