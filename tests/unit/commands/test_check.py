"""What `enricher check` says of the settings beside one another."""

from __future__ import annotations

import pytest

from enricher.answer import NotFound
from enricher.calls.ceiling import Ceiling
from enricher.commands.check import Result, ceiling, places, remedy
from enricher.fields import NAMES
from enricher.settings.load import load
from tests.support.scripted import provider

ACME, OWN = provider("acme", NotFound()), provider("own", NotFound(), is_free=True)
DEAR = provider("dear", NotFound())


@pytest.mark.parametrize(
    ("most", "expected", "words"),
    [
        (Ceiling(0.5), Result.FAILED, "the cheapest call may cost 1: none is ever made"),
        (Ceiling(1), Result.OK, "a lead may cost 1 (credits of any vendor)"),
        (Ceiling(1, {"acme": 0.5, "dear": 2}), Result.OK, "never asked: dear"),
        (Ceiling(0.1, {"acme": 0.5, "dear": 2}), Result.FAILED, "(in your currency)"),
        (Ceiling(0.1, {"acme": 0, "dear": 2}), Result.OK, "never asked: dear"),
    ],
)
def test_a_ceiling_below_the_cheapest_call_is_told(
    most: Ceiling, expected: Result, words: str
) -> None:
    result, said = ceiling(most, [OWN, ACME, DEAR])
    assert (result, words in said) == (expected, True), said


def test_a_ceiling_harms_nobody_where_nothing_costs_anything() -> None:
    assert ceiling(Ceiling(0.1), [OWN])[0] is Result.OK


@pytest.mark.parametrize(
    ("uri", "database", "hint"),
    [
        ("mongodb://u:p%2Fw@a:1,[::1]:2/sales?tls=true", "crm", ", which names sales)"),
        ("mongodb+srv://u:p@cluster0.example.net/sales", "crm", ", which names sales)"),
        ("mongodb://a/sales", "sales", ""),
        ("mongodb://u:p@a/admin", "crm", ""),
        ("mongodb://u:p@a/?tls=true", "crm", ""),
        ("mongodb://a", "crm", ""),
    ],
)
def test_a_database_that_the_address_names_and_that_is_not_used_is_told(
    uri: str, database: str, hint: str
) -> None:
    settings = load({"MONGODB_URI": uri, "MONGODB_DATABASE": database}, env_file=None)
    result, said = places(settings)
    assert result is Result.OK
    assert said.startswith(f"leads are in {database}.leads")
    assert (hint in said, "names" in said) == (True, bool(hint))


@pytest.mark.parametrize(
    ("found", "leads", "command"),
    [
        ({"foreign": 3, "unset": 1}, "leads", 'db.leads.updateMany({enrichment_status: "new"}, '),
        ({"foreign": 0, "unset": 1}, "crm.leads", "db.crm.leads.updateOne({_id: ID}, "),
        ({"no_text": 2}, "form-entries", 'db.getCollection("form-entries").updateOne({_id: ID}, '),
    ],
)
def test_leads_that_nothing_moves_come_with_a_command_that_finds_them(
    found: dict[str, int], leads: str, command: str
) -> None:
    assert command in remedy(found, leads, NAMES)


def test_leads_left_in_work_need_no_command() -> None:
    assert remedy({"foreign": 0, "stray": 4}, "leads", NAMES) == ""
