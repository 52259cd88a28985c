"""Many rows by one update: each document gets its own, and what cannot be among them is told."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import bson
import pytest
from bson import (
    Binary,
    Code,
    Decimal128,
    Int64,
    MaxKey,
    MinKey,
    ObjectId,
    Regex,
    Timestamp,
)
from bson.raw_bson import RawBSONDocument
from pymongo import AsyncMongoClient
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import AutoReconnect, OperationFailure

from enricher.lead import Document
from enricher.mongo.batch import MOST_BYTES, MOST_ROWS, UNFIT, Table, TableRow, encode
from tests.support.doubling import doubled
from tests.support.faults import Faults
from tests.support.queueing import Commands

KEY = {"id": "$_id", "turn": "$ours.turn"}
FENCE = {**KEY, "owner": {"$ifNull": ["$owner", None]}}
MARKING = Table(
    KEY, FENCE, lambda row: [{"$set": {"mark": row.value("mark")}}], {"closed": None}, within="ours"
)
NOT_PRIMARY, SHUTDOWN, INTERRUPTED = 10107, 91, 11601


def row(id_: Any, mark: Any, turn: int = 1, owner: str | None = None) -> TableRow:
    key = {"id": id_, "turn": turn}
    return TableRow(id_, encode(key), encode({**key, "owner": owner}), encode({"mark": mark}))


async def insert(leads: AsyncCollection[Document], *ids: Any, **fields: Any) -> None:
    await leads.insert_many([{"_id": id_, "ours": {"turn": 1}, **fields} for id_ in ids])


async def marks(leads: AsyncCollection[Document]) -> dict[Any, Any]:
    return {each["_id"]: each.get("mark") async for each in leads.find()}


async def write(
    leads: AsyncCollection[Document], rows: Sequence[TableRow]
) -> tuple[tuple[int, list[int]], list[int]]:
    """What the table says of it, and how many rows were in each command."""
    commands = Commands()
    address = await leads.database.client.address
    assert address is not None
    async with AsyncMongoClient[Document](
        address[0], address[1], directConnection=True, event_listeners=[commands]
    ) as client:
        said = await MARKING.write(client[leads.database.name][leads.name], rows)
    sent = [each for each in commands.sent if "update" in each]
    return said, [len(each["updates"][0]["q"]["_id"]["$in"]) for each in sent]


async def test_each_document_gets_its_own_row_by_one_command(
    ours: AsyncCollection[Document],
) -> None:
    await insert(ours, *range(50))
    assert await write(ours, [row(id_, f"${id_}") for id_ in range(50)]) == ((50, []), [50])
    assert await marks(ours) == {id_: f"${id_}" for id_ in range(50)}
    assert await ours.find_one({"_id": 7}) == {"_id": 7, "ours": {"turn": 1}, "mark": "$7"}


async def test_who_is_not_what_its_row_was_meant_for_is_not_written(
    ours: AsyncCollection[Document],
) -> None:
    await insert(ours, 1, 2, 3, 4)
    await ours.update_one({"_id": 2}, {"$set": {"ours.turn": 2}})
    await ours.update_one({"_id": 3}, {"$set": {"owner": "somebody"}})
    await ours.update_one({"_id": 4}, {"$set": {"closed": True}})
    rows = [row(id_, "x") for id_ in (1, 2, 3, 4, "gone")]
    assert await MARKING.write(ours, rows) == (1, [])
    assert await marks(ours) == {1: "x", 2: None, 3: None, 4: None}


async def test_of_two_rows_for_one_document_only_the_one_that_is_meant_is_written(
    ours: AsyncCollection[Document],
) -> None:
    await insert(ours, 1, 2)
    rows = [row(1, "stale", turn=0), row(1, "ours"), row(1, "early", turn=2), row(2, "other")]
    assert await write(ours, rows) == ((2, []), [4])
    assert await marks(ours) == {1: "ours", 2: "other"}


async def test_of_two_rows_that_are_both_meant_the_later_one_stays(
    ours: AsyncCollection[Document],
) -> None:
    await insert(ours, 1, 2, 3)
    rows = [row(1, "first"), row(2, "x"), row(1, "second"), row(3, "y")]
    assert await write(ours, rows) == ((4, []), [2, 2])
    assert await marks(ours) == {1: "second", 2: "x", 3: "y"}


async def test_what_comes_after_a_row_that_must_go_alone_goes_alone_after_it(
    ours: AsyncCollection[Document],
) -> None:
    await insert(ours, 1, 2, 3)
    large = "x" * MOST_BYTES
    rows = [row(1, large), row(1, "later"), row(2, "x"), row(3, "y"), row(3, "z")]
    assert await MARKING.write(ours, rows) == (0, [0, 1, 2, 3, 4])
    rows = [row(1, "earlier"), row(2, "x"), row(2, large), row(3, "y"), row(1, "z")]
    assert await write(ours, rows) == ((0, [0, 1, 2, 3, 4]), [])


async def test_a_document_is_told_by_its_id_whatever_its_type(
    ours: AsyncCollection[Document],
) -> None:
    ids: list[Any] = [
        0, 1, 1.5, Int64(2**60), Decimal128("2.5"), Decimal128("NaN"), float("inf"), "", "a", "1", "$a", "a.b",
        "A", {}, {"a": 1}, {"a": "1"}, {"a": 1, "b": 1}, {"b": 1, "a": 1}, {"a": [1]}, {"a": Regex("a")},
        {"a": None}, {"": 1}, {"a.b": 1}, b"", b"a", Binary(b"a", 128), Binary(b"1" * 16, 3), Binary(b"1" * 16, 4),
        ObjectId(), True, False, None, datetime(2026, 1, 1, tzinfo=UTC), Timestamp(1, 1), Code("a"), MinKey(),
        MaxKey(),
    ]  # fmt: skip
    await insert(ours, *ids)
    assert await write(ours, [row(id_, place) for place, id_ in enumerate(ids)]) == (
        (len(ids), []),
        [len(ids)],
    )
    found = await ours.find().to_list()
    assert {bson.encode({"": each["_id"]}): each["mark"] for each in found} == {
        bson.encode({"": id_}): place for place, id_ in enumerate(ids)
    }


@pytest.mark.parametrize(
    ("stands", "asked"),
    [
        (0, -0.0),
        (-0.0, 0),
        (1, Decimal128("1.00")),
        (Int64(1), 1.0),
        (float("nan"), Decimal128("NaN")),
    ],
    ids=str,
)
async def test_numbers_are_the_same_id_as_they_are_for_the_server(
    ours: AsyncCollection[Document], stands: Any, asked: Any
) -> None:
    await insert(ours, stands, "another")
    assert await ours.count_documents({"_id": asked}) == 1
    assert await MARKING.write(ours, [row(asked, 1), row("another", 2)]) == (2, [])


async def test_no_table_has_more_rows_or_bytes_than_it_may(ours: AsyncCollection[Document]) -> None:
    await insert(ours, *range(MOST_ROWS + 3))
    rows = [row(id_, 1) for id_ in range(MOST_ROWS + 3)]
    assert await write(ours, rows) == ((MOST_ROWS + 3, []), [MOST_ROWS, 3])
    large = "x" * (MOST_BYTES // 3)
    assert await write(ours, [row(id_, large) for id_ in range(5)]) == ((4, [4]), [2, 2])
    long = [row("x" * (MOST_BYTES // 7) + str(number), 1) for number in range(4)]
    assert await write(ours, long) == ((0, []), [2, 2])


@pytest.mark.slow
async def test_what_would_gain_nothing_or_does_not_fit_goes_alone(
    ours: AsyncCollection[Document],
) -> None:
    await insert(ours, *range(4))
    unknown = TableRow(1, row(1, 1).key, None, encode({"mark": 1}))
    large = row(2, "x" * MOST_BYTES)
    rows = [row(0, 1), unknown, large, row(3, 1)]
    assert await write(ours, rows) == ((2, [1, 2]), [2])
    assert await write(ours, rows[:3]) == ((0, [0, 1, 2]), [])
    await ours.update_one({"_id": 2}, MARKING.alone(large))
    assert {id_ for id_, mark in (await marks(ours)).items() if mark} == {0, 2, 3}


async def test_who_is_refused_sends_its_table_to_go_alone_and_no_other(
    ours: AsyncCollection[Document],
) -> None:
    await insert(ours, *range(MOST_ROWS + 5))
    refusing = {"$nor": [{"_id": 7, "mark": {"$exists": True}}]}
    await ours.database.command("collMod", ours.name, validator=refusing)
    rows = [row(id_, 1) for id_ in range(MOST_ROWS + 5)]
    matched, rest = await MARKING.write(ours, rows)
    assert (matched, rest) == (5, list(range(MOST_ROWS)))


@pytest.mark.parametrize(
    "values",
    [
        {"x": "x" * (16 * 1024 * 1024)},
        {"x": object()},
        {"x": 2**64},
        {"x": "\ud800"},
        {"a\0b": 1},
        {1: 1},
    ],
    ids=["large", "no BSON", "number", "text", "name", "no name"],
)
def test_what_no_document_can_hold_is_told_before_anything_is_sent(values: Any) -> None:
    with pytest.raises(UNFIT):
        encode(values)


async def test_a_field_that_stands_there_twice_stays_as_it_is(
    ours: AsyncCollection[Document],
) -> None:
    """The server would write what an update has read in place of both."""
    twice = [("owner", "a"), ("owner", "b"), ("note", 1), ("note", 2)]
    await ours.insert_many([doubled(("_id", id_), *twice, ("ours", {"turn": 1})) for id_ in (1, 2)])
    assert await MARKING.write(ours, [row(1, "x", owner="a"), row(2, "y", owner="a")]) == (2, [])
    raw = ours.with_options(codec_options=bson.CodecOptions(document_class=RawBSONDocument))
    found = [each.raw async for each in raw.find(sort=[("_id", 1)])]
    assert found == [
        doubled(("_id", id_), *twice, ("ours", {"turn": 1}), ("mark", mark)).raw
        for id_, mark in ((1, "x"), (2, "y"))
    ]


@pytest.mark.parametrize(
    ("how", "raised"),
    [
        ({"errorCode": INTERRUPTED}, OperationFailure),
        ({"errorCode": 13}, OperationFailure),
        ({"closeConnection": True}, AutoReconnect),
        ({"writeConcernError": {"code": 64, "errmsg": "x"}}, OperationFailure),
        ({"writeConcernError": {"code": 79, "errmsg": "x"}}, OperationFailure),
    ],
    ids=str,
)
async def test_what_is_no_documents_fault_is_raised(
    faults: Faults, how: Document, raised: type[Exception]
) -> None:
    await insert(faults.plain, 1, 2)
    async with faults.fail("update", times=1, **how):
        with pytest.raises(raised):
            await MARKING.write(faults.leads, [row(1, 1), row(2, 1)])


async def test_a_primary_that_steps_down_leaves_the_rows_to_updates_that_the_driver_repeats(
    faults: Faults,
) -> None:
    await insert(faults.plain, 1, 2)
    async with faults.fail("update", times=1, errorCode=NOT_PRIMARY):
        assert await MARKING.write(faults.leads, [row(1, 1), row(2, 1)]) == (0, [0, 1])


@pytest.mark.slow
async def test_so_does_one_that_says_so_of_the_write_concern_alone(faults: Faults) -> None:
    await insert(faults.plain, 1, 2)
    stepping_down = {"code": SHUTDOWN, "errmsg": "it steps down"}
    async with faults.fail("update", times=1, writeConcernError=stepping_down):
        assert await MARKING.write(faults.leads, [row(1, 1), row(2, 1)]) == (0, [0, 1])


async def test_a_key_that_is_in_no_row_writes_nothing_of_anybody_elses(
    ours: AsyncCollection[Document],
) -> None:
    await insert(ours, 1, 2)
    rows = [row(1, "one"), row(2, "two")]
    by_another_key = [
        TableRow(each.id, encode({"id": each.id, "turn": 9}), each.fence, each.values)
        for each in rows
    ]
    said, sent = await write(ours, by_another_key)
    assert said == (0, [0, 1])
    assert sent == [2]
    assert await marks(ours) == {1: None, 2: None}


async def test_behind_a_router_each_document_has_an_update_of_its_own() -> None:
    async with AsyncMongoClient[Document]("mongodb://127.0.0.1:1/?loadBalanced=true") as routed:
        said = await MARKING.write(routed["crm"]["leads"], [row(1, "one"), row(2, "two")])
    assert said == (0, [0, 1])
