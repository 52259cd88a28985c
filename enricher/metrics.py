"""Every series, named once. Labels come from small closed sets; never a lead, a person or a host.

Series whose labels are known in advance are there with 0 from the start (`initialise`), so that a
rate over a counter that has not moved yet is 0 and not "no data".
"""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    disable_created_metrics,
)
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from enricher.lead import Reason, Status

disable_created_metrics()  # type: ignore[no-untyped-call]  # they double what is to be stored

REGISTRY = CollectorRegistry(auto_describe=True)
ProcessCollector(registry=REGISTRY)
PlatformCollector(registry=REGISTRY)
GCCollector(registry=REGISTRY)

_FAST = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_SLOW = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15, 30, 60, 300, 1800)

BUILD = Info("enricher_build", "Version of the running daemon.", registry=REGISTRY)

# -- in --------------------------------------------------------------------------------------

ADMITTED = Counter(
    "enricher_leads_admitted_total",
    "Leads that became pending, by what saw them first: the change stream, or a search.",
    ["source"],
    registry=REGISTRY,
)
UNWRITABLE = Counter(
    "enricher_leads_unwritable_total",
    "Leads the database refuses to write when they are admitted or claimed (too large, a validator).",
    registry=REGISTRY,
)

# -- wait ------------------------------------------------------------------------------------

LEADS = Gauge(
    "enricher_leads",
    "Leads in the database by status; counted, and the same at every daemon.",
    ["status"],
    registry=REGISTRY,
)
PENDING = Gauge(
    "enricher_pending_leads",
    "Leads in the database that are work now, by why.",
    ["lane"],
    registry=REGISTRY,
)
OLDEST_PENDING = Gauge(
    "enricher_oldest_pending_timestamp_seconds",
    "Since when the oldest lead of a lane is work; 0 while none is.",
    ["lane"],
    registry=REGISTRY,
)
OLDEST_PENDING_AGE = Gauge(
    "enricher_oldest_pending_age_seconds",
    "How long the oldest lead of a lane has been work; 0 while none is.",
    ["lane"],
    registry=REGISTRY,
)
PARKED = Gauge(
    "enricher_leads_parked",
    "Leads in the database that wait until a provider may be asked again.",
    ["provider"],
    registry=REGISTRY,
)
CENSUS = Gauge(
    "enricher_backlog_counted_timestamp_seconds",
    "When the leads in the database were last counted.",
    registry=REGISTRY,
)
QUEUE_WAIT = Histogram(
    "enricher_queue_wait_seconds",
    "From the moment a lead is work to its claim; planned delays not included.",
    buckets=_SLOW,
    registry=REGISTRY,
)

# -- work ------------------------------------------------------------------------------------

CLAIMED = Counter("enricher_leads_claimed_total", "Leads claimed.", registry=REGISTRY)
CLAIMS_LOST = Counter(
    "enricher_claims_lost_total",
    "Candidates that another daemon was quicker to claim.",
    registry=REGISTRY,
)
IN_WORK = Gauge("enricher_leads_in_work", "Leads this process holds a lease on.", registry=REGISTRY)
CONCURRENCY = Gauge(
    "enricher_concurrency", "Leads this process may have in work at once.", registry=REGISTRY
)
LEASES_LOST = Counter(
    "enricher_leases_lost_total",
    "Leases lost while in work: taken by another, or not renewed before they ran out.",
    ["found_by"],
    registry=REGISTRY,
)
RELEASED = Counter(
    "enricher_leads_released_total",
    "Leads given back unfinished at shutdown, at no cost of an attempt.",
    registry=REGISTRY,
)
WORK = Histogram(
    "enricher_lead_duration_seconds", "From claim to settle.", buckets=_SLOW, registry=REGISTRY
)

# -- out -------------------------------------------------------------------------------------

SETTLED = Counter(
    "enricher_leads_settled_total",
    "Settled claims by the status they wrote.",
    ["outcome"],
    registry=REGISTRY,
)
SKIPPED = Counter(
    "enricher_leads_skipped_total",
    "Leads that ended as skipped, by reason: nobody is worth asking, or nobody may be asked.",
    ["reason"],
    registry=REGISTRY,
)
NOT_WRITTEN = Counter(
    "enricher_results_dropped_total",
    "Results that were not written, because the lead was no longer ours as it was.",
    ["why"],
    registry=REGISTRY,
)
END_TO_END = Histogram(
    "enricher_end_to_end_seconds",
    "From the moment a lead is work to its completed, failed or skipped.",
    buckets=_SLOW,
    registry=REGISTRY,
)
COMPLETENESS = Histogram(
    "enricher_lead_completeness_ratio",
    "Completeness of completed leads, 0 to 1.",
    buckets=[step / 10 for step in range(1, 11)],
    registry=REGISTRY,
)
LAST_SETTLED = Gauge(
    "enricher_last_settled_timestamp_seconds", "When a lead was last settled.", registry=REGISTRY
)

# -- providers -------------------------------------------------------------------------------

REQUESTS = Counter(
    "enricher_provider_requests_total",
    "Tries of a provider by what came back.",
    ["provider", "outcome"],
    registry=REGISTRY,
)
REQUEST_SECONDS = Histogram(
    "enricher_provider_request_seconds",
    "Duration of one try.",
    ["provider"],
    buckets=_FAST,
    registry=REGISTRY,
)
RETRIES = Counter(
    "enricher_provider_retries_total",
    "Tries that were repeated within an attempt.",
    ["provider"],
    registry=REGISTRY,
)
LIMIT_WAIT = Counter(
    "enricher_provider_limit_wait_seconds_total",
    "Time spent waiting for a provider's rate limit.",
    ["provider"],
    registry=REGISTRY,
)
WAITING = Gauge(
    "enricher_provider_waiting",
    "Leads that wait for a slot in a provider's rate limit, or for the end of a pause it asked for.",
    ["provider"],
    registry=REGISTRY,
)
HELD = Gauge(
    "enricher_provider_held",
    "1 while a provider is not asked: its quota is used up or its key is refused.",
    ["provider"],
    registry=REGISTRY,
)

CIRCUIT = Gauge(
    "enricher_provider_circuit_open",
    "1 while a provider is left alone because it failed for everybody.",
    ["provider"],
    registry=REGISTRY,
)

# -- money -----------------------------------------------------------------------------------

CALLS_CHARGED = Counter(
    "enricher_calls_charged_total",
    "Calls that the vendor charges for, by its own rules.",
    ["provider"],
    registry=REGISTRY,
)
CALLS_AMBIGUOUS = Counter(
    "enricher_calls_ambiguous_total",
    "Calls without an answer that the vendor may have done, and charged, all the same.",
    ["provider"],
    registry=REGISTRY,
)
CALLS_SAVED = Counter(
    "enricher_calls_saved_total",
    "Answers that needed no call: kept from earlier, or shared by several leads.",
    ["provider", "by"],
    registry=REGISTRY,
)

# -- stream and database ---------------------------------------------------------------------

STREAMING = Gauge(
    "enricher_stream_open",
    "1 while the change stream is open, 0 while leads are found by polling.",
    registry=REGISTRY,
)
STREAM_OPENS = Counter(
    "enricher_stream_opens_total",
    "Streams opened, by where they began: token, time or now (a gap that was searched).",
    ["start"],
    registry=REGISTRY,
)
STREAM_EVENTS = Counter(
    "enricher_stream_events_total", "Change events received.", registry=REGISTRY
)
CHECKPOINT = Gauge(
    "enricher_checkpoint_saved_timestamp_seconds",
    "When the stream's position was last saved.",
    registry=REGISTRY,
)
DATABASE_ERRORS = Counter(
    "enricher_database_errors_total",
    "Errors from MongoDB that a loop waited out, by loop.",
    ["loop"],
    registry=REGISTRY,
)

ANSWERS = (
    "found", "not_found", "preparing", "throttled", "unavailable", "held", "objected",
)  # fmt: skip
LOOPS = (
    "watcher",
    "admission",
    "worker",
    "heartbeat",
    "settle",
    "calls",
    "cache",
    "flights",
    "ledger",
    "limits",
    "holds",
    "census",
)
LANES = ("fresh", "backfill", "retry", "interrupted", "refresh")


def initialise(version: str, providers: Iterable[str]) -> None:
    """Make every series whose labels are known present with 0."""
    BUILD.info({"version": version})
    for counter, label, values in (
        (ADMITTED, "source", ("stream", "polling")),
        (LEASES_LOST, "found_by", ("heartbeat", "deadline", "settle")),
        (SETTLED, "outcome", ("completed", "retrying", "failed", "skipped")),
        (SKIPPED, "reason", tuple(Reason)),
        (NOT_WRITTEN, "why", ("lease_lost", "inputs_changed", "deleted", "refused", "unwritable")),
        (STREAM_OPENS, "start", ("token", "time", "now")),
        (DATABASE_ERRORS, "loop", LOOPS),
    ):
        for value in values:
            counter.labels(**{label: value})
    for status in Status:
        LEADS.labels(status.value)
    for lane in LANES:
        for gauge in (PENDING, OLDEST_PENDING, OLDEST_PENDING_AGE):
            gauge.labels(lane)
    for provider in providers:
        _initialise_provider(provider)


def _initialise_provider(provider: str) -> None:
    for answer in ANSWERS:
        REQUESTS.labels(provider, answer)
    REQUEST_SECONDS.labels(provider)
    RETRIES.labels(provider)
    LIMIT_WAIT.labels(provider)
    WAITING.labels(provider)
    HELD.labels(provider)
    CIRCUIT.labels(provider)
    PARKED.labels(provider)
    CALLS_CHARGED.labels(provider)
    CALLS_AMBIGUOUS.labels(provider)
    for by in ("cache", "coalescing"):
        CALLS_SAVED.labels(provider, by)
