"""One provider or several: how it answers, what its limit, its quota and its budget leave."""

from __future__ import annotations

from panels import (
    CHOSEN,
    GREEN,
    RED,
    YELLOW,
    Board,
    Panel,
    Query,
    Row,
    at_most,
    increase,
    quantile,
    rate,
    series,
    share,
)

_REQUESTS = "enricher_provider_requests_total"
_STOPS = ((None, GREEN), (1.0, RED))


def _each(
    name: str, more: str = "", by: str = "provider", window: str = "[$__rate_interval]"
) -> str:
    return rate(name, more, by, window, CHOSEN)


ANSWERS = Row(
    "How does it answer?",
    [
        Panel(
            "Held",
            "Providers that are not asked: the key is refused, the quota or our budget is used up.",
            "short",
            [Query(f"sum(max by (provider) ({series('enricher_provider_held', ours=CHOSEN)}))")],
            "stat",
            6,
            _STOPS,
        ),
        Panel(
            "Circuits open",
            "Providers that are left alone because they failed for everybody.",
            "short",
            [
                Query(
                    f"sum(max by (provider) ({series('enricher_provider_circuit_open', ours=CHOSEN)}))"
                )
            ],
            "stat",
            6,
            _STOPS,
        ),
        Panel(
            "Answered, of all tries",
            "Found or not found, over the time that is shown.",
            "percentunit",
            [
                Query(
                    share(
                        increase(_REQUESTS, 'outcome=~"found|not_found"', ours=CHOSEN),
                        increase(_REQUESTS, ours=CHOSEN),
                    )
                )
            ],
            "stat",
            6,
            ((None, RED), (0.8, YELLOW), (0.95, GREEN)),
        ),
        Panel(
            "Leads that wait for a limit",
            "Leads in work that wait for a slot, or for the end of a pause that the vendor asked for.",
            "short",
            [Query(f"sum({series('enricher_provider_waiting', ours=CHOSEN)})")],
            "stat",
            6,
            ((None, GREEN), (100.0, YELLOW)),
        ),
        Panel(
            "Tries by provider",
            "Calls a second, retries included.",
            "reqps",
            [Query(_each(_REQUESTS), "{{provider}}")],
        ),
        Panel(
            "Tries by what came back",
            "Preparing, throttled, unavailable, held and objected are no answers.",
            "reqps",
            [Query(_each(_REQUESTS, by="outcome"), "{{outcome}}")],
            is_stacked=True,
        ),
        Panel(
            "Tries without an answer",
            "Share of throttled and unavailable tries. The vendor's status page says more about the latter.",
            "percentunit",
            [
                Query(
                    share(_each(_REQUESTS, 'outcome=~"throttled|unavailable"'), _each(_REQUESTS)),
                    "{{provider}}",
                )
            ],
            most=1.0,
        ),
        Panel(
            "Duration, median",
            "Of one try.",
            "s",
            [
                Query(
                    quantile(0.5, "enricher_provider_request_seconds", "provider", CHOSEN),
                    "{{provider}}",
                )
            ],
            width=6,
        ),
        Panel(
            "Duration, 95th percentile",
            "Of one try; at ENRICHER_PROVIDER_TIMEOUT_SECONDS it is given up.",
            "s",
            [
                Query(
                    quantile(0.95, "enricher_provider_request_seconds", "provider", CHOSEN),
                    "{{provider}}",
                )
            ],
            width=6,
        ),
        Panel(
            "Retries within an attempt",
            "Tries that were repeated, a second.",
            "reqps",
            [Query(_each("enricher_provider_retries_total"), "{{provider}}")],
            width=6,
        ),
        Panel(
            "Records that have changed",
            "Answers of the last hour in which fields that the vendor is documented to send were missing or of "
            "another type. The log names the fields (provider.schema_drift).",
            "short",
            [
                Query(
                    increase(
                        "enricher_schema_drift_total", by="provider", window="[1h]", ours=CHOSEN
                    ),
                    "{{provider}}",
                )
            ],
            width=6,
        ),
    ],
)

LIMITS = Row(
    "What does its limit leave?",
    [
        Panel(
            "Use of the limit",
            "Calls of the whole fleet as a share of what the limit allows; routes that share one are added up. "
            "While there is work it should be at 97 % or more for one of them.",
            "percentunit",
            [
                Query(
                    f"sum by (bucket) (rate({series(_REQUESTS, ours=CHOSEN)}[$__rate_interval])"
                    f" * on (job, instance, provider) group_left (bucket)"
                    f" ({series('enricher_provider_limit_calls_per_second', ours=CHOSEN)} > bool 0))"
                    f" / max by (bucket) ({series('enricher_provider_limit_calls_per_second', ours=CHOSEN)} > 0)",
                    "{{bucket}}",
                )
            ],
            steps=at_most(1.0),
            is_target=True,
        ),
        Panel(
            "Leads that wait",
            "For a slot in the limit, or for the end of a pause.",
            "short",
            [
                Query(
                    f"sum by (provider) ({series('enricher_provider_waiting', ours=CHOSEN)})",
                    "{{provider}}",
                )
            ],
        ),
        Panel(
            "Time spent waiting",
            "Seconds that leads in work waited for the limit, a second: 5 are five leads that wait all the time.",
            "short",
            [Query(_each("enricher_provider_limit_wait_seconds_total"), "{{provider}}")],
        ),
        Panel(
            "Left in the vendor's windows",
            "As the vendor's headers last said; whoever else uses the key is in it too.",
            "short",
            [
                Query(
                    f"min by (provider, window) ({series('enricher_provider_window_left_calls', ours=CHOSEN)})",
                    "{{provider}}, {{window}}",
                )
            ],
        ),
        Panel(
            "Why it is held",
            "1 while it is: key (refused), quota or budget (used up), unreadable (answers), objections (too many), other.",
            "short",
            [
                Query(
                    f"max by (provider, reason) ({series('enricher_provider_hold', ours=CHOSEN)})",
                    "{{provider}} {{reason}}",
                )
            ],
            most=1.0,
        ),
        Panel(
            "Time since the last answer",
            "Found or not found; of providers that have answered since the daemon started.",
            "s",
            [
                Query(
                    f"time() - max by (provider) ({series('enricher_provider_last_success_timestamp_seconds', ours=CHOSEN)} > 0)",
                    "{{provider}}",
                )
            ],
        ),
    ],
)

MONEY = Row(
    "What do its quota and its budget leave?",
    [
        Panel(
            "Left of the vendor's plan",
            "Credits, as the vendor last said; only some say it.",
            "short",
            [
                Query(
                    f"min by (provider) ({series('enricher_provider_quota_left_credits', ours=CHOSEN)})",
                    "{{provider}}",
                )
            ],
        ),
        Panel(
            "Left of the budget",
            "Calls, by vendor and period (UTC); of all providers of the vendor, whatever is chosen above.",
            "short",
            [
                Query(
                    f"max by (vendor, period) ({series('enricher_budget_left_calls')})",
                    "{{vendor}}, {{period}}",
                )
            ],
        ),
        Panel(
            "Charged calls per hour",
            "Calls that the vendor charges for, and those of which nobody knows.",
            "short",
            [
                Query(
                    increase(
                        "enricher_calls_charged_total", by="provider", window="[1h]", ours=CHOSEN
                    ),
                    "{{provider}}",
                ),
                Query(
                    increase(
                        "enricher_calls_ambiguous_total", by="provider", window="[1h]", ours=CHOSEN
                    ),
                    "{{provider}}, unknown",
                ),
            ],
        ),
        Panel(
            "Calls saved per hour",
            "Answers that needed no call: kept from earlier, or shared by several leads; and those that a lead could not afford.",
            "short",
            [
                Query(
                    increase(
                        "enricher_calls_saved_total", by="provider", window="[1h]", ours=CHOSEN
                    ),
                    "{{provider}}",
                ),
                Query(
                    increase(
                        "enricher_calls_capped_total", by="provider", window="[1h]", ours=CHOSEN
                    ),
                    "{{provider}}, not asked for its price",
                ),
            ],
        ),
        Panel(
            "Parked leads",
            "Leads that wait until the provider may be asked again.",
            "short",
            [
                Query(
                    f"max by (provider) (sum by (job, instance, provider)"
                    f" ({series('enricher_leads_parked', ours=CHOSEN)}))",
                    "{{provider}}",
                )
            ],
        ),
        Panel(
            "Fields it gave",
            "Fields of the leads that were completed in the last hour with a value of this provider.",
            "short",
            [
                Query(
                    increase(
                        "enricher_fields_filled_total",
                        by="provider, section",
                        window="[1h]",
                        ours=CHOSEN,
                    ),
                    "{{provider}} {{section}}",
                )
            ],
        ),
    ],
)

PROVIDERS = Board(
    "enricher-providers",
    "enricher / Providers",
    "How each provider answers, and what its limit, its quota and its budget leave.",
    [ANSWERS, LIMITS, MONEY],
    has_providers=True,
)
