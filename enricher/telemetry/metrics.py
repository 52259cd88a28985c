"""Every series, named once. Labels come from small closed sets; never a lead, a person or a host.

Series whose labels are known exist with 0 from the start, those of providers from `initialise` on, so
that a rate over a counter that has not moved yet is 0 and not "no data".
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from itertools import product
from typing import TypeAlias, TypeVar

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

from enricher import fields
from enricher.lead import Reason, Status

# How series are made: one registry, and what is in it besides our own.

Metric = TypeVar("Metric", Counter, Gauge, Histogram)

disable_created_metrics()  # type: ignore[no-untyped-call]  # they double what has to be stored

REGISTRY = CollectorRegistry(auto_describe=True)
ProcessCollector(registry=REGISTRY)
PlatformCollector(registry=REGISTRY)
GCCollector(registry=REGISTRY)


def info(name: str, meaning: str) -> Info:
    return Info(name, meaning, registry=REGISTRY)


def counter(name: str, meaning: str, *labels: str, **known: Sequence[str]) -> Counter:
    """Make a counter. `known` are labels with all their possible values: these series exist with 0."""
    made = Counter(name, meaning, [*labels, *known], registry=REGISTRY)
    _begin(made, labels, known)
    return made


def gauge(name: str, meaning: str, *labels: str, **known: Sequence[str]) -> Gauge:
    """Make a gauge; `known` as for `counter`."""
    made = Gauge(name, meaning, [*labels, *known], registry=REGISTRY)
    _begin(made, labels, known)
    return made


@cache
def child(metric: Metric, *labels: str) -> Metric:
    """Return the series with these label values, cached.

    `labels` converts them to text and takes a lock each time, which on every call would cost more than
    counting.
    """
    return metric.labels(*labels)


def _begin(
    made: Counter | Gauge, labels: Sequence[str], known: Mapping[str, Sequence[str]]
) -> None:
    if known and not labels:
        for values in product(*known.values()):
            made.labels(*values)


def histogram(name: str, meaning: str, *labels: str, buckets: Sequence[float]) -> Histogram:
    return Histogram(name, meaning, labels, buckets=buckets, registry=REGISTRY)


# The values of labels that are nowhere else a type of their own. Closed sets, each of them.

ANSWERS = (
    "found", "not_found", "preparing", "throttled", "unavailable", "held", "objected",
)  # fmt: skip
LOOPS = (
    "watcher", "admission", "search", "worker", "heartbeat", "settle", "calls", "cache", "flights", "ledger",
    "limits", "holds", "census", "presence", "sweep", "indexes", "start", "outbox", "webhook", "order",
)  # fmt: skip
SHARED_LOOPS = (
    *("calls", "cache", "flights", "ledger", "limits", "census", "presence", "start", "webhook"),
    "order",
)
"""Loops that are there once, however many sources of leads a daemon has."""
PREPARATIONS = ("indexes", "history", "search")
HTTP_REFUSALS = ("host", "malformed", "room")
LEVELS = ("debug", "info", "warning", "error", "critical")
SECTIONS = fields.SECTIONS
HOLDS = ("key", "quota", "budget", "unreadable", "objections", "paused", "other")
WAITS_FOR = (*HOLDS, "circuit", "limit")
LANES = ("fresh", "backfill", "retry", "interrupted", "refresh")
UNMOVED_IN_THE_DATABASE = ("foreign", "no_text", "unset", "stray")
REASONS_UNMOVED = (*UNMOVED_IN_THE_DATABASE, "unwritable")

MEANINGS: Mapping[tuple[str, str], str] = {
    ("lane", "interrupted"): "a lease ran out",
    ("start", "time"): "the first start of all, or the token was refused",
    ("start", "now"): "a time was refused too; the gap is searched",
    ("why", "refused"): "the lead becomes failed",
    ("why", "unwritable"): "not even that could be written",
    ("reason", "foreign"): "a status that is none of ours",
    ("reason", "no_text"): "a status that is no text",
    ("reason", "unset"): "a status that was taken away by hand",
    ("reason", "stray"): "in work, and held by no daemon",
    ("reason", "undated"): "completed, without a date for its refresh",
    ("reason", "unwritable"): "refused by the database, or an id that is no UTF-8",
    ("result", "negative_hit"): "kept that nothing is known",
    ("result", "put_off"): "held or over the day's calls; it keeps its place",
    ("result", "void"): "nobody to ask any more: left to its refresh",
    ("result", "stale"): "kept, but no answer any more",
}
"""(label, value) -> what it means, where the word alone does not tell. The reference prints these."""


__all__ = [
    "DESCRIPTOR_SHORTAGES",
    "HTTP_REFUSED",
    "LOG_MESSAGES",
    "MEMORY_SHORTAGES",
    "REGISTRY",
    "STALLED_SECONDS",
    "initialise",
]

_FAST = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_SLOW = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15, 30, 60, 300, 1800)

BUILD = info("enricher_build", "Version of the running daemon.")

# -- in --------------------------------------------------------------------------------------

ADMITTED = counter(
    "enricher_leads_admitted_total",
    "Leads that became pending, by what saw them first: the change stream, or a search.",
    source=("stream", "polling"),
)
PREPARING = gauge(
    "enricher_preparing",
    "1 while this daemon does what a large collection makes long, beside the work: by what it is.",
    step=PREPARATIONS,
)
UNMOVED = gauge(
    "enricher_leads_unmoved",
    "Leads that nothing moves, by why: counted once a minute, up to 10,000 for each reason. Not a number"
    " without the index for it (MongoDB before 6.0, no createIndex). Each daemon counts its own unwritable ones.",
    reason=REASONS_UNMOVED,
)
TAKEN_UP = counter(
    "enricher_leads_taken_up_total",
    "Leads that a writer's save left lying and that were taken up again, by what was wrong.",
    reason=("stray", "undated"),
)
UNWRITABLE = counter(
    "enricher_leads_unwritable_total",
    "Leads the database refuses to write when they are admitted or claimed (too large, a validator).",
)
BLOCKED = counter(
    "enricher_leads_blocked_total",
    "Times that a lead was written apart, because a writer's open transaction held it up.",
)

# -- wait ------------------------------------------------------------------------------------

LEADS = gauge(
    "enricher_leads",
    "Leads in the database by status; counted, and the same at every daemon.",
    status=tuple(Status),
)
PENDING = gauge(
    "enricher_pending_leads", "Leads in the database that are work now, by why.", lane=LANES
)
OLDEST_PENDING = gauge(
    "enricher_oldest_pending_timestamp_seconds",
    "Since when the oldest lead of a lane is work; 0 while none is.",
    lane=LANES,
)
OLDEST_PENDING_AGE = gauge(
    "enricher_oldest_pending_age_seconds",
    "How long the oldest lead of a lane has been work; 0 while none is.",
    lane=LANES,
)
PARKED = gauge(
    "enricher_leads_parked",
    "Leads in the database that wait until a provider may be asked again, by what keeps it now.",
    "provider",
    "reason",
)
CENSUS = gauge(
    "enricher_backlog_counted_timestamp_seconds",
    "When the leads in the database were last counted.",
)
QUEUE_WAIT = histogram(
    "enricher_queue_wait_seconds",
    "From the moment a lead is work to its claim; planned delays not included.",
    buckets=_SLOW,
)

# -- work ------------------------------------------------------------------------------------

CLAIMED = counter("enricher_leads_claimed_total", "Leads claimed.")
CLAIMS_LOST = counter("enricher_claims_lost_total", "Candidates that another daemon claimed first.")
IN_WORK = gauge("enricher_leads_in_work", "Leads this process holds a lease on.")
CONCURRENCY = gauge("enricher_concurrency", "Leads this process may have in work at once.")
LEASES_LOST = counter(
    "enricher_leases_lost_total",
    "Leases lost while in work: taken by another, or not renewed before they ran out.",
    found_by=("heartbeat", "deadline", "settle"),
)
RELEASED = counter(
    "enricher_leads_released_total",
    "Leads given back unfinished at shutdown, at no cost of an attempt.",
)
WORK = histogram("enricher_lead_duration_seconds", "From claim to settle.", buckets=_SLOW)

# -- out -------------------------------------------------------------------------------------

SETTLED = counter(
    "enricher_leads_settled_total",
    "Settled claims by the status they wrote.",
    outcome=("completed", "retrying", "failed", "skipped"),
)
RECHECKS = counter(
    "enricher_rechecks_total",
    "Thin leads that were looked at again, by what came of it.",
    result=("found", "nothing", "failed", "put_off", "void"),
)
RECHECKS_DUE = gauge(
    "enricher_rechecks_due",
    "Thin leads that are due to be looked at again; they are among the leads of the lane `refresh`.",
)
SKIPPED = counter(
    "enricher_leads_skipped_total",
    "Leads that ended as skipped, by reason: nobody is worth asking, or nobody may be asked.",
    reason=tuple(Reason),
)
NOT_WRITTEN = counter(
    "enricher_results_dropped_total",
    "Results that were not written, because the lead was no longer ours as it was.",
    why=("lease_lost", "inputs_changed", "deleted", "refused", "unwritable"),
)
END_TO_END = histogram(
    "enricher_end_to_end_seconds",
    "From the moment a lead is work to its completed, failed or skipped.",
    buckets=_SLOW,
)
COMPLETENESS = histogram(
    "enricher_lead_completeness_ratio",
    "Completeness of completed leads, 0 to 1.",
    buckets=[step / 10 for step in range(1, 11)],
)
RETRIED = counter(
    "enricher_leads_retried_total",
    "Leads that ended as completed or failed and took more than one attempt.",
)
EVENTS_PUBLISHED = counter(
    "enricher_events_published_total",
    "Events of settles that were published, by who did: the settle's own daemon, or whoever found them left behind.",
    by=("settle", "sweep"),
)
DELIVERIES = counter(
    "enricher_webhook_deliveries_total",
    "Tries to deliver an event to the webhook, by how they ended.",
    outcome=("delivered", "failed", "given_up", "gone"),
)
DELIVERY_SECONDS = histogram(
    "enricher_webhook_request_seconds", "Duration of one try of the webhook.", buckets=_FAST
)
UNDELIVERED = gauge(
    "enricher_webhook_waiting",
    "Events in the database that the webhook is yet to get, counted up to 10,000.",
)
OLDEST_UNDELIVERED = gauge(
    "enricher_webhook_oldest_age_seconds",
    "How old the oldest of these is; 0 while there is none.",
)
WEBHOOK_GONE = gauge(
    "enricher_webhook_disabled",
    "1 while this daemon delivers nothing because the webhook answered 410 Gone.",
)
LAST_SETTLED = gauge("enricher_last_settled_timestamp_seconds", "When a lead was last settled.")

# -- is it worth it --------------------------------------------------------------------------

WITH_COMPANY_DOMAIN = counter(
    "enricher_leads_with_business_address_total",
    "Leads worked on that have a company domain to go by.",
)
COMPANIES_FOUND = counter(
    "enricher_companies_found_total", "Of these, those whose company is known by name."
)
WITH_ADDRESS = counter(
    "enricher_leads_with_address_total", "Leads worked on that have an e-mail address to ask about."
)
VERDICTS_GIVEN = counter(
    "enricher_verdicts_given_total", "Of these, those whose address has a verdict."
)
FIELDS_FILLED = counter(
    "enricher_fields_filled_total",
    "Fields of completed leads, by the provider whose value stands there.",
    "section",
    "provider",
)
FILLED_BY: dict[tuple[str, str], Counter] = {}
"""The children of `FIELDS_FILLED`, which every lead looks up.

Names that others wrote into a lead create no series.
"""
FIELD_CONFLICTS = counter(
    "enricher_field_conflicts_total",
    "Fields of completed leads about which somebody said something else.",
    section=SECTIONS,
)

# -- providers -------------------------------------------------------------------------------

REQUESTS = counter(
    "enricher_provider_requests_total",
    "Tries of a provider by what came back.",
    "provider",
    "outcome",
)
REQUEST_SECONDS = histogram(
    "enricher_provider_request_seconds", "Duration of one try.", "provider", buckets=_FAST
)
RETRIES = counter(
    "enricher_provider_retries_total", "Tries that were repeated within an attempt.", "provider"
)
LIMIT_WAIT = counter(
    "enricher_provider_limit_wait_seconds_total",
    "Time spent waiting for a provider's rate limit.",
    "provider",
)
WAITING = gauge(
    "enricher_provider_waiting",
    "Leads that wait for a slot in a provider's rate limit, or for the end of a pause it asked for.",
    "provider",
)
HELD = gauge(
    "enricher_provider_held",
    "1 while a provider is not asked: its quota is used up or its key is refused.",
    "provider",
)

HOLD = gauge(
    "enricher_provider_hold", "1 for the reason why a provider is held.", "provider", "reason"
)
PAUSED = gauge(
    "enricher_provider_paused",
    "1 while a vendor has asked to wait for longer than a lead in work sits out.",
    "provider",
)
LAST_SUCCESS = gauge(
    "enricher_provider_last_success_timestamp_seconds",
    "When a provider last answered, be it that it knows nothing; 0 before the first time.",
    "provider",
)
LIMIT = gauge(
    "enricher_provider_limit_calls_per_second",
    "What a provider's rate limit allows the fleet; those of one bucket share it.",
    "provider",
    "bucket",
)
WINDOW_LEFT = gauge(
    "enricher_provider_window_left_calls",
    "Calls left in a rate window, as the vendor last told; there once it has.",
    "provider",
    "window",
)
QUOTA_LEFT = gauge(
    "enricher_provider_quota_left_credits",
    "What is left of the vendor's plan, as it last told; there once it has.",
    "provider",
)
SCHEMA_DRIFT = counter(
    "enricher_schema_drift_total",
    "Answers whose records no longer have the keys, or the types, that the vendor documents.",
    "provider",
)
CIRCUIT = gauge(
    "enricher_provider_circuit_open",
    "1 while a provider is left alone because it failed for everybody.",
    "provider",
)

# -- money -----------------------------------------------------------------------------------

CALLS_CHARGED = counter(
    "enricher_calls_charged_total",
    "Calls that the vendor charges for, by its own rules.",
    "provider",
)
CREDITS_CHARGED = counter(
    "enricher_credits_charged_total",
    "What those calls cost in the vendor's own unit: half a credit for some, one for most.",
    "provider",
)
CREDIT_PRICE = gauge(
    "enricher_credit_price",
    "What a credit of the provider's vendor costs, in the operator's money; there for prices that are set.",
    "provider",
)
PLACE = gauge(
    "enricher_provider_place",
    "Place in the order of asking of its kind with `ENRICHER_PROVIDER_ORDER=auto`, from 1; else 0.",
    "provider",
)
CALLS_AMBIGUOUS = counter(
    "enricher_calls_ambiguous_total",
    "Calls without an answer that the vendor may have done, and charged, all the same.",
    "provider",
)
CALLS_SAVED = counter(
    "enricher_calls_saved_total",
    "Answers that needed no call: kept from earlier, or shared by several leads.",
    "provider",
    "by",
)

CALLS_CAPPED = counter(
    "enricher_calls_capped_total",
    "Providers that leads were not asked about, because a call might have cost more than a lead may.",
    "provider",
)

CACHE = counter(
    "enricher_cache_requests_total",
    "Looks for a kept answer, by what was there.",
    result=("hit", "negative_hit", "miss", "stale"),
)
BUDGET_LIMIT = gauge(
    "enricher_budget_limit_calls",
    "Calls that a vendor may charge in a period (UTC); there for budgets that are set.",
    "vendor",
    "period",
)
BUDGET_LEFT = gauge(
    "enricher_budget_left_calls", "What the fleet has left of a budget.", "vendor", "period"
)

# -- stream, database and log ----------------------------------------------------------------

STREAMING = gauge(
    "enricher_stream_open",
    "1 while the change stream is open, that of each collection; 0 while leads are found by polling.",
)
STREAM_OPENS = counter(
    "enricher_stream_opens_total",
    "Streams opened, by where they began: token, time or now (a gap that was searched).",
    start=("token", "time", "now"),
)
STREAM_EVENTS = counter("enricher_stream_events_total", "Change events received.")
STREAM_LAST_EVENT = gauge(
    "enricher_stream_last_event_timestamp_seconds",
    "When a change event was last received; 0 before the first.",
)
STREAM_POSITION = gauge(
    "enricher_stream_position_timestamp_seconds",
    "The moment in MongoDB's log up to which the stream was read, also when nothing happened.",
)
OPLOG_WINDOW = gauge(
    "enricher_oplog_window_seconds",
    "How far back MongoDB's log goes; 0 where the user may not read it.",
)
CHECKPOINT = gauge(
    "enricher_checkpoint_saved_timestamp_seconds", "When the stream's position was last saved."
)
DATABASE_ERRORS = counter(
    "enricher_database_errors_total",
    "Errors from MongoDB that a loop waited out, by loop.",
    loop=LOOPS,
)

_OF_PROVIDERS = (
    REQUEST_SECONDS, RETRIES, LIMIT_WAIT, WAITING, HELD, PAUSED, CIRCUIT, LAST_SUCCESS, SCHEMA_DRIFT,
    CALLS_CHARGED, CREDITS_CHARGED, CALLS_AMBIGUOUS, CALLS_CAPPED, PLACE,
)  # fmt: skip

# -- the process itself, whatever it works on -------------------------------------------------

HTTP_REFUSED = counter(
    "enricher_http_refused_total",
    "What the daemon's own HTTP port turned away: a host that is not ours, no HTTP, or to make room.",
    reason=HTTP_REFUSALS,
)
DESCRIPTOR_SHORTAGES = counter(
    "enricher_descriptor_shortages_total",
    "Calls that were put off because this process may have no more files and sockets open.",
)
MEMORY_SHORTAGES = counter(
    "enricher_memory_shortages_total",
    "Leads and calls that were put off because this process could have no more memory.",
)
STALLED_SECONDS = counter(
    "enricher_stalled_seconds_total",
    "Time in which this process stood still, half a second or more at once; no vendor's failure.",
)
LOG_MESSAGES = counter(
    "enricher_log_messages_total", "Lines of the log, by severity.", level=LEVELS
)


# What the sources of one process show in series that they share.

Show: TypeAlias = Callable[[float], None]
Join: TypeAlias = Callable[[Sequence[float]], float]


def _earliest(times: Sequence[float]) -> float:
    """Return the earliest of the times that are known; 0 stands for one that is not."""
    return min((time for time in times if time), default=0.0)


@dataclass(frozen=True, slots=True)
class SourceGauges:
    """What one source of leads shows; with its defaults, that of a process that has no other."""

    in_work: Show = IN_WORK.set
    unwritable: Show = UNMOVED.labels("unwritable").set
    streaming: Show = STREAMING.set
    position: Show = STREAM_POSITION.set
    checkpoint: Show = CHECKPOINT.set
    preparing: Mapping[str, Show] = field(
        default_factory=lambda: {step: PREPARING.labels(step).set for step in PREPARATIONS}
    )


def share_gauges(sources: int) -> list[SourceGauges]:
    """Return one for each source of this process: what is shown says something of all of them."""
    if sources == 1:
        return [SourceGauges()]
    joints = {
        "in_work": _joint(IN_WORK, sum, sources),
        "unwritable": _joint(UNMOVED.labels("unwritable"), sum, sources),
        "streaming": _joint(STREAMING, min, sources),
        "position": _joint(STREAM_POSITION, _earliest, sources),
        "checkpoint": _joint(CHECKPOINT, _earliest, sources),
    }
    steps = {step: _joint(PREPARING.labels(step), max, sources) for step in PREPARATIONS}
    return [
        SourceGauges(
            **{name: shows[number] for name, shows in joints.items()},
            preparing={step: shows[number] for step, shows in steps.items()},
        )
        for number in range(sources)
    ]


def _joint(gauge: Gauge, join: Join, parts: int) -> list[Show]:
    """Return a setter for each part; the gauge shows what `join` makes of all their values."""
    values = [0.0] * parts

    def show(part: int, value: float) -> None:
        values[part] = value
        gauge.set(join(values))

    return [partial(show, part) for part in range(parts)]


def initialise(version: str, providers: Iterable[str]) -> None:
    """Create the series of these providers with 0."""
    BUILD.info({"version": version})
    for provider in providers:
        _initialise_provider(provider)


def _initialise_provider(provider: str) -> None:
    for answer in ANSWERS:
        REQUESTS.labels(provider, answer)
    for each in _OF_PROVIDERS:
        each.labels(provider)
    for reason in HOLDS:
        HOLD.labels(provider, reason)
    for reason in WAITS_FOR:
        PARKED.labels(provider, reason)
    for section in SECTIONS:
        FILLED_BY[section, provider] = FIELDS_FILLED.labels(section, provider)
    for by in ("cache", "coalescing"):
        CALLS_SAVED.labels(provider, by)


# What this process's series say now, for reports that read them instead of counting again.


def by_provider(series: Counter | Gauge) -> dict[str, float]:
    """Return provider -> the sum over all other labels."""
    found: defaultdict[str, float] = defaultdict(float)
    for family in series.collect():
        for sample in family.samples:
            found[sample.labels["provider"]] += sample.value
    return dict(found)


def value(gauge: Gauge) -> float:
    """Return the value of a gauge without labels."""
    [family] = gauge.collect()
    return family.samples[0].value
