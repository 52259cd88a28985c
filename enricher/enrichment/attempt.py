"""From a lead to its outcome: its subject, who is asked about it, and what follows from the answers.

The providers are asked as a waterfall: the kinds at once, and within a kind one provider after the other. The
next provider of a kind is asked only while fields that it can fill are still missing. A provider that
answered in an earlier attempt of the same run is not asked again. Once the person has objected, no
further provider of any kind is asked. Every gate respects the lead's deadline, so whatever has been
answered by then is kept.

Where a lead may cost only so much, a call that might take it beyond that is not made; the next provider may be
cheaper, and a kept answer costs nothing. A provider that would have to be asked again, but never could be for what
the others cost, is not waited for.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import Enum, auto
from random import Random
from typing import Any

from loguru import logger

from enricher.answer import (
    Answer,
    Capped,
    Found,
    Held,
    Kind,
    NotFound,
    Preparing,
    Query,
    Throttled,
    Unavailable,
    Unwanted,
)
from enricher.calls.ceiling import MILLION, Ceiling, Payer, Spending
from enricher.calls.order import FleetOrder
from enricher.calls.question import Asking, Gate, Question
from enricher.catalogue import CNPJ, WEBSITE
from enricher.enrichment.conclude import (
    FOUND,
    USELESS,
    AttemptPolicy,
    Case,
    Findings,
    Preference,
    Round,
    conclude,
    conclude_objection,
    conclude_unasked,
    conclude_unfinished,
    progress,
)
from enricher.enrichment.finding import (
    NOT_NEEDED,
    SAME_RECORD,
    domain_of,
    found_domain,
    is_settled,
    knowing,
    settled,
)
from enricher.enrichment.rechecks import NEVER, Rechecks, conclude_recheck, left_to_refresh
from enricher.fields import FIELDS
from enricher.identity.identify import (
    NO_WORDS,
    Identity,
    OwnWords,
    identify,
    older_mark,
    read_subject,
    subject_of,
)
from enricher.lead import (
    SUBJECT,
    Completed,
    Document,
    Eligibility,
    End,
    Failed,
    Inputs,
    Lead,
    LeadId,
    Outcome,
    Pressure,
    Progress,
    Reason,
    Recheck,
    Rechecked,
    Retrying,
    Subject,
    Withdrawn,
)
from enricher.mongo.secret import Keyring
from enricher.privacy.suppression import Permission
from enricher.process import shortage
from enricher.providers.http import unfit
from enricher.telemetry import metrics
from enricher.telemetry.log import label, trace_of
from enricher.values.merge import (
    BY_FIELD,
    FLAGS,
    METADATA,
    MISMATCH,
    SOCIAL,
    flags_of,
    owners,
    usable,
    without_job_elsewhere,
)
from enricher.values.storable import is_blank, mapping
from enricher.values.types import NETWORKS, UNKNOWN

# Who is asked, and in which order.

_NOT_NEEDED = "nothing was missing"
_PATIENCE_SECONDS = 0.25
"""Providers that answer normally differ by less than this, and cost no extra write."""
_OBJECTED = "the person objected"
_NOT_OPEN = "the lead may not be asked about as a person"
_NOT_AGAIN = "not asked again by a recheck"
_NOT_OF_KINDS = "not of the kinds that are asked for"
_LOST = Throttled(reason="the lead is in other hands")
NOT_ALLOWED = frozenset({_OBJECTED, _NOT_OPEN, _NOT_OF_KINDS})
"""Why no provider of a kind may be asked about a lead."""
_TRIES_OF_SHARED = 4


@dataclass(frozen=True, slots=True)
class Scope:
    """What may be asked about the leads of one source. By default everything, at any time and at any cost."""

    kinds: frozenset[Kind] = frozenset(Kind)
    look: Callable[[LeadId], Awaitable[Eligibility]] | None = None
    """Reads from the database whether a lead meets its source's conditions now; `None` where there are none."""
    minds_persons: bool = False
    """There is a condition for asking about a lead as a person."""
    only: frozenset[str] | None = None
    """In a recheck, the providers that are asked again; `None` for all."""
    ceiling: Ceiling | None = None
    """The most that a lead may cost; `None` where it may cost anything."""

    def why_not(self, name: str) -> str | None:
        """Return why a provider is not asked in a recheck; `None` if it is."""
        return _NOT_AGAIN if self.only is not None and name not in self.only else None

    def doubt(self, id_: LeadId, kind: Kind) -> Callable[[], Awaitable[bool]] | None:
        """Return what tells whether a provider of this kind still may be asked about the lead; `None` if it
        always may."""
        look = self.look
        if look is None:
            return None

        async def may_ask() -> bool:
            standing = await look(id_)
            return standing.is_lead and (kind is not Kind.PERSON or standing.is_open)

        return may_ask


EVERYTHING = Scope()


class Waterfall:
    """The providers of one daemon, in the order of preference within each kind."""

    def __init__(
        self,
        gates: Sequence[Gate],
        without_key: Mapping[str, str],
        standing: FleetOrder | None = None,
    ) -> None:
        """`standing` is the fleet's own order of asking (`calls/order.py`), where it has one."""
        self._gates = gates
        self._without_key = without_key
        self.gone: Sequence[str] = tuple(without_key)
        """Names of the providers that are not asked: without a key, or turned off."""
        self._standing = standing or FleetOrder()
        by_kind = ([gate for gate in gates if gate.provider.kind is kind] for kind in Kind)
        self._by_kind = [gates for gates in by_kind if gates]
        free = [gate for gate in gates if gate.provider.is_free]
        self.paid: Sequence[Gate] = [gate for gate in gates if not gate.provider.is_free]
        """The gates to providers that cost money."""
        self.asked: Sequence[Gate] = [gate for gate in gates if not gate.provider.is_rule]
        """The gates to providers that are somebody else's: their limits and holds are the fleet's."""
        self.free = frozenset(gate.name for gate in free)
        """Names of the providers that cost nothing."""
        finders = [gate for gate in gates if gate.provider.finds_domain]
        self.finders = frozenset(gate.name for gate in finders)
        """Names of the providers that find a company's domain by its name: what they say counts last."""
        vendors = [gate for gate in self.paid if gate.name not in self.finders]
        order = [gate.name for gate in (*vendors, *free, *finders)]
        self.preference = Preference(order, self.free, self.finders)
        """Whose values win in the merge."""
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
        self,
        lead: Lead,
        query: Query,
        seconds: float,
        keep: Callable[[Findings], Awaitable[None]],
        scope: Scope = EVERYTHING,
        spending: Spending | None = None,
    ) -> Findings:
        """Ask every kind at once, for at most `seconds`, as far as it is in scope, and as far as `spending` allows.

        `keep` receives what was found so far, once, when one kind is done and another is still busy.
        """
        findings = Findings(skipped=self._out_of(scope))
        deadline = shortage.awake() + seconds
        asked = [gates for gates in self._by_kind if gates[0].provider.kind in scope.kinds]
        if spending is not None:
            _note_wanted(asked, lead, query, scope, spending)
        async with asyncio.TaskGroup() as group:
            falls = [
                group.create_task(self._fall(gates, lead, query, deadline, findings, scope, payer))
                for place, gates in enumerate(asked)
                for payer in (spending if spending is None else Payer(spending, place),)
            ]
            if await _takes_long(falls, findings) and self._is_worth_keeping(findings):
                await keep(findings)
        if spending is not None and not spending.is_lost:
            self._cap_excluded(findings, spending)
        return findings

    def _cap_excluded(self, findings: Findings, spending: Spending) -> None:
        """Wait for no provider that could never be asked, for what the others have cost meanwhile."""
        for gate in self.paid:
            is_to_come = gate.name in findings.to_come
            is_waited_for = _may_be_retried(findings.answers.get(gate.name))
            if is_waited_for and not is_to_come and not spending.may_yet_afford(gate.cost):
                findings.cap(gate.name)

    def _is_worth_keeping(self, findings: Findings) -> bool:
        """Return whether a paid provider answered ("not found" may be charged like any answer). Data about
        a person who objected is not stored even for a moment."""
        is_vain = findings.objection or findings.is_withdrawn
        return not is_vain and bool(findings.answered - self.free)

    def _out_of(self, scope: Scope) -> dict[str, str]:
        """Return why providers are not asked whatever the lead is."""
        others = [name for name, kind in self.kinds.items() if kind not in scope.kinds]
        return {**self._without_key, **dict.fromkeys(others, _NOT_OF_KINDS)}

    async def ask_free(
        self, lead: Lead, query: Query, seconds: float, why: str, scope: Scope = EVERYTHING
    ) -> Findings:
        """Ask only rules that need no network, about a lead that no paid call is worth or allowed for; `why` says so."""
        findings = Findings(skipped=self._out_of(scope))
        deadline = shortage.awake() + seconds
        for gate in self._gates:
            if gate.provider.kind not in scope.kinds:
                continue
            reason = unfit(gate.provider, query) if gate.provider.is_rule else why
            if reason is not None:
                findings.skipped[gate.name] = reason
                continue
            question = _question(lead, query, deadline, gate)
            findings.note(gate.name, await gate.ask(Asking(question)))
        return findings

    async def _fall(
        self,
        gates: Sequence[Gate],
        lead: Lead,
        query: Query,
        deadline: float,
        findings: Findings,
        scope: Scope,
        payer: Payer | None,
    ) -> None:
        known, spared = _known_fields(lead, gates[0].provider.kind), set[str]()
        if finders := [gate for gate in gates if gate.name in self.finders]:
            query = await self._find_domain(finders, lead, query, deadline, findings, scope, payer)
            known |= _found_fields(finders, findings)
            spared = _spared(finders, lead, findings)
        for gate in self._arranged(gates, query):
            is_done = lead.answered.get(gate.name, USELESS) != USELESS
            if gate.provider.finds_domain or (
                is_done and not self._is_wanted_again(gate, lead, query)
            ):
                continue
            filled = set[str]() if is_done else known
            why_not = _why_not(gate, query, filled, scope)
            reason = _OBJECTED if findings.objection else why_not
            reason = reason or (SAME_RECORD if gate.name in spared else None)
            if reason is not None:
                findings.skipped[gate.name] = reason
                continue
            wanting = _wanting(query, gate, known)
            pays = payer and _wants_to_pay(payer, gate)
            question = _question(lead, wanting, deadline, gate, scope, pays)
            answer = await _answer(gate, question, lead, findings, scope)
            if answer is None:
                continue
            findings.note(gate.name, answer)
            if isinstance(answer, Found):
                if answer.employers:
                    answer = without_job_elsewhere(answer, owners(query.domains))
                said = usable(answer, gate.provider.kind.section)
                # An `unknown` verdict does not spare the next provider.
                known |= {name for name, value in said.items() if value != UNKNOWN}
                if answer.cnpj and query.cnpj is None:
                    query = replace(query, cnpj=answer.cnpj, cnpj_of=str(said.get("name") or ""))
        if payer is not None:
            payer.spending.want(payer.place, 0)

    def _is_wanted_again(self, gate: Gate, lead: Lead, query: Query) -> bool:
        """Return whether its answer, kept since an earlier attempt, may hold the number that the register is still to
        be asked about."""
        if gate.name != WEBSITE.name or query.cnpj is not None or CNPJ.name in lead.answered:
            return False
        return CNPJ.name in self.free and lead.answered.get(WEBSITE.name) == FOUND

    def _arranged(self, gates: Sequence[Gate], query: Query) -> Sequence[Gate]:
        """Return the gates of one kind in the order of asking about this lead. Who wins is another order."""
        order = self._standing.order
        if not order.places:
            return gates
        by_name = {gate.name: gate for gate in gates}
        names = order.arrange([gate.name for gate in gates])
        able = [gate.name for gate in gates if not gate.provider.is_free and gate.is_at_leisure]
        first = order.explore(able, explored_by(gates[0].provider.kind, query))
        if first is not None and unfit(by_name[first].provider, query) is None:
            place = next(n for n, name in enumerate(names) if name not in self.free)
            names.remove(first)
            names.insert(place, first)
        return [by_name[name] for name in names]

    async def _find_domain(
        self,
        finders: Sequence[Gate],
        lead: Lead,
        query: Query,
        deadline: float,
        findings: Findings,
        scope: Scope,
        payer: Payer | None,
    ) -> Query:
        """Return the query with the company's domain, if it can be told by the name; see `finding.py`."""
        domain = found_domain(lead.enriched_data, self._found_in(lead))
        answers: dict[str, Answer] = {}
        for gate in finders:
            if gate.name in lead.answered and lead.answered[gate.name] != USELESS:
                continue
            reason = _OBJECTED if findings.objection else scope.why_not(gate.name)
            reason = reason or unfit(gate.provider, query)
            if reason is None and (domain or is_settled(answers)):
                reason = NOT_NEEDED
            if reason is not None:
                findings.skipped[gate.name] = reason
                continue
            pays = payer and _wants_to_pay(payer, gate)
            question = _question(lead, query, deadline, gate, scope, pays)
            answer = await _answer(gate, question, lead, findings, scope)
            if answer is not None:
                answers[gate.name] = answer
        return _heed(settled(answers), findings, knowing(query, domain))

    def _found_in(self, lead: Lead) -> frozenset[str]:
        """Return the finders that found something in earlier attempts of the same run."""
        return frozenset(name for name in self.finders if lead.answered.get(name) == FOUND)


def _wants_to_pay(payer: Payer, gate: Gate) -> Payer | None:
    """Return who pays for the next call, and note that it is wanted; `None` where nobody has to."""
    if gate.provider.is_free:
        return None
    payer.spending.want(payer.place, gate.cost)
    return payer


def _note_wanted(
    asked: Sequence[Sequence[Gate]],
    lead: Lead,
    query: Query,
    scope: Scope,
    spending: Spending,
) -> None:
    """Note what the first call of each kind costs, before any is made."""
    for place, gates in enumerate(asked):
        known = _known_fields(lead, gates[0].provider.kind)
        first = (
            gate.cost
            for gate in gates
            if not gate.provider.is_free
            and lead.answered.get(gate.name, USELESS) == USELESS
            and _why_not(gate, query, known, scope) is None
        )
        spending.want(place, next(first, 0))


def _heed(answers: Mapping[str, Answer], findings: Findings, query: Query) -> Query:
    """Note the finders' answers, and return the query with the domain that they found. Once there is one, nobody
    waits for a finder that cannot be asked now."""
    finds = [each for each in answers.values() if isinstance(each, Found)]
    for name, answer in answers.items():
        if finds and not isinstance(answer, Found | NotFound):
            findings.skipped[name] = NOT_NEEDED
        else:
            findings.note(name, answer)
    return knowing(query, domain_of(finds[0])) if finds else query


def _found_fields(finders: Sequence[Gate], findings: Findings) -> set[str]:
    """Return the fields that the finders' records filled."""
    finds = (findings.answers.get(gate.name) for gate in finders)
    section = Kind.COMPANY.section
    return {name for each in finds if isinstance(each, Found) for name in usable(each, section)}


def _spared(finders: Sequence[Gate], lead: Lead, findings: Findings) -> set[str]:
    """Return the providers whose record a finder has brought."""
    return {
        gate.provider.same_record
        for gate in finders
        if lead.answered.get(gate.name) == FOUND
        or isinstance(findings.answers.get(gate.name), Found)
    }


def explored_by(kind: Kind, query: Query) -> str | None:
    """Return by what it is decided who is asked first about a lead, the same for all with the same question."""
    return query.company_domain if kind is Kind.COMPANY else query.email_key


async def _answer(
    gate: Gate, question: Question, lead: Lead, findings: Findings, scope: Scope
) -> Answer | None:
    """Ask; return `None` if the lead may not have this asked about it, or cannot pay for it. A question is shared,
    so it may have ended for the sake of another lead that left meanwhile: then ask again."""
    is_about_person = scope.minds_persons and gate.provider.kind is Kind.PERSON
    if is_about_person and not await _may_ask(gate, lead, findings, scope):
        return None
    for _ in range(_TRIES_OF_SHARED):
        if findings.is_withdrawn:
            return None
        asking, answer = await _ask_while_affordable(gate, question, lead, findings)
        if isinstance(answer, Capped):
            findings.cap(gate.name)
            return None
        if not isinstance(answer, Unwanted):
            if asking.useless:
                findings.useless.add(gate.name)
            if question.payer is not None and asking.is_open:
                findings.to_come.add(gate.name)
            return answer
        if not await _may_ask(gate, lead, findings, scope):
            return None
    return Throttled(reason="its lead comes and goes")


async def _ask_while_affordable(
    gate: Gate, question: Question, lead: Lead, findings: Findings
) -> tuple[Asking, Answer]:
    """Ask; where what other kinds have under way leaves too little, once more when that has ended."""
    payer = question.payer
    while True:
        asking = Asking(question, useless=int(gate.name in lead.answered))
        findings.under_way[asyncio.current_task()] = asking
        answer = await gate.ask(asking)
        if not isinstance(answer, Capped) or payer is None:
            return asking, answer
        if payer.spending.is_lost:
            return asking, _LOST
        if not payer.spending.may_yet_afford(gate.cost):
            return asking, answer
        if not payer.can_afford(gate.cost):
            await payer.spending.wait(question.deadline - shortage.awake())


def _may_be_retried(answer: Answer | None) -> bool:
    """Return whether the lead would wait for this provider and ask again."""
    if isinstance(answer, Unavailable):
        return not answer.is_final
    return isinstance(answer, Preparing | Throttled | Held)


async def _may_ask(gate: Gate, lead: Lead, findings: Findings, scope: Scope) -> bool:
    """Look at the lead, and note why it may not be asked about; a kept answer would need its consent as well."""
    if scope.look is None:
        return True
    standing = await scope.look(lead.id)
    if not standing.is_lead:
        findings.is_withdrawn = True
    elif gate.provider.kind is Kind.PERSON and not standing.is_open:
        findings.skipped[gate.name] = _NOT_OPEN
    else:
        return True
    return False


def _wanting(query: Query, gate: Gate, known: set[str]) -> Query:
    """Note the fields wanted from this provider: some vendors can be told, and charge for nothing else."""
    required = gate.provider.required
    if not required or gate.provider.is_free:
        return query
    wanted = frozenset(required - with_implied(known))
    return replace(query, wanted=wanted) if wanted else query


def _question(
    lead: Lead,
    query: Query,
    deadline: float,
    gate: Gate,
    scope: Scope = EVERYTHING,
    payer: Payer | None = None,
) -> Question:
    urgency = -math.inf if math.isnan(lead.priority) else lead.priority
    doubt = scope.doubt(lead.id, gate.provider.kind)
    is_recheck = scope.only is not None
    newer_than = lead.newer_than
    return Question(query, deadline, label(lead.id), urgency, newer_than, doubt, is_recheck, payer)


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


def _why_not(gate: Gate, query: Query, known: set[str], scope: Scope) -> str | None:
    """Return why this provider is not asked, as a short phrase; `None` to ask it."""
    provider = gate.provider
    if (why := scope.why_not(gate.name) or unfit(provider, query)) is not None:
        return why
    if provider.required and provider.required <= with_implied(known):
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


def with_implied(known: AbstractSet[str]) -> AbstractSet[str]:
    """Add what is implied: a head count says more than its range, so no provider is asked for the range alone."""
    return known | {"employee_range"} if "employee_count" in known else known


# What an earlier run left on a lead and still counts: only what is about the same subject.
#
# A writer may correct the address or the domain at any moment, replace the whole lead, or save a copy that
# was read long ago. So nothing is trusted just because it is there:
#
#     company section, its profiles        count while the company is the same
#     person and e-mail section, profiles  count while the mailbox is the same
#     answers of company providers         count while the company is the same
#     answers of e-mail providers          count while the mailbox is the same
#     answers of person providers          count while both are the same: which job is the lead's depends on
#                                          its company, so the kept answer is judged again, at no cost
#
# A provider that found something is asked again when the data is gone or somebody else's: a writer may have
# put an earlier copy in its place. Data that is dropped takes its provenance, alternatives and confidence
# along. What other writers put beside our data stays. Attempts spent so far were spent on the other question.
# Data is ours if it has a provenance; where it is known to be about somebody else, so is every field of the
# contract, because a writer's model may have lost the provenance.


class _Proof(Enum):
    """What is known about the subject of one kind's data."""

    SAME = auto()
    OTHER = auto()
    NONE = auto()


def carry_over(
    lead: Lead, identity: Identity, about: Subject, kinds: Mapping[str, Kind]
) -> tuple[Lead, bool]:
    """Return the lead with only what counts, and whether any of its data was dropped. `about` is the subject
    of the lead now (`identity`), `kinds` are the providers' kinds by name."""
    if not lead.answered and not lead.enriched_data:
        return lead, False
    proofs = _proofs(lead.enriched_data, lead.subject, identity, about)
    answered = {
        name: said
        for name, said in _answered(lead, identity, about, kinds).items()
        if said != FOUND or _is_there(kinds.get(name), proofs)
    }
    if not lead.enriched_data or all(proof is _Proof.SAME for proof in proofs.values()):
        return replace(lead, answered=answered), False
    data = _without_others(lead.enriched_data, proofs)
    return replace(lead, answered=answered, enriched_data=data), data != lead.enriched_data


def begins_anew(lead: Lead, identity: Identity, about: Subject) -> bool:
    """Return True when the attempts so far were made on another question. False for a lead whose process
    died: only counted attempts bring a lead that kills its process to an end."""
    if lead.interruptions or lead.subject is None:
        return False
    if isinstance(lead.subject, str):
        return lead.subject != _older(identity)
    return read_subject(lead.subject) not in (None, about)


def is_of_data(data: object, noted: object, identity: Identity, about: Subject) -> bool:
    """Return False when some of it is known to be about another mailbox or company. `noted` is
    `enrichment.subject`. A section that was erased, as a person's is who objected, is about nobody."""
    found = mapping(data)
    proofs = _proofs(found, noted, identity, about)
    return not any(proofs[kind] is _Proof.OTHER and found.get(kind.section) for kind in Kind)


# Who answered


def _is_there(kind: Kind | None, proofs: Mapping[Kind, _Proof]) -> bool:
    """Return whether what a provider found is still on the lead. A provider whose find is gone is asked
    again, or the data would never come back."""
    return all(proofs[each] is _Proof.SAME for each in ([kind] if kind else Kind))


def _answered(
    lead: Lead, identity: Identity, about: Subject, kinds: Mapping[str, Kind]
) -> Mapping[str, str]:
    if not lead.answered:
        return {}
    if isinstance(lead.subject, str):
        return lead.answered if lead.subject == _older(identity) else {}
    noted = read_subject(lead.subject)
    if noted is None:
        return {}
    if noted == about:
        return lead.answered
    return {
        name: said
        for name, said in lead.answered.items()
        if _is_same_question(kinds.get(name), noted, about)
    }


def _is_same_question(kind: Kind | None, noted: Subject, about: Subject) -> bool:
    match kind:
        case Kind.COMPANY:
            return noted.company == about.company
        case Kind.EMAIL:
            return noted.mailbox == about.mailbox
    return noted == about


def _older(identity: Identity) -> str:
    return older_mark(identity.email_key, identity.company_domain)


# The subject of the data


def _proofs(
    data: Mapping[str, Any], noted: object, identity: Identity, about: Subject
) -> dict[Kind, _Proof]:
    """Judge by the subject stored beside the data. Without one, an older version's mark is proof too; the
    subject noted with the answers can prove a difference but not a match, because the data may be an
    earlier copy. The company's domain among the data likewise proves only a difference."""
    beside = read_subject(mapping(data.get(METADATA)).get(SUBJECT))
    if not data:
        return dict.fromkeys(Kind, _Proof.NONE)
    if beside is not None:
        return _halves(beside, about, _Proof.SAME)
    if isinstance(noted, str):
        is_same = noted == _older(identity)
        return dict.fromkeys(Kind, _Proof.SAME if is_same else _Proof.OTHER)
    if _lost_its_metadata(data) or _names_another(data, identity):
        return dict.fromkeys(Kind, _Proof.OTHER)
    return _halves(read_subject(noted) or about, about, _Proof.NONE)


def _lost_its_metadata(data: Mapping[str, Any]) -> bool:
    """Return whether the data has every section that a run writes but no metadata: a typed model or a copy
    dropped it. Fewer sections may be another writer's own."""
    sections = {*(kind.section for kind in Kind), SOCIAL}
    return METADATA not in data and sections <= data.keys()


def _names_another(data: Mapping[str, Any], identity: Identity) -> bool:
    """Return whether data that lost its subject names another company's domain. If that is the same company's
    second domain, its data is found again at no cost."""
    named = owners([mapping(data.get(Kind.COMPANY.section)).get("domain")])
    return bool(named) and named.isdisjoint(owners(identity.query.domains))


def _halves(found_for: Subject, about: Subject, if_equal: _Proof) -> dict[Kind, _Proof]:
    company = if_equal if found_for.company == about.company else _Proof.OTHER
    person = if_equal if found_for.mailbox == about.mailbox else _Proof.OTHER
    return {Kind.COMPANY: company, Kind.PERSON: person, Kind.EMAIL: person}


# What stays of the data


def _without_others(data: Mapping[str, Any], proofs: Mapping[Kind, _Proof]) -> Document:
    kept, known = dict(data), mapping(data.get(METADATA))
    profiles = mapping(data.get(SOCIAL))
    by_field = {key: mapping(known.get(key)) for key in BY_FIELD if key in known}
    for kind, proof in proofs.items():
        if proof is _Proof.SAME:
            continue
        ours = _ours(kind, proof, mapping(by_field.get("provenance", {}).get(kind.section)))
        _drop(kept, kind.section, ours)
        gone = [each for each in NETWORKS if proof is _Proof.OTHER or f"{each}_handle" in ours]
        _drop(profiles, kind.value, frozenset(gone))
        for sections in by_field.values():
            sections.pop(kind.section, None)
    if profiles:
        kept[SOCIAL] = profiles
    if known:
        flags = [flag for flag in flags_of(data) if flag != MISMATCH]
        kept[METADATA] = known | by_field | ({FLAGS: flags} if FLAGS in known else {})
    return kept


def _ours(kind: Kind, proof: _Proof, origins: Mapping[str, Any]) -> frozenset[str]:
    return frozenset(origins) | (FIELDS[kind] if proof is _Proof.OTHER else frozenset())


def _drop(fields: Document, section: str, names: frozenset[str]) -> None:
    if values := mapping(fields.get(section)):
        fields[section] = {name: each for name, each in values.items() if name not in names} or None


_OVER_QUOTA = "over the plan's quota"
_NO_MEMORY = "This lead waits: the process that worked on it could have no more memory."
_NO_MEMORY_FOR = timedelta(seconds=60)
_DOUBLED = "The enriched data holds a field more than once."
_INTERNAL = "An internal error stopped the work on this lead: {name}."


@dataclass(frozen=True, slots=True)
class Subjects:
    """Tells whom inputs are about: by the operator's words, and with the fleet's key, so all its daemons agree."""

    keyring: Keyring
    words: OwnWords = NO_WORDS

    def of(self, identity: Identity) -> Subject:
        """Return the subject of an identity."""
        return subject_of(self.keyring.key, identity.email_key, identity.company_key)

    def about(self, inputs: Inputs) -> Subject:
        """Return the subject of these inputs, also where it is nobody."""
        return self.of(identify(inputs, self.words))

    def whose(self, inputs: Inputs) -> Subject | None:
        """Return whom inputs are about; `None` where they give nothing to ask."""
        identity = identify(inputs, self.words)
        return None if identity.reason is not None else self.of(identity)

    def is_named_only(self, inputs: Inputs) -> bool:
        """Return whether a company's name is all that these inputs give to go by."""
        identity = identify(inputs, self.words)
        return identity.sought is not None and not (identity.email or identity.cnpj)


@dataclass(slots=True)
class Enrichment:
    """Works on leads without touching the database; one instance serves all leads of a daemon."""

    waterfall: Waterfall
    subjects: Subjects
    policy: AttemptPolicy
    permission: Permission | None = None
    """Asked before anything is paid for; `None` permits everything."""
    scope: Scope = EVERYTHING
    rechecks: Rechecks = NEVER
    random: Random = field(default_factory=Random)

    async def work_on(
        self,
        lead: Lead,
        keep: Callable[[Progress], Awaitable[None]],
        note_cost: Callable[[int], Awaitable[bool]] | None = None,
    ) -> tuple[End, Subject | None]:
        """Return the outcome of this attempt, and its subject.

        `keep` receives what one provider found while another is still busy, and `note_cost` what the lead may
        have cost by the next call, in millionths; without it no ceiling can be held. A bug that one lead triggers
        becomes that lead's outcome, and does not stop the others.
        """
        if lead.is_doubled:
            return Failed({}, _DOUBLED), None  # so the settle leaves the data alone
        try:
            case = self._case(lead)
            spending = self._spending(case, note_cost)
            end, subject = await self._work(case, keep, spending)
        except Exception as error:  # noqa: BLE001 - see above
            outcome = _broken(lead, error)
            if lead.recheck is not None:
                return self._not_rechecked(lead, lead.recheck, outcome), None
            return outcome, self._whose(lead)
        if spending is None or isinstance(end, Withdrawn):
            return end, subject
        return replace(end, spent=spending.total), subject

    def _not_rechecked(self, lead: Lead, recheck: Recheck, outcome: Outcome) -> Rechecked:
        """Return the outcome of a recheck that broke off: the lead stays as it stands."""
        if isinstance(outcome, Retrying) and self.rechecks.after:
            return self._put_off(lead, recheck, outcome.due_in.total_seconds())
        return left_to_refresh(lead, "failed")

    def _put_off(self, lead: Lead, recheck: Recheck, seconds: float) -> Rechecked:
        coming = self.rechecks.put_off(seconds, recheck, lead.rechecks, datetime.now(UTC))
        return replace(
            left_to_refresh(lead, "put_off"), rechecks=lead.rechecks, next_recheck=coming
        )

    def _whose(self, lead: Lead) -> Subject | None:
        """Return the subject of a lead that went wrong, or `None`: working it out may be what failed."""
        try:
            return self.subjects.about(lead.inputs)
        except Exception:  # noqa: BLE001 - already logged
            return None

    def _spending(
        self, case: Case, note_cost: Callable[[int], Awaitable[bool]] | None
    ) -> Spending | None:
        """Return what the lead may still cost. What was asked about somebody else does not count."""
        ceiling = self.scope.ceiling
        if ceiling is None or note_cost is None:
            return None
        spent = case.lead.spent
        so_far = 0 if case.begins_anew else spent
        return Spending(ceiling.most, note_cost, so_far, durable=spent)

    async def _work(
        self,
        case: Case,
        keep: Callable[[Progress], Awaitable[None]],
        spending: Spending | None,
    ) -> tuple[End, Subject | None]:
        lead, identity = case.lead, case.identity
        if lead.recheck is not None:
            return await self._recheck(case, lead.recheck, spending)
        if case.lead.attempt > self.policy.retries + 1:
            outcome: Outcome = conclude_unfinished(self._round(case, Findings()))
            note_found(identity.query, outcome)
            return self._with_recheck(lead, outcome), case.subject
        if identity.reason is not None:
            return await self._unasked(case, identity.reason), case.subject
        refusal = None
        if self.permission is not None:
            refusal = await self.permission.refusal(case.lead, identity, case.subject)
        if refusal is Reason.SUPPRESSED:
            return self._objected(case, Findings())
        if refusal is not None:
            return await self._unasked(case, refusal), case.subject
        return await self._ask(case, keep, spending)

    async def _ask(
        self,
        case: Case,
        keep: Callable[[Progress], Awaitable[None]],
        spending: Spending | None,
    ) -> tuple[End, Subject | None]:
        query = case.identity.query

        async def keep_findings(findings: Findings) -> None:
            await keep(progress(self._round(case, findings)))

        findings = await self.waterfall.ask(
            *(case.lead, query, self.policy.seconds, keep_findings),
            *(self.scope, spending),
        )
        if findings.objection or findings.is_withdrawn:
            return await self._end_of(case, findings)
        outcome = conclude(self._round(case, findings), self.random)
        note_found(query, outcome)
        if spending is not None:
            _note_capped(case.lead, findings, outcome, spending)
        return self._with_recheck(case.lead, outcome), case.subject

    async def _end_of(self, case: Case, findings: Findings) -> tuple[End, Subject | None]:
        """Return the end of a lead whose person objected meanwhile, or that is no lead any more."""
        if not findings.objection:
            return Withdrawn(), case.subject
        if self.permission is not None:
            await self.permission.withdraw(case.lead, case.identity)
        return self._objected(case, findings)

    def _with_recheck(self, lead: Lead, outcome: Outcome) -> Outcome:
        """Plan the next recheck of a lead that completed thin."""
        may_come_back = self.rechecks.after or lead.rechecks
        if not may_come_back or not isinstance(outcome, Completed):
            return outcome
        said = outcome.data, outcome.answered, self.waterfall.kinds
        coming = self.rechecks.plan(*said, lead.rechecks, self.random)
        if coming is None and not lead.rechecks:
            return outcome
        return replace(outcome, rechecks=lead.rechecks, next_recheck=coming)

    async def _recheck(
        self, case: Case, recheck: Recheck, spending: Spending | None
    ) -> tuple[End, Subject | None]:
        """Ask those again whose answer can have changed. What may not be asked now waits; what must not be asked
        about the lead any more is left to its refresh."""
        lead, rules = case.lead, self.rechecks
        again = rules.again(lead.enriched_data, lead.answered, self.waterfall.kinds)
        is_void = recheck.since is None or case.begins_anew or case.is_stripped
        is_over = lead.rechecks >= len(rules.after) or lead.attempt > self.policy.retries + 1
        if is_void or is_over or not again or case.identity.reason is not None:
            return left_to_refresh(lead, "void"), None
        if self.permission is not None and await self.permission.has_objected(case.identity):
            return self._objected(case, Findings())
        if seconds := rules.enough.seconds_left():
            return self._put_off(lead, recheck, seconds), None
        findings = await self._ask_again(lead, case.identity.query, again, recheck, spending)
        rules.enough.note(findings.answers.values())
        if findings.objection or findings.is_withdrawn:
            return await self._end_of(case, findings)
        this = self._round(case, findings)
        outcome = conclude_recheck(this, recheck, rules, self.waterfall.kinds, self.random)
        if spending is not None:
            _note_capped(lead, findings, outcome, spending)
        return outcome, case.subject

    async def _ask_again(
        self,
        lead: Lead,
        query: Query,
        again: frozenset[str],
        recheck: Recheck,
        spending: Spending | None,
    ) -> Findings:
        others = {name: said for name, said in lead.answered.items() if name not in again}
        asking = replace(lead, answered=others, newer_than=recheck.since)
        scope = replace(self.scope, only=again)

        async def keep_nothing(_: Findings) -> None:
            """What is found is kept with the answers, and written when the recheck ends."""

        seconds = self.policy.seconds
        return await self.waterfall.ask(asking, query, seconds, keep_nothing, scope, spending)

    def _case(self, lead: Lead) -> Case:
        """Build the case. The inputs may have been corrected: only what is about the same subject counts."""
        identity = identify(lead.inputs, self.subjects.words)
        about = self.subjects.of(identity)
        is_first = begins_anew(lead, identity, about)
        lead, is_stripped = carry_over(lead, identity, about, self.waterfall.kinds)
        lead = replace(lead, attempt=1) if is_first else lead
        return Case(lead, identity, about, is_first, is_stripped)

    def _objected(self, case: Case, findings: Findings) -> tuple[Outcome, Subject]:
        return conclude_objection(self._round(case, findings)), case.subject.without_mailbox

    async def _unasked(self, case: Case, reason: Reason) -> Outcome:
        """Make no paid call, but still ask the providers that cost nothing."""
        identity = case.identity
        why = _OVER_QUOTA if reason is Reason.OVER_QUOTA else identity.no_company_domain
        findings = await self.waterfall.ask_free(
            case.lead, identity.query, self.policy.seconds, why, self.scope
        )
        return conclude_unasked(self._round(case, findings), reason)

    def _round(self, case: Case, findings: Findings) -> Round:
        return Round(case, findings, self.waterfall.preference, datetime.now(UTC), self.policy)


def _broken(lead: Lead, error: Exception) -> Outcome:
    """Return the outcome of a lead that hit a bug, or for which there was no memory."""
    first = _first_of(error)
    if isinstance(first, MemoryError):
        shortage.note_no_memory()
        return Retrying({}, lead.answered, _NO_MEMORY, _NO_MEMORY_FOR, attempt_spent=False)
    logger.bind(lead=label(lead.id), **trace_of(error)).error("lead.broken")
    return Failed({}, _INTERNAL.format(name=type(first).__name__))


def _first_of(error: Exception) -> Exception:
    """Unwrap the first error: the kinds are asked in a task group, which wraps what one of them raises."""
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error


# Is it worth it? Counts what the promises about quality are measured by.
#
# Everything is counted once for a lead, when it ends as completed or failed, and from what is in hand
# then. Ratios are left to whoever reads: numerator and denominator are two counters.

_CONFLICTS = {section: metrics.FIELD_CONFLICTS.labels(section) for section in metrics.SECTIONS}


def note_found(query: Query, outcome: Outcome) -> None:
    """Count whether the two things users look for were found: the company, and the e-mail verdict."""
    if not isinstance(outcome, Completed | Failed):
        return
    if query.company_domain is not None:
        metrics.WITH_COMPANY_DOMAIN.inc()
        metrics.COMPANIES_FOUND.inc(_has(outcome.data, Kind.COMPANY, "name"))
    if query.email is not None:
        metrics.WITH_ADDRESS.inc()
        metrics.VERDICTS_GIVEN.inc(_has(outcome.data, Kind.EMAIL, "status"))


def _note_capped(lead: Lead, findings: Findings, outcome: Outcome, spending: Spending) -> None:
    """Tell which providers were not asked for what they cost, once nothing more is to come."""
    if not findings.capped or isinstance(outcome, Retrying):
        return
    for name in findings.capped:
        metrics.CALLS_CAPPED.labels(name).inc()
    fields = {"spent": spending.total / MILLION, "ceiling": spending.most / MILLION}
    logger.bind(lead=label(lead.id), providers=", ".join(sorted(findings.capped)), **fields).info(
        "lead.capped"
    )


def note_ended(lead: Lead, outcome: Outcome) -> None:
    """Count what the lead took, and which provider filled which fields; call once the end is written."""
    if isinstance(outcome, Completed | Failed) and lead.attempt > 1:
        metrics.RETRIED.inc()
    if isinstance(outcome, Completed):
        _count_fields(outcome.data[METADATA])


def _has(data: Document, kind: Kind, field: str) -> bool:
    return not is_blank(mapping(data.get(kind.section)).get(field))


def _count_fields(known: Document) -> None:
    for section, origins in known["provenance"].items():
        for provider, fields in Counter(origins.values()).items():
            if filled := metrics.FILLED_BY.get((section, provider)):
                filled.inc(fields)
    for section, fields in known.get("alternatives", {}).items():
        if conflicts := _CONFLICTS.get(section):
            conflicts.inc(len(fields))
