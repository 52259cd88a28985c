"""Examples for which no runtime is needed to see that their names are those of the contract."""

from __future__ import annotations

import json
import re

from enricher.contract.shape import lead, records
from tests.support.roles import ROOT

EXAMPLES = ROOT / "docs" / "examples"
OWN = {"_id", "email", "notes"}


def test_the_validator_allows_what_the_daemon_writes_and_nothing_else_of_ours() -> None:
    rules = json.loads((EXAMPLES / "validator.json").read_text("utf-8"))["$jsonSchema"]
    assert rules["additionalProperties"] is False
    assert rules["properties"].keys() - OWN == lead().fields.keys()


def test_the_example_in_java_names_fields_of_the_contract() -> None:
    named = set(re.findall(r'@Field\("(\w+)"\)', (EXAMPLES / "Lead.java").read_text("utf-8")))
    known = {name for record in records(lead()) for name in record.fields}
    assert named & known == named != set()


def test_every_example_is_on_the_page() -> None:
    page = (EXAMPLES / "index.md").read_text("utf-8")
    files = {path.name for path in EXAMPLES.iterdir() if path.is_file()} - {"index.md"}
    assert {name for name in files if f"[`{name}`]({name})" not in page} == set()
