"""A lease on a lead of another shape: what it tells, and when its result may be written."""

from __future__ import annotations

from typing import Any

import pytest
from bson.raw_bson import RawBSONDocument
from pymongo.asynchronous.collection import AsyncCollection

from enricher.lead import Completed, Document, Inputs, Progress, Subject
from enricher.privacy.forgetting import Erased, Erasure
from enricher.queue import inputs
from enricher.queue.leads import Leads
from enricher.queue.settle import Settled, Settler
from enricher.settings.paths import candidates
from enricher.settings.sources import Source
from tests.support.queueing import claim_one, queue

Collection = AsyncCollection[Document]

SOURCE = Source(
    account=candidates(["owner.team", "memberships.organization"]),
    plan=candidates("memberships[active=true].plan"),
    priority=candidates("labels[name=heat].value"),
    read={
        "email": candidates(["main", "others.address"]),
        "name": candidates("{first} {last}"),
        "website": candidates("site"),
        "linkedin": candidates("links.linkedIn"),
        "cnpj": candidates("documento"),
    },
)
LEAD: Document = {
    "_id": 1,
    "enrichment_status": "pending",
    "main": 5,
    "others": [{"address": " "}, {"address": "a@quokka.com"}, {"address": "b@quokka.com"}],
    "first": "Ada",
    "site": "quokka.com",
    "links": {"linkedIn": "in/ada"},
    "documento": "12.345.678/0001-95",
    "memberships": [
        {"organization": [], "active": False, "plan": "old"},
        {"organization": 7, "active": True, "plan": "free"},
    ],
    "labels": [{"name": "heat", "value": "warm"}],
}


def _progress() -> Progress:
    return Progress({"company_data": {}}, {"hunter": "found"}, Subject("m", "c"))


def mapped(ours: Collection) -> Leads:
    return queue(
        ours,
        mapped=inputs.mapping_of(SOURCE),
        account=inputs.account(SOURCE),
        plan=inputs.plan(SOURCE),
        rank=inputs.rank(SOURCE, ("hot", "warm")),
    )


async def test_a_lease_tells_what_the_mapping_reads(ours: Collection) -> None:
    await ours.insert_one(LEAD)
    lead = (await claim_one(mapped(ours))).lead
    assert lead.inputs == Inputs(
        email="a@quokka.com",
        other_emails=("b@quokka.com",),
        website="quokka.com",
        name="Ada",
        linkedin="in/ada",
        cnpj="12.345.678/0001-95",
    )
    assert (lead.account, lead.plan, lead.priority) == (7, "free", 1)


@pytest.mark.parametrize(
    ("change", "settled"),
    [
        ({"first": "Grace", "main": None, "notes": "x"}, Settled.WRITTEN),
        ({"main": "c@quokka.com"}, Settled.INPUTS_CHANGED),
        ({"others.2.address": "c@quokka.com"}, Settled.INPUTS_CHANGED),
        ({"site": None}, Settled.INPUTS_CHANGED),
    ],
)
@pytest.mark.parametrize("times", [1, 3], ids=["alone", "in a batch"])
async def test_a_result_is_written_while_the_mapping_reads_the_same(
    ours: Collection, change: dict[str, Any], settled: Settled, times: int
) -> None:
    await ours.insert_many([{**LEAD, "_id": number} for number in range(times)])
    leads = mapped(ours)
    leases = (await leads.claim(times)).leases
    await ours.update_many({}, {"$set": change})
    settler = Settler(ours, lambda: None, mapped=leads.mapped)
    assert await settler.settle(leases[0], Completed({"company_data": {}}, {})) is settled
    await settler.keeper.keep(leases[-1], _progress())
    kept = await ours.count_documents({"enrichment.answered.hunter": "found"})
    assert kept == (times > 1 and settled is Settled.WRITTEN)


async def test_a_text_that_is_not_valid_utf8_is_compared_by_the_server(ours: Collection) -> None:
    broken = b"\x02v\x00\x03\x00\x00\x00a\xff\x00"
    await ours.insert_one(LEAD)
    await ours.insert_one({"_id": 2, "raw": RawBSONDocument(_document(broken))})
    copied: list[Document] = [
        {"$match": {"_id": 2}},
        {"$project": {"_id": {"$literal": 1}, "site": "$raw.v"}},
    ]
    await (await ours.aggregate([*copied, {"$merge": ours.name}])).to_list()
    await ours.delete_one({"_id": 2})
    leads = mapped(ours)
    lease = await claim_one(leads)
    settler = Settler(ours, lambda: None, mapped=leads.mapped)
    assert await settler.settle(lease, Completed({}, {})) is Settled.WRITTEN


def _document(element: bytes) -> bytes:
    return (len(element) + 5).to_bytes(4, "little") + element + b"\0"


async def test_a_lead_is_erased_while_it_has_the_same_addresses(ours: Collection) -> None:
    await ours.insert_one(LEAD)
    erasure = Erasure(ours, mapped=inputs.mapping_of(SOURCE))
    assert await erasure.erase(1, Inputs("a@quokka.com")) is Erased.CHANGED
    both = Inputs("a@quokka.com", other_emails=("b@quokka.com",))
    assert await erasure.erase(1, both) is Erased.DONE


@pytest.mark.parametrize("address", ["a@quokka.com", "b@quokka.com", "nobody@quokka.com"])
async def test_a_lead_is_found_by_each_of_its_addresses(ours: Collection, address: str) -> None:
    await ours.insert_one(LEAD)
    found = await ours.count_documents(inputs.by_address(SOURCE, [address]))
    assert found == (not address.startswith("nobody"))
    assert await ours.count_documents(inputs.by_address(Source(read={}), [address])) == 0
