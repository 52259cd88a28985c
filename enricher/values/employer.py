"""PURE Whether a person still works for the lead's company, by what a provider says of them.

People change jobs and keep their address in vendors' records. What such a record says of the new job
is true of the person and wrong on a lead of the old company, so it is no value: it is held as an
alternative, and the lead carries the flag `employer_mismatch`. The lead itself stays with its company.

A provider states the employer in `Found.employers`, as its vendor wrote it. One that states none is
taken at its word: it was asked for one address alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from enricher.answer import Found, Kind
from enricher.identity.domains import classify
from enricher.identity.sites import stated_host
from enricher.values.storable import mapping
from enricher.values.types import is_same, type_of

MISMATCH = "employer_mismatch"
OF_THE_JOB = frozenset({"job_title", "role", "seniority", "bio"})
"""What a record says about the present employment. Vendors' headlines name job and employer."""


def owners(named: Iterable[object]) -> frozenset[str]:
    """Whose domains these are, the same for all hosts of one owner, in whatever they are written:
    a domain, a URL, an address. What is nobody's, or no company's own site, is left out."""
    hosts = (stated_host(each) for each in named if isinstance(each, str))
    return frozenset(owner for host in hosts if host and (owner := classify(host).registrable))


def works_elsewhere(found: Found, own: frozenset[str]) -> bool | None:
    """`None` when the answer does not say, or nothing is known to compare it with. `own` are the
    `owners` of the domains that the lead's company has."""
    employers = owners(found.employers)
    return employers.isdisjoint(own) if employers and own else None


def without_disowned_job(
    stored: Mapping[str, Any], said: Mapping[str, Found], own: frozenset[str]
) -> Mapping[str, Any]:
    """`enriched_data` without the job of which its own provider now says that it is at another company:
    the data may be from before the lead's company was corrected."""
    section = Kind.PERSON.section
    values = mapping(stored.get(section))
    origins = mapping(
        mapping(mapping(stored.get("enrichment_metadata")).get("provenance")).get(section)
    )
    gone = {
        name
        for name in OF_THE_JOB & values.keys()
        if (found := said.get(str(origins.get(name)))) and works_elsewhere(found, own)
        if _says_the_same(section, name, values[name], found)
    }
    kept = {name: value for name, value in values.items() if name not in gone}
    return {**stored, section: kept} if gone else stored


def _says_the_same(section: str, name: str, stored: object, found: Found) -> bool:
    read = type_of(section, name).read
    old, new = read(stored), read(found.sections.get(section, {}).get(name))
    return old is not None and new is not None and is_same(section, name, old, new)


def without_job_elsewhere(found: Found, own: frozenset[str]) -> Found:
    """The same answer, in which a job at another company has become an alternative."""
    section = Kind.PERSON.section
    values = found.sections.get(section)
    if not values or not works_elsewhere(found, own):
        return found
    job = {name: value for name, value in values.items() if name in OF_THE_JOB}
    rest = {name: value for name, value in values.items() if name not in OF_THE_JOB}
    unsure = {**found.unsure, section: {**found.unsure.get(section, {}), **job}}
    return replace(found, sections={**found.sections, section: rest}, unsure=unsure)
