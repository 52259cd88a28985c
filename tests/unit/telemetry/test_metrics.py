"""What is served of the series, apart from their values."""

from __future__ import annotations

from prometheus_client import generate_latest

from enricher.telemetry import metrics


def test_there_is_no_created_series_beside_each_counter() -> None:
    metrics.initialise("1.2.3", ["acme"])
    served = generate_latest(metrics.REGISTRY).decode()
    assert 'enricher_provider_requests_total{outcome="found",provider="acme"}' in served
    assert "_created" not in served


def test_a_known_provider_has_its_gauges_from_the_start() -> None:
    metrics.initialise("1.2.3", ["newcomer"])
    for series in (
        "enricher_provider_waiting",
        "enricher_provider_held",
        "enricher_credits_charged_total",
        "enricher_provider_last_success_timestamp_seconds",
    ):
        assert metrics.REGISTRY.get_sample_value(series, {"provider": "newcomer"}) == 0
