"""Apollo's spelling of a company and of a person: key sets and oddities are the vendor's.

`primary_phone` is an empty object where nothing is known, other unknowns are null; an address may be
locked; `contact`, the customer's own record, is another person than the one who was found.
"""

from __future__ import annotations

from enricher.simulator.facts import Company, Person
from enricher.simulator.records import Record

LOCKED = "email_not_unlocked@domain.com"
_LOCKED_EVERY = 5


def organization(facts: Company) -> Record:
    """What stands under `organization`."""
    place = facts.place
    has_phone = facts.raised is not None
    phone = "+1 800-555-0199" if has_phone else None
    return {
        "id": facts.id,
        "name": facts.name,
        "website_url": f"http://www.{facts.domain}",
        "blog_url": None,
        "angellist_url": None,
        "linkedin_url": f"http://www.linkedin.com/company/{facts.handle}",
        "twitter_url": f"https://twitter.com/{facts.handle[:15]}/",
        "facebook_url": None,
        "crunchbase_url": None,
        "primary_phone": _phone() if has_phone else {},
        "phone": phone,
        "sanitized_phone": "+18005550199" if has_phone else None,
        "languages": [],
        "alexa_ranking": None,
        "linkedin_uid": "18511550",
        "founded_year": facts.founded,
        "publicly_traded_symbol": None,
        "publicly_traded_exchange": None,
        "logo_url": f"https://zenprospect-production.s3.amazonaws.com/{facts.id}/picture",
        "primary_domain": facts.domain,
        "industry": facts.industry.lower() if facts.industry else None,
        "industries": [],
        "keywords": list(facts.tags),
        "estimated_num_employees": facts.employees,
        "raw_address": str(place) if place else None,
        "street_address": None,
        "city": place.city if place else None,
        "state": place.state if place else None,
        "postal_code": None,
        "country": place.country if place else None,
        "seo_description": None,
        "short_description": f"{facts.name} makes things that do not exist.",
        "annual_revenue": facts.revenue,
        "annual_revenue_printed": None,
        "total_funding": facts.raised,
        "total_funding_printed": None,
        "latest_funding_stage": None,
        "funding_events": [],
        "technology_names": list(facts.tech),
        "current_technologies": [],
        "account_id": "5f00000000000000000000aa",
        "account": {"name": "As our own people wrote it", "domain": "crm.example"},
        "departmental_head_count": {},
    }


def _phone() -> Record:
    return {
        "number": "+1 800-555-0199",
        "source": "Scraped",
        "sanitized_number": "+18005550199",
    }


def match(facts: Person) -> Record:
    """The whole body: the person, and what the vendor says beside it."""
    place, handle = facts.place, f"{facts.first}-{facts.last}".lower()
    is_locked = int(facts.id, 16) % _LOCKED_EVERY == 0 and not facts.is_stranger
    person = {
        "id": facts.id,
        "first_name": facts.first,
        "last_name": facts.last,
        "name": f"{facts.first} {facts.last}",
        "linkedin_url": f"http://www.linkedin.com/in/{handle}",
        "title": facts.title,
        "email_status": "verified",
        "photo_url": None,
        "twitter_url": None,
        "github_url": None,
        "facebook_url": None,
        "headline": f"{facts.title} at {facts.employer.name}",
        "email": LOCKED if is_locked else facts.email,
        "organization_id": facts.employer.id,
        "employment_history": [],
        "state": place.state if place else None,
        "city": place.city if place else None,
        "country": place.country if place else None,
        "contact_id": "5f00000000000000000000bb",
        "contact": _foreign_contact(),
        "organization": organization(facts.employer),
        "departments": [],
        "subdepartments": [],
        "functions": [facts.role],
        "seniority": facts.level,
    }
    return {"person": person, "request_id": int(facts.id, 16) % 2**63}


def _foreign_contact() -> Record:
    return {
        "id": "5f00000000000000000000bb",
        "name": "Foreign Contact",
        "first_name": "Foreign",
        "email": "foreign.contact@crm.example",
        "title": "Nobody Here",
    }
