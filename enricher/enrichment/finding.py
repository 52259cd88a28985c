"""From a company's name to its domain, where a lead has no other (`ENRICHER_FIND_DOMAIN`).

The finders are asked one after the other, before all other providers of the company, until one is sure. One that is
not sure needs the next to name the same company; where two name different ones the name is ambiguous, and nothing
of either is used. A finder that cannot be asked now has no say. What a finder is sure of is decided by
`providers/finding.py`, and whether a name is looked for at all by `identity/common_names.py`.

A domain found so stands on the lead with its confidence and the flag `domain_found_by_name`. In a later attempt of
the same run it is read from there.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from enricher.answer import Answer, Found, Kind, NotFound, Query
from enricher.providers.finding import SURE, owned
from enricher.values.merge import METADATA
from enricher.values.storable import mapping

BY_NAME = "domain_found_by_name"
"""Flag of a lead whose company has no other domain than one that was found by its name."""
AMBIGUOUS = "several companies have this name"
NOT_NEEDED = "the domain was found"
SAME_RECORD = "its record was found by the company's name"
_TENTHS = 10


def found_domain(data: Mapping[str, Any], finders: Collection[str]) -> str | None:
    """Return the domain on a lead, if one of these finders found it."""
    section = Kind.COMPANY.section
    origins = mapping(mapping(mapping(data.get(METADATA)).get("provenance")).get(section))
    is_found = origins.get("domain") in finders
    return owned(mapping(data.get(section)).get("domain")) if is_found else None


def knowing(query: Query, domain: str | None) -> Query:
    """Return the query of a company that has this domain."""
    return query if domain is None else replace(query, company_domain=domain, no_company_domain="")


def is_settled(answers: Mapping[str, Answer]) -> bool:
    """Tell whether no further finder needs to be asked."""
    finds = _finds(answers)
    is_sure = any((each.confidence or 0) * _TENTHS >= SURE * _TENTHS for each in finds.values())
    return is_sure or len(finds) > 1


def settled(answers: Mapping[str, Answer]) -> Mapping[str, Answer]:
    """Return the finders' answers as they count: none of them where they name different companies, and surer ones
    where they name the same."""
    finds = _finds(answers)
    if len(finds) < 2:  # noqa: PLR2004 - nobody disagrees with itself
        return answers
    if len({domain_of(each) for each in finds.values()}) > 1:
        return {**answers, **dict.fromkeys(finds, NotFound(AMBIGUOUS))}
    together = 1 - math.prod(1 - (each.confidence or 0) for each in finds.values())
    surer = {name: replace(each, confidence=round(together, 2)) for name, each in finds.items()}
    return {**answers, **surer}


def domain_of(answer: Found) -> str | None:
    """Return the domain that a finder's answer names."""
    return owned(mapping(answer.sections.get(Kind.COMPANY.section)).get("domain"))


def _finds(answers: Mapping[str, Answer]) -> dict[str, Found]:
    return {name: each for name, each in answers.items() if isinstance(each, Found)}
