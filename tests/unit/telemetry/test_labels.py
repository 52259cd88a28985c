"""What may be shown of an `_id`: nothing that could be a person's."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from uuid import UUID

import pytest
from bson import Binary, Decimal128, Int64, ObjectId

from enricher.lead import LeadId
from enricher.mongo.secret import Keyring
from enricher.telemetry import log
from enricher.telemetry.log import label

UUID_TEXT = "0f64e5a1-9f0e-4c3a-8c52-0a6f5d3e7b11"


@pytest.fixture(autouse=True)
def key() -> Iterator[None]:
    before = log._keys.copy()
    log.label_with(Keyring(b"s" * 32).key)
    yield
    log._keys[:] = before


@pytest.mark.parametrize(
    ("id_", "expected"),
    [
        (ObjectId("65f0c0ffee65f0c0ffee65f0"), "65f0c0ffee65f0c0ffee65f0"),
        (ObjectId("650123456789012345678901"), "650123456789012345678901"),
        (42, "42"),
        (Int64(2**62), str(2**62)),
        (-1, "-1"),
        ("lead-7", "lead-7"),
        ("A_b-9", "A_b-9"),
        ("123456", "123456"),
        ("order-20261129", "order-20261129"),
        ("01ARZ3NDEKTSV4RRFFQ69G5FAV", "01ARZ3NDEKTSV4RRFFQ69G5FAV"),
        (UUID_TEXT, UUID_TEXT),
        (UUID_TEXT.replace("-", ""), UUID_TEXT.replace("-", "")),
        ("650123456789012345678901", "650123456789012345678901"),
        (Binary.from_uuid(UUID(UUID_TEXT)), UUID_TEXT),
        (UUID(UUID_TEXT), UUID_TEXT),
    ],
)
def test_an_id_is_shown_as_people_search_for_it(id_: LeadId, expected: str) -> None:
    assert label(id_) == expected


HIDDEN: list[LeadId] = [
    "Zoe Miller, +49 170 1234567",
    "zoe.miller",
    "zoe@acme.com",
    "zoe%40acme.com",
    "Zo\u00eb",
    "491701234567",
    "0170-1234567",
    "170_123_45_67",
    "4917012",
    "tel-491701234567",
    "zoe0170-123-456-7",
    "lead 7",
    "lead\n7",
    "lead-7\n",
    "\u0661\u0662\u0663",
    "",
    "x" * 37,
    "x" * 10_000,
    {"first": "Zbigniew", "last": "Przybysz"},
    ["zoe"],
    b"Zbigniew",
    Binary(b"Zbigniew-1234567", 0),
    Binary(b"Zbigniew", 4),
    1.5,
    True,
    None,
    Decimal128("491701234567"),
    datetime(1980, 5, 17, tzinfo=UTC),
]


@pytest.mark.parametrize("id_", HIDDEN, ids=str)
def test_an_id_that_may_be_a_persons_is_a_keyed_hash(id_: LeadId) -> None:
    shown = label(id_)
    assert shown.startswith("hidden-")
    assert len(shown) == len("hidden-") + 16
    assert label(id_) == shown
    log.label_with(Keyring(b"t" * 32).key)
    assert label(id_) != shown


def test_each_has_a_hash_of_its_own() -> None:
    assert len({label(id_) for id_ in HIDDEN}) == len(HIDDEN)


def test_without_a_key_nothing_is_shown_at_all() -> None:
    log._keys.clear()
    assert label("zoe@acme.com") == "hidden"
    assert label("lead-7") == "lead-7"
