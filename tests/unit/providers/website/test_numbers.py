"""A Brazilian company's number on its own site: which one is taken, and when none is."""

from __future__ import annotations

import json

import pytest

from enricher.providers.website.company import Site
from enricher.providers.website.numbers import number_of
from enricher.providers.website.page import read
from tests.support.bodies import cnpj_of

OWN, BRANCH, OTHER = (cnpj_of(each) for each in ("191312430001", "191312430002", "331312430001"))
NEW = "12ABC34501DE35"


def _signed(number: str) -> str:
    return f"{number[:2]}.{number[2:5]}.{number[5:8]}/{number[8:12]}-{number[12:]}"


def _site(*markups: str) -> Site:
    pages = [read(f"https://acme.com.br/{n}", markup) for n, markup in enumerate(markups)]
    return Site("acme.com.br", pages, {})


def _json_ld(**said: str) -> str:
    node = {"@type": "Organization", "name": "Acme", "url": "https://acme.com.br/", **said}
    return f'<script type="application/ld+json">{json.dumps(node)}</script>'


@pytest.mark.parametrize(
    ("markup", "number"),
    [
        (f"<footer>Acme Ltda - CNPJ: {_signed(OWN)}</footer>", OWN),
        (f"<footer>{_signed(OWN)}</footer>", OWN),
        (f"<footer>CNPJ nº {OWN}</footer>", OWN),
        (f"<footer>CNPJ <b>{_signed(NEW).lower()}</b></footer>", NEW),
        (_json_ld(taxID=_signed(OWN)), OWN),
        (_json_ld(vatID=f"CNPJ {OWN}"), OWN),
        (_json_ld(taxID=OWN) + f"<p>Filial: {_signed(BRANCH)}</p>", OWN),
        (f"<p>Filial {_signed(BRANCH)}, matriz {_signed(OWN)}</p>", OWN),
        (f"<p>Protocolo {OWN}</p>", None),
        (f"<p>CNPJ {_signed(OWN)[:-1]}0</p>", None),
        (f"<p>{_signed(OWN)}</p><p>Pagamentos: {_signed(OTHER)}</p>", None),
        ("<p>CNPJ 11.111.111/1111-11</p>", None),
        ("<p>Acme</p>", None),
    ],
)
def test_a_number_counts_if_all_of_the_site_are_one_firms(markup: str, number: str | None) -> None:
    assert number_of(_site(markup)) == number


def test_a_page_after_the_root_may_state_it() -> None:
    assert number_of(_site("<p>Acme</p>", f"<p>CNPJ {_signed(OWN)}</p>")) == OWN
