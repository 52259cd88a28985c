"""A company's own name below a domain of another name is a tenant's, on a platform that no list knows."""

from __future__ import annotations

import pytest

from enricher.identity.identify import identify
from enricher.lead import Inputs


@pytest.mark.parametrize(
    ("company", "website"),
    [
        ("Acme Ltda", "https://acme.newbuilder.com/"),
        ("Acme Ferragens", "acmeferragens.lojanova.com.br"),
        ("Padaria São João LTDA - ME", "padaria-sao-joao.minhapagina.com.br"),
        ("Müller GmbH", "muller.example-shop.de"),
        ("Quokka S.A.", "quokka.sitebuilder.io"),
        ("Wombat Sp. z o.o.", "http://wombat.strona.pl"),
        ("Numbat, Inc.", "www.numbat.pages-of.us"),
    ],
)
def test_a_platform_that_no_list_knows_is_not_the_company(company: str, website: str) -> None:
    identity = identify(Inputs(email="ada@quokka-freight.com", company=company, website=website))
    assert identity.company_domain == "quokka-freight.com"


@pytest.mark.parametrize(
    ("company", "website", "right"),
    [
        ("Acme", "shop.acme.com", "acme.com"),
        ("Acme", "acme.acme.com", "acme.com"),
        ("Acme Brasil", "brasil.acme.com", "acme.com"),
        ("Brasil Paralelo", "brasil.paralelo.com.br", "paralelo.com.br"),
        ("Suporte Técnico Wombat", "suporte.numbat.com", "numbat.com"),
        ("Santander", "santander.gruposantander.com", "gruposantander.com"),
        ("Itaú Unibanco S.A.", "itau.itau.com.br", "itau.com.br"),
        ("TI", "ti.acme.com", "acme.com"),
        ("Acme", "blog.wombat.com", "wombat.com"),
        ("", "acme.wombat.com", "wombat.com"),
        ("Co", "co.wombat.com", "wombat.com"),
        ("x" * 5000, "x.wombat.com", "wombat.com"),
    ],
)
def test_a_company_keeps_its_own_site(company: str, website: str, right: str) -> None:
    assert identify(Inputs(company=company, website=website)).company_domain == right
