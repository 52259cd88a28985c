"""What a text in a lead's fields means: whose mailbox, whose site, a desk or a person."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from enricher.identity.identify import Identity, identify
from enricher.lead import Inputs, Reason


def of(email: str | None = None, website: str | None = None) -> Identity:
    return identify(Inputs(email=email, website=website))


def site(website: str) -> str | None:
    return of("pat.acme@gmail.com", website).company_domain


# W2, names of hosts


@pytest.mark.parametrize(
    ("website", "right"),
    [
        ("http://wwww.acme.com", "acme.com"),
        ("awww.co.uk", "awww.co.uk"),
        ("heywww.com.au", "heywww.com.au"),
        ("https://www2.acme.com", "acme.com"),
        ("ww.acme.com", "acme.com"),
        ("www.www.acme.com", "acme.com"),
        ("https://www.com.br", "www.com.br"),
        ("ewww.org", "ewww.org"),
        ("wwf.org", "wwf.org"),
        ("swww.acme.com", "acme.com"),
        ("www-acme.com", "www-acme.com"),
        ("https.com.br", "https.com.br"),
        ("myhttp.com", "myhttp.com"),
        ("http.acme.com", "acme.com"),
        ("ttp.com", "ttp.com"),
        ("www.blogspot.com", None),
    ],
)
def test_only_what_stands_at_the_front_of_a_host_is_taken_off(
    website: str, right: str | None
) -> None:
    assert site(website) == right


# W3, other people's sites


@pytest.mark.parametrize(
    ("website", "right"),
    [
        ("https://www.google.com/url?q=https://acme.com", "acme.com"),
        ("https://urldefense.com/v3/__https://acme.com__;!!x", "acme.com"),
        ("https://l.facebook.com/l.php?u=https%3A%2F%2Facme.com%2F&h=AT", "acme.com"),
        (
            "https://eur01.safelinks.protection.outlook.com/?url=http%3A%2F%2Facme.com&data=x",
            "acme.com",
        ),
        ("https://web.archive.org/web/2019/http://acme.com", "acme.com"),
        ("https://r.jina.ai/https://acme.com", "acme.com"),
        ("https://www.awin1.com/cread.php?awinmid=1&ued=https%3A%2F%2Facme.com", "acme.com"),
        ("https://exit.sc/?url=https%3A%2F%2Facme.com", "acme.com"),
        ("https://www.google.com/url?q=https://www.google.com/", None),
        ("https://app.acme.com/oauth/authorize?redirect_uri=https://partner.com/cb", "acme.com"),
        ("https://acme.com/search?q=https://partner.com", "acme.com"),
    ],
)
def test_a_redirect_stands_for_the_site_it_leads_to(website: str, right: str | None) -> None:
    assert site(website) == right


@pytest.mark.parametrize(
    "website",
    [
        "https://www.google.com/maps/place/Acme",
        "https://lnkd.in/acme",
        "https://fb.me/acme",
        "https://m.me/acme",
        "https://youtu.be/acme",
        "https://en.wikipedia.org/wiki/Acme",
        "https://www.amazon.com/stores/acme",
        "https://www.ebay.com/str/acme",
        "https://www.notion.so/acme",
        "https://cutt.ly/eR4tYu2",
        "https://rb.gy/0a1b2c",
        "https://pt-br.facebook.com/acme",
        "https://business.google.com",
        "https://wa.me/5511999999999",
    ],
)
def test_a_page_on_somebody_elses_site_stands_for_nobody(website: str) -> None:
    assert site(website) is None


@pytest.mark.parametrize(
    ("host", "platform"),
    [
        ("acme.zendesk.com", "zendesk.com"),
        ("minhaloja.lojaintegrada.com.br", "lojaintegrada.com.br"),
        ("acme.squarespace.com", "squarespace.com"),
        ("acme.odoo.com", "odoo.com"),
        ("acme.blogspot.com.br", "blogspot.com.br"),
        ("acme.negocio.site", "negocio.site"),
        ("acme.mitiendanube.com", "mitiendanube.com"),
        ("acme.my.salesforce.com", "my.salesforce.com"),
        ("acme.blogspot.de", "blogspot.de"),
        ("www.acme.weebly.com", "weebly.com"),
    ],
)
def test_a_tenant_stands_for_itself_and_never_for_the_platform(host: str, platform: str) -> None:
    tenant = host.removeprefix("www.")
    assert site(f"https://{host}/about") == tenant
    assert of(f"jane@{host}").company_domain == tenant
    assert site(f"https://{platform}/acme") is None


# W4, desks and machines


@pytest.mark.parametrize(
    "local",
    """sac financeiro atendimento faleconosco suporte ventas facturacion compras accueil
    comptabilite buchhaltung einkauf vertrieb amministrazione segreteria vendas3 sac-loja
    nfe.financeiro klantenservice biuro cobrança GESCHÄFTSFÜHRUNG suportetecnico""".split(),
)
def test_a_desk_costs_a_company_look_up_and_no_persons(local: str) -> None:
    identity = of(f"{local}@acme.com.br")
    assert identity.is_role
    assert (identity.company_domain, identity.reason) == ("acme.com.br", None)


@pytest.mark.parametrize(
    "local",
    "max.lager joao.sales aide.martinez i.t ti gf ola dev.patel e.sales sergio.compras".split(),
)
def test_a_persons_name_is_no_desk(local: str) -> None:
    assert not of(f"{local}@acme.com").is_role


@pytest.mark.parametrize(
    "local",
    """naoresponda nao-responda no-responder ne-pas-repondre não-responda nicht-antworten
    non-rispondere nie-odpowiadac acme-noreply billing.no-reply NaoResponda auto-confirm
    undefined""".split(),
)
def test_a_machines_address_is_skipped(local: str) -> None:
    assert of(f"{local}@acme.com").reason is Reason.SYSTEM_ADDRESS


# W5, what stands around


@pytest.mark.parametrize(
    ("email", "right"),
    [
        ("'jane@acme.com", "jane@acme.com"),
        ("o\u2019neil@acme.com", "o'neil@acme.com"),
        ("\u201cjane@acme.com\u201d", "jane@acme.com"),
        ("jane@acme.com ::: b@x.com", "jane@acme.com"),
        ("SMTP:jane@acme.com", "jane@acme.com"),
        ("(jane@acme.com)", "jane@acme.com"),
        ("[jane](mailto:jane@acme.com)", "jane@acme.com"),
        ('<a href="mailto:jane@acme.com">', "jane@acme.com"),
        ("**jane@acme.com**", "jane@acme.com"),
        ("jane\\_doe@acme.com", "jane_doe@acme.com"),
        ("jane@acme.com (Jane Doe)", "jane@acme.com"),
        ("e doe@acme.com", None),
        ("'jane'@acme.com", None),
        ("{jane}@acme.com", None),
        ("50%ab@acme.com", "50%ab@acme.com"),
    ],
)
def test_an_address_is_read_out_of_whatever_stands_around_it(email: str, right: str | None) -> None:
    assert of(email).email == right


@pytest.mark.parametrize("host", ["acme.onmicrosoft.com", "acme.com"])
def test_a_guest_of_a_tenant_is_neither_a_mailbox_nor_a_company(host: str) -> None:
    identity = of(f"jane_partner.com#EXT#@{host}")
    assert (identity.email, identity.company_domain) == (None, None)
    assert identity.reason is Reason.INVALID_EMAIL


@pytest.mark.parametrize(
    "website",
    [
        '"acme.com"',
        "<https://acme.com>",
        "\u2039acme.com\u203a",
        "http:\\\\acme.com",
        "https://acme.com%20",
        "[Acme](https://acme.com/about)",
        "Acme <https://acme.com>",
        "https%3A%2F%2Facme.com",
        "mailto:jane@acme.com",
    ],
)
def test_a_web_site_is_read_out_of_whatever_stands_around_it(website: str) -> None:
    assert site(website) == "acme.com"


@pytest.mark.parametrize(
    "text",
    [
        "mailto:jane%2Bnews@acme.com",
        "mailto:%6Aane@acme.com",
        "mailto:jane@acme%2Ecom",
        "jane@acme\u3002com",
        "jane@ACME\uff0ecom",
        "jane@\uff41cme.com",
    ],
)
def test_a_mailbox_has_one_key_however_it_is_encoded(text: str) -> None:
    assert of(text).email_key == "jane@acme.com"


KEY = "jane.o'neil@acme.com"
AROUND = (
    ("", ""), ("'", ""), ("'", "'"), ('"', '"'), ("\u201c", "\u201d"), ("\u201e", "\u201c"), ("\u00ab", "\u00bb"),
    ("\u2039", "\u203a"), ("(", ")"), ("[", "]"), ("{", "}"), ("<", ">"), ("`", "`"), ("**", "**"), ("", "."), ("", ","), ("", ";"), ("", "\\"),
    ("mailto:", ""), ("MAILTO:", "?subject=Hi"), ("SMTP:", ""), ("E-mail: ", ""), ("[Jane](mailto:", ")"),
    ('<a href="mailto:', '">Jane</a>'), ("Jane <", ">"), ("Jane O'Neil (", ")"), ("", " (Jane)"), ('=HYPERLINK("mailto:', '","x")'),
    ("\u200b", "\ufeff"), ("\t", "\r\n"), ("&lt;", "&gt;"), ("\u3010", "\u3011"), ("\uff1c", "\uff1e"), ("* ", ""), ("- ", ""),
)  # fmt: skip


def _full_width(one: str) -> str:
    return chr(ord(one) + 0xFEE0) if "!" <= one <= "~" else one


@st.composite
def written(draw: st.DrawFn) -> str:
    """One mailbox, in one of the ways in which people and programs write it."""
    ways: list[Callable[[str], str]] = [
        str,
        str,
        str,
        str.upper,
        _full_width,
        lambda one: quote(one, safe=""),
    ]
    ways += [
        lambda one: f"%{ord(one):02X}",
        lambda one: f"&#{ord(one)};",
        lambda one: f"{one}\u200b",
    ]
    other = {"'": "\u2019\u2018\u02bc", ".": "\u3002\uff61\uff0e", "@": "\uff20"}
    text = KEY.replace("@", draw(st.sampled_from(["", "+news", "%2Bnews", "+"])) + "@")
    if draw(st.booleans()):
        text = "".join(draw(st.sampled_from(one + other.get(one, ""))) for one in text)
    if draw(st.booleans()):
        text = "".join(draw(st.sampled_from(ways))(one) if one.isascii() else one for one in text)
    for before, after in draw(st.lists(st.sampled_from(AROUND), max_size=3)):
        text = f"{before}{text}{after}"
    return text


@settings(deadline=None)
@given(written())
def test_every_spelling_of_a_mailbox_has_one_key_or_is_not_read_at_all(text: str) -> None:
    assert of(text).email_key in {KEY, None}


@pytest.mark.parametrize(("before", "after"), AROUND)
def test_every_wrapping_alone_is_read(before: str, after: str) -> None:
    assert of(f"{before}jane.o\u2019neil@acme.com{after}").email_key == KEY
