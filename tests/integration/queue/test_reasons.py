"""A result that an index or a rule of the operator's refuses: the lead says which, and nothing personal."""

from __future__ import annotations

from typing import Any

import pytest
from pymongo.asynchronous.collection import AsyncCollection

from enricher.lead import Completed, Document
from enricher.queue.settle import Settled, Settler
from tests.support.queueing import claim_one, insert, queue, read

Leads = AsyncCollection[Document]
SECRET = "Ada Lovelace"
COMPANY = {
    "name": SECRET,
    "domain": "acme.com",
    "location": "12 Main St",
    "tags": ["a", "b"],
    "tech_stack": ["c", "d"],
    "language": 7,
    "description": SECRET,
}


async def refused(leads: Leads) -> str:
    """What the lead says after its settle was refused."""
    await insert(leads, 2, enriched_data={"company_data": {"name": SECRET}})
    await leads.update_one({"_id": 2}, {"$set": {"enrichment_status": "skipped"}})
    await insert(leads, 1, enrichment_status="pending")
    lease = await claim_one(queue(leads))
    settled = await Settler(leads, lambda: None).settle(
        lease, Completed({"company_data": COMPANY}, {})
    )
    assert settled is Settled.REFUSED
    lead = await read(leads)
    assert lead["enrichment_status"] == "failed"
    error: str = lead["enrichment_error"]
    assert SECRET not in error
    assert "acme" not in error
    return error


@pytest.mark.parametrize(
    ("keys", "options", "said"),
    [
        (
            [("enriched_data.company_data.name", 1)],
            {"unique": True, "sparse": True},
            'the unique index "of the operator" has the same value from another lead.',
        ),
        (
            [("enriched_data.company_data.location", "2dsphere")],
            {},
            'an index of the collection "of the operator" holds places alone (code 16755).',
        ),
        (
            [("enriched_data.company_data.tags", "hashed")],
            {},
            'an index of the collection "of the operator" cannot hold an array (code 16766).',
        ),
        (
            [("enriched_data.company_data.tags", 1), ("enriched_data.company_data.tech_stack", 1)],
            {},
            'an index of the collection "of the operator" cannot hold two arrays at once (code 171).',
        ),
        (
            [("enriched_data.company_data.description", "text")],
            {},
            'an index of the collection "of the operator" takes a field for a language (code 17261).',
        ),
    ],
    ids=["unique", "places", "hashed", "two arrays", "text"],
)
async def test_an_index_that_refuses_is_named(
    leads: Leads, keys: Any, options: Document, said: str
) -> None:
    await leads.create_index(keys, name="of the operator", **options)
    assert (await refused(leads)).endswith(said)


@pytest.mark.parametrize(
    ("validator", "said"),
    [
        (
            {"enriched_data.company_data.domain": {"$ne": "acme.com"}},
            'the collection\'s validator refuses it for "enriched_data.company_data.domain".',
        ),
        (
            {
                "$jsonSchema": {
                    "properties": {
                        "enriched_data": {
                            "properties": {
                                "company_data": {"properties": {"tags": {"bsonType": "string"}}}
                            }
                        }
                    }
                }
            },
            '"company_data" or "enriched_data" or "tags".',
        ),
        (
            {
                "$or": [
                    {"enrichment_status": {"$ne": "completed"}},
                    {"$jsonSchema": {"required": ["owner"]}},
                ]
            },
            'the collection\'s validator refuses it for "enrichment_status" or "owner".',
        ),
    ],
    ids=["a query", "a schema", "a missing property"],
)
async def test_a_rule_that_refuses_names_its_properties(
    leads: Leads, validator: Document, said: str
) -> None:
    await leads.database.create_collection(leads.name)
    await leads.database.command("collMod", leads.name, validator=validator)
    assert (await refused(leads)).endswith(said)


async def test_a_wildcard_index_takes_whatever_is_found(leads: Leads) -> None:
    await leads.create_index([("$**", 1)], name="of the operator")
    await insert(leads, 1, enrichment_status="pending")
    lease = await claim_one(queue(leads))
    outcome = Completed({"company_data": COMPANY}, {})
    assert await Settler(leads, lambda: None).settle(lease, outcome) is Settled.WRITTEN
