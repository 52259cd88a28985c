"""Apollo's API v1: organization enrichment, people matching, and its test of a key.

A company costs a credit each time, even when nothing is known (the vendor does not say; this is the dearer
reading); a person only when there is one. Nothing found is a 200 in one of three shapes, in turn: no record,
null, and no body at all. Limits are stated in headers of the vendor's own naming; a window without a limit
sends an empty header. A refused key gets plain text and no such headers. A key that begins with "free" is on
the free plan, with limits by the hour and by the day; one that begins with "scoped" is good for no enrichment
route.
"""

from __future__ import annotations

import math
from functools import partial

from enricher.answer import Reply
from enricher.catalogue import PROVIDERS
from enricher.simulator import facts
from enricher.simulator.facts import Company, Person
from enricher.simulator.faults import Faults
from enricher.simulator.journal import Journal
from enricher.simulator.records import Record, encode
from enricher.simulator.vendor import (
    ADDRESS,
    DOMAIN,
    JSON_TYPE,
    Call,
    Route,
    Terms,
    Vendor,
    asked_by,
    bearer,
    wait_of,
)

# Apollo's spelling of a company and of a person: key sets and oddities are the vendor's.
#
# An unknown `primary_phone` is an empty object, other unknowns are null. An address may be locked. `contact`,
# the customer's own record, is a different person from the one found.

LOCKED = "email_not_unlocked@domain.com"
_LOCKED_EVERY = 5


def organization(facts: Company) -> Record:
    """Return the record under `organization`."""
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
    """Return the whole body: the person, and what the vendor adds beside it."""
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


COMPANY, PERSON = (PROVIDERS[name].route for name in ("apollo_company", "apollo_person"))
HEALTH = "auth/health"
CREDITS = "usage_stats/credit_usage_stats"
CREDITS_WITHOUT_QUOTA = 1_000_000
OK = 200
NOBODY = (b"", b"{}", b'{"person":null}')
_STUB = "unknown_record:stub"
"""Of a person alone."""
SHAPES = ("missing", "null", "nothing")
"""How the vendor says that it knows nothing."""
WINDOWS = (
    (60.0, "x-rate-limit-minute", "x-minute-usage", "x-minute-requests-left"),
    (3_600.0, "x-rate-limit-hourly", "x-hourly-usage", "x-hourly-requests-left"),
    (86_400.0, "x-rate-limit-24-hour", "x-24-hour-usage", "x-24-hour-requests-left"),
)


class Apollo(Vendor):
    """`/apollo/api/v1/organizations/enrich?domain=` (or `?name=`), POST `/apollo/api/v1/people/match?email=`."""

    name = "apollo"
    charges_again = True

    def __init__(self, terms: Terms, journal: Journal, faults: Faults) -> None:
        super().__init__(terms, journal, faults)
        self.routes = {
            **asked_by(
                "apollo_company", self._company, "domain", instead="name", spares=frozenset({_STUB})
            ),
            **asked_by("apollo_person", self._person, "email", "POST"),
            f"/v1/{HEALTH}": Route(HEALTH, self._health),
            f"/api/v1/{CREDITS}": Route(CREDITS, self._credits, methods=("POST",)),
        }
        self.answers = {
            "throttled": _throttled,
            "quota_spent": _quota_spent,
            "unauthorized": _unauthorized,
            "forbidden": _forbidden,
            "unknown_record": self._nothing,
            **{f"unknown_record:{shape}": partial(_nothing, shape) for shape in SHAPES},
            _STUB: _stub,
            "unknown_route": self.unknown_route,
            "wrong_params": _wrong_params,
        }
        self._misses = 0

    def unknown_route(self, call: Call) -> Reply:  # noqa: ARG002 - nothing of it is looked at
        return Reply(404, {"Content-Type": "text/html"}, b"<html><body>Not Found</body></html>")

    def scope_of(self, call: Call, route: Route) -> str:
        return (
            f"{route.scope}/free" if route.scope and _key(call).startswith("free") else route.scope
        )

    def refuse_key(self, call: Call) -> Reply | None:
        call.entry.key = self.key_state(_key(call))
        if call.entry.route == HEALTH:
            return None  # its body says whether the key is good
        if call.entry.key != "ok":
            return _unauthorized(call)
        return _forbidden(call) if _key(call).startswith("scoped") else None

    def refuse_parameters(self, call: Call) -> Reply | None:
        pattern = {COMPANY: DOMAIN, PERSON: ADDRESS}.get(call.entry.route)
        if call.entry.route == COMPANY and _is_by_name(call) and call.entry.question:
            return None
        if pattern is None or pattern.fullmatch(call.entry.question):
            return None
        return _wrong_params(call)

    def is_billable(self, call: Call, reply: Reply) -> bool:
        if reply.status != OK or call.entry.route not in (COMPANY, PERSON):
            return False
        is_stub = b'"match_confidence":"none"' in reply.body
        return call.entry.route == COMPANY or not (is_stub or reply.body in NOBODY)

    def _company(self, call: Call) -> Reply:
        asked, seed = call.entry.question, self.terms.seed
        is_by_name = _is_by_name(call)
        found = facts.named(self.name, asked) if is_by_name else None
        if is_by_name and found is None:
            return self._nothing(call)
        known = facts.company_named(seed, found) if found else facts.company(seed, asked)
        return _say(call, 200, {"organization": organization(known)})

    def _person(self, call: Call) -> Reply:
        known = facts.person(self.terms.seed, call.entry.question)
        return _say(call, 200, match(known))

    def _nothing(self, call: Call) -> Reply:
        """Use the shapes in turn, in the order of this run's misses."""
        self._misses += 1
        return _nothing(SHAPES[(self._misses - 1) % len(SHAPES)], call)

    def _credits(self, call: Call) -> Reply:
        quota = self.terms.quotas.get(self.name, CREDITS_WITHOUT_QUOTA)
        used = self.journal.billing[self.name].spent
        stats = {"limit": quota, "consumed": used, "left_over": max(0, quota - used)}
        return _say(call, 200, {"credit_usage_stats": {"lead_credit": stats}})

    def _health(self, call: Call) -> Reply:
        return _say(call, 200, {"healthy": True, "is_logged_in": call.entry.key == "ok"})


def _stub(call: Call) -> Reply:
    """Return what a person whom the vendor does not know may look like. It is free."""
    employer = facts.company(0, call.entry.question.rpartition("@")[2])
    person = {"id": "5f00", "name": "", "match_confidence": "none", "city": "Austin"}
    return _say(call, 200, {"person": {**person, **organization(employer)}})


def _is_by_name(call: Call) -> bool:
    return not call.request.query.get("domain")


def _key(call: Call) -> str:
    return call.request.headers.get("x-api-key") or bearer(call.request) or ""


def _nothing(shape: str, call: Call) -> Reply:
    key = "organization" if call.entry.route == COMPANY else "person"
    bodies: dict[str, Record | None] = {"missing": {}, "null": {key: None}, "nothing": None}
    return _say(call, 200, bodies[shape])


def _wrong_params(call: Call) -> Reply:
    name = "domain" if call.entry.route == COMPANY else "email"
    return _say(call, 422, {"error": f"Required parameter '{name}' missing"})


def _unauthorized(_call: Call) -> Reply:
    text = b"Invalid API key. See https://docs.apollo.io/ for help."
    return Reply(401, {"Content-Type": "text/plain; charset=utf-8"}, text)


def _forbidden(call: Call) -> Reply:
    sentence = f"This API key is not authorized to access api/v1/{call.entry.route}."
    body = encode({"error": sentence, "error_code": "API_INACCESSIBLE"})
    return Reply(403, {"Content-Type": JSON_TYPE}, body)


def _quota_spent(call: Call) -> Reply:
    return _say(call, 422, {"error": "Insufficient credits. Please upgrade your plan."})


def _throttled(call: Call) -> Reply:
    refused = _say(
        call,
        429,
        {
            "message": f"The maximum number of api calls allowed for api/v1/{call.entry.route} is reached."
        },
    )
    retry_after = str(max(1, math.ceil(wait_of(call))))
    return Reply(429, {**refused.headers, "retry-after": retry_after}, refused.body)


def _say(call: Call, status: int, body: Record | None) -> Reply:
    raw = b"" if body is None else encode(body)
    return Reply(status, {"Content-Type": JSON_TYPE, **_hints(call)}, raw)


def _hints(call: Call) -> dict[str, str]:
    """Return three headers for a window with a limit; an empty one for a window without."""
    left = {
        window.seconds: (window.calls, rest)
        for window, rest in (call.verdict.left if call.verdict else ())
    }
    headers: dict[str, str] = {}
    for seconds, limit, usage, remaining in WINDOWS:
        if seconds not in left:
            headers[limit] = ""
            continue
        calls, rest = left[seconds]
        headers |= {limit: str(calls), usage: str(calls - rest), remaining: str(rest)}
    return headers
