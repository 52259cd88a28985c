"""PURE Whether what a vendor says of a person is about the one who was asked for.

A person moves, an address is given to a successor, a vendor takes one person for another. So a
record that names addresses, and not the one that was asked about, is somebody else's and is not
written; and of a person who works for another company by now, what the record says of that job is
not written to a lead of this company. Company data is never taken from a person's record.
"""

from __future__ import annotations

from collections.abc import Iterable

from enricher.address import read
from enricher.answer import Answer, Found, Kind, NotFound, Query
from enricher.providers.profiles import registrable

SOMEBODY_ELSE = "the record is about somebody else"
EMPTY = "the record is empty"
OF_THE_JOB = frozenset({"job_title", "role", "seniority", "bio"})
"""What a record says about the present employment. Vendors' headlines name job and employer."""


def vetted(
    found: Found, query: Query, addresses: Iterable[str], employers: Iterable[str | None]
) -> Answer:
    """What may be written of a record that names these addresses, and these hosts as the employer's.

    What names neither is taken at the vendor's word: it was asked for one address alone.
    """
    keys = _keys(addresses)
    if keys and keys.isdisjoint(_keys([query.email_key or query.email or ""])):
        return NotFound(SOMEBODY_ELSE)
    known = {each for each in map(registrable, employers) if each}
    if not known or known & _own(query):
        return found
    values = found.sections[Kind.PERSON.section]
    kept = {name: value for name, value in values.items() if name not in OF_THE_JOB}
    return of(kept)


def of(values: dict[str, object]) -> Answer:
    """The answer that these values of `person_data` are. A vendor's id alone is no knowledge."""
    if all(name.endswith("_id") for name in values):
        return NotFound(EMPTY)
    return Found({Kind.PERSON.section: values})


def _keys(addresses: Iterable[str]) -> set[str]:
    """The same for every spelling of one mailbox."""
    return {each.address.key for each in map(read, addresses) if each.address}


def _own(query: Query) -> set[str]:
    """The lead's company: as its writers name it, and as the address has it."""
    host = (query.email or "").rpartition("@")[2]
    own = {query.company_domain, registrable(query.company_domain), registrable(host)}
    return {each for each in own if each}
