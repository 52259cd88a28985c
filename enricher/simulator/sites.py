"""Companies' own web sites, for a daemon with ENRICHER_WEBSITE_LOOPBACK: which one is asked for is in the Host header.

Every company that vendors know has a site, with the facts that small firms publish: no head count. Words in the
domain tell stories here too:

    parked        the domain is for sale
    unfinished    coming soon
    shielded      a firewall asks for a browser
    secluded      robots.txt allows nothing
    unknown, stealth, outage    no page at all; nobody's; the server fails
"""

from __future__ import annotations

import json
from collections.abc import Callable
from html import escape

from enricher.answer import Reply
from enricher.simulator import facts
from enricher.simulator.facts import Company

SITES = "website"
"""Under this name they are in the journal."""
_HTML = {"Content-Type": "text/html; charset=utf-8", "Server": "nginx"}
_TEXT = {"Content-Type": "text/plain; charset=utf-8"}
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
    company = facts.company(seed, domain)
    return _page(_root(company) if path == _ROOT else _about(company))


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
