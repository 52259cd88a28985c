"""PURE What a site's pages say of the company, once it is certain that they are about it.

In order of trust:

    JSON-LD that names the asked domain as its own
    other JSON-LD whose name agrees with the domain, or with the site's own name
    OpenGraph; title and description; links to profiles; telephone links

JSON-LD is often a theme's sample, or about a client, so it counts only with such a proof. Without any name that
agrees with the domain or is said twice, nothing is known: the page may be anybody's. Profiles of people
(`linkedin.com/in/...`), founders and addresses of mail are personal data and are not read.
"""

from __future__ import annotations

import html
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from enricher.answer import FieldValues
from enricher.identity.domains import classify, is_suffix
from enricher.identity.names import agree, folded, label_of
from enricher.providers.website.organization import Organization, organizations
from enricher.providers.website.page import Page, absolute
from enricher.providers.website.technology import tech_stack
from enricher.providers.website.trades import industry_of_types, industry_of_words
from enricher.values.storable import line_of, many_lines
from enricher.values.types import exact, handle_of, host_of, is_range

_LONGEST_NAME = 120
_LONGEST_NAME_WORDS = 10
_LEAST_NAME = 4
"""Characters of a name that is only said twice."""
_LEAST_DESCRIPTION = 20
_OLDEST = 1500
_LATEST = 2100
_NETWORKS = ("linkedin", "twitter", "facebook", "crunchbase", "github")
_COMPANIES_ON = {
    "linkedin": frozenset({"company", "school", "showcase", "organization-guest"}),
    "crunchbase": frozenset({"organization"}),
}
"""First path segments of a company's profile, on networks where persons have profiles too."""
_NOBODYS = frozenset(
    "sharer sharer.php share share.php sharearticle intent dialog plugins home search login signup privacy help"
    " terms about events watch marketplace hashtag status tr policies legal pages features wix wixcom wordpress"
    " wordpressdotcom wordpress-com squarespace shopify elementor godaddy jimdo hostinger weebly webflow blogger"
    " google facebook twitter linkedin instagram youtube facebookapp fb meta yoast automattic themeforest envato".split()
)
"""Handles that are a button to share something, or the profile of a builder of sites."""
_GENERIC = frozenset(
    "home homepage inicio pagina inicial startseite willkommen bem vindo bem-vindo welcome accueil bienvenue bienvenido"
    " benvenuti index untitled document website site my blog sample company your company name just another wordpress"
    " site meu site mein unternehmen minha empresa new page main default title".split()
)
_BARS = re.compile(r"\s+[|\u2013\u2014\u2022\u00b7»:-]\s+|\s*\|\s*|\s+::\s+")
_COPYRIGHT = re.compile(
    r"(?:©|\(c\)|copyright)\s*(?:©|\(c\)|copyright)?\s*(?:\d{4}\s*(?:[-\u2013\u2014]\s*\d{4})?)?[\s,.:|-]*([^\n|©]{2,80})",
    re.IGNORECASE,
)
_PHONE = re.compile(r"[+(]?\d[\d\s().\-/]{5,24}\d")
_PHONE_DIGITS = range(7, 16)
_LINKS_ABOUT = re.compile(
    r"\b(about|sobre|quem-?somos|empresa|contato|contacto|contact|impressum|imprint|kontakt|ueber-?uns|uber-?uns"
    r"|mentions-?legales|aviso-?legal|chi-?siamo|institucional|a-empresa|unternehmen|nosotros|qui-sommes-nous|company)\b"
)


@dataclass(frozen=True, slots=True, repr=False)
class Site:
    """The pages of one site, the root first, and what its server says of itself."""

    domain: str
    """The registrable domain that was asked about."""
    pages: Sequence[Page]
    headers: Mapping[str, str]

    @property
    def label(self) -> str:
        return label_of(self.domain)


def read_company(site: Site) -> FieldValues:
    """Return `company_data` from the site; empty when it does not say whose it is."""
    own = own_organization(site)
    name = _name(site, own)
    if name is None:
        return {}
    values = {
        "name": name,
        "domain": site.domain,
        "description": _description(site, own),
        "logo_url": _logo(site, own),
        "phone": _phone(site, own),
        "industry": _industry(site, own),
        "tech_stack": tech_stack(site.pages[0], site.headers) or None,
        **_profiles(site, own, name),
        **(_of_organization(own) if own else {}),
    }
    return {name: value for name, value in values.items() if value is not None}


def lacks_identity(values: FieldValues) -> bool:
    """Tell whether one more page may say what the root does not: the name, what it does, or how it is reached."""
    return (
        not {"name", "description", "industry"} <= values.keys()
        or not {"phone", "city"} & values.keys()
    )


def next_page(page: Page) -> str | None:
    """Return the address of the page that most likely says who the company is, on the same host."""
    host = host_of(page.url)
    frames = [url for url in page.frames if _is_other_page(url, page.url) and host_of(url) == host]
    if frames and len(page.text) < 500 and not page.links:  # noqa: PLR2004 - a frameset has no text of its own
        return frames[0]
    links = [
        link
        for link in page.links
        if host_of(link.url) == host and _is_other_page(link.url, page.url)
    ]
    ranked = sorted(
        (rank, number, link.url)
        for number, link in enumerate(links)
        if (rank := _rank_of_link(link.url, link.text)) is not None
    )
    return ranked[0][2].partition("#")[0] if ranked else None


def _is_other_page(url: str, than: str) -> bool:
    ends_well = not re.search(
        r"\.(pdf|jpe?g|png|gif|zip|docx?|xlsx?|mp4|webp|svg)$", urlsplit(url).path, re.IGNORECASE
    )
    return ends_well and url.partition("#")[0].rstrip("/") != than.partition("#")[0].rstrip("/")


def _rank_of_link(url: str, text: str) -> int | None:
    path = folded(unquote(urlsplit(url).path)).replace("_", "-")
    words = folded(text[:60]).strip().replace(" ", "-")
    found = _LINKS_ABOUT.search(path) or _LINKS_ABOUT.search(words)
    if found is None:
        return None
    return 0 if re.match(r"impressum|imprint|mentions|aviso", found[1]) else 1


# The company's own organization, and its name


def own_organization(site: Site) -> Organization | None:
    """Return the organization that the site is proven to be about; the one with the most to say."""
    ranked: list[tuple[int, int, int, Organization]] = []
    for number, each in enumerate(_organizations(site)):
        if (proof := _proof(each, site)) is not None:
            ranked.append((proof, -len(each.node), number, each))
    return min(ranked, key=lambda each: each[:3])[3] if ranked else None


def _organizations(site: Site) -> Iterator[Organization]:
    for page in site.pages:
        yield from organizations(page.head.scripts)


def _proof(each: Organization, site: Site) -> int | None:
    """Return how well it is proven to be the site's company, 0 best; `None` for not at all."""
    names = [*each.texts("name"), *each.texts("legalName"), *each.texts("alternateName")]
    if all(_usable(name) is None for name in names):
        return None
    is_named = any(agree(name, site.label) for name in names)
    hosts = {owner for host in each.hosts if (owner := classify(host).registrable)}
    if site.domain in hosts:
        return 0 if is_named else 1
    if hosts and not is_named:
        return None
    if is_named:
        return 1
    said = {folded(name) for name in _said_names(site)}
    return 2 if any(folded(name) in said for name in names) else None


def _name(site: Site, own: Organization | None) -> str | None:
    if own is not None:
        names = (*own.texts("name"), *own.texts("legalName"))
        if name := next(filter(None, map(_usable, names)), None):
            return name
    said = list(_said_names(site))
    if name := next((each for each in said if agree(each, site.label)), None):
        return name
    return _said_twice(site, said)


def _said_names(site: Site) -> Iterator[str]:
    """Yield what the site may call itself: its OpenGraph name, and the parts of its titles."""
    for page in site.pages:
        named = (
            page.head.meta.get(key)
            for key in ("og:site_name", "application-name", "apple-mobile-web-app-title")
        )
        titles = (
            part
            for text in (page.head.title, page.head.meta.get("og:title", ""))
            for part in _BARS.split(text)
        )
        for each in (*named, *titles):
            if name := _usable(each):
                yield name


def _said_twice(site: Site, said: Iterable[str]) -> str | None:
    """Return a name that the site states as its own in the footer as well: a firm's name may have nothing in common
    with its domain."""
    if _is_of_another(site):
        return None
    owners = " \n ".join(folded(owner) for page in site.pages for owner in _copyright(page))
    names = (each for each in said if len(each) >= _LEAST_NAME and folded(each) not in _NOBODYS)
    return next((each for each in names if _is_word_in(folded(each), owners)), None)


def _is_word_in(name: str, text: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text) is not None


def _is_of_another(site: Site) -> bool:
    """Tell whether the root gives another domain as its own: it is served here, and made for somebody else."""
    owner = classify(host_of(site.pages[0].head.canonical) or "").registrable
    return owner not in (None, site.domain) and label_of(owner or "") != site.label


def _copyright(page: Page) -> list[str]:
    return [found.strip() for found in _COPYRIGHT.findall(page.text[-20_000:])[:5]]


def _usable(name: object) -> str | None:
    """Return a name that is one: short, not a greeting, and no sentence."""
    line = line_of(html.unescape(name)) if isinstance(name, str) else None
    if (
        line is None
        or not 1 < len(line) <= _LONGEST_NAME
        or len(line.split()) > _LONGEST_NAME_WORDS
    ):
        return None
    words = re.findall(r"\w[\w-]*", folded(line))
    if not words or all(word in _GENERIC for word in words) or "@" in line or "://" in line:
        return None
    return line


# What it says of itself


def _description(site: Site, own: Organization | None) -> str | None:
    named = [own.text("description")] if own else []
    for page in site.pages:
        named += [page.head.meta.get("og:description"), page.head.meta.get("description")]
    clean = (_prose(each) for each in named)
    return next((each for each in clean if each and len(each) >= _LEAST_DESCRIPTION), None)


def _prose(value: str | None) -> str | None:
    """Return a description without markup: it may be escaped twice, and hold tags."""
    if not value:
        return None
    text = re.sub(r"<[^<>]{0,500}>", " ", html.unescape(html.unescape(value[:20_000])))
    return " ".join(many_lines(text).split()) or None


def _logo(site: Site, own: Organization | None) -> str | None:
    page = site.pages[0]
    named = [_image(own, key) for key in ("logo", "image")] if own else []
    named += [*page.head.icons[:1], page.head.meta.get("og:image")]
    addresses = (absolute(page.url, each) for each in named if each)
    return next((each for each in addresses if each and _is_public_name(each)), None)


def _image(own: Organization, key: str) -> str | None:
    return own.text(key, "url") or own.text(key, "contentUrl") or own.text(key)


def _is_public_name(url: str) -> bool:
    host = host_of(url) or ""
    return is_suffix(host.rpartition(".")[2])


def _phone(site: Site, own: Organization | None) -> str | None:
    if own:
        named = (*own.texts("telephone"), *own.texts("contactPoint", "telephone"))
        if phone := next(filter(None, map(_dialled, named)), None):
            return phone
    said = [
        phone
        for page in site.pages
        for link in page.links
        if link.url.lower().startswith("tel:") and (phone := _dialled(unquote(link.url[4:])))
    ]
    return Counter(said).most_common(1)[0][0] if said else None


def _dialled(text: str) -> str | None:
    found = _PHONE.search(text[:60])
    digits = sum(sign.isdigit() for sign in found[0]) if found else 0
    return found[0].strip() if found and digits in _PHONE_DIGITS else None


def _industry(site: Site, own: Organization | None) -> str | None:
    if own and (industry := industry_of_types(own.types)):
        return industry
    root = site.pages[0]
    said = [
        text
        for page in site.pages
        for text in (page.head.title, page.heading, page.head.meta.get("description", ""))
    ]
    return (
        industry_of_words(*said)
        or industry_of_words(
            _description(site, own) or "",
            root.head.meta.get("keywords", ""),
            own.text("name") or "" if own else "",
        )
        or industry_of_words(root.text[:3_000])
    )


# Profiles


def _profiles(site: Site, own: Organization | None, name: str) -> dict[str, object]:
    stated = own.texts("sameAs") if own else []
    linked = [link.url for page in site.pages for link in page.links]
    found: dict[str, object] = {}
    for network in _NETWORKS:
        handles = (_company_handle(network, each) for each in stated)
        candidates = [_company_handle(network, each) for each in linked]
        agreeing = (each for each in candidates if each and _is_theirs(each, site, name))
        if handle := next(filter(None, (*handles, *agreeing)), None):
            found[f"{network}_handle"] = handle
    return found


def _company_handle(network: str, url: str) -> str | None:
    """Return the handle of a company's profile; `None` for a person's, and for a button to share."""
    if not host_of(url):
        return None
    handle = handle_of(network, url)
    first, _, rest = (handle or "").partition("/")
    if handle is None or first.lower() in _NOBODYS or rest.lower() in _NOBODYS:
        return None
    allowed = _COMPANIES_ON.get(network)
    return None if allowed and first.lower() not in allowed else handle


def _is_theirs(handle: str, site: Site, name: str) -> bool:
    """Tell whether a profile that a page links to is the company's own: it may be its web designer's."""
    label = unquote(handle).rpartition("/")[2]
    return agree(name, label) or agree(site.label.replace("-", " "), label)


# What only an organization says


def _of_organization(own: Organization) -> dict[str, object]:
    return {**_staff(own), **_place(own), "founded_year": _year(own.text("foundingDate"))}


def _staff(own: Organization) -> dict[str, object]:
    """Read a head count or a range, in any of the shapes that sites write."""
    least, most = (
        own.text("numberOfEmployees", "minValue"),
        own.text("numberOfEmployees", "maxValue"),
    )
    if least and most and exact(least) and exact(most):
        return {"employee_count": least} if least == most else {"employee_range": f"{least}-{most}"}
    said = own.text("numberOfEmployees", "value") or own.text("numberOfEmployees") or least
    if said is None:
        return {}
    if is_range(said):
        return {"employee_range": said.replace(" ", "")}
    return {"employee_count": count} if (count := exact(said)) else {}


def _place(own: Organization) -> dict[str, object]:
    city, state = (_line(own.text("address", key)) for key in ("addressLocality", "addressRegion"))
    country = _line(own.text("address", "addressCountry"))
    found: dict[str, object] = {"city": city, "state": state}
    if country:
        found["country_code" if len(country) == len("BR") else "country"] = country
    stated = _line(own.text("address"))
    parts = ", ".join(each for each in (city, state, country) if each)
    return {**found, "location": parts or stated}


def _line(text: str | None) -> str | None:
    line = line_of(html.unescape(text)) if text else None
    return line if line and len(line) <= _LONGEST_NAME else None


def _year(text: str | None) -> int | None:
    found = re.match(r"\d{4}", (text or "").strip())
    return int(found[0]) if found and _OLDEST <= int(found[0]) <= _LATEST else None
