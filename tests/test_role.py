"""One role in three places: the documentation, the script that makes it, and what the daemon asks for."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from enricher.lead import Document
from enricher.privileges import desired, required
from tests.support.roles import documented, scripted, written

LISTING = {"": {"listCollections"}}
"""Not asked for: the daemon only looks whether the leads are a collection, and does without."""


def by_collection(privileges: list[Document]) -> dict[str, set[str]]:
    assert {each["resource"]["db"] for each in privileges} == {"crm"}
    found = {each["resource"]["collection"]: set(each["actions"]) for each in privileges}
    assert len(found) == len(privileges), "a collection stands there twice"
    return found


def asked_for(leads: str = "leads", *, beside: bool = False) -> dict[str, set[str]]:
    needed = required(leads, is_beside=beside, has_events=True)
    wished = desired(leads, is_beside=beside, has_events=True)
    return {name: {*needed.get(name, ()), *wished.get(name, ())} for name in {*needed, *wished}}


@pytest.mark.parametrize("beside", [False, True])
def test_the_documented_role_grants_what_the_daemon_asks_for_and_nothing_else(beside: bool) -> None:
    granted = by_collection(documented("crm", beside=beside))
    assert granted == asked_for(beside=beside) | LISTING


@pytest.fixture
def node() -> str:
    """What runs the script here: `mongosh` is a Node with a database."""
    return shutil.which("node") or pytest.skip("needs Node")


def test_the_script_names_the_documented_privileges_and_no_others() -> None:
    both = [*documented("crm"), *documented("crm", beside=True)]
    assert {*map(str, written("crm"))} == {*map(str, both)}


@pytest.mark.parametrize("beside", [False, True])
def test_the_script_makes_the_documented_role(node: str, beside: bool) -> None:
    variables = {"WRITE": "beside"} if beside else {}
    made = by_collection(scripted(node, **variables))
    assert made == by_collection(documented("crm", beside=beside))


def test_the_script_grants_what_is_asked_for_on_each_of_several_collections(node: str) -> None:
    made = scripted(node, LEADS_COLLECTION="leads, customers,crm_Contacts", BESIDE="customers")
    wanted = {
        **asked_for(),
        **asked_for("customers", beside=True),
        **asked_for("crm_Contacts"),
        **LISTING,
    }
    assert by_collection(made) == wanted


def test_the_script_makes_no_role_for_results_beside_what_is_no_source(node: str) -> None:
    with pytest.raises(subprocess.CalledProcessError) as refused:
        scripted(node, LEADS_COLLECTION="leads", BESIDE="customers")
    assert "BESIDE names what LEADS_COLLECTION does not: customers" in refused.value.stderr
