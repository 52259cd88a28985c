"""What a filter reads: by that a daemon knows which changes of a lead concern it."""

from __future__ import annotations

import pytest

from enricher.lead import Document
from enricher.settings.filters import fields_of


@pytest.mark.parametrize(
    ("only", "fields"),
    [
        ({}, set()),
        ({"status": {"$ne": "deleted"}, "data.email": {"$exists": True}}, {"status", "data"}),
        ({"$or": [{"a": 1}, {"$and": [{"b.c": 2}, {"$nor": [{"d": 3}]}]}]}, {"a", "b", "d"}),
        ({"a": 1, "$comment": "why"}, {"a"}),
        ({"$or": [{"a": 1}, {"$expr": {"$gt": ["$b", "$c"]}}]}, None),
        ({"$jsonSchema": {"required": ["email"]}}, None),
    ],
)
def test_the_fields_of_a_filter_are_known(only: Document, fields: set[str] | None) -> None:
    assert fields_of(only) == fields
