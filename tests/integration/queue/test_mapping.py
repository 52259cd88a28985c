"""What MongoDB reads through a mapping: the shapes of collections in the wild, and garbage at every step."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest
from bson import (
    Binary,
    Code,
    DBRef,
    Decimal128,
    Int64,
    MaxKey,
    MinKey,
    ObjectId,
    Regex,
    Timestamp,
)
from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pymongo import MongoClient
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.collection import Collection

from enricher.identity import mapping
from enricher.lead import Document
from enricher.settings.paths import candidates
from tests.support.crms import CRMS, Crm
from tests.support.shapes import SHAPES

_OF_THE_LEAD = ("email", "company_domain", "website")
"""What vendors are asked about: `test_crms.py` sees to that."""


def _reading(read: Document) -> Document:
    """Return the projection that reads every value of a mapping, and all addresses."""
    account = {"account": mapping.value(candidates(read["account"]))} if "account" in read else {}
    named = {name: candidates(paths) for name, paths in read.items() if name != "account"}
    return {
        "_id": 0,
        **{name: mapping.text(paths) for name, paths in named.items()},
        "emails": mapping.texts(named["email"]),
        **account,
    }


@pytest.mark.parametrize("case", SHAPES, ids=[case["shape"] for case in SHAPES])
async def test_a_shape_is_read_as_its_people_would_read_it(
    leads: AsyncCollection[Document], case: Document
) -> None:
    await leads.insert_one(case["document"])
    [found] = await (await leads.aggregate([{"$project": _reading(case["read"])}])).to_list()
    emails = list(dict.fromkeys(found.pop("emails")))
    expected = dict(case["expected"])
    assert emails == expected.pop("emails", emails)
    assert emails[:1] == [each for each in (found["email"],) if each is not None]
    assert found == {**dict.fromkeys(case["read"]), **expected}


@pytest.mark.parametrize("crm", CRMS, ids=[crm.name for crm in CRMS])
async def test_a_contact_of_a_crm_is_read_as_its_settings_say(
    leads: AsyncCollection[Document], crm: Crm
) -> None:
    await leads.insert_one(crm.contact)
    read = {name: mapping.text(candidates(paths)) for name, paths in crm.read.items()}
    [found] = await (await leads.aggregate([{"$project": {"_id": 0, **read}}])).to_list()
    found = {name: each for name, each in found.items() if name not in _OF_THE_LEAD}
    assert {name: each for name, each in found.items() if each} == crm.expected


# Every type at every step

_BROKEN = RawBSONDocument(b"\x0f\x00\x00\x00\x02v\x00\x03\x00\x00\x00a\xff\x00\x00")
_UNDEFINED = RawBSONDocument(b"\x08\x00\x00\x00\x06v\x00\x00")
_SYMBOL = RawBSONDocument(b"\x0e\x00\x00\x00\x0ev\x00\x02\x00\x00\x00s\x00\x00")
_POINTER = RawBSONDocument(
    b"\x1a\x00\x00\x00\x0cv\x00\x02\x00\x00\x00n\x00" + bytes(range(12)) + b"\x00"
)
VALUES: list[Any] = [
    *(1.5, float("nan"), float("inf"), 7, Int64(2**60), Decimal128(Decimal("1.5")), True, False),
    *("", "  \t", "x", "a@b.example", "0", "x" * 1025, "é" * 600, "x" * 5000, None, [], {}),
    *([[]], [None], [["x"]], [[["x"]]], ["x", 5, None], {"b": "x"}, {"b": {"c": "x"}}, [{"b": 1}]),
    *(Binary(b"x"), UUID(int=1).bytes, ObjectId(), datetime(2026, 1, 1, tzinfo=UTC)),
    *(Regex("a("), Code("f"), Code("f", {"x": 1}), DBRef("a", 1), Timestamp(1, 1)),
    *(MinKey(), MaxKey(), {"0": "x"}, {"$x": "y"}, {"a.b": "y"}),
]
"""Every BSON type that the driver can write, blanks, and texts around the limits."""

PATHS: list[str | list[str]] = [
    *("a", "a.b", "a.b.c", "a.0", "a.0.b", "a.b.0", "a.0.0.b", "a.b.0.c", "a.b.c.0", "0.a"),
    *("a[b=x].b", "a[b!=x]", "a[b=null].c", "a[b!=null].b", "a[b=true].c", "a[b=1.5]", "a[b=7].b"),
    *("a[b=$o].b", "a[b!=$o.b].c", "a[b.c=x]", "a[0=x].1", "a.b[c=x][0!=y].c", 'a[b=""].c'),
    *("a[b=x].c[0=$o]", "`a`.`$x`", "`a`.`a.b`.c", "a[`a.b`=x].`$x`", "{a} {a.b}"),
    *("{a.b}, {a[b=x].c} ({o})", "{o}{a.0}", "a.b.c.b.c.b.c.b.c.b.c.b", "a" + ".0" * 11),
    *("a[b=1][c=2].b[0=$o.b.c][b!=null].c.b.c.b.c.b.c.b.c.b",),
    ["a.b", "a", "{o} {a}", "o"],
]


def _documents() -> list[Document]:
    """Return a document for each value at each step."""
    made: list[Document] = []
    for v in VALUES:
        made += [{"a": v}, {"a": {"b": v}}, {"a": {"b": {"c": v}}}, {"a": [v, v]}, {"a": [[v]]}]
        made += [{"a": [{"b": v}, {"b": "x", "c": v}]}, {"a": [{"b": [v, {"c": v}]}]}]
        made += [{"a": [{"b": [[v]]}]}, {"a": {"b": [{"c": [v]}]}}, {"a": [["x", v], [v, v]]}]
        made += [{"a": [{"b": "x", "c": "y"}, {"b": 7}], "o": v}, {"a": {"$x": v, "a.b": {"c": v}}}]
    return made


async def test_nothing_raises_whatever_stands_at_any_step(leads: AsyncCollection[Document]) -> None:
    await leads.insert_many(_documents())
    for raw in (_BROKEN, _UNDEFINED, _SYMBOL, _POINTER):
        await leads.insert_one({"raw": raw})
    # What the driver cannot write it can copy: each also stands at each step.
    copies: list[Document] = [
        {"a": "$raw.v"},
        {"a": {"b": "$raw.v"}},
        {"a": ["$raw.v", {"b": "$raw.v", "c": "x"}]},
        {"a": [{"b": "x", "c": "$raw.v"}], "o": "$raw.v"},
    ]
    for copy in copies:
        added = await leads.aggregate(
            [
                {"$match": {"raw": {"$exists": True}}},
                {"$project": {"_id": {"of": "$_id", "as": str(copy)}, **copy}},
                {"$merge": leads.name},
            ]
        )
        await added.to_list()
    read = {str(number): candidates(path) for number, path in enumerate(PATHS)}
    await _read_all(leads, read)


async def _read_all(leads: AsyncCollection[Document], read: dict[str, Any]) -> None:
    """Read everything through every mapping, as the claim does, and check what was found."""
    reading = {
        **{f"text{name}": mapping.text(paths) for name, paths in read.items()},
        **{f"texts{name}": mapping.texts(paths) for name, paths in read.items()},
        **{
            f"size{name}": {"$bsonSize": {"v": mapping.value(paths)}}
            for name, paths in read.items()
        },
    }
    await leads.update_many({}, [{"$set": {"read": reading}}])
    options: CodecOptions[Document] = CodecOptions(unicode_decode_error_handler="replace")
    lenient = leads.with_options(options)
    found = await lenient.find({}, {"read": 1}, batch_size=10_000).to_list()
    assert len(found) == await leads.count_documents({})
    for each in found:
        for name, value in each["read"].items():
            if name.startswith("texts"):
                assert len(value) <= mapping.MOST_TEXTS
                assert all(map(_is_usable, value))
            elif name.startswith("text"):
                assert value is None or _is_usable(value), name


def _is_usable(text: object) -> bool:
    return isinstance(text, str) and text.strip() != "" and len(text.encode()) <= 2048


# Any path on any document

_NAMES = st.sampled_from(["a", "b", "c", "0", "1", "`$x`", "`a.b`"])
_FIELDS = st.sampled_from(["a", "b", "c", "0", "$x", "a.b"])
_OPERANDS = st.sampled_from(["x", "true", "null", "7", '""', "$a", "$b.c", "$0"])
_PICKS = st.builds(
    lambda names, sign, operand: f"[{'.'.join(names)}{sign}{operand}]",
    st.lists(_NAMES, min_size=1, max_size=2),
    st.sampled_from(["=", "!="]),
    _OPERANDS,
)
_HOPS = st.builds(lambda name, picks: name + "".join(picks), _NAMES, st.lists(_PICKS, max_size=1))
_PATHS = st.lists(_HOPS, min_size=1, max_size=4).map(".".join)
_TEMPLATES = st.lists(_PATHS, min_size=1, max_size=3).map(
    lambda paths: ", ".join(f"{{{path}}}" for path in paths)
)
_MAPPINGS = st.lists(st.one_of(_PATHS, _TEMPLATES), min_size=1, max_size=3)
_LEAVES = st.sampled_from(["x", "", " ", 7, True, None, 1.5, ObjectId("0" * 24), "y" * 2000])
_ANYTHING = st.recursive(
    _LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(_FIELDS, inner, max_size=3)
    ),
    max_leaves=12,
)
_ROOTS = st.dictionaries(st.sampled_from(["a", "b", "c", "0"]), _ANYTHING, max_size=4)


@settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
@given(
    read=st.lists(_MAPPINGS, min_size=4, max_size=8),
    documents=st.lists(_ROOTS, min_size=10, max_size=30),
)
def test_nothing_raises_for_any_path_on_any_document(
    plain: Collection[Document], read: list[list[str]], documents: list[Document]
) -> None:
    plain.delete_many({})
    plain.insert_many(documents)
    reading = {}
    for number, each in enumerate(map(candidates, read)):
        reading[f"text{number}"] = mapping.text(each)
        reading[f"texts{number}"] = mapping.texts(each)
        reading[f"value{number}"] = mapping.value(each)
    found = list(plain.aggregate([{"$project": {"_id": 0, **reading}}]))
    assert len(found) == len(documents)
    for one in found:
        for number in range(len(read)):
            text, texts = one[f"text{number}"], one[f"texts{number}"]
            assert text is None or _is_usable(text)
            assert all(map(_is_usable, texts))
            assert texts[:1] == ([] if text is None else [text])


@pytest.fixture(scope="module")
def plain(mongodb_uri: str) -> Iterator[Collection[Document]]:
    with MongoClient[Document](mongodb_uri) as client:
        database = f"test_{uuid4().hex}"
        yield client[database]["leads"]
        client.drop_database(database)
