"""A lead whose every write ends the server, for a reason that nobody here knows of."""

from __future__ import annotations

from pathlib import Path

import pytest

from enricher.mongo.embedded import EmbeddedServer
from enricher.queue.apart import COLLECTION
from tests.support.mortal import deadly_cable, started_again
from tests.support.processes import Daemon
from tests.support.rig import Rig, address, open_rig
from tests.support.waiting import eventually

LOST_TWICE = {"losses": {"$gte": 2}}
"""What nobody writes any more. A lead that was lost once may be on record beside it, for a day."""


async def are_completed(rig: Rig, leads: int) -> None:
    async def are_done() -> bool:
        return await rig.leads.count_documents({"enrichment_status": "completed"}) == leads

    await eventually(are_done, within=60)


@pytest.mark.timeout(240)
async def test_a_lead_whose_every_write_ends_the_server_is_written_no_more(
    mongod: Path, in_memory: Path
) -> None:
    async with (
        EmbeddedServer(in_memory / "server", binary=mongod) as server,
        open_rig(server.uri) as rig,
        deadly_cable(server, b"deadly") as cable,
        started_again(server) as deaths,
    ):
        record = rig.database[COLLECTION]
        async with rig.daemon(MONGODB_URI=cable.uri, ENRICHER_LEASE_SECONDS=10) as daemon:
            await daemon.wait_for_event("history.recorded")
            ids = [*range(5), "deadly", *range(5, 10)]
            await rig.leads.insert_many([{"_id": id_, "email": address()} for id_ in ids])
            await daemon.wait_for_event("lead.unwritable", within=120, lead="deadly")
            before = len(deaths)
            assert 1 < before <= 9  # each write is repeated by the driver, a batch by us
            await are_completed(rig, 10)
            assert [each["_id"]["of"] async for each in record.find(LOST_TWICE)] == ["deadly"]
        async with rig.daemon(MONGODB_URI=cable.uri, ENRICHER_LEASE_SECONDS=5) as again:
            await rig.leads.insert_one({"_id": "honest", "email": address()})
            await are_completed(rig, 11)

            async def is_counted() -> bool:
                return await again.metric("enricher_leads_unmoved", reason="unwritable") == 1

            await eventually(is_counted, within=30)
            async with Daemon("check", env=rig.environment()) as check:
                assert await check.wait() == 4
                assert "1 ended the server and are written no more" in check.stdout
            async with Daemon("status", env=rig.environment()) as status:
                await status.wait()
                assert "unwritable 1" in status.stdout
            async with Daemon("reenrich", "--id", "deadly", env=rig.environment()) as asking:
                await asking.wait()
            assert len(deaths) == before
            assert "enrichment_status" not in await rig.lead("deadly")

            cable.words = b"nothing"  # it is mended, and taken back
            await record.delete_one({"_id.of": "deadly"})
            await eventually(lambda: is_completed(rig, "deadly"), within=60)
        assert len(deaths) == before


async def is_completed(rig: Rig, lead: str) -> bool:
    return (await rig.lead(lead)).get("enrichment_status") == "completed"
