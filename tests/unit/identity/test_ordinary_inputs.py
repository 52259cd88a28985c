"""What ordinary companies and people type: no rule against wrong data may cost them theirs."""

from __future__ import annotations

import pytest

from enricher.identity.identify import Identity, identify
from enricher.lead import Inputs


def of(
    email: str | None = None, website: str | None = None, company: str | None = None
) -> Identity:
    return identify(Inputs(email=email, website=website, company=company))


@pytest.mark.parametrize(
    ("website", "right"),
    [
        # what a company sells to companies is no directory of them
        ("https://www.acme.com.br/empresas/solucoes", "acme.com.br"),
        ("https://www.vivo.com.br/empresas/internet", "vivo.com.br"),
        ("claro.com.br/empresas/planos-internet", "claro.com.br"),
        ("https://www.itau.com.br/empresas/maquininhas", "itau.com.br"),
        ("https://www.bradesco.com.br/empresas/conta-pj", "bradesco.com.br"),
        ("https://www.edp.pt/empresas/energia", "edp.pt"),
        ("https://acme.fr/entreprises/offres", "acme.fr"),
        ("https://www.acme.com/biz/pricing", "acme.com"),
        ("https://acme.com/profile/company", "acme.com"),
        ("https://acme.com/perfil/empresa", "acme.com"),
        ("https://www.natura.com.br/empresas/presentes-corporativos", "natura.com.br"),
        ("https://catalogo.com.br/empresas/padaria-sao-joao", None),
        ("https://www.catalogue.fr/entreprises/boulangerie-martin", None),
        # a page in capitals, or with a year, on a short host is no short link
        ("https://acme.de/ueberUns", "acme.de"),
        ("https://tui.fr/ete2025", "tui.fr"),
        ("https://ikea.es/Black2025", "ikea.es"),
        ("https://fiat.it/500X", "fiat.it"),
        ("https://vw.de/Home1", "vw.de"),
        ("https://dgt.es/x1Y2z", None),
        ("https://abc.de/3kQz9", None),
        # a name with such a word in it redirects nobody
        ("https://click.com.br/produto?q=nike.com", "click.com.br"),
        ("https://protection.de/produkte?link=bosch.com", "protection.de"),
        ("https://www.share.com/shop?to=zara.com", "share.com"),
        ("https://www.link.com.br/?u=x.com", "link.com.br"),
        ("https://www.amp.com.au/personal/super", "amp.com.au"),
        ("https://jump.com.br/visit?utm_source=google.com", "jump.com.br"),
        ("https://acme.com/login?url=https://partner.com", "acme.com"),
        ("https://acme.com/sso/start?url=https://partner.com", "acme.com"),
        ("https://acme.com/redirect?u=partner.com", "partner.com"),
        ("https://out.acme.com/?u=partner.com", "partner.com"),
        # the home page of a site for one country
        ("https://www.spotify.com/br-pt/", "spotify.com"),
        ("https://stripe.com/en-br", "stripe.com"),
        ("https://www.canva.com/pt_br/", "canva.com"),
        ("https://www.hotmart.com/pt-br", "hotmart.com"),
        ("https://www.booking.com/index.pt-br.html", "booking.com"),
        ("https://www.apple.com/br/", "apple.com"),
        ("https://www.box.com/pt-br/home", "box.com"),
        ("https://instagram.com/hp", None),
        ("https://twitter.com/bp", None),
        ("https://github.com/hp", None),
        ("https://www.linkedin.com/in/", None),
        # the first of two
        ("www.acme.com.br e www.acme2.com.br", "acme.com.br"),
        ("acme.com.br / www.acme2.com.br", "acme.com.br"),
        ("https://acme.com.br https://acme2.com.br", "acme.com.br"),
        ("Acme Ltda. www.acme.com.br", "acme.com.br"),
        # a comma beside the full stop
        ("acme.com,br", "acme.com.br"),
        ("www.acme,com,br", "acme.com.br"),
        ("acme,de", "acme.de"),
        ("acme.com,acme.com.br", "acme.com"),
        ("acme.com, br", "acme.com"),
        # .com.br as it is mistyped
        ("acme.con.br", None),
        ("acme.cm.br", None),
    ],
)  # fmt: skip
def test_an_ordinary_page_stands_for_its_own_company(website: str, right: str | None) -> None:
    assert of("pat.acme@gmail.com", website).company_domain == right


@pytest.mark.parametrize(
    ("email", "right"),
    [
        ("jane@acme.com,br", "jane@acme.com.br"),
        ("jane@acme,com", "jane@acme.com"),
        ("jane@acme,com,br", "jane@acme.com.br"),
        ("Jane Doe <jane@acme,de>", "jane@acme.de"),
        ("jane@acme.com,jo@x.com", "jane@acme.com"),
        ("jane@acme.com, jo@x.com", "jane@acme.com"),
        ("jane@acme.com.br,", "jane@acme.com.br"),
        ("Doe, Jane <jane@acme.com>", "jane@acme.com"),
    ],
)
def test_a_comma_typed_for_a_full_stop_makes_nobody_else_of_a_mailbox(
    email: str, right: str
) -> None:
    assert of(email).email == right


def test_a_mistyped_com_below_a_country_is_no_company() -> None:
    assert of("jane@acme.con.br").company_domain is None
    assert "typo_suspected" in of("jane@acme.con.br").flags


@pytest.mark.parametrize("email", ["jane@cm.pt", "jane@acme.co.uk", "jane@mail.om", "jane@con.de"])
def test_a_name_that_only_looks_mistyped_is_a_company(email: str) -> None:
    assert of(email).company_domain is not None
