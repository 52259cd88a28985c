"""What an earlier run left counts only while it is about the same mailbox and the same company."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enricher.answer import Kind
from enricher.enrichment.attempt import carry_over, is_of_data
from enricher.identity.identify import identify, older_mark, read_subject
from enricher.lead import Inputs, Lead, Subject
from tests.support.scripted import KEYRING, subject

KEYS = st.sampled_from(
    [
        "subject",
        "mailbox",
        "company",
        "provenance",
        "company_data",
        "person_data",
        "name",
        "flags",
        "person",
    ]
)
KINDS = {
    "clearbit": Kind.COMPANY,
    "hunter_person": Kind.PERSON,
    "hunter": Kind.EMAIL,
    "local": Kind.EMAIL,
}
ANSWERED = {
    "clearbit": "not_found",
    "hunter_person": "found",
    "hunter": "failed",
    "local": "found",
    "gone": "found",
}
PAT = ("pat@huntco-one.com", None)


def data(about: Subject | None, **more: Any) -> dict[str, Any]:
    """Everything that a run finds, and what others put beside it."""
    known: dict[str, Any] = {
        "provenance": {
            "company_data": {"name": "clearbit", "linkedin_handle": "clearbit", "acme_id": "acme"},
            "person_data": {"full_name": "hunter_person", "twitter_handle": "hunter_person"},
            "email_verification": {"status": "hunter"},
        },
        "alternatives": {"person_data": {"job_title": {"lead": "CEO"}}, "company_data": {}},
        "confidence": {"person_data": {"full_name": 0.9}},
        "flags": ["typo_suspected", "employer_mismatch"],
    }
    return {
        "company_data": {
            "name": "Huntco",
            "linkedin_handle": "company/huntco",
            "acme_id": 7,
            "owner": "ours",
        },
        "person_data": {"full_name": "Pat Example", "twitter_handle": "pat", "nickname": "P"},
        "email_verification": {"status": "valid"},
        "social_profiles": {
            "company": {
                "linkedin": "https://www.linkedin.com/company/huntco",
                "forum": "https://f.example",
            },
            "person": {"twitter": "https://twitter.com/pat"},
        },
        "enrichment_metadata": known | ({"subject": about.document} if about else {}),
        "notes": "somebody else's",
        **more,
    }


def carried(
    lead: Lead, now: tuple[str | None, str | None] = PAT
) -> tuple[dict[str, Any], dict[str, str], bool]:
    email, domain = now
    identity = identify(Inputs(email=email, company_domain=domain))
    kept, is_stripped = carry_over(lead, identity, subject(email, domain), KINDS)
    return dict(kept.enriched_data), dict(kept.answered), is_stripped


def lead(found: Any, noted: object = None) -> Lead:
    return Lead(1, Inputs(), enriched_data=found, answered=ANSWERED, subject=noted)


def without(found: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in found.items() if key != name}


def names(found: dict[str, Any], section: str) -> set[str]:
    return set(found[section] or {})


# -- whom it is about --------------------------------------------------------------------------


def test_a_subject_shows_neither_the_mailbox_nor_the_company() -> None:
    pat = subject(*PAT)
    assert pat == subject(" Pat+crm@Huntco-One.com ")
    assert (pat.mailbox == subject("bob@huntco-one.com").mailbox, pat.company) == (
        False,
        subject("bob@huntco-one.com").company,
    )
    assert pat.company == subject(None, "www.huntco-one.com").company
    assert subject("pat@gmail.com").company is None
    assert subject(None, "huntco-one.com").mailbox is None
    assert "pat" not in repr(pat)
    assert "huntco" not in repr(pat)


@pytest.mark.parametrize("garbage", [None, "x", [], 7, [{"mailbox": "x"}]])
def test_what_is_no_subject_is_none(garbage: object) -> None:
    assert read_subject(garbage) is None


def test_half_a_subject_is_read_as_far_as_it_goes() -> None:
    assert read_subject({"mailbox": ["x"], "company": "c"}) == Subject(None, "c")


# -- the same ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "now",
    [PAT, ("PAT+spring@huntco-one.com", None), ("<pat@huntco-one.com>", "www.huntco-one.com")],
)
def test_another_spelling_is_the_same(now: tuple[str, str | None]) -> None:
    found, noted = data(subject(*PAT)), subject(*PAT).document
    assert carried(lead(found, noted), now) == (found, ANSWERED, False)


def test_what_an_older_version_marked_is_the_same() -> None:
    found, mark = data(None), older_mark("pat@huntco-one.com", "huntco-one.com")
    assert carried(lead(found, mark)) == (found, ANSWERED, False)


# -- another mailbox, another company ----------------------------------------------------------


def test_another_mailbox_takes_the_person_and_leaves_the_company() -> None:
    found, answered, is_stripped = carried(
        lead(data(subject(*PAT)), subject(*PAT).document), ("bob@huntco-one.com", None)
    )
    assert is_stripped
    assert names(found, "company_data") == {"name", "linkedin_handle", "acme_id", "owner"}
    assert (names(found, "person_data"), found["email_verification"]) == ({"nickname"}, None)
    assert not found["social_profiles"]["person"]
    assert found["social_profiles"]["company"] == {
        "linkedin": "https://www.linkedin.com/company/huntco",
        "forum": "https://f.example",
    }
    metadata = found["enrichment_metadata"]
    assert metadata["provenance"].keys() == {"company_data"}
    assert (metadata["alternatives"], metadata["confidence"]) == ({"company_data": {}}, {})
    assert metadata["flags"] == ["typo_suspected"]
    assert found["notes"] == "somebody else's"
    assert answered == {"clearbit": "not_found"}


def test_another_company_takes_the_company_and_leaves_the_person() -> None:
    found, answered, is_stripped = carried(
        lead(data(subject(*PAT)), subject(*PAT).document), ("pat@huntco-one.com", "acme.com")
    )
    assert is_stripped
    assert names(found, "company_data") == {"owner"}
    assert names(found, "person_data") == {"full_name", "twitter_handle", "nickname"}
    assert found["email_verification"] == {"status": "valid"}
    assert found["social_profiles"]["company"] == {"forum": "https://f.example"}
    assert found["social_profiles"]["person"] == {"twitter": "https://twitter.com/pat"}
    assert found["enrichment_metadata"]["provenance"].keys() == {
        "person_data",
        "email_verification",
    }
    # Whose job it is depends on the company: the kept answer is judged again.
    assert answered == {"hunter": "failed", "local": "found"}


@pytest.mark.parametrize("now", [("bob@unknown-new.com", None), (None, None), ("x", None)])
def test_another_of_both_takes_everything_of_ours(now: tuple[str | None, None]) -> None:
    found, answered, is_stripped = carried(lead(data(subject(*PAT)), subject(*PAT).document), now)
    assert is_stripped
    assert (names(found, "company_data"), names(found, "person_data")) == ({"owner"}, {"nickname"})
    assert found["enrichment_metadata"]["provenance"] == {}
    assert answered == {}


# -- the two places disagree, or one is gone ---------------------------------------------------


def test_the_data_knows_best_whose_it_is() -> None:
    """A model without our book-keeping replaced the lead, or wrote a stale copy of the data back."""
    for noted in (None, subject("bob@unknown-new.com").document):
        found, _, is_stripped = carried(
            lead(data(subject(*PAT)), noted), ("bob@unknown-new.com", None)
        )
        assert is_stripped
        assert names(found, "person_data") == {"nickname"}


def test_answers_without_a_subject_count_for_nothing() -> None:
    noted: object
    for noted in (None, [], "garbage", 5):
        assert carried(lead({}, noted)) == ({}, {}, False)


def test_answers_without_any_data_count_for_their_subject() -> None:
    at_typo = subject("pat@huntco-one.com", "unknown-typo.com").document
    _, answered, is_stripped = carried(
        lead({}, at_typo), ("pat@huntco-one.com", "unknown-typo.com")
    )
    assert (answered, is_stripped) == ({"clearbit": "not_found", "hunter": "failed"}, False)
    _, answered, is_stripped = carried(lead({}, at_typo), ("pat@huntco-one.com", "acme.com"))
    assert (answered, is_stripped) == ({"hunter": "failed"}, False)


@pytest.mark.parametrize("found", [{}, data(None), data(subject("bob@huntco-one.com"))])
def test_who_found_what_is_gone_is_asked_again(found: dict[str, Any]) -> None:
    """A copy of the lead from before took the place of what was found."""
    _, answered, _ = carried(lead(found, subject(*PAT).document))
    assert answered == {"clearbit": "not_found", "hunter": "failed"}


@pytest.mark.parametrize("noted", [None, subject(*PAT).document])
def test_of_data_that_nothing_proves_only_what_others_put_there_counts(noted: object) -> None:
    found, _, is_stripped = carried(lead(data(None), noted))
    assert is_stripped
    assert names(found, "company_data") == {"owner"}
    assert names(found, "person_data") == {"nickname"}
    assert found["email_verification"] is None
    assert found["social_profiles"]["company"] == {"forum": "https://f.example"}


def test_data_that_others_wrote_alone_stays() -> None:
    theirs = {"company_data": {"name": "Theirs"}, "person_data": {"full_name": "Pat"}}
    assert carried(lead(theirs))[0] == theirs
    assert not carried(lead(theirs))[2]


@pytest.mark.parametrize("noted", [None, subject(*PAT).document], ids=["nothing", "the answers"])
@pytest.mark.parametrize(
    ("named", "stays"), [("https://www.HUNTCO-one.com/", True), ("other.com", False)]
)
def test_data_that_lost_its_metadata_goes_where_it_names_another_company(
    noted: object, named: str, *, stays: bool
) -> None:
    stored = {"company_data": {"name": "Huntco", "domain": named}, "person_data": {"bio": "Boats"}}
    kept, _, is_stripped = carried(lead(stored, noted))
    assert (kept == stored, is_stripped) == (stays, not stays)


@pytest.mark.parametrize("noted", [None, subject(*PAT).document], ids=["nothing", "the answers"])
def test_all_that_a_run_writes_but_its_metadata_is_found_anew(noted: object) -> None:
    """A typed model dropped it, perhaps with another mailbox at the same company."""
    stored = without(data(None), "enrichment_metadata")
    found, _, is_stripped = carried(lead(stored, noted))
    assert is_stripped
    assert names(found, "company_data") == {"acme_id", "owner"}
    assert names(found, "person_data") == {"nickname"}
    assert found["email_verification"] is None
    assert found["notes"] == stored["notes"]


def test_what_lost_its_provenance_goes_when_it_is_known_to_be_about_another() -> None:
    bare = {
        "person_data": {"full_name": "Pat", "nickname": "P"},
        "company_data": {"name": "Huntco"},
    }
    for noted in (subject(*PAT).document, older_mark("pat@huntco-one.com", "huntco-one.com")):
        found, _, is_stripped = carried(lead(bare, noted), ("bob@unknown-new.com", None))
        assert is_stripped
        assert found == {"person_data": {"nickname": "P"}, "company_data": None}


@pytest.mark.parametrize(
    "garbage",
    [
        {"enrichment_metadata": "x"},
        {"enrichment_metadata": {"subject": "x", "provenance": [1], "flags": {"a": 1}}},
        {"enrichment_metadata": {"subject": {"mailbox": 5}, "provenance": {"company_data": "x"}}},
        {"company_data": "x", "person_data": [1], "social_profiles": 5},
        {"social_profiles": {"company": "x", "person": [1]}},
    ],
)
@pytest.mark.parametrize("noted", [None, subject("bob@elsewhere.com").document])
def test_garbage_stops_nothing(garbage: dict[str, Any], noted: object) -> None:
    found, *_ = carried(lead(data(subject("bob@elsewhere.com"), **garbage), noted))
    assert found["notes"] == "somebody else's"


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3),
    lambda each: st.lists(each, max_size=2) | st.dictionaries(KEYS, each, max_size=3),
    max_leaves=8,
)
PLACES = ("company_data", "person_data", "email_verification", "social_profiles")


@given(
    st.fixed_dictionaries({}, optional=dict.fromkeys((*PLACES, "enrichment_metadata"), ANYTHING)),
    ANYTHING,
    st.sampled_from([PAT, ("bob@huntco-one.com", None), (None, "acme.com"), (None, None)]),
)
def test_whatever_others_wrote_nothing_raises_and_what_is_kept_is_kept_again(
    found: dict[str, Any], noted: object, now: tuple[str | None, str | None]
) -> None:
    kept, _, is_stripped = carried(lead(found, noted), now)
    assert is_stripped == (kept != found)
    if read_subject(noted) is None:
        assert carried(lead(kept, noted), now)[0] == kept


# -- what `explain` says -----------------------------------------------------------------------


def without_person(found: dict[str, Any]) -> dict[str, Any]:
    """As it stands on the lead of somebody who objected."""
    return found | {"person_data": None, "email_verification": None}


@pytest.mark.parametrize(
    ("found", "noted", "is_same"),
    [
        (data(subject(*PAT)), None, True),
        (data(subject("bob@huntco-one.com")), None, False),
        (data(None), older_mark("pat@huntco-one.com", "huntco-one.com"), True),
        (data(None), "another", False),
        (data(None), None, True),
        (None, [], True),
        ("x", subject("bob@huntco-one.com").document, True),
        (without_person(data(subject(None, "huntco-one.com"))), None, True),
        (without_person(data(subject(None, "acme.com"))), None, False),
    ],
)
def test_whether_data_is_about_the_lead_as_it_stands(
    found: object, noted: object, *, is_same: bool
) -> None:
    identity = identify(Inputs(email=PAT[0]))
    assert is_of_data(found, noted, identity, subject(*PAT)) is is_same


def test_the_keys_of_the_halves_differ() -> None:
    assert KEYRING.key("mailbox", "x") != KEYRING.key("company", "x")
