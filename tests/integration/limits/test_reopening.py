"""A start asks again who was held, and names those whose leads are to be called back."""

from __future__ import annotations

from pydantic import SecretStr
from pymongo.asynchronous.collection import AsyncCollection

from enricher.calls.ledger import Usage
from enricher.lead import Document
from enricher.limits.bucket import Bucket
from enricher.providers.base import Access
from enricher.providers.hunter import HunterCompany, HunterPerson, HunterVerifier
from enricher.wiring import Reopening
from tests.support.mock_client import mock_client


async def test_all_routes_that_share_a_limit_are_asked_again(
    ours: AsyncCollection[Document],
) -> None:
    kinds = (HunterCompany, HunterPerson, HunterVerifier)
    http = mock_client()
    providers = [kind(http, Access(SecretStr("any"), kind.host)) for kind in kinds]
    shared = Bucket(ours.database, "hunter_enrichment", HunterCompany.windows)
    await shared.hold("the quota is used up", 3600)

    names = await Reopening(ours.database, Usage(ours.database, {}, {})).run(providers)

    assert names == ["hunter_company", "hunter_person"]
    assert (await shared.reserve(0)).held is None
