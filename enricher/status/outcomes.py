"""What became of a lead in work: for the metrics, the log and the status page."""

from __future__ import annotations

from loguru import logger

from enricher.enrichment.attempt import note_ended
from enricher.lead import Completed, Failed, Lease, Outcome, Retrying, Skipped
from enricher.queue.settle import Settled
from enricher.status.throughput import Activity
from enricher.telemetry import metrics
from enricher.telemetry.labels import label
from enricher.telemetry.series import child

_REFUSED = "The result could not be written to this document."


def report(to: Activity, lease: Lease, outcome: Outcome, settled: Settled, seconds: float) -> None:
    """After the settle; `seconds` since the claim."""
    if settled is not Settled.WRITTEN:
        _report_dropped(lease, settled)
    if settled is Settled.REFUSED:
        outcome = Failed({}, _REFUSED)
    elif settled is not Settled.WRITTEN:
        return
    kind = type(outcome).__name__.lower()
    child(metrics.SETTLED, kind).inc()
    metrics.LAST_SETTLED.set_to_current_time()
    metrics.WORK.observe(seconds)
    _observe(lease, outcome, seconds)
    details = _details(outcome)
    to.note(lease, kind, seconds, details)
    logger.bind(
        lead=label(lease.lead_id),
        token=lease.token,
        outcome=kind,
        attempt=lease.lead.attempt,
        seconds=round(seconds, 3),
        **details,
    ).info("lead.settled")


def _report_dropped(lease: Lease, settled: Settled) -> None:
    metrics.NOT_WRITTEN.labels(settled.value).inc()
    if settled is Settled.LEASE_LOST:
        metrics.LEASES_LOST.labels("settle").inc()
    logger.bind(lead=label(lease.lead_id), token=lease.token, why=settled.value).warning(
        "lead.not_written"
    )


def _observe(lease: Lease, outcome: Outcome, seconds: float) -> None:
    waited = lease.lead.waited_seconds
    if waited is not None:
        metrics.QUEUE_WAIT.observe(waited)
    if not isinstance(outcome, Retrying):
        metrics.END_TO_END.observe((waited or 0.0) + seconds)
    note_ended(lease.lead, outcome)
    if isinstance(outcome, Completed):
        score = outcome.data["enrichment_metadata"]["completeness_score"]
        metrics.COMPLETENESS.observe(score / 100)
    if isinstance(outcome, Skipped):
        metrics.SKIPPED.labels(outcome.reason.value).inc()


def _details(outcome: Outcome) -> dict[str, object]:
    match outcome:
        case Completed(data=data):
            return {"score": data["enrichment_metadata"]["completeness_score"]}
        case Retrying(error=error, due_in=due_in, attempt_spent=spent):
            seconds = round(due_in.total_seconds(), 1)
            return {"due_in_seconds": seconds, "attempt_spent": spent, "error": error}
        case Failed(error=error):
            return {"error": error}
        case Skipped(reason=reason):
            return {"reason": reason.value}
