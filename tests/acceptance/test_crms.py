"""Twelve CRMs in one daemon, each read by the block that its user writes into the file of settings."""

from __future__ import annotations

from pathlib import Path

import bson

from enricher.lead import Document
from tests.support.crms import CRMS, Crm
from tests.support.rig import Rig
from tests.support.waiting import eventually

_LEAD, _LATE, _EXCLUDED = "lead", "late", "excluded"


def _contact(crm: Crm, name: str, fields: Document | None = None) -> Document:
    return {**crm.contact, **(fields or {}), "_id": name}


async def _status(rig: Rig, crm: Crm, name: str) -> object:
    found = await rig.database[crm.name].find_one({"_id": name})
    assert found is not None
    return found.get("enrichment_status")


async def _all_are(rig: Rig, name: str, status: str) -> bool:
    found = {crm.name: await _status(rig, crm, name) for crm in CRMS}
    others = {crm: each for crm, each in found.items() if each != status}
    assert not others, others
    return True


async def _excluded(rig: Rig) -> list[bytes]:
    """The documents byte by byte."""
    found = [await rig.database[crm.name].find_one({"_id": _EXCLUDED}) for crm in CRMS]
    return [bson.encode(each) for each in found if each is not None]


async def test_each_is_enriched_by_settings_alone_and_what_it_excludes_is_left_alone(
    rig: Rig, tmp_path: Path
) -> None:
    config = tmp_path / "crms.toml"
    config.write_text("\n".join(crm.source for crm in CRMS))
    async with rig.daemon(ENRICHER_CONFIG=config) as daemon:
        for crm in CRMS:
            await daemon.wait_for_event("stream.opened", collection=crm.name)
        for crm in CRMS:
            excluded = _contact(crm, _EXCLUDED, crm.excluded)
            late = _contact(crm, _LATE, crm.without_address)
            await rig.database[crm.name].insert_many([excluded, late, _contact(crm, _LEAD)])
        untouched = await _excluded(rig)

        await eventually(lambda: _all_are(rig, _LEAD, "completed"), within=30)
        await eventually(lambda: _all_are(rig, _LATE, "skipped"), within=30)
        asked = {("hunter", crm.address) for crm in CRMS} | {("clearbit", crm.host) for crm in CRMS}
        assert set(rig.questions()) == asked

        for crm in CRMS:
            await rig.database[crm.name].update_one({"_id": _LATE}, crm.address_comes)
        await eventually(lambda: _all_are(rig, _LATE, "completed"), within=30)
        asked |= {("hunter", crm.new_address) for crm in CRMS}
        asked |= {("clearbit", crm.new_address.partition("@")[2]) for crm in CRMS}
        assert set(rig.questions()) == asked
        assert rig.asked_twice() == {}
        assert await _excluded(rig) == untouched
