"""What all references share: what they are told, what they ask, and what they write for a lead."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

HEADERS = {"Authorization": "Bearer simulated", "X-API-KEY": "simulated"}
Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Orders:
    """The environment of a reference."""

    uri: str
    database: str
    vendors: str
    redis: str = ""
    since: str = ""
    """Where its change stream begins: "seconds,increment" of the cluster time."""
    in_flight: int = 64
    """Leads at a time."""

    @classmethod
    def read(cls) -> Self:
        fields = json.loads(os.environ["BENCH_ORDERS"])
        return cls(**fields)


async def forever() -> None:
    """Stay when all is done, as the daemon does: the CPU of a process that is gone cannot be read."""
    await asyncio.Event().wait()


def questions(vendors: str, email: str) -> tuple[tuple[str, Mapping[str, str]], ...]:
    """(URL, parameters) of the two calls that a lead needs."""
    return (
        (f"{vendors}/clearbit/v2/companies/find", {"domain": email.rpartition("@")[2]}),
        (f"{vendors}/hunter/v2/email-verifier", {"email": email}),
    )


def update(company_body: bytes, verdict_body: bytes) -> Document:
    """The write that ends a lead, from what the vendors said: mapped, as the daemon's is.

    No merge, no provenance, no score; the time is the server's, so that all can be compared.
    """
    company, verdict = json.loads(company_body), json.loads(verdict_body)["data"]
    data = {
        "company_data": _company(company),
        "email_verification": _verification(verdict),
        "enrichment_metadata": {"sources_used": ["clearbit", "hunter"]},
    }
    return {
        "$set": {"enrichment_status": "completed", "enriched_data": data, "enrichment_error": None},
        "$currentDate": {"enriched_at": True, "updated_at": True},
    }


def _company(record: Document) -> Document:
    category, metrics = record.get("category") or {}, record.get("metrics") or {}
    found = {
        "name": record.get("name"),
        "domain": record.get("domain"),
        "logo_url": record.get("logo"),
        "description": record.get("description"),
        "founded_year": record.get("foundedYear"),
        "location": record.get("location"),
        "timezone": record.get("timeZone"),
        "phone": record.get("phone"),
        "employee_count": metrics.get("employees"),
        "employee_range": metrics.get("employeesRange"),
        "annual_revenue": metrics.get("annualRevenue"),
        "estimated_annual_revenue": metrics.get("estimatedAnnualRevenue"),
        "raised": metrics.get("raised"),
        "alexa_rank": metrics.get("alexaGlobalRank"),
        "sector": category.get("sector"),
        "industry_group": category.get("industryGroup"),
        "industry": category.get("industry"),
        "sub_industry": category.get("subIndustry"),
        "tags": record.get("tags"),
        "tech_stack": record.get("tech"),
        "linkedin_handle": (record.get("linkedin") or {}).get("handle"),
        "twitter_handle": (record.get("twitter") or {}).get("handle"),
        "twitter_followers": (record.get("twitter") or {}).get("followers"),
        "clearbit_id": record.get("id"),
    }
    return {name: value for name, value in found.items() if value is not None}


def _verification(record: Document) -> Document:
    return {
        "status": record["status"],
        "result": record["result"],
        "score": record["score"],
        "is_disposable": record["disposable"],
        "is_webmail": record["webmail"],
        "is_gibberish": record["gibberish"],
        "mx_records": record["mx_records"],
        "smtp_check": record["smtp_check"],
        "accept_all": record["accept_all"],
    }
