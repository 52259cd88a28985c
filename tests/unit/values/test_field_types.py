"""Every field has a type: what is read as a value of it, and which two values mean the same."""

from __future__ import annotations

import datetime as dt
import math
import subprocess
import sys
from typing import Any

import bson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from enricher.values import types
from enricher.values.storable import PLACEHOLDERS
from enricher.values.types import (
    LONGEST_PROSE,
    MOST_FIELDS,
    MOST_ITEMS,
    TYPES,
    confidence_of,
    is_same,
    type_of,
    typed,
)

COMPANY, PERSON, EMAIL = TYPES


def read(section: str, name: str, value: object) -> Any:
    return type_of(section, name).read(value)


@pytest.mark.parametrize(
    ("name", "given", "stored"),
    [
        ("name", "  Acme\x00 GmbH ", "Acme GmbH"),
        ("name", {"legal": "Acme"}, None),
        ("name", ["Acme"], None),
        ("name", True, None),
        ("name", 7, None),
        ("name", "x" * 10_000_000, None),
        ("name", "not available", None),
        ("description", "x" * 10_000_000, "x" * LONGEST_PROSE),
        ("employee_count", 120, 120),
        ("employee_count", 120.0, 120),
        ("employee_count", "6907", 6907),
        ("employee_count", "1,200", 1200),
        ("employee_count", 0, None),
        ("employee_count", True, None),
        ("employee_count", -5, None),
        ("employee_count", math.inf, None),
        ("employee_count", 10**400, None),
        ("employee_range", "51-250", "51-250"),
        ("employee_range", "10K-50K", "10K-50K"),
        ("employee_range", {"min": 1}, None),
        ("annual_revenue", "$10M", 10_000_000),
        ("annual_revenue", "EUR 1.5 billion", 1_500_000_000),
        ("raised", 10_000_000.0, 10_000_000),
        ("estimated_annual_revenue", "$10M-$50M", "$10M-$50M"),
        ("estimated_annual_revenue", 12_000_000, "12000000"),
        ("founded_year", "2004", 2004),
        ("founded_year", 20, None),
        (
            "tags",
            [f"tag {number}" for number in range(400)],
            [f"tag {n}" for n in range(MOST_ITEMS)],
        ),
        ("tags", ("B2B", "B2B", None, 5, "N/A", "x" * 500), ["B2B"]),
        ("tags", {"SaaS", "B2B"}, ["B2B", "SaaS"]),
        ("tags", "B2B", None),
        ("tags", [[]], None),
        ("domain", "https://www.Acme.com/about", "acme.com"),
        ("domain", "10.0.0.1", None),
        ("logo_url", "https://img.example/a.png", "https://img.example/a.png"),
        ("logo_url", "https://logo.clearbit.com/acme.com", None),
        ("logo_url", "javascript:alert(1)", None),
        ("logo_url", "https://[", None),
        ("country", "USA", "United States"),
        ("country", "united kingdom", "United Kingdom"),
        ("country", "Czechia", "Czechia"),
        ("country", "Narnia", "Narnia"),
        ("country_code", "usa", "US"),
        ("country_code", "UK", "GB"),
        ("country_code", "Germany", None),
        ("country_code", "ZZ", None),
        ("linkedin_handle", "http://www.linkedin.com/company/acme/", "company/acme"),
        ("linkedin_handle", "linkedin.com/company", None),
        ("linkedin_handle", "https://evil.example/company/acme", None),
        ("linkedin_handle", "//[", None),
        ("twitter_handle", "@acme", "acme"),
        ("twitter_handle", "https://x.com/acme/status/1", "acme"),
        ("facebook_handle", "https://facebook.com/profile.php?id=1", None),
    ],
)
def test_a_companys_field_takes_only_what_it_is_for(
    name: str, given: object, stored: object
) -> None:
    assert read(COMPANY, name, given) == stored


@pytest.mark.parametrize(
    ("name", "given", "stored"),
    [
        ("status", " VALID ", "valid"),
        ("status", "unknown", "unknown"),
        ("status", "catch-all", "accept_all"),
        ("status", "n/a", None),
        ("status", 3, None),
        ("score", 0, 0),
        ("score", "95", 95),
        ("score", 97.5, 97.5),
        ("score", 101, None),
        ("score", math.nan, None),
        ("score", True, None),
        ("is_disposable", False, False),
        ("is_disposable", 0, None),
        ("is_disposable", "true", None),
    ],
)
def test_a_verdicts_field_takes_only_what_it_is_for(
    name: str, given: object, stored: object
) -> None:
    assert read(EMAIL, name, given) == stored


@pytest.mark.parametrize(
    ("name", "one", "other"),
    [
        ("name", "Acme  Inc", "ACME inc"),
        ("employee_range", "1K-5K", "1,000 \u2013 5000 employees"),
        ("employee_range", "10001+", "10,001 or more"),
        ("estimated_annual_revenue", "$10M-$50M", "$10,000,000 to $50,000,000"),
        ("tags", ["B2B", "SaaS"], ["saas", "b2b"]),
        ("logo_url", "http://img.example/a/", "https://www.img.example/a"),
        ("country", "Czechia", "Czech Republic"),
        ("phone", "+49 30 1234", "0049-30-1234"),
        ("linkedin_handle", "acme", "company/Acme"),
    ],
)
def test_two_spellings_mean_the_same(name: str, one: object, other: object) -> None:
    assert is_same(COMPANY, name, one, other)


@pytest.mark.parametrize(
    ("name", "one", "other"),
    [
        ("employee_range", "51-250", "51-200"),
        ("employee_count", 120, 121),
        ("phone", "+49 30 1234", "+49 30 1235"),
        ("country", "Niger", "Nigeria"),
        ("tags", ["B2B"], ["B2B", "SaaS"]),
        ("linkedin_handle", "school/acme", "company/acme"),
        ("of_somebody", {"a": 1}, {"a": 2}),
    ],
)
def test_two_values_differ(name: str, one: object, other: object) -> None:
    assert not is_same(COMPANY, name, one, other)


def test_a_range_in_the_place_of_the_count_becomes_the_range() -> None:
    assert typed(COMPANY, {"employee_count": "11-50"}) == {"employee_range": "11-50"}
    given = {"employee_count": "11-50", "employee_range": "11-100"}
    assert typed(COMPANY, given) == {"employee_range": "11-100"}
    assert typed(COMPANY, {"annual_revenue": "$1M-$2M"}) == {"estimated_annual_revenue": "$1M-$2M"}


def test_a_count_in_the_place_of_the_range_becomes_the_count() -> None:
    assert typed(COMPANY, {"employee_range": "120"}) == {"employee_count": 120}
    assert typed(COMPANY, {"employee_range": 120, "employee_count": 99}) == {"employee_count": 99}


def test_a_count_and_a_range_that_contradict_each_other_both_stay() -> None:
    given = {"employee_count": 550, "employee_range": "51-250"}
    assert typed(COMPANY, given) == given


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        ({"country": "germany"}, {"country": "Germany", "country_code": "DE"}),
        ({"country_code": "de"}, {"country": "Germany", "country_code": "DE"}),
        ({"country": "Narnia"}, {"country": "Narnia"}),
    ],
)
def test_a_country_has_its_code_and_a_code_its_country(given: Any, stored: Any) -> None:
    assert typed(COMPANY, given) == stored


def test_no_provider_fills_more_than_so_many_fields() -> None:
    assert len(typed(COMPANY, {f"field_{n}": n + 1 for n in range(10_000)})) == MOST_FIELDS


def test_a_field_that_is_not_in_the_table_is_kept_as_far_as_it_can_be_stored() -> None:
    given = {
        "funding": {"rounds": [{"$sum": 5}]},
        "since": dt.datetime(2020, 1, 1, tzinfo=dt.UTC),
        "huge": "x" * 10_000_000,
        "wide": {str(number): number for number in range(100_000)},
        "object": object(),
        "date": dt.date(2020, 1, 1),
    }
    assert typed(COMPANY, given).keys() == {"funding", "since"}
    assert typed(COMPANY, given)["funding"] == {"rounds": [{"_sum": 5}]}


def test_a_value_that_holds_itself_is_no_value() -> None:
    endless: list[Any] = []
    endless.append(endless)
    assert typed(COMPANY, {"endless": endless}) == {}


@pytest.mark.parametrize(
    ("text", "ends"),
    [
        ("51-250", (51, 250)),
        ("251-1K", (251, 1000)),
        ("1 to 10", (1, 10)),
        ("$1M..$2M", (1_000_000, 2_000_000)),
        (">10k", (10_000, math.inf)),
        ("up to 5", (0, 5)),
        (7, (7, 7)),
        ("250-51", None),
        ("Large", None),
        ("~50", None),
        ("9" * 65, None),
        (True, None),
        (math.nan, None),
    ],
)
def test_an_amount_is_an_interval(text: object, ends: object) -> None:
    assert types.interval(text) == ends


def test_every_country_is_found_by_its_codes_and_its_name() -> None:
    assert len(types.country_names()) == 249
    for code, name in types.country_names().items():
        assert types.country_code_of(code.lower()) == code
        assert types.country_code_of(name.upper()) == code
    for text in ("The Netherlands", "NLD", "Holland"):
        assert types.country_code_of(text) == "NL"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("Estados Unidos", "US"),
        ("États-Unis", "US"),
        ("EE.UU.", "US"),
        ("EUA", "US"),
        ("Vereinigte Staaten", "US"),
        ("Stany Zjednoczone", "US"),
        ("Reino Unido", "GB"),
        ("Royaume-Uni", "GB"),
        ("UK", "GB"),
        ("Inglaterra", "GB"),
        ("Großbritannien", "GB"),
        ("Holanda", "NL"),
        ("Países Bajos", "NL"),
        ("Deutschland", "DE"),
        ("ALEMANHA", "DE"),
        ("Allemagne", "DE"),
        ("Niemcy", "DE"),
        ("Brasil", "BR"),
        ("Brésil", "BR"),
        ("Schweiz", "CH"),
        ("Suíça", "CH"),
        ("España", "ES"),
        ("Espanha", "ES"),
        ("日本", "JP"),
        ("Россия", "RU"),
        ("Ελλάδα", "GR"),
        ("Magyarország", "HU"),
        ("Ísland", "IS"),
        ("ประเทศไทย", None),
        ("ไทย", "TH"),
        ("Việt Nam", "VN"),
        ("Türkiye", "TR"),
        ("Turquia", "TR"),
        ("Somewhere", None),
        ("Remote", None),
        ("", None),
        ("...", None),
        ("XK", None),
        ("EU", None),
    ],
)
def test_a_country_is_known_in_every_language(text: str, code: str | None) -> None:
    assert types.country_code_of(text) == code


def test_the_names_that_leads_already_have_are_kept() -> None:
    kept = {
        "HK": "Hong Kong",
        "LC": "Saint Lucia",
        "CI": "Côte d'Ivoire",
        "TT": "Trinidad and Tobago",
    }
    assert {code: types.country_names()[code] for code in kept} == kept
    for name in ("Czech Republic", "Turkey", "Palestine", "Myanmar", "Macao", "DR Congo"):
        assert types.country_code_of(name)


def test_no_language_is_read_before_a_country_is_looked_up() -> None:
    program = "import sys, enricher.values.types as c; print(c.country_names.cache_info().currsize, c._foreign.cache_info().currsize); c.country_code_of('France'); print(c.country_names.cache_info().currsize)"
    said = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert said.stdout.split() == ["0", "0", "1"]


@pytest.mark.parametrize(
    ("given", "confidence"),
    [(0.7, 0.7), (1, 1.0), (7, 1.0), (-1, 0.0), (True, None), ("0.7", None), (None, None)],
)
def test_a_confidence_is_from_0_to_1(given: object, confidence: float | None) -> None:
    assert confidence_of(given) == confidence
    assert confidence_of(math.nan) is None
    assert confidence_of(10**400) == 1.0


ODD: Any = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.binary(max_size=5)
    | st.dates()
    | st.text(max_size=12)
    | st.sampled_from(["51-250", "$10M", "US", "https://[", "linkedin.com/in/x", "\ud800", "//["]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.integers() | st.text(max_size=4), inner, max_size=3)
        | st.tuples(inner, inner)
    ),
    max_leaves=8,
)
KNOWN = [(section, name) for section, types in TYPES.items() for name in types]


@given(st.sampled_from(KNOWN), ODD)
def test_any_object_is_read_as_the_fields_type_or_not_at_all(
    field: tuple[str, str], value: object
) -> None:
    section, name = field
    stored = read(section, name, value)
    assert stored is None or isinstance(stored, str | int | float | bool | list)
    assert stored is None or read(section, name, stored) == stored
    assert stored is None or is_same(section, name, stored, stored)
    assert bson.encode({"value": stored})


@given(ODD)
def test_a_section_of_any_shape_can_be_stored(values: object) -> None:
    for section in TYPES:
        assert bson.encode(typed(section, values))
        assert bson.encode(typed(section, {"name": values, "odd": values}))


SAYS_NOTHING: tuple[object, ...] = (
    None,
    "",
    " - ",
    "N/A",
    "unknown",
    "none",
    0,
    0.0,
    math.nan,
    math.inf,
    [],
    [""],
    {},
)
WHERE_A_NAME_IS = ("{}", "https://{}", "https://www.linkedin.com/company/{}", "@{}", "[{}]", "0{}")


@pytest.mark.parametrize("section", [COMPANY, PERSON, EMAIL])
@pytest.mark.parametrize("text", [*sorted(PLACEHOLDERS), "0", "nobody"])
def test_what_is_typed_says_something_whatever_it_was(section: str, text: str) -> None:
    written = [form.format(text) for form in WHERE_A_NAME_IS]
    for value in (*SAYS_NOTHING, *written, written):
        for name, kept in typed(section, dict.fromkeys([*TYPES[section], "beside"], value)).items():
            assert types.says(section, name, kept), (name, value, kept)
