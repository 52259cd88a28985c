"""Leads as MongoEngine documents, beside enricher: insert them, read what was found, have them enriched again.

pip install mongoengine
MONGODB_URI=mongodb://… python mongoengine_lead.py ada@quokka-freight.com
"""

import os
import sys
import time

from mongoengine import DateTimeField, DictField, Document, StringField, connect

STATUSES = ("pending", "processing", "retrying", "completed", "failed", "skipped")


class Lead(Document):
    """A lead of ours. Without `strict: False` the first field that it does not declare raises `FieldDoesNotExist`."""

    email = StringField(required=True)
    notes = StringField()

    enrichment_status = StringField(choices=STATUSES)
    enriched_data = DictField(null=True)
    enriched_at = DateTimeField()
    enrichment_error = StringField()
    updated_at = DateTimeField()

    meta = {"collection": "leads", "strict": False}


def connect_to_leads() -> None:
    name = os.environ.get("MONGODB_DATABASE", "crm")
    connect(name, host=os.environ["MONGODB_URI"], tz_aware=True, uuidRepresentation="standard")


def take_note(lead: Lead, text: str) -> None:
    """Write the one field that changed; so does `save()` on a lead that was read."""
    lead.modify(notes=text)


def enrich_again(lead: Lead) -> None:
    lead.modify(enrichment_status="pending")


def main(email: str) -> None:
    connect_to_leads()
    lead = Lead(email=email).save()
    while lead.enrichment_status not in ("completed", "failed", "skipped"):
        time.sleep(1)
        lead.reload()
    company = (lead.enriched_data or {}).get("company_data")
    print(lead.enrichment_status, company["name"] if company else lead.enrichment_error)


if __name__ == "__main__":
    main(sys.argv[1])
