"""Companies' own web sites, for a daemon with ENRICHER_WEBSITE_LOOPBACK: which one is asked for is in the Host header.

Every company that vendors know has a site, with the facts that small firms publish: no head count. Words in the
domain tell stories here too:

    parked        the domain is for sale
    unfinished    coming soon
    shielded      a firewall asks for a browser
    secluded      robots.txt allows nothing
    unknown, stealth, outage    no page at all; nobody's; the server fails

A domain that ends with eight digits and `.com.br` is that of the Brazilian firm whose number begins with them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from html import escape

from enricher.answer import Reply
from enricher.identity.cnpj import with_check_digits
from enricher.simulator import facts
from enricher.simulator.facts import Company
from enricher.simulator.register import firm_of

SITES = "website"
"""Under this name they are in the journal."""
_HTML = {"Content-Type": "text/html; charset=utf-8", "Server": "nginx"}
_TEXT = {"Content-Type": "text/plain; charset=utf-8"}
_IN_BRAZIL = re.compile(r"-([0-9]{8})\.com\.br\Z", re.ASCII)
_ABOUT, _ROBOTS, _ROOT = "/about", "/robots.txt", "/"


def answer(seed: int, domain: str, path: str) -> Reply:
    """Return what the site answers."""
    told = next((tell for word, tell in _STORIES.items() if word in domain), None)
    if told is not None and (reply := told(path)) is not None:
        return reply
    if path == _ROBOTS:
        return Reply(200, _TEXT, b"User-agent: *\nDisallow: /admin\n")
    if path not in (_ROOT, _ABOUT):
        return _not_found(path)
    if found := _IN_BRAZIL.search(domain):
        return _page(_brazilian(seed, domain, with_check_digits(f"{found[1]}0001")))
    company = facts.company(seed, domain)
    return _page(_root(company) if path == _ROOT else _about(company))


def _brazilian(seed: int, domain: str, number: str) -> str:
    """Return the page of the firm that the register has under this number. It says so in its footer, as shops must."""
    firm = firm_of(seed, number)
    signed = f"{number[:2]}.{number[2:5]}.{number[5:8]}/{number[8:12]}-{number[12:]}"
    node = {"@type": "Organization", "name": firm.name, "url": f"https://{domain}/"}
    says = f"{firm.name}: {firm.trade.lower()}."
    return (
        f'<!doctype html><html lang="pt-BR"><head><title>{escape(firm.name)} | Início</title>'
        f'<meta name="description" content="{escape(says)}">'
        f'<script type="application/ld+json">{json.dumps(node)}</script></head>'
        f'<body><h1>{escape(firm.name)}</h1><a href="tel:+55-{firm.area}-3333-0000">Ligue</a>'
        f"<footer>© {escape(firm.name)} · CNPJ {signed}</footer></body></html>"
    )


def _root(company: Company) -> str:
    linked = f"https://www.linkedin.com/company/{company.handle}"
    about = (
        f'<meta name="description" content="{escape(_says(company))}">'
        '<link rel="apple-touch-icon" href="/touch.png">'
        '<link rel="stylesheet" href="/wp-content/themes/plain/style.css">'
        f'<script type="application/ld+json">{json.dumps(_organization(company))}</script>'
    )
    body = (
        f"<h1>{escape(company.name)}</h1><p>{escape(_says(company))}</p>"
        f'<a href="{_ABOUT}">About us</a> <a href="{linked}">LinkedIn</a>'
    )
    return _markup(company, f"{company.name} | Home", about, body)


def _about(company: Company) -> str:
    body = f'<h1>About {escape(company.name)}</h1><a href="tel:+1-800-555-0199">Call us</a>'
    return _markup(company, f"About | {company.name}", "", body)


def _says(company: Company) -> str:
    trade = f" in {company.industry.lower()}" if company.industry else ""
    return f"{company.name} makes things that do not exist{trade}."


def _organization(company: Company) -> dict[str, object]:
    place = company.place
    address = {"addressLocality": place.city, "addressCountry": place.country} if place else None
    return {
        "@context": "https://schema.org",
        "@type": "Organization",
        "name": company.name,
        "url": f"https://{company.domain}/",
        "logo": "/logo.png",
        "foundingDate": company.founded,
        "address": address,
    }


def _markup(company: Company, title: str, head: str, body: str) -> str:
    return (
        f'<!doctype html><html lang="en"><head><title>{escape(title)}</title>{head}</head>'
        f"<body>{body}<footer>© {escape(company.name)}</footer></body></html>"
    )


def _page(markup: str, status: int = 200) -> Reply:
    return Reply(status, _HTML, markup.encode())


def _not_found(_path: str) -> Reply:
    return _page("<title>Not found</title>", 404)


def _saying(title: str) -> Callable[[str], Reply]:
    return lambda path: _not_found(path) if path == _ROBOTS else _page(f"<title>{title}</title>")


def _challenge(_path: str) -> Reply:
    page = _page("<title>Just a moment...</title>", 403)
    return Reply(page.status, {**page.headers, "cf-mitigated": "challenge"}, page.body)


def _closed(path: str) -> Reply | None:
    return Reply(200, _TEXT, b"User-agent: *\nDisallow: /\n") if path == _ROBOTS else None


_STORIES: dict[str, Callable[[str], Reply | None]] = {
    "parked": _saying("This domain is for sale"),
    "unfinished": _saying("Coming soon"),
    "shielded": _challenge,
    "secluded": _closed,
    "unknown": _not_found,
    "stealth": _not_found,
    "outage": lambda _: _page("<title>Error</title>", 503),
}
