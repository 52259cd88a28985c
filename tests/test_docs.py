"""What people read is true: the reference is the code's, links lead somewhere, and no name is invented."""

from __future__ import annotations

import os
import re
import subprocess
import unicodedata
from pathlib import Path

import pytest
from typer.main import get_command

from enricher.cli import cli
from enricher.lead import Status
from enricher.privileges import desired, required
from enricher.settings.load import OUR_PREFIXES, documented
from enricher.telemetry import metrics
from enricher.telemetry.log import EVENTS
from tests.reference import ROOT, files, full_name, logged

MADE = files()

README = (ROOT / "README.md").read_text("utf-8")
DOCS = ROOT / "docs"
PAGES = {
    str(path.relative_to(ROOT)): path.read_text("utf-8")
    for path in (
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        *sorted((ROOT / "deploy").rglob("*.md")),
        *sorted(DOCS.rglob("*.md")),
    )
}
LINK = re.compile(r"(?<!`)\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
LONGEST_README = 200

pages = pytest.mark.parametrize("page", PAGES)


def _series() -> set[str]:
    return {
        full_name(family)
        for family in metrics.REGISTRY.collect()
        if family.name.startswith("enricher_")
    }


@pytest.mark.parametrize("path", MADE, ids=lambda path: path.name)
def test_the_reference_is_what_the_code_says(path: Path) -> None:
    assert path.read_text("utf-8") == MADE[path](), "run `make reference`"


def test_every_series_is_in_the_reference() -> None:
    """Wherever it is declared."""
    page = PAGES["docs/reference/series.md"]
    assert {name for name in _series() if f"| `{name}` |" not in page} == set()


def test_every_event_that_is_logged_has_a_meaning_and_none_is_invented() -> None:
    assert EVENTS.keys() == logged().keys(), "add what it means to enricher/telemetry/log.py"


def test_every_event_has_one_level() -> None:
    assert {name: level for name, level in logged().items() if " or " in level} == {}


@pages
def test_no_setting_is_invented(page: str) -> None:
    known = {name for name, _, _ in documented()}
    prefixes = "|".join((*OUR_PREFIXES, "MONGODB_", "LEADS_"))
    named = set(re.findall(rf"(?<![<_])\b(?:{prefixes})[A-Z_]+\b", PAGES[page]))
    assert named <= known


@pages
def test_no_series_is_invented(page: str) -> None:
    collections = {
        *required("leads", is_beside=True, has_events=True),
        *desired("leads"),
        "enricher_history_",
        "enricher_results_",
    }
    suffixes = {f"{name}_{part}" for name in _series() for part in ("bucket", "sum", "count")}
    named = set(re.findall(r"\benricher_[a-z_]+", PAGES[page])) - collections
    assert named <= _series() | suffixes


@pages
def test_no_event_is_invented(page: str) -> None:
    subjects = {name.partition(".")[0] for name in EVENTS}
    words = set(re.findall(r"`([a-z]+\.[a-z_]+)`", PAGES[page]))
    named = {each for each in words if each.partition(".")[0] in subjects and each[-3:] != ".py"}
    assert named <= EVENTS.keys()


@pages
def test_no_command_is_invented(page: str) -> None:
    commands = set(getattr(get_command(cli), "commands", {}))
    fenced = "\n".join(FENCE.findall(PAGES[page]))
    named = set(re.findall(r"`enricher ([a-z]+)", PAGES[page]))
    named |= set(re.findall(r"^enricher ([a-z]+)", fenced, re.MULTILINE))
    assert named <= commands


@pages
def test_every_file_that_is_named_is_there(page: str) -> None:
    named = re.findall(r"`((?:enricher|tests|deploy|docs)/[\w./-]+)`", PAGES[page])
    assert [each for each in named if not (ROOT / each).exists()] == []


@pages
def test_every_link_leads_somewhere(page: str) -> None:
    here = ROOT / page
    links = LINK.findall(FENCE.sub("", PAGES[page]))
    broken = [link for link in links if "://" not in link and not _leads_somewhere(here, link)]
    assert broken == []


def _leads_somewhere(here: Path, link: str) -> bool:
    file, _, anchor = link.partition("#")
    path = (here.parent / file).resolve() if file else here
    return path.exists() and (not anchor or anchor in _anchors(path))


def _anchors(path: Path) -> set[str]:
    text = FENCE.sub("", path.read_text("utf-8"))
    return {_anchor(title) for title in re.findall(r"^#+ (.+)$", text, re.MULTILINE)}


def _anchor(title: str) -> str:
    plain = unicodedata.normalize("NFKD", title.replace("`", "")).encode("ascii", "ignore").decode()
    return re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", plain).strip().lower())


def test_every_page_is_in_the_navigation() -> None:
    listed = re.findall(r"(\S+\.md)$", (ROOT / "mkdocs.yml").read_text("utf-8"), re.MULTILINE)
    assert sorted(listed) == sorted(str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md"))


def test_no_page_of_the_site_leads_out_of_it() -> None:
    """The site has `docs/` alone, so such a link would work on one and fail on the other."""
    for page, text in PAGES.items():
        if page.startswith("docs/"):
            links = [link for link in LINK.findall(FENCE.sub("", text)) if "://" not in link]
            assert all(
                (ROOT / page).parent.joinpath(link).resolve().is_relative_to(DOCS) for link in links
            )


@pytest.mark.parametrize("page", ["README.md", "docs/contract.md"])
def test_every_status_is_in_the_contract(page: str) -> None:
    assert {
        status.value for status in Status if f"| `{status.value}` |" not in PAGES[page]
    } == set()


def test_the_readme_is_short() -> None:
    assert README.count("\n") <= LONGEST_README


def test_the_readme_opens_with_the_two_commands() -> None:
    assert re.findall(r"^make (\w+)", README, re.MULTILINE)[:2] == ["demo", "test"]


@pytest.mark.parametrize("target", ["demo", "test"])
def test_the_first_make_says_what_it_is_doing(target: str, tmp_path: Path) -> None:
    command = ["make", "--dry-run", f"VENV={tmp_path / '.venv'}", target]
    # Not as a part of the `make` that may have started us, which would say where it is.
    env = {
        name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))
    }
    ran = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=True)
    steps = ran.stdout.splitlines()
    assert "echo" in steps[0]
    assert "about a minute" in steps[0]


def test_the_changelog_has_something_to_say() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text("utf-8")
    assert "\n- " in changelog.split("## Unreleased")[1]
