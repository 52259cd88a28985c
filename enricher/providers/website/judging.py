"""PURE Which answers of a site are not the company's page, and why: challenges, parking, construction, errors.

A page with a 200 may be anybody's: the registrar's, who sells the domain; a firewall's, which asks for
patience; the hosting company's, before anything was put there. What it says of itself would be wrong on a lead.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from enricher.providers.website.page import Page

CHALLENGED = "the site asks for a browser"
PARKED = "the domain is parked"
COMING_SOON = "the site is not finished"
NOTHING_THERE = "there is no page"
UNCONNECTED = "the domain leads to no site of its platform"

_CHALLENGED_BY = {
    "cf-mitigated": ("challenge", "block"),
    "x-vercel-mitigated": ("deny", "challenge"),
}
_REFUSED = frozenset({401, 403, 405, 406, 429, 451})
_GONE = frozenset({404, 410})
_OK, _SERVER = 200, 500
_SHORT = 1_500
"""Characters of visible text: a page with more says something of its own."""
_VERY_SHORT = 300

_CHALLENGES = re.compile(
    r"just a moment|attention required|access denied|please wait|ddos-guard|checking your browser|verify you are human"
    r"|are you a robot|security check|one more step|acesso negado|zugriff verweigert|bot verification|human verification"
    r"|request unsuccessful|pardon our interruption",
    re.IGNORECASE,
)
_CHALLENGE_MARKS = re.compile(
    r"/cdn-cgi/challenge-platform|_incapsula_resource|captcha-delivery\.com|sucuri_cloudproxy|__ddg\d|geo\.captcha"
    r"|px-captcha|awswafintegration",
    re.IGNORECASE,
)
_PARKING = re.compile(
    r"sedoparkingurl|footer_domain_parking|parked at your registrar|parked for free|parkingcrew\.net|bodis\.com"
    r"|sedoparking\.com|domain is parked|parked domain|domain parking|domínio estacionado|dominio estacionado"
    r"|diese domain ist geparkt|domain geparkt",
    re.IGNORECASE,
)
_FOR_SALE = re.compile(
    r"(this |the )?domain( name)? (\S{1,80} )?(is|may be|might be) (available )?for sale|buy this domain|domain for sale"
    r"|make an offer (on|for) this domain|this domain has (been registered|expired)|domínio (\S{1,80} )?(está|esta) à venda"
    r"|dominio (\S{1,80} )?(está|esta) (a la|en|à) venta|compre este domínio|este domínio (está|foi) registrado"
    r"|domínio registrado|diese domain (\S{1,80} )?(steht zum verkauf|kann gekauft werden|ist zu verkaufen)"
    r"|domain (steht )?zum verkauf|ce (nom de )?domaine est à vendre|questo dominio è in vendita|acquire this domain",
    re.IGNORECASE,
)
_UNFINISHED = re.compile(
    r"coming soon|under construction|site em constru[çc][ãa]o|em constru[çc][ãa]o|em breve|en construcci[óo]n"
    r"|pr[óo]ximamente|in k[üu]rze|im aufbau|hier entsteht|bient[ôo]t|en construction|in costruzione|in arrivo"
    r"|launching soon|website is on its way|under maintenance|em manuten[çc][ãa]o|wartungsarbeiten|wartungsmodus"
    r"|maintenance mode|opening soon",
    re.IGNORECASE,
)
_DEFAULTS = re.compile(
    r"^(index of /|welcome to nginx|apache2 (ubuntu|debian) default page|it works!?$|default web site page|iis windows"
    r"|test page for|web server's default page|plesk|cpanel|default page|hostinger|website not found|hello world!?$"
    r"|apache http server|domain default page|directory listing|phpinfo|confirmação de hospedagem|site suspenso"
    r"|account suspended|suspended)",
    re.IGNORECASE,
)
_ERRORS = re.compile(
    r"\b(error )?40[34]\b|\b50[0234]\b|page not found|not found$|p[áa]gina n[ãa]o encontrada|seite nicht gefunden"
    r"|seite existiert nicht|p[áa]gina no encontrada|page (introuvable|non trouv[ée]e)|pagina non trovata|bad gateway"
    r"|service unavailable|database error|error establishing a database connection|fatal error|internal server error",
    re.IGNORECASE,
)
_NO_SUCH_TENANT = re.compile(
    r"this domain isn'?t connected|domain is not connected|isn'?t connected to a website|there isn'?t a github pages site"
    r"|no such app|website expired|only one step left|this shop is currently unavailable|this store is unavailable"
    r"|project not found|site not found|this site (can'?t|could not) be found|deployment_not_found|no such bucket"
    r"|esta loja (está|esta) (temporariamente )?(indisponível|fechada)|looks like this domain",
    re.IGNORECASE,
)


def refusal(status: int, headers: Mapping[str, str]) -> str | None:
    """Return why this answer is no page, by its status and headers; `None` if its body is worth reading."""
    for name, words in _CHALLENGED_BY.items():
        if any(word in headers.get(name, "").lower() for word in words):
            return CHALLENGED
    if status == _OK:
        return None if _is_html(headers) else "the page is not HTML"
    if status in _GONE:
        return f"{NOTHING_THERE} ({status})"
    if status in _REFUSED:
        return f"the site refuses ({status})"
    return (
        f"the site fails ({status})" if status >= _SERVER else f"the site answers oddly ({status})"
    )


def _is_html(headers: Mapping[str, str]) -> bool:
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    return kind in ("", "text/html", "application/xhtml+xml")


def misgiving(page: Page) -> str | None:
    """Return why the page is not the company's own, by what it says; `None` if nothing speaks against it."""
    is_short, beginning = len(page.text) <= _SHORT, page.raw[:50_000]
    named = f"{page.head.title}\n{page.heading}"
    says = f"{named}\n{page.text if is_short else ''}"
    if is_short and (_CHALLENGES.search(page.head.title) or _CHALLENGE_MARKS.search(beginning)):
        return CHALLENGED
    if _PARKING.search(says) or _FOR_SALE.search(says) or (is_short and _PARKING.search(beginning)):
        return PARKED
    if _NO_SUCH_TENANT.search(says):
        return UNCONNECTED
    if _DEFAULTS.search(page.head.title) or _DEFAULTS.search(page.heading):
        return COMING_SOON
    if is_short and _UNFINISHED.search(named):
        return COMING_SOON
    if len(page.text) <= _VERY_SHORT and _UNFINISHED.search(page.text):
        return COMING_SOON
    if _ERRORS.search(page.head.title) or (is_short and _ERRORS.search(page.heading)):
        return NOTHING_THERE
    return None


def leads_to(page: Page) -> str | None:
    """Return the address to which the page itself sends its readers at once."""
    found = re.match(
        r"\s*[0-5](?:\.\d*)?\s*[;,]\s*url\s*=\s*['\"]?([^'\"\s]+)",
        page.head.meta.get("refresh", ""),
        re.IGNORECASE,
    )
    return found[1] if found else None
