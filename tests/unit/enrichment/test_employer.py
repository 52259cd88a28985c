"""A person who works for another company by now: what is written, what is held, what is said of it."""

from __future__ import annotations

from datetime import timedelta
from random import Random
from typing import Any

import pytest

from enricher.answer import Found, Kind, NotFound, Objected
from enricher.calls.question import Gate, Retries
from enricher.enrichment.attempt import Enrichment, Subjects, Waterfall
from enricher.enrichment.conclude import AttemptPolicy
from enricher.lead import Inputs, Lead
from enricher.providers.hunter import HunterPerson
from enricher.values.merge import OF_THE_JOB, owners
from tests.support.scripted import KEYRING, Scripted, company, keep_nothing, provider, verdict
from tests.unit.providers.test_clearbit_person import interpret as clearbits_answer
from tests.unit.providers.test_hunter_enrichment import PERSON
from tests.unit.providers.test_hunter_enrichment import interpret as hunters_answer

ADA = Inputs(email="ada@acme-tools.com")
WHO = {"full_name": "Ada Lovelace", "linkedin_handle": "in/ada"}
JOB = {"job_title": "CTO", "role": "engineering", "seniority": "executive", "bio": "CTO at Quokka"}


def says(*employers: str, **values: object) -> Found:
    return Found({"person_data": values or WHO | JOB}, employers=employers)


async def data_of(*providers: Scripted, inputs: Inputs = ADA, **lead: Any) -> dict[str, Any]:
    gates = [Gate(each, Retries(tries=1), Random(1)) for each in providers]
    policy = AttemptPolicy(3, timedelta(seconds=60), 30)
    work = Enrichment(Waterfall(gates, {}), Subjects(KEYRING), policy)
    outcome, _ = await work.work_on(Lead(1, inputs, **lead), keep_nothing)
    data: dict[str, Any] = outcome.data
    return data


def person(answer: Any, name: str = "acme_person") -> Scripted:
    return provider(name, answer, Kind.PERSON, required=["full_name", "job_title"])


async def test_a_job_at_another_company_is_held_and_the_lead_says_so() -> None:
    data = await data_of(person(says("https://www.quokka-freight.com/about")))
    assert data["person_data"] == WHO
    metadata = data["enrichment_metadata"]
    assert metadata["flags"] == ["employer_mismatch"]
    assert metadata["alternatives"]["person_data"] == {
        name: {"acme_person": value} for name, value in JOB.items()
    }


async def test_nobody_is_moved_to_the_other_company() -> None:
    data = await data_of(person(says("quokka-freight.com")), provider("acme", NotFound()))
    assert data["company_data"] is None


@pytest.mark.parametrize(
    ("employers", "inputs"),
    [
        (["acme-tools.com"], ADA),
        (["http://www.Acme-Tools.com/jobs"], ADA),
        (["shop.acme-tools.com"], ADA),
        (["quokka-freight.com", "acme-tools.com"], ADA),
        (["acme.io"], Inputs(email="ada@acme-tools.com", company_domain="acme.io")),
        (["acme-tools.com"], Inputs(email="ada@acme-tools.com", company_domain="acme.io")),
        ([], ADA),
        (["linkedin.com/company/quokka-freight"], ADA),
        (["localhost"], ADA),
        (["gmail.com"], ADA),
        (["not a domain"], ADA),
        (["quokka-freight.com"], Inputs(email="ada@acme-tools.con")),
    ],
)
async def test_a_job_at_the_leads_own_company_or_at_nobodys_is_written(
    employers: list[str], inputs: Inputs
) -> None:
    data = await data_of(person(says(*employers)), inputs=inputs)
    assert data["person_data"] == WHO | JOB
    assert "employer_mismatch" not in data["enrichment_metadata"]["flags"]


async def test_a_domain_that_the_company_has_as_well_is_no_other_company() -> None:
    known = provider("acme", company(name="Acme", domain="acme.io"))
    data = await data_of(person(says("acme.io")), known)
    assert data["person_data"] == WHO | JOB
    assert data["enrichment_metadata"]["flags"] == []


async def test_a_job_that_is_held_does_not_spare_the_next_provider() -> None:
    second = person(says("acme-tools.com", job_title="Founder"), "second")
    data = await data_of(person(says("quokka-freight.com")), second)
    assert len(second.asked) == 1
    assert data["person_data"] == WHO | {"job_title": "Founder"}
    assert data["enrichment_metadata"]["flags"] == ["employer_mismatch"]


async def test_a_title_of_earlier_stays_when_the_person_moved() -> None:
    before = await data_of(person(says("acme-tools.com"), "first"))
    data = await data_of(person(says("quokka-freight.com", job_title="CEO")), enriched_data=before)
    assert data["person_data"]["job_title"] == "CTO"
    assert data["enrichment_metadata"]["alternatives"]["person_data"]["job_title"] == {
        "acme_person": "CEO"
    }


@pytest.mark.parametrize("title", ["CTO", "Advisor"])
async def test_a_job_that_was_the_leads_companys_before_it_was_corrected_is_no_value(
    title: str,
) -> None:
    asked = person(says("quokka-freight.com", **WHO, **JOB))
    before = await data_of(
        asked, inputs=Inputs(email=ADA.email, company_domain="quokka-freight.com")
    )
    before["person_data"]["job_title"] = title
    after = await data_of(asked, enriched_data=before)
    still = {} if title == JOB["job_title"] else {"job_title": title}
    assert after["person_data"] == WHO | still
    assert after["enrichment_metadata"]["flags"] == ["employer_mismatch"]
    assert (
        set(after["enrichment_metadata"]["alternatives"]["person_data"])
        == JOB.keys() - still.keys()
    )


@pytest.mark.parametrize(
    ("answer", "flags"),
    [
        (NotFound(), ["employer_mismatch"]),
        (says(), ["employer_mismatch"]),
        (says("acme-tools.com"), []),
    ],
)
async def test_the_flag_stays_until_somebody_says_otherwise(answer: Any, flags: list[str]) -> None:
    before = await data_of(person(says("quokka-freight.com")))
    data = await data_of(person(answer), provider("acme", company(name="A")), enriched_data=before)
    assert data["enrichment_metadata"]["flags"] == flags


async def test_what_is_about_a_person_who_objected_goes_with_its_flag() -> None:
    before = await data_of(person(says("quokka-freight.com")))
    data = await data_of(provider("hunter", Objected(), Kind.EMAIL), enriched_data=before)
    assert data["enrichment_metadata"]["flags"] == []


async def test_the_flags_of_the_address_are_on_the_lead() -> None:
    inputs = Inputs(email="ada@acme-tools.com; bob@acme-tools.com", company_domain="acme.io")
    data = await data_of(provider("hunter", verdict(status="valid"), Kind.EMAIL), inputs=inputs)
    assert data["enrichment_metadata"]["flags"] == ["domain_conflict", "multiple_emails"]


def test_clearbit_and_hunter_name_the_employer() -> None:
    record = {**PERSON, "employment": {"domain": "quokka-freight.com", "title": "CTO"}}
    for answer in (
        clearbits_answer(200, record),
        hunters_answer(HunterPerson, 200, {"data": record}),
    ):
        assert isinstance(answer, Found)
        assert answer.employers == ("quokka-freight.com",)


def test_whose_a_domain_is_does_not_depend_on_its_spelling() -> None:
    spelt = ["https://www.müller.de/x", "shop.xn--mller-kva.de", "ada@müller.de", 7, None]
    assert owners(spelt) == {"xn--mller-kva.de"}
    assert "full_name" not in OF_THE_JOB


def test_a_text_that_is_too_long_for_any_address_is_nobodys_domain() -> None:
    """A record may hold megabytes, and what was read lately is kept in memory."""
    assert owners(["quokka-freight.com/" + "x" * 2_000]) == {"quokka-freight.com"}
    assert owners(["quokka-freight.com/" + "x" * 2_048]) == frozenset()
