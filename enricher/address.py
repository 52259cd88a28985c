"""PURE One e-mail address out of what people type, paste and import.

`read` takes a display name, a `mailto:` link, a list of addresses or stray invisible characters
for what they are. It never guesses: "john doe@acme.com" is no address, because asking about
doe@acme.com could mean asking about somebody else.

The address that vendors are asked about has no +tag (a tag is the person's own note, and vendors
know the mailbox without it); its local part keeps its case, which only its own server may fold.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from urllib.parse import unquote

from email_validator import validate_email

from enricher.domains import Domain, Kind, ascii_host, classify
from enricher.wordlists import ROLES

_MAX_ADDRESS_BYTES = 254
"""RFC 5321, 4.5.3.1.3 with erratum 1690: a path of 256 without its angle brackets."""
_MOST_LOCAL_BYTES = 64
_ORDINARY_LOCAL = re.compile(r"[A-Za-z0-9_+-]+(?:\.[A-Za-z0-9_+-]+)*")

_WITHOUT_DASHES = str.maketrans("", "", "-_.")
_LONGEST_INITIALS = 3
"""i.t@ and h.r@ are people, it@ and hr@ are not."""

_GOOGLE_DOMAINS = frozenset({"gmail.com", "googlemail.com"})

_SYSTEM = re.compile(
    r"""(?: (?:no|dont|do[-._]?not)[-._]?reply | (?:mailer|mail)[-._]?daemon | postmaster | bounces?
        | auto[-._]?(?:reply|responder) | nobody | null | devnull )
        (?: [-._=0-9] .* )? \Z""",
    re.VERBOSE | re.IGNORECASE | re.DOTALL,
)

_INVISIBLE = re.compile(
    "[\u00ad\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff]"
)
_JOINERS = "\u200c\u200d"
"""Legal within Persian and Indic names, so they are only taken off the ends."""

_NEEDS_SPLITTING = re.compile(r"[\s,;|<>:'\"]")
_SEPARATORS = re.compile(r"[,;|\r\n\t]+|\s/\s")
_IN_BRACKETS = re.compile(r"<([^<>]*)>")
_MAILTO = re.compile(r"mailto:", re.IGNORECASE)
_QUOTED = re.compile(r"""(["'])(.*)\1\Z""", re.DOTALL)


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
    def is_role(self) -> bool:
        """A desk reads it, not a person."""
        local = self.local.lower()
        joined = local.translate(_WITHOUT_DASHES)
        return local in ROLES or (joined in ROLES and len(joined) > _LONGEST_INITIALS)

    @property
    def is_system(self) -> bool:
        """A machine writes from it and nobody reads it."""
        return _SYSTEM.match(self.local) is not None


@dataclass(frozen=True, slots=True, repr=False)
class Reading:
    """What a text holds: the first valid address, and whether there were more candidates."""

    address: Address | None
    is_ambiguous: bool = False


def visible(text: str) -> str:
    """Without surrounding white space and without characters that nobody meant to type."""
    if text.isascii():
        return text.strip()
    return _INVISIBLE.sub("", text).replace("\uff20", "@").strip().strip(_JOINERS).strip()


def read(text: str) -> Reading:
    """The first valid address in the text."""
    candidates = _candidates(visible(text))
    addresses = (address for one in candidates if (address := parse(one)) is not None)
    return Reading(next(addresses, None), is_ambiguous=len(set(candidates)) > 1)


def parse(text: str) -> Address | None:
    """One bare address, or `None` when it cannot be a mailbox."""
    local, _, host = text.rpartition("@")
    domain = _domain(host)
    name = _local_part(local) if domain else None
    if domain is None or name is None or _is_too_long(name, domain.host):
        return None
    return Address(_without_tag(name), domain)


def _candidates(text: str) -> list[str]:
    if not _NEEDS_SPLITTING.search(text):
        return [text]
    found = [one for part in _SEPARATORS.split(text) for one in _in_part(part)]
    return [bare for one in found if "@" in (bare := _bare(one))]


def _in_part(part: str) -> list[str]:
    """`Jane <jane@x.com>` holds one; words apart are addresses only when each of them is one."""
    if bracketed := _IN_BRACKETS.findall(part):
        return list(bracketed)
    words = part.split()
    return words if all("@" in word for word in words) else [part]


def _bare(text: str) -> str:
    """Without quotes all around, and without what makes it a link."""
    text = text.strip()
    if quoted := _QUOTED.match(text):
        text = quoted[2].strip()
    if link := _MAILTO.match(text):
        text = unquote(text[link.end() :].partition("?")[0])
    return text


def _domain(host: str) -> Domain | None:
    """A bare public suffix (a@co.uk) has no mailboxes."""
    if host.startswith("["):
        return Domain(host, Kind.IP_ADDRESS) if _is_ip_literal(host) else None
    name = ascii_host(host.removesuffix("."))
    domain = classify(name) if name else None
    return None if domain is None or domain.kind is Kind.SUFFIX else domain


def _local_part(local: str) -> str | None:
    """The local part in NFC (RFC 6532, 3.1). The real domain is judged by `domains`.

    Quoted local parts are legal and refused all the same: no vendor takes one.
    """
    if _ORDINARY_LOCAL.fullmatch(local) and len(local) <= _MOST_LOCAL_BYTES:
        return (
            local  # nearly all are; the library takes as long as all else about a lead's identity
        )
    try:
        validate_email(f"{local}@a.com", check_deliverability=False, strict=True)
    except ValueError:
        return None
    return unicodedata.normalize("NFC", local)


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
    return base if base and not base.endswith(".") else local
