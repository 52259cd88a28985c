"""Made-up persons, and Hunter's versions of companies and persons: the same question, the same record.

A person is who their address says, at the company of its domain; names that say nothing ("info") give
a record without one. As with companies any scalar may be null, and so may whole parents.
"""

from __future__ import annotations

import json
from functools import lru_cache
from random import Random
from typing import Any
from uuid import UUID

from enricher.simulator.records import Record, company_body, encode

CACHED = 8192
_TITLES = (
    ("Chief Technology Officer", "engineering", "executive"),
    ("Head of Sales", "sales", "director"),
    ("Senior Product Manager", "product", "manager"),
    ("Purchasing Manager", "operations", "manager"),
    ("Software Engineer", "engineering", None),
)
_PLACES = (
    ("Hamburg, HH, DE", "Europe/Berlin", 1, "Hamburg", "Hamburg", "HH", "Germany", "DE"),
    ("Leeds, ENG, GB", "Europe/London", 0, "Leeds", "England", "ENG", "United Kingdom", "GB"),
    ("Austin, TX, US", "America/Chicago", -6, "Austin", "Texas", "TX", "United States", "US"),
)


@lru_cache(maxsize=CACHED)
def hunter_company_body(seed: int, domain: str) -> bytes:
    """What Clearbit says of the company, as Hunter says it: a range for the head count, a host for
    the mail provider, its own id and logo."""
    record = json.loads(company_body(seed, domain))
    chance = Random(f"{seed} hunter {domain}")
    metrics = record["metrics"] or {}
    record |= {
        "id": str(UUID(int=chance.getrandbits(128))),
        "logo": f"https://logos.hunter.io/{domain}",
        "emailProvider": chance.choice(("google.com", "microsoft.com", None)),
        "instagram": {"handle": None},
        "youtube": {"handle": None},
        "company_type": "privately held" if record["type"] == "private" else record["type"],
        "identifiers": {"usEIN": None},
        "category": _maybe(chance, 0.9, record["category"]),
        "metrics": _metrics(metrics),
        "indexedAt": record["indexedAt"][:10],
        "fundingRounds": [],
    }
    return encode({"data": record, "meta": {"domain": domain}})


def _metrics(of_clearbit: Record) -> Record:
    keys = ("alexaUsRank", "alexaGlobalRank", "marketCap", "raised", "annualRevenue")
    return {
        **dict.fromkeys((*keys, "estimatedAnnualRevenue", "fiscalYearEnd")),
        "trafficRank": of_clearbit.get("trafficRank"),
        "employees": of_clearbit.get("employeesRange"),
    }


@lru_cache(maxsize=CACHED)
def hunter_person_body(seed: int, email: str) -> bytes:
    """A person as Hunter knows them, in its envelope."""
    record = person(seed, email)
    record |= {
        "emailProvider": "google.com",
        "phone": None,
        "activeAt": "2026-03-18",
        "inactiveAt": None,
        "indexedAt": record["indexedAt"][:10],
    }
    return encode({"data": record, "meta": {"email": email}})


_NO_NAMES = ("moved", "claimed", "stranger", "bounce", "smtpfail")
"""Words of stories, which stand in an address beside the name."""


def person(seed: int, email: str) -> Record:
    """The full key set of Clearbit's person."""
    chance = Random(f"{seed} person {email}")
    local, _, domain = email.rpartition("@")
    employer = f"other-{domain}" if "moved" in email else domain
    first, *others = [part.title() for part in local.split(".") if part not in _NO_NAMES] or [""]
    last = " ".join(others)
    title, role, seniority = chance.choice(_TITLES)
    location, zone, offset, city, state, state_code, country, code = chance.choice(_PLACES)
    handle = local.replace(".", "")
    names = {"fullName": f"{first} {last}", "givenName": first, "familyName": last}
    return {
        "id": str(UUID(int=chance.getrandbits(128))),
        "name": names if last else dict.fromkeys(names),
        "email": email,
        "location": _maybe(chance, 0.9, location),
        "timeZone": zone,
        "utcOffset": offset,
        "geo": {
            "city": city,
            "state": state,
            "stateCode": state_code,
            "country": country,
            "countryCode": code,
            "lat": None,
            "lng": None,
        },
        "bio": _maybe(chance, 0.3, f"Works at a company that does not exist, in {city}."),
        "site": None,
        "avatar": _maybe(chance, 0.3, f"https://avatars.{domain}/{handle}.png"),
        "employment": _maybe(
            chance,
            0.95,
            {
                "domain": employer,
                "name": employer.split(".", 1)[0].replace("-", " ").title(),
                "title": _maybe(chance, 0.9, title),
                "role": role,
                "subRole": None,
                "seniority": seniority,
            },
        ),
        "facebook": {"handle": None},
        "github": {"handle": _maybe(chance, 0.2, handle), "id": None, "avatar": None},
        "twitter": {"handle": _maybe(chance, 0.3, handle[:15]), "followers": None},
        "linkedin": _maybe(chance, 0.95, {"handle": _maybe(chance, 0.8, f"in/{handle}")}),
        "googleplus": {"handle": None},
        "gravatar": {"handle": None, "urls": [], "avatar": None, "avatars": []},
        "fuzzy": False,
        "emailProvider": False,
        "indexedAt": "2024-01-24T15:49:16.888Z",
    }


def _maybe(chance: Random, likely: float, value: Any) -> Any:
    return value if chance.random() < likely else None
