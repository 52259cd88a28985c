"""Two hundred made-up web sites: ordinary small firms, and all that is served where a firm is expected.

The firms and their words are invented. What they have in common with real sites is how these are built.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from random import Random
from typing import Any

HTML = {"Content-Type": "text/html; charset=utf-8", "Server": "nginx"}


@dataclass(frozen=True, slots=True)
class Served:
    """One answer of a server."""

    body: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=lambda: dict(HTML))


@dataclass(frozen=True, slots=True)
class Prepared:
    """One site: what is served by path, and the company that may be found there."""

    domain: str
    kind: str
    paths: Mapping[str, Served]
    name: str | None = None
    """The only right name; `None` where no company may be found."""


@dataclass(frozen=True, slots=True)
class Firm:
    """What one made-up firm would have on its site."""

    name: str
    domain: str
    language: str
    trade: str
    description: str
    city: str
    country: str
    has_linkedin: bool
    employees: int | None

    @property
    def label(self) -> str:
        return self.domain.partition(".")[0]


_TRADES: Mapping[str, Sequence[tuple[str, str, str]]] = {
    "pt": (
        ("padaria", "Padaria {}", "Pães, bolos e salgados feitos todos os dias pela padaria do bairro."),
        ("advocacia", "{} Advocacia", "Escritório de advocacia com atuação em direito do trabalho e cível."),
        ("odonto", "{} Odontologia", "Clínica de odontologia: implantes, aparelhos e limpeza."),
        ("contabil", "{} Contabilidade", "Contabilidade para pequenas empresas, folha e impostos."),
        ("moveis", "Móveis {}", "Móveis planejados sob medida para cozinhas e dormitórios."),
        ("transportes", "{} Transportes", "Transporte de cargas fracionadas e mudanças para todo o país."),
    ),
    "de": (
        ("dach", "{} Dachdeckerei", "Ihr Dachdecker für Neubau, Sanierung und Reparatur."),
        ("zahnarzt", "Zahnarztpraxis {}", "Zahnarztpraxis für die ganze Familie: Prophylaxe und Implantate."),
        ("steuer", "{} Steuerberatung", "Steuerberater für Handwerk und Gewerbe, Lohn und Buchhaltung."),
        ("metallbau", "{} Metallbau GmbH", "Metallbau und Fertigung nach Maß: Geländer, Tore und Treppen."),
        ("hotel", "Hotel {}", "Familiäres Hotel mit Frühstück, ruhig gelegen am Waldrand."),
        ("software", "{} Software GmbH", "Software für die Auftragsplanung in kleinen Betrieben."),
    ),
    "en": (
        ("plumbing", "{} Plumbing", "Plumbing and heating repairs, boilers and bathrooms, every day of the week."),
        ("law", "{} Law", "A law firm for families and small businesses; solicitors you can reach."),
        ("bakery", "{} Bakery", "A bakery that mills its own flour and bakes every night."),
        ("accounting", "{} Accounting", "Accountants and bookkeeping for sole traders and small companies."),
        ("robotics", "{} Machinery Ltd", "Machinery for packing lines, built and serviced in our own halls."),
        ("fitness", "{} Fitness", "Fitness, yoga and pilates in small groups, open early and late."),
    ),
}  # fmt: skip
_MADE_UP = ("Bravelo", "Cintara", "Dorvim", "Elmora", "Fintaro", "Galvexa", "Hentara", "Ilvano", "Jorvik", "Kelmara",
            "Lumbrio", "Morvana", "Nostrel", "Orvello", "Pintrava", "Quintela", "Rovanti", "Selmira", "Tarvano", "Ulmeda",
            "Vintora", "Welmaro", "Xantera", "Yorvani", "Zelmira")  # fmt: skip
_PLACES = {
    "pt": (("Recife", "BR"), ("Coimbra", "PT"), ("Curitiba", "BR")),
    "de": (("Kassel", "DE"), ("Linz", "AT"), ("Bremen", "DE")),
    "en": (("Leeds", "GB"), ("Cork", "IE"), ("Bristol", "GB")),
}
_SUFFIXES = {
    "pt": ("com.br", "pt", "com.br"),
    "de": ("de", "at", "de"),
    "en": ("co.uk", "ie", "com"),
}


def firms(count: int, seed: int = 7) -> list[Firm]:
    """Return so many firms, no two with one domain."""
    chance = Random(seed)
    made: dict[str, Firm] = {}
    while len(made) < count:
        language = chance.choice(sorted(_TRADES))
        trade, pattern, description = chance.choice(_TRADES[language])
        word = chance.choice(_MADE_UP) + chance.choice(("", "", " & Filhos", " Sul"))
        place = chance.randrange(3)
        city, country = _PLACES[language][place]
        label = f"{word.lower().replace(' & ', '').replace(' ', '')}-{trade}"
        domain = f"{label}.{_SUFFIXES[language][place]}"
        made[domain] = Firm(
            name=pattern.format(word),
            domain=domain,
            language=language,
            trade=trade,
            description=f"{pattern.format(word)}: {description}",
            city=city,
            country=country,
            has_linkedin=chance.random() < 0.45,
            employees=chance.choice((None, None, chance.randint(3, 90))),
        )
    return list(made.values())


# How an ordinary site is built


def node(firm: Firm, **more: Any) -> dict[str, Any]:
    """The organization of a firm, as a plug-in would write it."""
    found: dict[str, Any] = {
        "@context": "https://schema.org",
        "@type": "Organization",
        "@id": f"https://{firm.domain}/#organization",
        "url": f"https://{firm.domain}/",
        "name": firm.name,
        "telephone": "+55 81 3333-0100",
        "address": {"@type": "PostalAddress", "addressLocality": firm.city, "addressCountry": firm.country},
        "logo": {"@type": "ImageObject", "url": "/logo.png"},
        "founder": {"@type": "Person", "name": "Nobody Inparticular"},
    }  # fmt: skip
    if firm.employees:
        found["numberOfEmployees"] = {"@type": "QuantitativeValue", "value": firm.employees}
    if firm.has_linkedin:
        found["sameAs"] = [f"https://www.linkedin.com/company/{firm.label}/", ""]
    return {**found, **more}


def page(firm: Firm, head: str = "", body: str = "", title: str | None = None) -> str:
    links = f'<a href="https://www.facebook.com/{firm.label}">Facebook</a>'
    if firm.has_linkedin:
        links += f'<a href="https://www.linkedin.com/company/{firm.label}">LinkedIn</a>'
    links += (
        '<a href="https://www.linkedin.com/in/nobody-inparticular">The founder</a>'
        '<a href="https://www.facebook.com/sharer/sharer.php?u=x">Share</a>'
        '<a href="https://www.linkedin.com/company/some-web-agency">Made by an agency</a>'
    )
    return (
        f'<!doctype html><html lang="{firm.language}"><head><meta charset="utf-8">'
        f"<title>{firm.name if title is None else title}</title>{head}</head><body><header><h1>{firm.name}</h1></header>"
        f'<main>{body}<p>{firm.description}</p></main><footer>{links}<a href="tel:+558133330100">Tel</a>'
        f'<a href="mailto:nobody@{firm.domain}">Mail</a> © 2024 {firm.name}</footer></body></html>'
    )


_WORDPRESS = '<meta name="generator" content="WordPress 6.4"><link rel="stylesheet" href="/wp-content/themes/x/style.css">'
_ICON = '<link rel="apple-touch-icon" href="/touch.png">'


def _described(firm: Firm) -> str:
    return f'<meta name="description" content="{firm.description}">'


def _json_ld(value: object) -> str:
    return f'<script type="application/ld+json">{json.dumps(value, ensure_ascii=False)}</script>'


def _with_graph(firm: Firm) -> str:
    organization = node(firm)
    site = {"@type": "WebSite", "name": firm.name, "publisher": {"@id": organization["@id"]}}
    graph = {"@context": "https://schema.org", "@graph": [site, organization]}
    return page(firm, _WORDPRESS + _described(firm) + _json_ld(graph))


def _with_open_graph(firm: Firm) -> str:
    named = f'<meta property="og:site_name" content="{firm.name}">'
    named += f'<meta property="og:description" content="{firm.description}">'
    return page(firm, _ICON + named + '<script src="/jquery-3.6.0.min.js"></script>', title="Home")


def _with_title(firm: Firm) -> str:
    linked = '<link href="https://fonts.googleapis.com/css?family=Lato" rel="stylesheet">'
    return page(firm, _described(firm) + linked, title=f"Home | {firm.name}")


def _with_title_first(firm: Firm) -> str:
    return page(firm, _described(firm) + _WORDPRESS, title=f"{firm.name} \u2013 {firm.city}")


ORDINARY: Mapping[str, Callable[[Firm], str]] = {
    "graph": _with_graph,
    "open graph": _with_open_graph,
    "title": _with_title,
    "title first": _with_title_first,
}
ABOUT = {
    "pt": ("/sobre", "Sobre nós"),
    "de": ("/impressum", "Impressum"),
    "en": ("/about", "About us"),
}


def _ordinary(firm: Firm, kind: str) -> Prepared:
    path, text = ABOUT[firm.language]
    root = ORDINARY[kind](firm).replace("<main>", f'<nav><a href="{path}">{text}</a></nav><main>')
    about = page(firm, _described(firm), f"<p>{firm.city}</p>", title=f"{text} | {firm.name}")
    paths = {
        "/": html(root),
        path: html(about),
        "/robots.txt": text_of("User-agent: *\nDisallow: /admin\n"),
    }
    return Prepared(firm.domain, kind, paths, firm.name)


def html(markup: str, charset: str = "utf-8", **headers: str) -> Served:
    return Served(markup.encode(charset, "replace"), 200, {**HTML, **headers})


def text_of(text: str, status: int = 200) -> Served:
    return Served(text.encode(), status, {"Content-Type": "text/plain"})


# JSON-LD in every broken form: the name stands nowhere else


def _broken(firm: Firm) -> dict[str, str]:
    good = json.dumps(node(firm), ensure_ascii=False)
    comma = good[:-1] + ",}"
    script = '<script type="application/ld+json">{}</script>'
    return {
        "comment": script.format(f"<!-- {good} -->"),
        "cdata": script.format(f"// <![CDATA[\n{good}\n// ]]>"),
        "cdata in a comment": script.format(f"/* <![CDATA[ */{good}/* ]]> */"),
        "semicolon": script.format(f"{good};"),
        "commas": script.format(comma),
        "line breaks": script.format(good.replace('"telephone"', '"slogan": "one\nline", "telephone"')),
        "byte order mark": script.format("\ufeff" + good),
        "cut off beside": script.format(good[: len(good) // 2]) + script.format(good),
        "endless beside": script.format("[" * 50_000) + script.format(good),
        "in a list": script.format(f"[[{good}]]"),
        "as publisher": script.format(json.dumps({"@type": "Article", "publisher": node(firm)})),
        "types in a list": _json_ld(node(firm, **{"@type": ["LocalBusiness", "schema:Dentist"]})),
        "language": _json_ld(node(firm, name={"@value": firm.name, "@language": "pt"})),
        "upper case": f'<SCRIPT TYPE="application/LD+JSON; charset=utf-8">{good}</SCRIPT>',
        "unquoted": f"<script type=application/ld+json>{good}</script>",
    }  # fmt: skip


def _broken_sites(made: Sequence[Firm]) -> list[Prepared]:
    kinds = _broken(made[0])
    found = []
    for firm, kind in zip(made, kinds, strict=True):
        bare = "<!doctype html><html><head><title>Home</title>{}</head><body><p>x</p></body></html>"
        served = html(bare.format(_broken(firm)[kind]))
        found.append(Prepared(firm.domain, f"json-ld: {kind}", {"/": served}, firm.name))
    return found


def _encoded_sites(made: Sequence[Firm]) -> list[Prepared]:
    """The same pages in other character sets, named by the header, by the page, by a mark, or not at all."""
    plain = {"Content-Type": "text/html"}
    found = []
    for firm, (kind, charset, declared, headers) in zip(
        made,
        (
            ("latin-1 by meta", "latin-1", "iso-8859-1", plain),
            ("latin-1 by header", "latin-1", "", {"Content-Type": "text/html; charset=ISO-8859-1"}),
            ("undeclared windows-1252", "cp1252", "", plain),
            ("utf-16 by mark", "utf-16", "", plain),
            ("undeclared utf-8", "utf-8", "", plain),
            ("a codec that is no charset", "utf-8", "punycode", plain),
        ),
        strict=True,
    ):
        markup = _with_title(firm).replace(
            '<meta charset="utf-8">', f'<meta charset="{declared}">' if declared else ""
        )
        served = Served(markup.encode(charset, "replace"), 200, headers)
        found.append(Prepared(firm.domain, kind, {"/": served}, firm.name))
    return found


def _hard_sites(made: Sequence[Firm]) -> list[Prepared]:
    """Sites that say who they are in an unusual way."""
    first, second, third, fourth, fifth, sixth, seventh, eighth = made
    frameset = f'<html><head><title>{first.name}</title></head><frameset><frame src="/inside"></frameset></html>'
    two = _json_ld(
        [node(second, name="Some Web Agency", url="https://some-agency.com/"), node(second)]
    )
    huge = page(third, _described(third)) + "<p>filler</p>" * 400_000
    nested = page(fourth, _described(fourth)) + "<div>" * 150_000
    packed = gzip.compress(page(fifth, _described(fifth)).encode())
    robots = "User-agent: *\nDisallow: /*?\nAllow: /$\n" + "# filler\n" * 70_000
    app = f'<html><head><title>{seventh.name}</title>{_described(seventh)}<meta property="og:site_name" content="{seventh.name}">'
    app += '</head><body><div id="root"></div><script src="/_next/static/app.js"></script></body></html>'
    return [
        Prepared(first.domain, "frames", {"/": html(frameset), "/inside": html(_with_title(first))}, first.name),
        Prepared(second.domain, "two organizations", {"/": html(page(second, two))}, second.name),
        Prepared(third.domain, "huge", {"/": html(huge)}, third.name),
        Prepared(fourth.domain, "deep", {"/": html(nested)}, fourth.name),
        Prepared(fifth.domain, "packed", {"/": Served(packed, 200, {**HTML, "Content-Encoding": "gzip"})}, fifth.name),
        Prepared(sixth.domain, "long robots.txt", {"/": html(_with_title(sixth)), "/robots.txt": text_of(robots)}, sixth.name),
        Prepared(seventh.domain, "application", {"/": html(app)}, seventh.name),
        Prepared(eighth.domain, "robots.txt not found", {"/": html(_with_graph(eighth)), "/robots.txt": text_of("no", 404)}, eighth.name),
    ]  # fmt: skip


# What is no company


def _saying(title: str, body: str = "", head: str = "") -> Served:
    markup = (
        f"<!doctype html><html><head><title>{title}</title>{head}</head><body>{body}</body></html>"
    )
    return html(markup)


def _not_a_company() -> dict[str, Mapping[str, Served]]:
    sample = _json_ld(
        {"@type": "Organization", "name": "Your Company", "logo": "/l.png", "address": "Street 1"}
    )
    agency = _json_ld(
        {"@type": "Organization", "name": "Some Web Agency", "url": "https://some-agency.com/", "logo": "/l.png",
         "sameAs": ["https://www.linkedin.com/company/some-web-agency"]}
    )  # fmt: skip
    person = _json_ld(
        {
            "@type": "Person",
            "name": "Nobody Inparticular",
            "telephone": "+55 81 3333-0100",
            "address": "x",
        }
    )
    challenge = Served(
        b"<title>Just a moment...</title>", 403, {**HTML, "cf-mitigated": "challenge"}
    )
    kinds: dict[str, Served] = {
        "parked: for sale": _saying("{domain}", "<h1>{domain}</h1><p>This domain is for sale. Buy this domain.</p>"),
        "parked: sedo": _saying("{domain}", "<script>var sedoParkingUrl = 1</script><p>Related links</p>"),
        "parked: in portuguese": _saying("Domínio", "<p>Este domínio está à venda</p>"),
        "parked: in german": _saying("{domain}", "<p>Diese Domain steht zum Verkauf.</p>"),
        "parked: courtesy": _saying("{domain}", "<p>Parked for FREE, courtesy of a registrar</p>"),
        "challenge": challenge,
        "challenge: other": Served(b"<title>x</title>", 200, {**HTML, "x-vercel-mitigated": "deny"}),
        "challenge: 200": _saying("Just a moment...", '<script src="/cdn-cgi/challenge-platform/x"></script>'),
        "challenge: denied": _saying("Access denied", "<p>You do not have permission.</p>"),
        "coming soon": _saying("{domain}", "<h1>Coming soon</h1>"),
        "coming soon: in portuguese": _saying("Em breve", "<p>Site em construção</p>"),
        "coming soon: in german": _saying("{domain}", "<p>Hier entsteht eine neue Internetpräsenz</p>"),
        "default: nginx": _saying("Welcome to nginx!", "<h1>Welcome to nginx!</h1>"),
        "default: apache": _saying("Apache2 Ubuntu Default Page: It works", "<p>It works!</p>"),
        "default: listing": _saying("Index of /", "<h1>Index of /</h1>"),
        "default: blog": _saying("Hello world!", "<p>Welcome to WordPress.</p>"),
        "soft 404": _saying("Page not found", "<h1>404</h1>"),
        "soft 404: in portuguese": _saying("Página não encontrada", "<p>Ops</p>"),
        "soft 404: in german": _saying("Seite nicht gefunden", "<p>Hoppla</p>"),
        "404": Served(b"<title>Acme</title>", 404),
        "410": Served(b"", 410),
        "500": Served(b"<title>Error</title>", 500),
        "503": Served(b"<title>Acme</title>", 503),
        "401": Served(b"", 401),
        "no such tenant": _saying("Site not found", "<p>Looks like this domain isn't connected to a website yet</p>"),
        "not html": Served(b"%PDF-1.4", 200, {"Content-Type": "application/pdf"}),
        "json": Served(b'{"name": "Acme"}', 200, {"Content-Type": "application/json"}),
        "empty": Served(b""),
        "binary": Served(bytes(range(256)) * 40),
        "no name": _saying("Home", "<p>Bem-vindo</p>"),
        "sample": _saying("Home", "<p>Lorem ipsum</p>", sample),
        "the agency's": _saying("Home", "<p>Lorem ipsum</p>", agency),
        "a person's": _saying("Home", "<p>Lorem ipsum</p>", person),
        "another's": _saying(
            "Trenvaro Gruppe", "<p>© 2024 Trenvaro Gruppe</p>", '<link rel="canonical" href="https://trenvaro.de/">'
        ),
    }  # fmt: skip
    paths: dict[str, Mapping[str, Served]] = {kind: {"/": served} for kind, served in kinds.items()}
    fine = _saying("Acme", "<p>Acme</p>")
    moved = {
        "moved": "https://trenvaro-gruppe.de/",
        "moved: to a platform": "https://www.facebook.com/acme",
    }
    moved |= {
        "moved: to a market": "https://sedo.com/search/details/?domain=x",
        "moved: nowhere": "",
    }
    paths |= {kind: {"/": _moved(to)} for kind, to in moved.items()}
    paths["loop"] = {"/": _moved("/a"), "/a": _moved("/b"), "/b": _moved("/a")}
    paths["robots.txt: no"] = {"/": fine, "/robots.txt": text_of("User-agent: *\nDisallow: /\n")}
    paths["robots.txt: not us"] = {
        "/": fine,
        "/robots.txt": text_of("User-agent: enricher\nDisallow: /\n"),
    }
    paths["robots.txt: 503"] = {"/": fine, "/robots.txt": text_of("", 503)}
    return paths


def _moved(to: str) -> Served:
    return Served(b"", 301, {**HTML, **({"Location": to} if to else {})})


def _with_domain(paths: Mapping[str, Served], domain: str) -> dict[str, Served]:
    return {
        path: Served(each.body.replace(b"{domain}", domain.encode()), each.status, each.headers)
        for path, each in paths.items()
    }


TENANTS = ("bravelo.wixsite.com", "cintara.myshopify.com", "dorvim.blogspot.com", "elmora.lojaintegrada.com.br",
           "fintaro.github.io", "galvexa.webnode.com", "hentara.negocio.site")  # fmt: skip


def prepared(count: int = 200) -> list[Prepared]:
    """Return the sites, the same at every call."""
    made = iter(firms(count))
    bad = [
        Prepared(f"{kind_label(kind)}-quarvexo.com", kind, paths)
        for kind, paths in _not_a_company().items()
    ]
    sites = [
        *_broken_sites(list(islice(made, 15))),
        *_encoded_sites(list(islice(made, 6))),
        *_hard_sites(list(islice(made, 8))),
        *(Prepared(each.domain, each.kind, _with_domain(each.paths, each.domain)) for each in bad),
        *(Prepared(each, "tenant", {"/": _saying("Acme", "<p>Acme</p>")}) for each in TENANTS),
    ]
    kinds = list(ORDINARY)
    rest = [next(made) for _ in range(count - len(sites))]
    return [*sites, *(_ordinary(firm, kinds[n % len(kinds)]) for n, firm in enumerate(rest))]


def kind_label(kind: str) -> str:
    """Return the kind as letters that a domain may have."""
    return "".join(sign for sign in kind if sign.isalnum())
