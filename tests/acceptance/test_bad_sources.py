"""Every mistake in the file of ENRICHER_CONFIG is one line of `enricher check`, with block, key, and what was expected."""

from __future__ import annotations

from pathlib import Path

from enricher.errors import ExitCode
from tests.support.processes import Daemon

THEIRS = "a-value-of-theirs"
MISTAKES = {
    "collection": [
        'collection = ""',
        'collection = ["a"]',
        'collection = "a$b"',
        'collection = "system.users"',
        'collection = "enricher_answers"',
    ],
    "colection": [f'colection = "{THEIRS}"'],
    "only": [
        "only = { a = 1 }",
        'only = ""',
        f"only = '{{a: \"{THEIRS}\"}}'",
        f"""only = '{{"a": {{"$oid": "{THEIRS}"}}}}'""",
        f"""only = '{{"a": {{"$date": "{THEIRS}"}}}}'""",
        f"""only = '{{"$where": "{THEIRS}"}}'""",
        f"""only = '{{"a": 1, "a": "{THEIRS}"}}'""",
        """only = '{"enrichment_status": "completed"}'""",
    ],
    "Person_only": ["Person_only = '{}'"],
    "kinds": ['kinds = "company"', 'kinds = ["companies"]', "kinds = []"],
    "write": ['write = "besides"', "write = true"],
    "account": ["account = 1", 'account = "enrichment.account"'],
    "rerun_on_change": ["rerun_on_change = 1"],
    "priority_order": ['priority_order = ["hot"]'],
    "read": ["[source.read]", "read = []"],
    "read.phone": ['read.phone = "tel"'],
    "read.email": [
        'read.email = ""',
        'read.email = "a..b"',
        'read.email = "emails[*].address"',
        'read.email = "$.email"',
        'read.email = "emails[a=true.address"',
        'read.email = ["a", 5]',
        'read.email = "enriched_data.email"',
    ],
    "read.name": ['read.name = "{first} {last"', 'read.name = "{} {last}"'],
    "names.status": [f'names.status = "{THEIRS}"'],
    "names.enriched_at": ["names.enriched_at = 5", 'names.enriched_at = "a.0"'],
    "names.enrichment": ['names.enrichment = ""'],
    "names.updated_at": ['names.updated_at = "x"\nnames.enriched_at = "x"'],
    "copy": [
        "copy = 5",
        'write = "beside"\ncopy."person_data.job_title" = { to = "a" }',
    ],
    "copy.person_data": ['copy.person_data.job_title = { to = "a" }'],
    "copy.position": ['copy.position = "person_data.job_title"'],
    "copy.person_data.job_title": [
        'copy."person_data.job_title" = "position"',
        'copy."person_data.job_title" = { policy = "fill" }',
        'copy."person_data.job_title" = { to = "a", policy = "Tracked" }',
        'copy."person_data.job_title" = { to = "a", type = "int" }',
        'copy."person_data.job_title" = { to = "a", typ = "text" }',
        'copy."person_data.job_title" = { to = "jobs[0].title" }',
        'copy."person_data.job_title" = { to = "enriched_data.title" }',
    ],
}
"""Key -> blocks with one mistake each."""


async def test_each_of_fifty_mistakes_is_one_line_of_check(tmp_path: Path) -> None:
    mistakes = [(key, lines) for key, blocks in MISTAKES.items() for lines in blocks]
    assert len(mistakes) > 50
    config = tmp_path / "crm.toml"
    config.write_text(
        "\n".join(_block(number, lines) for number, (_, lines) in enumerate(mistakes))
    )
    async with Daemon("check", env={"ENRICHER_CONFIG": str(config)}) as check:
        assert await check.wait(60) == ExitCode.SETTINGS
        told = [line for line in map(str, check.lines) if "ENRICHER_CONFIG" in line]
    assert len(told) == len(mistakes)
    for number, (key, _) in enumerate(mistakes, 1):
        [line] = [each for each in told if f"source {number}, " in each]
        assert f"crm.toml: source {number}, {key}: " in line
        assert "expected " in line or "did you mean " in line, line
        assert THEIRS not in line


def _block(number: int, lines: str) -> str:
    has_its_own = lines.startswith(("collection", "colection"))
    named = "" if has_its_own else f'collection = "c{number}"\n'
    return f"[[source]]\n{named}{lines}"
