"""People Data Labs' spelling of a company and of a person: key sets and oddities are the vendor's.

In small letters unless `titlecase` is asked for. On a free plan, `true` or `false` says whether there
would be a value for a contact.
"""

from __future__ import annotations

from typing import Any

from enricher.simulator.facts import Company, Person, Place
from enricher.simulator.records import Record

_SIZES = (
    (10, "1-10"),
    (50, "11-50"),
    (200, "51-200"),
    (500, "201-500"),
    (1_000, "501-1000"),
    (5_000, "1001-5000"),
    (10_000, "5001-10000"),
)
_REVENUES = ((1, "$0-$1M"), (10, "$1M-$10M"), (25, "$10M-$25M"), (50, "$25M-$50M"))
_MILLION = 1_000_000
_CONTACTS = (
    *("work_email", "personal_emails", "emails"),
    *("mobile_phone", "phone_numbers", "street_address"),
)


def company(facts: Company, likelihood: int, *, titlecase: bool) -> Record:
    """Flat, with `status` and `likelihood` among the fields."""
    size = _size(facts.employees)
    record = {
        "status": 200,
        "id": facts.id,
        "name": _cased(facts.name, titlecase=titlecase),
        "display_name": facts.name,
        "size": size,
        "employee_count": facts.employees,
        "employee_count_by_country": {},
        "linkedin_follower_count": None,
        "founded": facts.founded,
        "inferred_revenue": _revenue(facts.revenue),
        "industry": _cased(facts.industry, titlecase=titlecase),
        "industry_v2": None,
        "naics": None,
        "sic": None,
        "location": _location(facts.place, titlecase=titlecase),
        "type": "private",
        "ticker": None,
        "mic_exchange": None,
        "summary": f"{facts.name} makes things that do not exist.",
        "headline": None,
        "tags": list(facts.tags),
        "total_funding_raised": facts.raised,
        "latest_funding_stage": None,
        "last_funding_date": None,
        "number_funding_rounds": None,
        "funding_stages": [],
    }
    return record | _links(facts) | {"dataset_version": "35.0", "likelihood": likelihood}


def _links(facts: Company) -> Record:
    return {
        "linkedin_id": "1",
        "linkedin_url": f"linkedin.com/company/{facts.handle}",
        "linkedin_slug": facts.handle,
        "facebook_url": f"facebook.com/{facts.handle}",
        "twitter_url": f"twitter.com/{facts.handle[:15]}",
        "profiles": [f"linkedin.com/company/{facts.handle}"],
        "affiliated_profiles": [],
        "website": facts.domain,
        "alternative_domains": [],
        "alternative_names": [],
    }


def person(facts: Person, *, titlecase: bool, is_free: bool) -> Record:
    """What stands under `data`."""
    place = facts.place
    record = {
        "id": facts.id,
        "full_name": _cased(f"{facts.first} {facts.last}", titlecase=titlecase),
        "first_name": _cased(facts.first, titlecase=titlecase),
        "middle_name": None,
        "last_name": _cased(facts.last, titlecase=titlecase),
        "sex": None,
        "birth_year": None,
        "linkedin_url": f"linkedin.com/in/{_handle(facts)}",
        "linkedin_username": _handle(facts),
        "twitter_url": None,
        "github_url": f"github.com/{_handle(facts)}",
        "work_email": facts.email,
        "personal_emails": [],
        "mobile_phone": None,
        "phone_numbers": [],
        "emails": [{"address": facts.email, "type": "current_professional"}],
        "street_address": [],
        "job_title": _cased(facts.title, titlecase=titlecase),
        "job_title_role": facts.role,
        "job_title_sub_role": None,
        "job_title_levels": [facts.level],
        "location_name": _cased(str(place), titlecase=titlecase) if place else None,
        "location_country": _cased(place.country, titlecase=titlecase) if place else None,
        "skills": [],
        "interests": [],
        "experience": [],
        "education": [],
    }
    record |= _job(facts.employer, titlecase=titlecase)
    return record | _masked(record) if is_free else record


def _job(employer: Company, *, titlecase: bool) -> Record:
    return {
        "job_company_id": employer.id,
        "job_company_name": _cased(employer.name, titlecase=titlecase),
        "job_company_website": employer.domain,
        "job_company_size": _size(employer.employees),
        "job_company_founded": employer.founded,
        "job_company_industry": _cased(employer.industry, titlecase=titlecase),
        "job_company_linkedin_url": f"linkedin.com/company/{employer.handle}",
        "job_start_date": "2021-04",
        "job_last_updated": "2026-05-01",
    }


def _masked(record: Record) -> Record:
    return {name: bool(record[name]) for name in _CONTACTS}


def _handle(facts: Person) -> str:
    return f"{facts.first}-{facts.last}".lower()


def _location(place: Place | None, *, titlecase: bool) -> Record | None:
    if place is None:
        return None
    values: dict[str, Any] = {
        "name": str(place),
        "locality": place.city,
        "region": place.state,
        "metro": None,
        "country": place.country,
        "continent": place.continent,
    }
    cased = {name: _cased(value, titlecase=titlecase) for name, value in values.items()}
    unknown = dict.fromkeys(("street_address", "address_line_2", "postal_code"))
    return {**cased, **unknown, "geo": place.geo}


def _cased(text: str | None, *, titlecase: bool) -> str | None:
    return text if titlecase or text is None else text.lower()


def _size(employees: int | None) -> str | None:
    if employees is None:
        return None
    return next((label for most, label in _SIZES if employees <= most), "10001+")


def _revenue(revenue: int | None) -> str | None:
    if revenue is None:
        return None
    return next((label for most, label in _REVENUES if revenue <= most * _MILLION), "$50M-$100M")
