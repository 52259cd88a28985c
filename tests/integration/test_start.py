"""The start of a daemon whose MongoDB fails meanwhile: one clear error, and nothing to wait for."""

from __future__ import annotations

import pytest

from enricher import app
from enricher.errors import DatabaseUnreachable
from enricher.settings import MongoSettings, Settings
from tests.integration.faults import Faults


@pytest.mark.parametrize(
    ("commands", "doing"),
    [
        (("connectionStatus",), "asking for the privileges"),
        (("createIndexes", "listIndexes"), "preparing the collections"),
    ],
)
async def test_a_database_that_fails_while_it_starts_is_one_clear_error(
    faults: Faults, faulty_uri: str, commands: tuple[str, ...], doing: str
) -> None:
    settings = Settings(mongo=MongoSettings(collection=faults.leads.name))
    async with faults.fail(*commands, closeConnection=True):
        with pytest.raises(DatabaseUnreachable) as failed:
            async with app.build(settings, faulty_uri):
                pass
    assert str(failed.value) == f"MongoDB failed while {doing}: AutoReconnect"


async def test_a_user_who_may_neither_make_nor_list_indexes_is_served_all_the_same(
    faults: Faults, faulty_uri: str
) -> None:
    settings = Settings(mongo=MongoSettings(collection=faults.leads.name))
    refused = faults.fail("createIndexes", "listIndexes", errorCode=13)
    async with refused, app.build(settings, faulty_uri) as daemon:
        assert daemon.introduction["replica_set"] == "rs0"
