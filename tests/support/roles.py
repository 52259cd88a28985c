"""The role of the daemon's user, as it is documented and as the script makes it."""

from __future__ import annotations

import json
import re
from pathlib import Path

from enricher.lead import Document

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "operations" / "running.md"
SCRIPT = ROOT / "deploy" / "mongodb" / "role.js"
_PRIVILEGE = re.compile(r"{ resource: {.*?},\s*actions: \[.*?\] }")


_BESIDE_IN_PAGE = "### Where results stand beside the leads"
_BESIDE_IN_SCRIPT = "if (process.env.WRITE"


def documented(database: str, *, beside: bool = False) -> list[Document]:
    """The privileges of the documented role, for a database of another name."""
    text = re.sub(r'\bdb: "crm"', f'db: "{database}"', PAGE.read_text("utf-8"))
    return _of(text, _BESIDE_IN_PAGE, beside=beside)


def scripted(database: str, *, beside: bool = False) -> list[Document]:
    """Those of the script, for a database of this name and a collection `leads`."""
    text = SCRIPT.read_text("utf-8").replace("db: crm,", f'db: "{database}",')
    for kind in ("history", "results"):
        text = text.replace(f'"enricher_{kind}_" + leads', f'"enricher_{kind}_leads"')
    text = text.replace("collection: leads", 'collection: "leads"')
    return _of(text, _BESIDE_IN_SCRIPT, beside=beside)


def _of(text: str, mark: str, *, beside: bool) -> list[Document]:
    """Return the privileges before the mark; those after it replace those of the same collection for `beside`."""
    usual, other = map(_privileges, text.split(mark))
    if not beside:
        return usual
    replaced = [each["resource"] for each in other]
    return [*other, *(each for each in usual if each["resource"] not in replaced)]


def _privileges(text: str) -> list[Document]:
    found = _PRIVILEGE.findall(text)
    assert len(found) == text.count("resource: {"), "a privilege is written in another way"
    return [json.loads(re.sub(r"(\w+): ", r'"\1": ', each)) for each in found]
