"""How long a vendor asks us to wait: five encodings, each of them also empty or garbled."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from enricher.providers import transport
from enricher.providers.apollo import LEFT as APOLLO

NOW = datetime(2026, 10, 7, 12, 0, 0, tzinfo=UTC)
EPOCH = int(NOW.timestamp())
GARBAGE = [
    "",
    " ",
    "soon",
    "-5",
    "1e5",
    "0x10",
    "nan",
    "inf",
    "12 34",
    "²",
    "9" * 400,
    "{}",
    "\x00",
]


YEARS = ["Fri, 31 Dec 9999 23:59:59 GMT", "1893456000000", "1893456000", "86400", "9" * 15]
"""By a date, by moments of an epoch in milliseconds and seconds, and by seconds."""
SEVERAL = ["2, 4", "4, 2", "4, 4", "1, 4", "x, 4", "4;q=1", "4, soon"]
"""The longest counts."""


def test_the_vendors_own_clock_is_read_from_the_date_header() -> None:
    assert transport.answered_at({"date": "Wed, 07 Oct 2026 12:00:00 GMT"}) == NOW
    assert transport.answered_at({}) is None


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("30", 30.0),
        (" 30 ", 30.0),
        ("1.5", 1.5),
        (format_datetime(NOW + timedelta(seconds=90), usegmt=True), 90.0),
        ("Wednesday, 07-Oct-26 12:01:00 GMT", 60.0),
        ("Wed Oct  7 12:01:00 2026", 60.0),
        ("0", None),
        (format_datetime(NOW - timedelta(seconds=90), usegmt=True), None),
        ("99999999", transport.LONGEST_DELAY_SECONDS),
        *((years, transport.LONGEST_DELAY_SECONDS) for years in YEARS),
        *((several, 4.0) for several in SEVERAL),
        *((value, None) for value in GARBAGE),
    ],
)
def test_retry_after_is_seconds_or_an_http_date(value: str, seconds: float | None) -> None:
    assert transport.retry_after({"retry-after": value}, NOW) == seconds


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (str(EPOCH + 45), 45.0),
        (str((EPOCH + 45) * 1000), 45.0),
        (f"{EPOCH + 45}.5", 45.5),
        ("3300", 3300.0),
        ("2026-10-07T12:00:20Z", 20.0),
        ("2026-10-07T14:00:20+02:00", 20.0),
        ("2026-10-07 12:00:20", 20.0),
        ("0", None),
        (str(EPOCH - 45), None),
        (str(EPOCH + 10**8), transport.LONGEST_DELAY_SECONDS),
        *((value, None) for value in GARBAGE),
    ],
)
def test_a_reset_is_epoch_or_relative_seconds_or_an_iso_time(
    value: str, seconds: float | None
) -> None:
    assert transport.reset_after({"x-ratelimit-reset": value}, NOW) == seconds


def test_without_a_clock_only_relative_hints_are_understood() -> None:
    assert transport.retry_after({"retry-after": "30"}, None) == 30.0
    assert transport.retry_after({"retry-after": "Wed, 07 Oct 2026 12:01:00 GMT"}, None) is None
    assert transport.reset_after({"x-ratelimit-reset": str(EPOCH + 45)}, None) is None


def test_a_missing_header_says_nothing() -> None:
    assert transport.retry_after({}, NOW) is None
    assert transport.reset_after({}, NOW) is None


def test_the_name_of_the_reset_header_can_be_the_vendors_own() -> None:
    assert transport.reset_after({"x-reset": "7"}, NOW, name="x-reset") == 7.0


def test_seconds_until_a_date_are_capped_where_the_caller_says() -> None:
    assert transport.seconds_until("2026-10-08", NOW) == 12 * 3600.0
    assert transport.seconds_until("2026-12-01", NOW, longest=60.0) == 60.0
    assert transport.seconds_until(None, NOW) is None


@given(value=st.text() | st.from_regex(r"\w{3}, \d+ \w{3} \d+ [\d:]+ [+-]?\w+"))
@settings(deadline=None)
def test_no_header_whatever_its_value_raises_or_leaves_the_range(value: str) -> None:
    headers = {"retry-after": value, "x-ratelimit-reset": value, "date": value}
    transport.answered_at(headers)
    for seconds in (transport.retry_after(headers, NOW), transport.reset_after(headers, NOW)):
        assert seconds is None or 0 < seconds <= transport.LONGEST_DELAY_SECONDS


# -- the last call of a window -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        pytest.param(
            {"x-ratelimit-remaining": "0", "x-ratelimit-reset": str(EPOCH + 7)}, 7, id="epoch"
        ),
        pytest.param({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "33"}, 33, id="relative"),
        pytest.param(
            {
                "x-ratelimit-remaining": '{"minute": 0, "day": null, "month": 90}',
                "x-ratelimit-reset": "2026-10-07T12:00:20Z",
            },
            20,
            id="object of windows, ISO reset",
        ),
        pytest.param({"x-ratelimit-remaining": '{"minute": 5, "day": 0}'}, 86_400, id="object"),
        pytest.param({"x-ratelimit-remaining.minute": "0"}, 60, id="a header for each window"),
        pytest.param({"x-hourly-requests-left": "0"}, 3600, id="names of its own"),
        pytest.param({"x-ratelimit-remaining": "0"}, 60, id="no reset at all"),
    ],
)
def test_who_used_the_last_call_of_a_window_waits_for_its_end(
    headers: dict[str, str], seconds: float
) -> None:
    assert transport.spent(headers, NOW, APOLLO) == seconds


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"x-ratelimit-remaining": "1", "x-ratelimit-reset": "33"},
        {"x-ratelimit-remaining": '{"minute": 17, "day": null}'},
        {"x-minute-requests-left": "", "x-hourly-requests-left": "3"},
        {"x-24-hour-requests-left": "0"},
    ],
)
def test_with_calls_left_or_without_a_limit_nobody_waits(headers: dict[str, str]) -> None:
    assert transport.spent(headers, NOW, APOLLO) is None


@pytest.mark.parametrize("garbage", [*GARBAGE, "[]", "null", '{"minute": {}}', "[" * 100_000])
@pytest.mark.parametrize("name", ["x-ratelimit-remaining", "x-minute-requests-left"])
def test_a_garbled_count_says_nothing(name: str, garbage: str) -> None:
    assert transport.spent({name: garbage}, NOW, APOLLO) is None
