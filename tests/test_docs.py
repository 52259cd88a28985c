"""The README knows every setting, metric and command, and invents none."""

from __future__ import annotations

import re
from pathlib import Path

from typer.main import get_command

from enricher import metrics
from enricher.cli import cli
from enricher.errors import ExitCode
from enricher.lead import Status
from enricher.settings import OUR_PREFIXES, documented

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")
CELL = re.compile(r"^\| `([^`]+)` \| (?:`(.*?)`|(none)) \|", re.MULTILINE)


def _series() -> set[str]:
    suffixes = {"counter": "_total", "info": "_info"}
    return {
        family.name + suffixes.get(family.type, "")
        for family in metrics.REGISTRY.collect()
        if family.name.startswith("enricher_")
    }


def test_every_setting_is_in_the_readme_with_its_default() -> None:
    rows = {name: default or none for name, default, none in CELL.findall(README)}
    for name, default, _ in documented():
        assert rows.get(name) == default, name


def test_no_setting_in_the_readme_is_invented() -> None:
    known = {name for name, _, _ in documented()}
    named = set(re.findall(rf"\b(?:{'|'.join(OUR_PREFIXES)}|MONGODB_|LEADS_)[A-Z_]+\b", README))
    assert named <= known


def test_every_metric_is_in_the_readme() -> None:
    assert {name for name in _series() if f"`{name}`" not in README} == set()


def test_no_metric_in_the_readme_is_invented() -> None:
    collections = {"enricher_checkpoints", "enricher_history_leads", "enricher_history_"}
    named = set(re.findall(r"\benricher_[a-z_]+", README)) - collections
    assert named <= _series()


def test_every_command_is_in_the_readme_and_none_is_invented() -> None:
    commands = set(getattr(get_command(cli), "commands", {}))
    assert set(re.findall(r"^\| `enricher ([a-z]+)`", README, re.MULTILINE)) == commands


def test_every_status_is_in_the_readme() -> None:
    assert {status.value for status in Status if f"| `{status.value}` |" not in README} == set()


def test_the_readme_opens_with_the_two_commands() -> None:
    assert re.findall(r"^make (\w+)", README, re.MULTILINE)[:2] == ["demo", "test"]


def test_the_exit_codes_in_the_readme_are_those_of_the_code() -> None:
    sentence = README.split("Exit codes:")[1].split(".\n")[0]
    assert [int(code) for code in re.findall(r"\b\d\b", sentence)] == [
        code.value for code in ExitCode
    ]


def test_the_changelog_has_something_to_say() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text("utf-8")
    assert "\n- " in changelog.split("## Unreleased")[1]
