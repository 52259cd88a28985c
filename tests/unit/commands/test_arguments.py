"""Filters and ids as operators type them."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from bson import Binary, ObjectId

from enricher.commands import database
from enricher.errors import ExitCode, SettingsError


@pytest.mark.parametrize(
    ("typed", "filter_"),
    [
        ("{}", {}),
        ('{"a": {"$gt": 1}}', {"a": {"$gt": 1}}),
        ('{"_id": {"$oid": "5f5f5f5f5f5f5f5f5f5f5f5f"}}', {"_id": ObjectId("5f" * 12)}),
        ('{"$expr": {"$gt": ["$a", "$b"]}}', {"$expr": {"$gt": ["$a", "$b"]}}),
    ],
)
def test_a_filter_is_extended_json(typed: str, filter_: dict[str, Any]) -> None:
    assert database.query(typed) == filter_


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("", "expected extended JSON"),
        ("{nonsense", "expected extended JSON"),
        ('{"_id": {"$oid": "x"}}', "expected extended JSON"),
        ('{"a": 99999999999999999999}', "expected extended JSON"),
        ('{"a": "\\ud800"}', "expected extended JSON"),
        ('{"a\\u0000": 1}', "expected extended JSON"),
        ('{"a":' * 5000, "expected extended JSON"),
        ("[1]", "expected an object"),
        ("5", "expected an object"),
        ('{"$where": "1"}', "expected a filter without $where"),
        ('{"$and": [{"a": {"$near": [1, 1]}}]}', "expected a filter without $near"),
        ('{"$expr": {"$function": {}}}', "expected a filter without $function"),
    ],
)
def test_what_cannot_be_used_is_said_in_one_line(typed: str, words: str) -> None:
    with pytest.raises(SettingsError) as raised:
        database.query(typed)
    [problem] = raised.value.problems
    assert problem.startswith("--query: ")
    assert words in problem
    assert "\n" not in problem
    assert raised.value.exit_code == ExitCode.SETTINGS


@pytest.mark.parametrize(
    ("typed", "meanings"),
    [
        ("5f" * 12, [ObjectId("5f" * 12), "5f" * 12]),
        ("5", [5, "5"]),
        ('"5"', ["5", '"5"']),
        ("plain text", ["plain text"]),
        ('{"k": 1}', [{"k": 1}, '{"k": 1}']),
        ("null", [None, "null"]),
    ],
)
def test_an_id_is_tried_in_this_order(typed: str, meanings: list[Any]) -> None:
    assert [id_ for _, id_ in database.ids(typed)] == meanings


def test_a_uuid_can_be_named() -> None:
    text = "3b241101-e2bb-4255-8caf-4136c566a962"
    [(_, id_), _] = database.ids(f'{{"$uuid": "{text}"}}')
    assert Binary.from_uuid(UUID(text)) == (
        id_ if isinstance(id_, bytes) else Binary.from_uuid(id_)
    )
