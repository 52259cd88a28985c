"""PURE What we write on a lead: the paths of our own fields, and the table of the fields of `enriched_data`, by kind.

Every query, pipeline, projection and index takes the paths of our fields from one `Names`, and holds none of
its own. Everything that names fields of the data follows from the table, or a test compares it with the table:
how a vendor's value is read (`values/types.py`), the JSON Schema and the tables of the documents, what an operator
or a provider may require. A mistyped name there would always be missing, and every vendor would be asked for it,
and paid.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any

from enricher.answer import Kind


@dataclass(frozen=True, slots=True)
class Names:
    """Where our fields stand on a lead, as dotted paths: under the contract's names, unless its collection has others
    for them. What has an empty path is not written."""

    enrichment_status: str = "enrichment_status"
    enriched_data: str = "enriched_data"
    enriched_at: str = "enriched_at"
    enrichment_error: str = "enrichment_error"
    updated_at: str = "updated_at"
    enrichment: str = "enrichment"
    qualification_status: str = "qualification_status"
    qualification_requested_at: str = "qualification_requested_at"
    qualification_score: str = "qualification_score"
    """The qualifier's; we only read it."""

    def of_book(self, field: str) -> str:
        """Return the path of a field of the book-keeping."""
        return f"{self.enrichment}.{field}"

    def written(self) -> dict[str, str]:
        """Return the contract's name -> the path, of all fields that we write."""
        paths = {each.name: getattr(self, each.name) for each in fields(self)}
        return {name: path for name, path in paths.items() if path and name != _READ}

    @property
    def roots(self) -> list[str]:
        """The names at the top of a document below which we write, each once."""
        return list(dict.fromkeys(path.split(".")[0] for path in self.written().values()))

    @property
    def parents(self) -> list[str]:
        """The paths of the user's objects in which fields of ours stand, each before those within it."""
        steps = (path.split(".") for path in self.written().values())
        return list(dict.fromkeys(".".join(s[:n]) for s in steps for n in range(1, len(s))))

    @property
    def suffix(self) -> str:
        """What distinguishes the names of our indexes on these fields from those on others; empty for the contract's."""
        indexed = (self.enrichment_status, self.enriched_data, self.enriched_at, self.enrichment)
        if indexed == _INDEXED:
            return ""
        return f"_{hashlib.sha256(repr(indexed).encode()).hexdigest()[:8]}"


_READ = "qualification_score"
NEEDED = ("enrichment_status", "enriched_data", "enrichment")
"""What the daemon cannot do without: it is written under some name."""
_INDEXED = ("enrichment_status", "enriched_data", "enriched_at", "enrichment")
NAMES = Names()
"""The contract's names."""


def named(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values by their paths, without those of fields that are not written."""
    return {path: value for path, value in values.items() if path}


class ValueType(StrEnum):
    """What a field holds."""

    TEXT = "text"
    PROSE = "long text"
    TEXTS = "list of texts"
    WORD = "one of the vendor's own words"
    COUNT = "whole number above 0"
    YEAR = "year"
    RANGE = "range, as text"
    ESTIMATE = "amount or range, as text"
    FLAG = "true or false"
    SCORE = "number from 0 to 100"
    URL = "web address"
    LOGO = "web address of an image that is still there"
    DOMAIN = "domain"
    PHONE = "telephone number"
    COUNTRY = "country, by its English name"
    COUNTRY_CODE = "country, by its two letters"
    HANDLE = "handle on the network in the field's name"


_PROMISED: Mapping[Kind, Mapping[str, ValueType]] = {
    Kind.COMPANY: {
        "name": ValueType.TEXT,
        "domain": ValueType.DOMAIN,
        "logo_url": ValueType.LOGO,
        "description": ValueType.PROSE,
        "founded_year": ValueType.YEAR,
        "location": ValueType.TEXT,
        "timezone": ValueType.TEXT,
        "employee_count": ValueType.COUNT,
        "employee_range": ValueType.RANGE,
        "annual_revenue": ValueType.COUNT,
        "estimated_annual_revenue": ValueType.ESTIMATE,
        "raised": ValueType.COUNT,
        "alexa_rank": ValueType.COUNT,
        "sector": ValueType.TEXT,
        "industry_group": ValueType.TEXT,
        "industry": ValueType.TEXT,
        "sub_industry": ValueType.TEXT,
        "tags": ValueType.TEXTS,
        "tech_stack": ValueType.TEXTS,
        "linkedin_handle": ValueType.HANDLE,
        "twitter_handle": ValueType.HANDLE,
        "twitter_followers": ValueType.COUNT,
        "facebook_handle": ValueType.HANDLE,
        "crunchbase_handle": ValueType.HANDLE,
        "phone": ValueType.PHONE,
        "company_type": ValueType.TEXT,
        "ticker": ValueType.TEXT,
        "city": ValueType.TEXT,
        "state": ValueType.TEXT,
        "country": ValueType.COUNTRY,
        "country_code": ValueType.COUNTRY_CODE,
        "clearbit_id": ValueType.TEXT,
    },
    Kind.PERSON: {
        "full_name": ValueType.TEXT,
        "first_name": ValueType.TEXT,
        "last_name": ValueType.TEXT,
        "job_title": ValueType.TEXT,
        "role": ValueType.TEXT,
        "seniority": ValueType.TEXT,
        "location": ValueType.TEXT,
        "timezone": ValueType.TEXT,
        "bio": ValueType.PROSE,
        "avatar_url": ValueType.URL,
        "linkedin_handle": ValueType.HANDLE,
        "twitter_handle": ValueType.HANDLE,
        "github_handle": ValueType.HANDLE,
    },
    Kind.EMAIL: {
        "status": ValueType.WORD,
        "result": ValueType.WORD,
        "score": ValueType.SCORE,
        "is_disposable": ValueType.FLAG,
        "is_webmail": ValueType.FLAG,
        "is_gibberish": ValueType.FLAG,
        "mx_records": ValueType.FLAG,
        "smtp_check": ValueType.FLAG,
        "accept_all": ValueType.FLAG,
    },
}
_BESIDES: Mapping[Kind, Mapping[str, ValueType]] = {
    Kind.COMPANY: {
        "pdl_id": ValueType.TEXT,
        "apollo_id": ValueType.TEXT,
        "github_handle": ValueType.HANDLE,
        "legal_name": ValueType.TEXT,
        "legal_status": ValueType.WORD,
    },
    Kind.PERSON: {
        "pdl_id": ValueType.TEXT,
        "apollo_id": ValueType.TEXT,
        "phone": ValueType.PHONE,
        "city": ValueType.TEXT,
        "state": ValueType.TEXT,
        "country": ValueType.COUNTRY,
        "country_code": ValueType.COUNTRY_CODE,
        "facebook_handle": ValueType.HANDLE,
        "crunchbase_handle": ValueType.HANDLE,
    },
    Kind.EMAIL: {
        "risk": ValueType.WORD,
    },
}
"""Fields that also have a type, for providers that know them. They cannot be required."""

TYPES: Mapping[Kind, Mapping[str, ValueType]] = {
    kind: {**_PROMISED[kind], **_BESIDES[kind]} for kind in Kind
}
"""Every field that has a type."""
FIELDS: Mapping[Kind, frozenset[str]] = {kind: frozenset(_PROMISED[kind]) for kind in Kind}
"""The names that readers know and that can be required."""
SECTIONS = tuple(kind.section for kind in Kind)
"""The keys of `enriched_data` that hold the fields."""
