"""PURE Whom data is about: one mailbox and one company, each as a keyed hash.

A subject stands in two places on a lead. Beside the data (`enriched_data.enrichment_metadata.subject`) it
says what the data was found for, so it survives a writer who saves the lead without our book-keeping.
In the book-keeping (`enrichment.subject`) it says what the answers of the run under way are about, also
when none of them brought any data.

The two halves are told apart because they are corrected apart: another company does not make the
person another one. Nobody without the fleet's secret can guess an address from its hash; `older_mark`,
which earlier versions wrote, could be guessed, and only serves to read what they left.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from enricher.lead import Key, Subject


def subject_of(key: Key, email_key: str | None, company_domain: str | None) -> Subject:
    """Of an `Identity`'s two fields of these names."""
    company = None if company_domain is None else key("company", company_domain)
    return Subject(mailbox_of(key, email_key), company)


def mailbox_of(key: Key, email_key: str | None) -> str | None:
    """The half by which everything about a person is found."""
    return None if email_key is None else key("mailbox", email_key)


def read_subject(value: object) -> Subject | None:
    """What stands on a lead, which others may have written; `None` when it is no subject."""
    if not isinstance(value, Mapping):
        return None
    mailbox, company = value.get("mailbox"), value.get("company")
    return Subject(
        mailbox if isinstance(mailbox, str) else None, company if isinstance(company, str) else None
    )


def older_mark(email_key: str | None, company_domain: str | None) -> str:
    """What versions before the keyed hashes wrote into `enrichment.subject`."""
    text = f"{email_key or ''}\n{company_domain or ''}"
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:32]
