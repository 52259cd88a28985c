"""PURE Who a lead is: the one address and the one company domain that providers may be asked about.

Writers store what people typed; vendors charge for every question. So everything between the two
is decided here, once: what the fields mean, which company they stand for, and whether a paid call
can be worth its money at all (`Identity.reason`).

    company domain   company_domain, else website, else the domain of the address: the first that
                     a company can own. What a user wrote beats what an address implies.
    reason           `None` as long as there is something to ask. A disposable, reserved, internal
                     or system address ends the lead whatever else it says; a malformed one does
                     not if the lead names a company domain or a website.

A domain or web site field names one host, or nobody's (`stated_host`, which reads vendors' fields too). A link
inside a link counts as the inner one (`target_of`). A page on a site that is full of other people's pages
stands for nobody: a profile, a listing, a shop, a form, a short link. Tenants' names below a platform are
judged by `domains`.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import IntEnum
from functools import lru_cache
from urllib.parse import parse_qsl, unquote

from enricher.answer import Query
from enricher.identity.address import (
    DESKS,
    Address,
    Desks,
    Reading,
    bare,
    desk_key,
    is_desk,
    is_system,
    links,
    plain,
    read,
    said,
)
from enricher.identity.cnpj import read_cnpj
from enricher.identity.common_names import why_not_sought
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
from enricher.identity.names import name_key
from enricher.identity.wordlists import (
    PLATFORMS,
    PROFILE_BRANDS,
    PROFILE_HOSTS,
    RESERVED_TLDS,
    SHORT_LINKS,
)
from enricher.lead import Inputs, Key, Reason, Subject

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

_HOST_ALONE = re.compile(
    r"(?!ww|.*xn--)(?=.{1,253}\Z)(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,63}"
)
"""A host as it is, with nothing to take off and nothing to undo: what vendors and most writers write."""
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
    if value is None or len(value) > _LONGEST_URL:
        return None
    return _stated_host(value, platforms)


@lru_cache(_KEPT_HOSTS)
def _stated_host(value: str, platforms: Platforms) -> str | None:
    if _HOST_ALONE.fullmatch(value):
        return _owner_of_page(value, "", platforms, 0)
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
    return None if host is None else _owner_of_page(host, rest, platforms, hops)


def _owner_of_page(host: str, rest: str, platforms: Platforms, hops: int) -> str | None:
    """Return the host that a page stands for; `rest` is everything after the first slash."""
    names = parents(host)
    is_one_companys = not platforms.removed.isdisjoint(names)
    is_others = not is_one_companys and _is_site_of_others(host, names)
    if hops < _MOST_HOPS and rest and (target := target_of(host, rest, is_wrapper=is_others)):
        return _owner(target, platforms, hops + 1)
    if is_one_companys:
        return host
    is_page = (is_others or rest) and _is_page_of_others(host, rest, hops, is_others)
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


def _is_site_of_others(host: str, names: list[str]) -> bool:
    if not PROFILE_HOSTS.isdisjoint(names):
        return True
    if PROFILE_BRANDS.isdisjoint(host.split(".")):
        return False
    return any(is_brand_of(each, PROFILE_BRANDS) for each in names)


def _is_page_of_others(host: str, rest: str, hops: int, is_others: bool) -> bool:
    if is_others:
        is_home = not hops and _is_home(host, rest)
        return not (is_home and classify(host).registrable == host)
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
    asks_register: bool = False
    """Whether a company's number in the Brazilian register is something to go by."""
    finds_domain: bool = False
    """Whether a company's name is something to go by where there is no domain."""


NO_WORDS = OwnWords()


def own_words(
    internal_domains: Iterable[str] = (),
    role_names: Iterable[str] = (),
    platform_domains: Iterable[str] = (),
    *,
    asks_register: bool = False,
    finds_domain: bool = False,
) -> OwnWords:
    """Build it from the settings' entries; an entry with "-" in front removes one."""
    roles, no_roles = _sorted_out(role_names)
    platforms, no_platforms = _sorted_out(platform_domains)
    return OwnWords(
        _hosts(internal_domains),
        DESKS.changed(map(desk_key, roles), map(desk_key, no_roles)),
        Platforms(_hosts(platforms), _hosts(no_platforms)) if platform_domains else BY_THE_LISTS,
        asks_register,
        finds_domain,
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
NOT_SOUGHT = "domains are not looked for by name"
_IS_KNOWN = "its domain is known"
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
    linkedin: str | None = None
    """As the lead states it: a profile's address."""
    cnpj: str | None = None
    """A Brazilian company's number, without signs; `None` if it is wrong, or the register is not asked."""
    sought: str | None = None
    """The company's name, where its domain is to be found by it."""
    why_not_sought: str = NOT_SOUGHT
    """Why it is not, as a short phrase."""
    other_keys: tuple[str, ...] = ()
    """Keys of the lead's other addresses, which are the same person's and nobody is asked about."""
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
    def email_keys(self) -> tuple[str, ...]:
        """Return the keys of all addresses, that which is asked about first."""
        return (*((self.email_key,) if self.email_key else ()), *self.other_keys)

    @property
    def company_key(self) -> str | None:
        """Return what tells the company from others: its domain; without one, its number in the register, and
        the name that it is looked for by."""
        if self.company_domain or self.sought is None:
            return self.company_domain or self.cnpj
        return " ".join((self.cnpj or "", name_key(self.sought)))

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
            cnpj=self.cnpj,
            sought=self.sought,
            linkedin=self.linkedin,
            why_not_sought=self.why_not_sought,
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
    readings = _readings(inputs, words)
    reading = readings[0] if len(readings) == 1 else _best(readings, internal)
    address = reading.address
    askable = None if address and address.domain.kind is DomainKind.IP_ADDRESS else address
    stated = _stated(inputs, words)
    company = stated.domain
    if company is None and address is not None and address.domain.kind is DomainKind.BUSINESS:
        company = address.domain
    is_valid = address is not None or not (readings or "email" in inputs.malformed)
    number = read_cnpj(inputs.cnpj) if words.asks_register else None
    why_not = _why_not_sought(inputs, company, stated, words)
    named = None if why_not else _clean(inputs.company)
    has_something = company or askable or number or named
    reason = _reason(address, internal) or (
        None if has_something else _nothing_left(inputs, address, stated, is_valid)
    )
    return Identity(
        email=askable.email if askable else None,
        email_key=askable.key if askable else None,
        company_domain=company.registrable if company and not reason else None,
        no_company_domain=_why_no_company(company, reason, address),
        full_name=_clean(inputs.name),
        company=_clean(inputs.company),
        linkedin=_clean(inputs.linkedin),
        cnpj=number if not reason else None,
        sought=named if not reason else None,
        why_not_sought=why_not,
        other_keys=tuple(_other_keys(readings, reading)) if len(readings) > 1 else (),
        is_free_mail=address is not None and address.domain.kind is DomainKind.FREE_MAIL,
        is_disposable=address is not None and address.domain.kind is DomainKind.DISPOSABLE,
        is_role=address is not None and is_desk(address.local, address.domain.host, words.desks),
        is_valid=is_valid,
        flags=frozenset(_flags(reading, stated.domain)),
        reason=reason,
    )


def _why_not_sought(
    inputs: Inputs, company: Domain | None, stated: _Stated, words: OwnWords
) -> str:
    """Return why the domain is not looked for by the company's name; empty if it is to be."""
    if not words.finds_domain:
        return NOT_SOUGHT
    if company is not None:
        return _IS_KNOWN
    if stated.reason is not None:
        return stated.reason.value.replace("_", " ")
    return why_not_sought(_clean(inputs.company), _clean(inputs.name)) or ""


def _readings(inputs: Inputs, words: OwnWords) -> list[Reading]:
    """Read every address that the lead has, each once."""
    texts = dict.fromkeys([said(text) for text in (inputs.email, *inputs.other_emails)])
    readings = [read(text) for text in texts if text]
    if words.platforms is BY_THE_LISTS:
        return readings
    return [_judged(each, each.address, words.platforms) for each in readings]


def _judged(reading: Reading, address: Address | None, platforms: Platforms) -> Reading:
    """Return the reading with its domain as the operator sees it."""
    if address is None:
        return reading
    return replace(reading, address=replace(address, domain=platforms.judge(address.domain)))


def _best(readings: list[Reading], internal: frozenset[str]) -> Reading:
    """Return the first address that can be asked about, a company's before free mail; else the first of all."""

    def worth(reading: Reading) -> int:
        address = reading.address
        if address is None:
            return 3
        if _reason(address, internal) or address.domain.kind is DomainKind.IP_ADDRESS:
            return 2
        return 0 if address.domain.kind is DomainKind.BUSINESS else 1

    return min(readings, key=worth, default=Reading(None))


def _other_keys(readings: list[Reading], asked: Reading) -> Iterator[str]:
    own = asked.address.key if asked.address else None
    keys = (reading.address.key for reading in readings if reading.address)
    yield from (key for key in dict.fromkeys(keys) if key != own)


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


_NO_DOMAIN = "no company domain"


def _why_no_company(company: Domain | None, reason: Reason | None, address: Address | None) -> str:
    """Say why there is no company. Without a reason, the address's domain is not a company's."""
    if reason is not None:
        return reason.value.replace("_", " ")
    if company is None and address is None:
        return _NO_DOMAIN
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
        if text is None or (host := stated_host(text, words.platforms)) is None:
            continue
        domain = words.platforms.judge(classify(host))
        if is_under(host, words.internal_domains):
            reason = reason or Reason.INTERNAL_DOMAIN
        elif domain.kind is DomainKind.BUSINESS:
            if not is_tenants_name(domain, inputs.company):
                return _Stated(domain)
        elif domain.kind is DomainKind.RESERVED and not _is_just_a_word(host):
            reason = reason or Reason.RESERVED_DOMAIN
    return _Stated(reason=reason)


def _is_just_a_word(host: str) -> bool:
    """Recognise what is left of "Acme", "coming soon" or "https://": nobody meant a domain by it."""
    return "." not in host and host not in RESERVED_TLDS


def _clean(value: str | None) -> str | None:
    """Return a name as one line of valid Unicode, or `None`."""
    if value is None:
        return None
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


def subject_of(key: Key, email_key: str | None, company_key: str | None) -> Subject:
    """Return the subject for an `Identity`'s two fields of these names."""
    company = None if company_key is None else key("company", company_key)
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
