"""PURE Whose site a domain or web site field names: one host, or nobody's.

A link inside a link counts as the inner one (`target_of`). A page on a site that is full of other people's
pages stands for nobody: a profile, a listing, a shop, a form, a short link. Tenants' names below a platform
are judged by `domains`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from enum import IntEnum
from functools import lru_cache
from urllib.parse import parse_qsl, unquote

from enricher.identity.address import bare, links, plain, said
from enricher.identity.domains import (
    BY_THE_LISTS,
    Domain,
    DomainKind,
    Platforms,
    ascii_host,
    classify,
    is_brand_of,
    is_suffix,
    is_under,
    parents,
)
from enricher.identity.wordlists import PLATFORMS, PROFILE_BRANDS, PROFILE_HOSTS, SHORT_LINKS

# Where a link leads that wraps another link.
#
# Search engines, mail filters, social networks and archives wrap the address of a site into one of
# their own. No list of them could be complete, so they are recognised by what they do:
#
#     in the path     any host whose path goes on with http:// shows or forwards that page
#     in the query    a value that is a URL, if host or path have a word for links or leaving, or the host
#                     is a site of profiles anyway; a bare host only if path or sub-domain have one
#     encoded         Proofpoint's second version, which writes %3A as -3A and / as _
#
# A company's own page may well carry a URL: where to go after a log-in, or where a visitor came from. So
# parameters named for that lead nowhere, nor do those of a log-in page; and on pages without a word for
# links, none does.

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
    """Return the URL or host inside a link; `rest` is everything after the first slash.

    `is_wrapper` is true when the host is known to show other people's pages.
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
    """How clearly a link says that it wraps another."""

    NOT = 0
    BY_NAME = 1
    """Its registered name contains such a word: click.com.br."""
    CLEARLY = 2


def _who_speaks(host: str, words: list[str]) -> _Speaks:
    below = host.removesuffix(classify(host).registrable or "")
    if not _SPEAKS_OF_LINKS.isdisjoint([*words, *_SIGN.split(below)]):
        return _Speaks.CLEARLY
    return _Speaks.NOT if _SPEAKS_OF_LINKS.isdisjoint(_SIGN.split(host)) else _Speaks.BY_NAME


def _says_url(name: str) -> bool:
    """A page that gets a URL under that name is asked to look at it: to test it or take a screenshot."""
    return name.lower() in {"url", "targeturl", "desturl"}


_CACHED = re.compile(r"cache:(?:[\w-]+:)?(https?://.+)", re.IGNORECASE)
_WORD_SIGNS = re.compile(r"[^a-z]")
_NAMES = frozenset({"domain", "q", "u", "url", "to", "target", "dest", "link"})
"""Parameters in which a bare host may stand for its site."""


_KEPT_HOSTS = 2048
_LONGEST_URL = 2048
_MOST_HOPS = 3
"""Links inside links; nobody wraps more than two mail filters around one."""

_ORDINARY = re.compile(r"(?:https?://)?[A-Za-z0-9/._-]*[A-Za-z0-9/_-]")
_HTTP = re.compile(r"\A(?:h*t{1,3}p{1,2}s?(?::[:/]*|\.//|/{2,}[:/]*))+", re.IGNORECASE)
_ENCODED_HTTP = re.compile(r"https?(?:%3a|:)(?:%2f|%5c)", re.IGNORECASE)
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*:(?!\d)", re.IGNORECASE)
_PORT = re.compile(r":\d*\Z")
_WWW = re.compile(r"\A(?:w{2,4}\d?\.)+(?=[^.]+\.)")
_WWW_ALONE = re.compile(r"w{2,4}\.[^.]+")
_IN_TEXT = re.compile(r"(?:\A|\s)(?!\A)((?:https?://|www\.)[^\s,;|]+\.[^\s,;|]+)", re.IGNORECASE)
_SITE = re.compile(r"(?:https?://)?(?:[\w-]+\.)+([a-z]{2,})(?::\d+)?(?:[/?#].*)?", re.IGNORECASE)
_TORN = re.compile(r"(?<=://)\s+")
_IN_ANGLES = re.compile(r"<([^<>\s]+\.[^<>\s]+)>")
_APART = re.compile(r"[\s,;|]+")

_ENTRY = re.compile(
    r"(?:[a-z]{2}(?:-[a-z]{2})?/)?(?:(?:profiles?|perfil|profil|lojista|sellers?|vendedor|biz|cmp|users?"
    r"|companies|empresas|entreprises|firmen|branchenbuch|branchen)/([^/?#]{2,})|@([^/?#]{2,}))",
    re.IGNORECASE,
)
"""How directories and market places name the pages of their members."""
_OWN_PAGES = tuple(
    """
    about team contact contat kontakt career job history histor storia news press presse leader
    mission missao value valor overview quem sobre nosotros quienes board investor location profile perfil
    unternehmen ueber login register signin signup index home culture partner sustain esg legal
    impress privacy info philosophy vision visao people who what our nossa nuestr notre meet
    management diretoria trabalhe certific polic politica responsab etica
    """.split()
)
"""What companies call their own pages below such a word."""

_OFFERS = frozenset(
    """
    benefits beneficios brindes business card cards cartao cartoes celular cloud company conta contas
    corporate corporativo corporativos credito cuenta cuentas empresa empresarial empresas emprestimo energia
    energie entreprise fibra fixo gas internet invest kontakt konto maquininha maquininhas mobile movel nuvem
    offer offers oferta ofertas offre offres pj plan planes plano planos plans precos precios presentes preise
    pricing produit produits product products produkte produto produtos productos servico servicos service
    services servicio servicios seguro seguros solucoes soluciones solution solutions tarifas telefonia
    unternehmen
    """.split()
)
"""What companies sell to companies below such a word; a member's name contains another word."""

_HOME = re.compile(
    r"(?:[a-z]{2}[-_][a-z]{2}(?:/home)?|home|index(?:\.[a-z-]+)*\.html?)(?:\?.*)?", re.IGNORECASE
)
_COUNTRY = re.compile(r"[a-z]{2}")
_NAMES_ON_TOP = frozenset(
    """
    facebook.com fb.com instagram.com twitter.com x.com tiktok.com kwai.com threads.net threads.com github.com
    gitlab.com bitbucket.org medium.com dev.to youtube.com youtu.be vimeo.com vk.com ok.ru weibo.com twitch.tv
    soundcloud.com patreon.com behance.net dribbble.com issuu.com scribd.com linktr.ee lnk.bio bio.link
    bio.site taplink.cc campsite.bio flow.page about.me beacons.ai g.page paypal.me picpay.me ko-fi.com
    buymeacoffee.com calendly.com note.com discord.gg angel.co producthunt.com pinterest.com flickr.com
    linkedin.com goo.gl forms.gle tinyurl.com mailchi.mp
    """.split()
)
"""On these, two letters after the slash are a company's name; elsewhere they are a country: apple.com/br."""

_SHORT_HOST = re.compile(r"[a-z0-9-]{1,6}\.(?!co|io|ai)[a-z]{2}")
_SHORT_PATH = re.compile(r"(?=.*[A-Za-z])(?=.*\d|.+[A-Z].*)(?=.*[a-z\d])[A-Za-z0-9_]{4,12}")
"""Made up by a machine: digits or capitals within one word that also has letters."""
_WORDS = re.compile(r"(?:[A-Z]?[a-z]{2,})(?:[A-Z][a-z]{2,})*(?:\d|(?:19|20)\d\d)?|\d+[A-Z]?")
"""Made up by people: ueberUns, Black2025, 500X."""

_SHORTEST_NAME = 3
_LEGAL_FORM = re.compile(
    r"[\s,.-]+(?:ltda|limitada|eireli|epp|mei?|s\.?/?a|s\.?l\.?u?|s\.?a\.?s|s\.?r\.?l|s\.?p\.?a|s\.?a\.?r\.?l|gmbh|ag"
    r"|kg|ug|e\.?k|b\.?v|n\.?v|sp\.? ?z ?o\.?o|ltd|limited|inc|llc|corp|plc|co)\.?(?=\s|$).*",
    re.IGNORECASE,
)


def stated_host(value: str | None, platforms: Platforms = BY_THE_LISTS) -> str | None:
    """Return the host of a domain, a URL or an address that somebody wrote into a domain field.

    Returns `None` for IP addresses, schemes other than http, pages on sites full of others', and texts
    longer than any URL: a vendor's record may hold megabytes, and recent inputs are cached.
    """
    if value is not None and len(value) > _LONGEST_URL:
        return None
    return _stated_host(value, platforms)


@lru_cache(_KEPT_HOSTS)
def _stated_host(value: str | None, platforms: Platforms) -> str | None:
    return _owner(_unwrapped(said(value)), platforms, 0)


def _unwrapped(text: str) -> str:
    """Return the first link or word of the text, with nothing around it."""
    if _ORDINARY.fullmatch(text):
        return text
    text = plain(text)
    text = _TORN.sub("", text)
    held = links(text) or _IN_ANGLES.findall(text) or _first(text) or _IN_TEXT.findall(text)
    text = bare(_APART.split(bare(held[0] if held else text), maxsplit=1)[0])
    return unquote(text) if _ENCODED_HTTP.match(text) else text


def _first(text: str) -> list[str]:
    """Return the first word if it is a host or a link by itself; else a link may follow a name."""
    word = bare(_APART.split(bare(text), maxsplit=1)[0])
    found = _SITE.fullmatch(word)
    return [word] if found and is_suffix(found[1].lower()) else []


def _owner(text: str, platforms: Platforms, hops: int) -> str | None:
    """Return the host that a link stands for, however many links wrap it."""
    text, is_url = _HTTP.subn("", text.replace("\\", "/").lstrip("/"), count=1)
    if not is_url and _SCHEME.match(text):
        return None
    host, rest = _host_and_rest(text)
    if host is None:
        return None
    is_others = _is_site_of_others(host, platforms)
    if hops < _MOST_HOPS and rest and (target := target_of(host, rest, is_wrapper=is_others)):
        return _owner(target, platforms, hops + 1)
    if is_under(host, platforms.removed):
        return host
    is_page = _is_page_of_others(host, rest, hops, is_others)
    return None if is_page or host in platforms.added else host


def _host_and_rest(text: str) -> tuple[str | None, str]:
    authority, *rest = re.split(r"[/?#]", text, maxsplit=1)
    if "%" in authority:
        authority = re.split(r"[/?#\s]", unquote(authority), maxsplit=1)[0]
    name = _PORT.sub("", authority.rpartition("@")[2]).rstrip(".")
    host = ascii_host(name)
    mark = "?" if text[len(authority) : len(authority) + 1] == "?" else ""
    return _without_www(host) if host else None, (mark + "".join(rest)).strip("/")


def _without_www(host: str) -> str | None:
    """Drop "www." unless nothing ownable would be left: www.com.br is somebody's, and www.acme nobody's."""
    if _WWW_ALONE.fullmatch(host) and not is_suffix(host.rpartition(".")[2]):
        return None
    short = _WWW.sub("", host)
    return host if short != host and classify(short).kind is DomainKind.SUFFIX else short


def _is_site_of_others(host: str, platforms: Platforms) -> bool:
    if is_under(host, platforms.removed):
        return False
    return is_under(host, PROFILE_HOSTS) or any(
        is_brand_of(each, PROFILE_BRANDS) for each in parents(host)
    )


def _is_page_of_others(host: str, rest: str, hops: int, is_others: bool) -> bool:
    if is_others:
        is_home = not hops and _is_home(host, rest)
        return not (is_home and classify(host).registrable == host)
    if not rest:
        return False
    if host in PLATFORMS or host in SHORT_LINKS or _is_short_link(host, rest):
        return True
    return _is_entry_of_a_directory(host, rest)


def _is_home(host: str, rest: str) -> bool:
    if _COUNTRY.fullmatch(rest):
        return host not in _NAMES_ON_TOP
    return not rest or _HOME.fullmatch(rest) is not None


def _is_entry_of_a_directory(host: str, rest: str) -> bool:
    """Match /company/acme or /@acme on a site of another name, but not /company/about."""
    if (found := _ENTRY.match(rest)) is None:
        return False
    words = re.findall(r"[a-z0-9]+", (found[1] or found[2]).lower())
    slug = "".join(words)
    own = max(host.split("."), key=len).split("-")
    is_own = slug.startswith(_OWN_PAGES) or _OFFERS.issuperset(words)
    return not is_own and not any(word in slug for word in own)


def _is_short_link(host: str, rest: str) -> bool:
    is_made_up = _SHORT_PATH.fullmatch(rest) and not _WORDS.fullmatch(rest)
    return bool(is_made_up and _SHORT_HOST.fullmatch(host))


def is_tenants_name(domain: Domain, company: str | None) -> bool:
    """Tell whether a company is a tenant below another's domain: acme.newbuilder.com for Acme Ltda.

    The lead itself tells what no list knows yet. It is no tenant if the registered domain is part of its
    name, nor if the label is only a small part of the name: suporte.acme.com for Suporte Técnico Acme.
    """
    if not company or not domain.registrable or len(company) > _LONGEST_URL:
        return False
    below = domain.host.removesuffix(domain.registrable).rstrip(".").rpartition(".")[2]
    label, name = _slug(below), _slug(_LEGAL_FORM.sub("", company))
    owner = _slug(domain.registrable.partition(".")[0])
    if len(label) < _SHORTEST_NAME or owner in name or label in owner:
        return False
    return name.startswith(label) and 2 * len(label) >= len(name)


def _slug(text: str) -> str:
    """Remove accents, case and punctuation."""
    letters = unicodedata.normalize("NFKD", text).casefold()
    return "".join(each for each in letters if each.isalnum())
