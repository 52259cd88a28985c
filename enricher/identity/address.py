"""PURE One e-mail address out of what people type, paste and import.

`read` takes a display name, a list of addresses and all that `wrappings` knows for what they are. It
never guesses: "john doe@acme.com" is no address, because asking about
doe@acme.com could mean asking about somebody else.

The address that vendors are asked about has no +tag (a tag is the person's own note, and vendors
know the mailbox without it); its local part keeps its case, which only its own server may fold.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from email_validator import validate_email

from enricher.identity.desks import is_system
from enricher.identity.domains import Domain, DomainKind, ascii_host, classify
from enricher.identity.wrappings import bare, decoded, links, plain, visible

_MAX_ADDRESS_BYTES = 254
"""RFC 5321, 4.5.3.1.3 with erratum 1690: a path of 256 without its angle brackets."""
_MOST_LOCAL_BYTES = 64
_ORDINARY_LOCAL = re.compile(r"[A-Za-z0-9_+-]+(?:\.[A-Za-z0-9_+-]+)*")

_GOOGLE_DOMAINS = frozenset({"gmail.com", "googlemail.com"})

_ORDINARY = re.compile(rf"{_ORDINARY_LOCAL.pattern}@[A-Za-z0-9.-]+")
_SEPARATORS = re.compile(r"[,;|\r\n\t]+|:{3,}|\s/\s")
_MAILTO = re.compile(r"mailto:", re.IGNORECASE)
_IN_BRACKETS = re.compile(r"<([^<>]*)>")
_IN_OTHERS = re.compile(r"\s[(\[](\S*@\S*)[)\]]\Z")
_COMMENT = re.compile(r"(?<=[^\s(])\s*\([^()@]*\)\Z")
_SIGNS = re.compile(r"[^\w.@%]+|\d+[.)]")
_CONJUNCTIONS = frozenset({"and", "or", "und", "oder", "et", "ou", "y", "o", "e", "en", "i"})
"""Between two addresses; anywhere else they may be part of one that was torn apart."""
_LEFT_OVER = frozenset("'`*{}=/#!?~^|%&")
"""Legal at the ends of a local part, and yet nobody's name begins or ends so: a wrapping is left over."""
_GUEST = "#ext#"
"""How Microsoft's directories name somebody else's mailbox below a domain of their own."""


@dataclass(frozen=True, slots=True, repr=False)
class Address:
    """A syntactically valid address, its +tag taken off."""

    local: str
    domain: Domain

    @property
    def email(self) -> str:
        """As vendors are asked about it."""
        return f"{self.local}@{self.domain.host}"

    @property
    def key(self) -> str:
        """The same for every spelling of one mailbox. Only Google is known to ignore dots."""
        local = self.local.lower()
        if self.domain.host in _GOOGLE_DOMAINS:
            return f"{local.replace('.', '')}@gmail.com"
        return f"{local}@{self.domain.host}"

    @property
    def is_system(self) -> bool:
        """A machine writes from it and nobody reads it."""
        return is_system(self.local)


@dataclass(frozen=True, slots=True, repr=False)
class Reading:
    """What a text holds: the first valid address, and whether there were more candidates."""

    address: Address | None
    is_ambiguous: bool = False


def read(text: str) -> Reading:
    """The first valid address in the text."""
    candidates = _candidates(visible(text))
    addresses = (address for one in candidates if (address := parse(one)) is not None)
    return Reading(next(addresses, None), is_ambiguous=len(set(candidates)) > 1)


def parse(text: str) -> Address | None:
    """One bare address, or `None` when it cannot be a mailbox."""
    local, _, host = text.rpartition("@")
    domain = _domain(host)
    name = _local_part(local) if domain and not _is_guest(local) else None
    if domain is None or name is None or _is_too_long(name, domain.host):
        return None
    return Address(_without_tag(name), domain)


def _candidates(text: str) -> list[str]:
    if _ORDINARY.fullmatch(text):
        return [text]
    text = plain(text)
    parts = [part for one in links(text) or [text] for part in _SEPARATORS.split(one)]
    found = [one for part in parts for one in _in_part(part)]
    return [mailbox for one in found if "@" in (mailbox := _mailbox(one))]


def _in_part(part: str) -> list[str]:
    """`Jane <jane@x.com>` holds one; words apart are addresses only when each of them is one."""
    if bracketed := _IN_BRACKETS.findall(part) or _IN_OTHERS.findall(part):
        return list(bracketed)
    words = [word for word in _COMMENT.sub("", part).split() if not _SIGNS.fullmatch(word)]
    addresses = [word for word in words if "@" in word]
    between = [word.lower() for word in words[1:-1] if "@" not in word]
    are_apart = len(words) == len(addresses) + len(between) and _CONJUNCTIONS.issuperset(between)
    return addresses if addresses and are_apart else [part]


def _mailbox(text: str) -> str:
    """Without what stands around it, and without what makes it a link."""
    if link := _MAILTO.search(text):
        text = text[link.start() :].partition("?")[0]
    return bare(decoded(bare(text)))


def _domain(host: str) -> Domain | None:
    """A bare public suffix (a@co.uk) has no mailboxes."""
    if host.startswith("["):
        return Domain(host, DomainKind.IP_ADDRESS) if _is_ip_literal(host) else None
    name = ascii_host(host.removesuffix("."))
    domain = classify(name) if name else None
    return None if domain is None or domain.kind is DomainKind.SUFFIX else domain


def _local_part(local: str) -> str | None:
    """The local part in NFC (RFC 6532, 3.1). The real domain is judged by `domains`.

    Quoted local parts are legal and refused all the same: no vendor takes one.
    """
    if _ORDINARY_LOCAL.fullmatch(local) and len(local) <= _MOST_LOCAL_BYTES:
        return (
            local  # nearly all are; the library takes as long as all else about a lead's identity
        )
    if local[:1] in _LEFT_OVER or local[-1:] in _LEFT_OVER:
        return None
    try:
        validate_email(f"{local}@a.com", check_deliverability=False, strict=True)
    except ValueError:
        return None
    return unicodedata.normalize("NFC", local)


def _is_guest(local: str) -> bool:
    return "#" in local and _GUEST in local.lower()


def _is_ip_literal(host: str) -> bool:
    try:
        validate_email(f"a@{host}", check_deliverability=False, allow_domain_literal=True)
    except ValueError:
        return False
    return True


def _is_too_long(local: str, host: str) -> bool:
    return len(local.encode()) + 1 + len(host) > _MAX_ADDRESS_BYTES


def _without_tag(local: str) -> str:
    """The part before "+", unless nothing valid would be left of it."""
    base = local.partition("+")[0]
    return base if base and not base.endswith(".") and base[-1] not in _LEFT_OVER else local
