"""Who is forgotten is forgotten in every collection of leads."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from pymongo.asynchronous.database import AsyncDatabase

from enricher.calls.flights import Cache
from enricher.identity.identify import identify
from enricher.lead import Document, Inputs
from enricher.mongo.expressions import id_key
from enricher.mongo.secret import Keyring
from enricher.privacy.forgetting import Erasure, Forgetting
from enricher.privacy.suppression import Suppressed

ADA = "ada@quokka-freight.com"


async def test_a_lead_is_spared_in_its_own_collection_alone(
    database: AsyncDatabase[Document],
) -> None:
    """Another may hold one of the same id, and nobody else will erase that."""
    ends = datetime.now(UTC) + timedelta(minutes=1)
    book = {"due_at": ends, "holder": "a-process", "token": 1, "claim_id": "a"}
    in_work = {"_id": 1, "email": ADA, "enrichment_status": "processing", "enrichment": book}
    names = ("customers", "companies")
    for name in names:
        await database[name].insert_one(dict(in_work))
    forgetting = Forgetting(
        Suppressed(database),
        [Erasure(database[name]) for name in names],
        Cache(database, "a test", 60),
        Keyring(bytes(32)),
        (),
    )
    person = identify(Inputs(email=ADA))
    done = await forgetting.run(person, "wished", id_key(1), spared_in="customers")
    found = [await database[name].find_one({"_id": 1}) for name in names]
    assert [each and each["enrichment_status"] for each in found] == ["processing", "skipped"]
    assert done.leads == 1
