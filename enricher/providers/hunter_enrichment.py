"""Hunter: a company by its domain (`companies/find`), a person by their address (`people/find`).

The records are Clearbit's in all but a few keys, which makes these the routes for whoever can get no
Clearbit key any more. What surprises, beside the refusals that all of Hunter's routes share
(`hunter_refusals.py`):

- A company's `metrics.employees` is a range in words ("11-50", "10K-50K"), never a head count: a
  provider that knows the count is still worth asking afterwards.
- `id` is Hunter's own, not Clearbit's. `emailProvider` is a host name where Clearbit has a flag;
  nothing reads it.
- A domain that is refused (400 `invalid_domain`) may be one whose owner objected: it cannot be told,
  and either way nothing is stored and the answer stands like any other.
- A 451 on the company's route is no word about the lead's person: 500 of them may share the domain.
- What is unknown is a 404; a record of nothing but nulls was seen as well and means the same.

Both routes count together, apart from the verifier: 15 calls a second and 500 a minute. Where
HUNTER_RATE_LIMIT says that the plan has more (or is to be spared), both grow (the minute also
shrinks) in the proportion of that figure to the verifier's 300. Each 200 costs a credit, the same
question once a month; a 404 is free.

Hunter's `combined/find` is not asked: it answers about the company anew for each address, so that
500 leads of one company would pay for it 500 times.
"""

from __future__ import annotations

import re
import time
from abc import abstractmethod
from collections.abc import Callable
from typing import ClassVar

from enricher.answer import Answer, Found, Kind, NotFound, Objected, Query, Reply, Unavailable
from enricher.providers import reading
from enricher.providers.base import Access, Request, Window
from enricher.providers.clearbit import COMPANY_SENDS, company_values
from enricher.providers.http import preparing
from enricher.providers.hunter_refusals import HunterRoute, refusal
from enricher.providers.person import EMPTY, RECORD_KEYS, SENDS, of_record, unfit_for_person
from enricher.providers.shape import within
from enricher.providers.transport import Client

_PER_MINUTE = 500
_VERIFICATIONS_PER_MINUTE = 300
"""What the default of HUNTER_RATE_LIMIT means; this route's limit keeps its proportion to it."""
_RANGE = re.compile(
    r"[0-9][0-9.,]*[KM]?(?:\+| ?[-\u2013] ?[0-9][0-9.,]*[KM]?\+?)", re.ASCII | re.IGNORECASE
)


class _Enrichment(HunterRoute):
    """What both routes share: credits, windows, and the envelope of a record."""

    windows = (Window(calls=15, seconds=1), Window(calls=_PER_MINUTE, seconds=60))
    allowances: ClassVar = {"credits": 1, "searches": 1}
    record_keys: ClassVar[frozenset[str]]
    """A record has at least one of these; what has none is no record."""

    def __init__(
        self,
        http: Client,
        access: Access,
        per_minute: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`per_minute` is the verifier's, as the operator sets it."""
        own = per_minute and max(1, per_minute * _PER_MINUTE // _VERIFICATIONS_PER_MINUTE)
        super().__init__(http, access, own, clock)

    @property
    def bucket(self) -> str:
        return "hunter_enrichment"

    def interpret(self, reply: Reply) -> Answer:
        match reply.status:
            case 200:
                return self._record(reply)
            case 202:
                return preparing(reply)
        return refusal(reply)

    def _record(self, reply: Reply) -> Answer:
        body = reading.parse_object(reply.body)
        if body is None or "data" not in body:
            return Unavailable(f"the body is not a {self.kind} record")
        record = body["data"]
        if record is None:
            return NotFound(EMPTY)
        if not isinstance(record, dict) or not record.keys() & self.record_keys:
            return Unavailable(f"the body is not a {self.kind} record")
        return self._read(record)

    @abstractmethod
    def _read(self, record: reading.Record) -> Answer:
        """What a record says."""


class HunterCompany(_Enrichment):
    """`api.hunter.io/v2/companies/find`."""

    name = "hunter_company"
    kind = Kind.COMPANY
    required = frozenset({"name", "industry", "employee_range"})
    lacks = frozenset({"employee_count", "clearbit_id"})
    record_keys = frozenset({"id", "name", "domain"})
    sends = within("data", COMPANY_SENDS)

    def unfit(self, query: Query) -> str | None:
        return None if query.company_domain else query.no_company_domain

    def request(self, query: Query) -> Request:
        return Request("/v2/companies/find", {"domain": query.company_domain or ""})

    def interpret(self, reply: Reply) -> Answer:
        answer = super().interpret(reply)
        return NotFound("its owner objected") if isinstance(answer, Objected) else answer

    def _read(self, record: reading.Record) -> Answer:
        values = company_values(record) | _employee_range(record)
        values.pop("clearbit_id", None)
        is_empty = not values.keys() - {"domain", "logo_url"}
        return NotFound(EMPTY) if is_empty else Found({self.kind.section: values})


class HunterPerson(_Enrichment):
    """`api.hunter.io/v2/people/find`."""

    name = "hunter_person"
    kind = Kind.PERSON
    required = frozenset({"full_name", "job_title"})
    record_keys = RECORD_KEYS
    sends = within("data", SENDS)

    def unfit(self, query: Query) -> str | None:
        return unfit_for_person(query)

    def request(self, query: Query) -> Request:
        return Request("/v2/people/find", {"email": query.email or ""})

    def _read(self, record: reading.Record) -> Answer:
        return of_record(record)


def _employee_range(record: reading.Record) -> dict[str, object]:
    """`metrics.employees` where it is one; as in Clearbit's format a number would be the count."""
    words = reading.text(record, "metrics", "employees")
    return {"employee_range": words} if words and _RANGE.fullmatch(words) else {}
