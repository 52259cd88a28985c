"""What must hold of any answers, in any order and any number, over what was merged before."""

from __future__ import annotations

import json
from typing import Any

import bson
from hypothesis import given, settings
from hypothesis import strategies as st

from enricher.answer import Found
from enricher.fields import SECTIONS
from enricher.values.merge import MOST_PROVIDERS, merge
from enricher.values.storable import is_blank
from enricher.values.types import TYPES, is_same, type_of, typed

ORDER = ("clearbit", "pdl", "apollo", "hunter", "local")
PROVIDERS = st.sampled_from([*ORDER, "stranger", "$other.one"])
NAMES = st.sampled_from(
    sorted({name for types in TYPES.values() for name in types} | {"of_their_own"})
)
GOOD: Any = st.sampled_from(
    ["Acme", "51-250", "10K-50K", "$10M", "US", "france", "company/acme", "acme.com", "valid",
     "unknown", "https://img.example/a.png", 7, 120, 2004, True, False, ["B2B"], ["SaaS", "B2B"]]
)  # fmt: skip
ODD: Any = st.one_of(
    st.none(),
    st.floats(),
    st.integers(),
    st.text(max_size=4),
    st.sampled_from(["", "N/A", "Unknown", "-", "\ud800", [], {}, [None], {"a": {"b": [1]}}, 0]),
    st.dictionaries(st.text(max_size=3), st.integers() | st.text(max_size=3), max_size=2),
)
SECTION = st.dictionaries(NAMES, st.one_of(GOOD, GOOD, ODD), max_size=5)
FOUND = st.builds(
    Found,
    st.dictionaries(st.sampled_from(SECTIONS), SECTION, max_size=3),
    st.sampled_from([None, None, 0.1, 0.6, 0.9]),
)
ANSWERS = st.dictionaries(PROVIDERS, FOUND, max_size=4)
RUNS = st.lists(ANSWERS, max_size=4)
TITLES = st.none() | st.text(max_size=4) | st.just("CTO")


def after(runs: list[dict[str, Found]]) -> dict[str, Any]:
    data: dict[str, Any] = merge({}, {}, ORDER)
    for answers in runs:
        data = merge(data, answers, ORDER)
    return data


def values_of(data: dict[str, Any]) -> dict[tuple[str, str], Any]:
    return {(s, name): value for s in SECTIONS for name, value in (data[s] or {}).items()}


def metadata_of(data: dict[str, Any], key: str) -> dict[tuple[str, str], Any]:
    by_section = data["enrichment_metadata"].get(key, {})
    return {(s, name): it for s, fields in by_section.items() for name, it in fields.items()}


@settings(deadline=None)
@given(RUNS)
def test_every_value_has_its_fields_type_and_can_be_stored(runs: list[dict[str, Found]]) -> None:
    data = after(runs)
    assert bson.encode(data)
    for (section, name), value in values_of(data).items():
        assert type_of(section, name).read(value) == value
    for (section, name), others in metadata_of(data, "alternatives").items():
        assert all(type_of(section, name).read(other) == other for other in others.values())


@settings(deadline=None)
@given(RUNS, ANSWERS)
def test_the_same_answers_again_change_nothing(
    runs: list[dict[str, Found]], last: dict[str, Found]
) -> None:
    once = after([*runs, last])
    assert merge(once, last, ORDER) == once
    assert merge(once, {}, ORDER) == once


@settings(deadline=None)
@given(ANSWERS, st.randoms(use_true_random=False))
def test_the_order_in_which_providers_answered_does_not_matter(
    answers: dict[str, Found], random: Any
) -> None:
    shuffled = list(answers.items())
    random.shuffle(shuffled)
    assert merge({}, dict(shuffled), ORDER) == merge({}, answers, ORDER)


@settings(deadline=None)
@given(RUNS, ANSWERS)
def test_no_good_value_is_ever_lost(runs: list[dict[str, Found]], last: dict[str, Found]) -> None:
    before, data = after(runs), after([*runs, last])
    assert values_of(before).keys() <= values_of(data).keys()
    for field, value in values_of(before).items():
        assert is_blank(value) or not is_blank(values_of(data)[field]) or value == "unknown"


@settings(deadline=None)
@given(RUNS, ANSWERS)
def test_who_ranks_worse_never_replaces_a_value_of_who_ranks_better(
    runs: list[dict[str, Found]], last: dict[str, Found]
) -> None:
    before, data = after(runs), after([*runs, last])
    origins, now = metadata_of(before, "provenance"), metadata_of(data, "provenance")
    for field, provider in origins.items():
        poor = values_of(before)[field] == "unknown"
        assert poor or rank(now[field]) <= rank(provider)


def rank(provider: str) -> int:
    return ORDER.index(provider) if provider in ORDER else len(ORDER)


@settings(deadline=None)
@given(RUNS)
def test_provenance_names_who_gave_the_value_and_alternatives_who_gave_another(
    runs: list[dict[str, Found]],
) -> None:
    data = after(runs)
    origins, others = metadata_of(data, "provenance"), metadata_of(data, "alternatives")
    assert origins.keys() == values_of(data).keys()
    for (section, name), provider in origins.items():
        assert has_said(runs, provider, section, name, values_of(data)[section, name])
        assert provider not in others.get((section, name), {})
    for (section, name), said in others.items():
        assert len(said) <= MOST_PROVIDERS
        for provider, value in said.items():
            original = "$other.one" if provider == "_other_one" else provider
            assert has_said(runs, original, section, name, value)
            current = values_of(data).get((section, name))
            assert current is None or not is_same(section, name, value, current)


def has_said(
    runs: list[dict[str, Found]], provider: str, section: str, name: str, value: object
) -> bool:
    said = [
        typed(section, answers[provider].sections.get(section))
        for answers in runs
        if provider in answers
    ]
    return any(name in values and values[name] == value for values in said)


@settings(deadline=None)
@given(ANSWERS, TITLES)
def test_what_the_lead_says_of_itself_never_becomes_a_value(
    answers: dict[str, Found], title: str | None
) -> None:
    stated = {"person_data": {"job_title": title}}
    data, without = merge({}, answers, ORDER, stated), merge({}, answers, ORDER)
    assert values_of(data) == values_of(without)
    assert metadata_of(data, "provenance") == metadata_of(without, "provenance")


@settings(deadline=None)
@given(ANSWERS)
def test_answers_survive_being_kept_as_json(answers: dict[str, Found]) -> None:
    """What was kept for other leads is merged like what came from the vendor just now."""
    for found in answers.values():
        for section in SECTIONS:
            values = typed(section, found.sections.get(section))
            assert typed(section, json.loads(json.dumps(values))) == values
