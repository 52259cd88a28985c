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


def _value(series: str, **labels: str) -> float | None:
    return metrics.REGISTRY.get_sample_value(series, labels)


def test_of_several_sources_a_series_says_something_of_all() -> None:
    """Sums; but the stream is open when each is, and the position is that of the one furthest behind."""
    one, other = metrics.share_gauges(2)
    one.in_work(3)
    other.in_work(4)
    one.in_work(1)
    one.streaming(1)
    one.position(1000)
    one.preparing["indexes"](1)
    other.preparing["indexes"](0)
    assert _value("enricher_leads_in_work") == 5
    assert _value("enricher_stream_open") == 0
    assert _value("enricher_stream_position_timestamp_seconds") == 1000
    assert _value("enricher_preparing", step="indexes") == 1
    other.streaming(1)
    other.position(900)
    one.preparing["indexes"](0)
    assert _value("enricher_stream_open") == 1
    assert _value("enricher_stream_position_timestamp_seconds") == 900
    assert _value("enricher_preparing", step="indexes") == 0
    one.in_work(0)
    other.in_work(0)
