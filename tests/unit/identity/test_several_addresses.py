"""A lead of which a mapping reads several addresses: who is asked about."""

from __future__ import annotations

import pytest

from enricher.identity.identify import identify, own_words
from enricher.lead import Inputs, Reason


@pytest.mark.parametrize(
    ("addresses", "asked"),
    [
        (("no address", "ada@quokka-freight.com"), "ada@quokka-freight.com"),
        (("ada@gmail.com", "ada@quokka-freight.com"), "ada@quokka-freight.com"),
        (("ada@gmail.com", "ada@yahoo.com"), "ada@gmail.com"),
        (("ada@mailinator.com", "ada@gmail.com"), "ada@gmail.com"),
        (("noreply@quokka-freight.com", "ada@gmail.com"), "ada@gmail.com"),
        (("ada@quokka-rail.com", "ada@quokka-freight.com"), "ada@quokka-rail.com"),
        (("ada@ours.com", "ada@quokka-freight.com"), "ada@quokka-freight.com"),
        (("a@[10.0.0.1]", "ada@gmail.com"), "ada@gmail.com"),
    ],
)
def test_the_first_that_can_be_asked_about_counts_a_companys_before_free_mail(
    addresses: tuple[str, ...], asked: str
) -> None:
    words = own_words(["ours.com"])
    found = identify(Inputs(addresses[0], other_emails=addresses[1:]), words)
    assert (found.email, found.reason) == (asked, None)


def test_without_one_the_first_says_why() -> None:
    found = identify(Inputs("ada@mailinator.com", other_emails=("nothing",)))
    assert found.reason is Reason.DISPOSABLE_ADDRESS
    assert identify(Inputs("nothing", other_emails=("?",))).reason is Reason.INVALID_EMAIL


def test_all_addresses_are_the_same_persons() -> None:
    both = identify(Inputs("Ada@gmail.com", other_emails=("ada@quokka-freight.com", "x")))
    work = identify(Inputs("ada@quokka-freight.com"))
    home = identify(Inputs("ada@gmail.com"))
    assert both.email_keys == (work.email_key, home.email_key)
    assert work.email_keys == (work.email_key,)
    assert identify(Inputs()).email_keys == ()
