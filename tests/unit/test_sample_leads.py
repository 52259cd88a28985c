"""The sample leads: deterministic, mostly good, and odd where they mean to be."""

from __future__ import annotations

import re
from collections import Counter
from random import Random

import pytest

from enricher.demo.leads import ODDITIES, odd_lead, sample_leads
from enricher.demo.stories import STORIES

BUSINESS = re.compile(r"[a-z]+\.[a-z]+@([a-z]+-[a-z]+-[a-z]+)\.[a-z.]+")


def test_the_same_seed_gives_the_same_leads() -> None:
    assert list(sample_leads(200, seed=7)) == list(sample_leads(200, seed=7))


def test_another_seed_gives_other_leads() -> None:
    assert list(sample_leads(20, seed=1)) != list(sample_leads(20, seed=2))


def test_a_longer_list_begins_with_the_shorter_one() -> None:
    assert list(sample_leads(50))[:20] == list(sample_leads(20))


def test_four_leads_in_five_are_good_business_leads() -> None:
    good = [lead for lead in sample_leads(1000) if BUSINESS.fullmatch(lead.get("email", ""))]
    assert len(good) == 800


def test_no_domain_is_reserved() -> None:
    reserved = re.compile(r"(^|[@.])(example|test|invalid|localhost|local)(\.|$)|example\.")
    for lead in sample_leads(2000):
        assert not reserved.search(str(lead.get("email", "")).lower())


def test_good_leads_tell_no_story_by_accident() -> None:
    for lead in sample_leads(2000):
        email = str(lead.get("email", ""))
        if BUSINESS.fullmatch(email):
            assert not any(word in email for word in STORIES)


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


def test_every_oddity_turns_up_in_a_hundred_leads() -> None:
    emails = " ".join(str(lead.get("email")) for lead in sample_leads(5 * len(ODDITIES)))
    for sign in ("pending-", "info@", "+newsletter", "mailinator", "(at)", "claimed.", "None"):
        assert sign in emails


@pytest.mark.parametrize("kind", ODDITIES)
def test_an_odd_lead_never_holds_none(kind: str) -> None:
    assert None not in odd_lead(kind, Random(1)).values()
