"""PURE What was paid for twice, and which calls faults excuse.

Every lead has questions of its own, so the second answer to a question was paid for in vain. A fault
excuses it only where it took away an answer that nobody had written down yet:

    a claim that was lost     its holder was killed, paused or cut off (`Loss`), others took the lead,
                              and what it had asked by then it can tell no more; so it is also when a
                              starved machine lets a lease run out (`unprovoked`, which is counted)
    a broken way to vendors   the call was under way meanwhile (`Outage`)

A question whose answer stood on the lead already is no excuse, nor one that had not yet reached a
vendor. Each question is
judged by itself: a fault that hit one lead does not excuse what was asked twice about another.

All times are seconds since the epoch: the server's for claims, the simulator's for calls. Both run
on this machine.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from enricher.simulator.journal import Entry

Question: TypeAlias = tuple[str, str]
"""Vendor, and the domain or address that it was asked about."""

_CLAIM_SECONDS = 0.5
"""A claim that was sent before its daemon fell silent may reach the server so much later."""
_BETWEEN_US_SECONDS = 0.1
"""What was sent by either end before a cut may not have got to the other."""


@dataclass(slots=True)
class Claim:
    """One lease on one lead, from the claim to its settle, or to the next claim."""

    token: int
    holder: str
    claimed_at: float
    ended_at: float = math.inf
    is_lost: bool = False
    """Nobody settled it: it ran out, and the lead was claimed again."""
    answered: set[str] = field(default_factory=set)
    """Providers whose answer stood on the lead when it ended."""

    def is_of(self, pid: int) -> bool:
        return f":{pid}:" in self.holder


@dataclass(frozen=True, slots=True)
class Loss:
    """A daemon that could not renew its leases; those it held meanwhile it may lose."""

    pid: int
    since: float
    until: float = math.inf
    sleeps: bool = False
    """It was stopped, and what it was about to send it sends when it wakes."""

    def excuses(self, claim: Claim) -> bool:
        began_in_time = claim.claimed_at <= self.until + _CLAIM_SECONDS
        return claim.is_of(self.pid) and began_in_time and claim.ended_at >= self.since


@dataclass(frozen=True, slots=True)
class Outage:
    """The way to the vendors was broken until it was mended. A call that arrives meanwhile had been sent before: a
    vendor that is busy finds it late, and its connection is gone."""

    since: float
    until: float

    def excuses(self, call: Entry) -> bool:
        left_at = call.arrived_at + (math.inf if call.duration is None else call.duration)
        arrived_in_time = call.arrived_at <= self.until + _BETWEEN_US_SECONDS
        return arrived_in_time and left_at >= self.since - _BETWEEN_US_SECONDS


@dataclass(frozen=True, slots=True)
class Bill:
    """Calls beyond the first for a question."""

    paid_twice: int
    in_flight: int
    """Calls whose answer a fault took away before it was written down: these may be made again."""
    in_vain: dict[Question, str]
    """Asked more often than faults excuse, and how often."""


def bill(
    calls: Iterable[Entry],
    claims: Mapping[str, Sequence[Claim]],
    losses: Sequence[Loss],
    outages: Sequence[Outage],
) -> Bill:
    """`claims` are those of the lead that each question is about."""
    paid, twice, excused, in_vain = defaultdict[Question, list[Entry]](list), 0, 0, {}
    for call in calls:
        if call.fault is None:  # one that was made to fail is not an answer
            paid[call.vendor, call.question].append(call)
    for question, asked in paid.items():
        lost = [claim for claim in claims.get(question[1], ()) if claim.is_lost]
        gone = sum(was_in_flight(question[0], asked, claim, losses) for claim in lost)
        gone = min(len(asked), gone + sum(_is_on_its_way(call, outages) for call in asked))
        twice, excused = twice + len(asked) - 1, excused + gone
        if len(asked) - 1 > gone:
            in_vain[question] = f"{len(asked)} calls, {gone} of them lost"
    return Bill(twice, excused, in_vain)


def was_in_flight(vendor: str, asked: Sequence[Entry], lost: Claim, losses: Sequence[Loss]) -> bool:
    """THE BOUND: True when the vendor had been asked under this claim, and what it said was lost.

    A daemon that was stopped (or starved) while a connection was being opened sends its question on waking: seen
    as a second call after the next claim, since under one claim nothing is asked twice.

    The one place to tighten when answers are written down sooner, say in a cache: then a call is
    lost only while `call.arrived_at + call.duration` is not past.
    """
    if any(provider.startswith(vendor) for provider in lost.answered):
        return False
    if any(lost.claimed_at <= call.arrived_at <= lost.ended_at for call in asked):
        return True
    provoked_by = [loss for loss in losses if loss.excuses(lost)]
    slept = not provoked_by or any(loss.sleeps for loss in provoked_by)
    return slept and sum(call.arrived_at > lost.ended_at for call in asked) > 1


def _is_on_its_way(call: Entry, outages: Sequence[Outage]) -> bool:
    return any(outage.excuses(call) for outage in outages)


def unprovoked(claims: Iterable[Claim], losses: Sequence[Loss]) -> list[Claim]:
    """Leases that ran out although nothing was done to their holder: on an idle machine, none."""
    lost = (claim for claim in claims if claim.is_lost)
    return [claim for claim in lost if not any(loss.excuses(claim) for loss in losses)]
