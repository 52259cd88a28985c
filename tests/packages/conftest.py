"""What these tests share: Prometheus' own tool, and the image, built once for all of them."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.deploy.conftest import promtool
from tests.packages.containers import TOOLS, Images
from tests.support.rig import Rig, open_rig

__all__ = ["promtool"]


@pytest.fixture(scope="session")
def images() -> Iterator[Images]:
    missing = [
        tool for tool in TOOLS if not shutil.which(tool, path=f"{os.environ['PATH']}:/usr/sbin")
    ]
    if missing or os.geteuid() != 0:
        reason = f"needs root and Debian's {', '.join(missing or TOOLS)}"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
    with tempfile.TemporaryDirectory(prefix="enricher-images-") as directory:
        store = Images(Path(directory))
        try:
            store.make_base()
            store.make_image()
            yield store
        finally:
            store.remove()


@pytest_asyncio.fixture
async def rig(mongodb_uri: str) -> AsyncIterator[Rig]:
    async with open_rig(mongodb_uri, new=True) as opened:
        yield opened
