"""People Data Labs' API v5: company and person enrichment.

A 200 costs a credit each time, everything else is free. Every answer to a good key states limits and credits
in headers: a JSON object of windows, the same again as a header for each window, and the reset as an ISO time;
never a Retry-After. A key that begins with "free" is on the free plan: lower limits, and `true` or `false` in
place of contacts.

Every match has a likelihood, a poor one for one in eight; `min_likelihood` (2 by default) turns a poorer match
into a 404. The company route takes no method but GET; a HEAD on the person route returns the headers.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from enricher.answer import Reply
from enricher.catalogue import PROVIDERS
from enricher.simulator import facts
from enricher.simulator.facts import Company, Person, Place
from enricher.simulator.faults import Faults
from enricher.simulator.journal import Journal
from enricher.simulator.records import Record, encode
from enricher.simulator.vendor import (
    ADDRESS,
    DOMAIN,
    JSON_TYPE,
    Answer,
    Call,
    Route,
    Terms,
    Vendor,
    asked_by,
    wait_of,
)

# People Data Labs' spelling of a company and of a person: key sets and oddities are the vendor's.
#
# Text is in lower case unless `titlecase` is requested. On a free plan, `true` or `false` says whether there
# would be a value for a contact.

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
    """Return a company: flat, with `status` and `likelihood` among the fields."""
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
    """Return the person under `data`."""
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


COMPANY, PERSON = (PROVIDERS[name].route for name in ("pdl_company", "pdl_person"))
OK = 200
MINUTE = 60
DEFAULT_LIKELIHOOD = 2
CREDITS_WITHOUT_QUOTA = 1_000_000


class PeopleDataLabs(Vendor):
    """`/pdl/v5/company/enrich?website=` (or `?name=`) and `/pdl/v5/person/enrich?email=`."""

    name = "pdl"
    charges_again = True

    def __init__(self, terms: Terms, journal: Journal, faults: Faults) -> None:
        super().__init__(terms, journal, faults)
        self.routes = {
            **asked_by("pdl_company", self._company, "website", instead="name"),
            **asked_by("pdl_person", self._person, "email", "GET", "HEAD", "POST"),
        }
        self.answers = {
            "throttled": self._error(429, "rate_limit_error", "Too many requests."),
            "quota_spent": self._error(402, "payment_required", "You have used all matches."),
            "unauthorized": self._error(401, "authentication_error", "Invalid API key."),
            "unknown_record": self._error(404, "not_found", "No records were found."),
            "unknown_route": _no_page,
            "wrong_params": self._wrong_params,
            "wrong_method": _wrong_method,
            "api_error": self._error(500, "api_error", "Internal server error."),
        }

    def unknown_route(self, call: Call) -> Reply:
        """Answer before the key is looked at. A wrong method gets a 405 instead."""
        route = self.routes.get(call.request.path.removeprefix(f"/{self.name}"))
        if route is not None and call.request.method not in route.methods:
            return _wrong_method(call)
        return _no_page(call)

    def scope_of(self, call: Call, route: Route) -> str:
        return f"{route.scope}/free" if _is_free(call) else route.scope

    def refuse_key(self, call: Call) -> Reply | None:
        call.entry.key = self.key_state(_key(call))
        if call.entry.key == "ok":
            return None
        return _error_reply(401, "authentication_error", "Invalid API key.", {})

    def refuse_parameters(self, call: Call) -> Reply | None:
        is_company = call.entry.route == COMPANY
        if is_company and _is_by_name(call) and call.entry.question:
            return None
        if (DOMAIN if is_company else ADDRESS).fullmatch(call.entry.question):
            return None
        return self._wrong_params(call)

    def _wrong_params(self, call: Call) -> Reply:
        what = "a website" if call.entry.route == COMPANY else "an email"
        return self._error(400, "invalid_request_error", f"Request must contain {what}.")(call)

    def is_billable(self, call: Call, reply: Reply) -> bool:
        return reply.status == OK and call.request.method != "HEAD"

    def _company(self, call: Call) -> Reply:
        asked, seed = call.entry.question, self.terms.seed
        likelihood = facts.likelihood(seed, asked)
        found = facts.named(self.name, asked) if _is_by_name(call) else None
        if found:
            likelihood = facts.likelihood_by_name(asked)
        if likelihood < _least(call):
            return self.answers["unknown_record"](call)
        known = facts.company_named(seed, found) if found else facts.company(seed, asked)
        record = company(known, likelihood, titlecase=_titlecase(call))
        return self._found_if_required(call, record, record)

    def _person(self, call: Call) -> Reply:
        known = facts.person(self.terms.seed, call.entry.question)
        if known.likelihood < _least(call):
            return self.answers["unknown_record"](call)
        data = person(known, titlecase=_titlecase(call), is_free=_is_free(call))
        body = {"status": 200, "likelihood": known.likelihood, "data": data}
        if call.request.query.get("include_if_matched") == "true":
            body["matched"] = ["email"] if known.email == call.entry.question else ["name"]
        return self._found_if_required(call, data, body)

    def _found_if_required(self, call: Call, record: Record, body: Record) -> Reply:
        if _has_required(call, record):
            return self._found(call, body)
        return self.answers["unknown_record"](call)

    def _found(self, call: Call, body: Record) -> Reply:
        return Reply(200, {"Content-Type": JSON_TYPE, **self._headers(call, 1)}, encode(body))

    def _error(self, status: int, kind: str, message: str) -> Answer:
        return lambda call: _error_reply(status, kind, message, self._headers(call, 0))

    def _headers(self, call: Call, cost: int) -> dict[str, str]:
        used = self.journal.billing[self.name].charged + cost
        left = self.terms.quotas.get(self.name, CREDITS_WITHOUT_QUOTA) - used
        return _hints(call) | {
            "x-call-credits-spent": str(cost),
            "x-call-credits-type": "enrich_company" if call.entry.route == COMPANY else "enrich",
            "x-totallimit-remaining": str(max(0, left)),
            "x-totallimit-purchased-remaining": str(max(0, left)),
            "x-totallimit-overages-remaining": "0",
            "x-lifetime-used": str(used),
        }


def _hints(call: Call) -> dict[str, str]:
    """Return the minute's window; the others have no limit. The reset is rounded up to a second."""
    throttled = call.injection is not None and call.injection.fault.kind == "throttled"
    minutes = call.verdict.left if call.verdict else ()
    limit, left = next(
        ((w.calls, left) for w, left in minutes if w.seconds == MINUTE), (None, None)
    )
    if limit is None and not throttled:
        return {}
    left = 0 if throttled else left
    unlimited = {"day": None, "month": None}
    reset = datetime.now(UTC) + timedelta(seconds=wait_of(call) + 1)
    return {
        "x-ratelimit-limit": json.dumps({"minute": limit, **unlimited}),
        "x-ratelimit-remaining": json.dumps({"minute": left, **unlimited}),
        "x-ratelimit-remaining.minute": str(left),
        "x-ratelimit-reset": reset.replace(microsecond=0).isoformat().replace("+00:00", "Z"),
    }


def _error_reply(status: int, kind: str, message: str, headers: dict[str, str]) -> Reply:
    body = {"status": status, "error": {"type": kind, "message": message}}
    return Reply(status, {"Content-Type": JSON_TYPE, **headers}, encode(body))


def _wrong_method(_call: Call) -> Reply:
    return _error_reply(405, "invalid_request_error", "Method not allowed.", {})


def _no_page(_call: Call) -> Reply:
    return Reply(404, {"Content-Type": "text/plain"}, b"404 page not found")


def _is_by_name(call: Call) -> bool:
    return not call.request.query.get("website")


def _least(call: Call) -> int:
    told = call.request.query.get("min_likelihood", "")
    return int(told) if told.isdecimal() else DEFAULT_LIKELIHOOD


def _has_required(call: Call, record: Record) -> bool:
    """Evaluate `required`: OR over AND over keys; brackets are not simulated."""
    told = call.request.query.get("required", "")
    either = [one.split(" AND ") for one in told.split(" OR ")] if told else [[]]
    return any(all(_is_there(record, key) for key in keys) for keys in either)


def _is_there(record: Record, key: str) -> bool:
    return record.get(key.strip()) not in (None, "", [], {})


def _titlecase(call: Call) -> bool:
    return call.request.query.get("titlecase") == "true"


def _is_free(call: Call) -> bool:
    return _key(call).startswith("free")


def _key(call: Call) -> str:
    return call.request.query.get("api_key") or call.request.headers.get("X-Api-Key") or ""
