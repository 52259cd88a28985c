"""Clearbit: a person by their address (`person.clearbit.com/v2/people/find`), for legacy keys.

It bills and refuses as the company's route does (`clearbit.py`), and so a person whom it does not
know costs as much as one whom it knows. Therefore it is the last of its kind to be asked, and only
where the operator has taken it off ENRICHER_PROVIDERS_OFF.

`combined/find`, which answers person and company at once, is not asked, although one charge for both
sounds cheaper. It answers for an address, a company is kept for its domain: 500 leads of one company
would pay for the company 500 times, where `companies/find` is paid for once. And kinds are asked at
the same time, so the company would have to wait for the person; where an address may not be asked
about (info@, or none at all) the company's own route would be needed all the same.
"""

from __future__ import annotations

from dataclasses import replace

from enricher.answer import Answer, Kind, Query, Reply, Unavailable
from enricher.providers import reading
from enricher.providers.base import Access, Request
from enricher.providers.clearbit import ClearbitCompany, ClearbitRoute
from enricher.providers.person import RECORD_KEYS, SENDS, of_record, unfit_for_person
from enricher.providers.transport import Client


class ClearbitPerson(ClearbitRoute):
    """`person.clearbit.com/v2/people/find`."""

    name = "clearbit_person"
    kind = Kind.PERSON
    host = "https://person.clearbit.com"
    path = "/v2/people/find"
    sends = SENDS
    required = frozenset({"full_name", "job_title"})

    def __init__(self, http: Client, access: Access, per_minute: int | None = None) -> None:
        """Persons have a host of their own, as long as the operator does not name another."""
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
