"""Apollo: a company by its domain (`organizations/enrich`), a person by an address (`people/match`).

What surprises:

- Nothing found is a 200: an empty body, `{}`, or null (or `{}`) for the record. For a person it may be a record
  as well, whose `match_confidence` is "none".
- A company costs one credit. The vendor does not say what an unknown one costs, so it counts as
  charged and no budget can be overshot. A person costs one credit if there is a record, else nothing.
- A person is looked up with a POST that has its parameters in the URL. Personal addresses and
  telephone numbers (8 credits) are never requested.
- 401 is plain text. 403 `API_INACCESSIBLE`: the key is good but not for this route. Neither has
  headers about limits. 422 is a malformed question, or "Insufficient credits".
- `contact` and `account` are the customer's own CRM records at Apollo. In the vendor's own example
  the contact is not the person that was found. They are never read.
- A locked address reads `email_not_unlocked@domain.com` and is nobody's.
- Limits are per team and route, in three windows. A free plan has 50 a minute, 200 an hour and 600 a
  day: the default. Paid plans have no limit by the hour or day, so an `APOLLO_RATE_LIMIT` above 50
  replaces all three; if an older plan still has such a limit, the headers say so when it is used up.
  The header of a window without a limit is empty.
Codes and shapes: Apollo's API reference and its OpenAPI document.
"""

from __future__ import annotations

import string

from enricher.answer import (
    Answer,
    Found,
    Held,
    Kind,
    NotFound,
    Query,
    Reply,
    Throttled,
    Unavailable,
)
from enricher.catalogue import APOLLO_FINDER, PROVIDERS, VENDORS, Window
from enricher.providers import finding, reading, transport
from enricher.providers.base import Access, Request
from enricher.providers.http import (
    REFUSED_KEY,
    REFUSED_QUESTION,
    USED_UP,
    HttpProvider,
    complaint,
    message_of,
)
from enricher.providers.reading import Sends, within
from enricher.providers.transport import Client
from enricher.values.types import country_code_of

REFUSED_SCOPE = "the key may not use this route"
FREE_PER_MINUTE = VENDORS["apollo"].per_minute
SHORTEST_WINDOW_SECONDS = 60.0
"""Wait after a 429 that names no delay."""

LEFT = {"x-minute-requests-left": "minute", "x-hourly-requests-left": "hour"}
"""Without the day's: that window begins with the first call, not the last, so waiting a whole day would waste
much of the next. The refusal says until when, and costs nothing."""

_HEALTH_ROUTE = "/v1/auth/health"
_OK = 200
_CREDITS_ROUTE = "/api/v1/usage_stats/credit_usage_stats"
_LEFT_OVER = ("credit_usage_stats", "lead_credit", "left_over")
_LOCKED = "email_not_unlocked@"
_NO_MATCH = "none"
_NO_CREDITS = "insufficient credits"
_REFUSED_KEY_TEXT = b"invalid api key"
_TEXTS = {
    "apollo_id": ("id",),
    "name": ("name",),
    "location": ("raw_address",),
    "city": ("city",),
    "state": ("state",),
    "country": ("country",),
    "ticker": ("publicly_traded_symbol",),
    "logo_url": ("logo_url",),
    **{
        f"{each}_handle": (f"{each}_url",)
        for each in ("linkedin", "twitter", "facebook", "crunchbase")
    },
}
_COUNTS = {
    "employee_count": "estimated_num_employees",
    "annual_revenue": "annual_revenue",
    "raised": "total_funding",
    "alexa_rank": "alexa_ranking",
}
_PERSON_TEXTS = {
    "apollo_id": ("id",),
    "full_name": ("name",),
    "first_name": ("first_name",),
    "last_name": ("last_name",),
    "job_title": ("title",),
    "seniority": ("seniority",),
    "bio": ("headline",),
    "avatar_url": ("photo_url",),
    **{f"{each}_handle": (f"{each}_url",) for each in ("linkedin", "twitter", "github")},
}


_COMPANY_SENDS: Sends = within(
    "organization",
    {
        **dict.fromkeys(("name", "website_url", "primary_domain", "linkedin_url", "industry"), str),
        **dict.fromkeys(("short_description", "city", "country"), str),
        "estimated_num_employees": int,
        "founded_year": int,
        "keywords": list,
    },
)
_PERSON_SENDS: Sends = within(
    "person",
    {
        **dict.fromkeys(("name", "first_name", "last_name", "title", "email", "linkedin_url"), str),
        "seniority": str,
        "organization": dict,
    },
)


class _Apollo(HttpProvider):
    """What both routes have in common."""

    left = LEFT

    def __init__(self, http: Client, access: Access, per_minute: int | None = None) -> None:
        super().__init__(http, access, per_minute)
        if per_minute is not None and per_minute > FREE_PER_MINUTE:
            self.windows = (Window(per_minute, 60),)

    def is_own(self, reply: Reply) -> bool:
        return _is_own(reply)

    def headers(self) -> dict[str, str]:
        return {"x-api-key": self._access.key.get_secret_value()}

    async def quota_left(self) -> float | None:
        """Read it from the vendor's own count, which is free; `None` for a key without that scope."""
        reply = await self._fetch(Request(_CREDITS_ROUTE, {}, "POST"))
        if isinstance(reply, Unavailable) or reply.status != _OK:
            return None
        return reading.number(reading.parse_object(reply.body), *_LEFT_OVER)

    async def probe(self) -> str | None:
        """Ask the vendor's own test of a key, which is free. Even a wrong key may get a 200 there."""
        reply = await self._fetch(Request(_HEALTH_ROUTE, {}))
        if isinstance(reply, Unavailable):
            return reply.reason
        match reply.status:
            case 200:
                is_good = reading.flag(reading.parse_object(reply.body), "is_logged_in")
                words = {True: None, False: REFUSED_KEY, None: "the body is not a health report"}
                return words[is_good]
            case 403 if _is_scope(reply):
                return None  # a key for enrichment alone need not be good for this route
        return complaint(reply, self._judge(reply))


class ApolloCompany(_Apollo, listing=PROVIDERS["apollo_company"]):
    """`api.apollo.io/api/v1/organizations/enrich`."""

    sends = _COMPANY_SENDS

    def unfit(self, query: Query) -> str | None:
        return None if query.company_domain else query.no_company_domain

    def request(self, query: Query) -> Request:
        return Request(self.path, {"domain": query.company_domain or ""})

    def interpret(self, reply: Reply) -> Answer:
        if reply.status != _OK:
            return _refusal(reply)
        record = _record(reply, "organization")
        if not isinstance(record, dict):
            return record
        return reading.found(Kind.COMPANY, _company_values(record))


class ApolloFinder(ApolloCompany, listing=APOLLO_FINDER):
    """The same route by a company's name, for leads without a domain."""

    finds_domain = True
    same_record = "apollo_company"

    def unfit(self, query: Query) -> str | None:
        return finding.unfit(query)

    def request(self, query: Query) -> Request:
        profile = finding.profile_of(query)
        linked = {"linkedin_url": f"https://www.{profile}"} if profile else {}
        return Request(self.path, {"name": query.sought or "", **linked})

    def question(self, query: Query) -> str | None:
        return finding.question_of(self.path, query)

    def vetted(self, found: Found, reply: Reply, query: Query) -> Answer:
        name = reading.text(reading.parse_object(reply.body), "organization", "name")
        return finding.agreed(found, query, name)


class ApolloPerson(_Apollo, listing=PROVIDERS["apollo_person"]):
    """`api.apollo.io/api/v1/people/match`."""

    sends = _PERSON_SENDS

    def is_charged(self, reply: Reply) -> bool:
        """A body that cannot be read may hold a record, so it counts as charged."""
        return super().is_charged(reply) and not isinstance(_record(reply, "person"), NotFound)

    def unfit(self, query: Query) -> str | None:
        return reading.unfit_for_person(query)

    def request(self, query: Query) -> Request:
        return Request(self.path, {"email": query.email or ""}, "POST")

    def interpret(self, reply: Reply) -> Answer:
        if reply.status != _OK:
            return _refusal(reply)
        record = _record(reply, "person")
        if not isinstance(record, dict):
            return record
        sites = (reading.text(record, "organization", key) for key in _SITES)
        return reading.found(Kind.PERSON, _person_values(record), sites)

    def vetted(self, found: Found, reply: Reply, query: Query) -> Answer:
        address = reading.text(reading.parse_object(reply.body), "person", "email") or ""
        return reading.vetted(
            found, query, () if address.lower().startswith(_LOCKED) else [address]
        )


_SITES = ("primary_domain", "website_url")


def _record(reply: Reply, key: str) -> dict[str, object] | NotFound | Unavailable:
    """Return the record under `key`; `NotFound` when the vendor says so in one of its ways."""
    if reply.body.strip() in (b"", b"null", b"{}"):
        return NotFound()
    body = reading.parse_object(reply.body)
    if body is None or key not in body:
        return Unavailable(f"the body holds no {key}")
    record = body[key]
    if record is None or record == {} or _is_stub(record):
        return NotFound()
    return record if isinstance(record, dict) else Unavailable(f"the body holds no {key}")


def _is_stub(record: object) -> bool:
    """Tell a person whom nobody knows: a place-holder, beside the organization of the address's domain."""
    return bool(reading.at(record, "match_confidence") == _NO_MATCH)


def _company_values(record: reading.Record) -> dict[str, object]:
    return {
        **reading.written(record, _TEXTS),
        **{name: reading.whole_number(record, key, least=1) for name, key in _COUNTS.items()},
        "domain": next((host for key in _SITES if (host := reading.domain(record, key))), None),
        "description": reading.prose(record, "short_description")
        or reading.prose(record, "seo_description"),
        "founded_year": reading.whole_number(record, "founded_year", least=500, most=2100),
        "industry": _capitalised(reading.text(record, "industry")),
        "country_code": country_code_of(reading.text(record, "country") or ""),
        "phone": reading.text(record, "primary_phone", "sanitized_number")
        or reading.text(record, "sanitized_phone"),
        "tags": record.get("keywords"),
        "tech_stack": record.get("technology_names"),
    }


def _person_values(record: reading.Record) -> dict[str, object]:
    places = (reading.text(record, key) for key in ("city", "state", "country"))
    functions = reading.texts(record, "functions") or reading.texts(record, "departments")
    return {
        **reading.written(record, _PERSON_TEXTS),
        "role": functions[0] if functions else None,
        "location": ", ".join(place for place in places if place) or None,
    }


def _capitalised(text: str | None) -> str | None:
    """Write "computer software" as "Computer Software", like the other vendors."""
    return string.capwords(text) if text and text.islower() else text


def _refusal(reply: Reply) -> Answer:
    match reply.status:
        case 401:
            return Held(REFUSED_KEY)
        case 402:
            return Held(USED_UP)
        case 403 if _is_scope(reply):
            return Held(REFUSED_SCOPE)
        case 400:
            return _refused(reply)
        case 422:
            return Held(USED_UP) if _NO_CREDITS in _said(reply) else _refused(reply)
        case 429:
            return _throttled(reply)
    return Unavailable(str(reply.status))


def _is_own(reply: Reply) -> bool:
    """Recognise the vendor's form: a 401 is plain text; JSON has `error` or `error_code`. A gateway's own refusal
    has a `message`."""
    body = reading.parse_object(reply.body)
    if body is None:
        return reply.body.strip().lower().startswith(_REFUSED_KEY_TEXT)
    is_told = reading.text(body, "error_code") or reading.text(body, "error")
    return is_told is not None or _NO_CREDITS in _said(reply)


def _is_scope(reply: Reply) -> bool:
    """Go by the vendor's own word: any proxy can send a 403."""
    return reading.text(reading.parse_object(reply.body), "error_code") == "API_INACCESSIBLE"


def _said(reply: Reply) -> str:
    return message_of(reply, "error", "message")


def _refused(reply: Reply) -> Answer:
    return NotFound(REFUSED_QUESTION) if _is_own(reply) else Unavailable(str(reply.status))


def _throttled(reply: Reply) -> Throttled:
    now = transport.answered_at(reply.headers)
    asked = transport.retry_after(reply.headers, now) or transport.spent(reply.headers, now, LEFT)
    return Throttled(asked or SHORTEST_WINDOW_SECONDS)
