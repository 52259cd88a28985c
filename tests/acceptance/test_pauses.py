"""An operator pauses a vendor and lets it go on: at once, for the fleet, and whoever starts meanwhile."""

from __future__ import annotations

import json
import time

import pytest

from enricher.errors import ExitCode
from enricher.lead import LeadId
from tests.support.bodies import cnpj_of
from tests.support.fleets import is_watching
from tests.support.pauses import called_after_pause, said_by
from tests.support.processes import Daemon
from tests.support.rig import Rig, domain

_CNPJ = cnpj_of("123456780001")


async def inserted(rig: Rig, id_: LeadId) -> str:
    """Insert a lead; return how its first run ended."""
    await rig.leads.insert_one({"_id": id_, "company_domain": domain()})
    return (await rig.witness.settle_of(id_, within=60)).status


async def test_a_paused_vendor_is_not_asked_until_it_is_resumed_whatever_starts(rig: Rig) -> None:
    async with rig.daemon("clearbit") as daemon:
        await is_watching(daemon)
        assert await inserted(rig, "before") == "completed"
        assert "Paused clearbit" in await said_by(rig, "pause", "clearbit")
        assert await inserted(rig, 1) == "retrying"
        assert await daemon.metric("enricher_provider_hold", provider="clearbit", reason="paused")
        (line,) = daemon.events("provider.held")
        assert (line["severity"], line["reason"]) == ("WARNING", "paused by an operator")
    async with rig.daemon("clearbit") as daemon:
        await is_watching(daemon)
        assert await inserted(rig, 2) == "retrying"
        status = json.loads(await said_by(rig, "status", "--json"))
        held = {each["name"]: each["hold"] for each in status["providers"]}
        assert held["clearbit"]["reason"] == "paused by an operator"
        assert len(rig.simulator.journal.calls(vendor="clearbit")) == 1

        assert "Resumed clearbit" in await said_by(rig, "resume", "clearbit")
        await rig.witness.all_ended([1, 2], within=60)
    assert rig.asked_twice() == {}
    assert len(rig.simulator.journal.calls(vendor="clearbit")) == 3


@pytest.mark.timeout(180)
async def test_no_daemon_begins_a_call_once_the_command_has_returned(rig: Rig) -> None:
    after, leads = await called_after_pause(rig, kills=2)
    assert after == 0
    done = {"enrichment_status": "completed"}
    assert await rig.leads.count_documents(done) == len(leads)


async def test_a_pause_for_a_time_ends_by_itself(rig: Rig) -> None:
    async with rig.daemon("clearbit") as daemon:
        await is_watching(daemon)
        before = time.time()
        assert "for 3s" in await said_by(rig, "pause", "all", "--for", "3s")
        await rig.leads.insert_one({"_id": 1, "company_domain": domain()})
        assert await rig.witness.end_of(1, within=60) == "completed"
    [call] = rig.simulator.journal.calls(vendor="clearbit")
    assert call.arrived_at - before >= 3


@pytest.mark.parametrize("name", ["all", "website"])
async def test_what_costs_nothing_can_be_paused_too(rig: Rig, name: str) -> None:
    settings = {
        "ENRICHER_WEBSITE": "true",
        "ENRICHER_WEBSITE_LOOPBACK": str(rig.simulator.port),
        "ENRICHER_CNPJ": "true",
        "CNPJ_BASE_URL": rig.simulator.register_url,
    }
    journal = rig.simulator.journal
    async with rig.daemon("clearbit", **settings) as daemon:
        await is_watching(daemon)
        assert "website" in await said_by(rig, "pause", name, **settings)
        await rig.leads.insert_one({"_id": 1, "company_domain": domain(), "cnpj": _CNPJ})
        assert (await rig.witness.settle_of(1, within=60)).status == "retrying"
        assert {call.vendor for call in journal} == (set() if name == "all" else {"clearbit"})
        assert await daemon.metric("enricher_provider_hold", provider="website", reason="paused")

        assert "website" in await said_by(rig, "resume", name, **settings)
        await rig.witness.all_ended([1], within=60)
    assert {"website", "clearbit"} <= {call.vendor for call in journal}


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("clearbitt",), "there is no such provider or vendor"),
        (("local",), "rules of the daemon's own"),
        (("hunter",), "there is no key"),
        (("clearbit", "--for", "soon"), "--for: expected a time"),
        (("clearbit", "--for", "40d"), "--for: expected a time"),
    ],
)
async def test_what_cannot_be_paused_is_said_in_one_line(
    rig: Rig, arguments: tuple[str, ...], expected: str
) -> None:
    async with Daemon("pause", *arguments, env=rig.environment("clearbit")) as command:
        assert await command.wait(60) == ExitCode.SETTINGS
    assert expected in str(command.lines)
