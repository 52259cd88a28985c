"""The shapes of public products' collections in one daemon: their leads are enriched by settings alone."""

from __future__ import annotations

import json
import re
from pathlib import Path

import bson
import pytest
from pymongo.asynchronous.collection import AsyncCollection

from enricher.lead import Document
from tests.support.rig import WRITES, Rig, Write
from tests.support.shapes import SHAPES
from tests.support.waiting import eventually

_ONLY: Document = {"isArchived": {"$ne": True}}
_LEAD, _LATE, _EXCLUDED = "lead", "late", "excluded"
_FIRST_NAME = re.compile(r"`([^`]+)`|([^.\[]+)")


def _source(case: Document, write: Write) -> str:
    """Texts and lists are written in TOML as in JSON."""
    paths = dict(case["read"])
    account = [f"account = {json.dumps(paths.pop('account'))}"] if "account" in paths else []
    read = [f"{name} = {json.dumps(each)}" for name, each in paths.items()]
    head = [
        "[[source]]",
        f'collection = "{case["shape"]}"',
        f"only = {json.dumps(json.dumps(_ONLY))}",
        f'write = "{write}"',
    ]
    return "\n".join([*head, *account, "[source.read]", *read])


def _subject(case: Document) -> Document:
    """The fields of its document in which the address and the web site stand."""
    roots = set()
    for name in ("email", "website"):
        paths = case["read"].get(name, [])
        for path in [paths] if isinstance(paths, str) else paths:
            first = _FIRST_NAME.match(path)
            assert first, path
            roots.add(first[1] or first[2])
    return {name: value for name, value in case["document"].items() if name in roots}


def _questions(case: Document) -> set[tuple[str, str]]:
    """The ones that a lead of this shape is for."""
    expected = case["expected"]
    of_mailbox = {("hunter", expected["email"].strip().lower())} if "email" in expected else set()
    site = re.sub(r"^https?://(www\.)?|/.*$", "", expected.get("website", ""))
    return of_mailbox | ({("clearbit", site)} if site else set())


def _results(rig: Rig, case: Document, write: Write) -> AsyncCollection[Document]:
    name = case["shape"]
    return rig.database[name if write == "lead" else f"enricher_results_{name}"]


async def _all_are(rig: Rig, write: Write, name: str, status: str | None = None) -> bool:
    """Without a status, each is what its shape lets it be."""
    others = {}
    for case in SHAPES:
        found = await _results(rig, case, write).find_one({"_id": name}) or {}
        wanted = status or ("completed" if _questions(case) else "skipped")
        if found.get("enrichment_status") != wanted:
            others[case["shape"]] = found.get("enrichment_status"), wanted
    assert not others, others
    return True


async def _excluded(rig: Rig) -> list[bytes]:
    """The documents byte by byte."""
    found = [await rig.database[case["shape"]].find_one({"_id": _EXCLUDED}) for case in SHAPES]
    return [bson.encode(each) for each in found if each is not None]


@pytest.mark.parametrize("write", WRITES)
async def test_every_shape_is_enriched_by_settings_alone_and_what_it_excludes_is_left_alone(
    rig: Rig, tmp_path: Path, write: Write
) -> None:
    config = tmp_path / "shapes.toml"
    config.write_text("\n".join(_source(case, write) for case in SHAPES))
    async with rig.daemon(ENRICHER_CONFIG=config) as daemon:
        for case in SHAPES:
            await daemon.wait_for_event("stream.opened", collection=case["shape"])
        for case in SHAPES:
            late = {**case["document"], "_id": _LATE}
            excluded = {**case["document"], "_id": _EXCLUDED, "isArchived": True}
            for name in _subject(case):
                del late[name]
            await rig.database[case["shape"]].insert_many([excluded, late])
        untouched = await _excluded(rig)
        await eventually(lambda: _all_are(rig, write, _LATE, "skipped"), within=60)
        assert not rig.questions(), "neither can be asked about"

        for case in SHAPES:
            await rig.database[case["shape"]].insert_one({**case["document"], "_id": _LEAD})
        await eventually(lambda: _all_are(rig, write, _LEAD), within=60)
        asked = rig.questions()
        assert asked.keys() >= set().union(*map(_questions, SHAPES))

        for case in SHAPES:
            comes = {"$mergeObjects": ["$$ROOT", {"$literal": _subject(case)}]}
            await rig.database[case["shape"]].update_one({"_id": _LATE}, [{"$replaceWith": comes}])
        await eventually(lambda: _all_are(rig, write, _LATE), within=60)
        assert rig.questions() == asked, "it is about somebody who is known by now"
        assert await _excluded(rig) == untouched
        if write == "beside":
            for case in SHAPES:
                assert not await _results(rig, case, write).find_one({"_id": _EXCLUDED})
