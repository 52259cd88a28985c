"""What only the vendor's own word may set off: an objection, a refused key, a spent quota."""

from __future__ import annotations

from typing import Any

import pytest

from enricher.lead import Document
from enricher.privacy.suppression import COLLECTION as SUPPRESSED
from tests.support.processes import Daemon
from tests.support.rig import Rig, address

LEADS = 20
BLOCKED = "<html><body>Blocked by your network's policy</body></html>"
SOON: dict[str, object] = {
    "ENRICHER_PROVIDERS_OFF": '["hunter_company", "clearbit_person"]',
    "ENRICHER_LEAD_TIMEOUT_SECONDS": 5,
    "ENRICHER_RETRY_DELAY_SECONDS": 600,
}


def vendors_of_others(status: int) -> list[dict[str, Any]]:
    """Bodies of those who stand between us and a vendor."""
    return [
        {"body": BLOCKED, "headers": {"Content-Type": "text/html"}},
        {"body": ""},
        {"body": '{"message": "Forbidden"}'},
        {"body": '{"success": false, "errors": [{"code": 1020}]}'},
        {"body": f'{{"errors": "{status}"}}'},
        {"body": '{"errors": [{"id": "claimed_em'},
        {"body": "[]"},
    ]


async def enriched(rig: Rig, daemon: Daemon) -> list[Document]:
    """So many leads, with person and verdict."""
    await daemon.wait_for_event("stream.opened")
    written = [{"_id": number, "email": address()} for number in range(LEADS)]
    await rig.leads.insert_many(written)
    await rig.witness.all_ended(range(LEADS), within=60)
    leads = await rig.leads.find().sort("_id", 1).to_list()
    assert all(lead["enriched_data"]["person_data"] for lead in leads)
    assert all(lead["enriched_data"]["email_verification"] for lead in leads)
    return leads


async def refresh_all(rig: Rig) -> None:
    for lead in range(LEADS):
        rig.witness.forget(lead)
    command = ("reenrich", "--query", "{}", "--refresh")
    async with Daemon(*command, env=rig.environment()) as process:
        assert await process.wait(60) == 0
    await rig.witness.until(
        lambda: all(rig.witness.settles(lead) for lead in range(LEADS)), within=120
    )


async def test_a_451_of_somebody_elses_erases_nothing_and_suppresses_nobody(rig: Rig) -> None:
    async with rig.daemon(**SOON) as daemon:
        before = await enriched(rig, daemon)
        for number, how in enumerate(vendors_of_others(451)):
            pattern = f"*-{before[number]['email'].rpartition('-')[2]}"
            rig.simulator.inject("status", vendor="hunter", status=451, question=pattern, **how)
        rig.simulator.inject(
            "status",
            vendor="hunter",
            status=451,
            body=BLOCKED,
            headers={"Content-Type": "text/html"},
        )
        await refresh_all(rig)
        assert daemon.events("provider.held") == []
        after = await rig.leads.find().sort("_id", 1).to_list()
    assert {lead["enrichment_status"] for lead in after} == {"retrying"}
    for was, now in zip(before, after, strict=True):
        for section in ("person_data", "email_verification", "company_data"):
            assert now["enriched_data"][section] == was["enriched_data"][section]
        assert "hunter" in now["enrichment_error"]
    assert await rig.database[SUPPRESSED].count_documents({"at": {"$exists": True}}) == 0


@pytest.mark.parametrize("status", [401, 402, 403])
async def test_a_firewalls_refusal_holds_nobody_and_ends_with_the_firewall(
    rig: Rig, status: int
) -> None:
    """Each body that is not the vendor's, at both vendors."""
    faults = [
        rig.simulator.inject("status", status=status, question=f"*wall-{number}.com", **how)
        for number, how in enumerate(vendors_of_others(status))
    ]
    leads = [f"wall-{number}.com" for number in range(len(faults))]
    settings = {"ENRICHER_LEAD_TIMEOUT_SECONDS": 5, "ENRICHER_RETRY_DELAY_SECONDS": 1}
    async with rig.daemon(**settings) as daemon:
        await daemon.wait_for_event("stream.opened")
        await rig.leads.insert_many([{"_id": each, "email": f"ada@{each}"} for each in leads])
        await rig.witness.until(lambda: all(rig.witness.settles(each) for each in leads), within=60)
        assert {rig.witness.statuses(each)[-1] for each in leads} <= {"retrying", "processing"}
        for fault in faults:
            rig.simulator.faults.remove(fault)
        await rig.witness.all_ended(leads, within=60)
        assert daemon.events("provider.held") == []
    for each in leads:
        assert (await rig.lead(each))["enrichment_status"] == "completed"
