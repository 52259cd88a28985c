"""What the acceptance tests share: a world for each test. A file may open one for all of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.support.rig import Rig, open_rig


@pytest.fixture
async def rig(request: pytest.FixtureRequest, mongodb_uri: str) -> AsyncIterator[Rig]:
    """Vendors, an empty database and a witness, with no daemon yet."""
    is_new = request.node.get_closest_marker("new_database") is not None
    async with open_rig(mongodb_uri, new=is_new) as opened:
        yield opened
