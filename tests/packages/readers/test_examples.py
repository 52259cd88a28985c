"""What stands in `docs/examples`, run as it is said there, beside a real daemon."""

from __future__ import annotations

import asyncio
import base64
import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from enricher.webhook.signature import body_of, headers_of
from tests.packages.readers.odms import EXAMPLES, example
from tests.support.processes import bound_to_us
from tests.support.rig import Rig, address
from tests.support.waiting import eventually

pytestmark = [pytest.mark.packages, pytest.mark.timeout(120)]


async def _printed(*command: str, env: dict[str, str], cwd: Path) -> str:
    process = await asyncio.create_subprocess_exec(
        *bound_to_us(), *command, env=env, cwd=cwd, stdout=asyncio.subprocess.PIPE
    )
    printed, _ = await process.communicate()
    assert process.returncode == 0
    return printed.decode()


@pytest.mark.parametrize("name", ["beanie_lead", "mongoengine_lead", "odmantic_lead"])
async def test_a_program_in_python_says_what_was_found_and_what_was_not(
    name: str, rig: Rig, environment: dict[str, str]
) -> None:
    program = (sys.executable, f"{name}.py")
    async with rig.daemon() as daemon:
        await daemon.wait_for_event("history.recorded")
        found, unknown = await asyncio.gather(
            _printed(*program, "ada@quokka-freight.com", env=environment, cwd=EXAMPLES),
            _printed(*program, "ada@mailinator.com", env=environment, cwd=EXAMPLES),
        )
    assert found == "completed Quokka Freight\n"
    assert unknown == "skipped The e-mail address belongs to a disposable mail service.\n"


async def test_a_program_in_node_says_what_was_found(
    rig: Rig, node_modules: Path, environment: dict[str, str]
) -> None:
    program = node_modules / "mongoose_lead.mjs"
    program.write_text((EXAMPLES / program.name).read_text("utf-8"))
    async with rig.daemon() as daemon:
        await daemon.wait_for_event("history.recorded")
        command = ("node", program.name, "ada@quokka-freight.com")
        found = await _printed(*command, env=environment, cwd=node_modules)
    assert found == "completed Quokka Freight\n"


@asynccontextmanager
async def _api() -> AsyncIterator[httpx.AsyncClient]:
    app = example("fastapi_app").app
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://leads") as client,
    ):
        yield client


async def test_the_api_inserts_a_lead_shows_it_and_has_it_enriched_again(
    rig: Rig, environment: dict[str, str]
) -> None:
    async with _api() as api, rig.daemon() as daemon:
        await daemon.wait_for_event("history.recorded")
        added = await api.post("/leads", json={"email": address(), "name": "Ada Lovelace"})
        assert added.status_code == 201
        path = f"/leads/{added.json()['id']}"

        async def shown(times: int) -> httpx.Response | None:
            lead = await rig.leads.find_one({"enrichment.token": times})
            is_done = lead is not None and lead["enrichment_status"] == "completed"
            return await api.get(path) if is_done else None

        first = await eventually(lambda: shown(1))
        again = await api.post(f"{path}/enrich")
        second = await eventually(lambda: shown(2))
    assert again.status_code == 202
    for response in (first, second):
        lead = response.json() if response else {}
        assert lead["enriched_data"]["company_data"]["name"].startswith("Quokka")
        assert (lead["name"], "enrichment" in lead) == ("Ada Lovelace", False)


@pytest.mark.parametrize("lead", ["7", "65f1c0ffee0123456789ac02"])
async def test_the_api_knows_no_lead_that_is_not_there(
    lead: str, rig: Rig, environment: dict[str, str]
) -> None:
    async with _api() as api:
        found, enriched = await api.get(f"/leads/{lead}"), await api.post(f"/leads/{lead}/enrich")
    assert (found.status_code, enriched.status_code) == (404, 404)


async def test_the_api_describes_what_it_answers(environment: dict[str, str]) -> None:
    async with _api() as api:
        described = (await api.get("/openapi.json")).json()["components"]["schemas"]
    assert {"StoredLead", "EnrichedData", "CompanyData"} <= described.keys()


KEY = b"twenty-four bytes of key"
SECRET = f"whsec_{base64.b64encode(KEY).decode()}"


async def _answers(receiver: httpx.AsyncClient) -> list[int]:
    """To an event, to the same again, and to one that somebody else signed."""
    told = {"collection": "leads", "lead": 7, "status": "completed", "changed": [], "attempt": 1}
    body = body_of({**told, "at": datetime.now(UTC)})
    headers = headers_of([KEY], "evt_1", int(time.time()), body)
    forged = headers_of([b"another"], "evt_1", int(time.time()), body)
    return [
        (await receiver.post("/hooks/enricher", content=body, headers=each)).status_code
        for each in (headers, headers, forged)
    ]


async def test_the_receiver_takes_what_is_signed_once_and_refuses_the_rest(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ENRICHER_WEBHOOK_SECRET", SECRET)
    transport = httpx.ASGITransport(example("webhook_receiver").app)
    async with httpx.AsyncClient(transport=transport, base_url="http://crm") as client:
        assert await _answers(client) == [204, 204, 401]
    assert capsys.readouterr().out == "evt_1 7 completed\n"


async def test_the_receiver_in_node_does_the_same(node_modules: Path) -> None:
    program = node_modules / "webhook_receiver.mjs"
    program.write_text((EXAMPLES / program.name).read_text("utf-8"))
    process = await asyncio.create_subprocess_exec(
        *bound_to_us(),
        *("node", program.name),
        env={"PATH": os.environ["PATH"], "ENRICHER_WEBHOOK_SECRET": SECRET, "PORT": "0"},
        cwd=node_modules,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        port = (await process.stdout.readline()).decode().removeprefix("listening ").strip()
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
            assert await _answers(client) == [204, 204, 401]
    finally:
        process.terminate()
        printed, _ = await process.communicate()
    assert printed == b"evt_1 7 completed\n"
