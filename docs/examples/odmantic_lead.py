"""Leads as ODMantic models, beside enricher: insert them, read what was found, have them enriched again.

pip install odmantic lead-enricher
MONGODB_URI=mongodb://… python odmantic_lead.py ada@quokka-freight.com
"""

import asyncio
import os
import sys

from motor.motor_asyncio import AsyncIOMotorClient
from odmantic import AIOEngine, Model, ObjectId

from enricher.contract import Lead as Enriched

ENDS = ("completed", "failed", "skipped")


class Lead(Model):
    """A lead of ours.

    `enriched_data` is not declared on purpose: with every `save()`, ODMantic writes back all fields of a mutable
    type as they were read. A text is written only when it was changed.
    """

    model_config = {"collection": "leads"}

    email: str
    notes: str | None = None
    enrichment_status: str | None = None


def connect() -> AIOEngine:
    client = AsyncIOMotorClient(os.environ["MONGODB_URI"], tz_aware=True)
    return AIOEngine(client=client, database=os.environ.get("MONGODB_DATABASE", "crm"))


async def enriched(engine: AIOEngine, id: ObjectId) -> Enriched:
    """Read the lead as the contract describes it."""
    return Enriched.model_validate(await engine.get_collection(Lead).find_one({"_id": id}))


async def enrich_again(engine: AIOEngine, id: ObjectId) -> None:
    lead = await engine.find_one(Lead, Lead.id == id)
    lead.enrichment_status = "pending"
    await engine.save(lead)


async def main(email: str) -> None:
    engine = connect()
    inserted = await engine.save(Lead(email=email))
    while (lead := await enriched(engine, inserted.id)).enrichment_status not in ENDS:
        await asyncio.sleep(1)
    company = lead.enriched_data and lead.enriched_data.company_data
    print(lead.enrichment_status, company.name if company else lead.enrichment_error)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
