"""Every command ends by SIGTERM, whatever it is at and however it was started.

All are started with SIGINT ignored, as a script's `enricher ... &` is: there nothing that SIGTERM is
turned into would do.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from enricher.errors import ExitCode
from tests.support.processes import Daemon, bound_to_us
from tests.support.rig import Rig, domain
from tests.support.waiting import eventually

IN_A_SCRIPT = (signal.SIGINT,)
STOPPED_BY = {signal.SIGTERM: -signal.SIGTERM, signal.SIGHUP: -signal.SIGHUP}


def _what_is_in(directory: Path) -> list[Path]:
    return list(directory.iterdir())


def _starting(daemon: Daemon) -> Callable[[], object]:
    """mongod was just started, and is not the primary yet."""
    return lambda: list(daemon.directory.glob("enricher-data/mongod.port"))


async def _no_mongod_is_left_in(directory: Path) -> None:
    listed = await asyncio.create_subprocess_exec(
        *("pgrep", "-f", str(directory)), stdout=asyncio.subprocess.PIPE
    )
    found, _ = await listed.communicate()
    assert found == b""


@pytest.mark.parametrize("ignoring", [IN_A_SCRIPT, ()], ids=["in_a_script", "on_a_terminal"])
async def test_run_ends_while_the_embedded_server_starts(
    ignoring: tuple[signal.Signals, ...],
) -> None:
    async with Daemon("run", ignoring=ignoring) as daemon:
        await eventually(_starting(daemon), within=30)
        daemon.terminate()
        assert await daemon.wait() == ExitCode.OK
        assert daemon.lines == []
        await _no_mongod_is_left_in(daemon.directory)


async def test_run_drains_and_ends(rig: Rig) -> None:
    env = rig.environment()
    async with Daemon("run", env=env, ignoring=IN_A_SCRIPT) as daemon:
        await daemon.wait_for_event("stream.opened")
        daemon.terminate()
        assert await daemon.wait() == ExitCode.OK
        assert daemon.events("daemon.stopped")


async def test_a_second_sigterm_does_not_wait_for_a_vendor(rig: Rig) -> None:
    rig.simulator.inject("hang")
    async with Daemon("run", env=rig.environment("clearbit"), ignoring=IN_A_SCRIPT) as daemon:
        await daemon.wait_for_event("stream.opened")
        await rig.leads.insert_one({"company_domain": domain()})
        await rig.simulator.journal.until(lambda: len(rig.simulator.journal) == 1)
        daemon.terminate()
        await daemon.wait_for_event("daemon.stopping", signal="SIGTERM")
        daemon.terminate()
        assert await daemon.wait(within=5) == -signal.SIGTERM


async def test_two_at_once_end_it(rig: Rig) -> None:
    async with Daemon("run", env=rig.environment(), ignoring=IN_A_SCRIPT) as daemon:
        await daemon.wait_for_event("stream.opened")
        daemon.terminate()
        daemon.terminate()
        assert await daemon.wait(within=5) in (ExitCode.OK, -signal.SIGTERM)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
async def test_status_watch_ends(rig: Rig, number: signal.Signals) -> None:
    """SIGINT as well: who sends it to a process that is no terminal's means it."""
    command = Daemon("status", "--watch", env=rig.environment(), ignoring=IN_A_SCRIPT)
    async with command as watching:
        await eventually(lambda: "\n\n" in watching.stdout)
        watching.send(number)
        assert await watching.wait(within=5) == ExitCode.OK
        assert watching.lines == []


async def test_nohup_is_heeded(rig: Rig) -> None:
    ignoring = (signal.SIGHUP, signal.SIGINT)
    async with Daemon("run", env=rig.environment(), ignoring=ignoring) as daemon:
        await daemon.wait_for_event("stream.opened")
        daemon.send(signal.SIGHUP)
        assert (await daemon.get("/livez")).status_code == 200
        await rig.leads.insert_one({"_id": 1, "company_domain": domain()})
        assert await rig.witness.end_of(1) == "completed"
        daemon.terminate()
        assert await daemon.wait() == ExitCode.OK
    assert not daemon.events("daemon.stopping", signal="SIGHUP")


async def test_the_simulator_ends() -> None:
    async with Daemon("simulator", "--port", "0", ignoring=IN_A_SCRIPT) as simulator:
        await eventually(lambda: "HUNTER_BASE_URL" in simulator.stdout)
        simulator.terminate()
        assert await simulator.wait(within=5) == ExitCode.OK


async def test_the_demo_ends_while_it_starts_and_while_it_shows(tmp_path: Path) -> None:
    env = {"TMPDIR": str(tmp_path)}
    async with Daemon("demo", env=env, ignoring=IN_A_SCRIPT) as demo:
        await eventually(lambda: list(tmp_path.glob("enricher-demo-*/db/mongod.port")))
        demo.terminate()
        assert await demo.wait() == ExitCode.OK
    async with Daemon("demo", env=env, ignoring=IN_A_SCRIPT) as demo:
        await eventually(lambda: "completed" in demo.stdout, within=40)
        demo.terminate()
        assert await demo.wait() == ExitCode.OK
    await _no_mongod_is_left_in(tmp_path)
    assert _what_is_in(tmp_path) == []


async def test_a_backfill_ends_and_says_how_to_go_on(rig: Rig) -> None:
    """No daemon takes the leads, so it waits for them."""
    await rig.leads.insert_many([{"_id": n, "company_domain": domain()} for n in range(20)])
    command = ("backfill", "--query", "{}", "--yes")
    async with Daemon(*command, env=rig.environment(), ignoring=IN_A_SCRIPT) as backfill:
        await eventually(lambda: _pending(rig, 20))
        backfill.terminate()
        assert await backfill.wait(within=5) == ExitCode.UNEXPECTED
        assert "The same command goes on from there" in backfill.stdout


async def _pending(rig: Rig, wanted: int) -> bool:
    return await rig.leads.count_documents({"enrichment_status": "pending"}) == wanted


@pytest.mark.parametrize("number", STOPPED_BY, ids=lambda number: number.name)
async def test_before_anything_is_started_it_ends_by_that_signal(number: signal.Signals) -> None:
    """Also while modules are still imported, where a raised exception might be swallowed."""
    script = (
        f"import os, signal; signal.signal({int(number)}, signal.SIG_DFL);"
        "from enricher.process import signals; signals.end_at_once();"
        f"signal.raise_signal({int(number)}); print('went on')"
    )
    process = await asyncio.create_subprocess_exec(
        *(*bound_to_us(), sys.executable, "-c", script), stdout=asyncio.subprocess.PIPE
    )
    said, _ = await process.communicate()
    assert (process.returncode, said) == (STOPPED_BY[number], b"")


async def test_the_second_signal_ends_a_command_whose_loop_is_stuck() -> None:
    script = (
        "import time; from enricher.process import signals\n"
        "async def stuck():\n"
        "    print('stuck', flush=True)\n"
        "    while True: time.sleep(0.01)\n"
        "signals.end_at_once(); signals.run(stuck())\n"
    )
    process = await asyncio.create_subprocess_exec(
        *(*bound_to_us(), sys.executable, "-c", script), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"stuck\n"
    ending = asyncio.create_task(process.wait())
    while not ending.done():
        with suppress(ProcessLookupError):  # not `send_signal`, which may lose the exit code
            os.kill(process.pid, signal.SIGTERM)
        await asyncio.sleep(0.02)
    assert ending.result() == -signal.SIGTERM
