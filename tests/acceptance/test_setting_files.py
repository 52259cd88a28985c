"""Settings as an operator gets them wrong, seen from the real program."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from enricher.errors import ExitCode
from tests.support.processes import Daemon
from tests.support.rig import Rig

KEY = "sk_live_4eC39HqLyjWDarjtT1zdp7dc"


def _text(daemon: Daemon) -> list[str]:
    return [str(line.get("text", line)) for line in daemon.lines]


@pytest.mark.parametrize("command", ["run", "check", "status"])
@pytest.mark.parametrize(
    "env",
    [
        {"HUNTER_DAILY_BUDGET": KEY},
        {"ENRICHER_LOG_LEVEL": KEY},
        {"ENRICHER_PROVIDER_ORDER": f'["{KEY}"]'},
        {"HUNTER_BASE_URL": KEY},
        {"HUNTER_BASE_URL": f"http://api.hunter.io/{KEY}"},
        {"ENRICHER_HTTP_HOST": KEY, "MONGODB_URI": "mongodb://127.0.0.1:1/", "PDL_RATE_LIMIT": "0"},
    ],
    ids=["budget", "level", "list", "url", "clear", "host"],
)
async def test_a_key_in_the_wrong_line_is_not_shown(command: str, env: dict[str, str]) -> None:
    async with Daemon(command, env=env) as daemon:
        assert await daemon.wait() == ExitCode.SETTINGS
    assert len(_text(daemon)) == 1
    assert KEY not in "".join(_text(daemon)) + daemon.stdout


async def test_a_host_that_is_none_ends_run_without_being_shown(rig: Rig) -> None:
    async with rig.daemon(ENRICHER_HTTP_HOST=KEY) as daemon:
        assert await daemon.wait() == ExitCode.SETTINGS
    line = "ENRICHER_HTTP_HOST: expected an address of this machine (value not shown)"
    assert _text(daemon)[-1] == line
    assert KEY not in "".join(_text(daemon))


async def test_a_fifo_for_an_env_file_holds_up_nobody() -> None:
    daemon = Daemon("run")
    os.mkfifo(daemon.directory / ".env")
    async with daemon:
        assert await daemon.wait(within=10) == ExitCode.SETTINGS
    assert _text(daemon) == [".env: expected a readable UTF-8 file (a FIFO)"]


@pytest.mark.skipif(
    os.geteuid() != 0 or not shutil.which("setpriv"), reason="needs root, to be less"
)
@pytest.mark.parametrize("command", ["run", "check", "status"])
async def test_an_env_file_that_nobody_lets_us_look_for_is_one_line(command: str) -> None:
    """In a directory of somebody else's: whether there is one cannot be told."""
    nobody = ("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups")
    async with Daemon(command, before=nobody) as daemon:
        assert await daemon.wait(within=20) == ExitCode.SETTINGS
    assert _text(daemon) == [".env: expected a readable UTF-8 file (PermissionError)"]


async def test_a_fifo_among_the_credentials_holds_up_nobody(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "HUNTER_API_KEY")
    async with Daemon("run", env={"CREDENTIALS_DIRECTORY": str(tmp_path)}) as daemon:
        assert await daemon.wait(within=10) == ExitCode.SETTINGS
    assert _text(daemon) == [f"{tmp_path}/HUNTER_API_KEY: expected a readable UTF-8 file (a FIFO)"]


@pytest.mark.parametrize(("mode", "warnings"), [(0o644, 1), (0o600, 0)])
async def test_keys_that_everybody_can_read_are_one_warning(
    rig: Rig, mode: int, warnings: int
) -> None:
    daemon = rig.daemon("clearbit")
    file = daemon.directory / ".env"
    file.write_text(f"HUNTER_API_KEY={KEY}\n")
    file.chmod(mode)
    async with daemon:
        await daemon.wait_for_event("stream.opened")
        found = daemon.events("settings.exposed", severity="WARNING", file=".env")
        assert len(found) == warnings
    assert KEY not in "".join(_text(daemon))
