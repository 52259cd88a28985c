"""Whatever a vendor's body holds, its provider makes a sound answer of it: 100 random ones for each.

`make chaos` has 10,000 for each (`tests/chaos/test_bodies.py`).
"""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime

import pytest

from enricher.answer import Answer, Found, NotFound, Reply, Unavailable
from enricher.providers.cnpj import Cnpj
from enricher.providers.http import HttpProvider
from enricher.providers.registry import built_in, finders
from enricher.values.merge import completeness, merge, metadata
from tests.support.bodies import KNOWN, provider_of, query_of, replies
from tests.support.soundness import faults_in

BODIES = 100
ORDER = tuple(each.name for each in built_in())
NOW = datetime(2026, 11, 28, tzinfo=UTC)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [*built_in(), *finders(), Cnpj], ids=lambda kind: kind.name)
def test_any_body_becomes_an_answer_that_can_be_stored(kind: type[HttpProvider]) -> None:
    said = answers_to(kind, BODIES)
    assert said[Found] > BODIES / 10
    assert said[NotFound] + said[Unavailable] > BODIES / 10


def answers_to(kind: type[HttpProvider], count: int, first: int = 0) -> Counter[type[Answer]]:
    """What the provider makes of so many random replies, once each is known to be sound."""
    provider, said = provider_of(kind), Counter[type[Answer]]()
    before: dict[str, object] = {}
    for seed, reply in replies(kind, count, first):
        answer = judged(provider, reply, seed)
        if isinstance(answer, Found):
            before = merged(provider, answer, seed, before)
        said[type(answer)] += 1
    return said


def judged(provider: HttpProvider, reply: Reply, seed: int) -> Answer:
    """As the daemon judges it, but that nothing is caught."""
    __tracebackhide__ = True
    try:
        answer = provider.interpret(reply)
        if isinstance(answer, Found):
            answer = provider.vetted(answer, reply, query_of(seed % KNOWN))
        provider._tried(reply, answer)
        provider.recall(reply, query_of(seed % KNOWN))
    except Exception as error:
        raise AssertionError(f"seed {seed} of {provider.name}: {reply.body[:2000]!r}") from error
    assert isinstance(answer, Answer), f"seed {seed}: {answer!r}"
    return answer


def merged(
    provider: HttpProvider, found: Found, seed: int, before: dict[str, object]
) -> dict[str, object]:
    """By itself, and over what an earlier body has left on the lead."""
    __tracebackhide__ = True
    data: dict[str, object] = {}
    for older in ({}, before):
        data = merge(older, {provider.name: found}, ORDER)
        data["enrichment_metadata"] = metadata(
            data, now=NOW, order=ORDER, used=[provider.name], completeness=completeness(data)
        )
        assert not faults_in(data), f"seed {seed} of {provider.name}: {faults_in(data)}"
    return data
