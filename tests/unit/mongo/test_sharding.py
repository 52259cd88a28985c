"""What the documents of `config.collections` say about our writes."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from bson import Binary, ObjectId, Timestamp

from enricher.commands.check import Result, about_shard_keys
from enricher.mongo import sharding

Document = dict[str, Any]


def entry(key: Document, name: str = "crm.leads", **more: object) -> Document:
    """A document as MongoDB 5.0 and later write it."""
    return {
        "_id": name,
        "lastmodEpoch": ObjectId(),
        "lastmod": Timestamp(1764500000, 3),
        "timestamp": Timestamp(1764500000, 3),
        "uuid": Binary.from_uuid(uuid4()),
        "key": key,
        "unique": False,
        "noBalance": False,
        **more,
    }


def lines(*entries: Document) -> list[str]:
    findings = about_shard_keys(sharding.sharded(entries))
    assert {result for result, _ in findings} == {Result.OK}
    return [text for _, text in findings]


@pytest.mark.parametrize(
    ("key", "shown"),
    [
        ({"_id": "hashed"}, '{_id: "hashed"}'),
        ({"_id": 1}, "{_id: 1}"),
        ({"_id": 1.0}, "{_id: 1}"),
        ({"_id": "hashed", "region": 1}, '{_id: "hashed", region: 1}'),
    ],
)
def test_a_key_that_begins_with_the_id_sends_each_write_to_one_shard(
    key: Document, shown: str
) -> None:
    assert lines(entry(key)) == [f"crm.leads is sharded by {shown}: each write goes to one shard"]


@pytest.mark.parametrize(
    ("key", "shown"),
    [
        ({"account.id": 1.0}, "{account.id: 1}"),
        ({"email": "hashed"}, '{email: "hashed"}'),
        ({"region": 1, "_id": "hashed"}, '{region: 1, _id: "hashed"}'),
    ],
)
def test_any_other_key_is_named_with_what_it_costs_and_what_ends_that(
    key: Document, shown: str
) -> None:
    [line] = lines(entry(key))
    assert line.startswith(f"crm.leads is sharded by {shown}: writes by _id go to all shards; ")
    assert line.endswith('sh.reshardCollection("crm.leads", {_id: "hashed"}) ends that')


def test_each_sharded_collection_has_a_line_of_its_own() -> None:
    good, bad = lines(entry({"_id": "hashed"}), entry({"provider": 1}, "crm.enricher_answers"))
    assert good.startswith("crm.leads is sharded by")
    assert bad.startswith("crm.enricher_answers is sharded by {provider: 1}: writes by _id go to")


@pytest.mark.parametrize(
    "whole",
    [
        entry({"_id": 1}, unsplittable=True),
        entry({"email": 1}, dropped=True),
        {"_id": "crm.leads", "lastmodEpoch": ObjectId("0" * 24), "dropped": True},
    ],
    ids=["tracked and on one shard", "dropped", "dropped, and its key gone"],
)
def test_a_collection_that_is_whole_or_gone_is_not_sharded(whole: Document) -> None:
    assert lines(whole) == lines() == ["no collection of ours is sharded"]


def test_what_may_not_be_read_is_said_and_fails_nothing() -> None:
    [(result, text)] = about_shard_keys(None)
    assert result is Result.SKIPPED
    assert "config.collections" in text
    assert "not needed" in text
