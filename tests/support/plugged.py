"""Packages as pip leaves them in a directory of site-packages, for processes that are to find them."""

from __future__ import annotations

import shutil
import tomllib
from pathlib import Path

EXAMPLE = Path(__file__).parent.parent / "example_provider"


def install_example(into: Path) -> None:
    """`tests/example_provider`, by what its own pyproject.toml says."""
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text("utf-8"))
    for module in project["tool"]["setuptools"]["py-modules"]:
        shutil.copy(EXAMPLE / f"{module}.py", into)
    about = project["project"]
    write_metadata(into, about["name"], about["entry-points"]["enricher.providers"])


def install(into: Path, package: str, code: str, **entries: str) -> None:
    """A package of one module of the same name; `entries` are those of `enricher.providers`."""
    (into / f"{package}.py").write_text(code, "utf-8")
    write_metadata(into, package, entries)


def write_metadata(into: Path, package: str, entries: dict[str, str]) -> None:
    about = into / f"{package.replace('-', '_')}-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    lines = (f"{name} = {value}" for name, value in entries.items())
    (about / "entry_points.txt").write_text("\n".join(["[enricher.providers]", *lines, ""]))
