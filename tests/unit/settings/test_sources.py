"""What the file of ENRICHER_CONFIG may say, and what an operator is told when it is wrong."""

from __future__ import annotations

import re
from pathlib import Path as File

import pytest
from bson import ObjectId

from enricher.answer import Kind
from enricher.errors import SettingsError
from enricher.fields import Names
from enricher.settings import sources
from enricher.settings.load import MongoSettings, Settings, load
from enricher.settings.paths import Field, Hop, Part, Path, Template
from enricher.settings.sources import (
    Copy,
    CopyType,
    Policy,
    Source,
    Write,
)
from tests.support.crms import CRMS

WHOLE = """
[[source]]
collection = "customers"
only = '{"status": {"$ne": "deleted"}}'
kinds = ["company", "email"]
person_only = '{"doNotDisturb": {"$ne": "Yes"}}'
account = "organizationId"
plan = ["plan", "tier.name"]
priority = "temperature"
rerun_on_change = true

[source.read]
email = ["primaryEmail", "emails"]
name = "{firstName} {lastName}"
linkedin = "links.linkedIn"

[source.names]
updated_at = ""
enriched_data = "crm.found"

[source.copy]
"person_data.job_title" = { to = "position" }
"company_data.employee_count" = { to = "size", policy = "fill", type = "number" }
"""


def parsed(text: str) -> tuple[tuple[Source, ...], list[str]]:
    """Read the file, and what is wrong with it."""
    problems: list[str] = []
    return sources.parse("crm.toml", text, problems), problems


def block(*lines: str) -> str:
    return "\n".join(("[[source]]", 'collection = "customers"', *lines))


def told(*lines: str) -> list[str]:
    """Return what is said of a block with these lines, without the file's name."""
    _, problems = parsed(block(*lines))
    return sorted(line.removeprefix("crm.toml: ") for line in problems)


# One source from the environment


def test_without_a_file_there_is_one_source_that_the_environment_describes() -> None:
    environ = {
        "LEADS_COLLECTION": "people",
        "ENRICHER_PRIORITY_FIELD": "heat",
        "ENRICHER_ACCOUNT_FIELD": "owner.account",
        "ENRICHER_PLAN_FIELD": "owner.plan",
    }
    assert load(environ, None).sources == (
        Source(
            "people",
            account=(Field("owner.account"),),
            plan=(Field("owner.plan"),),
            priority=(Field("heat"),),
        ),
    )


def test_settings_that_are_built_directly_have_a_source_too() -> None:
    assert Settings().sources == (Source(),)
    assert Settings(mongo=MongoSettings(collection="people")).sources == (Source("people"),)


# A file


def test_a_file_describes_the_sources(tmp_path: File) -> None:
    file = tmp_path / "crm.toml"
    file.write_text(block())
    settings = load({"ENRICHER_CONFIG": str(file)}, None)
    assert settings.sources == (Source("customers"),)
    assert settings.mongo.collection == "customers"


def test_every_key_has_a_typed_value() -> None:
    [source], problems = parsed(WHOLE)
    assert problems == []
    assert source == Source(
        collection="customers",
        only={"status": {"$ne": "deleted"}},
        kinds=frozenset({Kind.COMPANY, Kind.EMAIL}),
        person_only={"doNotDisturb": {"$ne": "Yes"}},
        write=Write.LEAD,
        account=(Path((Hop("organizationId"),)),),
        plan=(Path((Hop("plan"),)), Path((Hop("tier"), Hop("name")))),
        priority=(Path((Hop("temperature"),)),),
        rerun_on_change=True,
        read={
            "email": (Path((Hop("primaryEmail"),)), Path((Hop("emails"),))),
            "name": (
                Template(
                    (
                        Part("", Path((Hop("firstName"),))),
                        Part(" ", Path((Hop("lastName"),))),
                    )
                ),
            ),
            "linkedin": (Path((Hop("links"), Hop("linkedIn"))),),
        },
        names=Names(updated_at="", enriched_data="crm.found"),
        copy=(
            Copy("person_data.job_title", "position", Policy.TRACKED),
            Copy("company_data.employee_count", "size", Policy.FILL, CopyType.NUMBER),
        ),
    )


def test_each_block_is_a_source() -> None:
    found, problems = parsed('[[source]]\ncollection = "a"\n[[source]]\ncollection = "b"')
    assert [source.collection for source in found] == ["a", "b"]
    assert problems == []


def test_dates_and_ids_of_a_condition_are_those_of_extended_json() -> None:
    condition = '{"form": {"$oid": "65f1c0ffee0123456789ac02"}}'
    [source], _ = parsed(block(f"only = '{condition}'"))
    assert source.only == {"form": ObjectId("65f1c0ffee0123456789ac02")}


# Mistakes


def test_a_file_that_cannot_be_read_is_one_line(tmp_path: File) -> None:
    missing, folder = tmp_path / "none.toml", tmp_path
    for file, what in ((missing, "FileNotFoundError"), (folder, "a directory")):
        with pytest.raises(SettingsError) as caught:
            load({"ENRICHER_CONFIG": str(file)}, None)
        assert caught.value.problems == [
            f"ENRICHER_CONFIG: expected a readable UTF-8 file ({what}) (value not shown)"
        ]


def test_settings_that_the_file_replaces_are_refused_beside_it(tmp_path: File) -> None:
    file = tmp_path / "crm.toml"
    file.write_text(block())
    environ = {"ENRICHER_CONFIG": str(file), "LEADS_COLLECTION": "a", "ENRICHER_PLAN_FIELD": "b"}
    with pytest.raises(SettingsError) as caught:
        load(environ, None)
    assert caught.value.problems == [
        f"{name}: expected not to be set beside ENRICHER_CONFIG, whose [[source]] blocks say it"
        for name in ("LEADS_COLLECTION", "ENRICHER_PLAN_FIELD")
    ]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("[[source", "expected TOML (Expected ']]' at the end of an array declaration"),
        ("a = " + "[" * 100_000, "expected TOML ("),
        ("", "source: expected at least one block that begins with [[source]]"),
        ("source = 5", "source: expected at least one block that begins with [[source]]"),
        ("[source]", "source: expected at least one block that begins with [[source]]"),
        ("[[sources]]", "sources: there is no such key; did you mean source?"),
        ("[[source]]", "source 1, collection: expected the name of the collection that holds"),
    ],
)
def test_what_is_no_file_of_sources_says_so(text: str, line: str) -> None:
    _, problems = parsed(text)
    assert any(each.startswith(f"crm.toml: {line}") for each in problems), problems


@pytest.mark.parametrize(
    ("line", "mistake"),
    [
        ("onyl = '{}'", "onyl: there is no such key; did you mean only?"),
        (
            "only = { deleted = false }",
            """only: expected a MongoDB filter as text, like '{"deleted": false}'""",
        ),
        (
            "only = '{'",
            (
                "only: expected extended JSON: Expecting "
                "property name enclosed in double quotes: line 1 column 2 (char 1)"
            ),
        ),
        (
            "only = '[]'",
            (
                "only: expected an object, as "
                """in '{"source": "web"}'"""
            ),
        ),
        (
            """only = '{"$expr": {"$toLower": "$a"}}'""",
            "only: expected a filter without $expr",
        ),
        (
            """only = '{"a": 1, "a": 2}'""",
            "only: expected each name once in an object: a stands there twice",
        ),
        ("kinds = []", "kinds: expected a list of company, person or email, each once"),
        ('kinds = "email"', "kinds: expected a list of company, person or email, each once"),
        (
            'kinds = ["email", "email"]',
            "kinds: expected a list of company, person or email, each once",
        ),
        ('kinds = ["fax"]', "kinds: expected a list of company, person or email, each once"),
        ('write = "there"', "write: expected lead or beside"),
        ('rerun_on_change = "yes"', "rerun_on_change: expected true or false"),
        (
            "account = 5",
            'account: expected a path like "emails.address", or a list of 1 to 20 of them',
        ),
        ("read = 5", "read: expected a table, [source.read]"),
        ('read.emial = "a"', "read.emial: there is no such key; did you mean email?"),
        ('read.email = "a..b"', "read.email: expected the name of a field at character 3"),
        (
            'read.email = ["a", "b["]',
            "read.email: number 2 of the list: expected the name of a field at its end",
        ),
        (
            'read.email = "enriched_data.x"',
            "read.email: expected a field of your own: the daemon writes that one",
        ),
        (
            'names.status = "a"',
            "names.status: there is no such key; did you mean enrichment_status?",
        ),
        (
            'read.phone = "a"',
            (
                "read.phone: there is no such key; expected email, name, company, company_domain, "
                "website, job_title, linkedin or cnpj"
            ),
        ),
        (
            "[source.read]",
            (
                "read: expected at least one of email, name, company, company_domain, website, "
                "job_title, linkedin or cnpj"
            ),
        ),
        ('Only = "{}"', "Only: there is no such key; did you mean only?"),
        (
            '"a\\nb" = 1',
            (
                '"a\\nb": there is no such key; expected collection, only, kinds, person_only, write, '
                "account, plan, priority, rerun_on_change, read, names or copy"
            ),
        ),
        *(
            (
                f"""only = '{{"a": {{"${name}": "a-value-of-theirs"}}}}'""",
                (f"only: expected extended JSON: the value of ${name} is not what that takes"),
            )
            for name in ("oid", "date", "numberLong")
        ),
        (
            """copy.person_data.job_title = { to = "a" }""",
            (
                "copy.person_data: expected section and field in quotes, as "
                '"person_data.job_title" = { to = "position" }'
            ),
        ),
        (
            """copy.position = { to = "a" }""",
            (
                "copy.position: there is no such key; expected section and field of what was found, "
                'as "person_data.job_title" = { to = "position" }'
            ),
        ),
        (
            """copy."person_data.job_title" = { to = "a", typ = "text" }""",
            "copy.person_data.job_title: typ: there is no such key; did you mean type?",
        ),
        (
            'names.enriched_at = "emails[0]"',
            'names.enriched_at: expected the name of a field, a path like crm.status, or ""',
        ),
        (
            'names.enriched_at = "$a"',
            'names.enriched_at: expected the name of a field, a path like crm.status, or ""',
        ),
        (
            'names.enriched_at = "_id.at"',
            'names.enriched_at: expected the name of a field, a path like crm.status, or ""',
        ),
        (
            'names.enrichment = ""',
            "names.enrichment: expected the name of a field: nothing works without it",
        ),
        (
            'names.enriched_data = ""',
            "names.enriched_data: expected the name of a field: nothing works without it",
        ),
        (
            'names.enriched_at = "email.found_at"',
            "read.email: expected a field of your own: the daemon writes that one",
        ),
        (
            'names.qualification_score = "enrichment.score"',
            "names.qualification_score: expected a field of your own: the daemon writes that one",
        ),
        (
            'names.enriched_at = "enrichment.at"',
            (
                "names.enrichment: expected another field than that of names.enriched_at, and none "
                "below it"
            ),
        ),
        (
            """copy."person_data.job_titel" = { to = "a" }""",
            "copy.person_data.job_titel: there is no such key; did you mean person_data.job_title?",
        ),
        (
            """copy."person_data.job_title" = { to = "enriched_data.title" }""",
            (
                "copy.person_data.job_title: expected another field than that of "
                "names.enriched_data, and none below it"
            ),
        ),
        (
            """copy."person_data.job_title" = { to = "a", policy = "often" }""",
            "copy.person_data.job_title: policy: expected never, fill, tracked or always",
        ),
        (
            '''copy."person_data.job_title" = "a"''',
            (
                "copy.person_data.job_title: expected a table like "
                '{ to = "position", policy = "tracked" }'
            ),
        ),
        (
            """copy."person_data.job_title" = { to = "a", type = "date" }""",
            (
                "copy.person_data.job_title: type: expected text, number, list, or a table of values "
                'like { "software" = "IT" }'
            ),
        ),
        (
            """copy."person_data.job_title" = { to = "a", type = { x = "A", X = "B" } }""",
            (
                "copy.person_data.job_title: type: expected a table of 1 to 500 values, each once in "
                "whatever case"
            ),
        ),
        *(
            (
                f"""copy."person_data.job_title" = {{ to = "a", type = {{ x = {word} }} }}""",
                (
                    "copy.person_data.job_title: type: expected a table of values that are texts, "
                    "numbers, true or false"
                ),
            )
            for word in ('" "', "[1]", "nan", "inf", "99999999999999999999", "2026-01-01")
        ),
        *(
            (
                f"""copy."person_data.job_title" = {{ to = {to} }}""",
                (
                    "copy.person_data.job_title: expected to = a field of yours or a path of names to it, "
                    "without _id, numbers, brackets, backticks and $"
                ),
            )
            for to in (
                *(
                    '"a[0].b"',
                    '"`a`"',
                    '"_id"',
                    '"_id.a"',
                    '""',
                    '"a..b"',
                    '"$a"',
                    '"a.$b"',
                    '"a.0.b"',
                    "5",
                    '["a"]',
                ),
                '"' + ".".join("abcdefghijklm") + '"',
            )
        ),
        *(
            (
                f"""{rule}\ncopy."person_data.job_title" = {{ to = "{to}" }}""",
                f"copy.person_data.job_title: expected a field that {key} does not read",
            )
            for key, rule, to in (
                ("only", """only = '{"crm.state": 1}'""", "crm.state"),
                ("only", """only = '{"crm.state": 1}'""", "crm"),
                ("only", """only = '{"$or": [{"crm": 1}]}'""", "crm.state"),
                ("only", """only = '{"$jsonSchema": {}}'""", "a"),
                ("person_only", """person_only = '{"consent": 1}'""", "consent"),
                ("account", 'account = "team"', "team"),
                ("names.qualification_score", 'names.updated_at = ""', "qualification_score"),
            )
        ),
        (
            (
                'copy."person_data.job_title" = { to = "a.b" }\n'
                'copy."person_data.role" = { to = "a" }'
            ),
            (
                "copy.person_data.role: expected another field than that of "
                "copy.person_data.job_title, and none below it"
            ),
        ),
        (
            """write = "beside"\ncopy."person_data.job_title" = { to = "a" }""",
            "copy: expected none with write = beside: nothing is written there",
        ),
    ],
)
def test_a_mistake_is_one_line_with_block_key_and_what_was_expected(
    line: str, mistake: str
) -> None:
    assert told(*line.split("\n")) == [f"source 1, {mistake}"]


@pytest.mark.parametrize(
    ("name", "mistake"),
    [
        ("5", "expected the name of a collection"),
        ('""', "expected a collection name: no $, no empty part, not system.*"),
        ('"system.users"', "expected a collection name: no $, no empty part, not system.*"),
        (
            '"enricher_answers"',
            "expected a collection of your own: enricher_... are the daemon's",
        ),
    ],
)
def test_a_collection_is_one_of_the_users_own(name: str, mistake: str) -> None:
    _, problems = parsed(f"[[source]]\ncollection = {name}")
    assert problems == [f"crm.toml: source 1, collection: {mistake}"]


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        (block() + '\n[read]\nemail = "a"', "read: expected within a block, as [source.read]"),
        (
            'collection = "customers"',
            "collection: expected within a block that begins with [[source]]",
        ),
        ("[[Source]]", "Source: there is no such key; did you mean source?"),
        (
            '[[source]]\ncolection = "a"',
            "source 1, colection: there is no such key; did you mean collection?",
        ),
        (
            block() + "\n[sink]",
            "sink: there is no such key; expected blocks that begin with [[source]]",
        ),
    ],
)
def test_a_block_or_a_key_that_is_only_misplaced_is_one_mistake(text: str, mistake: str) -> None:
    assert parsed(text)[1] == [f"crm.toml: {mistake}"]


def test_a_byte_order_mark_does_no_harm() -> None:
    assert parsed("\ufeff" + block()) == ((Source("customers"),), [])


def test_all_mistakes_of_all_blocks_are_told_at_once() -> None:
    text = block("kinds = 5", 'read.email = "["') + "\n" + block("write = 5")
    assert sorted(parsed(text)[1]) == [
        "crm.toml: source 1, kinds: expected a list of company, person or email, each once",
        "crm.toml: source 1, read.email: expected the name of a field at character 1",
        "crm.toml: source 2, collection: expected another one than source 1 has",
        "crm.toml: source 2, write: expected lead or beside",
    ]


def test_a_copy_may_say_what_found_values_are_called() -> None:
    [source], problems = parsed(
        block(
            'copy."social_profiles.person.linkedin" = { to = "links.linkedIn" }',
            'copy."company_data.industry" = { to = "sector", type = { "Software " = "IT", x = 5 } }',
        )
    )
    assert problems == []
    assert source.copy == (
        Copy("social_profiles.person.linkedin", "links.linkedIn"),
        Copy("company_data.industry", "sector", type={"software": "IT", "x": 5}),
    )


def test_results_that_stand_beside_may_have_names_that_are_read() -> None:
    assert told('write = "beside"', 'read.email = "enriched_data.email"') == []


def test_the_page_for_well_known_crms_has_the_blocks_that_are_tried_out() -> None:
    page = File(__file__).parents[3] / "docs" / "crms.md"
    blocks = re.findall(r"^```toml\n(.*?)^```", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    shown, problems = parsed("\n".join(blocks))
    assert problems == []
    assert shown == parsed("\n".join(crm.source for crm in CRMS))[0]
