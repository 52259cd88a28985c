"""Which companies may be looked for by their names, and when two names are one company's."""

from __future__ import annotations

from dataclasses import replace

import pytest

from enricher.identity.common_names import (
    COMMON_NAME,
    NO_NAME,
    PERSONS_NAME,
    TOO_SHORT,
    why_not_sought,
)
from enricher.identity.identify import NOT_SOUGHT, identify, own_words
from enricher.identity.names import is_same_name
from enricher.lead import Inputs, Reason

FINDS = own_words(["ours.com"], finds_domain=True)


@pytest.mark.parametrize(
    "name",
    [
        *("Quokka Freight Ltda", "Totvs S.A.", "Associated Brick Co", "Magazine Luiza", "Nubank"),
        *("Itaú Unibanco", "Bäckerei Quokkamann GmbH", "Grupo Quokka", "Silva & Quokkas Advogados"),
    ],
)
def test_a_name_of_its_own_may_be_looked_for(name: str) -> None:
    assert why_not_sought(name, "Ada Lovelace") is None


@pytest.mark.parametrize(
    ("name", "why"),
    [
        (None, NO_NAME),
        ("n/a", NO_NAME),
        ("Self-employed", NO_NAME),
        ("Autônomo", NO_NAME),
        ("www.acme.com", NO_NAME),
        ("ada@acme.com", NO_NAME),
        ("Caf\ufffd Quokka", NO_NAME),
        ("word " * 30, NO_NAME),
        ("Ltda", TOO_SHORT),
        ("ABC", TOO_SHORT),
        ("3M", TOO_SHORT),
        ("Acme Ltda", TOO_SHORT),
        ("2024 2025", TOO_SHORT),
        ("Padaria Central Ltda", COMMON_NAME),
        ("Global Services Inc.", COMMON_NAME),
        ("Phoenix GmbH", COMMON_NAME),
        ("Nova Horizonte", COMMON_NAME),
        ("Silva Advogados", COMMON_NAME),
        ("Construtora Oliveira", COMMON_NAME),
        ("Müller & Söhne GmbH", COMMON_NAME),
        ("Ada Lovelace", PERSONS_NAME),
        ("Lovelace Consulting", PERSONS_NAME),
        ("João Silva ME", PERSONS_NAME),
        ("Maria Oliveira Fotografia", PERSONS_NAME),
    ],
)
def test_a_name_that_many_have_or_that_is_a_persons_is_not(name: str | None, why: str) -> None:
    assert why_not_sought(name, "Ada Lovelace") == why


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ("Quokka Freight Ltda", "QUOKKA FREIGHT", True),
        ("Quokka-Freight GmbH", "QuokkaFreight", True),
        ("Müller Quokka", "Mueller Quokka AG", True),
        ("São Quokka S.A.", "sao quokka", True),
        ("Quokka Freight", "Quokka", False),
        ("Quokka", "Quokka Holding", False),
        ("Quokka", "Wombat", False),
        ("Quokka", "", False),
    ],
)
def test_names_are_compared_letter_by_letter_without_their_legal_forms(
    one: str, other: str, is_same: bool
) -> None:
    assert is_same_name(one, other) is is_same


def test_a_lead_with_a_name_alone_is_skipped_unless_domains_are_looked_for() -> None:
    inputs = Inputs(company="Quokka Freight Ltda")
    without, with_it = identify(inputs), identify(inputs, FINDS)
    assert (without.reason, without.sought) == (Reason.NOTHING_TO_GO_BY, None)
    assert without.company_key is None
    assert without.why_not_sought == NOT_SOUGHT
    assert (with_it.reason, with_it.sought) == (None, "Quokka Freight Ltda")


def test_another_name_is_another_company_and_another_spelling_is_not() -> None:
    names = ("Quokka Freight Ltda", " QUOKKA  freight, ltda.", "Quokka Rail Ltda")
    keys = [identify(Inputs(company=name), FINDS).company_key for name in names]
    assert keys[0] == keys[1] != keys[2]


@pytest.mark.parametrize(
    "inputs",
    [
        Inputs(company_domain="quokka.com"),
        Inputs(email="ada@quokka.com"),
        Inputs(website="https://www.quokka.com/about"),
        Inputs(website="localhost.test"),
        Inputs(company_domain="ours.com"),
        Inputs(email="ada@mailinator.com"),
    ],
)
def test_nothing_is_looked_for_beside_a_domain_or_by_a_lead_that_is_not_worth_it(
    inputs: Inputs,
) -> None:
    named = Inputs(
        email=inputs.email,
        company_domain=inputs.company_domain,
        website=inputs.website,
        company="Quokka Freight",
    )
    assert identify(named, FINDS).sought is None
    assert identify(named, FINDS).company_key == identify(inputs, FINDS).company_key


@pytest.mark.parametrize(
    "stated",
    [
        Inputs(email="ada@gmail.com"),
        Inputs(website="facebook.com/quokka"),
        Inputs(website="coming soon"),
        Inputs(company_domain="Quokka"),
    ],
)
def test_what_names_no_domain_of_the_companys_leaves_its_name_to_go_by(stated: Inputs) -> None:
    named = replace(stated, company="Quokka Freight")
    assert identify(named, FINDS).sought == "Quokka Freight"
