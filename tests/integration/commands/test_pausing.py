"""What `enricher pause` has done by the time it returns."""

from __future__ import annotations

from pymongo.asynchronous.database import AsyncDatabase

from enricher.calls.breaker import PAUSED
from enricher.commands.pause import pause
from enricher.lead import Document
from enricher.limits.bucket import Bucket
from enricher.limits.limiter import Slot
from enricher.providers.clearbit import ClearbitCompany
from enricher.settings.load import load


async def test_no_slot_from_before_can_be_used_any_more(
    mongodb_uri: str, database: AsyncDatabase[Document]
) -> None:
    bucket = Bucket(database, ClearbitCompany.name, ClearbitCompany.windows)
    reserved = await bucket.reserve(50)
    slots = [Slot.reserved(at, reserved.life) for at in reserved.slots]
    assert not all(slot.has_lapsed for slot in slots)
    settings = load(
        {
            "MONGODB_URI": mongodb_uri,
            "MONGODB_DATABASE": database.name,
            "CLEARBIT_API_KEY": "key",
        },
        None,
    )
    await pause(settings, "clearbit", 60)
    assert all(slot.has_lapsed for slot in slots)
    assert (await bucket.reserve(1)).stopped["clearbit"].reason == PAUSED
