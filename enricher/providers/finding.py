"""PURE Whether what a vendor found by a company's name is that company, and how sure that is.

A vendor that is asked by a name answers with its best guess, which may be any company. So nothing of a record is used
unless its own name is the one that was asked for, letter by letter but for the legal form, and its domain fits that
name. How well it fits is the confidence:

    the domain is the name, letter by letter    0.9    sure: nobody else is asked
    the domain holds the name, or its initials  0.6    the next finder has to say the same, if there is one
    neither                                     -      not found

A vendor's own likelihood can only lower it.
"""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import urlencode

from enricher.answer import Answer, Found, Kind, NotFound, Query
from enricher.identity.common_names import own_words
from enricher.identity.domains import DomainKind, classify
from enricher.identity.identify import stated_host
from enricher.identity.names import (
    agree,
    are_initials,
    is_same_name,
    is_spelt_in,
    label_of,
    name_key,
)
from enricher.values.types import handle_of

SURE = 0.9
"""Such a find needs no second opinion."""
LIKELY = 0.6
OTHER_NAME = "the vendor's company has another name"
OTHER_DOMAIN = "the domain does not fit the company's name"
NO_DOMAIN = "no domain of the company's own"


def unfit(query: Query) -> str | None:
    """Return why no domain is to be found for this query."""
    return None if query.sought and not query.company_domain else query.why_not_sought


def profile_of(query: Query) -> str | None:
    """Return the company's LinkedIn profile, which makes a name much surer; a person's is not sent along."""
    handle = handle_of("linkedin", query.linkedin)
    return f"linkedin.com/{handle}" if handle and handle.startswith("company/") else None


def question_of(path: str, query: Query) -> str:
    """Return what is asked, the same for every spelling of the name."""
    about = {"name": name_key(query.sought or ""), "profile": profile_of(query)}
    return f"{path}?{urlencode({key: text for key, text in about.items() if text})}"


def agreed(found: Found, query: Query, name: str | None, likelihood: float = 1.0) -> Answer:
    """Return the answer with its confidence, or `NotFound` if it is about another company. `name` is the record's,
    as the vendor has it."""
    sought, section = query.sought, Kind.COMPANY.section
    values = found.sections[section]
    if sought is None or not name or not is_same_name(name, sought):
        return NotFound(OTHER_NAME)
    domain = owned(values.get("domain"))
    if domain is None:
        return NotFound(NO_DOMAIN)
    if (fit := _fit(sought, label_of(domain))) is None:
        return NotFound(OTHER_DOMAIN)
    sections = {**found.sections, section: {**values, "domain": domain}}
    return replace(found, sections=sections, confidence=min(fit, likelihood))


def owned(named: object) -> str | None:
    """Return the registrable domain of what a record has as the company's, if a company can own it."""
    host = stated_host(named) if isinstance(named, str) else None
    domain = classify(host) if host else None
    return domain.registrable if domain and domain.kind is DomainKind.BUSINESS else None


def _fit(name: str, label: str) -> float | None:
    if is_spelt_in(name, label):
        return SURE
    is_likely = agree(own_words(name), label) or are_initials(name, label)
    return LIKELY if is_likely else None
