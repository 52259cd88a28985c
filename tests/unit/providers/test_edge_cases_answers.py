"""The edge cases of what a vendor answers, P1 to P25, as far as one provider and the merge decide them.

What takes a gate, a breaker, a budget or a database is shown elsewhere: `EDGE_CASES.md` says where.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

import bson
import pytest
from pydantic import SecretStr

from enricher.answer import (
    Answer,
    Found,
    Held,
    NotFound,
    Objected,
    Preparing,
    Reply,
    Throttled,
    Unavailable,
)
from enricher.providers import transport
from enricher.providers.base import Access
from enricher.providers.clearbit import ClearbitCompany
from enricher.providers.http import HttpProvider
from enricher.providers.hunter import HunterVerifier
from enricher.values.merge import merge
from tests.support.mock_client import mock_client
from tests.support.scripted import company, verdict

NOW = datetime(2026, 10, 7, 12, 0, 0, tzinfo=UTC)
DATE = {"date": format_datetime(NOW, usegmt=True)}
IN_HALF_A_MINUTE = {"retry-after": "Wed, 07 Oct 2026 12:00:30 GMT", **DATE}
ORDER = ("clearbit", "pdl", "hunter")
BASE = Reply(404, {}, b'{"error": {"type": "unknown_record"}}')

Vendor = type[HttpProvider]


def made(vendor: Vendor) -> HttpProvider:
    http = mock_client()
    return vendor(http, Access(SecretStr("key"), vendor.host))


def reply(status: int, body: object = b"", headers: dict[str, str] | None = None) -> Reply:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Reply(status, headers or {}, raw)


CLEARBIT, HUNTER = ClearbitCompany, HunterVerifier
DEEP = b'{"id": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
NO_RECORD = {"error": {"type": "unknown_record"}}


def error(slug: str) -> dict[str, object]:
    """Hunter's form."""
    return {"errors": [{"id": slug, "code": 0, "details": "text"}]}


MEANINGS: list[tuple[str, Vendor, Reply, Answer]] = [
    ("P1-200-without-a-record", CLEARBIT, reply(200, {"id": "1"}), NotFound("the record is empty")),
    ("P2-404-is-a-miss", CLEARBIT, reply(404, NO_RECORD), NotFound()),
    ("P3-202-is-no-error", CLEARBIT, reply(202), Preparing()),
    ("P3-202-of-a-verifier", HUNTER, reply(202, {"data": {"status": "valid"}}), Preparing()),
    (
        "P4-222-is-tried-later",
        HUNTER,
        reply(222),
        Unavailable("the mailbox's server gave no clear answer (222)"),
    ),
    ("P5-403-is-the-rate-limit", HUNTER, reply(403, error("rate_limit")), Throttled()),
    (
        "P6-402-is-the-plan",
        HUNTER,
        reply(402, error("payment_required")),
        Held("the quota is used up"),
    ),
    ("P7-451-is-an-objection", HUNTER, reply(451, error("claimed_email")), Objected()),
    ("P8-402-holds-this-vendor-alone", CLEARBIT, reply(402), Held("the quota is used up")),
    ("P9-401-is-the-key", CLEARBIT, reply(401), Held("the key is refused")),
    ("P10-seconds", HUNTER, reply(429, b"", {"retry-after": "7"}), Throttled(7.0)),
    ("P10-a-date", HUNTER, reply(429, b"", IN_HALF_A_MINUTE), Throttled(30.0)),
    ("P11-no-header-at-all", CLEARBIT, reply(429), Throttled()),
    ("P14-empty-headers", CLEARBIT, reply(429, b"", {"x-ratelimit-reset": ""}), Throttled()),
    (
        "P20-html",
        CLEARBIT,
        reply(200, b"<html>Welcome</html>"),
        Unavailable("the body is not a company record"),
    ),
    ("P20-empty", CLEARBIT, reply(200), Unavailable("the body is not a company record")),
    ("P20-deep", CLEARBIT, reply(200, DEEP), Unavailable("the body is not a company record")),
    ("P24-gone", CLEARBIT, reply(410), Unavailable("410")),
]


@pytest.mark.parametrize(
    ("vendor", "said", "answer"), [pytest.param(*rest, id=line) for line, *rest in MEANINGS]
)
def test_a_reply_means_what_its_vendor_means_by_it(
    vendor: Vendor, said: Reply, answer: Answer
) -> None:
    assert made(vendor).interpret(said) == answer


@pytest.mark.parametrize(
    ("vendor", "said", "charged"),
    [
        pytest.param(CLEARBIT, BASE, True, id="P2-a-miss-of-clearbit-is-charged"),
        pytest.param(HUNTER, reply(404), False, id="P2-a-miss-of-hunter-is-not"),
        pytest.param(HUNTER, reply(202), False, id="P3-a-poll-is-not-charged"),
    ],
)
def test_a_reply_costs_what_its_vendor_charges(vendor: Vendor, said: Reply, charged: bool) -> None:
    assert made(vendor).is_charged(said) == charged


@pytest.mark.parametrize(
    "windows", [pytest.param(HUNTER.windows, id="P12-several-windows-at-once")]
)
def test_a_provider_has_a_list_of_windows(windows: tuple[Any, ...]) -> None:
    assert len(windows) > 1


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({"x-ratelimit-remaining": ""}, id="P14-an-empty-count-is-no-limit"),
        pytest.param({"x-minute-requests-left": ""}, id="P14-an-empty-count-of-apollo-is-none"),
    ],
)
def test_an_empty_count_stops_nobody(headers: dict[str, str]) -> None:
    assert transport.spent(headers, NOW) is None


# What the merge makes of it: before -> answers -> company_data or email_verification, alternatives


def pdl(values: dict[str, object], confidence: float | None = None) -> dict[str, Found]:
    return {"pdl": Found({"company_data": values}, confidence)}


def both(**values: tuple[object, object]) -> dict[str, Found]:
    """Each field as Clearbit says it and as another vendor does."""
    return {
        "clearbit": company(**{name: first for name, (first, _) in values.items()}),
        "pdl": company(**{name: second for name, (_, second) in values.items()}),
    }


BLANKS: tuple[object, ...] = (None, "", "N/A", "Unknown", "-", 0, [], {})

MERGED: list[tuple[str, dict[str, Found], Any, Any]] = [
    (
        "P15-unlikely-is-a-candidate",
        pdl({"name": "Acme"}, 0.4),
        None,
        {"company_data": {"name": {"pdl": "Acme"}}},
    ),
    ("P15-likely-is-a-value", pdl({"name": "Acme"}, 0.6), {"name": "Acme"}, None),
    *(
        (f"P17-{blank!r}-is-absent", both(name=(blank, "Acme")), {"name": "Acme"}, None)
        for blank in BLANKS
    ),
    ("P17-a-count-of-0-is-absent", both(employee_count=(0, 7)), {"employee_count": 7}, None),
    (
        "P18-the-loser-is-kept",
        both(name=("Acme", "Acme Holding")),
        {"name": "Acme"},
        {"company_data": {"name": {"pdl": "Acme Holding"}}},
    ),
    (
        "P19-a-range-stays-a-range",
        both(employee_count=("51-200", 120)),
        {"employee_range": "51-200", "employee_count": 120},
        None,
    ),
    (
        "P19-labels-are-compared-as-intervals",
        both(employee_range=("1K-5K", "1001-5000")),
        {"employee_range": "1K-5K"},
        {"company_data": {"employee_range": {"pdl": "1001-5000"}}},
    ),
    (
        "P19-a-count-beside-a-range-that-contradicts-it",
        both(employee_count=(550, None), employee_range=("51-250", None)),
        {"employee_count": 550, "employee_range": "51-250"},
        None,
    ),
    (
        "P19-money",
        both(annual_revenue=("$10M", 10_000_000)),
        {"annual_revenue": 10_000_000},
        None,
    ),
    (
        "P19-country",
        both(country=("USA", "united states")),
        {"country": "United States", "country_code": "US"},
        None,
    ),
    (
        "P19-phone",
        both(phone=("+1 (415) 555-01", "00141555501")),
        {"phone": "+1 (415) 555-01"},
        None,
    ),
    ("P21-names-of-keys", pdl({"$a.b": "x"}), {"_a_b": "x"}, None),
    ("P21-larger-than-a-document", pdl({"name": "x" * 17_000_000}), None, None),
]


@pytest.mark.parametrize(
    ("answers", "values", "others"), [pytest.param(*rest, id=line) for line, *rest in MERGED]
)
def test_answers_become_these_values(answers: dict[str, Found], values: Any, others: Any) -> None:
    merged = merge({}, answers, ORDER)
    assert merged["company_data"] == values
    assert merged["enrichment_metadata"].get("alternatives") == others
    assert bson.encode(merged)


@pytest.mark.parametrize(
    "poorer",
    [pytest.param(blank, id=f"P17-{blank!r}-over-time") for blank in BLANKS],
)
def test_a_later_poorer_answer_changes_nothing(poorer: object) -> None:
    before = merge({}, {"clearbit": company(name="Acme")}, ORDER)
    assert merge(before, {"clearbit": company(name=poorer)}, ORDER) == before


@pytest.mark.parametrize(
    ("said", "stored"),
    [
        pytest.param("accept_all", "accept_all", id="P25-accept_all"),
        pytest.param("catch-all", "accept_all", id="P25-catch-all"),
        pytest.param("Risky", "risky", id="P25-risky"),
    ],
)
def test_a_status_that_is_not_valid_is_stored_as_what_it_is(said: str, stored: str) -> None:
    merged = merge({}, {"hunter": verdict(status=said)}, ORDER)
    assert merged["email_verification"] == {"status": stored}
