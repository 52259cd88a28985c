"""The sample leads: deterministic, mostly good, and odd where they mean to be."""

from __future__ import annotations

import re
from collections import Counter
from random import Random

import pytest

from enricher.demo.leads import COLLEAGUE, ORDINARY, STORIES, odd_lead, sample_leads
from enricher.simulator import facts, faults

IMPORTANT = {
    *(
        ORDINARY,
        COLLEAGUE,
        "second vendor",
        "third vendor",
        "last vendor",
        "person only",
        "moved on",
    ),
    *("free mail", "disposable", "nobody knows", "throttled", "vendor down", "objected", "retried"),
}
BUSINESS = re.compile(r"[a-z]+\.[a-z]+@([a-z]+-[a-z]+-[a-z]+)\.[a-z.]+")


def test_the_same_seed_gives_the_same_leads() -> None:
    assert list(sample_leads(200, seed=7)) == list(sample_leads(200, seed=7))


def test_another_seed_gives_other_leads() -> None:
    assert list(sample_leads(20, seed=1)) != list(sample_leads(20, seed=2))


def test_a_longer_list_begins_with_the_shorter_one() -> None:
    assert list(sample_leads(50))[:20] == list(sample_leads(20))


def test_every_other_lead_is_a_good_business_lead() -> None:
    good = [lead for lead in sample_leads(1000) if lead["story"] in (ORDINARY, COLLEAGUE)]
    assert len(good) == 500
    assert all(BUSINESS.fullmatch(lead["email"]) for lead in good)


def test_no_domain_is_reserved() -> None:
    reserved = re.compile(r"(^|[@.])(example|test|invalid|localhost|local)(\.|$)|example\.")
    for lead in sample_leads(2000):
        assert not reserved.search(str(lead.get("email", "")).lower())


def test_good_leads_tell_no_story_by_accident() -> None:
    for lead in sample_leads(2000):
        if lead["story"] in (ORDINARY, COLLEAGUE):
            told = (*faults.STORIES, *facts.FIRST_TO_TELL, "moved", "bounce")
            assert not any(word in lead["email"] for word in told)


def test_some_leads_are_colleagues() -> None:
    domains = Counter(
        match[1] for lead in sample_leads(500) if (match := BUSINESS.match(lead.get("email", "")))
    )
    assert domains.most_common(1)[0][1] >= 3


def test_leads_vary_in_temperature_source_and_score() -> None:
    leads = list(sample_leads(200))
    assert {lead["temperature"] for lead in leads} == {"hot", "warm", "cold"}
    assert len({lead["source"] for lead in leads}) > 2
    assert 0 < sum("qualification_score" in lead for lead in leads) < 200


def test_every_story_turns_up_and_the_important_ones_among_the_first_forty() -> None:
    assert {lead["story"] for lead in sample_leads(2 * len(STORIES))} >= STORIES.keys()
    assert {lead["story"] for lead in sample_leads(40)} >= IMPORTANT


@pytest.mark.parametrize("word", faults.STORIES)
def test_no_word_of_a_story_hides_in_another(word: str) -> None:
    assert [other for other in faults.STORIES if word in other] == [word]


@pytest.mark.parametrize("kind", STORIES)
def test_an_odd_lead_never_holds_none(kind: str) -> None:
    assert None not in odd_lead(kind, Random(1)).values()
