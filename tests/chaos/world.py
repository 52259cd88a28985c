"""A scenario's world: servers, vendors, daemons, a writer under load, and the account of it all.

    async with open_world(uri, "SIGKILL of daemons") as world:
        async with world.daemon() as daemon, world.writing(per_second=40):
            await world.kill(daemon)
        await world.all_ended()

On leaving, the account is taken: what stands in the collection, what the observer saw, what the
daemons' logs claim and what the vendors' journal holds. It goes into the table and must hold.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from pymongo.errors import DuplicateKeyError, PyMongoError

from enricher.lead import Document, LeadId
from tests.chaos.observer import Observer
from tests.chaos.report import VERDICTS, Verdict
from tests.processes import Daemon
from tests.rig import ENDS, Rig, domain, key_of, open_rig
from tests.waiting import eventually

LEASE_SECONDS = 2
SETTINGS = {
    "ENRICHER_LEASE_SECONDS": LEASE_SECONDS,
    "ENRICHER_CONCURRENCY": 32,
    "ENRICHER_POLL_SECONDS": 0.5,
    # A call that fails is to come back soon and often: here it is not the vendors who are judged.
    "ENRICHER_RETRY_DELAY_SECONDS": 0.2,
    "ENRICHER_MAX_ATTEMPTS": 20,
}
_UNAVAILABLE_SECONDS = 0.1


@dataclass(slots=True)
class World:
    """One database, its vendors, and everything that was done to them."""

    scenario: str
    rig: Rig
    observer: Observer
    inserted: list[LeadId] = field(default_factory=list)
    inserted_before: int = 0
    """Leads whose collection is no more."""
    daemons: list[Daemon] = field(default_factory=list)
    faults: int = 0
    in_flight: int = 0
    recoveries: list[float] = field(default_factory=list)
    _numbers: Iterable[int] = field(default_factory=count)
    _questions: dict[bytes, tuple[str, ...]] = field(default_factory=dict)

    # -- daemons ---------------------------------------------------------------------------

    def daemon(self, *vendors: str, **settings: object) -> Daemon:
        """One more daemon, with short leases."""
        daemon = self.rig.daemon(*vendors, **{**SETTINGS, **settings})
        self.daemons.append(daemon)
        return daemon

    async def kill(self, daemon: Daemon) -> set[bytes]:
        """SIGKILL. Returns the leads that it held; their calls in flight may be asked again."""
        daemon.kill()
        await daemon.wait()
        return self.taken_from(daemon)

    def taken_from(self, daemon: Daemon) -> set[bytes]:
        """Account for a daemon that can write no more: what it has asked, others must ask again."""
        self.faults += 1
        self.in_flight += len(self._open_questions(daemon))
        return self.observer.held_by(daemon.pid)

    def _open_questions(self, daemon: Daemon) -> set[str]:
        """Of the leads that it holds. Each goes to one vendor, and may be on its way to it."""
        held = self.observer.held_by(daemon.pid)
        return {question for key in held for question in self._questions.get(key, ())}

    def asked_by(self, daemon: Daemon) -> int:
        """Calls about the leads that it holds which have reached a vendor."""
        theirs = self._open_questions(daemon)
        return sum(1 for _, question in self.rig.questions() if question in theirs)

    def may_lose_leases(self, daemon: Daemon) -> None:
        """Account for a daemon that cannot renew for a while."""
        self.in_flight += len(self._open_questions(daemon))

    async def is_asking(self, daemon: Daemon, calls: int = 5) -> None:
        """Wait until it is in the middle of its work."""
        await eventually(lambda: self.asked_by(daemon) >= calls, 30)

    async def taken_over(self, held: set[bytes], since: float, within: float = 30.0) -> None:
        """Wait until others are done with these leads; the time it took is a recovery."""
        settles = self.observer.settled_at
        await self.observer.until(lambda: all(settles(key) >= since for key in held), within)
        self.recoveries.append(max((settles(key) for key in held), default=since) - since)

    async def flows_again(self, since: float, within: float = 30.0) -> None:
        """Wait for a lead that is settled after `since`; the time it took is a recovery."""
        await self.observer.until(lambda: bool(self.observer.settles_after(since)), within)
        self.recoveries.append(self.observer.settles_after(since)[0] - since)

    # -- writers ---------------------------------------------------------------------------

    def new_leads(self, number: int, word: str = "ordinary") -> list[Document]:
        """Each with questions of its own, so that one asked twice was paid for twice."""
        leads = []
        for _, id_ in zip(range(number), self._numbers, strict=False):
            place = domain(word)
            address = f"ada.lovelace@{place}"
            self._questions[key_of(id_)] = (place, address)
            leads.append({"_id": id_, "email": address})
        return leads

    async def insert(self, number: int, word: str = "ordinary") -> list[LeadId]:
        """So many leads at once."""
        leads = self.new_leads(number, word)
        await self.rig.leads.insert_many(leads, ordered=False)
        ids: list[LeadId] = [lead["_id"] for lead in leads]
        self.inserted += ids
        return ids

    async def forget_leads(self) -> None:
        """They are to go with their collection: take their account now."""
        assert await self._lost() == 0
        self.inserted_before += len(self.inserted)
        self.inserted.clear()

    @asynccontextmanager
    async def writing(self, per_second: float) -> AsyncIterator[None]:
        """A writer who inserts lead after lead, and tries again while the database is away."""
        stop = asyncio.Event()
        task = asyncio.create_task(self._write_until(stop, 1 / per_second), name="writer")
        try:
            yield
        finally:
            stop.set()
            await task

    async def _write_until(self, stop: asyncio.Event, every: float) -> None:
        while not stop.is_set():
            (lead,) = self.new_leads(1)
            await self._surely_insert(lead)
            self.inserted.append(lead["_id"])
            await asyncio.sleep(every)

    async def _surely_insert(self, lead: Document) -> None:
        while True:
            try:
                await self.rig.leads.insert_one(lead)
            except DuplicateKeyError:
                return  # an earlier try of ours got through
            except PyMongoError:
                await asyncio.sleep(_UNAVAILABLE_SECONDS)
            else:
                return

    async def written(self, more: int) -> None:
        """Wait until the writer has inserted so many more leads, and daemons were done with them."""
        goal = len(self.inserted) + more
        while len(self.inserted) < goal:
            await asyncio.sleep(_UNAVAILABLE_SECONDS)
        await self.observer.until(
            lambda: len(self.observer.ended(self.inserted)) >= goal - more, 60
        )

    # -- the account -----------------------------------------------------------------------

    async def all_ended(self, within: float = 60.0) -> None:
        """Wait until the observer has seen every lead come to an end."""
        await self.observer.all_ended(self.inserted, within)

    async def account(self) -> Verdict:
        """What became of it all."""
        return Verdict(
            scenario=self.scenario,
            faults=self.faults,
            leads=self.inserted_before + len(self.inserted),
            lost=await self._lost(),
            settled_twice=len(self.observer.settled_twice()),
            stale_writes=len(self.observer.stale_writes()) + len(self._written_under_no_lease()),
            paid_twice=self._paid_twice(),
            in_flight=self.in_flight,
            recoveries=tuple(self.recoveries),
        )

    async def _lost(self) -> int:
        ended = {"_id": {"$in": self.inserted}, "enrichment_status": {"$in": ENDS}}
        return len(self.inserted) - await self.rig.leads.count_documents(ended)

    def _paid_twice(self) -> int:
        """Calls beyond the first for each question; one that was made to fail is not an answer."""
        calls = (each for each in self.rig.simulator.journal if each.fault is None)
        questions = Counter((each.vendor, each.question) for each in calls)
        return questions.total() - len(questions)

    def _written_under_no_lease(self) -> list[Document]:
        """Settles that a daemon believes in and that nobody saw under that token."""
        claimed = [line for daemon in self.daemons for line in daemon.events("lead.settled")]
        return [
            line
            for line in claimed
            if not self.observer.was_settled_under(int(line["lead"]), line["token"])
        ]


@asynccontextmanager
async def open_world(uri: str, scenario: str, **simulator: Any) -> AsyncIterator[World]:
    """Its daemons are to be stopped within the block; then the account is taken, and must hold."""
    async with open_rig(uri, Observer, **simulator) as rig:
        assert isinstance(rig.witness, Observer)
        world = World(scenario, rig, rig.witness)
        yield world
        verdict = await world.account()
        VERDICTS.append(verdict)
        assert verdict.holds, f"{verdict}\n{world.observer.stale_writes()}"
