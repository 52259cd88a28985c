"""How far back the server's own log goes, for those who may know."""

from __future__ import annotations

import pytest
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import PyMongoError

from enricher.lead import Document
from enricher.mongo import server
from tests.support.faults import Faults

_UNAUTHORIZED = 13
_NOT_HERE = 20
_INTERRUPTED = 11601


async def test_the_log_of_a_replica_set_has_a_length(ours: AsyncCollection[Document]) -> None:
    await ours.insert_one({})
    seconds = await server.window_seconds(ours.database.client)
    assert seconds is not None
    assert seconds >= 0


async def test_a_standalone_server_has_none(standalone_uri: str) -> None:
    async with server.connect(standalone_uri, pool=2) as client:
        assert await server.window_seconds(client) is None


@pytest.mark.parametrize("code", [_UNAUTHORIZED, _NOT_HERE], ids=["no privilege", "sharded"])
async def test_who_may_not_read_it_is_told_nothing(faults: Faults, code: int) -> None:
    async with faults.fail("find", errorCode=code):
        assert await server.window_seconds(faults.leads.database.client) is None


async def test_an_error_of_the_database_is_raised(faults: Faults) -> None:
    async with faults.fail("find", errorCode=_INTERRUPTED):
        with pytest.raises(PyMongoError):
            await server.window_seconds(faults.leads.database.client)
