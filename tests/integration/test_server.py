"""What a user's connection string may change, and what it may not."""

from __future__ import annotations

from pymongo.read_preferences import ReadPreference

from enricher.store import server


async def test_a_claim_is_read_back_from_the_primary_whatever_the_address_prefers(
    mongodb_uri: str,
) -> None:
    """A secondary that lags would deny claims that were won."""
    joint = "&" if "?" in mongodb_uri else "/?"
    uri = f"{mongodb_uri}{joint}readPreference=secondaryPreferred"
    async with server.connect(uri, pool=2) as client:
        assert client["crm"]["leads"].read_preference == ReadPreference.PRIMARY
        assert (await server.inspect(client, "crm", "leads")).version
