"""The README knows every setting, metric, event of the log and command, and invents none."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from typer.main import get_command

from enricher import metrics
from enricher.cli import cli
from enricher.errors import ExitCode
from enricher.lead import Status
from enricher.setting_names import OUR_PREFIXES
from enricher.settings import documented
from enricher.store.privileges import desired, required

ROOT = Path(__file__).parent.parent
CODE = ROOT / "enricher"
README = (ROOT / "README.md").read_text("utf-8")
CELL = re.compile(r"^\| `([^`]+)` \| (?:`(.*?)`|(none)) \|", re.MULTILINE)
EVENT_ROW = re.compile(r"^\| `([a-z]+\.[a-z_]+)` \| (\w+) \|", re.MULTILINE)
EVENT = re.compile(r"[a-z]+\.[a-z_]+")
LEVELS = {
    **{level: level for level in ("debug", "info", "warning", "error", "critical")},
    "exception": "error",
    "log": "any",
}
"""Method of the logger -> level as the README has it; `log` passes on what a library chose."""
LABEL_ITEM = re.compile(r"^- `(\w+)`(.*(?:\n  .*)*)", re.MULTILINE)
OPEN_LABELS = {"version", "provider", "le", "vendor", "bucket", "period", "window"}
"""Their values are not ours to list (a version, the table of providers, the bounds of buckets), or
come with the first value."""


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
    collections = {*required("leads"), *desired("leads"), "enricher_history_"}
    named = set(re.findall(r"\benricher_[a-z_]+", README)) - collections
    assert named <= _series()


def test_the_values_of_all_labels_are_in_the_readme_and_none_is_invented() -> None:
    known: dict[str, set[str]] = defaultdict(set)
    for labels in re.findall(r"^enricher_\w+{(.*)}", _exposition(), re.MULTILINE):
        for label, value in re.findall(r'(\w+)="([^"]*)"', labels):
            known[label].add(value)
    values = README.split("Values of the labels")[1].split("\n### ")[0]
    listed = {
        label: set(re.findall(r"`(\w+)`", text)) for label, text in LABEL_ITEM.findall(values)
    }
    known_to_us = {label: words for label, words in known.items() if label not in OPEN_LABELS}
    assert {label: words - _series() for label, words in listed.items()} == known_to_us


def _exposition() -> str:
    """Of a process of its own: in this one, other tests count under labels of their own."""
    program = (
        "from prometheus_client import generate_latest\n"
        "from enricher import metrics\n"
        "metrics.initialise('0', ['local'])\n"
        "print(generate_latest(metrics.REGISTRY).decode())\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return ran.stdout


def _events() -> Iterator[tuple[str, str]]:
    """(event, level) of every call of the logger, also of one bound to fields before."""
    for path in sorted(CODE.rglob("*.py")):
        for call in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute):
                level = LEVELS.get(call.func.attr)
                words = [a.value for a in call.args if isinstance(a, ast.Constant)]
                names = [word for word in words if isinstance(word, str) and EVENT.fullmatch(word)]
                yield from ((name, level) for name in names if level)


def test_every_event_of_the_log_is_in_the_readme_with_its_level_and_none_is_invented() -> None:
    assert sorted(EVENT_ROW.findall(README)) == sorted(set(_events()))


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
