"""Providers of other packages, by the real daemon: installed, given a key, asked and named."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from enricher.errors import ExitCode
from tests.support.plugged import install, install_example
from tests.support.processes import Daemon
from tests.support.rig import Rig, domain

KEY = "acme-key-of-the-tests"
ACME_FIRST = '["acme_company", "clearbit"]'
HOW_TO_START = (
    "from enricher import HttpProvider, Kind, Provider, Window, Request, NotFound\n"
    "class Mine(HttpProvider):\n"
    "    name, vendor, kind = 'mine', 'mine', Kind.COMPANY\n"
    "    host, windows = 'https://mine.example', (Window(1, 1),)\n"
    "    def unfit(self, query): return None\n"
    "    def request(self, query): return Request('/', {})\n"
    "    def interpret(self, reply): return NotFound()\n"
)


@asynccontextmanager
async def _acme() -> AsyncIterator[tuple[str, list[tuple[str, str]]]]:
    """Its address, and (domain, authorization) of every question."""
    asked: list[tuple[str, str]] = []

    async def company(request: web.Request) -> web.Response:
        asked.append((request.query["domain"], request.headers["Authorization"]))
        return web.json_response({"name": "Acme", "industry": "Anvils", "employee_count": 7})

    app = web.Application()
    app.router.add_get("/v1/company", company)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}", asked
    finally:
        await runner.cleanup()


async def test_the_example_provider_is_asked_and_the_lead_says_what_came_from_it(
    rig: Rig, tmp_path: Path
) -> None:
    install_example(tmp_path)
    company = domain()
    async with _acme() as (url, asked):
        settings = {"ACME_API_KEY": KEY, "ACME_BASE_URL": url, "ACME_DAILY_BUDGET": "5"}
        order = {"ENRICHER_PROVIDER_ORDER": ACME_FIRST, "PYTHONPATH": str(tmp_path)}
        async with rig.daemon("clearbit", **settings, **order) as daemon:
            await daemon.wait_for_event("stream.opened")
            await rig.leads.insert_one({"_id": 1, "company_domain": company})
            assert await rig.witness.end_of(1) == "completed"
            charged = await daemon.metric("enricher_calls_charged_total", provider="acme_company")
    data = (await rig.lead(1))["enriched_data"]
    assert data["company_data"]["industry"] == "Anvils"
    assert data["enrichment_metadata"]["provenance"]["company_data"]["industry"] == "acme_company"
    assert asked == [(company, f"Bearer {KEY}")]
    assert charged == 1
    assert KEY not in str(daemon.lines)


async def test_without_its_key_it_is_skipped_and_the_lead_says_so(rig: Rig, tmp_path: Path) -> None:
    install_example(tmp_path)
    async with rig.daemon("clearbit", PYTHONPATH=tmp_path) as daemon:
        await daemon.wait_for_event("stream.opened")
        await rig.leads.insert_one({"_id": 1, "company_domain": domain()})
        assert await rig.witness.end_of(1) == "completed"
    data = (await rig.lead(1))["enriched_data"]
    assert data["enrichment_metadata"]["sources_skipped"]["acme_company"] == "no key"


async def _ends_with(path: Path, **env: str) -> list[str]:
    async with Daemon("run", env={"PYTHONPATH": str(path), **env}) as daemon:
        assert await daemon.wait() == ExitCode.SETTINGS
    return [line["text"] for line in daemon.lines if set(line) == {"text"}]


@pytest.mark.parametrize(
    ("code", "complaint"),
    [
        ("import a_package_that_is_not_there", "mine:Mine cannot be imported: ModuleNotFoundError"),
        ("raise SystemExit('no\\nmore')", "mine:Mine cannot be imported: SystemExit: no"),
        (
            HOW_TO_START.replace("'mine', 'mine'", "'hunter', 'mine'"),
            "taken by the package enricher",
        ),
        (HOW_TO_START + "    windows = (Window(0, 1),)\n", "a window has 0 calls"),
    ],
    ids=["missing", "exit", "taken", "window"],
)
async def test_what_is_wrong_with_a_package_stops_the_start_with_one_line(
    tmp_path: Path, code: str, complaint: str
) -> None:
    install(tmp_path, "mine", code, entry="mine:Mine")
    (line,) = await _ends_with(tmp_path)
    assert line.startswith("provider entry of the package mine: ")
    assert complaint in line


async def test_a_mistyped_setting_of_its_vendor_is_refused(tmp_path: Path) -> None:
    install_example(tmp_path)
    (line,) = await _ends_with(tmp_path, ACME_DAILY_BUDGE="5")
    assert line == "ACME_DAILY_BUDGE: there is no such setting; did you mean ACME_DAILY_BUDGET?"
