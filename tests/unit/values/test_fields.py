"""One table says which fields there are: whatever else names fields agrees with it."""

from __future__ import annotations

import pytest

from enricher import fields
from enricher.answer import Kind
from enricher.fields import FIELDS, SECTIONS, ValueType
from enricher.telemetry import metrics
from enricher.values import types
from enricher.values.merge import OF_THE_JOB, TABLE
from enricher.values.types import EXACT_AND_RANGE, NETWORKS, VERDICTS


def test_every_field_of_the_table_has_a_reader_and_no_other_has_one() -> None:
    assert {section: list(of) for section, of in types.TYPES.items()} == {
        kind.section: list(of) for kind, of in fields.TYPES.items()
    }


def test_what_can_be_required_has_a_type() -> None:
    for kind in Kind:
        assert FIELDS[kind] <= fields.TYPES[kind].keys()


def test_every_type_is_that_of_a_field() -> None:
    assert {each for of in fields.TYPES.values() for each in of.values()} == set(ValueType)


@pytest.mark.parametrize("kind", [Kind.COMPANY, Kind.PERSON])
def test_a_handle_is_on_a_network_that_is_known_and_each_network_has_one(kind: Kind) -> None:
    handles = {name for name, each in fields.TYPES[kind].items() if each is ValueType.HANDLE}
    assert handles == {f"{network}_handle" for network in NETWORKS}


def test_the_sections_are_the_same_in_data_and_labels() -> None:
    assert SECTIONS == metrics.SECTIONS == tuple(types.TYPES)


def test_what_is_merged_scored_and_disowned_by_name_is_in_the_table() -> None:
    scored = {(section, line.partition(".")[2]) for line, (section, *_) in TABLE.items()}
    verdicts = {("email_verification", name) for name in ("valid", "not_disposable")}
    named = {
        *(scored - verdicts),
        *VERDICTS,
        *((Kind.COMPANY.section, name) for pair in EXACT_AND_RANGE for name in pair),
        *((Kind.PERSON.section, name) for name in OF_THE_JOB),
    }
    assert {(section, name) for section, name in named if name not in types.TYPES[section]} == set()
