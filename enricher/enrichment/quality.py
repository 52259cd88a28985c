"""Is it worth it? Counts what the promises about quality are measured by.

Everything is counted once for a lead, when it ends as completed or failed, and from what is in hand
then. Ratios are left to whoever reads: numerator and denominator are two counters.
"""

from __future__ import annotations

from collections import Counter

from enricher.answer import Kind, Query
from enricher.lead import Completed, Document, Failed, Lead, Outcome
from enricher.telemetry import label_sets, metrics
from enricher.values.merge import METADATA
from enricher.values.storable import is_blank, mapping

_CONFLICTS = {section: metrics.FIELD_CONFLICTS.labels(section) for section in label_sets.SECTIONS}


def note_found(query: Query, outcome: Outcome) -> None:
    """Whether the two things that people look for are there: the company, and the verdict."""
    if not isinstance(outcome, Completed | Failed):
        return
    if query.company_domain is not None:
        metrics.WITH_COMPANY_DOMAIN.inc()
        metrics.COMPANIES_FOUND.inc(_has(outcome.data, Kind.COMPANY, "name"))
    if query.email is not None:
        metrics.WITH_ADDRESS.inc()
        metrics.VERDICTS_GIVEN.inc(_has(outcome.data, Kind.EMAIL, "status"))


def note_ended(lead: Lead, outcome: Outcome) -> None:
    """What it took, and who gave it; once the end is written."""
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
