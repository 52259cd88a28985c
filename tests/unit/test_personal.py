"""The search for personal words, which the tests of privacy rest on: it must find what is there."""

from __future__ import annotations

import json
from urllib.parse import quote, quote_plus

import pytest

from tests.support.personal import Personal, as_said

ADDRESS = "Zoë.Wojciechowski@quokka-freight.com"
NAME = "Zoë Wojciechowski"


@pytest.fixture
def personal() -> Personal:
    made = Personal()
    made.address(ADDRESS)
    made.name(NAME)
    return made


@pytest.mark.parametrize(
    "said",
    [
        ADDRESS,
        ADDRESS.upper(),
        f"https://a.io/?email={quote(ADDRESS)}",
        f"https://a.io/?name={quote_plus(NAME)}",
        quote(ADDRESS, safe="").lower(),
        json.dumps({"text": ADDRESS}),
        as_said([{"text": [ADDRESS]}]),
        "no such user: zoë.wojciechowski",
        "Dear Ms WOJCIECHOWSKI,",
    ],
)
def test_it_is_found_in_every_spelling(personal: Personal, said: str) -> None:
    assert personal.leaks(f"before {said} after")


def test_a_text_without_any_of_it_is_clean(personal: Personal) -> None:
    assert (
        personal.leaks("lead.settled lead=656565 provider=hunter domain=quokka-freight.com") == []
    )


def test_what_looks_like_an_id_is_no_word(personal: Personal) -> None:
    personal.name("Ada Decade")
    assert personal.leaks("lead=6adafeeddecade00") == []
    assert personal.leaks("lead of ada decade")
