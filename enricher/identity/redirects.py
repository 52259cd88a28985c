"""PURE Where a link leads that stands inside another link.

Search engines, mail filters, social networks and archives wrap the address of a site into one of
their own. No list of them could be complete, so they are known by what they do:

    in the path     any host whose path goes on with http:// shows or forwards that page
    in the query    a value that is a URL, where host or path speak of links or leaving, or the host
                    is a site of profiles anyway; a bare host only where path or sub-domain do so
    encoded         Proofpoint's second version, which writes %3A as -3A and / as _

A company's own page may well carry a URL: where to go after a log-in, where somebody came from.
So parameters that say so lead nowhere, those of a log-in neither, and on pages that speak of no link none
does.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import IntEnum
from urllib.parse import parse_qsl, unquote

from enricher.identity.domains import classify

_IN_PATH = re.compile(r"(?:\A|[/_=:])(https?(?::|%3a)(?:/|%2f)+.+)", re.IGNORECASE)
_AMP = re.compile(r"\A(?:amp|c|v|web/\d+[a-z_]*)/(?:s/)?([\w-]+(?:\.[\w-]+)+(?:/.*)?)\Z")
_PROOFPOINT = re.compile(r"(?:\A|[?&])u=https?-3A__([^_&]+)", re.IGNORECASE)
_URL = re.compile(r"(?:https?:)?//.", re.IGNORECASE)
_HOST = re.compile(r"(?:www\.)?[\w-]+(?:\.[\w-]+)*\.[a-z]{2,}(?:[/?#].*)?", re.IGNORECASE)
_WORD = re.compile(r"[a-z]+")
_SIGN = re.compile(r"[.-]")

_SPEAKS_OF_LINKS = frozenset(
    """
    aclk deref dereferer dereferrer away click clicks cread deeplink defense exit ext external go goto jump l leave link
    linkfilter linkprotect links lnk out outbound outgoing protect protection r redir redirect
    redirector safelink safelinks share sharer track tracking tracker translate url urldefense
    urls visit
    """.split()
)
_LOGS_IN = frozenset("auth login logout oauth signin signout signup sso".split())
_LEADS_BACK = frozenset(
    """
    back callback cancel continue from next origin ref referer referrer return returnto returnurl
    source src text via redirecturi
    """.split()
)


def target_of(host: str, rest: str, *, is_wrapper: bool) -> str | None:
    """The URL or host inside a link; `rest` is all behind the first slash.

    `is_wrapper` when the host is known to show everybody else's pages.
    """
    if "http" not in rest.lower() and "=" not in rest and not is_wrapper:
        return None
    path, _, query = rest.partition("?")
    if found := _IN_PATH.search(path):
        return unquote(found[1]).partition("__;")[0].removesuffix("__")
    if _URL.match(query):
        return query
    if found := _PROOFPOINT.search(query):
        return found[1].replace("-", "%") if "%" in found[1] else found[1]
    if is_wrapper and (found := _AMP.match(path)):
        return found[1]
    words = _WORD.findall(path.lower())
    if not query or not _LOGS_IN.isdisjoint(words):
        return None
    return next(_targets(query, is_wrapper, _who_speaks(host, words)), None)


def _targets(query: str, is_wrapper: bool, speaks: _Speaks) -> Iterator[str]:
    for name, value in parse_qsl(query):
        if _WORD_SIGNS.sub("", name.lower()) in _LEADS_BACK or name.lower().startswith("utm"):
            continue
        if found := _CACHED.match(value):
            yield found[1]
        if (_URL.match(value) and (speaks or is_wrapper or _says_url(name))) or (
            speaks is _Speaks.CLEARLY and name in _NAMES and _HOST.fullmatch(value)
        ):
            yield value


class _Speaks(IntEnum):
    """How much a link says that it is about another."""

    NOT = 0
    BY_NAME = 1
    """The name of its company has such a word in it: click.com.br."""
    CLEARLY = 2


def _who_speaks(host: str, words: list[str]) -> _Speaks:
    below = host.removesuffix(classify(host).registrable or "")
    if not _SPEAKS_OF_LINKS.isdisjoint([*words, *_SIGN.split(below)]):
        return _Speaks.CLEARLY
    return _Speaks.NOT if _SPEAKS_OF_LINKS.isdisjoint(_SIGN.split(host)) else _Speaks.BY_NAME


def _says_url(name: str) -> bool:
    """Whoever gives a page somebody's URL under that name wants it looked at: a test, a shot of the screen."""
    return name.lower() in {"url", "targeturl", "desturl"}


_CACHED = re.compile(r"cache:(?:[\w-]+:)?(https?://.+)", re.IGNORECASE)
_WORD_SIGNS = re.compile(r"[^a-z]")
_NAMES = frozenset({"domain", "q", "u", "url", "to", "target", "dest", "link"})
"""Where a bare host may stand for its site."""
