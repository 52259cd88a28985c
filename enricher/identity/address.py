"""PURE One e-mail address out of what people type, paste and import.

`read` takes a display name, a list of addresses and whatever is wrapped around them for what they are. It
never guesses: "john doe@acme.com" is no address, because asking about
doe@acme.com could mean asking about somebody else.

The address that vendors are asked about has no +tag (a tag is the person's own note, and vendors
know the mailbox without it); its local part keeps its case, which only its own server may fold.
"""

from __future__ import annotations

import html
import re
import unicodedata
from dataclasses import dataclass
from urllib.parse import unquote

from email_validator import validate_email

from enricher.identity.domains import Domain, DomainKind, ascii_host, classify
from enricher.identity.wordlists import SAYS_NOTHING

# What stands around an address or a web site when it was typed, pasted or exported.
#
# One reader for both fields, and so for whoever is asked to be forgotten: quotes of all kinds,
# brackets, `mailto:` and other labels, HTML and Markdown links, spreadsheets' apostrophes and
# formulas, percent and HTML encoding, and the letters and dots of East Asian keyboards.
#
# It takes off what cannot belong to what is inside, and guesses nothing away: what is left over is
# judged by whoever reads an address or a host.

_INVISIBLE = re.compile(
    "[\u00ad\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff]"
)
_JOINERS = "\u200c\u200d"
"""Legal within Persian and Indic names, so they are only stripped at the ends."""

_FULL_WIDTH = {chr(0xFF01 + index): chr(0x21 + index) for index in range(94)}
_SPELLED: dict[str, str] = _FULL_WIDTH | {
    **dict.fromkeys("\u3002\uff61", "."),
    **dict.fromkeys("\u3001\uff64", ","),
    **dict.fromkeys("\u2018\u2019\u201a\u201b\u02bc\u00b4\u2032", "'"),
    **dict.fromkeys("\u201c\u201d\u201e\u201f\u00ab\u00bb\u2039\u203a\u2033\u300c\u300d", '"'),
    **dict.fromkeys("\u3010\u3014", "["),
    **dict.fromkeys("\u3011\u3015", "]"),
    **dict.fromkeys("\u3008\u300a\u27e8", "<"),
    **dict.fromkeys("\u3009\u300b\u27e9", ">"),
    **dict.fromkeys("\u2022\u00b7\u2219\u30fb", ";"),
    **dict.fromkeys("\u00a0\u3000", " "),
    "\u2026": "...",
}
_PLAIN = str.maketrans(_SPELLED)
"""What Asian keyboards, word processors and other alphabets write for ASCII signs."""

_LINK = re.compile(
    r"""href\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s>"']+))"""  # HTML
    r"""|\]\(\s*<?([^\s()<>]+)[^()]*\)"""  # Markdown
    r"""|\A=hyperlink\(\s*"([^"]*)\"""",  # a spreadsheet's formula
    re.IGNORECASE,
)
_LABEL = re.compile(
    r"(?:mailto|smtp|e-?mail|mail|ur[li]|link|web ?(?:site|page)?|site|home ?page|view-source)\s*[:=]\s*(?://)?",
    re.IGNORECASE,
)
_ENTITY = re.compile(r"&(?:#\d{1,6}|#x[0-9a-f]{1,5}|[a-z]{2,8}\d?);", re.IGNORECASE)
_TAG = re.compile(
    r"</?(?:p|br|div|span|b|i|u|em|strong|font|li|ul|ol|td|tr|small|h[1-6])(?:\s[^<>]*|/)?>",
    re.IGNORECASE,
)
_COMMA = re.compile(
    r"(?<=[a-z0-9]),(?=(?:(?:com|net|org)\b|[a-z]{2}\b)(?:[,.][a-z]{2})?(?:[\s/>)]|\Z))"
)
"""Typed instead of the full stop: acme,com and acme.com,br. In capitals it may be a column for a country."""
_PERCENT = re.compile(r"%[0-9a-f]{2}", re.IGNORECASE)
_ESCAPED = re.compile(r"\\(?=[_.@*+~-])")
"""Markdown's escapes."""

_BRACKETS = {"<": ">", "(": ")", "[": "]", "{": "}"}
_QUOTES = "\"'`*"
_FORMULAS = ('="', "='")
_AFTER = ",;:!.\\/"
"""Left behind by a sentence or a list; no host and no address ends in these."""


def visible(text: str) -> str:
    """Strip surrounding white space, and characters that nobody meant to type."""
    if text.isascii():
        return text.strip()
    return _INVISIBLE.sub("", text).strip().strip(_JOINERS).strip()


def said(value: str | None) -> str:
    """Return the text of a field; empty for all the ways of writing "none"."""
    text = visible(value) if value else ""
    return "" if text.lower() in SAYS_NOTHING else text


def plain(text: str) -> str:
    """Replace look-alike signs by ASCII where they stand for it, and undo HTML's encoding."""
    if not text.isascii():
        text = text.translate(_PLAIN)
    if "<" in text:
        text = _TAG.sub(" ", text)
    if "," in text:
        text = _COMMA.sub(".", text)
    return _ENTITY.sub(lambda found: html.unescape(found[0]), text) if "&" in text else text


def links(text: str) -> list[str]:
    """Return the targets of the links in a text; empty if there is no markup."""
    return ["".join(found) for found in _LINK.findall(text)]


def bare(text: str) -> str:
    """Strip surrounding quotes, brackets and labels."""
    before = None
    while before != text:
        before = text
        text = text[1:] if text.startswith(_FORMULAS) else text
        text = _unbracketed(text.strip().lstrip(_QUOTES).rstrip(_QUOTES + _AFTER))
        if label := _LABEL.match(text):
            text = text[label.end() :]
    return text


def decoded(text: str) -> str:
    """Undo percent-encoding, and Markdown's backslashes."""
    if "\\" in text:
        text = _ESCAPED.sub("", text)
    while _PERCENT.search(text):  # undo double and partial encoding until nothing is left of it
        try:
            text = unquote(text, errors="strict").strip()
        except UnicodeDecodeError:
            break
    return text


def _unbracketed(text: str) -> str:
    """Strip a surrounding bracket. One whose other half is elsewhere inside belongs to the text."""
    closing = _BRACKETS.get(text[:1])
    if closing and text.find(closing, 1) in {-1, len(text) - 1}:
        text = text[1:].removesuffix(closing)
    last = text[-1:]
    if last in _BRACKETS.values() and not any(_closes(last, one) for one in text[:-1]):
        text = text[:-1]
    return text


def _closes(closing: str, one: str) -> bool:
    return _BRACKETS.get(one) == closing


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
"""Allowed between two addresses; elsewhere they may be part of an address that was torn apart."""
_LEFT_OVER = frozenset("'`*{}=/#!?~^|%&")
"""Legal at the ends of a local part, yet no real name begins or ends so: it is the rest of a wrapping."""
_GUEST = "#ext#"
"""How Microsoft's directories name an outside mailbox under a domain of their own."""


@dataclass(frozen=True, slots=True, repr=False)
class Address:
    """A syntactically valid address without its +tag."""

    local: str
    domain: Domain

    @property
    def email(self) -> str:
        """The address to ask vendors about."""
        return f"{self.local}@{self.domain.host}"

    @property
    def key(self) -> str:
        """The same for every spelling of one mailbox. Only Google is known to ignore dots."""
        local = self.local.lower()
        if self.domain.host in _GOOGLE_DOMAINS:
            return f"{local.replace('.', '')}@gmail.com"
        return f"{local}@{self.domain.host}"


@dataclass(frozen=True, slots=True, repr=False)
class Reading:
    """What a text holds: the first valid address, and whether there were more candidates."""

    address: Address | None
    is_ambiguous: bool = False


def read(text: str) -> Reading:
    """Return the first valid address in the text."""
    candidates = _candidates(visible(text))
    addresses = (address for one in candidates if (address := parse(one)) is not None)
    return Reading(next(addresses, None), is_ambiguous=len(set(candidates)) > 1)


def parse(text: str) -> Address | None:
    """Parse one bare address; `None` when it cannot be a mailbox."""
    local, _, host = text.rpartition("@")
    domain = _domain(host)
    is_guest = "#" in local and _GUEST in local.lower()
    name = _local_part(local) if domain and not is_guest else None
    if domain is None or name is None:
        return None
    if len(name.encode()) + 1 + len(domain.host) > _MAX_ADDRESS_BYTES:
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
    """Find addresses: `Jane <jane@x.com>` holds one; separate words count only if each is an address."""
    if bracketed := _IN_BRACKETS.findall(part) or _IN_OTHERS.findall(part):
        return list(bracketed)
    words = [word for word in _COMMENT.sub("", part).split() if not _SIGNS.fullmatch(word)]
    addresses = [word for word in words if "@" in word]
    between = [word.lower() for word in words[1:-1] if "@" not in word]
    are_apart = len(words) == len(addresses) + len(between) and _CONJUNCTIONS.issuperset(between)
    return addresses if addresses and are_apart else [part]


def _mailbox(text: str) -> str:
    """Strip what surrounds the address, and what makes it a link."""
    if link := _MAILTO.search(text):
        text = text[link.start() :].partition("?")[0]
    return bare(decoded(bare(text)))


def _domain(host: str) -> Domain | None:
    """Judge the domain. A bare public suffix (a@co.uk) has no mailboxes."""
    if host.startswith("["):
        return Domain(host, DomainKind.IP_ADDRESS) if _is_ip_literal(host) else None
    name = ascii_host(host.removesuffix("."))
    domain = classify(name) if name else None
    return None if domain is None or domain.kind is DomainKind.SUFFIX else domain


def _local_part(local: str) -> str | None:
    """Return the local part in NFC (RFC 6532, 3.1), or `None`. `domains` judges the real domain.

    Quoted local parts are legal but refused: no vendor takes one.
    """
    if _ORDINARY_LOCAL.fullmatch(local) and len(local) <= _MOST_LOCAL_BYTES:
        return local  # true of nearly all; the library takes as long as the rest of `identify`
    if local[:1] in _LEFT_OVER or local[-1:] in _LEFT_OVER:
        return None
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


def _without_tag(local: str) -> str:
    """Return the part before "+", unless nothing valid would be left of it."""
    base = local.partition("+")[0]
    return base if base and not base.endswith(".") and base[-1] not in _LEFT_OVER else local
