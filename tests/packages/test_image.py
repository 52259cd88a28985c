"""The image without building it: its recipe, what it installs, and its health check. `make packages` builds it."""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from prometheus_client import CollectorRegistry

from enricher.http import Check, HttpServer
from enricher.settings.load import HttpSettings
from tests.support.roles import ROOT

DOCKERFILE = ROOT / "Dockerfile"
PINNED = re.compile(r"^([a-z0-9._-]+)==([^\s;]+)(?: ; (.+?))? \\$", re.MULTILINE)
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


def instructions() -> list[str]:
    """Of the last stage, each in one line."""
    text = re.sub(r"^#.*\n", "", DOCKERFILE.read_text("utf-8"), flags=re.MULTILINE)
    stage = text.replace("\\\n", " ").split("\nFROM ")[-1]
    return [" ".join(line.split()) for line in stage.splitlines() if line.strip()]


def only(name: str) -> str:
    [found] = [line for line in instructions() if line.startswith(f"{name} ")]
    return found.removeprefix(f"{name} ")


def test_hadolint_finds_nothing_wrong() -> None:
    hadolint = shutil.which("hadolint", path=str(Path(sys.executable).parent))
    assert hadolint, "the `test` extra brings it"
    ran = subprocess.run([hadolint, str(DOCKERFILE)], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout) == (0, "")


def test_it_runs_as_nobody_in_particular_and_signals_reach_the_daemon_itself() -> None:
    user, _, group = only("USER").partition(":")
    assert int(user) > 0
    assert int(group) > 0
    assert only("ENTRYPOINT") == '["/opt/enricher/bin/enricher"]'
    assert only("CMD") == '["run"]'
    assert " CMD [" in only("HEALTHCHECK")


def test_nothing_is_installed_in_the_last_stage() -> None:
    assert [line for line in instructions() if line.startswith(("RUN ", "ADD "))] == []


@pytest.mark.parametrize(
    ("file", "wanted"),
    [
        ("constraints.txt", PROJECT["project"]["dependencies"]),
        ("build-constraints.txt", PROJECT["build-system"]["requires"]),
    ],
)
def test_what_is_installed_is_what_the_project_asks_for_down_to_the_hash(
    file: str, wanted: list[str]
) -> None:
    """`make constraints` makes them anew."""
    text = (ROOT / "deploy" / file).read_text("utf-8")
    pinned = {name: version for name, version, _ in PINNED.findall(text)}
    for line in wanted:
        requirement = Requirement(line)
        version = pinned.get(requirement.name)
        assert version is not None, f"{requirement.name} is not pinned"
        assert version in requirement.specifier, f"{requirement.name} is {version}"
    entries = re.split(r"^(?=[a-z0-9])", text, flags=re.MULTILINE)[1:]
    assert len(entries) == len(pinned)
    assert [entry.split()[0] for entry in entries if "--hash=sha256:" not in entry] == []
    assert "://" not in text


def health(port: int) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-I", str(ROOT / "deploy" / "healthcheck.py")],
        env={"ENRICHER_HTTP_PORT": str(port)},
        capture_output=True,
        text=True,
        check=False,
    )


async def asked(**server: Any) -> tuple[int, str]:
    settings = HttpSettings(host="127.0.0.1", port=0)
    async with HttpServer(settings, CollectorRegistry(), **server) as running:
        ran = await asyncio.to_thread(health, running.port)
    return ran.returncode, ran.stdout


async def test_the_health_check_asks_whether_the_loop_turns_and_not_whether_it_is_ready() -> None:
    code, said = await asked(checks={"database": lambda: Check(ok=False, detail="away")})
    assert (code, '"alive"' in said) == (0, True)


async def test_the_health_check_fails_for_a_loop_that_stands_still() -> None:
    times = iter([0.0, 0.0, 0.0])
    code, said = await asked(checks={}, clock=lambda: next(times, 100.0))
    assert (code, '"stuck"' in said) == (1, True)


def test_the_health_check_fails_in_one_line_where_nobody_answers() -> None:
    ran = health(1)
    assert ran.returncode == 1
    assert ran.stdout.startswith("no answer at port 1: ")
    assert ran.stderr == ""
