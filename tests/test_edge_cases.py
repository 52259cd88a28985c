"""`EDGE_CASES.md` is true: every case is there, and every test it names."""

from __future__ import annotations

import pytest

from tests.edge_cases import CASES, LISTING, TABLES, Case, functions_in, ids_in, listing, shown

each_case = pytest.mark.parametrize("case", CASES, ids=[case.id for case in CASES])


_WHOLE = (("E", 29), ("P", 25), ("L", 16), ("G", 7), ("W", 8), ("V", 8), ("M", 12))
"""How many cases there are of each kind; of D not all are shown yet."""


def test_no_case_is_left_out() -> None:
    expected = [f"{letter}{number}" for letter, last in _WHOLE for number in range(1, last + 1)]
    assert [case.id for case in CASES if case.id[0] in dict(_WHOLE)] == expected


@each_case
def test_every_case_has_a_test(case: Case) -> None:
    assert shown(case)


@each_case
def test_every_test_that_is_named_exists(case: Case) -> None:
    missing = [
        name
        for name in case.shown_by
        if name.partition("::")[2] not in functions_in(name.partition("::")[0])
    ]
    assert not missing


def test_every_line_of_the_tables_belongs_to_a_case() -> None:
    known = {case.id for case in CASES}
    assert not [
        id_ for module in TABLES for id_ in ids_in(module) if id_.partition("-")[0] not in known
    ]


def test_the_listing_is_the_one_that_would_be_made_now() -> None:
    assert LISTING.read_text("utf-8") == listing(), "run: python -m tests.edge_cases"
