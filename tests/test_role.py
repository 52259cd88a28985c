"""One role in three places: the documentation, the script that makes it, and what the daemon asks for."""

from __future__ import annotations

import pytest

from enricher.lead import Document
from enricher.privileges import desired, required
from tests.support.roles import documented, scripted

LISTING = {"": {"listCollections"}}
"""Not asked for: the daemon only looks whether the leads are a collection, and does without."""


def by_collection(privileges: list[Document]) -> dict[str, set[str]]:
    assert {each["resource"]["db"] for each in privileges} == {"crm"}
    found = {each["resource"]["collection"]: set(each["actions"]) for each in privileges}
    assert len(found) == len(privileges), "a collection stands there twice"
    return found


def asked_for(*, beside: bool) -> dict[str, set[str]]:
    needed, wished = required("leads", is_beside=beside), desired("leads", is_beside=beside)
    return {name: {*needed.get(name, ()), *wished.get(name, ())} for name in {*needed, *wished}}


@pytest.mark.parametrize("beside", [False, True])
def test_the_documented_role_grants_what_the_daemon_asks_for_and_nothing_else(beside: bool) -> None:
    granted = by_collection(documented("crm", beside=beside))
    assert granted == asked_for(beside=beside) | LISTING


@pytest.mark.parametrize("beside", [False, True])
def test_the_script_makes_the_documented_role(beside: bool) -> None:
    assert scripted("crm", beside=beside) == documented("crm", beside=beside)
