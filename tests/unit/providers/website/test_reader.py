"""What is read from the pages of a company's own site, and what is not."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from enricher.answer import FieldValues, Kind
from enricher.fields import FIELDS
from enricher.identity.names import agree
from enricher.providers.website import judging
from enricher.providers.website.company import (
    Site,
    lacks_identity,
    next_page,
    read_company,
)
from enricher.providers.website.organization import parse
from enricher.providers.website.page import Page, decode, read
from enricher.values.types import typed
from tests.support.sites import ORDINARY, Prepared, firms, node, page, prepared

ROOT = "https://{}/"
SITES = {f"{each.kind}: {each.domain}": each for each in prepared()}
DOMAIN, NAME = "acme.com.br", "Acme Móveis"


def root_of(site: Prepared) -> Page | None:
    served = site.paths["/"]
    headers = {name.lower(): value for name, value in served.headers.items()}
    if judging.refusal(served.status, headers):
        return None
    url = ROOT.format(site.domain)
    found = read(url, decode(served.body, headers.get("content-type")))
    return None if judging.misgiving(found) else found


def company_of(markup: str, domain: str = DOMAIN, **headers: str) -> FieldValues:
    pages = [read(ROOT.format(domain), markup)]
    values = read_company(Site(domain, pages, headers))
    return typed("company_data", values)


def in_json_ld(*organizations: object, head: str = f"<title>{NAME}</title>") -> FieldValues:
    scripts = (
        f'<script type="application/ld+json">{json.dumps(each)}</script>' for each in organizations
    )
    return company_of(f"<html><head>{head}{''.join(scripts)}</head><body>x</body></html>")


def organization(**more: object) -> dict[str, Any]:
    return {"@type": "Organization", "url": f"https://{DOMAIN}/", "name": NAME, **more}


# Whole sites


@pytest.mark.parametrize(
    "site", [each for each in SITES.values() if each.kind in ORDINARY], ids=lambda each: each.domain
)
def test_an_ordinary_firm_is_known_by_its_root_page(site: Prepared) -> None:
    root = root_of(site)
    assert root is not None
    known = read_company(Site(site.domain, [root], {"server": "nginx"}))
    assert known["name"] == site.name
    assert known.keys() >= {"name", "description", "industry", "tech_stack", "phone", "domain"}
    assert known.keys() <= FIELDS[Kind.COMPANY]


@pytest.mark.parametrize("name", SITES)
def test_no_page_makes_a_wrong_company(name: str) -> None:
    site = SITES[name]
    known = known_of(name) if site.kind != "packed" else {}
    assert known.get("name") in (site.name, None) or site.kind.startswith(("robots.txt", "tenant"))


def test_nothing_about_a_person_is_read() -> None:
    for name in SITES:
        known = json.dumps(known_of(name), ensure_ascii=False)
        assert "inparticular" not in known.lower()
        assert "@" not in known


@cache  # some pages take a second to read
def known_of(name: str) -> FieldValues:
    """What the root page of a site says."""
    root = root_of(SITES[name])
    return read_company(Site(SITES[name].domain, [root], {})) if root else {}


def test_a_person_in_json_ld_is_no_company() -> None:
    person = organization(telephone="+55 81 3333-0100", address="x") | {"@type": "Person"}
    assert in_json_ld(person, head="<title>Home</title>") == {}


# JSON-LD


@pytest.mark.parametrize(
    ("stated", "expected"),
    [
        (50, {"employee_count": 50}),
        ("50", {"employee_count": 50}),
        ({"@type": "QuantitativeValue", "value": 50}, {"employee_count": 50}),
        ({"value": "11-50"}, {"employee_range": "11-50"}),
        ({"minValue": 11, "maxValue": 50}, {"employee_range": "11-50"}),
        ({"minValue": "20", "maxValue": "20"}, {"employee_count": 20}),
        ("50+", {"employee_range": "50+"}),
        ("11 - 50", {"employee_range": "11-50"}),
        ([{"value": 7}], {"employee_count": 7}),
        ("many", {}),
        (0, {}),
        (None, {}),
        (True, {}),
    ],
)
def test_a_head_count_comes_in_many_shapes(stated: object, expected: FieldValues) -> None:
    found = in_json_ld(organization(numberOfEmployees=stated))
    assert {name: value for name, value in found.items() if name.startswith("emp")} == expected


@pytest.mark.parametrize(
    ("stated", "year"),
    [("2009", 2009), ("2009-03-01", 2009), (2009, 2009), ("2009-03-01T00:00:00Z", 2009), ("03/2009", None), ("0009", None)],
)  # fmt: skip
def test_a_founding_date_gives_its_year(stated: object, year: int | None) -> None:
    assert in_json_ld(organization(foundingDate=stated)).get("founded_year") == year


@pytest.mark.parametrize(
    ("address", "city", "country"),
    [
        ({"addressLocality": "Recife", "addressCountry": "BR"}, "Recife", "Brazil"),
        ({"addressLocality": "Recife", "addressCountry": {"@type": "Country", "name": "Brasil"}}, "Recife", "Brasil"),
        ([{"addressLocality": "Recife"}, {"addressLocality": "Natal"}], "Recife", None),
        ("Rua A, 1, Recife", None, None),
    ],
)  # fmt: skip
def test_an_address_comes_in_many_shapes(
    address: object, city: str | None, country: str | None
) -> None:
    found = in_json_ld(organization(address=address))
    assert (found.get("city"), found.get("country")) == (city, country)
    assert found["location"]


@pytest.mark.parametrize(
    "logo",
    ["/logo.png", f"https://{DOMAIN}/logo.png", {"@type": "ImageObject", "url": "/logo.png"}, {"contentUrl": "/logo.png"},
     ["/logo.png", "/other.png"], {"@id": "#logo"}],
)  # fmt: skip
def test_a_logo_comes_in_many_shapes(logo: object) -> None:
    image = {"@id": "#logo", "@type": "ImageObject", "url": "/logo.png"}
    assert in_json_ld(organization(logo=logo), image)["logo_url"] == f"https://{DOMAIN}/logo.png"


@pytest.mark.parametrize("logo", ["data:image/png;base64,AAAA", "http://10.0.0.1/l.png", "http://intranet/l.png", "javascript:x"])  # fmt: skip
def test_a_logo_that_is_no_public_address_is_none(logo: str) -> None:
    assert "logo_url" not in in_json_ld(organization(logo=logo))


def test_the_organization_that_names_the_domain_goes_before_all_others() -> None:
    client = {
        "@type": "Corporation",
        "name": "Client SA",
        "url": "https://client.com",
        "logo": "/x",
    }
    assert in_json_ld(client, organization(legalName="Acme Ltda"))["name"] == NAME
    assert in_json_ld(organization(), client)["name"] == NAME


def test_a_reference_leads_to_its_node() -> None:
    site = {"@type": "WebSite", "publisher": {"@id": "#org"}}
    own = organization() | {"@id": "#org"}
    graph = {"@context": "https://schema.org", "@graph": [site, own]}
    assert in_json_ld(graph, head="<title>Home</title>")["name"] == NAME


@pytest.mark.parametrize(
    "text", ["", "null", "[", "{" * 100_000, '{"a": ' + "9" * 5_000 + "}", "\ufeff{}", "<!---->"]
)
def test_what_is_no_json_is_nothing(text: str) -> None:
    assert parse(text) in (None, {}, {"a": None})


# Names, profiles and phones


@pytest.mark.parametrize(
    ("name", "label", "expected"),
    [
        ("Müller & Söhne GmbH", "mueller-soehne", True),
        ("Müller & Söhne GmbH", "muller-sohne", True),
        ("Padaria São João Ltda", "padariasaojoao", True),
        ("Associated Brick Co Ltd", "abc-brick", True),
        ("Acme", "buyacme", True),
        ("Grupo Solar", "solargrupo", True),
        ("Acme", "bosch", False),
        ("Home", "trenvaro", False),
        ("The Group", "groupama", False),
        ("", "acme", False),
    ],
)
def test_a_name_and_a_domain_agree_by_their_letters(name: str, label: str, expected: bool) -> None:
    assert agree(name, label) is expected


def test_a_name_is_said_twice_or_agrees_with_the_domain() -> None:
    said = "<title>Casa do Pão | Início</title>"
    assert company_of(said + "<body>Olá") == {}
    assert company_of(said + "<body>Olá © 2024 Casa do Pão Ltda")["name"] == "Casa do Pão"
    other = said + '<link rel="canonical" href="https://casadopao.com.br/"><body>© Casa do Pão'
    assert company_of(other) == {}


def test_only_the_companys_own_profiles_are_read() -> None:
    links = (
        "https://www.linkedin.com/in/acme-founder",
        "https://www.linkedin.com/company/some-agency",
        "https://www.linkedin.com/company/acme-moveis/about/",
        "https://www.facebook.com/sharer/sharer.php?u=x",
        "https://facebook.com/profile.php?id=1",
        "https://www.facebook.com/AcmeMoveis",
        "https://twitter.com/intent/tweet?text=acme",
        "https://x.com/acme",
        "https://github.com/acme-moveis",
    )
    body = "".join(f'<a href="{link}">x</a>' for link in links)
    found = company_of(f"<title>{NAME}</title><body>{body}")
    handles = {name: value for name, value in found.items() if name.endswith("_handle")}
    assert handles == {
        "linkedin_handle": "company/acme-moveis",
        "facebook_handle": "AcmeMoveis",
        "twitter_handle": "acme",
        "github_handle": "acme-moveis",
    }


def test_a_personal_profile_among_the_companys_own_is_left_out() -> None:
    persons = ["https://www.linkedin.com/in/somebody", "https://www.crunchbase.com/person/somebody"]
    found = in_json_ld(organization(sameAs=persons))
    assert "linkedin_handle" not in found
    assert "crunchbase_handle" not in found


def test_a_telephone_link_is_a_phone() -> None:
    body = '<a href="tel:+55%2081%203333-0100">x</a><a href="tel:">y</a><a href="tel:190">z</a>'
    assert company_of(f"<title>{NAME}</title>{body}")["phone"] == "+55 81 3333-0100"


def test_an_escaped_description_is_plain_text() -> None:
    said = "Móveis &amp;lt;b&amp;gt;sob medida&amp;lt;/b&amp;gt; para a casa toda"
    found = company_of(f'<title>{NAME}</title><meta name="description" content="{said}">')
    assert found["description"] == "Móveis sob medida para a casa toda"


def test_the_server_and_the_page_tell_what_it_is_made_with() -> None:
    found = company_of(
        f'<title>{NAME}</title><script src="/wp-content/x.js"></script>',
        server="Apache/2.4",
        **{"x-powered-by": "PHP/8.2"},
    )
    assert found["tech_stack"] == ["WordPress", "PHP", "Apache"]


# The next page


def test_one_more_page_is_worth_it_when_the_root_does_not_say_who_it_is() -> None:
    links = '<a href="/blog">Blog</a><a href="/x.pdf">Sobre</a><a href="/quem-somos#a">Empresa</a><a href="https://o.com/sobre">S</a>'
    root = read(ROOT.format(DOMAIN), f"<title>Home</title>{links}")
    assert lacks_identity(read_company(Site(DOMAIN, [root], {})))
    assert next_page(root) == f"https://{DOMAIN}/quem-somos"


def test_no_other_page_is_worth_it_when_all_is_known() -> None:
    firm = next(each for each in firms(60) if each.trade == "odonto")
    head = f'<meta name="description" content="{firm.description}">'
    graph = f'<script type="application/ld+json">{json.dumps(node(firm))}</script>'
    root = read(ROOT.format(firm.domain), page(firm, head + graph))
    assert not lacks_identity(read_company(Site(firm.domain, [root], {})))


# Anything at all

HOSTILE = {
    "nested": "<div>" * 200_000,
    "formatting": "".join(f"<b id={number}>" for number in range(70_000)),
    "links": "<a href=x>" * 100_000,
    "attributes": f"<a {' '.join(f'a{number}=1' for number in range(100_000))}>",
    "quotes": "<a " + '"' * 1_000_000,
    "tags without an end": "<a <" * 200_000,
    "comments": "<!--" * 250_000,
    "scripts": "<script " * 125_000,
    "metas": "".join(f"<meta content=x name=n{number}>" for number in range(40_000)),
    "brackets": '<script type="application/ld+json">' + "[" * 200_000 + "</script>",
    "blanks": "<title>" + " " * 1_000_000,
    "bars": '<meta property="og:title" content="' + " | " * 1_300 + '">',
    "copyright": "© " * 300_000,
}


LONG = ("nested", "formatting", "links", "tags without an end")
"""To read one takes seconds."""


@pytest.mark.parametrize(
    "markup",
    [
        pytest.param(markup, id=name, marks=[pytest.mark.slow] if name in LONG else [])
        for name, markup in HOSTILE.items()
    ],
)
def test_a_hostile_page_takes_no_more_than_linear_time(markup: str) -> None:
    """A tree of some of these would take minutes: longer than a test may."""
    found = read(ROOT.format(DOMAIN), markup)
    judging.misgiving(found)
    assert read_company(Site(DOMAIN, [found], {})) == {}
    assert next_page(found) is None or markup == HOSTILE["links"]


@given(
    st.binary(max_size=400),
    st.sampled_from([None, "text/html; charset=utf-16", "text/html; charset=x", "a;b"]),
)
@settings(deadline=None)
def test_any_bytes_are_a_page(body: bytes, content_type: str | None) -> None:
    found = read(ROOT.format(DOMAIN), decode(body, content_type))
    judging.misgiving(found)
    assert (
        typed("company_data", read_company(Site(DOMAIN, [found], {}))).keys()
        <= FIELDS[Kind.COMPANY]
    )


_PIECES = st.sampled_from(
    ["<title>", "</title>", "<a href='", "'>", "<meta content=", "<script type=ld+json>", "</script>", "{", '"@type"', ":",
     '"Organization"', ",", "[", "]", "}", "acme", "<!--", "-->", "&lt;", "&#x110000;", "\x00", "\ud800", "<b>", "</b", ">"]
)  # fmt: skip


@given(st.lists(_PIECES, max_size=60).map("".join))
@settings(deadline=None)
def test_any_markup_is_a_page(markup: str) -> None:
    found = read(ROOT.format(DOMAIN), markup)
    judging.misgiving(found)
    read_company(Site(DOMAIN, [found], {}))
