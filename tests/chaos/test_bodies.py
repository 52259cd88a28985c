"""Ten thousand random bodies for each provider; `CHAOS_BODIES` sets how many, `CHAOS_BODIES_FROM` where they begin."""

from __future__ import annotations

import os

import pytest

from enricher.answer import Found
from enricher.providers.cnpj import Cnpj
from enricher.providers.http import HttpProvider
from enricher.providers.registry import built_in, finders
from tests.acceptance.test_bodies import play
from tests.unit.providers.test_bodies import answers_to
from tests.unit.providers.website.test_pages import found_on

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(900)]

BODIES = int(os.environ.get("CHAOS_BODIES", "10000"))
LEADS = 200
FIRST = int(os.environ.get("CHAOS_BODIES_FROM", "0"))


@pytest.mark.parametrize("kind", [*built_in(), *finders(), Cnpj], ids=lambda kind: kind.name)
def test_any_of_many_bodies_becomes_an_answer_that_can_be_stored(kind: type[HttpProvider]) -> None:
    assert answers_to(kind, BODIES, FIRST)[Found] > BODIES / 10


def test_any_of_many_pages_of_a_site_becomes_an_answer_that_can_be_stored() -> None:
    assert found_on(BODIES, FIRST) > BODIES / 4


async def test_many_leads_of_vendors_that_say_anything_end_well(mongodb_uri: str) -> None:
    await play(mongodb_uri, LEADS, FIRST + 1_000)
