"""What `local` says of an address, from the query alone."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from enricher.answer import Found, Kind, NotFound, Query
from enricher.identity.identify import identify
from enricher.lead import Inputs
from enricher.providers.local import Local


async def verdict(email: str) -> Mapping[str, object]:
    answer = await Local().ask(identify(Inputs(email=email)).query)
    assert isinstance(answer, Found)
    assert list(answer.sections) == ["email_verification"]
    return answer.sections["email_verification"]


async def test_good_syntax_alone_gives_no_status() -> None:
    assert await verdict("jane@acme.com") == {
        "is_disposable": False,
        "is_webmail": False,
    }


async def test_a_free_mail_address_is_webmail() -> None:
    assert (await verdict("jane@gmail.com"))["is_webmail"] is True


async def test_a_disposable_address_is_called_so() -> None:
    values = await verdict("jane@mailinator.com")
    assert (values["is_disposable"], values["status"]) == (True, "disposable")


@pytest.mark.parametrize("email", ["jane", "a@co.uk", "jane..doe@acme.com"])
async def test_an_invalid_address_is_invalid_and_nothing_else_is_claimed(email: str) -> None:
    assert await verdict(email) == {"status": "invalid"}


@pytest.mark.parametrize("query", [Query(), Query(company_domain="acme.com")])
async def test_without_an_address_there_is_nothing_to_say(query: Query) -> None:
    assert isinstance(await Local().ask(query), NotFound)
    assert Local().unfit(query) == "no e-mail address"


def test_every_query_with_an_address_is_fit_even_an_invalid_one() -> None:
    assert Local().unfit(Query(email="jane@acme.com")) is None
    assert Local().unfit(Query(is_valid=False)) is None


def test_it_is_free_and_needs_no_window() -> None:
    local = Local()
    assert (local.name, local.vendor, local.kind) == ("local", "local", Kind.EMAIL)
    assert local.is_free
    assert local.windows == ()
