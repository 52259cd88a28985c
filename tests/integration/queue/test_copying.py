"""What was found is copied into fields of the user's: what is written, what is left, and that no settle suffers."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import bson
import pytest
from bson import Binary, Code, DBRef, Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp
from bson.raw_bson import RawBSONDocument
from pymongo.asynchronous.collection import AsyncCollection

from enricher.lead import Completed, Document, Failed, Lease, Outcome, Reason, Skipped, Subject
from enricher.privacy.forgetting import Erased, Erasure
from enricher.queue import inputs
from enricher.queue.copying import Copying
from enricher.queue.settle import Settled, Settler
from enricher.settings.paths import candidates
from enricher.settings.sources import COPIED, Copy, CopyType, Policy, Source
from tests.support.doubling import doubled
from tests.support.queueing import queue, read, with_invalid_utf8

Leads = AsyncCollection[Document]

ADA, GRACE = Subject("ada", "quokka"), Subject("grace", "wombat")
TITLE, COUNT = "person_data.job_title", "company_data.employee_count"
VALUES: list[Any] = [
    None,
    "",
    " \t",
    [],
    "Boss",
    "$ROOT",
    ["Boss"],
    [None],
    {},
    {"a": 1},
    0,
    7,
    Int64(7),
    7.5,
    float("nan"),
    Decimal128("7"),
    True,
    False,
    datetime(2026, 1, 1, tzinfo=UTC),
    ObjectId(),
    Binary(b"\xff"),
    Regex("a"),
    Code("a"),
    Timestamp(1, 1),
    MinKey(),
    MaxKey(),
    DBRef("a", 1),
]
"""One of every BSON type, and more than one where they differ."""
BLANKS = 4


def data(subject: Subject = ADA, **sections: Any) -> Document:
    return {**sections, "enrichment_metadata": {"subject": subject.document}}


def titled(title: str | None, subject: Subject = ADA) -> Document:
    return data(subject, person_data={"job_title": title})


def copying(*copies: Copy, **source: Any) -> Source:
    return Source(copy=copies, **source)


def to_position(policy: Policy = Policy.TRACKED) -> Source:
    return copying(Copy(TITLE, "position", policy))


async def claim(ours: Leads, source: Source) -> list[Lease]:
    leads = queue(ours, mapped=inputs.mapping_of(source))
    await ours.update_many({}, {"$set": {"enrichment_status": "pending"}})
    return (await leads.claim(100)).leases


def settler(ours: Leads, source: Source) -> Settler:
    mapped = inputs.mapping_of(source)
    return Settler(ours, lambda: None, mapped=mapped, copying=Copying.of(source))


async def settle_all(
    ours: Leads, source: Source, outcome: Outcome, subject: Subject = ADA
) -> list[Settled]:
    """Make all leads work and settle them, as a batch where there are several."""

    settles = settler(ours, source)
    leases = await claim(ours, source)
    return list(await asyncio.gather(*(settles.settle(each, outcome, subject) for each in leases)))


async def settle(ours: Leads, source: Source, found: Document, subject: Subject = ADA) -> Document:
    """Settle the only lead with what was found."""
    outcome = Completed(found, {})
    assert await settle_all(ours, source, outcome, subject) == [Settled.WRITTEN]
    lead = await read(ours)
    assert "copying" not in lead["enrichment"]
    return lead


def why_not(lead: Document) -> str:
    metadata = lead["enriched_data"]["enrichment_metadata"]
    assert "copied" not in metadata
    [entry] = metadata["not_copied"]
    return str(entry["why"])


# What stands there


@pytest.mark.parametrize("policy", [Policy.FILL, Policy.TRACKED, Policy.ALWAYS])
async def test_a_value_of_any_type_stays_unless_it_is_blank_or_always_overwritten(
    ours: Leads, policy: Policy
) -> None:
    documents = [{"_id": n, "position": value} for n, value in enumerate(VALUES)]
    await ours.insert_many([*documents, {"_id": "none"}])
    before = {each["_id"]: each.get("position") async for each in ours.find()}
    settled = await settle_all(ours, to_position(policy), Completed(titled("CTO"), {}))
    assert set(settled) == {Settled.WRITTEN}
    written = {n for n, value in enumerate(VALUES) if value in (None, "", " \t")} | {"none"}
    if policy is Policy.ALWAYS:
        written |= {n for n, value in enumerate(VALUES) if type(value) is str}
    async for lead in ours.find():
        number = lead["_id"]
        if number in written:
            assert lead["position"] == "CTO", number
        else:
            assert bson.encode({"": lead["position"]}) == bson.encode({"": before[number]}), number
            assert why_not(lead)


@pytest.mark.parametrize(
    ("policy", "was", "now"),
    [
        (Policy.FILL, [7, 7.5, Decimal128("7")], [7, 7.5, Decimal128("7")]),
        (Policy.ALWAYS, [7, 7.5, Decimal128("7"), "7"], [120, 120, 120, "7"]),
    ],
)
async def test_numbers_of_all_types_are_of_one(
    ours: Leads, policy: Policy, was: list[Any], now: list[Any]
) -> None:
    await ours.insert_many([{"_id": n, "size": value} for n, value in enumerate(was)])
    source = copying(Copy(COUNT, "size", policy))
    await settle_all(ours, source, Completed(data(company_data={"employee_count": 120}), {}))
    assert [each["size"] async for each in ours.find().sort("_id")] == now


async def test_a_copy_that_is_turned_off_does_nothing(ours: Leads) -> None:
    await ours.insert_one({"_id": 1})
    lead = await settle(ours, to_position(Policy.NEVER), titled("CTO"))
    assert "position" not in lead
    assert "copied" not in lead["enrichment"]


@pytest.mark.parametrize("parent", [each for each in VALUES if not isinstance(each, dict | DBRef)])
async def test_a_parent_that_is_no_object_stays_as_it_is(ours: Leads, parent: Any) -> None:
    await ours.insert_one({"_id": 1, "crm": {"links": parent}})
    before = bson.encode((await read(ours))["crm"])
    source = copying(Copy(TITLE, "crm.links.title", Policy.ALWAYS))
    lead = await settle(ours, source, titled("CTO"))
    assert bson.encode(lead["crm"]) == before
    assert why_not(lead) == "what it stands in is no object"


async def test_parents_are_made_and_what_is_in_them_stays(ours: Leads) -> None:
    await ours.insert_one({"_id": 1, "crm": {"b": 1, "a": 2}})
    source = copying(Copy(TITLE, "crm.links.title"), Copy(COUNT, "crm.links.size"))
    found = data(person_data={"job_title": "CTO"}, company_data={"employee_count": 5})
    lead = await settle(ours, source, found)
    assert lead["crm"] == {"b": 1, "a": 2, "links": {"title": "CTO", "size": 5}}
    assert list(lead["crm"]) == ["b", "a", "links"]


async def test_what_a_vendor_says_is_never_executed(ours: Leads) -> None:
    await ours.insert_one({"_id": 1})
    assert (await settle(ours, to_position(), titled("$email")))["position"] == "$email"


@pytest.mark.parametrize("type_", [None, CopyType.NUMBER, CopyType.TEXT, {"a": "b"}])
async def test_texts_that_are_not_valid_utf8_break_nothing(ours: Leads, type_: Any) -> None:
    stored = {"person_data": {"job_title": "xx-found"}, "enrichment_metadata": {"subject": {}}}
    lead = {"_id": 1, "position": "xx-live", "enriched_data": stored}
    raw = bytes(with_invalid_utf8(lead, "xx-live").raw).replace(b"xx-found", b"\xff\xfe-found")
    await ours.insert_one(RawBSONDocument(raw))
    source = copying(Copy(TITLE, "position", Policy.ALWAYS, type_))
    assert await settle_all(ours, source, Failed({}, "no"), ADA) == [Settled.WRITTEN]
    assert (await settle(ours, source, titled("CTO")))["enrichment_status"] == "completed"


# What a person does


async def test_our_value_moves_on_and_a_persons_stays(ours: Leads) -> None:
    await ours.insert_one({"_id": 1})
    await settle(ours, to_position(), titled("CTO"))
    assert (await settle(ours, to_position(), titled("CEO")))["position"] == "CEO"
    await ours.update_one({"_id": 1}, {"$set": {"position": "ceo"}})
    lead = await settle(ours, to_position(), titled("Chair"))
    assert lead["position"] == "ceo"
    assert why_not(lead) == "it holds a value of its own"


@pytest.mark.parametrize("blank", ["unset", None, "", "  ", []])
@pytest.mark.parametrize(
    ("policy", "comes_back"),
    [(Policy.FILL, False), (Policy.TRACKED, False), (Policy.ALWAYS, True)],
)
async def test_what_a_person_removed_is_not_written_again(
    ours: Leads, policy: Policy, blank: Any, comes_back: bool
) -> None:
    await ours.insert_one({"_id": 1})
    await settle(ours, to_position(policy), titled("CTO"))
    removal = {"$unset": {"position": 1}} if blank == "unset" else {"$set": {"position": blank}}
    await ours.update_one({"_id": 1}, removal)
    for title in ("CTO", "CEO"):
        lead = await settle(ours, to_position(policy), titled(title))
        is_back = comes_back and blank != []
        assert lead.get("position") == (title if is_back else None if blank == "unset" else blank)


async def test_fill_keeps_what_it_wrote(ours: Leads) -> None:
    await ours.insert_one({"_id": 1})
    await settle(ours, to_position(Policy.FILL), titled("CTO"))
    lead = await settle(ours, to_position(Policy.FILL), titled("CEO"))
    assert lead["position"] == "CTO"


async def test_an_edit_while_the_lead_is_in_work_counts(ours: Leads) -> None:
    await ours.insert_one({"_id": 1})
    [lease] = await claim(ours, to_position())
    await ours.update_one({"_id": 1}, {"$set": {"position": "Boss"}})
    settled = await settler(ours, to_position()).settle(lease, Completed(titled("CTO"), {}), ADA)
    assert settled is Settled.WRITTEN
    assert (await read(ours))["position"] == "Boss"


async def test_a_replacing_writer_who_keeps_the_value_makes_it_theirs(ours: Leads) -> None:
    await ours.insert_one({"_id": 1})
    await settle(ours, to_position(), titled("CTO"))
    await ours.replace_one({"_id": 1}, {"position": "CTO"})
    assert (await settle(ours, to_position(), titled("CEO")))["position"] == "CTO"


# Whom it is about


@pytest.mark.parametrize("policy", [Policy.FILL, Policy.TRACKED, Policy.ALWAYS])
@pytest.mark.parametrize("title", ["CEO", None])
async def test_a_copy_about_somebody_else_does_not_stay(
    ours: Leads, policy: Policy, title: str | None
) -> None:
    await ours.insert_one({"_id": 1})
    await settle(ours, to_position(policy), titled("CTO"))
    lead = await settle(ours, to_position(policy), titled(title, GRACE), GRACE)
    assert lead.get("position") == title
    assert ("copied" in lead["enrichment"]) == (title is not None)
    again = await settle(ours, to_position(policy), titled("Chair", GRACE), GRACE)
    assert again["position"] == (title if policy is Policy.FILL and title else "Chair")


@pytest.mark.parametrize("times", [1, 3], ids=["alone", "in a batch"])
async def test_a_lead_that_failed_with_anothers_data_loses_the_copy(
    ours: Leads, times: int
) -> None:
    await ours.insert_many([{"_id": number} for number in range(times)])
    source = to_position()
    await settle_all(ours, source, Completed(titled("CTO"), {}))
    await settle_all(ours, source, Failed({}, "no"), ADA)
    assert await ours.count_documents({"position": "CTO"}) == times
    await settle_all(ours, source, Failed({}, "no"), GRACE)
    assert await ours.count_documents({"position": {"$exists": True}}) == 0


async def test_an_objection_takes_the_copy_along(ours: Leads) -> None:
    await ours.insert_one({"_id": 1})
    await settle(ours, to_position(), titled("CTO"))
    objected = Skipped(data(person_data=None), Reason.SUPPRESSED)
    await settle_all(ours, to_position(), objected)
    assert "CTO" not in str(await read(ours))


# Types


@pytest.mark.parametrize(
    ("type_", "found", "copied"),
    [
        (CopyType.TEXT, 120, "120"),
        (CopyType.TEXT, True, "true"),
        (CopyType.TEXT, ["a", "b"], "a, b"),
        (CopyType.NUMBER, "120", 120),
        (CopyType.NUMBER, "1.5", 1.5),
        (CopyType.NUMBER, "51-200", None),
        (CopyType.NUMBER, "NaN", None),
        (CopyType.NUMBER, "1e999", None),
        (CopyType.NUMBER, True, None),
        (CopyType.NUMBER, ["1"], None),
        (CopyType.LIST, "a", ["a"]),
        (CopyType.LIST, ["a"], ["a"]),
        ({"software": "IT", "true": 1}, "Software", "IT"),
        ({"software": "IT", "true": 1}, True, 1),
        ({"software": "IT", "120": True}, 120, True),
        ({"software": "IT"}, "Farming", None),
        ({"a": "A", "b": "B"}, ["b", "c", "A"], ["B", "A"]),
        ({"a": "A"}, ["c"], None),
        (None, "", None),
        (None, [], None),
        (None, {"a": 1}, None),
    ],
    ids=str,
)
async def test_a_value_is_stored_as_its_copy_says(
    ours: Leads, type_: CopyType | Mapping[str, Any] | None, found: Any, copied: Any
) -> None:
    await ours.insert_one({"_id": 1})
    source = copying(Copy(TITLE, "position", type=type_))
    lead = await settle(ours, source, data(person_data={"job_title": found}))
    assert lead.get("position") == copied
    if copied is None and found not in ("", [], {"a": 1}):
        assert why_not(lead) == "what was found does not fit the type of the copy"


async def test_a_blank_of_another_type_is_filled_when_the_copy_names_its_type(
    ours: Leads,
) -> None:
    await ours.insert_one({"_id": 1, "size": "", "staff": ""})
    source = copying(
        Copy(COUNT, "size", type=CopyType.NUMBER), Copy("company_data.raised", "staff")
    )
    found = data(company_data={"employee_count": 5, "raised": 5})
    lead = await settle(ours, source, found)
    assert (lead["size"], lead["staff"]) == (5, "")


# What MongoDB refuses


@pytest.mark.parametrize("times", [1, 3], ids=["alone", "in a batch"])
async def test_a_unique_index_costs_the_copy_and_not_the_result(fresh: Leads, times: int) -> None:
    await fresh.create_index("position", name="by_position", unique=True, sparse=True)
    await fresh.insert_many([{"_id": number} for number in range(times)])
    await fresh.insert_one({"_id": "taken", "position": "CTO"})
    source = copying(Copy(TITLE, "position"), Copy(COUNT, "size"))
    found = data(person_data={"job_title": "CTO"}, company_data={"employee_count": 5})
    settled = await settle_all(fresh, source, Completed(found, {}))
    assert set(settled) == {Settled.WRITTEN}
    lead = await read(fresh, 0)
    assert (lead["enrichment_status"], lead["size"]) == ("completed", 5)
    assert "position" not in lead
    metadata = lead["enriched_data"]["enrichment_metadata"]
    assert metadata["copied"] == [{"field": COUNT, "to": "size"}]
    [refused] = metadata["not_copied"]
    assert refused["to"] == "position"
    assert refused["why"].startswith('MongoDB refuses it: the unique index "by_position"')
    assert "refused" not in lead["enrichment"]


@pytest.mark.parametrize(
    "rule",
    [
        {"properties": {"position": {"enum": ["Boss", None]}}},
        {"properties": {"crm": {"properties": {"title": {"bsonType": "int"}}}}},
    ],
    ids=["of the field", "of a step to it"],
)
async def test_a_validator_costs_the_copy_and_not_the_result(ours: Leads, rule: Document) -> None:
    await ours.database.command("collMod", ours.name, validator={"$jsonSchema": rule})
    await ours.insert_one({"_id": 1})
    to = "position" if "position" in rule["properties"] else "crm.title"
    source = copying(Copy(TITLE, to), Copy(COUNT, "size"))
    found = data(person_data={"job_title": "CTO"}, company_data={"employee_count": 5})
    lead = await settle(ours, source, found)
    assert lead["enrichment_status"] == "completed"
    assert lead["size"] == 5
    assert to.partition(".")[0] not in lead


async def test_a_document_that_would_be_too_large_is_settled_without_its_copies(
    ours: Leads,
) -> None:
    room = 16 * 1024 * 1024 - 1_500_000
    await ours.insert_one({"_id": 1, "notes": "x" * room})
    source = copying(Copy(TITLE, "position"))
    lead = await settle(ours, source, titled("y" * 600_000))
    assert lead["enrichment_status"] == "completed"
    assert "position" not in lead
    assert "16 MB" in why_not(lead)


async def test_a_result_that_is_refused_for_itself_ends_as_ever(ours: Leads) -> None:
    rule = {"properties": {"enriched_data": {"properties": {"person_data": {"bsonType": "int"}}}}}
    await ours.database.command("collMod", ours.name, validator={"$jsonSchema": rule})
    await ours.insert_one({"_id": 1})
    outcome = Completed(titled("CTO"), {})
    assert await settle_all(ours, to_position(), outcome) == [Settled.REFUSED]
    lead = await read(ours)
    assert lead["enrichment_status"] == "failed"
    assert "position" not in lead


@pytest.mark.parametrize(
    "twice",
    [
        doubled(("_id", 1), ("position", "a"), ("position", "b")),
        doubled(("_id", 1), ("crm", doubled(("title", None), ("title", None)))),
        doubled(("_id", 1), ("crm", {}), ("crm", {})),
    ],
    ids=["the field", "the field in its parent", "the parent"],
)
async def test_a_field_that_stands_there_twice_is_left_and_the_server_lives(
    ours: Leads, twice: Any
) -> None:
    await ours.insert_one(twice)
    source = copying(
        Copy(TITLE, "position", Policy.ALWAYS), Copy("person_data.role", "crm.title", Policy.ALWAYS)
    )
    found = data(person_data={"job_title": "CTO", "role": "tech"})
    lead = await settle(ours, source, found)
    [not_copied] = lead["enriched_data"]["enrichment_metadata"]["not_copied"]
    assert not_copied["why"] == "the document holds it more than once"


@pytest.mark.parametrize(
    "garbage", [5, "x", {}, [5, None, {}, {"to": 5}, {"to": "position"}], [[{"to": "position"}]]]
)
async def test_a_forged_record_breaks_nothing(ours: Leads, garbage: Any) -> None:
    await ours.insert_one({"_id": 1, "position": "Boss", "enrichment": {"copied": garbage}})
    assert (await settle(ours, to_position(), titled("CTO")))["position"] == "Boss"
    assert await Erasure(ours).erase(1) is Erased.DONE
    assert (await read(ours))["position"] == "Boss"


async def test_everything_can_be_copied_at_once_into_the_deepest_fields(ours: Leads) -> None:
    await ours.insert_many([{"_id": number} for number in range(3)])
    deep = "a.b.c.d.e.f.g.h.i.j.k"
    words = {f"word {number}": number for number in range(500)}
    copies = [Copy(value, f"{deep}.c{n}", type=words) for n, value in enumerate(COPIED)]
    settled = await settle_all(ours, copying(*copies), Completed(titled("Word 7"), {}))
    assert settled == [Settled.WRITTEN] * 3
    titles = [n for n, value in enumerate(COPIED) if value == TITLE]
    assert await ours.count_documents({f"{deep}.c{titles[0]}": 7}) == 3


# What was copied is no input

WEBSITE = Source(
    read={"email": candidates("mail"), "website": candidates(["site", "links.site"])},
    copy=(Copy("company_data.domain", "site"), Copy("company_data.name", "links.site")),
)


@pytest.mark.parametrize("source", [WEBSITE, copying(Copy("company_data.domain", "website"))])
async def test_what_was_copied_is_not_read_until_a_person_changes_it(
    ours: Leads, source: Source
) -> None:
    await ours.insert_one({"_id": 1, "mail": "a@quokka.com"})
    found = data(company_data={"domain": "quokka.com"})
    lead = await settle(ours, source, found)
    to = source.copy[0].to
    assert lead[to] == "quokka.com"
    [lease] = await claim(ours, source)
    assert lease.lead.inputs.website is None
    settled = await settler(ours, source).settle(lease, Completed(found, {}), ADA)
    assert settled is Settled.WRITTEN, "our own copy is no change of the inputs"
    await ours.update_one({"_id": 1}, {"$set": {to: "quokka.org"}})
    [lease] = await claim(ours, source)
    assert lease.lead.inputs.website == "quokka.org"


async def test_a_job_title_that_was_copied_is_not_the_leads_own(ours: Leads) -> None:
    source = copying(Copy(TITLE, "job_title"))
    assert inputs.mapping_of(source).is_contract, "as cheap to compare as ever"
    await ours.insert_one({"_id": 1})
    await settle(ours, source, titled("CTO"))
    assert [each.lead.job_title for each in await claim(ours, source)] == [None]


async def test_always_leaves_what_vendors_are_asked_about(ours: Leads) -> None:
    await ours.insert_one({"_id": 1, "website": "acme.io"})
    source = copying(Copy("company_data.domain", "website", Policy.ALWAYS))
    lead = await settle(ours, source, data(company_data={"domain": "acme.com"}))
    assert lead["website"] == "acme.io"
    assert why_not(lead) == "it holds what vendors are asked about"


async def test_a_list_that_was_copied_is_not_read_by_its_elements(ours: Leads) -> None:
    source = Source(
        read={"company": candidates("tags.0")},
        copy=(Copy("company_data.tags", "tags"),),
    )
    await ours.insert_one({"_id": 1})
    await settle(ours, source, data(company_data={"tags": ["Freight"]}))
    [lease] = await claim(ours, source)
    assert lease.lead.inputs.company is None


# Erasure


async def test_a_person_who_is_forgotten_is_gone_from_the_copies_too(ours: Leads) -> None:
    source = copying(
        Copy(TITLE, "position"),
        Copy("person_data.role", "crm.role"),
        Copy("person_data.bio", "notes"),
        Copy(COUNT, "size"),
    )
    await ours.insert_one({"_id": 1})
    person = {"job_title": "CTO", "role": "engineering", "bio": "Likes quokkas"}
    await settle(ours, source, data(person_data=person, company_data={"employee_count": 5}))
    await ours.update_one({"_id": 1}, {"$set": {"notes": "Called her"}})
    assert await Erasure(ours).erase(1) is Erased.DONE
    lead = await read(ours)
    assert (lead["size"], lead["notes"], lead["crm"]) == (5, "Called her", {})
    assert "position" not in lead
    for personal in person.values():
        assert personal not in str(lead)
    assert [each["to"] for each in lead["enrichment"]["copied"]] == ["size"]
    metadata = lead["enriched_data"]["enrichment_metadata"]
    assert metadata["copied"] == [{"field": COUNT, "to": "size"}]


async def test_where_the_field_must_be_there_an_erasure_empties_it(ours: Leads) -> None:
    await ours.insert_one({"_id": 1, "position": ""})
    await settle(ours, to_position(), titled("CTO"))
    rule = {"required": ["position"]}
    await ours.database.command("collMod", ours.name, validator={"$jsonSchema": rule})
    assert await Erasure(ours).erase(1) is Erased.DONE
    lead = await read(ours)
    assert lead["position"] is None
    assert "CTO" not in str(lead)


@pytest.mark.parametrize("to", ["_id", "$x", "a..b", "", "enrichment.token", "email.$x", 5, None])
async def test_an_erasure_follows_no_forged_record_into_what_it_must_not_write(
    ours: Leads, to: Any
) -> None:
    record = {"to": to, "value": 1, "of": TITLE}
    await ours.insert_one({"_id": 1, "email": "a@b.com", "enrichment": {"copied": [record]}})
    assert await Erasure(ours).erase(1) is Erased.DONE
    lead = await read(ours)
    assert (lead["_id"], lead["email"]) == (1, "a@b.com")
