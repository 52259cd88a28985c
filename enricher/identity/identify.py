"""PURE Who a lead is: the one address and the one company domain that providers may be asked about.

Writers store what people typed; vendors charge for every question. So everything between the two
is decided here, once: what the fields mean, which company they stand for, and whether a paid call
can be worth its money at all (`Identity.reason`).

    company domain   company_domain, else website, else the domain of the address: the first that
                     a company can own. What a user wrote beats what an address implies.
    reason           `None` as long as there is something to ask. A disposable, reserved, internal
                     or system address ends the lead whatever else it says; a malformed one does
                     not if the lead names a company domain or a website.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from enricher.answer import Query
from enricher.identity.address import Address, Reading, read, said
from enricher.identity.desks import DESKS, Desks, desk_key, is_desk, is_system
from enricher.identity.domains import (
    BY_THE_LISTS,
    Domain,
    DomainKind,
    Platforms,
    ascii_host,
    classify,
    is_under,
)
from enricher.identity.sites import is_tenants_name, stated_host
from enricher.lead import Inputs, Key, Reason, Subject

# What an operator says about names, where the lists are silent or wrong for them.
#
# One value, made once from the settings, goes wherever a lead is identified: into the daemon, `explain`,
# `backfill` and `forget` alike, or these would speak of different leads.

_AWAY = "-"
"""In front of an entry: removes it, whatever the lists say."""


@dataclass(frozen=True, slots=True, eq=False)
class OwnWords:
    """Equal only to itself, so that cache look-ups need not compare its sets."""

    internal_domains: frozenset[str] = frozenset()
    """Domains whose leads are skipped."""
    desks: Desks = DESKS
    platforms: Platforms = BY_THE_LISTS


NO_WORDS = OwnWords()


def own_words(
    internal_domains: Iterable[str] = (),
    role_names: Iterable[str] = (),
    platform_domains: Iterable[str] = (),
) -> OwnWords:
    """Build it from the settings' entries; an entry with "-" in front removes one."""
    roles, no_roles = _sorted_out(role_names)
    platforms, no_platforms = _sorted_out(platform_domains)
    return OwnWords(
        _hosts(internal_domains),
        DESKS.changed(map(desk_key, roles), map(desk_key, no_roles)),
        Platforms(_hosts(platforms), _hosts(no_platforms)) if platform_domains else BY_THE_LISTS,
    )


def _sorted_out(entries: Iterable[str]) -> tuple[list[str], list[str]]:
    """Split the entries into those to add and those to remove."""
    written = list(entries)
    away = [one.removeprefix(_AWAY) for one in written if one.startswith(_AWAY)]
    return [one for one in written if not one.startswith(_AWAY)], away


def _hosts(names: Iterable[str]) -> frozenset[str]:
    return frozenset(host for name in names if (host := ascii_host(name.strip().strip("."))))


MULTIPLE_EMAILS = "multiple_emails"
"""Flag of an address field that holds several addresses; the first valid one counts."""
_TOO_LONG = "too long"
"""How `Inputs.malformed` marks text beyond its limit; any other mark means that it is not text."""


@dataclass(frozen=True, slots=True, repr=False)
class Identity:
    """A lead's inputs, normalised. Has no repr on purpose: it would end up in a log."""

    email: str | None = None
    """The address vendors are asked about: A-label domain, no +tag, the local part's case kept."""
    email_key: str | None = None
    """The same for every spelling of one mailbox; for cache keys, never to send mail to."""
    company_domain: str | None = None
    """Registrable domain in A-labels, by which the company is looked up."""
    no_company_domain: str = ""
    """Why there is no `company_domain`, as a short phrase; empty when there is one."""
    full_name: str | None = None
    company: str | None = None
    is_free_mail: bool = False
    is_disposable: bool = False
    is_role: bool = False
    is_valid: bool = True
    """False when the lead has an address that cannot be a mailbox."""
    flags: frozenset[str] = frozenset()
    """multiple_emails, typo_suspected, domain_conflict, education."""
    reason: Reason | None = None
    """Why no paid call is worth making; `None` when there is something to ask."""

    @property
    def query(self) -> Query:
        """Return the query that providers get."""
        return Query(
            email=self.email,
            email_key=self.email_key,
            company_domain=self.company_domain,
            no_company_domain=self.no_company_domain,
            full_name=self.full_name,
            company=self.company,
            is_role=self.is_role,
            is_free_mail=self.is_free_mail,
            is_disposable=self.is_disposable,
            is_valid=self.is_valid,
        )


@dataclass(frozen=True, slots=True, repr=False)
class _Stated:
    """What the lead's own company_domain and website say, next to its address."""

    domain: Domain | None = None
    reason: Reason | None = None
    """Set when they name a domain that must not be asked about."""


def identify(inputs: Inputs, words: OwnWords = NO_WORDS) -> Identity:
    """Identify the lead. Never raises, whatever the strings hold."""
    internal = words.internal_domains
    text = said(inputs.email)
    reading = _read(text, words) if text else Reading(None)
    address = reading.address
    askable = None if address and address.domain.kind is DomainKind.IP_ADDRESS else address
    stated = _stated(inputs, words)
    company = _company(address, stated.domain)
    is_valid = address is not None or not (text or "email" in inputs.malformed)
    reason = _reason(address, internal) or (
        None if company or askable else _nothing_left(inputs, address, stated, is_valid)
    )
    return Identity(
        email=askable.email if askable else None,
        email_key=askable.key if askable else None,
        company_domain=company.registrable if company and not reason else None,
        no_company_domain=_why_no_company(company, reason, address),
        full_name=_clean(inputs.name),
        company=_clean(inputs.company),
        is_free_mail=address is not None and address.domain.kind is DomainKind.FREE_MAIL,
        is_disposable=address is not None and address.domain.kind is DomainKind.DISPOSABLE,
        is_role=address is not None and is_desk(address.local, address.domain.host, words.desks),
        is_valid=is_valid,
        flags=frozenset(_flags(reading, stated.domain)),
        reason=reason,
    )


def _read(text: str, words: OwnWords) -> Reading:
    reading = read(text)
    if reading.address is None or words.platforms is BY_THE_LISTS:
        return reading
    domain = words.platforms.judge(reading.address.domain)
    return replace(reading, address=replace(reading.address, domain=domain))


def _reason(address: Address | None, internal: frozenset[str]) -> Reason | None:
    """Return the reason why its address ends the lead, whatever else the lead says."""
    if address is None:
        return None
    if address.domain.kind is DomainKind.DISPOSABLE:
        return Reason.DISPOSABLE_ADDRESS
    if is_under(address.domain.host, internal):
        return Reason.INTERNAL_DOMAIN
    if address.domain.kind is DomainKind.RESERVED:
        return Reason.RESERVED_DOMAIN
    return Reason.SYSTEM_ADDRESS if is_system(address.local) else None


def _nothing_left(
    inputs: Inputs, address: Address | None, stated: _Stated, is_valid: bool
) -> Reason:
    """Return what was wrong with a lead that leaves no address and no company to ask about."""
    if address is not None:
        return Reason.RESERVED_DOMAIN  # an IP literal: it belongs to a machine
    if is_valid:
        return stated.reason or Reason.NOTHING_TO_GO_BY
    is_text = inputs.malformed.get("email", _TOO_LONG) == _TOO_LONG
    return Reason.INVALID_EMAIL if is_text else Reason.INVALID_INPUT


def _company(address: Address | None, stated: Domain | None) -> Domain | None:
    if stated is not None:
        return stated
    if address is not None and address.domain.kind is DomainKind.BUSINESS:
        return address.domain
    return None


def _why_no_company(company: Domain | None, reason: Reason | None, address: Address | None) -> str:
    """Say why there is no company. Without a reason, the address's domain is not a company's."""
    if reason is not None:
        return reason.value.replace("_", " ")
    return "" if company or address is None else address.domain.kind.value


def _flags(reading: Reading, stated: Domain | None) -> Iterator[str]:
    own = reading.address.domain if reading.address else None
    if reading.is_ambiguous:
        yield MULTIPLE_EMAILS
    if own and own.is_typo:
        yield "typo_suspected"
    if own and own.registrable and stated and stated.registrable != own.registrable:
        yield "domain_conflict"
    if (deciding := stated or own) and deciding.is_education:
        yield "education"


def _stated(inputs: Inputs, words: OwnWords) -> _Stated:
    """Return the first of company_domain and website that a company can own.

    A free-mail service, a profile page or an address in a private network says nothing about the
    company, so it does not hide what the other fields say.
    """
    reason: Reason | None = None
    for text in (inputs.company_domain, inputs.website):
        host = stated_host(text, words.platforms)
        if host is None:
            continue
        domain = words.platforms.judge(classify(host))
        if is_under(host, words.internal_domains):
            reason = reason or Reason.INTERNAL_DOMAIN
        elif domain.kind is DomainKind.BUSINESS:
            if not is_tenants_name(domain, inputs.company):
                return _Stated(domain)
        elif domain.kind is DomainKind.RESERVED:
            reason = reason or Reason.RESERVED_DOMAIN
    return _Stated(reason=reason)


def _clean(value: str | None) -> str | None:
    """Return a name as one line of valid Unicode, or `None`."""
    text = said(value)
    if not text.isprintable():
        text = "".join(one if _is_writable(one) else " " for one in text)
    return unicodedata.normalize("NFC", " ".join(text.split())) or None


def _is_writable(character: str) -> bool:
    """Tell whether it is not a control character, a lone surrogate, private or unassigned."""
    return unicodedata.category(character) not in {"Cc", "Cs", "Cn", "Co"}


# Whom data is about: one mailbox and one company, each as a keyed hash.
#
# A subject stands in two places on a lead. Beside the data (`enriched_data.enrichment_metadata.subject`) it
# says what the data was found for, so it survives a writer who saves the lead without our book-keeping.
# In the book-keeping (`enrichment.subject`) it says what the answers of the run under way are about, also
# when none of them brought any data.
#
# The two halves are told apart because they are corrected apart: another company does not make the
# person another one. Nobody without the fleet's secret can guess an address from its hash; `older_mark`,
# which earlier versions wrote, could be guessed, and only serves to read what they left.


def subject_of(key: Key, email_key: str | None, company_domain: str | None) -> Subject:
    """Return the subject for an `Identity`'s two fields of these names."""
    company = None if company_domain is None else key("company", company_domain)
    return Subject(mailbox_of(key, email_key), company)


def mailbox_of(key: Key, email_key: str | None) -> str | None:
    """Return the half by which everything about a person is found."""
    return None if email_key is None else key("mailbox", email_key)


def read_subject(value: object) -> Subject | None:
    """Read a subject from a lead, where others may have written; `None` when it is not one."""
    if not isinstance(value, Mapping):
        return None
    mailbox, company = value.get("mailbox"), value.get("company")
    return Subject(
        mailbox if isinstance(mailbox, str) else None, company if isinstance(company, str) else None
    )


def older_mark(email_key: str | None, company_domain: str | None) -> str:
    """Return what versions before the keyed hashes wrote into `enrichment.subject`."""
    text = f"{email_key or ''}\n{company_domain or ''}"
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:32]
