"""What the log may say of an `_id`."""

from __future__ import annotations

from uuid import UUID

import pytest
from bson import Binary, ObjectId

from enricher.lead import LeadId, label

UUID_TEXT = "0f64e5a1-9f0e-4c3a-8c52-0a6f5d3e7b11"


@pytest.mark.parametrize(
    ("id_", "expected"),
    [
        (ObjectId("65f0c0ffee65f0c0ffee65f0"), "65f0c0ffee65f0c0ffee65f0"),
        (42, "42"),
        ("lead-7", "lead-7"),
        (Binary.from_uuid(UUID(UUID_TEXT)), UUID_TEXT),
    ],
)
def test_an_id_is_shown_as_people_search_for_it(id_: LeadId, expected: str) -> None:
    assert label(id_) == expected


@pytest.mark.parametrize(
    "id_", [{"first": "Zbigniew", "last": "Przybysz"}, "x" * 10_000, b"Zbigniew"]
)
def test_an_id_that_may_hold_more_than_an_id_is_a_hash(id_: LeadId) -> None:
    assert label(id_).startswith("sha256:")
    assert label(id_) == label(id_)
    assert len(label(id_)) < 32
