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


def documented(database: str) -> list[Document]:
    """The privileges of the documented role, for a database of another name."""
    return _privileges(re.sub(r'\bdb: "crm"', f'db: "{database}"', PAGE.read_text("utf-8")))


def scripted(database: str) -> list[Document]:
    """Those of the script, for a database of this name and a collection `leads`."""
    text = SCRIPT.read_text("utf-8").replace("db: crm,", f'db: "{database}",')
    text = text.replace('"enricher_history_" + leads', '"enricher_history_leads"')
    return _privileges(text.replace("collection: leads", 'collection: "leads"'))


def _privileges(text: str) -> list[Document]:
    found = _PRIVILEGE.findall(text)
    assert len(found) == text.count("resource: {"), "a privilege is written in another way"
    return [json.loads(re.sub(r"(\w+): ", r'"\1": ', each)) for each in found]
