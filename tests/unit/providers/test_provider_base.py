"""What a provider without HTTP of its own leaves to be kept, and reads out of it again."""

from __future__ import annotations

from typing import Any

import pytest

from enricher.answer import Answer, Found, NotFound, Query, Unavailable
from tests.support.scripted import company, provider

QUERY = Query(company_domain="acme.com")


@pytest.mark.parametrize(
    "answer",
    [
        company(name="Acme", tags=["B2B"]),
        Found({"company_data": {"name": "Acme"}}, confidence=0.7),
        Found({"person_data": {"bio": "x"}}, 0.7, ("acme.io",), {"person_data": {"role": "y"}}),
        NotFound(),
    ],
)
async def test_an_answer_that_is_kept_is_the_same_when_it_is_read_again(answer: Answer) -> None:
    asked = provider("acme", answer)
    tried = await asked.exchange(QUERY)
    assert tried.reply is not None
    assert asked.recall(tried.reply, QUERY) == answer


def _endless() -> list[Any]:
    inside: list[Any] = []
    inside.append(inside)
    return inside


@pytest.mark.parametrize("odd", [_endless(), {("a", 1): 2}])
async def test_an_answer_that_is_no_json_is_used_and_not_kept(odd: Any) -> None:
    answer = company(name="Acme", odd=odd)
    tried = await provider("acme", answer).exchange(QUERY)
    assert (tried.answer, tried.reply) == (answer, None)


async def test_what_is_no_answer_is_not_kept() -> None:
    assert (await provider("acme", Unavailable("503")).exchange(QUERY)).reply is None
