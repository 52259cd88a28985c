"""PURE What stands around an address or a web site when it was typed, pasted or exported.

One reader for both fields, and so for whoever is asked to be forgotten: quotes of all kinds,
brackets, `mailto:` and other labels, HTML and Markdown links, spreadsheets' apostrophes and
formulas, percent and HTML encoding, and the letters and dots of East Asian keyboards.

It takes off what cannot belong to what is inside, and guesses nothing away: what is left over is
judged by whoever reads an address or a host.
"""

from __future__ import annotations

import html
import re
from urllib.parse import unquote

from enricher.identity.wordlists import SAYS_NOTHING

_INVISIBLE = re.compile(
    "[\u00ad\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff]"
)
_JOINERS = "\u200c\u200d"
"""Legal within Persian and Indic names, so they are only taken off the ends."""

_FULL_WIDTH = {chr(0xFF01 + index): chr(0x21 + index) for index in range(94)}
_SIGNS: dict[str, str] = _FULL_WIDTH | {
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
_PLAIN = str.maketrans(_SIGNS)
"""What Asian keyboards, word processors and other alphabets write for the signs of ASCII."""

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
"""Typed for the full stop beside it: acme,com and acme.com,br. In capitals it may be a column for a country."""
_PERCENT = re.compile(r"%[0-9a-f]{2}", re.IGNORECASE)
_ESCAPED = re.compile(r"\\(?=[_.@*+~-])")
"""As Markdown shields its own signs."""

_BRACKETS = {"<": ">", "(": ")", "[": "]", "{": "}"}
_QUOTES = "\"'`*"
_FORMULAS = ('="', "='")
_AFTER = ",;:!.\\/"
"""What a sentence or a list leaves behind; no host and no address ends in it."""


def visible(text: str) -> str:
    """Without surrounding white space and without characters that nobody meant to type."""
    if text.isascii():
        return text.strip()
    return _INVISIBLE.sub("", text).strip().strip(_JOINERS).strip()


def said(value: str | None) -> str:
    """The text of a field; empty for the ways of saying that there is none."""
    text = visible(value) if value else ""
    return "" if text.lower() in SAYS_NOTHING else text


def plain(text: str) -> str:
    """In the signs of ASCII, as far as these stand for others, and without HTML's encoding."""
    if not text.isascii():
        text = text.translate(_PLAIN)
    if "<" in text:
        text = _TAG.sub(" ", text)
    if "," in text:
        text = _COMMA.sub(".", text)
    return _ENTITY.sub(lambda found: html.unescape(found[0]), text) if "&" in text else text


def links(text: str) -> list[str]:
    """Where the links in a text lead; none when it is no markup."""
    return ["".join(found) for found in _LINK.findall(text)]


def bare(text: str) -> str:
    """Without the quotes, brackets and labels around it."""
    before = None
    while before != text:
        before = text
        text = text[1:] if text.startswith(_FORMULAS) else text
        text = _unbracketed(text.strip().lstrip(_QUOTES).rstrip(_QUOTES + _AFTER))
        if label := _LABEL.match(text):
            text = text[label.end() :]
    return text


def decoded(text: str) -> str:
    """Without percent-encoding, and without the backslashes of Markdown."""
    if "\\" in text:
        text = _ESCAPED.sub("", text)
    while _PERCENT.search(
        text
    ):  # what was encoded twice, or in part, is so until nothing is left of it
        try:
            text = unquote(text, errors="strict").strip()
        except UnicodeDecodeError:
            break
    return text


def _unbracketed(text: str) -> str:
    """A bracket whose other half stands elsewhere inside belongs to the text."""
    closing = _BRACKETS.get(text[:1])
    if closing and text.find(closing, 1) in {-1, len(text) - 1}:
        text = text[1:].removesuffix(closing)
    last = text[-1:]
    if last in _BRACKETS.values() and not any(_closes(last, one) for one in text[:-1]):
        text = text[:-1]
    return text


def _closes(closing: str, one: str) -> bool:
    return _BRACKETS.get(one) == closing
