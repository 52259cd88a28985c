"""The overview: is work getting done, how fast, what is stuck, is it worth it, what does it cost."""

from __future__ import annotations

from panels import (
    BLUE,
    GREEN,
    OURS,
    RANGE,
    RED,
    YELLOW,
    Board,
    Panel,
    Query,
    Row,
    at_least,
    at_most,
    increase,
    quantiles,
    rate,
    series,
    share,
)

_WAITED_FOR = 'lane=~"fresh|retry|interrupted"'
_ENDED = 'outcome=~"completed|failed"'
_AGES = ((None, GREEN), (60.0, YELLOW), (600.0, RED))
_NONE_IS_GOOD = ((None, GREEN), (1.0, YELLOW))

_SUCCEEDED = share(
    increase("enricher_leads_settled_total", 'outcome="completed"'),
    increase("enricher_leads_settled_total", _ENDED),
)
_RETRIED = share(
    increase("enricher_leads_retried_total"), increase("enricher_leads_settled_total", _ENDED)
)
_COMPLETENESS = share(
    increase("enricher_lead_completeness_ratio_sum"),
    increase("enricher_lead_completeness_ratio_count"),
)
_COMPANY = share(
    increase("enricher_companies_found_total"),
    increase("enricher_leads_with_business_address_total"),
)
_VERDICT = share(
    increase("enricher_verdicts_given_total"), increase("enricher_leads_with_address_total")
)
_MEAN_TIME = share(
    increase("enricher_end_to_end_seconds_sum"), increase("enricher_end_to_end_seconds_count")
)
_IN_TIME = share(
    increase("enricher_end_to_end_seconds_bucket", 'le="30.0"'),
    increase("enricher_end_to_end_seconds_count"),
)

_COMPLETED_IN_AN_HOUR = increase(
    "enricher_leads_settled_total", 'outcome="completed"', window="[1h]"
)


def _over_time(ratio: str) -> str:
    """The same figure hour by hour, in place of one for the whole time that is shown."""
    return ratio.replace(RANGE, "[1h]")


WORK = Row(
    "Is work getting done, and how fast?",
    [
        Panel(
            "Oldest lead that waits",
            "How long the oldest lead has been work that somebody waits for. This is what pages.",
            "s",
            [Query(f"max({series('enricher_oldest_pending_age_seconds', _WAITED_FOR)})")],
            "stat",
            4,
            _AGES,
        ),
        Panel(
            "Leads that are work now",
            "Counted in the database every ten seconds; backfills and refreshes included.",
            "short",
            [Query(f"sum(max by (lane) ({series('enricher_pending_leads')}))")],
            "stat",
            4,
            ((None, BLUE),),
        ),
        Panel(
            "Settled per minute",
            "Claims that came to an end, of all daemons; a lead that is to be retried counts each time.",
            "short",
            [Query(f"60 * {rate('enricher_leads_settled_total')}")],
            "stat",
            4,
            ((None, BLUE),),
        ),
        Panel(
            "Last settled",
            "Time since any daemon settled a lead.",
            "s",
            [Query(f"time() - max({series('enricher_last_settled_timestamp_seconds')} > 0)")],
            "stat",
            4,
            ((None, BLUE),),
        ),
        Panel(
            "Slots in use",
            "Leads in work of those that all daemons together may have in work.",
            "percentunit",
            [
                Query(
                    share(
                        f"sum({series('enricher_leads_in_work')})",
                        f"sum({series('enricher_concurrency')})",
                    )
                )
            ],
            "stat",
            4,
            ((None, BLUE),),
        ),
        Panel(
            "Daemons",
            "How many are scraped, by version.",
            "short",
            [Query(f"count by (version) ({series('enricher_build_info')})", "{{version}}")],
            "stat",
            4,
            ((None, RED), (1.0, GREEN)),
        ),
        Panel(
            "Leads in and out",
            "Leads that became work, and how claims ended. Settled below admitted for long: a backlog grows.",
            "short",
            [
                Query(rate("enricher_leads_admitted_total"), "admitted"),
                Query(rate("enricher_leads_settled_total", by="outcome"), "{{outcome}}"),
            ],
        ),
        Panel(
            "From work to settled",
            "From the moment a lead is work to its completed, failed or skipped. Promised: 15 s on average, "
            "30 s at most, when vendors answer and limits allow.",
            "s",
            quantiles("enricher_end_to_end_seconds", 0.5, 0.95, 0.99),
            steps=at_most(30),
            is_target=True,
        ),
        Panel(
            "Wait and work",
            "The two parts of it, 95th percentile: until a daemon claims the lead, and from there on.",
            "s",
            [
                Query(quantiles("enricher_queue_wait_seconds", 0.95)[0].expr, "wait"),
                Query(quantiles("enricher_lead_duration_seconds", 0.95)[0].expr, "work"),
            ],
        ),
    ],
)

STUCK = Row(
    "What is stuck?",
    [
        Panel(
            "Work by lane",
            "Leads that are work now: fresh (new, or asked for), backfill, retry (its time has come), "
            "interrupted (a lease ran out), refresh (done long ago).",
            "short",
            [Query(f"max by (lane) ({series('enricher_pending_leads')})", "{{lane}}")],
            is_stacked=True,
        ),
        Panel(
            "Oldest by lane",
            "How long the oldest lead of each lane has been work.",
            "s",
            [Query(f"max by (lane) ({series('enricher_oldest_pending_age_seconds')})", "{{lane}}")],
        ),
        Panel(
            "Parked leads",
            "Leads that wait until a provider may be asked again, by what keeps it now: its key, quota or "
            "budget, an open circuit, its limit.",
            "short",
            [
                Query(
                    f"max by (provider, reason) ({series('enricher_leads_parked')}) > 0",
                    "{{provider}} {{reason}}",
                )
            ],
            is_stacked=True,
        ),
        Panel(
            "Leads by status",
            "All leads of the collection. Completed, failed and skipped are counted once a minute.",
            "short",
            [Query(f"max by (status) ({series('enricher_leads')})", "{{status}}")],
        ),
        Panel(
            "Failed and skipped",
            "Leads that ended without what was hoped for, and why they were skipped.",
            "short",
            [
                Query(rate("enricher_leads_settled_total", 'outcome="failed"'), "failed"),
                Query(rate("enricher_leads_skipped_total", by="reason"), "{{reason}}"),
            ],
        ),
        Panel(
            "Lost, dropped, given back",
            "Leases lost, results that could not be written, leads that cannot be written at all or are held "
            "by a writer's transaction, and leads given back at a stop. A user's pending during the work "
            "causes lease_lost.",
            "short",
            [
                Query(
                    increase("enricher_leases_lost_total", by="found_by", window="[5m]"),
                    "lease lost: {{found_by}}",
                ),
                Query(
                    increase("enricher_results_dropped_total", by="why", window="[5m]"),
                    "dropped: {{why}}",
                ),
                Query(increase("enricher_leads_unwritable_total", window="[5m]"), "unwritable"),
                Query(increase("enricher_leads_blocked_total", window="[5m]"), "held by a writer"),
                Query(increase("enricher_leads_released_total", window="[5m]"), "given back"),
            ],
        ),
    ],
)

WORTH = Row(
    "Is it worth it? The promises, over the time that is shown",
    [
        Panel(
            "Leads that succeed",
            "Completed, of completed and failed. Promised: over 85 %.",
            "percentunit",
            [Query(_SUCCEEDED)],
            "stat",
            4,
            at_least(0.85),
        ),
        Panel(
            "Leads that need a retry",
            "Took more than one attempt, of completed and failed. Promised: under 20 %.",
            "percentunit",
            [Query(_RETRIED)],
            "stat",
            4,
            at_most(0.2),
        ),
        Panel(
            "Mean completeness",
            "Of completed leads; 100 % is a lead of which nothing is missing. Promised: over 60 %.",
            "percentunit",
            [Query(_COMPLETENESS)],
            "stat",
            4,
            at_least(0.6),
        ),
        Panel(
            "Company found",
            "Of leads with a company domain. Promised: over 70 %.",
            "percentunit",
            [Query(_COMPANY)],
            "stat",
            4,
            at_least(0.7),
        ),
        Panel(
            "E-mail verdict given",
            "Of leads with an address to ask about. Promised: over 90 %.",
            "percentunit",
            [Query(_VERDICT)],
            "stat",
            4,
            at_least(0.9),
        ),
        Panel(
            "Mean time to settled",
            "Promised: under 15 s, when vendors answer and limits allow.",
            "s",
            [Query(_MEAN_TIME)],
            "stat",
            4,
            at_most(15),
        ),
        *(
            Panel(
                title,
                f"The last hour's figure; the line is the promise ({promise}).",
                "percentunit",
                [Query(_over_time(ratio), legend)],
                "timeseries",
                4,
                target,
                is_target=True,
                most=1.0,
            )
            for title, promise, ratio, legend, target in (
                ("Success by the hour", "over 85 %", _SUCCEEDED, "succeed", at_least(0.85)),
                ("Retries by the hour", "under 20 %", _RETRIED, "retried", at_most(0.2)),
                (
                    "Completeness by the hour",
                    "over 60 %",
                    _COMPLETENESS,
                    "completeness",
                    at_least(0.6),
                ),
                ("Companies by the hour", "over 70 %", _COMPANY, "found", at_least(0.7)),
                ("Verdicts by the hour", "over 90 %", _VERDICT, "given", at_least(0.9)),
                (
                    "Within 30 s by the hour",
                    "always, when limits allow",
                    _IN_TIME,
                    "within 30 s",
                    at_least(0.99),
                ),
            )
        ),
        Panel(
            "Fields by who gave them",
            "Fields of the leads that were completed in the last hour, by the provider whose value stands there.",
            "short",
            [
                Query(
                    increase("enricher_fields_filled_total", by="provider", window="[1h]"),
                    "{{provider}}",
                )
            ],
            width=12,
            is_stacked=True,
        ),
        Panel(
            "Fields about which providers disagree",
            "Of the leads that were completed in the last hour; what lost stands in their alternatives.",
            "short",
            [
                Query(
                    increase("enricher_field_conflicts_total", by="section", window="[1h]"),
                    "{{section}}",
                )
            ],
            width=12,
        ),
    ],
)

COST = Row(
    "What does it cost?",
    [
        Panel(
            "Requests per day",
            "Tries of each provider in the 24 hours before.",
            "short",
            [
                Query(
                    increase(
                        "enricher_provider_requests_total", 'provider!="local"', "provider", "[1d]"
                    ),
                    "{{provider}}",
                )
            ],
            is_stacked=True,
        ),
        Panel(
            "Charged calls per day",
            "Calls that the vendor charges for, by its own rules, in the 24 hours before.",
            "short",
            [
                Query(
                    increase("enricher_calls_charged_total", by="provider", window="[1d]"),
                    "{{provider}}",
                )
            ],
            is_stacked=True,
        ),
        Panel(
            "Credits per day",
            "What those calls cost in each vendor's own unit, in the 24 hours before.",
            "short",
            [
                Query(
                    increase("enricher_credits_charged_total", by="provider", window="[1d]"),
                    "{{provider}}",
                )
            ],
            is_stacked=True,
        ),
        Panel(
            "Credits per completed lead",
            "Of the last hour.",
            "short",
            [
                Query(
                    increase("enricher_credits_charged_total", by="provider", window="[1h]")
                    + f" / on () group_left () ({_COMPLETED_IN_AN_HOUR} > 0)",
                    "{{provider}}",
                )
            ],
        ),
        Panel(
            "Rechecks per day",
            "Thin leads that were looked at again in the 24 hours before, by what came of it, and those that are "
            "due now. None where ENRICHER_RECHECKS is not set.",
            "short",
            [
                Query(
                    increase("enricher_rechecks_total", by="result", window="[1d]"), "{{result}}"
                ),
                Query(f"max({series('enricher_rechecks_due')})", "due now"),
            ],
        ),
        Panel(
            "Left of the budgets",
            "Share of each budget that is set, by vendor and period (UTC).",
            "percentunit",
            [
                Query(
                    f"max by (vendor, period) ({series('enricher_budget_left_calls')})"
                    f" / max by (vendor, period) ({series('enricher_budget_limit_calls')} > 0)",
                    "{{vendor}}, {{period}}",
                )
            ],
            most=1.0,
        ),
        Panel(
            "Calls saved, and looks for kept answers",
            "Questions that needed no call (kept from earlier, or shared by several leads), and what was there "
            "when a kept answer was looked for.",
            "short",
            [
                Query(rate("enricher_calls_saved_total", by="by"), "saved by {{by}}"),
                Query(rate("enricher_cache_requests_total", by="result"), "look: {{result}}"),
            ],
        ),
        Panel(
            "Credits per field filled",
            "What a vendor charged for a value of its own on a lead, of the last day. `enricher report` has what "
            "another order would cost.",
            "short",
            [
                Query(
                    f"{increase('enricher_credits_charged_total', by='provider', window='[1d]')}"
                    f" / ({increase('enricher_fields_filled_total', by='provider', window='[1d]')} > 0)",
                    "{{provider}}",
                )
            ],
        ),
        Panel(
            "Cost per field filled",
            "The same in money, for the vendors whose price is set (<VENDOR>_CREDIT_PRICE).",
            "short",
            [
                Query(
                    f"{increase('enricher_credits_charged_total', by='provider', window='[1d]')}"
                    f" * on (provider) max by (provider) ({series('enricher_credit_price')})"
                    f" / on (provider) ({increase('enricher_fields_filled_total', by='provider', window='[1d]')} > 0)",
                    "{{provider}}",
                )
            ],
        ),
        Panel(
            "Place in the order of asking",
            "From 1, within a kind, with ENRICHER_PROVIDER_ORDER=auto; nothing is shown where the operator sets the order.",
            "short",
            [Query(f"max by (provider) ({series('enricher_provider_place')} > 0)", "{{provider}}")],
        ),
    ],
)

GROUND = Row(
    "Stream, database, process",
    [
        Panel(
            "Stream open",
            "1 while new leads are seen at once, 0 while they are found by polling; how streams began; and what a large "
            "collection makes long.",
            "short",
            [
                Query(f"min({series('enricher_stream_open')})", "open"),
                Query(
                    increase("enricher_stream_opens_total", by="start", window="[5m]"),
                    "opened by {{start}}",
                ),
                Query(f"max by (step) ({series('enricher_preparing')})", "under way: {{step}}"),
            ],
        ),
        Panel(
            "How far the stream is behind",
            "Age of the position up to which the change stream was read (some ten seconds on a quiet server), "
            "of its saved copy, and of the last event.",
            "s",
            [
                Query(
                    f"time() - min({series('enricher_stream_position_timestamp_seconds')} > 0)",
                    "position",
                ),
                Query(
                    f"time() - max({series('enricher_checkpoint_saved_timestamp_seconds')} > 0)",
                    "saved position",
                ),
                Query(
                    f"time() - max({series('enricher_stream_last_event_timestamp_seconds')} > 0)",
                    "last event",
                ),
            ],
        ),
        Panel(
            "Used of the oplog's window",
            "The position's age as a share of how far back MongoDB's log goes. At 100 % leads are found by a "
            "search only. Not there where the user may not read the log.",
            "percentunit",
            [
                Query(
                    f"(time() - min({series('enricher_stream_position_timestamp_seconds')} > 0))"
                    f" / min({series('enricher_oplog_window_seconds')} > 0)",
                    "used",
                )
            ],
            steps=at_most(0.25),
            is_target=True,
        ),
        Panel(
            "Events, claims and lost races",
            "Change events received, leads claimed, and candidates that another daemon was quicker to claim.",
            "short",
            [
                Query(rate("enricher_stream_events_total"), "events"),
                Query(rate("enricher_leads_claimed_total"), "claimed"),
                Query(rate("enricher_claims_lost_total"), "lost to others"),
            ],
        ),
        Panel(
            "Errors of the database, and the log",
            "Errors that a loop waited out, by loop; lines of the log from warnings up; and how old the count of "
            "the backlog is.",
            "short",
            [
                Query(
                    increase("enricher_database_errors_total", by="loop", window="[5m]"),
                    "database: {{loop}}",
                ),
                Query(
                    increase(
                        "enricher_log_messages_total",
                        'level=~"warning|error|critical"',
                        "level",
                        "[5m]",
                    ),
                    "log: {{level}}",
                ),
                Query(
                    f"time() - max({series('enricher_backlog_counted_timestamp_seconds')} > 0)",
                    "backlog counted, s ago",
                ),
            ],
        ),
        Panel(
            "Events and the webhook",
            "Events of settles as they are published, tries of the webhook by how they ended and how long they took; "
            "events that it is yet to get, and the age of the oldest. Disabled: a daemon was answered 410 Gone.",
            "short",
            [
                Query(rate("enricher_events_published_total", by="by"), "published: {{by}}"),
                Query(rate("enricher_webhook_deliveries_total", by="outcome"), "{{outcome}}"),
                Query(
                    quantiles("enricher_webhook_request_seconds", 0.95)[0].expr, "a try, s (p95)"
                ),
                Query(f"max({series('enricher_webhook_waiting')})", "waiting"),
                Query(f"max({series('enricher_webhook_oldest_age_seconds')})", "oldest, s"),
                Query(f"sum({series('enricher_webhook_disabled')})", "disabled"),
            ],
        ),
        Panel(
            "Memory",
            "Resident memory by daemon.",
            "bytes",
            [
                Query(f"process_resident_memory_bytes{{{OURS}}}", "memory {{instance}}"),
            ],
        ),
        Panel(
            "Cores in use",
            "By daemon; each can use one core.",
            "short",
            [Query(f"rate(process_cpu_seconds_total{{{OURS}}}[$__rate_interval])", "{{instance}}")],
        ),
    ],
)

OVERVIEW = Board(
    "enricher-overview",
    "enricher / Overview",
    "Is work getting done, how fast, what is stuck, is it worth it, what does it cost.",
    [WORK, STUCK, WORTH, COST, GROUND],
)
