"""A company's number in the Brazilian register: its check digits, in both forms, however it is written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enricher.identity.cnpj import read_cnpj
from enricher.identity.identify import identify, own_words
from enricher.lead import Inputs, Reason
from tests.support.bodies import cnpj_of

ASKED = own_words(asks_register=True)
NUMBER = "19131243000197"


@pytest.mark.parametrize(
    ("text", "number"),
    [
        (NUMBER, NUMBER),
        ("19.131.243/0001-97", NUMBER),
        (" CNPJ: 19.131.243/0001-97 ", NUMBER),
        ("cnpj 19 131 243 0001 97", NUMBER),
        ("12.ABC.345/01DE-35", "12ABC34501DE35"),
        ("12.abc.345/01de-35", "12ABC34501DE35"),
        ("00.000.000/0001-91", "00000000000191"),
        ("191", None),
        ("000000000191", "00000000000191"),
        ("0000000000191", "00000000000191"),
        ("19.131.243/0001-98", None),
        ("19.131.243/0001-9", None),
        ("12.ABC.345/01DE-3A", None),
        ("00.000.000/0000-00", None),
        ("11111111111111", None),
        ("123.456.789-09", None),
        ("١٩١٣١٢٤٣٠٠٠١٩٧", None),
        ("", None),
        (None, None),
        (NUMBER * 9, None),
    ],
)
def test_a_number_is_read_in_any_spelling_and_only_with_its_check_digits(
    text: str | None, number: str | None
) -> None:
    assert read_cnpj(text) == number


@given(st.text(alphabet="0123456789ABCXYZ", min_size=12, max_size=12))
def test_one_in_a_hundred_endings_fits(first: str) -> None:
    good = [n for n in range(100) if read_cnpj(f"{first}{n:02}")]
    assert len(good) == 1 or (not good and len(set(first)) == 1)
    if good:
        assert read_cnpj(cnpj_of(first)) == cnpj_of(first)


@given(st.text())
def test_any_text_is_read_without_an_exception(text: str) -> None:
    read_cnpj(text)


def test_a_number_alone_is_something_to_go_by_where_the_register_is_asked() -> None:
    lead = Inputs(cnpj="19.131.243/0001-97")
    known, unasked = identify(lead, ASKED), identify(lead)
    assert (known.reason, known.query.cnpj, known.company_key) == (None, NUMBER, NUMBER)
    assert known.query.no_company_domain == "no company domain"
    assert (unasked.reason, unasked.query.cnpj) == (Reason.NOTHING_TO_GO_BY, None)
    wrong = identify(Inputs(cnpj="19.131.243/0001-98"), ASKED)
    assert wrong.reason is Reason.NOTHING_TO_GO_BY


def test_a_domain_goes_before_the_number_when_a_company_is_told_from_others() -> None:
    known = identify(Inputs(email="ada@acme.com.br", cnpj=NUMBER), ASKED)
    assert (known.company_key, known.query.cnpj) == ("acme.com.br", NUMBER)


def test_a_number_does_not_make_an_address_worth_a_call_that_is_none() -> None:
    known = identify(Inputs(email="ada@mailinator.com", cnpj=NUMBER), ASKED)
    assert (known.reason, known.query.cnpj) == (Reason.DISPOSABLE_ADDRESS, None)
