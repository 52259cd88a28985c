"""PURE What providers of persons share: who may be asked about, and a person in Clearbit's shape.

Only a personal address is asked about. A desk (info@) is nobody, so whatever a vendor said would be
about somebody else. A free-mail address is a private person's: vendors rarely know one, and the law
is strictest there, so a look-up is neither worth its money nor ours to make.

Hunter has copied Clearbit's shape of a person: its own additions (phone, activeAt) are not read.
"""

from __future__ import annotations

from enricher.answer import Query
from enricher.providers import reading

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
