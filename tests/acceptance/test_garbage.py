"""Whatever stands in a lead and whatever a vendor sends: a clear end, and the next lead is enriched.

One daemon meets nearly all of it, so that anything one test breaks shows in those that follow. It makes no
second attempt. Others have little time for a lead, so that an answer that is none is soon given up.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import bson
import pytest
import pytest_asyncio
from bson import Binary, Code, Int64, MaxKey, ObjectId, Regex
from bson.raw_bson import RawBSONDocument

from enricher.lead import Document
from tests.support.personal import Personal, as_said
from tests.support.processes import Daemon
from tests.support.rig import KEYS, Rig, address, domain, open_rig
from tests.support.waiting import business, eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")

LARGEST_DOCUMENT = 16 * 1024 * 1024
NAME = "Zbigniew Przybyszewski"
REFERENCE = {"$ref": "leads", "$id": 1}
"""The driver reads such an object as a `DBRef`, which is no mapping."""

NOTHING_TO_GO_BY = "There is nothing to go by: no e-mail address, company domain or website."
NOT_VALID = "The e-mail address is not valid."
NOT_TEXT = "The e-mail address is not text."


@dataclass(slots=True)
class Bin:
    """Where garbage is thrown: one daemon, and every personal word it must not repeat."""

    rig: Rig
    daemon: Daemon
    personal: Personal = field(default_factory=Personal)

    def __post_init__(self) -> None:
        self.personal.name(NAME)
        self.personal.secret(*KEYS.values())

    def address(self, word: str = "ordinary") -> str:
        made = address(word)
        self.personal.address(made)
        return made

    async def end_of(self, lead: Mapping[str, Any]) -> Document:
        """Insert it and see what becomes of it; then a good lead, which must still be enriched."""
        for value in filter(_is_personal, lead.values()):
            self.personal.address(value)
        inserted = await self.rig.leads.insert_one(dict(lead))
        await self.rig.witness.end_of(inserted.inserted_id)
        await self.is_alive()
        return await self.rig.lead(inserted.inserted_id)

    async def is_alive(self) -> None:
        __tracebackhide__ = True
        await eventually(self._a_good_lead_is_enriched, within=5)

    async def _a_good_lead_is_enriched(self) -> bool:
        """Where there is little time for a lead, a busy machine may use it up before anybody is asked."""
        good = ObjectId()
        await self.rig.leads.insert_one({"_id": good, "company_domain": domain()})
        return await self.rig.witness.end_of(good) == "completed"

    async def nothing_has_leaked(self) -> None:
        """Ends the daemon."""
        served = [(await self.daemon.get(path)).text for path in ("/metrics", "/status.json")]
        self.daemon.terminate()
        assert await self.daemon.wait() == 0
        errors = await self.rig.leads.distinct("enrichment_error")
        said = [as_said(self.daemon.lines), self.daemon.stdout, *served, *map(str, errors)]
        assert self.personal.leaks("\n".join(said)) == []


@asynccontextmanager
async def open_bin(mongodb_uri: str, seconds: float) -> AsyncIterator[Bin]:
    """With so much time for a lead."""
    settings = {"ENRICHER_MAX_ATTEMPTS": 0, "ENRICHER_LEAD_TIMEOUT_SECONDS": seconds}
    async with open_rig(mongodb_uri) as rig, rig.daemon(**settings) as daemon:
        await daemon.wait_for_event("history.recorded")
        yield Bin(rig, daemon)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bin_(mongodb_uri: str) -> AsyncIterator[Bin]:
    async with open_bin(mongodb_uri, 30) as one:
        yield one


@pytest_asyncio.fixture(loop_scope="module")
async def fresh_bin(mongodb_uri: str) -> AsyncIterator[Bin]:
    """With a daemon that has met no garbage yet: ten charged answers that tell nothing, and it asks that
    vendor no more."""
    async with open_bin(mongodb_uri, 0.6 * business()) as one:
        yield one


def _is_personal(value: object) -> bool:
    return isinstance(value, str) and "@" in value and value.isprintable()


# -- addresses -------------------------------------------------------------------------------


NO_TEXT: tuple[Any, ...] = (
    5, Int64(2**60), 4.7, True, float("nan"), ["ada@quokka-list.com"], [], {"a": {"b": 1}}, MaxKey(),
    ObjectId(), Binary(b"\x00\xff"), datetime(2026, 1, 1, tzinfo=UTC), Regex("a@b"), Code("x"),
)  # fmt: skip
MALFORMED = (
    "ada", "ada@", "@quokka-bad.com", "ada@@quokka-bad.com", "ada lovelace(at)quokka-bad.com",
    "ada@-quokka-.com", "$ne", "{'$gt': ''}", "x" * 10_240, f"{'x' * 10_240}@quokka-bad.com",
    "ada\x00@quokka-bad.com", "ada@quokka\x00bad.com", "\x00",
)  # fmt: skip


@pytest.mark.parametrize(
    "lead",
    [{}, {"email": None}, {"email": ""}, {"email": " \t\n"}, {"email": "n/a"}],
    ids=["missing", "null", "empty", "blank", "a word for nothing"],
)
async def test_a_lead_without_an_address_and_a_company_is_skipped(
    bin_: Bin, lead: Document
) -> None:
    ended = await bin_.end_of({**lead, "name": NAME})
    assert (ended["enrichment_status"], ended["enrichment_error"]) == ("skipped", NOTHING_TO_GO_BY)


@pytest.mark.parametrize(
    "value",
    NO_TEXT,
    ids=lambda value: type(value).__name__,
)
async def test_an_address_that_is_no_text_fails_the_lead(bin_: Bin, value: Any) -> None:
    ended = await bin_.end_of({"email": value})
    assert (ended["enrichment_status"], ended["enrichment_error"]) == ("failed", NOT_TEXT)


@pytest.mark.parametrize(
    "value",
    MALFORMED,
    ids=lambda value: ascii(value[:32]),
)
async def test_a_malformed_address_fails_the_lead(bin_: Bin, value: str) -> None:
    ended = await bin_.end_of({"email": value})
    assert (ended["enrichment_status"], ended["enrichment_error"]) == ("failed", NOT_VALID)
    assert ended["email"] == value


async def test_an_address_that_is_not_utf8_fails_the_lead_and_stays_as_it_is(bin_: Bin) -> None:
    lead = ObjectId()
    good = bson.encode({"_id": lead, "email": "ada????@quokka-bad.com", "name": "????"})
    raw = good.replace(b"????", b"\xff\xfe\xc3\x28")
    await bin_.rig.leads.insert_one(RawBSONDocument(raw))
    assert await bin_.rig.witness.end_of(lead) == "failed"
    ended = await bin_.rig.leads.with_options(
        codec_options=bson.CodecOptions(document_class=RawBSONDocument)
    ).find_one({"_id": lead})
    assert ended is not None
    assert bytes(ended.raw)[4:].startswith(raw[4:-1])
    await bin_.is_alive()


async def test_a_bad_address_beside_a_good_company_is_no_reason_to_give_up(bin_: Bin) -> None:
    ended = await bin_.end_of({"email": "ada(at)quokka", "company_domain": domain()})
    assert ended["enrichment_status"] == "completed"
    assert ended["enriched_data"]["company_data"]["name"]
    assert ended["enriched_data"]["email_verification"]["status"] == "invalid"


async def test_other_inputs_of_a_wrong_type_do_not_matter(bin_: Bin) -> None:
    odd = {"company_domain": ["x"], "website": {"$url": 1}, "name": 5, "company": b"\x00"}
    ended = await bin_.end_of({"email": bin_.address(), **odd, "temperature": {"$gt": 1}})
    assert ended["enrichment_status"] == "completed"


# -- documents -------------------------------------------------------------------------------


def nested(levels: int) -> Document:
    lead: Document = {}
    for _ in range(levels):
        lead = {"deeper": lead}
    return lead


def blob_of(size: int, lead: Document) -> Document:
    """The lead with as much ballast as makes the whole document `size` bytes long."""
    empty = len(bson.encode({**lead, "blob": b""}))
    return {**lead, "blob": bytes(size - empty)}


async def test_a_document_of_almost_16_mb_is_enriched(bin_: Bin) -> None:
    lead = blob_of(15_900_000, {"_id": ObjectId(), "email": bin_.address()})
    ended = await bin_.end_of(lead)
    assert ended["enrichment_status"] == "completed"
    assert ended["blob"] == lead["blob"]


async def test_a_document_that_has_no_room_for_the_result_fails_and_is_not_paid_for_again(
    bin_: Bin,
) -> None:
    asked = domain()
    lead = blob_of(LARGEST_DOCUMENT - 1500, {"_id": ObjectId(), "company_domain": asked})
    ended = await bin_.end_of(lead)
    assert ended["enrichment_status"] == "failed"
    assert ended["enrichment_error"].startswith("The result could not be written")
    assert sum(bin_.rig.questions(asked).values()) == 1


async def test_a_document_that_cannot_be_written_at_all_stands_in_nobodys_way(bin_: Bin) -> None:
    asked = domain()
    full = {"_id": ObjectId(), "company_domain": asked, "enrichment_status": "pending"}
    await bin_.rig.leads.insert_one(blob_of(LARGEST_DOCUMENT - 10, full))
    await bin_.daemon.wait_for_event("lead.unwritable", lead=str(full["_id"]))
    await bin_.is_alive()
    assert not bin_.rig.questions(asked)
    await bin_.rig.leads.delete_one({"_id": full["_id"]})


SHAPES: Mapping[str, Document] = {
    "90 levels deep": nested(90),
    "dots": {"a.b": {"c.d": 1}, "e.": 2, ".f": 3},
    "dollars": {"price": {"$usd": 5}, "list": [{"$ref": "x"}]},
    "a dollar in front": {"$top": 1},
    "odd names": {"": 1, "\u200b": 2, "café": "☕"},
    "like enriched_data": {"enriched_data.company_data.name": "not a path"},
    "like enrichment": {"enrichment.due_at": "not a path"},
    "5,000 fields": {f"field {number}": number for number in range(5_000)},
}


@pytest.mark.parametrize("fields", SHAPES.values(), ids=SHAPES)
async def test_the_shape_of_a_document_does_not_matter_and_is_kept(
    bin_: Bin, fields: Document
) -> None:
    ended = await bin_.end_of({"company_domain": domain(), **fields})
    assert ended["enrichment_status"] == "completed"
    assert {name: ended[name] for name in fields} == fields


BOOK_KEEPING = (
    5, "text", [1, {"token": 2}], None, float("nan"), MaxKey(),
    {"token": "five", "attempts": "many", "answered": 3, "priority": {}, "due_at": "soon"},
    {"token": float("nan"), "attempts": -1e300, "queued_at": "now", "released": "no"},
    {"token": Int64(2**63 - 1), "attempts": Int64(2**63 - 1), "claim_id": 5, "subject": []},
    {"inputs": {"email": "$email"}, "answered": {"clearbit": "found", "a.b": 1}},
    REFERENCE, {"$ref": "leads", "$id": 1, "answered": REFERENCE, "subject": REFERENCE},
)  # fmt: skip


@pytest.mark.parametrize("value", BOOK_KEEPING, ids=lambda value: ascii(value)[:40])
async def test_garbage_in_the_book_keeping_of_a_new_lead_is_written_over(
    bin_: Bin, value: Any
) -> None:
    ended = await bin_.end_of({"company_domain": domain(), "enrichment": value})
    assert ended["enrichment_status"] == "completed"
    assert ended["enriched_data"]["company_data"]["name"]


OLDER_DATA = (
    5, "text", [1, 2], {"company_data": 7, "enrichment_metadata": "x", "social_profiles": []},
    {"company_data": {"name": {"$gt": 1}, "a.b": 1, "$x": "$y"}, "mine": {"$literal": 1}},
    {"company_data": nested(60), "person_data": [[[]]], "email_verification": float("inf")},
    REFERENCE, {"$ref": "leads", "company_data": REFERENCE, "mine": [REFERENCE]},
    *({"enrichment_metadata": value} for value in (REFERENCE, {"subject": REFERENCE})),
    *({"enrichment_metadata": {name: REFERENCE}} for name in ("provenance", "flags", "sources_used")),
    dict.fromkeys(("company_data", "person_data", "email_verification", "social_profiles"), REFERENCE),
)  # fmt: skip


@pytest.mark.parametrize("value", OLDER_DATA, ids=lambda value: ascii(value)[:40])
async def test_garbage_in_older_data_does_not_keep_new_data_out(bin_: Bin, value: Any) -> None:
    again = {"enriched_data": value, "enrichment_status": "pending"}
    ended = await bin_.end_of({"company_domain": domain(), **again})
    assert ended["enrichment_status"] == "completed"
    assert ended["enriched_data"]["company_data"]["domain"].startswith("quokka-")
    assert ended["enriched_data"]["enrichment_metadata"]["sources_used"]


@pytest.mark.parametrize("value", [5, True, {}, "Pending", "", "imported"], ids=ascii)
async def test_a_status_that_is_none_of_ours_is_left_to_whoever_wrote_it(
    bin_: Bin, value: Any
) -> None:
    lead = {"_id": ObjectId(), "company_domain": domain(), "enrichment_status": value}
    await bin_.rig.leads.insert_one(lead)
    await bin_.is_alive()
    assert await bin_.rig.lead(lead["_id"]) == lead
    assert not bin_.rig.questions(lead["company_domain"])


# -- vendors ---------------------------------------------------------------------------------

NO_ANSWER: Mapping[str, Mapping[str, Any]] = {
    "a page": {"kind": "html"},
    "nothing": {"kind": "empty"},
    "a list": {"kind": "empty_list"},
    "half of it": {"kind": "truncated"},
    "50 MB": {"kind": "huge"},
    "a bomb": {"kind": "gzip_bomb"},
    "another charset": {"kind": "wrong_charset"},
    "a cut": {"kind": "cut_off"},
    "a reset": {"kind": "reset"},
    "silence": {"kind": "hang"},
    "a drip": {"kind": "drip"},
    "text": {"kind": "status", "status": 200, "body": '"text"'},
    "null": {"kind": "status", "status": 200, "body": "null"},
    "another object": {"kind": "status", "status": 200, "body": '{"data": [1], "error": {}}'},
    "a pit": {"kind": "status", "status": 200, "body": "[" * 200_000},
    "no HTTP status": {"kind": "status", "status": 599, "body": "{}"},
    "a way out": {"kind": "status", "status": 302, "headers": {"Location": "https://a.invalid/"}},
}


@pytest.mark.parametrize("how", NO_ANSWER.values(), ids=NO_ANSWER)
async def test_what_is_no_answer_fails_the_lead_with_the_names_of_those_who_gave_it(
    fresh_bin: Bin, how: Mapping[str, Any]
) -> None:
    fresh_bin.rig.simulator.inject(question="*garbage*", **how)
    ended = await fresh_bin.end_of({"email": fresh_bin.address("garbage"), "name": NAME})
    fresh_bin.rig.simulator.faults.clear()
    assert ended["enrichment_status"] == "failed"
    assert ended["enrichment_error"].startswith("Nothing could be had after 1 attempt")
    assert "clearbit" in ended["enrichment_error"]
    assert "hunter" in ended["enrichment_error"]
    assert ended["enriched_data"]["company_data"] is None
    await fresh_bin.nothing_has_leaked()


async def test_numbers_that_arrive_as_text_are_stored_as_numbers(bin_: Bin) -> None:
    bin_.rig.simulator.inject("wrong_types", question="*garbage*")
    ended = await bin_.end_of({"email": bin_.address("garbage")})
    bin_.rig.simulator.faults.clear()
    assert ended["enrichment_status"] == "completed"
    counts = ("employee_count", "founded_year", "alexa_rank", "raised")
    found = [ended["enriched_data"]["company_data"].get(name) for name in counts]
    assert {type(value) for value in found if value is not None} == {int}


async def test_a_record_of_nothing_but_nulls_is_no_record(bin_: Bin) -> None:
    bin_.rig.simulator.inject("all_nulls", question="*garbage*")
    ended = await bin_.end_of({"email": bin_.address("garbage")})
    bin_.rig.simulator.faults.clear()
    assert ended["enrichment_status"] in ("completed", "failed")
    assert ended["enriched_data"]["company_data"] is None


async def test_a_vendors_text_is_never_executed_or_expanded(bin_: Bin) -> None:
    record = {"id": "x", "name": "$$ROOT", "description": {"$set": 1}, "tags": ["$email", 5, None]}
    body = json.dumps({**record, "tech": "a.b", "domain": "$where", "a.b": {"$c": "\u0000"}})
    bin_.rig.simulator.inject(
        "status", vendor="clearbit", question="*garbage*", status=200, body=body
    )
    ended = await bin_.end_of({"company_domain": domain("garbage")})
    bin_.rig.simulator.faults.clear()
    assert ended["enrichment_status"] == "completed"
    company = ended["enriched_data"]["company_data"]
    assert (company["name"], company["tags"]) == ("$$ROOT", ["$email"])


# -- in the end ------------------------------------------------------------------------------


async def test_a_lead_whose_id_is_an_address_is_enriched_like_any_other(bin_: Bin) -> None:
    ended = await bin_.end_of({"_id": bin_.address(), "company_domain": domain(), "name": NAME})
    assert ended["enrichment_status"] == "completed"


async def test_all_that_took_little_memory_and_left_no_loop_waiting(bin_: Bin) -> None:
    assert await bin_.daemon.metric("process_resident_memory_bytes") < 300e6
    assert (await bin_.daemon.get("/readyz")).status_code == 200
    assert bin_.daemon.events("lead.broken") == []
    assert bin_.daemon.events("lead.abandoned") == []


async def test_no_address_no_name_and_no_key_left_the_daemon(bin_: Bin) -> None:
    assert len(bin_.personal.words) > 10
    await bin_.nothing_has_leaked()
