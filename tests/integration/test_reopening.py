"""A start asks again who was held, and calls back everybody who waited for it."""

from __future__ import annotations

from pydantic import SecretStr
from pymongo.asynchronous.collection import AsyncCollection

from enricher.calling import Reopening
from enricher.lead import Document
from enricher.providers.base import Access
from enricher.providers.hunter import HunterVerifier
from enricher.providers.hunter_enrichment import HunterCompany, HunterPerson
from enricher.store.buckets import Bucket
from enricher.store.usage import Usage
from tests.integration.queueing import FUTURE, HOUR, server_time
from tests.mock_client import mock_client


async def test_leads_of_all_routes_that_share_a_limit_come_back(
    ours: AsyncCollection[Document],
) -> None:
    kinds = (HunterCompany, HunterPerson, HunterVerifier)
    http = mock_client()
    providers = [kind(http, Access(SecretStr("any"), kind.host)) for kind in kinds]
    for provider in providers:
        book = {"due_at": FUTURE, "held_by": [provider.name], "priority": 1}
        await ours.insert_one(
            {"_id": provider.name, "enrichment_status": "retrying", "enrichment": book}
        )
    shared = Bucket(ours.database, "hunter_enrichment", HunterCompany.windows)
    await shared.hold("the quota is used up", 3600)

    await Reopening(ours.database, ours, Usage(ours.database, {}, {})).run(providers)

    now = await server_time(ours)
    soon = ours.find({"enrichment.due_at": {"$lt": now + HOUR}})
    assert {lead["_id"] async for lead in soon} == {"hunter_company", "hunter_person"}
    assert (await shared.reserve(0)).held is None
