"""Ask the providers about one lead: the kinds at once, and within a kind one provider after the other.

The next provider of a kind is asked only while fields that it can fill are still missing. A provider that
answered in an earlier attempt of the same run is not asked again. Once the person has objected, no
further provider of any kind is asked. Every gate respects the lead's deadline, so whatever has been
answered by then is kept.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from enricher.answer import Answer, Found, Kind, NotFound, Objected, Query
from enricher.calls.question import Asking, Gate, Question
from enricher.enrichment.conclude import FOUND, USELESS
from enricher.lead import Lead, Pressure
from enricher.process import shortage
from enricher.providers.http import unfit
from enricher.telemetry.labels import label
from enricher.values.merge import METADATA, owners, usable, without_job_elsewhere
from enricher.values.storable import is_blank, mapping
from enricher.values.types import UNKNOWN

_NOT_NEEDED = "nothing was missing"
_PATIENCE_SECONDS = 0.25
"""Providers that answer normally differ by less than this, and cost no extra write."""
_OBJECTED = "the person objected"


@dataclass(slots=True)
class Findings:
    """The result of asking: an answer for each provider asked, a reason for each one not asked."""

    answers: dict[str, Answer] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    under_way: dict[asyncio.Task[None] | None, Asking] = field(default_factory=dict)
    """What each kind is asking now, or asked last."""
    useless: set[str] = field(default_factory=set)
    """Providers whose paid answers could not be read."""

    @property
    def found(self) -> dict[str, Found]:
        return {name: a for name, a in self.answers.items() if isinstance(a, Found)}

    @property
    def answered(self) -> set[str]:
        """Providers that need not be asked again in this run."""
        return {name for name, a in self.answers.items() if isinstance(a, Found | NotFound)}

    @property
    def objection(self) -> bool:
        """True when a vendor reports that the person objected to being processed."""
        return any(isinstance(answer, Objected) for answer in self.answers.values())


class Waterfall:
    """The providers of one daemon, in the order of preference within each kind."""

    def __init__(self, gates: Sequence[Gate], without_key: Mapping[str, str]) -> None:
        self._gates = gates
        self._without_key = without_key
        by_kind = ([gate for gate in gates if gate.provider.kind is kind] for kind in Kind)
        self._by_kind = [gates for gates in by_kind if gates]
        free = [gate for gate in gates if gate.provider.is_free]
        self.paid: Sequence[Gate] = [gate for gate in gates if not gate.provider.is_free]
        """The gates to providers that cost money."""
        self.free = frozenset(gate.name for gate in free)
        """Names of the providers that cost nothing."""
        self.order = [gate.name for gate in (*self.paid, *free)]
        """Names of all providers, best first: the order in which values win in the merge."""
        self.kinds: Mapping[str, Kind] = {gate.name: gate.provider.kind for gate in gates}
        """Each provider's kind, by name."""

    def pressure(self) -> Pressure:
        """Return how many leads in work wait for a limit, for how long, and how urgent they are."""
        queues = [gate.limiter for gate in self._gates if gate.limiter.waiting]
        if not queues:
            return Pressure()
        return Pressure(
            waiting=sum(queue.waiting for queue in queues),
            seconds=max(queue.expected_wait for queue in queues),
            # A just-cancelled caller still counts as waiting, for one turn of the loop.
            urgency=max(
                (each for queue in queues if (each := queue.urgency) is not None),
                default=-math.inf,
            ),
        )

    async def close(self, seconds: float) -> None:
        """Make no more calls; let those under way finish within `seconds`."""
        await asyncio.gather(*(gate.close(seconds) for gate in self._gates))

    async def ask(
        self, lead: Lead, query: Query, seconds: float, keep: Callable[[Findings], Awaitable[None]]
    ) -> Findings:
        """Ask every kind at once, for at most `seconds`.

        `keep` receives what was found so far, once, when one kind is done and another is still busy.
        """
        findings = Findings(skipped=dict(self._without_key))
        deadline = shortage.awake() + seconds
        async with asyncio.TaskGroup() as group:
            falls = [
                group.create_task(self._fall(gates, lead, query, deadline, findings))
                for gates in self._by_kind
            ]
            if await _takes_long(falls, findings) and self._is_worth_keeping(findings):
                await keep(findings)
        return findings

    def _is_worth_keeping(self, findings: Findings) -> bool:
        """Return whether a paid provider answered ("not found" may be charged like any answer). Data about
        a person who objected is not stored even for a moment."""
        return not findings.objection and bool(findings.answered - self.free)

    async def ask_free(self, lead: Lead, query: Query, seconds: float, why: str) -> Findings:
        """Ask only free providers, about a lead that no paid call is worth or allowed for; `why` says so."""
        findings = Findings(skipped=dict(self._without_key))
        deadline = shortage.awake() + seconds
        for gate in self._gates:
            reason = unfit(gate.provider, query) if gate.provider.is_free else why
            if reason is not None:
                findings.skipped[gate.name] = reason
                continue
            findings.answers[gate.name] = await gate.ask(Asking(_question(lead, query, deadline)))
        return findings

    async def _fall(
        self, gates: Sequence[Gate], lead: Lead, query: Query, deadline: float, findings: Findings
    ) -> None:
        known = _known_fields(lead, gates[0].provider.kind)
        for gate in gates:
            if lead.answered.get(gate.name, USELESS) != USELESS:
                continue
            reason = _OBJECTED if findings.objection else _why_not(gate, query, known)
            if reason is not None:
                findings.skipped[gate.name] = reason
                continue
            question = _question(lead, _wanting(query, gate, known), deadline)
            asking = Asking(question, useless=int(gate.name in lead.answered))
            findings.under_way[asyncio.current_task()] = asking
            answer = await gate.ask(asking)
            findings.answers[gate.name] = answer
            if asking.useless:
                findings.useless.add(gate.name)
            if isinstance(answer, Found):
                if answer.employers:
                    answer = without_job_elsewhere(answer, owners(query.domains))
                said = usable(answer, gate.provider.kind.section)
                # An `unknown` verdict does not spare the next provider.
                known |= {name for name, value in said.items() if value != UNKNOWN}


def _wanting(query: Query, gate: Gate, known: set[str]) -> Query:
    """Note the fields wanted from this provider: some vendors can be told, and charge for nothing else."""
    wanted = frozenset(gate.provider.required - _with_implied(known))
    return replace(query, wanted=wanted) if wanted and not gate.provider.is_free else query


def _question(lead: Lead, query: Query, deadline: float) -> Question:
    urgency = -math.inf if math.isnan(lead.priority) else lead.priority
    return Question(query, deadline, label(lead.id), urgency, lead.newer_than)


async def _takes_long(falls: Sequence[asyncio.Task[None]], findings: Findings) -> bool:
    """Wait; return True when some kinds are done and others are not, a moment later, because a vendor is late.

    If instead this daemon is slow, every lead would cost an extra write just when it is busiest.
    """
    if not falls:
        return False
    _, waiting = await asyncio.wait(falls, return_when=asyncio.FIRST_COMPLETED)
    while waiting:
        _, waiting = await asyncio.wait(waiting, timeout=_PATIENCE_SECONDS)
        asked = (findings.under_way.get(fall) for fall in waiting)
        if any(each and each.outside_seconds >= _PATIENCE_SECONDS for each in asked):
            return True
    return False


def _why_not(gate: Gate, query: Query, known: set[str]) -> str | None:
    """Return why this provider is not asked, as a short phrase; `None` to ask it."""
    provider = gate.provider
    if (why := unfit(provider, query)) is not None:
        return why
    if provider.required and provider.required <= _with_implied(known):
        return _NOT_NEEDED
    return None


def _known_fields(lead: Lead, kind: Kind) -> set[str]:
    """Return the fields that earlier attempts of this run filled; older values are there to be refreshed."""
    asked = [name for name, said in lead.answered.items() if said == FOUND]
    if not asked:
        return set()
    provenance = mapping(mapping(lead.enriched_data.get(METADATA)).get("provenance"))
    origins = mapping(provenance.get(kind.section))
    section = mapping(lead.enriched_data.get(kind.section))
    # `Unknown` does not stop the next provider from being asked: the merge will not keep it.
    filled = {name for name, value in section.items() if not is_blank(value)}
    return {name for name in filled if origins.get(name) in asked}


def _with_implied(known: set[str]) -> set[str]:
    """Add what is implied: a head count says more than its range, so no provider is asked for the range alone."""
    return known | {"employee_range"} if "employee_count" in known else known
