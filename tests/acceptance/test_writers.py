"""Whoever writes a lead, in whatever way: it is seen, enriched once, and nothing of it is changed."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn
from uuid import uuid4

import pytest
import pytest_asyncio
from bson import Binary, Decimal128, Int64, MaxKey, ObjectId, Timestamp

from enricher.lead import Document, LeadId
from tests.support.processes import Daemon
from tests.support.rig import Rig, address, domain, open_rig
from tests.support.writers import IN_PYTHON, ON_NODE, Place, Writer

pytestmark = pytest.mark.asyncio(loop_scope="module")

NODE_DRIVER = "mongodb@6.22.0"
INSTALL_SECONDS = 90

IDS: dict[str, LeadId] = {
    "an ObjectId": ObjectId(),
    "text": "lead-4711",
    "empty text": "",
    "an int": 4711,
    "zero": 0,
    "a 64-bit int": Int64(2**40),
    "a float": 47.11,
    "not a number": float("nan"),
    "true": True,
    "null": None,
    "a UUID": Binary.from_uuid(uuid4()),
    "bytes": b"\x00\xff",
    "a date": datetime(2026, 8, 1, tzinfo=UTC),
    "a decimal": Decimal128("47.11"),
    "a timestamp": Timestamp(47, 11),
    "the greatest key": MaxKey(),
    "a document": {"tenant": "acme", "number": 4711},
    "a document in another order": {"number": 4711, "tenant": "acme"},
    "a document with odd keys": {"a.b": 1, "c$d": {"e": [1, None]}},
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def rig(mongodb_uri: str) -> AsyncIterator[Rig]:
    """One daemon for all writers; what it does must be right in the end as well."""
    async with open_rig(mongodb_uri) as opened:
        async with opened.daemon() as daemon:
            await daemon.wait_for_event("history.recorded")
            yield opened
            await _let_the_daemon_finish(daemon)
        assert opened.witness.settled_more_than_once() == {}
        assert opened.asked_twice() == {}


async def _let_the_daemon_finish(daemon: Daemon) -> None:
    daemon.terminate()
    assert await daemon.wait() == 0


def leads_of_every_kind() -> list[Document]:
    """Without a status, with null, and with the one that asks for enrichment."""
    return [
        {"_id": f"lead {uuid4()}", "email": address(), "source": "webinar"},
        {"_id": f"lead {uuid4()}", "company_domain": domain(), "enrichment_status": None},
        {"_id": f"lead {uuid4()}", "website": f"www.{domain()}", "enrichment_status": "pending"},
        {"_id": f"lead {uuid4()}", "company_domain": domain(), "tags": [{"a": 1}], "name": "Ada"},
    ]


async def assert_enriched_once(rig: Rig, lead: Document) -> None:
    assert await rig.witness.end_of(lead["_id"]) == "completed"
    stored = await rig.lead(lead["_id"])
    assert stored["enriched_data"]["company_data"]["name"].startswith("Quokka")
    written = {name: value for name, value in lead.items() if name != "enrichment_status"}
    assert {name: stored[name] for name in written} == written
    assert [step.status for step in rig.witness.settles(lead["_id"])] == ["completed"]


@pytest.mark.parametrize("writer", IN_PYTHON.values(), ids=IN_PYTHON)
async def test_a_lead_is_enriched_once_whoever_wrote_it(rig: Rig, writer: Writer) -> None:
    leads = leads_of_every_kind()
    await writer(Place(rig.uri, rig.database.name), [dict(lead) for lead in leads])
    for lead in leads:
        await assert_enriched_once(rig, lead)


async def test_a_lead_from_the_nodejs_driver_is_enriched_once(rig: Rig, node_modules: Path) -> None:
    leads = leads_of_every_kind()
    await ON_NODE(Place(rig.uri, rig.database.name, node_modules=node_modules), leads)
    for lead in leads:
        await assert_enriched_once(rig, lead)


@pytest.mark.parametrize("id_", IDS.values(), ids=IDS)
async def test_the_id_of_a_lead_may_be_anything(rig: Rig, id_: Any) -> None:
    await rig.leads.insert_one({"_id": id_, "company_domain": domain()})
    assert await rig.witness.end_of(id_) == "completed"
    assert [step.status for step in rig.witness.settles(id_)] == ["completed"]


async def test_an_insert_without_an_id_is_enriched_under_the_one_the_server_gave(rig: Rig) -> None:
    marker = domain()
    await rig.database.command(
        "update",
        "leads",
        updates=[{"q": {"company_domain": marker}, "u": {"$set": {"name": "Ada"}}, "upsert": True}],
    )
    lead = await rig.leads.find_one({"company_domain": marker})
    assert lead is not None
    assert await rig.witness.end_of(lead["_id"]) == "completed"


async def test_a_new_lead_that_is_replaced_whole_is_enriched_as_what_it_is_now(rig: Rig) -> None:
    await rig.leads.insert_one({"_id": "replaced", "company_domain": domain()})
    assert await rig.witness.end_of("replaced") == "completed"
    rig.witness.forget("replaced")
    now = domain()
    await rig.leads.replace_one({"_id": "replaced"}, {"company_domain": now, "name": "Ada"})
    assert await rig.witness.end_of("replaced") == "completed"
    lead = await rig.lead("replaced")
    assert lead["enriched_data"]["company_data"]["domain"] == now


async def test_a_transaction_that_is_aborted_leaves_nothing_to_enrich(rig: Rig) -> None:
    aborted = domain()
    async with rig.database.client.start_session() as session:
        await session.start_transaction()
        await rig.leads.insert_one({"_id": "aborted", "company_domain": aborted}, session=session)
        await session.abort_transaction()
    await rig.leads.insert_one({"_id": "after it", "company_domain": domain()})
    assert await rig.witness.end_of("after it") == "completed"
    assert rig.questions(aborted) == {}


async def test_what_a_writer_changes_on_a_finished_lead_does_not_enrich_it_again(rig: Rig) -> None:
    await rig.leads.insert_one({"_id": "edited", "company_domain": domain()})
    assert await rig.witness.end_of("edited") == "completed"
    await rig.leads.update_one({"_id": "edited"}, {"$set": {"notes": "called", "name": "Ada"}})
    await rig.leads.update_one({"_id": "edited"}, [{"$set": {"notes": "called twice"}}])
    await rig.leads.insert_one({"_id": "after the edit", "company_domain": domain()})
    assert await rig.witness.end_of("after the edit") == "completed"
    assert rig.witness.statuses_at_work("edited") == ["processing", "completed"]


@pytest.fixture(scope="session")
def node_modules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Node.js driver, installed once for the run by the machine's own npm."""
    if not (shutil.which("node") and shutil.which("npm")):
        pytest.skip("there is no Node.js with npm on this machine")
    directory = tmp_path_factory.mktemp("node")
    problem = asyncio.run(_npm_install(directory))
    if problem:
        _unavailable(f"npm could not install {NODE_DRIVER}: {problem}")
    return directory / "node_modules"


async def _npm_install(directory: Path) -> str:
    """Empty when it worked, else the last that npm said."""
    process = await asyncio.create_subprocess_exec(
        *("npm", "install", "--no-save", "--no-audit", "--no-fund", "--prefix", str(directory)),
        NODE_DRIVER,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        cwd=directory,
    )
    try:
        async with asyncio.timeout(INSTALL_SECONDS):
            said, _ = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.communicate()
        return f"not done within {INSTALL_SECONDS} s"
    return said.decode(errors="replace")[-500:] if process.returncode else ""


def _unavailable(reason: str) -> NoReturn:
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)
