"""A daemon that is killed by SIGABRT, as systemd's watchdog does it, leaves nothing of its memory behind."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.support.processes import Daemon
from tests.support.rig import Rig

ALLOWED = ("prlimit", "--core=unlimited:unlimited")
PATTERN = Path("/proc/sys/kernel/core_pattern")

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or shutil.which("prlimit") is None, reason="needs Linux and util-linux"
)


@asynccontextmanager
async def _started(rig: Rig, *before: str) -> AsyncIterator[Daemon]:
    process = Daemon("run", env=rig.environment(), before=(*ALLOWED, *before))
    process.directory.chmod(0o755)
    async with process as daemon:
        await daemon.wait_for_event("stream.opened")
        yield daemon


def _core_limit(pid: int) -> list[str]:
    lines = Path(f"/proc/{pid}/limits").read_text().splitlines()
    [line] = [line for line in lines if line.startswith("Max core file size")]
    return line.split()[4:6]


def _cores(directory: Path) -> list[str]:
    return [path.name for path in directory.iterdir() if path.name.startswith("core")]


@pytest.fixture
def cores_are_written(tmp_path: Path) -> None:
    """Or the test shows nothing."""
    if PATTERN.read_text().startswith(("|", "/")):
        pytest.skip("cores of this machine do not go to the directory of the process")
    abort = [*ALLOWED, sys.executable, "-c", "import os; os.abort()"]
    subprocess.run(abort, cwd=tmp_path, check=False, capture_output=True)
    if not _cores(tmp_path):
        pytest.skip("this machine writes no cores")


@pytest.mark.usefixtures("cores_are_written")
async def test_no_core_is_left_where_cores_are_allowed(rig: Rig) -> None:
    async with _started(rig) as daemon:
        daemon.send(signal.SIGABRT)
        assert await daemon.wait() == -signal.SIGABRT
        assert _cores(daemon.directory) == []


async def test_the_limit_for_cores_is_nought_whatever_was_allowed(rig: Rig) -> None:
    async with _started(rig) as daemon:
        assert _core_limit(daemon.pid) == ["0", "0"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can start it as somebody else")
async def test_nobody_but_root_may_look_into_the_daemon(rig: Rig) -> None:
    """What is not dumpable belongs to root in /proc, whoever runs it."""
    somebody = "65534"
    if not os.access(sys.executable, os.X_OK) or not _may_run(somebody):
        pytest.skip("somebody else cannot run this Python")
    become = ("setpriv", f"--reuid={somebody}", f"--regid={somebody}", "--clear-groups")
    async with _started(rig, *become) as daemon:
        assert _owner(daemon.pid, "mem") == 0
        assert _user(daemon.pid) == somebody


def _owner(pid: int, name: str) -> int:
    return Path(f"/proc/{pid}/{name}").stat().st_uid


def _user(pid: int) -> str:
    return Path(f"/proc/{pid}/status").read_text().split("Uid:")[1].split()[0]


def _children(pid: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _may_run(uid: str) -> bool:
    become = ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups"]
    program = [sys.executable, "-c", "import enricher.cli, tempfile"]
    return subprocess.run([*become, *program], check=False, capture_output=True).returncode == 0


async def test_what_the_daemon_starts_leaves_no_core_either(mongod: Path) -> None:
    """The embedded server has the leads in its memory."""
    async with Daemon("run", before=ALLOWED) as daemon:
        await daemon.wait_for_event("stream.opened", within=60)
        children = _children(daemon.pid)
        assert children, mongod
        assert {tuple(_core_limit(child)) for child in children} == {("0", "0")}
