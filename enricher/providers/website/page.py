"""PURE An HTML page, as far as it says whose it is: its head, its links and its text.

A tree of a hostile page may take minutes to build while nothing else of this process runs: 200,000 nested
`<div>`, or as many `<b id=...>`, are quadratic work in the parser. So a page is flattened first, in one
linear pass: only elements that are read are kept, none within another. The parser then sees attributes and
character references, which it reads as browsers do, and no depth.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import urljoin

from selectolax.lexbor import LexborHTMLParser
from w3lib.encoding import html_body_declared_encoding, html_to_unicode, http_content_type_encoding

from enricher.values.storable import one_line

MOST_TEXT = 200_000
"""Characters of visible text that are kept: half from the top, where a page says what it is, and half from
the end, where the footer is."""
_MOST_TAGS = 5_000
_MOST_LINKS = 2_000
_LONGEST_TAG = 4_096
_LONGEST_URL = 2_000
_LONGEST_TITLE = 400
_LONGEST_SCRIPT = 256 * 1024
_MOST_SCRIPTS = 50

_CHARSETS = re.compile(
    r"utf-?_?(8|16|32)|cp\d+|windows|iso|latin|koi8|mac|gb|big5|euc|shift|johab|hz|tis|ascii|ptcp",
    re.IGNORECASE,
)
"""Python knows other codecs, such as punycode, that take quadratic time or are no character sets."""

# No tag reaches past the next "<", and what is not closed reaches to the end: nothing is scanned twice, however
# the page breaks off.
_PIECE = re.compile(
    r"""
      <!--.*?(?:-->|\Z)
    | <(?P<raw>script|style|textarea|xmp|noembed|template)\b(?P<how>[^<>]{0,4096})>(?P<within>.*?)(?:</(?P=raw)[^<>]*>|\Z)
    | <(?P<close>/?)(?P<tag>[a-z][a-z0-9]*)\b(?P<rest>(?:[^<>"']++|"[^"<]*+"|'[^'<]*+')*+(?:["'][^<>]*+)?)>
    | <[!?][^<>]*>
    """,
    re.IGNORECASE | re.DOTALL | re.VERBOSE,
)
_VOID = frozenset({"meta", "link", "base", "frame", "iframe"})
_WITH_TEXT = frozenset({"a", "title", "h1"})
_BREAKS = frozenset(
    "address article aside blockquote br dd div dl dt footer form h1 h2 h3 h4 h5 h6 header hr li main nav"
    " ol option p section table td th title tr ul".split()
)
"""Elements that end a line of text."""


@dataclass(frozen=True, slots=True, repr=False)
class Link:
    """A link of the page: its absolute address, and the text that people click."""

    url: str
    text: str


@dataclass(frozen=True, slots=True, repr=False)
class Head:
    """What a page says of itself."""

    title: str = ""
    meta: Mapping[str, str] = field(default_factory=dict)
    """Name, property or http-equiv, in lower case -> content; the first that says something."""
    icons: tuple[str, ...] = ()
    """Addresses of its icons, the likeliest logo first."""
    canonical: str = ""
    """The address that it gives as its own, in its head or by OpenGraph."""
    language: str = ""
    scripts: tuple[str, ...] = ()
    """The texts of its JSON-LD."""


@dataclass(frozen=True, slots=True, repr=False)
class Page:
    """What is kept of a page. All addresses are absolute."""

    url: str
    head: Head
    heading: str = ""
    links: tuple[Link, ...] = ()
    frames: tuple[str, ...] = ()
    text: str = ""
    raw: str = ""
    """The page as it came, for marks of what it was made with."""


def decode(body: bytes, content_type: str | None) -> str:
    """Return the page as text. Undeclared, it is UTF-8 if it reads as such, and else Windows-1252."""
    named = http_content_type_encoding(content_type) or html_body_declared_encoding(body)
    if named is not None and not _CHARSETS.match(named):
        return body.decode("utf-8", "replace")
    try:
        return html_to_unicode(content_type, body, auto_detect_fun=_likely)[1]
    except (LookupError, ValueError):
        return body.decode("utf-8", "replace")


def _likely(body: bytes) -> str:
    try:
        body[:-4].decode("utf-8")  # the end may have been cut off within a character
    except UnicodeDecodeError:
        return "cp1252"
    return "utf-8"


def read(url: str, markup: str) -> Page:
    """Read a page. `url` is where it came from in the end."""
    flat = _Flat()
    flat.take(markup)
    tree = LexborHTMLParser(flat.markup)
    base, meta = _base(tree, url), _meta(tree)
    stated = next(_addresses(tree, "link[rel=canonical i]", "href", base), None)
    head = Head(
        title=_text_of(tree, "title"),
        meta=meta,
        icons=tuple(_icons(tree, base)),
        canonical=stated or absolute(base, meta.get("og:url", "")) or "",
        language=flat.language,
        scripts=tuple(flat.scripts),
    )
    return Page(
        url=url,
        head=head,
        heading=_text_of(tree, "h1"),
        links=tuple(_links(tree, base)),
        frames=tuple(_addresses(tree, "embed[src]", "src", base)),
        text=flat.text,
        raw=markup,
    )


class _Flat:
    """The elements that are read, one after the other, and the text between all elements."""

    def __init__(self) -> None:
        self.scripts: list[str] = []
        self.language = ""
        self._kept: list[str] = []
        self._open = ""
        self._tags = 0
        self._text: list[str] = []

    @property
    def markup(self) -> str:
        return "<!doctype html><body>" + "".join([*self._kept, self._closing()])

    @property
    def text(self) -> str:
        whole = html.unescape("".join(self._text))
        if len(whole) > MOST_TEXT:
            whole = whole[: MOST_TEXT // 2] + "\n" + whole[-MOST_TEXT // 2 :]
        lines = (" ".join(line.split()) for line in whole.splitlines())
        return "\n".join(line for line in lines if line)

    def take(self, markup: str) -> None:
        for text, piece in _pieces(markup):
            self._say(text)
            if piece is None:
                return
            if piece["raw"]:
                self._take_raw(piece["raw"].lower(), piece["how"], piece["within"])
            elif piece["tag"]:
                self._take_tag(piece["tag"].lower(), bool(piece["close"]), piece["rest"])

    def _say(self, text: str) -> None:
        if text:
            self._text.append(text)
            if self._open:
                self._kept.append(text.replace("<", "&lt;"))

    def _take_raw(self, tag: str, how: str, within: str) -> None:
        is_read = tag == "script" and "ld+json" in how.lower() and len(within) <= _LONGEST_SCRIPT
        if is_read and len(self.scripts) < _MOST_SCRIPTS:
            self.scripts.append(within)

    def _take_tag(self, tag: str, is_end: bool, rest: str) -> None:
        if tag in _BREAKS:
            self._text.append("\n")
        if tag == "html" and not self.language:
            named = re.search(r"""\blang\s*=\s*["']?([A-Za-z]{2,3})\b""", rest[:_LONGEST_TAG])
            self.language = named[1].lower() if named else ""
        if tag not in _VOID and tag not in _WITH_TEXT:
            return
        if is_end:
            if tag == self._open:
                self._close()
            return
        if self._tags >= _MOST_TAGS or len(rest) > _LONGEST_TAG:
            return
        self._tags += 1
        self._close()
        # A frame is only known in a frameset; an embed is void as well, and known everywhere.
        kept = "embed" if tag in ("frame", "iframe") else tag
        self._kept.append(f"<{kept} {rest.rstrip('/ ')} >")
        self._open = tag if tag in _WITH_TEXT else ""

    def _close(self) -> None:
        self._kept.append(self._closing())
        self._open = ""

    def _closing(self) -> str:
        return f"</{self._open}>" if self._open else ""


def _pieces(markup: str) -> Iterator[tuple[str, re.Match[str] | None]]:
    """Yield each piece with the text before it, and the rest of the text at the end.

    Step by step and not by one search: a megabyte in which nothing matches would be one call of a fifth of a
    second, and no other thread runs during a call.
    """
    said = look = 0
    while (begin := markup.find("<", look)) >= 0:
        piece = _PIECE.match(markup, begin)
        look = begin + 1
        if piece is not None:
            yield markup[said:begin], piece
            said = look = piece.end()
    yield markup[said:], None


def _base(tree: LexborHTMLParser, url: str) -> str:
    return next(_addresses(tree, "base[href]", "href", url), url)


def _meta(tree: LexborHTMLParser) -> dict[str, str]:
    found: dict[str, str] = {}
    for node in tree.css("meta[content]"):
        known = node.attributes
        name = (
            known.get("property")
            or known.get("name")
            or known.get("http-equiv")
            or known.get("itemprop")
        )
        content = " ".join(one_line(known.get("content") or "").split())
        if name and content:
            found.setdefault(name.strip().lower(), content)
    return found


def _links(tree: LexborHTMLParser, base: str) -> Iterator[Link]:
    for node in tree.css("a[href]")[:_MOST_LINKS]:
        href = (node.attributes.get("href") or "").strip()
        if href.lower().startswith("tel:"):
            yield Link(href, one_line(node.text()))
        elif url := absolute(base, href):
            yield Link(url, " ".join(node.text().split()))


def _icons(tree: LexborHTMLParser, base: str) -> Iterator[str]:
    """Yield the icons: a touch icon is some 180 pixels wide, the others are favicons."""
    ranked: list[tuple[int, str]] = []
    for node in tree.css("link[rel][href]"):
        words = (node.attributes.get("rel") or "").lower().split()
        url = absolute(base, node.attributes.get("href") or "")
        if url and (rank := _rank_of_icon(words)) is not None:
            ranked.append((rank, url))
    return iter(url for _, url in sorted(ranked, key=lambda each: each[0]))


def _rank_of_icon(words: list[str]) -> int | None:
    if any(word.startswith("apple-touch-icon") for word in words):
        return 0
    return 1 if "icon" in words else None


def _addresses(tree: LexborHTMLParser, selector: str, name: str, base: str) -> Iterator[str]:
    for node in tree.css(selector):
        if url := absolute(base, node.attributes.get(name) or ""):
            yield url


def _text_of(tree: LexborHTMLParser, selector: str) -> str:
    """Return the text of the first such element that has any."""
    texts = (" ".join(node.text().split()) for node in tree.css(selector)[:5])
    return next((text[:_LONGEST_TITLE] for text in texts if text), "")


def absolute(base: str, href: str) -> str | None:
    """Return the absolute http(s) address of a link; `None` for anything else."""
    href = href.strip()
    if not href or len(href) > _LONGEST_URL or href.startswith("#"):
        return None
    try:
        url = urljoin(base, href)
    except ValueError:
        return None
    return url if url.startswith(("http://", "https://")) and len(url) <= _LONGEST_URL else None
