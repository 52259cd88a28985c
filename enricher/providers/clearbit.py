"""Clearbit: a company by its domain (`companies/find`), for the legacy keys that still work.

The API is closed to accounts made after 2023; hosts and schema are those of the dated version
below. What surprises:

- Every 200, 202 and 404 is charged (once per domain and billing period): a miss costs as much as
  a hit, so it is remembered as long. Other 4xx are free.
- 404 comes in two kinds. `unknown_record` is an answer. `unknown_route` means that the address is
  wrong: it is sent before the key is even looked at, and says nothing about the company.
- 202 is an unfinished look-up, with an empty body or `{"error": {"type": "queued"}}`.
- 429 has no Retry-After; `X-RateLimit-Reset` holds epoch seconds (formerly relative ones).
- A record's domain may differ from the one asked: Clearbit follows aliases and redirects. The
  record is then still the company's, under the domain Clearbit gives it.
- Logos point to logo.clearbit.com, which was shut down in December 2025: such a link is dead.

Codes and shapes: Clearbit's API reference, help centre, and official clients.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace
from typing import Any, ClassVar

from enricher.answer import (
    Answer,
    Held,
    Kind,
    NotFound,
    Query,
    Reply,
    Throttled,
    Unavailable,
)
from enricher.catalogue import PROVIDERS
from enricher.providers import reading, transport
from enricher.providers.base import Access, Request
from enricher.providers.http import (
    REFUSED_KEY,
    REFUSED_QUESTION,
    USED_UP,
    HttpProvider,
    complaint,
    preparing,
)
from enricher.providers.reading import RECORD_KEYS, SENDS, Sends, of_record, unfit_for_person
from enricher.providers.transport import Client

API_VERSION = "2019-12-19"
"""Clearbit's last dated version. Without it, the account's own pinned version would decide the shape."""

_NOT_FOUND = 404
_REFUSED_QUESTION = (400, 422)

_TEXTS = {
    "clearbit_id": ("id",),
    "name": ("name",),
    "domain": ("domain",),
    "location": ("location",),
    "timezone": ("timeZone",),
    "sector": ("category", "sector"),
    "industry_group": ("category", "industryGroup"),
    "industry": ("category", "industry"),
    "sub_industry": ("category", "subIndustry"),
    "city": ("geo", "city"),
    "state": ("geo", "state"),
    "country": ("geo", "country"),
    "country_code": ("geo", "countryCode"),
    "phone": ("phone",),
    "company_type": ("type",),
    "ticker": ("ticker",),
    "linkedin_handle": ("linkedin", "handle"),
    "twitter_handle": ("twitter", "handle"),
    "facebook_handle": ("facebook", "handle"),
    "crunchbase_handle": ("crunchbase", "handle"),
    "estimated_annual_revenue": ("metrics", "estimatedAnnualRevenue"),
    "description": ("description",),
    "logo_url": ("logo",),
}
_COUNTS = {
    "twitter_followers": ("twitter", "followers"),
    "annual_revenue": ("metrics", "annualRevenue"),
    "alexa_rank": ("metrics", "alexaGlobalRank"),
}
"""Zero in one of these means that the vendor does not know."""

COMPANY_SENDS: Sends = {
    **dict.fromkeys(("name", "domain", "description", "location", "timeZone", "logo"), str),
    **dict.fromkeys(
        ("category.industry", "category.sector", "geo.country", "linkedin.handle"), str
    ),
    "foundedYear": int,
    "tags": list,
    "tech": list,
}


def company_values(record: reading.Record) -> dict[str, object]:
    """PURE Pick `company_data` from a record in Clearbit's shape, which other vendors have copied."""
    return {
        **reading.written(record, _TEXTS),
        **{name: reading.whole_number(record, *path, least=1) for name, path in _COUNTS.items()},
        "founded_year": reading.whole_number(record, "foundedYear", least=500, most=2100),
        "tags": record.get("tags"),
        "tech_stack": record.get("tech"),
        **_size(record),
    }


def _size(record: reading.Record) -> dict[str, object]:
    """Read headcount and funding; older records carry them beside `metrics` instead of inside."""
    metrics = reading.at(record, "metrics")
    return {
        "employee_count": _count("employees", metrics, record),
        "employee_range": reading.text(metrics, "employeesRange")
        or reading.text(record, "employeesRange"),
        "raised": _count("raised", metrics, record),
    }


def _count(key: str, *places: Any) -> int | None:
    for place in places:
        if (count := reading.whole_number(place, key, least=1)) is not None:
            return count
    return None


class ClearbitRoute(HttpProvider):
    """A route of the API. All routes bill and refuse alike, and each host has its own limit."""

    @abstractmethod
    def read(self, reply: Reply) -> Answer:
        """PURE Return what a 200 says."""

    def is_charged(self, reply: Reply) -> bool:
        return super().is_charged(reply) and not (
            reply.status == _NOT_FOUND and isinstance(_missing(reply), Unavailable)
        )

    def is_own(self, reply: Reply) -> bool:
        return _error_type(reply) is not None

    def headers(self) -> dict[str, str]:
        return {**super().headers(), "API-Version": API_VERSION}

    def interpret(self, reply: Reply) -> Answer:
        match reply.status:
            case 200:
                return self.read(reply)
            case 202:
                return preparing(reply)
            case status if status in _REFUSED_QUESTION and self.is_own(reply):
                return NotFound(REFUSED_QUESTION)
            case 401:
                return Held(REFUSED_KEY)
            case 402:
                return Held(USED_UP)
            case 404:
                return _missing(reply)
            case 429:
                return _throttled(reply)
        return Unavailable(str(reply.status))

    async def probe(self) -> str | None:
        """Ask for nothing at all: a good key gets a 4xx, and those are free."""
        reply = await self._fetch(Request(self.path, {}))
        if isinstance(reply, Unavailable):
            return reply.reason
        is_accepted = reply.status in _REFUSED_QUESTION
        return None if is_accepted else complaint(reply, self._judge(reply))


class ClearbitCompany(ClearbitRoute, listing=PROVIDERS["clearbit"]):
    """`company.clearbit.com/v2/companies/find`."""

    sends: ClassVar = {**COMPANY_SENDS, "metrics.employees": int, "metrics.employeesRange": str}

    def unfit(self, query: Query) -> str | None:
        return None if query.company_domain else query.no_company_domain

    def request(self, query: Query) -> Request:
        return Request(self.path, {"domain": query.company_domain or ""})

    def read(self, reply: Reply) -> Answer:
        record = reading.parse_object(reply.body)
        if record is None or not record.keys() & {"id", "name", "domain"}:
            return Unavailable("the body is not a company record")
        return reading.found(Kind.COMPANY, company_values(record))


def _missing(reply: Reply) -> Answer:
    """Trust only the vendor's own word that a company is unknown; any proxy can send a 404."""
    is_unknown = _error_type(reply) == "unknown_record"
    return NotFound() if is_unknown else Unavailable("unknown route (404)")


def _error_type(reply: Reply) -> str | None:
    return reading.text(reading.parse_object(reply.body), "error", "type")


def _throttled(reply: Reply) -> Throttled:
    now = transport.answered_at(reply.headers)
    delay = transport.retry_after(reply.headers, now) or transport.reset_after(reply.headers, now)
    return Throttled(delay)


# Clearbit: a person by their address (`person.clearbit.com/v2/people/find`), for legacy keys.
#
# It bills and refuses like the company's route, so a person it does not know costs as much as one it
# knows. Therefore it is asked last of its kind, and only if the operator has taken it off
# ENRICHER_PROVIDERS_OFF.
#
# `combined/find`, which returns person and company at once, is not used, although one charge for both
# sounds cheaper. It answers for an address, while a company is kept by its domain: 500 leads of one company
# would pay for the company 500 times, where `companies/find` is paid for once. And kinds are asked
# concurrently, so the company would have to wait for the person; where an address may not be asked about
# (info@, or none at all) the company's own route would be needed anyway.


class ClearbitPerson(ClearbitRoute, listing=PROVIDERS["clearbit_person"]):
    """`person.clearbit.com/v2/people/find`."""

    sends = SENDS

    def __init__(self, http: Client, access: Access, per_minute: int | None = None) -> None:
        """Use the host for persons, unless the operator names another."""
        if access.base_url.rstrip("/") == ClearbitCompany.host:
            access = replace(access, base_url=self.host)
        super().__init__(http, access, per_minute)

    def unfit(self, query: Query) -> str | None:
        return unfit_for_person(query)

    def request(self, query: Query) -> Request:
        return Request(self.path, {"email": query.email or ""})

    def read(self, reply: Reply) -> Answer:
        record = reading.parse_object(reply.body)
        if record is None or not record.keys() & RECORD_KEYS:
            return Unavailable("the body is not a person record")
        return of_record(record)
