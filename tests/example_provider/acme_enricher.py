"""A vendor that is made up: `GET /v1/company?domain=...` answers with an object, or with 404."""

import json

from enricher import (
    Answer,
    Found,
    Held,
    HttpProvider,
    Kind,
    NotFound,
    Query,
    Reply,
    Request,
    Throttled,
    Unavailable,
    Window,
)


class AcmeCompany(HttpProvider):
    """Needs ACME_API_KEY."""

    name, vendor, kind = "acme_company", "acme", Kind.COMPANY
    host = "https://api.acme.example"
    windows = (Window(calls=60, seconds=60),)
    required = frozenset({"name", "industry"})

    def unfit(self, query: Query) -> str | None:
        return None if query.company_domain else query.no_company_domain

    def request(self, query: Query) -> Request:
        return Request("/v1/company", {"domain": query.company_domain or ""})

    def interpret(self, reply: Reply) -> Answer:
        match reply.status:
            case 200:
                return Found({self.kind.section: json.loads(reply.body)})
            case 404:
                return NotFound()
            case 401 | 402 | 403:
                return Held("the key is refused, or its quota is used up")
            case 429:
                return Throttled()
        return Unavailable(str(reply.status))
