"""Leads as Beanie documents, beside enricher: insert them, read what was found, have them enriched again.

pip install beanie lead-enricher
MONGODB_URI=mongodb://… python beanie_lead.py ada@quokka-freight.com
"""

import asyncio
import os
import sys

from beanie import Document, init_beanie
from pymongo import AsyncMongoClient

from enricher.contract import Lead as Enriched


class Lead(Enriched, Document):
    """A lead of ours. `Enriched` declares what enricher writes, and keeps what it does not know."""

    email: str
    notes: str | None = None

    class Settings:
        name = "leads"
        keep_nulls = False  # what is not known yet is not written as null


async def connect() -> AsyncMongoClient:
    client = AsyncMongoClient(os.environ["MONGODB_URI"], tz_aware=True)
    database = client[os.environ.get("MONGODB_DATABASE", "crm")]
    await init_beanie(database=database, document_models=[Lead])
    return client


async def take_note(lead: Lead, text: str) -> None:
    """Write the one field that is ours: `replace()` and `save()` would write back enricher's as they were read."""
    await lead.set({Lead.notes: text})


async def enrich_again(lead: Lead) -> None:
    await lead.set({Lead.enrichment_status: "pending"})


async def main(email: str) -> None:
    client = await connect()
    lead = await Lead(email=email).insert()
    while lead.enrichment_status not in ("completed", "failed", "skipped"):
        await asyncio.sleep(1)
        await lead.sync()
    company = lead.enriched_data and lead.enriched_data.company_data
    print(lead.enrichment_status, company.name if company else lead.enrichment_error)
    await client.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
