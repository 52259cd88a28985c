"""What enricher writes on a lead, as pydantic models; made by `enricher schema --format pydantic`.

Every field can be missing or `None`, and there may be more of them than these: unknown ones are kept.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

EnrichmentStatus = Literal[
    "pending",
    "processing",
    "retrying",
    "completed",
    "failed",
    "skipped",
]


class CompanyData(BaseModel):
    """The company that the lead belongs to."""

    model_config = ConfigDict(extra="allow")

    name: str | None = None
    """Text."""
    domain: str | None = None
    """Domain."""
    logo_url: str | None = None
    """Web address of an image that is still there."""
    description: str | None = None
    """Long text."""
    founded_year: int | None = None
    """Year."""
    location: str | None = None
    """Text."""
    timezone: str | None = None
    """Text."""
    employee_count: int | None = None
    """Whole number above 0."""
    employee_range: str | None = None
    """Range, as text."""
    annual_revenue: int | None = None
    """Whole number above 0."""
    estimated_annual_revenue: str | None = None
    """Amount or range, as text."""
    raised: int | None = None
    """Whole number above 0."""
    alexa_rank: int | None = None
    """Whole number above 0."""
    sector: str | None = None
    """Text."""
    industry_group: str | None = None
    """Text."""
    industry: str | None = None
    """Text."""
    sub_industry: str | None = None
    """Text."""
    tags: list[str] | None = None
    """List of texts."""
    tech_stack: list[str] | None = None
    """List of texts."""
    linkedin_handle: str | None = None
    """Handle on the network in the field's name."""
    twitter_handle: str | None = None
    """Handle on the network in the field's name."""
    twitter_followers: int | None = None
    """Whole number above 0."""
    facebook_handle: str | None = None
    """Handle on the network in the field's name."""
    crunchbase_handle: str | None = None
    """Handle on the network in the field's name."""
    phone: str | None = None
    """Telephone number."""
    company_type: str | None = None
    """Text."""
    ticker: str | None = None
    """Text."""
    city: str | None = None
    """Text."""
    state: str | None = None
    """Text."""
    country: str | None = None
    """Country, by its English name."""
    country_code: str | None = None
    """Country, by its two letters."""
    clearbit_id: str | None = None
    """Text."""
    pdl_id: str | None = None
    """Text."""
    apollo_id: str | None = None
    """Text."""
    github_handle: str | None = None
    """Handle on the network in the field's name."""
    legal_name: str | None = None
    """Text."""
    legal_status: str | None = None
    """One of the vendor's own words."""


class PersonData(BaseModel):
    """The person whose address the lead names."""

    model_config = ConfigDict(extra="allow")

    full_name: str | None = None
    """Text."""
    first_name: str | None = None
    """Text."""
    last_name: str | None = None
    """Text."""
    job_title: str | None = None
    """Text."""
    role: str | None = None
    """Text."""
    seniority: str | None = None
    """Text."""
    location: str | None = None
    """Text."""
    timezone: str | None = None
    """Text."""
    bio: str | None = None
    """Long text."""
    avatar_url: str | None = None
    """Web address."""
    linkedin_handle: str | None = None
    """Handle on the network in the field's name."""
    twitter_handle: str | None = None
    """Handle on the network in the field's name."""
    github_handle: str | None = None
    """Handle on the network in the field's name."""
    pdl_id: str | None = None
    """Text."""
    apollo_id: str | None = None
    """Text."""
    phone: str | None = None
    """Telephone number."""
    city: str | None = None
    """Text."""
    state: str | None = None
    """Text."""
    country: str | None = None
    """Country, by its English name."""
    country_code: str | None = None
    """Country, by its two letters."""
    facebook_handle: str | None = None
    """Handle on the network in the field's name."""
    crunchbase_handle: str | None = None
    """Handle on the network in the field's name."""


class EmailVerification(BaseModel):
    """The verdict on the lead's e-mail address."""

    model_config = ConfigDict(extra="allow")

    status: str | None = None
    """One of the vendor's own words."""
    result: str | None = None
    """One of the vendor's own words."""
    score: int | float | None = None
    """Number from 0 to 100."""
    is_disposable: bool | None = None
    """True or false."""
    is_webmail: bool | None = None
    """True or false."""
    is_gibberish: bool | None = None
    """True or false."""
    mx_records: bool | None = None
    """True or false."""
    smtp_check: bool | None = None
    """True or false."""
    accept_all: bool | None = None
    """True or false."""
    risk: str | None = None
    """One of the vendor's own words."""


class Profiles(BaseModel):
    """Web addresses of profiles, by network."""

    model_config = ConfigDict(extra="allow")

    linkedin: str | None = None
    """Web address."""
    twitter: str | None = None
    """Web address."""
    facebook: str | None = None
    """Web address."""
    crunchbase: str | None = None
    """Web address."""
    github: str | None = None
    """Web address."""


class SocialProfiles(BaseModel):
    """The profiles of the handles that were found."""

    model_config = ConfigDict(extra="allow")

    company: Profiles | None = None
    """The company's."""
    person: Profiles | None = None
    """The person's."""


class Subject(BaseModel):
    """Keyed hashes of whom the data is about."""

    model_config = ConfigDict(extra="allow")

    mailbox: str | None = None
    """The same for all spellings of one mailbox."""
    company: str | None = None
    """Of the company's domain."""


class Copied(BaseModel):
    """A value that was copied."""

    model_config = ConfigDict(extra="allow")

    field: str | None = None
    """Section and field of the value."""
    to: str | None = None
    """The field of your own."""


class NotCopied(BaseModel):
    """A value that was not copied."""

    model_config = ConfigDict(extra="allow")

    field: str | None = None
    """Section and field of the value."""
    to: str | None = None
    """The field of your own."""
    why: str | None = None
    """Why it was not."""


class EnrichmentMetadata(BaseModel):
    """How the data came about."""

    model_config = ConfigDict(extra="allow")

    enriched_at: str | None = None
    """When it was written, in ISO 8601."""
    sources_used: list[str] | None = None
    """Providers that gave data."""
    sources_failed: list[str] | None = None
    """Providers that erred."""
    sources_not_found: list[str] | None = None
    """Providers that answered and had none."""
    sources_skipped: dict[str, str] | None = None
    """Providers that were not asked, and why."""
    completeness_score: int | None = None
    """Points for what is known."""
    completeness_missing: list[str] | None = None
    """What gave no points."""
    flags: list[str] | None = None
    """What was odd about the lead."""
    capped: list[str] | None = None
    """Providers not asked because of the most that a lead may cost; absent if none."""
    subject: Subject | None = None
    """Keyed hashes of whom the data is about."""
    provenance: dict[str, dict[str, str]] | None = None
    """Section, field, provider of the value."""
    alternatives: dict[str, dict[str, dict[str, Any]]] | None = None
    """Section, field, provider, the value that lost."""
    confidence: dict[str, dict[str, int | float]] | None = None
    """Section, field, how sure its provider is, from 0 to 1."""
    copied: list[Copied] | None = None
    """Values that stand in fields of your own, too."""
    not_copied: list[NotCopied] | None = None
    """Values that do not, and why."""


class EnrichedData(BaseModel):
    """What was found about a lead."""

    model_config = ConfigDict(extra="allow")

    company_data: CompanyData | None = None
    """The company that the lead belongs to."""
    person_data: PersonData | None = None
    """The person whose address the lead names."""
    email_verification: EmailVerification | None = None
    """The verdict on the lead's e-mail address."""
    social_profiles: SocialProfiles | None = None
    """Addresses of profiles; {} where none is known."""
    enrichment_metadata: EnrichmentMetadata | None = None
    """Who was asked, and where each value came from."""


class Lead(BaseModel):
    """What enricher writes on a lead. All other fields are its writer's."""

    model_config = ConfigDict(extra="allow")

    enrichment_status: EnrichmentStatus | None = None
    """Where the work on the lead stands; missing until the daemon saw it."""
    enriched_data: EnrichedData | None = None
    """What was found; missing until something was."""
    enriched_at: datetime | None = None
    """When it was last completed."""
    enrichment_error: str | None = None
    """Why it is not completed, as one sentence."""
    updated_at: datetime | None = None
    """When data or an end status was last written."""
    enrichment: dict[str, Any] | None = None
    """The daemon's own book-keeping: keep it, and do not read it."""
    qualification_status: str | None = None
    """Set to "pending" when a lead with a qualification_score is completed."""
    qualification_requested_at: datetime | None = None
    """When that was set."""
