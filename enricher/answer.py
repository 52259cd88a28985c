"""PURE What a provider is asked, and the closed set of things it can answer.

The same reply (status code, headers, body) means something different at every vendor, so each
provider classifies its own replies into one of the seven answers below; nothing above the
providers ever looks at a status code.

    Found          it knows something: values under the product's own field names
    NotFound       it answered and knows nothing (or cannot take this question): never asked again
    Preparing      it accepted the question and answers later (202): ask the same again
    Throttled      too fast: ask again after `retry_after`
    Unavailable    it failed for now (5xx, timeout, an unusable body): worth another try
    Held           it will refuse every question for a while (quota used up, key refused): do not ask
    Objected       the person asked the vendor to stop (451): no provider may be asked about them
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Self, TypeAlias

FieldValues: TypeAlias = Mapping[str, object]
"""Values of one section of `enriched_data`, under the names of the product's contract."""


_SECTIONS = {
    "company": "company_data",
    "person": "person_data",
    "email": "email_verification",
}


class Kind(StrEnum):
    """What a provider is about; the kinds of one lead are asked at the same time."""

    section: str
    """The key of `enriched_data` that this kind fills."""

    COMPANY = "company"
    PERSON = "person"
    EMAIL = "email"

    def __new__(cls, name: str) -> Self:
        kind = str.__new__(cls, name)
        kind._value_, kind.section = name, _SECTIONS[name]
        return kind


@dataclass(frozen=True, slots=True, repr=False)
class Query:
    """One lead as a provider sees it: normalised, and only what may be asked about.

    Has no repr on purpose: a query holds a person's data, and reprs end up in logs.
    """

    email: str | None = None
    """The normalised address; `None` when there is none or it may not be asked about."""
    email_key: str | None = None
    """The same for every spelling of one mailbox: equal keys mean the same question."""
    company_domain: str | None = None
    """Registrable domain (A-label) to look a company up by; `None` for free mail and the like."""
    no_company_domain: str = "no company domain"
    """Why there is no domain, as a short phrase: "free-mail address"."""
    full_name: str | None = None
    company: str | None = None
    cnpj: str | None = None
    """The company's number in the Brazilian register, with good check digits; `None` where nobody asks it."""
    cnpj_of: str | None = None
    """The name of the company whose site states that number; `None` for one that the lead states."""
    sought: str | None = None
    """The company's name, where its domain is to be found by it; see `Provider.finds_domain`."""
    linkedin: str | None = None
    """A LinkedIn profile, as the lead states it."""
    why_not_sought: str = "domains are not looked for by name"
    """Why it is not, as a short phrase."""
    is_role: bool = False
    """The address is a role address (info@, sales@), not a person's."""
    is_free_mail: bool = False
    is_disposable: bool = False
    wanted: frozenset[str] = frozenset()
    """Fields that make the provider worth asking and are still missing; empty when not known."""
    is_valid: bool = True
    """False when the lead's address cannot be a mailbox; `email` is `None` then."""

    @property
    def domains(self) -> tuple[str, ...]:
        """The company's domains by the lead itself; the address's domain may belong to another company."""
        host = (self.email or "").rpartition("@")[2]
        return tuple(each for each in (self.company_domain, host) if each)


@dataclass(frozen=True, slots=True, repr=False)
class Found:
    """Values by section of `enriched_data`: `{"company_data": {"name": "Acme", ...}}`."""

    sections: Mapping[str, FieldValues]
    confidence: float | None = None
    """How sure the vendor is that this is about the one asked for, from 0 to 1; `None` when it does
    not say. Below one half the values are kept as alternatives and not written."""
    employers: tuple[str, ...] = ()
    """Where the person works by now: domains or web sites, as the vendor wrote them. What depends on
    a job at another company than the lead's is not written (`values/merge.py`)."""
    unsure: Mapping[str, FieldValues] = field(default_factory=dict)
    """More values by section, kept only as alternatives."""
    cnpj: str | None = None
    """The company's number in the Brazilian register, for the provider that asks it."""
    read: dict[str, FieldValues] = field(default_factory=dict, init=False, compare=False)
    """Each section with the values of their fields' types, once somebody has read it: the provider, where it knows its
    vendor's records, or else the merge. A section is read once."""


@dataclass(frozen=True, slots=True)
class NotFound:
    """The vendor answered and knows nothing; `reason` is a short phrase without personal data."""

    reason: str = "no record"


@dataclass(frozen=True, slots=True)
class Preparing:
    """The vendor is working on it; ask the same again after `retry_after` seconds."""

    retry_after: float = 3.0


@dataclass(frozen=True, slots=True)
class Throttled:
    """Too many calls; `retry_after` is in seconds, `None` when the vendor does not say."""

    retry_after: float | None = None
    reason: str = "rate limit"


@dataclass(frozen=True, slots=True)
class Unavailable:
    """It failed for now. `reason` is a short phrase: "503", "timed out", "the body is not JSON"."""

    reason: str
    was_sent: bool = field(default=True, compare=False)
    """False when the call reached no vendor, so that nothing can have been done or charged."""
    is_of_question: bool = field(default=False, compare=False)
    """True when only this question has no answer now: it says nothing about the vendor's health."""
    is_final: bool = field(default=False, compare=False)
    """True when it was charged often enough: not asked again in this run of the lead."""


@dataclass(frozen=True, slots=True)
class Held:
    """The vendor refuses all calls for `seconds`: quota used up, key refused, no permission."""

    reason: str
    seconds: float = 3600.0


@dataclass(frozen=True, slots=True)
class Objected:
    """The person asked the vendor not to process them (HTTP 451): that binds us as well."""

    reason: str = "the person objected to being processed"


@dataclass(frozen=True, slots=True)
class Unwanted:
    """Not asked: by the time of the call, every lead that wanted to know had left its source's condition."""


@dataclass(frozen=True, slots=True)
class Capped:
    """Not asked: the call might have taken every lead that wanted to know beyond the most that it may cost."""


Answer: TypeAlias = (
    Found | NotFound | Preparing | Throttled | Unavailable | Held | Objected | Unwanted | Capped
)


@dataclass(frozen=True, slots=True, repr=False)
class Reply:
    """A vendor's reply as received, before it is classified. Header names are lower-case."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    flaw: str = ""
    """Why the body could not be read ("the body is too large"); `body` then holds none of it."""
