"""Made-up people, companies and mailboxes as facts, which each vendor then spells in its own way.

The same (seed, question) always gives the same facts, in any process.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from random import Random
from typing import TypeVar

from enricher.answer import Kind
from enricher.catalogue import PROVIDERS
from enricher.identity.names import telling_words

_Value = TypeVar("_Value")

_FIRST = ("Ada", "Bruno", "Chioma", "Dmitri", "Elif", "Freya", "Goran", "Hana", "Ines", "Jonas")
_LAST = ("Almeida", "Brandt", "Castillo", "Dvorak", "Eriksen", "Fontaine", "Garcia", "Hansen")
_JOBS = (
    ("Head of Operations", "operations", "director"),
    ("Software Engineer", "engineering", "entry"),
    ("Chief Financial Officer", "finance", "cxo"),
    ("Account Manager", "sales", "manager"),
    ("Marketing Director", "marketing", "director"),
)
_PLACES = (
    ("Berlin", "Berlin", "Germany", "Europe", "52.52,13.38"),
    ("San Francisco", "California", "United States", "North America", "37.79,-122.39"),
    ("Lyon", "Auvergne-Rhône-Alpes", "France", "Europe", "45.76,4.84"),
    ("Leeds", "England", "United Kingdom", "Europe", "53.8,-1.55"),
)
_INDUSTRIES = ("Computer Software", "Logistics And Supply Chain", "Financial Services", "Retail")
_TECH = ("Python", "Salesforce", "Cloudflare Dns", "Hubspot", "Google Tag Manager")
_TAGS = ("saas", "b2b", "logistics", "fintech")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a person or company is."""

    city: str
    state: str
    country: str
    continent: str
    geo: str

    def __str__(self) -> str:
        return f"{self.city}, {self.state}, {self.country}"


@dataclass(frozen=True, slots=True)
class Company:
    """What is known of a company; `None` where its vendor knows nothing."""

    id: str
    name: str
    handle: str
    domain: str
    industry: str | None
    employees: int | None
    founded: int | None
    place: Place | None
    raised: int | None
    revenue: int | None
    tags: tuple[str, ...]
    tech: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Person:
    """A person at a company."""

    id: str
    email: str
    first: str
    last: str
    title: str
    role: str
    level: str
    place: Place | None
    employer: Company
    likelihood: int
    is_stranger: bool = False
    """Whether it is not the person who was asked for."""


def company(seed: int, domain: str) -> Company:
    """Make up a company. Most values may be missing, and in one of ten records the whole place is."""
    chance = Random(f"{seed} firm {domain}")
    label = domain.split(".", 1)[0]
    employees = int(10 ** chance.uniform(0.5, 4.5))
    return Company(
        id=f"{chance.getrandbits(96):024x}",
        name=label.replace("-", " ").title(),
        handle=label.replace("-", ""),
        domain=domain,
        industry=_maybe(chance, 0.95, chance.choice(_INDUSTRIES)),
        employees=_maybe(chance, 0.92, employees),
        founded=_maybe(chance, 0.85, chance.randint(1921, 2024)),
        place=_maybe(chance, 0.9, Place(*chance.choice(_PLACES))),
        raised=_maybe(chance, 0.3, chance.randint(1, 400) * 250_000),
        revenue=_maybe(chance, 0.5, chance.randint(1, 900) * 1_000_000),
        tags=tuple(chance.sample(_TAGS, chance.randint(0, 3))),
        tech=tuple(chance.sample(_TECH, chance.randint(0, 4))),
    )


@dataclass(frozen=True, slots=True)
class Named:
    """The company that a vendor takes a name for."""

    name: str
    domain: str


def named(vendor: str, name: str) -> Named | None:
    """Return what a vendor finds by a company's name. "misnamed", "namesake" and "vague" in it tell their story; see
    `faults.py`."""
    words = telling_words(name)
    if "vague" in name and vendor != "pdl":
        return None
    if "misnamed" in name:
        return Named(f"Other {words[0].title()}", f"other-{words[0]}.com")
    label = "-".join(words)
    if "namesake" in name:
        label = f"{label}-at-{vendor}"
    return Named(" ".join(words).title(), f"{label}.com")


def company_named(seed: int, found: Named) -> Company:
    """Make up the company that was found by a name."""
    return replace(company(seed, found.domain), name=found.name)


def likelihood_by_name(name: str) -> int:
    """Return how sure PDL is of the company that it finds by a name."""
    return 4 if "vague" in name else 9


def person(seed: int, email: str) -> Person:
    """Make up a person. "moved" and "stranger" in the address tell their story; see `faults.py`."""
    chance = Random(f"{seed} person {email}")
    domain, is_stranger = email.rpartition("@")[2], "stranger" in email
    title, role, level = chance.choice(_JOBS)
    return Person(
        id=f"{chance.getrandbits(96):024x}",
        email=f"somebody@other-{domain}" if is_stranger else email,
        is_stranger=is_stranger,
        first=chance.choice(_FIRST),
        last=chance.choice(_LAST),
        title=title,
        role=role,
        level=level,
        place=_maybe(chance, 0.9, Place(*chance.choice(_PLACES))),
        employer=company(seed, f"other-{domain}" if "moved" in email else domain),
        likelihood=likelihood(seed, email),
    )


def likelihood(seed: int, question: str) -> int:
    """Return a likelihood from 2 to 10; one match in eight is poor."""
    chance = Random(f"{seed} likelihood {question}")
    return chance.choice((6, 7, 8, 9, 10, 10, 10, chance.randint(2, 5)))


FREE_MAIL = frozenset(
    [
        "gmail.com",
        "googlemail.com",
        "outlook.com",
        "hotmail.com",
        "live.com",
        "yahoo.com",
        "icloud.com",
        "aol.com",
        "gmx.de",
        "gmx.net",
        "web.de",
        "proton.me",
        "protonmail.com",
    ]
)
DISPOSABLE = frozenset(
    [
        "mailinator.com",
        "yopmail.com",
        "guerrillamail.com",
        "10minutemail.com",
        "sharklasers.com",
        "trashmail.com",
        "temp-mail.org",
    ]
)


DESKS = frozenset({"info", "sales", "support", "contact"})
FIRST_TO_TELL: Mapping[str, str] = {
    "murky": "zerobounce",
    "foggy": "kickbox",
    "misty": "bouncer",
    "hazy": "emailable",
}
"""Word in an address -> the first verifier, in the order of asking, that comes to a verdict."""
_VERIFIERS = tuple(each.vendor for each in PROVIDERS.values() if each.kind is Kind.EMAIL)
_TOLD = {"bounce": "invalid", "catchall": "accept_all", "unknown": "unknown"}
_UNKNOWN_SHARE = 0.02


@dataclass(frozen=True, slots=True)
class Mailbox:
    """What one verifier finds out about an address."""

    email: str
    verdict: str
    """valid, invalid, accept_all, disposable or unknown."""
    is_role: bool
    is_free: bool
    score: int
    """From 0 to 100; void beside `unknown`."""

    @property
    def account(self) -> str:
        return self.email.rpartition("@")[0]

    @property
    def domain(self) -> str:
        return self.email.rpartition("@")[2]

    @property
    def is_disposable(self) -> bool:
        return self.domain in DISPOSABLE


def mailbox(seed: int, email: str, vendor: str) -> Mailbox:
    """Make up a mailbox. Vendors agree, but that each of them finds out nothing about some that no word tells of."""
    chance = Random(f"{seed} mailbox {email}")
    account, _, domain = email.rpartition("@")
    verdict = _verdict(chance, email, domain)
    score = chance.randint(*_SCORES[verdict])
    is_lost = Random(f"{seed} {vendor} {email}").random() < _UNKNOWN_SHARE and verdict in (
        "valid",
        "invalid",
    )
    if not is_told(vendor, email) or (is_lost and _first_to_tell(email) is None):
        verdict = "unknown"
    return Mailbox(email, verdict, account in DESKS, domain in FREE_MAIL, score)


_SCORES = {
    "valid": (80, 99),
    "invalid": (0, 12),
    "accept_all": (50, 75),
    "disposable": (0, 20),
    "unknown": (15, 40),
}


def is_told(vendor: str, email: str) -> bool:
    """Tell whether no word in the address keeps this verifier from a verdict."""
    first = _first_to_tell(email)
    return first is None or _VERIFIERS.index(vendor) >= _VERIFIERS.index(first)


def verdict_by_word(email: str) -> str | None:
    """Return the verdict that a word in the address tells."""
    return next((verdict for word, verdict in _TOLD.items() if word in email), None)


def _first_to_tell(email: str) -> str | None:
    return next((vendor for word, vendor in FIRST_TO_TELL.items() if word in email), None)


def _verdict(chance: Random, email: str, domain: str) -> str:
    if domain in DISPOSABLE:
        return "disposable"
    verdict = verdict_by_word(email) or ("valid" if _first_to_tell(email) else None)
    return verdict or chance.choices(("valid", "accept_all", "invalid"), (84, 9, 7))[0]


def _maybe(chance: Random, likely: float, value: _Value) -> _Value | None:
    return value if chance.random() < likely else None
