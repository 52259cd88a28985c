"""Several daemons on one collection share the work, and the vendors see one customer."""

from __future__ import annotations

from tests.support.processes import Daemon
from tests.support.rig import Rig, domain
from tests.support.waiting import eventually

LEADS = 1000


async def shares_of(*daemons: Daemon) -> list[float]:
    """A daemon counts a lead just after it has written it, so the last may still be missing."""
    shares = [await each.metric("enricher_leads_settled_total") for each in daemons]
    assert sum(shares) == LEADS
    return shares


async def test_two_daemons_share_a_thousand_leads_and_settle_each_exactly_once(rig: Rig) -> None:
    rig.simulator.latency = 0.05
    leads = [{"_id": number, "company_domain": domain()} for number in range(LEADS)]
    async with rig.daemon("clearbit") as one, rig.daemon("clearbit") as two:
        for daemon in (one, two):
            await daemon.wait_for_event("stream.opened")
        await rig.leads.insert_many(leads)
        await rig.witness.all_ended(range(LEADS), within=45)
        shares = await eventually(lambda: shares_of(one, two))
    assert min(shares) > LEADS / 10, "one of them did next to nothing"
    assert rig.witness.settled_more_than_once() == {}
    assert sum(rig.questions().values()) == LEADS
    assert rig.asked_twice() == {}


async def test_one_lead_at_a_time_is_still_settled_once_by_two_daemons(rig: Rig) -> None:
    """Both hear the same bell and reach for the same lead each time."""
    async with rig.daemon("clearbit") as one, rig.daemon("clearbit") as two:
        for daemon in (one, two):
            await daemon.wait_for_event("stream.opened")
        for number in range(40):
            await rig.leads.insert_one({"_id": number, "company_domain": domain()})
            assert await rig.witness.end_of(number) == "completed"
    assert rig.witness.settled_more_than_once() == {}
    assert rig.asked_twice() == {}
