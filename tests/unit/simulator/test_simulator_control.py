"""The simulator's control over HTTP, and faults as JSON."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from enricher.simulator.faults import STORIES, Fault
from enricher.simulator.server import Simulator
from tests.support.vendor_client import FIND, Client, client_of

DOMAIN = "brisk-lemur.com"
FAULTS = "/_simulator/faults"


@pytest.fixture
async def ask() -> AsyncIterator[Client]:
    async with client_of(Simulator(seed=1)) as client:
        yield client


async def test_health_names_the_vendors(ask: Client) -> None:
    health = (await ask.get("/_simulator/health")).json()
    assert health == {"status": "ok", "vendors": ask.simulator.base_urls}


async def test_the_journal_is_read_on_from_a_number(ask: Client) -> None:
    await ask.statuses(FIND, 3, domain=DOMAIN)
    page = (await ask.get("/_simulator/journal", since="1", limit="1")).json()
    rest = (await ask.get("/_simulator/journal", since=str(page["next"]))).json()
    assert [entry["number"] for entry in page["entries"]] == [2]
    assert [entry["number"] for entry in rest["entries"]] == [3]
    assert (rest["written"], rest["dropped"], rest["next"]) == (3, 0, 3)


async def test_the_bill_is_told_by_vendor(ask: Client) -> None:
    await ask.statuses(FIND, 2, domain=DOMAIN)
    bill = (await ask.get("/_simulator/billing")).json()
    assert bill == {"clearbit": {"calls": 2, "charged": 1, "over_limit": 0, "statuses": {"200": 2}}}


async def test_faults_are_put_in_force_listed_and_taken_back(ask: Client) -> None:
    url = ask.simulator.url + FAULTS
    wanted = [{"kind": "server_error", "vendor": "clearbit"}, {"kind": "hang", "seconds": 3}]
    ids = (await ask.http.post(url, json=wanted)).json()["ids"]
    assert await ask.statuses(FIND, 1, domain=DOMAIN) == [503]
    listed = (await ask.http.get(url)).json()["faults"]
    assert listed[0] == {"id": ids[0], "hits": 1, "kind": "server_error", "vendor": "clearbit"}
    await ask.http.delete(url, params={"id": ids[0]})
    assert [fault["id"] for fault in (await ask.http.get(url)).json()["faults"]] == ids[1:]
    await ask.http.delete(url)
    assert await ask.statuses(FIND, 1, domain=DOMAIN) == [200]


async def test_taking_back_an_unknown_fault_is_404(ask: Client) -> None:
    response = await ask.http.delete(ask.simulator.url + FAULTS, params={"id": 99})
    assert response.status_code == 404


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"kind": "gremlins"}, "no fault 'gremlins'"),
        ({"kind": "reset", "color": "red"}, "no field color"),
        ({"kind": "reset", "seconds": 3}, "'reset' takes no seconds"),
        ({"kind": "reset", "times": "three"}, "times of a fault is a whole number"),
        ({"kind": "reset", "times": True}, "times of a fault is a whole number"),
        ({"kind": "reset", "probability": 2}, "between 0 and 1"),
        ({"kind": "status", "body": "x"}, "needs a status"),
        ({"kind": "html", "status": 42}, "between 200 and 599"),
        ({"vendor": "hunter"}, "at least a kind"),
        ([{"kind": "reset"}, 7], "at least a kind"),
    ],
)
async def test_a_wrong_fault_is_400_with_a_sentence_and_changes_nothing(
    ask: Client, wrong: Any, words: str
) -> None:
    response = await ask.http.post(ask.simulator.url + FAULTS, json=wrong)
    assert response.status_code == 400
    assert words in response.json()["error"]
    assert (await ask.http.get(ask.simulator.url + FAULTS)).json() == {"faults": []}


async def test_what_is_no_json_is_400(ask: Client) -> None:
    response = await ask.http.post(ask.simulator.url + FAULTS, content=b"{")
    assert response.status_code == 400


async def test_a_since_that_is_no_number_is_400(ask: Client) -> None:
    assert (await ask.get("/_simulator/journal", since="yesterday")).status_code == 400


async def test_a_reset_forgets_calls_charges_faults_windows_and_stories() -> None:
    async with client_of(Simulator(windows={"clearbit": [(1, 60)]})) as ask:
        assert await ask.statuses(FIND, 1, domain="pending-lemur.com") == [202]
        ask.simulator.inject("server_error", after=1)
        await ask.http.post(ask.simulator.url + "/_simulator/reset")
        assert len(ask.journal) == 0
        assert await ask.statuses(FIND, 1, domain="pending-lemur.com") == [202]
        assert ask.journal.calls(charged=True)


@pytest.mark.parametrize("word", STORIES)
def test_a_fault_survives_the_way_through_json(word: str) -> None:
    for fault in STORIES[word]:
        assert Fault.from_json(fault.as_json()) == fault


def test_a_wrong_fault_is_a_value_error_in_python_too() -> None:
    with pytest.raises(ValueError, match="no fault 'gremlins'"):
        Fault("gremlins")
