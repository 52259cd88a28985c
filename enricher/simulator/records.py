"""Made-up records: the same (seed, question) always gives the same record, in any process.

Key sets, vocabularies and oddities are the vendors'; values are invented. The variety is deliberate, because a
merge that only ever saw complete records has not been tested: scalars and whole parent objects may be null, the
exact head count may contradict the range beside it, lists may be empty, and logos point at the host that was
shut down in December 2025.
"""

from __future__ import annotations

import json
from functools import lru_cache
from hashlib import blake2b
from random import Random
from typing import Any, NamedTuple, TypeAlias
from uuid import UUID

Record: TypeAlias = dict[str, Any]

PATTERNS = 256
"""Number of different companies for one seed, names and ids aside."""

_RANGES = (
    (10, "1-10"),
    (50, "11-50"),
    (250, "51-250"),
    (1_000, "251-1K"),
    (5_000, "1K-5K"),
    (10_000, "5K-10K"),
    (50_000, "10K-50K"),
    (100_000, "50K-100K"),
)
_REVENUES = ("$0-$1M", "$1M-$10M", "$10M-$50M", "$50M-$100M", "$100M-$250M", "$1B-$10B")
_TRAFFIC = ("low", "medium", "high", "very_high")
_TAGS = ("B2B", "SAAS", "Software", "E-commerce", "Logistics", "Enterprise", "Mobile", "Fintech")
_TECH = {
    "google_tag_manager": "tag_management",
    "cloudflare": "dns",
    "hubspot": "marketing_automation",
    "salesforce": "crm",
    "stripe": "payment",
    "amazon_aws": "web_servers",
    "intercom": "live_chat",
    "segment": "analytics",
}


class _Trade(NamedTuple):
    sector: str
    group: str
    industry: str
    sub: str
    gics: str
    sic: str
    naics: str


class _Place(NamedTuple):
    city: str
    state: str
    state_code: str
    country: str
    country_code: str
    zone: str
    offset: int
    lat: float
    lng: float


_TRADES = (
    _Trade("Information Technology", "Software & Services", "Internet Software & Services",
           "Internet Software & Services", "45102010", "7371", "541511"),
    _Trade("Industrials", "Transportation", "Air Freight & Logistics", "Logistics", "20301010",
           "4731", "488510"),
    _Trade("Financials", "Diversified Financials", "Capital Markets", "Financial Exchanges",
           "40203040", "6211", "523110"),
    _Trade("Health Care", "Health Care Equipment & Services", "Health Care Technology",
           "Health Care Technology", "35103010", "8071", "621511"),
    _Trade("Consumer Discretionary", "Retailing", "Internet & Direct Marketing Retail",
           "Internet Retail", "25502020", "5961", "454110"),
)  # fmt: skip
_PLACES = (
    _Place("Berlin", "Berlin", "BE", "Germany", "DE", "Europe/Berlin", 1, 52.52, 13.38),
    _Place("Wilmington", "Delaware", "DE", "United States", "US", "America/New_York", -5, 39.75, -75.55),
    _Place("Lyon", "Auvergne-Rhône-Alpes", "ARA", "France", "FR", "Europe/Paris", 1, 45.76, 4.84),
    _Place("Leeds", "England", "ENG", "United Kingdom", "GB", "Europe/London", 0, 53.8, -1.55),
    _Place("Austin", "Texas", "TX", "United States", "US", "America/Chicago", -6, 30.27, -97.74),
)  # fmt: skip


_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


def encode(record: Any) -> bytes:
    """Encode as JSON the way vendors send it: UTF-8, not escaped, no spaces."""
    return _ENCODER.encode(record).encode()


def company_body(seed: int, domain: str) -> bytes:
    """Return a Clearbit company as bytes: one of `PATTERNS` patterns, filled in for this domain.

    Filling in costs 11 microseconds, while building and encoding a record costs 60, and a benchmark
    asks for a new domain every time. A domain that passed the vendor's check needs no escaping.
    """
    digest = blake2b(f"{seed}:{domain}".encode(), digest_size=16).digest()
    body = _pattern(seed, digest[0] % PATTERNS)
    for blank, value in _blanks(domain, digest):
        body = body.replace(blank, value.encode())
    return body


def _blanks(domain: str, digest: bytes) -> tuple[tuple[bytes, str], ...]:
    label = domain.split(".", 1)[0]
    handle = label.replace("-", "")
    return (
        (b"%id%", str(UUID(bytes=digest))),
        (b"%name%", label.replace("-", " ").title()),
        (b"%domain%", domain),
        (b"%handle%", handle),
        (b"%twitter%", handle[:15]),
    )


@lru_cache(maxsize=4 * PATTERNS)
def _pattern(seed: int, number: int) -> bytes:
    return encode(_company(Random(f"{seed} company {number}")))


def _company(chance: Random) -> Record:
    """Return the full key set of API version 2019-12-19, with blanks for the company's own values."""
    place = chance.choice(_PLACES)
    tech = chance.sample(sorted(_TECH), chance.choice((0, 1, 3, 5)))
    record = {
        "id": "%id%",
        "name": "%name%",
        "legalName": _maybe(chance, 0.4, "%name% Holding"),
        "domain": "%domain%",
        "domainAliases": chance.choice(([], ["%handle%.cloud"])),
        "site": {"phoneNumbers": [], "emailAddresses": ["hello@%domain%"]},
        "category": _category(chance),
        "tags": chance.sample(_TAGS, chance.randint(0, 4)),
        "description": _maybe(chance, 0.9, "%name% makes things that do not exist."),
        "foundedYear": _maybe(chance, 0.85, chance.randint(1921, 2024)),
        "location": f"{place.city}, {place.state}, {place.country}",
        "timeZone": place.zone,
        "utcOffset": place.offset,
        "geo": _geo(chance, place),
        "logo": "https://logo.clearbit.com/%domain%",
    }
    return record | _handles(chance, place) | _figures(chance, tech)


def _maybe(chance: Random, likely: float, value: Any) -> Any:
    return value if chance.random() < likely else None


def _category(chance: Random) -> Record:
    trade = chance.choice(_TRADES)
    values: Record = {
        "sector": trade.sector,
        "industryGroup": trade.group,
        "industry": trade.industry,
        "subIndustry": trade.sub,
        "gicsCode": trade.gics,
        "sicCode": trade.sic[:2],
        "sic4Codes": [trade.sic],
        "naicsCode": trade.naics[:2],
        "naics6Codes": [trade.naics],
        "naics6Codes2022": [trade.naics],
    }
    return _maybe(chance, 0.93, values) or dict.fromkeys(values)


def _geo(chance: Random, place: _Place) -> Record:
    number = str(chance.randint(1, 99))
    return {
        "streetNumber": number,
        "streetName": "Teststr.",
        "subPremise": None,
        "streetAddress": f"{number} Teststr.",
        "city": place.city,
        "postalCode": f"{chance.randint(10000, 99999)}",
        "state": place.state,
        "stateCode": place.state_code,
        "country": place.country,
        "countryCode": place.country_code,
        "lat": place.lat,
        "lng": place.lng,
    }


def _handles(chance: Random, place: _Place) -> Record:
    twitter = {
        "handle": "%twitter%",
        "id": str(chance.getrandbits(32)),
        "bio": None,
        "followers": chance.randint(0, 90_000),
        "following": chance.randint(0, 900),
        "location": place.city,
        "site": None,
        "avatar": None,
    }
    return {
        "facebook": {"handle": _maybe(chance, 0.4, "%handle%"), "likes": None},
        "linkedin": _maybe(chance, 0.97, {"handle": _maybe(chance, 0.85, "company/%handle%")}),
        "twitter": _maybe(chance, 0.6, twitter) or dict.fromkeys(twitter),
        "crunchbase": {"handle": _maybe(chance, 0.3, "organization/%handle%")},
        "emailProvider": False,
        "type": chance.choice(("private", "private", "private", "public", "nonprofit")),
        "ticker": None,
        "identifiers": {"usEIN": None, "usCIK": None},
        "phone": _maybe(chance, 0.5, f"+1 415 555 {chance.randint(100, 199):04}"),
    }


def _figures(chance: Random, tech: list[str]) -> Record:
    return {
        "metrics": _maybe(chance, 0.97, _metrics(chance)),
        "indexedAt": f"2024-0{chance.randint(1, 9)}-08T21:30:12.524Z",
        "tech": tech,
        "techCategories": sorted({_TECH[name] for name in tech}),
        "parent": _maybe(chance, 0.9, {"domain": None}),
        "ultimateParent": {"domain": None},
    }


def _metrics(chance: Random) -> Record:
    """Return the figures. One record in twelve contradicts itself: the exact figure lies outside the range."""
    employees = int(10 ** chance.uniform(0.3, 4.6))
    contradictory = chance.random() < 1 / 12
    return {
        "alexaUsRank": None,
        "alexaGlobalRank": _maybe(chance, 0.5, chance.randint(1_000, 900_000)),
        "trafficRank": chance.choice(_TRAFFIC),
        "employees": _maybe(chance, 0.92, employees),
        "employeesRange": employees_range(employees // 11 if contradictory else employees),
        "marketCap": None,
        "raised": _maybe(chance, 0.4, chance.randint(1, 400) * 250_000),
        "annualRevenue": _maybe(chance, 0.2, chance.randint(1, 90) * 1_000_000),
        "estimatedAnnualRevenue": _maybe(chance, 0.8, chance.choice(_REVENUES)),
        "fiscalYearEnd": None,
    }


def employees_range(employees: int) -> str:
    """Return the vendor's label for a head count."""
    return next((label for most, label in _RANGES if employees <= most), "100K+")


# Made-up persons, and Hunter's versions of companies and persons: the same question, the same record.
#
# A person is who their address says, at the company of its domain; names that say nothing ("info") give
# a record without one. As with companies any scalar may be null, and so may whole parents.

CACHED = 8192
_TITLES = (
    ("Chief Technology Officer", "engineering", "executive"),
    ("Head of Sales", "sales", "director"),
    ("Senior Product Manager", "product", "manager"),
    ("Purchasing Manager", "operations", "manager"),
    ("Software Engineer", "engineering", None),
)
_HOMES = (
    ("Hamburg, HH, DE", "Europe/Berlin", 1, "Hamburg", "Hamburg", "HH", "Germany", "DE"),
    ("Leeds, ENG, GB", "Europe/London", 0, "Leeds", "England", "ENG", "United Kingdom", "GB"),
    ("Austin, TX, US", "America/Chicago", -6, "Austin", "Texas", "TX", "United States", "US"),
)


@lru_cache(maxsize=CACHED)
def hunter_company_body(seed: int, domain: str) -> bytes:
    """Return what Clearbit says of the company, in Hunter's form: a range for the head count, a host for the mail
    provider, its own id and logo."""
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
        "metrics": _hunter_metrics(metrics),
        "indexedAt": record["indexedAt"][:10],
        "fundingRounds": [],
    }
    return encode({"data": record, "meta": {"domain": domain}})


def _hunter_metrics(of_clearbit: Record) -> Record:
    keys = ("alexaUsRank", "alexaGlobalRank", "marketCap", "raised", "annualRevenue")
    return {
        **dict.fromkeys((*keys, "estimatedAnnualRevenue", "fiscalYearEnd")),
        "trafficRank": of_clearbit.get("trafficRank"),
        "employees": of_clearbit.get("employeesRange"),
    }


@lru_cache(maxsize=CACHED)
def hunter_person_body(seed: int, email: str) -> bytes:
    """Return a person as Hunter knows them, in its envelope."""
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
"""Words that tell a story, which an address holds beside the name."""


def person(seed: int, email: str) -> Record:
    """Return a person with Clearbit's full key set."""
    chance = Random(f"{seed} person {email}")
    local, _, domain = email.rpartition("@")
    employer = f"other-{domain}" if "moved" in email else domain
    first, *others = [part.title() for part in local.split(".") if part not in _NO_NAMES] or [""]
    last = " ".join(others)
    title, role, seniority = chance.choice(_TITLES)
    location, zone, offset, city, state, state_code, country, code = chance.choice(_HOMES)
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
