"""What `lint-imports` (see pyproject.toml) cannot say about the house: how rooms and files are named."""

from __future__ import annotations

import ast
import inspect
from collections import Counter
from pathlib import Path

import pytest

from enricher.intake.watcher import Watcher
from enricher.queue.worker import Worker

ROOT = Path(__file__).parent.parent / "enricher"
ROOMS = sorted(path.parent for path in ROOT.glob("*/__init__.py"))
NAMES = sorted(
    {part for path in ROOT.rglob("*.py") for part in path.relative_to(ROOT).with_suffix("").parts}
)
MOST_FLAT_MODULES = 12
MOST_PARTS = 7
FOR_PROVIDER_AUTHORS = {
    *("enricher.answer", "enricher.catalogue", "enricher.providers.base", "enricher.providers.http")
}
"""What `enricher/__init__.py` offers under the package's own name."""
SAY_NOTHING = {"utils", "util", "helpers", "helper", "managers", "manager", "common", "service"}


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: room.name)
def test_every_room_says_what_it_is_for(room: Path) -> None:
    assert ast.get_docstring(ast.parse((room / "__init__.py").read_text()))


def test_few_modules_lie_flat() -> None:
    assert len(list(ROOT.glob("*.py"))) <= MOST_FLAT_MODULES


def test_modules_are_named_by_what_they_are_responsible_for() -> None:
    assert not SAY_NOTHING & set(NAMES)


def test_no_name_of_a_class_means_two_things() -> None:
    """But in the models for readers, whose names are those of the contract."""
    paths = set(ROOT.rglob("*.py")) - {ROOT / "contract" / "models.py"}
    trees = [ast.parse(path.read_text()) for path in sorted(paths)]
    classes = Counter(
        node.name for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ClassDef)
    )
    assert not [name for name, times in classes.items() if times > 1]


@pytest.mark.parametrize("loop", [Watcher, Worker])
def test_the_loops_are_made_of_few_parts(loop: type) -> None:
    assert len(inspect.signature(loop).parameters) <= MOST_PARTS


def _imported(path: Path) -> set[str]:
    """Modules that a file imports from, wherever the import stands."""
    tree = ast.parse(path.read_text())
    return {
        node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module
    }


def test_the_package_itself_offers_only_what_authors_of_providers_need() -> None:
    ours = {name for name in _imported(ROOT / "__init__.py") if name.startswith("enricher")}
    assert ours <= FOR_PROVIDER_AUTHORS


def test_nothing_but_the_commands_imports_demo_and_simulator() -> None:
    outside = [path for path in ROOT.rglob("*.py") if path.parent.name not in {"demo", "simulator"}]
    importers = {
        path.name
        for path in outside
        for name in _imported(path)
        if name.startswith(("enricher.demo", "enricher.simulator"))
    }
    assert importers <= {"cli.py", "__main__.py"}
