"""PURE What providers of persons share: who may be asked about, whether the record is theirs, and a
person in Clearbit's shape.

Only a personal address is asked about. A desk (info@) is nobody, so whatever a vendor said would be
about somebody else. A free-mail address is a private person's: vendors rarely know one, and the law
is strictest there, so a look-up is neither worth its money nor ours to make.

An address is given to a successor, and a vendor takes one person for another: a record that names
addresses, and not the one that was asked about, is somebody else's and is not written. Where the person
works stands in the answer (`employers`); what follows from it is decided for all providers at once
(`values/employer.py`). Company data is never taken from a person's record.

Hunter has copied Clearbit's shape of a person: its own additions (phone, activeAt) are not read.
"""

from __future__ import annotations

from collections.abc import Iterable

from enricher.answer import Answer, Found, Kind, NotFound, Query
from enricher.identity.address import read
from enricher.providers import reading
from enricher.providers.reading import Sends

SOMEBODY_ELSE = "the record is about somebody else"
EMPTY = "the record is empty"

_TEXTS = {
    "first_name": ("name", "givenName"),
    "last_name": ("name", "familyName"),
    "job_title": ("employment", "title"),
    "role": ("employment", "role"),
    "seniority": ("employment", "seniority"),
    "location": ("location",),
    "timezone": ("timeZone",),
    "linkedin_handle": ("linkedin", "handle"),
    "twitter_handle": ("twitter", "handle"),
    "github_handle": ("github", "handle"),
}
SENDS: Sends = dict.fromkeys(
    (
        *("name.fullName", "name.givenName", "name.familyName", "email", "location", "timeZone"),
        *("employment.title", "employment.domain", "linkedin.handle"),
    ),
    str,
)
RECORD_KEYS = frozenset({"id", "name", "email"})
"""A person's record has at least one of these; what has none is no record."""


def unfit_for_person(query: Query) -> str | None:
    """Why nobody may be asked who this is; `None` when somebody may."""
    if not query.email:
        return "no e-mail address"
    if query.is_role:
        return "role address"
    if query.is_disposable:
        return "disposable address"
    return "free-mail address" if query.is_free_mail else None


def vetted(found: Found, query: Query, addresses: Iterable[str]) -> Answer:
    """What may be written of a record that names these addresses. One that names none is taken at the
    vendor's word: it was asked for one address alone."""
    keys = _keys(addresses)
    is_theirs = not keys or not keys.isdisjoint(_keys([query.email_key or query.email or ""]))
    return found if is_theirs else NotFound(SOMEBODY_ELSE)


def of(values: dict[str, object], *employers: str | None) -> Answer:
    """The answer that these values of `person_data` are. A vendor's id alone is no knowledge."""
    if all(name.endswith("_id") for name in values):
        return NotFound(EMPTY)
    named = tuple(each for each in employers if each)
    return Found({Kind.PERSON.section: values}, employers=named)


def of_record(record: reading.Record) -> Answer:
    """The answer that a record in Clearbit's shape is."""
    return of(person_values(record), reading.text(record, "employment", "domain"))


def person_values(record: reading.Record) -> dict[str, object]:
    """`person_data` out of a record in Clearbit's shape; empty when it says nothing."""
    values: dict[str, object] = {
        **{name: reading.text(record, *path) for name, path in _TEXTS.items()},
        "bio": reading.prose(record, "bio"),
        "avatar_url": reading.web_address(record, "avatar"),
    }
    full = reading.text(record, "name", "fullName") or _joined(values)
    return reading.present({"full_name": full, **values})


def _joined(values: dict[str, object]) -> str | None:
    """Both names, when both are known: half a name is not a full one."""
    first, last = values["first_name"], values["last_name"]
    return f"{first} {last}" if first and last else None


def _keys(addresses: Iterable[str]) -> set[str]:
    """The same for every spelling of one mailbox."""
    return {each.address.key for each in map(read, addresses) if each.address}
