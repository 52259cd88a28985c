"""From a lead to its outcome: who it is, what the providers say, what follows from that."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from random import Random

from loguru import logger

from enricher.enrichment import quality
from enricher.enrichment.carried import begins_anew, carry_over
from enricher.enrichment.conclude import (
    RetryPolicy,
    Round,
    conclude,
    conclude_objection,
    conclude_unasked,
    conclude_unfinished,
    progress,
)
from enricher.enrichment.waterfall import Findings, Waterfall
from enricher.identity.identify import Identity, identify
from enricher.identity.own_words import NO_WORDS, OwnWords
from enricher.identity.subject import subject_of
from enricher.lead import Failed, Lead, Outcome, Progress, Reason, Retrying, Subject
from enricher.mongo.secret import Keyring
from enricher.privacy.permission import Permission
from enricher.process import shortage
from enricher.telemetry.labels import label
from enricher.telemetry.log import trace_of

_OVER_QUOTA = "over the plan's quota"
_NO_MEMORY = "This lead waits: the process that worked on it could have no more memory."
_NO_MEMORY_FOR = timedelta(seconds=60)
_DOUBLED = "The enriched data holds a field more than once."
_INTERNAL = "An internal error stopped the work on this lead: {name}."


@dataclass(frozen=True, slots=True, repr=False)
class _Case:
    """One attempt on one lead: who it is, and what earlier attempts found of the same."""

    lead: Lead
    identity: Identity
    subject: Subject
    is_stripped: bool
    begins_anew: bool


@dataclass(slots=True)
class Enrichment:
    """Works on leads without touching the database; one instance serves all workers."""

    waterfall: Waterfall
    keyring: Keyring
    policy: RetryPolicy
    seconds_for_a_lead: float
    words: OwnWords = NO_WORDS
    permission: Permission | None = None
    """Asked before anything is paid for; without one everything may be."""
    random: Random = field(default_factory=Random)

    async def work_on(
        self, lead: Lead, keep: Callable[[Progress], Awaitable[None]]
    ) -> tuple[Outcome, Subject | None]:
        """The outcome of this attempt, and whom it is about.

        `keep` gets what one provider found while another takes long. A bug that one lead meets is that
        lead's outcome, and does not stop the others.
        """
        if lead.is_doubled:
            return Failed({}, _DOUBLED), None  # so the settle leaves the data alone
        try:
            return await self._attempt(lead, keep)
        except Exception as error:  # noqa: BLE001 - see above
            return _broken(lead, error), self._whose(lead)

    def _whose(self, lead: Lead) -> Subject | None:
        """Whom a lead is about on which something went wrong: that may be just what did."""
        try:
            return self.about(lead)
        except Exception:  # noqa: BLE001 - it was told of already
            return None

    async def _attempt(
        self, lead: Lead, keep: Callable[[Progress], Awaitable[None]]
    ) -> tuple[Outcome, Subject]:
        case = self._case(lead)
        identity = case.identity
        if case.lead.attempt > self.policy.retries + 1:
            outcome: Outcome = conclude_unfinished(self._round(case, Findings()))
            quality.note_found(identity.query, outcome)
            return outcome, case.subject
        if identity.reason is not None:
            return await self._unasked(case, identity.reason), case.subject
        refusal = await self._refusal(case)
        if refusal is Reason.SUPPRESSED:
            return self._objected(case, Findings())
        if refusal is not None:
            return await self._unasked(case, refusal), case.subject

        async def keep_findings(findings: Findings) -> None:
            await keep(progress(self._round(case, findings)))

        findings = await self.waterfall.ask(
            case.lead, identity.query, self.seconds_for_a_lead, keep_findings
        )
        if findings.objection:
            await self._withdraw(case)
            return self._objected(case, findings)
        outcome = conclude(self._round(case, findings), self.random)
        quality.note_found(identity.query, outcome)
        return outcome, case.subject

    def about(self, lead: Lead) -> Subject:
        """Whom the lead is about."""
        identity = identify(lead.inputs, self.words)
        return subject_of(self.keyring.key, identity.email_key, identity.company_domain)

    def _case(self, lead: Lead) -> _Case:
        """The inputs may have been corrected since: only what is about the same still counts."""
        identity = identify(lead.inputs, self.words)
        about = subject_of(self.keyring.key, identity.email_key, identity.company_domain)
        is_first = begins_anew(lead, identity, about)
        lead, is_stripped = carry_over(lead, identity, about, self.waterfall.kinds)
        lead = replace(lead, attempt=1) if is_first else lead
        return _Case(lead, identity, about, is_stripped, is_first)

    def _objected(self, case: _Case, findings: Findings) -> tuple[Outcome, Subject]:
        return conclude_objection(self._round(case, findings)), case.subject.without_mailbox

    async def _unasked(self, case: _Case, reason: Reason) -> Outcome:
        """Nobody is paid, and what costs nothing is said all the same."""
        identity = case.identity
        why = _OVER_QUOTA if reason is Reason.OVER_QUOTA else identity.no_company_domain
        findings = await self.waterfall.ask_free(
            case.lead, identity.query, self.seconds_for_a_lead, why
        )
        return conclude_unasked(self._round(case, findings), reason)

    async def _refusal(self, case: _Case) -> Reason | None:
        if self.permission is None:
            return None
        return await self.permission.refusal(case.lead, case.identity, case.subject)

    async def _withdraw(self, case: _Case) -> None:
        if self.permission is not None:
            await self.permission.withdraw(case.lead, case.identity)

    def _round(self, case: _Case, findings: Findings) -> Round:
        return Round(
            lead=case.lead,
            answers=findings.answers,
            skipped=findings.skipped,
            order=self.waterfall.order,
            free=self.waterfall.free,
            now=datetime.now(UTC),
            policy=self.policy,
            identity=case.identity,
            subject=case.subject,
            is_stripped=case.is_stripped,
            begins_anew=case.begins_anew,
            useless=frozenset(findings.useless),
        )


def _broken(lead: Lead, error: Exception) -> Outcome:
    """What a lead comes to that met a bug, or that we had no memory for."""
    first = _first_of(error)
    if isinstance(first, MemoryError):
        shortage.note_no_memory()
        return Retrying({}, lead.answered, _NO_MEMORY, _NO_MEMORY_FOR, attempt_spent=False)
    logger.bind(lead=label(lead.id), **trace_of(error)).error("lead.broken")
    return Failed({}, _INTERNAL.format(name=type(first).__name__))


def _first_of(error: Exception) -> Exception:
    """The kinds are asked in a task group, which wraps what one of them raises."""
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error
