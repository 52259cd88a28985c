"""The unit on a machine with a systemd that runs: confined, drained, and restarted. See `make packages`."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest

from tests.packages.containers import Images, Machine
from tests.support.rig import Rig, address
from tests.support.waiting import eventually

pytestmark = [pytest.mark.packages, pytest.mark.timeout(900)]


def install(machine: Machine, settings: Mapping[str, str]) -> None:
    """As the unit says at its top: secrets are credentials, the rest is in a file."""
    secrets = {name for name in settings if name.endswith("_API_KEY") or name == "MONGODB_URI"}
    for name in secrets:
        machine.write(f"/etc/credstore/enricher.{name}", f"{settings[name]}\n")
    rest = (f"{name}={settings[name]}\n" for name in settings.keys() - secrets)
    machine.write("/etc/enricher/enricher.env", "".join(rest))


def privileges(machine: Machine) -> dict[str, str]:
    """Of the running daemon, as the kernel has them."""
    status = machine.do("cat", f"/proc/{machine.shown('MainPID')}/status")
    lines = (line.partition(":\t") for line in status.splitlines())
    return {name: value for name, _, value in lines}


async def test_the_unit_works_with_no_privileges_stops_in_order_and_is_restarted_when_it_hangs(
    images: Images, rig: Rig
) -> None:
    await asyncio.to_thread(images.make_machine)
    with images.machine() as machine:
        await eventually(machine.is_up, within=60)
        install(machine, rig.environment() | {"ENRICHER_HTTP_PORT": "0"})
        machine.do("systemctl", "start", "enricher")
        assert machine.shown("ActiveState") == "active", "it said that it is up"
        await eventually(lambda: "stream.opened" in machine.do("journalctl", "--unit=enricher"))
        await rig.leads.insert_one({"_id": 1, "email": address()})
        assert await rig.witness.end_of(1) == "completed"
        held = privileges(machine)
        assert int(held["CapBnd"], 16) == 0
        assert (held["NoNewPrivs"], held["Seccomp"]) == ("1", "2")
        assert "0" not in held["Uid"].split()

        machine.do("sh", "-c", f"kill -STOP {machine.shown('MainPID')}")
        await eventually(lambda: machine.shown("NRestarts") == "1", within=120)
        await eventually(lambda: machine.shown("ActiveState") == "active", within=60)
        await rig.leads.insert_one({"_id": 2, "email": address()})
        assert await rig.witness.end_of(2, within=60) == "completed"

        machine.do("systemctl", "stop", "enricher")
        assert machine.shown("Result") == "success"
        assert machine.shown("ExecMainStatus") == "0"
