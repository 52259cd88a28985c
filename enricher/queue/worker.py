"""Wait for the bell, claim leads while there are free slots, work on each, and settle it.

Stopping is not cancelling. When told to stop, the worker claims nothing more and lets the work finish
while the heartbeat goes on; what is not finished by the end of the grace period is released, with its
attempt. A result that exists is always written: the settle is shielded, and waited for.

The worker takes no more than the limits can serve soon. While leads in work wait for a limit (`Pressure`),
it claims only more urgent ones; since waiting costs only memory, these get a slot even when all are
taken: up to half as many again. The others stay in the queue, where later leads can still overtake them.

Each source of leads has a worker of its own, and all workers of a process share its slots (`Slots`).
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Any, TypeAlias

from loguru import logger

from enricher.lead import SOON_SECONDS, End, Lead, LeadId, Lease, Pressure, Progress, Subject
from enricher.mongo import DatabaseTrouble
from enricher.mongo.outage import Outage, lost_race_pause, pause
from enricher.process.signals import surely
from enricher.queue import book
from enricher.queue.leads import Claimed, Leads
from enricher.queue.settle import Settled, Settler
from enricher.settings.load import WorkSettings
from enricher.telemetry import metrics
from enricher.telemetry.log import label, trace_of

# The doorbell between the task that sees work first and the worker that does it.


@dataclass(frozen=True, slots=True)
class Newcomer:
    """A lone new lead at the door; the task that announced it waits for the answer."""

    id: LeadId
    is_taken: asyncio.Future[bool] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )

    def answer(self, *, is_taken: bool) -> None:
        """Tell the announcing task whether the lead was admitted and claimed."""
        if not self.is_taken.done():
            self.is_taken.set_result(is_taken)


class Bell:
    """Does not count rings: one wakes the worker, and the claim finds all there is.

    A worker that waits here with nothing else to do also opens to a lone new lead, and admits and claims it
    in one command: no order has to be kept then, and no search is needed.
    """

    def __init__(self) -> None:
        self._woken = asyncio.Event()
        self._is_rung = False
        self._has_room: Callable[[], bool] | None = None
        self._newcomer: Newcomer | None = None

    def ring(self) -> None:
        """Say that there may be work."""
        self._is_rung = True
        self._woken.set()

    @property
    def is_rung(self) -> bool:
        """True when it has rung and no waiter has heard it yet."""
        return self._is_rung

    @property
    def is_waited_at(self) -> bool:
        """True while a worker without other work waits here, even if it has no room for one more lead."""
        return self._has_room is not None

    @property
    def is_open(self) -> bool:
        """True while a worker waits here that would open to a lone new lead."""
        return self._has_room is not None and self._has_room()

    async def announce(self, id_: LeadId) -> bool:
        """Offer a lone new lead. False when it must go the usual way: admitted, then searched for."""
        if self._is_rung or self._newcomer or not self.is_open:
            return False
        self._newcomer = Newcomer(id_)
        self._woken.set()
        return await self._newcomer.is_taken

    async def wait(self, seconds: float, has_room: Callable[[], bool] | None = None) -> bool:
        """Wait until it rings, at most `seconds`; False when it did not. An earlier unheard ring counts.

        With `has_room`, also return once there is a `newcomer`, which is let in only while `has_room` holds.
        """
        self._has_room = has_room
        try:
            async with asyncio.timeout(seconds):
                await self._woken.wait()
        except TimeoutError:
            pass
        except asyncio.CancelledError:
            self._turn_away()
            raise
        finally:
            self._has_room = None
            self._woken.clear()
            is_rung, self._is_rung = self._is_rung, False
        return is_rung

    def newcomer(self) -> Newcomer | None:
        """Return the lead announced during the wait, if any; the caller must answer it."""
        newcomer, self._newcomer = self._newcomer, None
        return newcomer

    def _turn_away(self) -> None:
        if newcomer := self.newcomer():
            newcomer.answer(is_taken=False)


# Keeps the leases of all leads in work, and stops the work on those that are lost.
#
# Two things take a lease away. The database says that somebody else has it, or that a user asked for
# a fresh run: then the work is stopped at the next beat. Or no renewal got through until the local
# deadline: then somebody else may have it already, and calls must not go on being paid for. A
# beat that fails proves neither, so the work goes on. Deadlines are watched apart from the beats: one
# that hangs on a silent network must not hide that time is up.

_BEATS_PER_LEASE = 3
_CHECKS_PER_LEASE = 12


@dataclass(slots=True)
class Heartbeat:
    """The leads in work, and the loop that renews their leases."""

    leads: Leads
    outage: Outage = field(default_factory=lambda: Outage("heartbeat"))
    _held: dict[Lease, asyncio.Task[None]] = field(default_factory=dict)

    @property
    def in_work(self) -> int:
        """How many leads are in work."""
        return len(self._held)

    def hold(self, lease: Lease, work: asyncio.Task[None]) -> None:
        """Renew this lease until `let_go`; cancel `work` when it is lost."""
        self._held[lease] = work
        self.leads.gauges.in_work(len(self._held))

    def let_go(self, lease: Lease) -> None:
        """Stop renewing: the work is over, or only its settle is left, which is safe without a lease."""
        self._held.pop(lease, None)
        self.leads.gauges.in_work(len(self._held))

    async def run(self, stop: asyncio.Event) -> None:
        """Beat until told to stop, which happens after the last lead was let go."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep_beating(stop), name="heartbeat-beats")
            group.create_task(self._watch_deadlines(stop), name="heartbeat-deadlines")

    async def _keep_beating(self, stop: asyncio.Event) -> None:
        lease = self.leads.lease.total_seconds()
        while not stop.is_set():
            # Counted from the start of this beat, so a slow round trip does not stretch the period.
            next_at = time.monotonic() + lease / _BEATS_PER_LEASE
            if await self._beat():
                await pause(stop, next_at - time.monotonic())
            else:
                await pause(stop, lease / _CHECKS_PER_LEASE)

    async def _watch_deadlines(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            self._stop_overdue()
            await pause(stop, self.leads.lease.total_seconds() / _CHECKS_PER_LEASE)

    async def _beat(self) -> bool:
        """Renew all held leases; return False when that must be repeated soon."""
        if not self._held:
            self.outage.forget()  # nothing waits for the database here any more
            return True
        beating = list(self._held)
        try:
            lost = await self.leads.renew(beating)
        except DatabaseTrouble as error:
            self.outage.failed(error)
            return False
        self.outage.succeeded()
        self._lose(lost, "heartbeat")
        return not self.leads.is_held_up(beating)

    def _stop_overdue(self) -> None:
        now = time.monotonic()
        self._lose([lease for lease in self._held if lease.deadline <= now], "deadline")

    def _lose(self, leases: Iterable[Lease], found_by: str) -> None:
        for lease in leases:
            work = self._held.get(lease)
            self.let_go(lease)
            if work is not None:
                work.cancel()
                metrics.LEASES_LOST.labels(found_by).inc()
                logger.bind(
                    lead=label(lease.lead_id), token=lease.token, found_by=found_by
                ).warning("lease.lost")


_ROUND_TRIP_SHARE = 4
"""A claim costs three round trips, so wait until a quarter of the slots is free, or"""
_SLOT_WAIT_SECONDS = 0.02
"""until this long has passed, whichever comes first."""
_LOOK_SECONDS = 0.1
"""How often to check whether the leads in work still wait for a limit: no event tells of it."""
_RELEASE_SECONDS = 5.0

Keep: TypeAlias = Callable[[Progress], Awaitable[None]]
"""Writes what one provider found while another is still busy."""
NoteCost: TypeAlias = Callable[[int], Awaitable[bool]]
"""Notes what the lead may have cost, before a call; False when the lease is lost. Raises DatabaseTrouble."""
Work: TypeAlias = Callable[[Lead, Keep, NoteCost], Awaitable[tuple[End, Subject | None]]]
"""From a lead to its outcome, and the outcome's subject. Raises nothing: a bug is an outcome too."""
Tell: TypeAlias = Callable[[Lease, End, Settled, float], None]
"""Called for each claim that ended, with the seconds it took."""


@dataclass(slots=True)
class Slots:
    """How many leads one process works on at a time, shared by the workers of its sources.

    Workers that all find more work than they have room for get the same number of slots, as leads end. One
    that does not leaves its slots to the others, all but one: with that it begins at once when work comes,
    however busy the others are. One that cannot write its collection holds no more than its share: its leads
    wait to be settled, and must not keep the others from theirs.
    """

    concurrency: int
    workers: list[Worker] = field(default_factory=list)
    pressure: Callable[[], Pressure] = Pressure
    """Returns how many leads in work wait for a limit, for how long, and how urgent they are."""

    @property
    def total(self) -> int:
        """At least one for each worker."""
        return max(self.concurrency, len(self.workers))

    @property
    def share(self) -> int:
        """What each worker gets while all have more than enough to do."""
        return self.total // max(1, len(self.workers))

    @property
    def leases(self) -> list[Lease]:
        """The leads in work."""
        return [lease for worker in self.workers for lease in worker.leases]

    def free_for(self, worker: Worker) -> int:
        """Return how many leads it may take; negative while more are in work than there are slots."""
        others = [each for each in self.workers if each is not worker]
        held = sum(min(each.taken, self.share) if each.is_stuck else each.taken for each in others)
        return self.total - worker.taken - held - sum(map(self._kept_for, others))

    def _kept_for(self, worker: Worker) -> int:
        return max(0, (self.share if worker.has_more else 1) - worker.taken)

    def wake(self) -> None:
        """Tell all workers that a slot was freed."""
        for worker in self.workers:
            worker.slot_freed.set()

    def ring(self) -> None:
        """Tell all workers that leads which none of them might claim may be claimed now."""
        for worker in self.workers:
            worker.bell.ring()


@dataclass(slots=True, eq=False)
class Worker:
    """The slots that one source's leads are worked on in."""

    settler: Settler
    work: Work
    on_settled: Tell
    heartbeat: Heartbeat
    bell: Bell
    settings: WorkSettings
    slots: Slots | None = None
    """Those of the process; `None` when it has no other worker."""
    leads: Leads = field(init=False)
    """Those that it claims, and whose leases the heartbeat keeps."""
    has_more: bool = field(init=False, default=False)
    """It found more work than it had room for."""
    slot_freed: asyncio.Event = field(init=False, default_factory=asyncio.Event)
    outage: Outage = field(init=False, default_factory=lambda: Outage("worker"))
    random: Random = field(init=False, default_factory=Random)
    _tasks: dict[asyncio.Task[None], Lease] = field(init=False, default_factory=dict)
    _races_lost: int = field(init=False, default=0)
    """Consecutive claims that found leads and won none."""
    _claiming: asyncio.Task[Claimed] | None = field(init=False, default=None)
    """The claim that is under way, or whose leads nobody has begun."""
    _asked: int = field(init=False, default=0)
    """Slots that the claim under way may fill."""
    _slots: Slots = field(init=False)

    def __post_init__(self) -> None:
        self.leads = self.heartbeat.leads
        self._slots = self.slots or Slots(self.settings.concurrency)
        self._slots.workers.append(self)

    @property
    def leases(self) -> Collection[Lease]:
        """The leads in work."""
        return self._tasks.values()

    @property
    def taken(self) -> int:
        """Slots in use. A lead that only waits for a writer's transaction takes none, up to `concurrency` of them."""
        late = min(self.settler.late, self.settings.concurrency)
        return len(self._tasks) + self._asked - late

    @property
    def is_stuck(self) -> bool:
        """True while the database takes no claim or no settle of it."""
        return not (self.outage.is_over and self.settler.outage.is_over)

    async def run(self, stop: asyncio.Event) -> None:
        """Claim and work until told to stop, then drain."""
        metrics.CONCURRENCY.set(self._slots.total)
        waking = asyncio.create_task(self._wake_to_stop(stop), name="worker-stop")
        try:
            while not stop.is_set():
                await self._turn(stop)
            await self._finish()
        finally:
            # Also when another loop's failure ends this one: its leads are released, and need not wait
            # until the leases expire.
            waking.cancel()
            await self._give_back()

    async def _wake_to_stop(self, stop: asyncio.Event) -> None:
        """Wake the loop, whatever it waits for, so that it checks `stop` now."""
        await stop.wait()
        self.bell.ring()
        self.slot_freed.set()

    # -- claiming --------------------------------------------------------------------------

    async def _turn(self, stop: asyncio.Event) -> None:
        pressure = self._slots.pressure()
        room = self._room(pressure)
        if not room:
            await self._until_there_is_room(stop)
            return
        is_choosy = pressure.is_high and not self._is_kept_out(pressure)
        above = pressure.urgency if is_choosy else None
        try:
            in_work = [lease.lead for lease in self._slots.leases]
            has_suspect = any(map(self.leads.is_suspect, in_work))
            data = sum(lead.data_bytes for lead in in_work)
            claiming = self.leads.claim(room, above, 0 if has_suspect else 1, data)
            claimed = await self._see_through(claiming, room)
        except DatabaseTrouble as error:
            self.has_more = False
            await pause(stop, self.outage.failed(error))
            return
        self.outage.succeeded()
        await self._put_to_work(claimed, stop)
        await self._until_worth_claiming(claimed, above, stop)

    async def _see_through(self, claiming: Coroutine[Any, Any, Claimed], slots: int = 1) -> Claimed:
        """Claim in a task of its own: when the worker is cancelled the claim goes on, and `_give_back` releases
        what it wins. A command that was cut off may have been carried out all the same."""
        self._claiming, self._asked = asyncio.create_task(claiming, name="claim"), slots
        try:
            claimed = await asyncio.shield(self._claiming)
        finally:
            self._asked = 0
        self._claiming = None
        return claimed

    def _is_kept_out(self, pressure: Pressure) -> bool:
        """Return whether leads of other sources would keep this one's from ever being worked on."""
        return pressure.is_high and not self._tasks and len(self._slots.workers) > 1

    def _room(self, pressure: Pressure) -> int:
        """Return how many leads to claim now."""
        if self._is_kept_out(pressure):
            return 1
        if pressure.is_high:
            # Never all of it: a still more urgent lead may arrive before a slot is free again.
            beyond = min(pressure.waiting, max(1, self._slots.total // 2))
            return max(0, (self._free + beyond + 1) // 2)
        if pressure.waiting and pressure.seconds:
            # Without this, one claim after a quiet spell would fill all slots with leads that only wait.
            served_soon = math.ceil(pressure.waiting / pressure.seconds * SOON_SECONDS)
            return max(0, min(self._free, served_soon))
        return max(0, self._free)

    def _free_slot(self, task: asyncio.Task[None]) -> None:
        lease = self._tasks.pop(task)
        self.heartbeat.let_go(lease)
        self._slots.wake()
        if self.leads.is_suspect(lease.lead) or lease.lead.data_bytes > book.MUCH_DATA_BYTES:
            self._slots.ring()  # the next such lead may be claimed
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.bind(lead=label(lease.lead_id), **trace_of(error)).error("lead.abandoned")

    async def _until_worth_claiming(
        self, claimed: Claimed, above: float | None, stop: asyncio.Event
    ) -> None:
        """Wait until slots are free if there is more work, else until the bell rings or a poll is due."""
        self._races_lost = self._races_lost + 1 if claimed.lost and not claimed.leases else 0
        self.has_more = claimed.is_full and bool(claimed.leases)
        seconds = self.settings.poll_seconds * (0.9 + 0.2 * self.random.random())
        if claimed.is_full and claimed.leases:
            await self._until_slots_are_free(stop)
        elif claimed.is_full:
            # Others took every candidate, or none can be claimed. Do not race for the next ones.
            longest = self.settings.poll_seconds
            await pause(stop, lost_race_pause(self._races_lost, longest, self.random))
        elif above is not None:
            await self._until_pressure_falls(above, seconds)
        else:
            await self._until_it_rings(seconds, stop)

    async def _until_it_rings(self, seconds: float, stop: asyncio.Event) -> None:
        """Wait after a claim that took all the work there was. Take a lone new lead as it comes."""
        ends, is_rung = time.monotonic() + seconds, False
        while not is_rung and (left := ends - time.monotonic()) > 0:
            is_rung = await self.bell.wait(left, self._has_room_for_one)
            if newcomer := self.bell.newcomer():
                await self._take(newcomer, stop)

    def _has_room_for_one(self) -> bool:
        return self._free > 0 and not self._slots.pressure().waiting and not self.leads.is_sharded

    async def _take(self, newcomer: Newcomer, stop: asyncio.Event) -> None:
        claimed = Claimed([])
        try:
            with suppress(*DatabaseTrouble):  # the announcing task admits it now, and reports it
                claimed = await self._see_through(self._admit_and_claim(newcomer.id))
        finally:
            newcomer.answer(is_taken=bool(claimed.leases))
        await self._put_to_work(claimed, stop)

    async def _put_to_work(self, claimed: Claimed, stop: asyncio.Event) -> None:
        """Begin the leads. Those of a claim that was under way at the stop are given back instead."""
        if claimed.leases and stop.is_set():
            await self._release(claimed.leases)
            return
        metrics.CLAIMED.inc(len(claimed.leases))
        metrics.CLAIMS_LOST.inc(claimed.lost)
        for lease in claimed.leases:
            task = asyncio.create_task(self._work(lease), name=f"lead-{lease.token}")
            self._tasks[task] = lease
            self.heartbeat.hold(lease, task)
            task.add_done_callback(self._free_slot)

    async def _admit_and_claim(self, id_: LeadId) -> Claimed:
        lease = await self.leads.admit_and_claim(id_)
        return Claimed([lease] if lease else [])

    async def _until_pressure_falls(self, above: float, seconds: float) -> None:
        """Wait until pressure falls below `above`, so that more leads can be claimed, or the bell or time ends it."""
        ends = time.monotonic() + seconds
        while (left := ends - time.monotonic()) > 0:
            if await self.bell.wait(min(left, _LOOK_SECONDS)):
                return
            pressure = self._slots.pressure()
            if not pressure.is_high or pressure.urgency < above or self._is_kept_out(pressure):
                return

    async def _until_there_is_room(self, stop: asyncio.Event) -> None:
        while not self._room(self._slots.pressure()) and not stop.is_set():
            await self._wait_for_slot(_LOOK_SECONDS)

    async def _until_slots_are_free(self, stop: asyncio.Event) -> None:
        """Wait until enough slots are free to be worth a claim, but not long once there is one."""
        enough = max(1, self._slots.share // _ROUND_TRIP_SHARE)
        await self._until_there_is_room(stop)
        patience_ends = time.monotonic() + _SLOT_WAIT_SECONDS
        while self._free < enough and not stop.is_set():
            left = patience_ends - time.monotonic()
            if left <= 0:
                return
            await self._wait_for_slot(left)

    async def _wait_for_slot(self, seconds: float) -> None:
        self.slot_freed.clear()
        await pause(self.slot_freed, seconds)

    @property
    def _free(self) -> int:
        """Free slots that it may take."""
        return self._slots.free_for(self)

    # -- one lead --------------------------------------------------------------------------

    async def _work(self, lease: Lease) -> None:
        began = time.monotonic()
        keep = partial(self.settler.keeper.keep, lease)
        note_cost = partial(self.settler.costs.note, lease)
        outcome, subject = await self.work(lease.lead, keep, note_cost)
        self.heartbeat.let_go(lease)
        await surely(self._settle(lease, outcome, subject, began))

    async def _settle(
        self, lease: Lease, outcome: End, subject: Subject | None, began: float
    ) -> None:
        settled = await self.settler.settle(lease, outcome, subject)
        self.on_settled(lease, outcome, settled, time.monotonic() - began)

    # -- draining --------------------------------------------------------------------------

    @property
    def last_calls_seconds(self) -> float:
        """The part of the grace period, in seconds, kept for calls already sent: their answers are paid for."""
        half = self.settings.shutdown_grace_seconds / 2
        return min(half, self.settings.provider_timeout_seconds)

    async def _finish(self) -> None:
        if self._tasks:
            seconds = self.settings.shutdown_grace_seconds - self.last_calls_seconds
            await asyncio.wait(self._tasks, timeout=seconds)

    async def _give_back(self) -> None:
        interrupted = dict(self._tasks)
        for task in interrupted:
            task.cancel()
        claiming = [self._claiming] if self._claiming else []
        if ending := [*interrupted, *claiming]:
            await asyncio.wait(ending, timeout=_RELEASE_SECONDS)
        # Leads whose settle was under way end as cancelled too; releasing them matches nothing. A settle
        # that still waits for the database is left alone, so that it can match.
        unfinished = [lease for task, lease in interrupted.items() if task.cancelled()]
        won = [lease for claim in claiming for lease in _won(claim)]
        released = await self._release([*unfinished, *won])
        if released is not None:
            logger.bind(released=released).info("drain.finished")

    async def _release(self, leases: list[Lease]) -> int | None:
        """Return how many were released; `None` when the database failed, and the leases must expire."""
        try:
            async with asyncio.timeout(_RELEASE_SECONDS):
                released = await self.leads.release(leases)
        except (*DatabaseTrouble, TimeoutError):
            logger.bind(leads=len(leases)).warning("drain.not_released")
            return None
        metrics.RELEASED.inc(released)
        return released


def _won(claim: asyncio.Task[Claimed]) -> list[Lease]:
    """Return the leases of a claim that has ended; nothing for one that failed, or that the database keeps
    waiting for too long."""
    if not claim.done():
        claim.cancel()
        return []
    return [] if claim.cancelled() or claim.exception() else claim.result().leases
