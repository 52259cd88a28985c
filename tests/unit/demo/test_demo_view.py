"""What the demo shows: words for a lead, which leads are shown, and a view that fits the terminal."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from rich.console import Console

from enricher.demo.stage import DaemonProcess, Stage
from enricher.demo.table import Board, LiveView, Row, describe, line
from enricher.lead import Document
from enricher.simulator.server import Simulator

INSERTED_AT = datetime(2026, 1, 1, tzinfo=UTC)
FOUND = {
    "company_data": {"name": "Quokka Freight", "industry": "Freight", "employee_count": 1200},
    "email_verification": {"status": "valid", "score": 93},
    "enrichment_metadata": {"completeness_score": 85},
}


def _row(number: int, status: str = "completed", **lead: Any) -> Row:
    document: Document = {
        "enriched_data": FOUND if status == "completed" else None,
        "enrichment_error": "clearbit did not answer (503)." if status == "retrying" else None,
        "updated_at": INSERTED_AT + timedelta(seconds=1.25),
    }
    lead = lead or {"email": "ada@Quokka-Freight.com", "temperature": "warm", "story": "ordinary"}
    return Row(number, lead, INSERTED_AT, status, document)


def _board(rows: list[Row]) -> Board:
    no_collection = cast("Any", None)
    return Board(no_collection, {row.id: row for row in rows}, len(rows))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (FOUND, "Freight, 1,200 people; e-mail valid 93"),
        ({"company_data": {"name": "Quokka Freight"}}, "Quokka Freight"),
        ({"company_data": None, "email_verification": {"status": "webmail"}}, "e-mail webmail"),
        ({}, ""),
        (
            {
                "person_data": {"full_name": "Ada Lovelace"},
                "enrichment_metadata": {
                    "provenance": {"person_data": {"full_name": "hunter_person"}},
                    "flags": ["employer_mismatch"],
                },
            },
            "Ada Lovelace (by hunter_person); works elsewhere by now",
        ),
    ],
)
def test_what_was_found_is_told_in_one_line(data: Document, words: str) -> None:
    assert describe(data) == words


def test_a_settled_lead_on_a_line_of_its_own() -> None:
    assert line(_row(1)).split() == (
        "1 ordinary 1.25 s completed 85 quokka-freight.com Freight, 1,200 people; e-mail valid 93".split()
    )


@pytest.mark.parametrize(
    ("lead", "shown"),
    [
        ({"email": " ADA@QUOKKA-FREIGHT.COM "}, "quokka-freight.com"),
        ({"email": "", "company_domain": "QUOKKA.IO"}, "quokka.io"),
        ({"website": "www.quokka.io/imprint"}, "www.quokka.io/imprint"),
        ({"name": "Ada"}, "-"),
    ],
)
def test_a_lead_is_shown_by_its_domain_and_never_by_its_address(lead: Document, shown: str) -> None:
    assert _row(1, **lead).domain == shown


def test_the_newest_leads_are_shown_first() -> None:
    board = _board([_row(number) for number in range(30)])
    assert [row.id for row in board.newest(3)] == [29, 28, 27]
    assert len(board.newest(40)) == 30


def test_an_older_lead_that_is_still_open_keeps_a_place() -> None:
    board = _board(
        [_row(number, "retrying" if number < 9 else "completed") for number in range(30)]
    )
    shown = [row.id for row in board.newest(6)]
    assert shown == [29, 28, 27, 8, 7, 6]


@pytest.mark.parametrize(("width", "height"), [(80, 24), (120, 40), (200, 60)])
def test_the_live_view_fits_the_terminal(width: int, height: int) -> None:
    simulator = Simulator()
    for vendor in simulator.base_urls:
        simulator.journal.open(vendor, "", "")
    daemon = DaemonProcess(Path(), {})
    daemon.url = "http://127.0.0.1:40001"
    uri = "mongodb://127.0.0.1:40002/?replicaSet=rs0"
    stage = Stage(uri, cast("Any", None), simulator, daemon)
    board = _board([_row(number, "retrying") for number in range(100)])
    console = Console(width=width, height=height, force_terminal=True, no_color=True)
    with console.capture() as captured:
        console.print(LiveView(board, stage, ends_by_itself=False))
    text = captured.get()
    assert len(text.splitlines()) <= height
    assert "quokka-fr" in text
    assert "100 retrying" in text
    assert uri in text
