"""Tables: what was measured, beside what it is compared with; for the terminal and as Markdown."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from rich.console import Console
from rich.table import Table

from tests.benchmarks.rig import World

RESULTS = Path(__file__).with_name("RESULTS.md")
PAGE = Path(__file__).parents[2] / "docs" / "figures.md"
BEGIN, END = "<!-- make bench writes from here -->\n", "<!-- to here -->\n"


@dataclass(frozen=True, slots=True)
class Goal:
    """One figure to reach."""

    what: str
    found: str
    wanted: str
    is_met: bool


@dataclass(frozen=True, slots=True)
class Section:
    """One table and what must be known to read it."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    goals: Sequence[Goal]
    note: str = ""


def at_most(what: str, found: float, most: float, unit: str, digits: int = 2) -> Goal:
    """A figure that is to be small."""
    seen, wanted = f"{found:,.{digits}f} {unit}", f"at most {most:,g} {unit}"
    return Goal(what, seen.strip(), wanted.strip(), found <= most)


class Figure(Protocol):
    """Something that is measured in rounds, which alternate with those of all others."""

    rounds: int

    def round(self, world: World) -> AsyncIterator[str]:
        """Measure once; yields what was seen, a line at a time for whoever waits."""

    def section(self) -> Section:
        """After all rounds."""


def show(console: Console, section: Section) -> None:
    """One section on the terminal."""
    table = Table(*section.columns, title=section.title)
    for row in section.rows:
        table.add_row(*row)
    console.print(table)
    for goal in section.goals:
        console.print(
            f"  {'met   ' if goal.is_met else 'MISSED'}  {goal.what}: {goal.found} ({goal.wanted})"
        )


def markdown(command: str, facts: Mapping[str, str], sections: Sequence[Section]) -> str:
    """The whole report."""
    goals = [goal for section in sections for goal in section.goals]
    parts = [
        "# Figures\n",
        f"Written by `{command}`: one run, in which each figure stands beside its references.\n",
        "\n".join(f"- {name}: {value}" for name, value in facts.items()) + "\n",
        summary(goals),
        *(_as_markdown(section) for section in sections),
    ]
    return "\n".join(parts)


def put_into_page(command: str, facts: Mapping[str, str], sections: Sequence[Section]) -> None:
    """Replace what stands between the two comments."""
    before, _, rest = PAGE.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    assert after, f"{PAGE} has no {BEGIN} ... {END}"
    goals = [goal for section in sections for goal in section.goals]
    machine = "; ".join(facts[name] for name in ("machine", "system", "when"))
    loads = f"Load before the run: {facts['load before the run']}."
    first = _table(sections[0].columns, sections[0].rows)
    commits = "; ".join(f"{name}: {facts[name]}" for name in ("commit", "before") if name in facts)
    seen_on = f"{machine}. {loads} {commits}.\n"
    parts = [f"```sh\n{command}\n```\n", seen_on, summary(goals), first]
    PAGE.write_text(before + BEGIN + "\n" + "\n".join(parts) + "\n" + END + after)


def summary(goals: Sequence[Goal]) -> str:
    """All goals as one table."""
    rows = [
        (goal.what, goal.found, goal.wanted, "yes" if goal.is_met else "**no**") for goal in goals
    ]
    return _table(("figure", "seen", "wanted", "met"), rows)


def _as_markdown(section: Section) -> str:
    note = f"\n{section.note}\n" if section.note else ""
    return f"## {section.title}\n\n{_table(section.columns, section.rows)}{note}"


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)
