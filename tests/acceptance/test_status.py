"""`enricher status` and `/status.json` as an operator, and as a script, meets them."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import struct
import sys
import termios
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import pytest

from enricher.errors import ExitCode
from enricher.lead import Document
from tests.support.processes import Daemon, bound_to_us
from tests.support.rig import KEYS, Rig, address, domain
from tests.support.waiting import eventually

SECRETS = ("ada.", "lovelace", "quokka", *KEYS.values())
"""No ids in hexadecimal may look like one of them."""


async def _told(rig: Rig) -> dict[str, Any]:
    async with Daemon("status", "--json", env=rig.environment()) as command:
        assert await command.wait() == ExitCode.OK
        assert command.lines == []
        told: dict[str, Any] = json.loads(command.stdout)
        return told


async def _served(daemon: Daemon) -> dict[str, Any]:
    reply = await daemon.get("/status.json")
    assert reply.status_code == 200
    served: dict[str, Any] = reply.json()
    return served


def _settled(status: dict[str, Any], outcome: str) -> int:
    return sum(minute[outcome] for minute in status["hour"])


def _calls(status: dict[str, Any]) -> dict[str, int]:
    return {each["name"]: each["today"]["calls"] for each in status["providers"]}


async def test_the_command_and_the_daemons_tell_the_same_of_the_whole_fleet(rig: Rig) -> None:
    """And nothing of a person, although one lead's `_id` is an address."""
    async with rig.daemon() as first, rig.daemon() as second:
        await asyncio.gather(*(each.wait_for_event("stream.opened") for each in (first, second)))
        await first.wait_for_event("daemon.started")
        await eventually(
            lambda: rig.database["enricher_checkpoints"].find_one({"history_known": True})
        )
        leads: list[Document] = [{"_id": n, "email": address()} for n in range(8)]
        await rig.leads.insert_many(
            [*leads, {"_id": address(), "email": address()}, {"_id": "x", "email": "nobody"}]
        )
        await rig.witness.until(lambda: len(rig.witness.steps) == 10)

        async def is_told() -> dict[str, Any]:
            status = await _served(second)
            assert (_settled(status, "completed"), _settled(status, "failed")) == (9, 1)
            assert _calls(status) == {"clearbit": 9, "hunter": 9}, (
                "the ledger follows within a second"
            )
            return status

        served = await eventually(is_told, within=30)
        told, printed = await asyncio.gather(_told(rig), _printed(rig))
        assert told.keys() == served.keys()
        assert told["last"] == served["last"]
        holders = [each["holder"] for each in told["daemons"]]
        assert sorted(holders) == sorted(each["holder"] for each in served["daemons"])
        assert len(holders) == 2
        text = (json.dumps([told, served]) + printed).lower()
        assert [word for word in SECRETS if word in text] == []
    _is_whole(told)


def _is_whole(told: dict[str, Any]) -> None:
    assert told["verdict"]["state"] == "working"
    assert {each["presence"] for each in told["daemons"]} == {"working"}
    assert told["stream"]["open"] == 2
    assert told["unknown"] == {}
    assert {name for name, leads in told["backlog"]["statuses"].items() if leads} == {
        "completed",
        "failed",
    }
    by_lead = {each["lead"]: each for each in told["last"]}
    assert by_lead["3"]["outcome"] == "completed"
    assert by_lead["3"]["score"] > 0
    assert by_lead["x"]["why"] == "The e-mail address is not valid."
    assert sum(lead.startswith("hidden-") for lead in by_lead) == 1
    assert _calls(told) == {"clearbit": 9, "hunter": 9}


async def _printed(rig: Rig) -> str:
    async with Daemon("status", env=rig.environment() | {"COLUMNS": "150"}) as command:
        assert await command.wait() == ExitCode.OK
        assert "WORKING" in command.stdout
        assert "\x1b" not in command.stdout
        return command.stdout


async def test_without_a_daemon_it_says_so_and_what_one_did_before_stays_to_be_seen(
    rig: Rig,
) -> None:
    async with rig.daemon() as daemon:
        await daemon.wait_for_event("history.recorded")
        await rig.leads.insert_one({"_id": 1, "company_domain": domain()})
        assert await rig.witness.end_of(1) == "completed"
        daemon.terminate()
        assert await daemon.wait() == 0
    told = await _told(rig)
    assert told["verdict"]["state"] == "down"
    assert "No daemon is running" in told["verdict"]["sentence"]
    assert [each["presence"] for each in told["daemons"]] == ["stopped"]
    assert [each["lead"] for each in told["last"]] == ["1"]


async def test_watch_into_a_pipe_goes_on_until_it_is_told_to_stop(rig: Rig) -> None:
    async with Daemon("status", "--watch", env=rig.environment()) as command:
        await eventually(lambda: command.stdout.count("DOWN") > 1, within=20)
        command.terminate()
        assert await command.wait() == ExitCode.OK
        assert command.lines == []


@pytest.mark.new_database
async def test_watch_on_a_terminal_shows_what_is_new_and_leaves_it_as_it_was(rig: Rig) -> None:
    """Begun before there is a collection, or a daemon."""
    async with _on_a_terminal(rig, "status", "--watch") as (terminal, command):
        await eventually(lambda: "No daemon was seen" in terminal.text(), within=20)
        assert await rig.database.list_collection_names() == [], "who looks makes nothing"
        await rig.leads.insert_one({"_id": 1, "enrichment_status": "failed"})
        await eventually(lambda: "failed 1" in terminal.text(), within=20)
        os.write(terminal.ours, b"\x03")
        assert await command.wait() == ExitCode.OK
        assert terminal.text().endswith(f"{SHOW_CURSOR}{LEAVE_SCREEN}")


LEAVE_SCREEN, SHOW_CURSOR = "\x1b[?1049l", "\x1b[?25h"


@dataclass(slots=True)
class _Terminal:
    """A screen 150 columns wide, and everything that was written to it."""

    ours: int
    _written: bytearray = field(default_factory=bytearray)

    def text(self) -> str:
        with suppress(BlockingIOError, OSError):  # nothing new; or nobody has it open any more
            while read := os.read(self.ours, 65_536):
                self._written += read
        return self._written.decode(errors="replace")


@asynccontextmanager
async def _on_a_terminal(
    rig: Rig, *arguments: str
) -> AsyncIterator[tuple[_Terminal, asyncio.subprocess.Process]]:
    """The command as the foreground process of a terminal of its own, so that Ctrl-C reaches it."""
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 150, 0, 0))
    os.set_blocking(ours, False)
    program = [sys.executable, "-m", "enricher", *arguments]
    steady = {"PATH": os.environ["PATH"], "TERM": "xterm-256color", **rig.environment()}
    command = await asyncio.create_subprocess_exec(
        *(*bound_to_us(), "setsid", "--ctty", "--wait", *program),
        stdin=theirs, stdout=theirs, stderr=theirs, env=steady,
    )  # fmt: skip
    os.close(theirs)
    try:
        yield _Terminal(ours), command
    finally:
        if command.returncode is None:
            command.kill()
            await command.wait()
        os.close(ours)
