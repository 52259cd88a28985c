"""Untrusted JSON: whatever a vendor writes, a reader gives a value of its type or nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import bson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from enricher.answer import Found, Kind, NotFound
from enricher.providers import reading
from enricher.values.merge import usable
from enricher.values.types import LONGEST_PROSE, MOST_ITEMS, TYPES

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(min_value=-(10**30), max_value=10**30)
    | st.floats()
    | st.text(alphabet=st.characters(exclude_categories=()))
    | st.from_regex(r"\s?-?\d{1,25}(\.\d{1,25})?\s?")
)
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)
READERS: dict[str, tuple[Callable[..., Any], type]] = {
    "text": (reading.text, str),
    "prose": (reading.prose, str),
    "texts": (reading.texts, list),
    "flag": (reading.flag, bool),
    "whole_number": (reading.whole_number, int),
    "number": (reading.number, float),
}

NO_WHOLE_NUMBERS: list[Any] = [
    *(2**63, -(2**63) - 1, 1e300, 10**400, float("nan"), float("inf"), -1, 120.5),
    *(True, False, None, [], {}),
    *("", "1,200", "51-250", "10K", "~50", "1e3", "١٢", "1.0"),
]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"true",
        b"[]",
        b'"text"',
        b"<html><body>Bad Gateway</body></html>",
        b'{"name": "Acme", "dom',
        b"\xff\xfe\xfa",
        '{"name": "Müller"}'.encode("latin-1"),
        b"[" * 2_000_000,
        b'{"a":' * 200_000,
        b"\x1f\x8b\x08\x00",
    ],
    ids=range(12),
)
def test_what_is_not_a_json_object_is_none(body: bytes) -> None:
    assert reading.parse_object(body) is None


@pytest.mark.parametrize("charset", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_every_unicode_encoding_is_read(charset: str) -> None:
    assert reading.parse_object('{"name": "Müller"}'.encode(charset)) == {"name": "Müller"}


@pytest.mark.parametrize("figure", ["NaN", "Infinity", "-Infinity", "9" * 5_000, "-" + "9" * 5_000])
def test_a_figure_nobody_can_hold_costs_its_field_but_not_the_record(figure: str) -> None:
    body = f'{{"employees": {figure}, "name": "Acme"}}'.encode()
    assert reading.parse_object(body) == {"employees": None, "name": "Acme"}


@pytest.mark.parametrize(
    "parent", [None, True, 7, "geo", [], [{"city": "Rome"}], {}, {"city": None}]
)
def test_a_parent_of_the_wrong_type_has_no_children(parent: Any) -> None:
    assert reading.text({"geo": parent}, "geo", "city") is None


@pytest.mark.parametrize("record", [None, True, [], "text", 7])
def test_what_is_no_record_has_no_fields(record: Any) -> None:
    assert reading.text(record, "name") is None


@pytest.mark.parametrize(
    "value", ["", "  ", "-", "N/A", "n/a", "Unknown", "UNKNOWN", "None", "null", "\u2014", "\x00"]
)
def test_a_placeholder_is_no_text(value: str) -> None:
    assert reading.text({"name": value}, "name") is None
    assert reading.prose({"name": value}, "name") is None
    assert reading.texts({"name": [value]}, "name") is None


def test_the_country_code_of_namibia_is_no_placeholder() -> None:
    assert reading.text({"countryCode": "NA"}, "countryCode") == "NA"


@pytest.mark.parametrize("value", [True, False, 0, 7, 1.5, [], ["Acme"], {}, {"en": "Acme"}, None])
def test_only_text_is_text(value: Any) -> None:
    assert reading.text({"name": value}, "name") is None


def test_text_loses_what_bson_cannot_hold_and_readers_cannot_see() -> None:
    record = reading.parse_object(rb'{"name": " Ac\u0000me\ud800\u001b \ud83d\ude00 "}')
    assert reading.text(record, "name") == "Acme 😀"


def test_a_name_beyond_all_measure_is_dropped_and_a_description_is_cut() -> None:
    record = {"long": "x" * 1_000_000}
    assert reading.text(record, "long") is None
    assert reading.prose(record, "long") == "x" * LONGEST_PROSE


def test_a_list_keeps_its_short_texts_once_and_in_order() -> None:
    tags = ["SaaS", None, "B2B", 7, "SaaS", "", ["deep"], {"a": 1}, "x" * 1_000, " AI "]
    assert reading.texts({"tags": tags}, "tags") == ["SaaS", "B2B", "AI"]


def test_a_list_is_capped_in_number() -> None:
    tags = [f"tag {n}" for n in range(100_000)]
    assert reading.texts({"tags": tags}, "tags") == tags[:MOST_ITEMS]


@pytest.mark.parametrize("value", [None, "SaaS", True, 7, {}, [], [None], [[]]])
def test_what_holds_no_texts_is_no_list(value: Any) -> None:
    assert reading.texts({"tags": value}, "tags") is None


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (6907, 6907),
        (6907.0, 6907),
        ("6907", 6907),
        (" 6907 ", 6907),
        (0, 0),
        (2**63 - 1, 2**63 - 1),
        *((value, None) for value in NO_WHOLE_NUMBERS),
    ],
)
def test_a_whole_number_is_an_integer_or_clean_digits(value: Any, expected: int | None) -> None:
    assert reading.whole_number({"n": value}, "n") == expected


def test_where_zero_means_unknown_it_is_no_number() -> None:
    assert reading.whole_number({"employees": 0}, "employees", least=1) is None


def test_a_whole_number_outside_its_range_is_none() -> None:
    assert reading.whole_number({"score": 101}, "score", most=100) is None
    assert reading.whole_number({"n": -5}, "n", least=-10) == -5


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1, 1.0),
        (0.5, 0.5),
        ("0.5", 0.5),
        ("-3", -3.0),
        *(
            (value, None)
            for value in [True, None, "", "0,5", "1e3", float("nan"), float("inf"), 10**400]
        ),
    ],
)
def test_a_number_is_finite_or_clean_digits(value: Any, expected: float | None) -> None:
    assert reading.number({"n": value}, "n") == expected


@pytest.mark.parametrize("value", [0, 1, "true", "yes", None, [], {}, 1.0])
def test_only_true_and_false_are_flags(value: Any) -> None:
    assert reading.flag({"disposable": value}, "disposable") is None


def test_a_flag_may_be_false() -> None:
    assert reading.flag({"disposable": False}, "disposable") is False


def test_a_choice_is_a_word_of_its_vocabulary_also_when_that_is_unknown() -> None:
    assert reading.choice({"status": " Unknown "}, "status", among={"unknown"}) == "unknown"
    assert reading.choice({"status": "fine"}, "status", among={"unknown"}) is None
    assert reading.choice({"status": ["unknown"]}, "status", among={"unknown"}) is None


@pytest.mark.parametrize(
    ("value", "is_address"),
    [
        ("https://acme.example/logo.png", True),
        ("http://acme.example", True),
        ("javascript:alert(1)", False),
        ("data:image/png;base64,AAAA", False),
        ("//acme.example/logo.png", False),
        ("https://", False),
        ("https://[half/logo", False),
        ("logo.png", False),
    ],
)
def test_only_an_http_url_is_a_web_address(value: str, is_address: bool) -> None:
    answer = reading.found(Kind.COMPANY, {"logo_url": value})
    expected = Found({"company_data": {"logo_url": value}})
    assert answer == (expected if is_address else NotFound(reading.EMPTY))


def test_fields_without_a_value_are_left_out_and_false_and_0_are_verdicts() -> None:
    answer = reading.found(Kind.EMAIL, {"status": None, "mx_records": False, "score": 0})
    assert answer == Found({"email_verification": {"mx_records": False, "score": 0}})


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"domain": "acme.example", "pdl_id": "7"},
        {"name": "N/A", "domain": "acme.example"},
        {"employee_count": 0, "tags": [None], "linkedin_handle": "https://evil.example/acme"},
    ],
)
def test_who_knows_no_more_than_whom_it_was_asked_about_knows_nothing(
    values: dict[str, object],
) -> None:
    assert reading.found(Kind.COMPANY, values) == NotFound(reading.EMPTY)


def test_only_text_is_picked_and_it_stays_as_it_is_written() -> None:
    record = {"name": " Acme\n", "geo": {"city": 7}, "site": None}
    paths = {"name": ("name",), "city": ("geo", "city"), "domain": ("site",), "state": ("x", "y")}
    assert reading.written(record, paths) == {"name": " Acme\n"}


@given(kind=st.sampled_from(Kind), data=st.data())
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_what_its_provider_has_read_is_what_the_merge_would_read(
    kind: Kind, data: st.DataObject
) -> None:
    values = data.draw(st.dictionaries(st.sampled_from(sorted(TYPES[kind.section])), ANYTHING))
    answer = reading.found(kind, values)
    if isinstance(answer, Found):
        assert usable(answer, kind.section) == usable(Found({kind.section: values}), kind.section)
        assert usable(answer, kind.section) == usable(replace(answer), kind.section)
        bson.encode(dict(answer.sections))


@given(value=ANYTHING, name=st.sampled_from(sorted(READERS)))
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_no_value_of_any_shape_gets_past_its_reader(value: Any, name: str) -> None:
    read, expected = READERS[name]
    found = read({"parent": {"field": value}}, "parent", "field")
    assert found is None or type(found) is expected
    bson.encode({"field": found})


@given(value=ANYTHING)
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_whatever_parses_is_an_object(value: Any) -> None:
    parsed = reading.parse_object(json.dumps(value).encode())
    assert isinstance(parsed, dict) == isinstance(value, dict)


@given(body=st.binary())
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_no_bytes_make_the_parser_raise(body: bytes) -> None:
    reading.parse_object(body)
