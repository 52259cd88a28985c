"""PURE The providers that come with enricher: one table, from which everything else about them follows.

A *vendor* sells data and has one key; a *provider* is one of its routes. This is data: which route, how
fast it may be asked, what it charges for, which fields make it worth asking. What to ask and what a reply
means is code, one file per vendor in `enricher/providers`; each class takes its data from here
(`providers/base.py`). Settings, the simulator, the package's entry points and the tables of the documents
are made from it, or checked against it.

A provider of another package is not in this table: its class declares the same things itself.

The order is the waterfall within a kind, and also decides which provider wins where two know the same field.
What costs nothing is asked first and wins last, but for the fields that it `knows_best`; the register is asked last,
too, because its limit is low. The order follows the price of a missing field, misses included:

    company   website           costs nothing: the company's own site, where the operator wants that
              clearbit          returns the head count; a miss costs, but its keys are legacy contracts,
                                paid for whether they are used or not
              hunter_company    a credit, and nothing for a miss; no head count, only its range
              pdl_company       the same, with a head count; a free plan allows ten a minute
              apollo_company    a credit, perhaps for a miss as well
              cnpj              costs nothing: the Brazilian register, where the operator wants that
    person    hunter_person     a credit, and nothing for a miss; reports by itself who objected
              pdl_person        a credit, and nothing for a miss or a poor match
              apollo_person     the same
              clearbit_person   a miss costs as much as a hit, and for persons misses are frequent
    e-mail    hunter            half a credit; the only one that knows gibberish
              zerobounce        a credit, and nothing for `unknown`
              kickbox           the same; takes 25 calls at once
              bouncer           a credit, for `unknown` perhaps too
              emailable         the same
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from enricher.answer import Kind

_OK = frozenset({200})
_VERSION = re.compile(r"^/(api/)?v[\d.]+/")


@dataclass(frozen=True, slots=True)
class Window:
    """At most `calls` calls in any `seconds` seconds, as the vendor documents its limit."""

    calls: int
    seconds: float


@dataclass(frozen=True, slots=True)
class VendorListing:
    """A vendor. Its six settings begin with its name in capitals."""

    name: str
    title: str
    """The name in the settings."""
    company: str
    """The name in the documents."""
    host: str
    per_minute: int
    """Default of its rate limit."""
    per_minute_of: str
    """What that limit counts, as the end of a sentence."""
    paid_per_minute: int | None = None
    """What a paid plan allows, where `per_minute` is the limit of a free one."""


@dataclass(frozen=True, slots=True)
class ProviderListing:
    """One provider: everything about it that is not code."""

    name: str
    vendor: str
    kind: Kind
    code: str
    """Module and class, as an entry point names them."""
    costs: str
    """What a call costs, as the documents put it."""
    path: str = ""
    """The route's path below the host."""
    host: str = ""
    """The route's host where it is not the vendor's."""
    windows: tuple[Window, ...] = ()
    bucket: str = ""
    """Providers with the same bucket share their windows; empty for a bucket of its own."""
    charges: frozenset[int] = _OK
    """Status codes that the vendor charges for."""
    credits: float = 1.0
    """What one charged call costs, in the vendor's own unit."""
    charges_misses: bool = False
    """Whether an answer that nothing is known (`unknown`, of a verifier) is charged, or may be."""
    required: frozenset[str] = frozenset()
    """Fields of its section whose absence makes it worth asking."""
    lacks: frozenset[str] = frozenset()
    """Fields of its section that it never knows."""
    is_on: bool = True
    """Whether it is asked by default when there is a key."""
    remark: str = ""
    """What the documents add to the route."""
    knows_best: frozenset[str] = frozenset()
    """Fields of its section in which its values win over every other provider's, whatever the order."""

    @property
    def route(self) -> str:
        """The path without its version."""
        return _VERSION.sub("", self.path)


_VENDORS = (
    VendorListing(
        name="clearbit",
        title="Clearbit",
        company="Clearbit",
        host="https://company.clearbit.com",
        per_minute=600,
        per_minute_of=", for each of its hosts",
    ),
    VendorListing(
        name="hunter",
        title="Hunter",
        company="Hunter",
        host="https://api.hunter.io",
        per_minute=300,
        per_minute_of=", of the verifier; its company and person routes have 5/3 of it",
    ),
    VendorListing(
        name="pdl",
        title="PDL",
        company="People Data Labs",
        host="https://api.peopledatalabs.com",
        per_minute=10,
        per_minute_of=", on each route",
        paid_per_minute=1000,
    ),
    VendorListing(
        name="apollo",
        title="Apollo",
        company="Apollo",
        host="https://api.apollo.io",
        per_minute=50,
        per_minute_of=", on each route",
        paid_per_minute=1000,
    ),
    VendorListing(
        name="zerobounce",
        title="ZeroBounce",
        company="ZeroBounce",
        host="https://api.zerobounce.net",
        per_minute=480_000,
        per_minute_of="",
    ),
    VendorListing(
        name="kickbox",
        title="Kickbox",
        company="Kickbox",
        host="https://api.kickbox.com",
        per_minute=8000,
        per_minute_of="",
    ),
    VendorListing(
        name="bouncer",
        title="Bouncer",
        company="Bouncer",
        host="https://api.usebouncer.com",
        per_minute=1000,
        per_minute_of="",
    ),
    VendorListing(
        name="emailable",
        title="Emailable",
        company="Emailable",
        host="https://api.emailable.com",
        per_minute=1500,
        per_minute_of="",
    ),
)
VENDORS: Mapping[str, VendorListing] = {each.name: each for each in _VENDORS}

_COMPANY = frozenset({"name", "industry", "employee_count"})
_PERSON = frozenset({"full_name", "job_title"})
_VERDICT = frozenset({"status"})
_NO_GIBBERISH = frozenset({"is_gibberish"})
_CLEARBIT_CHARGES = frozenset({200, 201, 202, 404})
_CLEARBIT_WINDOWS = (Window(calls=600, seconds=60),)
_HUNTER_ENRICHMENT = (Window(calls=15, seconds=1), Window(calls=500, seconds=60))
_APOLLO_FREE = (Window(50, 60), Window(200, 3600), Window(600, 86_400))

_PROVIDERS = (
    ProviderListing(
        name="clearbit",
        vendor="clearbit",
        kind=Kind.COMPANY,
        code="enricher.providers.clearbit:ClearbitCompany",
        path="/v2/companies/find",
        remark=" (closed to new customers; for those who have a key)",
        windows=_CLEARBIT_WINDOWS,
        charges=_CLEARBIT_CHARGES,
        costs="1, a miss like a hit",
        charges_misses=True,
        required=_COMPANY,
    ),
    ProviderListing(
        name="hunter_company",
        vendor="hunter",
        kind=Kind.COMPANY,
        code="enricher.providers.hunter:HunterCompany",
        path="/v2/companies/find",
        remark=": Clearbit's fields, with a range for the head count",
        windows=_HUNTER_ENRICHMENT,
        bucket="hunter_enrichment",
        costs="1; nothing for a miss",
        required=frozenset({"name", "industry", "employee_range"}),
        lacks=frozenset({"employee_count", "clearbit_id"}),
    ),
    ProviderListing(
        name="pdl_company",
        vendor="pdl",
        kind=Kind.COMPANY,
        code="enricher.providers.pdl:PdlCompany",
        path="/v5/company/enrich",
        windows=(Window(calls=10, seconds=60),),
        costs="1; nothing for a miss or a poor match",
        required=_COMPANY,
    ),
    ProviderListing(
        name="apollo_company",
        vendor="apollo",
        kind=Kind.COMPANY,
        code="enricher.providers.apollo:ApolloCompany",
        path="/api/v1/organizations/enrich",
        windows=_APOLLO_FREE,
        costs="1, a miss perhaps too",
        charges_misses=True,
        required=_COMPANY,
    ),
    ProviderListing(
        name="hunter_person",
        vendor="hunter",
        kind=Kind.PERSON,
        code="enricher.providers.hunter:HunterPerson",
        path="/v2/people/find",
        windows=_HUNTER_ENRICHMENT,
        bucket="hunter_enrichment",
        costs="1; nothing for a miss",
        required=_PERSON,
    ),
    ProviderListing(
        name="pdl_person",
        vendor="pdl",
        kind=Kind.PERSON,
        code="enricher.providers.pdl:PdlPerson",
        path="/v5/person/enrich",
        windows=(Window(calls=100, seconds=60),),
        costs="1; nothing for a miss or a poor match",
        required=_PERSON,
    ),
    ProviderListing(
        name="apollo_person",
        vendor="apollo",
        kind=Kind.PERSON,
        code="enricher.providers.apollo:ApolloPerson",
        path="/api/v1/people/match",
        windows=_APOLLO_FREE,
        costs="1; nothing for a miss",
        required=_PERSON,
    ),
    ProviderListing(
        name="clearbit_person",
        vendor="clearbit",
        kind=Kind.PERSON,
        code="enricher.providers.clearbit:ClearbitPerson",
        host="https://person.clearbit.com",
        path="/v2/people/find",
        remark="; off unless you turn it on",
        windows=_CLEARBIT_WINDOWS,
        charges=_CLEARBIT_CHARGES,
        costs="1, a miss like a hit",
        charges_misses=True,
        required=_PERSON,
        is_on=False,
    ),
    ProviderListing(
        name="hunter",
        vendor="hunter",
        kind=Kind.EMAIL,
        code="enricher.providers.hunter:HunterVerifier",
        path="/v2/email-verifier",
        windows=(Window(calls=10, seconds=1), Window(calls=300, seconds=60)),
        costs="½ for a verdict",
        charges_misses=True,
        credits=0.5,
        required=_VERDICT,
    ),
    ProviderListing(
        name="zerobounce",
        vendor="zerobounce",
        kind=Kind.EMAIL,
        code="enricher.providers.zerobounce:ZeroBounceVerifier",
        path="/v2/validate",
        windows=(Window(80_000, 10), Window(480_000, 60)),
        costs="1; nothing for `unknown`",
        required=_VERDICT,
        lacks=_NO_GIBBERISH | {"score"},
    ),
    ProviderListing(
        name="kickbox",
        vendor="kickbox",
        kind=Kind.EMAIL,
        code="enricher.providers.kickbox:KickboxVerifier",
        path="/v2/verify",
        windows=(Window(8000, 60),),
        costs="1; nothing for `unknown`",
        required=_VERDICT,
        lacks=_NO_GIBBERISH,
    ),
    ProviderListing(
        name="bouncer",
        vendor="bouncer",
        kind=Kind.EMAIL,
        code="enricher.providers.bouncer:BouncerVerifier",
        path="/v1.1/email/verify",
        windows=(Window(1000, 60),),
        costs="1, for `unknown` perhaps too",
        charges_misses=True,
        required=_VERDICT,
        lacks=_NO_GIBBERISH,
    ),
    ProviderListing(
        name="emailable",
        vendor="emailable",
        kind=Kind.EMAIL,
        code="enricher.providers.emailable:EmailableVerifier",
        path="/v1/verify",
        windows=(Window(25, 1), Window(1500, 60)),
        costs="1, for `unknown` perhaps too",
        charges_misses=True,
        required=_VERDICT,
        lacks=_NO_GIBBERISH,
    ),
)
PROVIDERS: Mapping[str, ProviderListing] = {each.name: each for each in _PROVIDERS}
"""Every route that can be asked, in the order of asking within its kind."""

LOCAL = ProviderListing(
    name="local",
    vendor="local",
    kind=Kind.EMAIL,
    code="enricher.providers.local:Local",
    remark="syntax, lists of disposable and free-mail domains; the DNS, if you turn that on",
    costs="nothing; no key either",
)
"""The local rules: they make no call, and are always present, and always first."""

WEBSITE = ProviderListing(
    name="website",
    vendor="website",
    kind=Kind.COMPANY,
    code="enricher.providers.website.provider:Website",
    remark="the company's own web site; off unless you turn it on (`ENRICHER_WEBSITE`)",
    costs="nothing; no key either",
    windows=(Window(calls=100, seconds=1),),
    required=frozenset({"name", "description", "tech_stack", "linkedin_handle"}),
    lacks=frozenset(
        "timezone annual_revenue estimated_annual_revenue raised alexa_rank sector industry_group sub_industry tags"
        " twitter_followers company_type ticker clearbit_id".split()
    ),
    knows_best=frozenset(
        "logo_url phone linkedin_handle twitter_handle facebook_handle crunchbase_handle github_handle".split()
    ),
    is_on=False,
)
"""The company's own site: no vendor, so it is asked before all of them. What a company publishes of itself is
beyond doubt for its logo, telephone and profiles; for all else, and counts above all, any vendor is believed first.
Sites are many, so the limit slows nobody down; with it the fleet can be told to stop."""
CNPJ = ProviderListing(
    name="cnpj",
    vendor="cnpj",
    kind=Kind.COMPANY,
    code="enricher.providers.cnpj:Cnpj",
    host="https://brasilapi.com.br/api/cnpj/v1",
    remark="the Brazilian register, by the lead's `cnpj` or the one on the company's site; off unless you turn it on (`ENRICHER_CNPJ`)",
    costs="nothing; no key either",
    windows=(Window(30, 60),),
    is_on=False,
)
"""The register asks for moderation and names no limit; its edge was seen to refuse about 100 calls a minute."""
FREE = (LOCAL, WEBSITE, CNPJ)
"""Those without a key, which are not in the table."""

_DOMAIN = frozenset({"domain"})
PDL_FINDER = ProviderListing(
    name="pdl_finder",
    vendor="pdl",
    kind=Kind.COMPANY,
    code="enricher.providers.pdl:PdlFinder",
    path="/v5/company/enrich",
    remark=", by the company's name",
    windows=(Window(calls=10, seconds=60),),
    bucket="pdl_company",
    costs="1; nothing for a miss or a poor match",
    knows_best=_DOMAIN,
    is_on=False,
)
HUNTER_FINDER = ProviderListing(
    name="hunter_finder",
    vendor="hunter",
    kind=Kind.COMPANY,
    code="enricher.providers.hunter:HunterFinder",
    path="/v2/domain-search",
    remark=", by the company's name",
    windows=_HUNTER_ENRICHMENT,
    bucket="hunter_enrichment",
    costs="1 where the domain has a role address, else nothing",
    knows_best=_DOMAIN,
    is_on=False,
)
APOLLO_FINDER = ProviderListing(
    name="apollo_finder",
    vendor="apollo",
    kind=Kind.COMPANY,
    code="enricher.providers.apollo:ApolloFinder",
    path="/api/v1/organizations/enrich",
    remark=", by the company's name",
    windows=_APOLLO_FREE,
    bucket="apollo_company",
    costs="1, a miss perhaps too",
    knows_best=_DOMAIN,
    is_on=False,
)
FINDERS: Mapping[str, ProviderListing] = {
    each.name: each for each in (PDL_FINDER, HUNTER_FINDER, APOLLO_FINDER)
}
"""Those that find a company's domain by its name, where the operator wants that; asked before all others of the kind,
and only about leads without a domain. People Data Labs first: it says how sure it is, its misses are free, and its
record is the company's. Their word counts last, but for the domain, which nobody else knows of such a lead."""
KNOWS_BEST: Mapping[str, frozenset[str]] = {
    each.name: each.knows_best
    for each in (*_PROVIDERS, *FREE, *FINDERS.values())
    if each.knows_best
}
"""Provider -> fields in which it wins."""


def of_vendor(vendor: str) -> tuple[ProviderListing, ...]:
    """Return the vendor's providers, in the order of the table."""
    return tuple(each for each in PROVIDERS.values() if each.vendor == vendor)
