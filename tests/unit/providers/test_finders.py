"""A company's domain by its name: what counts as that company, how sure it is, and what it costs."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import SecretStr

from enricher.answer import Answer, Found, NotFound, Query, Reply
from enricher.enrichment.finding import AMBIGUOUS, is_settled, settled
from enricher.providers.apollo import ApolloFinder
from enricher.providers.base import Access
from enricher.providers.finding import (
    LIKELY,
    NO_DOMAIN,
    OTHER_DOMAIN,
    OTHER_NAME,
    SURE,
)
from enricher.providers.hunter import HunterFinder
from enricher.providers.pdl import UNCERTAIN, PdlFinder
from enricher.providers.transport import NOBODY

ACCESS = Access(SecretStr("key"), "https://vendor.example")
NAME = "Quokka Freight Ltda"
QUERY = Query(sought=NAME)
HUNTER, PDL, APOLLO = (each(NOBODY, ACCESS) for each in (HunterFinder, PdlFinder, ApolloFinder))


def _reply(body: Any, status: int = 200) -> Reply:
    return Reply(status, {}, json.dumps(body).encode())


def _hunter(domain: str | None, name: str | None, emails: list[Any] | None = None) -> Reply:
    return _reply({"data": {"domain": domain, "organization": name, "emails": emails or []}})


def _pdl(domain: str, name: str, likelihood: object) -> Reply:
    return _reply({"id": "x", "website": domain, "display_name": name, "likelihood": likelihood})


def _said(answer: Answer | None) -> tuple[object, float | None] | str:
    if isinstance(answer, Found):
        return answer.sections["company_data"]["domain"], answer.confidence
    return answer.reason if isinstance(answer, NotFound) else repr(answer)


@pytest.mark.parametrize(
    ("domain", "name", "said"),
    [
        ("quokkafreight.com.br", "QUOKKA FREIGHT", ("quokkafreight.com.br", SURE)),
        ("www.quokka-freight.com", "Quokka Freight S.A.", ("quokka-freight.com", SURE)),
        ("quokka.io", "Quokka Freight", ("quokka.io", LIKELY)),
        ("wombat.com", "Quokka Freight", OTHER_DOMAIN),
        ("quokkafreight.com", "Quokka Rail", OTHER_NAME),
        ("quokkafreight.com", None, OTHER_NAME),
        ("gmail.com", "Quokka Freight", NO_DOMAIN),
    ],
)
def test_a_find_counts_when_its_name_is_the_one_asked_for_and_its_domain_fits(
    domain: str, name: str | None, said: object
) -> None:
    assert _said(HUNTER.recall(_hunter(domain, name), QUERY)) == said
    organization = {"organization": {"id": "x", "name": name, "primary_domain": domain}}
    if name is not None:
        assert _said(APOLLO.recall(_reply(organization), QUERY)) == said


@pytest.mark.parametrize(
    ("likelihood", "said"),
    [
        (10, ("quokkafreight.com", SURE)),
        (8, ("quokkafreight.com", 0.8)),
        (7, UNCERTAIN),
        (2, UNCERTAIN),
        (None, UNCERTAIN),
    ],
)
def test_pdls_likelihood_lowers_the_confidence_and_too_low_is_not_found(
    likelihood: object, said: object
) -> None:
    assert _said(PDL.recall(_pdl("quokkafreight.com", "Quokka Freight", likelihood), QUERY)) == said


def test_pdl_is_told_to_answer_nothing_that_is_unlikely_or_has_no_web_site() -> None:
    asked = PDL.request(QUERY).params
    assert (asked["name"], asked["min_likelihood"]) == (NAME, "8")
    assert asked["required"] == "website"


def test_of_hunters_search_no_address_is_kept_and_without_one_it_is_free() -> None:
    asked = HUNTER.request(QUERY).params
    assert (asked["limit"], asked["type"]) == ("1", "generic")
    listed = [{"value": "info@quokka.com", "first_name": "Ada"}]
    charged, free = (_hunter("quokkafreight.com", "Quokka Freight", each) for each in (listed, []))
    for reply, is_charged in ((charged, True), (free, False)):
        tried = HUNTER._tried(reply, HUNTER.recall(reply, QUERY))
        assert tried.is_charged is is_charged
        assert tried.reply is not None
        assert b"info@" not in tried.reply.body
        assert HUNTER.is_charged(tried.reply) is is_charged, "told so of the kept answer as well"
        assert _said(HUNTER.recall(tried.reply, QUERY)) == ("quokkafreight.com", SURE)


def test_an_objection_to_a_company_is_nobodys() -> None:
    body = {"errors": [{"id": "claimed_email", "code": 451, "details": "x"}]}
    assert isinstance(HUNTER.recall(_reply(body, 451), QUERY), NotFound)


@pytest.mark.parametrize("finder", [HUNTER, PDL, APOLLO])
def test_every_spelling_of_a_name_is_the_same_question(
    finder: HunterFinder | PdlFinder | ApolloFinder,
) -> None:
    spellings = (NAME, "quokka  FREIGHT, Ltda.", "Quokka Freight GmbH")
    keys = [finder.question(Query(sought=each)) for each in spellings]
    assert keys[0] == keys[1]
    assert keys[0] != keys[2], "another legal form may be another company"


@pytest.mark.parametrize("finder", [HUNTER, PDL, APOLLO])
def test_a_finder_is_asked_only_for_a_company_without_a_domain(
    finder: HunterFinder | PdlFinder | ApolloFinder,
) -> None:
    assert finder.unfit(QUERY) is None
    assert finder.unfit(Query(company="Quokka"))
    known = Query(sought=NAME, company_domain="quokka.com", why_not_sought="its domain is known")
    assert finder.unfit(known) == "its domain is known"


def _find(domain: str, confidence: float) -> Found:
    return Found({"company_data": {"domain": domain}}, confidence)


def test_one_that_is_sure_is_enough_and_two_that_agree_are_surer() -> None:
    sure, likely, same = _find("a.com", SURE), _find("a.com", LIKELY), _find("a.com", LIKELY)
    assert is_settled({"one": sure})
    assert not is_settled({"one": likely})
    assert settled({"one": likely}) == {"one": likely}
    assert [_said(each) for each in settled({"one": likely, "two": same}).values()] == [
        ("a.com", 0.84),
        ("a.com", 0.84),
    ]


def test_two_that_disagree_find_nothing() -> None:
    answers: dict[str, Answer] = {
        "one": _find("a.com", LIKELY),
        "two": _find("b.com", SURE),
        "three": NotFound(),
    }
    assert settled(answers) == {
        "one": NotFound(AMBIGUOUS),
        "two": NotFound(AMBIGUOUS),
        "three": NotFound(),
    }


@pytest.mark.parametrize(
    ("linkedin", "profile"),
    [
        ("https://www.linkedin.com/company/quokka/about/", "linkedin.com/company/quokka"),
        ("company/quokka", "linkedin.com/company/quokka"),
        ("https://linkedin.com/in/ada-lovelace", None),
        ("https://example.com/company/quokka", None),
        (None, None),
    ],
)
def test_a_companys_own_profile_is_sent_along_and_a_persons_is_not(
    linkedin: str | None, profile: str | None
) -> None:
    query = Query(sought=NAME, linkedin=linkedin)
    assert PDL.request(query).params.get("profile") == profile
    assert APOLLO.request(query).params.get("linkedin_url") == (
        profile and f"https://www.{profile}"
    )
    for finder in (PDL, APOLLO):
        assert (finder.question(query) == finder.question(QUERY)) is (profile is None)
    assert HUNTER.question(query) == HUNTER.question(QUERY)
