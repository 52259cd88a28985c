"""PURE From the answers to the outcome: what the lead's status becomes, and why.

    something temporary is left     -> Retrying    (an attempt is spent only if a provider failed)
    all answered, or given up       -> Completed   if any paid provider answered, or none was asked
                                    -> Failed      if every paid provider that was asked failed
    a provider was too expensive    -> Completed   with what there is: the lead has had its share
    the person objected             -> Skipped     and data about the person is dropped
    the input gives nothing to ask  -> Skipped, or Failed when the input is invalid

What was odd about the lead goes in the metadata's `flags`: those of its `identity`,
`employer_mismatch` when a person's record names another company than the lead's, and `domain_found_by_name`.

"Not now" (throttled, held) never spends an attempt and never ends a lead; a failure does after
the configured retries. A provider whose attempts are used up is noted as failed and not asked
again in this run, while others may still be waited for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cached_property
from random import Random

from enricher.answer import (
    Answer,
    Found,
    Held,
    Kind,
    NotFound,
    Objected,
    Preparing,
    Throttled,
    Unavailable,
)
from enricher.calls.question import Asking
from enricher.enrichment.finding import BY_NAME, found_domain
from enricher.identity.identify import Identity
from enricher.lead import (
    Completed,
    Document,
    Failed,
    Lead,
    Outcome,
    Progress,
    Reason,
    Retrying,
    Skipped,
    Subject,
)
from enricher.mongo.outage import hold_delay, retry_delay, vendors_delay
from enricher.values.merge import (
    FLAGS,
    METADATA,
    MISMATCH,
    SOCIAL,
    completeness,
    flags_of,
    merge,
    metadata,
    owners,
    without_disowned_job,
    without_job_elsewhere,
    without_sections,
    works_elsewhere,
)
from enricher.values.storable import mapping

FOUND, NOT_FOUND, FAILED, USELESS = "found", "not_found", "failed", "useless"
"""Values of `answered`: each provider's result in this run. `failed`: given up on it; `useless`: its paid
answer could not be read, and it may be asked once more."""

_DEFAULT_THROTTLE_SECONDS = 60.0
_NEVER_FINISHED = "Gave up after {attempts}: the last one did not come to an end."
_PERSONAL = (Kind.PERSON.section, Kind.EMAIL.section)
_CAPPED = "capped: a call might cost more than ENRICHER_MAX_CREDITS_PER_LEAD allows"


@dataclass(frozen=True, slots=True)
class AttemptPolicy:
    """How long an attempt may take, how many come after the first, and the delay before the first of these, which
    doubles each time."""

    retries: int = 3
    delay: timedelta = timedelta(seconds=60)
    seconds: float = 60.0
    """The longest that providers are asked in one attempt."""


@dataclass(frozen=True, slots=True)
class Preference:
    """Whose values win, and what sets providers apart besides."""

    order: Sequence[str]
    """All providers, best first."""
    free: frozenset[str]
    """Those that cost nothing."""
    finders: frozenset[str] = frozenset()
    """Those that find a company's domain by its name: what they say counts last."""


@dataclass(frozen=True, slots=True, repr=False)
class Case:
    """One attempt on one lead: its identity, and what earlier attempts found about the same subject."""

    lead: Lead
    identity: Identity = field(default_factory=Identity)
    subject: Subject = field(default_factory=Subject)
    """The subject of the data."""
    begins_anew: bool = False
    """This is the first attempt on what the lead asks now."""
    is_stripped: bool = False
    """The stored lead holds data about somebody else, which `lead` omits: the rest must be written."""


@dataclass(slots=True)
class Findings:
    """The result of asking: an answer for each provider asked, a reason for each one not asked."""

    answers: dict[str, Answer] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    useless: set[str] = field(default_factory=set)
    """Providers whose paid answers could not be read."""
    capped: set[str] = field(default_factory=set)
    """Providers that were not asked for what a call may cost."""
    is_withdrawn: bool = False
    """The lead has left its source's condition: nothing more is asked, and nothing is written."""
    objection: bool = False
    """A vendor reported that the person objected to being processed."""
    under_way: dict[asyncio.Task[None] | None, Asking] = field(init=False, default_factory=dict)
    """What each kind is asking now, or asked last."""
    to_come: set[str] = field(init=False, default_factory=set)
    """Providers whose answer may yet come at no further cost: it is paid for, or a call is under way."""

    @property
    def found(self) -> dict[str, Found]:
        return {name: a for name, a in self.answers.items() if isinstance(a, Found)}

    @property
    def answered(self) -> set[str]:
        """Providers that need not be asked again in this run."""
        return {name for name, a in self.answers.items() if isinstance(a, Found | NotFound)}

    def note(self, provider: str, answer: Answer) -> None:
        """Note what a provider answered."""
        self.answers[provider] = answer
        if isinstance(answer, Objected):
            self.objection = True

    def cap(self, provider: str) -> None:
        """Note that a provider is not asked for what a call may cost."""
        self.capped.add(provider)
        self.skipped[provider] = _CAPPED
        self.answers.pop(provider, None)


@dataclass(frozen=True)
class Round:
    """A case after its providers were asked: everything the outcome depends on. What follows is worked out once."""

    case: Case
    findings: Findings
    preference: Preference
    now: datetime
    policy: AttemptPolicy = field(default_factory=AttemptPolicy)

    @cached_property
    def found(self) -> dict[str, Found]:
        return self.findings.found

    @cached_property
    def own_domains(self) -> frozenset[str]:
        """The company's domains, from the lead and from what is known of the company: it may have several."""
        section = Kind.COMPANY.section
        companies = [each.sections.get(section) for each in self.found.values()]
        known = (mapping(each) for each in (*companies, self.case.lead.enriched_data.get(section)))
        return owners((*self.case.identity.query.domains, *(each.get("domain") for each in known)))

    @cached_property
    def flags(self) -> frozenset[str]:
        """The lead's flags. The answers decide where the person works; if none says, the old flag stays."""
        employed = [each for each in self.found.values() if each.employers]
        own = self.own_domains if employed else frozenset()
        said = [works_elsewhere(each, own) for each in employed]
        was_elsewhere = MISMATCH in flags_of(self.case.lead.enriched_data)
        is_elsewhere = True in said or (was_elsewhere and False not in said)
        is_by_name = self.case.identity.sought is not None and self._is_found_by_name
        by_name = {BY_NAME} if is_by_name else set()
        return self.case.identity.flags | ({MISMATCH} if is_elsewhere else set()) | by_name

    @property
    def _is_found_by_name(self) -> bool:
        finders = self.preference.finders
        is_now = not finders.isdisjoint(self.found)
        return is_now or found_domain(self.case.lead.enriched_data, finders) is not None

    @cached_property
    def failing(self) -> dict[str, Answer]:
        """Providers asked without an answer, for a reason that spends an attempt."""
        return _of_types(self.findings.answers, (Unavailable, Preparing))

    @cached_property
    def waiting(self) -> dict[str, Answer]:
        """Providers asked without an answer because it is not the time: spends no attempt."""
        return _of_types(self.findings.answers, (Throttled, Held))

    @property
    def unasked(self) -> dict[str, str]:
        """Why providers gave nothing and will not be asked: never reached, or the person objected."""
        objections = _of_types(self.findings.answers, (Objected,))
        return {
            **self.findings.skipped,
            **{name: _phrase(answer) for name, answer in objections.items()},
        }

    @cached_property
    def given_up(self) -> set[str]:
        """Failing providers that are not asked again in this run: a retry would cost too much, or the
        attempts are used up."""
        if self.case.lead.attempt > self.policy.retries:
            return set(self.failing)
        finals = self.failing.items()
        return {name for name, a in finals if isinstance(a, Unavailable) and a.is_final}

    @cached_property
    def answered(self) -> dict[str, str]:
        """Each provider's result in this run so far, including those given up on."""
        said = dict(self.case.lead.answered)
        said |= dict.fromkeys(self.found, FOUND)
        said |= dict.fromkeys(_of_types(self.findings.answers, (NotFound,)), NOT_FOUND)
        said |= dict.fromkeys(
            self.findings.useless & (self.failing.keys() | self.waiting.keys()), USELESS
        )
        return said | dict.fromkeys(self.given_up, FAILED)


def conclude(this: Round, random: Random) -> Outcome:
    """Return the outcome of a round in which providers were asked."""
    given_up = this.given_up
    failing = {name: answer for name, answer in this.failing.items() if name not in given_up}
    if failing or this.waiting:
        return _retrying(this, failing, random)
    data = enriched(this)
    asked = {name: said for name, said in this.answered.items() if name not in this.preference.free}
    if asked and all(said == FAILED for said in asked.values()) and not this.findings.capped:
        return Failed(_unless_empty(data, this), _gave_up(this))
    return Completed(data, this.answered)


def conclude_unasked(this: Round, reason: Reason) -> Outcome:
    """Return the outcome for a lead that is not worth a paid call, or not allowed one."""
    data = _unless_empty(enriched(this), this)
    if reason.is_invalid_input:
        return Failed(data, reason.sentence)
    return Skipped(data, reason)


def conclude_objection(this: Round) -> Outcome:
    """Skip the lead and drop all data about the person, from any provider, now or earlier: a duty, not a fault."""
    this = replace(this, case=replace(this.case, subject=this.case.subject.without_mailbox))
    return Skipped(_with_metadata(_without_person(_merged(this)), this), Reason.SUPPRESSED)


def conclude_unfinished(this: Round) -> Outcome:
    """Return the outcome when every attempt ended with its process: nothing more is asked.

    Attempts are counted when they begin, so a lead that kills its process also comes to an end.
    """
    paid = {name for name, said in this.case.lead.answered.items() if said in (FOUND, NOT_FOUND)}
    if paid - this.preference.free:
        return Completed(enriched(this), this.answered)
    data = enriched(this) if this.case.is_stripped else {}
    return Failed(data, _NEVER_FINISHED.format(attempts=_attempts(this.case.lead.attempt - 1)))


def progress(this: Round) -> Progress:
    """Return what has been found so far. A provider that has not answered yet counts as not asked."""
    said = {name: word for name, word in this.answered.items() if word != FAILED}
    return Progress(_unless_empty(enriched(this), this), said, this.case.subject)


def enriched(this: Round) -> Document:
    """Return the new `enriched_data` with its metadata."""
    return _with_metadata(_merged(this), this)


def _merged(this: Round) -> Document:
    found, stored = this.found, this.case.lead.enriched_data
    if any(answer.employers for answer in found.values()):
        own = this.own_domains
        stored = without_disowned_job(stored, found, own)
        found = {name: without_job_elsewhere(answer, own) for name, answer in found.items()}
    title = this.case.lead.job_title
    stated = None if title is None else {Kind.PERSON.section: {"job_title": title}}
    data = merge(stored, found, this.preference.order, stated)
    data[METADATA][FLAGS] = sorted(this.flags)
    return data


def _without_person(data: Document) -> Document:
    without_sections(data, _PERSONAL)
    data[METADATA][FLAGS] = [flag for flag in data[METADATA][FLAGS] if flag != MISMATCH]
    companys = (data[SOCIAL] or {}).get(Kind.COMPANY)
    data[SOCIAL] = {Kind.COMPANY.value: companys, Kind.PERSON.value: {}} if companys else {}
    return data


def _with_metadata(data: Document, this: Round) -> Document:
    said = this.answered
    unanswered = [*this.failing, *this.waiting]
    given_up = [name for name in said if said[name] == FAILED and name not in unanswered]
    data[METADATA] = metadata(
        data,
        now=this.now,
        order=this.preference.order,
        used=[name for name in said if said[name] == FOUND],
        failed=[*given_up, *unanswered],
        not_found=[name for name in said if said[name] == NOT_FOUND],
        skipped={name: why for name, why in this.unasked.items() if name not in said},
        capped=[name for name in this.findings.capped if name not in said],
        completeness=completeness(data),
        subject=this.case.subject,
    )
    return data


def _retrying(this: Round, failing: Mapping[str, Answer], random: Random) -> Retrying:
    if failing:
        due_in = retry_delay(this.case.lead.attempt, this.policy.delay, random)
        longest = max(
            (a.retry_after for a in failing.values() if isinstance(a, Preparing)), default=0
        )
        due_in = max(due_in, vendors_delay(longest))
    else:
        due_in = hold_delay(min(seconds_of(answer) for answer in this.waiting.values()), random)
    # A time, not a delay: a reader does not know when this was written.
    next_try = f"The next try is due at {this.now + due_in:%Y-%m-%d %H:%M} UTC."
    error = f"{_listed({**failing, **this.waiting})}. {next_try}"
    return Retrying(
        _unless_empty(enriched(this), this),
        this.answered,
        error,
        due_in,
        attempt_spent=bool(failing),
        held_by=tuple(_of_types(this.findings.answers, (Held,))),
        begins_anew=this.case.begins_anew,
    )


def _unless_empty(data: Document, this: Round) -> Document:
    """Return the data to write. Empty (writes nothing) until something was found, unless the lead held data
    about somebody else."""
    return data if this.case.is_stripped or any(data.get(kind.section) for kind in Kind) else {}


def seconds_of(answer: Answer) -> float:
    """Return for how long a provider that may not be asked now keeps a lead waiting."""
    if isinstance(answer, Held):
        return answer.seconds
    told = answer.retry_after if isinstance(answer, Throttled) else None
    return _DEFAULT_THROTTLE_SECONDS if told is None else told


def _listed(answers: Mapping[str, Answer]) -> str:
    return ", ".join(f"{name} {_phrase(answer)}" for name, answer in answers.items())


def _phrase(answer: Answer) -> str:
    match answer:
        case Preparing():
            return "is still preparing its answer"
        case Throttled(reason=reason):
            return f"is not asked for now ({reason})"
        case Held(reason=reason):
            return f"is held back ({reason})"
        case Objected(reason=reason):
            return reason
        case _:
            return f"did not answer ({getattr(answer, 'reason', 'unknown')})"


def _gave_up(this: Round) -> str:
    asked = {
        name: this.findings.answers[name] for name in this.findings.answers if name in this.failing
    }
    attempts = _attempts(this.case.lead.attempt)
    return f"Nothing could be had after {attempts}{': ' if asked else ''}{_listed(asked)}."


def _attempts(count: int) -> str:
    return "1 attempt" if count == 1 else f"{count} attempts"


def _of_types(answers: Mapping[str, Answer], types: tuple[type, ...]) -> dict[str, Answer]:
    return {name: answer for name, answer in answers.items() if isinstance(answer, types)}
