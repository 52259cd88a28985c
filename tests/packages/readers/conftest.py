"""What programs of others need: the packages of Node, and a mapper that knows the database of the test."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
import pytest_asyncio

from enricher.contract.formats import SchemaFormat, contract
from tests.packages.readers.odms import (
    Mongoose,
    Odm,
    open_beanie,
    open_mongoengine,
    open_mongoose,
    open_odmantic,
)
from tests.support.rig import Rig

NODE_PACKAGES = ("mongoose@^9", "standardwebhooks@^1", "typescript@>=5.9 <8")


@pytest.fixture(scope="session")
def node_modules() -> Iterator[Path]:
    """A directory in which a program of Node finds these packages, and the contract as Mongoose has it."""
    if not (shutil.which("node") and shutil.which("npm")):
        reason = "needs Node and npm"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
    with tempfile.TemporaryDirectory(prefix="enricher-node-") as name:
        directory = Path(name)
        (directory / "package.json").write_text('{"private": true}')
        (directory / "enriched_lead.mjs").write_text(contract(SchemaFormat.MONGOOSE))
        options = ("--silent", "--no-audit", "--no-fund", "--ignore-scripts")
        subprocess.run(["npm", "install", *options, *NODE_PACKAGES], cwd=directory, check=True)
        yield directory


@pytest.fixture
def environment(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Where an example finds the leads; in our own environment too, where the examples in Python look."""
    where = {"MONGODB_URI": rig.uri, "MONGODB_DATABASE": rig.database.name}
    for name, value in where.items():
        monkeypatch.setenv(name, value)
    return {"PATH": os.environ["PATH"], **where}


@pytest_asyncio.fixture(params=["beanie", "mongoengine", "odmantic", "mongoose"])
async def odm(request: pytest.FixtureRequest, environment: dict[str, str]) -> AsyncIterator[Odm]:
    async with _opened(request, environment) as opened:
        yield opened


def _opened(
    request: pytest.FixtureRequest, environment: dict[str, str]
) -> AbstractAsyncContextManager[Odm]:
    match request.param:
        case "beanie":
            return open_beanie()
        case "mongoengine":
            return open_mongoengine()
        case "odmantic":
            return open_odmantic()
    return open_mongoose(request.getfixturevalue("node_modules"), environment)


@pytest_asyncio.fixture
async def mongoose(node_modules: Path, environment: dict[str, str]) -> AsyncIterator[Mongoose]:
    async with open_mongoose(node_modules, environment) as opened:
        yield opened
