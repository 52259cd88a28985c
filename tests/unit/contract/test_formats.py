"""The contract says the same in every format, and its models change nothing that they read."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pydantic import ValidationError

from enricher.contract import Lead
from enricher.contract.formats import SchemaFormat, contract
from enricher.contract.shape import lead, records
from enricher.fields import NAMES, TYPES
from enricher.lead import Status

DATA = {
    "company_data": {"name": "Acme", "employee_count": 7, "tags": ["a"], "shoe_size": {"eu": 43}},
    "person_data": None,
    "email_verification": {"score": 91, "mx_records": True},
    "social_profiles": {"company": {"linkedin": "https://www.linkedin.com/company/acme"}},
    "enrichment_metadata": {"enriched_at": "2026-11-30T12:00:00.000+00:00", "other": [1]},
    "intent_data": {"topics": ["crm"]},
}
each_format = pytest.mark.parametrize("format_", SchemaFormat)


@each_format
def test_every_field_and_every_status_is_in_every_format(format_: SchemaFormat) -> None:
    text = contract(format_)
    fields = {name for record in records(lead()) for name in record.fields}
    assert fields >= {name for types in TYPES.values() for name in types}
    assert [name for name in fields if name not in text] == []
    assert [status for status in Status if f'"{status}"' not in text] == []


def test_a_lead_has_all_fields_that_the_daemon_writes_and_no_others() -> None:
    assert lead().fields.keys() == NAMES.written().keys()


@each_format
def test_it_is_the_same_each_time_and_ends_as_a_file_does(format_: SchemaFormat) -> None:
    assert contract(format_) == contract(format_)
    assert contract(format_).endswith("\n")


def test_the_schema_is_a_schema() -> None:
    Draft202012Validator.check_schema(json.loads(contract(SchemaFormat.JSON)))


@pytest.mark.parametrize(
    "document",
    [{}, {"enriched_data": None}, {"enriched_data": DATA}, {"enrichment_status": None, "more": 1}],
)
def test_what_is_missing_null_or_unknown_meets_the_schema_and_the_models(
    document: dict[str, Any],
) -> None:
    assert _errors(document) == []
    assert Lead.model_validate(document).model_dump(exclude_unset=True) == document


@pytest.mark.parametrize(
    "document",
    [
        {"enrichment_status": "done"},
        {"enriched_data": "Acme"},
        {"enriched_data": {"company_data": {"employee_count": "many"}}},
        {"enriched_data": {"company_data": {"tags": [None]}}},
        {"enriched_data": {"enrichment_metadata": {"provenance": {"company_data": "clearbit"}}}},
    ],
)
def test_another_type_meets_neither_the_schema_nor_the_models(document: dict[str, Any]) -> None:
    assert _errors(document) != []
    with pytest.raises(ValidationError):
        Lead.model_validate(document)


@given(score=st.integers() | st.floats(allow_nan=False))
def test_a_number_stays_the_number_that_it_is(score: float) -> None:
    found = {"enriched_data": {"email_verification": {"score": score}}}
    assert repr(Lead.model_validate(found).model_dump(exclude_unset=True)) == repr(found)


def test_fields_of_a_writer_are_read_as_attributes() -> None:
    lead: Any = Lead.model_validate({"_id": 7, "email": "ada@lemur.com"})
    assert (lead._id, lead.email) == (7, "ada@lemur.com")


def test_a_readers_import_loads_pydantic_and_nothing_of_the_daemon() -> None:
    ours = _loaded("from enricher.contract import Lead")
    assert ours == ["enricher", "enricher.contract", "enricher.contract.models"]


@pytest.mark.slow
def test_the_daemons_start_builds_no_models() -> None:
    assert "enricher.contract.models" not in _loaded("import enricher.cli, enricher.app")


def _loaded(statement: str) -> list[str]:
    """Modules of ours and drivers that a process has after it."""
    program = f"import json, sys; {statement}; print(json.dumps(sorted(sys.modules)))"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    names: list[str] = json.loads(ran.stdout)
    return [
        name for name in names if name.split(".")[0] in ("enricher", "bson", "pymongo", "aiohttp")
    ]


def _errors(document: dict[str, Any]) -> list[str]:
    schema = Draft202012Validator(json.loads(contract(SchemaFormat.JSON)))
    return [error.message for error in schema.iter_errors(document)]
