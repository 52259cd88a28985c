"""The first start on a collection of 100,000 old leads costs nothing and changes nothing."""

from __future__ import annotations

import hashlib
import os
import time

import pytest
from bson import CodecOptions
from bson.raw_bson import RawBSONDocument

from tests.support.fleets import fleet, insert, people
from tests.support.rig import Rig, domain, open_rig

OLD = int(os.environ.get("CHAOS_OLD", "100000"))

pytestmark = [pytest.mark.money, pytest.mark.timeout(300)]


@pytest.mark.parametrize("daemons", [1, 3])
async def test_a_first_start_on_old_leads_asks_nobody_and_touches_none(
    mongodb_uri: str, daemons: int
) -> None:
    async with open_rig(mongodb_uri, new=True) as rig:
        await insert(rig, [*people(OLD)])
        before = await fingerprint(rig)
        began = time.monotonic()
        async with fleet(rig, daemons):
            watching = time.monotonic() - began
            await rig.leads.insert_one({"_id": "new", "company_domain": domain()})
            assert await rig.witness.end_of("new", within=120) == "completed"
            first = time.monotonic() - began
        print(  # noqa: T201 - a figure for people
            f"{OLD} old leads, {daemons} daemons: watching after {watching:.1f} s, "
            f"the first new lead done after {first:.1f} s, {len(rig.simulator.journal)} calls"
        )
        assert len(rig.simulator.journal) == 1  # about the new one
        await rig.leads.delete_one({"_id": "new"})
        assert await fingerprint(rig) == before


async def fingerprint(rig: Rig) -> str:
    """Of every lead, byte for byte as it is stored."""
    options: CodecOptions[RawBSONDocument] = CodecOptions(document_class=RawBSONDocument)
    leads = rig.leads.with_options(codec_options=options).find({}).sort("_id")
    digest = hashlib.sha256()
    async for lead in leads:
        digest.update(lead.raw)
    return digest.hexdigest()
