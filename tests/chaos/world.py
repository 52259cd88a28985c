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
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import Any

from pymongo.errors import DuplicateKeyError, PyMongoError

from enricher.fields import NAMES
from enricher.lead import Document, LeadId
from tests.chaos.account import Bill, Claim, Loss, Outage, bill, unprovoked
from tests.chaos.observer import Observer, on_our_clock
from tests.chaos.report import VERDICTS, Verdict
from tests.support.processes import Daemon
from tests.support.rig import ENDS, Rig, Write, domain, key_of, open_rig
from tests.support.waiting import eventually

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
    required: float | None = None
    """Within how many seconds work is to flow again."""
    faults: int = 0
    in_flight: int = 0
    """Calls that a scenario excuses by itself, besides those of `losses` and `outages`."""
    losses: list[Loss] = field(default_factory=list)
    outages: list[Outage] = field(default_factory=list)
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
        self.faults += 1
        self.losses.append(Loss(daemon.pid, time.time()))
        return self.observer.held_by(daemon.pid)

    def taken_from(self, daemon: Daemon) -> set[bytes]:
        """Account for a daemon that is silent from now on: the leads that it held are taken over."""
        self.faults += 1
        now = time.time()
        self.losses.append(Loss(daemon.pid, now, now, sleeps=True))
        return self.observer.held_by(daemon.pid)

    def may_lose_leases(self, daemon: Daemon, within: float = 15.0) -> None:
        """Account for a daemon that cannot renew for a while: the leases that it has or will have by
        then may run out."""
        now = time.time()
        self.losses.append(Loss(daemon.pid, now, now + within))

    @contextmanager
    def without_a_database(self, *daemons: Daemon) -> Iterator[None]:
        """Account for these daemons, or all, that cannot renew within the block."""
        since = time.time()
        try:
            yield
        finally:
            now = time.time()
            self.losses += [Loss(each.pid, since, now) for each in daemons or self.daemons]

    def vendors_cut_off(self, since: float) -> None:
        """Account for calls that were under way at any time since then (monotonic seconds): what was
        answered was not heard. To be called once the way is mended: what was sent before a cut may reach a vendor
        that is busy long after it."""
        now = time.time()
        self.outages.append(Outage(now - (time.monotonic() - since), now))

    def asked_by(self, daemon: Daemon) -> int:
        """Calls about the leads that it holds which have reached a vendor."""
        held = self.observer.held_by(daemon.pid)
        theirs = {question for key in held for question in self._questions.get(key, ())}
        return sum(1 for _, question in self.rig.questions() if question in theirs)

    def said(self, daemon: Daemon) -> int:
        """Lines about an outage of the database, by the loop that said most."""
        lines = Counter(line["loop"] for line in daemon.events("database.unavailable"))
        return max(lines.values(), default=0)

    async def is_asking(self, daemon: Daemon, calls: int = 5) -> None:
        """Wait until it is in the middle of its work."""
        await eventually(lambda: self.asked_by(daemon) >= calls, 30)

    async def taken_over(self, held: set[bytes], since: float, within: float = 30.0) -> None:
        """Wait until others have claimed these leads; the time it took is a recovery."""
        claimed = partial(self.observer.claimed_after, since)
        await self.observer.until(lambda: None not in map(claimed, held), within)
        if held:
            self.recoveries.append(max(claimed(key) or since for key in held) - since)

    async def works_again(self, daemon: Daemon, since: float, within: float = 30.0) -> None:
        """Wait until this one claims leads; the time it took is a recovery."""

        def claims() -> list[float]:
            moments = (on_our_clock(c.claimed_at) for c in self.observer.claims_of(daemon.pid))
            return [moment for moment in moments if moment >= since]

        await self.observer.until(lambda: bool(claims()), within)
        self.recoveries.append(min(claims()) - since)

    async def flows_again(self, since: float, within: float = 30.0) -> None:
        """Wait for a lead that is settled after `since`; the time it took is a recovery."""
        await self.observer.until(lambda: bool(self.observer.settles_after(since)), within)
        self.recoveries.append(self.observer.settles_after(since)[0] - since)

    # -- writers ---------------------------------------------------------------------------

    def new_leads(self, number: int, word: str = "ordinary", **fields: object) -> list[Document]:
        """Each with questions of its own, so that one asked twice was paid for twice."""
        leads = []
        for _, id_ in zip(range(number), self._numbers, strict=False):
            place = domain(word)
            address = f"ada.lovelace@{place}"
            self._questions[key_of(id_)] = (place, address)
            leads.append({"_id": id_, "email": address, **fields})
        return leads

    async def insert(self, number: int, word: str = "ordinary", **fields: object) -> list[LeadId]:
        """So many leads at once."""
        leads = self.new_leads(number, word, **fields)
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
        paid = self._bill()
        return Verdict(
            scenario=self.scenario,
            faults=self.faults,
            leads=self.inserted_before + len(self.inserted),
            lost=await self._lost(),
            settled_twice=len(self.observer.settled_twice()),
            stale_writes=self._stale_writes() + await self._touched(),
            paid_twice=paid.paid_twice,
            in_flight=paid.in_flight + self.in_flight,
            in_vain=max(0, len(paid.in_vain) - self.in_flight),
            recoveries=tuple(self.recoveries),
            required=self.required,
            unprovoked=len(self._unprovoked()),
            failed=await self.rig.results.count_documents({"enrichment_status": "failed"}),
        )

    def complaints(self) -> str:
        """What is behind the figures of the verdict, for whoever reads a failure."""
        return (
            f"stale writes: {self.observer.stale_writes()}\n"
            f"no lease: {self._written_under_no_lease()}\n"
            f"paid in vain: {self._bill().in_vain}\n"
            f"and why: {self._histories()}\n"
            f"leases lost without a fault: {self._unprovoked()}"
        )

    def _bill(self) -> Bill:
        return bill(self.rig.simulator.journal, self._claims(), self.losses, self.outages)

    def _stale_writes(self) -> int:
        return len(self.observer.stale_writes()) + len(self._written_under_no_lease())

    def _unprovoked(self) -> list[Claim]:
        ledgers = self.observer.ledgers.values()
        return unprovoked((each for ledger in ledgers for each in ledger.claims), self.losses)

    def _histories(self) -> list[tuple[list[float], list[Claim]]]:
        """When the vendor was asked, and under which claims."""
        journal, claims = self.rig.simulator.journal, self._claims()
        return [
            (
                [call.arrived_at for call in journal.calls(question=question)],
                [*claims.get(question, ())],
            )
            for _, question in self._bill().in_vain
        ]

    def _claims(self) -> dict[str, list[Claim]]:
        """By question: those of the lead that it is about."""
        return {
            question: self.observer.ledgers[key].claims
            for key, questions in self._questions.items()
            for question in questions
        }

    async def _lost(self) -> int:
        ended = {"_id": {"$in": self.inserted}, "enrichment_status": {"$in": ENDS}}
        return len(self.inserted) - await self.rig.results.count_documents(ended)

    async def _touched(self) -> int:
        """Users' documents with anything of ours on them, where results stand beside them."""
        if self.rig.config is None:
            return 0
        is_ours = [{name: {"$exists": True}} for name in NAMES.roots]
        return await self.rig.leads.count_documents({"$or": is_ours})

    def _written_under_no_lease(self) -> list[Document]:
        """Settles that a daemon believes in and that nobody saw under that token."""
        claimed = [line for daemon in self.daemons for line in daemon.events("lead.settled")]
        return [
            line
            for line in claimed
            if not self.observer.was_settled_under(int(line["lead"]), line["token"])
        ]


@asynccontextmanager
async def open_world(
    uri: str,
    scenario: str,
    *,
    required: float | None = None,
    write: Write = "lead",
    **simulator: Any,
) -> AsyncIterator[World]:
    """Its daemons are to be stopped within the block; then the account is taken, and must hold.

    `required` is within how many seconds work is to flow again. The table shows what it took;
    beyond three times as long the scenario fails, which leaves room for a busy machine. Where daemons `write`
    beside the leads, these are to stay as their writers left them: anything of ours on one is a stale write.
    """
    scenario += ", beside" if write == "beside" else ""
    async with open_rig(uri, Observer, write, **simulator) as rig:
        assert isinstance(rig.witness, Observer)
        world = World(scenario, rig, rig.witness, required=required)
        yield world
        verdict = await world.account()
        VERDICTS.append(verdict)
        assert verdict.holds, f"{verdict}\n{world.complaints()}"
