"""The unit for systemd, as systemd itself reads it. Nothing is started."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

from enricher.app import CLOSING_SECONDS
from enricher.http import STALE_AFTER_SECONDS
from enricher.settings.load import WorkSettings, documented
from tests.support.roles import ROOT

UNIT = ROOT / "deploy" / "systemd" / "enricher.service"
MOST_EXPOSED = 15
"""Of 100 in systemd's own count; without any hardening it is 96."""

pytestmark = pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="there is no systemd")


def unit() -> dict[str, list[str]]:
    """Every directive with all values that it is given."""
    found: dict[str, list[str]] = defaultdict(list)
    for line in UNIT.read_text("utf-8").splitlines():
        name, is_directive, value = line.partition("=")
        if is_directive and not line.startswith("#"):
            found[name].append(value)
    return found


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["systemd-analyze", *arguments], capture_output=True, text=True, check=False
    )


def seconds(name: str) -> float:
    [value] = unit()[name]
    return float(value)


def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path: Path) -> None:
    """Where the program is installed is not this machine's affair: any other stands in for it."""
    installed = UNIT.read_text("utf-8").replace("/opt/enricher/bin/enricher", sys.executable)
    copy = tmp_path / UNIT.name
    copy.write_text(installed)
    ran = analyze("verify", "--man=no", str(copy))
    assert (ran.returncode, ran.stderr) == (0, "")


def test_systemd_counts_it_as_little_exposed() -> None:
    ran = analyze("security", "--offline=true", f"--threshold={MOST_EXPOSED}", str(UNIT))
    assert ran.returncode == 0, ran.stdout


def test_it_has_time_to_drain_and_the_watchdog_more_patience_than_livez() -> None:
    longest = WorkSettings().shutdown_grace_seconds + CLOSING_SECONDS
    assert seconds("TimeoutStopSec") > longest
    assert seconds("WatchdogSec") > STALE_AFTER_SECONDS
    assert unit()["Type"] == ["notify"]


def test_it_leaves_no_core() -> None:
    assert unit()["LimitCORE"] == ["0"]


def test_every_secret_setting_can_be_a_credential_that_is_allowed_to_be_missing() -> None:
    secrets = {name for name, _, _ in documented() if name.endswith(("_KEY", "_URI", "_SECRET"))}
    secrets.add("ENRICHER_WEBHOOK_URL")  # its path may hold one
    loaded = dict(line.split(":") for line in unit()["LoadCredential"])
    assert loaded == {name: f"enricher.{name}" for name in secrets}
