"""A vendor's client for the tests of the simulator: a good key, over a real socket."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx

from enricher.simulator.server import Simulator
from tests.support.plain_http import plain_client

FIND = "/clearbit/v2/companies/find"
VERIFY = "/hunter/v2/email-verifier"
ACCOUNT = "/hunter/v2/account"


class Client:
    """Asks a simulator as a vendor's client would."""

    def __init__(self, simulator: Simulator, http: httpx.AsyncClient) -> None:
        self.simulator = simulator
        self.journal = simulator.journal
        self.http = http

    async def get(self, path: str, **params: str) -> httpx.Response:
        headers = {"Authorization": "Bearer sk_good"}
        return await self.http.get(self.simulator.url + path, params=params, headers=headers)

    async def statuses(self, path: str, times: int, **params: str) -> list[int]:
        return [(await self.get(path, **params)).status_code for _ in range(times)]


@asynccontextmanager
async def client_of(simulator: Simulator) -> AsyncIterator[Client]:
    """Start the simulator, and stop it afterwards."""
    async with simulator, plain_client() as http:
        yield Client(simulator, http)
