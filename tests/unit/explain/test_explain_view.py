"""How an explanation is printed: safe for a terminal, and JSON whatever a lead holds."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from bson import Binary, ObjectId
from rich.console import Console

from enricher.explain.explanation import Explanation, Kept, KnownProvider, Standing, explain
from enricher.explain.view import as_json, show
from enricher.lead import Inputs

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def _explained(value: Any = "Quokka", id_: Any = 1, *, status: str = "completed") -> Explanation:
    lead = Standing(
        id=id_,
        now=NOW,
        inputs=Inputs(email="ada@quokka-freight.com"),
        status=status,
        enriched_at=NOW,
        data={"company_data": {"name": value}},
    )
    return explain(lead, [KnownProvider("clearbit", "company", 1.0, kept=Kept(NOW, NOW, 1.0))])


def _shown(*explanations: Explanation) -> str:
    out = io.StringIO()
    show(Console(file=out, soft_wrap=True, markup=False, highlight=False), explanations)
    return out.getvalue()


def test_a_pipe_gets_plain_lines_with_everything_that_counts() -> None:
    text = _shown(_explained())
    assert "\x1b" not in text
    assert "completed, since 2026-03-01 12:00:00 UTC" in text
    assert "quokka-freight.com, from email" in text
    assert "a call costs 1; answer of 2026-03-01 12:00:00 UTC kept until" in text
    assert "charged 1" in text


def test_attempts_and_the_place_in_the_queue_are_told_only_while_a_run_goes_on() -> None:
    lines = ("attempts  0 spent in this run", "queue     fresh, priority 0")
    assert all(line in _shown(_explained(status="retrying")) for line in lines)
    assert not any(line.split()[0] in _shown(_explained()) for line in lines)


@pytest.mark.parametrize("value", ["\x1b[2Jgone", "two\nlines", "[red]x[/red]", "a\u202eb"])
def test_nothing_in_a_value_is_obeyed_by_the_terminal(value: str) -> None:
    [line] = [line for line in _shown(_explained(value)).splitlines() if "company_data" in line]
    assert not {"\x1b", "\n", "\u202e"} & set(line)
    assert line.count("[red]") == value.count("[red]")


def test_a_long_value_is_cut_for_people_and_whole_in_json() -> None:
    assert "y" * 100 not in _shown(_explained("y" * 500))
    assert "y" * 500 in as_json([_explained("y" * 500)])


@pytest.mark.parametrize(
    "value",
    [float("nan"), ObjectId("5f" * 12), b"\xff", {1: [NOW]}, "\ud800", {"a": {"b": None}}],
)
def test_a_value_of_any_type_becomes_json(value: Any) -> None:
    parsed = json.loads(as_json([_explained(value), _explained(id_=value)]), parse_constant=_never)
    assert len(parsed["leads"]) == 2
    assert _shown(_explained(value), _explained(id_=value)).count("lead ") == 2


def _never(constant: str) -> None:
    raise AssertionError(f"{constant} is no JSON")


def test_an_id_is_shown_as_an_operator_would_type_it() -> None:
    uuid = UUID("3b241101-e2bb-4255-8caf-4136c566a962")
    assert f"lead {uuid}\n" in _shown(_explained(id_=Binary.from_uuid(uuid)))
    assert f"lead {'5f' * 12}\n" in _shown(_explained(id_=ObjectId("5f" * 12)))
