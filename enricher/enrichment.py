"""From a lead to its outcome: who it is, what the providers say, what follows from that."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from random import Random

from enricher import quality
from enricher.conclude import (
    RetryPolicy,
    Round,
    conclude,
    conclude_objection,
    conclude_unasked,
    conclude_unfinished,
    progress,
)
from enricher.identity import Identity, identify, subject_of
from enricher.lead import Lead, Outcome, Progress, Reason
from enricher.permission import Permission
from enricher.waterfall import Findings, Waterfall

_OVER_QUOTA = "over the plan's quota"


@dataclass(slots=True)
class Enrichment:
    """Works on leads without touching the database; one instance serves all workers."""

    waterfall: Waterfall
    policy: RetryPolicy
    seconds_for_a_lead: float
    internal_domains: frozenset[str] = frozenset()
    permission: Permission | None = None
    """Asked before anything is paid for; without one everything may be."""
    random: Random = field(default_factory=Random)

    async def work_on(
        self, lead: Lead, keep: Callable[[Progress], Awaitable[None]]
    ) -> tuple[Outcome, str]:
        """The outcome of this attempt, and the subject (see `subject_of`) it was found for.

        `keep` gets what one provider found while another takes long.
        """
        identity = identify(lead.inputs, self.internal_domains)
        subject = subject_of(identity)
        if not _is_about(lead, subject):
            # The address was changed since: what is known and who has answered is about another.
            lead = replace(lead, enriched_data={}, answered={})
        if lead.attempt > self.policy.retries + 1:
            outcome: Outcome = conclude_unfinished(self._round(lead, identity, Findings()))
            quality.note_found(identity.query, outcome)
            return outcome, subject
        if identity.reason is not None:
            return await self._unasked(lead, identity, identity.reason), subject
        refusal = await self._refusal(lead, identity)
        if refusal is Reason.SUPPRESSED:
            return conclude_objection(self._round(lead, identity, Findings())), subject
        if refusal is not None:
            return await self._unasked(lead, identity, refusal), subject

        async def keep_findings(findings: Findings) -> None:
            await keep(progress(self._round(lead, identity, findings), subject))

        findings = await self.waterfall.ask(
            lead, identity.query, self.seconds_for_a_lead, keep_findings
        )
        this = self._round(lead, identity, findings)
        if findings.objection:
            await self._withdraw(lead, identity)
            return conclude_objection(this), subject
        outcome = conclude(this, self.random)
        quality.note_found(identity.query, outcome)
        return outcome, subject

    async def _unasked(self, lead: Lead, identity: Identity, reason: Reason) -> Outcome:
        """Nobody is paid, and what costs nothing is said all the same."""
        why = _OVER_QUOTA if reason is Reason.OVER_QUOTA else identity.no_company_domain
        findings = await self.waterfall.ask_free(lead, identity.query, self.seconds_for_a_lead, why)
        return conclude_unasked(self._round(lead, identity, findings), reason)

    async def _refusal(self, lead: Lead, identity: Identity) -> Reason | None:
        return None if self.permission is None else await self.permission.refusal(lead, identity)

    async def _withdraw(self, lead: Lead, identity: Identity) -> None:
        if self.permission is not None:
            await self.permission.withdraw(lead, identity)

    def _round(self, lead: Lead, identity: Identity, findings: Findings) -> Round:
        return Round(
            lead=lead,
            answers=findings.answers,
            skipped=findings.skipped,
            order=self.waterfall.order,
            free=self.waterfall.free,
            now=datetime.now(UTC),
            policy=self.policy,
            identity=identity,
        )


def _is_about(lead: Lead, subject: str) -> bool:
    return lead.subject in (None, subject)
