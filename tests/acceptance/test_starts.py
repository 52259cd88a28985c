"""A process that was forked is as good as one that was started (`tests/support/forks.py`): other tests rely on it."""

from __future__ import annotations

import signal
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from tests.support.processes import Daemon
from tests.support.waiting import eventually

REALLY = (signal.SIGUSR1,)
"""A signal that is found ignored takes a real start; nothing of ours looks at this one."""

SIMULATOR = ("simulator", "--port", "0")
WRONG = {"ENRICHER_CONCURRENCY": "none", "ENRICHER_NO_SUCH": "1", "TZ": "Asia/Tokyo"}


@pytest.mark.parametrize(
    ("arguments", "env"),
    [
        (["--version"], {}),
        (["--no-such-option"], {"COLUMNS": "40"}),
        (["run"], WRONG),
        (["check"], {"MONGODB_URI": "mongodb://127.0.0.1:1/?serverSelectionTimeoutMS=50"}),
    ],
    ids=["well", "usage", "settings", "no MongoDB"],
)
async def test_a_forked_command_says_and_ends_as_a_started_one(
    arguments: Sequence[str], env: Mapping[str, str]
) -> None:
    said = []
    for ignoring in ((), REALLY):
        async with Daemon(*arguments, env=env, ignoring=ignoring) as command:
            code = await command.wait()
        said.append((code, command.stdout, [line.get("text") for line in command.lines]))
    assert said[0] == said[1]


async def test_a_forked_process_has_what_is_its_own_and_nothing_of_others() -> None:
    other, forked = (Daemon(*SIMULATOR) for _ in range(2))
    async with other, forked, Daemon(*SIMULATOR, ignoring=REALLY) as started:
        for each in (other, forked, started):
            await _serves(each)
        assert _of(forked) == _of(started)


async def _serves(simulator: Daemon) -> None:
    await eventually(lambda: "APOLLO_RATE_LIMIT" in simulator.stdout, within=20)


def _of(process: Daemon) -> tuple[object, ...]:
    """Its open files by kind, where it is, what it was told, how it heeds signals."""
    place = Path(f"/proc/{process.pid}")
    kinds = sorted(each.readlink().name.partition(":")[0] for each in (place / "fd").iterdir())
    status = (place / "status").read_text().splitlines()
    heeds = [line for line in status if line.startswith(("SigBlk", "SigCgt"))]
    return kinds, (place / "cwd").readlink() == process.directory, heeds


async def test_a_forked_process_ends_by_the_signal_that_it_is_sent() -> None:
    async with Daemon(*SIMULATOR) as process:
        await _serves(process)
        process.kill()
        assert await process.wait() == -signal.SIGKILL
