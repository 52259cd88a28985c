"""People Data Labs: a company by its web site, a person by an address (`/v5/.../enrich`).

What surprises:

- Only a 200 is charged, each time anew: repeats cost again, a miss (404) costs nothing.
- A match is a guess with a `likelihood` of 1 to 10, and by default poor guesses are returned, and
  charged, too. So we send the lowest likelihood that we would write; below it the vendor answers 404.
- A match with none of the fields still missing would be charged all the same. So `required` names those
  fields, joined by OR, and the vendor answers 404, which then does not mean that it knows nobody.
- On free plans `true` or `false` stands in for a value that would cost money.
- Text is in lower case unless `titlecase` is requested.
- A company is flat, with `status` and `likelihood` among its fields; a person is under `data`.
  `location` may be null, and so may anything within it.
- Limits are per route, by plan: 10 companies and 100 persons a minute on a free plan, 1,000 each on
  a paid one. Ten is the default for both: a smaller plan than we assume gets refusals, a larger one
  is declared with `PDL_RATE_LIMIT`.
- 429 has no Retry-After but an `x-ratelimit-reset` as an ISO time; `x-ratelimit-remaining` holds
  a JSON object of windows. Windows are fixed, of a minute.
- There is no 451: a person who objected becomes a 404. What was delivered before must be deleted by its
  id (`pdl_id`), from the vendor's list of subject requests.

Codes and shapes: PDL's API reference, its OpenAPI document and its published client.
"""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

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
from enricher.catalogue import PDL_FINDER, PROVIDERS
from enricher.providers import finding, reading, transport
from enricher.providers.base import Request, Tried
from enricher.providers.http import (
    REFUSED_KEY,
    REFUSED_QUESTION,
    USED_UP,
    HttpProvider,
    complaint,
)
from enricher.providers.reading import Sends, within
from enricher.values.types import country_code_of

MIN_LIKELIHOOD = 6
"""The vendor's recommended default. 2 means a chance of 10 to 30 % that the match is right."""
MIN_LIKELIHOOD_BY_NAME = 8
"""The vendor advises 6 for a name with a country. We know no country."""
UNCERTAIN = "the match is too uncertain"

WINDOW_SECONDS = 60.0
"""Longest duration of a refusal."""

_OK = 200
_HOW = {"min_likelihood": str(MIN_LIKELIHOOD), "titlecase": "true"}
_COMPANY_TYPES = frozenset({"educational", "government", "nonprofit", "private", "public"})
_SIZE = re.compile(r"\d{1,6}-\d{1,6}|\d{1,6}\+", re.ASCII)
_AMOUNT = r"\$\d{1,3}(?:\.\d{1,2})?[KMBT]?"
_REVENUE = re.compile(rf"{_AMOUNT}-{_AMOUNT}|{_AMOUNT}\+", re.ASCII)
_TEXTS = {
    "pdl_id": ("id",),
    "industry": ("industry",),
    "location": ("location", "name"),
    "city": ("location", "locality"),
    "state": ("location", "region"),
    "country": ("location", "country"),
    "ticker": ("ticker",),
    **{f"{each}_handle": (f"{each}_url",) for each in ("linkedin", "twitter", "facebook")},
}
_PERSON_TEXTS = {
    "pdl_id": ("id",),
    "full_name": ("full_name",),
    "first_name": ("first_name",),
    "last_name": ("last_name",),
    "job_title": ("job_title",),
    "location": ("location_name",),
    **{f"{each}_handle": (f"{each}_url",) for each in ("linkedin", "twitter", "github")},
}


_COMPANY_SENDS: Sends = {
    **dict.fromkeys(("name", "size", "industry", "website", "linkedin_url", "type"), str),
    "employee_count": int,
    "founded": int,
    "location": dict,
    "tags": list,
}
_PERSON_SENDS: Sends = within(
    "data",
    {
        **dict.fromkeys(("full_name", "first_name", "last_name", "linkedin_url"), str),
        **dict.fromkeys(("job_title", "job_company_name", "job_company_website"), str),
        "job_title_levels": list,
    },
)
"""Leaves out what would cost money: `true` may stand there."""


_OR = " OR "
_PLACE = dict.fromkeys(("location", "city", "state", "country", "country_code"), "location")
_COMPANY_KEYS: Mapping[str, str] = {
    **_PLACE,
    **{name: name for name in ("name", "industry", "employee_count", "tags", "ticker", "type")},
    "employee_range": "size",
    "description": "summary OR headline",
    "domain": "website",
    "founded_year": "founded",
    "company_type": "type",
    "raised": "total_funding_raised",
    "estimated_annual_revenue": "inferred_revenue",
    **{f"{each}_handle": f"{each}_url" for each in ("linkedin", "twitter", "facebook")},
}
_PERSON_KEYS: Mapping[str, str] = {
    **{name: name for name in ("full_name", "first_name", "last_name", "job_title")},
    "role": "job_title_role",
    "seniority": "job_title_levels",
    "location": "location_name",
    **{f"{each}_handle": f"{each}_url" for each in ("linkedin", "twitter", "github")},
}


class _PeopleDataLabs(HttpProvider):
    """What both routes have in common."""

    quota_header = "x-totallimit-remaining"
    keys_of: ClassVar[Mapping[str, str]]
    """Our field -> the key of the vendor's record that it is read from."""
    always: ClassVar[str]
    """A field that every record has."""

    @abstractmethod
    def asked(self, query: Query) -> dict[str, str]:
        """Return the parameters that identify the subject."""

    def is_own(self, reply: Reply) -> bool:
        return bool(_error_types(reply))

    def headers(self) -> dict[str, str]:
        return {"X-Api-Key": self._access.key.get_secret_value()}

    async def probe(self) -> str | None:
        """Send a HEAD without a question, as the vendor has credits looked up: there is nothing to match.

        Companies use the person route too: theirs takes no method but GET.
        """
        reply = await self._fetch(Request(PdlPerson.path, {}, "HEAD"))
        if isinstance(reply, Unavailable):
            return reply.reason
        match reply.status:
            case 200 | 400:
                return None
            case 404 if any(name.startswith("x-ratelimit") for name in reply.headers):
                return None
        return complaint(reply, _refusal(reply))

    def request(self, query: Query) -> Request:
        """Ask with `required` for what is still missing: a match with none of it is a 404, and free."""
        asked = self.asked(query)
        keys = sorted({self.keys_of[field] for field in query.wanted if field in self.keys_of})
        return Request(
            self.path, {**asked, **_HOW, **({"required": _OR.join(keys)} if keys else {})}
        )

    def is_narrow(self, query: Query) -> bool:
        """Tell whether some records lack everything asked for, so that a 404 does not mean "unknown"."""
        wanted = query.wanted & self.keys_of.keys()
        return bool(wanted) and self.always not in wanted


class PdlCompany(_PeopleDataLabs, listing=PROVIDERS["pdl_company"]):
    """`api.peopledatalabs.com/v5/company/enrich`."""

    sends = _COMPANY_SENDS
    keys_of = _COMPANY_KEYS
    always = "name"

    def unfit(self, query: Query) -> str | None:
        return None if query.company_domain else query.no_company_domain

    def asked(self, query: Query) -> dict[str, str]:
        return {"website": query.company_domain or ""}

    def question(self, query: Query) -> str | None:
        """Give a narrow question its own key: that nothing fits it must not be kept for others."""
        return super().question(query if self.is_narrow(query) else _of_all(query))

    def wider(self, query: Query) -> str | None:
        return super().question(_of_all(query)) if self.is_narrow(query) else None

    def interpret(self, reply: Reply) -> Answer:
        return _company(reply) if reply.status == _OK else _refusal(reply)


class PdlFinder(PdlCompany, listing=PDL_FINDER):
    """The same route by a company's name, for leads without a domain. A record without a web site is a 404, and free."""

    finds_domain = True
    same_record = "pdl_company"

    def unfit(self, query: Query) -> str | None:
        return finding.unfit(query)

    def request(self, query: Query) -> Request:
        how = {**_HOW, "min_likelihood": str(MIN_LIKELIHOOD_BY_NAME), "required": "website"}
        profile = finding.profile_of(query)
        asked = {"name": query.sought or "", **({"profile": profile} if profile else {})}
        return Request(self.path, {**asked, **how})

    def question(self, query: Query) -> str | None:
        return finding.question_of(self.path, query)

    def wider(self, query: Query) -> str | None:  # noqa: ARG002 - there is only one question
        return None

    def vetted(self, found: Found, reply: Reply, query: Query) -> Answer:
        record = reading.parse_object(reply.body)
        likelihood = reading.number(record, "likelihood")
        if likelihood is None or likelihood < MIN_LIKELIHOOD_BY_NAME:
            return NotFound(UNCERTAIN)
        name = reading.text(record, "display_name") or reading.text(record, "name")
        return finding.agreed(found, query, name, min(likelihood, 10) / 10)


class PdlPerson(_PeopleDataLabs, listing=PROVIDERS["pdl_person"]):
    """`api.peopledatalabs.com/v5/person/enrich`, by the address alone: names would only loosen the match."""

    sends = _PERSON_SENDS
    keys_of = _PERSON_KEYS
    always = "full_name"

    def unfit(self, query: Query) -> str | None:
        return reading.unfit_for_person(query)

    def asked(self, query: Query) -> dict[str, str]:
        return {"email": query.email or "", "include_if_matched": "true"}

    def question(self, query: Query) -> str | None:
        """Return the same text whatever is wanted: to forget a person, we must find them by address alone."""
        return super().question(_of_all(query))

    async def exchange(self, query: Query) -> Tried:
        """Try once. A miss for a narrow question is not kept: it says nothing to others."""
        tried = await super().exchange(query)
        is_for_others = not (isinstance(tried.answer, NotFound) and self.is_narrow(query))
        return tried if is_for_others else replace(tried, reply=None)

    def interpret(self, reply: Reply) -> Answer:
        return _person(reply) if reply.status == _OK else _refusal(reply)

    def vetted(self, found: Found, reply: Reply, query: Query) -> Answer:
        """Check what the vendor says it matched by; without that, check the record's addresses."""
        body = reading.parse_object(reply.body)
        matched, data = reading.texts(body, "matched"), reading.at(body, "data")
        if matched is not None and "email" not in matched:
            return NotFound(reading.SOMEBODY_ELSE)
        return reading.vetted(found, query, () if matched else _addresses(data))


def _of_all(query: Query) -> Query:
    return replace(query, wanted=frozenset())


def _company(reply: Reply) -> Answer:
    record = reading.parse_object(reply.body)
    if record is None or not record.keys() & {"id", "name", "display_name", "website"}:
        return Unavailable("the body is not a company record")
    if _is_uncertain(record):
        return NotFound(UNCERTAIN)
    return reading.found(Kind.COMPANY, _company_values(record))


def _company_values(record: reading.Record) -> dict[str, object]:
    return {
        **reading.written(record, _TEXTS),
        "name": reading.text(record, "display_name") or reading.text(record, "name"),
        "domain": reading.domain(record, "website"),
        "description": reading.prose(record, "summary") or reading.prose(record, "headline"),
        "founded_year": reading.whole_number(record, "founded", least=500, most=2100),
        "employee_count": reading.whole_number(record, "employee_count", least=1),
        "employee_range": _range(record, "size", _SIZE),
        "estimated_annual_revenue": _range(record, "inferred_revenue", _REVENUE),
        "raised": reading.whole_number(record, "total_funding_raised", least=1),
        "country_code": country_code_of(reading.text(record, "location", "country") or ""),
        "company_type": reading.choice(record, "type", among=_COMPANY_TYPES),
        "tags": record.get("tags"),
    }


def _range(record: object, key: str, pattern: re.Pattern[str]) -> str | None:
    """Read a range such as "51-200", "10001+" or "$10M-$25M" as text; anything else is dropped."""
    text = (reading.text(record, key) or "").upper()
    return text if pattern.fullmatch(text) else None


def _person(reply: Reply) -> Answer:
    body = reading.parse_object(reply.body)
    data = reading.at(body, "data")
    if not isinstance(data, dict) or not data.keys() & {"id", "full_name", "first_name"}:
        return Unavailable("the body is not a person record")
    if _is_uncertain(body):
        return NotFound(UNCERTAIN)
    values = {
        **reading.written(data, _PERSON_TEXTS),
        "role": _word(reading.text(data, "job_title_role")),
        "seniority": _word(next(iter(reading.texts(data, "job_title_levels") or ()), None)),
    }
    return reading.found(Kind.PERSON, values, [reading.text(data, "job_company_website")])


def _word(text: str | None) -> str | None:
    """Undo `titlecase` for a word of the vendor's vocabulary."""
    return text.lower() if text else None


def _is_uncertain(body: object) -> bool:
    """Guard against a vendor that ignores the minimum it was sent."""
    likelihood = reading.number(body, "likelihood")
    return likelihood is not None and likelihood < MIN_LIKELIHOOD


def _addresses(data: object) -> list[str]:
    """Return all addresses that the record names; none on a free plan."""
    listed = reading.at(data, "emails")
    entries = [
        *(listed if isinstance(listed, list) else ()),
        {"address": reading.at(data, "work_email")},
    ]
    return [
        *(reading.texts(data, "personal_emails") or ()),
        *(address for entry in entries if (address := reading.text(entry, "address"))),
    ]


def _refusal(reply: Reply) -> Answer:
    """Trust only the vendor's own word on a bad question or an unknown subject: any proxy can send a 404."""
    types = _error_types(reply)
    match reply.status:
        case 400 if types:
            return NotFound(REFUSED_QUESTION)
        case 401:
            return Held(REFUSED_KEY)
        case 402:
            return Held(USED_UP)
        case 404:
            return NotFound() if "not_found" in types else Unavailable("unknown route (404)")
        case 429:
            now = transport.answered_at(reply.headers)
            return Throttled(transport.reset_after(reply.headers, now) or WINDOW_SECONDS)
    return Unavailable(str(reply.status))


def _error_types(reply: Reply) -> tuple[str, ...]:
    """Return the types of the error; they were seen as text and in a list."""
    error = reading.at(reading.parse_object(reply.body), "error")
    said = (reading.text(error, "type"), *(reading.texts(error, "type") or ()))
    return tuple(each for each in said if each)
