"""Control over HTTP, for tests and benchmarks whose simulator is a process of its own.

    GET    /_simulator/health                      {"status": "ok"}
    GET    /_simulator/journal?since=N&limit=M     entries after number N, oldest first
    GET    /_simulator/billing                     calls, charges and statuses by vendor
    GET    /_simulator/faults                      the injected faults, with ids and hits
    POST   /_simulator/faults                      one fault or a list of them -> {"ids": [...]}
    DELETE /_simulator/faults[?id=N]               one, or all (stories then begin again)
    POST   /_simulator/reset                       journal, billing, faults and windows anew

An entry is written at its arrival: one read while its call is in flight has no `duration` yet.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from aiohttp import web

from enricher.simulator.faults import Fault
from enricher.simulator.journal import Journal
from enricher.simulator.stories import Faults

MOST_ENTRIES = 10_000


class Control:
    """The handlers under `/_simulator/`."""

    def __init__(
        self,
        journal: Journal,
        faults: Faults,
        base_urls: Callable[[], Mapping[str, str]],
        reset: Callable[[], None],
    ) -> None:
        self._journal_of = journal
        self._in_force = faults
        self._base_urls = base_urls
        self._reset_all = reset

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/_simulator/health", self._health),
            web.get("/_simulator/journal", self._journal),
            web.get("/_simulator/billing", self._billing),
            web.get("/_simulator/faults", self._faults),
            web.post("/_simulator/faults", self._inject),
            web.delete("/_simulator/faults", self._take_back),
            web.post("/_simulator/reset", self._reset),
        ]

    async def _health(self, _request: web.Request) -> web.Response:
        return web.json_response({"status": "ok", "vendors": self._base_urls()})

    async def _journal(self, request: web.Request) -> web.Response:
        since = _number(request, "since", 0)
        limit = _number(request, "limit", MOST_ENTRIES)
        return web.json_response(self._journal_of.as_json(since, min(limit, MOST_ENTRIES)))

    async def _billing(self, _request: web.Request) -> web.Response:
        return web.json_response(self._journal_of.billing_as_json())

    async def _faults(self, _request: web.Request) -> web.Response:
        return web.json_response({"faults": self._in_force.as_json()})

    async def _inject(self, request: web.Request) -> web.Response:
        faults = _faults_in(await request.text())
        ids = [self._in_force.add(fault) for fault in faults]
        return web.json_response({"ids": ids})

    async def _take_back(self, request: web.Request) -> web.Response:
        if "id" not in request.query:
            self._in_force.clear()
        elif not self._in_force.remove(_number(request, "id", 0)):
            raise _refused("there is no fault with that id", web.HTTPNotFound)
        return web.json_response({})

    async def _reset(self, _request: web.Request) -> web.Response:
        self._reset_all()
        return web.json_response({})


def _faults_in(text: str) -> list[Fault]:
    """All of them or none: a wrong one in a list puts no other in force."""
    try:
        value: Any = json.loads(text)
        return [Fault.from_json(item) for item in (value if isinstance(value, list) else [value])]
    except ValueError as error:
        raise _refused(str(error)) from error


def _number(request: web.Request, name: str, default: int) -> int:
    try:
        return max(0, int(request.query.get(name, default)))
    except ValueError as error:
        raise _refused(f"{name} is a whole number") from error


def _refused(problem: str, kind: type[web.HTTPException] = web.HTTPBadRequest) -> web.HTTPException:
    return kind(text=json.dumps({"error": problem}), content_type="application/json")
