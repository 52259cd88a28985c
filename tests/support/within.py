"""A real daemon within this process: `app.build` over a real MongoDB and simulated vendors.

    async with open_world(mongodb_uri, ["pdl_company"]) as rig:
        await rig.leads.insert_one({"_id": 1, "email": "ada@quokka-freight.com"})
        assert await rig.witness.end_of(1) == "completed"

For tests that need dozens of daemons, each with a state of its own: as many programs would take minutes to
start. All keys are there, no limit is in the way, and no attempt follows the first.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

from enricher import app
from enricher.errors import DatabaseUnreachable
from enricher.lead import Document
from enricher.providers.hunter import FIRST_REFUSAL_SECONDS
from enricher.providers.registry import built_in
from enricher.settings import load
from enricher.simulator.server import VENDORS
from tests.support.rig import KEYS, Rig, open_rig
from tests.support.waiting import business, eventually

_ALL = tuple(each.name for each in built_in())
_VENDORS = tuple(each.name for each in VENDORS)
_KEYS = {name: f"{name}-key-of-the-tests" for name in _VENDORS} | KEYS
_PLAIN: Document = {
    "ENRICHER_MAX_ATTEMPTS": 0,
    "ENRICHER_LEAD_TIMEOUT_SECONDS": 90,
    "ENRICHER_SHUTDOWN_GRACE_SECONDS": 0,
    **{f"{name.upper()}_API_KEY": key for name, key in _KEYS.items()},
    **{f"{name.upper()}_RATE_LIMIT": 1_000_000 for name in _VENDORS},
}


@asynccontextmanager
async def open_world(
    uri: str,
    only: Collection[str] = _ALL,
    given: Mapping[str, Any] | None = None,
    **vendors: Any,
) -> AsyncIterator[Rig]:
    """A running daemon that has these providers; `given` are settings, `vendors` what the simulator is
    told."""
    terms = {"windows": dict.fromkeys((*_VENDORS, "cnpj"), ()), "keys": _KEYS, "stories": False}
    off = json.dumps([name for name in _ALL if name not in only])
    async with open_rig(uri, **{**terms, **vendors}) as rig:
        wished = _PLAIN | {"ENRICHER_PROVIDERS_OFF": off} | dict(given or {})
        wished["ENRICHER_LEAD_TIMEOUT_SECONDS"] = _with_time(
            wished["ENRICHER_LEAD_TIMEOUT_SECONDS"]
        )
        environment = (
            rig.environment()
            | {"CNPJ_BASE_URL": rig.simulator.register_url}
            | {name: str(value) for name, value in wished.items()}
        )
        async with _built(environment, uri) as daemon:
            running = asyncio.create_task(daemon.run(), name="daemon")
            await eventually(lambda: running.done() or daemon.is_watching().ok, within=30)
            try:
                yield rig
            finally:
                daemon.stop.set()
                await running


@asynccontextmanager
async def _built(environment: Mapping[str, str], uri: str) -> AsyncIterator[app.Daemon]:
    """A start is given seconds by the clock. In a loop that serves many others, on a busy machine, one may be too
    late, and is made again."""

    async def build() -> app.Daemon | None:
        with suppress(DatabaseUnreachable):
            return await stack.enter_async_context(app.build(load.load(environment, None), uri))
        return None

    async with AsyncExitStack() as stack:
        daemon = await eventually(build, within=60)
        assert daemon is not None
        yield daemon


def _with_time(seconds: float) -> float:
    """More on a busy machine; who is given little stays below the shortest pause that follows a refusal."""
    return (
        seconds * business()
        if seconds > FIRST_REFUSAL_SECONDS
        else min(seconds * business(), FIRST_REFUSAL_SECONDS - 1)
    )
