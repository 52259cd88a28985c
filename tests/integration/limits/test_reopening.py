"""A start asks again who was held, and names those whose leads are to be called back."""

from __future__ import annotations

import pytest
from pydantic import SecretStr
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import NotPrimaryError

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


class Interrupted(Usage):
    """A fail-over comes at the first question for room."""

    is_over = False

    async def with_room(self) -> list[str]:
        if not self.is_over:
            self.is_over = True
            raise NotPrimaryError("stepped down")
        return await super().with_room()


async def test_who_was_held_is_named_also_when_it_was_ended_before_a_fail_over(
    ours: AsyncCollection[Document],
) -> None:
    asked = HunterCompany(mock_client(), Access(SecretStr("any"), HunterCompany.host))
    shared = Bucket(ours.database, asked.bucket, asked.windows)
    await shared.hold("the quota is used up", 3600)
    reopening = Reopening(ours.database, Interrupted(ours.database, {}, {}))

    with pytest.raises(NotPrimaryError):
        await reopening.run([asked])
    assert (await shared.reserve(0)).held is None

    assert await reopening.run([asked]) == [asked.name]
