"""Web sites as people paste them: whose company each of them stands for.

The rows were written before any list was, from what such links look like. A tenant stands for
itself at most, a redirect for its target, a page on somebody else's site for nobody.
"""

from __future__ import annotations

import pytest

from enricher.identity.identify import identify
from enricher.lead import Inputs

REDIRECTS = (
    ("https://www.google.com/url?q=https://acme.com/&sa=D&usg=AOv", "acme.com"),
    ("https://www.google.com.br/url?sa=t&url=https%3A%2F%2Facme.com.br%2F&usg=AOv", "acme.com.br"),
    ("https://urldefense.com/v3/__https://acme.com__;!!OPvj_Mo!JUM$", "acme.com"),
    (
        "https://urldefense.proofpoint.com/v2/url?u=https-3A__www.acme.com_about&d=DwMF&c=x",
        "acme.com",
    ),
    ("https://l.facebook.com/l.php?u=https%3A%2F%2Facme.com%2F%3Ffbclid%3DIw&h=AT0", "acme.com"),
    ("https://l.instagram.com/?u=https%3A%2F%2Facme.com&e=AT", "acme.com"),
    (
        "https://nam02.safelinks.protection.outlook.com/?url=https%3A%2F%2Facme.com%2F&data=05%7C01",
        "acme.com",
    ),
    ("https://web.archive.org/web/20190101000000/http://acme.com/", "acme.com"),
    ("https://archive.ph/2020/https://acme.com", "acme.com"),
    ("https://www.linkedin.com/redir/redirect?url=https%3A%2F%2Facme%2Ecom&urlhash=x", "acme.com"),
    (
        "https://www.youtube.com/redirect?event=channel_header&q=https%3A%2F%2Fwww.acme.com",
        "acme.com",
    ),
    ("https://duckduckgo.com/l/?uddg=https%3A%2F%2Facme.com&rut=x", "acme.com"),
    ("https://translate.google.com/translate?sl=pt&tl=en&u=https://acme.com.br", "acme.com.br"),
    ("https://link.edgepilot.com/s/0a1b2c3d/x?u=https://acme.com/", "acme.com"),
    ("https://steamcommunity.com/linkfilter/?url=https://acme.com", "acme.com"),
    ("https://vk.com/away.php?to=https%3A%2F%2Facme.com", "acme.com"),
    ("https://slack-redir.net/link?url=https%3A%2F%2Facme.com", "acme.com"),
    ("https://protect-us.mimecast.com/s/AbCdEf?domain=acme.com", "acme.com"),
    (
        "https://www.googleadservices.com/pagead/aclk?sa=L&ai=DCh&adurl=https://acme.com/",
        "acme.com",
    ),
    (
        "https://r.search.yahoo.com/_ylt=Awr/RV=2/RE=1/RO=10/RU=https%3a%2f%2facme.com%2f/RK=2/RS=x",
        "acme.com",
    ),
    ("https://linkprotect.cudasvc.com/url?a=https%3a%2f%2facme.com&c=E,1,x", "acme.com"),
    ("https://href.li/?https://acme.com", "acme.com"),
    ("https://www.google.com/amp/s/acme.com/page", "acme.com"),
    ("https://click.news.example-mail.com/track?url=https%3A%2F%2Facme.com", "acme.com"),
    ("https://www.google.com/url?q=https://www.google.com/url?q=https://acme.com", "acme.com"),
    ("https://www.google.com/url?q=https://www.instagram.com/acme", None),
    ("https://accounts.google.com/ServiceLogin?continue=https://mail.google.com/mail", None),
)

LISTINGS = (
    "https://www.google.com/maps/place/Acme/@-23.5,-46.6,17z",
    "https://maps.google.com/?cid=1234567890",
    "https://www.google.de/maps/place/Acme",
    "https://maps.app.goo.gl/AbCdEf123",
    "https://goo.gl/maps/AbCdEf",
    "https://www.google.com/search?q=acme+ltda",
    "https://lnkd.in/eAbCdEf",
    "https://fb.me/acme",
    "https://m.me/acme",
    "https://youtu.be/dQw4w9WgXcQ",
    "https://en.wikipedia.org/wiki/Acme_Corporation",
    "https://pt.m.wikipedia.org/wiki/Acme",
    "https://www.amazon.com/stores/Acme/page/ABC-123",
    "https://www.amazon.com.br/stores/Acme",
    "https://www.ebay.com/str/acmestore",
    "https://www.ebay.de/usr/acme",
    "https://www.notion.so/acme/Home-0123456789abcdef",
    "https://bit.ly/3AcMe",
    "https://t.co/AbCdEf",
    "https://www.mercadolivre.com.br/loja/acme",
    "https://lista.mercadolivre.com.br/_Loja_acme",
    "https://shopee.com.br/acme",
    "https://www.yelp.com/biz/acme-sao-paulo",
    "https://www.tripadvisor.com.br/Restaurant_Review-g1-d2-Acme.html",
    "https://www.glassdoor.com.br/Overview/Working-at-Acme.htm",
    "https://www.indeed.com/cmp/Acme",
    "https://www.reclameaqui.com.br/empresa/acme/",
    "https://api.whatsapp.com/send?phone=5511999999999",
    "https://docs.google.com/document/d/1a/edit",
    "https://boards.greenhouse.io/acme",
    "https://www.ifood.com.br/delivery/sao-paulo-sp/acme/0a1b",
    "https://hotmart.com/pt-br/marketplace/produtos/acme",
    "https://www.sympla.com.br/produtor/acme",
    "https://form.jotform.com/12345",
    "https://mailchi.mp/acme/news",
    "https://www.booking.com/hotel/br/acme.html",
    "https://open.spotify.com/show/abc",
    "https://find-and-update.company-information.service.gov.uk/company/01234567",
    "https://duckduckgo.com/?q=acme",
    "https://yandex.ru/maps/org/acme/123",
)
"""Pages about somebody else than whoever runs the site."""

TENANTS = (
    "acme.zendesk.com",
    "minhaloja.lojaintegrada.com.br",
    "acme.squarespace.com",
    "acme.odoo.com",
    "acme.blogspot.com.br",
    "acme.blogspot.co.uk",
    "acme.negocio.site",
    "acme.mitiendanube.com",
    "acme.myshopify.com",
    "acme.wordpress.com",
    "acme.weebly.com",
    "acme.freshdesk.com",
    "acme.teachable.com",
    "acme.webnode.com",
    "acme.statuspage.io",
    "acme.pipedrive.com",
    "acme.bamboohr.com",
    "acme.gupy.io",
    "acme.my.salesforce.com",
    "acme.typeform.com",
    "acme.github.io",
    "acme.vercel.app",
    "acme.slack.com",
    "acme.sharepoint.com",
    "acme.notion.site",
    "acme.substack.com",
    "acme.wixsite.com",
    "acme.ecwid.com",
    "acme.hubspotpagebuilder.com",
    "acme.tumblr.com",
)
"""Names below a platform, as web sites. Right: the tenant's own name, or nobody."""

THEMSELVES = (
    ("https://www.acme.com/stores/amazon", "acme.com"),
    ("https://shop.acme.com/wiki/Main_Page", "acme.com"),
    ("https://maps.acme.com/place/x", "acme.com"),
    ("https://acme.com/login?next=https://acme.com/home", "acme.com"),
    ("https://acme.com/login?redirect_uri=https://login.partner.com/", "acme.com"),
    ("https://acme.com/?ref=https://www.producthunt.com/acme", "acme.com"),
    ("https://acme.com/?utm_source=https://google.com", "acme.com"),
    ("https://acme.com/share?text=https://partner.com", "acme.com"),
    ("https://amazonia.com.br/sobre", "amazonia.com.br"),
    ("https://notion-consulting.com/about", "notion-consulting.com"),
    ("https://www.ebayer.de/shop", "ebayer.de"),
    ("https://googleman.com/maps", "googleman.com"),
    ("https://blogspotacme.com/x", "blogspotacme.com"),
    ("https://indeed-cleaning.co.uk/jobs", "indeed-cleaning.co.uk"),
    ("https://acme.de/impressum", "acme.de"),
    ("https://www.ge.com/about", "ge.com"),
    ("https://www.hp.com/us-en/home.html", "hp.com"),
)
"""Companies' own pages that look a little like one of the others."""

STAFF = (
    "google.com", "amazon.com", "ebay.com", "notion.so", "zendesk.com", "hubspot.com",
    "squarespace.com", "salesforce.com", "slack.com", "odoo.com", "mercadolivre.com.br",
)  # fmt: skip
"""Whoever writes from one of these works there."""

WORTH = 0.95


def _company(website: str) -> str | None:
    return identify(Inputs(email="pat.acme@gmail.com", website=website)).company_domain


def _stray() -> list[str]:
    wrong = [url for url, right in (*REDIRECTS, *THEMSELVES) if _company(url) != right]
    wrong += [url for url in LISTINGS if _company(url) is not None]
    wrong += [host for host in TENANTS if _company(f"https://{host}/") not in {host, None}]
    return wrong


def test_nearly_every_host_in_the_wild_is_read_right() -> None:
    stray = _stray()
    count = len(REDIRECTS) + len(THEMSELVES) + len(LISTINGS) + len(TENANTS)
    assert len(stray) <= count * (1 - WORTH), stray


@pytest.mark.parametrize(("url", "right"), THEMSELVES)
def test_a_companys_own_page_is_that_company(url: str, right: str) -> None:
    assert _company(url) == right


@pytest.mark.parametrize("domain", STAFF)
def test_whoever_writes_from_a_platforms_own_domain_works_there(domain: str) -> None:
    assert identify(Inputs(email=f"pat@{domain}")).company_domain == domain
